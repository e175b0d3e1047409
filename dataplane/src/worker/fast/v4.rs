//! Plain IPv4 packets.
//!
//! What may be wrong with a frame is gathered from a whole burst, and looked for frame by frame only if there is
//! something.

use super::decode::Expected;
use super::family::Plain;
use crate::connection::table::{ClientKey, Home};
use crate::exchange::peers::Peers;
use crate::frame::{Frame, HEAD, HEADER_WRONG};
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::ids::Protocol;
use crate::translation::Fields;
use crate::wire::ipv4;
use crate::wire::plain::{FRAGMENT_BITS, Head, at};
use memory::Bytes16;
use std::net::Ipv4Addr;

/// EtherType, and IPv4's version and header length, as they lie in bytes 8 to 15 of a plain frame.
const WITHOUT_OPTIONS: u64 = 0x45_0008 << 32;
/// TCP and UDP, as bits.
const PROTOCOLS: u32 = 1 << Protocol::Tcp.number() | 1 << Protocol::Udp.number();

/// See [`Plain::Faults`].
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Faults {
    /// Where the first sixteen bytes of some differ from what is expected.
    differs: Bytes16,
    /// Bits that some have set in the next eight, in the order of the wire, the first lowest.
    has: u64,
    /// The least of each of the fields that a translation looks at.
    least: Bytes16,
    /// The bits of the [marks](Frame::marks).
    marks: u64,
    /// The protocols' numbers, as bits, modulo 32.
    protocols: u32,
}

impl Plain for V4 {
    type Start = Bytes16;
    type Faults = Faults;
    type Address = Ipv4Addr;

    const HEADER: usize = ipv4::HEADER;

    #[inline(always)]
    fn start(mac: u64) -> Bytes16 {
        Bytes16::from_words([mac, WITHOUT_OPTIONS])
    }

    #[inline(always)]
    fn no_faults() -> Faults {
        let zero = Bytes16::from_words([0; 2]);
        let least = Bytes16::from_words([u64::MAX; 2]);
        Faults { differs: zero, has: 0, least, marks: 1, protocols: 0 }
    }

    #[inline(always)]
    fn are_plain(faults: &Faults) -> bool {
        // Shifted, not masked, to what matters: the destination's six bytes; EtherType and the byte after it; the lower
        // 14 bits of flags and offset of the fragment, in network order; what no number below 32 has.
        let ([destination, start], [least, _]) = (faults.differs.words(), faults.least.words());
        let fragment = faults.has >> (8 * (at::FRAGMENT - at::TOTAL_LENGTH)) & FRAGMENT_BITS;
        let protocol = faults.has >> (8 * (at::PROTOCOL - at::TOTAL_LENGTH)) & 0xe0;
        let ttl = least & 0xff;
        (destination << 16 | (start >> 32) << 40 | fragment | protocol) == 0
            && faults.protocols & !PROTOCOLS == 0
            && faults.marks & HEADER_WRONG << 32 == 0
            && ttl > 1
            && faults.marks as u16 == 1
    }

    #[inline(always)]
    fn decode(
        frame: &impl Frame,
        direction: Direction,
        expected: Expected<Self>,
        faults: &mut Faults,
    ) -> (ClientKey, u16) {
        let head = Head(frame.head());
        let (next, fields) = (head.from_total_length(), head.fields());

        faults.differs = faults.differs.or(head.start().xor(expected.start));
        faults.has |= next;
        faults.least = faults.least.min(fields);
        faults.marks |= frame.marks();
        faults.protocols |= 1 << (head.protocol() % 32);

        let length = (next as u16).swap_bytes();
        (ClientKey::of(fields, direction), length)
    }

    fn homes_of_other(head: &[u8; HEAD], decoded: Home) -> u64 {
        match Head(head) {
            head if !head.is_ipv4() => 0,
            // The ports were read in the wrong place: then it may be of any.
            head if head.has_options() => u64::MAX,
            _ => 1 << decoded.low_bits(),
        }
    }

    #[inline(always)]
    fn fields(head: &[u8; HEAD], _: Direction) -> Fields {
        Head(head).fields()
    }

    #[inline(always)]
    fn put_fields(head: &mut [u8; HEAD], _: Direction, fields: Fields) {
        fields.store(head[at::TTL..].first_chunk_mut().expect("within the head"));
    }

    #[inline(always)]
    fn remote(head: &[u8; HEAD], direction: Direction) -> u64 {
        Head(head).endpoint_bits(1 - direction as usize)
    }

    #[inline(always)]
    fn protocol(head: &[u8; HEAD]) -> u8 {
        Head(head).protocol()
    }

    #[inline(always)]
    fn source(head: &[u8; HEAD]) -> Ipv4Addr {
        Head(head).source()
    }

    #[inline(always)]
    fn destination(head: &[u8; HEAD]) -> Ipv4Addr {
        Head(head).destination()
    }

    #[inline(always)]
    fn is_martian(source: Ipv4Addr) -> bool {
        ipv4::is_martian(source)
    }

    #[inline(always)]
    fn has_right_header(head: &[u8; HEAD]) -> bool {
        Head(head).has_right_checksum()
    }

    fn has_partial_checksum(head: &[u8; HEAD], length: u16) -> bool {
        Head(head).has_partial_checksum(length)
    }

    #[inline(always)]
    fn owner<F>(key: ClientKey, peers: &Peers<F>) -> usize {
        peers.owner(key.endpoint_bits())
    }
}
