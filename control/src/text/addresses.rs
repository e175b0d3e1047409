//! Addresses as people write them: `192.168.10.100:80`, `10.0.0.7`. Here, and nowhere else, IPv6 is refused.

use super::later;
use crate::model::rules::is_unicast;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is malformed; the text says what was expected and what was found.
    Malformed(String),
    /// It is a known thing that is not built yet; the text names it.
    NotSupported(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(message) => f.write_str(message),
            Self::NotSupported(what) => write!(f, "not supported yet: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

pub(super) fn malformed(message: impl Into<String>) -> Fault {
    Fault::Malformed(message.into())
}

/// A real as written: without a port it takes the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealAddress {
    /// Its address.
    pub address: IpAddr,
    /// Its port, if one was written.
    pub port: Option<u16>,
}

impl RealAddress {
    /// Its address and port, with the service's port where none was written.
    pub fn or_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(port))
    }
}

/// A unicast IPv4 address.
///
/// # Errors
/// Anything else; IPv6 is reported as not supported.
pub fn host(text: &str) -> Result<IpAddr, Fault> {
    if is_ipv6(text) {
        return Err(Fault::NotSupported(later::IPV6));
    }
    let address = text
        .parse::<Ipv4Addr>()
        .map(IpAddr::V4)
        .map_err(|_| malformed(format!("expected an IPv4 address as 10.0.0.7, found {text:?}")))?;
    if !is_unicast(address) {
        return Err(malformed(format!("expected the address of a host, found {address}")));
    }
    Ok(address)
}

/// `VIP:PORT`.
///
/// # Errors
/// As [`host`]; the port is missing or above 65535. Port 0 and ranges of ports are reported as not
/// supported.
pub fn service(text: &str) -> Result<SocketAddr, Fault> {
    let RealAddress { address, port } = split(text)?;
    let port = port.ok_or_else(|| malformed(format!("expected VIP:PORT, found {text:?} without a port")))?;
    Ok(SocketAddr::new(address, port))
}

/// `RIP[:PORT]`.
///
/// # Errors
/// As [`host`]; the port is above 65535, or as in [`service`].
pub fn real(text: &str) -> Result<RealAddress, Fault> {
    split(text)
}

/// An address and port in JSON, whatever host it is of: whether a real can have them is judged with the request.
///
/// # Errors
/// Anything else; IPv6 is not supported yet.
pub fn deserialize_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    SocketAddrV4::deserialize(deserializer).map(SocketAddr::V4)
}

/// An address and port, whatever host it is of.
pub(super) fn endpoint(text: &str) -> Option<SocketAddr> {
    text.parse().ok().map(SocketAddr::V4)
}

/// `ADDRESS/LENGTH`, as in `example`.
pub(super) fn prefix(text: &str, example: &str) -> Result<IpNet, Fault> {
    if text.matches(':').count() > 1 {
        return Err(Fault::NotSupported(later::IPV6));
    }
    let prefix = text.parse::<Ipv4Net>().map(IpNet::V4);
    prefix.map_err(|_| malformed(format!("expected ADDRESS/LENGTH as {example}, found {text:?}")))
}

fn split(text: &str) -> Result<RealAddress, Fault> {
    if is_ipv6(text) {
        return Err(Fault::NotSupported(later::IPV6));
    }
    let Some((address, port)) = text.split_once(':') else {
        return Ok(RealAddress { address: host(text)?, port: None });
    };
    let address = host(address)?;
    let expected = || malformed(format!("expected a port from 1 to 65535 after {address}:, found {port:?}"));
    if let Some((first, last)) = port.split_once('-')
        && number(first).zip(number(last)).is_some_and(|(first, last)| first < last)
    {
        return Err(Fault::NotSupported(later::PORT_RANGE));
    }
    match number(port) {
        Some(0) => Err(Fault::NotSupported(later::ANY_PORT)),
        Some(port) => Ok(RealAddress { address, port: Some(port) }),
        None => Err(expected()),
    }
}

/// A number of digits alone: no sign.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn is_ipv6(text: &str) -> bool {
    let bare = text.split_once('/').map_or(text, |(address, _)| address);
    let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
    inner.parse::<Ipv6Addr>().is_ok() || bare.parse::<SocketAddrV6>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_read_as_ipvsadm_writes_them() {
        assert_eq!(service("192.168.10.100:80"), Ok("192.168.10.100:80".parse().unwrap()));
        assert_eq!(real("10.0.0.7:8080").unwrap().or_port(80).port(), 8080);
        assert_eq!(real("10.0.0.7").unwrap().or_port(80).port(), 80);
    }

    #[test]
    fn malformed_addresses_say_what_was_expected() {
        for (found, expected) in [
            ("192.168.10.100", "expected VIP:PORT, found \"192.168.10.100\" without a port"),
            ("192.168.10.100:", "expected a port from 1 to 65535 after 192.168.10.100:, found \"\""),
            (
                "192.168.10.100:80-70",
                "expected a port from 1 to 65535 after 192.168.10.100:, found \"80-70\"",
            ),
            (
                "192.168.10.100:99999",
                "expected a port from 1 to 65535 after 192.168.10.100:, found \"99999\"",
            ),
            ("192.168.10.100:+80", "expected a port from 1 to 65535 after 192.168.10.100:, found \"+80\""),
            ("192.168.10.100:http", "expected a port from 1 to 65535 after 192.168.10.100:, found \"http\""),
            ("300.1.1.1:80", "expected an IPv4 address as 10.0.0.7, found \"300.1.1.1\""),
            ("224.0.0.1:80", "expected the address of a host, found 224.0.0.1"),
            ("0.0.0.0:80", "expected the address of a host, found 0.0.0.0"),
            ("0.1.2.3:80", "expected the address of a host, found 0.1.2.3"),
            ("240.0.0.1:80", "expected the address of a host, found 240.0.0.1"),
            ("", "expected an IPv4 address as 10.0.0.7, found \"\""),
        ] {
            assert_eq!(text(service(found)), expected);
        }
    }

    #[test]
    fn what_is_for_later_is_named() {
        for found in ["[2001:db8::1]:80", "2001:db8::1", "[::1]", "2001:db8::1/64"] {
            assert_eq!(text(service(found)), "not supported yet: IPv6", "{found}");
        }
        for (found, what) in [("10.0.0.7:0", "port 0 (any port)"), ("10.0.0.7:8000-8100", "a range of ports")]
        {
            let expected = format!("not supported yet: {what}");
            assert_eq!(text(service(found)), expected);
            assert_eq!(text(real(found)), expected);
        }
    }
}
