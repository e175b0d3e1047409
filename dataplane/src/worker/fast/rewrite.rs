//! Addresses, ports, TTL, checksums and MACs of a packet whose connection is known. Plain packets are translated by
//! their fields, in whatever family; those of the slow path may have options, or extension headers.

use super::family::Plain;
use crate::frame::HEAD;
use crate::names::direction::Direction;
use crate::translation::{FieldsOf, Record, Rewrite, RewriteV6};
use crate::wire::plain::at;
use crate::wire::plain6::at as at6;
use crate::wire::{checksum, udp};

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
pub(in crate::worker) fn decrement_ttl(bytes: &mut [u8]) {
    bytes[at::TTL] -= 1;
    let check = load(bytes, at::HEADER_CHECKSUM);
    store(bytes, at::HEADER_CHECKSUM, checksum::adjust(check, checksum::TTL_DELTA));
}

/// Translates one address, and takes one off the TTL, with the header checksum. That is all of a fragment other than
/// the first, which has neither ports nor a transport checksum, and all that covers the addresses in an SCTP packet.
pub(in crate::worker) fn translate_address(bytes: &mut [u8], direction: Direction, rewrite: &Rewrite) {
    let index = direction as usize;
    let address = at::DESTINATION - 4 * index;
    bytes[address..address + 4].copy_from_slice(&rewrite.becomes(direction).to_le_bytes()[..4]);
    bytes[at::TTL] -= 1;
    let check = load(bytes, at::HEADER_CHECKSUM);
    store(bytes, at::HEADER_CHECKSUM, checksum::adjust(check, rewrite.header_delta(direction)));
}

/// Translates a plain packet of a connection, whose `fields` are of the real of this record, as [`translate`] does. All
/// but the transport checksum is in the fields, for IPv4 one addition to sixteen bytes.
#[inline(always)]
pub(in crate::worker) fn translate_plain<V: Plain>(
    head: &mut [u8; HEAD],
    fields: FieldsOf<V>,
    direction: Direction,
    rewrite: &V::Record,
) {
    V::put_fields(head, direction, rewrite.translate(direction, fields));
    let check_at = V::TRANSPORT + rewrite.checksum_offset();
    adjust_transport(head, V::TRANSPORT, check_at, rewrite.transport_delta(direction));
}

/// Translates a packet: one address, one port, one off the TTL (which is above 0), and both checksums
/// by what these change (RFC 1624), so that a wrong checksum stays wrong. A UDP checksum of 0 says that there is
/// none, and stays.
/// `transport` is the offset of the TCP or UDP header, `check_at` that of its checksum.
pub(in crate::worker) fn translate(
    bytes: &mut [u8],
    transport: usize,
    check_at: usize,
    direction: Direction,
    rewrite: &Rewrite,
) {
    let index = direction as usize;
    let becomes = rewrite.becomes(direction).to_le_bytes();
    // Forward: the destination. Reverse: the source.
    let address = at::DESTINATION - 4 * index;
    let port = transport + 2 - 2 * index;
    bytes[address..address + 4].copy_from_slice(&becomes[..4]);
    bytes[port..port + 2].copy_from_slice(&becomes[4..6]);

    bytes[at::TTL] -= 1;
    let check = load(bytes, at::HEADER_CHECKSUM);
    store(bytes, at::HEADER_CHECKSUM, checksum::adjust(check, rewrite.header_delta(direction)));
    adjust_transport(bytes, transport, check_at, rewrite.transport_delta(direction));
}

/// Takes one off the hop limit, which is above 0.
pub(in crate::worker) fn decrement_hop_limit(bytes: &mut [u8]) {
    bytes[at6::HOP_LIMIT] -= 1;
}

/// As [`translate`], for IPv6, whose header has no checksum.
pub(in crate::worker) fn translate_v6(
    bytes: &mut [u8],
    transport: usize,
    check_at: usize,
    direction: Direction,
    rewrite: &RewriteV6,
) {
    let side = 1 - direction as usize;
    let (address, port) = rewrite.becomes(direction);
    bytes[at6::ADDRESSES[side]..][..16].copy_from_slice(&address.to_le_bytes());
    bytes[transport + 2 * side..][..2].copy_from_slice(&port.to_le_bytes());
    decrement_hop_limit(bytes);
    adjust_transport(bytes, transport, check_at, rewrite.transport_delta(direction));
}

/// As [`translate_address`], for IPv6.
pub(in crate::worker) fn translate_address_v6(bytes: &mut [u8], direction: Direction, rewrite: &RewriteV6) {
    let (address, _) = rewrite.becomes(direction);
    bytes[at6::ADDRESSES[1 - direction as usize]..][..16].copy_from_slice(&address.to_le_bytes());
    decrement_hop_limit(bytes);
}

#[inline(always)]
fn adjust_transport(bytes: &mut [u8], transport: usize, check_at: usize, delta: u16) {
    let check = load(bytes, check_at);
    let mut adjusted = checksum::adjust(check, delta);
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
        (udp::field::CHECKSUM, 0) => 0,
        (udp::field::CHECKSUM, _) => checksum::non_zero(adjusted),
        _ => adjusted,
    }
}

/// Writes both MACs, given as words in memory order.
#[inline(always)]
pub(in crate::worker) fn address_established(bytes: &mut [u8; HEAD], (first, second): (u64, u32)) {
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..12].copy_from_slice(&second.to_le_bytes());
}

/// Writes both MACs, given as [`Mac::bits`](crate::names::mac::Mac::bits): twelve bytes in two stores.
#[inline(always)]
pub(in crate::worker) fn address_frame(bytes: &mut [u8], destination: u64, source: u64) {
    bytes[..8].copy_from_slice(&(destination | source << 48).to_le_bytes());
    bytes[8..12].copy_from_slice(&((source >> 16) as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::family::V4;
    use crate::names::ids::{NextHopId, Protocol, RealKey, ServiceKey};
    use crate::translation::{Fields, endpoint_bits};
    use proptest::prelude::*;
    use std::net::SocketAddrV4;

    /// Addresses and ports of which many have equal parts, and some come to the corners of a checksum.
    fn endpoint() -> impl Strategy<Value = SocketAddrV4> {
        let byte = prop_oneof![Just(0u8), Just(0xff), any::<u8>()];
        let port = prop_oneof![Just(0u16), Just(0xffff), any::<u16>()];
        (prop::array::uniform4(byte), port).prop_map(|(octets, port)| SocketAddrV4::new(octets.into(), port))
    }

    fn rewrite_of(
        listen: SocketAddrV4,
        endpoint: SocketAddrV4,
        protocol: Protocol,
        removed: bool,
    ) -> Rewrite {
        let key = RealKey {
            service: ServiceKey::new(protocol, std::net::SocketAddr::V4(listen)),
            endpoint: std::net::SocketAddr::V4(endpoint),
        };
        Rewrite::of(&key, NextHopId(1), removed)
    }

    proptest! {
        /// In one addition as field by field.
        #[test]
        fn a_plain_packet_is_translated_as_any(
            vip in endpoint(),
            server in endpoint(),
            protocol in prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)],
            direction in prop_oneof![Just(Direction::Forward), Just(Direction::Reverse)],
            random: [[u8; 32]; 3],
            ttl in 1..=u8::MAX,
            check in prop_oneof![Just(0u16), Just(0xffff), any::<u16>()],
            removed: bool,
        ) {
            let rewrite = rewrite_of(vip, server, protocol, removed);
            let mut head: [u8; HEAD] = random.concat().try_into().unwrap();
            let (far, side) = if direction == Direction::Forward { (vip, 1) } else { (server, 0) };
            head[at::TTL] = ttl;
            head[at::PROTOCOL] = protocol.number();
            store(&mut head, at::HEADER_CHECKSUM, check);
            head[at::SOURCE + 4 * side..][..4].copy_from_slice(&far.ip().octets());
            head[at::TRANSPORT + 2 * side..][..2].copy_from_slice(&far.port().to_be_bytes());

            let is_of_it = direction == Direction::Reverse || !removed;
            prop_assert_eq!(rewrite.has(direction, V4::fields(&head, direction)), is_of_it);
            prop_assert_eq!(rewrite.matches(direction, endpoint_bits(far)), is_of_it);
            let check_at = at::TRANSPORT + checksum::offset_in(protocol).unwrap();
            let mut expected = head;
            translate(&mut expected, at::TRANSPORT, check_at, direction, &rewrite);
            let before = V4::fields(&head, direction);
            translate_plain::<V4>(&mut head, before, direction, &rewrite);
            prop_assert_eq!(head, expected);
            prop_assert_eq!(head[at::TTL], ttl - 1);
        }

        /// Any other byte of its far end or, from a client, another protocol: then it is not.
        #[test]
        fn a_packet_of_another_far_end_is_not_of_the_real(
            vip in endpoint(), server in endpoint(), at in 0..16usize, bit in 0..8u32, forward: bool,
        ) {
            let rewrite = rewrite_of(vip, server, Protocol::Tcp, false);
            let direction = if forward { Direction::Forward } else { Direction::Reverse };
            let mut bytes = [0; 16];
            bytes[1] = Protocol::Tcp.number();
            bytes[4..8].copy_from_slice(&server.ip().octets());
            bytes[8..12].copy_from_slice(&vip.ip().octets());
            bytes[12..14].copy_from_slice(&server.port().to_be_bytes());
            bytes[14..].copy_from_slice(&vip.port().to_be_bytes());
            bytes[at] ^= 1 << bit;
            let tells = if forward { [1..2, 8..12, 14..16] } else { [4..8, 12..14, 0..0] };
            let differs = tells.iter().any(|range| range.contains(&at));
            prop_assert_eq!(rewrite.has(direction, Fields::from_bytes(bytes)), !differs);
        }

        #[test]
        fn each_protocol_has_its_own_zero(check in prop_oneof![Just(0), any::<u16>()], delta: u16, comes_to_zero: bool) {
            let delta = if comes_to_zero { check } else { delta };
            for (protocol, expected) in [
                (Protocol::Tcp, checksum::adjust(check, delta)),
                (Protocol::Udp, checksum::adjust_udp(check, delta)),
            ] {
                let mut bytes = [1; HEAD];
                let check_at = at::TRANSPORT + checksum::offset_in(protocol).unwrap();
                store(&mut bytes, check_at, check);
                adjust_transport(&mut bytes, at::TRANSPORT, check_at, delta);
                prop_assert_eq!(load(&bytes, check_at), expected);
            }
        }
    }
}
