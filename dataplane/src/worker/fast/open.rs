//! The usual opening of a connection, without the detours of the exception path: a plain SYN or
//! datagram from a client endpoint that has no other connection, or one that is over. Whatever is not
//! quite that is left to the exception path, before anything is done.

use crate::connection::table::{ClientKey, Entry, New, Vacancy};
use crate::connection::{State, TcpEvent};
use crate::frame::{Frame, FrameIo, HEAD};
use crate::names::direction::Direction;
use crate::names::ids::{InterfaceId, Protocol, RealId, ServiceId};
use crate::names::time::Tick;
use crate::names::verdict::DropReason;
use crate::snapshot::Snapshot;
use crate::wire::ipv4;
use crate::worker::Handler;
use crate::worker::fast::decode::{Decoded, at, far, has_right_header};
use crate::worker::fast::rewrite;
use crate::worker::slow::openings::FTP_DATA;
use crate::worker::slow::packet::{Context, first_state};
use std::net::Ipv4Addr;

/// What has become of a packet that may open a connection.
pub(in crate::worker) enum Opened {
    /// Its connection is made, and it is translated: it leaves on this port.
    Leaves(InterfaceId),
    /// There is more to it, and nothing is done to it yet; its connection is made all the same if only
    /// the real's next hop is not known.
    Exception,
    /// There is no room for its connection.
    Refused(DropReason),
}

impl<Io: FrameIo> Handler<Io> {
    /// Opens the connection that a plain packet from a client asks for, and translates the packet.
    #[inline(always)]
    pub(in crate::worker) fn open(
        &mut self,
        frame: &mut Io::Frame,
        decoded: &Decoded,
        context: &Context<'_>,
        tick: Tick,
    ) -> Opened {
        let &Context { snapshot, port, .. } = context;
        let Some(opening) = self.is_opening(frame.head(), decoded, context) else {
            return Opened::Exception;
        };
        let real = match self.table.vacancy(decoded.home, decoded.key) {
            Some(vacancy) => match self.pick(opening.service, snapshot) {
                Some(real) => {
                    self.make(vacancy, decoded, &opening, real, (snapshot, port), tick);
                    real
                }
                None => return Opened::Exception,
            },
            None => match self.open_without_vacancy(frame.head(), *decoded, opening, context) {
                Ok(real) => real,
                Err(opened) => return opened,
            },
        };
        let head = frame.head_mut();
        let rewrite = snapshot.rewrite(real);
        let next_hop = self.next_hops.get(rewrite.next_hop());
        if !next_hop.is_resolved() {
            return Opened::Exception;
        }
        let fields = rewrite::fields(head);
        rewrite::translate_plain(head, fields, Direction::Forward, rewrite);
        let out = next_hop.interface();
        rewrite::address_established(head, next_hop.addresses());
        self.counters.real(real).count(Direction::Forward, decoded.length);
        Opened::Leaves(out)
    }

    /// What the packet opens, if it does so without any doubt.
    #[inline(always)]
    fn is_opening(&self, head: &[u8; HEAD], decoded: &Decoded, context: &Context<'_>) -> Option<Opening> {
        let &Context { snapshot, port, .. } = context;
        if decoded.direction != Direction::Forward {
            return None;
        }
        let service = snapshot.service_at(decoded.key.protocol_bits() | far(head, Direction::Forward))?;
        let protocol =
            if head[at::PROTOCOL] == Protocol::Udp.number() { Protocol::Udp } else { Protocol::Tcp };
        let is_syn = TcpEvent::of(head[at::TCP_FLAGS]) == TcpEvent::Syn;
        let source = ipv4::address_at(head, at::SOURCE);
        let opens = ((protocol == Protocol::Udp) | is_syn)
            && head[at::TRANSPORT..at::TRANSPORT + 2] != FTP_DATA.to_be_bytes()
            && has_right_header(head)
            && !ipv4::is_martian(source)
            && !snapshot.is_own_or_broadcast(source)
            && !snapshot.belongs_elsewhere(source, port)
            && !self.is_of_another_worker(decoded);
        opens.then_some(Opening { protocol, service, source })
    }

    /// The next real in line.
    #[inline(always)]
    fn pick(&mut self, service: ServiceId, snapshot: &Snapshot) -> Option<RealId> {
        let position = self.positions.get_mut(service.0 as usize)?;
        position.pick(&snapshot.services[service.0 as usize].as_ref()?.schedule)
    }

    /// Makes the entry at home.
    #[inline(always)]
    fn make(
        &mut self,
        vacancy: Vacancy,
        decoded: &Decoded,
        opening: &Opening,
        real: RealId,
        (snapshot, port): (&Snapshot, InterfaceId),
        tick: Tick,
    ) {
        let back = self.way_back(opening.source, port, snapshot);
        let state = opening.first_state();
        let new = New { key: decoded.key, real, next_hop: back, state };
        self.table.insert_at_home(vacancy, new, tick, &self.counters);
    }

    /// Picks a real and makes the entry where there seems to be no room at home. Out of line, as it is rare; by value,
    /// so that the usual way keeps these in registers.
    #[inline(never)]
    fn open_without_vacancy(
        &mut self,
        head: &[u8; HEAD],
        decoded: Decoded,
        opening: Opening,
        context: &Context<'_>,
    ) -> Result<RealId, Opened> {
        let (decoded, opening) = (&decoded, &opening);
        let &Context { snapshot, port, now } = context;
        let tick = now.tick();
        if let Some(vacancy) = self.closed_at_home(head, decoded, opening.protocol, snapshot, tick) {
            let real = self.pick(opening.service, snapshot).ok_or(Opened::Exception)?;
            self.make(vacancy, decoded, opening, real, (snapshot, port), tick);
            return Ok(real);
        }
        if !self.is_free(head, decoded, opening.protocol, snapshot, tick) {
            return Err(Opened::Exception);
        }
        self.table.expire_at_home(decoded.home, snapshot.clock(tick), &self.counters);
        let real = self.pick(opening.service, snapshot).ok_or(Opened::Exception)?;
        if let Some(vacancy) = self.table.vacancy(decoded.home, decoded.key) {
            self.make(vacancy, decoded, opening, real, (snapshot, port), tick);
        } else {
            let (hash, state) = (self.table.hash(decoded.key), opening.first_state());
            let made = self.enter(hash, decoded.key, real, opening.source.into(), state, *context);
            made.map_err(Opened::Refused)?;
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
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Option<Vacancy> {
        let far = far(head, Direction::Forward);
        let goes = |entry: Entry| {
            protocol == Protocol::Tcp
                && entry.state().is_closing()
                && !entry.is_dead(snapshot.clock(tick))
                && snapshot.rewrite(entry.real()).matches(Direction::Forward, far)
        };
        self.table.vacate_only(decoded.home, decoded.key, goes, &self.counters)
    }

    /// Whether the client endpoint has no connection any more; one that is over goes.
    fn is_free(
        &mut self,
        head: &[u8; HEAD],
        decoded: &Decoded,
        protocol: Protocol,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> bool {
        let hash = self.table.hash(decoded.key);
        let Some((slot, entry)) = self.table.find(hash, decoded.key, |_| true) else { return true };
        let belongs =
            snapshot.rewrite(entry.real()).matches(Direction::Forward, far(head, Direction::Forward));
        if entry.is_dead(snapshot.clock(tick)) {
            self.table.expire(slot, &self.counters);
        } else if belongs && entry.state().is_closing() && protocol == Protocol::Tcp {
            self.table.remove(slot, &self.counters);
        } else {
            return false;
        }
        self.table.find(hash, decoded.key, |_| true).is_none()
    }

    /// Where a NIC steers, a packet without connection may have come to the wrong worker.
    #[inline(always)]
    fn is_of_another_worker(&self, decoded: &Decoded) -> bool {
        !self.io.peers.is_alone() && self.is_anothers(decoded.key)
    }

    #[inline(never)]
    fn is_anothers(&self, key: ClientKey) -> bool {
        let peers = &self.io.peers;
        peers.owner(key.endpoint_bits()) != peers.own()
    }
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
            Protocol::Tcp => const { first_state(Protocol::Tcp, TcpEvent::Syn) },
            Protocol::Udp => const { first_state(Protocol::Udp, TcpEvent::Ack) },
        }
    }
}
