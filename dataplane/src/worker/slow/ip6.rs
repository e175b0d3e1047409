//! The network layer of IPv6: is a packet to us, or through us?

use super::Slow;
use super::packet::{Ip, read_segment};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::Protocol;
use crate::wire::ipv6_extensions::{DESTINATION_OPTIONS, ROUTING};
use crate::wire::{addresses, icmp6, ipv6};
use crate::worker::fate::Judged;

impl<F: Frame> Slow<'_, F> {
    /// `to_group`: the frame is addressed to several hosts.
    pub(in crate::worker) fn network_layer_v6(&mut self, frame: &mut F, ip: Ip, to_group: bool) -> Judged {
        let snapshot = self.snapshot;
        let is_group = addresses::is_group(ip.destination);
        if addresses::is_martian_destination(ip.destination) {
            return Err(DropReason::Martian);
        }
        let is_here = |interfaces: u16| interfaces & self.arrival.bit() != 0;
        let local = match snapshot.local(ip.destination) {
            Some(local) if addresses::is_link_local(ip.destination) => is_here(local.interfaces),
            local => local.is_some(),
        };
        // Before anything that is said of sources: one that has no address yet may ask.
        if (local || is_group) && is_neighbour_discovery(frame.bytes(), &ip) {
            return self.neighbour_discovery(frame);
        }
        if addresses::is_martian(ip.source)
            || snapshot.local(ip.source).is_some()
            || snapshot.belongs_elsewhere(ip.source, self.arrival)
        {
            return Err(DropReason::Martian);
        }
        if is_group {
            return self.icmp6_to_group(frame, ip);
        }
        // A unicast packet to several hosts would be answered, or passed on, by each of them.
        if to_group {
            return Err(DropReason::Broadcast);
        }
        // No connection of a VIP is of one link alone. Errors about one may come from a router that has no other
        // address there, and answers to them go back.
        let is_of_link = |address| addresses::is_link_local(address);
        if (is_of_link(ip.source) || is_of_link(ip.destination)) && ip.protocol != ipv6::ICMP {
            return Err(DropReason::Martian);
        }
        let upper = match ip.upper {
            Some(Ok(upper)) => upper,
            // Extension headers are the receiver's business (RFC 8200 §4), and there is no telling whose it is.
            Some(Err(_)) | None if !local => return self.route(frame, ip),
            Some(Err(flaw)) => return self.wrong_headers(frame, &ip, flaw),
            None => return Err(DropReason::Malformed),
        };
        if local && let Some(routing) = upper.routing {
            return self.unknown_routing(frame, &ip, routing);
        }
        match (Protocol::from_number(ip.protocol), ip.fragment) {
            (protocol, Some(fragment)) if protocol.is_some() || is_headers_later_part(&ip) => {
                self.fragment(frame, ip, fragment, protocol)
            }
            (Some(protocol), _) => {
                let segment = read_segment(frame.bytes(), &ip, protocol)?;
                self.transport_layer(frame, ip, segment)
            }
            (None, Some(fragment)) if ip.protocol == ipv6::ICMP => self.icmp_fragment(frame, ip, fragment),
            (None, None) if ip.protocol == ipv6::ICMP && local => self.icmp6_to_us(frame, ip),
            (None, None) if ip.protocol == ipv6::ICMP => self.icmp6_through(frame, ip),
            (None, _) if local => self.protocol_unreachable(frame, ip),
            (None, _) => self.route(frame, ip),
        }
    }
}

/// Whether a later fragment is of a packet whose first has more extension headers: so its protocol is not known.
const fn is_headers_later_part(ip: &Ip) -> bool {
    ip.is_later_fragment() && matches!(ip.protocol, DESTINATION_OPTIONS | ROUTING)
}

/// Whether a packet is a whole message of neighbour discovery.
fn is_neighbour_discovery(bytes: &[u8], ip: &Ip) -> bool {
    ip.protocol == ipv6::ICMP
        && ip.fragment.is_none()
        && ip.payload < ip.end()
        && icmp6::is_neighbour_discovery(bytes[ip.payload])
}
