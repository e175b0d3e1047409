//! Whose a packet is, where there are several workers, and passing it on.
//!
//! A connection's owner follows from the client's address and port. On a port that is steered by
//! software every frame received is looked at; where the NIC steers, only what leaves the fast path
//! for want of a connection. What has no client endpoint (ARP, ping, other protocols) or cannot belong to a
//! connection (routed packets) stays with whoever received it: a NIC queue keeps its order.

use crate::exchange::peers::{FRAMES, Purpose};
use crate::fragments::least_header;
use crate::frame::{BURST, Frame, FrameIo, HEAD};
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::ids::{InterfaceId, Protocol};
use crate::names::side::Side;
use crate::names::time::Now;
use crate::names::verdict::Verdict;
use crate::snapshot::{Snapshot, Steering};
use crate::wire::{icmp_error, ipv4};
use crate::worker::slow::packet::Context;
use crate::worker::{Handler, fast::staged::Staged};
use arrayvec::ArrayVec;
use memory::prefetch;
use std::net::{IpAddr, SocketAddr};

use crate::worker::fast::decode::at;

/// Parcels taken from each other worker in a turn, at most.
const PARCELS_OF_A_PEER: usize = 16;
/// Frames taken from all of them in a turn, at most: as many as eight ports give.
const FRAMES_IN_A_TURN: usize = 8 * BURST;

/// Whose connection a packet would belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    /// 48 bits in the order of the wire.
    client: u64,
    direction: Direction,
    /// What it would be a reply from, or is about; `None` for what comes from a client.
    far: Option<(Protocol, SocketAddr)>,
    /// A packet that every NIC's hash can tell: sound and not a fragment, without options, with a whole
    /// transport header. Any other is in the wrong queue by no fault of the device, and whoever sends such is not
    /// to have steering taken from it.
    by_ports: bool,
}

impl<Io: FrameIo> Handler<Io> {
    /// Keeps of a burst received what is this worker's own, and hands the rest over. Out of line, as
    /// [`take_over`](Self::take_over): one worker is to run the code that it ran without.
    #[inline(never)]
    pub(in crate::worker) fn steer(&mut self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        let port = burst.port;
        let own = self.io.peers.own();
        let mac = snapshot.mac_bits(port);
        let mut kept: ArrayVec<Io::Frame, BURST> = ArrayVec::new();
        for frame in burst.frames.drain(..) {
            let client = client_of(&frame, mac, snapshot);
            let owner = client.map_or(own, |client| self.io.peers.owner(client));
            if owner == own {
                kept.push(frame);
            } else {
                self.io.peers.pass(owner, Purpose::Received, port.eth_port(), frame, &self.counters);
            }
        }
        burst.frames = kept;
    }

    /// The other worker that a packet which left the fast path has to be handed to.
    pub(in crate::worker) fn hand_over(
        &self,
        frame: &Io::Frame,
        port: InterfaceId,
        snapshot: &Snapshot,
    ) -> Option<Verdict> {
        let entry = &snapshot.interfaces[port.index()];
        let is_ours = frame.head()[..6] == entry.mac.0;
        let claim = claim(frame, snapshot).filter(|_| is_ours && frame.is_whole())?;
        let to = self.io.peers.owner(claim.client);
        let may_belong = claim.far.is_none_or(|(protocol, far)| snapshot.is_endpoint(protocol, far));
        if to == self.io.peers.own() || !may_belong {
            return None;
        }
        let as_expected = matches!(
            (entry.side, claim.direction),
            (Side::Vip, Direction::Forward) | (Side::Dip, Direction::Reverse) | (Side::Both, _)
        );
        let steering = snapshot.eth_ports[port.eth_port().index()].steering;
        if steering == Steering::Device && claim.by_ports && as_expected {
            self.counters.misdirected[port.eth_port().index()].add(1);
        }
        Some(Verdict::HandOver { to, port })
    }

    /// Handles what the other workers have handed over since the last turn. Returns how many frames, those
    /// that only had to be sent among them.
    #[inline(never)]
    pub(in crate::worker) fn take_over(
        &mut self,
        decoded: &mut Box<Staged<Io::Frame>>,
        spare: &mut Box<Staged<Io::Frame>>,
        snapshot: &Snapshot,
        now: Now,
    ) -> usize {
        if snapshot.interfaces.is_empty() {
            return 0; // another worker has its first configuration already: it knows the ports, this one does not
        }
        let (mut taken, mut to_send, mut bursts) = (0, 0, 0);
        let workers = self.io.peers.workers();
        for worker in (self.first_peer..workers).chain(0..self.first_peer) {
            // Who does not find room for a whole share is the first in the next turn.
            if FRAMES_IN_A_TURN - taken - to_send < PARCELS_OF_A_PEER * FRAMES {
                self.first_peer = worker;
                break;
            }
            let mut parcels = PARCELS_OF_A_PEER;
            while let Some((port, purpose, ports)) =
                self.io.peers.take(worker, &mut spare.frames, &mut parcels)
            {
                if purpose == Purpose::ToSend {
                    to_send += spare.frames.len();
                    for frame in spare.frames.drain(..) {
                        self.outgoing.push_on(&mut self.io, port, frame, &self.counters);
                    }
                    continue;
                }
                if purpose == Purpose::Fragment {
                    self.resolve_burst(decoded, snapshot, now); // nothing overtakes what came before
                    taken += spare.frames.len();
                    bursts += 1;
                    for frame in spare.frames.drain(..) {
                        self.resolved_fragment(
                            frame,
                            ports,
                            Context { snapshot, port: port.interface(), now },
                        );
                    }
                    continue;
                }
                // Another core has written them last: all are fetched at once.
                spare.frames.iter().for_each(|frame| prefetch(frame.head()));
                taken += spare.frames.len();
                bursts += 1;
                spare.port = port.interface();
                self.decode_burst(spare, snapshot);
                self.resolve_and_prefetch(decoded, spare, snapshot, now);
                std::mem::swap(decoded, spare);
            }
        }
        self.counters.taken_over.add(taken as u64);
        self.counters.bursts.add(bursts);
        taken + to_send
    }
}

/// The client endpoint of a frame received by `mac`: first where it nearly always is. What is addressed to
/// others, or to all, is nobody's.
#[inline(always)]
fn client_of(frame: &impl Frame, mac: u64, snapshot: &Snapshot) -> Option<u64> {
    let head: &[u8; HEAD] = frame.head();
    let &[a, b, c, d, e, f, ..] = head;
    if u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) != mac {
        return None;
    }
    let is_plain = (head[at::ETHER_TYPE..=at::IPV4] == [8, 0, 0x45])
        & (head[at::FRAGMENT] & 0x3f == 0)
        & (head[at::FRAGMENT + 1] == 0)
        & ((head[at::PROTOCOL] == 6) | (head[at::PROTOCOL] == 17))
        & (frame.length() >= at::TRANSPORT + 8);
    if !is_plain {
        return claim(frame, snapshot).map(|claim| claim.client);
    }
    let destination = ipv4::address_at(head, at::DESTINATION).into();
    let (address, port) = match direction_to(destination, snapshot) {
        Direction::Forward => (at::SOURCE, at::TRANSPORT),
        Direction::Reverse => (at::DESTINATION, at::TRANSPORT + 2),
    };
    let [a, b, c, d] = [head[address], head[address + 1], head[address + 2], head[address + 3]];
    Some(u64::from_le_bytes([a, b, c, d, head[port], head[port + 1], 0, 0]))
}

/// What is addressed to us comes from a client, all else goes to one.
#[inline(always)]
fn direction_to(destination: IpAddr, snapshot: &Snapshot) -> Direction {
    if snapshot.local(destination).is_some() { Direction::Forward } else { Direction::Reverse }
}

/// The claim of any frame. A fragment is claimed by the client's address alone, since only the first of a datagram has
/// ports; an ICMP error by the packet that it quotes.
fn claim(frame: &impl Frame, snapshot: &Snapshot) -> Option<Claim> {
    if frame.head()[at::ETHER_TYPE..at::IPV4] != [8, 0] {
        return None;
    }
    let packet = ipv4::Packet::in_frame(frame.bytes()).ok()?;
    let direction = direction_to(packet.destination().into(), snapshot);
    let is_error = packet.protocol() == ipv4::ICMP;
    let (protocol, source, destination) = if is_error {
        let quoted = icmp_error::Quoted::parse(&packet)?;
        // Its sender is who the error goes to: it was on the way back.
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
