//! Two workers on net_pcap with a file for each queue, spread rightly and wrongly: what they write is
//! what one worker writes, packet by packet of every connection.

mod support;

use dataplane::connection::Timeouts;
use dataplane::connection::table::HashKey;
use dataplane::counters::WorkerCounters;
use dataplane::exchange::orders::{ControlEnd, Order, channel};
use dataplane::exchange::peers::mesh;
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Schedule};
use dataplane::snapshot::{
    Description, Interface, IpOptions, Policy, Real, Service, Snapshot, Steering, Thresholds, Unmatched,
};
use dataplane::steering::OwnerMap;
use dataplane::translation::endpoint_bits;
use dataplane::worker::Worker;
use dpdk::{Eal, EthPort, Pool, Queues};
use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use support::{config, eal, pcap, unpack};
use traffic::packet::Packet;
use traffic::world::owners;

const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 10, 100), 53);
const REAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), 5353);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 6);
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 6];
const REAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
/// Connections, and packets of each in each direction.
const CLIENTS: u16 = 50;
const PACKETS: u32 = 20;
/// Frames for others before the first reply, so that it meets its connection.
const LEAD: usize = 2000;

/// How the files' frames are spread over the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// One queue, one worker.
    Single,
    /// As the owner map says.
    Right,
    /// Always to the other worker.
    Wrong,
    /// By flow, differently in each direction, as a NIC that nobody told anything.
    ByFlow,
}

const CASES: [(Spread, Steering); 5] = [
    (Spread::Single, Steering::Device),
    (Spread::Right, Steering::Device),
    (Spread::Wrong, Steering::Device),
    (Spread::Wrong, Steering::Software),
    (Spread::ByFlow, Steering::Software),
];

/// The EAL starts once a process, so this file has one test.
#[test]
fn two_workers_write_what_one_writes() {
    let directory = tempfile::tempdir().unwrap();
    let owners = owners(2, 64);
    let vdevs: Vec<[String; 2]> = CASES
        .iter()
        .enumerate()
        .map(|(case, (spread, _))| write_files(directory.path(), case, *spread, &owners))
        .collect();
    let eal = eal(192, vdevs.iter().flatten().cloned().collect());

    let mut outputs = Vec::new();
    for (case, (spread, steering)) in CASES.into_iter().enumerate() {
        let counters = run(&eal, case, &vdevs[case], spread, steering, &owners);
        let sum = |counter: fn(&WorkerCounters) -> u64| {
            counters.iter().map(|counters| counter(counters)).sum::<u64>()
        };
        let handed_over = sum(|counters| counters.handed_over.get());
        let misdirected = sum(|counters| counters.misdirected.iter().map(|port| port.get()).sum());
        let packets = 2 * u64::from(CLIENTS) * u64::from(PACKETS);
        match (spread, steering) {
            (Spread::Single | Spread::Right, _) => {
                assert_eq!((handed_over, misdirected), (0, 0), "{spread:?}")
            }
            (Spread::Wrong, Steering::Software) => assert_eq!((handed_over, misdirected), (packets, 0)),
            (Spread::Wrong, _) => assert_eq!((handed_over, misdirected), (packets, packets)),
            (Spread::ByFlow, _) => {
                assert!((packets / 4..packets / 4 * 3).contains(&handed_over), "{handed_over}")
            }
        }
        assert_eq!(sum(|counters| counters.connections_created.get()), u64::from(CLIENTS));
        let dropped =
            |reason: DropReason| counters.iter().map(|counters| counters.dropped(reason).get()).sum::<u64>();
        for reason in DropReason::ALL.iter().filter(|reason| **reason != DropReason::OtherHost) {
            assert_eq!(dropped(*reason), 0, "{spread:?}, {steering:?}: {reason:?}");
        }
        if spread == Spread::Right {
            assert!(counters.iter().all(|counters| counters.connections.get() > 5), "both have some");
        }
        outputs.push(by_connection(directory.path(), case, spread));
    }
    let one = &outputs[0];
    assert_eq!(one.len(), 2 * usize::from(CLIENTS));
    assert!(one.values().all(|packets| packets.len() == PACKETS as usize));
    for (output, case) in outputs.iter().zip(CASES).skip(1) {
        for (connection, packets) in one {
            assert!(output.get(connection) == Some(packets), "{case:?}: {connection:?}");
        }
        assert_eq!(output.len(), one.len());
    }
}

fn mac(port: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, port + 1]
}

/// Writes what arrives; returns the devices of both ports.
fn write_files(directory: &Path, case: usize, spread: Spread, owners: &OwnerMap) -> [String; 2] {
    [0u8, 1].map(|port| {
        let mut queues = [Vec::new(), Vec::new()];
        if port == 1 {
            let mut other = frame([2, 9, 9, 9, 9, 9], VIP, VIP, 0);
            other[12..14].copy_from_slice(&[0x88, 0xb5]); // a local experiment's EtherType: nobody's connection
            queues = [vec![other.clone(); LEAD], vec![other; LEAD]];
        }
        for number in 0..PACKETS {
            for client in (0..CLIENTS).map(|client| SocketAddrV4::new(CLIENT, 40000 + client)) {
                let owner = owners.owner(endpoint_bits(client));
                let queue = match spread {
                    Spread::Single => 0,
                    Spread::Right => owner,
                    Spread::Wrong => 1 - owner,
                    Spread::ByFlow => usize::from((client.port() >> port ^ u16::from(port)) & 1),
                };
                let (from, to) = if port == 0 { (client, VIP) } else { (REAL, client) };
                queues[queue].push(frame(mac(port), from, to, number));
            }
        }
        let count = if spread == Spread::Single { 1 } else { 2 };
        let mut device = format!("net_pcap{}", case * 2 + usize::from(port));
        for (queue, frames) in queues.iter().enumerate().take(count) {
            let input = directory.join(format!("in-{case}-{port}-{queue}.pcap"));
            fs::write(&input, pcap(frames)).unwrap();
            device += &format!(",rx_pcap={}", input.display());
        }
        for queue in 0..count {
            device += &format!(",tx_pcap={}", output(directory, case, port, queue).display());
        }
        device
    })
}

fn output(directory: &Path, case: usize, port: u8, queue: usize) -> std::path::PathBuf {
    directory.join(format!("out-{case}-{port}-{queue}.pcap"))
}

/// Turns the workers one after the other until all files are read.
fn run(
    eal: &Eal,
    case: usize,
    devices: &[String; 2],
    spread: Spread,
    steering: Steering,
    owners: &Arc<OwnerMap>,
) -> Vec<Arc<WorkerCounters>> {
    let count = if spread == Spread::Single { 1 } else { 2 };
    let ports: Vec<EthPort> = devices
        .iter()
        .enumerate()
        .map(|(index, device)| {
            let mut port = EthPort::open(eal, device).unwrap();
            let pool =
                |queue| Pool::new(eal, &format!("case{case}-{index}-{queue}"), 2047, 0, 2048, None).unwrap();
            let pools = (0..count).map(pool).collect();
            port.configure(config(pools)).unwrap();
            port.start().unwrap();
            port
        })
        .collect();
    let next_hops = Arc::new(NextHops::new([0, 1].map(|port| Mac(mac(port)))));
    let owners = if count == 1 { Arc::new(OwnerMap::single()) } else { Arc::clone(owners) };
    let (mut workers, mut controls): (Vec<Worker<Queues>>, Vec<ControlEnd>) = (Vec::new(), Vec::new());
    for (number, peers) in mesh(&owners).into_iter().enumerate() {
        let queues = Queues::new(ports.iter().map(|port| port.queue(number as u16).unwrap()).collect());
        let (end, control) = channel(Arc::clone(&next_hops), Arc::default());
        let key = HashKey { mask: 1, multiplier: 0x9e37_79b9_7f4a_7c15 };
        workers.push(Worker::new(queues, end, 1024, key, memory::Huge::Never).unwrap().with_peers(peers));
        controls.push(control);
    }
    let snapshot = Arc::new(snapshot(steering));
    for control in &mut controls {
        control.orders.push(Order::Adopt(Arc::clone(&snapshot))).unwrap();
        for (id, port, address, mac) in [(1, 0, CLIENT, CLIENT_MAC), (2, 1, *REAL.ip(), REAL_MAC)] {
            next_hops.set(NextHopId(id), NextHop::resolved(InterfaceId(port), Mac(mac)));
            control
                .orders
                .push(Order::Reachable(
                    NeighbourKey { interface: InterfaceId(port), address: address.into() },
                    NextHopId(id),
                ))
                .unwrap();
        }
    }
    let (mut now, mut idle) = (1_000_000_000, 0);
    while idle < 10 {
        let handled: usize = workers
            .iter_mut()
            .map(|worker| {
                now += 1000;
                worker.turn(Now { nanoseconds: now })
            })
            .sum();
        idle = if handled == 0 { idle + 1 } else { 0 };
    }
    controls.into_iter().map(|control| control.counters).collect()
}

fn snapshot(steering: Steering) -> Snapshot {
    let key = RealKey { service: ServiceKey::new(Protocol::Udp, VIP.into()), endpoint: REAL.into() };
    let port = |index: u8, side, address: &str| Interface {
        side,
        mac: Mac(mac(index)),
        mtu: 1500,
        addresses: vec![address.parse().unwrap()],
    };
    let candidates = vec![Candidate { real: RealId(0), weight: 1 }];
    let schedule = Schedule::new(Algorithm::WeightedRoundRobin, 1, candidates, 0, vec![Change::of([1])]);
    Snapshot::compile(Description {
        version: 1,
        eth_ports: vec![dataplane::snapshot::EthPort { steering }; 2],
        interfaces: vec![port(0, Side::Vip, "192.168.10.100/24"), port(1, Side::Dip, "10.0.0.8/24")],
        services: vec![Some(Service {
            key: key.service,
            policy: Policy::default(),
            timeouts: None,
            schedule: Arc::new(schedule),
        })],
        reals: vec![Real {
            id: RealId(0),
            key,
            next_hop: NextHopId(2),
            thresholds: Thresholds::default(),
            is_emptied: false,
            removed: None,
        }],
        routes: Vec::new(),
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Route,
        ip_options: IpOptions::Filter,
        sloppy_tcp: false,
        sloppy_sctp: false,
        keep_quiescent_templates: false,
    })
}

/// A UDP packet with a number in it, in a frame of 60 bytes.
fn frame(to: [u8; 6], source: SocketAddrV4, destination: SocketAddrV4, number: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(18, 0);
    Packet::udp(source, destination, &payload).macs([2, 0, 0, 0, 9, 9], to).frame()
}

/// What left, by port and the endpoints in it, in order over each queue.
fn by_connection(directory: &Path, case: usize, spread: Spread) -> HashMap<(u8, Vec<u8>), Vec<Vec<u8>>> {
    let mut all: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
    for port in [0, 1] {
        for queue in 0..if spread == Spread::Single { 1 } else { 2 } {
            for frame in unpack(&fs::read(output(directory, case, port, queue)).unwrap()) {
                all.entry((port, frame[26..38].to_vec())).or_default().push(frame);
            }
        }
    }
    all
}
