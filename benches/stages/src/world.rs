//! The configuration that benches run on.

use dataplane::connection::Timeouts;
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::{ControlEnd, Order, channel};
use dataplane::frame::FrameIo;
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Schedule};
use dataplane::snapshot::{
    Description, EthPort, Interface, IpOptions, Policy, Real, Route, Service, Snapshot, Steering, Unmatched,
};
use dataplane::worker::Worker;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// The port towards clients.
pub const VIP_PORT: InterfaceId = InterfaceId(0);
/// The port towards reals.
pub const DIP_PORT: InterfaceId = InterfaceId(1);
/// The virtual address of both services.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
/// The first real; the others follow it.
pub const REAL: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);
/// The clients' router: all of them are behind it.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
/// MAC of [`VIP_PORT`].
pub const VIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// MAC of [`DIP_PORT`].
pub const DIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// Port of the TCP service.
pub const TCP_PORT: u16 = 80;
/// Port of the UDP service.
pub const UDP_PORT: u16 = 53;
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
    let next_hops = Arc::new(NextHops::new([VIP_MAC, DIP_MAC]));
    let (end, mut control) = channel(Arc::clone(&next_hops));
    let mut worker = Worker::new(io, end, capacity, HASH_KEY, huge).expect("memory for the table");
    control.orders.push(Order::Adopt(Arc::new(snapshot(reals)))).expect("room");
    let neighbours = (0..reals).map(|index| (real_next_hop(index), DIP_PORT, real_address(index)));
    for (id, port, address) in neighbours.chain([(NextHopId(1), VIP_PORT, GATEWAY)]) {
        next_hops.set(id, NextHop::resolved(port, Mac([2, 0, 0, 0, 1, id.0 as u8])));
        let key = NeighbourKey { interface: port, address: std::net::IpAddr::V4(address) };
        control.orders.push(Order::Reachable(key, id)).expect("room");
    }
    worker.turn(START);
    (worker, control)
}

fn real_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(REAL) + u32::from(index))
}

fn real_next_hop(index: u8) -> NextHopId {
    NextHopId(2 + u32::from(index))
}

/// A TCP and a UDP service on [`VIP`], each with so many reals of weight 1: those of TCP have the ids
/// from 0 on, those of UDP from `reals` on.
///
/// # Panics
/// Never: the addresses in it are written right.
pub fn snapshot(reals: u8) -> Snapshot {
    let key_of = |protocol, port| ServiceKey {
        protocol,
        listen: std::net::SocketAddr::V4(SocketAddrV4::new(VIP, port)),
    };
    let services = [key_of(Protocol::Tcp, TCP_PORT), key_of(Protocol::Udp, UDP_PORT)];
    let port = |side, mac, address: &str| Interface {
        side,
        mac,
        mtu: 1500,
        addresses: vec![address.parse().expect("an address")],
    };
    let all_reals = services.iter().flat_map(|service| (0..reals).map(move |index| (*service, index)));
    Snapshot::compile(Description {
        version: 1,
        eth_ports: vec![EthPort { steering: Steering::Software }; 2],
        interfaces: vec![
            port(Side::Vip, VIP_MAC, "10.255.0.1/24"),
            port(Side::Dip, DIP_MAC, "10.254.0.254/24"),
        ],
        services: (0..)
            .zip(services)
            .map(|(index, key)| {
                let schedule = schedule(index * u32::from(reals), &vec![1; usize::from(reals)]);
                Some(Service { key, policy: Policy::default(), schedule: Arc::new(schedule) })
            })
            .collect(),
        reals: (0..)
            .zip(all_reals)
            .map(|(id, (service, index))| Real {
                id: RealId(id),
                key: RealKey {
                    service,
                    endpoint: std::net::SocketAddr::V4(SocketAddrV4::new(
                        real_address(index),
                        service.listen.port(),
                    )),
                },
                next_hop: real_next_hop(index),
                removed: None,
            })
            .collect(),
        routes: vec![Route {
            prefix: "0.0.0.0/0".parse().expect("a prefix"),
            interface: VIP_PORT,
            via: Some(std::net::IpAddr::V4(GATEWAY)),
        }],
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Route,
        ip_options: IpOptions::Filter,
    })
}

/// `wrr` over reals with these weights, numbered from `first` on.
pub fn schedule(first: u32, weights: &[u32]) -> Schedule {
    let candidates =
        (first..).zip(weights).map(|(id, weight)| Candidate { real: RealId(id), weight: *weight }).collect();
    let changes = vec![Change::of(weights.iter().copied())];
    Schedule::new(Algorithm::WeightedRoundRobin, 1, candidates, 0, changes)
}
