//! The links and routes: what commands refer to but cannot change.

use crate::config::Config;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::{EthPort, Interface, IpOptions, Route, Routes, Steering, Unmatched};
use ipnet::IpNet;
use std::net::IpAddr;

/// What the file says of devices, interfaces and routes.
#[derive(Debug)]
pub struct Links {
    /// By `EthPortId`.
    pub eth_ports: Vec<EthPort>,
    /// By `InterfaceId`.
    pub interfaces: Vec<Interface>,
    /// Besides those that follow from the interfaces' addresses.
    pub routes: Vec<Route>,
    /// What to do with packets of no connection.
    pub unmatched: Unmatched,
    /// What to do with packets that have IPv4 options.
    pub ip_options: IpOptions,
    gateways: Vec<NeighbourKey>,
    /// Addresses of `[[neighbour]]`.
    neighbours: Vec<IpAddr>,
    /// By port: the MTU that the file asks for.
    asked_mtu: Vec<Option<u16>>,
    table: Routes,
}

impl Links {
    /// From the file, and the devices' MACs, MTUs (largest IPv4 packets in bytes) and ways of steering by
    /// index.
    pub fn new(config: &Config, device: impl Fn(usize) -> (Mac, u16, Steering)) -> Self {
        let of_ports = config.eth_ports.iter().enumerate().map(|(index, port)| {
            let (mac, mtu, steering) = device(index);
            let mtu = smaller(port.interface.mtu, mtu);
            let interface = Interface {
                side: port.interface.side,
                mac,
                mtu,
                addresses: port.interface.addresses.clone(),
            };
            (EthPort { steering }, interface)
        });
        let (eth_ports, interfaces): (Vec<EthPort>, Vec<Interface>) = of_ports.unzip();
        let written = config.routes.iter().map(|route| Route {
            prefix: route.to,
            interface: route.interface,
            via: Some(route.via),
        });
        let defaults = InterfaceId::all().zip(&config.eth_ports).filter_map(|(index, port)| {
            let via = Some(port.interface.gateway?);
            Some(Route { prefix: IpNet::default(), interface: index, via })
        });
        let mut defaults: Vec<Route> = defaults.collect();
        // The first default counts for what is routed, clients' ways back included: that of a vip side.
        defaults.sort_by_key(|route| config.eth_ports[route.interface.index()].interface.side == Side::Dip);
        let routes: Vec<Route> = written.chain(on_link_alone(config)).chain(defaults).collect();
        let gateways = routes
            .iter()
            .filter_map(|route| Some(NeighbourKey { interface: route.interface, address: route.via? }));
        let gateways = gateways.collect();
        let neighbours = config.neighbours.iter().map(|neighbour| neighbour.address).collect();
        let asked_mtu = config.eth_ports.iter().map(|port| port.interface.mtu).collect();
        let table = Routes::new(&interfaces, &routes);
        let (unmatched, ip_options) = (config.unmatched, config.ip_options);
        Self { eth_ports, interfaces, routes, unmatched, ip_options, gateways, neighbours, asked_mtu, table }
    }

    /// The host that packets to a real are sent to next, as the workers choose it.
    pub fn way_to_real(&self, address: IpAddr) -> Option<NeighbourKey> {
        self.table.to_real(address)
    }

    /// The MTU that counts on a port where the device and the link take packets of `possible` bytes.
    pub fn mtu(&self, port: usize, possible: u16) -> u16 {
        smaller(self.asked_mtu[port], possible)
    }

    /// Whether a port has this address.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.prefixes().any(|prefix| prefix.addr() == address)
    }

    /// What an operator should hear of a VIP that lies in the network of no port that answers clients: in one of
    /// the reals' side (by its index), or in none at all (`None`). Both can be right, if routers lead to it.
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

    /// Whether this is a link's broadcast or network address.
    pub fn is_link_broadcast(&self, address: IpAddr) -> bool {
        // RFC 3021: a /31 has neither.
        let mut prefixes = self.prefixes().filter(|prefix| prefix.prefix_len() < 31);
        prefixes.any(|prefix| prefix.broadcast() == address || prefix.network() == address)
    }

    /// The gateways of all routes, which are always to be reachable.
    pub fn gateways(&self) -> impl Iterator<Item = NeighbourKey> + '_ {
        self.gateways.iter().copied()
    }

    /// Whether the file says that another host has this address: a gateway or a `[[neighbour]]`.
    pub fn is_other_host(&self, address: IpAddr) -> bool {
        self.neighbours.contains(&address) || self.gateways.iter().any(|gateway| gateway.address == address)
    }

    fn prefixes(&self) -> impl Iterator<Item = &IpNet> {
        self.interfaces.iter().flat_map(|interface| &interface.addresses)
    }
}

/// Routes to the next hops that are on an interface's link because the file says so, not by a prefix of its addresses: a
/// gateway next to an address with /32.
fn on_link_alone(config: &Config) -> impl Iterator<Item = Route> + '_ {
    let gateways = InterfaceId::all()
        .zip(&config.eth_ports)
        .filter_map(|(interface, port)| Some((interface, port.interface.gateway?)));
    let vias = config.routes.iter().map(|route| (route.interface, route.via));
    let fixed = config.neighbours.iter().map(|neighbour| (neighbour.interface, neighbour.address));
    let is_alone = |(interface, address): &(InterfaceId, IpAddr)| {
        let port = &config.eth_ports[interface.eth_port().index()];
        !port.interface.addresses.iter().any(|prefix| prefix.contains(address))
    };
    let host = |(interface, address)| Route { prefix: IpNet::from(address), interface, via: None };
    gateways.chain(vias).chain(fixed).filter(is_alone).map(host)
}

/// The file may ask for less than what is possible.
fn smaller(asked: Option<u16>, possible: u16) -> u16 {
    asked.map_or(possible, |asked| asked.min(possible))
}
