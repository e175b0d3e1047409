//! Addresses that must not be on the wire, of any family.

use super::{ipv4, ipv6};
use std::net::IpAddr;

/// Whether no host may send from this address: see [`ipv4::is_martian`] and [`ipv6::is_martian`].
#[inline(always)]
pub const fn is_martian(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(address) => ipv4::is_martian(address),
        IpAddr::V6(address) => ipv6::is_martian(address),
    }
}

/// Whether no packet may go to this address: see [`ipv4::is_martian_destination`] and
/// [`ipv6::is_martian_destination`].
pub const fn is_martian_destination(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => ipv4::is_martian_destination(address),
        IpAddr::V6(address) => ipv6::is_martian_destination(address),
    }
}

/// Whether the address is of IPv6 and means something on its link alone, which no router passes it beyond (RFC 4291
/// §2.5.6). Those of IPv4 (RFC 3927) are passed on: transit links have them.
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether the address stands for all hosts of a link, or for a group.
pub const fn is_group(destination: IpAddr) -> bool {
    match destination {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}
