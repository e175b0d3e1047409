//! SCTP: whole exchanges of packets, of both address families, and those that were recorded on a real kernel. Checksums
//! are computed here bit by bit, as they are defined.

mod support;

use dataplane::connection::State;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey, Protocol, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::{Algorithm, Candidate, Change, Options, Schedule};
use dataplane::snapshot::{OnRemoval, Persistence, Policy, Real, Service, Steering};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use support::cluster::Cluster;
use support::*;

const SCTP: u8 = 132;
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

const CHUNKS: [(u8, &str); 12] = [
    (DATA, "DATA"),
    (INIT, "INIT"),
    (INIT_ACK, "INIT ACK"),
    (SACK, "SACK"),
    (HEARTBEAT, "HEARTBEAT"),
    (ABORT, "ABORT"),
    (SHUTDOWN, "SHUTDOWN"),
    (SHUTDOWN_ACK, "SHUTDOWN ACK"),
    (ERROR, "ERROR"),
    (COOKIE_ECHO, "COOKIE ECHO"),
    (COOKIE_ACK, "COOKIE ACK"),
    (SHUTDOWN_COMPLETE, "SHUTDOWN COMPLETE"),
];

fn crc32c(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for byte in bytes {
        rest ^= u32::from(*byte);
        for _ in 0..8 {
            rest = rest >> 1 ^ if rest & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    !rest
}

/// An SCTP packet without the headers before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    ports: [u16; 2],
    tag: u32,
    /// Type, flags and value of each chunk.
    chunks: Vec<(u8, u8, Vec<u8>)>,
    /// What the checksum is exclusive-ored with; 0: it is right.
    wrong_by: u32,
}

impl Packet {
    fn new(tag: u32, chunk: u8, value: &[u8]) -> Self {
        Self { ports: [0; 2], tag, chunks: vec![(chunk, 0, value.to_vec())], wrong_by: 0 }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.ports.map(u16::to_be_bytes).concat();
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        for (chunk, flags, value) in &self.chunks {
            bytes.extend([*chunk, *flags]);
            bytes.extend((4 + value.len() as u16).to_be_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let check = crc32c(&bytes) ^ self.wrong_by;
        bytes[8..12].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut zeroed = bytes.to_vec();
        zeroed[8..12].fill(0);
        let check = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let (mut chunks, mut at) = (Vec::new(), 12);
        while at < bytes.len() {
            let end = at + usize::from(word(at + 2));
            chunks.push((bytes[at], bytes[at + 1], bytes[at + 4..end].to_vec()));
            at = end.next_multiple_of(4);
        }
        let tag = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
        Self { ports: [word(0), word(2)], tag, chunks, wrong_by: check ^ crc32c(&zeroed) }
    }
}

/// What was seen of a frame: its MACs, the ends of its packet, the hop limit, and the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    macs: [Mac; 2],
    ends: [SocketAddr; 2],
    hops: u8,
    protocol: u8,
    payload: Vec<u8>,
}

impl Seen {
    fn packet(&self) -> Packet {
        assert_eq!(self.protocol, SCTP, "{self:?}");
        Packet::read(&self.payload)
    }

    /// The first chunk's type and flags.
    fn chunk(&self) -> (u8, u8) {
        let (chunk, flags, _) = self.packet().chunks[0];
        (chunk, flags)
    }
}

fn read(frame: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a readable frame");
    let (source, destination, hops, protocol, payload): (IpAddr, IpAddr, u8, u8, Vec<u8>) = match &sliced.net
    {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let payload = ip.payload();
            let addresses = (header.source.into(), header.destination.into());
            (addresses.0, addresses.1, header.time_to_live, header.protocol.0, payload.payload.to_vec())
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().to_header();
            let payload = ip.payload();
            let addresses = (header.source.into(), header.destination.into());
            (addresses.0, addresses.1, header.hop_limit, payload.ip_number.0, payload.payload.to_vec())
        }
        other => panic!("{other:?}"),
    };
    let ports = if protocol == SCTP { Packet::read(&payload).ports } else { [0; 2] };
    Seen {
        macs: [Mac(frame[6..12].try_into().unwrap()), Mac(frame[..6].try_into().unwrap())],
        ends: [SocketAddr::new(source, ports[0]), SocketAddr::new(destination, ports[1])],
        hops,
        protocol,
        payload,
    }
}

/// A frame of this protocol with these bytes.
fn framed(macs: [Mac; 2], ends: [IpAddr; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(macs[0].0, macs[1].0);
    let builder = match ends {
        [IpAddr::V4(from), IpAddr::V4(to)] => builder.ipv4(from.octets(), to.octets(), 64),
        [IpAddr::V6(from), IpAddr::V6(to)] => builder.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("of one family"),
    };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, protocol.into(), payload).unwrap();
    bytes
}

/// The addresses of a lab.
#[derive(Clone, Copy)]
struct Addresses {
    vip: IpAddr,
    client: IpAddr,
    reals: [IpAddr; 2],
    /// Those of hand-made packets, which no stack answers.
    handmade: [IpAddr; 2],
}

fn families() -> [Addresses; 2] {
    let of = |[vip, client, first, second, from, to]: [&str; 6]| Addresses {
        vip: vip.parse().unwrap(),
        client: client.parse().unwrap(),
        reals: [first.parse().unwrap(), second.parse().unwrap()],
        handmade: [from.parse().unwrap(), to.parse().unwrap()],
    };
    [
        of(["192.168.10.100", "192.168.10.6", "10.0.0.7", "10.0.0.17", "192.168.10.99", "10.0.0.99"]),
        of(["fd00:10::100", "fd00:10::6", "fd00:20::7", "fd00:20::17", "fd00:10::99", "fd00:20::99"]),
    ]
}

const HANDMADE_MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0x10, 0x99]), Mac([2, 0, 0, 0, 0, 0x99])];

/// A lab with services of SCTP, and who speaks in it.
struct Bench {
    lab: Lab,
    at: Addresses,
    policy: Policy,
}

impl Bench {
    /// A service on port 9000 whose reals are on 9001, and one on 9009 for hand-made packets, whose real is on 9003.
    fn new(at: Addresses) -> Self {
        let mut lab = Lab::of_both_families();
        for (interface, address) in [(0, "fd00:10::100/64"), (1, "fd00:20::8/64")] {
            lab.description.interfaces[interface].addresses.push(address.parse().unwrap());
        }
        lab.apply();
        let neighbours = [
            (VIP0, at.client, CLIENT_MAC),
            (DIP0, at.reals[0], RS1_MAC),
            (DIP0, at.reals[1], RS2_MAC),
            (VIP0, at.handmade[0], HANDMADE_MACS[0]),
            (DIP0, at.handmade[1], HANDMADE_MACS[1]),
        ];
        for (interface, address, mac) in neighbours {
            lab.reachable(NeighbourKey { interface, address }, mac);
        }
        let mut bench = Self { lab, at, policy: Policy::default() };
        bench.serve(&[0, 1]);
        bench
    }

    fn service(&self, port: u16) -> ServiceKey {
        ServiceKey::new(Protocol::Sctp, SocketAddr::new(self.at.vip, port))
    }

    fn real(&self, index: usize) -> RealKey {
        RealKey { service: self.service(9000), endpoint: SocketAddr::new(self.at.reals[index], 9001) }
    }

    /// Makes these the reals of the service on port 9000; others that were are removed.
    fn serve(&mut self, reals: &[usize]) {
        let reals: Vec<_> = reals.iter().map(|index| self.real(*index)).collect();
        let handmade =
            RealKey { service: self.service(9009), endpoint: SocketAddr::new(self.at.handmade[1], 9003) };
        let services =
            [(self.service(9000), reals), (self.service(9009), vec![handmade]), (self.service(9010), vec![])];
        let known: Vec<_> = self.lab.description.reals.iter().map(|real| real.key).collect();
        let listed: Vec<_> = services.iter().flat_map(|(_, reals)| reals.clone()).collect();
        let all: Vec<_> =
            known.iter().chain(listed.iter().filter(|key| !known.contains(key))).copied().collect();
        self.lab.description.services = (1..)
            .zip(&services)
            .map(|(generation, (key, reals))| {
                let (mut candidates, mut changes) = (Vec::new(), Vec::new());
                for key in reals {
                    candidates.insert(0, Candidate { real: self.lab.real_id(*key), weight: 1 });
                    changes.push(Change::of(candidates.iter().map(|candidate| candidate.weight)));
                }
                let schedule = Schedule::with_options(
                    Algorithm::RoundRobin,
                    &Options::default(),
                    self.lab.description.version * 100 + generation,
                    candidates,
                    (0, changes),
                );
                Some(Service { key: *key, policy: self.policy, timeouts: None, schedule: Arc::new(schedule) })
            })
            .collect();
        self.lab.description.reals = all
            .iter()
            .map(|key| Real {
                id: self.lab.real_id(*key),
                key: *key,
                next_hop: self.lab.next_hop_id(NeighbourKey { interface: DIP0, address: key.endpoint.ip() }),
                thresholds: dataplane::snapshot::Thresholds::default(),
                removed: (!listed.contains(key)).then_some(self.policy.on_removal),
                is_emptied: false,
            })
            .collect();
        self.lab.apply();
    }

    fn arrive(&mut self, from: InterfaceId, frame: &[u8]) -> Vec<(InterfaceId, Seen)> {
        let sent = self.lab.arrive(from, frame);
        sent.iter().map(|sent| (sent.port, read(&sent.bytes))).collect()
    }

    /// What comes of a client's packet to a port of the VIP.
    fn client_sends(&mut self, from: u16, to: u16, packet: &Packet) -> Vec<(InterfaceId, Seen)> {
        let packet = Packet { ports: [from, to], ..packet.clone() };
        let ends = [self.at.client, self.at.vip];
        self.arrive(VIP0, &framed([CLIENT_MAC, VIP_MAC], ends, SCTP, &packet.bytes()))
    }

    /// What comes of a real's packet to a port of the client.
    fn real_sends(&mut self, index: usize, to: u16, packet: &Packet) -> Vec<(InterfaceId, Seen)> {
        let packet = Packet { ports: [9001, to], ..packet.clone() };
        let ends = [self.at.reals[index], self.at.client];
        let mac = [RS1_MAC, RS2_MAC][index];
        self.arrive(DIP0, &framed([mac, DIP_MAC], ends, SCTP, &packet.bytes()))
    }

    /// The real that a client's packet gets to.
    fn reaches(&mut self, from: u16, packet: &Packet) -> usize {
        let sent = self.client_sends(from, 9000, packet);
        assert_eq!(sent.len(), 1, "{:?}", self.drops());
        assert_eq!(sent[0].0, DIP0);
        let real = sent[0].1.ends[1];
        self.at.reals.iter().position(|address| SocketAddr::new(*address, 9001) == real).expect("a real")
    }

    /// Whether a real's packet gets to the client.
    fn returns(&mut self, index: usize, to: u16, packet: &Packet) {
        let sent = self.real_sends(index, to, packet);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].0, sent[0].1.ends[0]), (VIP0, SocketAddr::new(self.at.vip, 9000)));
    }

    /// Opens an association from this port of the client; with which real.
    fn open(&mut self, from: u16) -> usize {
        let real = self.reaches(from, &init());
        self.returns(real, from, &Packet::new(1, INIT_ACK, &[7; 40]));
        assert_eq!(self.reaches(from, &Packet::new(2, COOKIE_ECHO, &[7; 20])), real);
        self.returns(real, from, &Packet::new(1, COOKIE_ACK, &[]));
        real
    }

    fn states(&mut self) -> Vec<State> {
        self.lab.connections().iter().map(|row| row.state).collect()
    }

    /// What was dropped, for messages.
    fn drops(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.iter().map(|reason| (*reason, self.dropped(*reason)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.lab.dropped(reason)
    }

    fn counts(&mut self, key: RealKey) -> (u64, u64) {
        let id = self.lab.real_id(key);
        let real = self.lab.counters().real(id);
        (real.states.active(), real.inactive())
    }
}

/// An INIT whose sender expects the tag 0xdeadbeef.
fn init() -> Packet {
    let value =
        [&[0xde, 0xad, 0xbe, 0xef, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1][..], &[0, 5, 0, 8, 1, 2, 3, 4]];
    Packet::new(0, INIT, &value.concat())
}

#[test]
fn the_checksum_of_this_test_is_the_one_that_is_defined() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

/// An association with a port that changes: whatever is in the chunks stays, tags and addresses in INIT included.
#[test]
fn an_association_is_translated_both_ways() {
    for at in families() {
        let mut bench = Bench::new(at);
        let exchange = [
            (true, init()),
            (false, Packet::new(0xdead_beef, INIT_ACK, &[3; 200])),
            (true, Packet::new(77, COOKIE_ECHO, &[4; 133])),
            (false, Packet::new(0xdead_beef, COOKIE_ACK, &[])),
            (true, Packet::new(77, DATA, &[5; 1400])),
            (false, Packet { chunks: vec![(SACK, 0, vec![1; 12]), (DATA, 3, vec![6; 9])], ..init() }),
            (true, Packet::new(77, HEARTBEAT, &[8; 40])),
            (true, Packet::new(77, SHUTDOWN, &[0, 0, 0, 9])),
            (false, Packet::new(0xdead_beef, SHUTDOWN_ACK, &[])),
            (true, Packet::new(77, SHUTDOWN_COMPLETE, &[])),
        ];
        let mut real = None;
        for (by_client, packet) in exchange {
            let (sent, ends, ports, macs, out) = if by_client {
                let sent = bench.client_sends(40000, 9000, &packet);
                let index = *real.get_or_insert_with(|| {
                    let to = sent[0].1.ends[1].ip();
                    at.reals.iter().position(|address| *address == to).unwrap()
                });
                let macs = [DIP_MAC, [RS1_MAC, RS2_MAC][index]];
                (sent, [at.client, at.reals[index]], [40000, 9001], macs, DIP0)
            } else {
                let sent = bench.real_sends(real.unwrap(), 40000, &packet);
                (sent, [at.vip, at.client], [9000, 40000], [VIP_MAC, CLIENT_MAC], VIP0)
            };
            assert_eq!((sent.len(), sent[0].0), (1, out));
            let seen = &sent[0].1;
            assert_eq!(seen.packet(), Packet { ports, ..packet });
            assert_eq!((seen.ends.map(|end| end.ip()), seen.macs, seen.hops), (ends, macs, 63));
        }
        assert_eq!(bench.states(), [State::SctpClosed]);
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_by_as_much_and_one_of_zero_stays() {
    for at in families() {
        let mut bench = Bench::new(at);
        let real = bench.open(40000);
        for wrong_by in [1, 0x8000_0000, 0xdead_beef] {
            let packet = Packet { wrong_by, ..Packet::new(2, DATA, &[9; 77]) };
            let there = bench.client_sends(40000, 9000, &packet);
            assert_eq!(there[0].1.packet().wrong_by, wrong_by);
            let back = bench.real_sends(real, 40000, &packet);
            assert_eq!(back[0].1.packet().wrong_by, wrong_by);
        }
        let mut packet = Packet { ports: [40000, 9000], ..Packet::new(2, DATA, &[9; 77]) };
        packet.wrong_by = u32::from_le_bytes(packet.bytes()[8..12].try_into().unwrap());
        assert_eq!(packet.bytes()[8..12], [0; 4]);
        let sent = bench.client_sends(40000, 9000, &packet);
        assert_eq!(sent[0].1.payload[8..12], [0; 4]);
        assert_eq!(
            bench.states(),
            [State::SctpEstablished],
            "as with TCP, its receiver is the one to judge it"
        );
    }
}

#[test]
fn what_is_of_no_association_is_answered_by_abort() {
    for at in families() {
        let mut bench = Bench::new(at);
        let refused = |bench: &mut Bench, to: u16, packet: &Packet| {
            let sent = bench.client_sends(40000, to, packet);
            let [(VIP0, seen)] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!(seen.ends, [SocketAddr::new(at.vip, to), SocketAddr::new(at.client, 40000)]);
            assert_eq!((seen.macs, seen.hops, seen.packet().wrong_by), ([VIP_MAC, CLIENT_MAC], 64, 0));
            (seen.chunk(), seen.packet().tag)
        };
        assert_eq!(refused(&mut bench, 9011, &init()), ((ABORT, 0), 0xdead_beef));
        assert_eq!(bench.dropped(DropReason::NoService), 1);
        assert_eq!(refused(&mut bench, 9000, &Packet::new(17, DATA, &[1; 12])), ((ABORT, 1), 17));
        let ack = Packet::new(17, SHUTDOWN_ACK, &[]);
        assert_eq!(refused(&mut bench, 9000, &ack), ((SHUTDOWN_COMPLETE, 1), 17));
        assert_eq!(bench.dropped(DropReason::NoConnection), 2);
        let wrong = Packet { wrong_by: 4, ..init() };
        for silent in [Packet::new(17, ABORT, &[]), Packet::new(17, COOKIE_ACK, &[]), wrong] {
            assert_eq!(bench.client_sends(40000, 9011, &silent), []);
        }
        assert_eq!(bench.dropped(DropReason::NoService), 4);
        assert_eq!(bench.states(), []);
    }
}

#[test]
fn a_service_without_reals_says_that_the_port_is_unreachable() {
    for at in families() {
        let mut bench = Bench::new(at);
        let sent = bench.client_sends(40000, 9010, &init());
        let [(VIP0, seen)] = &sent[..] else { panic!("{sent:?}") };
        let (protocol, message) = if at.vip.is_ipv4() { (1, [3, 3]) } else { (58, [1, 4]) };
        assert_eq!((seen.protocol, &seen.payload[..2]), (protocol, &message[..]));
        assert_eq!(seen.ends[0].ip(), at.vip);
        let asked = Packet { ports: [40000, 9010], ..init() };
        assert!(seen.payload.ends_with(&asked.bytes()), "it quotes the packet as it came");
        assert_eq!(bench.dropped(DropReason::NoReal), 1);
        let wrong = Packet { wrong_by: 4, ..init() };
        assert_eq!(bench.client_sends(40000, 9010, &wrong), [], "its receiver would discard it silently");
    }
}

#[test]
fn an_init_opens_a_closed_association_anew_and_no_other() {
    for at in families() {
        let mut bench = Bench::new(at);
        let first = bench.open(40000);
        assert_eq!(bench.reaches(40000, &init()), first, "as long as it is open");
        assert_eq!(bench.states(), [State::SctpEstablished]);
        assert_eq!(bench.reaches(40000, &Packet::new(2, ABORT, &[])), first);
        assert_eq!(bench.states(), [State::SctpClosed]);
        assert_eq!(bench.reaches(40000, &Packet::new(2, DATA, &[1; 12])), first, "a straggler");
        assert_eq!(bench.reaches(40000, &init()), 1 - first, "it is scheduled again");
        assert_eq!(bench.states(), [State::SctpInit1]);
        assert_eq!((bench.counts(bench.real(first)), bench.counts(bench.real(1 - first))), ((0, 0), (0, 1)));
    }
}

#[test]
fn each_state_lasts_as_long_as_the_kernels() {
    for at in families() {
        for (packets, seconds) in [(1, 4), (2, 61), (4, 900)] {
            let mut bench = Bench::new(at);
            let real = bench.reaches(40000, &init());
            if packets > 1 {
                bench.returns(real, 40000, &Packet::new(1, INIT_ACK, &[7; 40]));
            }
            if packets > 2 {
                bench.reaches(40000, &Packet::new(2, COOKIE_ECHO, &[7; 20]));
                bench.returns(real, 40000, &Packet::new(1, COOKIE_ACK, &[]));
            }
            assert_eq!(bench.lab.connections()[0].seconds_left(), seconds);
            bench.lab.pass(u64::from(seconds.min(61)) - 1);
            assert_eq!(bench.states().len(), 1, "{seconds}");
            bench.lab.leap(u64::from(seconds));
            assert_eq!(bench.states(), []);
            assert_eq!(bench.counts(bench.real(real)), (0, 0), "swept, and off the counts");
            assert!(bench.lab.counters().connections.get() == 0);
        }
    }
}

#[test]
fn sloppily_all_but_abort_opens_an_association() {
    for at in families() {
        for sloppy in [false, true] {
            let mut bench = Bench::new(at);
            bench.lab.description.sloppy_sctp = sloppy;
            bench.lab.apply();
            bench.client_sends(40000, 9000, &Packet::new(1, ABORT, &[]));
            assert_eq!(bench.states(), []);
            bench.client_sends(40000, 9000, &Packet::new(1, SACK, &[0; 12]));
            let expected: &[_] = if sloppy { &[State::SctpEstablished] } else { &[] };
            assert_eq!(bench.states(), expected);
        }
    }
}

#[test]
fn a_removed_reals_association_ends_as_its_service_says() {
    for at in families() {
        for on_removal in [OnRemoval::Drop, OnRemoval::Reset, OnRemoval::Reschedule] {
            let mut bench = Bench::new(at);
            bench.policy.on_removal = on_removal;
            bench.serve(&[0, 1]);
            let real = bench.open(40000);
            bench.serve(&[1 - real]);
            let sent = bench.client_sends(40000, 9000, &Packet::new(2, DATA, &[1; 12]));
            let ends: Vec<_> = sent
                .iter()
                .map(|(out, seen)| (*out, seen.ends[1], seen.chunk(), seen.packet().tag))
                .collect();
            let to_client = (VIP0, SocketAddr::new(at.client, 40000), (ABORT, 1), 2);
            let to_real = (DIP0, SocketAddr::new(at.reals[real], 9001), (ABORT, 0), 2);
            match on_removal {
                OnRemoval::Drop => assert_eq!(ends, []),
                OnRemoval::Reset => assert_eq!(ends, [to_client, to_real]),
                OnRemoval::Reschedule => assert_eq!(ends, [to_client]),
            }
            assert!(sent.iter().all(|(_, seen)| seen.packet().wrong_by == 0));
            let stays = on_removal == OnRemoval::Drop;
            assert_eq!(bench.states().len(), usize::from(stays), "{on_removal:?}");
            assert_eq!(bench.dropped(DropReason::RealRemoved), u64::from(stays));
            assert_eq!(bench.reaches(40000, &init()), 1 - real, "an INIT is scheduled anew");
        }
    }
}

/// From a port that it serves on; as the clients of many protocols over SCTP, it sends from that port too.
#[test]
fn a_reals_own_association_is_routed_and_what_is_of_none_is_aborted() {
    for at in families() {
        let mut bench = Bench::new(at);
        let sent = bench.real_sends(0, 50000, &Packet::new(3, DATA, &[1; 12]));
        let [(DIP0, seen)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(
            (seen.ends[1], seen.chunk(), seen.packet().tag),
            (SocketAddr::new(at.reals[0], 9001), (ABORT, 1), 3)
        );
        assert_eq!(bench.dropped(DropReason::RealWithoutConnection), 1);
        for packet in [init(), Packet::new(3, COOKIE_ECHO, &[1; 20]), Packet::new(3, DATA, &[1; 12])] {
            let sent = bench.real_sends(0, 50000, &packet);
            let [(VIP0, seen)] = &sent[..] else { panic!("{sent:?}") };
            assert_eq!(seen.ends[0], SocketAddr::new(at.reals[0], 9001), "as it is");
            assert_eq!(seen.packet().wrong_by, 0);
        }
    }
}

#[test]
fn clients_of_a_persistent_service_stay_with_their_real() {
    for at in families() {
        let mut bench = Bench::new(at);
        let mask = if at.vip.is_ipv4() { [255; 4].into() } else { IpAddr::from([255; 16]) };
        bench.policy.persistence = Some(Persistence { seconds: 60, mask });
        bench.serve(&[0, 1]);
        let first = bench.open(40000);
        for port in 40001..40010 {
            assert_eq!(bench.open(port), first);
        }
    }
}

/// A frame in fragments of this many bytes of payload, a multiple of eight.
fn in_fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let is_ipv4 = frame[12..14] == [8, 0];
    let header = 14 + if is_ipv4 { 20 } else { 40 };
    let parts = frame[header..].len().div_ceil(size);
    let fragment = |(index, part): (usize, &[u8])| {
        let (offset, more) = ((index * size / 8) as u16, index + 1 < parts);
        let mut bytes = frame[..header].to_vec();
        if is_ipv4 {
            bytes[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            bytes[18..20].copy_from_slice(&[0x12, 0x34]);
            bytes[20..22].copy_from_slice(&(offset | u16::from(more) << 13).to_be_bytes());
            bytes[24..26].fill(0);
            let check = support::packet::internet_checksum(&bytes[14..34], 0);
            bytes[24..26].copy_from_slice(&check.to_be_bytes());
        } else {
            bytes[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            bytes[20] = 44;
            bytes.extend([SCTP, 0]);
            bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
            bytes.extend([0, 0, 0x12, 0x34]);
        }
        bytes.extend(part);
        bytes
    };
    frame[header..].chunks(size).enumerate().map(fragment).collect()
}

/// The SCTP packet in these fragments, which are in order, and where they go.
fn put_together(frames: &[Vec<u8>]) -> (Packet, [IpAddr; 2]) {
    let mut payload = Vec::new();
    let mut addresses = None;
    for frame in frames {
        let is_ipv4 = frame[12..14] == [8, 0];
        let (header, at) = if is_ipv4 { (34, 20) } else { (62, 56) };
        let word = u16::from_be_bytes([frame[at], frame[at + 1]]);
        let offset = if is_ipv4 { usize::from(word & 0x1fff) * 8 } else { usize::from(word & 0xfff8) };
        assert_eq!(offset, payload.len(), "in order");
        // A short frame is padded.
        let length = if is_ipv4 { 16 } else { 18 };
        let length = usize::from(u16::from_be_bytes([frame[length], frame[length + 1]]));
        payload.extend(&frame[header..if is_ipv4 { 14 } else { 54 } + length]);
        let seen: [IpAddr; 2] = if is_ipv4 {
            [26, 30].map(|at| IpAddr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap()))
        } else {
            [22, 38].map(|at| IpAddr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()))
        };
        assert_eq!(*addresses.get_or_insert(seen), seen);
    }
    (Packet::read(&payload), addresses.unwrap())
}

/// Its checksum depends on how long it is in all, which only the last fragment tells.
#[test]
fn a_packet_in_fragments_leaves_with_its_checksum_when_all_are_there() {
    for at in families() {
        for backwards in [false, true] {
            let mut bench = Bench::new(at);
            let real = bench.open(40000);
            let mac = [RS1_MAC, RS2_MAC][real];
            let there = ([at.client, at.vip], [40000, 9000], [CLIENT_MAC, VIP_MAC], VIP0);
            let back = ([at.reals[real], at.client], [9001, 40000], [mac, DIP_MAC], DIP0);
            for (ends, ports, macs, port) in [there, back] {
                let packet = Packet { ports, ..Packet::new(2, DATA, &[9; 2999]) };
                let mut fragments = in_fragments(&framed(macs, ends, SCTP, &packet.bytes()), 1000);
                assert_eq!(fragments.len(), 4);
                if backwards {
                    fragments.reverse();
                }
                let last = fragments.pop().unwrap();
                for fragment in &fragments {
                    assert_eq!(bench.lab.arrive(port, fragment), [], "others are missing");
                }
                let sent: Vec<_> = bench.lab.arrive(port, &last).into_iter().map(|sent| sent.bytes).collect();
                let (ends, ports) = if port == VIP0 {
                    ([at.client, at.reals[real]], [40000, 9001])
                } else {
                    ([at.vip, at.client], [9000, 40000])
                };
                assert_eq!(put_together(&sent), (Packet { ports, ..packet }, ends));
            }
        }
    }
}

/// The ICMP error "port unreachable" about this packet, or ICMPv6's: it quotes it as far as the sender of the error
/// does, which is not all.
fn port_unreachable(from: IpAddr, to: IpAddr, about: [IpAddr; 2], packet: &Packet) -> Vec<u8> {
    let quoted = framed([CLIENT_MAC; 2], about, SCTP, &packet.bytes());
    let quoted = &quoted[14..(14 + 76).min(quoted.len())];
    let (protocol, kind, mut pseudo) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (1, [3, 3], Vec::new()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (58, [1, 4], [from.octets(), to.octets()].concat()),
        _ => panic!("of one family"),
    };
    let mut message = [&kind[..], &[0; 6], quoted].concat();
    if !pseudo.is_empty() {
        pseudo.extend((message.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
    }
    let check = support::packet::internet_checksum(&[&pseudo[..], &message[..]].concat(), 0);
    message[2..4].copy_from_slice(&check.to_be_bytes());
    framed([CLIENT_MAC, VIP_MAC], [from, to], protocol, &message)
}

/// The packet that is quoted gets the ports of the other side, and the checksum that it left with there.
#[test]
fn errors_about_an_association_reach_whom_they_are_for() {
    for at in families() {
        let mut bench = Bench::new(at);
        let real = bench.open(40000);
        // As the client had it from the VIP, and as the real has sent it.
        let packet = Packet::new(1, DATA, &[9; 800]);
        let [seen, sent] = [[9000, 40000], [9001, 40000]].map(|ports| Packet { ports, ..packet.clone() });
        let error = port_unreachable(at.client, at.vip, [at.vip, at.client], &seen);
        let got = bench.lab.arrive(VIP0, &error);
        let expected = port_unreachable(at.client, at.reals[real], [at.reals[real], at.client], &sent);
        assert_eq!((got.len(), got[0].port), (1, DIP0), "{:?}", bench.drops());
        assert_eq!(read(&got[0].bytes).payload, read(&expected).payload);
        // As the real had it, and as the client has sent it.
        let packet = Packet::new(2, DATA, &[9; 800]);
        let [seen, sent] = [[40000, 9001], [40000, 9000]].map(|ports| Packet { ports, ..packet.clone() });
        let mut error = port_unreachable(at.reals[real], at.client, [at.client, at.reals[real]], &seen);
        error[..6].copy_from_slice(&DIP_MAC.0);
        let got = bench.lab.arrive(DIP0, &error);
        let expected = port_unreachable(at.vip, at.client, [at.client, at.vip], &sent);
        assert_eq!((got.len(), got[0].port), (1, VIP0), "{:?}", bench.drops());
        assert_eq!(read(&got[0].bytes).payload, read(&expected).payload);
        assert_eq!(bench.states(), [State::SctpEstablished], "no error ends it");
    }
}

/// Whole packets go to the worker that has their association, and so do all fragments of one.
#[test]
fn several_workers_agree_on_whose_an_association_is() {
    let at = families()[0];
    for steering in [Steering::Software, Steering::Device] {
        let bench = Bench::new(at);
        let mut cluster = Cluster::new(&bench.lab, 2, steering);
        for port in 40000..40020 {
            for (number, chunk) in [INIT, DATA].into_iter().enumerate() {
                let value = vec![7; if chunk == INIT { 16 } else { 2999 }];
                let packet = Packet { ports: [port, 9000], ..Packet::new(0, chunk, &value) };
                let frame = framed([CLIENT_MAC, VIP_MAC], [at.client, at.vip], SCTP, &packet.bytes());
                for (index, fragment) in in_fragments(&frame, 1000).iter().enumerate() {
                    let whole = chunk == INIT;
                    cluster.arrive((index + number) % 2, VIP0, if whole { &frame } else { fragment });
                }
                let sent: Vec<_> = cluster.settle().into_iter().map(|sent| sent.bytes).collect();
                let (seen, ends) = if chunk == INIT {
                    let seen = read(&sent[0]);
                    (seen.packet(), seen.ends.map(|end| end.ip()))
                } else {
                    put_together(&sent)
                };
                assert_eq!(seen, Packet { ports: [port, 9001], ..packet });
                assert!(at.reals.contains(&ends[1]));
            }
        }
        assert_eq!(cluster.sum(|counters| counters.connections_created.get()), 20);
        assert!((0..2).all(|worker| cluster.counters(worker).connections.get() > 0), "both have some");
        assert_eq!(cluster.sum(|counters| counters.misdirected[0].get()), 0, "no NIC is known to hash SCTP");
        assert!(DropReason::ALL.iter().all(|reason| cluster.dropped(*reason) == 0));
    }
}

/// A line of a recording, as `192.168.10.6.44001 > 192.168.10.100.9000: ttl 64, vtag 00000000, crc32c 717c258b
/// correct: INIT(36)`.
#[derive(Clone, Debug)]
struct Recorded {
    ends: [SocketAddr; 2],
    hops: u8,
    tag: u32,
    /// As the bytes lie on the wire.
    check: [u8; 4],
    /// Type, and length without header, of each chunk.
    chunks: Vec<(u8, usize)>,
}

impl Recorded {
    fn of(line: &str) -> Option<Self> {
        let (head, chunks) = line.split_once(" correct: ").or_else(|| {
            let (head, rest) = line.split_once(" WRONG, want ")?;
            Some((head, rest.split_once(": ")?.1))
        })?;
        let words: Vec<_> = head.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let [from, ">", to, "ttl", hops, "vtag", tag, "crc32c", check] = words[..] else { return None };
        let end = |text: &str| {
            let (address, port) = text.trim_end_matches(':').rsplit_once('.')?;
            Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
        };
        let chunks = chunks.split(" with ").next()?.split(')').filter(|chunk| !chunk.trim().is_empty());
        let chunk = |text: &str| {
            let (name, length) = text.trim().split_once('(')?;
            let (number, _) = CHUNKS.iter().find(|(_, known)| *known == name)?;
            Some((*number, length.parse::<usize>().ok()? - 4))
        };
        Some(Self {
            ends: [end(from)?, end(to)?],
            hops: hops.parse().ok()?,
            tag: u32::from_str_radix(tag, 16).ok()?,
            check: u32::from_str_radix(check, 16).ok()?.to_be_bytes(),
            chunks: chunks.map(chunk).collect::<Option<_>>()?,
        })
    }

    /// Its packet as far as it is known, with the checksum that is right for it, or that was recorded: what the chunks
    /// said is not in the recording, and a translation does not depend on it.
    fn payload(&self, as_recorded: bool) -> Vec<u8> {
        let chunks = self.chunks.iter().map(|(chunk, length)| (*chunk, 0, vec![0; *length])).collect();
        let ports = self.ends.map(|end| end.port());
        let mut bytes = Packet { ports, tag: self.tag, chunks, wrong_by: 0 }.bytes();
        if as_recorded {
            bytes[8..12].copy_from_slice(&self.check);
        }
        bytes
    }

    fn addresses(&self) -> [IpAddr; 2] {
        self.ends.map(|end| end.ip())
    }
}

/// Who sent a packet, the expiry and state that it led to, if there was a connection then, and `ActiveConn`.
type Step = (bool, Option<(String, String)>, u64);

/// What was recorded between two headings.
#[derive(Debug, Default)]
struct Section {
    heading: String,
    sloppy: bool,
    steps: Vec<Step>,
    vip: Vec<Recorded>,
    dip: Vec<Recorded>,
}

fn sections(transcript: &str) -> Vec<Section> {
    let (mut sections, mut sloppy) = (vec![Section::default()], false);
    let mut is_dip = false;
    for line in transcript.lines() {
        if let Some(value) = line.strip_prefix("net.ipv4.vs.sloppy_sctp = ") {
            sloppy = value != "0";
        }
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push(Section { heading: heading.to_owned(), sloppy, ..Section::default() });
        }
        let section = sections.last_mut().unwrap();
        match line {
            "--- lb eth1" => is_dip = false,
            "--- lb eth0" => is_dip = true,
            _ if line.starts_with("client ") || line.starts_with("server ") => {
                let Some((entry, counts)) = line.split_once('#') else { continue };
                let state = entry.split_once(" SCTP ").map(|(_, rest)| {
                    let words: Vec<_> = rest.split_whitespace().collect();
                    (words[0].to_owned(), words[1].to_owned())
                });
                let active = counts.split_whitespace().nth(1).unwrap().parse().unwrap();
                section.steps.push((line.starts_with("client "), state, active));
            }
            _ => {
                let Some(recorded) = Recorded::of(line) else { continue };
                if is_dip { section.dip.push(recorded) } else { section.vip.push(recorded) }
            }
        }
    }
    sections
}

const TRANSCRIPTS: [&str; 2] =
    [include_str!("../testdata/sctp/ipv4.txt"), include_str!("../testdata/sctp/ipv6.txt")];

impl Bench {
    /// Has a recorded packet arrive.
    fn replay(
        &mut self,
        recorded: &Recorded,
        by_client: bool,
        as_recorded: bool,
    ) -> Vec<(InterfaceId, Seen)> {
        let (port, mac) = if by_client { (VIP0, VIP_MAC) } else { (DIP0, DIP_MAC) };
        let payload = recorded.payload(as_recorded);
        self.arrive(port, &framed([CLIENT_MAC, mac], recorded.addresses(), SCTP, &payload))
    }

    /// Has a recorded packet arrive, which leaves as recorded.
    fn passes(&mut self, before: &Recorded, after: &Recorded, by_client: bool) {
        let sent = self.replay(before, by_client, true);
        assert_eq!((sent.len(), sent[0].0), (1, if by_client { DIP0 } else { VIP0 }), "{before:?}");
        let seen = &sent[0].1;
        assert_eq!((seen.ends, seen.hops), (after.ends, after.hops), "{before:?}");
        assert_eq!(seen.payload, after.payload(true), "{before:?}");
    }
}

/// `ipvsadm` shows what is left, cut to whole seconds, a moment after the packet.
fn minutes(seconds: u32) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

/// The packets that were made by hand one by one: the state, time left and count after each, where it goes, with which
/// checksum, and what it is answered with. All but the one with the wrong checksum, to which the kernel gives a right
/// one.
#[test]
fn packets_one_by_one_lead_and_leave_as_recorded() {
    for (at, transcript) in families().into_iter().zip(TRANSCRIPTS) {
        let mut bench = Bench::new(at);
        let (mut steps, mut translated, mut answered) = (0, 0, 0);
        for section in sections(transcript).iter().filter(|section| !section.steps.is_empty()) {
            bench.lab.description.sloppy_sctp = section.sloppy;
            bench.lab.apply();
            let port =
                section.heading.rsplit_once("(port ").unwrap().1.trim_end_matches(')').parse().unwrap();
            let of_section = |lines: &[Recorded]| -> Vec<_> {
                lines.iter().filter(|line| line.ends.iter().any(|end| end.port() == port)).cloned().collect()
            };
            let (mut vip, mut dip) =
                (of_section(&section.vip).into_iter(), of_section(&section.dip).into_iter());
            for (by_client, state, active) in &section.steps {
                let (outside, inside) = (vip.next().unwrap(), dip.next());
                match inside {
                    Some(inside) if *by_client => bench.passes(&outside, &inside, true),
                    Some(inside) => bench.passes(&inside, &outside, false),
                    None => {
                        let sent = bench.replay(&outside, true, false);
                        let answer = vip.next();
                        assert_eq!(sent.len(), usize::from(answer.is_some()), "{outside:?}");
                        if let Some(answer) = answer {
                            let seen = &sent[0].1;
                            assert_eq!((seen.ends, seen.hops), (answer.ends, answer.hops));
                            assert_eq!((seen.packet().tag, seen.chunk().0), (answer.tag, answer.chunks[0].0));
                            assert_eq!(seen.payload[8..12], answer.check, "with the flag T");
                            answered += 1;
                        }
                    }
                }
                translated += usize::from(state.is_some());
                let rows = bench.lab.connections();
                let found = rows.iter().find(|row| row.client.port() == port);
                let found = found.map(|row| (minutes(row.seconds_left() - 1), row.state.name().to_owned()));
                assert_eq!(found, *state, "{}", section.heading);
                let key =
                    RealKey { service: bench.service(9009), endpoint: SocketAddr::new(at.handmade[1], 9003) };
                assert_eq!(bench.counts(key).0, *active, "{}", section.heading);
                steps += 1;
            }
        }
        assert_eq!((steps, translated, answered), (109, 97, 8));
    }
}

/// Associations of real stacks, each packet where and as it was recorded.
#[test]
fn associations_of_real_stacks_are_translated_as_recorded() {
    for (at, transcript) in families().into_iter().zip(TRANSCRIPTS) {
        let mut bench = Bench::new(at);
        let mut translated = 0;
        let headings = ["one association", "the server closes", "ABORT by the client", "ABORT by the server"];
        for section in sections(transcript) {
            if !headings.iter().any(|heading| section.heading.starts_with(heading)) {
                continue;
            }
            let mut inside = section.dip;
            for outside in &section.vip {
                let by_client = outside.ends[0].ip() == at.client;
                let is_it = |other: &Recorded| {
                    (other.tag, &other.chunks, other.ends[0].ip() == at.client)
                        == (outside.tag, &outside.chunks, by_client)
                };
                let inside = inside.remove(inside.iter().position(is_it).expect("on the other side too"));
                if by_client {
                    bench.passes(outside, &inside, true);
                } else {
                    bench.passes(&inside, outside, false);
                }
                translated += 1;
            }
        }
        assert!(translated > 30, "{translated}");
    }
}
