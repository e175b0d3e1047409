//! What stands on links: own addresses with the prefixes of their links, networks, and MACs.

use super::addresses::{self, Fault, malformed, prefix};
use crate::model::rules::is_broadcast_of;
use dataplane::names::mac::Mac;
use ipnet::IpNet;

/// An own address with the prefix of its link.
///
/// # Errors
/// Anything else.
pub fn own_address(text: &str) -> Result<IpNet, Fault> {
    let address = prefix(text, "192.168.10.100/24")?;
    let host = address.addr();
    addresses::host(&host.to_string())?;
    if address.prefix_len() == 0 {
        let longest = address.max_prefix_len();
        return Err(malformed(format!("expected a prefix length from 1 to {longest}, found {address}")));
    }
    if is_broadcast_of(&address, host) {
        return Err(malformed(format!("{address} is the network's own or its broadcast address")));
    }
    Ok(address)
}

/// Destinations of a route.
///
/// # Errors
/// As [`own_address`], or it is no network.
pub fn network(text: &str) -> Result<IpNet, Fault> {
    let network = prefix(text, "172.16.0.0/12")?;
    if network.addr() != network.network() {
        let right = network.trunc();
        return Err(malformed(format!("{network} has bits beyond its length; did you mean {right}?")));
    }
    Ok(network)
}

/// A host's Ethernet address.
///
/// # Errors
/// It is none, or a group's.
pub fn mac(text: &str) -> Result<Mac, Fault> {
    let bytes = text.split(':').map(|pair| match pair.len() {
        2 if pair.bytes().all(|byte| byte.is_ascii_hexdigit()) => u8::from_str_radix(pair, 16).ok(),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    let mac = bytes.and_then(|bytes| Some(Mac(bytes.try_into().ok()?)));
    let host = mac.filter(|mac| !mac.is_group() && mac.0 != [0; 6]);
    host.ok_or_else(|| {
        let expected = "the MAC of a host as 02:00:00:00:00:07";
        malformed(format!("expected {expected}, found {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<IpNet, Fault>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn own_addresses_have_the_prefix_of_their_link() {
        for found in ["192.0.2.1/24", "2001:db8::8/64", "2001:db8::8/128", "fe80::8/64", "2001:db8::/127"] {
            assert_eq!(own_address(found).unwrap().to_string(), found);
        }
        // No address of IPv6 is for broadcasts.
        assert!(own_address("2001:db8::ffff:ffff:ffff:ffff/64").is_ok());
        for (found, expected) in [
            ("2001:db8::1/0", "expected a prefix length from 1 to 128, found 2001:db8::1/0"),
            ("2001:db8::/64", "2001:db8::/64 is the network's own or its broadcast address"),
            ("::1/128", "expected the address of a host, found ::1"),
            ("ff02::1/64", "expected the address of a host, found ff02::1"),
            ("2001:db8::1", "expected ADDRESS/LENGTH as 192.168.10.100/24, found \"2001:db8::1\""),
            ("[2001:db8::1]/64", "expected ADDRESS/LENGTH as 192.168.10.100/24, found \"[2001:db8::1]/64\""),
            ("2001:db8::1/129", "expected ADDRESS/LENGTH as 192.168.10.100/24, found \"2001:db8::1/129\""),
        ] {
            assert_eq!(text(own_address(found)), expected);
        }
    }

    #[test]
    fn networks_have_no_bits_beyond_their_length() {
        for found in ["172.16.0.0/12", "2001:db8::/32", "::/0", "2001:db8::7/128"] {
            assert_eq!(network(found).unwrap().to_string(), found);
        }
        let expected = "2001:db8::1/32 has bits beyond its length; did you mean 2001:db8::/32?";
        assert_eq!(text(network("2001:db8::1/32")), expected);
    }
}
