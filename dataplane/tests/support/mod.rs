//! A lab in plain memory: one worker between a client and two reals, time by hand.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

pub mod cluster;
pub mod family;
pub mod over_ipv6;
pub mod packet;
pub mod packet6;
pub mod persistent;

use dataplane::connection::table::HashKey;
use dataplane::connection::{Copied, Timeouts};
use dataplane::counters::WorkerCounters;
use dataplane::exchange::orders::{ControlEnd, Order, Return, Slice, channel};
use dataplane::frame::plain::PlainIo;
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Flags, Identity, Options, Schedule};
use dataplane::snapshot::{
    Description, EthPort, Interface, IpOptions, OnRemoval, Policy, Real, Route, Routes, Service, Snapshot,
    Steering, Thresholds, Unmatched,
};
use dataplane::worker::Worker;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

pub const VIP0: InterfaceId = InterfaceId(0);
pub const DIP0: InterfaceId = InterfaceId(1);
/// A second port towards clients, in labs that have one.
pub const VIP1: InterfaceId = InterfaceId(2);
pub const VIP_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 0x64]);
pub const DIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 8]);
pub const VIP1_MAC: Mac = Mac([2, 0, 0, 0, 0x20, 0x64]);
pub const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 6]);
pub const RS1_MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
pub const RS2_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x17]);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 6);
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 100);
pub const DIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 8);
pub const RS1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
pub const RS2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 17);
/// A network behind the client's router, and that router.
pub const FAR_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);

pub fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

pub fn tcp_service(listen: SocketAddrV4) -> ServiceKey {
    ServiceKey::new(Protocol::Tcp, std::net::SocketAddr::V4(listen))
}

pub fn udp_service(listen: SocketAddrV4) -> ServiceKey {
    ServiceKey::new(Protocol::Udp, std::net::SocketAddr::V4(listen))
}

/// A frame that left, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub port: InterfaceId,
    pub bytes: Vec<u8>,
}

/// A service to configure: its key, and its reals with weights in the order they are added.
#[derive(Clone)]
pub struct Configured {
    pub key: ServiceKey,
    pub reals: Vec<(SocketAddrV4, u32)>,
}

pub struct Lab {
    pub worker: Worker<PlainIo>,
    pub control: ControlEnd,
    pub next_hops: Arc<NextHops>,
    pub description: Description,
    pub neighbours: Vec<(NeighbourKey, NextHopId)>,
    /// Of the services that are configured.
    pub algorithm: Algorithm,
    pub flags: Flags,
    /// Of services that have timeouts of their own.
    pub own_timeouts: Vec<(ServiceKey, Timeouts)>,
    /// What services say becomes of connections of removed reals.
    pub on_removal: OnRemoval,
    /// Of reals that have any.
    pub thresholds: Vec<(RealKey, Thresholds)>,
    /// Reals whose connections are to end.
    pub emptied: Vec<RealKey>,
    known: Vec<RealKey>,
    now: u64,
    next_id: u32,
}

impl Lab {
    pub fn new() -> Self {
        Self::with_capacity(1024)
    }

    /// Both ports, no service; client, reals and the client's router are known neighbours. Full bursts are kept until
    /// the next, as with large tables.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::of(capacity, Worker::keeping_bursts)
    }

    /// A lab like that, with prefetching as for a vast table.
    pub fn with_vast_table(capacity: usize) -> Self {
        Self::of(capacity, Worker::keeping_bursts_as_if_vast)
    }

    /// Bursts are kept, as on a processor without AVX2.
    pub fn on_an_older_processor(capacity: usize) -> Self {
        Self::of(capacity, |worker| worker.keeping_bursts().as_on_an_older_processor())
    }

    /// Bursts are kept only where the table is large.
    pub fn with_near_table(capacity: usize) -> Self {
        Self::of(capacity, |worker| worker)
    }

    /// With room for connections of IPv6, too.
    pub fn of_both_families() -> Self {
        Self::of(1024, |worker| worker.keeping_bursts().with_ipv6(1024, memory::Huge::Never).unwrap())
    }

    /// Its worker holds no more frames than so many.
    pub fn holding_at_most(frames: usize) -> Self {
        let mut lab = Self::of(1024, |worker| worker.holding_at_most(frames));
        lab.configure(&[]);
        lab
    }

    fn of(capacity: usize, prepared: impl Fn(Worker<PlainIo>) -> Worker<PlainIo>) -> Self {
        let next_hops = Arc::new(NextHops::new([VIP_MAC, DIP_MAC, VIP1_MAC]));
        let (end, control) = channel(Arc::clone(&next_hops), Arc::default());
        let key = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
        let never = memory::Huge::Never;
        // Next to none, so that what is sized by both tables is not much larger.
        let of_ipv4 = if family::is_ipv6() { 1 } else { capacity };
        let worker = Worker::new(PlainIo::new(3), end, of_ipv4, key, never).unwrap();
        let worker = if family::is_ipv6() { worker.with_ipv6(capacity, never).unwrap() } else { worker };
        let worker = prepared(worker);
        let description = Description {
            version: 0,
            eth_ports: Vec::new(),
            interfaces: vec![
                Interface {
                    side: Side::Vip,
                    mac: VIP_MAC,
                    mtu: 1500,
                    addresses: vec!["192.168.10.100/24".parse().unwrap()],
                },
                Interface {
                    side: Side::Dip,
                    mac: DIP_MAC,
                    mtu: 1500,
                    addresses: vec!["10.0.0.8/24".parse().unwrap()],
                },
            ],
            services: Vec::new(),
            reals: Vec::new(),
            routes: vec![Route {
                prefix: "198.51.100.0/24".parse().unwrap(),
                interface: VIP0,
                via: Some(std::net::IpAddr::V4(ROUTER)),
            }],
            timeouts: Timeouts::default(),
            unmatched: Unmatched::Route,
            ip_options: IpOptions::Filter,
            sloppy_tcp: false,
            sloppy_sctp: false,
            keep_quiescent_templates: false,
        };
        let mut lab = Self {
            worker,
            control,
            next_hops,
            description,
            neighbours: Vec::new(),
            algorithm: Algorithm::WeightedRoundRobin,
            flags: Flags::NONE,
            own_timeouts: Vec::new(),
            on_removal: OnRemoval::Drop,
            thresholds: Vec::new(),
            emptied: Vec::new(),
            known: Vec::new(),
            now: 1_000_000_000_000,
            next_id: 1,
        };
        lab.apply();
        for (port, address, mac) in [
            (VIP0, CLIENT, CLIENT_MAC),
            (DIP0, RS1, RS1_MAC),
            (DIP0, RS2, RS2_MAC),
            (VIP0, ROUTER, Mac([2, 0, 0, 0, 0x10, 1])),
        ] {
            lab.reachable(NeighbourKey { interface: port, address: std::net::IpAddr::V4(address) }, mac);
        }
        lab
    }

    /// The lab of the how-to: VIP:80 over rs1 and rs2, and UDP VIP:53 likewise.
    pub fn serving() -> Self {
        let mut lab = Self::new();
        lab.configure(&[
            Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1), (at(RS2, 80), 1)] },
            Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)] },
        ]);
        lab
    }

    pub fn counters(&self) -> &WorkerCounters {
        &self.control.counters
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.counters().dropped(reason).get()
    }

    /// The id that this real has, or gets.
    pub fn real_id(&mut self, key: RealKey) -> RealId {
        let index = self.known.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.known.push(key);
            self.known.len() - 1
        });
        RealId(index as u32)
    }

    /// Makes these the services; reals that are not named any more are kept as removed.
    pub fn configure(&mut self, services: &[Configured]) {
        let mut listed = Vec::new();
        self.description.services.clear();
        for (index, service) in services.iter().enumerate() {
            let mut candidates = Vec::new();
            let mut changes = Vec::new();
            for (endpoint, weight) in &service.reals {
                let key = RealKey { service: service.key, endpoint: std::net::SocketAddr::V4(*endpoint) };
                let real = self.real_id(key);
                listed.push(key);
                candidates.insert(0, Candidate { real, weight: *weight });
                changes.push(Change::of(candidates.iter().map(|candidate| candidate.weight)));
            }
            let generation = self.description.version * 100 + index as u64 + 1;
            let identity = |(endpoint, weight): &(SocketAddrV4, u32)| Identity {
                endpoint: std::net::SocketAddr::V4(*endpoint),
                last_weight: *weight,
            };
            let identities = service.reals.iter().rev().map(identity).collect();
            let options = Options { flags: self.flags, identities, ..Options::default() };
            let schedule =
                Schedule::with_options(self.algorithm, &options, generation, candidates, (0, changes));
            self.description.services.push(Some(Service {
                key: service.key,
                policy: Policy { on_removal: self.on_removal, ..Policy::default() },
                timeouts: self
                    .own_timeouts
                    .iter()
                    .find_map(|(key, timeouts)| (*key == service.key).then(|| Arc::new(*timeouts))),
                schedule: Arc::new(schedule),
            }));
        }
        // The control thread gives the way to each real an id before it is resolved.
        let known = self.known.clone();
        let routes = Routes::new(&self.description.interfaces, &self.description.routes);
        self.description.reals = (0..)
            .zip(known)
            .map(|(id, key)| {
                let address = key.endpoint.ip();
                let hop = routes.to_real(address).unwrap_or(NeighbourKey { interface: DIP0, address });
                let next_hop = self.next_hop_id(hop);
                Real {
                    id: RealId(id),
                    key,
                    next_hop,
                    thresholds: self.thresholds_of(&key),
                    removed: (!listed.contains(&key)).then_some(self.on_removal),
                    is_emptied: listed.contains(&key) && self.emptied.contains(&key),
                }
            })
            .collect();
        self.apply();
    }

    fn thresholds_of(&self, real: &RealKey) -> Thresholds {
        self.thresholds.iter().find(|(key, _)| key == real).map_or(Thresholds::default(), |(_, of)| *of)
    }

    /// Has the worker adopt the description.
    pub fn apply(&mut self) {
        self.description.version += 1;
        let interfaces = self.description.interfaces.len();
        self.description.eth_ports = vec![EthPort { steering: Steering::Software }; interfaces];
        let snapshot = Arc::new(Snapshot::compile(family::description(&self.description)));
        self.control.orders.push(Order::Adopt(snapshot)).unwrap();
        self.turn();
        let version = self.control.counters.snapshot_version.get();
        assert_eq!(version, self.description.version, "the worker says what it runs on");
        while let Ok(returned) = self.control.returns.pop() {
            assert!(matches!(returned, Return::Retired(_)));
        }
    }

    /// The id that this next hop has, or gets.
    pub fn next_hop_id(&mut self, key: NeighbourKey) -> NextHopId {
        if let Some((_, id)) = self.neighbours.iter().find(|(known, _)| *known == key) {
            return *id;
        }
        let id = NextHopId(self.next_id);
        self.next_id += 1;
        self.neighbours.push((key, id));
        id
    }

    /// The neighbour has answered.
    pub fn reachable(&mut self, key: NeighbourKey, mac: Mac) -> Vec<Sent> {
        let id = self.next_hop_id(key);
        self.next_hops.set(id, NextHop::resolved(key.interface, mac));
        self.control.orders.push(Order::Reachable(family::neighbour(key), id)).unwrap();
        self.turn()
    }

    pub fn now(&self) -> Now {
        Now { nanoseconds: self.now }
    }

    /// One turn; what leaves in it.
    pub fn turn(&mut self) -> Vec<Sent> {
        self.now += 1000;
        let now = self.now();
        self.worker.turn(now);
        let mut sent = Vec::new();
        for port in InterfaceId::all().take(self.description.interfaces.len()) {
            let frames = self.worker.io().take_sent(port);
            sent.extend(frames.into_iter().map(|bytes| Sent { port, bytes: family::frame_out(bytes) }));
        }
        sent
    }

    /// Has a frame come with the next turn.
    pub fn queue(&mut self, port: InterfaceId, bytes: &[u8]) {
        self.worker.io().arrive(port, &family::frame_in(bytes));
    }

    /// Has the control thread say that this neighbour does not answer.
    pub fn unreachable(&mut self, key: NeighbourKey) {
        self.control.orders.push(Order::Unreachable(family::neighbour(key))).unwrap();
    }

    /// Lets a frame arrive; what leaves.
    pub fn arrive(&mut self, port: InterfaceId, bytes: &[u8]) -> Vec<Sent> {
        self.queue(port, bytes);
        self.turn()
    }

    /// Lets time pass in steps of a second with a few turns each, as an idle worker does.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.now += 250_000_000;
            self.turn();
        }
    }

    /// Lets time pass without a turn.
    pub const fn skip(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
    }

    /// Lets time pass at once, with turns enough for a full pass of the sweep.
    pub fn leap(&mut self, seconds: u64) {
        self.now += seconds * 1_000_000_000;
        for _ in 0..4 {
            self.now += 1_000_000_000;
            self.turn();
        }
    }

    /// Every live connection, in the state that is shown.
    pub fn connections(&mut self) -> Vec<Copied> {
        let mut rows = Vec::new();
        let mut slice = Slice::first();
        for _ in 0..10_000 {
            self.control.orders.push(Order::Export(slice)).unwrap();
            self.turn();
            let Ok(Return::Exported(exported)) = self.control.returns.pop() else {
                panic!("the worker gives the slice back");
            };
            let shown = |row: &Copied| Copied { state: row.state.shown(), ..family::row_back(*row) };
            rows.extend(exported.rows.iter().map(shown));
            if exported.position.is_none() {
                return rows;
            }
            slice = exported;
        }
        panic!("the dump does not end");
    }
}
