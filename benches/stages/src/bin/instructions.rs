//! Runs one stage, for valgrind to count its instructions (`instructions.py`): only what
//! [`collected`] calls counts. Prints how many packets, connections or entries went through.
//!
//! `instructions STAGE`; without one, the stages' names. Besides those there is `pick-ALGORITHM-REALS`: a pick, and
//! what the connection that it opens does to the schedule.
#![forbid(unsafe_code)]

use dataplane::connection::table::{New, Table};
use dataplane::connection::{Clock, State, Timeouts};
use dataplane::counters::{StateGauges, WorkerCounters};
use dataplane::frame::{BURST, Frame};
use dataplane::live::elsewhere::Elsewhere;
use dataplane::live::reals::Reals;
use dataplane::names::direction::Direction;
use dataplane::names::family::V4;
use dataplane::names::ids::{NextHopId, RealId, ServiceId};
use dataplane::names::time::Tick;
use dataplane::schedule::{Algorithm, Asked, Known, Positions};
use dataplane::worker::stages::{decode_burst, rewrite_one};
use memory::Huge;
use stages::keys::Key;
use stages::path::Path;
use std::hint::black_box;
use std::net::SocketAddr;
use std::process::ExitCode;
use traffic::buffer::Buffer;
use traffic::flows::OF_IPV6;
use traffic::packet::{ACK, FIN, SYN};
use traffic::random::Random;
use traffic::world::{DIP_MAC, HASH_KEY, START, VIP_MAC, schedule_by, snapshot};

/// Flows that are established, and packets that are counted.
const FLOWS: u32 = 4096;
/// Larger than the flows need, so that the sweep has as much to do as with a million.
const CAPACITY: usize = 65_536;

/// What valgrind is told to count, by name.
#[inline(never)]
fn collected(work: &mut dyn FnMut()) {
    work();
}

type Stage = (&'static str, fn() -> usize);

const STAGES: [Stage; 26] = [
    ("decode", decode),
    ("rewrite", rewrite),
    ("established-tcp-forward", || established(1, Direction::Forward)),
    ("established-tcp-reverse", || established(1, Direction::Reverse)),
    ("established-udp-forward", || established(0, Direction::Forward)),
    ("established-udp-reverse", || established(0, Direction::Reverse)),
    ("burst", burst),
    ("new-connection", new_connection),
    ("new-connection-wrr", || new_connection_by(Algorithm::WeightedRoundRobin)),
    ("new-connection-wlc", || new_connection_by(Algorithm::WeightedLeastConnection)),
    ("new-connection-sh", || new_connection_by(Algorithm::SourceHashing)),
    ("new-connection-mh", || new_connection_by(Algorithm::MaglevHashing)),
    ("any-port-forward", || any_port(Direction::Forward)),
    ("any-port-reverse", || any_port(Direction::Reverse)),
    ("one-packet", || one_packet(Direction::Forward)),
    ("one-packet-reply", || one_packet(Direction::Reverse)),
    ("ipv6-tcp-forward", || established_v6(1, Direction::Forward)),
    ("ipv6-tcp-reverse", || established_v6(1, Direction::Reverse)),
    ("ipv6-udp-forward", || established_v6(0, Direction::Forward)),
    ("ipv6-burst", || burst_of(|flow| flow + OF_IPV6)),
    ("both-families-burst", || burst_of(|flow| if flow / 2 % 2 == 0 { flow } else { flow + OF_IPV6 })),
    ("ipv6-new-connection", new_connection_v6),
    ("whole-connection", || whole_connections(false)),
    ("reopened-connection", || whole_connections(true)),
    ("expiry", expiry),
    ("moved", moved),
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        STAGES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    if let Some((algorithm, reals)) = pick_stage(&name) {
        println!("{}", picks(algorithm, reals));
        return ExitCode::SUCCESS;
    }
    let Some((_, stage)) = STAGES.iter().find(|(known, _)| *known == name) else {
        eprintln!("instructions: no stage {name}");
        return ExitCode::from(2);
    };
    println!("{}", stage());
    ExitCode::SUCCESS
}

/// A frame of each flow, by turns from its client and from the real.
fn frames() -> Vec<(Direction, Buffer)> {
    let mut frames = Vec::new();
    for flow in 0..FLOWS {
        let direction = if flow / 2 % 2 == 0 { Direction::Forward } else { Direction::Reverse };
        let mut frame = Buffer::default();
        frame.write(flow, direction, ACK);
        frames.push((direction, frame));
    }
    frames
}

fn decode() -> usize {
    let (forward, reverse): (Vec<_>, Vec<_>) =
        frames().into_iter().partition(|(direction, _)| *direction == Direction::Forward);
    let of =
        |frames: Vec<(Direction, Buffer)>| frames.into_iter().map(|(_, frame)| frame).collect::<Vec<_>>();
    let sides = [(Direction::Forward, VIP_MAC, of(forward)), (Direction::Reverse, DIP_MAC, of(reverse))];
    let mut plain = 0;
    let mut decoded = [Default::default(); BURST];
    collected(&mut || {
        for (direction, mac, frames) in &sides {
            for burst in frames.chunks(BURST) {
                if decode_burst(burst, *direction, *mac, 1500, black_box(&mut decoded)) {
                    plain += burst.len();
                }
            }
        }
    });
    assert_eq!(plain, FLOWS as usize, "all are plain");
    plain
}

fn rewrite() -> usize {
    let mut frames = frames();
    let snapshot = snapshot(1);
    let rewrite = snapshot.rewrite::<V4>(RealId(0));
    collected(&mut || {
        for (direction, frame) in &mut frames {
            rewrite_one(frame.head_mut(), *direction, rewrite, VIP_MAC, DIP_MAC);
        }
    });
    black_box(&frames).len()
}

/// Random flows of one protocol (`odd`: 1 is TCP, 0 UDP).
fn random_flows(odd: u32) -> Vec<u32> {
    let mut random = Random::default();
    (0..FLOWS).map(|_| random.below(FLOWS / 2) * 2 + odd).collect()
}

/// The whole way of packets of established connections: receive, decode, resolve, rewrite, transmit.
fn established(odd: u32, direction: Direction) -> usize {
    let mut path = established_path();
    path.line_up(&random_flows(odd), direction, ACK);
    counted(&mut path)
}

/// Established connections' packets, mixed: a burst from clients, a burst from reals, each TCP and UDP.
fn burst() -> usize {
    let mut path = established_path();
    let mut random = Random::default();
    let mut flows = || (0..FLOWS / 2).map(|_| random.below(FLOWS)).collect::<Vec<u32>>();
    path.line_up(&flows(), Direction::Forward, ACK);
    path.line_up(&flows(), Direction::Reverse, ACK);
    counted(&mut path)
}

fn established_path() -> Path {
    let mut path = Path::new(CAPACITY, FLOWS as usize, Huge::Never);
    path.establish(FLOWS);
    path
}

fn counted(path: &mut Path) -> usize {
    let (sent, created) = (path.sent(), path.created());
    collected(&mut || {
        black_box(path.run());
    });
    assert_eq!(path.created(), created, "no packet makes a connection");
    let packets = path.sent() - sent;
    assert_eq!(packets, u64::from(FLOWS), "no packet is dropped");
    packets as usize
}

/// Every packet a new connection, TCP and UDP by turns, in a table that has room for them at the size that
/// others have given it.
fn new_connection() -> usize {
    let others = 2 * FLOWS;
    let mut path = Path::new(CAPACITY, FLOWS as usize, Huge::Never);
    path.establish(others);
    let flows: Vec<u32> = (others..others + FLOWS).collect();
    path.line_up(&flows, Direction::Forward, SYN);
    collected(&mut || {
        black_box(path.run());
    });
    assert_eq!(path.created(), u64::from(others + FLOWS));
    FLOWS as usize
}

/// As [`new_connection`], with four reals and this algorithm; of the others no real has been heard.
fn new_connection_by(algorithm: Algorithm) -> usize {
    let others = 2 * FLOWS;
    let mut path = Path::with(CAPACITY, FLOWS as usize, (4, algorithm), Huge::Never);
    let flows: Vec<u32> = (0..others + FLOWS).collect();
    let (before, counted) = flows.split_at(others as usize);
    for lap in before.chunks(FLOWS as usize) {
        path.line_up(lap, Direction::Forward, SYN);
        path.run();
    }
    path.line_up(counted, Direction::Forward, SYN);
    collected(&mut || {
        black_box(path.run());
    });
    assert_eq!(path.created(), u64::from(others + FLOWS));
    FLOWS as usize
}

/// As [`established`], of services on any port, whose reals keep it.
fn any_port(direction: Direction) -> usize {
    let mut path = Path::any_port(CAPACITY, FLOWS as usize, Huge::Never);
    path.establish(FLOWS);
    path.line_up(&random_flows(1), direction, ACK);
    counted(&mut path)
}

/// Datagrams of a one-packet service, each of another client that has sent one before, by turns over four reals; or the
/// replies to them, of one real.
fn one_packet(direction: Direction) -> usize {
    let reals = if direction == Direction::Forward { 4 } else { 1 };
    let mut path =
        Path::one_packet(CAPACITY, FLOWS as usize, (reals, Algorithm::WeightedRoundRobin), Huge::Never);
    let flows: Vec<u32> = (0..FLOWS).map(|flow| 2 * flow).collect();
    path.line_up(&flows, Direction::Forward, ACK);
    path.run();
    path.line_up(&flows, direction, ACK);
    counted(&mut path)
}

/// As [`established`], of IPv6.
fn established_v6(odd: u32, direction: Direction) -> usize {
    let mut path = both_families((0..FLOWS).map(|flow| flow + OF_IPV6));
    let flows: Vec<u32> = random_flows(odd).iter().map(|flow| flow + OF_IPV6).collect();
    path.line_up(&flows, direction, ACK);
    counted(&mut path)
}

/// As [`burst`], where this says which flow of either family it is.
fn burst_of(chosen: impl Fn(u32) -> u32) -> usize {
    let mut path = both_families((0..FLOWS).map(&chosen));
    let mut random = Random::default();
    let mut flows = || (0..FLOWS / 2).map(|_| chosen(random.below(FLOWS))).collect::<Vec<u32>>();
    path.line_up(&flows(), Direction::Forward, ACK);
    path.line_up(&flows(), Direction::Reverse, ACK);
    counted(&mut path)
}

/// As [`new_connection`], of IPv6.
fn new_connection_v6() -> usize {
    let others = 3 * FLOWS; // its table has other sizes
    let mut path = both_families((0..others).map(|flow| flow + OF_IPV6));
    let flows: Vec<u32> = (others..others + FLOWS).map(|flow| flow + OF_IPV6).collect();
    path.line_up(&flows, Direction::Forward, SYN);
    collected(&mut || {
        black_box(path.run());
    });
    assert_eq!(path.created(), u64::from(others + FLOWS));
    FLOWS as usize
}

fn both_families(flows: impl Iterator<Item = u32>) -> Path {
    let reals = (1, Algorithm::WeightedRoundRobin);
    let mut path = Path::both_families(CAPACITY, FLOWS as usize, reals, Huge::Never);
    path.establish_all(&flows.collect::<Vec<u32>>());
    path
}

fn pick_stage(name: &str) -> Option<(Algorithm, u32)> {
    let (algorithm, reals) = name.strip_prefix("pick-")?.rsplit_once('-')?;
    Some((algorithm.parse().ok()?, reals.parse().ok()?))
}

/// Picks among so many reals, of weights from 1 to 8. Each opens a connection that stays.
fn picks(algorithm: Algorithm, reals: u32) -> usize {
    let weights: Vec<u32> = (0..reals).map(|n| n * 5 % 8 + 1).collect();
    let schedule = schedule_by(algorithm, 0, &weights);
    let (live, own, elsewhere) = (Box::<Reals>::default(), WorkerCounters::new(), Elsewhere::default());
    let known = Known { live: &live, own: &own, elsewhere: &elsewhere, now: START };
    let mut positions = Positions::default();
    let service = ServiceId(0);
    positions.resize(1);
    positions.adopt(service, (None, Some(&schedule)), &known, 0);
    let mut random = Random::default();
    let mut client = || SocketAddr::from((random.below(u32::MAX).to_be_bytes(), 1));
    let clients: Vec<SocketAddr> = (0..FLOWS).map(|_| client()).collect();
    let mut open = |client: SocketAddr, is_counted: bool| {
        let asked = Asked { client, destination: client, known };
        let mut real = None;
        let mut pick = || real = positions.choice(service, &schedule, &asked);
        if is_counted {
            collected(&mut pick)
        } else {
            pick()
        }
        // `ovf` has none for some.
        let Some(real) = real else { return };
        own.real(real).total.add(1);
        own.real(real).states.add(StateGauges::ACTIVE);
        own.note(real);
    };
    clients.iter().for_each(|client| open(*client, false));
    clients.iter().for_each(|client| open(*client, true));
    FLOWS as usize
}

/// TCP connections from the first packet to the last, seven each, in bursts. `again`: of client endpoints whose
/// connection before has been closed and is still in the table.
fn whole_connections(again: bool) -> usize {
    let (forward, reverse) = (Direction::Forward, Direction::Reverse);
    let packets = [
        (forward, SYN),
        (reverse, SYN | ACK),
        (forward, ACK),
        (forward, ACK),
        (reverse, FIN | ACK),
        (forward, FIN | ACK),
        (reverse, ACK),
    ];
    let mut path = Path::new(CAPACITY, BURST, Huge::Never);
    let tcp: Vec<u32> = (0..FLOWS).map(|flow| 2 * flow + 1).collect();
    let mut exchange = |run: &mut dyn FnMut(&mut Path)| {
        for burst in tcp.chunks(BURST) {
            for (direction, flags) in packets {
                path.line_up(burst, direction, flags);
                run(&mut path);
            }
        }
        (path.created(), path.sent())
    };
    let mut passes = 1;
    if again {
        exchange(&mut |path| {
            path.run();
        });
        passes += 1;
    }
    let after = exchange(&mut |path| {
        collected(&mut || {
            black_box(path.run());
        });
    });
    let connections = passes * u64::from(FLOWS);
    assert_eq!(after, (connections, connections * packets.len() as u64));
    FLOWS as usize
}

/// Entries moved, as a table that has come to use twice as many buckets does with all.
fn moved() -> usize {
    let mut table = Table::new(CAPACITY, HASH_KEY, Huge::Never).expect("memory");
    let counters = WorkerCounters::new();
    let mut flows = 0..;
    let mut add = |table: &mut Table| insert(table, flows.next().expect("without end"), &counters);
    while table.len() < FLOWS as usize || table.is_between_sizes() {
        add(&mut table);
        table.resize(&counters);
    }
    while !table.is_to_resize() {
        add(&mut table);
    }
    let before = counters.entries_moved.get();
    collected(&mut || {
        while table.is_to_resize() {
            table.resize(&counters);
        }
    });
    let moved = counters.entries_moved.get() - before;
    assert_eq!(moved, table.len() as u64, "all are moved once");
    moved as usize
}

fn insert(table: &mut Table, flow: u32, counters: &WorkerCounters) {
    let key = Key::of(flow).client();
    let new = New { key, real: RealId(0), port: 0, next_hop: NextHopId(1), state: State::Established };
    let timeouts = Timeouts::default();
    let clock = Clock::new(Tick::new(0), &timeouts);
    table.insert(table.hash(key), new, clock, counters).expect("room");
}

/// A full pass of the sweep over a table that is full, all of it dead: for each entry taken out.
fn expiry() -> usize {
    let mut table = Table::new(FLOWS as usize, HASH_KEY, Huge::Never).expect("memory");
    let (timeouts, counters) = (Timeouts::default(), WorkerCounters::new());
    for flow in 0..FLOWS {
        insert(&mut table, flow, &counters);
        table.resize(&counters);
    }
    let tick = Tick::new(u64::from(timeouts.ticks(State::Established)));
    let late = Clock::new(tick, &timeouts);
    let mut expired = 0;
    collected(&mut || expired = table.sweep(table.buckets(), late, &counters));
    assert_eq!(expired, FLOWS as usize);
    assert!(table.is_empty());
    expired
}
