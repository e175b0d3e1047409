//! IPv4 fragments, followed through the translation.

mod support;

use dataplane::fragments::{HELD, PER_DATAGRAM};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use std::net::Ipv4Addr;
use support::packet::{ACK, Packet, SYN, read, reassemble, seal};
use support::*;

const MTU: usize = 1500;

fn from_client(packet: Packet) -> Packet {
    Packet { dont_fragment: false, ..packet.macs(CLIENT_MAC, VIP_MAC) }
}

fn from_real(packet: Packet) -> Packet {
    let mac = if *packet.source.ip() == RS1 { RS1_MAC } else { RS2_MAC };
    Packet { dont_fragment: false, ..packet.macs(mac, DIP_MAC) }
}

/// A question of 4,000 bytes, none like the next.
fn question(port: u16, id: u16) -> Packet {
    let text: Vec<u8> = (0..4000u32).map(|n| (n * 31 + u32::from(id)) as u8).collect();
    from_client(Packet { id, ..Packet::udp(at(CLIENT, port), at(VIP, 53), &text) })
}

fn arrive_all(lab: &mut Lab, port: InterfaceId, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let sent = frames.iter().flat_map(|frame| lab.arrive(port, frame));
    sent.map(|sent| sent.bytes).collect()
}

fn assert_nothing_held(lab: &mut Lab) {
    assert_eq!((lab.worker.frames_held(), lab.worker.io().live_frames()), (0, 0));
}

fn total_drops(lab: &Lab) -> u64 {
    DropReason::ALL.iter().map(|reason| lab.dropped(*reason)).sum()
}

#[test]
fn a_datagram_in_any_order_leaves_whole_in_both_directions() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for udp_checksum in [true, false] {
            let mut lab = Lab::serving();
            let packet = Packet { udp_checksum, ..question(5000, 7) };
            let fragments = packet.fragments(MTU);
            let shuffled = order.map(|index| fragments[index].clone());
            let sent = arrive_all(&mut lab, VIP0, &shuffled);
            assert_eq!(sent.len(), 3, "{order:?}");
            assert_eq!(sent[0][20..22], [0x20, 0], "the first leaves first");
            let seen = read(&reassemble(&sent));
            assert_eq!(seen.source, packet.source, "{order:?}");
            assert_eq!((seen.destination.port(), seen.ttl), (5353, 63));
            assert_eq!(seen.payload, packet.payload);
            assert_eq!((seen.from_mac, lab.connections().len()), (DIP_MAC, 1));

            let reply = Packet::udp(seen.destination, packet.source, &packet.payload);
            let reply = from_real(Packet { udp_checksum, id: 9, ..reply });
            let fragments = reply.fragments(MTU);
            let shuffled = order.map(|index| fragments[index].clone());
            let sent = arrive_all(&mut lab, DIP0, &shuffled);
            let back = read(&reassemble(&sent));
            assert_eq!((back.source, back.destination), (at(VIP, 53), packet.source), "{order:?}");
            assert_eq!((back.to_mac, back.ttl), (CLIENT_MAC, 63));
            assert_eq!(back.payload, packet.payload);
            assert_nothing_held(&mut lab);
            assert_eq!(total_drops(&lab), 0);

            let real = lab.connections()[0].real;
            let counters = lab.counters().real(real);
            assert_eq!((counters.in_packets.get(), counters.out_packets.get()), (3, 3));
            assert_eq!(counters.in_bytes.get(), 4000 + 8 + 3 * (20 + support::family::more_of_fragment()));
        }
    }
}

#[test]
fn datagrams_that_come_interleaved_keep_to_their_connections() {
    let mut lab = Lab::serving();
    // The same id from one client to two services, and from two clients.
    lab.configure(&[
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] },
        Configured { key: udp_service(at(VIP, 54)), reals: vec![(at(RS2, 5454), 1)] },
    ]);
    let other = Packet { destination: at(VIP, 54), ..question(5000, 8) };
    let far = Packet { source: at(FAR_CLIENT, 5000), ..question(5000, 7) };
    let packets = [question(5000, 7), other, far];
    let mut sent = Vec::new();
    for index in [2, 0, 1] {
        for packet in &packets {
            sent.extend(arrive_all(&mut lab, VIP0, &packet.fragments(MTU)[index..=index]));
        }
    }
    assert_eq!(sent.len(), 9);
    for (packet, server) in packets.iter().zip([at(RS1, 5353), at(RS2, 5454), at(RS1, 5353)]) {
        let is_its = |frame: &&Vec<u8>| {
            frame[18..20] == packet.id.to_be_bytes() && frame[26..30] == packet.source.ip().octets()
        };
        let seen = read(&reassemble(&sent.iter().filter(is_its).cloned().collect::<Vec<_>>()));
        assert_eq!((seen.destination, seen.payload), (server, packet.payload.clone()));
    }
    assert_nothing_held(&mut lab);
}

#[test]
fn a_tcp_segment_in_fragments_is_a_connections_packet() {
    let mut lab = Lab::serving();
    let syn = from_client(Packet::tcp(at(CLIENT, 40000), at(VIP, 80), SYN));
    let out = lab.arrive(VIP0, &syn.frame());
    let server = read(&out[0].bytes).destination;
    let data = Packet { flags: ACK, payload: vec![7; 3000], ..syn };
    let seen = read(&reassemble(&arrive_all(&mut lab, VIP0, &data.fragments(576))));
    assert_eq!((seen.destination, seen.payload), (server, data.payload));
    let reply = from_real(Packet { payload: vec![8; 3000], ..Packet::tcp(server, at(CLIENT, 40000), ACK) });
    let mut fragments = reply.fragments(576);
    fragments.reverse();
    let seen = read(&reassemble(&arrive_all(&mut lab, DIP0, &fragments)));
    assert_eq!((seen.source, seen.payload), (at(VIP, 80), reply.payload));
    assert_nothing_held(&mut lab);
}

#[test]
fn what_nobody_sends_in_good_faith_is_dropped_under_its_reason() {
    let udp = question(5000, 7);
    let tcp =
        from_client(Packet { payload: vec![7; 80], ..Packet::tcp(at(CLIENT, 40000), at(VIP, 80), SYN) });
    /// A fragment of `packet`: the flags and offset, and the length of its payload.
    fn piece(packet: &Packet, word: u16, length: usize) -> Vec<u8> {
        let mut frame = packet.frame();
        frame.truncate(34);
        frame.resize(34 + length, 7);
        frame[16..18].copy_from_slice(&(20 + length as u16).to_be_bytes());
        frame[20..22].copy_from_slice(&word.to_be_bytes());
        // Ports where a first fragment has them.
        if length >= 4 && word & 0x1fff == 0 {
            frame[34..36].copy_from_slice(&packet.source.port().to_be_bytes());
            frame[36..38].copy_from_slice(&packet.destination.port().to_be_bytes());
        }
        seal(&mut frame);
        frame
    }
    const MORE: u16 = 0x2000;
    let first = piece(&udp, MORE, 64);
    let cases: Vec<(&str, DropReason, Vec<Vec<u8>>, usize)> = vec![
        ("UDP's header is cut", DropReason::FragmentMalformed, vec![piece(&udp, MORE, 0)], 0),
        ("TCP's header is cut (RFC 1858)", DropReason::FragmentMalformed, vec![piece(&tcp, MORE, 16)], 0),
        ("TCP's flags again (RFC 3128)", DropReason::FragmentMalformed, vec![piece(&tcp, 1, 16)], 0),
        ("an odd length", DropReason::FragmentMalformed, vec![piece(&udp, MORE, 63)], 0),
        ("an empty one", DropReason::FragmentMalformed, vec![piece(&udp, 8, 0)], 0),
        ("the ping of death", DropReason::FragmentMalformed, vec![piece(&udp, 0x1fff, 64)], 0),
        ("the first twice", DropReason::FragmentOverlap, vec![first.clone(), first.clone()], 1),
        ("an overlap (teardrop)", DropReason::FragmentOverlap, vec![first.clone(), piece(&udp, 7, 64)], 1),
        (
            "after an overlap nothing passes (RFC 5722)",
            DropReason::FragmentRefused,
            vec![first.clone(), piece(&udp, 7, 64), piece(&udp, 8, 64)],
            1,
        ),
        (
            "beyond the last",
            DropReason::FragmentOverlap,
            vec![first.clone(), piece(&udp, 10, 64), piece(&udp, 18, 64)],
            2,
        ),
    ];
    for (what, reason, frames, passed) in cases {
        let mut lab = Lab::serving();
        assert_eq!(arrive_all(&mut lab, VIP0, &frames).len(), passed, "{what}");
        assert_eq!(lab.dropped(reason), 1, "{what}");
        assert_nothing_held(&mut lab);
    }
}

#[test]
fn what_follows_a_first_that_was_refused_is_dropped() {
    let no_service = Packet { destination: at(VIP, 9), ..question(5000, 7) };
    let no_connection =
        from_real(Packet { payload: vec![7; 4000], ..Packet::tcp(at(RS1, 80), at(CLIENT, 6000), ACK) });
    let expiring = question(5000, 7).ttl(1);
    for (packet, port, reason, answers) in [
        (no_service, VIP0, DropReason::NoService, 1),
        (no_connection, DIP0, DropReason::RealWithoutConnection, 0),
        (expiring, VIP0, DropReason::TtlExceeded, 1),
    ] {
        for order in [[0, 1, 2], [1, 0, 2]] {
            let mut lab = Lab::serving();
            let fragments = packet.fragments(MTU);
            let sent = arrive_all(&mut lab, port, &order.map(|index| fragments[index].clone()));
            assert_eq!(sent.len(), answers, "{reason:?}: one ICMP error at most");
            assert_eq!(lab.dropped(reason), 1);
            assert_eq!(lab.dropped(DropReason::FragmentRefused), 2, "{reason:?} {order:?}");
            assert_nothing_held(&mut lab);
        }
    }
}

#[test]
fn early_ones_wait_within_bounds_and_not_for_ever() {
    let mut lab = Lab::serving();
    let fragments = question(5000, 7).fragments(MTU);
    assert_eq!(arrive_all(&mut lab, VIP0, &fragments[1..]), [] as [Vec<u8>; 0]);
    assert_eq!(lab.worker.frames_held(), 2);
    lab.pass(2);
    assert_eq!(lab.dropped(DropReason::FragmentExpired), 2);
    assert_nothing_held(&mut lab);
    assert_eq!(lab.arrive(VIP0, &fragments[0]).len(), 1, "the first is nobody's to wait for");

    // One datagram's share, then all there is room for.
    for _ in 0..PER_DATAGRAM + 5 {
        lab.arrive(VIP0, &question(5000, 8).fragments(MTU)[1]);
    }
    assert_eq!(lab.worker.frames_held(), PER_DATAGRAM);
    assert_eq!(lab.dropped(DropReason::FragmentQueueFull), 5);
    for id in 100..100 + HELD as u16 {
        lab.arrive(VIP0, &question(5000, id).fragments(MTU)[1]);
    }
    assert_eq!(lab.worker.frames_held(), HELD);
    assert_eq!(lab.dropped(DropReason::FragmentQueueFull), 5 + PER_DATAGRAM as u64);
    lab.pass(4); // some each turn
    assert_eq!(lab.dropped(DropReason::FragmentExpired), 2 + HELD as u64);
    assert_nothing_held(&mut lab);
}

#[test]
fn a_flood_of_fragments_exhausts_nothing() {
    let mut lab = Lab::serving();
    let plain = from_client(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"question"));
    let server = read(&lab.arrive(VIP0, &plain.frame())[0].bytes).destination;
    lab.arrive(DIP0, &from_real(Packet::udp(server, plain.source, b"answer")).frame());
    let template = question(0, 0).fragments(MTU);
    for n in 0..100_000u32 {
        // First fragments from ever new clients, that never complete; and later ones without a first.
        let mut frame = template[n as usize % 2].clone();
        frame[26..30].copy_from_slice(&(0x0b00_0000 + n).to_be_bytes());
        seal(&mut frame);
        lab.queue(VIP0, &frame);
        if n % 16 == 0 {
            assert!(lab.worker.frames_held() <= HELD + 32);
            let sent = lab.arrive(VIP0, &plain.frame());
            let established = |sent: &&Sent| sent.bytes[26..30] == CLIENT.octets();
            let mine = sent.iter().find(established).expect("the established connection is served");
            assert_eq!(read(&mine.bytes).destination, server);
        }
    }
    while !lab.turn().is_empty() {}
    let whole = question(6000, 1).fragments(MTU);
    let sent = arrive_all(&mut lab, VIP0, &[whole[2].clone(), whole[1].clone(), whole[0].clone()]);
    assert_eq!(read(&reassemble(&sent)).payload.len(), 4000, "and a datagram in good faith still passes");
    lab.pass(4);
    assert_nothing_held(&mut lab);
}

#[test]
fn all_wait_for_a_next_hop_and_leave_in_order() {
    let mut lab = Lab::serving();
    let stranger = Ipv4Addr::new(192, 168, 10, 77);
    let packet = Packet { source: at(stranger, 5000), ..question(5000, 7) };
    let server = read(&reassemble(&arrive_all(&mut lab, VIP0, &packet.fragments(MTU)))).destination;
    let reply = from_real(Packet::udp(server, packet.source, &packet.payload));
    assert_eq!(arrive_all(&mut lab, DIP0, &reply.fragments(MTU)), [] as [Vec<u8>; 0]);
    lab.pass(2);
    assert_eq!(lab.worker.frames_held(), 3, "they wait for the hop, as the first does, not for the first");
    let sent =
        lab.reachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(stranger) }, Mac([2; 6]));
    let offsets: Vec<_> = sent.iter().map(|sent| sent.bytes[20..22].to_vec()).collect();
    assert_eq!(offsets, [[0x20, 0], [0x20, 185], [1, 114]]);
    let frames: Vec<_> = sent.into_iter().map(|sent| sent.bytes).collect();
    assert_eq!(read(&reassemble(&frames)).source, at(VIP, 53));
    assert_nothing_held(&mut lab);
    assert_eq!(total_drops(&lab), 0);
}

#[test]
fn fragments_of_no_service_are_routed() {
    let mut lab = Lab::serving();
    // Not from a real: no need to know what it is a part of.
    let direct = Packet { destination: at(RS1, 9), ..question(5000, 7) };
    let late = lab.arrive(VIP0, &direct.fragments(MTU)[1]);
    assert_eq!((late.len(), late[0].bytes[22]), (1, 63));
    assert_eq!(
        read(&reassemble(&arrive_all(&mut lab, VIP0, &direct.fragments(MTU)))).destination,
        at(RS1, 9)
    );

    // From a real: not before the first says that it is no reply.
    let other = from_real(Packet::udp(at(RS1, 9), at(CLIENT, 6000), &[7; 4000]));
    let mut fragments = other.fragments(MTU);
    fragments.reverse();
    assert_eq!(lab.arrive(DIP0, &fragments[0]), []);
    let seen =
        read(&reassemble(&arrive_all(&mut lab, DIP0, &fragments[1..]).into_iter().collect::<Vec<_>>()));
    assert_eq!((seen.source, seen.ttl), (at(RS1, 9), 63));
    assert_eq!(lab.counters().routed.get(), 7);
    assert_nothing_held(&mut lab);
}

#[test]
fn a_connection_that_goes_takes_the_rest_of_its_datagram_along() {
    let mut lab = Lab::serving();
    let fragments = question(5000, 7).fragments(MTU);
    assert_eq!(lab.arrive(VIP0, &fragments[0]).len(), 1);
    lab.configure(&[]);
    assert_eq!(lab.arrive(VIP0, &fragments[1]), []);
    assert_eq!(lab.dropped(DropReason::RealRemoved), 1);
    assert_eq!(lab.arrive(VIP0, &fragments[2]), []);
    assert_eq!(lab.dropped(DropReason::FragmentRefused), 1);
}

#[test]
fn fragments_of_icmp_are_not_followed() {
    let mut lab = Lab::serving();
    let through = from_client(Packet::icmp(CLIENT, RS1, [8, 0], [0; 4], &[7; 2000]));
    let sent = arrive_all(&mut lab, VIP0, &through.fragments(MTU));
    assert_eq!(read(&reassemble(&sent)).destination, at(RS1, 0));
    let error = from_real(Packet::icmp(RS1, CLIENT, [3, 3], [0; 4], &[7; 2000]));
    assert_eq!(lab.arrive(DIP0, &error.fragments(MTU)[0]), [], "it might be about a connection");
    assert_eq!(lab.dropped(DropReason::Fragment), 1);
    assert_nothing_held(&mut lab);
}

#[test]
fn icmp_errors_about_a_first_fragment_are_translated() {
    let mut lab = Lab::serving();
    let packet = question(5000, 7);
    let sent = arrive_all(&mut lab, VIP0, &packet.fragments(MTU));
    let server = read(&reassemble(&sent)).destination;
    // The real did not get them all (RFC 792: it quotes the first).
    let timeout = from_real(Packet::icmp(*server.ip(), CLIENT, [11, 1], [0; 4], &sent[0][14..14 + 28]));
    let seen = read(&lab.arrive(DIP0, &timeout.frame())[0].bytes);
    assert_eq!((*seen.source.ip(), *seen.destination.ip()), (VIP, CLIENT));
    let mut sent_by_client = packet.fragments(MTU)[0].clone();
    sent_by_client[22] -= 1;
    seal(&mut sent_by_client);
    assert_eq!(seen.payload[8..], sent_by_client[14..14 + 28], "the client's own, TTL less one");

    // About a later one: there are no ports to tell whose it is.
    let later = from_real(Packet::icmp(*server.ip(), CLIENT, [11, 1], [0; 4], &sent[1][14..14 + 28]));
    assert_eq!(lab.arrive(DIP0, &later.frame()), []);
    assert_eq!(lab.dropped(DropReason::IcmpUnmatched), 1);

    let reply = from_real(Packet::udp(server, packet.source, &packet.payload));
    let sent = arrive_all(&mut lab, DIP0, &reply.fragments(MTU));
    let timeout = from_client(Packet::icmp(CLIENT, VIP, [11, 1], [0; 4], &sent[0][14..14 + 28]));
    let seen = read(&lab.arrive(VIP0, &timeout.frame())[0].bytes);
    assert_eq!(*seen.destination.ip(), *server.ip());
    let mut sent_by_real = reply.fragments(MTU)[0].clone();
    sent_by_real[22] -= 1;
    seal(&mut sent_by_real);
    assert_eq!(seen.payload[8..], sent_by_real[14..14 + 28]);
    let later = from_client(Packet::icmp(CLIENT, VIP, [11, 1], [0; 4], &sent[1][14..14 + 28]));
    assert_eq!(lab.arrive(VIP0, &later.frame()), []);
    assert_eq!(lab.dropped(DropReason::IcmpUnmatched), 2);
}

over_ipv6! {
    a_datagram_in_any_order_leaves_whole_in_both_directions,
    datagrams_that_come_interleaved_keep_to_their_connections,
    a_tcp_segment_in_fragments_is_a_connections_packet,
    what_follows_a_first_that_was_refused_is_dropped,
    early_ones_wait_within_bounds_and_not_for_ever,
    a_connection_that_goes_takes_the_rest_of_its_datagram_along,
}
