//! TCP, UDP and SCTP: packets of connections, and those that open one.

use super::Slow;
use super::ip::{Obstacle, leaving};
use super::openings::Opening;
use super::packet::{Ip, Segment};
use super::removal::Standing;
use crate::connection::Transport;
use crate::exchange::peers::Purpose;
use crate::frame::Frame;
use crate::names::direction::Direction;
use crate::names::drop_reason::DropReason;
use crate::names::family::{IpVersion, V4, V6};
use crate::names::ids::{Protocol, RealId, RealKey};
use crate::snapshot::Snapshot;
use crate::wire::{checksum, sctp, tcp};
use crate::worker::fast::rewrite;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::{Ends, Found};
use crate::worker::persistent::Stays;
use crate::worker::reach::Course;

impl<F: Frame> Slow<'_, F> {
    /// TCP, UDP or SCTP, or a fragment of it whose ports are known.
    pub(in crate::worker) fn transport_layer(&mut self, frame: &mut F, ip: Ip, segment: Segment) -> Judged {
        if self.snapshot.local(ip.destination).is_some() {
            self.client_side(frame, ip, segment, None)
        } else {
            self.passing(frame, ip, segment)
        }
    }

    /// To an own address: a connection's packet, or the first of a new one, for which `stays` says which real its
    /// client stays with, if another worker has been asked that.
    pub(in crate::worker) fn client_side(
        &mut self,
        frame: &mut F,
        ip: Ip,
        segment: Segment,
        stays: Option<Stays>,
    ) -> Judged {
        if let Some(found) = self.find(&segment.ends, Direction::Forward) {
            match self.standing(&segment, found) {
                Standing::GoesOn => {
                    return self.translate(frame, ip, &segment, Whose::Connection(found));
                }
                Standing::Ends(ending) => return self.end(frame, &segment, found, ending),
                Standing::BeginsAnew => {
                    self.flows.close_found(found);
                    if self.flows.is_inheriting() {
                        self.find_left(&segment.ends, Direction::Forward);
                    }
                }
            }
        }
        if let Some(real) = self.scheduled_before(&ip, &segment) {
            return self.translate_datagram(frame, ip, &segment, real);
        }
        let Some(transport) = segment.transport else {
            return Err(DropReason::FragmentRefused); // its connection went while it was on its way
        };
        match self.new_connection(&segment.ends, transport, stays) {
            Ok(Opening::Made(found)) => self.translate(frame, ip, &segment, Whose::Connection(found)),
            Ok(Opening::Scheduled(real)) => self.translate_datagram(frame, ip, &segment, real),
            Ok(Opening::Asks(to)) => {
                Ok(Fate::HandOver { to, arrival: self.arrival, purpose: Purpose::Question })
            }
            Err(refusal) => self.refuse(frame, &segment.ends, refusal),
        }
    }

    /// To somebody else: a reply, or a packet of no connection on its way.
    fn passing(&mut self, frame: &mut F, ip: Ip, segment: Segment) -> Judged {
        let ends = segment.ends;
        if let Some(found) = self.find(&ends, Direction::Reverse) {
            return self.translate(frame, ip, &segment, Whose::Connection(found));
        }
        if let Some(course) = self.course_back(&ends) {
            return self.translate(frame, ip, &segment, Whose::OnePacket(course));
        }
        if !self.snapshot.is_endpoint(ends.protocol, ends.source) {
            return self.route(frame, ip);
        }
        match ends.protocol {
            Protocol::Tcp | Protocol::Sctp if self.is_reals_own(frame.bytes(), &ip, &segment) => {
                self.route(frame, ip)
            }
            Protocol::Tcp | Protocol::Sctp if self.flows.is_inheriting() => Err(DropReason::Inheriting),
            Protocol::Tcp | Protocol::Sctp => {
                self.answer_with_reset(frame, DropReason::RealWithoutConnection)
            }
            // To a client that has a connection it would not come from the address that the client knows.
            Protocol::Udp if self.flows.is_client(&ends, self.snapshot, self.now.tick()) => {
                Err(DropReason::RealWithoutConnection)
            }
            Protocol::Udp => self.route(frame, ip),
        }
    }

    /// Whether a segment from a port of a service is of a connection that the real itself has opened: it begins with a
    /// SYN or an INIT. Any other is of a client's that has been forgotten.
    fn is_reals_own(&mut self, bytes: &[u8], ip: &Ip, segment: &Segment) -> bool {
        let opens = match segment.transport {
            Some(Transport::Tcp(_)) => {
                let flags = bytes.get(ip.payload + tcp::field::FLAGS).copied().unwrap_or_default();
                flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN
            }
            transport => transport.is_some_and(Transport::begins),
        };
        if opens {
            self.flows.own.open(segment.ends, self.now);
        }
        opens || self.flows.own.has(segment.ends, self.now)
    }

    /// The live connection of a packet that goes in this direction, even of a removed real.
    pub(in crate::worker) fn find(&mut self, ends: &Ends, direction: Direction) -> Option<Found> {
        let found = self.flows.find(ends, direction, self.snapshot, self.now.tick());
        if found.is_none() && self.flows.is_inheriting() {
            return self.find_left(ends, direction);
        }
        found
    }

    /// A datagram of a one-packet service that goes to this real.
    fn translate_datagram(&mut self, frame: &mut F, ip: Ip, segment: &Segment, real: RealId) -> Judged {
        let course = self.schedule(&ip, segment, real);
        self.translate(frame, ip, segment, Whose::OnePacket(course))
    }

    /// A packet of a connection, or one that makes none: TTL and MTU, the next hop, then the translation. The
    /// connection takes note of the packet even if it goes no further, as in IPVS.
    fn translate(&mut self, frame: &mut F, ip: Ip, segment: &Segment, mut whose: Whose) -> Judged {
        let snapshot = self.snapshot;
        let course = whose.course();
        let Some(way) = self.reach.way(course, ip.destination, snapshot) else {
            return self.obstructed(frame, &ip, Obstacle::NoRoute);
        };
        let out = way.hop.interface;
        // Its checksum depends on how long the packet is in all.
        let sctp = segment.ends.protocol == Protocol::Sctp && !ip.is_later_fragment();
        let whole = if sctp { segment.whole.ok_or(DropReason::FragmentRefused)? } else { 0 };

        if let Some(obstacle) = self.obstacle(&ip, out) {
            self.note_packet(whose, segment, &ip);
            return self.obstructed(frame, &ip, obstacle);
        }
        let Some((id, destination)) = self.reach.resolved(way.hop, way.known) else {
            // Nothing is done yet: it walks this path again.
            return Ok(match whose {
                Whose::OnePacket(Course { real, direction: Direction::Forward, .. }) => {
                    Fate::AwaitTo(way.hop, real)
                }
                _ => Fate::Await(way.hop),
            });
        };
        if course.direction == Direction::Reverse && id != way.known {
            match &mut whose {
                Whose::Connection(found) => self.flows.set_next_hop(*found, id),
                Whose::OnePacket(course) => course.back = id,
            }
        }
        self.note_packet(whose, segment, &ip);
        let bytes = frame.bytes_mut();
        match ip.version() {
            IpVersion::Four => rewrite_v4(bytes, &ip, segment.ends.protocol, course, snapshot),
            IpVersion::Six => rewrite_v6(bytes, &ip, segment.ends.protocol, course, snapshot),
        }
        if sctp {
            rewrite_sctp(&mut bytes[ip.payload..ip.end()], whole, course, snapshot);
        }
        rewrite::address_frame(bytes, destination.bits(), snapshot.mac_bits(out));
        Ok(leaving(&ip, out, snapshot))
    }

    /// A fragment other than the first only counts as traffic.
    fn note_packet(&mut self, whose: Whose, segment: &Segment, ip: &Ip) {
        match (whose, segment.transport) {
            (Whose::Connection(found), Some(transport)) => {
                return self.flows.note(found, transport, ip.length, self.now.tick());
            }
            (Whose::OnePacket(course), Some(_)) => self.note_one_packet(course, &segment.ends),
            (_, None) => {}
        }
        let Course { real, direction, .. } = whose.course();
        self.counters.real(real).count(direction, ip.length);
    }
}

fn rewrite_v4(bytes: &mut [u8], ip: &Ip, protocol: Protocol, course: Course, snapshot: &Snapshot) {
    let record = &*snapshot.rewrite_at::<V4>(course.real, course.port);
    match checksum::offset_in(protocol).filter(|_| !ip.is_later_fragment()) {
        Some(offset) => {
            rewrite::translate(bytes, ip.payload, ip.payload + offset, course.direction, record);
        }
        None => rewrite::translate_address(bytes, course.direction, record),
    }
}

fn rewrite_v6(bytes: &mut [u8], ip: &Ip, protocol: Protocol, course: Course, snapshot: &Snapshot) {
    let record = &*snapshot.rewrite_at::<V6>(course.real, course.port);
    match checksum::offset_in(protocol).filter(|_| !ip.is_later_fragment()) {
        Some(offset) => {
            rewrite::translate_v6(bytes, ip.payload, ip.payload + offset, course.direction, record);
        }
        None => rewrite::translate_address_v6(bytes, course.direction, record),
    }
}

/// The port of an SCTP packet of `whole` bytes, or its first fragment, and its checksum, which covers no address.
fn rewrite_sctp(
    packet: &mut [u8],
    whole: usize,
    Course { real, port, direction, .. }: Course,
    snapshot: &Snapshot,
) {
    let Some(RealKey { service, endpoint }) = snapshot.connection_key(real, port) else { return };
    let (offset, port) = match direction {
        Direction::Forward => (sctp::field::DESTINATION, endpoint.port()),
        Direction::Reverse => (sctp::field::SOURCE, service.listen.port()),
    };
    sctp::replace_port(packet, whole, offset, port);
}

/// What a packet belongs to that is translated.
#[derive(Clone, Copy)]
enum Whose {
    /// To this connection.
    Connection(Found),
    /// To none.
    OnePacket(Course),
}

impl Whose {
    fn course(self) -> Course {
        match self {
            Self::Connection(found) => found.course(),
            Self::OnePacket(course) => course,
        }
    }
}
