//! What a host and gateway must do, as a table: packet in, verdict, packet out.

mod support;

use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Unmatched;
use dataplane::wire::arp;
use std::net::Ipv4Addr;
use support::packet::{ACK, Packet, RST, SYN, read};
use support::*;

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

fn from_rs1(packet: Packet) -> Vec<u8> {
    packet.macs(RS1_MAC, DIP_MAC).frame()
}

#[test]
fn what_is_not_for_us_or_wrong_is_dropped_and_counted_under_its_reason() {
    let good = || Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"question");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = from_client(good());
        change(&mut frame);
        frame
    };
    let with_header = |change: &dyn Fn(&mut Vec<u8>)| {
        changed(&|frame| {
            change(frame);
            frame[24..26].fill(0);
            let check = packet_checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&check);
        })
    };
    fn packet_checksum(header: &[u8]) -> [u8; 2] {
        support::packet::internet_checksum(header, 0).to_be_bytes()
    }
    let martian =
        |source: [u8; 4]| from_client(Packet::udp(at(source.into(), 5000), at(VIP, 53), b"question"));
    let cases: Vec<(&str, DropReason, Vec<u8>)> = vec![
        ("another MAC", DropReason::OtherHost, good().macs(CLIENT_MAC, Mac([2; 6])).frame()),
        ("a runt", DropReason::Malformed, changed(&|frame| frame.truncate(13))),
        ("Ethernet only", DropReason::Malformed, changed(&|frame| frame.truncate(14))),
        ("half an IPv4 header", DropReason::Malformed, changed(&|frame| frame.truncate(30))),
        ("version 6 in an IPv4 frame", DropReason::Malformed, with_header(&|frame| frame[14] = 0x65)),
        ("a header of four words", DropReason::Malformed, with_header(&|frame| frame[14] = 0x44)),
        ("a total length below the header's", DropReason::Malformed, with_header(&|frame| frame[17] = 19)),
        ("half a UDP header", DropReason::Malformed, with_header(&|frame| frame[17] = 24)),
        ("a packet longer than its frame", DropReason::Truncated, changed(&|frame| frame.truncate(40))),
        (
            "a wrong header checksum",
            DropReason::HeaderChecksum,
            changed(&|frame| {
                frame[14] = 0x45;
                frame[18] ^= 1;
                frame[20] = 0x20; // a fragment, so that it leaves the fast path
            }),
        ),
        ("a VLAN tag", DropReason::Vlan, changed(&|frame| frame[12..14].copy_from_slice(&[0x81, 0]))),
        ("IPv6", DropReason::Ipv6, changed(&|frame| frame[12..14].copy_from_slice(&[0x86, 0xdd]))),
        ("another EtherType", DropReason::EtherType, changed(&|frame| frame[12] = 0x12)),
        ("from loopback", DropReason::Martian, martian([127, 0, 0, 1])),
        ("from nowhere", DropReason::Martian, martian([0, 0, 0, 0])),
        ("from a multicast group", DropReason::Martian, martian([224, 0, 0, 1])),
        ("from everywhere", DropReason::Martian, martian([255, 255, 255, 255])),
        ("from ourselves", DropReason::Martian, martian(VIP.octets())),
        (
            "to the link's broadcast address",
            DropReason::Broadcast,
            from_client(Packet::udp(at(CLIENT, 5000), at(Ipv4Addr::new(192, 168, 10, 255), 53), b"?")),
        ),
        ("a broadcast frame", DropReason::Broadcast, good().macs(CLIENT_MAC, Mac::BROADCAST).frame()),
    ];
    for (what, reason, frame) in cases {
        let mut lab = Lab::serving();
        assert_eq!(lab.arrive(VIP0, &frame), [], "{what}");
        assert_eq!(lab.dropped(reason), 1, "{what}");
        assert!(lab.connections().is_empty(), "{what}");
        assert_eq!(lab.worker.io().live_frames(), 0, "{what}");
    }
}

#[test]
fn refusals_are_answered_like_a_hosts() {
    // (what, packet, reason, answer: protocol, ICMP type and code or TCP flags)
    let mut lab = Lab::serving();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 0)] },
        Configured { key: tcp_service(at(VIP, 81)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![] },
    ]);
    let tcp = |port, flags| Packet::tcp(at(CLIENT, 40000), at(VIP, port), flags);
    let udp = |port| Packet::udp(at(CLIENT, 40000), at(VIP, port), b"question");
    let from_ftp = Packet::tcp(at(CLIENT, 20), at(VIP, 81), SYN);
    let other = Packet { protocol: 47, payload: vec![0; 8], ..tcp(0, 0) };
    for (what, packet, reason, protocol, first) in [
        ("all weights 0", tcp(80, SYN), DropReason::NoReal, 1, [3, 3]),
        ("no reals", udp(53), DropReason::NoReal, 1, [3, 3]),
        ("a closed TCP port", tcp(9, SYN), DropReason::NoService, 6, [RST | ACK, 0]),
        ("a closed UDP port", udp(9), DropReason::NoService, 1, [3, 3]),
        ("an ACK of no connection", tcp(81, ACK), DropReason::NoConnection, 6, [RST, 0]),
        ("a SYN from port 20", from_ftp, DropReason::FtpDataPort, 6, [RST | ACK, 0]),
        ("GRE", other, DropReason::Protocol, 1, [3, 2]),
    ] {
        let before = lab.dropped(reason);
        let out = lab.arrive(VIP0, &from_client(packet.clone()));
        assert_eq!(out.len(), 1, "{what}");
        assert_eq!(lab.dropped(reason), before + 1, "{what}");
        let seen = read(&out[0].bytes);
        assert_eq!(out[0].port, VIP0, "{what}");
        assert_eq!((seen.from_mac, seen.to_mac), (VIP_MAC, CLIENT_MAC), "{what}");
        assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT), "{what}");
        assert_eq!(seen.protocol, protocol, "{what}");
        if protocol == 6 {
            assert_eq!(seen.flags, first[0], "{what}");
            assert_eq!((seen.source, seen.destination), (packet.destination, packet.source), "{what}");
        } else {
            assert_eq!(seen.payload[..2], first, "{what}");
            assert_eq!(seen.payload[8..36], packet.datagram()[..28], "{what}: quoted as it was sent");
        }
    }
    let reset = from_client(tcp(81, RST));
    assert_eq!(lab.arrive(VIP0, &reset), [], "a RST is never answered");
    assert!(lab.connections().is_empty());
}

#[test]
fn answers_are_limited_in_rate() {
    let mut lab = Lab::serving();
    let frame = from_client(Packet::udp(at(CLIENT, 40000), at(VIP, 9), b"?"));
    let answered: usize = (0..500).map(|_| lab.arrive(VIP0, &frame).len()).sum();
    assert!((100..=110).contains(&answered), "a burst of 100, then 1000 a second: {answered}");
    assert_eq!(lab.counters().answers_suppressed.get(), 500 - answered as u64);
}

#[test]
fn ping_is_answered_by_every_own_address() {
    let mut lab = Lab::serving();
    let ping = |source, target| Packet::icmp(source, target, [8, 0], [0x12, 0x34, 0, 1], b"abcdefgh");
    for (port, frame, source, target) in [
        (VIP0, from_client(ping(CLIENT, VIP)), CLIENT, VIP),
        (DIP0, from_rs1(ping(RS1, DIP)), RS1, DIP),
        (VIP0, from_client(ping(CLIENT, DIP)), CLIENT, DIP),
    ] {
        let out = lab.arrive(port, &frame);
        let seen = read(&out[0].bytes);
        assert_eq!((*seen.source.ip(), *seen.destination.ip(), out[0].port), (target, source, port));
        assert_eq!(seen.payload[0], 0);
        assert_eq!(seen.payload[4..], [0x12, 0x34, 0, 1, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h']);
    }
}

#[test]
fn packets_of_no_connection_are_routed_or_dropped_as_configured() {
    let mut lab = Lab::serving();
    let out = from_rs1(Packet::tcp(at(RS1, 33000), at(CLIENT, 80), SYN));
    let sent = lab.arrive(DIP0, &out);
    let seen = read(&sent[0].bytes);
    assert_eq!((seen.source, seen.destination, seen.ttl), (at(RS1, 33000), at(CLIENT, 80), 63));
    assert_eq!((seen.from_mac, seen.to_mac, sent[0].port), (VIP_MAC, CLIENT_MAC, VIP0));
    let back = from_client(Packet::tcp(at(CLIENT, 80), at(RS1, 33000), SYN | ACK));
    assert_eq!(read(&lab.arrive(VIP0, &back)[0].bytes).to_mac, RS1_MAC);
    let ping = from_rs1(Packet::icmp(RS1, CLIENT, [8, 0], [0, 1, 0, 1], b"out"));
    assert_eq!(read(&lab.arrive(DIP0, &ping)[0].bytes).source, at(RS1, 0), "untranslated");
    assert_eq!(lab.counters().routed.get(), 3);

    let nowhere = from_rs1(Packet::udp(at(RS1, 33000), at(Ipv4Addr::new(203, 0, 113, 1), 53), b"?"));
    let seen = read(&lab.arrive(DIP0, &nowhere)[0].bytes);
    assert_eq!((*seen.source.ip(), seen.payload[0], seen.payload[1]), (DIP, 3, 0), "network unreachable");
    assert_eq!(lab.dropped(DropReason::NoRoute), 1);

    lab.description.unmatched = Unmatched::Drop;
    lab.apply();
    assert_eq!(lab.arrive(DIP0, &out), []);
    assert_eq!(lab.dropped(DropReason::Unrouted), 1);
}

#[test]
fn a_services_endpoint_speaks_only_within_connections() {
    let mut lab = Lab::serving();
    let stray = from_rs1(Packet::tcp(at(RS1, 80), at(CLIENT, 40000), SYN | ACK));
    let out = lab.arrive(DIP0, &stray);
    assert_eq!((out.len(), out[0].port, read(&out[0].bytes).flags), (1, DIP0, RST), "the server is told");
    assert_eq!(lab.dropped(DropReason::RealWithoutConnection), 1);
}

#[test]
fn ttl_ends_here_and_the_address_that_was_asked_says_so() {
    let mut lab = Lab::serving();
    let probe = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), SYN).ttl(1);
    let seen = read(&lab.arrive(VIP0, &from_client(probe.clone()))[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT));
    assert_eq!(seen.payload[..2], [11, 0]);
    assert_eq!(seen.payload[8..48], probe.datagram()[..40], "quoted as it was sent, TTL 1");
    assert_eq!(lab.connections().len(), 1, "the connection is made all the same");

    let probe = Packet::udp(at(RS1, 33434), at(CLIENT, 33434), b"trace").ttl(1);
    let seen = read(&lab.arrive(DIP0, &from_rs1(probe))[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (DIP, RS1));

    let reply = Packet::tcp(at(RS2, 80), at(CLIENT, 40000), SYN | ACK).ttl(1).macs(RS2_MAC, DIP_MAC);
    let seen = read(&lab.arrive(DIP0, &reply.frame())[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (DIP, RS2), "in the real's terms");
    assert_eq!(lab.dropped(DropReason::TtlExceeded), 3);
}

#[test]
fn too_big_is_said_with_the_mtu_by_the_right_address() {
    let mut lab = Lab::serving();
    lab.description.interfaces[DIP0.index()].mtu = 1400;
    lab.apply();
    let big = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[7; 1472]);
    let seen = read(&lab.arrive(VIP0, &from_client(big.clone()))[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT));
    assert_eq!(seen.payload[..2], [3, 4]);
    assert_eq!(seen.payload[6..8], 1400u16.to_be_bytes());

    lab.description.interfaces[DIP0.index()].mtu = 1500;
    lab.description.interfaces[VIP0.index()].mtu = 1400;
    lab.apply();
    let small = Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?");
    let server = read(&lab.arrive(VIP0, &from_client(small))[0].bytes).destination;
    let big = Packet::udp(server, at(CLIENT, 5000), &[7; 1472]).macs(RS2_MAC, DIP_MAC);
    let seen = read(&lab.arrive(DIP0, &big.frame())[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (DIP, *server.ip()));
    assert_eq!(lab.dropped(DropReason::TooBig), 2);
}

/// Asks rs2 through the NAT, and gives what it saw.
fn opened(lab: &mut Lab) -> Packet {
    let query = Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"question");
    let out = lab.arrive(VIP0, &from_client(query.clone()));
    Packet { ttl: 63, destination: read(&out[0].bytes).destination, ..query }
}

#[test]
fn icmp_errors_are_translated_with_the_packet_they_quote() {
    for (kind, code) in [(3, 3), (3, 4), (11, 0), (12, 0)] {
        let mut lab = Lab::serving();
        let at_real = opened(&mut lab);
        let quoted = at_real.datagram();
        // A router on the reals' side complains about the client's packet.
        let router = Ipv4Addr::new(10, 0, 0, 1);
        let error = Packet::icmp(router, CLIENT, [kind, code], [0, 0, 5, 0xdc], &quoted);
        let seen = read(&lab.arrive(DIP0, &from_rs1(error))[0].bytes);
        assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT), "type {kind}");
        let inner = Packet { destination: at(VIP, 53), ..at_real.clone() }.datagram();
        assert_eq!(seen.payload[8..], inner, "type {kind}: the client's own packet, TTL less one");

        // A router on the clients' side complains about the reply.
        let server = at_real.destination;
        let reply = Packet::udp(server, at(CLIENT, 5000), b"an answer of some length").macs(RS2_MAC, DIP_MAC);
        let out = lab.arrive(DIP0, &reply.frame());
        let quoted = out[0].bytes[14..].to_vec();
        let router = Ipv4Addr::new(192, 168, 10, 1);
        let error = Packet::icmp(router, VIP, [kind, code], [0, 0, 5, 0xdc], &quoted);
        let sent = lab.arrive(VIP0, &from_client(error));
        let seen = read(&sent[0].bytes);
        assert_eq!((*seen.source.ip(), *seen.destination.ip()), (router, *server.ip()));
        assert_eq!((sent[0].port, seen.to_mac), (DIP0, RS2_MAC));
        let inner = Packet { ttl: 63, ..reply }.datagram();
        assert_eq!(seen.payload[8..], inner, "type {kind}: the real's own packet, TTL less one");
    }
}

#[test]
fn icmp_errors_that_belong_to_nothing_or_are_wrong_go_nowhere() {
    let mut lab = Lab::serving();
    let at_real = opened(&mut lab);
    let stranger = Packet::udp(at(VIP, 53), at(CLIENT, 6000), b"never sent").datagram();
    let error = Packet::icmp(CLIENT, VIP, [3, 3], [0; 4], &stranger);
    assert_eq!(lab.arrive(VIP0, &from_client(error)), []);
    assert_eq!(lab.dropped(DropReason::IcmpUnmatched), 1);
    let mut error = from_rs1(Packet::icmp(RS1, CLIENT, [3, 3], [0; 4], &at_real.datagram()));
    error[36] ^= 1;
    assert_eq!(lab.arrive(DIP0, &error), []);
    assert_eq!(lab.dropped(DropReason::IcmpChecksum), 1);
}

fn arp_request(from: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp::request(from, sender, target, Mac::BROADCAST).to_vec()
}

#[test]
fn arp_is_answered_for_own_addresses_on_their_port_only() {
    let mut lab = Lab::serving();
    let vip2 = Ipv4Addr::new(192, 168, 10, 101);
    let far_vip = Ipv4Addr::new(203, 0, 113, 80);
    lab.configure(&[
        Configured { key: tcp_service(at(vip2, 80)), reals: vec![] },
        Configured { key: tcp_service(at(far_vip, 80)), reals: vec![] },
    ]);
    for (port, target, answers) in [
        (VIP0, VIP, true),
        (DIP0, DIP, true),
        (VIP0, DIP, false),
        (DIP0, VIP, false),
        (VIP0, vip2, true),
        (DIP0, vip2, false),
        (VIP0, far_vip, true),
        (DIP0, far_vip, false),
        (VIP0, Ipv4Addr::new(192, 168, 10, 77), false),
    ] {
        let (mac, sender) = if port == VIP0 { (CLIENT_MAC, CLIENT) } else { (RS1_MAC, RS1) };
        let out = lab.arrive(port, &arp_request(mac, sender, target));
        assert_eq!(out.len(), usize::from(answers), "{target} on {port}");
        if let Some(sent) = out.first() {
            let reply = arp::Message::parse(&sent.bytes[14..]).unwrap();
            assert_eq!(reply.operation, arp::Operation::Reply);
            assert_eq!((reply.sender, reply.target, reply.target_mac), (target, sender, mac));
            assert_eq!(reply.sender_mac, if port == VIP0 { VIP_MAC } else { DIP_MAC });
            assert_eq!(sent.bytes[..6], mac.0);
        }
    }
}

#[test]
fn packets_wait_for_their_next_hop_and_leave_in_order_when_it_answers() {
    let mut lab = Lab::serving();
    let rs3 = Ipv4Addr::new(10, 0, 0, 27);
    lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(rs3, 53), 1)] }]);
    for n in 0..5u8 {
        let query = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[n]);
        assert_eq!(lab.arrive(VIP0, &from_client(query)), []);
    }
    let key = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(rs3) };
    assert_eq!(lab.control.neighbour_events.pop(), Ok(NeighbourEvent::Wanted(key)));
    assert!(lab.control.neighbour_events.pop().is_err(), "asked once");
    assert_eq!(lab.worker.frames_held(), 5);

    let reply = arp::request(Mac([2, 0, 0, 0, 0, 0x27]), rs3, DIP, DIP_MAC).to_vec();
    lab.arrive(DIP0, &reply);
    assert!(matches!(lab.control.neighbour_events.pop(), Ok(NeighbourEvent::Heard { .. })));
    let sent = lab.reachable(key, Mac([2, 0, 0, 0, 0, 0x27]));
    let payloads: Vec<_> = sent.iter().map(|sent| read(&sent.bytes).payload[0]).collect();
    assert_eq!(payloads, [0, 1, 2, 3, 4]);
    assert_eq!(lab.connections().len(), 1);
    assert_eq!(lab.worker.frames_held(), 0);
    let id = lab.real_id(dataplane::names::ids::RealKey {
        service: udp_service(at(VIP, 53)),
        endpoint: std::net::SocketAddr::V4(at(rs3, 53)),
    });
    assert_eq!(lab.counters().real(id).in_packets.get(), 5, "each counted once");
}

/// A traceroute right after the start: all probes come at once, while neither the client nor the real is resolved, and
/// nothing of it is sent again.
#[test]
fn no_probe_of_a_traceroute_is_lost_while_next_hops_are_asked_for() {
    let (client, client_mac) = (Ipv4Addr::new(192, 168, 10, 77), Mac([2, 0, 0, 0, 0x10, 0x77]));
    let (rs3, rs3_mac) = (Ipv4Addr::new(10, 0, 0, 27), Mac([2, 0, 0, 0, 0, 0x27]));
    let of_client = NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(client) };
    let of_real = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(rs3) };
    for (tcp, client_answers_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut lab = Lab::new();
        let key = if tcp { tcp_service(at(VIP, 80)) } else { udp_service(at(VIP, 80)) };
        lab.configure(&[Configured { key, reals: vec![(at(rs3, 80), 1)] }]);
        for ttl in 1..=6 {
            let from = at(client, 40_000 + u16::from(ttl));
            let probe = match tcp {
                true => Packet::tcp(from, at(VIP, 80), SYN),
                false => Packet::udp(from, at(VIP, 80), b"probe"),
            };
            lab.queue(VIP0, &probe.ttl(ttl).macs(client_mac, VIP_MAC).frame());
        }
        // The first probe ends here, and is answered to where it came from.
        let mut to_client = lab.turn();
        assert_eq!(to_client.len(), 1);
        if client_answers_first {
            assert_eq!(lab.reachable(of_client, client_mac), []);
        }
        let probes = lab.reachable(of_real, rs3_mac);
        assert_eq!(probes.iter().map(|sent| read(&sent.bytes).ttl).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        for probe in &probes {
            let seen = read(&probe.bytes);
            let answer = match tcp {
                true => Packet::tcp(at(rs3, 80), seen.source, SYN | ACK),
                // Port unreachable, with what it is about.
                false => Packet::icmp(rs3, client, [3, 3], [0; 4], &probe.bytes[14..]),
            };
            to_client.extend(lab.arrive(DIP0, &answer.macs(rs3_mac, DIP_MAC).frame()));
        }
        if !client_answers_first {
            assert_eq!(to_client.len(), 1, "the real's answers wait");
            to_client.extend(lab.reachable(of_client, client_mac));
        }
        assert_eq!(to_client.len(), 6, "tcp {tcp}, the client first {client_answers_first}");
        assert!(to_client.iter().all(|sent| sent.port == VIP0 && *read(&sent.bytes).source.ip() == VIP));
        assert_eq!((lab.dropped(DropReason::TtlExceeded), lab.worker.frames_held()), (1, 0));
    }
}

#[test]
fn the_wait_is_bounded_and_its_end_is_told() {
    let mut lab = Lab::serving();
    let rs3 = Ipv4Addr::new(10, 0, 0, 27);
    lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(rs3, 53), 1)] }]);
    for n in 0..100 {
        let query = Packet::udp(at(CLIENT, 5000 + n), at(VIP, 53), b"?");
        lab.arrive(VIP0, &from_client(query));
    }
    assert_eq!(lab.worker.frames_held(), 64);
    assert_eq!(lab.dropped(DropReason::NextHopQueueFull), 36);
    let key = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(rs3) };
    lab.unreachable(key);
    let sent = lab.turn();
    assert_eq!(sent.len(), 64);
    let seen = read(&sent[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT));
    assert_eq!(seen.payload[..2], [3, 1], "host unreachable, from the VIP");
    assert_eq!(lab.dropped(DropReason::NextHopUnresolved), 64);

    lab.arrive(VIP0, &from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?")));
    lab.pass(6);
    assert_eq!(lab.worker.frames_held(), 0, "given up even if nobody says anything");
}

#[test]
fn only_neighbours_that_matter_are_told_of() {
    let mut lab = Lab::serving();
    for n in (0..200).filter(|n| *n != VIP.octets()[3]) {
        let spoofed = Ipv4Addr::new(192, 168, 10, n);
        lab.arrive(VIP0, &arp_request(Mac([2, 9, 9, 9, 9, n]), spoofed, VIP));
    }
    let mut told = Vec::new();
    while let Ok(event) = lab.control.neighbour_events.pop() {
        told.push(event);
    }
    let known = [CLIENT, ROUTER].map(std::net::IpAddr::V4);
    assert!(told.iter().all(|event| matches!(
        event,
        NeighbourEvent::Heard { key, reply: false, .. } if known.contains(&key.address)
    )));
    assert_eq!(told.len(), 2, "changed MACs of known neighbours, and nothing else");
}

over_ipv6! {
    refusals_are_answered_like_a_hosts,
    answers_are_limited_in_rate,
    ping_is_answered_by_every_own_address,
    packets_of_no_connection_are_routed_or_dropped_as_configured,
    a_services_endpoint_speaks_only_within_connections,
    ttl_ends_here_and_the_address_that_was_asked_says_so,
    too_big_is_said_with_the_mtu_by_the_right_address,
    icmp_errors_are_translated_with_the_packet_they_quote,
    icmp_errors_that_belong_to_nothing_or_are_wrong_go_nowhere,
    no_probe_of_a_traceroute_is_lost_while_next_hops_are_asked_for,
    the_wait_is_bounded_and_its_end_is_told,
}
