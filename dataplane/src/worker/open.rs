//! The usual opening of a connection, without the detours of the exception path: a plain SYN or
//! datagram from a client endpoint that has no other connection, or one that is over. Whatever is not
//! quite that is left to the exception path, before anything is done.

use super::Handler;
use super::decode::{Decoded, at, far};
use super::exception::{Context, first_state};
use super::schedule::FTP_DATA;
use crate::connection::table::{ClientKey, Hash};
use crate::connection::{Direction, TcpEvent};
use crate::frame::{Frame, FrameIo, HEAD};
use crate::ids::{PortIndex, Protocol, ServiceId};
use crate::snapshot::Snapshot;
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wire::{checksum, ipv4};
use std::net::Ipv4Addr;

impl<Io: FrameIo> Handler<Io> {
    /// Opens the connection that a plain packet from a client asks for, and translates the packet.
    /// Returns the port that it leaves on; `None` if there is more to it (its connection is made
    /// all the same where only the real's next hop is not known).
    ///
    /// # Errors
    /// There is no room for the connection.
    pub(super) fn open(
        &mut self,
        frame: &mut Io::Frame,
        mut decoded: Decoded,
        context: Context<'_>,
    ) -> Result<Option<PortIndex>, DropReason> {
        let Context { snapshot, port, now } = context;
        let Some(opening) = self.is_opening(frame.head(), &decoded, snapshot) else { return Ok(None) };
        let Opening { protocol, service, event, source, far } = opening;
        let hash = self.table.hash(decoded.key);
        if !self.is_free(hash, decoded.key, far, event, snapshot, now.tick()) {
            return Ok(None);
        }
        let Some(position) = self.positions.get_mut(service.0 as usize) else { return Ok(None) };
        let schedule = snapshot.services[service.0 as usize].as_ref().map(|service| &service.schedule);
        let Some(real) = schedule.and_then(|schedule| position.pick(schedule)) else { return Ok(None) };
        self.enter(hash, decoded.key, real, source, first_state(protocol, event), snapshot, now)?;
        if protocol == Protocol::Tcp {
            self.watch_for_partial_checksums(frame.bytes(), at::TRANSPORT, port);
        }
        decoded.probed = self.table.homes().probe(decoded.home, decoded.key);
        Ok(self.path(snapshot, now.tick()).forward(frame, &decoded, Direction::Forward))
    }

    /// What the packet opens, if it does so without any doubt.
    fn is_opening(&self, head: &[u8; HEAD], decoded: &Decoded, snapshot: &Snapshot) -> Option<Opening> {
        let protocol = decoded.key.protocol().filter(|_| decoded.direction == Direction::Forward)?;
        let far = far(head, Direction::Forward);
        let service = snapshot.service_at(protocol, far)?;
        let event = match protocol {
            Protocol::Tcp => TcpEvent::of(head[at::TCP_FLAGS]),
            Protocol::Udp => TcpEvent::Ack,
        };
        let source = Ipv4Addr::from(*head[at::SOURCE..].first_chunk()?);
        let opens = (protocol == Protocol::Udp || event == TcpEvent::Syn)
            && head[at::TRANSPORT..at::TRANSPORT + 2] != FTP_DATA.to_be_bytes()
            && checksum::sum(&head[at::IPV4..at::TRANSPORT]) == 0xffff
            && !ipv4::is_martian(source)
            && !snapshot.is_own_or_broadcast(source)
            && !self.is_of_another_worker(decoded);
        opens.then_some(Opening { protocol, service, event, source, far })
    }

    /// Whether the client endpoint has no connection any more; one that is over goes.
    fn is_free(
        &mut self,
        hash: Hash,
        key: ClientKey,
        far: u64,
        event: TcpEvent,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> bool {
        let Some((slot, entry)) = self.table.find(hash, key, |_| true) else { return true };
        let belongs = snapshot.rewrite(entry.real()).matches(Direction::Forward, far);
        if entry.is_dead(tick, &snapshot.timeouts) {
            self.table.expire(slot, &self.counters);
        } else if belongs && entry.state().is_closing() && event == TcpEvent::Syn {
            self.table.remove(slot, &self.counters);
        } else {
            return false;
        }
        self.table.find(hash, key, |_| true).is_none()
    }

    /// Where a NIC steers, a packet without connection may have come to the wrong worker.
    fn is_of_another_worker(&self, decoded: &Decoded) -> bool {
        let peers = &self.io.peers;
        !peers.is_alone() && peers.owner(decoded.key.endpoint_bits()) != peers.own()
    }
}

/// The first packet of a connection.
struct Opening {
    protocol: Protocol,
    service: ServiceId,
    event: TcpEvent,
    source: Ipv4Addr,
    /// The service's address and port, as they lie on the wire.
    far: u64,
}
