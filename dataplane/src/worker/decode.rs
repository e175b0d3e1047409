//! First stage: which frames are plain TCP or UDP over IPv4, and of which client endpoint.
//!
//! Plain means: whole, to our MAC, IPv4 without options, no fragment, room for its transport header,
//! TTL above 1, no larger than any port's MTU. Whatever else a frame may be, it leaves the fast path
//! here, at one predictable branch.

use crate::connection::table::{ClientKey, Home, Probed};
use crate::connection::{Direction, TcpEvent};
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

/// What one frame is. Only `length` and `plain` mean something unless it is plain.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decoded {
    pub(super) key: ClientKey,
    pub(super) home: Home,
    /// Told a stage later.
    pub(super) probed: Probed,
    /// Address and port of the side that gets translated, 48 bits as they lie on the wire.
    pub(super) far: u64,
    /// IPv4 total length.
    pub(super) length: u16,
    pub(super) event: TcpEvent,
    pub(super) direction: Direction,
    pub(super) is_tcp: bool,
    pub(super) plain: bool,
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
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

#[inline(always)]
fn u64_at(head: &[u8; HEAD], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}

/// The least total length of a packet of each protocol: with a whole transport header. What is
/// neither TCP nor UDP is never long enough.
const LEAST: [u16; 256] = {
    let mut least = [u16::MAX; 256];
    least[6] = 40;
    least[17] = 28;
    least
};

/// Conditions are combined with `&`, not `&&`: one branch for all of them, that is nearly always
/// taken the same way.
#[inline(always)]
pub(super) fn decode(frame: &impl Frame, direction: Direction, expected: Expected) -> Decoded {
    let head = frame.head();
    let length = u16::from_be(u16_at(head, at::TOTAL_LENGTH));
    let protocol = head[at::PROTOCOL];
    let is_tcp = protocol == 6;
    let least = LEAST[usize::from(protocol)];
    let plain = frame.is_whole()
        & (u64_at(head, 0) & 0xffff_ffff_ffff == expected.mac)
        // EtherType 0x0800, then version 4 with five words of header.
        & (u32_at(head, at::ETHER_TYPE) & 0x00ff_ffff == 0x0045_0008)
        // More-fragments and offset, as loaded little-endian.
        & (u16_at(head, at::FRAGMENT) & 0xff3f == 0)
        & (head[at::TTL] > 1)
        & (length >= least)
        & (length <= expected.smallest_mtu)
        & (usize::from(length) + at::IPV4 <= frame.length());

    // Forward: the client is the source. Reverse: the destination. Shifted, not branched on: in
    // mixed traffic the direction is a coin toss.
    let addresses = u64_at(head, at::SOURCE);
    let ports = u32_at(head, at::TRANSPORT);
    let near = direction as u32;
    let far = 1 - near;
    let endpoint = |side: u32| {
        let address = addresses >> (32 * side) & 0xffff_ffff;
        let port = u64::from(ports >> (16 * side) & 0xffff);
        address | port << 32
    };
    Decoded {
        key: ClientKey::new(endpoint(near), protocol),
        home: Home::default(),
        probed: Probed::default(),
        far: endpoint(far),
        length,
        event: TcpEvent::of(head[at::TCP_FLAGS]),
        direction,
        is_tcp,
        plain,
    }
}
