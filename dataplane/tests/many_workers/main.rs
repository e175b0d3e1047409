//! Several workers: the packets that leave, and their order, are those of one worker, wherever they are received.

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

#[test]
fn steered_by_the_device_nothing_but_errors_is_handed_over() {
    for workers in [2, 3, 4] {
        let cluster = compare(workers, Spread::Right, Steering::Device);
        assert_eq!(misdirected(&cluster), 0);
        let handed_over = cluster.sum(|counters| counters.handed_over.get());
        assert!((1..1200).contains(&handed_over), "{handed_over} of 8000, the ICMP errors are some 1140");
    }
}

#[test]
fn what_the_device_puts_wrong_is_handed_over_and_counted() {
    for workers in [2, 4] {
        let cluster = compare(workers, Spread::ByFlow, Steering::Device);
        assert!(misdirected(&cluster) > 1600, "{}", misdirected(&cluster));
    }
    let cluster = compare(2, Spread::One, Steering::Device);
    assert_eq!(cluster.counters(1).rx_packets.get(), 0);
    assert!(cluster.counters(1).taken_over.get() > 1600);
}

#[test]
fn steered_by_software_every_spread_is_right() {
    for (workers, spread) in [(2, Spread::Right), (2, Spread::ByFlow), (3, Spread::ByFlow), (4, Spread::One)]
    {
        let cluster = compare(workers, spread, Steering::Software);
        assert_eq!(misdirected(&cluster), 0, "there is no device to blame");
        for worker in 0..workers {
            assert!(cluster.counters(worker).connections.get() > 20, "each has its share");
        }
    }
}

/// Full rings drop; what is left is in order, also among frames that come and go meanwhile.
#[test]
fn a_slow_owner_costs_packets_but_not_their_order() {
    for steering in [Steering::Software, Steering::Device] {
        let lab = one_real_each();
        let mut cluster = Cluster::new(&lab, 2, steering);
        let clients = [cluster.client_of(0, 40000), cluster.client_of(0, 41000), cluster.client_of(0, 42000)];
        let mut random = Random(5);
        let mut last: HashMap<u16, u32> = HashMap::new();
        let (mut number, mut left) = (0u32, 0u64);
        for round in 0..400 {
            // Worker 1 receives; its owner, worker 0, turns now and then.
            for _ in 0..random.below(64) {
                let mut packet = Packet::udp(clients[random.below(3) as usize], at(VIP, 53), b"");
                packet.payload = number.to_be_bytes().to_vec();
                number += 1;
                cluster.arrive(1, VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
            }
            let mut sent = cluster.turn_one(1);
            if round % 100 >= 90 || round > 380 {
                sent.extend(cluster.turn_one(0));
            }
            for sent in sent {
                let seen = read(&sent.bytes);
                let sequence = u32::from_be_bytes(seen.payload[..4].try_into().unwrap());
                let before = last.insert(seen.source.port(), sequence);
                assert!(before.is_none_or(|before| before < sequence), "{before:?} before {sequence}");
                left += 1;
            }
        }
        let rest: Vec<_> = (0..5).flat_map(|_| cluster.settle()).collect();
        for sent in rest {
            let seen = read(&sent.bytes);
            let sequence = u32::from_be_bytes(seen.payload[..4].try_into().unwrap());
            let before = last.insert(seen.source.port(), sequence);
            assert!(before.is_none_or(|before| before < sequence), "{before:?} before {sequence}");
            left += 1;
        }
        let dropped = cluster.dropped(DropReason::HandOverFull);
        assert!(dropped > 100, "the test is to fill the ring, {dropped} were dropped");
        assert_eq!(left + dropped, u64::from(number));
        assert_eq!(cluster.counters(1).connections_created.get(), 0);
    }
}

#[test]
fn a_worker_without_a_transmit_queue_sends_through_another() {
    let lab = one_real_each();
    let senders = [(1, DIP0, 0), (0, VIP0, 1)];
    let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &senders);
    let client = cluster.client_of(1, 40000);
    let mut expected = Vec::new();
    for number in 0..50u8 {
        let packet = Packet::udp(client, at(VIP, 53), &[number]).macs(CLIENT_MAC, VIP_MAC);
        cluster.arrive(1, VIP0, &packet.frame());
        expected.push(number);
    }
    let out = cluster.settle();
    let seen: Vec<u8> = out.iter().map(|sent| read(&sent.bytes).payload[0]).collect();
    assert_eq!(seen, expected);
    assert!(out.iter().all(|sent| sent.port == DIP0));
    let counts = |worker: usize| {
        let counters = cluster.counters(worker);
        [counters.rx_packets.get(), counters.tx_packets.get(), counters.sent_by_others.get()]
    };
    assert_eq!((counts(0), counts(1)), ([0, 50, 0], [50, 0, 50]));
    // An ARP reply of worker 0 goes out by worker 1.
    let request =
        dataplane::wire::arp::request(CLIENT_MAC, CLIENT, VIP, dataplane::names::mac::Mac::BROADCAST);
    cluster.arrive(0, VIP0, &request);
    assert_eq!(cluster.settle().len(), 1);
    assert_eq!(cluster.counters(1).tx_packets.get(), 1);
}

/// A queue that the chip does not have takes nothing once its ring is full. It is reported, and another worker can
/// send.
#[test]
fn a_transmit_queue_that_stands_still_is_told_and_left() {
    let lab = one_real_each();
    let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &[]);
    cluster.workers[1].io().stands = Some(DIP0.eth_port());
    let client = cluster.client_of(1, 40000);
    let send = |cluster: &mut Cluster, count: u8| {
        for number in 0..count {
            let packet = Packet::udp(client, at(VIP, 53), &[number]).macs(CLIENT_MAC, VIP_MAC);
            cluster.arrive(1, VIP0, &packet.frame());
        }
        cluster.settle()
    };
    let stands = |cluster: &Cluster| {
        let told = |worker: usize| {
            [VIP0, DIP0].map(|port| cluster.counters(worker).transmit_stands[port.index()].get())
        };
        [told(0), told(1)]
    };
    assert_eq!(send(&mut cluster, 60), []);
    let first = stands(&cluster);
    assert!(first[1][1] > 0 && first[0] == [0, 0] && first[1][0] == 0, "{first:?}");
    assert_eq!(cluster.counters(1).dropped(DropReason::TransmitFull).get(), 60 - 32);
    // It grows for as long as nothing is taken, whether more comes or not.
    assert_eq!(cluster.settle(), []);
    let second = stands(&cluster);
    assert!(second[1][1] > first[1][1], "{second:?}");
    // A slow device takes a little, which is no standing still.
    cluster.workers[1].io().stands = None;
    cluster.workers[1].io().transmit_limit = Some(1);
    cluster.turn();
    assert_eq!(stands(&cluster), [[0; 2]; 2]);
    cluster.workers[1].io().transmit_limit = None;
    assert_eq!(cluster.settle().len(), 31);

    cluster.workers[1].io().stands = Some(DIP0.eth_port());
    assert_eq!(send(&mut cluster, 20), []);
    assert!(stands(&cluster)[1][1] > 0);
    let order = Order::SendThrough { port: DIP0.eth_port(), worker: 0 };
    cluster.controls[1].orders.push(order).unwrap();
    let out = send(&mut cluster, 20);
    assert_eq!(out.len(), 40, "what waited leaves as well");
    assert!(out.iter().all(|sent| sent.port == DIP0));
    assert_eq!(stands(&cluster), [[0; 2]; 2]);
    // Orders that make no sense change nothing.
    for (port, worker) in [(DIP0, 2), (InterfaceId(200), 0), (VIP0, 1)] {
        cluster.controls[1].orders.push(Order::SendThrough { port: port.eth_port(), worker }).unwrap();
    }
    assert_eq!(send(&mut cluster, 5).len(), 5);
}

/// The first configuration reaches one worker before another, which may get frames before it.
#[test]
fn frames_wait_for_a_worker_that_has_no_configuration_yet() {
    let lab = one_real_each();
    let mut cluster = Cluster::unconfigured(&lab, 2, &[]);
    cluster.begin(0..1, &lab, Steering::Software);
    let client = cluster.client_of(1, 40000);
    cluster.turn_one(0);
    for number in 0..40u8 {
        let packet = Packet::udp(client, at(VIP, 53), &[number]).macs(CLIENT_MAC, VIP_MAC);
        cluster.arrive(0, VIP0, &packet.frame());
    }
    assert!(cluster.settle().is_empty());
    cluster.begin(1..2, &lab, Steering::Software);
    let seen: Vec<u8> = cluster.settle().iter().map(|sent| read(&sent.bytes).payload[0]).collect();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

/// Otherwise the loop would put it to sleep, and its load would be shown as none.
#[test]
fn a_worker_that_only_sends_for_others_is_busy() {
    let lab = one_real_each();
    let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &[(1, DIP0, 0)]);
    let client = cluster.client_of(1, 40000);
    let busy_before = cluster.counters(0).busy_turns.get();
    for turn in 1..=10 {
        cluster.arrive(1, VIP0, &Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame());
        cluster.turn_one(1);
        let now = Now { nanoseconds: lab.now().nanoseconds + turn * 1_000_000 };
        assert_eq!(cluster.workers[0].turn(now), 1);
    }
    assert_eq!(cluster.counters(0).busy_turns.get() - busy_before, 9, "of the last, the end is not known");
    assert_eq!(cluster.counters(0).taken_over.get(), 0, "it has not handled them");
}

/// A device may put them anywhere, and a client that sends them would have its steering taken.
#[test]
fn what_no_device_can_tell_by_its_ports_is_not_held_against_it() {
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 2, Steering::Device);
    let client = cluster.client_of(1, 40000);
    let ask = || Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
    let with_options = Packet { options: vec![1; 4], ..ask() }.frame();
    let mut wrong_checksum = ask().frame();
    wrong_checksum[24] ^= 1;
    let mut cut_short = Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).datagram();
    cut_short.truncate(22);
    cut_short[2..4].copy_from_slice(&22u16.to_be_bytes());
    let check = support::packet::internet_checksum(&[&cut_short[..10], &cut_short[12..20]].concat(), 0);
    cut_short[10..12].copy_from_slice(&check.to_be_bytes());
    let cut_short = [&ask().frame()[..14], &cut_short].concat();
    for frame in [&with_options, &wrong_checksum, &cut_short] {
        cluster.arrive(0, VIP0, frame);
        cluster.settle();
    }
    assert_eq!(misdirected(&cluster), 0);
    assert_eq!(cluster.counters(0).handed_over.get(), 3);
    cluster.arrive(0, VIP0, &ask().frame());
    assert_eq!((cluster.settle().len(), misdirected(&cluster)), (1, 1));
}

/// However many others have frames for a worker, its turn ends; and all of them get their share.
#[test]
fn a_turn_takes_a_bounded_number_of_frames_fairly() {
    for busy in [7, 4, 3] {
        take_fairly(busy);
    }
}

/// So many of seven others have frames.
fn take_fairly(busy: usize) {
    const EACH: u32 = 896;
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 8, Steering::Software);
    let client = cluster.client_of(0, 40000);
    for peer in 1..=busy {
        for number in 0..EACH {
            let text = [peer as u32, number].map(u32::to_be_bytes).concat();
            let packet = Packet::udp(client, at(VIP, 53), &text).macs(CLIENT_MAC, VIP_MAC);
            cluster.arrive(peer, VIP0, &packet.frame());
        }
        (0..EACH / 32).for_each(|_| assert!(cluster.turn_one(peer).is_empty()));
    }
    let mut seen = [0; 8];
    let mut turns = 0;
    while seen.iter().sum::<u32>() < busy as u32 * EACH {
        turns += 1;
        let before = cluster.counters(0).taken_over.get();
        for sent in cluster.turn_one(0) {
            let payload = read(&sent.bytes).payload;
            let [peer, number] = [0, 4].map(|at| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()));
            assert_eq!(number, seen[peer as usize], "in order");
            seen[peer as usize] += 1;
        }
        let taken = cluster.counters(0).taken_over.get() - before;
        assert!(taken <= 256, "{taken} in one turn");
        // One peer may be a turn ahead, and the last burst may not have left yet.
        let (most, least) = (seen[1..=busy].iter().max().unwrap(), seen[1..=busy].iter().min().unwrap());
        assert!(most - least <= 2 * 112, "{seen:?}");
        assert!(turns < 36, "{seen:?}");
    }
    assert_eq!(cluster.dropped(DropReason::HandOverFull), 0);
}

/// On a one-arm port the device is blamed for either direction, and only for what it puts wrong.
#[test]
fn one_arm_packets_in_the_wrong_queue_are_handed_over_and_counted() {
    let mut lab = one_real_each();
    lab.description.interfaces[VIP0.index()].side = Side::Both;
    lab.description.interfaces[VIP0.index()].addresses.push("10.0.0.8/24".parse().unwrap());
    lab.description.interfaces.truncate(1);
    for real in &mut lab.description.reals {
        real.next_hop = NextHopId::UNKNOWN;
    }
    lab.apply();
    lab.reachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(RS2) }, RS2_MAC);
    let mut cluster = Cluster::new(&lab, 3, Steering::Device);
    for port in 40000..40300 {
        let client = at(CLIENT, port);
        let (owner, wrong) = (cluster.owner(client), u64::from(port % 10 == 0));
        let queue = (owner + usize::from(wrong == 1)) % 3;
        let ask = Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
        let answer = Packet::udp(at(RS2, 5353), client, b"!").macs(RS2_MAC, VIP_MAC);
        let before = misdirected(&cluster);
        for (packet, to) in [(ask, at(RS2, 5353)), (answer, client)] {
            cluster.arrive(queue, VIP0, &packet.frame());
            let sent = cluster.settle();
            assert_eq!(sent.iter().map(|sent| read(&sent.bytes).destination).collect::<Vec<_>>(), [to]);
        }
        assert_eq!(misdirected(&cluster) - before, 2 * wrong, "{client}");
    }
    assert_eq!(cluster.sum(|counters| counters.handed_over.get()), 60);
    assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 300);
}

/// A full burst waits to be resolved until the next is decoded. If all that comes is handed over, none is.
#[test]
fn a_full_burst_does_not_wait_while_only_others_packets_come() {
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 2, Steering::Software);
    let [own, other] = [0, 1].map(|worker| {
        Packet::udp(cluster.client_of(worker, 40000), at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame()
    });
    for _ in 0..dataplane::frame::BURST {
        cluster.arrive(0, VIP0, &own);
    }
    let mut sent = cluster.turn_one(0).len();
    cluster.arrive(0, VIP0, &other);
    sent += cluster.turn_one(0).len();
    assert_eq!(sent, dataplane::frame::BURST);
}

#[test]
fn few_connections_spread_whichever_workers_they_reach() {
    let lab = Lab::serving();
    let mut cluster = Cluster::new(&lab, 2, Steering::Software);
    let mut reals = Vec::new();
    for (worker, from) in [(0, 40000), (1, 40000), (0, 41000), (1, 41000)] {
        let client = cluster.client_of(worker, from);
        cluster.arrive(0, VIP0, &Packet::tcp(client, at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC).frame());
        reals.push(*read(&cluster.settle()[0].bytes).destination.ip());
    }
    assert_eq!(reals, [RS2, RS1, RS1, RS2], "each in the kernel's order, begun one pick apart");
}

#[test]
fn what_has_no_client_stays_where_it_lands() {
    let lab = one_real_each();
    for steering in [Steering::Software, Steering::Device] {
        let mut cluster = Cluster::new(&lab, 2, steering);
        let ping = Packet::icmp(CLIENT, VIP, [8, 0], [1, 2, 3, 4], b"ping").macs(CLIENT_MAC, VIP_MAC).frame();
        let far = Ipv4Addr::new(192, 168, 10, 7);
        let other = Packet::icmp(RS1, far, [8, 0], [0; 4], b"through").macs(RS1_MAC, DIP_MAC).frame();
        let arp =
            dataplane::wire::arp::request(CLIENT_MAC, CLIENT, VIP, dataplane::names::mac::Mac::BROADCAST);
        for worker in [0, 1] {
            cluster.arrive(worker, VIP0, &ping);
            cluster.arrive(worker, VIP0, &arp);
            cluster.arrive(worker, DIP0, &other);
            let out = cluster.turn_one(worker);
            assert_eq!(out.len(), 2, "{out:?}");
        }
        assert_eq!(cluster.sum(|counters| counters.handed_over.get()), 0);
    }
}

/// Falling back to software changes nothing for connections that are there.
#[test]
fn connections_live_on_when_steering_changes() {
    let lab = one_real_each();
    let mut cluster = Cluster::new(&lab, 2, Steering::Device);
    let clients = [cluster.client_of(0, 40000), cluster.client_of(1, 40000)];
    for steering in [Steering::Device, Steering::Software, Steering::Device] {
        cluster.adopt(&lab, steering);
        for (queue, client) in [(0, clients[0]), (0, clients[1]), (1, clients[0]), (1, clients[1])] {
            cluster.arrive(
                queue,
                VIP0,
                &Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame(),
            );
            cluster.arrive(
                queue,
                DIP0,
                &Packet::udp(at(RS2, 5353), client, b"!").macs(RS2_MAC, DIP_MAC).frame(),
            );
            assert_eq!(cluster.settle().len(), 2);
        }
    }
    assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 2);
}

/// Walks all that workers write in steady state: no cache line belongs to two of them.
#[test]
fn no_cache_line_is_written_by_two_workers() {
    const LINE: usize = 64;
    let cluster = compare(4, Spread::ByFlow, Steering::Software);
    let mut lines: HashMap<usize, usize> = HashMap::new();
    for (worker, of) in cluster.workers.iter().enumerate() {
        let footprint = of.footprint();
        assert!(footprint.iter().all(|range| !range.is_empty()));
        for line in footprint.into_iter().flat_map(|range| range.start / LINE..range.end.div_ceil(LINE)) {
            let other = *lines.entry(line).or_insert(worker);
            assert_eq!(other, worker, "line {:#x}", line * LINE);
        }
    }
    // Tables, counters of 65,536 reals …: it is not an empty walk.
    assert!(lines.len() > 4 * 65_536, "{}", lines.len());
}

/// Fragments have no ports but in the first: all of a client meet on one worker, and go on to the one
/// that has its connection.
#[test]
fn fragments_reach_their_connections_worker() {
    for (workers, steering) in [(2, Steering::Software), (3, Steering::Device)] {
        let lab = one_real_each();
        let mut cluster = Cluster::new(&lab, workers, steering);
        let text: Vec<u8> = (0..4000u32).map(|n| (n * 31) as u8).collect();
        for (number, client) in (0..30u16).map(|n| (n, at(CLIENT, 40000 + n))) {
            let id = 100 + number;
            let question = Packet { id, dont_fragment: false, ..Packet::udp(client, at(VIP, 53), &text) };
            let answer = Packet { id, dont_fragment: false, ..Packet::udp(at(RS2, 5353), client, &text) };
            let ways = [
                (VIP0, question.macs(CLIENT_MAC, VIP_MAC), at(RS2, 5353)),
                (DIP0, answer.macs(RS2_MAC, DIP_MAC), client),
            ];
            for (port, packet, destination) in ways {
                let mut fragments = packet.fragments(1500);
                fragments.rotate_left(usize::from(number) % 3);
                for (index, fragment) in fragments.iter().enumerate() {
                    cluster.arrive((index + usize::from(number)) % workers, port, fragment);
                }
                let sent: Vec<_> = cluster.settle().into_iter().map(|sent| sent.bytes).collect();
                assert_eq!(sent.len(), 3, "{client}");
                let seen = read(&support::packet::reassemble(&sent));
                assert_eq!((seen.destination, &seen.payload), (destination, &text));
            }
            // A whole packet of that connection is found by its owner.
            let whole = Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
            cluster.arrive(usize::from(number) % workers, VIP0, &whole.frame());
            assert_eq!(cluster.settle().len(), 1);
            let entry = cluster.counters(cluster.owner(client)).connections.get();
            assert!(entry > 0, "{client}");
        }
        assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 30);
        assert!(DropReason::ALL.iter().all(|reason| cluster.dropped(*reason) == 0));
    }
}
