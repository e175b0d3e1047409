//! The configuration that benches run on: two ports, a TCP and a UDP service, all next hops known.

use crate::flows::{GATEWAY, GATEWAY_V6, REAL, REAL_V6, TCP_PORT, UDP_PORT, VIP, VIP_V6};
use dataplane::connection::Timeouts;
use dataplane::connection::kept::Home;
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::{ControlEnd, Order, channel};
use dataplane::frame::FrameIo;
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Identity, Options, Schedule};
use dataplane::snapshot::{
    Description, EthPort, Interface, IpOptions, Policy, Real, Route, Service, Snapshot, Steering, Thresholds,
    Unmatched,
};
use dataplane::steering::{ClientBits, Family, Indirection, OwnerMap};
use dataplane::worker::Worker;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// The port towards clients.
pub const VIP_PORT: InterfaceId = InterfaceId(0);
/// The port towards reals.
pub const DIP_PORT: InterfaceId = InterfaceId(1);
/// MAC of [`VIP_PORT`].
pub const VIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// MAC of [`DIP_PORT`].
pub const DIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// Always the same, so that instruction counts are.
pub const HASH_KEY: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0xbf58_476d_1ce4_e5b9 };
/// The moment that everything begins at.
pub const START: Now = Now { nanoseconds: 1_000_000_000 };

/// A worker that has adopted [`snapshot`]`(reals)` and knows its next hops, and the other end of it.
///
/// # Panics
/// If there is no memory for the table.
pub fn worker<Io: FrameIo>(
    io: Io,
    capacity: usize,
    reals: u8,
    huge: memory::Huge,
) -> (Worker<Io>, ControlEnd) {
    worker_with(io, capacity, (reals, Algorithm::WeightedRoundRobin), huge)
}

/// As [`worker`], with another algorithm.
///
/// # Panics
/// If there is no memory for the table.
pub fn worker_with<Io: FrameIo>(
    io: Io,
    capacity: usize,
    (reals, algorithm): (u8, Algorithm),
    huge: memory::Huge,
) -> (Worker<Io>, ControlEnd) {
    worker_of(io, capacity, (reals, algorithm), Kind::default(), huge)
}

/// What kind of services there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// The policy of the UDP service.
    pub udp: Policy,
    /// Whether they are on any port, and so are their reals.
    pub any_port: bool,
    /// Whether there are the same services on IPv6 besides.
    pub both_families: bool,
}

/// As [`worker_with`], with services of this kind.
///
/// # Panics
/// As [`worker_with`].
pub fn worker_of<Io: FrameIo>(
    io: Io,
    capacity: usize,
    (reals, algorithm): (u8, Algorithm),
    kind: Kind,
    huge: memory::Huge,
) -> (Worker<Io>, ControlEnd) {
    let (end, mut control) = channel(next_hops(reals), Arc::default());
    let mut worker = Worker::new(io, end, capacity, HASH_KEY, huge).expect("memory for the table");
    if kind.both_families {
        worker = worker.with_ipv6(capacity, huge).expect("memory for the table");
    }
    let snapshot = snapshot_of(reals, algorithm, kind, Steering::Software);
    configure(&mut control, Arc::new(snapshot), reals);
    worker.turn(START);
    (worker, control)
}

/// A worker as [`worker`] makes it, with one real, and tables in files.
///
/// # Panics
/// If there is no memory for what is beside them.
pub fn worker_kept<Io: FrameIo>(io: Io, home: Home) -> (Worker<Io>, ControlEnd) {
    let (end, mut control) = channel(next_hops(1), Arc::default());
    let mut worker = Worker::kept(io, end, home).expect("memory beside the tables");
    let snapshot = snapshot_of(1, Algorithm::WeightedRoundRobin, Kind::default(), Steering::Software);
    configure(&mut control, Arc::new(snapshot), 1);
    worker.turn(START);
    (worker, control)
}

/// The next hops of [`snapshot`]`(reals)`: the router and the reals, all resolved.
pub fn next_hops(reals: u8) -> Arc<NextHops> {
    let next_hops = NextHops::new([VIP_MAC, DIP_MAC]);
    for (id, port, _) in neighbours(reals) {
        next_hops.set(id, NextHop::resolved(port, Mac([2, 0, 0, 0, 1, id.0 as u8])));
    }
    Arc::new(next_hops)
}

/// Has a worker run on this snapshot, and know its neighbours.
///
/// # Panics
/// If its orders find no room.
pub fn configure(control: &mut ControlEnd, snapshot: Arc<Snapshot>, reals: u8) {
    control.orders.push(Order::Adopt(snapshot)).expect("room");
    for (id, interface, address) in neighbours(reals) {
        let key = NeighbourKey { interface, address };
        control.orders.push(Order::Reachable(key, id)).expect("room");
    }
}

fn neighbours(reals: u8) -> impl Iterator<Item = (NextHopId, InterfaceId, IpAddr)> {
    let of_both = |(v4, v6)| [IpAddr::V4(v4), IpAddr::V6(v6)];
    let addresses = move |index| of_both((real_address(index), real_address_v6(index)));
    let reals = (0..reals).flat_map(move |index| {
        addresses(index).map(|address| (real_next_hop(index, address), DIP_PORT, address))
    });
    let [v4, v6] = of_both((GATEWAY, GATEWAY_V6));
    reals.chain([(NextHopId(1), VIP_PORT, v4), (NextHopId(1 + OF_V6), VIP_PORT, v6)])
}

/// An owner map that is the same in each run, whose table has so many entries.
///
/// # Panics
/// If that is no size of a table.
pub fn owners(workers: usize, entries: usize) -> Arc<OwnerMap> {
    let mut state = 3u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state
    };
    let table = Indirection::shuffled(entries, workers, &mut random).expect("a size of a table");
    let key = [0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67];
    let map = OwnerMap::random(table, random).expect("random enough");
    Arc::new(map.with_key(Family::V4, &key, ClientBits::ALONE).expect("ten bytes"))
}

fn real_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(REAL) + u32::from(index))
}

fn real_address_v6(index: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(REAL_V6.to_bits() + u128::from(index))
}

/// The next hops of IPv6 are numbered from here on.
const OF_V6: u32 = 256;

fn real_next_hop(index: u8, address: IpAddr) -> NextHopId {
    NextHopId(2 + u32::from(index) + if address.is_ipv6() { OF_V6 } else { 0 })
}

/// A TCP and a UDP service on [`VIP`], each with so many reals of weight 1: those of TCP have the ids
/// from 0 on, those of UDP from `reals` on.
///
/// # Panics
/// Never: the addresses in it are written right.
pub fn snapshot(reals: u8) -> Snapshot {
    steered_snapshot(reals, Steering::Software)
}

/// What [`snapshot`] has, with another way for packets to find their workers.
///
/// # Panics
/// Never: the addresses in it are written right.
pub fn steered_snapshot(reals: u8, steering: Steering) -> Snapshot {
    snapshot_of(reals, Algorithm::WeightedRoundRobin, Kind::default(), steering)
}

fn snapshot_of(reals: u8, algorithm: Algorithm, kind: Kind, steering: Steering) -> Snapshot {
    let port_of = |port| if kind.any_port { 0 } else { port };
    let key_of = |vip, protocol, port| ServiceKey::new(protocol, SocketAddr::new(vip, port_of(port)));
    let on = |vip| [key_of(vip, Protocol::Tcp, TCP_PORT), key_of(vip, Protocol::Udp, UDP_PORT)];
    let mut services = on(VIP.into()).to_vec();
    let (mut to_clients, mut to_reals) = (vec!["10.255.0.1/24"], vec!["10.254.0.254/24"]);
    let mut routes = vec![("0.0.0.0/0", IpAddr::V4(GATEWAY))];
    if kind.both_families {
        services.extend(on(VIP_V6.into()));
        to_clients.push("2001:db8:ff::1/64");
        to_reals.push("2001:db8:fe::254/64");
        routes.push(("::/0", GATEWAY_V6.into()));
    }
    let port = |side, mac, addresses: Vec<&str>| Interface {
        side,
        mac,
        mtu: 1500,
        addresses: addresses.into_iter().map(|address| address.parse().expect("an address")).collect(),
    };
    let all_reals = services.iter().flat_map(|service| (0..reals).map(move |index| (*service, index)));
    let address_of = |service: &ServiceKey, index| match service.listen {
        SocketAddr::V4(_) => IpAddr::V4(real_address(index)),
        SocketAddr::V6(_) => real_address_v6(index).into(),
    };
    Snapshot::compile(Description {
        version: 1,
        eth_ports: vec![EthPort { steering }; 2],
        interfaces: vec![port(Side::Vip, VIP_MAC, to_clients), port(Side::Dip, DIP_MAC, to_reals)],
        services: (0..)
            .zip(&services)
            .map(|(index, key)| {
                let schedule = schedule_by(algorithm, index * u32::from(reals), &vec![1; usize::from(reals)]);
                let policy = if key.protocol == Protocol::Udp { kind.udp } else { Policy::default() };
                Some(Service { key: *key, policy, timeouts: None, schedule: Arc::new(schedule) })
            })
            .collect(),
        reals: (0..)
            .zip(all_reals)
            .map(|(id, (service, index))| (id, service, address_of(&service, index), index))
            .map(|(id, service, address, index)| Real {
                id: RealId(id),
                key: RealKey { service, endpoint: SocketAddr::new(address, service.listen.port()) },
                next_hop: real_next_hop(index, address),
                thresholds: Thresholds::default(),
                removed: None,
                is_emptied: false,
            })
            .collect(),
        routes: routes
            .into_iter()
            .map(|(prefix, via)| Route {
                prefix: prefix.parse().expect("a prefix"),
                interface: VIP_PORT,
                via: Some(via),
            })
            .collect(),
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Route,
        ip_options: IpOptions::Filter,
        sloppy_tcp: false,
        sloppy_sctp: false,
        keep_quiescent_templates: false,
    })
}

/// `wrr` over reals with these weights, numbered from `first` on.
pub fn schedule(first: u32, weights: &[u32]) -> Schedule {
    schedule_by(Algorithm::WeightedRoundRobin, first, weights)
}

/// As [`schedule`], by another algorithm.
pub fn schedule_by(algorithm: Algorithm, first: u32, weights: &[u32]) -> Schedule {
    let candidates =
        (first..).zip(weights).map(|(id, weight)| Candidate { real: RealId(id), weight: *weight }).collect();
    let changes = vec![Change::of(weights.iter().copied())];
    let identities = (first..).zip(weights).map(|(id, weight)| Identity {
        endpoint: SocketAddrV4::new(Ipv4Addr::from(u32::from(REAL) + id), TCP_PORT).into(),
        last_weight: *weight,
    });
    let options = Options { identities: identities.collect(), ..Options::default() };
    Schedule::with_options(algorithm, &options, 1, candidates, (0, changes))
}
