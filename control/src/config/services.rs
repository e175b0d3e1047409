//! `[[service]]` and `[[service.real]]`.

use super::network::Topology;
use super::problem::Problems;
use super::section::{self, At, Section};
use crate::model::rules::{Unfit, Unsuitable, check_real_alone};
use crate::model::{
    Draft, LARGEST_THRESHOLD, LARGEST_WEIGHT, LONGEST_SLOW_START, MAX_REALS, MAX_SERVICES, Network, Real,
    Settings,
};
use crate::text::addresses::{self, RealAddress};
use crate::text::algorithms;
use crate::text::service_options::ServiceOptions;
use crate::text::services::{self, Listen};
use dataplane::connection::Timeouts;
use dataplane::names::ids::ServiceKey;
use dataplane::snapshot::Thresholds;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Reads all services; their reals count as added in the order written. What `network` and `topology` say is the same,
/// but the file's mistakes make the topology incomplete.
pub(super) fn read(
    sections: Vec<Section<'_>>,
    (topology, network): (&Topology, &Network),
    problems: &mut Problems,
) -> Draft {
    let services: Vec<_> = sections.into_iter().map(|section| service(section, problems)).collect();
    let mut judge = Judge { topology, network, draft: Draft::default(), is_full: false };
    // All VIPs first, so that a real that has one is at fault wherever it stands.
    for service in &services {
        judge.service(service, problems);
    }
    for Written { key, reals, .. } in &services {
        for real in reals {
            judge.real(*key, real, problems);
        }
    }
    judge.draft
}

/// Where the keys of a table stand in the file; of one that is not there, where the table begins.
#[derive(Debug)]
struct Places {
    keys: BTreeMap<&'static str, usize>,
    table: usize,
}

impl Places {
    fn of(section: &Section<'_>, keys: &[&'static str]) -> Self {
        let places = keys.iter().filter_map(|key| Some((*key, section.place(key)?)));
        Self { keys: places.collect(), table: section.at }
    }

    fn get(&self, key: &str) -> usize {
        self.keys.get(key).copied().unwrap_or(self.table)
    }
}

/// The keys of a service that say what is set of it.
const SETTINGS: [&str; 8] = [
    "scheduler",
    "flags",
    "persistence",
    "persistence_mask",
    "one_packet",
    "timeouts",
    "on_removal",
    "slow_start",
];
/// The keys of a real.
const OF_REAL: [&str; 4] = ["address", "weight", "upper_threshold", "lower_threshold"];

/// A service as it stands in the file.
struct Written {
    /// `None`: faulty, and reported.
    key: Option<At<ServiceKey>>,
    settings: Settings,
    reals: Vec<At<WrittenReal>>,
}

/// A real as it stands in the file.
struct WrittenReal {
    address: RealAddress,
    weight: u32,
    thresholds: Thresholds,
    places: Places,
}

fn service(mut section: Section<'_>, problems: &mut Problems) -> Written {
    let places = Places::of(&section, &SETTINGS);
    section.require("listen", "\"tcp://192.168.10.100:80\"", problems);
    let key = section.parsed("listen", services::listen, problems);
    // The settings of a service that is not known are judged as those of some UDP service, which can have all of them.
    let assumed = || services::listen("udp://192.0.2.1:1").map(Listen);
    let listen = key.map(|key| Listen(key.value)).or(assumed().ok());
    let settings = listen.map(|listen| settings(&mut section, listen, &places, problems));
    let settings = settings.unwrap_or(Settings::new(algorithms::DEFAULT));
    let reals = section.tables("real", "[[service.real]]", problems);
    section.finish(problems);
    let reals = reals.into_iter().filter_map(|section| real(section, problems)).collect();
    Written { key, settings, reals }
}

/// What is set of a service; where something is wrong, a new service's.
fn settings(
    section: &mut Section<'_>,
    service: Listen,
    places: &Places,
    problems: &mut Problems,
) -> Settings {
    let mut options = ServiceOptions::new(service);
    let owned = |text: At<&str>| text.value.to_owned();
    options.scheduler = section.text("scheduler", problems).map(owned);
    options.flags = section.array("flags", problems).map(|flags| {
        let each = flags.value.iter().filter_map(|flag| section::text("flags", flag, problems));
        each.map(owned).collect()
    });
    let longest = Timeouts::LONGEST_SECONDS;
    options.persistence = section.number("persistence", 1..=longest, problems).map(|seconds| seconds.value);
    options.persistence_mask = section.text("persistence_mask", problems).map(owned);
    options.one_packet = section.truth("one_packet", problems).map(|one_packet| one_packet.value);
    options.timeouts = section
        .numbers("timeouts", 1..=longest, problems)
        .map(|timeouts| timeouts.into_iter().map(|(state, seconds)| (state.to_owned(), seconds)).collect());
    options.on_removal = section.text("on_removal", problems).map(owned);
    let slow_start = section.number("slow_start", 0..=LONGEST_SLOW_START, problems);
    options.slow_start = slow_start.map(|seconds| seconds.value);
    if section.has("persistence") && options.persistence.is_none() {
        // That it is faulty has been said; the mask is not to blame.
        options.persistence_mask = None;
    }
    options.settings(None).unwrap_or_else(|fault| {
        problems.add(places.get(fault.key()), fault.to_string());
        Settings::new(algorithms::DEFAULT)
    })
}

fn real(mut section: Section<'_>, problems: &mut Problems) -> Option<At<WrittenReal>> {
    let places = Places::of(&section, &OF_REAL);
    section.require("address", "\"10.0.0.7:80\"", problems);
    let address = section.parsed("address", addresses::real, problems);
    let weight = section.number("weight", 0..=LARGEST_WEIGHT, problems).map_or(1, |weight| weight.value);
    let mut threshold = |key| {
        let threshold = section.number(key, 0..=LARGEST_THRESHOLD, problems);
        threshold.map_or(0, |threshold| threshold.value)
    };
    let thresholds = Thresholds { upper: threshold("upper_threshold"), lower: threshold("lower_threshold") };
    section.finish(problems);
    let At { value: address, at } = address?;
    Some(At { value: WrittenReal { address, weight, thresholds, places }, at })
}

/// Judges services and reals by the rules that hold for commands, in the words of a file.
struct Judge<'a> {
    topology: &'a Topology,
    network: &'a Network,
    draft: Draft,
    /// Whether it was said that there are too many: once is enough.
    is_full: bool,
}

impl Judge<'_> {
    fn service(&mut self, Written { key, settings, .. }: &Written, problems: &mut Problems) {
        let Some(At { value: key, at }) = *key else { return };
        let Err(unfit) = self.draft.add_service(self.network, key, *settings) else { return };
        let vip = key.listen.ip();
        let right = "expected an address for this service";
        let message = match unfit {
            Unfit::ServiceExists => format!("another [[service]] is {}", Listen(key)),
            Unfit::Address { why: Unsuitable::LinkBroadcast, .. } => {
                format!("{vip} is a link's broadcast or network address; {right}")
            }
            Unfit::Address { why: Unsuitable::OtherHost, .. } => {
                format!("{vip} is the address of a gateway or neighbour; {right}")
            }
            Unfit::Address { why: Unsuitable::NotSpoken, .. } if !self.topology.is_complete() => return,
            Unfit::Address { why: Unsuitable::NotSpoken, .. } => {
                let right = "add one to the addresses of one with side = \"vip\" or \"both\"";
                format!("no port towards clients has an IPv6 address; {right}")
            }
            Unfit::TooMany { .. } if std::mem::replace(&mut self.is_full, true) => return,
            Unfit::TooMany { .. } => format!("at most {MAX_SERVICES} [[service]]"),
            other => other.to_string(),
        };
        problems.add(at, format!("listen: {message}"));
    }

    fn real(&mut self, service: Option<At<ServiceKey>>, real: &At<WrittenReal>, problems: &mut Problems) {
        let WrittenReal { address, weight, thresholds, places } = &real.value;
        let host = address.address;
        // Of a service that is not known, the port is not either, nor does it matter.
        let endpoint = service.map_or(SocketAddr::new(host, 1), |service| address.of(&service));
        let added = Real { thresholds: *thresholds, ..Real::new(endpoint, *weight) };
        let judged = match service {
            Some(service) => self.draft.add_real(self.network, *service, added),
            None => check_real_alone(self.network, &added),
        };
        let judged = match judged {
            Ok(()) if self.topology.is_behind_clients_gateway(host) => Err(Unfit::NoRoute(host)),
            judged => judged,
        };
        let message = match judged {
            Ok(()) => return,
            Err(Unfit::NoRoute(_)) if !self.topology.is_complete() => return,
            Err(Unfit::NoRoute(_)) => {
                let right =
                    "expected one on a port's link, behind a [[route]], or a gateway on the reals' side";
                format!("address: no way leads to {host}; {right}")
            }
            Err(Unfit::RealExists) => format!("address: the service has {} already", added.endpoint),
            Err(Unfit::Address { why: Unsuitable::Own, .. }) => {
                format!("address: {host} is an own address or VIP; expected the address of another host")
            }
            Err(Unfit::Address { why: Unsuitable::LinkBroadcast, .. }) => {
                let right = "expected the address of a host";
                format!("address: {host} is a link's broadcast or network address; {right}")
            }
            Err(Unfit::TooMany { .. }) if std::mem::replace(&mut self.is_full, true) => return,
            Err(Unfit::TooMany { .. }) => format!("[[service.real]]: at most {MAX_REALS} in all"),
            Err(unfit @ Unfit::Thresholds(_)) => {
                return problems.add(places.get("lower_threshold"), unfit.to_string());
            }
            Err(other) => format!("address: {other}"),
        };
        problems.add(real.at, message);
    }
}
