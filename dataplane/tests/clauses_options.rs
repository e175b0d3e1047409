//! Which IPv4 options are dropped and which are passed on: RFC 7126. The table of clauses is docs/standards.md.

mod support;

use dataplane::names::ids::InterfaceId;

use dataplane::names::drop_reason::DropReason;
use dataplane::snapshot::IpOptions;
use std::net::SocketAddrV4;
use support::packet::{ACK, Packet, SYN, read};
use support::*;

/// Each option with the least that makes it well-formed.
const DROPPED: [&[u8]; 18] = [
    &[7, 7, 4, 0, 0, 0, 0, 0],
    &[11, 4, 0, 0],
    &[12, 4, 0, 0],
    &[30, 4, 0, 0],
    &[68, 8, 5, 0, 0, 0, 0, 0],
    &[82, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[94, 4, 0, 0],
    &[131, 7, 4, 10, 0, 0, 7, 0],
    &[136, 4, 0, 0],
    &[137, 7, 4, 10, 0, 0, 7, 0],
    &[142, 4, 0, 0],
    &[145, 4, 0, 0],
    &[147, 4, 0, 0],
    &[149, 4, 0, 0],
    &[151, 4, 0, 0],
    &[152, 4, 0, 0],
    &[158, 4, 0, 0],
    &[222, 4, 0, 0],
];
const PASSED: [&[u8]; 12] = [
    &[0, 0, 0, 0],
    &[1, 1, 1, 1],
    &[1, 1, 1, 0],
    &[130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0],
    &[133, 3, 1, 0],
    &[134, 6, 0, 0, 0, 1, 0, 0],
    &[148, 4, 0, 0],
    &[25, 8, 0, 0, 0, 0, 0, 0],
    &[10, 4, 0, 0],
    &[15, 4, 0, 0],
    &[205, 4, 0, 0],
    // What stands behind the end is padding.
    &[0, 131, 0, 0],
];

/// A packet of each way through natlb, to have its options judged: the first of a connection, more of it, its replies,
/// what is routed, ping.
fn packets(real: SocketAddrV4) -> Vec<(InterfaceId, Packet)> {
    let from_client = |packet: Packet| (VIP0, packet.macs(CLIENT_MAC, VIP_MAC));
    let from_real = |packet: Packet| (DIP0, packet.macs(RS2_MAC, DIP_MAC));
    vec![
        from_client(Packet::tcp(at(CLIENT, 40001), at(VIP, 80), SYN)),
        from_client(Packet::udp(at(CLIENT, 5001), at(VIP, 53), b"another")),
        from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"question")),
        from_real(Packet::udp(real, at(CLIENT, 5000), b"answer")),
        from_real(Packet::tcp(at(RS2, 4000), at(CLIENT, 80), ACK)),
        from_real(Packet::icmp(RS2, CLIENT, [8, 0], [0; 4], b"ping")),
        from_client(Packet::icmp(CLIENT, VIP, [8, 0], [0; 4], b"ping")),
    ]
}

/// The lab with a connection of UDP port 5000 to the real that is returned.
fn opened() -> (Lab, SocketAddrV4) {
    let mut lab = Lab::serving();
    let question = Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"question").macs(CLIENT_MAC, VIP_MAC);
    let real = read(&lab.arrive(VIP0, &question.frame())[0].bytes).destination;
    (lab, real)
}

fn is_echo_to_us(packet: &Packet) -> bool {
    packet.protocol == 1 && *packet.destination.ip() == VIP
}

#[test]
fn what_rfc_7126_advises_to_drop_is_dropped_on_every_way_and_without_a_word() {
    for options in DROPPED {
        let (mut lab, real) = opened();
        let connections = lab.connections().len();
        for (index, (port, packet)) in packets(real).into_iter().enumerate() {
            // Alone, and behind one that is passed on.
            for options in [options.to_vec(), [&[148, 4, 0, 0], options].concat()] {
                let packet = Packet { options, ..packet.clone() };
                assert_eq!(lab.arrive(port, &packet.frame()), [], "{index}: {:?}", packet.options);
            }
        }
        assert_eq!(lab.dropped(DropReason::IpOptions), 2 * packets(real).len() as u64);
        assert_eq!(lab.connections().len(), connections, "none is made");
    }
}

#[test]
fn what_rfc_7126_advises_to_ignore_is_passed_on_unchanged() {
    for options in PASSED {
        let (mut lab, real) = opened();
        for (index, (port, packet)) in packets(real).into_iter().enumerate() {
            let packet = Packet { options: options.to_vec(), ..packet };
            let sent = lab.arrive(port, &packet.frame());
            assert_eq!(sent.len(), 1, "{index}: {options:?}");
            if is_echo_to_us(&packet) {
                assert_eq!(sent[0].bytes[14], 0x45, "a reply has none");
            } else {
                assert_eq!(sent[0].bytes[34..34 + options.len()], *options, "{index}");
            }
            read(&sent[0].bytes);
        }
        assert_eq!(lab.dropped(DropReason::IpOptions), 0);
    }
}

#[test]
fn a_malformed_option_is_told_with_its_place() {
    for (options, pointer) in
        [(&[148, 0, 0, 0][..], 20), (&[1, 1, 7, 3], 22), (&[130, 4, 0, 0, 1, 148, 4, 0], 25)]
    {
        let (mut lab, real) = opened();
        for (index, (port, packet)) in packets(real).into_iter().enumerate() {
            let packet = Packet { options: options.to_vec(), ..packet };
            let frame = packet.frame();
            let [answer] = &lab.arrive(port, &frame)[..] else { panic!("{index}: one answer") };
            let seen = read(&answer.bytes);
            assert_eq!((answer.port, *seen.destination.ip()), (port, *packet.source.ip()));
            assert_eq!(*seen.source.ip(), if port == VIP0 { VIP } else { DIP });
            assert_eq!((&seen.payload[..2], seen.payload[4]), (&[12, 0][..], pointer), "parameter problem");
            assert_eq!(seen.payload[8..], frame[14..], "the header as it came");
        }
        assert_eq!(lab.dropped(DropReason::Malformed), packets(real).len() as u64);
    }
}

#[test]
fn no_parameter_problem_is_told_about_an_error_or_a_later_fragment() {
    let options = vec![148, 0, 0, 0];
    let mut lab = Lab::serving();
    let error = Packet::icmp(CLIENT, VIP, [3, 3], [0; 4], &[0; 28]);
    let later =
        Packet { fragment: 8, dont_fragment: false, ..Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[7; 64]) };
    for packet in [error, later] {
        let packet = Packet { options: options.clone(), ..packet }.macs(CLIENT_MAC, VIP_MAC);
        assert_eq!(lab.arrive(VIP0, &packet.frame()), []);
    }
    assert_eq!(lab.dropped(DropReason::Malformed), 2);
}

#[test]
fn the_filter_can_be_switched_off() {
    for options in DROPPED.into_iter().chain(PASSED).chain([&[148, 0, 0, 0][..], &[7, 40, 4, 0]]) {
        let (mut lab, real) = opened();
        lab.description.ip_options = IpOptions::Pass;
        lab.apply();
        for (index, (port, packet)) in packets(real).into_iter().enumerate() {
            let packet = Packet { options: options.to_vec(), ..packet };
            let sent = lab.arrive(port, &packet.frame());
            assert_eq!(sent.len(), 1, "{index}: {options:?}");
            if !is_echo_to_us(&packet) {
                assert_eq!(sent[0].bytes[34..34 + options.len()], *options, "{index}");
            }
        }
    }
}
