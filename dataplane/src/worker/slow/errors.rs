//! ICMP errors of either family about packets of connections: translated in both directions, together with the packet
//! that they quote.
//!
//! In IPv6 a router may send one from an address that means something on its link alone, if it has no other there. Such
//! a source is not passed on (RFC 4291 §2.5.6), but the error is: without it a connection whose packets are too big
//! hangs. Towards a client every error comes from the VIP anyway. Towards a real it leaves with our address on the
//! real's link in place of that one, as of translators between the families (RFC 6791).

use super::Slow;
use super::ip::leaving;
use super::packet::Ip;
use crate::frame::Frame;
use crate::names::direction::Direction;
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::names::ids::{InterfaceId, RealKey};
use crate::wire::icmp_error::Quoted;
use crate::wire::{addresses, icmp_error, icmp6_error};
use crate::worker::fast::rewrite;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::{Ends, Found};
use crate::worker::reach::Course;
use std::net::{IpAddr, SocketAddr};

/// An ICMP error, as far as it has been read.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct IcmpError {
    /// The packet that it is about, if that is told.
    pub(in crate::worker) quoted: Option<Quoted>,
    /// Where that was going, if it was a fragment without ports.
    pub(in crate::worker) later_fragment_to: Option<IpAddr>,
    pub(in crate::worker) has_right_checksum: bool,
}

impl<F: Frame> Slow<'_, F> {
    /// An error to an own address: about a reply that went out under that address.
    pub(in crate::worker) fn error_to_us(
        &mut self,
        frame: &mut F,
        ip: &Ip,
        quoted: Option<Quoted>,
    ) -> Judged {
        // The quoted packet is a reply as the client's side saw it: from the VIP to the client.
        let ends = ends_of(&quoted.ok_or(DropReason::IcmpUnmatched)?);
        let course = match self.find(&ends, Direction::Forward) {
            Some(found) => found.course(),
            None => self.course_of_error(&ends)?,
        };
        if self.snapshot.on_removal(course.real).is_some() {
            return Err(DropReason::RealRemoved);
        }
        self.translate_error(frame, ip, course)
    }

    /// An error towards somebody else: about a connection's packet on the reals' side, or not ours.
    pub(in crate::worker) fn error_through(&mut self, frame: &mut F, ip: Ip, error: &IcmpError) -> Judged {
        let Some(quoted) = &error.quoted else {
            // It may be a connection's, and its receiver does not know the real.
            if error.later_fragment_to.is_some_and(|destination| self.snapshot.is_server(destination)) {
                return Err(DropReason::IcmpUnmatched);
            }
            return self.route(frame, ip);
        };
        // The quoted packet is a client's as the reals' side saw it: from the client to the real.
        let ends = ends_of(quoted);
        let found = self.find(&ends, Direction::Reverse).map(Found::course);
        let Some(course) = found.or_else(|| self.course_back(&ends)) else {
            return self.route(frame, ip);
        };
        // A sender that is not on its side has not seen the packet that it quotes.
        if self.snapshot.is_real_elsewhere(ends.source.ip(), self.arrival) {
            return Err(DropReason::Martian);
        }
        if !error.has_right_checksum {
            return Err(DropReason::IcmpChecksum);
        }
        self.translate_error(frame, &ip, course)
    }

    /// Translates an error and sends it on. It counts as traffic, but neither changes the state of the connection nor
    /// keeps it alive.
    fn translate_error(&mut self, frame: &mut F, ip: &Ip, course: Course) -> Judged {
        let snapshot = self.snapshot;
        let Course { real, port, direction, .. } = course;
        let key = snapshot.connection_key(real, port).ok_or(DropReason::NoRoute)?;
        let way = self.reach.way(course, ip.destination, snapshot).ok_or(DropReason::NoRoute)?;
        let out = way.hop.interface;
        if let Some(obstacle) = self.obstacle(ip, out) {
            return self.obstructed(frame, ip, obstacle);
        }
        let Some((_, mac)) = self.reach.resolved(way.hop, way.known) else {
            return Ok(Fate::Await(way.hop));
        };
        let translated = match ip.version() {
            IpVersion::Four => translate_v4(frame, &key, direction),
            IpVersion::Six => {
                let in_place_of_source = self.in_place_of(ip.source, out, &key)?;
                translate_v6(frame, &key, direction, in_place_of_source)
            }
        };
        if !translated {
            return Err(DropReason::Malformed);
        }
        let bytes = frame.bytes_mut();
        match ip.version() {
            IpVersion::Four => rewrite::decrement_ttl(bytes),
            IpVersion::Six => rewrite::decrement_hop_limit(bytes),
        }
        rewrite::address_frame(bytes, mac.bits(), snapshot.mac_bits(out));
        self.counters.real(real).count(direction, ip.length);
        Ok(leaving(ip, out, snapshot))
    }

    /// What an error to a real leaves with in place of a source that is not passed on: ours where it leaves.
    fn in_place_of(
        &self,
        source: IpAddr,
        out: InterfaceId,
        real: &RealKey,
    ) -> Result<Option<IpAddr>, DropReason> {
        if !addresses::is_link_local(source) {
            return Ok(None);
        }
        let ours = self.snapshot.own_address(out, real.endpoint.ip());
        ours.filter(|ours| !addresses::is_link_local(*ours)).map(Some).ok_or(DropReason::Martian)
    }
}

/// Between whom the packets went that were answered by the quoted one's kind.
const fn ends_of(quoted: &Quoted) -> Ends {
    let Quoted { protocol, source, destination } = *quoted;
    Ends { protocol, source: destination, destination: source }
}

fn translate_v4<F: Frame>(frame: &mut F, key: &RealKey, direction: Direction) -> bool {
    let RealKey { service, endpoint } = key;
    match (direction, service.listen, *endpoint) {
        (Direction::Forward, _, SocketAddr::V4(real)) => {
            icmp_error::translate(frame, None, Some(*real.ip()), Some(real), None)
        }
        (Direction::Reverse, SocketAddr::V4(vip), _) => {
            icmp_error::translate(frame, Some(*vip.ip()), None, None, Some(vip))
        }
        _ => false,
    }
}

fn translate_v6<F: Frame>(
    frame: &mut F,
    key: &RealKey,
    direction: Direction,
    in_place_of_source: Option<IpAddr>,
) -> bool {
    let RealKey { service, endpoint } = key;
    match (direction, service.listen, *endpoint) {
        (Direction::Forward, _, SocketAddr::V6(real)) => {
            let source = match in_place_of_source {
                Some(IpAddr::V6(ours)) => Some(ours),
                _ => None,
            };
            icmp6_error::translate(frame, source, Some(*real.ip()), Some(real), None)
        }
        (Direction::Reverse, SocketAddr::V6(vip), _) => {
            icmp6_error::translate(frame, Some(*vip.ip()), None, None, Some(vip))
        }
        _ => false,
    }
}
