//! The links and routes: what commands refer to but cannot change.

use crate::config::Config;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::{IpOptions, Port, Route, Routes, Steering, Unmatched};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// What the file says of ports and routes.
#[derive(Debug)]
pub struct Links {
    /// By index.
    pub ports: Vec<Port>,
    /// Beside those that follow from the ports' addresses.
    pub routes: Vec<Route>,
    /// What to do with packets of no connection.
    pub unmatched: Unmatched,
    /// What to do with packets that have IPv4 options.
    pub ip_options: IpOptions,
    gateways: Vec<NeighbourKey>,
    /// Addresses of `[[neighbour]]`.
    neighbours: Vec<Ipv4Addr>,
    /// By port: the MTU that the file asks for.
    asked_mtu: Vec<Option<u16>>,
    table: Routes,
}

impl Links {
    /// From the file, and the devices' MACs, MTUs (largest IPv4 packets in bytes) and ways of steering by
    /// index.
    pub fn new(config: &Config, device: impl Fn(usize) -> (Mac, u16, Steering)) -> Self {
        let ports = config.ports.iter().enumerate().map(|(index, port)| {
            let (mac, mtu, steering) = device(index);
            let mtu = smaller(port.mtu, mtu);
            Port { side: port.side, mac, mtu, addresses: port.addresses.clone(), steering }
        });
        let ports: Vec<Port> = ports.collect();
        let written = config.routes.iter().map(|route| Route {
            prefix: route.to,
            port: route.port as u8,
            via: Some(route.via),
        });
        let defaults = (0..).zip(&config.ports).filter_map(|(index, port)| {
            let via = Some(port.gateway?);
            Some(Route { prefix: Ipv4Net::default(), port: index, via })
        });
        let mut defaults: Vec<Route> = defaults.collect();
        // The first default counts for what is routed, clients' ways back included: that of a vip side.
        defaults.sort_by_key(|route| config.ports[usize::from(route.port)].side == Side::Dip);
        let routes: Vec<Route> = written.chain(on_link_alone(config)).chain(defaults).collect();
        let gateways =
            routes.iter().filter_map(|route| Some(NeighbourKey { port: route.port, address: route.via? }));
        let gateways = gateways.collect();
        let neighbours = config.neighbours.iter().map(|neighbour| neighbour.address).collect();
        let asked_mtu = config.ports.iter().map(|port| port.mtu).collect();
        let table = Routes::new(&ports, &routes);
        let (unmatched, ip_options) = (config.unmatched, config.ip_options);
        Self { ports, routes, unmatched, ip_options, gateways, neighbours, asked_mtu, table }
    }

    /// The host that packets to a real are sent to next, as the workers choose it.
    pub fn way_to_real(&self, address: Ipv4Addr) -> Option<NeighbourKey> {
        self.table.to_real(address)
    }

    /// The MTU that counts on a port where the device and the link take packets of `possible` bytes.
    pub fn mtu(&self, port: usize, possible: u16) -> u16 {
        smaller(self.asked_mtu[port], possible)
    }

    /// Whether a port has this address.
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.prefixes().any(|prefix| prefix.addr() == address)
    }

    /// What an operator should hear of a VIP that lies in the network of no port that answers clients: in one of
    /// the reals' side (by its index), or in none at all (`None`). Both can be right, if routers lead to it.
    pub fn misplaced(&self, vip: Ipv4Addr) -> Option<Option<usize>> {
        let of = |is_wanted: fn(Side) -> bool| {
            let holds =
                |port: &Port| is_wanted(port.side) && port.addresses.iter().any(|net| net.contains(&vip));
            self.ports.iter().position(holds)
        };
        match of(|side| side != Side::Dip) {
            Some(_) => None,
            None => Some(of(|side| side == Side::Dip)),
        }
    }

    /// Whether this is a link's broadcast or network address.
    pub fn is_link_broadcast(&self, address: Ipv4Addr) -> bool {
        // RFC 3021: a /31 has neither.
        let mut prefixes = self.prefixes().filter(|prefix| prefix.prefix_len() < 31);
        prefixes.any(|prefix| prefix.broadcast() == address || prefix.network() == address)
    }

    /// The gateways of all routes, which are always to be reachable.
    pub fn gateways(&self) -> impl Iterator<Item = NeighbourKey> + '_ {
        self.gateways.iter().copied()
    }

    /// Whether the file says that another host has this address: a gateway or a `[[neighbour]]`.
    pub fn is_other_host(&self, address: Ipv4Addr) -> bool {
        self.neighbours.contains(&address) || self.gateways.iter().any(|gateway| gateway.address == address)
    }

    fn prefixes(&self) -> impl Iterator<Item = &Ipv4Net> {
        self.ports.iter().flat_map(|port| &port.addresses)
    }
}

/// Routes to the next hops that are on a port's link because the file says so, not by a prefix of the port's addresses:
/// a gateway beside an address with /32.
fn on_link_alone(config: &Config) -> impl Iterator<Item = Route> + '_ {
    let gateways = config.ports.iter().enumerate().filter_map(|(port, of)| Some((port, of.gateway?)));
    let vias = config.routes.iter().map(|route| (route.port, route.via));
    let fixed = config.neighbours.iter().map(|neighbour| (neighbour.port, neighbour.address));
    let is_alone = |(port, address): &(usize, Ipv4Addr)| {
        !config.ports[*port].addresses.iter().any(|prefix| prefix.contains(address))
    };
    let host = |(port, address)| Route { prefix: Ipv4Net::from(address), port: port as u8, via: None };
    gateways.chain(vias).chain(fixed).filter(is_alone).map(host)
}

/// The file may ask for less than what is possible.
fn smaller(asked: Option<u16>, possible: u16) -> u16 {
    asked.map_or(possible, |asked| asked.min(possible))
}
