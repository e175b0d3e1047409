//! The IPv6 header (RFC 8200 §3). It has no checksum. What follows it: [`ipv6_extensions`](super::ipv6_extensions).

use super::{be_u16, be_u32, checksum, put};
use std::net::Ipv6Addr;

/// Offsets of the fields.
pub mod field {
    /// Version, traffic class and flow label.
    pub const VERSION: usize = 0;
    /// Bytes after the header, extension headers included.
    pub const PAYLOAD_LENGTH: usize = 4;
    /// What the header after this one is: a protocol's number, or an extension header's.
    pub const NEXT_HEADER: usize = 6;
    /// Routers that the packet may pass.
    pub const HOP_LIMIT: usize = 7;
    /// The source address.
    pub const SOURCE: usize = 8;
    /// The destination address.
    pub const DESTINATION: usize = 24;
}

/// Length of the header.
pub const HEADER: usize = 40;
/// The version, as the upper half of the first byte.
pub const VERSION: u8 = 6;

/// Number of ICMPv6, as the upper-layer protocol.
pub const ICMP: u8 = 58;
/// The hop limit of packets that begin here.
pub const HOP_LIMIT: u8 = 64;
/// The least MTU that every link has, in bytes (§5).
pub const LEAST_MTU: usize = 1280;

/// In the header's first four bytes: the flow label.
const FLOW_LABEL: u32 = 0x000f_ffff;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The header is cut short or of another version.
    Malformed,
    /// The payload's length reaches beyond the frame.
    Truncated,
}

/// A packet whose version and length are right. A jumbogram (RFC 2675), whose payload length is 0, is a packet
/// without payload here: its hop-by-hop header is missing.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From the version to the end of the payload, without padding.
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet at the start of `bytes`, which may end in padding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        if !has_header(bytes) {
            return Err(Flaw::Malformed);
        }
        let length = HEADER + usize::from(be_u16(bytes, field::PAYLOAD_LENGTH));
        let bytes = bytes.get(..length).ok_or(Flaw::Truncated)?;
        Ok(Self { bytes })
    }

    /// The packet of a whole Ethernet frame.
    pub fn in_frame(frame: &'a [u8]) -> Result<Self, Flaw> {
        Self::parse(frame.get(super::ethernet::HEADER..).ok_or(Flaw::Malformed)?)
    }

    /// Header and payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Traffic class: DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        (be_u32(self.bytes, field::VERSION) >> 20) as u8
    }

    /// Flow label, of 20 bits.
    pub fn flow_label(&self) -> u32 {
        be_u32(self.bytes, field::VERSION) & FLOW_LABEL
    }

    /// Bytes after the header, extension headers included.
    pub fn payload_length(&self) -> u16 {
        be_u16(self.bytes, field::PAYLOAD_LENGTH)
    }

    /// What the payload begins with: a protocol's number, or an extension header's.
    pub fn next_header(&self) -> u8 {
        self.bytes[field::NEXT_HEADER]
    }

    /// Routers that the packet may pass.
    pub fn hop_limit(&self) -> u8 {
        self.bytes[field::HOP_LIMIT]
    }

    /// Source address.
    pub fn source(&self) -> Ipv6Addr {
        address_at(self.bytes, field::SOURCE)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv6Addr {
        address_at(self.bytes, field::DESTINATION)
    }

    /// What follows the header, extension headers included.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER..]
    }
}

/// Whether a whole header of IPv6 is at the start of `bytes`.
pub(super) fn has_header(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER && bytes[field::VERSION] >> 4 == VERSION
}

/// The address at `offset`.
///
/// # Panics
/// If it does not lie within `bytes`.
#[inline(always)]
pub fn address_at(bytes: &[u8], offset: usize) -> Ipv6Addr {
    Ipv6Addr::from(*bytes[offset..].first_chunk::<16>().expect("within the bytes"))
}

/// Whether no host sends from this address: unspecified, loopback, multicast (RFC 4291 §2.5.2, §2.5.3, §2.7), or an
/// IPv4 address in IPv6's form, which is no address on the wire.
pub const fn is_martian(source: Ipv6Addr) -> bool {
    source.is_unspecified()
        || source.is_loopback()
        || source.is_multicast()
        || source.to_ipv4_mapped().is_some()
}

/// Whether no packet may go to this address: unspecified, loopback, or an IPv4 address in IPv6's form. A multicast is a
/// destination.
pub const fn is_martian_destination(destination: Ipv6Addr) -> bool {
    is_martian(destination) && !destination.is_multicast()
}

/// Sets the source address of the packet that begins `packet`; returns what to add to the checksum of TCP, UDP or
/// ICMPv6, all of which cover it.
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn replace_source(packet: &mut [u8], address: Ipv6Addr) -> u16 {
    replace_address(packet, field::SOURCE, address)
}

/// Sets the destination address; otherwise as [`replace_source`].
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn replace_destination(packet: &mut [u8], address: Ipv6Addr) -> u16 {
    replace_address(packet, field::DESTINATION, address)
}

fn replace_address(packet: &mut [u8], offset: usize, address: Ipv6Addr) -> u16 {
    let delta = checksum::delta(&packet[offset..offset + 16], &address.octets());
    put(packet, offset, address.octets());
    delta
}

/// Takes one off the hop limit of the packet that begins `packet`. False, and nothing done, if none would be left: such
/// a packet is not passed on (RFC 8200 §3).
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn decrement_hop_limit(packet: &mut [u8]) -> bool {
    let hop_limit = packet[field::HOP_LIMIT];
    if hop_limit <= 1 {
        return false;
    }
    packet[field::HOP_LIMIT] = hop_limit - 1;
    true
}

/// A header of our own.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label; of 20 bits, those above are left out.
    pub flow_label: u32,
    /// Bytes after the header.
    pub payload_length: u16,
    /// What the payload begins with.
    pub next_header: u8,
    /// Routers that the packet may pass.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Header {
    /// Writes it at the start of `packet`.
    ///
    /// # Panics
    /// If `packet` is shorter than [`HEADER`].
    pub fn write(&self, packet: &mut [u8]) {
        let header = &mut packet[..HEADER];
        let start =
            u32::from(VERSION) << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & FLOW_LABEL;
        put(header, field::VERSION, start.to_be_bytes());
        put(header, field::PAYLOAD_LENGTH, self.payload_length.to_be_bytes());
        header[field::NEXT_HEADER] = self.next_header;
        header[field::HOP_LIMIT] = self.hop_limit;
        put(header, field::SOURCE, self.source.octets());
        put(header, field::DESTINATION, self.destination.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::Ipv6HeaderSlice;
    use proptest::prelude::*;

    fn example() -> Header {
        Header {
            traffic_class: 0xb8,
            flow_label: 0xe1698,
            payload_length: 3,
            next_header: ICMP,
            hop_limit: HOP_LIMIT,
            source: "2001:db8::1".parse().unwrap(),
            destination: "fd00:10::100".parse().unwrap(),
        }
    }

    #[test]
    fn fields_stand_where_they_belong() {
        let mut bytes = [0xa5; HEADER + 5];
        example().write(&mut bytes);
        let expected = [
            0x6b, 0x8e, 0x16, 0x98, 0, 3, 58, 64, // version to hop limit
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // source
            0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, // destination
        ];
        assert_eq!(bytes[..HEADER], expected);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.payload(), [0xa5; 3]);
        assert_eq!(packet.bytes().len(), 43);
    }

    #[test]
    fn flaws() {
        let flaw = |change: fn(&mut Vec<u8>)| {
            let mut bytes = vec![0; HEADER + 3];
            example().write(&mut bytes);
            change(&mut bytes);
            Packet::parse(&bytes).err()
        };
        assert_eq!(flaw(|_| ()), None);
        assert_eq!(flaw(|bytes| bytes.truncate(0)), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes.truncate(39)), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes[0] = 0x45), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes.truncate(42)), Some(Flaw::Truncated));
        assert_eq!(flaw(|bytes| bytes[4] = 1), Some(Flaw::Truncated));
        assert_eq!(flaw(|bytes| bytes[5] = 0), None, "no payload is none");
        assert_eq!(Packet::in_frame(&[0; 13]).err(), Some(Flaw::Malformed));
    }

    #[test]
    fn the_last_hop_is_not_taken() {
        for (before, after) in [(255, 254), (64, 63), (2, 1)] {
            let mut bytes = [0; HEADER];
            Header { hop_limit: before, ..example() }.write(&mut bytes);
            assert!(decrement_hop_limit(&mut bytes));
            assert_eq!(bytes[field::HOP_LIMIT], after);
        }
        for last in [1, 0] {
            let mut bytes = [0; HEADER];
            Header { hop_limit: last, ..example() }.write(&mut bytes);
            assert!(!decrement_hop_limit(&mut bytes));
            assert_eq!(bytes[field::HOP_LIMIT], last);
        }
    }

    #[test]
    fn martians() {
        let martian = |address: &str| is_martian(address.parse().unwrap());
        for bad in ["::", "::1", "ff02::1", "ff0e::7", "::ffff:192.0.2.1"] {
            assert!(martian(bad), "{bad}");
        }
        for good in ["2001:db8::1", "fd00:10::6", "fe80::1", "::2"] {
            assert!(!martian(good), "{good}");
        }
    }

    #[test]
    fn martian_destinations() {
        let martian = |address: &str| is_martian_destination(address.parse().unwrap());
        for bad in ["::", "::1", "::ffff:192.0.2.1"] {
            assert!(martian(bad), "{bad}");
        }
        for good in ["2001:db8::1", "fe80::1", "ff02::1", "ff0e::7"] {
            assert!(!martian(good), "{good}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_by_another_parser(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..100), likely: bool,
        ) {
            if likely && bytes.len() > 5 {
                bytes[0] = 0x60 | bytes[0] & 0xf;
                bytes[4] = 0;
                bytes[5] &= 0x3f;
            }
            let theirs = Ipv6HeaderSlice::from_slice(&bytes)
                .ok()
                .filter(|header| HEADER + usize::from(header.payload_length()) <= bytes.len());
            let ours = Packet::parse(&bytes);
            prop_assert_eq!(ours.is_ok(), theirs.is_some());
            if let (Ok(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.traffic_class(), theirs.traffic_class());
                prop_assert_eq!(ours.flow_label(), theirs.flow_label().value());
                prop_assert_eq!(ours.payload_length(), theirs.payload_length());
                prop_assert_eq!(ours.next_header(), theirs.next_header().0);
                prop_assert_eq!(ours.hop_limit(), theirs.hop_limit());
                prop_assert_eq!(ours.source(), theirs.source_addr());
                prop_assert_eq!(ours.destination(), theirs.destination_addr());
                prop_assert_eq!(ours.payload().len(), usize::from(theirs.payload_length()));
                let mut written = [0; HEADER];
                let header = Header {
                    traffic_class: ours.traffic_class(),
                    flow_label: ours.flow_label() | 0xfff0_0000,
                    payload_length: ours.payload_length(),
                    next_header: ours.next_header(),
                    hop_limit: ours.hop_limit(),
                    source: ours.source(),
                    destination: ours.destination(),
                };
                header.write(&mut written);
                prop_assert_eq!(&written[..], &bytes[..HEADER]);
            }
        }

        #[test]
        fn replacing_addresses_keeps_a_transport_checksum_right_and_a_wrong_one_wrong(
            source: u128, destination: u128, new_source: u128, new_destination: u128,
            data in proptest::collection::vec(any::<u8>(), 0..40), wrong: bool,
        ) {
            let mut bytes = Vec::new();
            etherparse::PacketBuilder::ipv6(source.to_be_bytes(), destination.to_be_bytes(), 64)
                .udp(4711, 53).write(&mut bytes, &data).unwrap();
            let place = HEADER + crate::wire::udp::field::CHECKSUM;
            bytes[place] ^= u8::from(wrong);
            prop_assume!(bytes[place..place + 2] != [0, 0]);
            let delta = checksum::add(
                replace_source(&mut bytes, new_source.into()),
                replace_destination(&mut bytes, new_destination.into()),
            );
            let check = checksum::adjust_udp(checksum::read(&bytes, place), delta);
            checksum::write(&mut bytes, place, check);

            let packet = etherparse::SlicedPacket::from_ip(&bytes).unwrap();
            let Some(etherparse::NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6") };
            let Some(etherparse::TransportSlice::Udp(datagram)) = packet.transport else { panic!("not UDP") };
            prop_assert_eq!(ip.header().source_addr(), Ipv6Addr::from(new_source));
            prop_assert_eq!(ip.header().destination_addr(), Ipv6Addr::from(new_destination));
            let right = datagram.to_header().calc_checksum_ipv6(&ip.header().to_header(), &data).unwrap();
            prop_assert_eq!(datagram.checksum() == right, !wrong);
        }
    }
}
