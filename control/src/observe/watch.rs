//! What is watched over time, and what an operator should know of it.

use super::checksums::{Checksums, Examined, sum, total_examined};
use super::load::{Load, Sample};
use super::pressure::{self, Pressure};
use crate::config::Config;
use crate::devices::WorkerInfo;
use crate::model::Network;
use crate::publish::workers::Workers;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::MAX_ETH_PORTS;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

/// What is watched over time.
#[derive(Debug)]
pub struct Watch {
    /// By port.
    names: Vec<String>,
    infos: Vec<WorkerInfo>,
    loads: Vec<Load>,
    /// By port.
    checksums: Vec<Checksums>,
    pressure: Pressure,
    /// VIPs that lie in a network of the reals. Kept up to date from change to change: to look at all VIPs whenever
    /// somebody asks would take long.
    misplaced: BTreeSet<IpAddr>,
    warned: HashSet<String>,
}

/// What an operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about: notes of one kind differ in numbers alone.
    pub kind: String,
    /// For people.
    pub text: String,
}

impl Watch {
    /// Nothing has been seen yet.
    pub fn new(config: &Config, infos: Vec<WorkerInfo>) -> Self {
        let names = config.eth_ports.iter().map(|port| port.name.clone()).collect();
        let loads = infos.iter().map(|_| Load::default()).collect();
        let checksums = config.eth_ports.iter().map(|_| Checksums::default()).collect();
        let (pressure, misplaced, warned) = (Pressure::default(), BTreeSet::new(), HashSet::new());
        Self { names, infos, loads, checksums, pressure, misplaced, warned }
    }

    /// Own addresses came, went or changed the ports that answer for them, which are a bit set.
    pub fn follow_addresses(&mut self, changed: &BTreeMap<IpAddr, u16>, network: &Network) {
        for (address, ports) in changed {
            let mut own = network.interfaces.iter().flat_map(|interface| &interface.addresses);
            let is_own = own.any(|net| net.addr() == *address);
            let is_wrong = *ports != 0 && matches!(network.misplaced(*address), Some(Some(_))) && !is_own;
            match is_wrong {
                true => self.misplaced.insert(*address),
                false => self.misplaced.remove(address),
            };
        }
    }

    /// VIPs that lie in a network of the reals.
    pub(super) const fn misplaced(&self) -> &BTreeSet<IpAddr> {
        &self.misplaced
    }

    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.names.len()
    }

    /// A port's name; `?` if there is none of this number.
    pub fn name(&self, port: usize) -> &str {
        self.names.get(port).map_or("?", String::as_str)
    }

    /// What is fixed of the workers.
    pub fn infos(&self) -> &[WorkerInfo] {
        &self.infos
    }

    /// Once a second.
    pub fn sample(&mut self, workers: &Workers) {
        self.pressure.sample(workers);
        for (load, counters) in self.loads.iter_mut().zip(workers.counters()) {
            load.add(Sample::of(counters));
        }
        for (port, checksums) in self.checksums.iter_mut().enumerate() {
            checksums.sample(total_examined(workers, port));
        }
    }

    /// Logs what an operator should know of, once.
    pub fn warn(&mut self, workers: &Workers) {
        let passing = self.pressure.troubles(workers);
        // Again when it comes again.
        let is_over =
            |kind: &str| pressure::is_passing(kind) && passing.iter().all(|trouble| trouble.kind != *kind);
        self.warned.retain(|kind| !is_over(kind));
        for trouble in self.troubles(workers).into_iter().chain(passing) {
            if self.warned.insert(trouble.kind.clone()) {
                log::warn!("{}", trouble.text);
            }
        }
    }

    /// The workers with their loads.
    pub(super) fn loads(&self) -> impl Iterator<Item = (&WorkerInfo, &Load)> {
        self.infos.iter().zip(&self.loads)
    }

    /// What is wrong now.
    pub(super) fn notes(&self, workers: &Workers) -> Vec<String> {
        let troubles = self.troubles(workers).into_iter().chain(self.pressure.troubles(workers));
        troubles.map(|trouble| trouble.text).collect()
    }

    /// Links that hand us what is no whole packet.
    fn troubles(&self, workers: &Workers) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (port, name) in self.names.iter().enumerate().take(MAX_ETH_PORTS) {
            let examined = self.checksums[port].at(total_examined(workers, port));
            if examined.is_trouble() {
                let Examined { all, partial } = examined;
                let text = format!(
                    "port {name}: {partial} of {all} TCP and UDP packets came with only a partial checksum: the \
                     sending host leaves checksums to a device that is not there; on that host (the other end of the \
                     veth): ethtool -K IFACE tx off"
                );
                troubles.push(Trouble { kind: format!("{name} partial"), text });
            }
            let merged = sum(workers, port, |counters| &counters.merged_segments);
            if merged > 0 {
                let text = format!(
                    "port {name}: {merged} frames were longer than the MTU: segments that were merged (GRO: on this \
                     machine, for the interface of this port: ethtool -K IFACE gro off) or fragments that the \
                     device put together"
                );
                troubles.push(Trouble { kind: format!("{name} merged"), text });
            }
        }
        let truncated: u64 =
            workers.counters().map(|counters| counters.dropped(DropReason::Truncated).get()).sum();
        if truncated > 0 {
            let text = format!(
                "{truncated} frames were cut short: segments that were merged (GRO: on this machine, for the \
                 interfaces of the ports: ethtool -K IFACE gro off), fragments that the device put together, or \
                 buffers that are too small"
            );
            troubles.push(Trouble { kind: "truncated".into(), text });
        }
        troubles
    }
}
