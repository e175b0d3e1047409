//! Formats on the wire, on slices of bytes: views that are checked when they are made, changes in
//! place that keep checksums true, and the answers made out of the packets they answer.
//! Each header's file begins with the offsets of its fields (`field`); nowhere else are there any.
//!
//! ```text
//! link                                  priority tags, trailers and padding
//! ethernet  arp  ipv4  ipv6             one header each
//! tcp  udp  icmp  icmp6  sctp           likewise
//! ipv6_extensions                       those after an IPv6 header, to the upper layer
//! plain                                 the head of a plain IPv4 frame, and all offsets in it
//! plain6                                that of an IPv6 frame
//! addresses                             those that must not be on the wire, of any family
//! options                               those of an IPv4 header
//! ndp                                   neighbour solicitations and advertisements of IPv6
//! mld                                   the multicast groups that are listened to
//! checksum                              RFC 1071, 1624
//! fragmentation  fragmentation6         cutting a packet into fragments
//! answer  answer6                       RST, echo reply, ICMP errors
//! icmp_error  icmp6_error               ICMP errors about translated packets
//! ```

pub mod addresses;
pub mod answer;
pub mod answer6;
pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod fragmentation;
pub mod fragmentation6;
pub mod icmp;
pub mod icmp6;
pub mod icmp6_error;
pub mod icmp_error;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_extensions;
pub mod link;
pub mod mld;
pub mod ndp;
pub mod options;
pub mod plain;
pub mod plain6;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// The 16-bit number in network order at `offset`, which must lie within `bytes`.
#[inline(always)]
pub(crate) fn be_u16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([bytes[offset], bytes[offset + 1]])
}

/// The 32-bit number in network order at `offset`, which must lie within `bytes`.
#[inline(always)]
fn be_u32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

/// Writes `value` at `offset`; all of it must lie within `bytes`.
#[inline(always)]
fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}

/// Where TCP, UDP and SCTP have their ports.
pub mod ports {
    /// Offset of the source's.
    pub const SOURCE: usize = 0;
    /// Offset of the destination's.
    pub const DESTINATION: usize = 2;
}

#[cfg(test)]
mod examples;
