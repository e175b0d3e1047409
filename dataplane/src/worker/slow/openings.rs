//! New connections: which packets open one, which real it gets, and what is answered where it gets none.

use super::Slow;
use crate::connection::table::{Entry, MOST_OF_ENDPOINT, New, Table};
use crate::connection::{State, TcpEvent, Transport, sctp};
use crate::frame::Frame;
use crate::names::direction::Direction;
use crate::names::drop_reason::DropReason;
use crate::names::family::{IpVersion, V4, V6};
use crate::names::ids::{Protocol, RealId};
use crate::persistence::Made;
use crate::schedule::{Asked, Known};
use crate::worker::fate::Judged;
use crate::worker::flows::{Ends, FTP_DATA, Flows, Found};
use crate::worker::persistent::Stays;
use crate::worker::tables::Tabled;
use arrayvec::ArrayVec;
use std::cell::RefCell;
use std::net::SocketAddr;

/// Where the connections of a client endpoint are answered from, and whether they are over.
type Replies = ArrayVec<(SocketAddr, bool), MOST_OF_ENDPOINT>;

/// Reals tried besides the one picked before a connection is refused because of colliding replies.
const OTHERS_TRIED: usize = 64;

/// What has come of a packet that opens a connection.
pub(in crate::worker) enum Opening {
    /// The connection is there.
    Made(Found),
    /// It makes no connection, and goes to this real.
    Scheduled(RealId),
    /// This worker is to be asked first which real the client stays with.
    Asks(usize),
}

impl<F: Frame> Slow<'_, F> {
    /// Makes the connection that a client's packet opens, if it may; none, where datagrams are scheduled one by one.
    /// `stays`: which real the client stays with, if another worker has been asked.
    pub(in crate::worker) fn new_connection(
        &mut self,
        ends: &Ends,
        transport: Transport,
        stays: Option<Stays>,
    ) -> Result<Opening, DropReason> {
        match ends.version() {
            IpVersion::Four => self.new_connection_of::<V4>(ends, transport, stays),
            IpVersion::Six => self.new_connection_of::<V6>(ends, transport, stays),
        }
    }

    fn new_connection_of<V: Tabled>(
        &mut self,
        ends: &Ends,
        transport: Transport,
        stays: Option<Stays>,
    ) -> Result<Opening, DropReason> {
        let Self { snapshot, arrival, .. } = *self;
        let tick = self.now.tick();
        let asked_for = ends.destination.port();
        let Some((service_id, service)) = snapshot.service_for(ends.protocol, ends.destination) else {
            return Err(DropReason::NoService);
        };
        if self.flows.is_inheriting() && transport != Transport::Udp && !transport.begins() {
            return Err(DropReason::Inheriting);
        }
        let opens = match transport {
            Transport::Tcp(TcpEvent::Syn) | Transport::Udp => true,
            Transport::Tcp(TcpEvent::Reset) => false,
            Transport::Tcp(TcpEvent::Ack | TcpEvent::Fin) => snapshot.sloppy_tcp,
            Transport::Sctp(event) => sctp::opens(event, snapshot.sloppy_sctp),
        };
        if !opens {
            return Err(DropReason::NoConnection);
        }
        if ends.source.port() == FTP_DATA {
            return Err(DropReason::FtpDataPort);
        }
        let key = V::key(ends.source, ends.protocol).ok_or(DropReason::Ipv6)?;
        let stays = match stays {
            None if service.policy.persistence.is_some() => match self.ask(ends, (service_id, service))? {
                Ok(stays) => Some(stays),
                Err(to) => return Ok(Opening::Asks(to)),
            },
            stays => stays,
        };
        if stays.is_some_and(|stays| snapshot.service_of(stays.answer.real) != Some(service_id)) {
            return Err(DropReason::PersistenceChanged);
        }
        self.flows.settle_limited();
        let Flows { tables, positions, reals, elsewhere, counters, limited, .. } = &mut *self.flows;
        let table = V::of_mut(tables);
        let hash = table.hash(key);
        let key_of =
            |table: &Table<V>, slot, entry: Entry<V>| snapshot.connection_key(entry.real(), table.port(slot));

        // An entry of this very connection can only be one that has timed out and is not swept yet: it
        // goes, so that a longer timeout does not bring it back next to the new one.
        let is_this = |slot, entry| {
            key_of(table, slot, entry).is_some_and(|other| other.service.listen == ends.destination)
        };
        if let Some((slot, _)) = table.find_by_slot(hash, key, is_this) {
            table.remove(slot, counters);
        }

        // A reply carries no VIP: it must not match two connections of this client endpoint. One that is over but for
        // stragglers gives way, as to a SYN of its own. What there is is looked through once, not for each real.
        let replies = RefCell::new(Replies::new());
        let note = |slot, entry: Entry<V>| {
            if let Some(real) = key_of(table, slot, entry)
                && !entry.is_dead(snapshot.clock(tick))
            {
                // As many as one client endpoint may have find room.
                let _ = replies.borrow_mut().try_push((real.endpoint, entry.state().is_closing()));
            }
            false
        };
        table.find_by_slot(hash, key, note);
        let replies = replies.into_inner();
        let mut is_free = |real: RealId| {
            let Some(new) = snapshot.connection_key(real, asked_for) else { return false };
            let collisions = || replies.iter().filter(|(endpoint, _)| *endpoint == new.endpoint);
            if collisions().any(|(_, is_closing)| !is_closing) {
                return false;
            }
            let replies_collide =
                |slot, entry| key_of(table, slot, entry).is_some_and(|other| other.endpoint == new.endpoint);
            if collisions().next().is_some()
                && let Some((slot, _)) = table.find_by_slot(hash, key, replies_collide)
            {
                table.remove(slot, counters);
            }
            true
        };
        let real = if let Some(stays) = stays {
            // Also of one that has as many connections as it may have.
            Some(stays.answer.real).filter(|real| is_free(*real)).ok_or(DropReason::ReplyCollision)?
        } else {
            let known = Known { live: reals, own: counters, elsewhere, now: self.now };
            let asked = Asked { client: ends.source, destination: ends.destination, known };
            let choices = positions.choices(service_id, &service.schedule, &asked);
            let mut choices = choices.take(1 + OTHERS_TRIED).peekable();
            choices.peek().ok_or(DropReason::NoReal)?;
            let mut refusal = DropReason::ReplyCollision;
            let mut is_admitted = |real: RealId| {
                // What makes no connection takes no place.
                let admitted = service.policy.one_packet || limited.admit(real, reals);
                if !admitted {
                    refusal = DropReason::NoReal;
                }
                admitted
            };
            let real = choices.find(|real| is_free(*real) && is_admitted(*real));
            drop(choices);
            real.ok_or(refusal)?
        };

        if service.policy.one_packet {
            return Ok(Opening::Scheduled(real));
        }
        let next_hop = self.reach.way_back(ends.source.ip(), arrival, snapshot);
        let port = if service.key.is_exact() { 0 } else { asked_for };
        let new = New { key, real, port, next_hop, state: State::first(transport) };
        let slot = self.flows.open(hash, new, snapshot, tick)?;
        let entry = V::of(&self.flows.tables).entry(slot).ok_or(DropReason::TableFull)?;
        if let Some(stays) = stays {
            let Ends { protocol, source: client, .. } = *ends;
            self.flows.follow(Made { protocol, client, real, port: asked_for }, stays);
        }
        Ok(Opening::Made(Found::new((slot, entry), port, Direction::Forward)))
    }

    /// What a refused opening is answered with, as IPVS and the host's stack do: RST where TCP finds nothing, ABORT
    /// where SCTP does, ICMP port unreachable where a service has no real or UDP finds nothing. Also RST or ABORT where
    /// replies to this client port would collide: after ICMP a client may try the same port again for minutes, after
    /// these it can try another address or port at once.
    pub(in crate::worker) fn refuse(&mut self, frame: &mut F, ends: &Ends, reason: DropReason) -> Judged {
        if reason == DropReason::ReplyCollision {
            self.counters.collided_endpoint.note(ends.source);
        }
        let reset = match reason {
            DropReason::NoConnection
            | DropReason::NoService
            | DropReason::FtpDataPort
            | DropReason::ReplyCollision => ends.protocol != Protocol::Udp,
            DropReason::NoReal => false,
            _ => return Err(reason),
        };
        if reset {
            self.answer_with_reset(frame, reason)
        } else {
            self.answer_port_unreachable(frame, reason, ends.destination.ip())
        }
    }
}
