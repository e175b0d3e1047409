//! A plain datagram of a one-packet service, or a reply to one. It comes here only after it was found to be of no
//! connection and to open none, so nothing else pays for it.

use super::Fast;
use super::family::Plain;
use super::rewrite;
use super::staged::Decoded;
use crate::frame::Frame;
use crate::names::direction::Direction;
use crate::names::ids::{InterfaceId, Protocol};
use crate::one_packet::Pair;
use crate::translation::Record;
use crate::wire::be_u16;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::Wanted;
use crate::worker::reach::Course;
use std::net::SocketAddr;

impl<F: Frame> Fast<'_, F> {
    /// Schedules a plain datagram from a client, or finds whom a reply is for, and translates it. [`Fate::Slow`] if
    /// there is more to it, and [`Fate::SlowTo`] if it has been scheduled; nothing is done to the packet then.
    #[inline(never)]
    pub(super) fn one_packet<V: Plain>(
        mut self,
        frame: &mut F,
        decoded: &Decoded<V>,
        arrival: InterfaceId,
    ) -> Judged {
        // Replies to a client that has connections too may be of one of them.
        let table = V::of(&self.flows.tables);
        if table.vacancy(decoded.home, decoded.key).is_none()
            && table.find(table.hash(decoded.key), decoded.key, |_| true).is_some()
        {
            return Ok(Fate::Slow);
        }
        match decoded.direction {
            Direction::Forward => self.schedule(frame, decoded, arrival),
            Direction::Reverse => self.reply(frame, decoded),
        }
    }

    fn schedule<V: Plain>(&mut self, frame: &mut F, decoded: &Decoded<V>, arrival: InterfaceId) -> Judged {
        let snapshot = self.snapshot;
        let Some(opening) = self.opening(frame.head(), decoded, arrival) else { return Ok(Fate::Slow) };
        let Some(service) = snapshot.plain_one_packet(opening.service) else { return Ok(Fate::Slow) };
        let wanted = Wanted { service, key: decoded.key };
        let Some(real) = self.flows.pick_for_datagram(wanted, snapshot, self.now) else {
            return Ok(Fate::Slow); // it is refused there
        };
        let server = snapshot.connection_key(real, 0).map(|key| key.endpoint);
        let secret = self.flows.hash_key;
        let pair = server.map(|server| Pair::new(V::client(decoded.key), server, secret));
        let next_hop = self.reach.next_hops.get(snapshot.rewrite::<V>(real).next_hop());
        let (Some(pair), true) = (pair, next_hop.is_resolved()) else { return Ok(Fate::SlowTo(real)) };
        let back = self.reach.way_back(opening.source, arrival, snapshot);
        // Services on several ports are the slow path's.
        let course = Course { real, port: 0, direction: Direction::Forward, back };
        self.flows.note_datagram(pair, course, snapshot, self.now.tick());
        self.send(frame, decoded, course, next_hop.interface(), next_hop.addresses())
    }

    fn reply<V: Plain>(&mut self, frame: &mut F, decoded: &Decoded<V>) -> Judged {
        let (snapshot, tick, head) = (self.snapshot, self.now.tick(), frame.head());
        if V::protocol(head) != Protocol::Udp.number() || !V::has_right_header(head) {
            return Ok(Fate::Slow);
        }
        let server = SocketAddr::new(V::source(head).into(), be_u16(head, V::TRANSPORT));
        let pair = Pair::new(V::client(decoded.key), server, self.flows.hash_key);
        let Some(course) = self.flows.course_back(pair, snapshot, tick) else { return Ok(Fate::Slow) };
        let next_hop = self.reach.next_hops.get(course.back);
        // Those of services on several ports do not match: they are the slow path's.
        let matches =
            snapshot.rewrite::<V>(course.real).matches(decoded.direction, V::remote(head, decoded.direction));
        if !matches || !next_hop.is_resolved() {
            return Ok(Fate::Slow);
        }
        self.flows.note_reply(pair, course, tick);
        self.send(frame, decoded, course, next_hop.interface(), next_hop.addresses())
    }

    fn send<V: Plain>(
        &self,
        frame: &mut F,
        decoded: &Decoded<V>,
        course: Course,
        out: InterfaceId,
        addresses: (u64, u32),
    ) -> Judged {
        let head = frame.head_mut();
        let record = self.snapshot.rewrite::<V>(course.real);
        let fields = V::fields(head, course.direction);
        rewrite::translate_plain::<V>(head, fields, course.direction, record);
        rewrite::address_established(head, addresses);
        self.flows.counters.real(course.real).count(course.direction, decoded.length);
        Ok(Fate::Sent(out))
    }
}
