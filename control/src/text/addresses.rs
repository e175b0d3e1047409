//! Addresses as people write them: `192.168.10.100:80`, `[2001:db8::10]:8000-8100`, `10.0.0.7`. An IPv6 address stands
//! in brackets where a port follows; without them the whole text is the address.

use crate::model::rules::is_unicast;
use dataplane::names::ids::{Protocol, ServiceKey};
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// `192.168.10.100:80`, or `[2001:db8::10]:8000-8100`.
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

/// A unicast address.
///
/// # Errors
/// Anything else.
pub fn host(text: &str) -> Result<IpAddr, Fault> {
    let expected = "expected an address as 10.0.0.7 or 2001:db8::7";
    of_host(text.parse().map_err(|_| malformed(format!("{expected}, found {text:?}")))?)
}

fn of_host(address: IpAddr) -> Result<IpAddr, Fault> {
    if is_unicast(address) {
        Ok(address)
    } else {
        Err(malformed(format!("expected the address of a host, found {address}")))
    }
}

/// `VIP:PORT`, `VIP:0` (any port), or `VIP:FIRST-LAST`.
///
/// # Errors
/// As [`host`]; the ports are missing, above 65535, or no range.
pub fn service(text: &str) -> Result<Listener, Fault> {
    let (address, ports) = split(text, ILLEGAL_VIP, "VIP:PORT")?;
    let ports = ports.ok_or_else(|| {
        let remedy = if address.is_ipv6() { " (of IPv6: as [2001:db8::10]:80)" } else { "" };
        malformed(format!("expected VIP:PORT, found {text:?} without a port{remedy}"))
    })?;
    listener(address, ports).ok_or_else(|| {
        wrong_port(
            (address, ILLEGAL_VIP),
            "expected a port from 1 to 65535, 0 (any port), or a range as 8000-8100,",
            ports,
        )
    })
}

/// `RIP[:PORT]`; port 0: the port that the client asks for.
///
/// # Errors
/// As [`host`]; the port is above 65535, or missing behind brackets, as in `ipvsadm`.
pub fn real(text: &str) -> Result<RealAddress, Fault> {
    let (address, port) = split(text, ILLEGAL_REAL, "RIP:PORT")?;
    let Some(port) = port else { return Ok(RealAddress { address, port: None }) };
    match number(port) {
        Some(port) => Ok(RealAddress { address, port: Some(port) }),
        None => Err(wrong_port(
            (address, ILLEGAL_REAL),
            "expected a port from 1 to 65535, or 0 (the client's choice),",
            port,
        )),
    }
}

/// `ipvsadm`'s words for what is wrong with an address in brackets.
const ILLEGAL_VIP: &str = "illegal virtual server address[:port] specified";
/// As [`ILLEGAL_VIP`], of a real.
const ILLEGAL_REAL: &str = "illegal real server address[:port] specified";

fn wrong_port((address, illegal): (IpAddr, &str), expected: &str, found: &str) -> Fault {
    malformed(match address {
        IpAddr::V4(_) => format!("{expected} after {address}:, found {found:?}"),
        IpAddr::V6(_) => format!("{illegal}: {expected} after [{address}]:, found {found:?}"),
    })
}

/// An address and port in JSON, whatever host it is of: whether a real can have them is judged with the request.
///
/// # Errors
/// Anything else, a scope behind an IPv6 address (`%eth0`) included.
pub fn deserialize_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let endpoint = SocketAddr::deserialize(deserializer)?;
    match endpoint {
        SocketAddr::V6(scoped) if scoped.scope_id() != 0 => {
            Err(D::Error::custom(format!("{endpoint}: an address has no scope here")))
        }
        _ => Ok(endpoint),
    }
}

/// An address and ports, whatever host it is of.
pub(super) fn any_listener(text: &str) -> Option<Listener> {
    match in_brackets(text) {
        Some((address, ports)) => listener(address?.into(), ports),
        None => {
            let (address, ports) = text.split_once(':')?;
            listener(IpAddr::V4(address.parse().ok()?), ports)
        }
    }
}

/// `ADDRESS/LENGTH`, as in `example`.
pub(super) fn prefix(text: &str, example: &str) -> Result<IpNet, Fault> {
    text.parse().map_err(|_| malformed(format!("expected ADDRESS/LENGTH as {example}, found {text:?}")))
}

/// The address, and what stands behind the colon. What is wrong with an address in brackets begins with `illegal`.
fn split<'a>(text: &'a str, illegal: &str, expected: &str) -> Result<(IpAddr, Option<&'a str>), Fault> {
    if let Some((address, ports)) = in_brackets(text) {
        let address =
            address.ok_or_else(|| malformed(format!("{illegal}: expected {expected}, found {text:?}")))?;
        return Ok((of_host(address.into())?, Some(ports)));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok((of_host(address.into())?, None));
    }
    let (before, ports) = text.split_once(':').map_or((text, None), |(before, ports)| (before, Some(ports)));
    let address = before.parse::<Ipv4Addr>().map_err(|_| {
        // With several colons it was meant to be of IPv6.
        let found = if ports.is_some_and(|ports| ports.contains(':')) { text } else { before };
        malformed(format!("expected an address as 10.0.0.7 or [2001:db8::7], found {found:?}"))
    })?;
    Ok((of_host(address.into())?, ports))
}

/// Of a text that begins with a bracket: the address in it, and what stands behind `]:`; no address if either is
/// missing or malformed.
fn in_brackets(text: &str) -> Option<(Option<Ipv6Addr>, &str)> {
    let inner = text.strip_prefix('[')?;
    let (address, ports) = inner.split_once("]:").unwrap_or_default();
    Some((address.parse().ok(), ports))
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
            ("300.1.1.1:80", "expected an address as 10.0.0.7 or [2001:db8::7], found \"300.1.1.1\""),
            ("224.0.0.1:80", "expected the address of a host, found 224.0.0.1"),
            ("0.0.0.0:80", "expected the address of a host, found 0.0.0.0"),
            ("0.1.2.3:80", "expected the address of a host, found 0.1.2.3"),
            ("240.0.0.1:80", "expected the address of a host, found 240.0.0.1"),
            (":80", "expected an address as 10.0.0.7 or [2001:db8::7], found \"\""),
        ] {
            assert_eq!(text(service(found)), expected);
        }
    }

    #[test]
    fn ipv6_stands_in_brackets_where_a_port_follows() {
        for (text, ports) in [
            ("[2001:db8::10]:80", (80, 80)),
            ("[2001:db8::10]:0", (0, 0)),
            ("[2001:db8::10]:8000-8100", (8000, 8100)),
        ] {
            let found = service(text).unwrap();
            assert_eq!((found.first.port(), found.last_port), ports);
            assert_eq!(found.to_string(), text);
            assert_eq!(any_listener(text), Some(found));
        }
        // Any form is read, RFC 5952's is written.
        for (text, written) in [
            ("[fd00:10:0:0:0:0:0:100]:81", "[fd00:10::100]:81"),
            ("[FD00:10::ABCD]:81", "[fd00:10::abcd]:81"),
            ("[2001:db8:0:0:1:0:0:1]:81", "[2001:db8::1:0:0:1]:81"),
        ] {
            assert_eq!(service(text).unwrap().to_string(), written);
        }
        assert_eq!(any_listener("[ff02::1]:80-90").unwrap().last_port, 90, "whatever host");
        for wrong in ["2001:db8::10:80", "[2001:db8::10]", "[2001:db8::10]80", "[192.168.10.100]:81", "[]:81"]
        {
            assert_eq!(any_listener(wrong), None, "{wrong}");
        }
    }

    /// Which texts `ipvsadm` takes as reals and which not, and what it says, is recorded.
    #[test]
    fn a_real_of_ipv6_has_a_port_if_it_has_brackets() {
        let web = service("[fd00:10::100]:80").unwrap().of(Protocol::Tcp);
        for (text, endpoint) in [
            ("fd00:20::17", "[fd00:20::17]:80"),
            ("fd00:20::17:80", "[fd00:20::17:80]:80"),
            ("[fd00:20::17]:0", "[fd00:20::17]:0"),
            ("[fd00:20::17]:8080", "[fd00:20::17]:8080"),
        ] {
            assert_eq!(real(text).unwrap().of(&web), endpoint.parse().unwrap(), "{text}");
        }
        for found in
            ["[fd00:20::17]", "[fd00:20::17", "[fd00:20::x]:80", "[fe80::7%eth0]:80", "[10.0.0.7]:80"]
        {
            let expected = "illegal real server address[:port] specified: expected RIP:PORT, found";
            assert_eq!(text(real(found)), format!("{expected} {found:?}"));
        }
        for port in ["", "70000", "80-90", "-1", "http"] {
            let expected = "illegal real server address[:port] specified: expected a port from 1 to 65535, or 0 (the \
                            client's choice), after [fd00:20::17]:, found";
            assert_eq!(text(real(&format!("[fd00:20::17]:{port}"))), format!("{expected} {port:?}"));
        }
    }

    #[test]
    fn malformed_ipv6_vips_are_illegal_in_ipvsadms_words() {
        for found in [
            "[fd00:10::100]",
            "[fd00:10::100:81",
            "[fd00:10::100::1]:81",
            "[fd00:10::g]:81",
            "[]:81",
            "[fd00:10::100/64]:81",
            "[fe80::1%eth1]:81",
            "[fe80::1%1]:81",
            "[fd00:10::100]81",
            "[fd00:10::100] :81",
            "[lb]:81",
            "[192.168.10.100]:81",
        ] {
            let expected = "illegal virtual server address[:port] specified: expected VIP:PORT, found";
            assert_eq!(text(service(found)), format!("{expected} {found:?}"));
        }
        for ports in ["", "65536", "-1", "nosuch", "80-70"] {
            let expected = "illegal virtual server address[:port] specified: expected a port from 1 to 65535, 0 (any \
                            port), or a range as 8000-8100, after [fd00:10::100]:, found";
            assert_eq!(text(service(&format!("[fd00:10::100]:{ports}"))), format!("{expected} {ports:?}"));
        }
        // The last group is no port.
        let expected =
            "expected VIP:PORT, found \"fd00:10::100:81\" without a port (of IPv6: as [2001:db8::10]:80)";
        assert_eq!(text(service("fd00:10::100:81")), expected);
        assert!(service("fd00:10::100]:81").is_err());
        for (found, host) in [("[::]:81", "::"), ("[ff02::1]:81", "ff02::1"), ("[::1]:81", "::1")] {
            assert_eq!(text(service(found)), format!("expected the address of a host, found {host}"));
        }
        let mapped = text(service("[::ffff:192.168.10.100]:81"));
        assert_eq!(mapped, "expected the address of a host, found ::ffff:192.168.10.100");
    }

    #[test]
    fn an_endpoint_of_json_has_no_scope() {
        let read = |text: &str| {
            let text = serde_json::to_string(text).unwrap();
            deserialize_endpoint(&mut serde_json::Deserializer::from_str(&text))
        };
        for endpoint in ["10.0.0.7:80", "[2001:db8::7]:80"] {
            assert_eq!(read(endpoint).unwrap().to_string(), endpoint);
        }
        assert!(read("[fe80::7%3]:80").unwrap_err().to_string().contains("has no scope here"));
        assert!(read("2001:db8::7").is_err());
    }
}
