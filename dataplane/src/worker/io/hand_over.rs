//! Whose a packet is, where there are several workers, and passing it on.
//!
//! A connection's owner follows from the client's address and port. On a port that is steered by
//! software every frame received is looked at; where the NIC steers, only what leaves the fast path
//! for want of a connection. What has no client endpoint (ARP, ping, other protocols) or cannot belong to a
//! connection (routed packets) stays with the worker that received it: a NIC queue keeps its order.

use super::egress::Egress;
use crate::counters::WorkerCounters;
use crate::exchange::peers::{Peers, Purpose};
use crate::fragments::least_header;
use crate::frame::{BURST, Frame, FrameIo, HEAD};
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::ids::{InterfaceId, Protocol};
use crate::names::side::Side;
use crate::snapshot::{Snapshot, Steering};
use crate::wire::plain::{Head, at};
use crate::wire::{icmp_error, ipv4, udp};
use crate::worker::fast::staged::Staged;
use crate::worker::fate::Fate;
use arrayvec::ArrayVec;
use std::net::{IpAddr, SocketAddr};

/// Whose connection a packet would belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    /// 48 bits in the order of the wire.
    client: u64,
    direction: Direction,
    /// What it would be a reply from, or is about; `None` for what comes from a client.
    far: Option<(Protocol, SocketAddr)>,
    /// Whether every NIC's hash can find its queue: sound and not a fragment, without options, with a whole transport
    /// header. Any other is in the wrong queue by no fault of the device: a flood of such must not make steering look
    /// broken.
    by_ports: bool,
}

impl<Io: FrameIo> Egress<Io> {
    /// Keeps of a burst received what is this worker's own, and hands the rest over. Out of line: one worker alone is
    /// to run the code that it would run without.
    #[inline(never)]
    pub(in crate::worker) fn steer(&mut self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        let arrival = burst.arrival;
        let own = self.io.peers.own();
        let mac = snapshot.mac_bits(arrival);
        let mut kept: ArrayVec<Io::Frame, BURST> = ArrayVec::new();
        for frame in burst.frames.drain(..) {
            let client = client_of(&frame, mac, snapshot);
            let to = client.map_or(own, |client| self.io.peers.owner(client));
            if to == own {
                kept.push(frame);
            } else {
                self.dispose(frame, Ok(Fate::HandOver { to, arrival, purpose: Purpose::Received }));
            }
        }
        burst.frames = kept;
    }
}

/// The hand-over of a packet that left the fast path and is another worker's.
pub(in crate::worker) fn hand_over<F: Frame>(
    frame: &F,
    arrival: InterfaceId,
    snapshot: &Snapshot,
    peers: &Peers<F>,
    counters: &WorkerCounters,
) -> Option<Fate> {
    let interface = &snapshot.interfaces[arrival.index()];
    let is_ours = frame.head()[..6] == interface.mac.0;
    let claim = claim(frame, snapshot).filter(|_| is_ours && frame.is_whole())?;
    let to = peers.owner(claim.client);
    let may_belong = claim.far.is_none_or(|(protocol, far)| snapshot.may_reply(protocol, far));
    if to == peers.own() || !may_belong {
        return None;
    }
    let as_expected = matches!(
        (interface.side, claim.direction),
        (Side::Vip, Direction::Forward) | (Side::Dip, Direction::Reverse) | (Side::Both, _)
    );
    let port = arrival.eth_port().index();
    if snapshot.eth_ports[port].steering == Steering::Device && claim.by_ports && as_expected {
        counters.misdirected[port].add(1);
    }
    Some(Fate::HandOver { to, arrival, purpose: Purpose::Received })
}

/// The client endpoint of a frame received by `mac`, looked for first where it nearly always is. A frame that is
/// addressed to others, or to all, has none.
#[inline(always)]
fn client_of(frame: &impl Frame, mac: u64, snapshot: &Snapshot) -> Option<u64> {
    let head: &[u8; HEAD] = frame.head();
    let &[a, b, c, d, e, f, ..] = head;
    if u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) != mac {
        return None;
    }
    let head = Head(head);
    if !(head.is_plain_ipv4() & (frame.length() >= at::TRANSPORT + udp::HEADER)) {
        return claim(frame, snapshot).map(|claim| claim.client);
    }
    let direction = direction_to(head.destination().into(), snapshot);
    Some(head.endpoint_bits(direction as usize))
}

/// What is addressed to us comes from a client, all else goes to one.
#[inline(always)]
fn direction_to(destination: IpAddr, snapshot: &Snapshot) -> Direction {
    if snapshot.local(destination).is_some() { Direction::Forward } else { Direction::Reverse }
}

/// The claim of any frame. A fragment is claimed by the client's address alone, since only the first of a datagram has
/// ports; an ICMP error by the packet that it quotes.
fn claim(frame: &impl Frame, snapshot: &Snapshot) -> Option<Claim> {
    if !Head(frame.head()).is_ipv4() {
        return None;
    }
    let packet = ipv4::Packet::in_frame(frame.bytes()).ok()?;
    let direction = direction_to(packet.destination().into(), snapshot);
    let is_error = packet.protocol() == ipv4::ICMP;
    let (protocol, source, destination) = if is_error {
        let quoted = icmp_error::Quoted::parse(&packet)?;
        // The error goes to the sender of the quoted packet: it was on the way back.
        (quoted.protocol, quoted.destination, quoted.source)
    } else {
        let protocol = Protocol::from_number(packet.protocol())?;
        let port = |at: usize| match packet.payload().get(at..at + 2) {
            Some(&[high, low]) if !packet.is_fragment() => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let source = SocketAddr::new(packet.source().into(), port(0));
        (protocol, source, SocketAddr::new(packet.destination().into(), port(2)))
    };
    let (client, far) = match direction {
        Direction::Forward => (source, None),
        Direction::Reverse => (destination, Some((protocol, source))),
    };
    let far = far.filter(|_| !packet.is_fragment());
    let by_ports = !is_error
        && !packet.is_fragment()
        && packet.header_length() == ipv4::HEADER
        && packet.payload().len() >= least_header(protocol)
        && packet.has_right_checksum();
    Some(Claim { client: V4::endpoint_bits(client)?, direction, far, by_ports })
}
