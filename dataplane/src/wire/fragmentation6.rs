//! Cutting an IPv6 packet into fragments (RFC 8200 §4.5), which only its source may.

use super::fragmentation::Cut;
use super::ipv6::{self, Packet, field};
use super::ipv6_extensions::{self, FRAGMENT, FRAGMENT_HEADER, Fragment};
use super::put;

/// Bytes before a fragment's part of the packet.
const HEADERS: usize = ipv6::HEADER + FRAGMENT_HEADER;
/// Where the longest packet's part that may be cut ends.
const MOST: usize = u16::MAX as usize;

/// How a packet of IPv6 is cut: one that begins here, so that it has no extension headers, or a fragment of such a
/// packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the packet says of itself, if it is a fragment; otherwise what it becomes a part of: all of itself.
    whole: Fragment,
    /// What the fragment header names as the next one.
    next_header: u8,
    /// Where in the packet that which is cut begins.
    start: usize,
    /// Bytes of that which is cut.
    payload: usize,
    /// Bytes of it in each fragment but the last: a multiple of 8.
    step: usize,
}

impl Plan {
    /// How to cut `packet` into fragments of at most `mtu` bytes. They have the identification `id`, or its own if it
    /// is a fragment already. `None` if nothing is to be cut, if it has extension headers that would have to be in
    /// each fragment, or if an MTU has no room for eight bytes.
    pub fn new(packet: &Packet<'_>, mtu: u16, id: u32) -> Option<Self> {
        let mtu = usize::from(mtu);
        let bytes = packet.bytes();
        let (whole, next_header, start) = if packet.next_header() == FRAGMENT {
            let whole = ipv6_extensions::upper_layer(packet).ok()?.fragment?;
            (whole, bytes[whole.header], HEADERS)
        } else {
            let upper = ipv6_extensions::upper_layer(packet).ok()?;
            let whole = Fragment { header: ipv6::HEADER, offset: 0, more: false, id };
            (upper.offset == ipv6::HEADER).then_some((whole, upper.protocol, ipv6::HEADER))?
        };
        let payload = bytes.len() - start;
        let step = mtu.saturating_sub(HEADERS) & !7;
        let possible = step > 0 && bytes.len() > mtu && usize::from(whole.offset) + payload <= MOST;
        possible.then_some(Self { whole, next_header, start, payload, step })
    }

    fn set_headers(&self, index: usize, packet: &mut [u8]) {
        let length = self.length(index) - ipv6::HEADER;
        put(packet, field::PAYLOAD_LENGTH, (length as u16).to_be_bytes());
        packet[field::NEXT_HEADER] = FRAGMENT;
        let part = Fragment {
            offset: self.whole.offset + (index * self.step) as u16,
            more: self.whole.more || index + 1 < self.count(),
            ..self.whole
        };
        part.write(self.next_header, packet);
    }
}

impl Cut for Plan {
    fn count(&self) -> usize {
        self.payload.div_ceil(self.step)
    }

    fn length(&self, index: usize) -> usize {
        HEADERS + self.step.min(self.payload - index * self.step)
    }

    fn write_later(&self, index: usize, original: &[u8], into: &mut [u8]) {
        into[..ipv6::HEADER].copy_from_slice(&original[..ipv6::HEADER]);
        let part = &mut into[HEADERS..];
        let start = self.start + index * self.step;
        part.copy_from_slice(&original[start..start + part.len()]);
        self.set_headers(index, into);
    }

    fn cut_first(&self, original: &mut [u8]) {
        // It is longer than an MTU, which its first fragment is not.
        original.copy_within(self.start..self.start + self.step, HEADERS);
        self.set_headers(0, original);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv6::Header;
    use etherparse::{IpNumber, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};
    use proptest::prelude::*;

    const OURS: &str = "fd00:10::100";
    const CLIENT: &str = "fd00:10::6";

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; ipv6::HEADER];
        let header = Header {
            traffic_class: 0xb8,
            flow_label: 0,
            payload_length: payload.len().try_into().unwrap(),
            next_header,
            hop_limit: 64,
            source: OURS.parse().unwrap(),
            destination: CLIENT.parse().unwrap(),
        };
        header.write(&mut bytes);
        bytes.extend(payload);
        bytes
    }

    /// A part of a packet of ICMPv6, made by hand.
    fn part(offset: u16, more: bool, id: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![ipv6::ICMP, 0];
        bytes.extend((offset | u16::from(more)).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend(payload);
        packet(FRAGMENT, &bytes)
    }

    fn plan(original: &[u8], mtu: u16) -> Option<Plan> {
        Plan::new(&Packet::parse(original).unwrap(), mtu, 0x1234_5678)
    }

    fn cut(original: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let plan = plan(original, mtu).unwrap();
        let mut pieces: Vec<_> = (0..plan.count()).map(|index| vec![0xa5; plan.length(index)]).collect();
        for (index, piece) in pieces.iter_mut().enumerate().skip(1) {
            plan.write_later(index, original, piece);
        }
        let mut first = original.to_vec();
        plan.cut_first(&mut first);
        first.truncate(plan.length(0));
        pieces[0] = first;
        pieces
    }

    /// What all pieces hold, each read by another implementation, and where it belongs: `offset` of the first, and
    /// whether others follow the last.
    fn together(pieces: &[Vec<u8>], mtu: u16, id: u32) -> (Vec<u8>, usize, bool) {
        let (mut together, mut begins, mut more) = (Vec::new(), None, true);
        for piece in pieces {
            assert!(piece.len() <= usize::from(mtu));
            let header = Ipv6HeaderSlice::from_slice(piece).unwrap();
            assert_eq!(
                (header.source_addr(), header.destination_addr()),
                (OURS.parse().unwrap(), CLIENT.parse().unwrap())
            );
            assert_eq!((header.traffic_class(), header.hop_limit()), (0xb8, 64));
            assert_eq!(usize::from(header.payload_length()), piece.len() - ipv6::HEADER);
            assert_eq!(header.next_header(), IpNumber::IPV6_FRAGMENTATION_HEADER);
            let fragment = Ipv6FragmentHeaderSlice::from_slice(&piece[ipv6::HEADER..]).unwrap().to_header();
            assert_eq!((fragment.next_header, fragment.identification), (IpNumber::IPV6_ICMP, id));
            let offset = usize::from(fragment.fragment_offset.value()) * 8;
            assert_eq!(offset - *begins.get_or_insert(offset), together.len());
            assert!(more, "one after the last");
            more = fragment.more_fragments;
            together.extend_from_slice(&piece[HEADERS..]);
            assert!(!more || together.len().is_multiple_of(8));
        }
        (together, begins.unwrap(), more)
    }

    #[test]
    fn what_cannot_be_cut_is_not() {
        let whole = packet(ipv6::ICMP, &[7; 1300]);
        assert_eq!(plan(&whole, 1340), None, "it fits");
        assert_eq!(plan(&whole, 1339).unwrap().count(), 2);
        assert!(plan(&whole, 56).is_some());
        assert_eq!(plan(&whole, 55), None, "no room for eight bytes");
        let mut options = vec![ipv6::ICMP, 0, 1, 4, 0, 0, 0, 0];
        options.extend([7; 1300]);
        assert_eq!(plan(&packet(ipv6_extensions::HOP_BY_HOP, &options), 1280), None);
        let mut behind = part(0, true, 9, &[7; 1304]);
        behind[HEADERS - FRAGMENT_HEADER] = ipv6_extensions::DESTINATION_OPTIONS;
        behind[HEADERS..HEADERS + 2].copy_from_slice(&[ipv6::ICMP, 0]);
        assert!(plan(&behind, 1280).is_some(), "what follows the fragment header is cut with the rest");
        assert_eq!(plan(&part(65_528, false, 9, &[7; 1300]), 1280), None, "beyond the longest packet");
    }

    #[test]
    fn the_longest_packet_is_cut_to_its_last_byte() {
        let payload: Vec<u8> = (0..65_535usize).map(|n| (n * 7 / 3) as u8).collect();
        let pieces = cut(&packet(ipv6::ICMP, &payload), 1500);
        assert_eq!(pieces.len(), 46);
        assert_eq!(together(&pieces, 1500, 0x1234_5678), (payload, 0, false));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_of_a_packet(length in 1241..9000usize, mtu in 1280..1500u16) {
            let payload: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            let original = packet(ipv6::ICMP, &payload);
            prop_assume!(original.len() > usize::from(mtu));
            prop_assert_eq!(together(&cut(&original, mtu), mtu, 0x1234_5678), (payload, 0, false));
        }

        /// Its fragments take its place among the others of its packet, so that they have its identification.
        #[test]
        fn nothing_is_lost_of_a_fragment(
            length in 1233..9000usize, mtu in 1280..1500u16, offset in 0..7000u16, more: bool, id: u32,
        ) {
            let length = if more { length.next_multiple_of(8) } else { length };
            let payload: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            let original = part(offset * 8, more, id, &payload);
            prop_assume!(original.len() > usize::from(mtu));
            let expected = (payload, usize::from(offset) * 8, more);
            prop_assert_eq!(together(&cut(&original, mtu), mtu, id), expected);
        }
    }
}
