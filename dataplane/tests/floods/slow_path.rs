//! Floods of what the slow path judges: pings, errors, options, lengths, TTL and sources.

use super::*;

#[test]
fn pings() {
    let packet = |n: u32| {
        let ping = Packet::icmp(*made_up(n).ip(), VIP, [8, 0], n.to_be_bytes(), b"ping");
        in_vip(ping)
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    let (answers, suppressed) =
        (outcome.lab.counters().answers.get(), outcome.lab.counters().answers_suppressed.get());
    assert_eq!(answers + suppressed, ALL);
}

#[test]
fn icmp_errors_about_no_connection() {
    let packet = |n: u32| {
        let quoted = Packet::tcp(FLOODED, made_up(n), ACK).datagram();
        in_vip(Packet::icmp(*made_up(n).ip(), VIP, [3, 1], [0; 4], &quoted[..28]))
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::IcmpUnmatched, ALL)]);
}

#[test]
fn packets_with_options() {
    let floods: [fn(u32) -> Frames; 2] = [
        |n| in_vip(Packet { options: vec![1; 40], ..tcp_to_flooded(n, SYN) }),
        |n| in_vip(Packet { options: vec![1, 1, 1, 0], ..udp_to_flooded(n) }),
    ];
    for packet in floods {
        let mut outcome = play(Flood { packet, answers: echo });
        outcome.assert_unharmed();
        outcome.assert_dropped(&[]);
    }
}

#[test]
fn packets_with_options_that_are_not_let_through() {
    let packet = |n| in_vip(Packet { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..tcp_to_flooded(n, SYN) });
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::IpOptions, ALL)]);
}

/// Larger than any MTU: as segments that a device has merged, and what cannot be cut.
#[test]
fn oversized_packets() {
    let packet = |n: u32| {
        let packet =
            Packet { payload: vec![0; 1600], dont_fragment: n.is_multiple_of(2), ..udp_to_flooded(n) };
        in_vip(packet)
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    assert_eq!(outcome.lab.dropped(DropReason::TooBig), ALL / 2);
}

#[test]
fn packets_at_the_end_of_their_life() {
    let packet = |n| {
        let packet = if n % 2 == 0 { tcp_to_flooded(n, SYN) } else { udp_to_flooded(n) };
        in_vip(packet.ttl(1))
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::TtlExceeded, ALL)]);
}

/// Own addresses, loopback, multicast and others that no packet may come from.
#[test]
fn sources_that_no_packet_may_have() {
    let packet = |n: u32| {
        let sources = [VIP, DIP, Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 5)];
        let source = at(sources[n as usize % sources.len()], 1024 + n as u16 % 1000);
        in_vip(Packet::tcp(source, FLOODED, SYN))
    };
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::Martian, ALL)]);
}
