//! First stage: which frames are plain TCP or UDP over IPv4, and of which client endpoint.
//!
//! Plain means: whole, to our MAC, IPv4 without options, no fragment, room for its transport header,
//! TTL above 1, no larger than any port's MTU. Whatever else a frame may be, it leaves the fast path
//! here, at one predictable branch.

use crate::connection::Direction;
use crate::connection::table::{ClientKey, Home, Probed};
use crate::frame::{Frame, HEAD};

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
    /// Address and port of the side that gets translated, 48 bits as they lie on the wire.
    pub(super) far: u64,
    /// Filled in by who knows the table.
    pub(super) home: Home,
    /// IPv4 total length.
    pub(super) length: u16,
    pub(super) direction: Direction,
    /// Told a stage later.
    pub(super) probed: Probed,
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

/// What the protocol number tells, in one word of a table.
#[derive(Clone, Copy)]
struct Transport {
    /// The least total length of a packet: with a whole transport header. What is neither TCP nor
    /// UDP is never long enough.
    least: u16,
    /// Offset of the checksum in a frame.
    check_at: u16,
}

const TRANSPORTS: [Transport; 256] = {
    let mut transports = [Transport { least: u16::MAX, check_at: 0 }; 256];
    transports[6] = Transport { least: 40, check_at: at::TRANSPORT as u16 + 16 };
    transports[17] = Transport { least: 28, check_at: at::TRANSPORT as u16 + 6 };
    transports
};

/// Offset of the transport checksum in a plain frame.
#[inline(always)]
pub(super) fn check_at(head: &[u8; HEAD]) -> usize {
    // The mask changes nothing; with it the compiler sees that two bytes are there.
    usize::from(TRANSPORTS[usize::from(head[at::PROTOCOL])].check_at) & (HEAD - 2)
}

/// Decodes a frame, and says whether it is plain: what is wrong with it is collected in two words, that
/// are nonzero or negative if anything is. No branch, and one test for all.
#[inline(always)]
pub(super) fn decode(frame: &impl Frame, direction: Direction, expected: Expected) -> (Decoded, bool) {
    let head = frame.head();
    let length = u16::from_be(u16_at(head, at::TOTAL_LENGTH));
    let protocol = head[at::PROTOCOL];

    // The destination's six bytes; EtherType 0x0800, then version 4 with five words of header;
    // more-fragments and offset, as loaded little-endian. Shifted, not masked: the compiler would
    // load such parts one by one.
    let differs = ((u64_at(head, 0) ^ expected.mac) << 16)
        | ((u64_at(head, at::ETHER_TYPE) ^ 0x0045_0008) << 40)
        | u64::from(u16_at(head, at::FRAGMENT) & 0xff3f);
    let long = i32::from(length);
    let falls_short = (i32::from(head[at::TTL]) - 2)
        | (long - i32::from(TRANSPORTS[usize::from(protocol)].least))
        | (i32::from(expected.smallest_mtu) - long)
        | (frame.length() as i32 - at::IPV4 as i32 - long);
    let plain = (differs == 0) & (falls_short >= 0) & frame.is_whole();

    // Forward: the client is the source. Reverse: the destination. Looked up, not branched on: in
    // mixed traffic the direction is a coin toss.
    let near = direction as usize;
    let far = 1 - near;
    let endpoint = |side: usize| {
        let address = u64::from(u32_at(head, at::SOURCE + 4 * side));
        let port = u64::from(u16_at(head, at::TRANSPORT + 2 * side));
        address | port << 32
    };
    let key = ClientKey::new(endpoint(near), protocol);
    let (home, probed) = (Home::default(), Probed::default());
    (Decoded { key, far: endpoint(far), home, length, direction, probed }, plain)
}
