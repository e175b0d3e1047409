//! What a translator must keep of TCP, UDP and ICMP: RFC 768, RFC 9293, RFC 4787, RFC 5382, RFC 5508, RFC 7857 as far
//! as they concern one in front of servers. The table of clauses is docs/standards.md.

mod support;

use dataplane::connection::State;
use dataplane::names::drop_reason::DropReason;
use std::net::{Ipv4Addr, SocketAddrV4};
use support::packet::{ACK, FIN, Packet, RST, SYN, read, seal};
use support::*;

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

fn from_rs2(packet: Packet) -> Vec<u8> {
    packet.macs(RS2_MAC, DIP_MAC).frame()
}

/// The lab with a connection of TCP port 40000, and the real it goes to.
fn open() -> (Lab, SocketAddrV4) {
    let mut lab = Lab::serving();
    let syn = from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 80), SYN));
    let real = read(&lab.arrive(VIP0, &syn)[0].bytes).destination;
    assert_eq!(lab.arrive(DIP0, &from_rs2(Packet::tcp(real, at(CLIENT, 40000), SYN | ACK))).len(), 1);
    assert_eq!(lab.arrive(VIP0, &from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 80), ACK))).len(), 1);
    (lab, real)
}

fn state(lab: &mut Lab) -> State {
    lab.connections()[0].state
}

#[test]
fn a_segment_of_no_connection_is_reset_as_rfc_9293_says() {
    let mut lab = Lab::serving();
    for flags in 0..64u8 {
        for data in [0, 5] {
            let payload = vec![7; data];
            let segment = Packet { payload, ..Packet::tcp(at(CLIENT, 40000), at(VIP, 9), flags) };
            let sent = lab.arrive(VIP0, &from_client(segment.clone()));
            if flags & RST != 0 {
                assert_eq!(sent, [], "a reset is never answered");
                continue;
            }
            let seen = read(&sent[0].bytes);
            assert_eq!((seen.source, seen.destination), (segment.destination, segment.source));
            let length = data as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            let expected = if flags & ACK != 0 {
                (RST, segment.acknowledgement, 0)
            } else {
                (RST | ACK, 0, segment.sequence.wrapping_add(length))
            };
            assert_eq!((seen.flags, seen.sequence, seen.acknowledgement), expected, "flags {flags:#x}");
        }
    }
}

#[test]
fn a_reset_goes_back_in_the_class_of_its_cause() {
    for (tos, expected) in [(0, 0), (0x10, 0x10), (0xb8, 0xb8), (0xbb, 0xb8), (0x03, 0)] {
        let mut frame = from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 9), SYN));
        frame[15] = tos;
        seal(&mut frame);
        assert_eq!(Lab::serving().arrive(VIP0, &frame)[0].bytes[15], expected, "{tos:#x}");
    }
}

#[test]
fn no_sort_of_icmp_message_ends_or_changes_a_connection() {
    let (mut lab, real) = open();
    let before = lab.connections();
    let reply = Packet::tcp(real, at(CLIENT, 40000), ACK);
    let as_client_saw = Packet { source: at(VIP, 80), ..reply.clone() }.ttl(63).datagram();
    let request = Packet::tcp(at(CLIENT, 40000), real, ACK).ttl(63).datagram();
    for (kind, code) in
        [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (4, 0), (5, 1), (11, 0), (11, 1), (12, 0)]
    {
        let about_reply = Packet::icmp(CLIENT, VIP, [kind, code], [0; 4], &as_client_saw);
        let about_request = Packet::icmp(RS2, CLIENT, [kind, code], [0; 4], &request);
        lab.arrive(VIP0, &from_client(about_reply));
        lab.arrive(DIP0, &from_rs2(about_request));
        assert_eq!(lab.connections(), before, "type {kind}, code {code}");
    }
    assert_eq!(lab.arrive(DIP0, &from_rs2(reply)).len(), 1);
}

#[test]
fn type_code_and_what_follows_the_quoted_packet_are_left_as_they_are() {
    let (mut lab, real) = open();
    // With options in the quoted header, at least 128 bytes of it, and an extension behind (RFC 4884).
    let quoted = Packet {
        options: vec![148, 4, 0, 0],
        payload: vec![7; 200],
        ..Packet::tcp(at(CLIENT, 40000), real, ACK)
    };
    let quoted = quoted.ttl(63).datagram();
    let extension = [0x20, 0, 0xaa, 0xbb, 0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef];
    let data = [&quoted[..128], &extension].concat();
    for (kind, code) in [(3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)] {
        let router = Ipv4Addr::new(10, 0, 0, 1);
        let error = Packet::icmp(router, CLIENT, [kind, code], [0, 32, 5, 0xdc], &data);
        let seen = read(&lab.arrive(DIP0, &from_rs2(error))[0].bytes);
        assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT));
        assert_eq!(seen.payload[..2], [kind, code]);
        assert_eq!(seen.payload[4..8], [0, 32, 5, 0xdc]);
        let inner = &seen.payload[8..];
        assert_eq!((&inner[16..20], &inner[26..28]), (&VIP.octets()[..], &80u16.to_be_bytes()[..]));
        assert_eq!(inner[20..24], [148, 4, 0, 0]);
        assert_eq!(inner[128..], extension);
    }
}

#[test]
fn an_error_without_connection_or_with_a_wrong_checksum_goes_nowhere() {
    let (mut lab, real) = open();
    let other = Packet::tcp(at(VIP, 80), at(CLIENT, 40001), ACK).datagram();
    assert_eq!(lab.arrive(VIP0, &from_client(Packet::icmp(CLIENT, VIP, [3, 3], [0; 4], &other))), []);
    assert_eq!(lab.dropped(DropReason::IcmpUnmatched), 1);
    let quoted = Packet::tcp(at(CLIENT, 40000), real, ACK).datagram();
    let mut damaged = from_rs2(Packet::icmp(RS2, CLIENT, [3, 3], [0; 4], &quoted));
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(lab.arrive(DIP0, &damaged), []);
    assert_eq!(lab.dropped(DropReason::IcmpChecksum), 1);
}

#[test]
fn a_reset_is_translated_and_its_connection_stays_for_its_time() {
    for from_server in [false, true] {
        let (mut lab, real) = open();
        let sent = if from_server {
            lab.arrive(DIP0, &from_rs2(Packet::tcp(real, at(CLIENT, 40000), RST)))
        } else {
            lab.arrive(VIP0, &from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 80), RST)))
        };
        let seen = read(&sent[0].bytes);
        let source = if from_server { at(VIP, 80) } else { at(CLIENT, 40000) };
        assert_eq!((seen.flags, seen.source), (RST, source));
        assert_eq!(state(&mut lab), State::Close);
        // A reset that is lost behind natlb can be sent again.
        let again = from_rs2(Packet::tcp(real, at(CLIENT, 40000), RST));
        assert_eq!(lab.arrive(DIP0, &again).len(), 1);
    }
}

#[test]
fn a_computed_udp_checksum_of_zero_is_sent_as_all_ones() {
    let mut lab = Lab::serving();
    let mut seen_ones = 0;
    for number in 0..=u16::MAX {
        // Among all values of two bytes there is one for which the translated checksum comes to zero.
        let question = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &number.to_be_bytes());
        let out = lab.arrive(VIP0, &from_client(question)).remove(0).bytes;
        assert_ne!(out[40..42], [0, 0], "that would say that there is none");
        if out[40..42] == [0xff, 0xff] {
            seen_ones += 1;
            read(&out);
        }
    }
    assert_eq!(seen_ones, 1);
}

#[test]
fn client_ports_are_preserved_whatever_they_are() {
    let mut lab = Lab::serving();
    for port in [1, 53, 123, 1023, 1024, 5001, 65_535] {
        let seen =
            read(&lab.arrive(VIP0, &from_client(Packet::udp(at(CLIENT, port), at(VIP, 53), b"?")))[0].bytes);
        assert_eq!(seen.source, at(CLIENT, port));
    }
}

#[test]
fn both_directions_refresh_and_no_error_does() {
    let mut lab = Lab::serving();
    let question = from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"?"));
    let real = read(&lab.arrive(VIP0, &question)[0].bytes).destination;
    let answer = from_rs2(Packet::udp(real, at(CLIENT, 5000), b"!"));
    for _ in 0..4 {
        lab.leap(200);
        assert_eq!(lab.arrive(DIP0, &answer).len(), 1);
        lab.leap(200);
        assert_eq!(lab.arrive(VIP0, &question).len(), 1);
    }
    let quoted = Packet::udp(at(CLIENT, 5000), real, b"?").ttl(63).datagram();
    for _ in 0..3 {
        lab.leap(100);
        lab.arrive(DIP0, &from_rs2(Packet::icmp(RS2, CLIENT, [3, 3], [0; 4], &quoted)));
    }
    assert_eq!(lab.connections(), [], "three errors in 300 s keep nothing alive");
}

over_ipv6! {
    a_segment_of_no_connection_is_reset_as_rfc_9293_says,
    a_reset_goes_back_in_the_class_of_its_cause,
    an_error_without_connection_or_with_a_wrong_checksum_goes_nowhere,
    a_reset_is_translated_and_its_connection_stays_for_its_time,
    a_computed_udp_checksum_of_zero_is_sent_as_all_ones,
    client_ports_are_preserved_whatever_they_are,
    both_directions_refresh_and_no_error_does,
}
