//! The first bytes of a frame, read as those of a plain one: Ethernet, IPv4 without options, TCP or UDP.
//!
//! All offsets in a plain frame are here. What is compared as bits is loaded as it lies in memory, the first byte
//! lowest; numbers are in the host's order.

use super::{be_u16, checksum, ethernet, icmp, ipv4, tcp};
use crate::frame::HEAD;
use crate::names::ids::Protocol;
use memory::Bytes16;
use std::net::Ipv4Addr;

/// Offsets in a plain frame.
pub mod at {
    use super::{ethernet, ipv4};

    /// The EtherType.
    pub const ETHER_TYPE: usize = ethernet::field::ETHER_TYPE;
    /// The IPv4 header.
    pub const IPV4: usize = ethernet::HEADER;
    /// Its total length.
    pub const TOTAL_LENGTH: usize = IPV4 + ipv4::field::TOTAL_LENGTH;
    /// Flags and offset of a fragment.
    pub const FRAGMENT: usize = IPV4 + ipv4::field::FRAGMENT;
    /// The time to live, where the fields that a translation looks at begin.
    pub const TTL: usize = IPV4 + ipv4::field::TTL;
    /// The protocol.
    pub const PROTOCOL: usize = IPV4 + ipv4::field::PROTOCOL;
    /// The checksum of the IPv4 header.
    pub const HEADER_CHECKSUM: usize = IPV4 + ipv4::field::CHECKSUM;
    /// The source address.
    pub const SOURCE: usize = IPV4 + ipv4::field::SOURCE;
    /// The destination address.
    pub const DESTINATION: usize = IPV4 + ipv4::field::DESTINATION;
    /// The TCP or UDP header.
    pub const TRANSPORT: usize = IPV4 + ipv4::HEADER;
}

const _: () = assert!(at::TRANSPORT + tcp::HEADER <= HEAD && icmp::HEADER <= tcp::HEADER);

/// Flags and offset of a fragment, the first byte lowest, without the flag that forbids to fragment.
pub const FRAGMENT_BITS: u64 = 0xff3f;

/// A view of the head of a frame's buffer. What lies past the frame's length is stale.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a>(pub &'a [u8; HEAD]);

impl Head<'_> {
    /// Whether the frame says that it is an IPv4 packet.
    #[inline(always)]
    pub fn is_ipv4(self) -> bool {
        be_u16(self.0, at::ETHER_TYPE) == ethernet::IPV4
    }

    /// Whether it is IPv4, and the header has no options.
    #[inline(always)]
    pub fn is_ipv4_without_options(self) -> bool {
        const EXPECTED: u32 = u32::from_le_bytes([
            ethernet::IPV4.to_be_bytes()[0],
            ethernet::IPV4.to_be_bytes()[1],
            ipv4::WITHOUT_OPTIONS,
            0,
        ]);
        self.loaded_u32(at::ETHER_TYPE) << 8 == EXPECTED << 8
    }

    /// Whether it is TCP, UDP or SCTP over IPv4, without options and no fragment. Its lengths and checksum are not
    /// looked at.
    #[inline(always)]
    pub fn is_plain_ipv4(self) -> bool {
        let fragment = u64::from(self.loaded_u16(at::FRAGMENT)) & FRAGMENT_BITS;
        self.is_ipv4_without_options() & (fragment == 0) & self.transport_protocol().is_some()
    }

    /// Whether the IPv4 header has options, if it is one.
    #[inline(always)]
    pub const fn has_options(self) -> bool {
        self.0[at::IPV4] != ipv4::WITHOUT_OPTIONS
    }

    /// Number of the protocol in the payload.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        self.0[at::PROTOCOL]
    }

    /// TCP, UDP or SCTP, if it is one of them.
    #[inline(always)]
    pub const fn transport_protocol(self) -> Option<Protocol> {
        Protocol::from_number(self.protocol())
    }

    /// Source address.
    #[inline(always)]
    pub fn source(self) -> Ipv4Addr {
        ipv4::address_at(self.0, at::SOURCE)
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(self) -> Ipv4Addr {
        ipv4::address_at(self.0, at::DESTINATION)
    }

    /// Address and port of the source (0) or destination (1), 48 bits as they lie on the wire. Looked up, not branched
    /// on: where an interface has both sides the direction is a coin toss.
    #[inline(always)]
    pub fn endpoint_bits(self, side: usize) -> u64 {
        let address = u64::from(self.loaded_u32(at::SOURCE + 4 * side));
        let port = u64::from(self.loaded_u16(at::TRANSPORT + 2 * side));
        address | port << 32
    }

    /// The sixteen bytes that a translation looks at or changes, from the TTL on.
    #[inline(always)]
    pub fn fields(self) -> Bytes16 {
        self.loaded_16(at::TTL)
    }

    /// The first sixteen bytes: MACs, EtherType and the start of the packet.
    #[inline(always)]
    pub fn start(self) -> Bytes16 {
        self.loaded_16(0)
    }

    /// The eight bytes from the total length on, as they lie in memory.
    #[inline(always)]
    pub fn from_total_length(self) -> u64 {
        u64::from_le_bytes(*self.0[at::TOTAL_LENGTH..].first_chunk().expect("within the head"))
    }

    /// Whether the IPv4 header, without options, has the right checksum.
    #[inline(always)]
    pub fn has_right_checksum(self) -> bool {
        checksum::is_right_header(self.0[at::IPV4..].first_chunk().expect("within the head"))
    }

    /// Whether a plain packet of this total length has only the pseudo-header's sum for a checksum: its sender leaves
    /// that to a device, and on a veth there is none.
    pub fn has_partial_checksum(self, total: u16) -> bool {
        let Some(offset) = self.transport_protocol().and_then(checksum::offset_in) else { return false };
        let check = checksum::read(self.0, at::TRANSPORT + offset);
        let length = total - ipv4::HEADER as u16;
        let (source, destination) = (self.source(), self.destination());
        checksum::is_pseudo_header_only(check, source, destination, self.protocol(), length)
    }

    #[inline(always)]
    fn loaded_u16(self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    #[inline(always)]
    fn loaded_u32(self, at: usize) -> u32 {
        u32::from_le_bytes(*self.0[at..].first_chunk().expect("within the head"))
    }

    #[inline(always)]
    fn loaded_16(self, at: usize) -> Bytes16 {
        Bytes16::load(self.0[at..].first_chunk().expect("within the head"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv4::Packet;
    use proptest::prelude::*;

    proptest! {
        /// The view says of any bytes what the parsers say.
        #[test]
        fn the_view_reads_what_the_parsers_read(
            mut head: [[u8; 32]; 3], ipv4: bool, plain_start: bool, fragment: bool, protocol in 0..20u8,
        ) {
            if ipv4 {
                head[0][12..14].copy_from_slice(&[8, 0]);
            }
            if plain_start {
                head[0][14] = 0x45;
                head[0][16..18].copy_from_slice(&50u16.to_be_bytes());
                head[0][23] = protocol;
            }
            if !fragment {
                head[0][20..22].copy_from_slice(&[0x40, 0]);
            }
            let bytes: [u8; HEAD] = head.concat().try_into().unwrap();
            let view = Head(&bytes);
            prop_assert_eq!(view.is_ipv4(), ethernet::Header::parse(&bytes).unwrap().ether_type == ethernet::IPV4);
            prop_assert_eq!(view.is_ipv4_without_options(), view.is_ipv4() && !view.has_options());
            if let Ok(packet) = Packet::in_frame(&bytes)
                && packet.header_length() == ipv4::HEADER
            {
                prop_assert_eq!((view.source(), view.destination()), (packet.source(), packet.destination()));
                prop_assert_eq!(view.protocol(), packet.protocol());
                prop_assert_eq!(view.has_right_checksum(), packet.has_right_checksum());
                let is_plain = view.is_ipv4()
                    && !packet.is_fragment()
                    && Protocol::from_number(packet.protocol()).is_some();
                prop_assert_eq!(view.is_plain_ipv4(), is_plain);
                let port = u16::from_be_bytes([packet.payload()[0], packet.payload()[1]]);
                let [a, b, c, d, p, q, ..] = view.endpoint_bits(0).to_le_bytes();
                prop_assert_eq!((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q])), (packet.source(), port));
            }
        }
    }
}
