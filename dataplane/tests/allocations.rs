//! The packet path does not allocate: counted by the test's own allocator.

mod support;

use arrayvec::ArrayVec;
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::{ControlEnd, Order, channel};
use dataplane::frame::plain::{PlainFrame, PlainIo};
use dataplane::frame::{BURST, FrameIo};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::EthPortId;
use dataplane::names::time::Now;
use memory::CountingAllocator;
use support::packet::{ACK, FIN, Packet, RST, SYN};
use support::*;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Frames to give out, and what was sent: all memory taken beforehand.
struct Prepared {
    arriving: [Vec<PlainFrame>; 2],
    sent: Vec<PlainFrame>,
    pool: Vec<PlainFrame>,
}

impl FrameIo for Prepared {
    type Frame = PlainFrame;

    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<PlainFrame, BURST>) {
        while let Some(frame) = (!into.is_full()).then(|| self.arriving[port.index()].pop()).flatten() {
            into.push(frame);
        }
    }

    fn transmit(&mut self, _port: EthPortId, from: &mut ArrayVec<PlainFrame, BURST>) {
        self.sent.extend(from.drain(..));
    }

    fn allocate(&mut self, _port: EthPortId) -> Option<PlainFrame> {
        self.pool.pop()
    }
}

#[test]
fn no_packet_makes_the_worker_allocate() {
    handle_all(Lab::serving());
}

#[test]
fn nor_does_one_of_a_one_packet_service() {
    let mut lab = Lab::serving();
    lab.description.services[1].as_mut().unwrap().policy.one_packet = true;
    handle_all(lab);
}

fn handle_all(mut lab: Lab) {
    let mut plain = PlainIo::new(2);
    let client = |n: u32, flags| {
        let source = at(CLIENT, 30000 + (n % 30000) as u16);
        Packet::tcp(source, at(VIP, 80), flags).macs(CLIENT_MAC, VIP_MAC).frame()
    };
    // Fragments in order and early, some of which never see a first or are never complete; packets that
    // are cut. New connections, established ones, closings, resets, refusals, ping, routed packets, ARP, and
    // packets whose next hop is not known.
    for n in 0..2000 {
        let datagram =
            |id| Packet { id, dont_fragment: false, ..Packet::udp(at(CLIENT, 7), at(VIP, 53), &[7; 2000]) };
        let datagram = |id| datagram(id).macs(CLIENT_MAC, VIP_MAC);
        let (fragments, early) =
            (datagram(n as u16).fragments(1000), datagram(n as u16 + 10_000).fragments(1000));
        let large = Packet { payload: vec![7; 1440], ..datagram(0) };
        for frame in [
            client(n, SYN),
            client(n, ACK),
            client(n, FIN | ACK),
            client(n / 2, RST),
            client(n + 50000, ACK),
            Packet::udp(at(CLIENT, n as u16), at(VIP, 9), b"?").macs(CLIENT_MAC, VIP_MAC).frame(),
            Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping").macs(CLIENT_MAC, VIP_MAC).frame(),
            dataplane::wire::arp::request(CLIENT_MAC, CLIENT, VIP, VIP_MAC).to_vec(),
            fragments[0].clone(),
            fragments[if n % 3 == 0 { 1 } else { 2 }].clone(),
            early[1].clone(),
            early[if n % 5 == 0 { 2 } else { 0 }].clone(),
            large.frame(),
        ] {
            plain.arrive(VIP0, &frame);
        }
        for frame in [
            Packet::udp(at(RS1, n as u16), at(CLIENT, 53), b"out").macs(RS1_MAC, DIP_MAC).frame(),
            Packet::udp(at(RS1, n as u16), at([192, 168, 10, n as u8].into(), 53), b"out")
                .macs(RS1_MAC, DIP_MAC)
                .frame(),
            Packet::udp(at(RS1, 9), at(CLIENT, 53), b"out").ttl(1).macs(RS1_MAC, DIP_MAC).frame(),
        ] {
            plain.arrive(DIP0, &frame);
        }
    }
    let mut take = |port| {
        let mut frames = Vec::new();
        loop {
            let mut burst = ArrayVec::new();
            plain.receive(port, &mut burst);
            if burst.is_empty() {
                return frames;
            }
            frames.extend(burst);
        }
    };
    let arriving = [take(VIP0.eth_port()), take(DIP0.eth_port())];
    let total = arriving[0].len() + arriving[1].len();
    let pool: Vec<_> = (0..2000).map_while(|_| plain.allocate(VIP0.eth_port())).collect();
    let io = Prepared { arriving, sent: Vec::with_capacity(total + pool.len()), pool };

    let key = HashKey { mask: 1, multiplier: 3 };
    let (end, mut control) =
        dataplane::exchange::orders::channel(lab.next_hops.clone(), lab.control.reals.clone());
    let mut worker = dataplane::worker::Worker::new(io, end, 4096, key, memory::Huge::Never).unwrap();
    lab.description.version += 1;
    lab.description.interfaces[DIP0.index()].mtu = 1400;
    let snapshot = dataplane::snapshot::Snapshot::compile(lab.description.clone());
    control.orders.push(dataplane::exchange::orders::Order::Adopt(snapshot.into())).unwrap();
    for (key, id) in lab.neighbours.clone() {
        control.orders.push(dataplane::exchange::orders::Order::Reachable(key, id)).unwrap();
    }
    let mut now = 1_000_000_000_000;
    worker.turn(Now { nanoseconds: now });

    let before = CountingAllocator::allocations();
    let mut received = 0;
    for _ in 0..total {
        now += 50_000;
        received += worker.turn(Now { nanoseconds: now });
    }
    let allocations = CountingAllocator::allocations() - before;
    assert!(received + 2 * BURST >= total, "{received} of {total}"); // the rest came in the first turn
    assert!(control.counters.connections_created.get() > 1000);
    assert!(control.counters.entries_moved.get() > 0, "the table has grown");
    assert_eq!(control.counters.fragmented.get(), 2000);
    let expired = control.counters.dropped(DropReason::FragmentExpired).get();
    assert!(expired > 0 && worker.frames_held() > 0, "{expired} expired");
    assert_eq!(allocations, 0);
}

#[test]
fn handing_over_allocates_nothing() {
    hand_over(&Lab::serving());
}

#[test]
fn asking_for_templates_allocates_nothing() {
    let mut lab = Lab::serving();
    for service in lab.description.services.iter_mut().flatten() {
        let mask = std::net::Ipv4Addr::BROADCAST.into();
        service.policy.persistence = Some(dataplane::snapshot::Persistence { seconds: 1, mask });
    }
    lab.apply();
    hand_over(&lab);
}

/// Six thousand clients' datagrams, all received by one of two workers.
fn hand_over(lab: &Lab) {
    let mut plain = PlainIo::new(2);
    let clients = 0..6000u16;
    for port in clients.clone() {
        let packet = Packet::udp(at(CLIENT, 20000 + port), at(VIP, 53), b"?");
        plain.arrive(VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
    }
    let mut frames = Vec::new();
    let mut burst = ArrayVec::new();
    while frames.len() < clients.len() {
        plain.receive(VIP0.eth_port(), &mut burst);
        frames.extend(burst.drain(..));
    }
    let (mut workers, mut controls) = (Vec::new(), Vec::new());
    let snapshot = std::sync::Arc::new(dataplane::snapshot::Snapshot::compile(lab.description.clone()));
    for peers in dataplane::exchange::peers::mesh(&support::cluster::owners(2)) {
        let (end, mut control) =
            dataplane::exchange::orders::channel(lab.next_hops.clone(), lab.control.reals.clone());
        let arriving = [std::mem::take(&mut frames), Vec::new()];
        let io = Prepared { arriving, sent: Vec::with_capacity(clients.len()), pool: Vec::new() };
        let key = HashKey { mask: 1, multiplier: 3 };
        let worker = dataplane::worker::Worker::new(io, end, 8192, key, memory::Huge::Never).unwrap();
        workers.push(worker.with_peers(peers));
        control.orders.push(dataplane::exchange::orders::Order::Adopt(snapshot.clone())).unwrap();
        for (key, id) in lab.neighbours.clone() {
            control.orders.push(dataplane::exchange::orders::Order::Reachable(key, id)).unwrap();
        }
        controls.push(control);
    }
    let mut now = 1_000_000_000_000;
    let mut turn_all = || {
        now += 50_000;
        for worker in &mut workers {
            worker.turn(Now { nanoseconds: now });
        }
    };
    turn_all();
    let before = CountingAllocator::allocations();
    for _ in 0..clients.len() / BURST + 10 {
        turn_all();
    }
    let allocations = CountingAllocator::allocations() - before;
    let made = controls.iter().map(|control| control.counters.connections_created.get());
    assert_eq!(made.sum::<u64>(), clients.len() as u64);
    assert!(controls[1].counters.taken_over.get() > 2000);
    assert_eq!(allocations, 0);
}

/// A file without a name, of this many bytes, and it in memory.
fn area(bytes: usize, allocate: bool) -> (std::fs::File, std::sync::Arc<memory::Area>) {
    let path = format!("/dev/shm/natlb-allocations-{}", std::process::id());
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let area = memory::Area::create(&file, bytes, allocate).unwrap();
    (file, area)
}

/// A worker in files, its other end, and the files.
fn kept(lab: &Lab, io: Prepared) -> (dataplane::worker::Worker<Prepared>, ControlEnd, [std::fs::File; 2]) {
    use dataplane::connection::kept::{Home, Identity, Shape, bytes};
    let shape = Shape { v4: 4096, v6: 0, templates: 4096 };
    let sizes = bytes(shape);
    let ((of_tables, tables), (of_more, more)) = (area(sizes.tables, true), area(sizes.more, false));
    let identity = Identity { worker: 0, workers: 1, generation: 1, boot_id: [0; 16] };
    let key = HashKey { mask: 1, multiplier: 3 };
    let home = Home::new(&tables, &more, shape, identity, key).unwrap();
    let (end, mut control) = channel(lab.next_hops.clone(), lab.control.reals.clone());
    let snapshot = dataplane::snapshot::Snapshot::compile(lab.description.clone());
    control.orders.push(Order::Adopt(snapshot.into())).unwrap();
    for (key, id) in lab.neighbours.clone() {
        control.orders.push(Order::Reachable(key, id)).unwrap();
    }
    (dataplane::worker::Worker::kept(io, end, home).unwrap(), control, [of_tables, of_more])
}

#[test]
fn taking_connections_and_templates_over_allocates_nothing() {
    let mut lab = Lab::serving();
    for service in lab.description.services.iter_mut().flatten() {
        let mask = std::net::Ipv4Addr::BROADCAST.into();
        service.policy.persistence = Some(dataplane::snapshot::Persistence { seconds: 600, mask });
    }
    let mut plain = PlainIo::new(2);
    let mut frames = |range: std::ops::Range<u16>| {
        for port in range {
            let packet = Packet::udp(at(CLIENT, 20000 + port), at(VIP, 53), b"?");
            plain.arrive(VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
        }
        let (mut frames, mut burst) = (Vec::new(), ArrayVec::new());
        loop {
            plain.receive(VIP0.eth_port(), &mut burst);
            if burst.is_empty() {
                return frames;
            }
            frames.extend(burst.drain(..));
        }
    };
    let io = |frames: Vec<PlainFrame>| {
        let sent = Vec::with_capacity(frames.len());
        Prepared { arriving: [frames, Vec::new()], sent, pool: Vec::new() }
    };
    let (mut before, control, files) = kept(&lab, io(frames(0..2000)));
    let mut now = 1_000_000_000_000;
    for _ in 0..100 {
        now += 10_000_000;
        before.turn(Now { nanoseconds: now });
    }
    assert_eq!(control.counters.connections.get(), 2000);
    drop(before);

    // Of half of those, and of others.
    let (mut after, mut control, _files) = kept(&lab, io(Vec::new()));
    let [tables, more] = files.map(|file| memory::Area::open(&file).unwrap());
    let old = dataplane::connection::kept::Old::open(&tables, Some(&more)).unwrap();
    let reals = (0..10).map(|id| Some(dataplane::names::ids::RealId(id))).collect();
    let left = dataplane::exchange::orders::Inherited {
        areas: vec![dataplane::exchange::orders::LeftArea { old: old.into(), elapsed: 4 }],
        reals,
        interfaces: Vec::new(),
    };
    let inheritance = dataplane::exchange::orders::Inheritance::new([left].into());
    after.turn(Now { nanoseconds: now });
    *after.io() = io(frames(1000..3000));
    control.orders.push(Order::Inherit(inheritance)).unwrap();
    let before = CountingAllocator::allocations();
    for _ in 0..100 {
        now += 10_000_000;
        after.turn(Now { nanoseconds: now });
    }
    let allocations = CountingAllocator::allocations() - before;
    let mut returned = std::iter::from_fn(|| control.returns.pop().ok());
    let counts = returned.find_map(|returned| match returned {
        dataplane::exchange::orders::Return::Inherited(inheritance) => Some(inheritance.counts),
        _ => None,
    });
    let counts = counts.expect("it is through");
    assert_eq!((counts.connections.made, counts.templates), (2000, 1));
    assert!(control.counters.connections_created.get() >= 900, "others are made");
    assert_eq!(allocations, 0);
}
