//! What [`addresses`], [`links`] and [`services`] read, as far as it is of a family that is supported: what can be an
//! IPv6 address is refused by name until IPv6 is, whatever else is wrong with the text.
//!
//! Everything that an operator types goes through here; which families are supported is said by
//! [`rules::is_supported`] alone.

use super::addresses::{self, Fault, Listener, RealAddress};
use super::{later, links, services};
use crate::model::rules;
use dataplane::names::ids::ServiceKey;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

/// See [`addresses::host`].
///
/// # Errors
/// As there; or the family is not supported.
pub fn host(text: &str) -> Result<IpAddr, Fault> {
    unless(is_ipv6(text), || addresses::host(text))
}

/// See [`addresses::service`].
///
/// # Errors
/// As there; or the family is not supported.
pub fn service(text: &str) -> Result<Listener, Fault> {
    unless(is_ipv6(text), || addresses::service(text))
}

/// See [`addresses::real`].
///
/// # Errors
/// As there; or the family is not supported.
pub fn real(text: &str) -> Result<RealAddress, Fault> {
    unless(is_ipv6(text), || addresses::real(text))
}

/// See [`services::listen`].
///
/// # Errors
/// As there; or the family is not supported.
pub fn listen(text: &str) -> Result<ServiceKey, Fault> {
    let address = ["tcp://", "udp://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    unless(address.is_some_and(is_ipv6), || services::listen(text))
}

/// See [`links::own_address`].
///
/// # Errors
/// As there; or the family is not supported.
pub fn own_address(text: &str) -> Result<IpNet, Fault> {
    unless(is_ipv6_prefix(text), || links::own_address(text))
}

/// See [`links::network`].
///
/// # Errors
/// As there; or the family is not supported.
pub fn network(text: &str) -> Result<IpNet, Fault> {
    unless(is_ipv6_prefix(text), || links::network(text))
}

fn unless<T>(is_ipv6: bool, read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    if is_ipv6 && !rules::is_supported(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        return Err(Fault::NotSupported(later::IPV6));
    }
    read()
}

fn is_ipv6_prefix(text: &str) -> bool {
    text.matches(':').count() > 1
}

fn is_ipv6(text: &str) -> bool {
    let bare = text.split_once('/').map_or(text, |(address, _)| address);
    let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
    let of_ports =
        || bare.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map(|(address, _)| address);
    inner.parse::<Ipv6Addr>().is_ok()
        || bare.parse::<SocketAddrV6>().is_ok()
        || of_ports().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    fn text<T: fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn ipv6_is_refused_by_name_wherever_an_address_is_read() {
        let expected = "not supported yet: IPv6";
        for found in ["[2001:db8::1]:80", "[2001:db8::1]:80-90", "2001:db8::1", "[::1]", "2001:db8::1/64"] {
            assert_eq!(text(service(found)), expected, "{found}");
            assert_eq!(text(real(found)), expected, "{found}");
            assert_eq!(text(host(found)), expected, "{found}");
        }
        for found in ["tcp://[2001:db8::1]:80", "udp://2001:db8::1"] {
            assert_eq!(text(listen(found)), expected, "{found}");
        }
        for found in ["2001:db8::1/64", "::/0", "2001:db8::g/64"] {
            assert_eq!(text(own_address(found)), expected, "{found}");
            assert_eq!(text(network(found)), expected, "{found}");
        }
    }

    #[test]
    fn ipv4_is_read_as_ever() {
        assert_eq!(service("192.0.2.1:80"), addresses::service("192.0.2.1:80"));
        assert_eq!(text(service("192.0.2.1:80:90")), text(addresses::service("192.0.2.1:80:90")));
        assert_eq!(real("192.0.2.1"), addresses::real("192.0.2.1"));
        assert_eq!(host("192.0.2.1"), addresses::host("192.0.2.1"));
        assert_eq!(listen("tcp://192.0.2.1:80"), services::listen("tcp://192.0.2.1:80"));
        assert_eq!(text(listen("sctp://[2001:db8::1]:80")), "not supported yet: SCTP");
        assert_eq!(own_address("192.0.2.1/24"), links::own_address("192.0.2.1/24"));
        assert_eq!(network("192.0.2.0/24"), links::network("192.0.2.0/24"));
    }
}
