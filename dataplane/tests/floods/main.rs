//! Floods of each kind, at 20,000 packets a second and several times what the tables and queues hold, beside
//! connections that are there and new ones of another service. Time is by hand, so every count is exact.

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

#[test]
fn syns() {
    let packet = |n| in_vip(tcp_to_flooded(n, SYN));
    for answers in [silence, listens] {
        let mut outcome = play(Flood { packet, answers });
        outcome.assert_unharmed();
        outcome.assert_dropped(&[]);
        assert_eq!(outcome.lab.worker.table().len(), CAPACITY);
    }
}

/// What IPVS takes for a SYN.
#[test]
fn syns_with_other_flags() {
    let packet = |n| in_vip(tcp_to_flooded(n, SYN | [FIN, ACK, 32, FIN | ACK][n as usize % 4]));
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

#[test]
fn datagrams_that_nobody_answers() {
    let packet = |n| in_vip(udp_to_flooded(n));
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

#[test]
fn datagrams_that_are_answered() {
    let packet = |n| in_vip(udp_to_flooded(n));
    let mut outcome = play(Flood { packet, answers: echo });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

/// An attacker knows that a second datagram makes a connection worth keeping. The service that he floods is closed to
/// new clients, others are not.
#[test]
fn datagrams_of_clients_that_speak_again_after_the_answer() {
    let packet = |n| in_vip(udp_to_flooded(turns(n, 2).0));
    let mut outcome = play(Flood { packet, answers: echo });
    assert!(outcome.lab.dropped(DropReason::TableFull) > ALL / 4);
    outcome.assert_unharmed();
}

#[test]
fn syn_and_wrong_ack() {
    let packet = |n| {
        let (client, which) = turns(n, 2);
        in_vip(tcp_to_flooded(client, [SYN, ACK][which as usize]))
    };
    for answers in [silence, listens, listens_and_repeats, asks_for_what_is_missing] {
        play(Flood { packet, answers }).assert_unharmed();
    }
}

/// As far as a client gets that sees no answer.
#[test]
fn whole_connections_by_the_clients_word_alone() {
    fn packet(n: u32, flags: fn(u32) -> u8) -> Frames {
        let (client, which) = turns(n, 3);
        in_vip(tcp_to_flooded(client, flags(which)))
    }
    let floods: [fn(u32) -> Frames; 3] = [
        |n| packet(n, |step| [SYN, ACK, FIN | ACK][step as usize]),
        |n| packet(n, |step| [SYN, ACK, SYN][step as usize]),
        |n| packet(n, |step| [SYN, FIN, ACK][step as usize]),
    ];
    for packet in floods {
        for answers in [silence, listens_and_repeats] {
            play(Flood { packet, answers }).assert_unharmed();
        }
    }
}

/// Clients that are real, each with a connection like any other: more than the table holds.
#[test]
fn connections_of_real_clients() {
    let packet = |n| {
        let (client, which) = turns(n, 3);
        in_vip(tcp_to_flooded(client, [SYN, ACK, ACK][which as usize]))
    };
    let mut outcome = play(Flood { packet, answers: asks_for_what_is_missing });
    assert!(outcome.lab.dropped(DropReason::TableFull) > 0);
    outcome.assert_unharmed();
}

#[test]
fn segments_of_no_connection() {
    let packet = |n| in_vip(tcp_to_flooded(n, [ACK, FIN | ACK, RST, 0][n as usize % 4]));
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::NoConnection, ALL)]);
    let answers = outcome.lab.counters().answers.get();
    assert!((7_000..10_000).contains(&answers), "{answers}: at most 10,000 a second");
}

fn fragment(n: u32, word: u16, payload: &[u8]) -> Frames {
    let packet = Packet { dont_fragment: false, id: n as u16, fragment: word, ..udp_to_flooded(n) };
    in_vip(Packet { payload: payload.to_vec(), ..packet })
}

#[test]
fn first_fragments() {
    let mut outcome = play(Flood { packet: |n| fragment(n, 0x2000, &[0; 24]), answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

#[test]
fn later_fragments() {
    let mut outcome = play(Flood { packet: |n| fragment(n, 0x2000 | 185, &[0; 24]), answers: silence });
    outcome.assert_unharmed();
    let dropped = |reason| outcome.lab.dropped(reason);
    assert_eq!(dropped(DropReason::FragmentQueueFull) + dropped(DropReason::FragmentExpired), ALL);
}

#[test]
fn later_fragments_of_one_client() {
    let packet = |n| {
        let packet = Packet { dont_fragment: false, id: n as u16, fragment: 185, ..udp_to_flooded(0) };
        in_vip(packet)
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    let dropped = |reason| outcome.lab.dropped(reason);
    assert_eq!(dropped(DropReason::FragmentQueueFull) + dropped(DropReason::FragmentExpired), ALL);
}

#[test]
fn fragments_that_overlap() {
    let packet = |n| fragment(n / 3, [0x2000, 2, 0x2000][n as usize % 3], &[n as u8; 24]);
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    assert!(outcome.lab.dropped(DropReason::FragmentOverlap) > ALL / 4);
}

/// A datagram whose fragments change places is put in order beside each of these floods.
#[test]
fn fragments_of_others_pass_meanwhile() {
    let floods: [fn(u32) -> Frames; 3] = [
        |n| fragment(n, 0x2000, &[0; 24]),
        |n| fragment(n, 0x2000 | 185, &[0; 24]),
        |n| fragment(n / 3, [0x2000, 2, 0x2000][n as usize % 3], &[n as u8; 24]),
    ];
    for packet in floods {
        let mut lab = lab();
        for round in 0..500u32 {
            lab.skip(MILLISECOND);
            let question = Packet::udp(at(CLIENT, 5000), UDP_BESIDE, &[7; 4000]);
            let question = Packet { dont_fragment: false, id: round as u16, ..question };
            let mut pieces = question.macs(CLIENT_MAC, VIP_MAC).fragments(1500);
            pieces.rotate_left(1 + round as usize % 2);
            let mut sent = Vec::new();
            for piece in pieces {
                for (port, frame) in (0..7).flat_map(|n| packet(round * 21 + n)) {
                    lab.worker.io().arrive(port, &frame);
                }
                lab.worker.io().arrive(VIP0, &piece);
                sent.extend(lab.turn());
            }
            let client = CLIENT.octets();
            let mine = sent.into_iter().filter(|sent| sent.port == DIP0 && sent.bytes[26..30] == client);
            let mine: Vec<_> = mine.map(|sent| sent.bytes).collect();
            assert_eq!(mine.len(), 3, "round {round}");
            assert_eq!(read(&reassemble(&mine)).payload, [7; 4000]);
        }
    }
}

#[test]
fn pings() {
    let packet = |n: u32| {
        let ping = Packet::icmp(*made_up(n).ip(), VIP, [8, 0], n.to_be_bytes(), b"ping");
        in_vip(ping)
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    let (answers, suppressed) =
        (outcome.lab.counters().answers.get(), outcome.lab.counters().answers_suppressed.get());
    assert_eq!(answers + suppressed, ALL);
}

#[test]
fn icmp_errors_about_no_connection() {
    let packet = |n: u32| {
        let quoted = Packet::tcp(FLOODED, made_up(n), ACK).datagram();
        in_vip(Packet::icmp(*made_up(n).ip(), VIP, [3, 1], [0; 4], &quoted[..28]))
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::IcmpUnmatched, ALL)]);
}

/// Requests, answers to none and announcements, by hosts that are not there.
#[test]
fn arp_messages() {
    let packet = |n: u32| {
        let sender = Ipv4Addr::from_bits(0x0a00_0000 | n & 0xff_ffff | 0x100);
        let mac = Mac([2, 9, 0, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        let mut message =
            arp::request(mac, sender, if n.is_multiple_of(4) { sender } else { VIP }, Mac::BROADCAST)
                .to_vec();
        if n % 4 > 1 {
            message[21] = 2; // a reply
            message[..6].copy_from_slice(&VIP_MAC.0);
            message[32..38].copy_from_slice(&VIP_MAC.0);
        }
        vec![(VIP0, message)]
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
}

/// An ARP reply to us of a host with this address and MAC.
fn arp_reply(sender: Ipv4Addr, mac: Mac, (target, target_mac): (Ipv4Addr, Mac)) -> Vec<u8> {
    let mut message = arp::request(mac, sender, target, target_mac).to_vec();
    message[21] = 2;
    message[..6].copy_from_slice(&target_mac.0);
    message[32..38].copy_from_slice(&target_mac.0);
    message
}

/// Whether a real still has its MAC is asked each half minute: its answers are heard beside those of a hundred thousand
/// hosts a second that are not there, on its own link too, also while the control thread is busy for a while.
#[test]
fn a_reals_answer_is_heard_among_answers_of_others() {
    for port in [VIP0, DIP0] {
        let mut lab = lab();
        let (us, net) =
            if port == VIP0 { ((VIP, VIP_MAC), 0xc0a8_0a00) } else { ((DIP, DIP_MAC), 0x0a00_0000) };
        let mut heard = 0;
        for round in 0..2_000u32 {
            lab.skip(MILLISECOND);
            for n in 0..100 {
                let host = Ipv4Addr::from_bits(net + 0x80 + n % 100);
                let mac = Mac([2, 9, 0, 0, (round >> 8) as u8, n as u8]);
                lab.worker.io().arrive(port, &arp_reply(host, mac, us));
            }
            lab.worker.io().arrive(DIP0, &arp_reply(RS1, RS1_MAC, (DIP, DIP_MAC)));
            for _ in 0..5 {
                lab.turn();
            }
            // The control thread looks each twenty milliseconds.
            while let Some(event) =
                Some(()).filter(|()| round % 20 == 19).and_then(|()| lab.control.neighbour_events.pop().ok())
            {
                let key = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(RS1) };
                heard += u32::from(
                    matches!(event, NeighbourEvent::Heard { key: of, reply: true, .. } if of == key),
                );
            }
        }
        assert_eq!(heard, 2_000);
    }
}

/// Their answers wait for a next hop that is not there.
#[test]
fn clients_of_the_link_that_are_not_there() {
    let floods: [fn(u32) -> Frames; 2] = [
        |n| in_vip(Packet::tcp(of_the_link(n), FLOODED, SYN)),
        |n| in_vip(Packet::udp(of_the_link(n), FLOODED, b"?")),
    ];
    for packet in floods {
        let mut outcome = play(Flood {
            packet,
            answers: |seen| if seen.protocol == 17 { echo(seen) } else { listens(seen) },
        });
        outcome.assert_unharmed();
        let dropped = |reason| outcome.lab.dropped(reason);
        let unresolved = dropped(DropReason::NextHopQueueFull) + dropped(DropReason::NextHopUnresolved);
        let late = dropped(DropReason::RealWithoutConnection);
        assert_eq!(unresolved + late, ALL - u64::from(AT_ONCE), "each answer but those that came last");
        assert!(late < ALL / 20, "{late}");
    }
}

#[test]
fn packets_with_options() {
    let floods: [fn(u32) -> Frames; 2] = [
        |n| in_vip(Packet { options: vec![1; 40], ..tcp_to_flooded(n, SYN) }),
        |n| in_vip(Packet { options: vec![1, 1, 1, 0], ..udp_to_flooded(n) }),
    ];
    for packet in floods {
        let mut outcome = play(Flood { packet, answers: echo });
        outcome.assert_unharmed();
        outcome.assert_dropped(&[]);
    }
}

#[test]
fn packets_with_options_that_are_not_let_through() {
    let packet = |n| in_vip(Packet { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..tcp_to_flooded(n, SYN) });
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::IpOptions, ALL)]);
}

/// Larger than any MTU: as segments that a device has merged, and what cannot be cut.
#[test]
fn oversized_packets() {
    let packet = |n: u32| {
        let packet =
            Packet { payload: vec![0; 1600], dont_fragment: n.is_multiple_of(2), ..udp_to_flooded(n) };
        in_vip(packet)
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    assert_eq!(outcome.lab.dropped(DropReason::TooBig), ALL / 2);
}

#[test]
fn packets_at_the_end_of_their_life() {
    let packet = |n| {
        let packet = if n % 2 == 0 { tcp_to_flooded(n, SYN) } else { udp_to_flooded(n) };
        in_vip(packet.ttl(1))
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::TtlExceeded, ALL)]);
}

/// Own addresses, loopback, multicast and others that no packet may come from.
#[test]
fn sources_that_no_packet_may_have() {
    let packet = |n: u32| {
        let sources = [VIP, DIP, Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 5)];
        let source = at(sources[n as usize % sources.len()], 1024 + n as u16 % 1000);
        in_vip(Packet::tcp(source, FLOODED, SYN))
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::Martian, ALL)]);
}

/// Packets that are routed through to hosts that are not there.
#[test]
fn packets_to_reals_that_are_not_there() {
    let packet = |n: u32| {
        let to = at(Ipv4Addr::from_bits(0x0a00_0080 + n % 100), 7);
        in_vip(Packet::udp(made_up(n), to, b"?"))
    };
    play(Flood { packet, answers: silence }).assert_unharmed();
}

/// A host of the link becomes known while such a flood goes on.
#[test]
fn a_neighbour_is_resolved_meanwhile() {
    let mut lab = lab();
    let host = at(Ipv4Addr::new(192, 168, 10, 77), 4000);
    let mut real = None;
    for n in 0..2_000u32 {
        lab.skip(MILLISECOND / 20);
        let to = at(Ipv4Addr::from_bits(0x0a00_0080 + n % 100), 7);
        let packet =
            if n == 1_990 { Packet::tcp(host, OPENING, SYN) } else { Packet::udp(made_up(n), to, b"?") };
        let sent = lab.arrive(VIP0, &from_client(packet));
        let sent = sent.iter().map(|sent| read(&sent.bytes));
        real = real.or(sent.filter(|seen| seen.source == host).map(|seen| seen.destination).next());
    }
    let answer = Packet::tcp(real.unwrap(), host, SYN | ACK);
    assert!(lab.arrive(DIP0, &from_real(answer)).is_empty());
    let back = lab.reachable(
        NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(*host.ip()) },
        Mac([2, 0, 0, 0, 0x10, 77]),
    );
    assert!(back.iter().any(|sent| sent.port == VIP0 && read(&sent.bytes).destination == host));
}
