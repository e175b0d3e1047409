//! The usual opening of a connection, without the detours of the slow path: a plain SYN or datagram from a client
//! endpoint that has no other connection, or one that is over. Whatever is not quite that is left to the slow path,
//! before anything is done.

use super::Fast;
use super::family::Plain;
use super::rewrite;
use super::staged::Decoded;
use crate::connection::table::{ClientKey, Entry, New, Vacancy};
use crate::connection::{State, TcpEvent, Transport};
use crate::exchange::peers::Peers;
use crate::frame::{Frame, HEAD};
use crate::names::direction::Direction;
use crate::names::ids::{InterfaceId, Protocol, RealId, ServiceId};
use crate::names::time::Tick;
use crate::translation::Record;
use crate::wire::be_u16;
use crate::worker::fate::{Fate, Judged};
use crate::worker::flows::{FTP_DATA, Flows, Wanted};

impl<F: Frame> Fast<'_, F> {
    /// Opens the connection that a plain packet from a client asks for, and translates the packet. [`Fate::Slow`] if
    /// there is more to it, and nothing is done to the packet; its connection is made all the same if only the real's
    /// next hop is not known.
    #[inline(always)]
    pub(super) fn open<V: Plain>(
        &mut self,
        frame: &mut F,
        decoded: &Decoded<V>,
        arrival: InterfaceId,
        tick: Tick,
    ) -> Judged {
        let Some(opening) = self.opening(frame.head(), decoded, arrival) else { return Ok(Fate::Slow) };
        let real = match V::of(&self.flows.tables).vacancy(decoded.home, decoded.key) {
            Some(vacancy) => match self.pick(decoded, &opening) {
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
        let rewrite = self.snapshot.rewrite::<V>(real);
        let next_hop = self.reach.next_hops.get(rewrite.next_hop());
        if !next_hop.is_resolved() {
            return Ok(Fate::Slow);
        }
        let fields = V::fields(head, Direction::Forward);
        rewrite::translate_plain::<V>(head, fields, Direction::Forward, rewrite);
        let out = next_hop.interface();
        rewrite::address_established(head, next_hop.addresses());
        self.flows.counters.real(real).count(Direction::Forward, decoded.length);
        Ok(Fate::Sent(out))
    }

    /// [`open`](Self::open) out of line, where a packet more or less does not count.
    #[inline(never)]
    pub(super) fn open_one<V: Plain>(
        mut self,
        frame: &mut F,
        decoded: &Decoded<V>,
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
    pub(super) fn opening<V: Plain>(
        &self,
        head: &[u8; HEAD],
        decoded: &Decoded<V>,
        arrival: InterfaceId,
    ) -> Option<Opening<V>> {
        let snapshot = self.snapshot;
        if decoded.direction != Direction::Forward {
            return None;
        }
        let remote = V::remote(head, Direction::Forward);
        let service = snapshot.service_at::<V>(remote, decoded.key.protocol_number())?;
        let protocol =
            if V::protocol(head) == Protocol::Udp.number() { Protocol::Udp } else { Protocol::Tcp };
        let is_syn = TcpEvent::is_syn(head[V::TCP_FLAGS]);
        let source = V::source(head);
        let opens = ((protocol == Protocol::Udp) | is_syn)
            && be_u16(head, V::TRANSPORT) != FTP_DATA
            && V::has_right_header(head)
            && !V::is_martian(source)
            && !snapshot.is_own_or_broadcast(source)
            && !snapshot.belongs_elsewhere(source, arrival)
            && !self.is_of_another_worker(decoded);
        opens.then_some(Opening { protocol, service, source })
    }

    /// The real for the connection.
    #[inline(always)]
    fn pick<V: Plain>(&mut self, decoded: &Decoded<V>, opening: &Opening<V>) -> Option<RealId> {
        let wanted = Wanted { service: opening.service, key: decoded.key };
        self.flows.pick(wanted, self.snapshot, self.now)
    }

    /// Makes the entry at home.
    #[inline(always)]
    fn make<V: Plain>(
        &mut self,
        vacancy: Vacancy,
        decoded: &Decoded<V>,
        opening: &Opening<V>,
        real: RealId,
        arrival: InterfaceId,
        tick: Tick,
    ) {
        let next_hop = self.reach.way_back(opening.source, arrival, self.snapshot);
        let new = New { key: decoded.key, real, port: 0, next_hop, state: opening.first_state() };
        self.flows.open_at_home(vacancy, new, tick);
    }

    /// Picks a real and makes the entry where there seems to be no room at home. Out of line, as it is rare; by value,
    /// so that the usual way keeps these in registers.
    #[inline(never)]
    fn open_without_vacancy<V: Plain>(
        mut self,
        head: &[u8; HEAD],
        decoded: Decoded<V>,
        opening: Opening<V>,
        arrival: InterfaceId,
    ) -> Result<RealId, Judged> {
        let (decoded, opening) = (&decoded, &opening);
        let (snapshot, tick) = (self.snapshot, self.now.tick());
        if snapshot.services.len() <= opening.service.0 as usize {
            return Err(Ok(Fate::Slow)); // clients stay with their reals, or no connection is made
        }
        if let Some(vacancy) = self.closed_at_home(head, decoded, opening.protocol, tick) {
            let real = self.pick(decoded, opening).ok_or(Ok(Fate::Slow))?;
            self.make(vacancy, decoded, opening, real, arrival, tick);
            return Ok(real);
        }
        if !self.is_free(head, decoded, opening.protocol, tick) {
            return Err(Ok(Fate::Slow));
        }
        self.flows.expire_at_home::<V>(decoded.home, snapshot, tick);
        let real = self.pick(decoded, opening).ok_or(Ok(Fate::Slow))?;
        if let Some(vacancy) = V::of(&self.flows.tables).vacancy(decoded.home, decoded.key) {
            self.make(vacancy, decoded, opening, real, arrival, tick);
        } else {
            let hash = V::of(&self.flows.tables).hash(decoded.key);
            let next_hop = self.reach.way_back(opening.source, arrival, snapshot);
            let new = New { key: decoded.key, real, port: 0, next_hop, state: opening.first_state() };
            self.flows.open(hash, new, snapshot, tick).map_err(Err)?;
        }
        Ok(real)
    }

    /// The place of a connection that its client opens anew, as nearly always: TCP, closed and still there, at home,
    /// and the only one of the client endpoint.
    fn closed_at_home<V: Plain>(
        &mut self,
        head: &[u8; HEAD],
        decoded: &Decoded<V>,
        protocol: Protocol,
        tick: Tick,
    ) -> Option<Vacancy> {
        let snapshot = self.snapshot;
        let remote = V::remote(head, Direction::Forward);
        let goes = |entry: Entry<V>| {
            protocol == Protocol::Tcp
                && entry.state().is_closing()
                && !entry.is_dead(snapshot.clock(tick))
                && snapshot.rewrite::<V>(entry.real()).matches(Direction::Forward, remote)
        };
        let Flows { tables, counters, .. } = &mut *self.flows;
        V::of_mut(tables).vacate_only(decoded.home, decoded.key, goes, counters)
    }

    /// Whether the client endpoint has no connection any more; one that is over goes.
    fn is_free<V: Plain>(
        &mut self,
        head: &[u8; HEAD],
        decoded: &Decoded<V>,
        protocol: Protocol,
        tick: Tick,
    ) -> bool {
        let (snapshot, flows) = (self.snapshot, &mut *self.flows);
        let table = V::of(&flows.tables);
        let hash = table.hash(decoded.key);
        let Some((slot, entry)) = table.find(hash, decoded.key, |_| true) else { return true };
        let remote = V::remote(head, Direction::Forward);
        let belongs = snapshot.rewrite::<V>(entry.real()).matches(Direction::Forward, remote);
        if entry.is_dead(snapshot.clock(tick)) {
            flows.expire::<V>(slot);
        } else if belongs && entry.state().is_closing() && protocol == Protocol::Tcp {
            flows.close::<V>(slot);
        } else {
            return false;
        }
        V::of(&flows.tables).find(hash, decoded.key, |_| true).is_none()
    }

    /// Where a NIC steers, a packet without connection may have come to the wrong worker.
    #[inline(always)]
    fn is_of_another_worker<V: Plain>(&self, decoded: &Decoded<V>) -> bool {
        !self.peers.is_alone() && is_anothers(self.peers, decoded.key)
    }
}

#[inline(never)]
fn is_anothers<F, V: Plain>(peers: &Peers<F>, key: ClientKey<V>) -> bool {
    V::owner(key, peers) != peers.own()
}

/// The first packet of a connection.
#[derive(Clone, Copy)]
pub(super) struct Opening<V: Plain> {
    protocol: Protocol,
    pub(super) service: ServiceId,
    pub(super) source: V::Address,
}

impl<V: Plain> Opening<V> {
    /// The state that it begins in.
    #[inline(always)]
    const fn first_state(&self) -> State {
        match self.protocol {
            Protocol::Tcp => const { State::first(Transport::Tcp(TcpEvent::Syn)) },
            // Nothing else is plain.
            Protocol::Udp | Protocol::Sctp => const { State::first(Transport::Udp) },
        }
    }
}
