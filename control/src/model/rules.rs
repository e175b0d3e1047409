//! What can be a VIP and what a real: one judgement for the configuration file, a command, and a line of `restore`.

use super::{LARGEST_WEIGHT, MAX_REALS, MAX_SERVICES, Network, Real};
use dataplane::names::family::V4;
use dataplane::names::ids::{RealKey, ServiceKey};
use dataplane::wire::ipv4;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// What is configured already, as far as the rules ask.
pub trait Configured {
    /// Whether there is this service.
    fn has_service(&self, key: &ServiceKey) -> bool;
    /// How many services there are.
    fn service_count(&self) -> usize;
    /// Whether some service has this VIP.
    fn is_vip(&self, address: IpAddr) -> bool;
    /// Whether there is this real.
    fn has_real(&self, key: &RealKey) -> bool;
    /// How many reals there are in all.
    fn real_count(&self) -> usize;
    /// Whether some real has this address.
    fn is_host(&self, address: IpAddr) -> bool;
}

/// What an address is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What clients connect to.
    Vip,
    /// A server.
    Real,
}

/// Why an address cannot have its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    /// No host can have it; the text says why.
    NoHost(&'static str),
    /// It is the broadcast or network address of a port's link.
    LinkBroadcast,
    /// A gateway has it, or a host whose MAC is configured.
    OtherHost,
    /// It is ours: what is sent to it comes back here, not to a server.
    Own,
    /// A real has it.
    Real,
}

/// Why a service or a real cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// There is one with this key.
    #[error("service exists")]
    ServiceExists,
    /// There is none with this key.
    #[error("no such service")]
    NoSuchService,
    /// The service has one with this address and port.
    #[error("real exists")]
    RealExists,
    /// The service has none with this address and port.
    #[error("no such real")]
    NoSuchReal,
    /// The address cannot have this role.
    #[error("{address} cannot be {role}: {why}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What it was meant for.
        role: Role,
        /// What is wrong with it.
        why: Unsuitable,
    },
    /// A service on port 0, which stands for any port.
    #[error("port 0 is any port")]
    AnyPort,
    /// A real's ports are from 1.
    #[error("{0}: the port must not be 0")]
    ZeroPort(SocketAddr),
    /// Above the largest.
    #[error("weight {0} is above {LARGEST_WEIGHT}")]
    Weight(u32),
    /// Nothing leads there.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// No more fit.
    #[error("too many {what}: {most} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
}

/// Whether a service can be added.
///
/// # Errors
/// The first reason against it.
pub fn check_service(network: &Network, configured: &impl Configured, key: &ServiceKey) -> Result<(), Unfit> {
    if configured.has_service(key) {
        return Err(Unfit::ServiceExists);
    }
    let (address, role) = (key.listen.ip(), Role::Vip);
    check_host(network, address, role)?;
    if network.is_other_host(address) {
        return Err(Unfit::Address { address, role, why: Unsuitable::OtherHost });
    }
    if key.listen.port() == 0 {
        return Err(Unfit::AnyPort);
    }
    if configured.is_host(address) {
        return Err(Unfit::Address { address, role, why: Unsuitable::Real });
    }
    if configured.service_count() >= MAX_SERVICES {
        return Err(Unfit::TooMany { what: "services", most: MAX_SERVICES });
    }
    Ok(())
}

/// Whether a real can be added to a service.
///
/// # Errors
/// The first reason against it.
pub fn check_real(
    network: &Network,
    configured: &impl Configured,
    service: &ServiceKey,
    real: &Real,
) -> Result<(), Unfit> {
    if !configured.has_service(service) {
        return Err(Unfit::NoSuchService);
    }
    if configured.has_real(&RealKey { service: *service, endpoint: real.endpoint }) {
        return Err(Unfit::RealExists);
    }
    check_real_alone(network, real)?;
    let address = real.endpoint.ip();
    if configured.is_vip(address) {
        return Err(Unfit::Address { address, role: Role::Real, why: Unsuitable::Own });
    }
    if configured.real_count() >= MAX_REALS {
        return Err(Unfit::TooMany { what: "reals", most: MAX_REALS });
    }
    Ok(())
}

/// Whether a real could be added to some service that nothing is known of.
///
/// # Errors
/// The first reason against it.
pub fn check_real_alone(network: &Network, real: &Real) -> Result<(), Unfit> {
    check_weight(real.weight)?;
    let (address, role) = (real.endpoint.ip(), Role::Real);
    check_host(network, address, role)?;
    if real.endpoint.port() == 0 {
        return Err(Unfit::ZeroPort(real.endpoint));
    }
    if network.is_own(address) {
        return Err(Unfit::Address { address, role, why: Unsuitable::Own });
    }
    network.way_to_real(address).ok_or(Unfit::NoRoute(address))?;
    Ok(())
}

/// Whether a real can have this weight.
///
/// # Errors
/// It is above [`LARGEST_WEIGHT`].
pub fn check_weight(weight: u32) -> Result<(), Unfit> {
    if weight > LARGEST_WEIGHT { Err(Unfit::Weight(weight)) } else { Ok(()) }
}

fn check_host(network: &Network, address: IpAddr, role: Role) -> Result<(), Unfit> {
    let on_link = || network.is_link_broadcast(address).then_some(Unsuitable::LinkBroadcast);
    match why_no_host(address).map(Unsuitable::NoHost).or_else(on_link) {
        Some(why) => Err(Unfit::Address { address, role, why }),
        None => Ok(()),
    }
}

/// Why an address cannot belong to one host on a network (RFC 6890, 2.2.2); `None` if it can.
pub fn why_no_host(address: IpAddr) -> Option<&'static str> {
    let Some(address) = V4::address(address) else { return Some("IPv6 is not supported yet") };
    ipv4::is_martian(address).then(|| match address.octets() {
        [0, ..] => "0.0.0.0/8 is no host",
        [127, ..] => "it is a loopback address",
        [224..=239, ..] => "it is a multicast address",
        [255, 255, 255, 255] => "it is a broadcast or network address",
        _ => "240.0.0.0/4 is reserved",
    })
}

/// Whether an address can belong to one host on a network; see [`why_no_host`].
pub fn is_unicast(address: IpAddr) -> bool {
    why_no_host(address).is_none()
}

/// Whether one of our addresses, each with the prefix of its link, is this one.
pub fn is_own<'a>(mut own: impl Iterator<Item = &'a IpNet>, address: IpAddr) -> bool {
    own.any(|prefix| prefix.addr() == address)
}

/// Whether an address is the broadcast or network address of a link that one of our addresses is on. A link of 31 or 32
/// bits has neither (RFC 3021).
pub fn is_link_broadcast<'a>(own: impl Iterator<Item = &'a IpNet>, address: IpAddr) -> bool {
    let mut prefixes = own.filter(|prefix| prefix.prefix_len() < 31);
    prefixes.any(|prefix| prefix.broadcast() == address || prefix.network() == address)
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vip => "a VIP",
            Self::Real => "a real",
        })
    }
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHost(why) => why,
            Self::LinkBroadcast => "it is a broadcast or network address",
            Self::OtherHost => "it is the address of a gateway or neighbour",
            Self::Own => "it is an own address or VIP",
            Self::Real => "it is the address of a real",
        })
    }
}
