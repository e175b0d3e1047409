//! Plain IPv6 packets: without extension headers.
//!
//! What may be wrong with a frame is gathered from a whole burst, and looked for frame by frame only if there is
//! something.

use super::decode::Expected;
use super::family::Plain;
use crate::connection::table::{ClientKey, Home};
use crate::exchange::peers::Peers;
use crate::frame::{Frame, HEAD};
use crate::names::direction::Direction;
use crate::names::family::V6;
use crate::names::ids::Protocol;
use crate::translation::FieldsV6;
use crate::wire::plain6::{Head, at};
use crate::wire::{ethernet, ipv6};
use memory::Bytes16;
use std::net::Ipv6Addr;

/// EtherType, and the version, as they lie in bytes 8 to 15 of a plain frame.
const VERSION_6: u64 = (ethernet::IPV6.swap_bytes() as u64 | (ipv6::VERSION as u64) << 20) << 32;
/// TCP and UDP, as bits.
const PROTOCOLS: u32 = 1 << Protocol::Tcp.number() | 1 << Protocol::Udp.number();

/// See [`Plain::Faults`].
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Faults {
    /// Where the first sixteen bytes of some differ from what is expected.
    differs: Bytes16,
    /// The bits of their protocols' numbers.
    numbers: u32,
    /// The protocols' numbers, as bits, modulo 32.
    protocols: u32,
    /// The smallest hop limit.
    least_hops: u32,
    /// The bits of the [marks](Frame::marks).
    marks: u64,
}

impl Plain for V6 {
    type Start = Bytes16;
    type Faults = Faults;
    type Address = Ipv6Addr;

    const HEADER: usize = ipv6::HEADER;

    #[inline(always)]
    fn start(mac: u64) -> Bytes16 {
        Bytes16::from_words([mac, VERSION_6])
    }

    #[inline(always)]
    fn no_faults() -> Faults {
        let differs = Bytes16::from_words([0; 2]);
        Faults { differs, numbers: 0, protocols: 0, least_hops: u32::MAX, marks: 1 }
    }

    #[inline(always)]
    fn are_plain(faults: &Faults) -> bool {
        // Shifted, not masked, to what matters: the destination's six bytes; EtherType, and the version, which is the
        // upper half of the byte after it. The lower half and the next byte are the traffic class and the flow label.
        let [destination, start] = faults.differs.words();
        let ether_type = start >> 32 << 48;
        let version = start >> 52 << 60;
        (destination << 16 | ether_type | version) == 0
            && faults.numbers & !31 == 0
            && faults.protocols & !PROTOCOLS == 0
            && faults.least_hops > 1
            && faults.marks as u16 == 1
    }

    #[inline(always)]
    fn decode(
        frame: &impl Frame,
        direction: Direction,
        expected: Expected<Self>,
        faults: &mut Faults,
    ) -> (ClientKey<Self>, u16) {
        let head = Head(frame.head());
        let next = head.from_payload_length();
        let protocol = next >> 16 & 0xff;

        faults.differs = faults.differs.or(head.start().xor(expected.start));
        faults.numbers |= protocol;
        faults.protocols |= 1 << (protocol % 32);
        faults.least_hops = faults.least_hops.min(next >> 24);
        faults.marks |= frame.marks();

        let client = direction as usize;
        let key = ClientKey::of_address(head.address(client), head.port(client), protocol as u8);
        // One that is too long for the sum comes to less than any header, which is no plain length.
        (key, (next as u16).swap_bytes().wrapping_add(ipv6::HEADER as u16))
    }

    fn homes_of_other(head: &[u8; HEAD], decoded: Home) -> u64 {
        match Protocol::from_number(Head(head).protocol()) {
            Some(_) => 1 << decoded.low_bits(),
            // The ports were read in the wrong place: then it may be of any.
            None => u64::MAX,
        }
    }

    #[inline(always)]
    fn fields(head: &[u8; HEAD], direction: Direction) -> FieldsV6 {
        let side = 1 - direction as usize;
        let head = Head(head);
        FieldsV6 {
            protocol: head.protocol(),
            hop_limit: head.0[at::HOP_LIMIT],
            address: head.address(side),
            port: head.port(side),
        }
    }

    #[inline(always)]
    fn put_fields(head: &mut [u8; HEAD], direction: Direction, fields: FieldsV6) {
        let side = 1 - direction as usize;
        head[at::HOP_LIMIT] = fields.hop_limit;
        head[at::ADDRESSES[side]..][..16].copy_from_slice(&fields.address.to_le_bytes());
        head[at::PORTS[side]..][..2].copy_from_slice(&fields.port.to_le_bytes());
    }

    #[inline(always)]
    fn remote(head: &[u8; HEAD], direction: Direction) -> (u128, u16) {
        let side = 1 - direction as usize;
        (Head(head).address(side), Head(head).port(side))
    }

    #[inline(always)]
    fn protocol(head: &[u8; HEAD]) -> u8 {
        Head(head).protocol()
    }

    #[inline(always)]
    fn source(head: &[u8; HEAD]) -> Ipv6Addr {
        Head(head).source()
    }

    #[inline(always)]
    fn destination(head: &[u8; HEAD]) -> Ipv6Addr {
        Head(head).destination()
    }

    #[inline(always)]
    fn is_martian(source: Ipv6Addr) -> bool {
        // One of its own link alone is for the slow path, too.
        source.is_unicast_link_local() || ipv6::is_martian(source)
    }

    /// It has no checksum.
    #[inline(always)]
    fn has_right_header(_: &[u8; HEAD]) -> bool {
        true
    }

    fn has_partial_checksum(head: &[u8; HEAD], length: u16) -> bool {
        Head(head).has_partial_checksum(length)
    }

    #[inline(always)]
    fn owner<F>(key: ClientKey<Self>, peers: &Peers<F>) -> usize {
        peers.owner_v6(key.rest(), (key.endpoint_bits() >> 32) as u16)
    }
}
