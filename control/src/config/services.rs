//! `[[service]]` and `[[service.real]]`.

use super::network::Topology;
use super::problem::Problems;
use super::section::{At, Section};
use crate::model::rules::{Unfit, Unsuitable, check_real_alone};
use crate::model::{Draft, LARGEST_WEIGHT, MAX_REALS, MAX_SERVICES, Network, Real};
use crate::text::addresses::{self, RealAddress};
use crate::text::algorithms;
use crate::text::services::{self, Listen};
use dataplane::names::ids::ServiceKey;
use dataplane::schedule::Algorithm;

/// Options that `lbctl` knows and that are for later here too.
const LATER_OF_SERVICE: [&str; 2] = ["persistence", "flags"];
const LATER_OF_REAL: [&str; 2] = ["upper_threshold", "lower_threshold"];

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

/// A service as it stands in the file.
struct Written {
    /// `None`: faulty, and reported.
    key: Option<At<ServiceKey>>,
    algorithm: Algorithm,
    reals: Vec<At<WrittenReal>>,
}

/// A real as it stands in the file.
struct WrittenReal {
    address: RealAddress,
    weight: u32,
}

fn service(mut section: Section<'_>, problems: &mut Problems) -> Written {
    section.require("listen", "\"tcp://192.168.10.100:80\"", problems);
    let key = section.parsed("listen", services::listen, problems);
    let algorithm = scheduler(&mut section, problems);
    for later in LATER_OF_SERVICE {
        section.later(later, problems);
    }
    let reals = section.tables("real", "[[service.real]]", problems);
    section.finish(problems);
    let reals = reals.into_iter().filter_map(|section| real(section, problems)).collect();
    Written { key, algorithm, reals }
}

fn real(mut section: Section<'_>, problems: &mut Problems) -> Option<At<WrittenReal>> {
    section.require("address", "\"10.0.0.7:80\"", problems);
    let address = section.parsed("address", addresses::real, problems);
    let weight = section.number("weight", 0..=LARGEST_WEIGHT, problems);
    for later in LATER_OF_REAL {
        section.later(later, problems);
    }
    section.finish(problems);
    let At { value: address, at } = address?;
    Some(At { value: WrittenReal { address, weight: weight.map_or(1, |weight| weight.value) }, at })
}

fn scheduler(section: &mut Section<'_>, problems: &mut Problems) -> Algorithm {
    let Some(name) = section.text("scheduler", problems) else { return algorithms::DEFAULT };
    algorithms::by_name(name.value).unwrap_or_else(|unknown| {
        problems.add(name.at, unknown.to_string());
        algorithms::DEFAULT
    })
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
    fn service(&mut self, Written { key, algorithm, .. }: &Written, problems: &mut Problems) {
        let Some(At { value: key, at }) = *key else { return };
        let Err(unfit) = self.draft.add_service(self.network, key, *algorithm) else { return };
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
            Unfit::TooMany { .. } if std::mem::replace(&mut self.is_full, true) => return,
            Unfit::TooMany { .. } => format!("at most {MAX_SERVICES} [[service]]"),
            other => other.to_string(),
        };
        problems.add(at, format!("listen: {message}"));
    }

    fn real(&mut self, service: Option<At<ServiceKey>>, real: &At<WrittenReal>, problems: &mut Problems) {
        let WrittenReal { address, weight } = real.value;
        let host = address.address;
        // Of a service that is not known, the port is not either, nor does it matter.
        let port = service.map_or(1, |service| service.listen.port());
        let added = Real { endpoint: address.or_port(port), weight };
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
            Err(other) => format!("address: {other}"),
        };
        problems.add(real.at, message);
    }
}
