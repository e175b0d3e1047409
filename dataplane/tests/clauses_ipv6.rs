//! What a host and a router must do with IPv6 packets and say by ICMPv6, and when they must be silent: RFC 8200, RFC
//! 4443, RFC 4291, RFC 5095, RFC 5722, RFC 6946, RFC 7112, RFC 8883. The table of clauses is docs/ipv6.md.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::wire::icmp6::set_checksum;
use dataplane::wire::ndp::{multicast_mac, solicited_node};
use std::collections::HashSet;
use std::net::{Ipv6Addr, SocketAddr};
use support::over_ipv6::{CLIENT6, DIP6, Side, VIP6, World, address, ours, sender};
use support::packet6::*;
use support::*;

const REAL: Ipv6Addr = address(0x20, 7);
const OWN_LINK_LOCAL: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x64), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8)];
/// A router of either link.
const ROUTER_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

fn at6(address: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// UDP port 53 of the VIP over one real, and link-local addresses on both sides.
fn world() -> World {
    let mut world = World::new();
    for (interface, own) in world.lab.description.interfaces.iter_mut().zip(OWN_LINK_LOCAL) {
        interface.addresses.push(format!("{own}/64").parse().unwrap());
    }
    world.command(&["-A", "-u", "[fd00:10::100]:53", "-s", "rr"]);
    world.command(&["-a", "-u", "[fd00:10::100]:53", "-r", "[fd00:20::7]:5353"]);
    world
}

fn question(data: &[u8]) -> Packet6 {
    Packet6::udp(Side::Client, [at6(CLIENT6, 5000), at6(VIP6, 53)], data)
}

fn reply(data: &[u8]) -> Packet6 {
    Packet6::udp(Side::Reals, [at6(REAL, 5353), at6(CLIENT6, 5000)], data)
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 / 7) as u8).collect()
}

fn only(sent: &[Sent]) -> Seen6 {
    assert_eq!(sent.len(), 1, "{sent:?}");
    read6(&sent[0].bytes)
}

fn arrive_all(world: &mut World, side: Side, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let sent = frames.iter().flat_map(|frame| world.arrive(side, frame));
    sent.map(|sent| sent.bytes).collect()
}

/// What is answered to a packet of the client, by the VIP: type, code, and the word behind them. All of the packet is
/// quoted that fits in 1280 bytes.
fn told(world: &mut World, packet: &[u8]) -> [u32; 3] {
    let seen = only(&world.arrive(Side::Client, packet));
    assert_eq!((seen.protocol, seen.hop_limit), (ICMP, 64));
    assert_eq!((seen.source, seen.destination), (at6(VIP6, 0), at6(CLIENT6, 0)));
    let quoted = packet[14..].len().min(1280 - 48);
    assert_eq!(seen.payload[8..], packet[14..][..quoted], "as it came");
    let word = u32::from_be_bytes(*seen.payload[4..].first_chunk().unwrap());
    [seen.payload[0].into(), seen.payload[1].into(), word]
}

#[test]
fn a_ping_is_answered_with_all_that_it_has_and_without_its_headers() {
    let mut world = world();
    for (side, from, to) in [
        (Side::Client, CLIENT6, VIP6),
        (Side::Client, CLIENT6, DIP6),
        (Side::Reals, REAL, DIP6),
        (Side::Client, ROUTER_LINK_LOCAL, OWN_LINK_LOCAL[0]),
        (Side::Client, ROUTER_LINK_LOCAL, VIP6),
    ] {
        for length in [0, 1, 56, 1400] {
            let plain = Packet6::ping(side, [from, to], &text(length));
            let optioned = plain.clone().with(HOP_BY_HOP, options(1)).with(DESTINATION_OPTIONS, options(2));
            let atomic = plain.clone().with(FRAGMENT, fragment_header(0, false, 7));
            for packet in [&plain, &optioned, &atomic] {
                let seen = only(&world.arrive(side, &packet.frame()));
                assert_eq!((seen.source, seen.destination), (at6(to, 0), at6(from, 0)));
                assert_eq!(
                    (seen.from_mac, seen.to_mac, seen.hop_limit),
                    (ours(side), sender(side, from), 64)
                );
                assert_eq!((seen.payload[0], &seen.payload[4..]), (129, &packet.upper[4..]));
            }
        }
    }
    let mut wrong = Packet6::ping(Side::Client, [CLIENT6, VIP6], b"ping").frame();
    wrong[60] ^= 1;
    assert_eq!(world.arrive(Side::Client, &wrong), []);
    assert_eq!(world.lab.dropped(DropReason::IcmpChecksum), 1);
    let elsewhere = Packet6::ping(Side::Client, [ROUTER_LINK_LOCAL, OWN_LINK_LOCAL[1]], b"ping");
    assert_eq!(world.arrive(Side::Client, &elsewhere.frame()), [], "an address of another link");
}

#[test]
fn a_ping_to_a_group_is_answered_from_an_address_of_the_interface() {
    let mut world = world();
    let ping = |from, group| {
        let packet = Packet6::ping(Side::Client, [from, group], b"anybody?");
        Packet6 { to_mac: multicast_mac(group).0, ..packet }
    };
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    for (from, group, speaker) in [
        (CLIENT6, all, VIP6),
        (ROUTER_LINK_LOCAL, all, OWN_LINK_LOCAL[0]),
        (CLIENT6, solicited_node(VIP6), VIP6),
        (ROUTER_LINK_LOCAL, solicited_node(OWN_LINK_LOCAL[0]), OWN_LINK_LOCAL[0]),
    ] {
        let packet = ping(from, group);
        let seen = only(&world.arrive(Side::Client, &packet.frame()));
        assert_eq!((seen.source, seen.destination), (at6(speaker, 0), at6(from, 0)), "{group}");
        assert_eq!((seen.from_mac, seen.to_mac), (ours(Side::Client), CLIENT_MAC.0));
        assert_eq!((seen.payload[0], &seen.payload[4..]), (129, &packet.upper[4..]));
    }
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let mut wrong = ping(CLIENT6, all).frame();
    wrong[60] ^= 1;
    let fragments = ping(CLIENT6, all).fragments(1, 8);
    let closed = Packet6::udp(Side::Client, [at6(CLIENT6, 1), at6(all, 9)], b"?");
    let unknown = Packet6::new(Side::Client, [CLIENT6, all], 200, &[0; 20]);
    let mut silent = vec![
        ping(CLIENT6, all_routers).frame(),
        ping(CLIENT6, solicited_node(address(0x10, 0x999))).frame(),
        wrong,
        closed.frame(),
        unknown.frame(),
    ];
    silent.extend(fragments);
    for frame in &silent {
        assert_eq!(world.arrive(Side::Client, frame), [], "{frame:x?}");
    }
    assert_eq!(
        (world.lab.dropped(DropReason::IcmpChecksum), world.lab.dropped(DropReason::Broadcast)),
        (1, 6)
    );
}

#[test]
fn a_ping_in_fragments_is_answered_in_fragments_in_any_order() {
    let mut world = world();
    for (id, length) in [(1, 1500), (0x1_0000, 4000), (0xffff_ffff, 60_000)] {
        let ping = Packet6::ping(Side::Client, [CLIENT6, VIP6], &text(length));
        let packets =
            [ping.clone(), ping.clone().with(HOP_BY_HOP, options(2)).with(DESTINATION_OPTIONS, options(1))];
        for (number, packet) in packets.iter().enumerate() {
            let mut fragments = packet.fragments(id, 1400);
            if number == 1 {
                fragments.reverse();
            }
            let last = fragments.pop().unwrap();
            assert_eq!(arrive_all(&mut world, Side::Client, &fragments), [] as [Vec<u8>; 0]);
            let sent: Vec<_> = world.arrive(Side::Client, &last).into_iter().map(|sent| sent.bytes).collect();
            assert_eq!(sent.len(), fragments.len() + 1);
            let first = read6(&sent[0]);
            assert_eq!((first.source, first.destination), (at6(VIP6, 0), at6(CLIENT6, 0)));
            assert_eq!(first.fragment.unwrap().2, id);
            let mut whole = reassemble6(&sent);
            assert_eq!((whole[0], &whole[4..]), (129, &packet.upper[4..]));
            let check = [whole[2], whole[3]];
            set_checksum(VIP6, CLIENT6, &mut whole);
            assert_eq!([whole[2], whole[3]], check);
        }
    }
    assert_eq!(world.lab.worker.frames_held(), 0);
    let mut damaged = Packet6::ping(Side::Client, [CLIENT6, VIP6], &text(3000)).fragments(9, 1400);
    damaged[1][100] ^= 1;
    assert_eq!(arrive_all(&mut world, Side::Client, &damaged), [] as [Vec<u8>; 0]);
    assert_eq!(world.lab.dropped(DropReason::IcmpChecksum), 3);
    // The answer would have no such header, and its parts would lie elsewhere.
    let behind = Packet6::ping(Side::Client, [CLIENT6, VIP6], &text(3000));
    let behind = behind.with_later(DESTINATION_OPTIONS, options(1)).fragments(10, 1400);
    assert_eq!(arrive_all(&mut world, Side::Client, &behind[..1]), [] as [Vec<u8>; 0]);
    assert_eq!(world.lab.dropped(DropReason::Fragment), 1);
}

/// Some devices put fragments together, and other hosts of the link may have a larger MTU.
#[test]
fn a_ping_that_is_longer_than_the_ports_mtu_is_answered_in_fragments_of_our_own() {
    const MTU: u16 = 1280;
    let mut world = world();
    world.set_mtu(Side::Client, MTU);
    let answered = |world: &mut World, ping: &Packet6, frames: &[Vec<u8>]| {
        let sent = arrive_all(world, Side::Client, frames);
        assert!(sent.iter().all(|frame| frame.len() <= 14 + usize::from(MTU)));
        let first = read6(&sent[0]);
        assert_eq!((first.source, first.destination), (at6(VIP6, 0), at6(CLIENT6, 0)));
        assert_eq!((first.from_mac, first.to_mac, first.hop_limit), (VIP_MAC.0, CLIENT_MAC.0, 64));
        let mut whole = reassemble6(&sent);
        assert_eq!((whole[0], &whole[4..]), (129, &ping.upper[4..]));
        let check = [whole[2], whole[3]];
        set_checksum(VIP6, CLIENT6, &mut whole);
        assert_eq!([whole[2], whole[3]], check);
        (sent.len(), first.fragment.unwrap().2)
    };
    let mut given = HashSet::new();
    for length in [1233, 1240, 1452, 1900] {
        let ping = Packet6::ping(Side::Client, [CLIENT6, VIP6], &text(length));
        for packet in [ping.clone(), ping.clone().with(HOP_BY_HOP, options(2))] {
            let (count, id) = answered(&mut world, &ping, &[packet.frame()]);
            assert_eq!(count, 2);
            assert!(given.insert(id), "each has its own");
        }
    }
    // As parts of the packet that the request's fragments make of the answer.
    for (id, length) in [(1, 1500), (0x1_0000, 4000), (0xffff_ffff, 60_000)] {
        let ping = Packet6::ping(Side::Client, [CLIENT6, VIP6], &text(length));
        let fragments = ping.fragments(id, 1448);
        let (count, same_id) = answered(&mut world, &ping, &fragments);
        assert_eq!(same_id, id);
        assert!(count > fragments.len());
    }
    assert_eq!(world.lab.counters().fragmented.get(), 8 + 1 + 2 + 41);
    let fits = Packet6::ping(Side::Client, [CLIENT6, VIP6], &text(1232));
    assert_eq!(only(&world.arrive(Side::Client, &fits.frame())).fragment, None);
    assert_eq!(DropReason::ALL.iter().map(|reason| world.lab.dropped(*reason)).sum::<u64>(), 0);
    assert_eq!((world.lab.worker.frames_held(), world.lab.worker.io().live_frames()), (0, 0));
}

#[test]
fn extension_headers_are_passed_over_and_kept() {
    let mut world = world();
    for packet in [
        question(b"?").with(HOP_BY_HOP, options(1)),
        question(b"?").with(DESTINATION_OPTIONS, options(3)),
        question(b"?").with(ROUTING, routing(0, 0)).with(DESTINATION_OPTIONS, options(1)),
        question(b"?").with(FRAGMENT, fragment_header(0, false, 77)),
        question(b"?")
            .with(HOP_BY_HOP, options(1))
            .with(DESTINATION_OPTIONS, options(1))
            .with(ROUTING, routing(4, 0))
            .with(FRAGMENT, fragment_header(0, false, 77))
            .with(DESTINATION_OPTIONS, options(1)),
    ] {
        let sent = world.arrive(Side::Client, &packet.frame());
        let seen = only(&sent);
        assert_eq!((seen.source, seen.destination), (at6(CLIENT6, 5000), at6(REAL, 5353)));
        assert_eq!((seen.payload, seen.hop_limit), (b"?".to_vec(), 63));
        let (before, after) = (packet.frame(), &sent[0].bytes);
        let upper = before.len() - packet.upper.len();
        assert_eq!(after[54..upper], before[54..upper], "unchanged");
        assert_eq!(after[14..20], before[14..20], "class, label and length too");
    }
    let back = reply(b"!").with(DESTINATION_OPTIONS, options(2)).with(FRAGMENT, fragment_header(0, false, 5));
    let seen = only(&world.arrive(Side::Reals, &back.frame()));
    assert_eq!((seen.source, seen.destination), (at6(VIP6, 53), at6(CLIENT6, 5000)));
}

#[test]
fn a_routing_header_with_segments_left_is_told() {
    let mut world = world();
    for (kind, headers) in [(0, 0), (2, 0), (3, 1), (4, 1), (200, 0)] {
        let mut packet = question(b"?");
        if headers == 1 {
            packet = packet.with(DESTINATION_OPTIONS, options(1));
        }
        let packet = packet.with(ROUTING, routing(kind, 1));
        let pointer = 40 + headers * 8 + 2;
        assert_eq!(told(&mut world, &packet.frame()), [4, 0, pointer], "type {kind}");
    }
    assert_eq!(world.lab.dropped(DropReason::RoutingHeader), 5);
    assert_eq!(world.lab.connections(), []);
    // On its way to another it is that one's.
    let through =
        Packet6::udp(Side::Client, [at6(CLIENT6, 1), at6(REAL, 9)], b"?").with(ROUTING, routing(0, 1));
    assert_eq!(world.arrive(Side::Client, &through.frame()).len(), 1);
}

#[test]
fn headers_that_are_unknown_misplaced_or_too_many_are_told_with_their_place() {
    let mut world = world();
    let unknown = Packet6::new(Side::Client, [CLIENT6, VIP6], 200, &[7; 2000 - 700]);
    assert_eq!(told(&mut world, &unknown.frame()), [4, 1, 6]);
    assert_eq!(told(&mut world, &unknown.clone().with(DESTINATION_OPTIONS, options(1)).frame()), [4, 1, 40]);
    let late = question(b"?").with(DESTINATION_OPTIONS, options(1)).with(HOP_BY_HOP, options(1));
    assert_eq!(told(&mut world, &late.frame()), [4, 1, 40]);
    let many = (0..9).fold(question(b"?"), |packet, _| packet.with(DESTINATION_OPTIONS, options(1)));
    assert_eq!(told(&mut world, &many.frame()), [4, 8, 40 + 8 * 8]);
    let fragment = unknown.fragments(3, 1200);
    assert_eq!(told(&mut world, &fragment[0]), [4, 1, 40]);
    assert_eq!(world.arrive(Side::Client, &fragment[1]), [], "what it names need not be the protocol");
    let nothing = Packet6::new(Side::Client, [CLIENT6, VIP6], NO_NEXT_HEADER, &[]);
    assert_eq!(world.arrive(Side::Client, &nothing.frame()), []);
    let mut cut = question(b"?").with(DESTINATION_OPTIONS, options(1)).frame();
    cut[55] = 200;
    assert_eq!(world.arrive(Side::Client, &cut), [], "beyond the packet's end");
    assert_eq!((world.lab.dropped(DropReason::Malformed), world.lab.dropped(DropReason::Protocol)), (3, 5));
    // On their way to others they are the others' business.
    let through = Packet6 { destination: REAL, ..late };
    assert_eq!(world.arrive(Side::Client, &through.frame()).len(), 1);
}

#[test]
fn fragments_that_no_sender_makes_are_told_with_what_is_wrong() {
    let mut world = world();
    let part = |offset, more, length: usize| {
        let mut packet = question(b"");
        packet.upper.resize(length.max(8), 0);
        packet.upper.truncate(length);
        packet.with(FRAGMENT, fragment_header(offset, more, 9)).frame()
    };
    assert_eq!(told(&mut world, &part(0, true, 1001)), [4, 0, 4], "no multiple of eight");
    assert_eq!(told(&mut world, &part(65_528, false, 64)), [4, 0, 42], "beyond the longest packet");
    let behind_options = question(&[7; 64]).with(DESTINATION_OPTIONS, options(1));
    let behind_options = behind_options.with(FRAGMENT, fragment_header(65_456, false, 9)).frame();
    assert_eq!(told(&mut world, &behind_options), [4, 0, 50], "with the headers before");
    // Headers that are not all in the first fragment (RFC 7112).
    let mut incomplete = question(b"?").with(FRAGMENT, fragment_header(0, true, 9));
    (incomplete.protocol, incomplete.upper) = (DESTINATION_OPTIONS, vec![17, 3, 1, 4, 0, 0, 0, 0]);
    assert_eq!(told(&mut world, &incomplete.frame()), [4, 3, 0]);
    let mut short = question(b"?").with(FRAGMENT, fragment_header(0, true, 9));
    (short.protocol, short.upper) = (6, vec![0; 16]);
    assert_eq!(told(&mut world, &short.frame()), [4, 3, 0], "TCP's header");
    assert_eq!(world.lab.dropped(DropReason::FragmentMalformed), 5);
    // Of a real nothing is said: the client is its receiver.
    let mut odd = reply(&[0; 1001]).with(FRAGMENT, fragment_header(0, true, 9)).frame();
    assert_eq!(world.arrive(Side::Reals, &odd), []);
    odd.truncate(80);
    assert_eq!(world.arrive(Side::Reals, &odd), []);
}

#[test]
fn fragments_with_headers_behind_the_fragment_header_follow_their_first() {
    for behind in [0, 1, 3] {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut world = world();
            let with = |packet: Packet6| match behind {
                0 => packet,
                units => packet.with_later(DESTINATION_OPTIONS, options(units)),
            };
            let packet = with(question(&text(3000)).with(HOP_BY_HOP, options(1)));
            let fragments = packet.fragments(0x1234_5678, 1400);
            let sent = arrive_all(&mut world, Side::Client, &order.map(|index| fragments[index].clone()));
            assert_eq!(sent.len(), 3, "{behind} {order:?}");
            let whole = Packet6 { headers: Vec::new(), ..packet.clone() }.packet();
            let upper = 40 + usize::from(behind) * 8;
            let put_together = reassemble6(&sent);
            assert_eq!(put_together[..upper - 40], whole[40..upper]);
            let ports = [5000u16, 5353].map(u16::to_be_bytes).concat();
            assert_eq!(put_together[upper - 40..][..4], ports);
            assert_eq!(put_together[upper - 40 + 8..], text(3000));
            assert_eq!(read6(&sent[0]).destination.ip(), REAL);
            // The checksum is right if the packet comes in one.
            let one = Packet6::new(Side::Reals, [CLIENT6, REAL], UDP, &put_together[upper - 40..]);
            read6(&one.frame());

            let back = with(reply(&text(3000))).fragments(0x1234_5678, 1400);
            let sent = arrive_all(&mut world, Side::Reals, &order.map(|index| back[index].clone()));
            let put_together = reassemble6(&sent);
            assert_eq!(read6(&sent[0]).source.ip(), VIP6);
            let one = Packet6::new(Side::Client, [VIP6, CLIENT6], UDP, &put_together[upper - 40..]);
            read6(&one.frame());
            assert_eq!(world.lab.worker.frames_held(), 0);
        }
    }
}

#[test]
fn fragments_that_overlap_end_their_packet() {
    let mut world = world();
    let fragments = question(&text(3000)).fragments(7, 1400);
    let again = question(&text(3000)).with_later(DESTINATION_OPTIONS, options(1)).fragments(7, 1392);
    assert_eq!(world.arrive(Side::Client, &fragments[0]).len(), 1);
    assert_eq!(world.arrive(Side::Client, &fragments[0]), [], "a repetition");
    assert_eq!(world.arrive(Side::Client, &again[1]), [], "an overlap");
    assert_eq!(world.lab.dropped(DropReason::FragmentOverlap), 2);
    assert_eq!(arrive_all(&mut world, Side::Client, &fragments[1..]), [] as [Vec<u8>; 0]);
    assert_eq!(world.lab.dropped(DropReason::FragmentRefused), 2);
}

#[test]
fn an_atomic_fragment_has_nothing_to_do_with_others_of_its_id() {
    let mut world = world();
    let fragments = question(&text(3000)).fragments(7, 1400);
    assert_eq!(world.arrive(Side::Client, &fragments[0]).len(), 1);
    for _ in 0..3 {
        let atomic = question(b"atomic").with(FRAGMENT, fragment_header(0, false, 7));
        let seen = only(&world.arrive(Side::Client, &atomic.frame()));
        assert_eq!(seen.payload, b"atomic");
    }
    assert_eq!(arrive_all(&mut world, Side::Client, &fragments[1..]).len(), 2);
    assert_eq!(world.lab.dropped(DropReason::FragmentOverlap), 0);
}

#[test]
fn what_keeps_a_packet_from_going_on_is_told_to_its_sender() {
    let mut world = world();
    let spent = Packet6 { hop_limit: 1, ..question(&text(1300)) };
    assert_eq!(told(&mut world, &spent.frame()), [3, 0, 0]);
    let closed = Packet6::udp(Side::Client, [at6(CLIENT6, 1), at6(VIP6, 9)], b"?");
    assert_eq!(told(&mut world, &closed.frame()), [1, 4, 0]);
    world.set_mtu(Side::Reals, 1280);
    for _ in 0..2000 {
        assert_eq!(told(&mut world, &question(&text(1400)).frame()), [2, 0, 1280], "never limited");
    }
    assert_eq!(world.lab.counters().answers_suppressed.get(), 0);
    // A reply, and what is routed: from the interface's own address, of the sender's scope.
    let nowhere = "2001:db8::1".parse().unwrap();
    let lost = Packet6::udp(Side::Reals, [at6(REAL, 1), at6(nowhere, 1)], b"?");
    let seen = only(&world.arrive(Side::Reals, &lost.frame()));
    assert_eq!((seen.source, seen.destination), (at6(DIP6, 0), at6(REAL, 0)));
    assert_eq!(seen.payload[..8], [1, 0, seen.payload[2], seen.payload[3], 0, 0, 0, 0]);
    let spent = Packet6 { hop_limit: 1, ..reply(b"!") };
    assert_eq!(only(&world.arrive(Side::Reals, &spent.frame())).source, at6(DIP6, 0));
}

#[test]
fn nothing_is_said_about_errors_redirects_groups_and_sources_that_are_no_host() {
    let mut world = world();
    let spent = |packet: Packet6| Packet6 { hop_limit: 1, ..packet }.frame();
    let to_real = |kind| Packet6::icmp(Side::Client, [CLIENT6, REAL], [kind, 0], [0; 4], &[0; 60]);
    for kind in [1, 2, 3, 4, 5, 100, 127, 137] {
        assert_eq!(world.arrive(Side::Client, &spent(to_real(kind))), [], "type {kind}");
    }
    for kind in [128, 129, 200] {
        assert_eq!(world.arrive(Side::Client, &spent(to_real(kind))).len(), 1, "type {kind}");
    }
    for source in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
        let packet = Packet6 { source: source.parse().unwrap(), ..question(b"?") };
        assert_eq!(world.arrive(Side::Client, &packet.frame()), [], "{source}");
    }
    assert_eq!(world.lab.dropped(DropReason::Martian), 4);
    let mut to_group = question(b"?").frame();
    to_group[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(world.arrive(Side::Client, &to_group), [], "a packet to one host in a frame to all");
    let mut without_checksum = Packet6::udp(Side::Client, [at6(CLIENT6, 1), at6(VIP6, 9)], b"?").frame();
    without_checksum[60..62].fill(0);
    assert_eq!(world.arrive(Side::Client, &without_checksum), [], "UDP without a checksum is none");
}

#[test]
fn what_is_of_one_link_stays_on_it() {
    let mut world = world();
    let host = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 6);
    for (source, destination) in [(host, VIP6), (host, REAL), (CLIENT6, host), (host, OWN_LINK_LOCAL[0])] {
        let packet = Packet6::udp(Side::Client, [at6(source, 5000), at6(destination, 53)], b"?");
        assert_eq!(world.arrive(Side::Client, &packet.frame()), [], "{source} {destination}");
    }
    let ping = Packet6::ping(Side::Client, [host, REAL], b"ping");
    assert_eq!(world.arrive(Side::Client, &ping.frame()), []);
    assert_eq!(world.lab.dropped(DropReason::Martian), 5);
}

/// The frame that leaves for the real, or for the client.
fn passed(world: &mut World, side: Side, packet: &Packet6) -> Vec<u8> {
    let sent = world.arrive(side, &packet.frame());
    assert_eq!(sent.len(), 1);
    sent[0].bytes.clone()
}

#[test]
fn errors_are_translated_with_the_packet_that_they_quote() {
    let mut world = world();
    let asked = question(&text(200));
    let at_real = passed(&mut world, Side::Client, &asked);
    let answered = reply(&text(200));
    let at_client = passed(&mut world, Side::Reals, &answered);
    let inside = address(0x20, 0xfe);
    let outside = address(0x10, 0xfe);
    for kind in [[1, 0], [1, 4], [2, 0], [3, 0], [3, 1], [4, 1], [100, 7]] {
        let rest = [0, 0, 5, 0xdc];
        for router in [inside, REAL, ROUTER_LINK_LOCAL] {
            let error = Packet6::icmp(Side::Reals, [router, CLIENT6], kind, rest, &at_real[14..]);
            let seen = only(&world.arrive(Side::Reals, &error.frame()));
            assert_eq!((seen.source, seen.destination), (at6(VIP6, 0), at6(CLIENT6, 0)), "{kind:?}");
            assert_eq!((&seen.payload[..2], &seen.payload[4..8]), (&kind[..], &rest[..]));
            let as_sent = Packet6 { hop_limit: 63, ..asked.clone() }.packet();
            assert_eq!(seen.payload[8..], as_sent, "the client's own, with the hop limit that it had there");
        }
        for (router, from) in [(outside, outside), (CLIENT6, CLIENT6), (ROUTER_LINK_LOCAL, DIP6)] {
            let error = Packet6::icmp(Side::Client, [router, VIP6], kind, rest, &at_client[14..]);
            let seen = only(&world.arrive(Side::Client, &error.frame()));
            assert_eq!((seen.source, seen.destination), (at6(from, 0), at6(REAL, 0)), "{kind:?}");
            assert_eq!((&seen.payload[..2], &seen.payload[4..8]), (&kind[..], &rest[..]));
            let as_sent = Packet6 { hop_limit: 63, ..answered.clone() }.packet();
            assert_eq!(seen.payload[8..], as_sent);
        }
    }
    assert_eq!(world.lab.connections().len(), 1);
}

#[test]
fn errors_about_no_connection_or_with_a_wrong_checksum_go_nowhere() {
    let mut world = world();
    passed(&mut world, Side::Client, &question(b"?"));
    let other = Packet6::udp(Side::Client, [at6(VIP6, 53), at6(CLIENT6, 5001)], b"!");
    let error = Packet6::icmp(Side::Client, [CLIENT6, VIP6], [1, 4], [0; 4], &other.packet());
    assert_eq!(world.arrive(Side::Client, &error.frame()), []);
    assert_eq!(world.lab.dropped(DropReason::IcmpUnmatched), 1);
    let quoted = Packet6::udp(Side::Client, [at6(CLIENT6, 5000), at6(REAL, 5353)], b"?");
    let error = Packet6::icmp(Side::Reals, [REAL, CLIENT6], [1, 4], [0; 4], &quoted.packet());
    let mut wrong = error.frame();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(world.arrive(Side::Reals, &wrong), []);
    assert_eq!(world.lab.dropped(DropReason::IcmpChecksum), 1);
    // About somebody else's packet it is routed, but from no address of one link alone.
    let theirs = Packet6::udp(Side::Client, [at6(CLIENT6, 7), at6(REAL, 7)], b"?");
    for (router, leaves) in [(REAL, 1), (ROUTER_LINK_LOCAL, 0)] {
        let error = Packet6::icmp(Side::Reals, [router, CLIENT6], [1, 4], [0; 4], &theirs.packet());
        assert_eq!(world.arrive(Side::Reals, &error.frame()).len(), leaves);
    }
    let discovery = Packet6::icmp(Side::Client, [CLIENT6, REAL], [135, 0], [0; 4], &[0; 16]);
    assert_eq!(world.arrive(Side::Client, &discovery.frame()), [], "of its own link");
    assert_eq!(world.lab.dropped(DropReason::IcmpType), 1);
    let in_fragments =
        Packet6::icmp(Side::Reals, [REAL, CLIENT6], [1, 4], [0; 4], &[7; 2000]).fragments(1, 1400);
    assert_eq!(world.arrive(Side::Reals, &in_fragments[0]), []);
    assert_eq!(world.lab.dropped(DropReason::Fragment), 1);
}

#[test]
fn a_frame_leaves_as_long_as_its_packet_and_without_a_priority_tag() {
    let mut world = world();
    passed(&mut world, Side::Client, &question(b"?"));
    let routed = Packet6::udp(Side::Client, [at6(CLIENT6, 7), at6(REAL, 7)], b"?");
    let empty = Packet6::new(Side::Client, [CLIENT6, REAL], NO_NEXT_HEADER, &[]);
    let optioned = question(b"?").with(DESTINATION_OPTIONS, options(1));
    for packet in [question(b"?"), question(&text(1000)), optioned, routed, empty] {
        let plain = passed(&mut world, Side::Client, &packet);
        assert_eq!(plain.len(), packet.frame().len().max(60));
        let with_trailer = [packet.frame(), vec![0xee; 9]].concat();
        let mut tagged = with_trailer.clone();
        tagged.splice(12..12, [0x81, 0, 0x60, 0]);
        for frame in [with_trailer, tagged] {
            let sent = world.arrive(Side::Client, &frame);
            assert_eq!(sent.len(), 1);
            assert!(sent[0].bytes == plain);
        }
    }
}
