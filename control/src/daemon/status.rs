//! How the daemon does: load of the workers, drops, and what an operator should know of.

use super::pressure::{self, Pressure};
use super::{ControlThread, DeviceStatus, WorkerInfo};
use crate::api::protocol::{InterfaceView, PortView, Status, WorkerView};
use crate::config::Config;
use crate::neighbours::Conflict;
use crate::publish::workers::Workers;
use dataplane::counters::{Counter, WorkerCounters};
use dataplane::names::ids::{MAX_INTERFACES, NeighbourKey};
use dataplane::names::side::Side;
use dataplane::names::verdict::DropReason;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

/// Samples, one a second, that the load is taken over.
const SAMPLES: usize = 4;
/// Frames that a device must have lost to be noted: fewer may be on their way …
const LEAST_LOST: u64 = 100;
/// … and one of so many.
const LOST_OF: u64 = 1000;
/// Next hops that are named at most.
const NAMED: usize = 8;

/// What is watched over time.
#[derive(Debug)]
pub(super) struct Watch {
    names: Vec<String>,
    infos: Vec<WorkerInfo>,
    loads: Vec<Load>,
    /// By port.
    checksums: Vec<Checksums>,
    pressure: Pressure,
    warned: HashSet<String>,
}

/// A worker's load over the last seconds.
#[derive(Debug)]
struct Load {
    /// Never empty; the first is from before the first packet.
    samples: VecDeque<Sample>,
    /// The last that could be computed: an idle worker has none.
    per_packet: PerPacket,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    busy: u64,
    total: u64,
    packets: u64,
    bursts: u64,
}

/// What packets cost.
#[derive(Clone, Copy, Debug, Default)]
struct PerPacket {
    busy_nanoseconds: f64,
    packets_per_burst: f64,
}

impl Default for Load {
    fn default() -> Self {
        Self { samples: VecDeque::from([Sample::default()]), per_packet: PerPacket::default() }
    }
}

impl Sample {
    fn of(counters: &WorkerCounters) -> Self {
        Self {
            busy: counters.busy_nanoseconds.get(),
            total: counters.total_nanoseconds.get(),
            packets: counters.rx_packets.get() + counters.taken_over.get(),
            bursts: counters.bursts.get(),
        }
    }
}

impl Load {
    /// Once a second.
    fn add(&mut self, now: Sample) {
        self.per_packet = self.per_packet(now);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(now);
    }

    /// From the oldest sample until now: what came within the last second counts, too.
    fn passed(&self, now: Sample) -> Sample {
        let first = self.samples.front().copied().unwrap_or_default();
        let passed = |value: fn(&Sample) -> u64| value(&now).saturating_sub(value(&first));
        Sample {
            busy: passed(|sample| sample.busy),
            total: passed(|sample| sample.total),
            packets: passed(|sample| sample.packets),
            bursts: passed(|sample| sample.bursts),
        }
    }

    fn per_packet(&self, now: Sample) -> PerPacket {
        match self.passed(now) {
            Sample { packets: 0, .. } => self.per_packet,
            Sample { busy, packets, bursts, .. } => PerPacket {
                busy_nanoseconds: busy as f64 / packets as f64,
                packets_per_burst: packets as f64 / bursts.max(1) as f64,
            },
        }
    }

    fn busy_share(&self, now: Sample) -> f64 {
        match self.passed(now) {
            Sample { total: 0, .. } => 0.0,
            Sample { busy, total, .. } => (busy as f64 / total as f64).min(1.0),
        }
    }
}

/// The TCP and UDP packets of a port whose checksums were looked at in the last seconds that had any: what is wrong
/// now, not what was right for years.
#[derive(Clone, Copy, Debug, Default)]
struct Checksums {
    /// Totals at the end of those seconds.
    until: Examined,
    within: Examined,
}

#[derive(Clone, Copy, Debug, Default)]
struct Examined {
    all: u64,
    /// Those with only a partial checksum.
    partial: u64,
}

impl Examined {
    /// One right checksum in 65,536 looks like a partial one, so a single packet says nothing. One sender of many may
    /// be at fault.
    const fn is_trouble(self) -> bool {
        let Self { all, partial } = self;
        partial >= 2 && partial > all / 2 || partial >= 3 && partial > all / 100
    }
}

impl Checksums {
    /// With fewer packets than these a second is not over: a client that is not answered sends one now and then.
    const FEWEST: u64 = 4;

    /// With the totals of this moment.
    fn at(&self, total: Examined) -> Examined {
        match total.all - self.until.all {
            0 => self.within,
            all => Examined { all, partial: total.partial - self.until.partial },
        }
    }

    fn sample(&mut self, total: Examined) {
        if total.all - self.until.all >= Self::FEWEST {
            *self = Self { within: self.at(total), until: total };
        }
    }
}

fn total_examined(workers: &Workers, port: usize) -> Examined {
    // In this order: a partial one that is counted meanwhile is among all.
    let partial = sum(workers, port, |counters| &counters.partial_checksums);
    Examined { all: sum(workers, port, |counters| &counters.checksums_examined), partial }
}

/// A port's counter, over all workers.
fn sum(workers: &Workers, port: usize, counter: fn(&WorkerCounters) -> &[Counter; MAX_INTERFACES]) -> u64 {
    workers.counters().map(|counters| counter(counters)[port].get()).sum()
}

impl Watch {
    pub(super) fn new(config: &Config, infos: Vec<WorkerInfo>) -> Self {
        let names = config.eth_ports.iter().map(|port| port.name.clone()).collect();
        let loads = infos.iter().map(|_| Load::default()).collect();
        let checksums = config.eth_ports.iter().map(|_| Checksums::default()).collect();
        Self { names, infos, loads, checksums, pressure: Pressure::default(), warned: HashSet::new() }
    }

    /// A port's name.
    pub(super) fn name(&self, port: usize) -> &str {
        &self.names[port]
    }

    pub(super) fn infos(&self) -> &[WorkerInfo] {
        &self.infos
    }

    /// Once a second.
    pub(super) fn sample(&mut self, workers: &Workers) {
        self.pressure.sample(workers);
        for (load, counters) in self.loads.iter_mut().zip(workers.counters()) {
            load.add(Sample::of(counters));
        }
        for (port, checksums) in self.checksums.iter_mut().enumerate() {
            checksums.sample(total_examined(workers, port));
        }
    }

    /// Logs what an operator should know of, once.
    pub(super) fn warn(&mut self, workers: &Workers) {
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

    /// Links that hand us what is no whole packet.
    fn troubles(&self, workers: &Workers) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (port, name) in self.names.iter().enumerate().take(MAX_INTERFACES) {
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

/// What an operator should know of.
pub(super) struct Trouble {
    /// What it is about: notes of one kind differ in numbers alone.
    pub(super) kind: String,
    pub(super) text: String,
}

impl ControlThread {
    pub(super) fn status(&self) -> Status {
        let mut notes = Vec::new();
        let ports = (0..self.watch.names.len()).map(|port| self.port_view(port, &mut notes)).collect();
        notes.extend(self.watch.troubles(&self.workers).into_iter().map(|trouble| trouble.text));
        notes.extend(self.watch.pressure.troubles(&self.workers).into_iter().map(|trouble| trouble.text));
        notes.extend(self.notes_of_transmitting());
        notes.extend(self.silent_next_hops());
        notes.extend(self.vips_of_the_wrong_side());
        notes.extend(self.conflicts());
        if self.neighbours.refused() > 0 {
            notes.push(format!("{} neighbours were refused: the table is full", self.neighbours.refused()));
        }
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            dpdk: self.devices.dpdk_version(),
            uptime_s: self.started.elapsed().as_secs(),
            config_version: self.compiler.version(),
            ports,
            workers: self.worker_views(),
            drops: self.drops(),
            notes,
        }
    }

    fn port_view(&self, port: usize, notes: &mut Vec<String>) -> PortView {
        let device = self.devices.status(port);
        let counted = device.counted.unwrap_or_default();
        let name = &self.watch.names[port];
        notes.extend(device.notes.iter().map(|note| format!("port {name}: {note}")));
        if !device.link_up {
            notes.push(format!("port {name}: link down{}", self.why_down(port)));
        }
        notes.extend(unseen_losses(name, &device));
        let link = &self.compiler.links().interfaces[port];
        let side = match link.side {
            Side::Vip => "vip",
            Side::Dip => "dip",
            Side::Both => "both",
        };
        PortView {
            name: name.clone(),
            side: side.to_owned(),
            driver: device.driver,
            mac: link.mac.to_string(),
            mtu: link.mtu,
            link_up: device.link_up,
            steering: self.steering(port, (device.steered_by, device.steering)),
            misdirected: self.workers.misdirected(port),
            rx_packets: counted.rx_packets,
            tx_packets: counted.tx_packets,
            rx_missed: counted.rx_missed.unwrap_or(0),
            rx_missed_known: counted.rx_missed.is_some(),
            interface: device.footing.interface().map(|interface| InterfaceView {
                name: interface.name.clone(),
                rx_packets: interface.counters.rx_packets,
                rx_dropped: interface.counters.rx_dropped,
                rx_missed: interface.counters.rx_missed,
            }),
            buffers_in_use: device.buffers_in_use,
            buffers: device.buffers,
        }
    }

    fn worker_views(&self) -> Vec<WorkerView> {
        let cycles = self.devices.tsc_hz() / 1e9;
        let parts = self.watch.infos.iter().zip(&self.watch.loads).zip(self.workers.counters()).enumerate();
        let view = |(id, ((info, load), counters)): (usize, ((&WorkerInfo, &Load), &WorkerCounters))| {
            let now = Sample::of(counters);
            let PerPacket { busy_nanoseconds, packets_per_burst } = load.per_packet(now);
            WorkerView {
                id,
                core: info.core,
                rx_packets: counters.rx_packets.get(),
                tx_packets: counters.tx_packets.get(),
                handed_over: counters.handed_over.get(),
                taken_over: counters.taken_over.get(),
                busy_share: load.busy_share(now),
                cycles_per_packet: busy_nanoseconds * cycles,
                packets_per_burst,
                connections: counters.connections.get(),
                capacity: info.capacity,
                created: counters.connections_created.get(),
                expired: counters.connections_expired.get(),
                evicted: counters.connections_evicted.get(),
                most_swept: counters.most_swept.get(),
                most_expired: counters.most_expired.get(),
                most_created: counters.most_created.get(),
                most_moved: counters.most_moved.get(),
            }
        };
        parts.map(view).collect()
    }

    /// By reason; those above 0.
    fn drops(&self) -> BTreeMap<String, u64> {
        let reasons = DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), self.dropped(*reason)));
        reasons.filter(|(_, count)| *count > 0).collect()
    }

    /// On all workers.
    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.workers.counters().map(|counters| counters.dropped(reason).get()).sum()
    }

    /// Own addresses that another station says are its.
    fn conflicts(&self) -> Vec<String> {
        let now = self.moment(Instant::now());
        let note = |(key, conflict): (NeighbourKey, Conflict)| {
            let name = self.watch.names.get(key.interface.index()).map_or("?", String::as_str);
            let ago = now.saturating_sub(conflict.last).as_secs();
            let Conflict { mac, claims, .. } = conflict;
            format!(
                "port {name}: {mac} says by ARP that {} is its, too ({claims} times, {ago} s ago)",
                key.address
            )
        };
        self.neighbours.conflicts().noted(now).take(NAMED).map(note).collect()
    }

    /// Gateways and ways to reals that do not answer, those that most depends on first.
    fn silent_next_hops(&self) -> Vec<String> {
        let silent = self.neighbours.silent(self.moment(Instant::now()));
        let mut silent: Vec<_> = silent.map(|(importance, key)| (Reverse(importance), key)).collect();
        silent.sort_unstable();
        let note = |(_, key): &(Reverse<u32>, NeighbourKey)| {
            let name = self.watch.names.get(key.interface.index()).map_or("?", String::as_str);
            format!("port {name}: {} does not answer ARP", key.address)
        };
        let mut notes: Vec<String> = silent.iter().take(NAMED).map(note).collect();
        if silent.len() > NAMED {
            notes.push(format!("{} more next hops do not answer ARP", silent.len() - NAMED));
        }
        notes
    }
    /// What may be wrong with a VIP, if anything.
    pub(super) fn vip_note(&self, vip: IpAddr) -> Option<String> {
        Some(match self.compiler.links().misplaced(vip)? {
            Some(port) => {
                let name = self.watch.name(port);
                format!(
                    "{vip} lies in the network of port {name}, on the side of the reals, where nobody answers for it; \
                     clients need a route to it"
                )
            }
            None => format!(
                "{vip} lies in no port's network: vip ports answer for it; clients need a route to it"
            ),
        })
    }

    /// The VIPs that lie in a network of the reals. Those in none are usual where blocks are routed here.
    fn vips_of_the_wrong_side(&self) -> Vec<String> {
        let links = self.compiler.links();
        let vips: BTreeSet<IpAddr> = self.model.services().keys().map(|key| key.listen.ip()).collect();
        let wrong = vips.into_iter().filter(|vip| matches!(links.misplaced(*vip), Some(Some(_))));
        let wrong: Vec<_> = wrong.collect();
        let mut notes: Vec<_> = wrong.iter().take(NAMED).filter_map(|vip| self.vip_note(*vip)).collect();
        if wrong.len() > NAMED {
            notes.push(format!("{} more VIPs lie in networks of the reals", wrong.len() - NAMED));
        }
        notes
    }
}

/// Of a driver that does not count what it loses: what the kernel has counted on the interface, if natlb got much less.
fn unseen_losses(port: &str, device: &DeviceStatus) -> Option<String> {
    let counted = device.counted.filter(|counted| counted.rx_missed.is_none())?;
    let interface = device.footing.interface()?;
    let (theirs, ours) = (interface.counters.rx_packets, counted.rx_packets);
    let fewer = theirs.saturating_sub(ours);
    (fewer >= LEAST_LOST && fewer >= theirs / LOST_OF).then(|| {
        format!(
            "port {port}: {} does not count what it loses, but interface {} has received {theirs} frames since the start and \
             natlb {ours}: a worker does not keep up, or what came was put together before (fragments, GRO)",
            device.driver, interface.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Counted;
    use crate::host_interface::{Footing, HostInterface, InterfaceCounters};
    use dataplane::names::mac::Mac;
    use dataplane::snapshot::Steering;

    fn losses(rx_missed: Option<u64>, theirs: u64, ours: u64) -> Option<String> {
        let counters = InterfaceCounters { rx_packets: theirs, ..InterfaceCounters::default() };
        let interface = HostInterface { name: "eth1".into(), counters, ..HostInterface::default() };
        unseen_losses(
            "vip0",
            &DeviceStatus {
                driver: "net_af_packet".into(),
                mac: Mac([2; 6]),
                mtu: 1500,
                link_up: true,
                footing: Footing::Interface(interface),
                steered_by: Steering::Software,
                steering: String::new(),
                counted: Some(Counted { rx_packets: ours, rx_missed, ..Counted::default() }),
                buffers_in_use: 0,
                buffers: 0,
                notes: Vec::new(),
            },
        )
    }

    #[test]
    fn what_a_driver_does_not_count_is_compared_with_the_interface() {
        let note = losses(None, 352_192, 127_877).expect("a note");
        assert!(note.contains("eth1 has received 352192 frames since the start and natlb 127877"), "{note}");
        assert_eq!(losses(Some(0), 352_192, 127_877), None, "it counts by itself");
        assert_eq!(losses(None, 1_000_000, 999_500), None, "some are under way");
        assert_eq!(losses(None, 150, 100), None, "too few to tell");
        assert_eq!(losses(None, 100, 150), None, "the kernel's own frames on this interface");
    }
}
