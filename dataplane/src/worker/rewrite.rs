//! Third stage: addresses, ports, TTL, checksums and MACs of a packet whose connection is known.

use super::decode::at;
use crate::connection::Direction;
use crate::frame::HEAD;
use crate::ids::Protocol;
use crate::snapshot::Rewrite;
use crate::wire::checksum;

/// Offset of the checksum in the UDP header.
const UDP_CHECKSUM: usize = 6;
/// Offset of the checksum in the TCP header.
const TCP_CHECKSUM: usize = 16;

/// Offset of the checksum in the transport header.
pub(super) const fn checksum_offset(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => TCP_CHECKSUM,
        Protocol::Udp => UDP_CHECKSUM,
    }
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn store(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

/// Takes one off the TTL, with the header checksum (RFC 1141).
#[inline(always)]
pub(super) fn decrement_ttl(bytes: &mut [u8]) {
    bytes[at::TTL] -= 1;
    let check = load(bytes, at::HEADER_CHECKSUM);
    store(bytes, at::HEADER_CHECKSUM, checksum::adjust(check, checksum::TTL_DELTA));
}

/// Translates a fragment other than the first, which has no ports and no transport checksum: one address
/// and one off the TTL, with the header checksum.
pub(super) fn translate_later_fragment(bytes: &mut [u8], direction: Direction, rewrite: &Rewrite) {
    let index = direction as usize;
    let address = at::DESTINATION - 4 * index;
    bytes[address..address + 4].copy_from_slice(&rewrite.becomes[index].to_le_bytes()[..4]);
    bytes[at::TTL] -= 1;
    let check = load(bytes, at::HEADER_CHECKSUM);
    store(bytes, at::HEADER_CHECKSUM, checksum::adjust(check, rewrite.header_delta[index]));
}

/// Translates a packet: one address, one port, one off the TTL (which is above 0), and both checksums
/// by what these change (RFC 1624), so that a wrong checksum stays wrong. A UDP checksum of 0 says that there is none, and stays.
/// `transport` is the offset of the TCP or UDP header, `check_at` that of its checksum.
#[inline(always)]
pub(super) fn translate(
    bytes: &mut [u8],
    transport: usize,
    check_at: usize,
    direction: Direction,
    rewrite: &Rewrite,
) {
    let index = direction as usize;
    let becomes = rewrite.becomes[index].to_le_bytes();
    // Forward: the destination. Reverse: the source.
    let address = at::DESTINATION - 4 * index;
    let port = transport + 2 - 2 * index;
    bytes[address..address + 4].copy_from_slice(&becomes[..4]);
    bytes[port..port + 2].copy_from_slice(&becomes[4..6]);

    bytes[at::TTL] -= 1;
    let check = load(bytes, at::HEADER_CHECKSUM);
    store(bytes, at::HEADER_CHECKSUM, checksum::adjust(check, rewrite.header_delta[index]));

    let check = load(bytes, check_at);
    let mut adjusted = checksum::adjust(check, rewrite.transport_delta[index]);
    // Where UDP differs from TCP is rare in both; which of the two it is cannot be predicted.
    if check == 0 || adjusted == 0 {
        adjusted = zero_checksum(check, adjusted, check_at - transport);
    }
    store(bytes, check_at, adjusted);
}

/// What a checksum that was, or comes to, zero is sent as.
#[cold]
fn zero_checksum(check: u16, adjusted: u16, offset: usize) -> u16 {
    match (offset, check) {
        (UDP_CHECKSUM, 0) => 0,
        (UDP_CHECKSUM, _) => checksum::non_zero(adjusted),
        _ => adjusted,
    }
}

/// Writes both MACs, given as words in memory order.
#[inline(always)]
pub(super) fn address_established(bytes: &mut [u8; HEAD], (first, second): (u64, u32)) {
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..12].copy_from_slice(&second.to_le_bytes());
}

/// Writes both MACs, given as [`Mac::bits`](crate::next_hop::Mac::bits): twelve bytes in two stores.
#[inline(always)]
pub(super) fn address_frame(bytes: &mut [u8], destination: u64, source: u64) {
    bytes[..8].copy_from_slice(&(destination | source << 48).to_le_bytes());
    bytes[8..12].copy_from_slice(&((source >> 16) as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_protocol_has_its_own_zero(check in prop_oneof![Just(0), any::<u16>()], delta: u16, comes_to_zero: bool) {
            let delta = if comes_to_zero { check } else { delta };
            for (protocol, expected) in [
                (Protocol::Tcp, checksum::adjust(check, delta)),
                (Protocol::Udp, checksum::adjust_udp(check, delta)),
            ] {
                let mut bytes = [1; HEAD];
                let check_at = at::TRANSPORT + checksum_offset(protocol);
                store(&mut bytes, check_at, check);
                let rewrite = Rewrite { transport_delta: [delta; 2], ..Rewrite::VACANT };
                translate(&mut bytes, at::TRANSPORT, check_at, Direction::Forward, &rewrite);
                prop_assert_eq!(load(&bytes, check_at), expected);
            }
        }
    }
}
