//! Answers that the worker makes by itself: which kind a packet gets, and that no kind and no port takes another's share.

mod support;

use dataplane::verdict::DropReason;
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
    lab.description.ports[usize::from(DIP0)].mtu = 1400;
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] },
        Configured { key: udp_service(at(VIP, 81)), reals: vec![] },
    ]);
    lab
}

/// Every kind of packet that is answered, and its reason for being dropped.
fn answered() -> Vec<(&'static str, u8, Vec<u8>)> {
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
        |packet: Packet| packet.macs(dataplane::next_hop::Mac([3, 0, 0, 0, 0, 1]), VIP_MAC).frame();
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
    // The connection that was there goes on.
    let reply = Packet::tcp(at(RS1, 80), at(CLIENT, 40000), SYN | ACK);
    assert_eq!(read(&lab.arrive(DIP0, &from_rs1(reply))[0].bytes).source, at(VIP, 80));
}
