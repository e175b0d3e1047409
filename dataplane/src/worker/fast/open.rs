//! The usual opening of a connection, without the detours of the slow path: a plain SYN or datagram from a client
//! endpoint that has no other connection, or one that is over. Whatever is not quite that is left to the slow path,
//! before anything is done.

use super::Fast;
use super::decode::remote_bits;
use super::rewrite;
use super::staged::Decoded;
use crate::connection::table::{ClientKey, Entry, New, Vacancy};
use crate::connection::{State, TcpEvent, Transport};
use crate::exchange::peers::Peers;
use crate::frame::{Frame, HEAD};
use crate::names::direction::Direction;
use crate::names::ids::{InterfaceId, Protocol, RealId, ServiceId};
use crate::names::time::Tick;
use crate::wire::ipv4;
use crate::wire::plain::Head;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::FTP_DATA;
use std::net::Ipv4Addr;

impl<F: Frame> Fast<'_, F> {
    /// Opens the connection that a plain packet from a client asks for, and translates the packet. [`Fate::Slow`] if
    /// there is more to it, and nothing is done to the packet; its connection is made all the same if only the real's
    /// next hop is not known.
    #[inline(always)]
    pub(super) fn open(
        &mut self,
        frame: &mut F,
        decoded: &Decoded,
        arrival: InterfaceId,
        tick: Tick,
    ) -> Judged {
        let Some(opening) = self.opening(frame.head(), decoded, arrival) else { return Ok(Fate::Slow) };
        let real = match self.flows.table.vacancy(decoded.home, decoded.key) {
            Some(vacancy) => match self.flows.pick(opening.service, decoded.key, self.snapshot, self.now) {
                Some(real) => {
                    self.make(vacancy, decoded, &opening, real, arrival, tick);
                    real
                }
                None => return Ok(Fate::Slow),
            },
            None => match self.again().open_without_vacancy(frame.head(), *decoded, opening, arrival) {
                Ok(real) => real,
                Err(judged) => return judged,
            },
        };
        let head = frame.head_mut();
        let rewrite = self.snapshot.rewrite(real);
        let next_hop = self.reach.next_hops.get(rewrite.next_hop());
        if !next_hop.is_resolved() {
            return Ok(Fate::Slow);
        }
        let fields = rewrite::fields(head);
        rewrite::translate_plain(head, fields, Direction::Forward, rewrite);
        let out = next_hop.interface();
        rewrite::address_established(head, next_hop.addresses());
        self.flows.counters.real(real).count(Direction::Forward, decoded.length);
        Ok(Fate::Sent(out))
    }

    /// [`open`](Self::open) out of line, where a packet more or less does not count.
    #[inline(never)]
    pub(super) fn open_one(
        mut self,
        frame: &mut F,
        decoded: &Decoded,
        arrival: InterfaceId,
        tick: Tick,
    ) -> Judged {
        self.open(frame, decoded, arrival, tick)
    }

    /// These parts again, for a function that is not inlined. If it took them by reference, they would lie in memory.
    #[inline(always)]
    fn again(&mut self) -> Fast<'_, F> {
        let Self { snapshot, now, flows, reach, peers } = self;
        Fast { snapshot, now: *now, flows, reach, peers }
    }

    /// What the packet opens, if it does so without any doubt.
    #[inline(always)]
    fn opening(&self, head: &[u8; HEAD], decoded: &Decoded, arrival: InterfaceId) -> Option<Opening> {
        let snapshot = self.snapshot;
        if decoded.direction != Direction::Forward {
            return None;
        }
        let listener = decoded.key.protocol_bits() | remote_bits(head, Direction::Forward);
        let head = Head(head);
        let service = snapshot.service_at(listener)?;
        let protocol = if head.protocol() == Protocol::Udp.number() { Protocol::Udp } else { Protocol::Tcp };
        let is_syn = TcpEvent::is_syn(head.tcp_flags());
        let source = head.source();
        let opens = ((protocol == Protocol::Udp) | is_syn)
            && head.source_port() != FTP_DATA
            && head.has_right_checksum()
            && !ipv4::is_martian(source)
            && !snapshot.is_own_or_broadcast(source)
            && !snapshot.belongs_elsewhere(source, arrival)
            && !snapshot.is_persistent(service)
            && !self.is_of_another_worker(decoded);
        opens.then_some(Opening { protocol, service, source })
    }

    /// Makes the entry at home.
    #[inline(always)]
    fn make(
        &mut self,
        vacancy: Vacancy,
        decoded: &Decoded,
        opening: &Opening,
        real: RealId,
        arrival: InterfaceId,
        tick: Tick,
    ) {
        let next_hop = self.reach.way_back(opening.source, arrival, self.snapshot);
        let new = New { key: decoded.key, real, next_hop, state: opening.first_state() };
        self.flows.open_at_home(vacancy, new, tick);
    }

    /// Picks a real and makes the entry where there seems to be no room at home. Out of line, as it is rare; by value,
    /// so that the usual way keeps these in registers.
    #[inline(never)]
    fn open_without_vacancy(
        mut self,
        head: &[u8; HEAD],
        decoded: Decoded,
        opening: Opening,
        arrival: InterfaceId,
    ) -> Result<RealId, Judged> {
        let (decoded, opening) = (&decoded, &opening);
        let (snapshot, tick) = (self.snapshot, self.now.tick());
        if let Some(vacancy) = self.closed_at_home(head, decoded, opening.protocol, tick) {
            let real =
                self.flows.pick(opening.service, decoded.key, snapshot, self.now).ok_or(Ok(Fate::Slow))?;
            self.make(vacancy, decoded, opening, real, arrival, tick);
            return Ok(real);
        }
        if !self.is_free(head, decoded, opening.protocol, tick) {
            return Err(Ok(Fate::Slow));
        }
        self.flows.expire_at_home(decoded.home, snapshot, tick);
        let real = self.flows.pick(opening.service, decoded.key, snapshot, self.now).ok_or(Ok(Fate::Slow))?;
        if let Some(vacancy) = self.flows.table.vacancy(decoded.home, decoded.key) {
            self.make(vacancy, decoded, opening, real, arrival, tick);
        } else {
            let hash = self.flows.table.hash(decoded.key);
            let next_hop = self.reach.way_back(opening.source, arrival, snapshot);
            let new = New { key: decoded.key, real, next_hop, state: opening.first_state() };
            self.flows.open(hash, new, snapshot, tick).map_err(Err)?;
        }
        Ok(real)
    }

    /// The place of a connection that its client opens anew, as nearly always: TCP, closed and still there, at home,
    /// and the only one of the client endpoint.
    fn closed_at_home(
        &mut self,
        head: &[u8; HEAD],
        decoded: &Decoded,
        protocol: Protocol,
        tick: Tick,
    ) -> Option<Vacancy> {
        let snapshot = self.snapshot;
        let remote = remote_bits(head, Direction::Forward);
        let goes = |entry: Entry| {
            protocol == Protocol::Tcp
                && entry.state().is_closing()
                && !entry.is_dead(snapshot.clock(tick))
                && snapshot.rewrite(entry.real()).matches(Direction::Forward, remote)
        };
        self.flows.table.vacate_only(decoded.home, decoded.key, goes, &self.flows.counters)
    }

    /// Whether the client endpoint has no connection any more; one that is over goes.
    fn is_free(&mut self, head: &[u8; HEAD], decoded: &Decoded, protocol: Protocol, tick: Tick) -> bool {
        let (snapshot, flows) = (self.snapshot, &mut *self.flows);
        let hash = flows.table.hash(decoded.key);
        let Some((slot, entry)) = flows.table.find(hash, decoded.key, |_| true) else { return true };
        let remote = remote_bits(head, Direction::Forward);
        let belongs = snapshot.rewrite(entry.real()).matches(Direction::Forward, remote);
        if entry.is_dead(snapshot.clock(tick)) {
            flows.expire(slot);
        } else if belongs && entry.state().is_closing() && protocol == Protocol::Tcp {
            flows.close(slot);
        } else {
            return false;
        }
        flows.table.find(hash, decoded.key, |_| true).is_none()
    }

    /// Where a NIC steers, a packet without connection may have come to the wrong worker.
    #[inline(always)]
    fn is_of_another_worker(&self, decoded: &Decoded) -> bool {
        !self.peers.is_alone() && is_anothers(self.peers, decoded.key)
    }
}

#[inline(never)]
fn is_anothers<F>(peers: &Peers<F>, key: ClientKey) -> bool {
    peers.owner(key.endpoint_bits()) != peers.own()
}

/// The first packet of a connection.
#[derive(Clone, Copy)]
struct Opening {
    protocol: Protocol,
    service: ServiceId,
    source: Ipv4Addr,
}

impl Opening {
    /// The state that it begins in.
    #[inline(always)]
    const fn first_state(&self) -> State {
        match self.protocol {
            Protocol::Tcp => const { State::first(Transport::Tcp(TcpEvent::Syn)) },
            Protocol::Udp => const { State::first(Transport::Udp) },
        }
    }
}
