//! The IPv6 header (RFC 8200 §3).

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

/// Whether no host sends from this address: unspecified, loopback, multicast (RFC 4291 §2.5.2, §2.5.3, §2.7), or an
/// IPv4 address in IPv6's form, which is no address on the wire.
pub fn is_martian(source: Ipv6Addr) -> bool {
    source.is_unspecified()
        || source.is_loopback()
        || source.is_multicast()
        || source.to_ipv4_mapped().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
