//! What a link puts around a packet, and what has to be there when it leaves: priority tags, trailers, padding.

use super::be_u16;
use super::ethernet;
use super::{ipv4, ipv6};
use crate::frame::Frame;

/// Bytes of a VLAN tag: EtherType and tag control information (IEEE 802.1Q §9.6).
const TAG: usize = 4;
/// The VLAN's number in the tag control information; above it stand priority and drop eligibility.
const VLAN_ID: u16 = 0x0fff;
/// The most tags in front of a packet: a service provider's and a customer's (IEEE 802.1ad).
const MOST_TAGS: usize = 2;

/// Makes a frame what it would be on a link without tags, trailers and padding of its own. Returns whether that
/// changed anything; a second time it does not.
pub fn mend<F: Frame>(frame: &mut F) -> bool {
    let is_whole = frame.is_whole();
    let untagged = is_whole && untag(frame);
    let fitted = is_whole && fit(frame);
    untagged || fitted
}

/// Takes tags that only carry a priority out of a frame: with VLAN number 0 it is a frame without VLAN (IEEE 802.1Q
/// §6.9.1; 802.1ad for the service tag). A tag of a VLAN stays.
fn untag(frame: &mut impl Frame) -> bool {
    let bytes = frame.bytes_mut();
    let mut end = ethernet::field::ETHER_TYPE;
    let is_tag =
        |bytes: &[u8], at: usize| bytes.len() >= at + TAG + 2 && ethernet::is_vlan(be_u16(bytes, at));
    while is_tag(bytes, end) && be_u16(bytes, end + 2) & VLAN_ID == 0 {
        end += TAG;
        if end > ethernet::field::ETHER_TYPE + MOST_TAGS * TAG {
            return false;
        }
    }
    if end == ethernet::field::ETHER_TYPE || ethernet::is_vlan(be_u16(bytes, end)) {
        return false;
    }
    bytes.copy_within(end.., ethernet::field::ETHER_TYPE);
    let length = bytes.len() - (end - ethernet::field::ETHER_TYPE);
    frame.set_length(length)
}

/// Makes the frame of an IPv4 or IPv6 packet as long as that, but never shorter than a link allows: what follows a
/// packet (a frame check sequence, a switch's timestamp) would be sent on otherwise, and could make a full-size frame
/// longer than the next link takes.
fn fit(frame: &mut impl Frame) -> bool {
    let length = frame.length();
    let Some(right) = right_length(frame.bytes()) else { return false };
    let end = right.end;
    if length == right.frame || !frame.set_length(right.frame) {
        return false;
    }
    frame.bytes_mut()[end..].fill(0);
    true
}

/// Where a packet ends in its frame, and how long the frame has to be.
struct Right {
    end: usize,
    frame: usize,
}

/// `None` if there is no such packet, or only a part of it.
fn right_length(frame: &[u8]) -> Option<Right> {
    let is_of = |ether_type, version, header| {
        frame.len() >= ethernet::HEADER + header
            && be_u16(frame, ethernet::field::ETHER_TYPE) == ether_type
            && frame[ethernet::HEADER] >> 4 == version
    };
    let length_at = |field| usize::from(be_u16(frame, ethernet::HEADER + field));
    let (header, total) = if is_of(ethernet::IPV4, 4, ipv4::HEADER) {
        (ipv4::HEADER, length_at(ipv4::field::TOTAL_LENGTH))
    } else if is_of(ethernet::IPV6, ipv6::VERSION, ipv6::HEADER) {
        (ipv6::HEADER, ipv6::HEADER + length_at(ipv6::field::PAYLOAD_LENGTH))
    } else {
        return None;
    };
    let end = ethernet::HEADER + total;
    let is_there = total >= header && end <= frame.len();
    is_there.then_some(Right { end, frame: end.max(ethernet::LEAST) })
}

/// Makes a frame that we made no shorter than a link allows. What is added is zero (RFC 1042), so that nothing which
/// the buffer held before leaves with it.
pub fn pad(frame: &mut impl Frame) {
    let length = frame.length();
    if length < ethernet::LEAST && frame.is_whole() && frame.set_length(ethernet::LEAST) {
        frame.bytes_mut()[length..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameIo;
    use crate::frame::plain::{PlainFrame, PlainIo};
    use crate::names::ids::EthPortId;
    use arrayvec::ArrayVec;

    /// Of an IPv4 packet of so many bytes, with `behind` after it.
    fn frame(total: u16, behind: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend(total.to_be_bytes());
        bytes.resize(ethernet::HEADER + usize::from(total), 7);
        bytes.extend(behind);
        bytes
    }

    fn tagged(mut frame: Vec<u8>, tags: &[[u8; 4]]) -> Vec<u8> {
        frame.splice(12..12, tags.concat());
        frame
    }

    fn received(bytes: &[u8]) -> PlainFrame {
        let (mut io, mut frames) = (PlainIo::new(1), ArrayVec::new());
        io.arrive(EthPortId(0), bytes);
        io.receive(EthPortId(0), &mut frames);
        frames.remove(0)
    }

    fn mended(bytes: &[u8]) -> (bool, Vec<u8>) {
        let mut frame = received(bytes);
        let changed = mend(&mut frame);
        let once = frame.bytes().to_vec();
        assert!(!mend(&mut frame), "nothing is left to mend in {once:?}");
        assert_eq!(frame.bytes(), once);
        (changed, once)
    }

    #[test]
    fn a_frame_becomes_as_long_as_its_packet_or_as_the_link_demands() {
        for total in [20, 28, 40, 45, 46, 47, 100, 1499, 1500] {
            for behind in [0, 1, 2, 4, 6, 100] {
                let (changed, got) = mended(&frame(total, &vec![9; behind]));
                let mut expected = frame(total, &[]);
                let kept = if expected.len() + behind == 60 { 9 } else { 0 };
                expected.resize(expected.len().max(60), kept);
                assert_eq!(got, expected, "{total} and {behind}");
                assert_eq!(
                    changed,
                    expected.len() != 14 + usize::from(total) + behind,
                    "{total} and {behind}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_whole_ipv4_packet_stays_as_it_is() {
        let of_type = |ether_type: [u8; 2]| {
            let mut bytes = frame(40, &[9; 30]);
            bytes[12..14].copy_from_slice(&ether_type);
            bytes
        };
        let mut version_6 = frame(40, &[9; 30]);
        version_6[14] = 0x65;
        let cut_short = frame(100, &[])[..113].to_vec();
        for bytes in [
            of_type([8, 6]),
            of_type([0x86, 0xdd]),
            version_6,
            cut_short,
            frame(19, &[0; 50]),
            vec![1; 13],
            vec![],
        ] {
            assert_eq!(mended(&bytes), (false, bytes));
        }
    }

    #[test]
    fn a_tag_without_a_vlan_is_taken_out() {
        let plain = frame(100, &[]);
        for tags in [
            vec![[0x81, 0, 0, 0]],
            vec![[0x81, 0, 0x60, 0]],
            vec![[0x81, 0, 0xf0, 0]],
            vec![[0x88, 0xa8, 0, 0]],
            vec![[0x88, 0xa8, 0x20, 0], [0x81, 0, 0xe0, 0]],
        ] {
            assert_eq!(mended(&tagged(plain.clone(), &tags)), (true, plain.clone()), "{tags:?}");
        }
        for tags in [
            vec![[0x81, 0, 0, 5]],
            vec![[0x81, 0, 0x6f, 0xff]],
            vec![[0x88, 0xa8, 0, 1]],
            vec![[0x81, 0, 0, 0], [0x81, 0, 0, 5]],
            vec![[0x81, 0, 0, 0]; 3],
        ] {
            let bytes = tagged(plain.clone(), &tags);
            assert_eq!(mended(&bytes), (false, bytes), "{tags:?}");
        }
        for length in 12..18 {
            let bytes = tagged(plain.clone(), &[[0x81, 0, 0, 0]])[..length].to_vec();
            assert_eq!(mended(&bytes), (false, bytes));
        }
    }

    #[test]
    fn padding_holds_nothing_that_was_in_the_buffer() {
        let mut short = received(&[5; 200]);
        assert!(short.set_length(42));
        pad(&mut short);
        assert_eq!(short.bytes(), [&[5; 42][..], &[0; 18]].concat());
        let mut long = received(&[5; 60]);
        pad(&mut long);
        assert_eq!(long.bytes(), [5; 60]);
    }
}
