//! Neighbour discovery (RFC 4861): answering for own addresses, and hearing what others say. What routers say of
//! themselves is not listened to: addresses and routes are configured.

use super::Slow;
use super::heard::Said;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::NeighbourKey;
use crate::names::mac::Mac;
use crate::wire::ethernet;
use crate::wire::icmp6::{self, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION};
use crate::wire::ipv6::{self, Packet};
use crate::wire::ndp::{self, Advertisement, Message, Solicitation};
use crate::worker::fate::{Fate, Judged};
use std::net::Ipv6Addr;

/// What our advertisements say: packets are passed on here.
const IS_ROUTER: bool = true;

impl<F: Frame> Slow<'_, F> {
    /// A message of ICMPv6 with a type [of neighbour discovery](icmp6::is_neighbour_discovery), to an own address or
    /// to a group that is listened to. Whether it is valid is found here (RFC 4861 §7.1).
    pub(in crate::worker) fn neighbour_discovery(&mut self, frame: &mut F) -> Judged {
        let bytes = frame.bytes();
        let ethernet = ethernet::Header::parse(bytes).ok_or(DropReason::Malformed)?;
        let packet = Packet::in_frame(bytes).map_err(|_| DropReason::Malformed)?;
        let kind = icmp6::kind(&packet).ok_or(DropReason::Malformed)?;
        if !matches!(kind, NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT) {
            return Err(DropReason::RouterDiscovery);
        }
        let message = Message::parse(&packet).ok_or(DropReason::Ndp)?;
        // Only a probe has no source yet.
        let has_source = !ipv6::is_martian(packet.source());
        match message {
            _ if !is_hosts(ethernet.source) => Err(DropReason::Ndp),
            Message::Solicitation(asked) if has_source || asked.source.is_unspecified() => {
                self.solicited(frame, &asked, ethernet.source)
            }
            Message::Advertisement(told) if has_source => self.advertised(&told, ethernet.source),
            _ => Err(DropReason::Ndp),
        }
    }

    /// Somebody asks for a MAC, or, by a probe, whether an address is in use.
    fn solicited(&mut self, frame: &mut F, asked: &Solicitation, their_mac: Mac) -> Judged {
        let for_us = self.is_ours_here(asked.target.into());
        let is_probe = asked.source.is_unspecified();
        if is_probe && for_us && self.is_own_mac(their_mac) {
            return Err(DropReason::Ndp);
        }
        if self.is_ours_here(asked.source.into()) {
            let reported = self.claimed(asked.source.into(), asked.source_mac.unwrap_or(their_mac));
            return if reported { Ok(Fate::Consumed) } else { Err(DropReason::Ndp) };
        }
        let heard = match asked.source_mac {
            Some(mac) => self.heard(Said { address: asked.source.into(), mac, reply: false, replaces: true }),
            None => false,
        };
        if for_us {
            if is_probe {
                // Whoever probes for it would use it if it were not for the answer.
                self.claimed(asked.target.into(), their_mac);
            }
            return self.advertise(frame, asked, their_mac);
        }
        if heard { Ok(Fate::Consumed) } else { Err(DropReason::Ndp) }
    }

    /// Turns a solicitation for an own address into its answer.
    fn advertise(&mut self, frame: &mut F, asked: &Solicitation, their_mac: Mac) -> Judged {
        let Self { snapshot, arrival, .. } = *self;
        let limit = &mut self.limits.on(arrival).advertisements;
        if !limit.take(self.now) {
            self.counters.answers_suppressed.add(1);
            return Err(DropReason::Ndp);
        }
        let own_mac = snapshot.interfaces[arrival.index()].mac;
        let answer = ndp::answer(asked, their_mac, own_mac, IS_ROUTER);
        if !frame.set_length(answer.len()) {
            limit.give_back();
            return Err(DropReason::Ndp);
        }
        frame.bytes_mut().copy_from_slice(&answer);
        Ok(Fate::Answer { out: arrival, instead_of: None })
    }

    /// Somebody says where an address is.
    fn advertised(&mut self, told: &Advertisement, their_mac: Mac) -> Judged {
        let address = told.target.into();
        let reported = if self.is_ours_here(address) {
            self.claimed(address, told.target_mac.unwrap_or(their_mac))
        } else {
            let reply = told.is_solicited && self.is_ours_here(told.destination.into());
            // One that does not tell a MAC confirms the one that is known (RFC 4861 §7.2.5).
            let mac = told.target_mac.or_else(|| self.known_mac(told.target).filter(|_| reply));
            let replaces = told.overrides || told.target_mac.is_none();
            mac.is_some_and(|mac| self.heard(Said { address, mac, reply, replaces }))
        };
        if reported { Ok(Fate::Consumed) } else { Err(DropReason::Ndp) }
    }

    /// The MAC that packets to a host of this link go to.
    fn known_mac(&self, address: Ipv6Addr) -> Option<Mac> {
        let key = NeighbourKey { interface: self.arrival, address: address.into() };
        let known = self.reach.next_hops.get(self.reach.id(key)?);
        known.is_resolved().then(|| known.mac())
    }
}

/// Whether a MAC can be one host's.
const fn is_hosts(mac: Mac) -> bool {
    !mac.is_group() && mac.bits() != 0
}
