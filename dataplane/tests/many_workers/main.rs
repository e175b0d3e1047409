//! Several workers: the packets that leave, and their order, are those of one worker, wherever they are received.
//!
//! ```text
//! main          traffic, and its comparison between one worker and several
//! steering      which worker gets a packet, and what is counted of it
//! handing_over  the rings between workers
//! sending       workers that send for others
//! ipv6          both families on the same ports
//! ```

mod handing_over;
mod ipv6;
mod sending;
mod steering;
#[path = "../support/mod.rs"]
mod support;

use dataplane::exchange::orders::Order;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId};
use dataplane::names::side::Side;
use dataplane::names::time::Now;
use dataplane::snapshot::Steering;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use support::cluster::Cluster;
use support::packet::{ACK, FIN, Packet, RST, SYN, read};
use support::*;

/// A small generator, which gives equal packets each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit
    }
}

/// One real for each service, so that the pick does not depend on the worker.
fn one_real_each() -> Lab {
    let mut lab = Lab::new();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS2, 5353), 1)] },
    ]);
    lab
}

/// A frame that arrives, and what a NIC would hash: its two endpoints.
struct Arrival {
    port: InterfaceId,
    bytes: Vec<u8>,
    flow: (SocketAddrV4, SocketAddrV4),
    /// Whose it is on the NIC that hashes the client's endpoint alone; `None` for what has none.
    client: Option<SocketAddrV4>,
}

/// Plausible traffic of many clients, numbered so that each frame can be recognised.
fn traffic(count: usize) -> Vec<Arrival> {
    let mut random = Random(2);
    let mut arrivals = Vec::new();
    for number in 0..count as u32 {
        let client = at(CLIENT, 40000 + random.below(300) as u16);
        let (web, dns) = (at(VIP, 80), at(VIP, 53));
        let numbered = |mut packet: Packet| {
            packet.sequence = number;
            if packet.protocol == 17 {
                packet.payload.extend(number.to_be_bytes());
            }
            packet
        };
        let from_client = |packet: Packet| (VIP0, numbered(packet).macs(CLIENT_MAC, VIP_MAC));
        let from_real = |packet: Packet| (DIP0, numbered(packet).macs(RS1_MAC, DIP_MAC));
        let (port, packet) = match random.below(14) {
            0 | 1 => from_client(Packet::tcp(client, web, SYN)),
            2 | 3 => from_client(Packet::tcp(client, web, ACK)),
            4 => from_client(Packet::tcp(client, web, FIN | ACK)),
            5 => from_real(Packet::tcp(at(RS1, 80), client, SYN | ACK)),
            6 => from_real(Packet::tcp(at(RS1, 80), client, ACK)),
            7 => from_real(Packet::tcp(at(RS1, 80), client, RST)),
            8 | 9 => from_client(Packet::udp(client, dns, b"question")),
            10 => from_real(Packet::udp(at(RS2, 5353), client, b"answer")),
            11 => {
                let quoted = numbered(Packet::tcp(client, at(RS1, 80), ACK)).datagram();
                from_real(Packet::icmp(RS1, *client.ip(), [3, 1], [0; 4], &quoted))
            }
            12 => {
                let quoted = numbered(Packet::udp(dns, client, b"answer")).datagram();
                from_client(Packet::icmp(*client.ip(), VIP, [3, 3], [0; 4], &quoted))
            }
            // Routed, both ways.
            _ if number % 2 == 0 => from_real(Packet::udp(at(RS1, 7000), client, b"routed")),
            _ => from_client(Packet::udp(client, at(RS2, 7000), b"routed")),
        };
        let plain = packet.protocol != 1;
        let steered = if port == VIP0 { packet.source } else { packet.destination };
        let flow = (packet.source, packet.destination);
        let client = plain.then_some(steered);
        arrivals.push(Arrival { port, bytes: packet.frame(), flow, client });
    }
    arrivals
}

/// Which worker's queue a device puts a frame into.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// By the client's endpoint, as the owner map.
    Right,
    /// By both endpoints, as a kernel or an unprogrammed NIC does.
    ByFlow,
    /// All into the first worker's.
    One,
}

fn queue(spread: Spread, arrival: &Arrival, cluster: &Cluster) -> usize {
    let by_flow = || {
        let (source, destination) = arrival.flow;
        let words = [source, destination].map(|e| u64::from(u32::from(*e.ip())) << 16 | u64::from(e.port()));
        let mixed = (words[0] ^ words[1].rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 40) % cluster.workers.len() as u64) as usize
    };
    match (spread, arrival.client) {
        (Spread::One, _) => 0,
        (Spread::Right, Some(client)) => cluster.owner(client),
        (Spread::Right, None) | (Spread::ByFlow, _) => by_flow(),
    }
}

type Connection = (InterfaceId, SocketAddrV4, SocketAddrV4, Vec<u8>);

/// What left, by port and by the connection that it belongs to, in order.
fn by_connection(sent: &[Sent]) -> HashMap<Connection, Vec<Vec<u8>>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for sent in sent {
        let seen = read(&sent.bytes);
        // An ICMP error's connection is known by the ports of the packet that it quotes.
        let quoted = if seen.protocol == 1 { seen.payload[28..32].to_vec() } else { Vec::new() };
        let key = (sent.port, seen.source, seen.destination, quoted);
        all.entry(key).or_default().push(sent.bytes.clone());
    }
    all
}

/// Gives one traffic to one worker and to several, and compares everything that comes out.
fn compare(workers: usize, spread: Spread, steering: Steering) -> Cluster {
    let mut one = one_real_each();
    let mut cluster = Cluster::new(&one, workers, steering);
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let mut random = Random(9);
    let arrivals = traffic(8000);
    let mut rest = &arrivals[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + random.below(60) as usize));
        rest = later;
        // Queues are not in step: what meets a connection's first packet on another is let in after it,
        // as with a client that waits for its answer.
        let group = |arrival: &&Arrival| (arrival.port, arrival.client.is_none());
        for key in [(VIP0, false), (VIP0, true), (DIP0, false), (DIP0, true)] {
            for arrival in now.iter().filter(|arrival| group(arrival) == key) {
                one.worker.io().arrive(arrival.port, &arrival.bytes);
                cluster.arrive(queue(spread, arrival, &cluster), arrival.port, &arrival.bytes);
            }
            alone.extend((0..4).flat_map(|_| one.turn()));
            together.extend(cluster.settle());
        }
    }
    assert!(alone.len() > 7000, "{}", alone.len());
    assert_eq!(alone.len(), together.len(), "{workers} workers, {spread:?}, {steering:?}");
    let (alone, together) = (by_connection(&alone), by_connection(&together));
    for (connection, packets) in &alone {
        let is_same = together.get(connection) == Some(packets);
        assert!(is_same, "{workers} workers, {spread:?}, {steering:?}: {connection:?}");
    }
    for reason in DropReason::ALL {
        assert_eq!(cluster.dropped(*reason), one.dropped(*reason), "{reason:?}");
    }
    let made = |counters: &dataplane::counters::WorkerCounters| counters.connections_created.get();
    assert_eq!(cluster.sum(made), made(one.counters()));
    assert_eq!(cluster.sum(|counters| counters.rx_packets.get()), arrivals.len() as u64);
    assert_eq!(
        cluster.sum(|counters| counters.handed_over.get()),
        cluster.sum(|counters| counters.taken_over.get())
    );
    let live: usize = cluster.workers.iter_mut().map(|worker| worker.io().live_frames()).sum();
    assert_eq!(live, 0);
    cluster
}

fn misdirected(cluster: &Cluster) -> u64 {
    cluster.sum(|counters| counters.misdirected.iter().map(|port| port.get()).sum())
}
