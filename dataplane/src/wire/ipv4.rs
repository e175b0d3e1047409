//! The IPv4 header (RFC 791, RFC 1122 §3.2.1).

use super::{be_u16, checksum, put};
use std::net::Ipv4Addr;

/// Offsets of the fields.
pub mod field {
    /// Version, and the length of the header in words of four bytes.
    pub const VERSION_AND_LENGTH: usize = 0;
    /// Type of service.
    pub const TOS: usize = 1;
    /// Bytes of header and payload.
    pub const TOTAL_LENGTH: usize = 2;
    /// Identification.
    pub const ID: usize = 4;
    /// Flags and the offset of a fragment.
    pub const FRAGMENT: usize = 6;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Number of the protocol in the payload.
    pub const PROTOCOL: usize = 9;
    /// The checksum of the header.
    pub const CHECKSUM: usize = 10;
    /// The source address.
    pub const SOURCE: usize = 12;
    /// The destination address.
    pub const DESTINATION: usize = 16;
}

/// Length of a header without options.
pub const HEADER: usize = field::DESTINATION + 4;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// The time to live of packets that begin here.
pub const TTL: u8 = 64;

/// The version, 4, and the length of a header without options.
pub const WITHOUT_OPTIONS: u8 = 0x45;
const DONT_FRAGMENT: u16 = 0x4000;
/// In [`field::FRAGMENT`]: other fragments follow.
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
/// In [`field::FRAGMENT`]: the offset, in units of eight bytes.
pub(super) const OFFSET: u16 = 0x1fff;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The header is cut short, of another version, or contradicts itself.
    Malformed,
    /// The total length reaches beyond the frame.
    Truncated,
}

/// A packet whose version and lengths are right. Its checksum is looked at by
/// [`has_right_checksum`](Self::has_right_checksum) only.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// From the version to the end of the payload, without padding.
    bytes: &'a [u8],
    header_length: usize,
}

impl<'a> Packet<'a> {
    /// The packet at the start of `bytes`, which may end in padding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let header_length = header_length(bytes).ok_or(Flaw::Malformed)?;
        let total_length = usize::from(be_u16(bytes, field::TOTAL_LENGTH));
        if total_length < header_length {
            return Err(Flaw::Malformed);
        }
        let bytes = bytes.get(..total_length).ok_or(Flaw::Truncated)?;
        Ok(Self { bytes, header_length })
    }

    /// The packet of a whole Ethernet frame.
    pub fn in_frame(frame: &'a [u8]) -> Result<Self, Flaw> {
        Self::parse(frame.get(super::ethernet::HEADER..).ok_or(Flaw::Malformed)?)
    }

    /// Header and payload.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the header with its options.
    pub fn header_length(&self) -> usize {
        self.header_length
    }

    /// Bytes of header and payload.
    pub fn total_length(&self) -> u16 {
        be_u16(self.bytes, field::TOTAL_LENGTH)
    }

    /// Type of service: DSCP and ECN.
    pub fn tos(&self) -> u8 {
        self.bytes[field::TOS]
    }

    /// Identification.
    pub fn id(&self) -> u16 {
        be_u16(self.bytes, field::ID)
    }

    /// Whether routers may not fragment it.
    pub fn dont_fragment(&self) -> bool {
        be_u16(self.bytes, field::FRAGMENT) & DONT_FRAGMENT != 0
    }

    /// Whether it is a fragment and not the last one.
    pub fn more_fragments(&self) -> bool {
        be_u16(self.bytes, field::FRAGMENT) & MORE_FRAGMENTS != 0
    }

    /// Where its payload belongs in the whole datagram's, in bytes.
    pub fn fragment_offset(&self) -> u16 {
        (be_u16(self.bytes, field::FRAGMENT) & OFFSET) * 8
    }

    /// Whether it is a part of a datagram only.
    pub fn is_fragment(&self) -> bool {
        be_u16(self.bytes, field::FRAGMENT) & (MORE_FRAGMENTS | OFFSET) != 0
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.bytes[field::TTL]
    }

    /// Number of the protocol in the payload.
    pub fn protocol(&self) -> u8 {
        self.bytes[field::PROTOCOL]
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        address_at(self.bytes, field::SOURCE)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        address_at(self.bytes, field::DESTINATION)
    }

    /// What follows the header.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_length..]
    }

    /// Whether the header's checksum is right.
    pub fn has_right_checksum(&self) -> bool {
        checksum::sum(&self.bytes[..self.header_length]) == 0xffff
    }
}

/// Length of the header at the start of `bytes`; `None` if it is not there or not of IPv4.
pub(super) fn header_length(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let length = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && length >= HEADER && length <= bytes.len()).then_some(length)
}

/// The address at `offset`.
///
/// # Panics
/// If it does not lie within `bytes`.
#[inline(always)]
pub fn address_at(bytes: &[u8], offset: usize) -> Ipv4Addr {
    Ipv4Addr::from(*bytes[offset..].first_chunk::<4>().expect("within the bytes"))
}

/// Whether no host may send from this address (RFC 1122 §3.2.1.3, RFC 1812 §5.3.7): "this" network,
/// loopback, multicast, reserved, broadcast.
pub const fn is_martian(source: Ipv4Addr) -> bool {
    let [first, ..] = source.octets();
    !matches!(first, 1..224) || first == 127
}

/// Whether no packet may go to this address (RFC 1812 §4.2.3.1, §5.3.7): "this" network, loopback, reserved. A
/// multicast and the limited broadcast are destinations.
pub const fn is_martian_destination(destination: Ipv4Addr) -> bool {
    let [first, ..] = destination.octets();
    matches!(first, 0 | 127 | 240..) && !destination.is_broadcast()
}

/// Sets the source address of the packet that begins `packet`, updates the header's checksum, and
/// returns what to add to a transport checksum.
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn replace_source(packet: &mut [u8], address: Ipv4Addr) -> u16 {
    replace_address(packet, field::SOURCE, address)
}

/// Sets the destination address; otherwise as [`replace_source`].
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn replace_destination(packet: &mut [u8], address: Ipv4Addr) -> u16 {
    replace_address(packet, field::DESTINATION, address)
}

fn replace_address(packet: &mut [u8], offset: usize, address: Ipv4Addr) -> u16 {
    let delta = checksum::delta(&packet[offset..offset + 4], &address.octets());
    put(packet, offset, address.octets());
    adjust_header(packet, delta);
    delta
}

/// Makes the packet that begins `packet` a fragment: where in the whole datagram's payload its own belongs, a multiple
/// of eight bytes, and whether others follow. It was none.
///
/// # Panics
/// If `packet` is shorter than [`HEADER`].
pub fn place_fragment(packet: &mut [u8], offset: u16, more: bool) {
    let before = be_u16(packet, field::FRAGMENT);
    let more = if more { MORE_FRAGMENTS } else { 0 };
    let after = before | (offset / 8) | more;
    put(packet, field::FRAGMENT, after.to_be_bytes());
    adjust_header(packet, checksum::delta(&before.to_be_bytes(), &after.to_be_bytes()));
}

fn adjust_header(packet: &mut [u8], delta: u16) {
    let check = checksum::read(packet, field::CHECKSUM);
    checksum::write(packet, field::CHECKSUM, checksum::adjust(check, delta));
}

/// A header of our own, without options; time to live [`TTL`].
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Type of service.
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_length: u16,
    /// Identification.
    pub id: u16,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// Number of the protocol in the payload.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Header {
    /// Writes it, with its checksum, at the start of `packet`.
    ///
    /// # Panics
    /// If `packet` is shorter than [`HEADER`].
    pub fn write(&self, packet: &mut [u8]) {
        let header = &mut packet[..HEADER];
        header[field::VERSION_AND_LENGTH] = WITHOUT_OPTIONS;
        header[field::TOS] = self.tos;
        put(header, field::TOTAL_LENGTH, self.total_length.to_be_bytes());
        put(header, field::ID, self.id.to_be_bytes());
        put(header, field::FRAGMENT, if self.dont_fragment { DONT_FRAGMENT.to_be_bytes() } else { [0; 2] });
        header[field::TTL] = TTL;
        header[field::PROTOCOL] = self.protocol;
        put(header, field::CHECKSUM, [0; 2]);
        put(header, field::SOURCE, self.source.octets());
        put(header, field::DESTINATION, self.destination.octets());
        let check = !checksum::sum(header);
        checksum::write(header, field::CHECKSUM, check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A widely used example: checksum 0xb861.
    const EXAMPLE: [u8; 20] =
        [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];

    #[test]
    fn fields_stand_where_they_belong() {
        let mut bytes = [0; 0x73 + 5];
        bytes[..20].copy_from_slice(&EXAMPLE);
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.has_right_checksum() && packet.dont_fragment() && !packet.is_fragment());
        assert_eq!(
            (packet.header_length(), packet.total_length(), packet.payload().len()),
            (20, 0x73, 0x73 - 20)
        );
        assert_eq!((packet.ttl(), packet.protocol(), packet.tos(), packet.id()), (64, UDP, 0, 0));
        assert_eq!(packet.source(), Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(packet.destination(), Ipv4Addr::new(192, 168, 0, 199));
        let mut written = [0xa5; 20];
        let header = Header {
            tos: 0,
            total_length: 0x73,
            id: 0,
            dont_fragment: true,
            protocol: UDP,
            source: packet.source(),
            destination: packet.destination(),
        };
        header.write(&mut written);
        assert_eq!(written, EXAMPLE);
    }

    #[test]
    fn fragments() {
        let mut bytes = [0; 0x73];
        bytes[..20].copy_from_slice(&EXAMPLE);
        let mut with = |word: u16| {
            put(&mut bytes, 6, word.to_be_bytes());
            let packet = Packet::parse(&bytes).unwrap();
            (packet.more_fragments(), packet.fragment_offset(), packet.is_fragment(), packet.dont_fragment())
        };
        assert_eq!(with(0x2000), (true, 0, true, false));
        assert_eq!(with(0x00ac), (false, 1376, true, false));
        assert_eq!(with(0x1fff), (false, 65_528, true, false));
        assert_eq!(with(0x4000), (false, 0, false, true));
    }

    #[test]
    fn flaws() {
        let flaw = |change: fn(&mut Vec<u8>)| {
            let mut bytes = EXAMPLE.to_vec();
            bytes.resize(0x73, 0);
            change(&mut bytes);
            Packet::parse(&bytes).err()
        };
        assert_eq!(flaw(|_| ()), None);
        assert_eq!(flaw(|bytes| bytes.truncate(0)), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes.truncate(19)), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes[0] = 0x65), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes[0] = 0x44), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes[3] = 19), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes[0] = 0x4f), None, "options fit");
        assert_eq!(flaw(|bytes| (bytes[0], bytes[3]) = (0x4f, 59)), Some(Flaw::Malformed));
        assert_eq!(flaw(|bytes| bytes.truncate(0x72)), Some(Flaw::Truncated));
    }

    #[test]
    fn martians() {
        let martian = |address: [u8; 4]| is_martian(Ipv4Addr::from(address));
        for bad in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
            assert!(martian(bad), "{bad:?}");
        }
        for good in [[1, 0, 0, 1], [10, 0, 0, 7], [126, 1, 1, 1], [128, 0, 0, 1], [223, 255, 255, 1]] {
            assert!(!martian(good), "{good:?}");
        }
    }

    #[test]
    fn martian_destinations() {
        let martian = |address: [u8; 4]| is_martian_destination(Ipv4Addr::from(address));
        for bad in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 254]] {
            assert!(martian(bad), "{bad:?}");
        }
        for good in
            [[1, 0, 0, 1], [126, 1, 1, 1], [128, 0, 0, 1], [223, 255, 255, 1], [224, 0, 0, 1], [255; 4]]
        {
            assert!(!martian(good), "{good:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), likely: bool) {
            if likely && bytes.len() > 4 {
                bytes[0] = 0x40 | bytes[0] & 7;
                bytes[2] = 0;
                bytes[3] &= 0x7f;
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.bytes().len() <= bytes.len());
                prop_assert_eq!(packet.header_length() + packet.payload().len(), packet.bytes().len());
                let _ = (packet.source(), packet.destination(), packet.id(), packet.has_right_checksum());
            }
            prop_assert_eq!(Packet::parse(&bytes).is_ok(), etherparse::Ipv4HeaderSlice::from_slice(&bytes)
                .is_ok_and(|header| header.slice().len() <= usize::from(header.total_len())
                    && usize::from(header.total_len()) <= bytes.len()));
        }

        #[test]
        fn rewriting_keeps_a_checksum_right_and_a_wrong_one_wrong(
            source: u32, destination: u32, new_source: u32, new_destination: u32, id: u16, wrong: bool,
        ) {
            let header = Header { tos: 0, total_length: 20, id, dont_fragment: false, protocol: TCP,
                source: Ipv4Addr::from_bits(source), destination: Ipv4Addr::from_bits(destination) };
            let mut bytes = [0; 20];
            header.write(&mut bytes);
            bytes[11] ^= u8::from(wrong);
            replace_source(&mut bytes, Ipv4Addr::from_bits(new_source));
            replace_destination(&mut bytes, Ipv4Addr::from_bits(new_destination));
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(packet.has_right_checksum(), !wrong);
            prop_assert_eq!(packet.source().to_bits(), new_source);
            prop_assert_eq!(packet.destination().to_bits(), new_destination);
        }
    }
}
