//! Whose a packet is, where there are several workers, and passing it on.
//!
//! A connection's owner follows from the client's address and port. On a port that software steers every frame received
//! is looked at, or every frame of a family where the NIC steers the other; where the NIC steers, only what leaves the
//! fast path for want of a connection. What has no client endpoint (ARP, ping, other protocols) or cannot belong to a
//! connection (routed packets) stays with the worker that received it: a NIC queue keeps its order.

use super::egress::Egress;
use crate::counters::WorkerCounters;
use crate::exchange::peers::{Peers, Purpose};
use crate::fragments::least_header;
use crate::frame::{BURST, Frame, FrameIo, HEAD};
use crate::names::direction::Direction;
use crate::names::family::IpVersion;
use crate::names::ids::{InterfaceId, Protocol};
use crate::names::side::Side;
use crate::snapshot::Snapshot;
use crate::wire::icmp_error::Quoted;
use crate::wire::plain::{Head, at};
use crate::wire::{ethernet, icmp_error, icmp6_error, ipv4, ipv6, ipv6_extensions, plain6, udp};
use crate::worker::fast::staged::Staged;
use crate::worker::fate::Fate;
use crate::worker::tables::Tabled;
use arrayvec::ArrayVec;
use std::net::{IpAddr, SocketAddr};

/// Whose connection a packet would belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    client: SocketAddr,
    direction: Direction,
    /// What it would be a reply from, or is about; `None` for what comes from a client.
    far: Option<(Protocol, SocketAddr)>,
    /// See [`Claimed::by_ports`].
    by_ports: bool,
}

/// What a packet says of a connection, as it stands in it.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    /// Where the packet itself goes: an error, not the packet that it quotes.
    to: IpAddr,
    /// `None`: a fragment of which only the first says.
    protocol: Option<Protocol>,
    /// Those of the packet that an error quotes the other way round: it was on the way back, and the error goes to its
    /// sender. A fragment has port 0.
    source: SocketAddr,
    destination: SocketAddr,
    is_fragment: bool,
    /// Whether every NIC's hash can find its queue: TCP or UDP, sound and not a fragment, without options or extension
    /// headers, with a whole transport header. Any other is in the wrong queue by no fault of the device: a flood of
    /// such must not make steering look broken.
    by_ports: bool,
}

impl<Io: FrameIo> Egress<Io> {
    /// Keeps of a burst received what is this worker's own, and hands the rest over. Out of line: one worker alone is
    /// to run the code that it would run without.
    #[inline(never)]
    pub(in crate::worker) fn steer<V: Tabled>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        snapshot: &Snapshot,
    ) {
        let arrival = burst.arrival;
        let own = self.io.peers.own();
        let mac = snapshot.mac_bits(arrival);
        let mut kept: ArrayVec<Io::Frame, BURST> = ArrayVec::new();
        for frame in burst.frames.drain(..) {
            let owner = owner::<V, _>(&frame, (arrival, mac), snapshot, &self.io.peers);
            let to = owner.unwrap_or(own);
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
    let claim = claim(frame, arrival, snapshot).filter(|_| is_ours && frame.is_whole())?;
    let to = peers.owner_of(claim.client);
    let may_belong = claim.far.is_none_or(|(protocol, far)| snapshot.may_reply(protocol, far));
    if to == peers.own() || !may_belong {
        return None;
    }
    let as_expected = matches!(
        (interface.side, claim.direction),
        (Side::Vip, Direction::Forward) | (Side::Dip, Direction::Reverse) | (Side::Both, _)
    );
    let port = arrival.eth_port().index();
    let is_by_device = snapshot.eth_ports[port].steering.is_by_device(IpVersion::of(claim.client.ip()));
    if is_by_device && claim.by_ports && as_expected {
        counters.misdirected[port].add(1);
    }
    Some(Fate::HandOver { to, arrival, purpose: Purpose::Received })
}

/// The worker that owns the client of a frame received by `mac`; the client is looked for first where it nearly always
/// is in a packet of the family. A frame that is addressed to others, or to all, has none.
#[inline(always)]
fn owner<V: Tabled, F: Frame>(
    frame: &F,
    (arrival, mac): (InterfaceId, u64),
    snapshot: &Snapshot,
    peers: &Peers<F>,
) -> Option<usize> {
    let bytes: &[u8; HEAD] = frame.head();
    let &[a, b, c, d, e, f, ..] = bytes;
    if u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) != mac {
        return None;
    }
    match V::VERSION {
        IpVersion::Four => {
            let head = Head(bytes);
            if head.is_plain_ipv4() & (frame.length() >= at::TRANSPORT + udp::HEADER) {
                let direction = direction_to(head.destination().into(), snapshot);
                return Some(peers.owner(head.endpoint_bits(direction as usize)));
            }
        }
        IpVersion::Six => {
            let head = plain6::Head(bytes);
            let is_plain = Protocol::from_number(head.protocol()).is_some()
                && frame.length() >= plain6::at::TRANSPORT + udp::HEADER;
            if is_plain && snapshot.speaks_ipv6(arrival) {
                let client = direction_to(head.destination().into(), snapshot) as usize;
                return Some(peers.owner_v6(head.address(client), head.port(client)));
            }
        }
    }
    claim(frame, arrival, snapshot).map(|claim| peers.owner_of(claim.client))
}

/// Whether a frame says that it is IPv6.
#[inline(always)]
fn is_ipv6(head: &[u8; HEAD]) -> bool {
    head[at::ETHER_TYPE..at::ETHER_TYPE + 2] == ethernet::IPV6.to_be_bytes()
}

/// What is addressed to us comes from a client, all else goes to one.
#[inline(always)]
fn direction_to(destination: IpAddr, snapshot: &Snapshot) -> Direction {
    if snapshot.local(destination).is_some() { Direction::Forward } else { Direction::Reverse }
}

/// The claim of any frame. A fragment is claimed by the client's address alone, since only the first of a datagram has
/// ports; an error of ICMP or ICMPv6 by the packet that it quotes.
fn claim(frame: &impl Frame, arrival: InterfaceId, snapshot: &Snapshot) -> Option<Claim> {
    let claimed = match frame.head() {
        head if Head(head).is_ipv4() => Claimed::in_ipv4(&ipv4::Packet::in_frame(frame.bytes()).ok()?)?,
        head if is_ipv6(head) && snapshot.speaks_ipv6(arrival) => {
            Claimed::in_ipv6(&ipv6::Packet::in_frame(frame.bytes()).ok()?)?
        }
        _ => return None,
    };
    let Claimed { to, protocol, source, destination, is_fragment, by_ports } = claimed;
    let direction = direction_to(to, snapshot);
    let (client, far) = match direction {
        Direction::Forward => (source, None),
        Direction::Reverse => (destination, protocol.map(|protocol| (protocol, source))),
    };
    let by_ports = by_ports && protocol != Some(Protocol::Sctp);
    Some(Claim { client, direction, far: far.filter(|_| !is_fragment), by_ports })
}

impl Claimed {
    /// `None`: it is none of a connection.
    fn in_ipv4(packet: &ipv4::Packet<'_>) -> Option<Self> {
        let to = packet.destination().into();
        if packet.protocol() == ipv4::ICMP {
            return Some(Self::by_error(to, icmp_error::Quoted::parse(packet)?));
        }
        let protocol = Protocol::from_number(packet.protocol())?;
        let is_fragment = packet.is_fragment();
        let [source_port, port] = ports(packet.payload(), is_fragment);
        Some(Self {
            to,
            protocol: Some(protocol),
            source: SocketAddr::new(packet.source().into(), source_port),
            destination: SocketAddr::new(to, port),
            is_fragment,
            by_ports: !is_fragment
                && packet.header_length() == ipv4::HEADER
                && packet.payload().len() >= least_header(protocol)
                && packet.has_right_checksum(),
        })
    }

    /// `None`: it is none of a connection.
    fn in_ipv6(packet: &ipv6::Packet<'_>) -> Option<Self> {
        let to = packet.destination().into();
        let upper = ipv6_extensions::upper_layer(packet).ok()?;
        if upper.protocol == ipv6::ICMP {
            return Some(Self::by_error(to, icmp6_error::quoted(packet)?));
        }
        let protocol = Protocol::from_number(upper.protocol);
        // What another fragment names may be an extension header, behind which the first has a transport header.
        if protocol.is_none() && !upper.is_later_fragment() {
            return None;
        }
        let payload = packet.bytes().get(upper.offset..).unwrap_or_default();
        let [source_port, port] = ports(payload, upper.is_fragment());
        Some(Self {
            to,
            protocol,
            source: SocketAddr::new(packet.source().into(), source_port),
            destination: SocketAddr::new(to, port),
            is_fragment: upper.is_fragment(),
            by_ports: upper.offset == ipv6::HEADER
                && protocol.is_some_and(|protocol| payload.len() >= least_header(protocol)),
        })
    }

    /// An error about a packet.
    const fn by_error(to: IpAddr, quoted: Quoted) -> Self {
        let Quoted { protocol, source, destination } = quoted;
        let (source, destination) = (destination, source);
        Self { to, protocol: Some(protocol), source, destination, is_fragment: false, by_ports: false }
    }
}

/// The two ports that a transport header begins with; 0 where they are not in the packet.
fn ports(payload: &[u8], is_fragment: bool) -> [u16; 2] {
    match payload {
        &[a, b, c, d, ..] if !is_fragment => [[a, b], [c, d]].map(u16::from_be_bytes),
        _ => [0; 2],
    }
}

#[cfg(test)]
mod tests;
