//! The network that the balancer stands in: its ports, hosts and services, and what is known of both.

use crate::setting::{Bursts, Configuration, Key, Leads, Port, Real, Route, Service, Setup};
use fastrand::Rng;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A client and the real that it was given, as seen in what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub tcp: bool,
    pub client: SocketAddrV4,
    pub real: SocketAddrV4,
}

const SEEN: usize = 64;
const REALS: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 0, 0, 7),
    Ipv4Addr::new(10, 0, 0, 17),
    Ipv4Addr::new(10, 0, 0, 27),
    Ipv4Addr::new(10, 0, 0, 37),
    // Behind a router.
    Ipv4Addr::new(10, 9, 0, 1),
    // Is not there.
    Ipv4Addr::new(10, 0, 0, 99),
];
const REAL_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 10, 1), Ipv4Addr::new(172, 16, 0, 1)];

/// The MAC of an own port.
pub fn mac_of(port: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0x64, port]
}

/// See the module's text.
#[derive(Debug)]
pub struct World {
    pub configuration: Configuration,
    pairs: VecDeque<Pair>,
    /// What has an id: reals by their key, and next hops, whose first id is 1.
    known: Vec<(Key, SocketAddrV4)>,
    hops: Vec<(u8, Ipv4Addr)>,
    generation: u64,
}

impl World {
    pub fn random(rng: &mut Rng) -> (Self, Setup) {
        let ports = ports(rng);
        let workers = *rng.choice(&[1, 1, 1, 2, 3, 4]).expect("some");
        let mut senders = Vec::new();
        if workers > 1 && rng.u8(..3) == 0 {
            senders.push((1, rng.u8(..ports.len() as u8), 0));
        }
        let all = [Bursts::AsIs, Bursts::AsIs, Bursts::Kept, Bursts::Vast, Bursts::Older];
        let setup = Setup {
            workers,
            capacity: *rng.choice(&[16, 64, 1024, 1 << 16]).expect("some"),
            bursts: *rng.choice(&all).expect("some"),
            hold: *rng.choice(&[0, 0, 0, 40]).expect("some"),
            senders,
            macs: ports.iter().map(|port| port.mac).collect(),
        };
        let configuration = Configuration {
            version: 0,
            routes: routes(rng, &ports),
            ports,
            services: Vec::new(),
            reals: Vec::new(),
            timeouts: *rng.choice(&[[900, 120, 300], [20, 5, 10], [3, 2, 1]]).expect("some"),
            route_unmatched: rng.u8(..4) != 0,
            filter_options: rng.u8(..4) != 0,
        };
        let (pairs, known, hops) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut world = Self { configuration, pairs, known, hops, generation: 0 };
        for _ in 0..rng.u8(1..6) {
            world.add_service(rng);
        }
        world.number_reals();
        (world, setup)
    }

    /// One random change of the configuration.
    pub fn change(&mut self, rng: &mut Rng) {
        match rng.u8(..16) {
            0 => self.add_service(rng),
            1 => self.remove_service(rng),
            2..=4 => self.change_real(rng, |rng, reals| {
                let weight = weight(rng);
                if let Some(real) = rng.choice(reals) {
                    real.1 = weight;
                }
            }),
            5 | 6 => self.change_real(rng, |rng, reals| {
                if !reals.is_empty() {
                    reals.remove(rng.usize(..reals.len()));
                }
            }),
            7..=9 => self.add_real(rng),
            10 => {
                let mtu = *rng.choice(&[1500, 1500, 576, 300, 68]).expect("some");
                rng.choice(&mut self.configuration.ports).expect("some").mtu = mtu;
            }
            11 => self.configuration.route_unmatched ^= true,
            12 => self.configuration.filter_options ^= true,
            13 => {
                self.configuration.timeouts =
                    *rng.choice(&[[900, 120, 300], [20, 5, 10], [3, 2, 1]]).expect("some");
            }
            14 => self.configuration.routes = routes(rng, &self.configuration.ports),
            _ => {
                let port = rng.choice(&mut self.configuration.ports).expect("some");
                port.by_device ^= true;
            }
        }
        self.number_reals();
    }

    fn add_service(&mut self, rng: &mut Rng) {
        let key = self.service(rng);
        if self.configuration.services.iter().flatten().any(|service| service.key == key) {
            return;
        }
        self.generation += 1;
        let service = Service {
            key,
            weighted: rng.bool(),
            generation: self.generation,
            reals: Vec::new(),
            history: Vec::new(),
        };
        let services = &mut self.configuration.services;
        let index = services.iter().position(Option::is_none).unwrap_or(services.len());
        services.resize(services.len().max(index + 1), None);
        services[index] = Some(service);
        for _ in 0..rng.u8(..4) {
            self.add_real_to(rng, index);
        }
    }

    fn remove_service(&mut self, rng: &mut Rng) {
        let services = &mut self.configuration.services;
        if !services.is_empty() {
            let index = rng.usize(..services.len());
            services[index] = None;
        }
    }

    fn add_real(&mut self, rng: &mut Rng) {
        let index = rng.usize(..self.configuration.services.len().max(1));
        if self.configuration.services.get(index).is_some_and(Option::is_some) {
            self.add_real_to(rng, index);
        }
    }

    fn add_real_to(&mut self, rng: &mut Rng, index: usize) {
        let address = *rng.choice(&REALS).expect("some");
        let Some(service) = &mut self.configuration.services[index] else { return };
        let port = if service.key.tcp { 80 } else { 5353 };
        let named = (service.key, SocketAddrV4::new(address, port));
        let id = self.known.iter().position(|known| *known == named).unwrap_or_else(|| {
            self.known.push(named);
            self.known.len() - 1
        }) as u32;
        if service.reals.iter().all(|(other, _)| *other != id) {
            service.reals.insert(0, (id, weight(rng)));
            service.history.push(service.reals.iter().map(|(_, weight)| *weight).collect());
        }
    }

    fn change_real(&mut self, rng: &mut Rng, change: impl Fn(&mut Rng, &mut Vec<(u32, u32)>)) {
        let mut there: Vec<_> = self.configuration.services.iter_mut().flatten().collect();
        if let Some(service) = rng.choice(&mut there) {
            let before = service.reals.clone();
            change(rng, &mut service.reals);
            if service.reals != before {
                service.history.push(service.reals.iter().map(|(_, weight)| *weight).collect());
            }
        }
    }

    /// Every real that was ever there keeps its id.
    fn number_reals(&mut self) {
        self.configuration.version += 1;
        let known = self.known.clone();
        let real = |(id, (service, endpoint)): (u32, (Key, SocketAddrV4))| {
            let all = self.configuration.services.iter().flatten();
            let removed = !all.flat_map(|service| &service.reals).any(|(listed, _)| *listed == id);
            let next_hop = self.real_hop(*endpoint.ip());
            Real { id, service, endpoint, next_hop, removed }
        };
        self.configuration.reals = (0..).zip(known).map(real).collect();
    }

    fn real_hop(&self, address: Ipv4Addr) -> u32 {
        let hop = if address.octets()[1] == 9 { REAL_ROUTER } else { address };
        let index = REALS.iter().chain([&REAL_ROUTER]).position(|known| *known == hop);
        1 + index.expect("one of the reals") as u32
    }

    /// The id of a next hop.
    pub fn hop(&mut self, port: u8, address: Ipv4Addr) -> u32 {
        if port == self.real_port() && (REALS.contains(&address) || address == REAL_ROUTER) {
            return self.real_hop(address);
        }
        let index = self.hops.iter().position(|hop| *hop == (port, address)).unwrap_or_else(|| {
            self.hops.push((port, address));
            self.hops.len() - 1
        });
        32 + index as u32
    }

    /// What is sent tells which real a client was given.
    pub fn learn(&mut self, frame: &[u8]) {
        if frame.len() < 38 || frame[12..15] != [8, 0, 0x45] || ![6, 17].contains(&frame[23]) {
            return;
        }
        let end = |address: usize, port: usize| {
            let [a, b, c, d] = frame[address..address + 4].try_into().expect("four bytes");
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([frame[port], frame[port + 1]]))
        };
        let pair = Pair { tcp: frame[23] == 6, client: end(26, 34), real: end(30, 36) };
        if !REALS.contains(pair.real.ip()) || frame[20..22] != [0x40, 0] && frame[20..22] != [0, 0] {
            return;
        }
        if !self.pairs.contains(&pair) {
            self.pairs.push_front(pair);
            self.pairs.truncate(SEEN);
        }
    }

    pub fn pair(&self, rng: &mut Rng) -> Option<Pair> {
        (!self.pairs.is_empty()).then(|| self.pairs[rng.usize(..self.pairs.len())])
    }

    /// A client's endpoint, and the port that its packets mostly come by.
    pub fn client(&self, rng: &mut Rng) -> (u8, SocketAddrV4) {
        let uplinks = self.configuration.ports.len() > 2;
        let (port, address) = match rng.u8(..8) {
            0..=3 => (0, Ipv4Addr::new(192, 168, 10, 5 + rng.u8(..4))),
            4 => (0, Ipv4Addr::new(198, 51, 100, rng.u8(1..4))),
            5 | 6 if uplinks => (2, Ipv4Addr::new(172, 16, 0, 5 + rng.u8(..4))),
            5 if self.is_one_arm() => (0, Ipv4Addr::new(10, 0, 0, 40 + rng.u8(..3))),
            _ if uplinks => (2, Ipv4Addr::new(203, 0, 113, rng.u8(1..4))),
            _ => (0, Ipv4Addr::new(198, 51, 100, rng.u8(1..4))),
        };
        let port = if rng.u8(..30) == 0 { self.any_port(rng) } else { port };
        (port, SocketAddrV4::new(address, 40_000 + rng.u16(..12)))
    }

    /// A service that may be configured.
    pub fn service(&self, rng: &mut Rng) -> Key {
        let far = Ipv4Addr::new(192, 0, 2, 1);
        let own = Ipv4Addr::new(192, 168, 10, 100);
        let other = Ipv4Addr::new(172, 16, 0, 100);
        let all = [
            (true, own, 80),
            (true, own, 443),
            (false, own, 53),
            (true, far, 80),
            (true, other, 80),
            (false, far, 53),
        ];
        let (tcp, address, port) = *rng.choice(&all).expect("some");
        Key { tcp, listen: SocketAddrV4::new(address, port) }
    }

    pub fn own_address(&self, rng: &mut Rng) -> Ipv4Addr {
        let all = [[192, 168, 10, 100], [10, 0, 0, 8], [192, 0, 2, 1], [172, 16, 0, 100]];
        Ipv4Addr::from(*rng.choice(&all).expect("some"))
    }

    pub fn real_address(&self, rng: &mut Rng) -> Ipv4Addr {
        *rng.choice(&REALS).expect("some")
    }

    pub fn any_address(&self, rng: &mut Rng) -> Ipv4Addr {
        match rng.u8(..6) {
            0 => self.own_address(rng),
            1 => self.real_address(rng),
            2 => *self.client(rng).1.ip(),
            3 => *rng.choice(&ROUTERS).expect("some"),
            4 => REAL_ROUTER,
            _ => Ipv4Addr::new(8, 8, 8, rng.u8(..4)),
        }
    }

    pub fn any_port(&self, rng: &mut Rng) -> u8 {
        rng.u8(..self.configuration.ports.len() as u8)
    }

    /// The port that leads to the reals.
    pub fn real_port(&self) -> u8 {
        u8::from(!self.is_one_arm())
    }

    fn is_one_arm(&self) -> bool {
        self.configuration.ports.len() == 1
    }

    /// A host, and the port that it is reached through.
    pub fn neighbour(&self, rng: &mut Rng) -> (u8, Ipv4Addr) {
        match rng.u8(..6) {
            0 | 1 => (self.real_port(), self.real_address(rng)),
            2 => (self.real_port(), REAL_ROUTER),
            3 => (0, ROUTERS[0]),
            4 if self.configuration.ports.len() > 2 => (2, ROUTERS[1]),
            _ => {
                let (port, client) = self.client(rng);
                (port, *client.ip())
            }
        }
    }
}

fn weight(rng: &mut Rng) -> u32 {
    *rng.choice(&[1, 1, 1, 2, 3, 5, 8, 0, 100]).expect("some")
}

fn ports(rng: &mut Rng) -> Vec<Port> {
    let mut ports = Vec::new();
    let mut add = |leads, addresses: &[&'static str], by_device| {
        let mac = mac_of(ports.len() as u8);
        ports.push(Port { leads, mac, mtu: 1500, addresses: addresses.to_vec(), by_device });
    };
    let by_device = rng.u8(..4) == 0;
    match rng.u8(..4) {
        0 => add(Leads::Both, &["192.168.10.100/24", "10.0.0.8/24"], by_device),
        kind => {
            add(Leads::Clients, &["192.168.10.100/24"], by_device);
            add(Leads::Reals, &["10.0.0.8/24"], by_device);
            if kind == 3 {
                add(Leads::Clients, &["172.16.0.100/24"], by_device);
            }
        }
    }
    ports
}

fn routes(rng: &mut Rng, ports: &[Port]) -> Vec<Route> {
    let real_port = u8::from(ports.len() > 1);
    let mut routes = vec![
        Route { prefix: "198.51.100.0/24", port: 0, via: Some(ROUTERS[0]) },
        Route { prefix: "10.9.0.0/16", port: real_port, via: Some(REAL_ROUTER) },
    ];
    if ports.len() > 2 {
        routes.push(Route { prefix: "203.0.113.0/24", port: 2, via: Some(ROUTERS[1]) });
        if rng.bool() {
            routes.push(Route { prefix: "0.0.0.0/0", port: 2, via: Some(ROUTERS[1]) });
        }
    }
    if rng.bool() {
        routes.push(Route { prefix: "0.0.0.0/0", port: 0, via: Some(ROUTERS[0]) });
    }
    routes
}
