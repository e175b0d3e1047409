//! First stage: which frames are plain TCP or UDP over IPv4, and of which client endpoint.
//!
//! Plain means: whole, to our MAC, IPv4 without options, no fragment, room for its transport header,
//! TTL above 1, no larger than any port's MTU. Whatever else a frame may be, it leaves the fast path
//! here, at branches that are hardly ever taken.

use crate::connection::Direction;
use crate::connection::table::{ClientKey, Home, Probed};
use crate::frame::{Frame, HEAD};
use crate::ids::Protocol;

/// Offsets in a frame with an Ethernet header and an IPv4 header without options.
pub(super) mod at {
    pub(in crate::worker) const ETHER_TYPE: usize = 12;
    pub(in crate::worker) const IPV4: usize = 14;
    pub(in crate::worker) const TOTAL_LENGTH: usize = 16;
    pub(in crate::worker) const FRAGMENT: usize = 20;
    pub(in crate::worker) const TTL: usize = 22;
    pub(in crate::worker) const PROTOCOL: usize = 23;
    pub(in crate::worker) const HEADER_CHECKSUM: usize = 24;
    pub(in crate::worker) const SOURCE: usize = 26;
    pub(in crate::worker) const DESTINATION: usize = 30;
    pub(in crate::worker) const TRANSPORT: usize = 34;
    pub(in crate::worker) const TCP_FLAGS: usize = TRANSPORT + 13;
}

/// What one frame is, if it is plain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decoded {
    pub(super) key: ClientKey,
    /// Filled in by who knows the table.
    pub(super) home: Home,
    /// Told a stage later.
    pub(super) probed: Probed,
    /// IPv4 total length.
    pub(super) length: u16,
    pub(super) direction: Direction,
}

/// What a port's frames are measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    mac: u64,
    smallest_mtu: u16,
}

impl Expected {
    pub(super) const fn new(mac: u64, smallest_mtu: u16) -> Self {
        Self { mac, smallest_mtu }
    }
}

#[inline(always)]
fn u16_at(head: &[u8; HEAD], at: usize) -> u16 {
    u16::from_le_bytes([head[at], head[at + 1]])
}

#[inline(always)]
fn u32_at(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes(*head[at..].first_chunk().expect("within the head"))
}

#[inline(always)]
fn u64_at(head: &[u8; HEAD], at: usize) -> u64 {
    u64::from_le_bytes(*head[at..].first_chunk().expect("within the head"))
}

/// The least total length of a packet by its protocol: with a whole transport header. What is neither TCP nor
/// UDP is never long enough.
const LEAST_LENGTH: [u16; 256] = {
    let mut least = [u16::MAX; 256];
    least[Protocol::Tcp.number() as usize] = 40;
    least[Protocol::Udp.number() as usize] = 28;
    least
};

/// Offset of the transport checksum in a plain frame: 16 in a TCP header (protocol 6), 6 in a UDP header (17).
#[inline(always)]
pub(super) fn check_at(head: &[u8; HEAD]) -> usize {
    at::TRANSPORT + 6 + 5 * usize::from(head[at::PROTOCOL] & 2)
}

/// Decodes a frame, and says whether it is plain: what is wrong with it is collected in two words, that
/// are nonzero or negative if anything is.
#[inline(always)]
pub(super) fn decode(frame: &impl Frame, direction: Direction, expected: Expected) -> (Decoded, bool) {
    let head = frame.head();
    let length = u16::from_be(u16_at(head, at::TOTAL_LENGTH));
    let protocol = head[at::PROTOCOL];

    // The destination's six bytes; EtherType 0x0800, then version 4 with five words of header;
    // more-fragments and offset, the lower 14 bits. Shifted, not masked: the compiler would load such
    // parts one by one.
    let differs = ((u64_at(head, 0) ^ expected.mac) << 16)
        | u64::from((u32_at(head, at::ETHER_TYPE) ^ 0x0045_0008) << 8)
        | u64::from(u32::from(u16_at(head, at::FRAGMENT).rotate_left(8)) << 18);
    let long = i32::from(length);
    let falls_short = (i32::from(head[at::TTL]) - 2)
        | (long - i32::from(LEAST_LENGTH[usize::from(protocol)]))
        | (i32::from(expected.smallest_mtu) - long)
        | (frame.length() as i32 - at::IPV4 as i32 - long);
    let plain = differs == 0 && falls_short >= 0 && frame.is_whole();
    let key = ClientKey::new(endpoint(head, direction as usize), protocol);
    let (home, probed) = (Home::default(), Probed::default());
    (Decoded { key, home, probed, length, direction }, plain)
}

/// Address and port of the side of a plain frame that gets translated, 48 bits as they lie on the wire.
#[inline(always)]
pub(super) fn far(head: &[u8; HEAD], direction: Direction) -> u64 {
    endpoint(head, 1 - direction as usize)
}

/// Of the source (0) or destination (1). Looked up, not branched on: where a port has both sides the
/// direction is a coin toss.
#[inline(always)]
fn endpoint(head: &[u8; HEAD], side: usize) -> u64 {
    let address = u64::from(u32_at(head, at::SOURCE + 4 * side));
    let port = u64::from(u16_at(head, at::TRANSPORT + 2 * side));
    address | port << 32
}
