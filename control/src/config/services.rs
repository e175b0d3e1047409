//! `[[service]]` and `[[service.real]]`.

use super::network::Network;
use super::problem::Problems;
use super::section::{At, Section};
use super::{Real, Service};
use crate::model::{LARGEST_WEIGHT, MAX_SERVICES};
use crate::text::addresses::{self, Listen, RealAddress};
use crate::text::algorithms;
use dataplane::names::ids::{MAX_REALS, ServiceKey};
use dataplane::schedule::Algorithm;
use std::collections::HashSet;
use std::net::IpAddr;

/// Options that `lbctl` knows and that are for later here too.
const LATER_OF_SERVICE: [&str; 2] = ["persistence", "flags"];
const LATER_OF_REAL: [&str; 2] = ["upper_threshold", "lower_threshold"];

/// Reads all services, in the order written.
pub(super) fn read(sections: Vec<Section<'_>>, network: &Network, problems: &mut Problems) -> Vec<Service> {
    let mut reader = Reader { network, keys: HashSet::new(), too_many: false, reals: Vec::new() };
    let services = sections.into_iter().filter_map(|section| reader.service(section, problems)).collect();
    reader.check_reals(problems);
    services
}

struct Reader<'a> {
    network: &'a Network,
    keys: HashSet<ServiceKey>,
    /// Whether it was said that there are too many services.
    too_many: bool,
    /// Every real's address, as often as written.
    reals: Vec<At<IpAddr>>,
}

impl Reader<'_> {
    fn service(&mut self, mut section: Section<'_>, problems: &mut Problems) -> Option<Service> {
        section.require("listen", "\"tcp://192.168.10.100:80\"", problems);
        let key = section.parsed("listen", addresses::listen, problems);
        let algorithm = scheduler(&mut section, problems);
        for later in LATER_OF_SERVICE {
            section.later(later, problems);
        }
        let reals = section.tables("real", "[[service.real]]", problems);
        section.finish(problems);
        let reals: Vec<_> = reals.into_iter().filter_map(|real| self.real(real, key, problems)).collect();
        let key = key?;
        self.check_vip(key, problems);
        if !self.keys.insert(*key) {
            problems.add(key.at, format!("listen: another [[service]] is {}", Listen(*key)));
        }
        if self.keys.len() == MAX_SERVICES + 1 && !std::mem::replace(&mut self.too_many, true) {
            problems.add(key.at, format!("listen: at most {MAX_SERVICES} [[service]]"));
        }
        Some(Service { key: *key, algorithm, reals: unique(reals, problems) })
    }

    fn real(
        &mut self,
        mut section: Section<'_>,
        key: Option<At<ServiceKey>>,
        problems: &mut Problems,
    ) -> Option<At<Real>> {
        section.require("address", "\"10.0.0.7:80\"", problems);
        let address = section.parsed("address", addresses::real, problems);
        let weight = section.number("weight", 0..=LARGEST_WEIGHT, problems);
        for later in LATER_OF_REAL {
            section.later(later, problems);
        }
        section.finish(problems);
        let At { value: RealAddress { address: host, port }, at } = address?;
        self.reals.push(At { value: host, at });
        let endpoint = RealAddress { address: host, port }.or_port(key?.listen.port());
        Some(At { value: Real { endpoint, weight: weight.map_or(1, |weight| weight.value) }, at })
    }

    /// A VIP must be no other host's.
    fn check_vip(&self, key: At<ServiceKey>, problems: &mut Problems) {
        let vip = key.listen.ip();
        let whose = if self.network.is_link_broadcast(vip) {
            "a link's broadcast or network address"
        } else if self.network.is_other_host(vip) {
            "the address of a gateway or neighbour"
        } else {
            return;
        };
        problems.add(key.at, format!("listen: {vip} is {whose}; expected an address for this service"));
    }

    /// Reals must be elsewhere, and within reach.
    fn check_reals(&self, problems: &mut Problems) {
        let vips: HashSet<_> = self.keys.iter().map(|key| key.listen.ip()).collect();
        for real in &self.reals {
            if self.network.is_own(**real) || vips.contains(&**real) {
                let right = "expected the address of another host";
                problems.add(real.at, format!("address: {} is an own address or VIP; {right}", **real));
            } else if self.network.is_link_broadcast(**real) {
                let right = "expected the address of a host";
                problems.add(
                    real.at,
                    format!("address: {} is a link's broadcast or network address; {right}", **real),
                );
            } else if !self.network.reaches(**real) {
                let right =
                    "expected one on a port's link, behind a [[route]], or a gateway on the reals' side";
                problems.add(real.at, format!("address: no way leads to {}; {right}", **real));
            }
        }
        if let Some(first_too_many) = self.reals.get(MAX_REALS) {
            problems.add(first_too_many.at, format!("[[service.real]]: at most {MAX_REALS} in all"));
        }
    }
}

fn scheduler(section: &mut Section<'_>, problems: &mut Problems) -> Algorithm {
    let Some(name) = section.text("scheduler", problems) else { return algorithms::DEFAULT };
    algorithms::by_name(name.value).unwrap_or_else(|unknown| {
        problems.add(name.at, unknown.to_string());
        algorithms::DEFAULT
    })
}

fn unique(reals: Vec<At<Real>>, problems: &mut Problems) -> Vec<Real> {
    let mut endpoints = HashSet::new();
    for real in &reals {
        if !endpoints.insert(real.endpoint) {
            problems.add(real.at, format!("address: the service has {} already", real.endpoint));
        }
    }
    reals.into_iter().map(|real| real.value).collect()
}
