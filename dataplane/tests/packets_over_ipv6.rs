//! Packets through the worker over IPv6 as they passed a real kernel: the traces in `testdata/packets`, of the client's
//! and of the reals' side. What a host sent is sent again in the same order; what left there must leave here.
//!
//! Compared are addresses, ports, flags, hop limit, traffic class and flow label, lengths, types and codes; all
//! checksums are verified. The blocks and packets that are left out stand below with their reasons.

mod support;

use dataplane::names::ids::Protocol;
use etherparse::{IpHeaders, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader, UdpHeader};
use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use support::over_ipv6::*;
use support::*;

/// Blocks that are not replayed, by a part of their title, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    ("# hop-by-hop", "the trace of the client's side lacks what the client sent"),
    ("real server without a route to it", "a real that nothing leads to is refused when it is added"),
    (
        "does not answer neighbour solicitations",
        "how long a packet waits for its next hop is the control thread's",
    ),
    (
        "quote of no connection",
        "a segment or an error from a real that belongs to no connection: see real_without_connection",
    ),
    ("quoted port changed by one", "likewise"),
];

/// Of errors from the reals' side: the kernel drops them, because it takes their checksum for wrong, unless a device
/// has vouched for it, as in another of the transcripts. natlb translates them always.
const DROPPED_BY_THE_KERNEL: [&str; 2] = ["from the real server", "from a router behind lb"];

/// What is behind the IPv6 header, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Tcp {
        ports: [u16; 2],
        flags: u8,
    },
    Udp {
        ports: [u16; 2],
    },
    Echo {
        is_reply: bool,
        id: u16,
        sequence: u16,
    },
    /// Type, code, and the MTU of a packet too big.
    Error {
        kind: u8,
        code: u8,
        mtu: u32,
    },
    /// Offset, bytes, and whether more follow.
    Fragment {
        offset: usize,
        length: usize,
        more: bool,
    },
    /// Datagram behind destination options of eight bytes.
    BehindOptions {
        ports: [u16; 2],
    },
}

/// A packet of a trace, or one that left the worker.
#[derive(Clone, PartialEq, Eq)]
struct Packet {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    class: u8,
    /// What lb's own stack sends has labels that it makes up: not compared.
    flow: Option<u32>,
    length: usize,
    kind: Kind,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, hop_limit, class, flow, length, kind } = self;
        write!(
            f,
            "{source} > {destination}, hop limit {hop_limit}, class {class}, flow {flow:x?}, length {length}: {kind:x?}"
        )
    }
}

/// A line of a trace.
#[derive(Clone, Debug)]
struct Traced {
    packet: Packet,
    enters: bool,
    /// Of the first fragment, and of a datagram: the ports. Of a fragment: the identification, and of the first one the
    /// length of all of its datagram.
    ports: [u16; 2],
    id: u32,
    datagram: usize,
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `field 12, …` or `field 0x12) …`
fn after<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(field)?;
    Some(rest.split([',', ')', ' ', ':']).next().unwrap())
}

fn hexadecimal(text: &str) -> u32 {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// `fd00:10::6.40100`, or without a port.
fn end(text: &str) -> (Ipv6Addr, u16) {
    match text.split_once('.') {
        Some((address, port)) => (address.parse().unwrap(), port.parse().unwrap()),
        None => (text.parse().unwrap(), 0),
    }
}

fn flags(text: &str) -> u8 {
    let bit = |letter| match letter {
        'F' => 1,
        'S' => 2,
        'R' => 4,
        'P' => 8,
        '.' => 16,
        _ => panic!("{text}"),
    };
    text.chars().map(bit).sum()
}

/// Type, code and MTU of an ICMPv6 error.
fn error(text: &str) -> Option<Kind> {
    let of = |kind, code| Some(Kind::Error { kind, code, mtu: 0 });
    match text {
        text if text.contains("unreachable route") => of(1, 0),
        text if text.contains("unreachable prohibited") => of(1, 1),
        text if text.contains("unreachable address") => of(1, 3),
        text if text.contains("unreachable port") => of(1, 4),
        text if text.contains("packet too big") => {
            Some(Kind::Error { kind: 2, code: 0, mtu: number(after(text, "mtu ")?)? })
        }
        text if text.contains("time exceeded in-transit") => of(3, 0),
        text if text.contains("parameter problem, next header") => of(4, 1),
        _ => None,
    }
}

fn line(text: &str, side: Side) -> Option<Traced> {
    let (before, rest) = text.split_once("payload length: ")?;
    let (length, rest) = rest.split_once(") ")?;
    let (source, rest) = rest.split_once(" > ")?;
    let (destination, rest) = rest.split_once(": ")?;
    let ((source, from), (destination, to)) = (end(source), end(destination));
    let length = number(length)?;
    let (mut ports, mut id, mut datagram) = ([from, to], 0, 0);
    let port_words = |rest: &str| -> Option<[u16; 2]> {
        let (from, rest) = rest.split_once(" > ")?;
        Some([number(from.rsplit(' ').next()?)?, number(rest.split(':').next()?)?])
    };
    let kind = if let Some(found) = rest.strip_prefix("Flags [") {
        Kind::Tcp { ports, flags: flags(found.split(']').next()?) }
    } else if let Some(found) = rest.strip_prefix("frag (") {
        id = hexadecimal(found.split(':').next()?);
        let (offset, bytes) = found.split_once(':')?.1.split(')').next()?.split_once('|')?;
        if let Some(found) = port_words(rest) {
            (ports, datagram) = (found, number::<usize>(after(rest, "UDP, length ")?)? + 8);
        }
        // Whether more follow is filled in when the whole datagram is known.
        Kind::Fragment { offset: number(offset)?, length: number(bytes)?, more: false }
    } else if rest.starts_with("DSTOPT") {
        ports = port_words(rest)?;
        Kind::BehindOptions { ports }
    } else if let Some(found) = rest.split_once("ICMP6, echo ") {
        let (id, sequence) = (number(after(found.1, "id ")?)?, number(after(found.1, "seq ")?)?);
        Kind::Echo { is_reply: found.1.starts_with("reply"), id, sequence }
    } else if rest.contains("ICMP6") {
        error(rest)?
    } else if rest.contains("UDP, length") {
        Kind::Udp { ports }
    } else {
        return None;
    };
    let enters = match side {
        Side::Client => destination == VIP6 || source.segments()[1] == 0x10 && source != VIP6,
        Side::Reals => source.segments()[1] == 0x20 && source != DIP6,
    };
    let flow = after(before, "flowlabel ").map_or(0, hexadecimal);
    let packet = Packet {
        source,
        destination,
        hop_limit: number(after(before, "hlim ")?)?,
        class: after(before, "class ").map_or(0, hexadecimal) as u8,
        flow: Some(flow),
        length,
        kind,
    };
    Some(Traced { packet, enters, ports, id, datagram })
}

/// What happened on both sides between two titles, or between two commands.
#[derive(Debug)]
struct Block {
    title: String,
    traces: [VecDeque<Traced>; 2],
}

enum Step<'a> {
    Command(&'a str),
    Mtu(Side, u16),
    Block(Block),
}

/// The commands and traces of a transcript, in their order.
fn steps(text: &str) -> Vec<Step<'_>> {
    let (mut steps, mut title, mut side) = (Vec::new(), String::new(), None);
    for text in text.lines() {
        if let Some(found) = text.strip_prefix("## ") {
            (title, side) = (found.to_owned(), None);
        } else if text.starts_with("# ") {
            (title, side) = (text.to_owned(), None);
        } else if text.starts_with("--- lb eth1") {
            steps.push(Step::Block(Block { title: title.clone(), traces: Default::default() }));
            side = Some(Side::Client);
        } else if text.starts_with("--- lb eth0") {
            side = Some(Side::Reals);
        } else if let Some(command) = text.strip_prefix("[lb]# ip link set ") {
            let words: Vec<_> = command.split(' ').collect();
            let of = if words[0] == "eth0" { Side::Reals } else { Side::Client };
            steps.push(Step::Mtu(of, words[2].parse().unwrap()));
        } else if let Some(command) = text.strip_prefix("[lb]# ipvsadm ") {
            steps.push(Step::Command(command));
        } else if text.starts_with("-A ") || text.starts_with("-a ") {
            // What was there already: printed by `-Sn`.
            steps.push(Step::Command(text));
        } else if let (Some(side), Some(Step::Block(block))) = (side, steps.last_mut()) {
            if let Some(traced) = line(text, side) {
                block.traces[side as usize].push_back(traced);
            } else {
                assert!(text.is_empty() || !text.contains("payload length"), "not understood: {text}");
            }
        }
    }
    steps
}

struct Player {
    world: World,
    /// The packets that left, from their IPv6 headers on, with the host that each went to.
    sent: Vec<(Ipv6Addr, Vec<u8>)>,
    next_port: u16,
}

impl Player {
    fn new() -> Self {
        Self { world: World::new(), sent: Vec::new(), next_port: 50_000 }
    }

    /// Lets a frame arrive; what leaves on each side.
    fn arrive(&mut self, side: Side, frame: &[u8]) -> Vec<(Side, Packet)> {
        let sent = self.world.arrive(side, frame);
        let read =
            |sent: &Sent| (if sent.port == VIP0 { Side::Client } else { Side::Reals }, read(&sent.bytes));
        let packets = sent.iter().map(read).collect();
        for sent in sent {
            let destination = Ipv6Addr::from(<[u8; 16]>::try_from(&sent.bytes[38..54]).unwrap());
            self.sent.push((destination, sent.bytes[14..].to_vec()));
        }
        packets
    }

    /// A connection that errors are about: its packets are the last that left to both of its ends.
    fn connection(&mut self, protocol: Protocol) {
        let service = self.world.services.iter().find(|service| service.key.protocol == protocol).unwrap();
        let (listen, real) = (service.key.listen, service.reals[0].0);
        self.next_port += 1;
        let client = SocketAddr::new(CLIENT6.into(), self.next_port);
        match protocol {
            Protocol::Tcp => {
                for (side, ends, flags, data) in [
                    (Side::Client, [client, listen], 2, 0),
                    (Side::Reals, [real, client], 18, 0),
                    (Side::Client, [client, listen], 16, 0),
                    (Side::Reals, [real, client], 24, 3),
                ] {
                    self.arrive(side, &tcp(side, ends, flags, 12, data));
                }
            }
            _ => {
                self.arrive(Side::Client, &udp(Side::Client, [client, listen], 100));
                self.arrive(Side::Reals, &udp(Side::Reals, [real, client], 24));
            }
        }
    }

    /// So much of the last packet to a host, as it has put it together.
    fn quoted(&self, host: Ipv6Addr, length: usize) -> Vec<u8> {
        let mut packets = self.sent.iter().rev().filter(|(to, _)| *to == host).map(|(_, packet)| packet);
        let last = packets.next().unwrap();
        if last[6] != 44 {
            return last[..length].to_vec();
        }
        let first = packets.find(|packet| packet[6] == 44 && packet[42..44] == [0, 1]).unwrap();
        let udp = &first[48..56];
        let whole = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        let mut bytes = [&first[..4], &udp[4..6], &[17], &first[7..40], udp].concat();
        bytes.resize(40 + whole, 0);
        bytes.truncate(length);
        bytes
    }

    /// The frame of a line of the trace.
    fn frame(&self, side: Side, traced: &Traced) -> Vec<u8> {
        let Packet { source, destination, hop_limit, class, flow, length, ref kind } = traced.packet;
        let header = |next: u8| {
            let flow = Ipv6FlowLabel::try_new(flow.unwrap()).unwrap();
            let header = Ipv6Header {
                traffic_class: class,
                flow_label: flow,
                payload_length: length as u16,
                next_header: next.into(),
                hop_limit,
                source: source.octets(),
                destination: destination.octets(),
            };
            PacketBuilder::ethernet2(sender(side, source), ours(side))
                .ip(IpHeaders::Ipv6(header, Default::default()))
        };
        let raw = |next: u8, payload: &[u8]| {
            let mut bytes = ours(side).to_vec();
            bytes.extend(sender(side, source));
            bytes.extend([0x86, 0xdd]);
            bytes.extend(((6 << 28) | u32::from(class) << 20 | flow.unwrap()).to_be_bytes());
            bytes.extend((payload.len() as u16).to_be_bytes());
            bytes.extend([next, hop_limit]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend(payload);
            bytes
        };
        let mut bytes = Vec::new();
        match *kind {
            Kind::Tcp { ports: [from, to], flags } => {
                let mut tcp = TcpHeader::new(from, to, 1000, 1000);
                set_flags(&mut tcp, flags);
                tcp.acknowledgment_number = if tcp.ack { 2000 } else { 0 };
                let options = if flags & 2 != 0 && length > 20 { length - 20 } else { 0 };
                tcp.set_options_raw(&vec![1; options]).unwrap();
                header(6).tcp_header(tcp).write(&mut bytes, &vec![0; length - 20 - options]).unwrap();
            }
            Kind::Udp { ports: [from, to] } => {
                header(17).udp(from, to).write(&mut bytes, &vec![0; length - 8]).unwrap()
            }
            Kind::Echo { is_reply, id, sequence: seq } => {
                let builder = header(58);
                let builder = if is_reply {
                    builder.icmpv6_echo_reply(id, seq)
                } else {
                    builder.icmpv6_echo_request(id, seq)
                };
                builder.write(&mut bytes, &vec![0; length - 8]).unwrap();
            }
            Kind::Error { kind, code, mtu } => {
                let about = if side == Side::Client { CLIENT6 } else { self.last_real(source) };
                let quoted = self.quoted(about, length - 8);
                // The place of what is unknown, or the MTU.
                let rest = if kind == 4 { 6 } else { mtu };
                header(58).icmpv6_raw(kind, code, rest.to_be_bytes()).write(&mut bytes, &quoted).unwrap();
            }
            Kind::Fragment { offset, length, more } => {
                let datagram = datagram([source, destination], traced.ports, traced.datagram);
                let mut payload = vec![17, 0];
                payload.extend((offset as u16 | u16::from(more)).to_be_bytes());
                payload.extend(traced.id.to_be_bytes());
                payload.extend(&datagram[offset..offset + length]);
                bytes = raw(44, &payload);
            }
            Kind::BehindOptions { ports } => {
                // A PadN of six bytes.
                let mut payload = vec![17, 0, 1, 4, 0, 0, 0, 0];
                payload.extend(datagram([source, destination], ports, length - 8));
                bytes = raw(60, &payload);
            }
        }
        bytes
    }

    /// The real that a router speaks of, or that speaks itself.
    fn last_real(&self, source: Ipv6Addr) -> Ipv6Addr {
        let hosts = || self.sent.iter().rev().map(|(host, _)| *host);
        hosts()
            .find(|host| *host == source)
            .or_else(|| hosts().find(|host| host.segments()[1] == 0x20))
            .unwrap()
    }

    /// Replays what happened on both sides; how many packets that left were compared.
    fn play(&mut self, mut block: Block) -> usize {
        know_fragments(&mut block);
        let mut left: [VecDeque<Packet>; 2] = Default::default();
        let mut compared = 0;
        while block.traces.iter().any(|trace| !trace.is_empty()) {
            let mut goes_on = false;
            for side in SIDES {
                let at = side as usize;
                while let Some(traced) = block.traces[at].front().cloned() {
                    if traced.enters {
                        let frame = self.frame(side, &traced);
                        for (side, packet) in self.arrive(side, &frame) {
                            left[side as usize].push_back(packet);
                        }
                    } else if let Some(packet) = left[at].pop_front() {
                        assert_eq!(packet, as_here(&packet, as_compared(traced.packet)), "{}", block.title);
                        compared += 1;
                    } else {
                        break;
                    }
                    block.traces[at].pop_front();
                    goes_on = true;
                    // The other side may have to answer first.
                    if traced.enters {
                        break;
                    }
                }
            }
            assert!(goes_on, "{}: nothing leaves, but {:?}", block.title, block.traces);
        }
        assert!(left.iter().all(VecDeque::is_empty), "{}: more leaves: {left:?}", block.title);
        compared
    }
}

/// Fills in what a fragment's line does not say but that of its first fragment does.
fn know_fragments(block: &mut Block) {
    for trace in &mut block.traces {
        let firsts: Vec<_> = trace
            .iter()
            .filter(|traced| traced.datagram > 0)
            .map(|traced| (traced.id, traced.ports, traced.datagram))
            .collect();
        for traced in trace {
            let Kind::Fragment { offset, length, more } = &mut traced.packet.kind else { continue };
            let first = firsts.iter().find(|(id, ..)| *id == traced.id);
            // One that is alone is the last of some datagram.
            let (_, ports, datagram) = *first.unwrap_or(&(0, [0; 2], *offset + *length));
            (traced.ports, traced.datagram) = (ports, datagram);
            *more = *offset + *length < datagram;
        }
    }
}

/// What is expected here: a datagram in a single fragment keeps the header of that, which the kernel takes away when it
/// puts datagrams together.
fn as_here(found: &Packet, expected: Packet) -> Packet {
    match (&found.kind, &expected.kind) {
        (Kind::Fragment { offset: 0, more: false, .. }, Kind::Udp { .. }) => {
            let kind = Kind::Fragment { offset: 0, length: expected.length, more: false };
            Packet { kind, length: expected.length + 8, ..expected }
        }
        _ => expected,
    }
}

/// Without the flow label of what lb's own stack made.
fn as_compared(packet: Packet) -> Packet {
    let flow = packet.flow.filter(|_| packet.hop_limit != 64);
    Packet { flow, ..packet }
}

/// A whole datagram, its header first.
fn datagram(addresses: [Ipv6Addr; 2], ports: [u16; 2], length: usize) -> Vec<u8> {
    let data = vec![0; length.saturating_sub(8)];
    let header = Ipv6Header {
        source: addresses[0].octets(),
        destination: addresses[1].octets(),
        ..Ipv6Header::default()
    };
    let udp = UdpHeader::with_ipv6_checksum(ports[0], ports[1], &header, &data).unwrap();
    let mut bytes = udp.to_bytes().to_vec();
    bytes.extend(data);
    bytes
}

/// What left, read and verified by another implementation.
fn read(frame: &[u8]) -> Packet {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let sliced = SlicedPacket::from_ethernet(frame).expect("a readable frame");
    let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("not IPv6: {frame:x?}") };
    let header = ip.header().to_header();
    let pair = |at: usize| [0, 2].map(|by| u16::from_be_bytes([frame[at + by], frame[at + by + 1]]));
    let kind = match (header.next_header.0, &sliced.transport) {
        (44, _) => {
            let word = u16::from_be_bytes([frame[56], frame[57]]);
            let length = usize::from(header.payload_length) - 8;
            Kind::Fragment { offset: (word & !7).into(), length, more: word & 1 == 1 }
        }
        (60, _) => Kind::BehindOptions { ports: pair(62) },
        (_, Some(TransportSlice::Tcp(tcp))) => {
            assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(header.source, header.destination).unwrap());
            Kind::Tcp { ports: pair(54), flags: tcp.slice()[13] }
        }
        (_, Some(TransportSlice::Udp(udp))) => {
            let (source, destination) = (header.source, header.destination);
            let expected =
                udp.to_header().calc_checksum_ipv6_raw(source, destination, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), expected, "UDP checksum");
            Kind::Udp { ports: pair(54) }
        }
        (_, Some(TransportSlice::Icmpv6(icmp))) => {
            assert!(icmp.is_checksum_valid(header.source, header.destination), "ICMPv6 checksum");
            let [id, sequence] = pair(58);
            match icmp.type_u8() {
                kind @ (128 | 129) => Kind::Echo { is_reply: kind == 129, id, sequence },
                kind => {
                    let mtu = if kind == 2 { u32::from_be_bytes(icmp.bytes5to8()) } else { 0 };
                    Kind::Error { kind, code: icmp.code_u8(), mtu }
                }
            }
        }
        _ => panic!("neither TCP, UDP nor ICMPv6: {frame:x?}"),
    };
    let packet = Packet {
        source: header.source.into(),
        destination: header.destination.into(),
        hop_limit: header.hop_limit,
        class: header.traffic_class,
        flow: Some(header.flow_label.value()),
        length: header.payload_length.into(),
        kind,
    };
    as_compared(packet)
}

/// Replays a transcript, but for the blocks whose titles have one of these parts: how many packets were compared.
fn replay(text: &str, left_out: &[&str]) -> usize {
    let mut player = Player::new();
    let mut compared = 0;
    for step in steps(text) {
        match step {
            Step::Command(command) => player.world.command(&command.split_whitespace().collect::<Vec<_>>()),
            Step::Mtu(side, mtu) => player.world.set_mtu(side, mtu),
            Step::Block(block) => {
                let reasons = LEFT_OUT.iter().map(|(part, _)| part).chain(left_out);
                if reasons.into_iter().any(|part| block.title.contains(part)) {
                    continue;
                }
                match block.title.split(':').next() {
                    Some("tcp") => player.connection(Protocol::Tcp),
                    Some("udp") => player.connection(Protocol::Udp),
                    _ => {}
                }
                compared += player.play(block);
            }
        }
    }
    compared
}

#[test]
fn what_is_served_refused_and_routed() {
    let left_out = ["ICMPv6 error from the real server's side"];
    let compared = replay(include_str!("../testdata/packets/icmp-and-unserved.txt"), &left_out);
    assert!(compared >= 30, "{compared}");
}

#[test]
fn datagrams_in_fragments() {
    let compared = replay(include_str!("../testdata/packets/udp-fragments.txt"), &[]);
    assert_eq!(compared, 18);
}

#[test]
fn errors_from_the_clients_side() {
    let compared = replay(include_str!("../testdata/packets/icmp-errors.txt"), &DROPPED_BY_THE_KERNEL);
    assert!(compared >= 16, "{compared}");
}

#[test]
fn errors_from_the_reals_side() {
    let compared = replay(include_str!("../testdata/packets/icmp-errors-of-reals.txt"), &[]);
    assert!(compared >= 15, "{compared}");
}

/// What the transcript begins with, but does not show.
macro_rules! services {
    () => {
        "-A -t [fd00:10::100]:80 -s wrr\n\
         -a -t [fd00:10::100]:80 -r [fd00:20::7]:7000 -m -w 1\n\
         -A -u [fd00:10::100]:5000 -s wrr\n\
         -a -u [fd00:10::100]:5000 -r [fd00:20::17]:5000 -m -w 1\n"
    };
}

#[test]
fn path_mtu_fragments_and_extension_headers() {
    let text = concat!(services!(), include_str!("../testdata/packets/pmtu-and-fragments.txt"));
    let compared = replay(text, &[]);
    assert!(compared >= 30, "{compared}");
}
