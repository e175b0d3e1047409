//! ICMPv6: ping, and errors about packets of connections, which are translated in both directions together with the
//! packet that they quote.

use super::Slow;
use super::packet::Ip;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::wire::ipv6_extensions::Routing;
use crate::wire::{answer6, icmp6, ipv6, mld};
use crate::worker::fate::{Fate, Judged};
use std::net::IpAddr;

impl<F: Frame> Slow<'_, F> {
    /// To an own address: ping, or an error about a reply that went out under that address.
    pub(in crate::worker) fn icmp6_to_us(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let message = frame.bytes().get(ip.payload..ip.end()).and_then(icmp6::Message::parse);
        let kind = message.ok_or(DropReason::Malformed)?.kind();
        if kind == icmp6::ECHO_REQUEST {
            let limit = &mut self.limits.on(self.arrival).echo;
            if !limit.take(self.now) {
                self.counters.answers_suppressed.add(1);
                return Err(DropReason::IcmpUnmatched);
            }
            let answered = answer6::echo_reply(frame);
            if !answered {
                limit.give_back();
            }
            let fate = Fate::Answer { out: self.arrival, instead_of: None };
            return if answered { Ok(fate) } else { Err(DropReason::Malformed) };
        }
        Err(DropReason::IcmpUnmatched)
    }

    /// Towards somebody else.
    pub(in crate::worker) fn icmp6_through(&mut self, frame: &mut F, ip: Ip) -> Judged {
        self.route(frame, ip)
    }

    /// To a group, which may be one that the interface listens to.
    pub(in crate::worker) fn to_group(&mut self, frame: &mut F, ip: Ip) -> Judged {
        if let IpAddr::V6(group) = ip.destination
            && self.snapshot.listens(self.arrival, group)
            && ip.protocol == ipv6::ICMP
            && ip.fragment.is_none()
            && frame.bytes().get(ip.payload).is_some_and(|kind| mld::is_listener_discovery(*kind))
        {
            return self.listener_discovery(frame);
        }
        Err(DropReason::Broadcast)
    }

    /// To an own address, to be sent on to another by a routing header: no type is known (RFC 8200 §4.4, RFC 5095).
    pub(in crate::worker) fn unknown_routing(&mut self, _: &mut F, _: Ip, _: Routing) -> Judged {
        Err(DropReason::IpOptions)
    }
}
