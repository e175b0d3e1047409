//! Addresses as people write them: `192.168.10.100:80`, `192.168.10.100:8000-8100`, `10.0.0.7`. Here, and nowhere else,
//! IPv6 is refused.

use super::later;
use crate::model::rules::is_unicast;
use dataplane::names::ids::{Protocol, ServiceKey};
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

/// The address and ports of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address and the first of the ports; port 0: any port.
    pub first: SocketAddr,
    /// The last of the ports.
    pub last_port: u16,
}

impl Listener {
    /// The service of this protocol.
    pub const fn of(self, protocol: Protocol) -> ServiceKey {
        ServiceKey { protocol, listen: self.first, last_port: self.last_port }
    }
}

impl From<&ServiceKey> for Listener {
    fn from(key: &ServiceKey) -> Self {
        Self { first: key.listen, last_port: key.last_port }
    }
}

/// `192.168.10.100:80`, or `192.168.10.100:8000-8100`.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        if self.last_port == self.first.port() { Ok(()) } else { write!(f, "-{}", self.last_port) }
    }
}

/// A real as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealAddress {
    /// Its address.
    pub address: IpAddr,
    /// Its port, if one was written.
    pub port: Option<u16>,
}

impl RealAddress {
    /// Its address and port as a real of a service. Where none was written it has the service's port; of a service on
    /// several ports, or on any, the one that the client asks for.
    pub fn of(self, service: &ServiceKey) -> SocketAddr {
        let of_service = if service.is_exact() { service.last_port } else { 0 };
        SocketAddr::new(self.address, self.port.unwrap_or(of_service))
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

/// `VIP:PORT`, `VIP:0` (any port), or `VIP:FIRST-LAST`.
///
/// # Errors
/// As [`host`]; the ports are missing, above 65535, or no range.
pub fn service(text: &str) -> Result<Listener, Fault> {
    let (address, ports) = split(text)?;
    let address = host(address)?;
    let ports =
        ports.ok_or_else(|| malformed(format!("expected VIP:PORT, found {text:?} without a port")))?;
    listener(address, ports).ok_or_else(|| {
        let expected = "expected a port from 1 to 65535, 0 (any port), or a range as 8000-8100";
        malformed(format!("{expected}, after {address}:, found {ports:?}"))
    })
}

/// `RIP[:PORT]`; port 0: the port that the client asks for.
///
/// # Errors
/// As [`host`]; the port is above 65535.
pub fn real(text: &str) -> Result<RealAddress, Fault> {
    let (address, port) = split(text)?;
    let address = host(address)?;
    let Some(port) = port else { return Ok(RealAddress { address, port: None }) };
    match number(port) {
        Some(port) => Ok(RealAddress { address, port: Some(port) }),
        None => {
            let expected = "expected a port from 1 to 65535, or 0 (the client's choice),";
            Err(malformed(format!("{expected} after {address}:, found {port:?}")))
        }
    }
}

/// An address and port in JSON, whatever host it is of: whether a real can have them is judged with the request.
///
/// # Errors
/// Anything else; IPv6 is not supported yet.
pub fn deserialize_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    SocketAddrV4::deserialize(deserializer).map(SocketAddr::V4)
}

/// An address and ports, whatever host it is of.
pub(super) fn any_listener(text: &str) -> Option<Listener> {
    let (address, ports) = text.rsplit_once(':')?;
    listener(address.parse().ok().map(IpAddr::V4)?, ports)
}

/// `ADDRESS/LENGTH`, as in `example`.
pub(super) fn prefix(text: &str, example: &str) -> Result<IpNet, Fault> {
    if text.matches(':').count() > 1 {
        return Err(Fault::NotSupported(later::IPV6));
    }
    let prefix = text.parse::<Ipv4Net>().map(IpNet::V4);
    prefix.map_err(|_| malformed(format!("expected ADDRESS/LENGTH as {example}, found {text:?}")))
}

/// The address, and what stands behind the colon.
fn split(text: &str) -> Result<(&str, Option<&str>), Fault> {
    if is_ipv6(text) {
        return Err(Fault::NotSupported(later::IPV6));
    }
    Ok(text.split_once(':').map_or((text, None), |(address, ports)| (address, Some(ports))))
}

/// A range has more than one port.
fn listener(address: IpAddr, ports: &str) -> Option<Listener> {
    let (first, last_port) = match ports.split_once('-') {
        Some((first, last)) => {
            number(first).zip(number(last)).filter(|(first, last)| 0 < *first && first < last)?
        }
        None => number(ports).map(|port| (port, port))?,
    };
    Some(Listener { first: SocketAddr::new(address, first), last_port })
}

/// A number of digits alone: no sign.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
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

    fn text<T: fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_read_as_ipvsadm_writes_them() {
        for (text, ports) in [("80", (80, 80)), ("0", (0, 0)), ("8000-8100", (8000, 8100))] {
            let text = format!("192.168.10.100:{text}");
            let found = service(&text).unwrap();
            assert_eq!((found.first.port(), found.last_port), ports);
            assert_eq!(found.to_string(), text);
            assert_eq!(any_listener(&text), Some(found));
        }
        assert_eq!(any_listener("224.0.0.1:80-90").unwrap().last_port, 90, "whatever host");
    }

    #[test]
    fn a_real_without_a_port_takes_the_services_if_it_has_one() {
        let of = |real_text: &str, service_text: &str| {
            real(real_text).unwrap().of(&service(service_text).unwrap().of(Protocol::Tcp)).port()
        };
        assert_eq!(of("10.0.0.7:8080", "10.0.0.1:80"), 8080);
        assert_eq!(of("10.0.0.7", "10.0.0.1:80"), 80);
        assert_eq!(of("10.0.0.7:0", "10.0.0.1:80"), 0);
        for several in ["10.0.0.1:0", "10.0.0.1:8000-8100"] {
            assert_eq!(of("10.0.0.7", several), 0, "the port that the client asks for");
            assert_eq!(of("10.0.0.7:80", several), 80);
        }
    }

    #[test]
    fn malformed_addresses_say_what_was_expected() {
        for ports in ["", "80-70", "80-80", "0-80", "80-", "-80", "1-2-3", "99999", "1-65536", "+80", "http"]
        {
            let expected = "expected a port from 1 to 65535, 0 (any port), or a range as 8000-8100, after \
                            192.168.10.100:, found";
            assert_eq!(text(service(&format!("192.168.10.100:{ports}"))), format!("{expected} {ports:?}"));
            assert_eq!(any_listener(&format!("192.168.10.100:{ports}")), None);
        }
        for port in ["", "80-90", "99999", "+80", "http"] {
            let expected =
                "expected a port from 1 to 65535, or 0 (the client's choice), after 10.0.0.7:, found";
            assert_eq!(text(real(&format!("10.0.0.7:{port}"))), format!("{expected} {port:?}"));
        }
        for (found, expected) in [
            ("192.168.10.100", "expected VIP:PORT, found \"192.168.10.100\" without a port"),
            ("300.1.1.1:80", "expected an IPv4 address as 10.0.0.7, found \"300.1.1.1\""),
            ("224.0.0.1:80", "expected the address of a host, found 224.0.0.1"),
            ("0.0.0.0:80", "expected the address of a host, found 0.0.0.0"),
            ("0.1.2.3:80", "expected the address of a host, found 0.1.2.3"),
            ("240.0.0.1:80", "expected the address of a host, found 240.0.0.1"),
            (":80", "expected an IPv4 address as 10.0.0.7, found \"\""),
        ] {
            assert_eq!(text(service(found)), expected);
        }
    }

    #[test]
    fn what_is_for_later_is_named() {
        for found in ["[2001:db8::1]:80", "[2001:db8::1]:80-90", "2001:db8::1", "[::1]", "2001:db8::1/64"] {
            assert_eq!(text(service(found)), "not supported yet: IPv6", "{found}");
        }
    }
}
