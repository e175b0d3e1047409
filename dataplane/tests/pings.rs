//! Pings longer than the MTU: put together as far as it takes to know that they are whole, and answered in fragments
//! (RFC 1122 §3.2.2.6, §3.3.2).

mod support;

use dataplane::fragments::{ALL_PIECES, GATHERED, PIECES};
use dataplane::names::drop_reason::DropReason;
use std::net::Ipv4Addr;
use support::packet::{Packet, read, reassemble};
use support::*;

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 / 3) as u8).collect()
}

fn ping(source: Ipv4Addr, id: u16, length: usize) -> Packet {
    let packet = Packet::icmp(source, VIP, [8, 0], [0x12, 0x34, 0, 1], &data(length));
    Packet { id, dont_fragment: false, ..packet }.macs(CLIENT_MAC, VIP_MAC)
}

/// What the fragments that left are, put together: the answer to such a ping.
fn assert_answer(left: &[Sent], length: usize) {
    assert!(left.iter().all(|sent| sent.port == VIP0 && sent.bytes.len() <= 1514));
    let frames: Vec<_> = left.iter().map(|sent| sent.bytes.clone()).collect();
    let seen = read(&reassemble(&frames));
    assert_eq!((*seen.source.ip(), *seen.destination.ip(), seen.ttl), (VIP, CLIENT, 64));
    assert_eq!((seen.from_mac, seen.to_mac), (VIP_MAC, CLIENT_MAC));
    assert_eq!(seen.payload[..2], [0, 0], "echo reply");
    assert_eq!(seen.payload[4..8], [0x12, 0x34, 0, 1]);
    assert!(seen.payload[8..] == data(length)[..]);
}

#[test]
fn a_ping_in_fragments_is_answered_in_any_order() {
    let mut lab = Lab::serving();
    for (id, (length, mtu)) in
        [(1473, 1500), (2000, 1500), (2000, 576), (1473, 1492), (10_000, 1500), (65_507, 1500), (1, 28)]
            .into_iter()
            .enumerate()
    {
        for turned in [false, true] {
            let mut fragments = ping(CLIENT, id as u16, length).fragments(mtu);
            if turned {
                fragments.reverse();
            }
            let last = fragments.pop().unwrap();
            for fragment in fragments {
                assert_eq!(lab.arrive(VIP0, &fragment), []);
            }
            let held = lab.worker.frames_held();
            assert!(held > 0);
            let left = lab.arrive(VIP0, &last);
            assert_eq!((left.len(), lab.worker.frames_held()), (held + 1, 0));
            assert_answer(&left, length);
        }
    }
    assert_eq!(DropReason::ALL.iter().map(|reason| lab.dropped(*reason)).sum::<u64>(), 0);
}

#[test]
fn with_options_and_trailers_too() {
    let mut lab = Lab::serving();
    let packet = Packet { options: vec![1, 1, 1, 0], ..ping(CLIENT, 1, 2000) };
    let left: Vec<_> = packet
        .fragments(1500)
        .iter()
        .flat_map(|fragment| lab.arrive(VIP0, &[&fragment[..], &[0xee; 4]].concat()))
        .collect();
    assert_eq!(left.len(), 2);
    assert_answer(&left, 2000);
}

/// A host must answer one that came whole, too, where the answer needs fragments: some devices put them together.
#[test]
fn one_that_is_longer_than_the_mtu_is_answered_in_fragments() {
    let mut lab = Lab::serving();
    let left = lab.arrive(VIP0, &ping(CLIENT, 1, 1900).frame());
    assert_eq!(left.len(), 2);
    assert_answer(&left, 1900);
    lab.description.interfaces[0].mtu = 576;
    lab.apply();
    let left: Vec<_> = ping(CLIENT, 2, 3000)
        .fragments(1500)
        .iter()
        .flat_map(|fragment| lab.arrive(VIP0, fragment))
        .collect();
    assert!(left.len() > 5 && left.iter().all(|sent| sent.bytes.len() <= 590));
    assert_answer(&left, 3000);
}

#[test]
fn what_is_no_whole_ping_is_not_answered() {
    let cut = |packet: &Packet| packet.fragments(1500);
    let ping = |id| ping(CLIENT, id, 4000);
    let mut lab = Lab::serving();

    let mut wrong = cut(&ping(1));
    wrong[1][100] ^= 1;
    wrong.iter().for_each(|fragment| assert_eq!(lab.arrive(VIP0, fragment), []));
    assert_eq!(lab.dropped(DropReason::IcmpChecksum), 3);

    // Other messages, first and last fragment first.
    for turned in [false, true] {
        let timestamp = Packet::icmp(CLIENT, VIP, [13, 0], [0, 1, 0, 2], &data(4000));
        let packet = Packet { id: 2, dont_fragment: false, ..timestamp }.macs(CLIENT_MAC, VIP_MAC);
        let mut fragments = cut(&packet);
        if turned {
            fragments.reverse();
        }
        fragments.iter().for_each(|fragment| assert_eq!(lab.arrive(VIP0, fragment), []));
        lab.pass(2);
    }
    assert_eq!((lab.dropped(DropReason::Fragment), lab.dropped(DropReason::FragmentExpired)), (4, 2));

    // One is missing, one comes twice.
    let fragments = cut(&ping(3));
    assert_eq!(lab.arrive(VIP0, &fragments[0]), []);
    assert_eq!(lab.arrive(VIP0, &fragments[0]), []);
    assert_eq!(lab.dropped(DropReason::FragmentOverlap), 1);
    assert_eq!(lab.arrive(VIP0, &fragments[2]), []);
    lab.pass(2);
    assert_eq!(lab.dropped(DropReason::FragmentExpired), 4);
    assert_eq!(lab.arrive(VIP0, &fragments[1]), [], "too late");
    lab.pass(2);

    // Overlapping ones.
    let (fragments, others) = (cut(&ping(4)), ping(4).fragments(1000));
    assert_eq!(lab.arrive(VIP0, &fragments[0]), []);
    assert_eq!(lab.arrive(VIP0, &others[1]), []);
    assert_eq!(lab.dropped(DropReason::FragmentOverlap), 3);

    // Cut within ICMP's header, or longer than a datagram can be.
    let mut tiny = ping(5).fragments(1500)[0].clone();
    tiny[16..18].copy_from_slice(&24_u16.to_be_bytes());
    support::packet::seal(&mut tiny);
    assert_eq!(lab.arrive(VIP0, &tiny), []);
    let mut beyond = cut(&ping(6))[1].clone();
    beyond[20..22].copy_from_slice(&0x1fff_u16.to_be_bytes());
    support::packet::seal(&mut beyond);
    assert_eq!(lab.arrive(VIP0, &beyond), []);
    assert_eq!(lab.dropped(DropReason::FragmentMalformed), 2);
    assert_eq!(lab.worker.frames_held(), 0);
}

/// Whoever sends fragments of pings that never become whole takes little, and keeps nobody else from being answered.
#[test]
fn a_flood_of_fragments_takes_no_more_than_its_bounds() {
    let mut lab = Lab::serving();
    let large = 1480 * (PIECES - 20);
    for number in 0..2000_u16 {
        let source = Ipv4Addr::new(192, 168, 10, 20 + (number % 100) as u8);
        let mut fragments = ping(source, number / 100, large).fragments(1500);
        let count = if number.is_multiple_of(3) { fragments.len() - 1 } else { 1 };
        fragments.truncate(count);
        for fragment in &fragments {
            assert_eq!(lab.arrive(VIP0, fragment), []);
        }
        assert!(lab.worker.frames_held() <= ALL_PIECES);
        if number.is_multiple_of(50) {
            let left: Vec<_> = ping(CLIENT, number, 2000)
                .fragments(1500)
                .iter()
                .flat_map(|fragment| lab.arrive(VIP0, fragment))
                .collect();
            assert_answer(&left, 2000);
        }
    }
    lab.pass(2);
    assert_eq!(lab.worker.frames_held(), 0);

    // As many as are gathered at once, all answered.
    let all: Vec<_> = (0..GATHERED as u16).map(|id| ping(CLIENT, id, 2000).fragments(1500)).collect();
    all.iter().for_each(|fragments| assert_eq!(lab.arrive(VIP0, &fragments[1]), []));
    for fragments in &all {
        assert_eq!(lab.arrive(VIP0, &fragments[0]).len(), 2);
    }
}

/// More fragments than one ping may have.
#[test]
fn tiny_fragments_are_given_up() {
    let mut lab = Lab::serving();
    let fragments = ping(CLIENT, 1, 8 * 2 * PIECES).fragments(28);
    for fragment in &fragments {
        assert_eq!(lab.arrive(VIP0, fragment), []);
        assert!(lab.worker.frames_held() <= PIECES);
    }
    assert!(lab.dropped(DropReason::FragmentQueueFull) as usize > PIECES);
    lab.pass(2);
    assert_eq!(lab.worker.frames_held(), 0);
}
