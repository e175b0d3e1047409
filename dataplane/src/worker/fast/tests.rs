//! IPv6 through the loops: from frames that are received to those that are sent.

use super::staged::Staged;
use crate::connection::Timeouts;
use crate::connection::family::Family;
use crate::connection::table::HashKey;
use crate::counters::RealCounters;
use crate::exchange::orders::channel;
use crate::frame::plain::{PlainFrame, PlainIo};
use crate::frame::{BURST, FrameIo};
use crate::live::next_hops::{NextHop, NextHops};
use crate::live::reals::Reals;
use crate::names::drop_reason::DropReason;
use crate::names::family::V6;
use crate::names::ids::{EthPortId, InterfaceId, NextHopId, Protocol, RealId, RealKey, ServiceKey};
use crate::names::mac::Mac;
use crate::names::side::Side;
use crate::names::time::Now;
use crate::schedule::{Algorithm, Candidate, Schedule};
use crate::snapshot::{
    Description, EthPort, Interface, IpOptions, Policy, Real, Service, Snapshot, Steering, Thresholds,
    Unmatched,
};
use crate::worker::Worker;
use etherparse::PacketBuilder;
use memory::Huge;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;

const VIP_SIDE: InterfaceId = InterfaceId(0);
const DIP_SIDE: InterfaceId = InterfaceId(1);
const OURS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
const CLIENTS: Mac = Mac([2, 0, 0, 0, 1, 1]);
const SERVERS: Mac = Mac([2, 0, 0, 0, 1, 2]);
const TO_SERVERS: NextHopId = NextHopId(1);
const TO_CLIENTS: NextHopId = NextHopId(2);
const NOW: Now = Now { nanoseconds: 5_000_000_000 };
const REALS: u32 = 3;
const SYN: u16 = 1;
const ACK: u16 = 2;

/// The service of a protocol.
fn vip(protocol: Protocol) -> SocketAddrV6 {
    let port = if protocol == Protocol::Tcp { 80 } else { 53 };
    SocketAddrV6::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80), port, 0, 0)
}

fn server(protocol: Protocol, n: u32) -> SocketAddrV6 {
    let port = 8000 + n as u16;
    let address = Ipv6Addr::new(0xfd00, n as u16, 0, 0, 0, 0, 0, protocol.number().into());
    SocketAddrV6::new(address, port, 0, 0)
}

/// Clients that the words of their keys do not tell apart.
fn client(n: u32) -> SocketAddrV6 {
    let n = u128::from(n);
    SocketAddrV6::new(Ipv6Addr::from_bits(0x2001 << 112 | n << 64 | n << 32 | 1), 40_000, 0, 0)
}

fn protocol_of(n: u32) -> Protocol {
    if n.is_multiple_of(3) { Protocol::Udp } else { Protocol::Tcp }
}

fn snapshot() -> Snapshot {
    let interface = |(side, mac)| Interface { side, mac, mtu: 1500, addresses: Vec::new() };
    let protocols = [Protocol::Tcp, Protocol::Udp];
    let key = |protocol| ServiceKey::new(protocol, vip(protocol).into());
    let id = |protocol: Protocol, n| RealId(if protocol == Protocol::Tcp { n } else { REALS + n });
    let reals = protocols.into_iter().flat_map(|protocol| {
        (0..REALS).map(move |n| Real {
            id: id(protocol, n),
            key: RealKey { service: key(protocol), endpoint: server(protocol, n).into() },
            next_hop: TO_SERVERS,
            thresholds: Thresholds::default(),
            is_emptied: false,
            removed: None,
        })
    });
    let services = protocols.into_iter().map(|protocol| {
        let candidates = (0..REALS).map(|n| Candidate { real: id(protocol, n), weight: 1 });
        let schedule = Arc::new(Schedule::new(Algorithm::RoundRobin, 0, candidates.collect(), 0, Vec::new()));
        Some(Service { key: key(protocol), policy: Policy::default(), timeouts: None, schedule })
    });
    Snapshot::compile(Description {
        version: 1,
        eth_ports: vec![EthPort { steering: Steering::Device }; 2],
        interfaces: [Side::Vip, Side::Dip].into_iter().zip(OURS).map(interface).collect(),
        services: services.collect(),
        reals: reals.collect(),
        routes: Vec::new(),
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Drop,
        ip_options: IpOptions::Filter,
        sloppy_tcp: false,
        sloppy_sctp: false,
        keep_quiescent_templates: false,
    })
}

fn worker() -> Worker<PlainIo> {
    let next_hops = Arc::new(NextHops::new(OURS));
    next_hops.set(TO_SERVERS, NextHop::resolved(DIP_SIDE, SERVERS));
    next_hops.set(TO_CLIENTS, NextHop::resolved(VIP_SIDE, CLIENTS));
    let (end, _control) = channel(next_hops, Arc::new(Reals::default()));
    let secret = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
    let worker = Worker::new(PlainIo::new(2), end, 2000, secret, Huge::Never).unwrap();
    let mut worker = worker.with_ipv6(2000, Huge::Never).unwrap();
    let snapshot = Arc::new(snapshot());
    worker.flows.adopt(&worker.snapshot, &snapshot, 0, Now { nanoseconds: 0 });
    worker.snapshot = snapshot;
    worker
}

/// A packet from one MAC and endpoint to another.
fn packet(
    macs: [Mac; 2],
    [from, to]: [SocketAddrV6; 2],
    protocol: Protocol,
    flags: u16,
    hops: u8,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder =
        PacketBuilder::ethernet2(macs[0].0, macs[1].0).ipv6(from.ip().octets(), to.ip().octets(), hops);
    let payload = [9; 20];
    match protocol {
        Protocol::Udp => builder.udp(from.port(), to.port()).write(&mut bytes, &payload),
        Protocol::Tcp => {
            let segment = builder.tcp(from.port(), to.port(), 7, 1000);
            if flags == SYN { segment.syn() } else { segment.ack(1) }.write(&mut bytes, &payload)
        }
        Protocol::Sctp => unreachable!("it is never plain"),
    }
    .unwrap();
    bytes
}

fn from_client(n: u32, flags: u16, hops: u8) -> Vec<u8> {
    let protocol = protocol_of(n);
    packet([CLIENTS, OURS[0]], [client(n), vip(protocol)], protocol, flags, hops)
}

/// Where these packets leave, in order.
fn sent(worker: &mut Worker<PlainIo>, arrival: InterfaceId, packets: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
    let port = arrival.eth_port();
    packets.iter().for_each(|bytes| worker.io().arrive(port, bytes));
    let [mut decoded, mut spare] = [Staged::<PlainFrame, V6>::default(), Staged::default()];
    loop {
        worker.egress.io.io.receive(port, &mut spare.frames);
        spare.arrival = arrival;
        let (mut turn, _) = worker.lend(NOW);
        turn.decode_burst(&mut spare);
        turn.resolve_and_prefetch(&mut decoded, &spare);
        std::mem::swap(&mut decoded, &mut spare);
        if decoded.frames.is_empty() {
            break;
        }
    }
    worker.egress.flush(NOW);
    if worker.flows.tables.v6.is_to_resize() {
        worker.flows.tables.v6.resize(&worker.counters);
    }
    [0, 1].map(|port| worker.io().take_sent(EthPortId(port)))
}

/// The server that a client's connection is with.
fn served_by(worker: &Worker<PlainIo>, n: u32) -> SocketAddrV6 {
    let table = &worker.flows.tables.v6;
    let key = V6::key(client(n).into(), protocol_of(n)).unwrap();
    let (_, entry) = table.find(table.hash(key), key, |_| true).expect("a connection");
    server(protocol_of(n), entry.real().0 % REALS)
}

fn walk(mut worker: Worker<PlainIo>) {
    const COUNT: u32 = 900;
    // New connections, burst by burst, and then their next packets: some bursts are not full.
    for flags in [SYN, ACK] {
        for first in (0..COUNT).step_by(90) {
            let clients = first..first + 90;
            let packets: Vec<_> = clients.clone().map(|n| from_client(n, flags, 64)).collect();
            let [back, sent] = sent(&mut worker, VIP_SIDE, &packets);
            assert!(back.is_empty());
            let expected: Vec<_> = clients
                .map(|n| {
                    let ends = [client(n), served_by(&worker, n)];
                    packet([OURS[1], SERVERS], ends, protocol_of(n), flags, 63)
                })
                .collect();
            assert!(sent == expected, "from {first} on");
        }
        assert_eq!(worker.flows.tables.len(), COUNT as usize);
    }
    // The way back, which routes of this family would know.
    for n in 0..COUNT {
        let table = &mut worker.flows.tables.v6;
        let key = V6::key(client(n).into(), protocol_of(n)).unwrap();
        let (slot, _) = table.find(table.hash(key), key, |_| true).unwrap();
        table.set_next_hop(slot, TO_CLIENTS);
    }
    let replies: Vec<_> = (0..COUNT)
        .map(|n| packet([SERVERS, OURS[1]], [served_by(&worker, n), client(n)], protocol_of(n), ACK, 64))
        .collect();
    let [back, sent_on] = sent(&mut worker, DIP_SIDE, &replies);
    let expected: Vec<_> = (0..COUNT)
        .map(|n| packet([OURS[0], CLIENTS], [vip(protocol_of(n)), client(n)], protocol_of(n), ACK, 63))
        .collect();
    assert!(sent_on.is_empty() && back == expected);
    let reals: Vec<_> = (0..2 * REALS).map(|n| worker.counters.real(RealId(n))).collect();
    let count = |counter: fn(&RealCounters) -> u64| reals.iter().map(|real| counter(real)).sum::<u64>();
    assert_eq!(count(|real| real.in_packets.get()), u64::from(2 * COUNT));
    assert_eq!(count(|real| real.out_packets.get()), u64::from(COUNT));
    let length = |n| u64::from(if protocol_of(n) == Protocol::Tcp { 80u8 } else { 68 });
    assert_eq!(count(|real| real.out_bytes.get()), (0..COUNT).map(length).sum());
    // Among others that are sent: one without life left, and one of no connection.
    let mut packets: Vec<_> = (0..BURST as u32).map(|n| from_client(n, ACK, 64)).collect();
    packets[4] = from_client(4, ACK, 1);
    packets[20] = from_client(2 * COUNT + 1, ACK, 64);
    let [back, sent] = sent(&mut worker, VIP_SIDE, &packets);
    assert_eq!((back.len(), sent.len()), (0, BURST - 2));
    assert_eq!(worker.counters.dropped(DropReason::Ipv6).get(), 2);
    assert_eq!(worker.io().live_frames(), 0);
}

#[test]
fn ipv6_walks_the_loops() {
    walk(worker());
    walk(worker().keeping_bursts_as_if_vast());
    walk(worker().as_on_an_older_processor());
}
