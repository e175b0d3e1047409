//! The extension headers of IPv6 (RFC 8200 §4): walking over them to the upper-layer protocol.
//!
//! ```text
//! IPv6 header │ hop-by-hop │ destination │ routing │ fragment │ destination │ upper layer
//!                options       options                            options
//! ```
//!
//! All but the IPv6 header may be missing, and the order is only recommended, except that hop-by-hop options come
//! first. Each header names the one after it. Options are passed over: those for every hop need not be looked at
//! (RFC 8200 §4), those for the destination are the server's business.

use super::ipv6::{self, Packet};
use super::{be_u16, be_u32, put};

/// Offsets of the fields.
mod field {
    /// What the header after this one is.
    pub(super) const NEXT_HEADER: usize = 0;
    /// Length of the header in units of eight bytes, without the first; reserved in the fragment header.
    pub(super) const LENGTH: usize = 1;
    /// The type of a routing header.
    pub(super) const ROUTING_TYPE: usize = 2;
    /// Nodes that a routing header still names.
    pub(super) const SEGMENTS_LEFT: usize = 3;
    /// Offset and flags of a fragment.
    pub(super) const FRAGMENT: usize = 2;
    /// Identification of a fragment.
    pub(super) const ID: usize = 4;
}

/// Number of the options for every hop.
pub const HOP_BY_HOP: u8 = 0;
/// Number of the routing header.
pub const ROUTING: u8 = 43;
/// Number of the fragment header.
pub const FRAGMENT: u8 = 44;
/// Number of the options for the destination.
pub const DESTINATION_OPTIONS: u8 = 60;
/// In place of a header's number: nothing follows (RFC 8200 §4.7).
pub const NO_NEXT_HEADER: u8 = 59;

/// Length of the fragment header, and the unit of every header's length.
pub const FRAGMENT_HEADER: usize = 8;
/// Where in the fragment header its offset stands.
pub const FRAGMENT_OFFSET: usize = field::FRAGMENT;
/// The routing header's type 0, with which a packet can be sent to and fro between two nodes; deprecated by RFC 5095.
pub const ROUTING_TYPE_0: u8 = 0;
/// Extension headers in a packet at most; the recommended order has five (RFC 8200 §4.1). RFC 8883 lets nodes have such
/// a limit.
pub const MOST_HEADERS: usize = 8;

/// In [`field::FRAGMENT`]: the offset, in bytes.
const OFFSET: u16 = 0xfff8;
/// In [`field::FRAGMENT`]: other fragments follow.
const MORE_FRAGMENTS: u16 = 0x0001;

/// What is wrong with a packet's extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A header reaches beyond the packet.
    Truncated,
    /// A header reaches beyond a first fragment, which must have them all (RFC 7112).
    Incomplete,
    /// Hop-by-hop options that are not the first header (RFC 8200 §4.1).
    MisplacedHopByHop {
        /// Where the number of the misplaced header stands, in bytes from the start of the IPv6 header.
        pointer: usize,
    },
    /// A fragment header within a fragment.
    NestedFragment,
    /// More headers than [`MOST_HEADERS`].
    TooMany {
        /// Where the first one begins that is too many, in bytes from the start of the IPv6 header.
        pointer: usize,
    },
}

/// A part of a packet, as the fragment header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where the fragment header stands, in bytes from the start of the IPv6 header.
    pub header: usize,
    /// Where what follows the fragment header belongs in what follows it in the whole packet, in bytes.
    pub offset: u16,
    /// Whether it is not the last one.
    pub more: bool,
    /// Identification of the whole packet, among those with the same addresses.
    pub id: u32,
}

impl Fragment {
    /// Whether it is the whole packet in spite of the header; it has nothing to do with other fragments, whatever their
    /// identification (RFC 6946).
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }

    /// Whether it begins the packet, so that the upper layer's header is in it.
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Writes the fragment header of a fragment in whose packet `next_header` follows.
    ///
    /// # Panics
    /// If `packet`, which begins with the IPv6 header, ends before the place of the fragment header.
    pub(super) fn write(&self, next_header: u8, packet: &mut [u8]) {
        let header = &mut packet[self.header..self.header + FRAGMENT_HEADER];
        header[field::NEXT_HEADER] = next_header;
        header[field::LENGTH] = 0;
        let word = self.offset & OFFSET | if self.more { MORE_FRAGMENTS } else { 0 };
        put(header, field::FRAGMENT, word.to_be_bytes());
        put(header, field::ID, self.id.to_be_bytes());
    }
}

/// A routing header by which the node that the packet is addressed to is to send it on to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Its type, for instance [`ROUTING_TYPE_0`].
    pub kind: u8,
    /// Nodes that are still to be visited; not 0.
    pub segments_left: u8,
    /// Where the type stands, in bytes from the start of the IPv6 header: a node that does not know the type says so
    /// with this pointer (RFC 8200 §4.4).
    pub pointer: usize,
}

/// What a packet's extension headers lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// Number of the protocol. All that are not passed over here count as one: [`NO_NEXT_HEADER`], unknown ones, and
    /// AH (RFC 4302), ESP (RFC 4303) and mobility (RFC 6275), whose contents are not for translation.
    /// Of a fragment other than the first: what the fragment header names, which may be an extension header.
    pub protocol: u8,
    /// Where it begins, in bytes from the start of the IPv6 header; the packet may end there.
    pub offset: usize,
    /// Where its number stands, in bytes from the start of the IPv6 header: the pointer of a message that the protocol
    /// is unknown.
    pub pointer: usize,
    /// The fragment, if there is a fragment header.
    pub fragment: Option<Fragment>,
    /// The first routing header that has segments left; others are ignored (RFC 8200 §4.4). It matters only to the node
    /// that the packet is addressed to. The upper layer's checksum then covers another destination (RFC 8200 §8.1).
    pub routing: Option<Routing>,
}

impl UpperLayer {
    /// Whether it is a part of a packet only.
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_atomic())
    }

    /// Whether it is a part of a packet that the upper layer's header is not in.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.is_first())
    }
}

/// Walks over the extension headers of `packet`.
pub fn upper_layer(packet: &Packet<'_>) -> Result<UpperLayer, Flaw> {
    walk(packet.bytes())
}

/// Walks over the extension headers of the packet whose beginning `bytes` is; its length is not looked at.
///
/// # Panics
/// If `bytes` is shorter than the IPv6 header.
pub(super) fn walk(bytes: &[u8]) -> Result<UpperLayer, Flaw> {
    let mut at = UpperLayer {
        protocol: bytes[ipv6::field::NEXT_HEADER],
        offset: ipv6::HEADER,
        pointer: ipv6::field::NEXT_HEADER,
        fragment: None,
        routing: None,
    };
    for count in 0..=MOST_HEADERS {
        if !matches!(at.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
            || at.is_later_fragment()
        {
            return Ok(at);
        }
        if count == MOST_HEADERS {
            break;
        }
        at.pass(bytes)?;
    }
    Err(Flaw::TooMany { pointer: at.offset })
}

impl UpperLayer {
    /// What is wrong if the header that it stands at is not all there.
    fn cut_short(&self) -> Flaw {
        if self.is_fragment() { Flaw::Incomplete } else { Flaw::Truncated }
    }

    /// Goes past the extension header that it stands at.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        let start = self.offset;
        let header = bytes.get(start..start + FRAGMENT_HEADER).ok_or(self.cut_short())?;
        let mut length = (usize::from(header[field::LENGTH]) + 1) * 8;
        match self.protocol {
            HOP_BY_HOP if start != ipv6::HEADER => {
                return Err(Flaw::MisplacedHopByHop { pointer: self.pointer });
            }
            FRAGMENT if self.fragment.is_some() => return Err(Flaw::NestedFragment),
            FRAGMENT => {
                // Its length is fixed; the byte is reserved.
                length = FRAGMENT_HEADER;
                self.fragment = Some(fragment(header, start));
            }
            ROUTING => self.routing = self.routing.or_else(|| routing(header, start)),
            _ => (),
        }
        if start + length > bytes.len() {
            return Err(self.cut_short());
        }
        self.protocol = header[field::NEXT_HEADER];
        self.pointer = start + field::NEXT_HEADER;
        self.offset = start + length;
        Ok(())
    }
}

/// What the fragment header says that stands at `start` of the packet.
fn fragment(header: &[u8], start: usize) -> Fragment {
    let word = be_u16(header, field::FRAGMENT);
    Fragment {
        header: start,
        offset: word & OFFSET,
        more: word & MORE_FRAGMENTS != 0,
        id: be_u32(header, field::ID),
    }
}

/// What the routing header says that stands at `start` of the packet, if it has segments left.
fn routing(header: &[u8], start: usize) -> Option<Routing> {
    let segments_left = header[field::SEGMENTS_LEFT];
    let pointer = start + field::ROUTING_TYPE;
    (segments_left != 0).then(|| Routing { kind: header[field::ROUTING_TYPE], segments_left, pointer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpNumber, Ipv6ExtensionsSlice, Ipv6FragmentHeaderSlice};
    use proptest::prelude::*;

    /// A packet with these extension headers, each with its number, then `protocol` and its bytes.
    fn packet(headers: &[(u8, Vec<u8>)], protocol: u8, upper: &[u8]) -> Vec<u8> {
        let mut numbers = headers.iter().map(|(number, _)| *number).chain([protocol]);
        let payload_length = headers.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + upper.len();
        let mut bytes = vec![0; ipv6::HEADER];
        let header = ipv6::Header {
            traffic_class: 0,
            flow_label: 0,
            payload_length: payload_length.try_into().unwrap(),
            next_header: numbers.next().unwrap(),
            hop_limit: 64,
            source: "fd00:10::6".parse().unwrap(),
            destination: "fd00:10::100".parse().unwrap(),
        };
        header.write(&mut bytes);
        for (_, header) in headers {
            let start = bytes.len();
            bytes.extend(header);
            bytes[start] = numbers.next().unwrap();
        }
        bytes.extend(upper);
        bytes
    }

    /// An extension header of `units` eight bytes, at least one.
    fn options(units: u8) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(units) * 8];
        bytes[1] = units - 1;
        bytes
    }

    fn routed(kind: u8, segments_left: u8) -> Vec<u8> {
        let mut bytes = options(3);
        bytes[2..4].copy_from_slice(&[kind, segments_left]);
        bytes
    }

    fn part(offset: u16, more: bool, id: u32) -> Vec<u8> {
        let mut bytes = vec![0, 0xee];
        bytes.extend((offset | 6 | u16::from(more)).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes
    }

    fn walked(bytes: &[u8]) -> Result<UpperLayer, Flaw> {
        upper_layer(&Packet::parse(bytes).unwrap())
    }

    #[test]
    fn all_headers_in_their_order() {
        let headers = [
            (HOP_BY_HOP, options(1)),
            (DESTINATION_OPTIONS, options(2)),
            (ROUTING, routed(2, 0)),
            (FRAGMENT, part(0, true, 0x1234_5678)),
            (DESTINATION_OPTIONS, options(1)),
        ];
        let fragment = Fragment { header: 40 + 8 + 16 + 24, offset: 0, more: true, id: 0x1234_5678 };
        let expected = UpperLayer {
            protocol: 17,
            offset: 40 + 8 + 16 + 24 + 8 + 8,
            pointer: 40 + 8 + 16 + 24 + 8,
            fragment: Some(fragment),
            routing: None,
        };
        assert_eq!(walked(&packet(&headers, 17, &[1, 2])), Ok(expected));
        assert!(expected.is_fragment() && !expected.is_later_fragment());
        let plain = UpperLayer { protocol: 6, offset: 40, pointer: 6, fragment: None, routing: None };
        assert_eq!(walked(&packet(&[], 6, &[])), Ok(plain));
        assert!(!plain.is_fragment());
    }

    #[test]
    fn nothing_is_looked_for_in_a_later_fragment() {
        let headers = [(FRAGMENT, part(1448, false, 7))];
        let upper = walked(&packet(&headers, DESTINATION_OPTIONS, &[0xff; 3])).unwrap();
        assert_eq!((upper.protocol, upper.offset), (DESTINATION_OPTIONS, 48));
        assert_eq!(upper.fragment, Some(Fragment { header: 40, offset: 1448, more: false, id: 7 }));
        assert!(upper.is_fragment() && upper.is_later_fragment());
    }

    #[test]
    fn an_atomic_fragment_is_a_whole_packet() {
        let upper = walked(&packet(&[(FRAGMENT, part(0, false, 7))], 6, &[0; 20])).unwrap();
        assert!(upper.fragment.unwrap().is_atomic() && !upper.is_fragment() && !upper.is_later_fragment());
        assert!(!Fragment { header: 40, offset: 8, more: false, id: 7 }.is_atomic());
        assert!(!Fragment { header: 40, offset: 0, more: true, id: 7 }.is_atomic());
    }

    #[test]
    fn a_routing_header_that_is_not_done_is_told() {
        let headers =
            [(ROUTING, routed(4, 0)), (ROUTING, routed(ROUTING_TYPE_0, 2)), (ROUTING, routed(3, 1))];
        let upper = walked(&packet(&headers, 6, &[])).unwrap();
        let expected = Routing { kind: ROUTING_TYPE_0, segments_left: 2, pointer: 40 + 24 + 2 };
        assert_eq!(upper.routing, Some(expected));
        assert_eq!(upper.offset, 40 + 3 * 24);
    }

    #[test]
    fn flaws() {
        let late = [(DESTINATION_OPTIONS, options(2)), (HOP_BY_HOP, options(1))];
        assert_eq!(walked(&packet(&late, 6, &[])), Err(Flaw::MisplacedHopByHop { pointer: 40 }));
        let twice = [(HOP_BY_HOP, options(1)), (HOP_BY_HOP, options(1))];
        assert_eq!(walked(&packet(&twice, 6, &[])), Err(Flaw::MisplacedHopByHop { pointer: 40 }));
        let nested = [(FRAGMENT, part(0, false, 1)), (FRAGMENT, part(0, true, 2))];
        assert_eq!(walked(&packet(&nested, 6, &[])), Err(Flaw::NestedFragment));
        let mut long = packet(&[(DESTINATION_OPTIONS, options(2))], 6, &[0; 7]);
        long[41] = 2;
        assert_eq!(walked(&long), Err(Flaw::Truncated));
        for number in [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS] {
            assert_eq!(walked(&packet(&[], number, &[0; 7])), Err(Flaw::Truncated), "{number}");
            assert_eq!(walked(&packet(&[], number, &[])), Err(Flaw::Truncated), "a jumbogram, or {number}");
        }
        let most = vec![(DESTINATION_OPTIONS, options(1)); MOST_HEADERS];
        assert_eq!(walked(&packet(&most, 6, &[])).map(|upper| upper.offset), Ok(40 + MOST_HEADERS * 8));
        let more = vec![(DESTINATION_OPTIONS, options(1)); MOST_HEADERS + 1];
        let pointer = 40 + MOST_HEADERS * 8;
        assert_eq!(walked(&packet(&more, 6, &[])), Err(Flaw::TooMany { pointer }));
        let mut first =
            packet(&[(FRAGMENT, part(0, true, 1)), (DESTINATION_OPTIONS, options(2))], 6, &[0; 7]);
        first[40 + 8 + 1] = 2;
        assert_eq!(walked(&first), Err(Flaw::Incomplete));
        first[40 + 3] = 0;
        assert_eq!(walked(&first), Err(Flaw::Truncated), "an atomic one");
    }

    #[test]
    fn what_is_not_passed_over_counts_as_a_protocol() {
        // No next header; ESP, AH; mobility, HIP, Shim6; numbers for experiments, one that is not assigned.
        for number in [NO_NEXT_HEADER, 50, 51, 135, 139, 140, 253, 200, 132, 58] {
            let upper = walked(&packet(&[(DESTINATION_OPTIONS, options(1))], number, &[1; 30])).unwrap();
            assert_eq!((upper.protocol, upper.offset, upper.pointer), (number, 48, 40));
        }
    }

    fn header() -> impl Strategy<Value = (u8, Vec<u8>)> {
        prop_oneof![
            1 => (1u8..4).prop_map(|units| (HOP_BY_HOP, options(units))),
            3 => (1u8..6).prop_map(|units| (DESTINATION_OPTIONS, options(units))),
            2 => (any::<u8>(), 0u8..3).prop_map(|(kind, left)| (ROUTING, routed(kind, left))),
        ]
    }

    proptest! {
        #[test]
        fn chains_are_walked_as_by_another_parser(
            mut headers in proptest::collection::vec(header(), 0..6), cut in 0usize..30,
            fragment in proptest::option::of(any::<(proptest::sample::Index, bool, u32)>()),
            protocol in prop_oneof![Just(6u8), Just(17), Just(58), Just(59), Just(200)],
        ) {
            // The first fragment at most: the other one also looks for headers in later fragments.
            if let Some((place, more, id)) = fragment {
                headers.insert(place.index(headers.len() + 1), (FRAGMENT, part(0, more, id)));
            }
            let mut bytes = packet(&headers, protocol, &[0x3c; 9]);
            bytes.truncate((bytes.len() - cut).max(ipv6::HEADER));
            let payload_length = (bytes.len() - ipv6::HEADER) as u16;
            bytes[4..6].copy_from_slice(&payload_length.to_be_bytes());
            let theirs = Ipv6ExtensionsSlice::from_slice(IpNumber(bytes[6]), &bytes[ipv6::HEADER..]);
            let ours = walked(&bytes);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", ours);
            if let (Ok(ours), Ok((extensions, protocol, rest))) = (ours, theirs) {
                prop_assert_eq!(ours.protocol, protocol.0);
                prop_assert_eq!(&bytes[ours.offset..], rest);
                prop_assert_eq!(ours.is_fragment(), extensions.is_fragmenting_payload());
                prop_assert_eq!(bytes[ours.pointer], ours.protocol);
                if let Some(fragment) = ours.fragment {
                    let theirs = Ipv6FragmentHeaderSlice::from_slice(&bytes[fragment.header..]).unwrap();
                    prop_assert_eq!(fragment.id, theirs.identification());
                    prop_assert_eq!(fragment.offset, theirs.fragment_offset().byte_offset());
                    prop_assert_eq!(fragment.more, theirs.more_fragments());
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 40..200), likely: bool) {
            bytes[0] = 0x60;
            let payload_length = (bytes.len() - ipv6::HEADER) as u16;
            bytes[4..6].copy_from_slice(&payload_length.to_be_bytes());
            if likely {
                for at in (40..bytes.len() - bytes.len() % 8).step_by(8).chain([6]) {
                    bytes[at] = [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS][usize::from(bytes[at] & 3)];
                    if let Some(length) = bytes.get_mut(at + 1) {
                        *length &= 1;
                    }
                }
                bytes[7] = 64;
            }
            match walked(&bytes) {
                Ok(upper) => prop_assert!(upper.offset <= bytes.len() && upper.offset % 8 == 0),
                Err(Flaw::MisplacedHopByHop { pointer }) => prop_assert_eq!(bytes[pointer], HOP_BY_HOP),
                Err(Flaw::TooMany { pointer }) => prop_assert!(pointer <= bytes.len()),
                Err(_) => (),
            }
        }
    }
}
