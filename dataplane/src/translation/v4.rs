//! The translation of IPv4 packets.

use super::Record;
use crate::names::direction::Direction;
use crate::names::ids::{NextHopId, RealKey};
use crate::wire::{checksum, tcp, udp};
use memory::Bytes16;
use std::net::{SocketAddr, SocketAddrV4};

/// The fields of an IPv4 header without options and of a TCP or UDP header after it that a translation looks at or
/// changes: sixteen bytes from the TTL on.
///
/// ```text
/// 0 TTL   1 protocol   2 header checksum   4 source   8 destination   12 source port   14 destination port
/// ```
pub type Fields = Bytes16;

/// Offsets in [`Fields`]; of the source and the destination, where there are two.
pub(crate) mod at {
    pub(crate) const PROTOCOL: usize = 1;
    pub(super) const HEADER_CHECKSUM: usize = 2;
    pub(crate) const ADDRESSES: [usize; 2] = [4, 8];
    pub(crate) const PORTS: [usize; 2] = [12, 14];
}

/// How packets of a real's connections are told and translated, one cache line. Where there are two of a kind, they are
/// indexed by direction.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Rewrite {
    /// The real's address and port as source, as in its packets; the VIP and port as destination and the protocol, as
    /// in a client's.
    expected: Fields,
    /// What to add to a packet's, each two bytes for themselves: one off the TTL, the new address and port less the
    /// old ones, and the change of the header checksum without its end-around borrow. And one less to all, which is
    /// given back to all that is at least its [`least`](Self::least).
    change: [Fields; 2],
    /// The first four bytes of the least fields that need no borrow: what is taken off the header checksum, and zero.
    least: [u32; 2],
    /// What to add to the TCP or UDP checksum for the new address and port.
    transport_delta: [u16; 2],
    /// The id of the next hop to the real, and in the [lowest bits](OFFSETS) the offset of the checksum in the
    /// transport header.
    next_hop_and_offset: u32,
}

/// The bits that the offset of a checksum may have.
const OFFSETS: u32 = (tcp::field::CHECKSUM | udp::field::CHECKSUM) as u32;
/// How many bits there are for it, below the next hop.
const NEXT_HOP_SHIFT: u32 = u32::BITS - OFFSETS.leading_zeros();
const _: () = assert!(NextHopId::CAPACITY - 1 <= (u32::MAX >> NEXT_HOP_SHIFT) as usize);
/// A port, where all have the same translation.
const ANY_PORT: u16 = 1;
/// No protocol that is balanced: no packet from a client matches.
const NO_PROTOCOL: u8 = u8::MAX;
/// The bytes that tell whether a packet is of a real, by direction.
const TELLING: [Fields; 2] = [
    Bytes16::from_bytes([0, 255, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 255, 255]),
    Bytes16::from_bytes([0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 0, 0]),
];

impl Record for Rewrite {
    type Fields = Fields;
    /// 48 bits in the order of the wire.
    type Remote = u64;

    /// Of a real at 255.255.255.255, port 65535.
    const VACANT: &'static Self = &Self {
        expected: Bytes16::from_bytes([u8::MAX; 16]),
        change: [Bytes16::from_bytes([0; 16]); 2],
        least: [0; 2],
        transport_delta: [0; 2],
        next_hop_and_offset: NextHopId::UNKNOWN.0 << NEXT_HOP_SHIFT,
    };

    fn of(key: &RealKey, next_hop: NextHopId, removed: bool) -> Self {
        let (SocketAddr::V4(vip), SocketAddr::V4(server)) = (key.service.listen, key.endpoint) else {
            return Self::VACANT.clone();
        };
        let protocol = if removed { NO_PROTOCOL } else { key.service.protocol.number() };
        let mut expected = [0; 16];
        expected[at::PROTOCOL] = protocol;
        for (side, endpoint) in [server, vip].into_iter().enumerate() {
            expected[at::ADDRESSES[side]..][..4].copy_from_slice(&endpoint.ip().octets());
            expected[at::PORTS[side]..][..2].copy_from_slice(&endpoint.port().to_be_bytes());
        }
        let (header, transport) = deltas(vip, server);
        let (header_back, transport_back) = deltas(server, vip);
        Self {
            expected: Bytes16::from_bytes(expected),
            change: [change(1, vip, server, header), change(0, server, vip, header_back)],
            least: [header, header_back].map(at_header_checksum),
            transport_delta: [transport, transport_back],
            next_hop_and_offset: next_hop.0 << NEXT_HOP_SHIFT
                | checksum::offset_in(key.service.protocol).unwrap_or_default() as u32,
        }
    }

    const KEEPS_PORTS: bool = true;

    fn of_several_ports(key: &RealKey, next_hop: NextHopId) -> Self {
        Self { expected: Self::VACANT.expected, ..Self::of(&key.at_port(ANY_PORT), next_hop, false) }
    }

    #[inline(always)]
    fn next_hop(&self) -> NextHopId {
        NextHopId(self.next_hop_and_offset >> NEXT_HOP_SHIFT)
    }

    #[inline(always)]
    fn checksum_offset(&self) -> usize {
        (self.next_hop_and_offset & OFFSETS) as usize
    }

    #[inline(always)]
    fn transport_delta(&self, direction: Direction) -> u16 {
        self.transport_delta[direction as usize]
    }

    fn matches(&self, direction: Direction, remote: u64) -> bool {
        let is_known = direction == Direction::Reverse || !self.is_removed();
        is_known && self.endpoint(1 - direction as usize) == remote
    }

    #[inline(always)]
    fn has(&self, direction: Direction, fields: Fields) -> bool {
        self.expected.equal_under(fields, TELLING[direction as usize])
    }

    #[inline(always)]
    fn translate(&self, direction: Direction, fields: Fields) -> Fields {
        let index = direction as usize;
        let least = Bytes16::from_words([u64::from(self.least[index]), 0]);
        fields.sum(self.change[index]).add_at_least(fields, least)
    }
}

impl Rewrite {
    /// Whether the real or its service has been removed (or there is none of this id).
    fn is_removed(&self) -> bool {
        self.expected.bytes()[at::PROTOCOL] == NO_PROTOCOL
    }

    /// What a packet gets instead of its address and port on the side that is translated, as 48 bits.
    pub fn becomes(&self, direction: Direction) -> u64 {
        self.endpoint(direction as usize)
    }

    /// What to add to the IPv4 header's checksum for the new address and the TTL less one
    /// ([`checksum::adjust`]).
    pub fn header_delta(&self, direction: Direction) -> u16 {
        let [_, _, first, second] = self.least[direction as usize].to_le_bytes();
        u16::from_ne_bytes([first, second])
    }

    /// Of the source (0) or the destination (1).
    fn endpoint(&self, side: usize) -> u64 {
        let bytes = self.expected.bytes();
        let address = bytes[at::ADDRESSES[side]..].first_chunk().expect("within the fields");
        let port = bytes[at::PORTS[side]..].first_chunk().expect("within the fields");
        u64::from(u32::from_le_bytes(*address)) | u64::from(u16::from_le_bytes(*port)) << 32
    }
}

/// The word of [`Rewrite::least`] with this at the header checksum's place.
fn at_header_checksum(delta: u16) -> u32 {
    let [first, second] = delta.to_ne_bytes();
    u32::from_le_bytes([0, 0, first, second])
}

/// [`Rewrite::change`] where the source (0) or destination (1) becomes `to`.
fn change(side: usize, from: SocketAddrV4, to: SocketAddrV4, header_delta: u16) -> Fields {
    let fields = |ttl, header_delta: u16, end: SocketAddrV4| {
        let mut bytes = [0; 16];
        bytes[0] = ttl;
        bytes[at::HEADER_CHECKSUM..][..2].copy_from_slice(&header_delta.to_ne_bytes());
        bytes[at::ADDRESSES[side]..][..4].copy_from_slice(&end.ip().octets());
        bytes[at::PORTS[side]..][..2].copy_from_slice(&end.port().to_be_bytes());
        bytes
    };
    let (before, after) = (fields(1, header_delta, from), fields(0, 0, to));
    let mut bytes = [0; 16];
    let pairs = before.as_chunks().0.iter().zip(after.as_chunks().0);
    for ((before, after), less) in pairs.zip(bytes.as_chunks_mut::<2>().0) {
        let change = u16::from_ne_bytes(*after).wrapping_sub(u16::from_ne_bytes(*before));
        *less = change.wrapping_sub(1).to_ne_bytes();
    }
    Bytes16::from_bytes(bytes)
}

/// What the header's and the transport's checksum change by when `from` becomes `to`.
fn deltas(from: SocketAddrV4, to: SocketAddrV4) -> (u16, u16) {
    let address = checksum::delta(&from.ip().octets(), &to.ip().octets());
    let port = checksum::delta(&from.port().to_be_bytes(), &to.port().to_be_bytes());
    (checksum::add(address, checksum::TTL_DELTA), checksum::add(address, port))
}
