//! Cycles a packet of the packet path on plain memory, net of the source's own.
//!
//! `micro [--hand-over] [FLOWS …]`: for each number of flows the median over windows of 64 turns, of the source
//! alone (receive and send back) and of a worker in between. TSC cycles. With `--hand-over` instead what
//! it costs that a packet is another worker's.
//!
//! ```text
//! source     traffic made in memory
//! hand_over  two workers on two cores
//! ```
#![forbid(unsafe_code)]

mod hand_over;
mod source;

use dataplane::names::ids::InterfaceId;

use dataplane::names::ids::EthPortId;

use arrayvec::ArrayVec;
use dataplane::connection::Timeouts;
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::{Order, channel};
use dataplane::frame::{BURST, FrameIo};
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::ids::{NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Schedule};
use dataplane::snapshot::{
    Description, Interface, IpOptions, Policy, Real, Route, Service, Snapshot, Steering, Unmatched,
};
use dataplane::worker::Worker;
use source::{DIP_MAC, REAL, Source, TCP_PORT, Traffic, UDP_PORT, VIP, VIP_MAC};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// Turns in a window.
const WINDOW: usize = 64;
/// Windows of which the median is taken.
const WINDOWS: usize = 2001;

fn main() {
    if std::env::args().any(|argument| argument == "--hand-over") {
        return hand_over::print();
    }
    let named: Vec<u32> = std::env::args().skip(1).filter_map(|flows| flows.parse().ok()).collect();
    let flows = if named.is_empty() { vec![1_000, 64_000, 1_000_000] } else { named };
    println!("{:>10} {:>8} {:>8} {:>8} {:>8}", "flows", "traffic", "source", "worker", "net");
    for flows in flows {
        for traffic in [Traffic::Forward, Traffic::Mixed] {
            let bare = bare(flows, traffic);
            let through = through_worker(flows, traffic);
            println!("{flows:>10} {traffic:>8?} {bare:>8.1} {through:>8.1} {:>8.1}", through - bare);
        }
    }
}

/// The median of cycles a packet over all windows.
fn median(mut turn: impl FnMut() -> usize) -> f64 {
    let mut windows: Vec<f64> = (0..WINDOWS)
        .map(|_| {
            let began = dpdk::tsc();
            let packets: usize = (0..WINDOW).map(|_| turn()).sum();
            (dpdk::tsc() - began) as f64 / packets as f64
        })
        .collect();
    windows.sort_by(f64::total_cmp);
    windows[WINDOWS / 2]
}

fn bare(flows: u32, traffic: Traffic) -> f64 {
    let mut source: Source = Source::new(flows);
    source.traffic = traffic;
    median(|| {
        let mut packets = 0;
        for port in 0..2 {
            let mut burst: ArrayVec<_, BURST> = ArrayVec::new();
            source.receive(EthPortId(port), &mut burst);
            packets += burst.len();
            source.transmit(EthPortId(1 - port), &mut burst);
        }
        packets
    })
}

fn through_worker(flows: u32, traffic: Traffic) -> f64 {
    let next_hops = Arc::new(NextHops::new([VIP_MAC, DIP_MAC]));
    let (end, mut control) = channel(Arc::clone(&next_hops));
    let capacity = flows as usize;
    let mut worker = Worker::new(Source::<false>::new(flows), end, capacity, KEY, memory::Huge::Auto)
        .expect("memory for the table");
    control.orders.push(Order::Adopt(Arc::new(snapshot(Steering::Software)))).expect("room");
    for (id, (port, address)) in (1..).zip([(0, GATEWAY), (1, REAL)]) {
        next_hops.set(NextHopId(id), NextHop::resolved(InterfaceId(port), Mac([2, 0, 0, 0, 1, port])));
        let key = NeighbourKey { interface: InterfaceId(port), address: std::net::IpAddr::V4(address) };
        control.orders.push(Order::Reachable(key, NextHopId(id))).expect("room");
    }
    let now = clock();
    while !worker.io().is_open() {
        worker.turn(now());
    }
    worker.turn(now()); // a turn without frames finishes the last burst
    let made = worker.table().len();
    assert_eq!(made, flows as usize, "every flow has its connection");
    worker.io().traffic = traffic;
    median(|| worker.turn(now()))
}

/// A clock that a worker is turned by.
fn clock() -> impl Fn() -> Now {
    let began = dpdk::tsc();
    let hz = dpdk::tsc_hz().max(2_600_000_000);
    move || {
        let cycles = u128::from(dpdk::tsc() - began);
        Now { nanoseconds: (cycles * 1_000_000_000 / u128::from(hz)) as u64 + 1_000_000_000 }
    }
}

/// Of the table's hash.
const KEY: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0xbf58_476d_1ce4_e5b9 };

/// The clients' router: all of them are behind it.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);

fn snapshot(steering: Steering) -> Snapshot {
    let real_of = |protocol, port| RealKey {
        service: ServiceKey { protocol, listen: std::net::SocketAddr::V4(SocketAddrV4::new(VIP, port)) },
        endpoint: std::net::SocketAddr::V4(SocketAddrV4::new(REAL, port)),
    };
    let keys = [real_of(Protocol::Tcp, TCP_PORT), real_of(Protocol::Udp, UDP_PORT)];
    let port = |side, mac, address: &str| Interface {
        side,
        mac,
        mtu: 1500,
        addresses: vec![address.parse().expect("an address")],
    };
    let service = |index: u32| {
        let candidates = vec![Candidate { real: RealId(index), weight: 1 }];
        let changes = vec![Change::of([1])];
        let schedule = Schedule::new(Algorithm::WeightedRoundRobin, 1, candidates, 0, changes);
        Some(Service {
            key: keys[index as usize].service,
            policy: Policy::default(),
            schedule: Arc::new(schedule),
        })
    };
    Snapshot::compile(Description {
        version: 1,
        eth_ports: vec![dataplane::snapshot::EthPort { steering }; 2],
        interfaces: vec![
            port(Side::Vip, VIP_MAC, "10.255.0.1/24"),
            port(Side::Dip, DIP_MAC, "10.254.0.2/24"),
        ],
        services: vec![service(0), service(1)],
        reals: (0..)
            .zip(keys)
            .map(|(id, key)| Real { id: RealId(id), key, next_hop: NextHopId(2), removed: None })
            .collect(),
        routes: vec![Route {
            prefix: "0.0.0.0/0".parse().expect("a prefix"),
            interface: InterfaceId(0),
            via: Some(std::net::IpAddr::V4(GATEWAY)),
        }],
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Route,
        ip_options: IpOptions::Filter,
    })
}
