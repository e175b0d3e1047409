//! What a host and a router must do with IPv4 packets: RFC 791, RFC 1122 §3.2.1 and §3.3, RFC 1812 §4.2 and §5,
//! RFC 2644, RFC 3021. The table of clauses is docs/standards.md.

mod support;

use dataplane::names::ids::InterfaceId;

use dataplane::names::drop_reason::DropReason;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Route;
use std::net::Ipv4Addr;
use support::packet::{ACK, Packet, RST, SYN, internet_checksum, read, seal};
use support::*;

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

fn from_rs1(packet: Packet) -> Vec<u8> {
    packet.macs(RS1_MAC, DIP_MAC).frame()
}

/// The lab with services, and a default route to the client's router.
fn lab() -> Lab {
    let mut lab = Lab::serving();
    let everywhere = Route {
        prefix: "0.0.0.0/0".parse().unwrap(),
        interface: VIP0,
        via: Some(std::net::IpAddr::V4(ROUTER)),
    };
    lab.description.routes.push(everywhere);
    lab.apply();
    lab
}

/// Nothing leaves, no neighbour is asked for, no connection is made, and the reason is counted once.
fn assert_discarded(lab: &mut Lab, port: InterfaceId, frame: &[u8], reason: DropReason, what: &str) {
    let before = lab.dropped(reason);
    assert_eq!(lab.arrive(port, frame), [], "{what}");
    assert_eq!(lab.dropped(reason), before + 1, "{what}");
    assert!(lab.control.neighbour_events.pop().is_err(), "{what}: nobody is asked for");
    assert_eq!(lab.worker.frames_held(), 0, "{what}");
    assert!(lab.connections().is_empty(), "{what}");
}

#[test]
fn martian_destinations_are_not_forwarded() {
    let mut lab = lab();
    for destination in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 254]] {
        let destination = at(destination.into(), 9);
        for packet in [
            Packet::udp(at(RS1, 4000), destination, b"?"),
            Packet::tcp(at(RS1, 4000), destination, SYN),
            Packet::icmp(RS1, *destination.ip(), [8, 0], [0; 4], b"?"),
            Packet { protocol: 47, payload: vec![0; 8], ..Packet::udp(at(RS1, 0), destination, b"") },
        ] {
            let what = format!("protocol {} to {destination}", packet.protocol);
            assert_discarded(&mut lab, DIP0, &from_rs1(packet.clone()), DropReason::Martian, &what);
            let from_outside = Packet { source: at(CLIENT, 4000), ..packet };
            assert_discarded(&mut lab, VIP0, &from_client(from_outside), DropReason::Martian, &what);
        }
    }
    let usual = from_rs1(Packet::udp(at(RS1, 4000), at(Ipv4Addr::new(203, 0, 113, 1), 9), b"?"));
    assert_eq!(lab.arrive(DIP0, &usual).len(), 1, "the default route leads elsewhere");
}

#[test]
fn martian_sources_are_neither_answered_nor_forwarded() {
    let mut lab = lab();
    let sources = [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]];
    let links = [[192, 168, 10, 255], [192, 168, 10, 0], [10, 0, 0, 255], [10, 0, 0, 0]];
    let own = [VIP.octets(), DIP.octets()];
    for source in sources.into_iter().chain(links).chain(own) {
        let source: Ipv4Addr = source.into();
        for packet in [
            Packet::udp(at(source, 4000), at(VIP, 53), b"a service"),
            Packet::udp(at(source, 4000), at(VIP, 9), b"a closed port"),
            Packet::tcp(at(source, 4000), at(VIP, 80), SYN),
            Packet::tcp(at(source, 4000), at(VIP, 9), SYN),
            Packet::icmp(source, VIP, [8, 0], [0; 4], b"ping"),
            Packet::udp(at(source, 4000), at(RS1, 9), b"through"),
        ] {
            let what = format!("from {source} to {}, protocol {}", packet.destination, packet.protocol);
            assert_discarded(&mut lab, VIP0, &from_client(packet), DropReason::Martian, &what);
        }
    }
}

#[test]
fn broadcasts_of_every_form_are_discarded_silently() {
    let mut lab = lab();
    let all =
        [[255; 4], [192, 168, 10, 255], [192, 168, 10, 0], [10, 0, 0, 255], [10, 0, 0, 0], [224, 0, 0, 1]];
    for destination in all {
        let destination = Ipv4Addr::from(destination);
        for mac in [VIP_MAC, Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
            for packet in [
                Packet::udp(at(CLIENT, 4000), at(destination, 53), b"?"),
                Packet::tcp(at(CLIENT, 4000), at(destination, 80), SYN),
                Packet::icmp(CLIENT, destination, [8, 0], [0; 4], b"ping"),
            ] {
                let what = format!("protocol {} to {destination}, {mac}", packet.protocol);
                let frame = packet.macs(CLIENT_MAC, mac).frame();
                assert_discarded(&mut lab, VIP0, &frame, DropReason::Broadcast, &what);
            }
        }
    }
}

#[test]
fn a_link_layer_broadcast_of_a_unicast_packet_is_discarded_silently() {
    let mut lab = lab();
    for mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([3, 0, 0, 0, 0, 1])] {
        for packet in [
            Packet::udp(at(CLIENT, 4000), at(VIP, 53), b"a service"),
            Packet::udp(at(CLIENT, 4000), at(VIP, 9), b"a closed port"),
            Packet::tcp(at(CLIENT, 4000), at(VIP, 80), SYN),
            Packet::tcp(at(CLIENT, 4000), at(VIP, 9), SYN),
            Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping"),
            Packet::udp(at(CLIENT, 4000), at(RS1, 9), b"through"),
            Packet::udp(at(CLIENT, 4000), at(RS1, 9), b"through").ttl(1),
        ] {
            let what = format!("protocol {} to {}, {mac}", packet.protocol, packet.destination);
            let frame = packet.macs(CLIENT_MAC, mac).frame();
            assert_discarded(&mut lab, VIP0, &frame, DropReason::Broadcast, &what);
        }
    }
}

#[test]
fn a_link_of_two_addresses_has_no_broadcast_address() {
    let mut lab = lab();
    lab.description.interfaces[DIP0.index()].addresses = vec!["10.0.0.8/31".parse().unwrap()];
    let upper = Ipv4Addr::new(10, 0, 0, 9);
    lab.apply();
    let through = from_client(Packet::udp(at(CLIENT, 4000), at(upper, 9), b"?"));
    lab.arrive(VIP0, &through);
    assert_eq!(lab.dropped(DropReason::Broadcast), 0);
    assert_eq!(lab.worker.frames_held(), 1, "it is asked for like any host");
    let lower = from_rs1(Packet::icmp(upper, DIP, [8, 0], [0; 4], b"ping"));
    assert_eq!(read(&lab.arrive(DIP0, &lower)[0].bytes).payload[0], 0, "the lowest address is a host's");
}

#[test]
fn no_time_to_live_is_too_short_to_be_received() {
    for ttl in [0, 1] {
        let mut lab = lab();
        let to_us = [
            (Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping"), 1, 0),
            (Packet::udp(at(CLIENT, 4000), at(VIP, 9), b"closed"), 1, 3),
            (Packet::tcp(at(CLIENT, 4000), at(VIP, 9), SYN), 6, 9),
            (
                Packet { protocol: 47, payload: vec![0; 8], ..Packet::udp(at(CLIENT, 0), at(VIP, 0), b"") },
                1,
                3,
            ),
        ];
        for (packet, protocol, first) in to_us {
            let out = lab.arrive(VIP0, &from_client(packet.ttl(ttl)));
            let seen = read(&out[0].bytes);
            assert_eq!((seen.protocol, seen.ttl), (protocol, 64), "the answer's own time to live");
            let found = if protocol == 6 { u8::from(seen.source.port() == 9) * 9 } else { seen.payload[0] };
            assert_eq!(found, first);
        }
        assert_eq!(lab.dropped(DropReason::TtlExceeded), 0);
    }
}

#[test]
fn a_time_to_live_that_runs_out_ends_the_way_of_whatever_is_forwarded() {
    for ttl in [0, 1, 2] {
        let mut lab = lab();
        let opened = from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?"));
        let real = read(&lab.arrive(VIP0, &opened)[0].bytes).destination;
        let through = [
            (VIP0, from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?").ttl(ttl))),
            (VIP0, from_client(Packet::udp(at(CLIENT, 5001), at(VIP, 53), b"?").ttl(ttl))),
            (DIP0, Packet::udp(real, at(CLIENT, 5000), b"!").ttl(ttl).macs(RS2_MAC, DIP_MAC).frame()),
            (DIP0, from_rs1(Packet::udp(at(RS1, 4000), at(CLIENT, 9), b"routed").ttl(ttl))),
            (DIP0, from_rs1(Packet::icmp(RS1, CLIENT, [8, 0], [0; 4], b"ping").ttl(ttl))),
        ];
        for (port, frame) in through {
            let sent = lab.arrive(port, &frame);
            let seen = read(&sent[0].bytes);
            if ttl == 2 {
                assert_ne!((sent[0].port, seen.ttl), (port, 2));
                assert_eq!(seen.ttl, 1, "and goes on with the last one");
            } else {
                assert_eq!(
                    (sent[0].port, &seen.payload[..2]),
                    (port, &[11, 0][..]),
                    "time exceeded in transit"
                );
            }
        }
    }
}

#[test]
fn type_of_service_and_reserved_bits_pass_unchanged() {
    let mut lab = lab();
    let opened = from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?"));
    let real = read(&lab.arrive(VIP0, &opened)[0].bytes).destination;
    let marked = |frame: &[u8], tos: u8, flags: u8| {
        let mut frame = frame.to_vec();
        frame[15] = tos;
        frame[20] = flags;
        seal(&mut frame);
        frame
    };
    let reply = Packet::udp(real, at(CLIENT, 5000), b"!").macs(RS2_MAC, DIP_MAC).frame();
    let routed = from_rs1(Packet::udp(at(RS1, 4000), at(CLIENT, 9), b"routed"));
    let with_options = Packet { options: vec![1; 4], ..Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?") };
    for (port, frame) in [(VIP0, opened), (DIP0, reply), (DIP0, routed), (VIP0, from_client(with_options))] {
        for tos in [0x01, 0x02, 0x03, 0x10, 0xb8, 0xff] {
            for flags in [0, 0x40, 0x80, 0xc0] {
                let sent = lab.arrive(port, &marked(&frame, tos, flags)).remove(0).bytes;
                assert_eq!((sent[15], sent[20]), (tos, flags));
                let header = 14 + usize::from(sent[14] & 15) * 4;
                assert_eq!(internet_checksum(&sent[14..header], 0), 0);
            }
        }
    }
}

#[test]
fn fragments_made_here_keep_type_of_service_and_the_reserved_bit_and_come_in_order() {
    let mut lab = lab();
    lab.description.interfaces[DIP0.index()].mtu = 700;
    lab.apply();
    let large = Packet { dont_fragment: false, ..Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[7; 1400]) };
    let mut frame = from_client(large);
    (frame[15], frame[20]) = (0xb9, 0x80);
    seal(&mut frame);
    let sent = lab.arrive(VIP0, &frame);
    assert_eq!(sent.len(), 3, "no more than needed: 1408 bytes in pieces of 680");
    let mut offset = 0;
    for (index, piece) in sent.iter().enumerate() {
        let bytes = &piece.bytes;
        let more = if index < 2 { 0x20 } else { 0 };
        assert_eq!((bytes[15], bytes[20] & 0xe0), (0xb9, 0x80 | more));
        assert_eq!(usize::from(u16::from_be_bytes([bytes[20] & 0x1f, bytes[21]])) * 8, offset);
        offset += usize::from(u16::from_be_bytes([bytes[16], bytes[17]])) - 20;
    }
}

#[test]
fn dont_fragment_is_never_cleared_and_no_id_is_changed() {
    let mut lab = lab();
    let opened = from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?"));
    let real = read(&lab.arrive(VIP0, &opened)[0].bytes).destination;
    for dont_fragment in [false, true] {
        let marked = |packet: Packet| Packet { dont_fragment, id: 0xbeef, ..packet };
        for (port, frame) in [
            (VIP0, from_client(marked(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?")))),
            (DIP0, marked(Packet::udp(real, at(CLIENT, 5000), b"!")).macs(RS2_MAC, DIP_MAC).frame()),
            (DIP0, from_rs1(marked(Packet::udp(at(RS1, 4000), at(CLIENT, 9), b"routed")))),
        ] {
            let sent = lab.arrive(port, &frame);
            assert_eq!(sent[0].bytes[18..22], [0xbe, 0xef, u8::from(dont_fragment) << 6, 0]);
        }
    }
}

/// RFC 1122 §3.3.4.2: natlb is a host of the weak model (an address is ours whichever port it is asked on), but
/// answers ARP for it on its own port alone.
#[test]
fn an_own_address_is_ours_on_every_port() {
    let mut lab = lab();
    let ping = from_client(Packet::icmp(CLIENT, DIP, [8, 0], [0; 4], b"ping"));
    assert_eq!(*read(&lab.arrive(VIP0, &ping)[0].bytes).source.ip(), DIP);
    let closed = from_rs1(Packet::tcp(at(RS1, 4000), at(VIP, 9), SYN));
    let seen = read(&lab.arrive(DIP0, &closed)[0].bytes);
    assert_eq!((seen.source, seen.flags), (at(VIP, 9), RST | ACK));
}
