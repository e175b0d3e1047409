//! How the daemon does: ports, workers, drops, and what an operator should know of.

use super::load::{PerPacket, Sample};
use super::notes;
use super::watch::Watch;
use crate::api::protocol::{Counted, InterfaceView, KeptView, PortView, Status, WorkerView};
use crate::devices::{DeviceStatus, Devices};
use crate::model::{Model, Network};
use crate::neighbours::{Moment, Neighbours};
use crate::publish::workers::Workers;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::side::Side;
use dataplane::snapshot::Steering;
use std::collections::BTreeMap;

/// What a status is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The devices, which are asked.
    pub devices: &'a dyn Devices,
    /// EthPorts and interfaces.
    pub network: &'a Network,
    /// What is configured.
    pub model: &'a Model,
    /// The version in force.
    pub config_version: u64,
    /// What is watched over time.
    pub watch: &'a Watch,
    /// Their counters.
    pub workers: &'a Workers,
    /// Next hops that do not answer, and own addresses that others claim.
    pub neighbours: &'a Neighbours,
    /// Since the start.
    pub now: Moment,
}

/// The whole of it. `others`: what else an operator should know of.
pub fn status(inputs: &Inputs<'_>, kept: KeptView, others: Vec<String>) -> Status {
    let Inputs { devices, network, watch, workers, neighbours, now, .. } = *inputs;
    let mut notes = Vec::new();
    let ports = (0..network.eth_ports.len()).map(|port| port_view(inputs, port, &mut notes)).collect();
    notes.extend(watch.notes(workers));
    notes.extend(others);
    notes.extend(notes::silent_next_hops(watch, neighbours, now));
    notes.extend(notes::vips_of_the_wrong_side(watch, network));
    notes.extend(notes::conflicts(watch, neighbours, now));
    if neighbours.refused() > 0 {
        notes.push(format!("{} neighbours were refused: the table is full", neighbours.refused()));
    }
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: String::new(),
        dpdk: devices.dpdk_version(),
        uptime_s: now.as_secs(),
        config_version: inputs.config_version,
        ports,
        workers: worker_views(inputs),
        kept: Some(kept),
        drops: drops(workers),
        notes,
    }
}

fn port_view(inputs: &Inputs<'_>, port: usize, notes: &mut Vec<String>) -> PortView {
    let Inputs { devices, network, watch, workers, .. } = *inputs;
    let device = devices.status(port);
    let name = watch.name(port);
    notes.extend(device.notes.iter().map(|note| format!("port {name}: {note}")));
    if !device.link_up {
        notes.push(format!("port {name}: link down{}", device.footing.why_down()));
    }
    notes.extend(notes::unseen_losses(name, &device));
    let interface = &network.interfaces[port];
    let side = match interface.side {
        Side::Vip => "vip",
        Side::Dip => "dip",
        Side::Both => "both",
    };
    PortView {
        name: name.to_owned(),
        side: side.to_owned(),
        mac: interface.mac.to_string(),
        mtu: interface.mtu,
        link_up: device.link_up,
        steering: steering(&device, network.eth_ports[port].steering, workers.misdirected(port)),
        rx_missed_known: device.counted.unwrap_or_default().rx_missed.is_some(),
        interface: device.footing.interface().map(|interface| InterfaceView {
            name: interface.name.clone(),
            rx_packets: interface.counters.rx_packets,
            rx_dropped: interface.counters.rx_dropped,
            rx_missed: interface.counters.rx_missed,
        }),
        buffers_in_use: device.buffers_in_use,
        buffers: device.buffers,
        counted: counted(port, &device, workers),
        driver: device.driver,
    }
}

/// All that the device and the workers count of a port.
fn counted(port: usize, device: &DeviceStatus, workers: &Workers) -> Counted {
    let by_device = device.counted.unwrap_or_default();
    let by_device = by_device.each().map(|listed| (listed.name, listed.value.unwrap_or(0)));
    let mut by_workers = BTreeMap::new();
    for listed in workers.counters().flat_map(|counters| counters.each_by_port()) {
        *by_workers.entry(listed.name).or_insert(0) += listed.counters[port].get();
    }
    by_device.chain(by_workers).collect()
}

/// How a port's packets find their worker, in a line.
fn steering(device: &DeviceStatus, steered_by: Steering, misdirected: u64) -> String {
    match (device.steered_by, steered_by) {
        (by_device, Steering::Software) if by_device != Steering::Software => format!(
            "by software: {misdirected} packets came by the device's way to the wrong worker ({})",
            device.steering
        ),
        _ => device.steering.clone(),
    }
}

fn worker_views(inputs: &Inputs<'_>) -> Vec<WorkerView> {
    let cycles = inputs.devices.tsc_hz() / 1e9;
    let workers = inputs.watch.loads().zip(inputs.workers.counters()).enumerate();
    let view = workers.map(|(id, ((info, load), counters))| {
        let now = Sample::of(counters);
        let PerPacket { busy_nanoseconds, packets_per_burst } = load.per_packet(now);
        WorkerView {
            id,
            core: info.core,
            busy_share: load.busy_share(now),
            cycles_per_packet: busy_nanoseconds * cycles,
            packets_per_burst,
            capacity: info.capacity,
            capacity_ipv6: info.capacity_ipv6,
            counted: counters.each().map(|listed| (listed.name, listed.counters[0].get())).collect(),
        }
    });
    view.collect()
}

/// By reason; those above 0.
fn drops(workers: &Workers) -> BTreeMap<String, u64> {
    let reasons = DropReason::ALL.iter().map(|reason| (reason.name().to_owned(), workers.dropped(*reason)));
    reasons.filter(|(_, count)| *count > 0).collect()
}
