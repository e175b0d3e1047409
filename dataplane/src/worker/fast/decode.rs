//! Which frames are plain TCP or UDP, and of which client endpoint.
//!
//! Plain means: whole, to our MAC, a header without options, no fragment, room for its transport header, TTL above 1,
//! no larger than any port's MTU, with nothing behind the packet, and no header checksum that the device found wrong.
//! Whatever else a frame may be leaves the fast path then.

use super::family::Plain;
use crate::frame::{BURST, Frame, HEADER_RIGHT, HEADER_WRONG};
use crate::names::direction::Direction;
use crate::names::ids::Protocol;
use crate::wire::ethernet;

/// What an interface's frames are measured by.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Expected<V: Plain> {
    /// The first bytes of a plain frame, where they matter.
    pub(super) start: V::Start,
    /// The longest packet, in bytes.
    smallest_mtu: u16,
}

impl<V: Plain> Expected<V> {
    pub(in crate::worker) fn new(mac: u64, smallest_mtu: u16) -> Self {
        Self { start: V::start(mac), smallest_mtu }
    }
}

/// Zero if a packet of this length fits its frame, of this length in bytes (see [`link`](crate::wire::link)), holds a
/// transport header (`least`), and fits the MTU.
#[inline(always)]
fn wrong_length<V: Plain>(frame: u16, packet: u16, least: u16, expected: Expected<V>) -> u16 {
    packet.saturating_add(ethernet::HEADER as u16).max(ethernet::LEAST as u16) ^ frame
        | least.saturating_sub(packet)
        | packet.saturating_sub(expected.smallest_mtu)
}

/// True if the first `count` packets, of these lengths, have right ones, as have their frames. With
/// [`Plain::LEAST_TCP`], UDP datagrams under 12 bytes are rejected here, which are few, and checked again one by one.
/// All of a burst are compared, 16 at once, however few count: a loop over those would take six instructions for each.
#[inline(always)]
pub(in crate::worker) fn have_plain_lengths<V: Plain>(
    frames: &[u16; BURST],
    packets: &[u16; BURST],
    count: usize,
    least: u16,
    expected: Expected<V>,
) -> bool {
    let wrong = |index: usize| wrong_length(frames[index], packets[index], least, expected);
    if count == BURST {
        return (0..BURST).fold(0, |all, index| all | wrong(index)) == 0;
    }
    let counts = |index: usize| if index < count { u16::MAX } else { 0 };
    (0..BURST).fold(0, |all, index| all | wrong(index) & counts(index)) == 0
}

/// As much of a frame's length as counts: no packet is longer.
#[inline(always)]
pub(in crate::worker) fn length_of(frame: &impl Frame) -> u16 {
    u16::try_from(frame.length()).unwrap_or(u16::MAX)
}

/// Whether a frame is plain.
#[inline(always)]
pub(in crate::worker) fn is_plain<V: Plain>(frame: &impl Frame, expected: Expected<V>) -> bool {
    let mut faults = V::no_faults();
    let (_, length) = V::decode(frame, Direction::Forward, expected, &mut faults);
    let is_udp = V::protocol(frame.head()) == Protocol::Udp.number();
    let least = if is_udp { V::LEAST_UDP } else { V::LEAST_TCP };
    V::are_plain(&faults) && wrong_length(length_of(frame), length, least, expected) == 0
}

/// Whether the header checksum of a plain frame is wrong: as the device says, else by its sum.
pub(in crate::worker) fn has_wrong_header<V: Plain>(frame: &impl Frame) -> bool {
    frame.flags() & (HEADER_RIGHT | HEADER_WRONG) != HEADER_RIGHT && !V::has_right_header(frame.head())
}

#[cfg(test)]
mod tests;
