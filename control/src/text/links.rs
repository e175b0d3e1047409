//! What stands on links: own addresses with the prefixes of their links, networks, and MACs.

use super::addresses::{self, Fault, malformed, prefix};
use dataplane::names::mac::Mac;
use ipnet::IpNet;

/// An own address with the prefix of its link.
///
/// # Errors
/// Anything else; IPv6 is reported as not supported.
pub fn own_address(text: &str) -> Result<IpNet, Fault> {
    let address = prefix(text, "192.168.10.100/24")?;
    let host = address.addr();
    addresses::host(&host.to_string())?;
    if address.prefix_len() == 0 {
        return Err(malformed(format!("expected a prefix length from 1 to 32, found {address}")));
    }
    // Prefixes of 31 and 32 bits have neither (RFC 3021).
    if address.prefix_len() < 31 && (host == address.network() || host == address.broadcast()) {
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
