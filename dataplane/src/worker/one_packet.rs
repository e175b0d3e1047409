//! Datagrams of one-packet services: each is scheduled by itself, and no connection is made.
//!
//! A connection that is there goes on, also after its service has become a one-packet one: as in the kernel,
//! connections are looked for before services. What is remembered instead of a connection is the pair of the client's
//! and the real's endpoint, so that replies leave by the address that the client knows; the kernel does not translate
//! them. Datagrams are counted on their reals as connections made, and as packets.
//!
//! A datagram is scheduled once, however often it walks the slow path: one that waits for its next hop is kept together
//! with its real, and the other fragments of one go to the real of the first.

use super::flows::{Ends, Flows};
use super::reach::Course;
use super::slow::Slow;
use super::slow::packet::{Ip, Segment};
use super::turn::Turn;
use crate::connection::table::HashKey;
use crate::counters::WorkerCounters;
use crate::frame::{Frame, FrameIo};
use crate::names::direction::Direction;
use crate::names::drop_reason::DropReason;
use crate::names::ids::{NextHopId, Protocol, RealId};
use crate::names::time::Tick;
use crate::one_packet::{Datagram, Datagrams, Kept, Pair, Pairs};
use crate::snapshot::Snapshot;

/// Pairs that a worker remembers: as many as connections, but at least this many, ...
const LEAST_PAIRS: usize = 1024;
/// ... and at most this many: 32 MiB once all places have been used.
const MOST_PAIRS: usize = 1 << 20;
/// Reals of a service that are asked whether they are the one that an error about a reply is for.
const REALS_ASKED: usize = 256;

/// What a worker remembers of datagrams. It shares its cache lines with nothing else.
#[repr(align(128))]
pub(super) struct OnePacket {
    pairs: Pairs,
    datagrams: Datagrams,
}

impl OnePacket {
    fn new(capacity: usize, key: HashKey) -> Self {
        let pairs = Pairs::new(capacity.clamp(LEAST_PAIRS, MOST_PAIRS).next_power_of_two(), key);
        Self { pairs, datagrams: Datagrams::new(key) }
    }
}

impl Flows {
    /// Takes the memory for datagrams, if this snapshot, which follows on the version `old`, is the first that has a
    /// one-packet service.
    pub(super) fn prepare_one_packet(&mut self, new: &Snapshot, old: u64) {
        if self.one_packet.is_none() && new.edited_since(old).any(|id| new.is_one_packet(id)) {
            self.counters.prepare_pairs();
            self.one_packet = Some(Box::new(OnePacket::new(self.tables.capacity(), self.hash_key)));
        }
    }

    /// A client's datagram goes to the real of this course.
    pub(super) fn note_datagram(&mut self, pair: Pair, course: Course, snapshot: &Snapshot, tick: Tick) {
        let Self { one_packet: Some(one_packet), counters, .. } = self else { return };
        let Course { real, port, back, .. } = course;
        one_packet.pairs.note_datagram(pair, (real, port), back, snapshot.clock(tick), counters);
        counters.datagrams_scheduled.add(1);
        counters.real(course.real).connections.add(1);
    }

    /// A real's datagram leaves by this course.
    pub(super) fn note_reply(&mut self, pair: Pair, course: Course, tick: Tick) {
        if let Some(one_packet) = &mut self.one_packet {
            one_packet.pairs.note_reply(pair, course.back, tick);
        }
    }

    /// The course of a real's datagram, or of an error about a datagram to it, that goes to a client which has sent
    /// datagrams there.
    pub(super) fn course_back(&self, pair: Pair, snapshot: &Snapshot, tick: Tick) -> Option<Course> {
        let kept = self.one_packet.as_ref()?.pairs.get(pair, snapshot.clock(tick))?;
        Some(course(kept, Direction::Reverse))
    }

    /// The course of an error about a reply of a one-packet service, which does not say whose reply it was: to the real
    /// that answered this client last. `ends` are those of the client's datagrams.
    pub(super) fn course_of_error(&self, ends: &Ends, snapshot: &Snapshot, tick: Tick) -> Option<Course> {
        let one_packet = self.one_packet.as_ref()?;
        let (_, service) = snapshot.service_for(ends.protocol, ends.destination)?;
        let reals = service.schedule.candidates().iter().take(REALS_ASKED).map(|of| of.real);
        let endpoints = reals.filter_map(|real| snapshot.connection_key(real, ends.destination.port()));
        let pairs = endpoints.map(|key| Pair::new(ends.source, key.endpoint, self.hash_key));
        let kept = one_packet.pairs.answered_last(pairs, snapshot.clock(tick))?;
        Some(course(kept, Direction::Forward))
    }
}

/// The course of what goes in this direction between a pair's ends.
const fn course(Kept { real, port, next_hop, .. }: Kept, direction: Direction) -> Course {
    Course { real, port, direction, back: next_hop }
}

impl Ends {
    /// The pair of a datagram that takes this course.
    pub(super) fn pair(&self, course: Course, snapshot: &Snapshot, secret: HashKey) -> Option<Pair> {
        let server = snapshot.connection_key(course.real, course.port)?.endpoint;
        match course.direction {
            Direction::Forward => Some(Pair::new(self.source, server, secret)),
            Direction::Reverse => self.pair_back(secret),
        }
    }

    /// The pair of a datagram from a real; `None`: it is not UDP.
    pub(super) fn pair_back(&self, secret: HashKey) -> Option<Pair> {
        (self.protocol == Protocol::Udp).then(|| Pair::new(self.destination, self.source, secret))
    }
}

impl<F: Frame> Slow<'_, F> {
    /// The real that this datagram has been scheduled to before: it has waited, or is a fragment other than the first.
    /// `None`: it is to be scheduled now.
    pub(super) fn scheduled_before(&mut self, ip: &Ip, segment: &Segment) -> Option<RealId> {
        let before = match segment.transport {
            Some(_) => self.scheduled.take(),
            None => {
                let datagram = self.datagram(ip, segment)?;
                self.flows.one_packet.as_mut()?.datagrams.follow(datagram, self.now)
            }
        };
        before.filter(|real| self.serves(*real, &segment.ends))
    }

    /// The course of a datagram that goes to this real.
    pub(super) fn schedule(&mut self, ip: &Ip, segment: &Segment, real: RealId) -> Course {
        let back = match segment.transport {
            Some(_) => self.reach.way_back(ip.source, self.arrival, self.snapshot),
            None => NextHopId::UNKNOWN,
        };
        if segment.transport.is_some()
            && let Some(datagram) = self.datagram(ip, segment)
            && let Some(one_packet) = &mut self.flows.one_packet
        {
            one_packet.datagrams.begin(datagram, real, self.now);
        }
        Course { real, port: segment.ends.destination.port(), direction: Direction::Forward, back }
    }

    /// What a datagram leaves behind that is translated.
    pub(super) fn note_one_packet(&mut self, course: Course, ends: &Ends) {
        let (snapshot, tick) = (self.snapshot, self.now.tick());
        let Some(pair) = ends.pair(course, snapshot, self.flows.hash_key) else { return };
        match course.direction {
            Direction::Forward => self.flows.note_datagram(pair, course, snapshot, tick),
            Direction::Reverse => self.flows.note_reply(pair, course, tick),
        }
    }

    /// The course of a real's datagram that is of no connection, or of an error about a datagram to it.
    pub(super) fn course_back(&self, ends: &Ends) -> Option<Course> {
        self.flows.one_packet.as_ref()?; // only then is there anything to look for
        self.flows.course_back(ends.pair_back(self.flows.hash_key)?, self.snapshot, self.now.tick())
    }

    /// The course of an error about a reply that is of no connection.
    pub(super) fn course_of_error(&self, ends: &Ends) -> Result<Course, DropReason> {
        let course = self.flows.course_of_error(ends, self.snapshot, self.now.tick());
        course.ok_or(DropReason::IcmpUnmatched)
    }

    /// Whether the real is of the service that these ends are of, which is a one-packet one.
    fn serves(&self, real: RealId, ends: &Ends) -> bool {
        let service = self.snapshot.service_for(ends.protocol, ends.destination);
        service.is_some_and(|(id, of)| of.policy.one_packet && self.snapshot.service_of(real) == Some(id))
    }

    /// What all fragments of a datagram have in common; `None`: it comes in one.
    fn datagram(&self, ip: &Ip, segment: &Segment) -> Option<Datagram> {
        let Ends { source, destination, .. } = segment.ends;
        Some(Datagram::new(source, destination, ip.fragment?.id, self.flows.hash_key))
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Once a turn: forgets pairs that have timed out.
    pub(super) fn tend_one_packet(&mut self, idle: bool) {
        let Flows { one_packet: Some(one_packet), .. } = &mut *self.flows else { return };
        let counters: &WorkerCounters = self.counters;
        one_packet.pairs.sweep(self.snapshot.clock(self.now.tick()), self.now, idle, counters);
    }
}
