//! Which addresses a VIP and a real can have.

use crate::api::refusal::Refused;
use crate::model::Links;
use crate::text::{addresses, later};
use std::net::{IpAddr, SocketAddr};

pub(super) fn check_vip(links: &Links, listen: SocketAddr) -> Result<(), Refused> {
    let (address, role) = (listen.ip(), "a VIP");
    check_unicast(links, address, role)?;
    if links.is_other_host(address) {
        let why = "it is the address of a gateway or neighbour";
        return Err(Refused::BadAddress { address, role, why });
    }
    if listen.port() == 0 {
        return Err(Refused::NotSupported(later::ANY_PORT));
    }
    Ok(())
}

pub(super) fn check_real(links: &Links, endpoint: SocketAddr) -> Result<(), Refused> {
    let address = endpoint.ip();
    check_unicast(links, address, "a real")?;
    if endpoint.port() == 0 {
        return Err(Refused::ZeroPort(endpoint));
    }
    check_no_vip(address, links.is_own(address))?;
    links.way_to_real(address).ok_or(Refused::NoRoute(address))?;
    Ok(())
}

/// What is sent to an own address comes back here, not to a server.
pub(super) fn check_no_vip(address: IpAddr, is_own: bool) -> Result<(), Refused> {
    let why = "it is an own address or VIP";
    if is_own { Err(Refused::BadAddress { address, role: "a real", why }) } else { Ok(()) }
}

/// See [`check_no_vip`]: nor may a real's address become an own one.
pub(super) fn check_no_real(address: IpAddr, is_real: bool) -> Result<(), Refused> {
    let why = "it is the address of a real";
    if is_real { Err(Refused::BadAddress { address, role: "a VIP", why }) } else { Ok(()) }
}

fn check_unicast(links: &Links, address: IpAddr, role: &'static str) -> Result<(), Refused> {
    let on_link = || links.is_link_broadcast(address).then_some("it is a broadcast or network address");
    match addresses::why_no_host(address).or_else(on_link) {
        Some(why) => Err(Refused::BadAddress { address, role, why }),
        None => Ok(()),
    }
}
