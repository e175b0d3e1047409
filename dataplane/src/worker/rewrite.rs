//! Third stage: addresses, ports, TTL, checksums and MACs of a packet whose connection is known.

use super::decode::at;
use crate::connection::Direction;
use crate::snapshot::Rewrite;
use crate::wire::checksum;

/// Offset of the checksum in the transport header.
#[inline(always)]
const fn checksum_offset(is_tcp: bool) -> usize {
    if is_tcp { 16 } else { 6 }
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

/// Translates a packet: one address, one port, one off the TTL (which is above 0), and both checksums
/// by what these change (RFC 1624), so that a wrong checksum stays wrong. A UDP checksum of 0 says that there is none, and stays.
/// `transport` is the offset of the TCP or UDP header.
#[inline(always)]
pub(super) fn translate(
    bytes: &mut [u8],
    transport: usize,
    is_tcp: bool,
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

    let place = transport + checksum_offset(is_tcp);
    let check = load(bytes, place);
    let adjusted = checksum::adjust_transport(check, rewrite.transport_delta[index], is_tcp);
    store(bytes, place, adjusted);
}

/// Writes both MACs, given as [`Mac::bits`](crate::next_hop::Mac::bits): twelve bytes in two stores.
#[inline(always)]
pub(super) fn address_frame(bytes: &mut [u8], destination: u64, source: u64) {
    bytes[..8].copy_from_slice(&(destination | source << 48).to_le_bytes());
    bytes[8..12].copy_from_slice(&((source >> 16) as u32).to_le_bytes());
}
