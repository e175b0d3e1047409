//! Routing packets of no connection, which are on their way to somebody else.

use super::Slow;
use super::ip::{Obstacle, leaving};
use super::packet::Ip;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::names::ids::NextHopId;
use crate::names::mac::Mac;
use crate::snapshot::Unmatched;
use crate::wire::{addresses, ethernet};
use crate::worker::fast::rewrite;
use crate::worker::fate::{Fate, Judged};

impl<F: Frame> Slow<'_, F> {
    pub(in crate::worker) fn route(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let Self { snapshot, arrival, .. } = *self;
        if snapshot.unmatched == Unmatched::Drop {
            return Err(DropReason::Unrouted);
        }
        // What is of one link stays on it (RFC 4291 §2.5.6).
        if addresses::is_link_local(ip.source) || addresses::is_link_local(ip.destination) {
            return Err(DropReason::Martian);
        }
        let routes = &snapshot.routes;
        let is_server = snapshot.is_server(ip.destination);
        let hop = if is_server { routes.to_real(ip.destination) } else { routes.next(ip.destination) };
        let Some(hop) = hop else {
            return self.obstructed(frame, &ip, Obstacle::NoRoute);
        };
        let resolved = self.reach.resolved(hop, NextHopId::UNKNOWN);
        let sender = ethernet::Header::parse(frame.bytes()).map(|header| header.source);
        let is_sender = |mac: Mac| hop.interface == arrival && Some(mac) == sender;
        if resolved.is_some_and(|(_, mac)| is_sender(mac))
            || !is_server && routes.turns_back(ip.source, ip.destination, arrival)
        {
            return Err(DropReason::SentBack);
        }
        if let Some(obstacle) = self.obstacle(&ip, hop.interface) {
            return self.obstructed(frame, &ip, obstacle);
        }
        let Some((_, destination)) = resolved else { return Ok(Fate::Await(hop)) };
        let bytes = frame.bytes_mut();
        match ip.version() {
            IpVersion::Four => rewrite::decrement_ttl(bytes),
            IpVersion::Six => rewrite::decrement_hop_limit(bytes),
        }
        rewrite::address_frame(bytes, destination.bits(), snapshot.mac_bits(hop.interface));
        self.counters.routed.add(1);
        Ok(leaving(&ip, hop.interface, snapshot))
    }
}
