//! The EthPorts, interfaces and routes: what commands refer to but cannot change.

use super::rules;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::{EthPort, Interface, IpOptions, Route, Routes, Steering, Unmatched};
use dataplane::wire::ndp::link_local;
use ipnet::{IpNet, Ipv6Net};
use std::net::IpAddr;

/// What happens to packets, whatever service they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What to do with packets of no connection.
    pub unmatched: Unmatched,
    /// What to do with packets that have IPv4 options.
    pub ip_options: IpOptions,
    /// Whether a TCP segment other than a SYN may open a connection.
    pub sloppy_tcp: bool,
    /// Whether an SCTP packet other than INIT may open a connection.
    pub sloppy_sctp: bool,
    /// Whether a TCP connection that the real has not confirmed lives no longer than one that is being opened.
    pub secure_tcp: bool,
    /// Whether clients of a persistent service stay with a real whose weight is 0.
    pub keep_quiescent_templates: bool,
}

impl Default for Forward {
    /// As of a file that says nothing of it.
    fn default() -> Self {
        Self {
            unmatched: Unmatched::Route,
            ip_options: IpOptions::Filter,
            sloppy_tcp: false,
            sloppy_sctp: false,
            secure_tcp: false,
            keep_quiescent_templates: false,
        }
    }
}

/// What a [`Network`] is made of.
#[derive(Clone, Debug)]
pub struct Layout {
    /// By `EthPortId`.
    pub eth_ports: Vec<EthPort>,
    /// By `InterfaceId`.
    pub interfaces: Vec<Interface>,
    /// Besides those that follow from the interfaces' addresses; of equal prefixes the first counts.
    pub routes: Vec<Route>,
    /// Hosts whose MAC is configured.
    pub fixed: Vec<(NeighbourKey, Mac)>,
    /// By interface: the largest IPv4 packet that is asked for, in bytes; `None`: what the device has.
    pub asked_mtu: Vec<Option<u16>>,
    /// What happens to packets.
    pub forward: Forward,
}

/// What of a network does not depend on its ports and their addresses, so that it can be replaced while packets flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// See [`Layout`].
    pub routes: Vec<Route>,
    /// See [`Layout`].
    pub fixed: Vec<(NeighbourKey, Mac)>,
    /// See [`Layout`].
    pub forward: Forward,
}

/// Gives an interface that has an address of IPv6, but no link-local one, that of its MAC. Whether it needed it.
fn add_link_local(interface: &mut Interface) -> bool {
    let of_ipv6 = || interface.addresses.iter().map(IpNet::addr).filter(IpAddr::is_ipv6);
    let needs_one = of_ipv6().next().is_some() && !of_ipv6().any(rules::is_link_local);
    if needs_one {
        let prefix = Ipv6Net::new_assert(link_local(interface.mac), 64);
        interface.addresses.push(prefix.into());
    }
    needs_one
}

/// The routers that routes lead to.
fn gateways(routes: &[Route]) -> Vec<NeighbourKey> {
    let gateway = |route: &Route| Some(NeighbourKey { interface: route.interface, address: route.via? });
    routes.iter().filter_map(gateway).collect()
}

/// The EthPorts, interfaces and routes.
#[derive(Clone, Debug)]
pub struct Network {
    /// By `EthPortId`.
    pub eth_ports: Vec<EthPort>,
    /// By `InterfaceId`. One that has an address of IPv6 has a link-local one (RFC 4291 §2.8): the last, and made of
    /// its MAC, if none is configured.
    pub interfaces: Vec<Interface>,
    /// Besides those that follow from the interfaces' addresses.
    pub routes: Vec<Route>,
    /// What happens to packets.
    pub forward: Forward,
    gateways: Vec<NeighbourKey>,
    fixed: Vec<(NeighbourKey, Mac)>,
    asked_mtu: Vec<Option<u16>>,
    /// By interface: whether its link-local address is made of its MAC.
    has_link_local_of_mac: Vec<bool>,
    table: Routes,
}

impl Network {
    /// With its routing table.
    pub fn new(layout: Layout) -> Self {
        let Layout { eth_ports, mut interfaces, routes, fixed, asked_mtu, forward } = layout;
        let has_link_local_of_mac = interfaces.iter_mut().map(add_link_local).collect();
        let gateways = gateways(&routes);
        let table = Routes::new(&interfaces, &routes);
        Self {
            eth_ports,
            interfaces,
            routes,
            forward,
            gateways,
            fixed,
            asked_mtu,
            has_link_local_of_mac,
            table,
        }
    }

    /// From now on these routes and neighbours count.
    pub fn set_routing(&mut self, Routing { routes, fixed, forward }: Routing) {
        self.gateways = gateways(&routes);
        self.table = Routes::new(&self.interfaces, &routes);
        (self.routes, self.fixed, self.forward) = (routes, fixed, forward);
    }

    /// The routes and neighbours that count.
    pub fn routing(&self) -> Routing {
        Routing { routes: self.routes.clone(), fixed: self.fixed.clone(), forward: self.forward }
    }

    /// Software steers this port.
    pub fn steer_by_software(&mut self, port: usize) {
        self.eth_ports[port].steering = Steering::Software;
    }

    /// An interface has this MAC, and this MTU in bytes.
    pub fn set_link(&mut self, interface: usize, mac: Mac, mtu: u16) {
        let has_link_local_of_mac = self.has_link_local_of_mac[interface];
        let interface = &mut self.interfaces[interface];
        (interface.mac, interface.mtu) = (mac, mtu);
        if has_link_local_of_mac {
            interface.addresses.pop();
            add_link_local(interface);
        }
    }

    /// The host that packets to a real are sent to next, as the workers choose it.
    pub fn way_to_real(&self, address: IpAddr) -> Option<NeighbourKey> {
        self.table.to_real(address)
    }

    /// The MTU that counts on an interface where the device and the link take packets of `possible` bytes.
    pub fn mtu(&self, interface: usize, possible: u16) -> u16 {
        self.asked_mtu[interface].map_or(possible, |asked| asked.min(possible))
    }

    /// Whether an interface has this address.
    pub fn is_own(&self, address: IpAddr) -> bool {
        rules::is_own(self.prefixes(), address)
    }

    /// Whether this is a link's broadcast or network address.
    pub fn is_link_broadcast(&self, address: IpAddr) -> bool {
        rules::is_link_broadcast(self.prefixes(), address)
    }

    /// Whether packets to a VIP can come from clients: those of IPv6 where an interface has an address of it, those of
    /// IPv4 everywhere.
    pub fn is_spoken_to_clients(&self, vip: IpAddr) -> bool {
        let mut towards_clients = self.interfaces.iter().filter(|interface| interface.side != Side::Dip);
        vip.is_ipv4() || towards_clients.any(Interface::speaks_ipv6)
    }

    /// What an operator should hear of a VIP that lies in the network of no port that answers clients: that it is in
    /// one of the reals' side (by its index), or in none at all (`None`). Both can be right, if routers lead to it.
    pub fn misplaced(&self, vip: IpAddr) -> Option<Option<usize>> {
        let of = |is_wanted: fn(Side) -> bool| {
            let holds = |interface: &Interface| {
                is_wanted(interface.side) && interface.addresses.iter().any(|net| net.contains(&vip))
            };
            self.interfaces.iter().position(holds)
        };
        match of(|side| side != Side::Dip) {
            Some(_) => None,
            None => Some(of(|side| side == Side::Dip)),
        }
    }

    /// The gateways of all routes, which are always to be reachable.
    pub fn gateways(&self) -> impl Iterator<Item = NeighbourKey> + '_ {
        self.gateways.iter().copied()
    }

    /// Hosts whose MAC is configured.
    pub fn fixed(&self) -> impl Iterator<Item = (NeighbourKey, Mac)> + '_ {
        self.fixed.iter().copied()
    }

    /// Whether another host is known to have this address: a gateway, or one whose MAC is configured.
    pub fn is_other_host(&self, address: IpAddr) -> bool {
        self.gateways().chain(self.fixed().map(|(key, _)| key)).any(|key| key.address == address)
    }

    fn prefixes(&self) -> impl Iterator<Item = &IpNet> {
        self.interfaces.iter().flat_map(|interface| &interface.addresses)
    }
}
