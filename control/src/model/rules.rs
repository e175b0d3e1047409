//! What can be a VIP, what a real, and what can be set of them: one judgement for the configuration file, a command,
//! and a line of `restore`.

use super::{
    LARGEST_THRESHOLD, LARGEST_WEIGHT, LONGEST_SLOW_START, MAX_REALS, MAX_SERVICES, Network, Real, Settings,
};
use dataplane::connection::Timeouts;
use dataplane::names::ids::{Protocol, RealKey, ServiceKey};
use dataplane::snapshot::{Persistence, Thresholds};
use dataplane::wire::{ipv4, ipv6};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// What is configured already, as far as the rules ask.
pub trait Configured {
    /// Whether there is this service.
    fn has_service(&self, key: &ServiceKey) -> bool;
    /// A service on a range of ports that has some in common with this one's, if this one is on a range too.
    fn overlapping(&self, key: &ServiceKey) -> Option<ServiceKey>;
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
    /// No interface towards clients has an address of its family, so that none takes its packets.
    NotSpoken,
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
    /// Another range of the VIP and protocol has some of its ports.
    #[error("some of these ports are those of the service on ports {first}-{last}")]
    Overlapping {
        /// The other's first port.
        first: u16,
        /// The other's last port.
        last: u16,
    },
    /// Above the largest.
    #[error("weight {0} is above {LARGEST_WEIGHT}")]
    Weight(u32),
    /// Above the largest.
    #[error("illegal {which}_threshold specified: {found} is above {LARGEST_THRESHOLD}")]
    Threshold {
        /// `u` or `l`.
        which: char,
        /// The threshold.
        found: u32,
    },
    /// The lower threshold is above the upper one.
    #[error(
        "Numerical result out of range: the lower threshold {} is above the upper one {}", .0.lower, .0.upper
    )]
    Thresholds(Thresholds),
    /// Nothing leads there.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// The service is of the other family.
    #[error("Different address family is allowed only for tunneling servers")]
    Family,
    /// No more fit.
    #[error("too many {what}: {most} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
}

/// Why something cannot be set of a service, in the words of `ipvsadm` where it has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnfitSetting {
    /// `-o` of a TCP service.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    /// Persistence for no time, or too long.
    #[error("invalid timeout value `{0}' specified: persistence is for 1 to {max} seconds", max = Timeouts::LONGEST_SECONDS)]
    Persistence(u32),
    /// Under this mask all clients would be one, or it is of the other family.
    #[error("illegal virtual server persistent mask specified: {0}")]
    Mask(IpAddr),
    /// The timeout of a state is too long.
    #[error("invalid timeout value `{0}' specified: at most {max} seconds (31 days)", max = Timeouts::LONGEST_SECONDS)]
    Timeout(u32),
    /// Too long.
    #[error("a slow start of {0} seconds is too long: {LONGEST_SLOW_START} at most")]
    SlowStart(u32),
}

impl UnfitSetting {
    /// The key of the file, and of a request, that is at fault.
    pub const fn key(self) -> &'static str {
        match self {
            Self::OnePacket => "one_packet",
            Self::Persistence(_) => "persistence",
            Self::Mask(_) => "persistence_mask",
            Self::Timeout(_) => "timeouts",
            Self::SlowStart(_) => "slow_start",
        }
    }
}

/// Whether a service can have these settings.
///
/// # Errors
/// The first reason against it.
pub fn check_settings(key: &ServiceKey, settings: &Settings) -> Result<(), UnfitSetting> {
    let Settings { persistence, one_packet, timeouts, slow_start, .. } = settings;
    if *one_packet && key.protocol != Protocol::Udp {
        return Err(UnfitSetting::OnePacket);
    }
    if let Some(Persistence { seconds, mask }) = *persistence {
        if seconds == 0 || seconds > Timeouts::LONGEST_SECONDS {
            return Err(UnfitSetting::Persistence(seconds));
        }
        if mask.is_unspecified() || mask.is_ipv4() != key.listen.is_ipv4() {
            return Err(UnfitSetting::Mask(mask));
        }
    }
    if let Some((_, seconds)) = timeouts.iter().find(|(_, seconds)| *seconds > Timeouts::LONGEST_SECONDS) {
        return Err(UnfitSetting::Timeout(seconds));
    }
    if *slow_start > LONGEST_SLOW_START {
        return Err(UnfitSetting::SlowStart(*slow_start));
    }
    Ok(())
}

/// Whether a service can be added. Its settings are [another question](check_settings).
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
    if !network.is_spoken_to_clients(address) {
        return Err(Unfit::Address { address, role, why: Unsuitable::NotSpoken });
    }
    if let Some(other) = configured.overlapping(key) {
        return Err(Unfit::Overlapping { first: other.listen.port(), last: other.last_port });
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
    check_family(service, real.endpoint)?;
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

/// Whether a real may be one of this service's: a packet is translated within its family.
///
/// # Errors
/// It is of the other family; in the words of `ipvsadm`.
pub const fn check_family(service: &ServiceKey, real: SocketAddr) -> Result<(), Unfit> {
    if service.listen.is_ipv4() == real.is_ipv4() { Ok(()) } else { Err(Unfit::Family) }
}

/// Whether a real could be added to some service that nothing is known of.
///
/// # Errors
/// The first reason against it.
pub fn check_real_alone(network: &Network, real: &Real) -> Result<(), Unfit> {
    check_numbers(real)?;
    let (address, role) = (real.endpoint.ip(), Role::Real);
    check_host(network, address, role)?;
    if network.is_own(address) {
        return Err(Unfit::Address { address, role, why: Unsuitable::Own });
    }
    network.way_to_real(address).ok_or(Unfit::NoRoute(address))?;
    Ok(())
}

/// Whether a real can have this weight and these thresholds.
///
/// # Errors
/// The first reason against it.
pub fn check_numbers(real: &Real) -> Result<(), Unfit> {
    let Thresholds { upper, lower } = real.thresholds;
    if real.weight > LARGEST_WEIGHT {
        return Err(Unfit::Weight(real.weight));
    }
    if let Some((which, found)) =
        [('u', upper), ('l', lower)].into_iter().find(|(_, n)| *n > LARGEST_THRESHOLD)
    {
        return Err(Unfit::Threshold { which, found });
    }
    // As in the kernel, also where the upper one is 0, which is no limit.
    if lower > upper {
        return Err(Unfit::Thresholds(real.thresholds));
    }
    Ok(())
}

fn check_host(network: &Network, address: IpAddr, role: Role) -> Result<(), Unfit> {
    let on_link = || network.is_link_broadcast(address).then_some(Unsuitable::LinkBroadcast);
    let unfit = why_no_host(address).or_else(|| why_on_one_link(address));
    match unfit.map(Unsuitable::NoHost).or_else(on_link) {
        Some(why) => Err(Unfit::Address { address, role, why }),
        None => Ok(()),
    }
}

/// Why an address cannot belong to one host on a network (RFC 6890, 2.2.2 and 2.2.3); `None` if it can.
pub fn why_no_host(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_no_ipv4_host(address),
        IpAddr::V6(address) => why_no_ipv6_host(address),
    }
}

fn why_no_ipv4_host(address: Ipv4Addr) -> Option<&'static str> {
    ipv4::is_martian(address).then(|| match address.octets() {
        [0, ..] => "0.0.0.0/8 is no host",
        [127, ..] => "it is a loopback address",
        [224..=239, ..] => "it is a multicast address",
        [255, 255, 255, 255] => "it is a broadcast or network address",
        _ => "240.0.0.0/4 is reserved",
    })
}

fn why_no_ipv6_host(address: Ipv6Addr) -> Option<&'static str> {
    ipv6::is_martian(address).then(|| {
        if address.is_unspecified() {
            ":: is no host"
        } else if address.is_loopback() {
            "it is a loopback address"
        } else if address.is_multicast() {
            "it is a multicast address"
        } else {
            "it is an IPv4 address in IPv6's form"
        }
    })
}

/// Why an address cannot be reached from another link, which clients and reals of IPv6 are on; `None` if it can. A
/// gateway or a neighbour, which are named together with their port, may have such an address.
fn why_on_one_link(address: IpAddr) -> Option<&'static str> {
    is_link_local(address).then_some("it is a link-local address, which many links have")
}

/// Whether an address is in the network that every link of IPv6 has (RFC 4291 §2.5.6), so that it says nothing of which
/// link it is on.
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether an address can belong to one host on a network; see [`why_no_host`].
pub fn is_unicast(address: IpAddr) -> bool {
    why_no_host(address).is_none()
}

/// Whether one of our addresses, each with the prefix of its link, is this one.
pub fn is_own<'a>(mut own: impl Iterator<Item = &'a IpNet>, address: IpAddr) -> bool {
    own.any(|prefix| prefix.addr() == address)
}

/// Whether an address is the broadcast or network address of a link that one of our addresses is on.
pub fn is_link_broadcast<'a>(mut own: impl Iterator<Item = &'a IpNet>, address: IpAddr) -> bool {
    own.any(|prefix| is_broadcast_of(prefix, address))
}

/// Whether an address is the broadcast or network address of a prefix. In IPv6 no address is for broadcasts, and the
/// network's is its routers' anycast address (RFC 4291 §2.6.1). A link of two addresses or one has neither (RFC 3021,
/// RFC 6164).
pub fn is_broadcast_of(prefix: &IpNet, address: IpAddr) -> bool {
    let is_last = || prefix.addr().is_ipv4() && prefix.broadcast() == address;
    prefix.prefix_len() + 1 < prefix.max_prefix_len() && (prefix.network() == address || is_last())
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
            Self::NotSpoken => "no port towards clients has an IPv6 address",
        })
    }
}

#[cfg(test)]
mod tests;
