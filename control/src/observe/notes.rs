//! What an operator should know of, as notes: next hops that are silent, addresses that are not right, frames that a
//! driver loses without counting them.

use super::watch::Watch;
use crate::devices::DeviceStatus;
use crate::model::Network;
use crate::neighbours::{Conflict, Moment, Neighbours, protocol};
use dataplane::names::ids::NeighbourKey;
use std::cmp::Reverse;
use std::net::IpAddr;

/// Frames that a device must have lost before that is noted: fewer may be on their way.
const LEAST_LOST: u64 = 100;
/// The share that it must have lost as well: one frame of this many.
const LOST_OF: u64 = 1000;
/// Next hops, or addresses, that are named at most.
const NAMED: usize = 8;

/// Own addresses that another station says are its.
pub(super) fn conflicts(watch: &Watch, neighbours: &Neighbours, now: Moment) -> Vec<String> {
    let note = |(key, conflict): (NeighbourKey, Conflict)| {
        let name = watch.name(key.interface.index());
        let ago = now.saturating_sub(conflict.last).as_secs();
        let Conflict { mac, claims, .. } = conflict;
        format!(
            "port {name}: {mac} says by {} that {} is its, too ({claims} times, {ago} s ago)",
            protocol(key.address),
            key.address
        )
    };
    neighbours.conflicts().noted(now).take(NAMED).map(note).collect()
}

/// Gateways and ways to reals that do not answer, those that most depends on first.
pub(super) fn silent_next_hops(watch: &Watch, neighbours: &Neighbours, now: Moment) -> Vec<String> {
    let silent = neighbours.silent(now);
    let mut silent: Vec<_> = silent.map(|(importance, key)| (Reverse(importance), key)).collect();
    silent.sort_unstable();
    let note = |(_, key): &(Reverse<u32>, NeighbourKey)| {
        let (name, protocol) = (watch.name(key.interface.index()), protocol(key.address));
        format!("port {name}: {} does not answer {protocol}", key.address)
    };
    let mut notes: Vec<String> = silent.iter().take(NAMED).map(note).collect();
    if silent.len() > NAMED {
        notes.push(format!("{} more next hops do not answer", silent.len() - NAMED));
    }
    notes
}

/// What may be wrong with a VIP, if anything.
pub fn vip_note(watch: &Watch, network: &Network, vip: IpAddr) -> Option<String> {
    Some(match network.misplaced(vip)? {
        Some(port) => {
            let name = watch.name(port);
            format!(
                "{vip} lies in the network of port {name}, on the side of the reals, where nobody answers for it; \
                 clients need a route to it"
            )
        }
        None => {
            format!("{vip} lies in no port's network: vip ports answer for it; clients need a route to it")
        }
    })
}

/// The VIPs that lie in a network of the reals. Those in none are usual where blocks are routed here.
pub(super) fn vips_of_the_wrong_side(watch: &Watch, network: &Network) -> Vec<String> {
    let wrong = watch.misplaced();
    let notes = wrong.iter().take(NAMED).filter_map(|vip| vip_note(watch, network, *vip));
    let mut notes: Vec<_> = notes.collect();
    if wrong.len() > NAMED {
        notes.push(format!("{} more VIPs lie in networks of the reals", wrong.len() - NAMED));
    }
    notes
}

/// Of a driver that does not count what it loses: what the kernel has counted on the interface, if natlb got much less.
pub(super) fn unseen_losses(port: &str, device: &DeviceStatus) -> Option<String> {
    let counted = device.counted.filter(|counted| counted.rx_missed.is_none())?;
    let interface = device.footing.interface()?;
    let (theirs, ours) = (interface.counters.rx_packets, counted.rx_packets?);
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
    use crate::host_interface::{Footing, HostInterface, InterfaceCounters};
    use dataplane::counters::PortCounters;
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
                counted: Some(PortCounters { rx_packets: Some(ours), rx_missed, ..PortCounters::default() }),
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
