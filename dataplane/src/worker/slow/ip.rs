//! The network layer: is a packet to us, or through us? And how it leaves.

use super::Slow;
use super::packet::{Ip, read_segment};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::{InterfaceId, Protocol};
use crate::snapshot::{IpOptions, Snapshot};
use crate::wire::options::{self, Advice};
use crate::wire::plain::at;
use crate::wire::{addresses, ipv4};
use crate::worker::fate::{Fate, Judged};

/// Why a packet cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Obstacle {
    Ttl,
    TooBig { mtu: u16 },
    NoRoute,
}

impl<F: Frame> Slow<'_, F> {
    pub(in crate::worker) fn network_layer(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let snapshot = self.snapshot;
        if addresses::is_martian(ip.source)
            || addresses::is_martian_destination(ip.destination)
            || snapshot.is_link_broadcast(ip.source)
            || snapshot.local(ip.source).is_some()
            || snapshot.belongs_elsewhere(ip.source, self.arrival)
        {
            return Err(DropReason::Martian);
        }
        if addresses::is_group(ip.destination) || snapshot.is_link_broadcast(ip.destination) {
            return Err(DropReason::Broadcast);
        }
        if ip.has_options() && snapshot.ip_options == IpOptions::Filter {
            match options::advice(&frame.bytes()[at::IPV4..ip.payload]) {
                Advice::Pass => {}
                Advice::Drop(_) => return Err(DropReason::IpOptions),
                Advice::Malformed(pointer) => return self.parameter_problem(frame, pointer, ip),
            }
        }
        let local = snapshot.local(ip.destination).is_some();
        match (Protocol::from_number(ip.protocol), ip.fragment) {
            (Some(protocol), Some(fragment)) => self.fragment(frame, ip, fragment, Some(protocol)),
            (Some(protocol), None) => {
                let segment = read_segment(frame.bytes(), &ip, protocol)?;
                self.transport_layer(frame, ip, segment)
            }
            (None, Some(fragment)) if ip.protocol == ipv4::ICMP => self.icmp_fragment(frame, ip, fragment),
            (None, None) if ip.protocol == ipv4::ICMP && local => self.icmp_to_us(frame, ip),
            (None, None) if ip.protocol == ipv4::ICMP => self.icmp_through(frame, ip),
            (None, _) if local => self.protocol_unreachable(frame, ip),
            (None, _) => self.route(frame, ip),
        }
    }

    /// What keeps a packet from leaving on `out`.
    pub(in crate::worker) fn obstacle(&self, ip: &Ip, out: InterfaceId) -> Option<Obstacle> {
        let mtu = self.snapshot.interfaces[out.index()].mtu;
        if ip.ttl <= 1 {
            Some(Obstacle::Ttl)
        } else if ip.length > mtu && ip.dont_fragment {
            Some(Obstacle::TooBig { mtu })
        } else {
            None
        }
    }
}

/// How a packet that nothing keeps from it leaves on `out`: whole, or in fragments.
pub(in crate::worker) fn leaving(ip: &Ip, out: InterfaceId, snapshot: &Snapshot) -> Fate {
    let mtu = snapshot.interfaces[out.index()].mtu;
    if ip.length <= mtu { Fate::Sent(out) } else { Fate::SentInFragments { out, mtu } }
}
