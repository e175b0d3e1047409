//! What a host and a router must say by ICMP, and when they must be silent: RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3
//! and §5.2.7, RFC 1191. The table of clauses is docs/standards.md.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use std::net::Ipv4Addr;
use support::packet::{Packet, SYN, internet_checksum, read, seal};
use support::*;

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

fn from_rs1(packet: Packet) -> Vec<u8> {
    packet.macs(RS1_MAC, DIP_MAC).frame()
}

/// Why a real's packet to somebody else cannot go on.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    Ttl,
    TooBig,
    NoRoute,
    NextHop,
}

impl Obstacle {
    const ALL: [Self; 4] = [Self::Ttl, Self::TooBig, Self::NoRoute, Self::NextHop];

    /// Type and code of the error about it.
    const fn error(self) -> [u8; 2] {
        match self {
            Self::Ttl => [11, 0],
            Self::TooBig => [3, 4],
            Self::NoRoute => [3, 0],
            Self::NextHop => [3, 1],
        }
    }
}

/// Has a packet of rs1 meet an obstacle in a new lab: the packet as it was sent, and what is answered.
fn meets(obstacle: Obstacle, packet: Packet) -> (Vec<u8>, Vec<Sent>) {
    let mut lab = Lab::serving();
    let silent = Ipv4Addr::new(192, 168, 10, 77);
    let towards = |address| Packet { destination: at(address, packet.destination.port()), ..packet.clone() };
    let packet = match obstacle {
        Obstacle::Ttl => towards(CLIENT).ttl(1),
        Obstacle::TooBig => {
            lab.description.interfaces[VIP0.index()].mtu = 700;
            lab.apply();
            let payload = [packet.payload.clone(), vec![0; 800]].concat();
            Packet { payload, dont_fragment: true, ..towards(CLIENT) }
        }
        Obstacle::NoRoute => towards(Ipv4Addr::new(203, 0, 113, 1)),
        Obstacle::NextHop => towards(silent),
    };
    let packet = packet.macs(RS1_MAC, DIP_MAC);
    let mut frame = packet.frame();
    if packet.protocol == 1 {
        // Its checksum covers what was added.
        let message = 34 + packet.options.len();
        frame[message + 2..message + 4].fill(0);
        let check = internet_checksum(&frame[message..], 0);
        frame[message + 2..message + 4].copy_from_slice(&check.to_be_bytes());
    }
    let mut sent = lab.arrive(DIP0, &frame);
    if matches!(obstacle, Obstacle::NextHop) {
        assert_eq!((sent.len(), lab.worker.frames_held()), (0, 1));
        lab.unreachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(silent) });
        sent = lab.turn();
    }
    (frame, sent)
}

#[test]
fn whatever_keeps_a_packet_from_going_on_is_said_to_its_sender() {
    for obstacle in Obstacle::ALL {
        let (frame, sent) = meets(obstacle, Packet::udp(at(RS1, 4000), at(CLIENT, 9), b"a datagram"));
        let [answer] = &sent[..] else { panic!("{obstacle:?}: one answer") };
        let seen = read(&answer.bytes);
        assert_eq!(seen.payload[..2], obstacle.error(), "{obstacle:?}");
        assert_eq!((*seen.source.ip(), *seen.destination.ip()), (DIP, RS1), "{obstacle:?}");
        assert_eq!((answer.port, seen.to_mac, seen.ttl), (DIP0, RS1_MAC, 64), "{obstacle:?}");
        let packet = &frame[14..];
        let most = if support::family::is_ipv6() { 1280 - 48 } else { 576 - 28 };
        let quoted = packet.len().min(most);
        assert_eq!(seen.payload[8..], packet[..quoted], "{obstacle:?}: as it came");
        let next_mtu = u16::from_be_bytes([seen.payload[6], seen.payload[7]]);
        assert_eq!(next_mtu, if matches!(obstacle, Obstacle::TooBig) { 700 } else { 0 });
    }
}

#[test]
fn a_reply_to_a_client_that_no_route_leads_to_is_told_to_the_real() {
    let mut lab = Lab::serving();
    let nowhere = at(Ipv4Addr::new(203, 0, 113, 1), 5000);
    let question = from_client(Packet::udp(nowhere, at(VIP, 53), b"?"));
    let real = read(&lab.arrive(VIP0, &question)[0].bytes).destination;
    let reply = Packet::udp(real, nowhere, b"!").macs(RS2_MAC, DIP_MAC);
    let [answer] = &lab.arrive(DIP0, &reply.frame())[..] else { panic!("one answer") };
    let seen = read(&answer.bytes);
    assert_eq!((answer.port, *seen.source.ip(), *seen.destination.ip()), (DIP0, DIP, *real.ip()));
    assert_eq!((&seen.payload[..2], &seen.payload[8..]), (&[3, 0][..], &reply.datagram()[..]));
    assert_eq!(lab.dropped(DropReason::NoRoute), 1);
}

#[test]
fn no_error_is_sent_about_an_error_or_a_later_fragment() {
    let icmp = |kind| Packet::icmp(RS1, CLIENT, [kind, 0], [0; 4], &[0; 28]);
    for obstacle in Obstacle::ALL {
        for kind in [0, 8, 13, 14] {
            assert_eq!(meets(obstacle, icmp(kind)).1.len(), 1, "{obstacle:?}: about type {kind}");
        }
        for kind in [3, 11, 12, 19, 42, 255] {
            assert_eq!(meets(obstacle, icmp(kind)).1, [], "{obstacle:?}: about type {kind}");
        }
        for protocol in [1, 6, 17, 47] {
            // With the header of TCP a multiple of eight bytes, too.
            let payload = vec![8; if protocol == 6 { 36 } else { 32 }];
            let whole = Packet { protocol, payload, ..Packet::udp(at(CLIENT, 1), at(CLIENT, 1), b"") };
            let source = at(RS1, 4000);
            let first = Packet { source, fragment: 0x2000, dont_fragment: false, ..whole.clone() };
            let later = Packet { source, fragment: 4, dont_fragment: true, ..whole };
            if !matches!(obstacle, Obstacle::TooBig) {
                assert_eq!(meets(obstacle, first).1.len(), 1, "{obstacle:?}: a first fragment of {protocol}");
            }
            assert_eq!(meets(obstacle, later).1, [], "{obstacle:?}: a later fragment of {protocol}");
        }
    }
}

#[test]
fn no_error_is_sent_about_fragments_to_an_own_address() {
    for protocol in [6, 17, 47] {
        let mut lab = Lab::serving();
        let packet = Packet { protocol, ..Packet::udp(at(CLIENT, 4000), at(VIP, 9), &[7; 64]) };
        let later = Packet { fragment: 8, dont_fragment: false, ..packet };
        assert_eq!(lab.arrive(VIP0, &from_client(later)), []);
        lab.pass(10);
        assert_eq!(lab.turn(), [], "nor when it is given up");
    }
}

#[test]
fn no_error_is_sent_to_a_group_of_stations() {
    let group = Mac([3, 0, 0, 0, 0, 6]);
    for packet in [
        Packet::udp(at(CLIENT, 4000), at(VIP, 9), b"?"),
        Packet::tcp(at(CLIENT, 4000), at(VIP, 9), SYN),
        Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping"),
    ] {
        assert_eq!(Lab::serving().arrive(VIP0, &packet.macs(group, VIP_MAC).frame()), []);
    }
}

#[test]
fn as_much_is_quoted_as_fits_576_bytes() {
    let mut lab = Lab::serving();
    for (length, options) in
        [0, 1, 19, 519, 520, 521, 1472].iter().flat_map(|l| [(*l, vec![]), (*l, vec![1; 4])])
    {
        if length == 1472 && !options.is_empty() {
            continue;
        }
        let packet = Packet { options, ..Packet::udp(at(CLIENT, 4000), at(VIP, 9), &vec![0x5a; length]) };
        let frame = from_client(packet.clone());
        let answer = lab.arrive(VIP0, &frame).remove(0).bytes;
        let seen = read(&answer);
        assert_eq!(
            usize::from(u16::from_be_bytes([answer[16], answer[17]])),
            (28 + frame.len() - 14).min(576)
        );
        assert_eq!(seen.payload[8..], frame[14..][..seen.payload.len() - 8]);
    }
}

#[test]
fn an_error_has_the_precedence_of_control_and_the_type_of_its_cause() {
    // (type of service of the packet, of the error): the lowest two bits are of congestion notification.
    for (tos, expected) in [(0, 0xc0), (0x10, 0xd0), (0x1c, 0xdc), (0xb8, 0xd8), (0x03, 0xc0), (0xff, 0xdc)] {
        let marked = |packet: Packet| {
            let mut frame = from_client(packet);
            frame[15] = tos;
            seal(&mut frame);
            frame
        };
        let mut lab = Lab::serving();
        for frame in [
            marked(Packet::udp(at(CLIENT, 4000), at(VIP, 9), b"a closed port")),
            marked(Packet::udp(at(CLIENT, 4000), at(RS1, 9), b"through").ttl(1)),
        ] {
            assert_eq!(lab.arrive(VIP0, &frame)[0].bytes[15], expected, "{tos:#x}");
        }
        let ping = marked(Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping"));
        assert_eq!(lab.arrive(VIP0, &ping)[0].bytes[15], tos, "a reply has that of the request");
    }
}

#[test]
fn errors_come_from_the_address_that_was_asked_or_from_the_port_they_leave_on() {
    let mut lab = Lab::serving();
    let source = |lab: &mut Lab, port, frame: Vec<u8>| {
        let answer = lab.arrive(port, &frame).remove(0);
        assert_eq!(answer.port, port);
        *read(&answer.bytes).source.ip()
    };
    let closed = |from, to| Packet::udp(at(from, 4000), at(to, 9), b"?");
    assert_eq!(source(&mut lab, VIP0, from_client(closed(CLIENT, VIP))), VIP);
    assert_eq!(source(&mut lab, VIP0, from_client(closed(CLIENT, DIP))), DIP, "as a host: the address asked");
    assert_eq!(source(&mut lab, DIP0, from_rs1(closed(RS1, VIP))), VIP);
    assert_eq!(
        source(&mut lab, VIP0, from_client(closed(CLIENT, RS1).ttl(1))),
        VIP,
        "as a router: its port's"
    );
    assert_eq!(source(&mut lab, DIP0, from_rs1(closed(RS1, CLIENT).ttl(1))), DIP);
}

#[test]
fn a_datagram_that_a_host_discards_silently_is_not_answered() {
    let mut lab = Lab::serving();
    let good = from_client(Packet::udp(at(CLIENT, 4000), at(VIP, 9), b"question"));
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        frame
    };
    let cases = [
        ("a wrong checksum", changed(&|frame| frame[42] ^= 1)),
        ("a length beyond the packet", changed(&|frame| frame[39] += 1)),
        ("a length below the header's", changed(&|frame| frame[39] = 7)),
        ("no length", changed(&|frame| frame[38..40].fill(0))),
    ];
    for (what, frame) in cases {
        assert_eq!(lab.arrive(VIP0, &frame), [], "{what}");
    }
    assert_eq!(lab.dropped(DropReason::NoService), 4);
    assert_eq!(lab.arrive(VIP0, &good).len(), 1);
    let without = changed(&|frame| frame[40..42].fill(0));
    assert_eq!(lab.arrive(VIP0, &without).len(), 1, "no checksum is none that is wrong");
    let first = Packet {
        fragment: 0x2000,
        dont_fragment: false,
        ..Packet::udp(at(CLIENT, 4000), at(VIP, 9), &[7; 8])
    };
    assert_eq!(lab.arrive(VIP0, &from_client(first)).len(), 1, "the rest of a fragment is not seen");
    let mut unserved = from_client(Packet::tcp(at(CLIENT, 4000), at(VIP, 9), SYN));
    unserved[50] ^= 1;
    assert_eq!(lab.arrive(VIP0, &unserved), [], "a TCP segment likewise");
}

#[test]
fn an_echo_reply_has_all_that_the_request_had() {
    let mut lab = Lab::serving();
    for length in [0, 1, 7, 8, 56, 57, 1472] {
        let data: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let request = Packet::icmp(CLIENT, VIP, [8, 0], [0xab, 0xcd, 0x12, 0x34], &data);
        let answer = lab.arrive(VIP0, &from_client(request.clone())).remove(0);
        let seen = read(&answer.bytes);
        assert_eq!((*seen.source.ip(), *seen.destination.ip(), seen.ttl), (VIP, CLIENT, 64));
        assert_eq!((seen.from_mac, seen.to_mac, answer.port), (VIP_MAC, CLIENT_MAC, VIP0));
        assert_eq!(seen.payload[..2], [0, 0]);
        assert_eq!(seen.payload[4..], request.payload[4..], "{length} bytes of data");
    }
    let mut wrong = from_client(Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping"));
    wrong[42] ^= 1;
    assert_eq!(lab.arrive(VIP0, &wrong), []);
    assert_eq!(lab.dropped(DropReason::IcmpChecksum), 1);
}

#[test]
fn messages_that_are_unknown_or_obsolete_are_discarded_silently() {
    let mut lab = Lab::serving();
    let mut discarded = 0;
    for kind in (0..=255u8).filter(|kind| *kind != 8) {
        let message = Packet::icmp(CLIENT, VIP, [kind, 0], [0; 4], &[0; 12]);
        assert_eq!(lab.arrive(VIP0, &from_client(message)), [], "type {kind}");
        discarded += 1;
    }
    let counted: u64 = DropReason::ALL.iter().map(|reason| lab.dropped(*reason)).sum();
    assert_eq!(counted, discarded);
}

#[test]
fn source_quench_and_redirect_are_discarded_wherever_they_go() {
    let mut lab = Lab::serving();
    let question = Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?");
    let real = read(&lab.arrive(VIP0, &from_client(question.clone()))[0].bytes).destination;
    let as_the_real_saw = Packet { destination: real, ..question }.ttl(63).datagram();
    let own = Packet::udp(at(RS1, 4000), at(CLIENT, 9), b"the real's own").ttl(63).datagram();
    let reply = Packet::udp(at(VIP, 53), at(CLIENT, 5000), b"!").ttl(63).datagram();
    let router = Ipv4Addr::new(10, 0, 0, 1);
    let mut discarded = 0;
    for (kind, code) in [(4, 0), (5, 0), (5, 1), (5, 2), (5, 3)] {
        for (port, frame) in [
            (VIP0, from_client(Packet::icmp(ROUTER, VIP, [kind, code], [192, 168, 10, 2], &reply))),
            (DIP0, from_rs1(Packet::icmp(router, CLIENT, [kind, code], [10, 0, 0, 2], &as_the_real_saw))),
            (VIP0, from_client(Packet::icmp(ROUTER, RS1, [kind, code], [192, 168, 10, 2], &own))),
        ] {
            assert_eq!(lab.arrive(port, &frame), [], "type {kind}, code {code}");
            discarded += 1;
        }
    }
    assert_eq!(lab.dropped(DropReason::IcmpType), discarded);
}

over_ipv6! {
    whatever_keeps_a_packet_from_going_on_is_said_to_its_sender,
    a_reply_to_a_client_that_no_route_leads_to_is_told_to_the_real,
    no_error_is_sent_about_fragments_to_an_own_address,
    no_error_is_sent_to_a_group_of_stations,
    errors_come_from_the_address_that_was_asked_or_from_the_port_they_leave_on,
    an_echo_reply_has_all_that_the_request_had,
    messages_that_are_unknown_or_obsolete_are_discarded_silently,
}
