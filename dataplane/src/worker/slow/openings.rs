//! New connections: which packets open one, which real it gets, and what is answered where it gets
//! none.

use crate::connection::table::{ClientKey, Entry, Hash, MOST_OF_ENDPOINT, New, NoRoom, Slot};
use crate::connection::{State, TcpEvent};
use crate::frame::FrameIo;
use crate::names::direction::Direction;
use crate::names::ids::{Protocol, RealId, RealKey, ServiceKey};
use crate::names::verdict::{DropReason, Verdict};
use crate::snapshot::Snapshot;
use crate::worker::Handler;
use crate::worker::slow::packet::{Context, Found, Ip, Judgement, Segment, client_key, first_state};
use arrayvec::ArrayVec;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

/// The port that an FTP server's data connections come from; IPVS never schedules it.
pub(in crate::worker) const FTP_DATA: u16 = 20;
/// Where the connections of a client endpoint are answered from, and whether they are over.
type Replies = ArrayVec<(SocketAddr, bool), MOST_OF_ENDPOINT>;

/// Reals tried beside the one picked before a connection is refused because of colliding replies.
const OTHERS_TRIED: usize = 64;

impl<Io: FrameIo> Handler<Io> {
    /// Makes the connection that a client's packet opens, if it may.
    pub(in crate::worker) fn new_connection(
        &mut self,
        ip: &Ip,
        segment: &Segment,
        context: Context<'_>,
    ) -> Result<Found, DropReason> {
        let Context { snapshot, now, .. } = context;
        let service_key = ServiceKey { protocol: segment.protocol, listen: segment.destination };
        let Some((service_id, service)) = snapshot.service(&service_key) else {
            return Err(DropReason::NoService);
        };
        if segment.protocol == Protocol::Tcp && segment.event != TcpEvent::Syn {
            return Err(DropReason::NoConnection);
        }
        if segment.source.port() == FTP_DATA {
            return Err(DropReason::FtpDataPort);
        }
        let position = self.positions.get_mut(service_id.0 as usize).ok_or(DropReason::NoReal)?;
        let key = client_key(segment.source, segment.protocol).ok_or(DropReason::Ipv6)?;
        let hash = self.table.hash(key);

        // An entry of this very connection can only be one that has timed out and is not swept yet: it
        // goes, so that a longer timeout does not bring it back beside the new one.
        let of_service =
            |entry: Entry| snapshot.real_key(entry.real()).is_some_and(|real| real.service == service_key);
        if let Some((slot, _)) = self.table.find(hash, key, of_service) {
            self.table.remove(slot, &self.counters);
        }

        // A reply carries no VIP: it must not match two connections of this client endpoint. One that is over but for
        // stragglers gives way, as to a SYN of its own. What there is is looked through once, not for each real.
        let replies = RefCell::new(Replies::new());
        let note = |entry: Entry| {
            if let Some(real) = snapshot.real_key(entry.real())
                && !entry.is_dead(snapshot.clock(now.tick()))
            {
                // As many as one client endpoint may have find room.
                let _ = replies.borrow_mut().try_push((real.endpoint, entry.state().is_closing()));
            }
            false
        };
        self.table.find(hash, key, note);
        let replies = replies.into_inner();
        let (table, counters) = (&mut self.table, &self.counters);
        let mut is_free = |real: RealId| {
            let Some(new) = snapshot.real_key(real) else { return false };
            let collisions = || replies.iter().filter(|(endpoint, _)| *endpoint == new.endpoint);
            if collisions().any(|(_, is_closing)| !is_closing) {
                return false;
            }
            if collisions().next().is_some()
                && let Some((slot, _)) =
                    table.find(hash, key, |entry| replies_collide(snapshot, entry.real(), new))
            {
                table.remove(slot, counters);
            }
            true
        };
        let first = position.pick(&service.schedule).ok_or(DropReason::NoReal)?;
        let others = service.schedule.candidates().iter().filter(|candidate| candidate.weight > 0);
        let real = std::iter::once(first)
            .chain(others.take(OTHERS_TRIED).map(|candidate| candidate.real))
            .find(|real| is_free(*real))
            .ok_or(DropReason::ReplyCollision)?;

        let state = first_state(segment.protocol, segment.event);
        let slot = self.enter(hash, key, real, ip.source, state, context)?;
        let entry = self.table.entry(slot).ok_or(DropReason::TableFull)?;
        Ok(Found { slot, entry, direction: Direction::Forward })
    }

    /// Makes the entry of a new connection, with the way back to its client.
    pub(in crate::worker) fn enter(
        &mut self,
        hash: Hash,
        key: ClientKey,
        real: RealId,
        client: IpAddr,
        state: State,
        context: Context<'_>,
    ) -> Result<Slot, DropReason> {
        let Context { snapshot, port, now } = context;
        let back = self.way_back(client, port, snapshot);
        let Self { table, shares, counters, .. } = self;
        let new = New { key, real, next_hop: back, state };
        let standing = shares.beside(real, snapshot);
        let made = table.insert_beside(standing, hash, new, snapshot.clock(now.tick()), counters);
        made.map_err(|no_room| match no_room {
            NoRoom::Places => {
                counters.full_endpoint.set(key.endpoint_bits());
                DropReason::ClientEndpointFull
            }
            NoRoom::Capacity => DropReason::TableFull,
        })
    }

    /// What a refused opening is answered with, as IPVS and the host's stack do: RST where TCP finds nothing, ICMP port
    /// unreachable where a service has no real or UDP finds nothing. Also RST where replies to this client port would
    /// collide: after ICMP a client may try the same port again for minutes, after RST it can try another address or
    /// port at once.
    pub(in crate::worker) fn refuse(
        &mut self,
        frame: &mut Io::Frame,
        segment: &Segment,
        reason: DropReason,
        context: Context<'_>,
    ) -> Judgement {
        let reset = match reason {
            DropReason::NoConnection
            | DropReason::NoService
            | DropReason::FtpDataPort
            | DropReason::ReplyCollision => segment.protocol == Protocol::Tcp,
            DropReason::NoReal => false,
            _ => return Judgement::Conclude(Verdict::Drop(reason)),
        };
        if reset {
            self.answer_with_reset(frame, reason, context)
        } else {
            self.answer_port_unreachable(frame, reason, segment.destination.ip(), context)
        }
    }
}

/// Whether replies from `new` would match a connection that `real` has with the same client endpoint.
fn replies_collide(snapshot: &Snapshot, real: RealId, new: RealKey) -> bool {
    snapshot.real_key(real).is_some_and(|old| old.endpoint == new.endpoint)
}
