//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and what TCP and UDP add to it.
//!
//! One convention everywhere: 16-bit words are taken in the machine's byte order as they lie in memory
//! (`u16::from_ne_bytes`), sums, deltas and checksum fields alike. A ones' complement sum does not care
//! which byte comes first (RFC 1071 §2B), so nothing is ever swapped; [`read()`] and [`write()`] access a field.

use super::{tcp, udp};
use crate::names::ids::Protocol;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Offset of such a checksum in the transport header; `None` for SCTP, whose checksum is [another](super::sctp).
pub const fn offset_in(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::Tcp => Some(tcp::field::CHECKSUM),
        Protocol::Udp => Some(udp::field::CHECKSUM),
        Protocol::Sctp => None,
    }
}

/// What to add to the IPv4 header's checksum when the time to live goes down by one.
pub const TTL_DELTA: u16 = !u16::from_ne_bytes([1, 0]);

/// The checksum field at `offset`.
///
/// # Panics
/// If it does not lie within `bytes`.
#[inline(always)]
pub fn read(bytes: &[u8], offset: usize) -> u16 {
    u16::from_ne_bytes([bytes[offset], bytes[offset + 1]])
}

/// Sets the checksum field at `offset`.
///
/// # Panics
/// If it does not lie within `bytes`.
#[inline(always)]
pub fn write(bytes: &mut [u8], offset: usize, check: u16) {
    bytes[offset..offset + 2].copy_from_slice(&check.to_ne_bytes());
}

/// Ones' complement sum of two words.
#[inline(always)]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// Ones' complement sum of all words; an odd last byte is the first of a word whose second is zero.
/// A checksum is the complement of this; over bytes that contain a right checksum the sum is `0xffff`.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(4);
    let mut total: u64 = 0;
    for word in &mut words {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    total += u64::from(u32::from_ne_bytes(last));
    fold(total)
}

/// Whether an IPv4 header without options has the right checksum: its sum is 0 or `0xffff`, both of which
/// stand for zero, and is not 0, for the version is in it.
#[inline(always)]
pub fn is_right_header(header: &[u8; 20]) -> bool {
    let (words, _) = header.as_chunks::<4>();
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>() % 0xffff == 0
}

/// 2^16 is 1 in ones' complement arithmetic: the upper words are added to the lowest.
const fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// What to give [`adjust`] when `from`, covered by the checksum, becomes `to`. Both begin on a word
/// (an even offset of what is covered) and have the same length. Deltas of several changes are
/// summed with [`add`].
pub fn delta(from: &[u8], to: &[u8]) -> u16 {
    add(!sum(from), sum(to))
}

/// The checksum `check` after a change by `delta`: RFC 1624 equation 3. A wrong one stays wrong by
/// the same amount.
#[inline(always)]
pub const fn adjust(check: u16, delta: u16) -> u16 {
    // !(!check + delta) in one's complement is check - delta, with the borrow taken off at the end.
    let (difference, borrow) = check.overflowing_sub(delta);
    difference.wrapping_sub(borrow as u16)
}

/// [`adjust`] for UDP (RFC 768): 0 means that there is no checksum, and stays; one that comes to 0 is
/// sent as its other representation.
#[inline(always)]
pub const fn adjust_udp(check: u16, delta: u16) -> u16 {
    if check == 0 {
        return 0;
    }
    non_zero(adjust(check, delta))
}

/// A computed UDP checksum as it is sent: 0 as `0xffff` (RFC 768).
#[inline(always)]
pub const fn non_zero(check: u16) -> u16 {
    if check == 0 { 0xffff } else { check }
}

/// Sum of the pseudo-header of TCP (RFC 9293 §3.1) and UDP (RFC 768). `length` is that of the
/// transport header and its data, in bytes.
pub fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> u16 {
    let address = |address: Ipv4Addr| u64::from(u32::from_ne_bytes(address.octets()));
    let word = |bytes: [u8; 2]| u64::from(u16::from_ne_bytes(bytes));
    fold(address(source) + address(destination) + word([0, protocol]) + word(length.to_be_bytes()))
}

/// As [`pseudo_header`], of IPv6 (RFC 8200 §8.1).
pub fn pseudo_header_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> u16 {
    let addresses = add(sum(&source.octets()), sum(&destination.octets()));
    add(addresses, add(sum(&length.to_be_bytes()), u16::from_ne_bytes([0, protocol])))
}

/// The checksum of a TCP segment or UDP datagram (of at most 65,535 bytes) whose checksum field is
/// zero; for one whose field is right the result is 0. A UDP sender applies [`non_zero`].
pub fn transport(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    !add(pseudo_header(source, destination, protocol, segment.len() as u16), sum(segment))
}

/// As [`transport`], of IPv6, and of ICMPv6 too, whose checksum covers the pseudo-header (RFC 4443 §2.3).
pub fn transport_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, segment: &[u8]) -> u16 {
    !add(pseudo_header_v6(source, destination, protocol, segment.len() as u32), sum(segment))
}

/// Whether the checksum field `check` is the plain sum of the pseudo-header: what Linux leaves in
/// packets whose checksum it expects the device to complete (`CHECKSUM_PARTIAL`), as a veth never does.
/// One right checksum in 65,535 looks the same; verify [`transport`] first where that matters.
pub fn is_pseudo_header_only(
    check: u16,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    length: u16,
) -> bool {
    check == pseudo_header(source, destination, protocol, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: words in network order, end-around carries one at a time.
    fn plain_sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        words.fold(0, |total: u16, word| {
            let (sum, carry) = total.overflowing_add(word);
            sum + u16::from(carry)
        })
    }

    fn in_memory(network: u16) -> u16 {
        u16::from_ne_bytes(network.to_be_bytes())
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), in_memory(0xddf2));
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // §4: a word 0x5555 becomes 0x3285; the old checksum 0xdd2f comes to 0.
        let change = delta(&0x5555u16.to_be_bytes(), &0x3285u16.to_be_bytes());
        assert_eq!(adjust(in_memory(0xdd2f), change), 0);
    }

    #[test]
    fn a_header_and_a_segment_from_the_wire() {
        // 192.168.10.100.81 > 192.168.10.6.38790: RST, ACK 4155196733, checksum 0x4555.
        let (source, destination) = (Ipv4Addr::new(192, 168, 10, 100), Ipv4Addr::new(192, 168, 10, 6));
        let mut segment = [0; 20];
        segment[..2].copy_from_slice(&81u16.to_be_bytes());
        segment[2..4].copy_from_slice(&38790u16.to_be_bytes());
        segment[8..12].copy_from_slice(&4_155_196_733u32.to_be_bytes());
        segment[12..14].copy_from_slice(&[0x50, 0x14]);
        assert_eq!(transport(source, destination, 6, &segment), in_memory(0x4555));
        write(&mut segment, 16, in_memory(0x4555));
        assert_eq!(segment[16..18], [0x45, 0x55]);
        assert_eq!(read(&segment, 16), in_memory(0x4555));
        assert_eq!(transport(source, destination, 6, &segment), 0);
    }

    #[test]
    fn udp_knows_no_checksum_and_never_sends_it_by_accident() {
        let change = delta(&[10, 0, 0, 1], &[10, 0, 0, 2]);
        assert_eq!(adjust_udp(0, change), 0);
        let comes_to_zero = adjust(0, !change);
        assert_eq!(adjust(comes_to_zero, change), 0);
        assert_eq!(adjust_udp(comes_to_zero, change), 0xffff);
        assert_eq!(adjust_udp(0xffff, change), adjust(0, change), "0xffff stands for a computed 0");
    }

    #[test]
    fn a_partial_checksum_is_told_from_a_full_one() {
        let (source, destination) = (Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(192, 168, 10, 6));
        let segment = [0, 80, 0x12, 0x34, 0, 9, 0, 0, 7];
        let partial = pseudo_header(source, destination, 17, 9);
        assert!(is_pseudo_header_only(partial, source, destination, 17, 9));
        let full = transport(source, destination, 17, &segment);
        assert!(!is_pseudo_header_only(full, source, destination, 17, 9));
    }

    proptest! {
        #[test]
        fn an_adjustment_is_equation_3_of_rfc_1624(check: u16, delta: u16) {
            prop_assert_eq!(adjust(check, delta), !add(!check, delta));
        }

        #[test]
        fn the_sum_is_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(sum(&bytes), in_memory(plain_sum(&bytes)));
        }

        #[test]
        fn large_inputs_do_not_overflow(length in 60_000usize..65_536) {
            let bytes = vec![0xff; length];
            prop_assert_eq!(sum(&bytes), in_memory(plain_sum(&bytes)));
        }

        /// Words of 0 and 0xffff are frequent here: the corner of RFC 1624 §3.
        #[test]
        fn an_update_equals_recomputation(
            words in proptest::collection::vec(
                prop_oneof![Just(0u16), Just(0xffff), Just(1), Just(0xfffe), any::<u16>()], 2..12),
            new in prop_oneof![Just(0u16), Just(0xffff), any::<u16>()],
            at in any::<proptest::sample::Index>(),
        ) {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            // As in a real header there is always something that is not zero, old or new.
            bytes.extend([0x45, 0]);
            let old_check = !sum(&bytes);
            let at = at.index(words.len()) * 2;
            let change = delta(&bytes[at..at + 2], &new.to_be_bytes());
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(adjust(old_check, change), !sum(&bytes));
        }

        #[test]
        fn a_wrong_checksum_stays_wrong(check: u16, wrong: u16, from: [u8; 6], to: [u8; 6]) {
            // 0 and 0xffff are the same number.
            prop_assume!(check % 0xffff != wrong % 0xffff);
            let change = delta(&from, &to);
            prop_assert_ne!(adjust(check, change) % 0xffff, adjust(wrong, change) % 0xffff);
        }

        #[test]
        fn there_and_back_is_where_it_was(check: u16, from: [u8; 6], to: [u8; 6]) {
            let back = adjust(adjust(check, delta(&from, &to)), delta(&to, &from));
            prop_assert_eq!(back % 0xffff, check % 0xffff);
        }

        #[test]
        fn one_hop_less(mut header: [u8; 20]) {
            header[8] = header[8].max(1);
            header[0] = 0x45;
            write(&mut header, 10, 0);
            let check = !sum(&header);
            header[8] -= 1;
            prop_assert_eq!(adjust(check, TTL_DELTA), !sum(&header));
        }
    }
}
