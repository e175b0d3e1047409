//! Services as people name them: `tcp://192.168.10.100:80`, `udp://[2001:db8::10]:8000-8100`.

use super::addresses::{self, Fault, Listener, malformed};
use dataplane::names::ids::{Protocol, ServiceKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `tcp://VIP:PORT`, `udp://VIP:PORT` or `sctp://VIP:PORT`; a port is a number, 0 (any), or a range.
///
/// # Errors
/// As [`addresses::service`]; another scheme.
pub fn listen(text: &str) -> Result<ServiceKey, Fault> {
    let (protocol, address) = scheme(text)?;
    Ok(addresses::service(address)?.of(protocol))
}

/// The protocol that stands before `://`, and what follows.
fn scheme(text: &str) -> Result<(Protocol, &str), Fault> {
    let (found, address) = text.split_once("://").ok_or_else(|| not_a_service(text))?;
    let protocol = Protocol::ALL.into_iter().find(|protocol| scheme_of(*protocol) == found);
    Ok((protocol.ok_or_else(|| not_a_service(text))?, address))
}

/// What stands before `://`.
pub(super) const fn scheme_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn not_a_service(text: &str) -> Fault {
    malformed(format!("expected tcp://VIP:PORT, udp://VIP:PORT or sctp://VIP:PORT, found {text:?}"))
}

/// Names a service: `"tcp://192.168.10.100:80"` in JSON and in messages.
///
/// Unlike [`listen`] it takes any address and port: whether a VIP can have them is judged with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listen(pub ServiceKey);

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", scheme_of(self.0.protocol), Listener::from(&self.0))
    }
}

impl FromStr for Listen {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (protocol, listen) = scheme(text)?;
        let listener = addresses::any_listener(listen).ok_or_else(|| not_a_service(text))?;
        Ok(Self(listener.of(protocol)))
    }
}

/// The services that a filter means: one as [`Listen`] is written, or those of every protocol on `VIP:PORT`.
///
/// # Errors
/// It is neither.
pub fn meant(text: &str) -> Result<Vec<ServiceKey>, Fault> {
    if text.contains("://") {
        return Ok(vec![text.parse::<Listen>()?.0]);
    }
    let malformed = || malformed(format!("expected VIP:PORT, or tcp://VIP:PORT, found {text:?}"));
    let listener = addresses::any_listener(text).ok_or_else(malformed)?;
    Ok(Protocol::ALL.map(|protocol| listener.of(protocol)).into())
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn services_are_named_by_protocol_address_and_port() {
        for protocol in Protocol::ALL {
            let text = format!("{}://192.168.10.100:53", scheme_of(protocol));
            assert_eq!(listen(&text).unwrap().protocol, protocol);
            assert_eq!(Listen(listen(&text).unwrap()).to_string(), text);
        }
        let web = "tcp://192.168.10.100:80".parse::<Listen>().unwrap();
        assert_eq!(web.to_string(), "tcp://192.168.10.100:80");
        assert_eq!(listen("tcp://192.168.10.100:80"), Ok(web.0));
        for text in ["tcp://192.168.10.100:0", "udp://192.168.10.100:8000-8100"] {
            let service = text.parse::<Listen>().unwrap();
            assert_eq!((service.to_string().as_str(), listen(text)), (text, Ok(service.0)));
        }
    }

    #[test]
    fn ipv6_services_stand_in_brackets() {
        for text in ["tcp://[2001:db8::10]:80", "udp://[2001:db8::10]:0", "tcp://[2001:db8::10]:8000-8100"] {
            let service = text.parse::<Listen>().unwrap();
            assert_eq!((service.to_string().as_str(), listen(text)), (text, Ok(service.0)));
        }
        let any = "tcp://[ff02::1]:80".parse::<Listen>().unwrap();
        assert_eq!(any.to_string(), "tcp://[ff02::1]:80", "whether it can be a VIP is judged later");
        for found in ["tcp://2001:db8::10:80", "tcp://[2001:db8::10]", "tcp://[fe80::1%2]:80"] {
            let expected = "expected tcp://VIP:PORT, udp://VIP:PORT or sctp://VIP:PORT, found";
            assert_eq!(text(found.parse::<Listen>()), format!("{expected} {found:?}"));
        }
    }

    #[test]
    fn a_filter_means_all_protocols_where_it_names_none() {
        let one = |text: &str| vec![text.parse::<Listen>().unwrap().0];
        for text in ["tcp://192.168.10.100:80", "udp://[2001:db8::10]:8000-8100", "sctp://192.168.10.100:0"] {
            assert_eq!(meant(text), Ok(one(text)));
            let (_, address) = text.split_once("://").unwrap();
            let all = meant(address).unwrap();
            assert_eq!(all.len(), Protocol::ALL.len());
            assert!(all.contains(&one(text)[0]));
        }
        for found in ["", "192.168.10.100", "web", "192.168.10.100:http", "2001:db8::10:80"] {
            let expected = format!("expected VIP:PORT, or tcp://VIP:PORT, found {found:?}");
            assert_eq!(text(meant(found)), expected);
        }
        assert!(text(meant("http://192.168.10.100:80")).starts_with("expected tcp://VIP:PORT"));
    }

    #[test]
    fn what_is_malformed_or_for_later_is_named() {
        let expected = "expected tcp://VIP:PORT, udp://VIP:PORT or sctp://VIP:PORT, found";
        for found in ["http://10.0.0.7:80", "10.0.0.7:80", "tcp://", ""] {
            assert_eq!(text(found.parse::<Listen>()), format!("{expected} {found:?}"));
        }
        assert_eq!(text(listen("http://10.0.0.7:80")), format!("{expected} \"http://10.0.0.7:80\""));
    }
}
