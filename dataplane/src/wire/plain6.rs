//! The first bytes of a frame, read as those of a plain one: Ethernet, IPv6 without extension headers, TCP or UDP.
//!
//! All offsets in such a frame are here. Addresses and ports are loaded as they lie in memory, the first byte lowest.

use super::{checksum, ethernet, ipv6, ports, tcp};
use crate::frame::HEAD;
use crate::names::ids::Protocol;
use memory::Bytes16;
use std::net::Ipv6Addr;

/// Offsets in a plain frame.
pub mod at {
    use super::{ethernet, ipv6, ports};

    /// The IPv6 header.
    pub const IPV6: usize = ethernet::HEADER;
    /// What the payload is.
    pub const PROTOCOL: usize = IPV6 + ipv6::field::NEXT_HEADER;
    /// The hop limit.
    pub const HOP_LIMIT: usize = IPV6 + ipv6::field::HOP_LIMIT;
    /// The source's and the destination's address.
    pub const ADDRESSES: [usize; 2] = [IPV6 + ipv6::field::SOURCE, IPV6 + ipv6::field::DESTINATION];
    /// The TCP or UDP header.
    pub const TRANSPORT: usize = IPV6 + ipv6::HEADER;
    /// The source's and the destination's port.
    pub const PORTS: [usize; 2] = [TRANSPORT + ports::SOURCE, TRANSPORT + ports::DESTINATION];
}

const _: () = assert!(at::TRANSPORT + tcp::HEADER <= HEAD);

/// A view of the head of a frame's buffer. What lies past the frame's length is stale.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a>(pub &'a [u8; HEAD]);

impl Head<'_> {
    /// The first sixteen bytes: MACs, EtherType and the start of the packet.
    #[inline(always)]
    pub fn start(self) -> Bytes16 {
        Bytes16::load(self.0[..].first_chunk().expect("within the head"))
    }

    /// The four bytes from the payload's length to the hop limit, as they lie in memory.
    #[inline(always)]
    pub fn from_payload_length(self) -> u32 {
        let at = at::IPV6 + ipv6::field::PAYLOAD_LENGTH;
        u32::from_le_bytes(*self.0[at..].first_chunk().expect("within the head"))
    }

    /// Number of the protocol in the payload.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        self.0[at::PROTOCOL]
    }

    /// Address of the source (0) or destination (1), as it lies on the wire.
    #[inline(always)]
    pub fn address(self, side: usize) -> u128 {
        u128::from_le_bytes(*self.0[at::ADDRESSES[side]..].first_chunk().expect("within the head"))
    }

    /// Port of the source (0) or destination (1), as it lies on the wire.
    #[inline(always)]
    pub fn port(self, side: usize) -> u16 {
        u16::from_le_bytes(*self.0[at::PORTS[side]..].first_chunk().expect("within the head"))
    }

    /// Source address.
    #[inline(always)]
    pub fn source(self) -> Ipv6Addr {
        self.address(0).to_le_bytes().into()
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination(self) -> Ipv6Addr {
        self.address(1).to_le_bytes().into()
    }

    /// Whether a plain packet of this length, header included, has only the pseudo-header's sum for a checksum: its
    /// sender leaves that to a device, and on a veth there is none.
    pub fn has_partial_checksum(self, length: u16) -> bool {
        let Some(offset) = Protocol::from_number(self.protocol()).and_then(checksum::offset_in) else {
            return false;
        };
        let check = checksum::read(self.0, at::TRANSPORT + offset);
        let length = length - ipv6::HEADER as u16;
        check == checksum::pseudo_header_v6(self.source(), self.destination(), self.protocol(), length.into())
    }
}
