//! Which frames are plain TCP or UDP over IPv4, and of which client endpoint.
//!
//! Plain means: whole, to our MAC, IPv4 without options, no fragment, room for its transport header,
//! TTL above 1, no larger than any port's MTU, with nothing behind the packet, and no header checksum that the
//! device found wrong. What may be wrong with a frame is gathered from a whole burst, and
//! looked for frame by frame only if there is something: whatever else a frame may be leaves the fast path then.

use crate::connection::table::ClientKey;
use crate::frame::{BURST, Frame, HEAD, HEADER_RIGHT, HEADER_WRONG};
use crate::names::direction::Direction;
use crate::names::ids::Protocol;
use crate::wire::ethernet;
use crate::wire::plain::{FRAGMENT_BITS, Head, LEAST_UDP};
pub(in crate::worker) use crate::wire::plain::{LEAST_TCP, at};
use memory::Bytes16;

/// What an interface's frames are measured by.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Expected {
    /// The first sixteen bytes of a plain frame, where they matter.
    start: Bytes16,
    /// The longest IPv4 packet, in bytes.
    smallest_mtu: u16,
}

/// EtherType, and IPv4's version and header length, as they lie in bytes 8 to 15 of a plain frame.
const IPV4_WITHOUT_OPTIONS: u64 = 0x45_0008 << 32;

impl Expected {
    pub(in crate::worker) fn new(mac: u64, smallest_mtu: u16) -> Self {
        let start = Bytes16::from_words([mac, IPV4_WITHOUT_OPTIONS]);
        Self { start, smallest_mtu }
    }
}

/// What may be wrong with any frame of a burst, gathered from all of them, so that each costs no branch.
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

/// TCP and UDP, as bits.
const PROTOCOLS: u32 = 1 << Protocol::Tcp.number() | 1 << Protocol::Udp.number();

impl Faults {
    pub(in crate::worker) fn none() -> Self {
        let zero = Bytes16::from_words([0; 2]);
        let least = Bytes16::from_words([u64::MAX; 2]);
        Self { differs: zero, has: 0, least, marks: 1, protocols: 0 }
    }

    /// Whether all are plain.
    #[inline(always)]
    pub(in crate::worker) fn is_none(&self) -> bool {
        // Shifted, not masked, to what matters: the destination's six bytes; EtherType and the byte after it; the lower
        // 14 bits of flags and offset of the fragment, in network order; what no number below 32 has.
        let ([destination, start], [least, _]) = (self.differs.words(), self.least.words());
        let fragment = self.has >> (8 * (at::FRAGMENT - at::TOTAL_LENGTH)) & FRAGMENT_BITS;
        let protocol = self.has >> (8 * (at::PROTOCOL - at::TOTAL_LENGTH)) & 0xe0;
        let ttl = least & 0xff;
        (destination << 16 | (start >> 32) << 40 | fragment | protocol) == 0
            && self.protocols & !PROTOCOLS == 0
            && self.marks & HEADER_WRONG << 32 == 0
            && ttl > 1
            && self.marks as u16 == 1
    }
}

/// Decodes a frame as if it were plain: its key and IPv4 total length. Gathers what is wrong with it but for its
/// [lengths](have_plain_lengths).
#[inline(always)]
pub(in crate::worker) fn decode(
    frame: &impl Frame,
    direction: Direction,
    expected: Expected,
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

/// True if every packet, of these total lengths, fits its frame, of these lengths in bytes (see
/// [`link`](crate::wire::link)), holds a transport header (`least`), and fits the MTU. With [`LEAST_TCP`], UDP
/// datagrams under 12 bytes are rejected here, which are few, and checked again one by one. Eight are compared at
/// once.
#[inline(always)]
pub(in crate::worker) fn have_plain_lengths(
    frames: &[u16],
    totals: &[u16],
    least: u16,
    expected: Expected,
) -> bool {
    let wrong = |frames: &[u16], totals: &[u16]| {
        frames.iter().zip(totals).fold(0, |wrong, (frame, total)| {
            wrong
                | total.saturating_add(at::IPV4 as u16).max(ethernet::LEAST as u16) ^ *frame
                | least.saturating_sub(*total)
                | total.saturating_sub(expected.smallest_mtu)
        })
    };
    // A full burst is of a known number, and so needs no loop.
    match (frames.first_chunk::<BURST>(), totals.first_chunk::<BURST>()) {
        (Some(frames), Some(totals)) => wrong(frames, totals) == 0,
        _ => wrong(frames, totals) == 0,
    }
}

/// As much of a frame's length as counts: no packet is longer.
#[inline(always)]
pub(in crate::worker) fn length_of(frame: &impl Frame) -> u16 {
    u16::try_from(frame.length()).unwrap_or(u16::MAX)
}

/// Whether a frame is plain.
#[inline(always)]
pub(in crate::worker) fn is_plain(frame: &impl Frame, expected: Expected) -> bool {
    let mut faults = Faults::none();
    let (_, total) = decode(frame, Direction::Forward, expected, &mut faults);
    let is_udp = Head(frame.head()).protocol() == Protocol::Udp.number();
    let least = if is_udp { LEAST_UDP } else { LEAST_TCP };
    faults.is_none() && have_plain_lengths(&[length_of(frame)], &[total], least, expected)
}

/// Whether the header checksum of a plain frame is wrong: as the device says, else by its sum.
pub(in crate::worker) fn has_wrong_header(frame: &impl Frame) -> bool {
    frame.flags() & (HEADER_RIGHT | HEADER_WRONG) != HEADER_RIGHT && !Head(frame.head()).has_right_checksum()
}

/// The remote endpoint of a plain frame, which gets translated: address and port, 48 bits as they lie on the wire.
#[inline(always)]
pub(in crate::worker) fn remote_bits(head: &[u8; HEAD], direction: Direction) -> u64 {
    Head(head).endpoint_bits(1 - direction as usize)
}

#[cfg(test)]
mod tests;
