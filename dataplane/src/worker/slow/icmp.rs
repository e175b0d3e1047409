//! ICMP: ping, and errors about packets of connections, which are translated in both directions
//! together with the packet that they quote.

use super::Slow;
use super::ip::leaving;
use super::packet::Ip;
use crate::frame::Frame;
use crate::names::direction::Direction;
use crate::names::drop_reason::DropReason;
use crate::names::family::V4;
use crate::names::ids::RealKey;
use crate::snapshot::Snapshot;
use crate::wire::plain::at;
use crate::wire::{answer, icmp, icmp_error, ipv4};
use crate::worker::fast::rewrite;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::{Ends, Found};
use crate::worker::reach::Course;

impl<F: Frame> Slow<'_, F> {
    /// To an own address: ping, or an error about a reply that went out under that address.
    pub(in crate::worker) fn icmp_to_us(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let message = message(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if !message.has_right_checksum() {
            return Err(DropReason::IcmpChecksum);
        }
        if icmp::is_never_passed_on(message.kind()) {
            return Err(DropReason::IcmpType);
        }
        if message.kind() == icmp::ECHO_REQUEST {
            let limit = &mut self.limits.on(self.arrival).echo;
            if !limit.take(self.now) {
                self.counters.answers_suppressed.add(1);
                return Err(DropReason::IcmpUnmatched);
            }
            let answered = answer::echo_reply(frame);
            if !answered {
                limit.give_back();
            }
            return if answered { Ok(self.echo_fate(frame)) } else { Err(DropReason::Malformed) };
        }
        // The quoted packet is a reply as the client's side saw it: from the VIP to the client.
        let quoted = quoted(frame.bytes()).ok_or(DropReason::IcmpUnmatched)?;
        let ends = Ends { protocol: quoted.protocol, source: quoted.destination, destination: quoted.source };
        let course = match self.find(&ends, Direction::Forward) {
            Some(found) => found.course(),
            None => self.course_of_error(&ends)?,
        };
        if self.snapshot.on_removal(course.real).is_some() {
            return Err(DropReason::RealRemoved);
        }
        self.translate_error(frame, ip, course)
    }

    /// Towards somebody else: an error about a connection's packet on the reals' side, or not ours.
    pub(in crate::worker) fn icmp_through(&mut self, frame: &mut F, ip: Ip) -> Judged {
        let message = message(frame.bytes(), &ip).ok_or(DropReason::Malformed)?;
        if icmp::is_never_passed_on(message.kind()) {
            return Err(DropReason::IcmpType);
        }
        let Some(quoted) = quoted(frame.bytes()) else {
            if about_later_fragment_to_server(frame.bytes(), self.snapshot) {
                return Err(DropReason::IcmpUnmatched);
            }
            return self.route(frame, ip);
        };
        // The quoted packet is a client's as the reals' side saw it: from the client to the real.
        let ends = Ends { protocol: quoted.protocol, source: quoted.destination, destination: quoted.source };
        let found = self.find(&ends, Direction::Reverse).map(Found::course);
        let Some(course) = found.or_else(|| self.course_back(&ends)) else {
            return self.route(frame, ip);
        };
        // A sender that is not on its side has not seen the packet that it quotes.
        if self.snapshot.is_real_elsewhere(ends.source.ip(), self.arrival) {
            return Err(DropReason::Martian);
        }
        if !message.has_right_checksum() {
            return Err(DropReason::IcmpChecksum);
        }
        self.translate_error(frame, ip, course)
    }

    /// Translates an error and sends it on. It counts as traffic, but neither changes the state of
    /// the connection nor keeps it alive.
    fn translate_error(&mut self, frame: &mut F, ip: Ip, course: Course) -> Judged {
        let Self { snapshot, arrival, .. } = *self;
        let real = course.real;
        let RealKey { service, endpoint } =
            snapshot.connection_key(real, course.port).ok_or(DropReason::NoRoute)?;
        let way = self.reach.way(course, ip.destination, snapshot).ok_or(DropReason::NoRoute)?;
        let speaker = match course.direction {
            Direction::Forward => Some(ip.destination),
            Direction::Reverse => snapshot.own_address(arrival),
        };
        if let Some(obstacle) = self.obstacle(&ip, way.hop.interface) {
            return self.obstructed(frame, obstacle, speaker);
        }
        let Some((_, mac)) = self.reach.resolved(way.hop, way.known) else {
            return Ok(Fate::Await(way.hop));
        };
        let (virtual_, endpoint) = (V4::socket(service.listen), V4::socket(endpoint));
        let (virtual_, endpoint) = virtual_.zip(endpoint).ok_or(DropReason::Ipv6)?;
        let translated = match course.direction {
            Direction::Forward => {
                icmp_error::translate(frame, None, Some(*endpoint.ip()), Some(endpoint), None)
            }
            Direction::Reverse => {
                icmp_error::translate(frame, Some(*virtual_.ip()), None, None, Some(virtual_))
            }
        };
        if !translated {
            return Err(DropReason::Malformed);
        }
        let bytes = frame.bytes_mut();
        rewrite::decrement_ttl(bytes);
        rewrite::address_frame(bytes, mac.bits(), snapshot.mac_bits(way.hop.interface));
        self.counters.real(real).count(course.direction, ip.length);
        Ok(leaving(&ip, way.hop.interface, snapshot))
    }
}

/// Whether a packet is an error about a fragment without ports on its way to a real: it may be a
/// connection's, and its receiver does not know the real. No error about it is due (RFC 1812 §4.3.2.7).
fn about_later_fragment_to_server(bytes: &[u8], snapshot: &Snapshot) -> bool {
    let packet = ipv4::Packet::in_frame(bytes).ok();
    let destination = packet.and_then(|packet| icmp_error::later_fragments_destination(&packet));
    destination.is_some_and(|destination| snapshot.is_server(destination))
}

/// The TCP or UDP packet that an ICMP error quotes.
fn quoted(bytes: &[u8]) -> Option<icmp_error::Quoted> {
    icmp_error::Quoted::parse(&ipv4::Packet::in_frame(bytes).ok()?)
}

/// The ICMP message of a packet, without padding.
fn message<'a>(bytes: &'a [u8], ip: &Ip) -> Option<icmp::Message<'a>> {
    icmp::Message::parse(bytes.get(ip.payload..at::IPV4 + usize::from(ip.length))?)
}
