//! Floods of each kind, at 20,000 packets a second and several times what the tables and queues hold, beside
//! connections that are there and new ones of another service. Time is by hand, so every count is exact.
//!
//! ```text
//! main         a flood, what goes on beside it, and what it left behind
//! connections  floods that open connections, or belong to none
//! fragments    of fragments
//! slow_path    of what the slow path judges
//! neighbours   of what concerns next hops
//! ```

mod connections;
mod fragments;
mod neighbours;
mod slow_path;
#[path = "../support/mod.rs"]
mod support;

use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::snapshot::Route;
use dataplane::wire::arp;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use support::packet::*;
use support::*;

const CAPACITY: usize = 2048;
/// Packets of a flood that arrive at once, each millisecond.
const AT_ONCE: u32 = 20;
/// What they come to: several times the capacity.
const ROUNDS: u32 = 700;
/// Packets of a flood in all.
const ALL: u64 = (AT_ONCE * ROUNDS) as u64;
const MILLISECOND: u64 = 1_000_000;

/// The service that is flooded, for each protocol; what there is beside it.
const FLOODED: SocketAddrV4 = SocketAddrV4::new(VIP, 53);
const BUSY: SocketAddrV4 = SocketAddrV4::new(VIP, 80);
const OPENING: SocketAddrV4 = SocketAddrV4::new(VIP, 443);
const UDP_BESIDE: SocketAddrV4 = SocketAddrV4::new(VIP, 123);

type Frames = Vec<(InterfaceId, Vec<u8>)>;

/// One kind of flood.
#[derive(Clone, Copy)]
struct Flood {
    /// Its packet of this number.
    packet: fn(u32) -> Frames,
    /// What the reals say to a packet of it that reaches them; they may say several things by and by.
    answers: fn(&Seen) -> Vec<Packet>,
}

fn silence(_: &Seen) -> Vec<Packet> {
    Vec::new()
}

/// What it left behind.
struct Outcome {
    lab: Lab,
    /// Packets of established connections that did not arrive, of those sent.
    lost: u32,
    /// New connections that were begun, and came about, while it lasted …
    begun: u32,
    opened: u32,
    /// … and of a hundred right after.
    opened_after: u32,
}

fn lab() -> Lab {
    let mut lab = Lab::with_capacity(CAPACITY);
    let prefix = "0.0.0.0/0".parse().unwrap();
    lab.description.routes.push(Route { prefix, interface: VIP0, via: Some(std::net::IpAddr::V4(ROUTER)) });
    let both = |port| vec![(at(RS1, port), 1), (at(RS2, port), 1)];
    lab.configure(&[
        Configured { key: tcp_service(BUSY), reals: both(80) },
        Configured { key: tcp_service(OPENING), reals: both(443) },
        Configured { key: udp_service(UDP_BESIDE), reals: both(123) },
        Configured { key: tcp_service(FLOODED), reals: both(53) },
        Configured { key: udp_service(FLOODED), reals: both(53) },
    ]);
    lab
}

fn real_mac(real: Ipv4Addr) -> Mac {
    if real == RS1 { RS1_MAC } else { RS2_MAC }
}

fn from_real(packet: Packet) -> Vec<u8> {
    let mac = real_mac(*packet.source.ip());
    packet.macs(mac, DIP_MAC).frame()
}

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

/// A connection of the client's, step by step: SYN, SYN and ACK, ACK with data, answer.
struct Dialogue {
    client: SocketAddrV4,
    service: SocketAddrV4,
    real: Option<SocketAddrV4>,
    steps: u32,
}

impl Dialogue {
    fn new(port: u16, service: SocketAddrV4) -> Self {
        Self { client: at(CLIENT, port), service, real: None, steps: 0 }
    }

    /// The frame of the next step, and where it comes in.
    fn next(&self) -> (InterfaceId, Vec<u8>) {
        let flags = if self.steps == 0 { SYN } else { ACK };
        match self.real {
            Some(real) if self.steps % 2 == 1 => {
                let flags = if self.steps == 1 { SYN | ACK } else { ACK };
                (DIP0, from_real(Packet::tcp(real, self.client, flags)))
            }
            _ => (VIP0, from_client(Packet::tcp(self.client, self.service, flags))),
        }
    }

    /// Takes what left after [`next`](Self::next) had come in. Whether its packet was among it.
    fn take(&mut self, sent: &[(InterfaceId, Seen)]) -> bool {
        let arrived = if self.steps.is_multiple_of(2) {
            let mine = sent.iter().find(|(port, seen)| *port == DIP0 && seen.source == self.client);
            self.real = self.real.or(mine.map(|(_, seen)| seen.destination));
            mine.is_some()
        } else {
            let ends = (self.service, self.client);
            sent.iter().any(|(port, seen)| *port == VIP0 && (seen.source, seen.destination) == ends)
        };
        self.steps += u32::from(arrived);
        arrived
    }
}

fn turn(lab: &mut Lab, frames: &Frames) -> Vec<(InterfaceId, Seen)> {
    for (port, frame) in frames {
        lab.worker.io().arrive(*port, frame);
    }
    // A full burst is kept until the next turn.
    let mut sent = lab.turn();
    sent.extend(lab.turn());
    let ip = sent.into_iter().filter(|sent| sent.bytes[12..14] == [8, 0]);
    // A fragment is not to be read as a datagram.
    let whole = ip.filter(|sent| sent.bytes[20] & 0x3f == 0 && sent.bytes[21] == 0);
    whole.map(|sent| (sent.port, read(&sent.bytes))).collect()
}

fn step(lab: &mut Lab, dialogue: &mut Dialogue) -> bool {
    let sent = turn(lab, &vec![dialogue.next()]);
    dialogue.take(&sent)
}

/// A whole opening and the first answer, with nothing in between.
fn opens(lab: &mut Lab, port: u16, service: SocketAddrV4) -> Option<Dialogue> {
    let mut dialogue = Dialogue::new(port, service);
    (0..4).all(|_| step(lab, &mut dialogue)).then_some(dialogue)
}

fn play(flood: Flood) -> Outcome {
    let mut lab = lab();
    let mut established: Vec<_> = (0..40).map(|n| opens(&mut lab, 1000 + n, BUSY).unwrap()).collect();
    let mut talking = VecDeque::<Dialogue>::new();
    let mut answers = Vec::new();
    let (mut lost, mut begun, mut opened) = (0, 0, 0);
    for round in 0..ROUNDS {
        lab.skip(MILLISECOND);
        // Whoever is not established yet waits for a turn each, with the flood in between.
        let mut frames: Frames = std::mem::take(&mut answers);
        frames.extend((0..AT_ONCE).flat_map(|n| (flood.packet)(round * AT_ONCE + n)));
        for part in frames.chunks(30) {
            let reached = turn(&mut lab, &part.to_vec());
            let reached = reached.iter().filter(|(port, seen)| *port == DIP0 && seen.source.port() >= 1024);
            answers.extend(reached.flat_map(|(_, seen)| (flood.answers)(seen)).map(|p| (DIP0, from_real(p))));
        }
        for dialogue in &mut established {
            if (round + u32::from(dialogue.client.port())) % 10 == 0 {
                lost += u32::from(!step(&mut lab, dialogue));
            }
        }
        if round % 10 == 0 {
            talking.push_back(Dialogue::new(20_000 + (round / 10) as u16, OPENING));
            begun += 1;
        }
        talking.retain_mut(|dialogue| {
            let arrived = step(&mut lab, dialogue);
            opened += u32::from(arrived && dialogue.steps == 4);
            arrived && dialogue.steps < 4
        });
    }
    let opened_after = (0..100).filter(|n| opens(&mut lab, 30_000 + n, OPENING).is_some()).count() as u32;
    for dialogue in &mut established {
        lost += (0..4).filter(|_| !step(&mut lab, dialogue)).count() as u32;
    }
    Outcome { lab, lost, begun, opened, opened_after }
}

impl Outcome {
    /// Nothing established is lost, all new connections but one in twenty come about, and no frame is kept.
    fn assert_unharmed(&mut self) {
        let Self { lab, lost, begun, opened, opened_after } = self;
        let table = lab.worker.table().len();
        assert_eq!(*lost, 0, "of established connections");
        println!("{opened} of {begun}, {opened_after} of 100 right after");
        assert!(*opened * 100 >= *begun * 95, "{opened} of {begun} new ones, {table} in the table");
        assert!(*opened_after >= 95, "{opened_after} of 100 right after, {table} in the table");
        assert!(table <= CAPACITY);
        lab.pass(6);
        assert_eq!((lab.worker.frames_held(), lab.worker.io().live_frames()), (0, 0), "frames kept");
    }

    /// Nothing else was dropped but answers to flooding clients that had given way before.
    fn assert_dropped(&self, expected: &[(DropReason, u64)]) {
        let dropped = DropReason::ALL.iter().map(|reason| (*reason, self.lab.dropped(*reason)));
        let dropped =
            dropped.filter(|(reason, count)| *count > 0 && *reason != DropReason::RealWithoutConnection);
        assert_eq!(dropped.collect::<Vec<_>>(), expected);
        assert!(self.lab.dropped(DropReason::RealWithoutConnection) < ALL / 20);
    }
}

/// A made-up source: all over the internet, or one that comes again.
fn made_up(n: u32) -> SocketAddrV4 {
    let address = Ipv4Addr::from_bits(0x2000_0000 | n.wrapping_mul(0x9e37_79b1) >> 4);
    at(address, 1024 + (n % 60_000) as u16)
}

/// One of the link, of which there are few, that does not answer ARP.
fn of_the_link(n: u32) -> SocketAddrV4 {
    at(Ipv4Addr::from_bits(0xc0a8_0a80 + n % 100), 1024 + (n / 100) as u16)
}

fn in_vip(packet: Packet) -> Frames {
    vec![(VIP0, from_client(packet))]
}

fn tcp_to_flooded(n: u32, flags: u8) -> Packet {
    Packet::tcp(made_up(n), FLOODED, flags)
}

fn udp_to_flooded(n: u32) -> Packet {
    Packet::udp(made_up(n), FLOODED, b"?")
}

/// UDP is answered.
fn echo(seen: &Seen) -> Vec<Packet> {
    if seen.protocol == 17 { vec![Packet::udp(seen.destination, seen.source, b"!")] } else { Vec::new() }
}

/// A TCP stack with a socket that listens: a SYN is answered, anything else is a segment of no connection, which is
/// reset if it is no RST itself.
fn listens(seen: &Seen) -> Vec<Packet> {
    if seen.flags & RST != 0 {
        return Vec::new();
    }
    let flags = if seen.flags & SYN != 0 { SYN | ACK } else { RST };
    vec![Packet::tcp(seen.destination, seen.source, flags)]
}

/// Listens, and repeats its answer, since the SYN is still unconfirmed.
fn listens_and_repeats(seen: &Seen) -> Vec<Packet> {
    let mut answers = listens(seen);
    if seen.flags & SYN == 0 {
        answers.push(Packet::tcp(seen.destination, seen.source, SYN | ACK));
    }
    answers
}

/// A SYN is answered; what is out of its window by an ACK, as RFC 9293 §3.10.7.4 asks.
fn asks_for_what_is_missing(seen: &Seen) -> Vec<Packet> {
    let flags = if seen.flags & SYN != 0 { SYN | ACK } else { ACK };
    vec![Packet::tcp(seen.destination, seen.source, flags)]
}

/// Made-up clients that send `COUNT` packets each, one some rounds after the other.
const fn turns(n: u32, count: u32) -> (u32, u32) {
    let later = AT_ONCE * 5;
    let which = n / later % count;
    (n / (later * count) * later + n % later, which)
}
