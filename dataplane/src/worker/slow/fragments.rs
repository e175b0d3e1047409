//! Fragments on the exception path: which connection they belong to, in what order they go on.
//!
//! Two halves that know little of each other: the tracker resolves a fragment to its ports, and
//! [`transport_layer`](Handler::transport_layer) does with a packet of known ports what is to be done.

use crate::connection::TcpEvent;
use crate::fragments::{Key, Outcome, Piece, Ports};
use crate::frame::{Frame, FrameIo};
use crate::names::family::V4;
use crate::names::ids::Protocol;
use crate::names::time::Now;
use crate::names::verdict::{DropReason, Verdict};
use crate::snapshot::Snapshot;
use crate::wire::icmp;
use crate::worker::Handler;
use crate::worker::fast::decode::at;
use crate::worker::slow::packet::{Context, Ip, Judgement, Segment, read_ip, read_segment};
use std::net::SocketAddr;

impl<Io: FrameIo> Handler<Io> {
    /// A fragment of TCP or UDP.
    pub(in crate::worker) fn fragment(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        protocol: Protocol,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        let Context { snapshot, port, now } = context;
        // Neither to a service nor from a real: no connection's, whatever its ports.
        if snapshot.local(ip.destination).is_none() && !snapshot.is_server(ip.source) {
            return self.route(frame, ip, context);
        }
        let length = at::IPV4 + usize::from(ip.length) - ip.payload;
        let piece = Piece::new(ip.fragment_offset, length, ip.more_fragments, protocol)
            .ok_or(DropReason::FragmentMalformed)?;
        let side = snapshot.interfaces[port.index()].side;
        let key = Key::new(ip.source, ip.destination, protocol, ip.id, side).ok_or(DropReason::Ipv6)?;
        let segment = match self.fragments.resolve(key, piece, now) {
            Outcome::Begins => read_segment(frame.bytes(), &ip, protocol)?,
            Outcome::Follows(ports) => following(&ip, protocol, ports),
            Outcome::Early => return Ok(Judgement::Early(key)),
            Outcome::Refused => return Err(DropReason::FragmentRefused),
            Outcome::Repeats => return Err(DropReason::FragmentOverlap),
            Outcome::Overlaps => {
                let given_up = self.fragments.refuse(key, now);
                self.give_up_fragments(DropReason::FragmentQueueFull, given_up);
                return Err(DropReason::FragmentOverlap);
            }
            Outcome::TooManyGaps => return Err(DropReason::FragmentQueueFull),
        };
        let result = match self.owner_elsewhere(&segment, context) {
            Some(to) => {
                let [source, destination] =
                    [segment.source, segment.destination].map(|end| u32::from(end.port()));
                let ports = source << 16 | destination;
                Ok(Judgement::Conclude(Verdict::HandOverFragment { to, port, ports }))
            }
            None => self.transport_layer(frame, ip, segment, context),
        };
        let passes = matches!(
            result,
            Ok(Judgement::Conclude(
                Verdict::Forward(_) | Verdict::Fragment { .. } | Verdict::HandOverFragment { .. }
            ))
        );
        // It comes this way again, and the others wait behind it.
        let waits = matches!(result, Ok(Judgement::Await(_)));
        let given_up = if !passes && !waits {
            self.fragments.refuse(key, now) // without one fragment the datagram is worth nothing to anybody
        } else if piece.is_first() {
            let (source, destination) = (segment.source.port(), segment.destination.port());
            self.fragments.learn(key, Ports { source, destination }, now)
        } else {
            0
        };
        if passes {
            self.fragments.pass(key, piece, now);
        }
        self.give_up_fragments(DropReason::FragmentQueueFull, given_up);
        result
    }

    /// All fragments of a client meet on one worker, which finds their ports. That of their connection may be
    /// another.
    fn owner_elsewhere(&self, segment: &Segment, context: Context<'_>) -> Option<usize> {
        if self.io.peers.is_alone() {
            return None;
        }
        let local = context.snapshot.local(segment.destination.ip()).is_some();
        let client = if local { segment.source } else { segment.destination };
        let owner = self.io.peers.owner(V4::endpoint_bits(client)?);
        (owner != self.io.peers.own()).then_some(owner)
    }

    /// A fragment that another worker has found the ports of. One that has to wait for its next hop goes
    /// that way again, and is dropped there.
    pub(in crate::worker) fn resolved_fragment(
        &mut self,
        mut frame: Io::Frame,
        ports: u32,
        context: Context<'_>,
    ) {
        let ports = Ports { source: (ports >> 16) as u16, destination: ports as u16 };
        let segment = |ip: &Ip, frame: &Io::Frame| {
            let protocol = Protocol::from_number(ip.protocol).ok_or(DropReason::Protocol)?;
            if ip.is_later_fragment() {
                Ok(following(ip, protocol, ports))
            } else {
                read_segment(frame.bytes(), ip, protocol)
            }
        };
        let judgement = read_ip(frame.bytes()).and_then(|ip| {
            let segment = segment(&ip, &frame)?;
            self.transport_layer(&mut frame, ip, segment, context)
        });
        match judgement {
            Ok(Judgement::Await(key)) => self.hold(key, frame, context),
            Ok(Judgement::Conclude(verdict)) => self.conclude(verdict, frame),
            Ok(Judgement::Early(_) | Judgement::Gather(..)) => {} // its ports are known
            Err(reason) => self.conclude(Verdict::Drop(reason), frame),
        }
    }

    /// A fragment of an ICMP message. Pings to own addresses are put together. An error that comes in fragments,
    /// which none needs to (RFC 1812 §4.3.2.3), would leave untranslated. Others are routed.
    pub(in crate::worker) fn icmp_fragment(
        &mut self,
        frame: &mut Io::Frame,
        ip: Ip,
        context: Context<'_>,
    ) -> Result<Judgement, DropReason> {
        if context.snapshot.local(ip.destination).is_some() {
            return self.fragment_to_us(frame, &ip, context);
        }
        let is_error =
            !ip.is_later_fragment() && frame.bytes().get(ip.payload).is_none_or(|kind| icmp::is_error(*kind));
        if is_error { Err(DropReason::Fragment) } else { self.route(frame, ip, context) }
    }

    /// Keeps a fragment until the first of its datagram comes.
    pub(in crate::worker) fn hold_fragment(&mut self, key: Key, frame: Io::Frame, context: Context<'_>) {
        let given_up = self.fragments.hold(key, context.port, frame, context.now);
        self.give_up_fragments(DropReason::FragmentQueueFull, given_up);
    }

    /// Fragments that waited for the one just handled. They hold for none themselves, so there is no end
    /// to come to but theirs.
    pub(in crate::worker) fn handle_released_fragments(&mut self, snapshot: &Snapshot, now: Now) {
        let Some(released) = self.fragments.take_released() else { return };
        for (port, frame) in released {
            self.handle(frame, Context { snapshot, port, now });
        }
    }

    /// Drops fragments that have waited too long for the first, and pings that have for any.
    pub(in crate::worker) fn expire_fragments(&mut self, now: Now) {
        let mut given_up = self.fragments.expire(now);
        if !self.pings.is_empty() {
            given_up += self.pings.expire(now);
        }
        self.give_up_fragments(DropReason::FragmentExpired, given_up);
    }

    pub(in crate::worker) fn give_up_fragments(&self, reason: DropReason, count: usize) {
        if count > 0 {
            self.counters.dropped(reason).add(count as u64);
        }
    }
}

/// A fragment other than the first, with the ports of the first. It is no event of its connection.
fn following(ip: &Ip, protocol: Protocol, ports: Ports) -> Segment {
    Segment {
        protocol,
        source: SocketAddr::new(ip.source, ports.source),
        destination: SocketAddr::new(ip.destination, ports.destination),
        event: TcpEvent::Ack,
    }
}
