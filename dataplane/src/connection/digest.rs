//! 128 bits that stand for something longer that is only ever compared with others of its kind, as two IPv6 endpoints
//! are, where memory has room for 128 bits.
//!
//! It is SipHash-1-3 with 128 bits, under a secret of this process. So nobody can look for two that look alike, and
//! two that do by chance are not to be expected: with a million of them at once the chance is one in 10^26.

use super::table::HashKey;
use siphasher::sip128::SipHasher13;
use std::net::IpAddr;

/// The digest of `bytes` under the secret.
pub(crate) fn of(secret: HashKey, bytes: &[u8]) -> u128 {
    SipHasher13::new_with_keys(secret.mask, secret.multiplier).hash(bytes).as_u128()
}

/// An address as 16 bytes; one of IPv4 as in an IPv6 socket (RFC 4291 §2.5.5.2).
pub(crate) const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_byte_and_the_secret_count() {
        let secret = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
        let mut seen = HashSet::new();
        for at in 0..37 {
            for byte in 1..=255 {
                let mut bytes = [0; 37];
                bytes[at] = byte;
                assert!(seen.insert(of(secret, &bytes)));
            }
        }
        let others = [HashKey { mask: 1, ..secret }, HashKey { multiplier: 1, ..secret }];
        assert!(others.iter().all(|other| seen.insert(of(*other, &[0; 37]))));
    }
}
