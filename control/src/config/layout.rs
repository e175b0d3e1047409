//! The ports and routes of the file as the model has them.

use super::{EthPort, StaticNeighbour, StaticRoute};
use crate::model::{Forward, Layout};
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::{self, Route, Steering};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// What the file says, with each device's MAC, MTU (its largest IPv4 packet in bytes) and way of steering by index.
pub(super) fn layout(
    eth_ports: &[EthPort],
    routes: &[StaticRoute],
    neighbours: &[StaticNeighbour],
    forward: Forward,
    device: impl Fn(usize) -> (Mac, u16, Steering),
) -> Layout {
    let of_ports = eth_ports.iter().enumerate().map(|(index, EthPort { interface, .. })| {
        let (mac, mtu, steering) = device(index);
        let mtu = interface.mtu.map_or(mtu, |asked| asked.min(mtu));
        let addresses = interface.addresses.clone();
        let interface = snapshot::Interface { side: interface.side, mac, mtu, addresses };
        (snapshot::EthPort { steering }, interface)
    });
    let (ports, interfaces) = of_ports.unzip();
    let fixed = neighbours.iter().map(|neighbour| {
        let StaticNeighbour { address, mac, interface } = *neighbour;
        (NeighbourKey { interface, address }, mac)
    });
    let written = routes.iter().map(|route| Route {
        prefix: route.to,
        interface: route.interface,
        via: Some(route.via),
    });
    let alone = on_link_alone(eth_ports, routes, neighbours);
    Layout {
        eth_ports: ports,
        interfaces,
        routes: written.chain(alone).chain(defaults(eth_ports)).collect(),
        fixed: fixed.collect(),
        asked_mtu: eth_ports.iter().map(|port| port.interface.mtu).collect(),
        forward,
    }
}

/// The interfaces' gateways. The first counts for what is routed, clients' ways back included: that of a vip side.
fn defaults(eth_ports: &[EthPort]) -> Vec<Route> {
    let default = |(interface, via)| Route { prefix: every_address(via), interface, via: Some(via) };
    let mut defaults: Vec<Route> = gateways(eth_ports).map(default).collect();
    defaults.sort_by_key(|route| eth_ports[route.interface.index()].interface.side == Side::Dip);
    defaults
}

/// The gateways of all interfaces.
fn gateways(eth_ports: &[EthPort]) -> impl Iterator<Item = (InterfaceId, IpAddr)> {
    let of_ports = InterfaceId::all().zip(eth_ports);
    of_ports.flat_map(|(interface, port)| port.interface.gateways.iter().map(move |via| (interface, *via)))
}

/// The prefix of all addresses of a gateway's family.
fn every_address(gateway: IpAddr) -> IpNet {
    match gateway {
        IpAddr::V4(_) => Ipv4Net::default().into(),
        IpAddr::V6(_) => Ipv6Net::default().into(),
    }
}

/// Routes to the next hops that are on an interface's link because the file says so, not by a prefix of its
/// addresses: a gateway next to an address with /32.
fn on_link_alone<'a>(
    eth_ports: &'a [EthPort],
    routes: &'a [StaticRoute],
    neighbours: &'a [StaticNeighbour],
) -> impl Iterator<Item = Route> + 'a {
    let vias = routes.iter().map(|route| (route.interface, route.via));
    let fixed = neighbours.iter().map(|neighbour| (neighbour.interface, neighbour.address));
    let is_alone = |(interface, address): &(InterfaceId, _)| {
        let port = &eth_ports[interface.eth_port().index()];
        !port.interface.addresses.iter().any(|prefix| prefix.contains(address))
    };
    let host = |(interface, address)| Route { prefix: IpNet::from(address), interface, via: None };
    gateways(eth_ports).chain(vias).chain(fixed).filter(is_alone).map(host)
}
