//! Answers that the worker makes by itself: which kind a packet gets, and that no kind and no port takes another's
//! share.

mod support;

use dataplane::names::ids::InterfaceId;

use dataplane::names::drop_reason::DropReason;
use std::net::Ipv4Addr;
use support::packet::{ACK, Packet, RST, SYN, read};
use support::*;

/// More than any bucket holds.
const FLOOD: usize = 1_500;

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

fn from_rs1(packet: Packet) -> Vec<u8> {
    packet.macs(RS1_MAC, DIP_MAC).frame()
}

/// A lab in which something is wrong with everything but `tcp://VIP:80` and `udp://VIP:53`: no real for port 81, and a
/// small MTU towards the reals.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.description.interfaces[DIP0.index()].mtu = 1400;
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] },
        Configured { key: udp_service(at(VIP, 81)), reals: vec![] },
    ]);
    lab
}

/// Every kind of packet that is answered, and its reason for being dropped.
fn answered() -> Vec<(&'static str, InterfaceId, Vec<u8>)> {
    let udp = |port| Packet::udp(at(CLIENT, 40000), at(VIP, port), b"?");
    let tcp = |port, flags| Packet::tcp(at(CLIENT, 40000), at(VIP, port), flags);
    let nowhere = Ipv4Addr::new(203, 0, 113, 1);
    let gre = Packet { protocol: 47, payload: vec![0; 8], ..tcp(0, 0) };
    let ping = |from, to| Packet::icmp(from, to, [8, 0], [0, 1, 0, 1], b"ping");
    vec![
        ("a closed UDP port", VIP0, from_client(udp(9))),
        ("a service without reals", VIP0, from_client(udp(81))),
        ("a closed TCP port", VIP0, from_client(tcp(9, SYN))),
        ("a segment of no connection", VIP0, from_client(tcp(80, ACK))),
        ("another protocol", VIP0, from_client(gre)),
        ("TTL 1", VIP0, from_client(udp(53).ttl(1))),
        ("TTL 1, from a real", DIP0, from_rs1(Packet::udp(at(RS1, 7), at(CLIENT, 7), b"?").ttl(1))),
        ("no route", DIP0, from_rs1(Packet::udp(at(RS1, 7), at(nowhere, 7), b"?"))),
        ("a ping", VIP0, from_client(ping(CLIENT, VIP))),
        ("a ping from a real", DIP0, from_rs1(ping(RS1, DIP))),
        ("too big", VIP0, from_client(Packet::udp(at(CLIENT, 40000), at(VIP, 53), &[7; 1472]))),
    ]
}

#[test]
fn a_flood_of_one_kind_takes_no_answer_from_another() {
    for (flood, flooded, frame) in answered() {
        let mut lab = lab();
        for _ in 0..FLOOD {
            lab.arrive(flooded, &frame);
        }
        for (what, port, frame) in answered().into_iter().filter(|(what, ..)| *what != flood) {
            assert_eq!(lab.arrive(port, &frame).len(), 1, "{what}, after a flood of: {flood}");
        }
    }
}

/// Unlike the others it is not limited: a connection whose sender does not hear it hangs.
#[test]
fn every_oversized_packet_is_told_the_mtu() {
    let mut lab = lab();
    let big = from_client(Packet::udp(at(CLIENT, 40000), at(VIP, 53), &[7; 1472]));
    for _ in 0..20_000 {
        let out = lab.arrive(VIP0, &big);
        assert_eq!((read(&out[0].bytes).payload[0], read(&out[0].bytes).payload[1], out.len()), (3, 4, 1));
        assert!(out[0].bytes.len() < big.len() / 2, "whoever makes us send has sent more");
    }
    assert_eq!(lab.counters().answers_suppressed.get(), 0);
}

/// What gets no answer takes none from what does.
#[test]
fn what_cannot_be_answered_costs_no_token() {
    let mut lab = lab();
    // An address of a group as the sender's MAC: nobody to answer.
    let from_group =
        |packet: Packet| packet.macs(dataplane::names::mac::Mac([3, 0, 0, 0, 0, 1]), VIP_MAC).frame();
    let ping = || Packet::icmp(CLIENT, VIP, [8, 0], [0, 1, 0, 1], b"ping");
    let udp = || Packet::udp(at(CLIENT, 40000), at(VIP, 9), b"?");
    for _ in 0..FLOOD {
        assert_eq!(lab.arrive(VIP0, &from_group(ping())), []);
        assert_eq!(lab.arrive(VIP0, &from_group(udp())), []);
    }
    assert_eq!(lab.arrive(VIP0, &from_client(ping())).len(), 1);
    assert_eq!(lab.arrive(VIP0, &from_client(udp())).len(), 1);
    assert_eq!(lab.counters().answers_suppressed.get(), 0);
}

#[test]
fn colliding_replies_reset_tcp_and_are_port_unreachable_for_udp() {
    let other = Ipv4Addr::new(192, 168, 10, 101);
    let mut lab = Lab::new();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: tcp_service(at(other, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 53), 1)] },
        Configured { key: udp_service(at(other, 53)), reals: vec![(at(RS1, 53), 1)] },
    ]);
    let tcp = |vip, flags| Packet::tcp(at(CLIENT, 40000), at(vip, 80), flags);
    let udp = |vip| Packet::udp(at(CLIENT, 40000), at(vip, 53), b"?");
    for packet in [tcp(VIP, SYN), udp(VIP)] {
        assert_eq!(lab.arrive(VIP0, &from_client(packet))[0].port, DIP0);
    }
    let refused = tcp(other, SYN);
    let out = lab.arrive(VIP0, &from_client(refused.clone()));
    let seen = read(&out[0].bytes);
    assert_eq!((seen.protocol, seen.flags, out[0].port), (6, RST | ACK, VIP0));
    assert_eq!((seen.source, seen.destination), (at(other, 80), at(CLIENT, 40000)));
    assert_eq!((seen.sequence, seen.acknowledgement), (0, refused.sequence + 1), "RFC 9293 §3.10.7.1");
    let seen = read(&lab.arrive(VIP0, &from_client(udp(other)))[0].bytes);
    assert_eq!((seen.protocol, &seen.payload[..2]), (1, &[3, 3][..]));
    assert_eq!(lab.dropped(DropReason::ReplyCollision), 2);
    let client = support::family::end(at(CLIENT, 40000).into());
    assert_eq!(lab.counters().collided_endpoint.get(), Some(client));
    // The connection that was there goes on.
    let reply = Packet::tcp(at(RS1, 80), at(CLIENT, 40000), SYN | ACK);
    assert_eq!(read(&lab.arrive(DIP0, &from_rs1(reply))[0].bytes).source, at(VIP, 80));
}

/// The connection of `FAR_CLIENT` is forgotten; that of `CLIENT` is not.
fn forgetful_lab() -> Lab {
    let mut lab = Lab::serving();
    lab.reachable(
        dataplane::names::ids::NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(ROUTER) },
        dataplane::names::mac::Mac([2, 0, 0, 0, 0x10, 1]),
    );
    lab
}

/// As from its client, with the number that it waits for: RFC 9293 §3.10.7.1.
#[test]
fn a_server_whose_connection_is_forgotten_is_reset() {
    let mut lab = forgetful_lab();
    for (what, flags) in
        [("data", ACK), ("FIN", ACK | support::packet::FIN), ("SYN+ACK", SYN | ACK), ("no flag", 0)]
    {
        let packet = Packet::tcp(at(RS1, 80), at(FAR_CLIENT, 40000), flags);
        let packet = Packet { payload: b"event".to_vec(), ..packet };
        let out = lab.arrive(DIP0, &from_rs1(packet.clone()));
        assert_eq!((out.len(), out[0].port), (1, DIP0), "{what}");
        let seen = read(&out[0].bytes);
        assert_eq!((seen.from_mac, seen.to_mac), (DIP_MAC, RS1_MAC), "{what}");
        assert_eq!((seen.source, seen.destination), (at(FAR_CLIENT, 40000), at(RS1, 80)), "{what}");
        if flags & ACK != 0 {
            assert_eq!((seen.flags, seen.sequence), (RST, packet.acknowledgement), "{what}");
        } else {
            let all = packet.sequence + packet.payload.len() as u32;
            assert_eq!((seen.flags, seen.sequence, seen.acknowledgement), (RST | ACK, 0, all), "{what}");
        }
    }
    assert_eq!(lab.dropped(DropReason::RealWithoutConnection), 4);
    let reset = Packet::tcp(at(RS1, 80), at(FAR_CLIENT, 40000), RST | ACK);
    assert_eq!(lab.arrive(DIP0, &from_rs1(reset)), [], "a RST is not answered");
    assert_eq!(lab.dropped(DropReason::RealWithoutConnection), 5);
}

/// All servers at once, as after a start: under a limit of its own, which takes nothing from the clients' RSTs.
#[test]
fn resets_of_servers_are_limited_by_themselves() {
    let mut lab = forgetful_lab();
    let data = |port| from_rs1(Packet::tcp(at(RS1, 80), at(FAR_CLIENT, port), ACK));
    let answered: usize = (0..FLOOD as u16).map(|port| lab.arrive(DIP0, &data(1000 + port)).len()).sum();
    assert!((1000..FLOOD).contains(&answered), "a burst of 1000, then 10,000 a second: {answered}");
    let closed = from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 9), SYN));
    let stray = from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 80), ACK));
    assert_eq!((lab.arrive(VIP0, &closed).len(), lab.arrive(VIP0, &stray).len()), (1, 1));
}

/// Servers that speak first from the port that they serve on (NTP, SIP, DNS) are routed as the kernel does, but for
/// what goes to a client that knows them by the VIP.
#[test]
fn a_reals_own_datagram_from_a_service_port_is_routed_unless_to_a_client() {
    let mut lab = forgetful_lab();
    let client = at(FAR_CLIENT, 5000);
    let query = Packet::udp(client, at(VIP, 53), b"?")
        .macs(dataplane::names::mac::Mac([2, 0, 0, 0, 0x10, 1]), VIP_MAC);
    let server = read(&lab.arrive(VIP0, &query.frame())[0].bytes).destination;
    assert_eq!(server, at(RS2, 5353));
    for destination in [at(FAR_CLIENT, 5353), at(FAR_CLIENT, 123), at(CLIENT, 5000)] {
        let out = lab.arrive(DIP0, &from_rs1(Packet::udp(at(RS1, 5353), destination, b"own")));
        let seen = read(&out[0].bytes);
        assert_eq!((out[0].port, seen.source, seen.destination), (VIP0, at(RS1, 5353), destination));
    }
    assert_eq!(lab.counters().routed.get(), 3);
    // This client socket has a connection already, and so no business with this real.
    assert_eq!(lab.arrive(DIP0, &from_rs1(Packet::udp(at(RS1, 5353), client, b"stray"))), []);
    assert_eq!(lab.dropped(DropReason::RealWithoutConnection), 1);
    // In fragments alike.
    let long = Packet {
        payload: vec![7; 2000],
        dont_fragment: false,
        ..Packet::udp(at(RS1, 5353), at(FAR_CLIENT, 123), b"")
    };
    let long = long.macs(RS1_MAC, DIP_MAC);
    let sent: Vec<_> = long.fragments(1000).iter().flat_map(|frame| lab.arrive(DIP0, frame)).collect();
    assert!(sent.len() == 3 && sent.iter().all(|sent| sent.port == VIP0), "{}", sent.len());
    // Where unmatched packets are dropped, these are too.
    lab.description.unmatched = dataplane::snapshot::Unmatched::Drop;
    lab.apply();
    assert_eq!(lab.arrive(DIP0, &from_rs1(Packet::udp(at(RS1, 5353), at(FAR_CLIENT, 123), b"own"))), []);
    assert_eq!(lab.dropped(DropReason::Unrouted), 1);
}

/// The SYN distinguishes a real's own TCP connection, from a port that it serves on, from a forgotten one.
#[test]
fn a_reals_own_connection_from_a_service_port_is_routed() {
    let mut lab = forgetful_lab();
    let own = |flags| from_rs1(Packet::tcp(at(RS1, 80), at(FAR_CLIENT, 443), flags));
    assert_eq!(lab.arrive(DIP0, &own(ACK))[0].port, DIP0, "a RST");
    for flags in [SYN, ACK, ACK | support::packet::FIN, RST] {
        let out = lab.arrive(DIP0, &own(flags));
        assert_eq!((out[0].port, read(&out[0].bytes).source), (VIP0, at(RS1, 80)));
    }
    let other = from_rs1(Packet::tcp(at(RS1, 80), at(FAR_CLIENT, 444), ACK));
    assert_eq!(lab.arrive(DIP0, &other)[0].port, DIP0, "another is reset");
}

over_ipv6! {
    a_flood_of_one_kind_takes_no_answer_from_another,
    what_cannot_be_answered_costs_no_token,
    colliding_replies_reset_tcp_and_are_port_unreachable_for_udp,
    a_server_whose_connection_is_forgotten_is_reset,
    resets_of_servers_are_limited_by_themselves,
    a_reals_own_datagram_from_a_service_port_is_routed_unless_to_a_client,
    a_reals_own_connection_from_a_service_port_is_routed,
}
