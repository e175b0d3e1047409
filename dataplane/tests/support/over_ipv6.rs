//! A lab like that of the transcripts over IPv6, with services made by the words of `ipvsadm`, and TCP and UDP to send.

use super::*;
use dataplane::persistence::CopiedTemplate;
use dataplane::snapshot::Persistence;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// In the order of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Reals,
}

pub const SIDES: [Side; 2] = [Side::Client, Side::Reals];

/// `fd00:NETWORK::HOST`
pub const fn address(network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, network, 0, 0, 0, 0, 0, host)
}

pub const CLIENT6: Ipv6Addr = address(0x10, 6);
pub const VIP6: Ipv6Addr = address(0x10, 0x100);
pub const DIP6: Ipv6Addr = address(0x20, 8);

/// A service, its scheduler, and its reals with their weights in the order in which they were added.
pub struct Served {
    pub key: ServiceKey,
    pub reals: Vec<(SocketAddr, u32)>,
    algorithm: Algorithm,
    flags: Flags,
    persistence: Option<Persistence>,
    one_packet: bool,
}

pub struct World {
    pub lab: Lab,
    pub services: Vec<Served>,
    known: Vec<RealKey>,
}

impl World {
    /// The clients fd00:10::6 and ::10 to ::50, some of other networks behind a router, and four reals.
    pub fn new() -> Self {
        let mut lab = Lab::of_both_families();
        lab.description.interfaces[VIP0.0 as usize].addresses.push("fd00:10::100/64".parse().unwrap());
        lab.description.interfaces[DIP0.0 as usize].addresses.push("fd00:20::8/64".parse().unwrap());
        let elsewhere = "fd00::/16".parse().unwrap();
        lab.description.routes.push(Route { prefix: elsewhere, interface: VIP0, via: Some(CLIENT6.into()) });
        lab.apply();
        let clients = std::iter::once(6).chain(0x10..=0x50);
        let clients = clients.map(|host| (VIP0, address(0x10, host), sender(Side::Client, CLIENT6)));
        let reals = [7, 0x17, 0x27, 0x37].map(|host| address(0x20, host));
        let reals = reals.map(|real| (DIP0, real, sender(Side::Reals, real)));
        for (interface, address, mac) in clients.chain(reals) {
            lab.reachable(NeighbourKey { interface, address: address.into() }, Mac(mac));
        }
        Self { lab, services: Vec::new(), known: Vec::new() }
    }

    /// `-A -t [fd00:10::100]:80 -s rr -p 50 -M 64`, and `-a`, `-e`, `-d`, `-D` and `-C` likewise; others change
    /// nothing.
    pub fn command(&mut self, words: &[&str]) {
        let word = |name: &str| words.iter().skip_while(|word| **word != name).nth(1).copied();
        let of = |name, protocol| word(name).map(|listen| ServiceKey::new(protocol, listen.parse().unwrap()));
        let key = of("-t", Protocol::Tcp).or_else(|| of("-u", Protocol::Udp));
        let real = word("-r").map(|real| real.parse::<SocketAddr>().unwrap());
        let weight = word("-w").map_or(1, |weight| weight.parse().unwrap());
        let reals = key.and_then(|key| self.services.iter_mut().find(|service| service.key == key));
        let reals = reals.map(|service| &mut service.reals);
        match (words[0], real, reals) {
            ("-A", ..) => {
                let mask = word("-M").map_or(128, |length| length.parse().unwrap());
                let mask = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX << (128 - mask)));
                // `-p` without a number stands at the end.
                let seconds =
                    words.contains(&"-p").then(|| word("-p").map_or(360, |number| number.parse().unwrap()));
                let flags = word("-b").into_iter().flat_map(|flags| flags.split(','));
                let flag = |word: &str| if word.ends_with("port") { Flags::PORT } else { Flags::FALLBACK };
                self.services.push(Served {
                    key: key.unwrap(),
                    reals: Vec::new(),
                    algorithm: word("-s").unwrap().parse().unwrap(),
                    flags: flags.fold(Flags::NONE, |flags, word| flags.with(flag(word))),
                    persistence: seconds.map(|seconds| Persistence { seconds, mask }),
                    one_packet: words.contains(&"-o"),
                });
            }
            ("-a", Some(real), Some(reals)) => reals.push((real, weight)),
            ("-e", Some(real), Some(reals)) => {
                reals.iter_mut().find(|(found, _)| *found == real).unwrap().1 = weight
            }
            ("-d", Some(real), Some(reals)) => reals.retain(|(found, _)| *found != real),
            ("-D", ..) => self.services.retain(|service| Some(service.key) != key),
            ("-C", ..) => self.services.clear(),
            _ => return,
        }
        self.configure();
    }

    pub fn real_id(&mut self, service: ServiceKey, endpoint: SocketAddr) -> RealId {
        let key = RealKey { service, endpoint };
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.lab.real_id(key)
    }

    fn configure(&mut self) {
        let version = self.lab.description.version;
        let mut services = Vec::new();
        let mut listed = Vec::new();
        for (index, served) in std::mem::take(&mut self.services).into_iter().enumerate() {
            let (mut candidates, mut changes, mut identities) = (Vec::new(), Vec::new(), Vec::new());
            for (endpoint, weight) in &served.reals {
                let real = self.real_id(served.key, *endpoint);
                listed.push(real);
                candidates.insert(0, Candidate { real, weight: *weight });
                identities.insert(0, Identity { endpoint: *endpoint, last_weight: *weight });
                changes.push(Change::of(candidates.iter().map(|candidate| candidate.weight)));
            }
            let options = Options { flags: served.flags, identities, ..Options::default() };
            let generation = version * 100 + index as u64 + 1;
            let schedule =
                Schedule::with_options(served.algorithm, &options, generation, candidates, (0, changes));
            services.push(Some(Service {
                key: served.key,
                policy: Policy {
                    persistence: served.persistence,
                    one_packet: served.one_packet,
                    ..Policy::default()
                },
                timeouts: None,
                schedule: Arc::new(schedule),
            }));
            self.services.push(served);
        }
        let reals = self.known.clone().into_iter().map(|key| {
            let id = self.lab.real_id(key);
            let next_hop = self.lab.next_hop_id(NeighbourKey { interface: DIP0, address: key.endpoint.ip() });
            Real {
                id,
                key,
                next_hop,
                thresholds: Thresholds::default(),
                removed: (!listed.contains(&id)).then_some(OnRemoval::Drop),
                is_emptied: false,
            }
        });
        (self.lab.description.reals, self.lab.description.services) = (reals.collect(), services);
        self.lab.apply();
    }

    pub fn set_mtu(&mut self, side: Side, mtu: u16) {
        self.lab.description.interfaces[side as usize].mtu = mtu;
        self.lab.apply();
    }

    /// Lets a frame arrive; what leaves.
    pub fn arrive(&mut self, side: Side, frame: &[u8]) -> Vec<Sent> {
        self.lab.arrive([VIP0, DIP0][side as usize], frame)
    }

    /// Every persistence template.
    pub fn templates(&mut self) -> Vec<CopiedTemplate> {
        let (mut slice, mut templates) = (Slice::first(), Vec::new());
        while slice.position.is_some() {
            self.lab.control.orders.push(Order::Export(slice)).unwrap();
            self.lab.turn();
            let Ok(Return::Exported(exported)) = self.lab.control.returns.pop() else {
                panic!("the worker gives the slice back");
            };
            templates.extend(&exported.templates);
            slice = exported;
        }
        templates
    }
}

/// The MAC of natlb's interface on a side.
pub fn ours(side: Side) -> [u8; 6] {
    [VIP_MAC.0, DIP_MAC.0][side as usize]
}

/// The MAC of a host; all clients are behind one.
pub fn sender(side: Side, source: Ipv6Addr) -> [u8; 6] {
    if side == Side::Client { CLIENT_MAC.0 } else { [2, 0, 0, 0, 0, source.octets()[15]] }
}

pub fn set_flags(tcp: &mut TcpHeader, flags: u8) {
    (tcp.fin, tcp.syn, tcp.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    (tcp.psh, tcp.ack) = (flags & 8 != 0, flags & 16 != 0);
}

fn builder(side: Side, ends: [SocketAddr; 2]) -> PacketBuilderStep<IpHeaders> {
    let [source, destination] = ends.map(|end| match end.ip() {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => panic!("{end} is IPv4"),
    });
    PacketBuilder::ethernet2(sender(side, source), ours(side)).ipv6(source.octets(), destination.octets(), 64)
}

/// A segment that arrives on a side, with so many bytes of options and data.
pub fn tcp(side: Side, ends: [SocketAddr; 2], flags: u8, options: usize, data: usize) -> Vec<u8> {
    let mut tcp = TcpHeader::new(ends[0].port(), ends[1].port(), 1000, 1000);
    set_flags(&mut tcp, flags);
    tcp.set_options_raw(&vec![1; options]).unwrap();
    let mut bytes = Vec::new();
    builder(side, ends).tcp_header(tcp).write(&mut bytes, &vec![0; data]).unwrap();
    bytes
}

/// A datagram that arrives on a side, with so many bytes of data.
pub fn udp(side: Side, ends: [SocketAddr; 2], data: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder(side, ends).udp(ends[0].port(), ends[1].port()).write(&mut bytes, &vec![0; data]).unwrap();
    bytes
}
