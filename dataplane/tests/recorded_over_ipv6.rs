//! What a real kernel did over IPv6, besides its picks and the ways of packets: errors byte by byte, states of
//! connections, one-packet services, and connections whose service was removed.
//!
//! Blocks that are not replayed stand below with their reasons. One transcript is not replayed at all: that of how
//! often a kernel refuses when it is asked often. natlb has limits of its own (docs/ipvs.md), which answer all that the
//! kernel answered, and more.

mod support;

use dataplane::connection::{State, TimeoutSeconds, Timeouts};
use dataplane::names::ids::{Protocol, RealKey, ServiceKey};
use dataplane::wire::icmp6::set_checksum;
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use support::over_ipv6::*;
use support::packet6::read6;
use support::*;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

const IPV6_HEADER: usize = 40;
const ICMP: u8 = 58;

/// A packet that was seen on a side: what comes in there, and what it looks like. What leaves is only looked at.
struct Line<P> {
    enters: Option<Vec<u8>>,
    seen: P,
}

/// Replays what was seen on both sides: how many packets that left were compared, each read by `read`.
fn play<P: PartialEq + std::fmt::Debug>(
    world: &mut World,
    mut traces: [VecDeque<Line<P>>; 2],
    read: impl Fn(&[u8]) -> P,
) -> usize {
    let mut left: [VecDeque<P>; 2] = Default::default();
    let mut compared = 0;
    while traces.iter().any(|trace| !trace.is_empty()) {
        let mut goes_on = false;
        for side in SIDES {
            while let Some(line) = traces[side as usize].front() {
                let Some(frame) = &line.enters else {
                    let Some(packet) = left[side as usize].pop_front() else { break };
                    assert_eq!(packet, line.seen);
                    compared += 1;
                    traces[side as usize].pop_front();
                    goes_on = true;
                    continue;
                };
                for sent in world.arrive(side, frame) {
                    left[usize::from(sent.port != VIP0)].push_back(read(&sent.bytes));
                }
                traces[side as usize].pop_front();
                goes_on = true;
                // The other side may have to answer first.
                break;
            }
        }
        let waits = |trace: &VecDeque<Line<P>>| trace.front().map(|line| format!("{:?}", line.seen));
        assert!(goes_on, "nothing leaves, but {:?} should", traces.each_ref().map(waits));
    }
    assert!(left.iter().all(VecDeque::is_empty), "more leaves: {left:?}");
    compared
}

fn enters(side: Side, source: Ipv6Addr) -> bool {
    match side {
        Side::Client => source.segments()[1] == 0x10 && source != VIP6,
        Side::Reals => source.segments()[1] == 0x20 && source != DIP6,
    }
}

/// The side that a trace with this heading is of.
fn side_of(line: &str) -> Option<Side> {
    let of = line.strip_prefix("--- lb ")?;
    Some(if of.starts_with("eth1") { Side::Client } else { Side::Reals })
}

/// Carries out the command of a line, if it is one that changes something.
fn command(world: &mut World, line: &str) {
    if let Some(words) = line.strip_prefix("[lb]# ipvsadm ") {
        world.command(&words.split_whitespace().collect::<Vec<_>>());
    } else if let Some(words) = line.strip_prefix("[lb]# ip link set ") {
        let words: Vec<_> = words.split_whitespace().collect();
        let side = if words[0] == "eth0" { Side::Reals } else { Side::Client };
        world.set_mtu(side, words[2].parse().unwrap());
    }
}

mod errors {
    use super::*;

    /// Where the checksum of the datagram stands that an error quotes.
    const QUOTED_CHECKSUM: usize = IPV6_HEADER + 8 + IPV6_HEADER + 6;

    fn source(packet: &[u8]) -> Ipv6Addr {
        <[u8; 16]>::try_from(&packet[8..24]).unwrap().into()
    }

    fn with_right_checksum(packet: &[u8]) -> Vec<u8> {
        let destination = <[u8; 16]>::try_from(&packet[24..40]).unwrap().into();
        let mut packet = packet.to_vec();
        let from = source(&packet);
        set_checksum(from, destination, &mut packet[IPV6_HEADER..]);
        packet
    }

    /// A packet as far as it is to be the kernel's: the flow label of one that begins at lb is made up there, and what
    /// is too big towards a real is quoted with the hop limit that it would have had behind lb. Here it is quoted as it
    /// came. In what is translated, the kernel leaves the quoted datagram's checksum as it was; natlb keeps it true.
    fn compared(packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let is_error = packet[6] == ICMP && packet[IPV6_HEADER] < 128;
        assert!(!is_error || packet == with_right_checksum(&packet), "{packet:x?}");
        if is_error && packet[7] == 64 {
            packet[1] &= 0xf0;
            packet[2..4].fill(0);
            if packet[IPV6_HEADER] == 2 && source(&packet) == VIP6 {
                packet[IPV6_HEADER + 8 + 7] = 64;
                packet = with_right_checksum(&packet);
            }
        } else if is_error {
            packet[QUOTED_CHECKSUM..QUOTED_CHECKSUM + 2].fill(0);
            packet = with_right_checksum(&packet);
        }
        packet
    }

    fn frame(side: Side, packet: &[u8]) -> Vec<u8> {
        [&ours(side)[..], &sender(side, source(packet)), &[0x86, 0xdd], packet].concat()
    }

    fn read(frame: &[u8]) -> Vec<u8> {
        let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
        compared(&frame[14..][..IPV6_HEADER + length])
    }

    fn line(side: Side, packet: &[u8]) -> Line<Vec<u8>> {
        if !enters(side, source(packet)) {
            return Line { enters: None, seen: compared(packet) };
        }
        // Where the device was left to compute it, the trace shows what it began with.
        let is_error = packet[6] == ICMP;
        let packet = if is_error { with_right_checksum(packet) } else { packet.to_vec() };
        Line { enters: Some(frame(side, &packet)), seen: packet }
    }

    /// `\t0x0010:  0000 0000 …`
    fn bytes_of(line: &str) -> Option<Vec<u8>> {
        let (_, words) = line.strip_prefix("\t0x")?.split_once(':')?;
        let words = words.split_whitespace().flat_map(|word| {
            let byte = |at| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
            (0..word.len()).step_by(2).map(byte).collect::<Vec<_>>()
        });
        Some(words.collect())
    }

    #[test]
    fn are_those_of_the_kernel_byte_by_byte() {
        let mut world = World::new();
        let mut total = 0;
        let recorded = include_str!("../testdata/packets/icmp-quotes.txt");
        let mut traces: [Vec<Vec<u8>>; 2] = Default::default();
        let mut side = Side::Client;
        // A line that is no command ends the last block.
        for text in recorded.lines().chain(["## end"]) {
            side = side_of(text).unwrap_or(side);
            if text.starts_with("IP6 ") {
                traces[side as usize].push(Vec::new());
            } else if let Some(bytes) = bytes_of(text) {
                traces[side as usize].last_mut().unwrap().extend(bytes);
            } else if text.starts_with("[lb]# ") || text.starts_with("## ") {
                let packets = std::mem::take(&mut traces);
                let lines =
                    |side: Side| packets[side as usize].iter().map(|packet| line(side, packet)).collect();
                total += play(&mut world, SIDES.map(lines), read);
                command(&mut world, text);
            }
            if text.starts_with("## the real server's port unreachable") {
                // The datagram that it is about was not recorded.
                let ends = [SocketAddr::new(CLIENT6.into(), 49006), SocketAddr::new(VIP6.into(), 5000)];
                assert_eq!(world.arrive(Side::Client, &udp(Side::Client, ends, 2)).len(), 1);
            }
        }
        assert_eq!(total, 9);
    }
}

mod states {
    use super::*;

    #[derive(Clone, Copy)]
    enum Sender {
        Client,
        Real,
    }
    use Sender::{Client, Real};

    /// Who sends each, and its flags.
    type Segments = &'static [(Sender, u8)];

    const OPENED: Segments = &[(Client, SYN), (Real, SYN | ACK), (Client, ACK)];
    const CLOSED_BY_THE_CLIENT: Segments = &[(Client, FIN | ACK), (Real, FIN | ACK), (Client, ACK)];

    /// Blocks by the beginning of their titles, and the segments before each look at the connection, which the titles
    /// tell. Left out is that of a SYN on a connection that waits for its end: which connections wrr had seen before is
    /// not told; and with it the counts behind it.
    const BLOCKS: [(&str, &[Segments]); 6] = [
        ("established; the client closes first", &[OPENED, CLOSED_BY_THE_CLIENT]),
        (
            "the server closes first",
            &[OPENED, &[(Real, FIN | ACK), (Client, ACK)], &[(Client, FIN | ACK), (Real, ACK)]],
        ),
        ("the client half-closes", &[OPENED, &[(Client, FIN | ACK), (Real, ACK), (Client, RST)]]),
        ("RST by the server", &[OPENED, &[(Real, RST)]]),
        ("SYN only", &[&[(Client, SYN)], &[(Real, SYN | ACK), (Client, ACK)]]),
        ("-Z, --set", &[OPENED, CLOSED_BY_THE_CLIENT]),
    ];

    fn state(word: &str) -> State {
        match word {
            "SYN_RECV" => State::SynRecv,
            "ESTABLISHED" => State::Established,
            "FIN_WAIT" => State::FinWait,
            "TIME_WAIT" => State::TimeWait,
            "CLOSE" => State::Close,
            _ => panic!("{word}"),
        }
    }

    fn seconds(text: &str) -> u32 {
        let (minutes, seconds) = text.split_once(':').unwrap();
        minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap()
    }

    fn segments(world: &mut World, port: u16, segments: &[(Sender, u8)]) {
        let client = SocketAddr::new(CLIENT6.into(), port);
        let listen = SocketAddr::new(VIP6.into(), 80);
        let real = SocketAddr::new(address(0x20, 7).into(), 7000);
        for (from, flags) in segments {
            let (side, ends) = match from {
                Client => (Side::Client, [client, listen]),
                Real => (Side::Reals, [real, client]),
            };
            assert_eq!(world.arrive(side, &tcp(side, ends, *flags, 0, 0)).len(), 1);
        }
    }

    /// Compares what is known of the connection with a line of `-Lnc`; the kernel has let up to a second pass.
    fn compare(world: &mut World, listed: &str) {
        let words: Vec<_> = listed.split_whitespace().collect();
        let client: SocketAddr = words[3].parse().unwrap();
        let rows = world.lab.connections();
        let row = rows.iter().find(|row| row.client == client).unwrap_or_else(|| panic!("none: {listed}"));
        assert_eq!(row.state.shown(), state(words[2]), "{listed}");
        let recorded = seconds(words[1]);
        assert!((recorded..=recorded + 1).contains(&row.seconds_left()), "{listed}: {row:?}");
    }

    #[test]
    fn timers_and_counts_of_tcp_are_those_of_the_kernel() {
        let (opening, blocks) = include_str!("../testdata/states/ipv6.txt").split_once("\n## ").unwrap();
        let mut world = World::new();
        opening.lines().for_each(|line| command(&mut world, line));
        let (mut compared, mut counted) = (0, 0);
        let service = ServiceKey::new(Protocol::Tcp, SocketAddr::new(VIP6.into(), 80));
        let endpoint = SocketAddr::new(address(0x20, 7).into(), 7000);
        for block in blocks.split("\n## ") {
            let Some((_, groups)) = BLOCKS.iter().find(|(title, _)| block.starts_with(title)) else {
                continue;
            };
            let mut groups = groups.iter();
            for line in block.lines() {
                if line.starts_with("TCP ") && line.contains("[fd00:10::6]:") {
                    let port = line.split_once("[fd00:10::6]:").unwrap().1.split(' ').next().unwrap();
                    segments(&mut world, port.parse().unwrap(), groups.next().expect("one for each look"));
                    compare(&mut world, line);
                    compared += 1;
                } else if let Some(rest) = line.strip_prefix("  -> [fd00:20::7]:7000 ") {
                    let expected: Vec<u64> =
                        rest.split_whitespace().skip(2).map(|word| word.parse().unwrap()).collect();
                    let id = world.real_id(service, endpoint);
                    let real = world.lab.counters().real(id);
                    assert_eq!([real.states.active(), real.inactive()], expected[..], "{block}");
                    counted += 1;
                } else if let Some(words) = line.strip_prefix("[lb]# ipvsadm --set ") {
                    let numbers: Vec<u32> = words.split(' ').map(|word| word.parse().unwrap()).collect();
                    let [tcp, fin, udp] = numbers[..] else { panic!("{line}") };
                    world.lab.description.timeouts = Timeouts::new(TimeoutSeconds { tcp, fin, udp });
                    world.lab.apply();
                }
            }
            assert!(groups.next().is_none(), "{block}");
        }
        assert_eq!((compared, counted), (13, 6));
    }

    #[test]
    fn a_datagrams_connection_lasts_as_long_as_the_kernels() {
        let (_, block) = include_str!("../testdata/states/ipv6.txt").split_once("\n## UDP\n").unwrap();
        let mut world = World::new();
        block.lines().take(2).for_each(|line| command(&mut world, line));
        let listed = block.lines().find(|line| line.starts_with("UDP ")).unwrap();
        let ends = [SocketAddr::new(CLIENT6.into(), 43010), SocketAddr::new(VIP6.into(), 5000)];
        assert_eq!(world.arrive(Side::Client, &udp(Side::Client, ends, 2)).len(), 1);
        let recorded = seconds(listed.split_whitespace().nth(1).unwrap());
        let found = world.lab.connections()[0].seconds_left();
        assert!((recorded..=recorded + 1).contains(&found), "{listed}: {found}");
    }
}

/// The kernel's picks and counts. Its replies leave untranslated, and so uncounted; those of natlb come from the VIP.
#[test]
fn datagrams_of_a_one_packet_service_reach_the_kernels_reals() {
    let recorded = include_str!("../testdata/one_packet/ipv6.txt");
    let mut world = World::new();
    recorded.lines().take(4).for_each(|line| command(&mut world, line));
    let client = SocketAddr::new(CLIENT6.into(), 43110);
    let listen = SocketAddr::new(VIP6.into(), 5005);
    let (_, inside) = recorded.split_once("--- lb eth0").unwrap();
    let picked: Vec<SocketAddr> = inside
        .lines()
        .filter_map(|line| line.split_once("fd00:10::6.43110 > ")?.1.split_once(": [udp"))
        .map(|(to, _)| to.split_once('.').unwrap())
        .map(|(host, port)| SocketAddr::new(host.parse().unwrap(), port.parse().unwrap()))
        .collect();
    assert_eq!(picked.len(), 3);
    for real in &picked {
        let sent = world.arrive(Side::Client, &udp(Side::Client, [client, listen], 1));
        assert_eq!(sent.len(), 1);
        assert_eq!(read6(&sent[0].bytes).destination, *real);
        let sent = world.arrive(Side::Reals, &udp(Side::Reals, [*real, client], 24));
        let seen = read6(&sent[0].bytes);
        assert_eq!((seen.source, seen.destination), (listen, client));
    }
    assert!(world.lab.connections().is_empty(), "as the kernel lists none");
    let (_, stats) = recorded.split_once("--stats").unwrap();
    let service = ServiceKey::new(Protocol::Udp, listen);
    for endpoint in [picked[0], picked[1]] {
        let row = stats.lines().find(|line| line.contains(&format!("-> {endpoint} "))).unwrap();
        let row: Vec<u64> = row.split_whitespace().skip(2).map(|word| word.parse().unwrap()).collect();
        let id = world.lab.real_id(RealKey { service, endpoint });
        let found = world.lab.counters().real(id);
        let found = [found.connections.get(), found.in_packets.get(), found.in_bytes.get()];
        assert_eq!(found, [row[0], row[1], row[3]], "{endpoint}");
    }
}

mod removed_services {
    use super::*;

    type Seen = (SocketAddr, SocketAddr, u8, usize);

    fn read(frame: &[u8]) -> Seen {
        let seen = read6(frame);
        let flags = frame[14 + IPV6_HEADER + 13];
        (seen.source, seen.destination, flags, seen.payload.len())
    }

    fn end(text: &str) -> SocketAddr {
        let (address, port) = text.split_once('.').unwrap();
        SocketAddr::new(address.parse().unwrap(), port.parse().unwrap())
    }

    /// `IP6 fd00:10::6.46081 > fd00:10::100.81: Flags [P.], seq …, length 5`
    fn line(side: Side, text: &str) -> Option<Line<Seen>> {
        let (source, rest) = text.strip_prefix("IP6 ")?.split_once(" > ")?;
        let (destination, rest) = rest.split_once(": Flags [")?;
        let (source, destination) = (end(source), end(destination));
        let (flags, rest) = rest.split_once(']')?;
        let flags = flags.chars().map(|letter| match letter {
            'P' => 8,
            '.' => ACK,
            _ => panic!("{text}"),
        });
        let (flags, length) = (flags.sum(), rest.rsplit_once("length ")?.1.parse().unwrap());
        let std::net::IpAddr::V6(from) = source.ip() else { panic!("{text}") };
        let frame = enters(side, from).then(|| tcp(side, [source, destination], flags, 12, length));
        Some(Line { enters: frame, seen: (source, destination, flags, length) })
    }

    /// Of the blocks only the first: without a service of its family, and with `expire_nodest_conn`, the kernel's own
    /// stack resets the connection. What natlb does is for each service to say (docs/ipvs.md), and this the default.
    #[test]
    fn their_connections_stand_still_until_they_are_back() {
        let recorded = include_str!("../testdata/packets/removed-services.txt");
        let (_, blocks) = recorded.split_once("\n## another IPv6 service stays\n").unwrap();
        let (block, _) = blocks.split_once("\n## ").unwrap();
        let mut world = World::new();
        let mut side = Side::Client;
        let mut traces: [VecDeque<Line<Seen>>; 2] = Default::default();
        let mut compared = Vec::new();
        let client = SocketAddr::new(CLIENT6.into(), 46081);
        let (listen, real) =
            (SocketAddr::new(VIP6.into(), 81), SocketAddr::new(address(0x20, 7).into(), 7000));
        for text in block.lines() {
            side = side_of(text).unwrap_or(side);
            if text.ends_with("(held)") {
                for (side, ends, flags) in [
                    (Side::Client, [client, listen], SYN),
                    (Side::Reals, [real, client], SYN | ACK),
                    (Side::Client, [client, listen], ACK),
                ] {
                    assert_eq!(world.arrive(side, &tcp(side, ends, flags, 12, 0)).len(), 1);
                }
            } else if text.starts_with("[lb]# ") {
                if traces.iter().any(|trace| !trace.is_empty()) {
                    compared.push(play(&mut world, std::mem::take(&mut traces), read));
                }
                command(&mut world, text);
            }
            traces[side as usize].extend(line(side, text));
        }
        assert_eq!(compared, [0, 6]);
    }
}
