//! Which addresses a VIP and a real can have.

use super::Refused;
use crate::model::Links;
use std::net::{Ipv4Addr, SocketAddrV4};

pub(super) fn check_vip(links: &Links, listen: SocketAddrV4) -> Result<(), Refused> {
    check_unicast(links, *listen.ip(), "a VIP")?;
    if listen.port() == 0 {
        return Err(Refused::NotSupported("port 0 (any port)".into()));
    }
    Ok(())
}

pub(super) fn check_real(links: &Links, endpoint: SocketAddrV4) -> Result<(), Refused> {
    let address = *endpoint.ip();
    check_unicast(links, address, "a real")?;
    if endpoint.port() == 0 {
        return Err(Refused::ZeroPort(endpoint));
    }
    check_no_vip(address, links.is_own(address))?;
    links.way_to_real(address).ok_or(Refused::NoRoute(address))?;
    Ok(())
}

/// What is sent to an own address comes back here, not to a server.
pub(super) fn check_no_vip(address: Ipv4Addr, is_own: bool) -> Result<(), Refused> {
    let why = "it is an own address or VIP";
    if is_own { Err(Refused::BadAddress { address, role: "a real", why }) } else { Ok(()) }
}

/// See [`check_no_vip`]: nor may a real's address become an own one.
pub(super) fn check_no_real(address: Ipv4Addr, is_real: bool) -> Result<(), Refused> {
    let why = "it is the address of a real";
    if is_real { Err(Refused::BadAddress { address, role: "a VIP", why }) } else { Ok(()) }
}

fn check_unicast(links: &Links, address: Ipv4Addr, role: &'static str) -> Result<(), Refused> {
    let why = if address.octets()[0] == 0 {
        "0.0.0.0/8 is no host"
    } else if address.is_loopback() {
        "it is a loopback address"
    } else if address.is_multicast() {
        "it is a multicast address"
    } else if address.is_broadcast() || links.is_link_broadcast(address) {
        "it is a broadcast or network address"
    } else if address.octets()[0] >= 240 {
        "240.0.0.0/4 is reserved"
    } else {
        return Ok(());
    };
    Err(Refused::BadAddress { address, role, why })
}
