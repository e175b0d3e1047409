//! Whatever IPv6 packets arrive: what leaves is read by another implementation, which finds every length and checksum
//! right, and no frame is lost.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::wire::ndp::multicast_mac;
use fastrand::Rng;
use std::net::{Ipv6Addr, SocketAddr};
use support::over_ipv6::{CLIENT6, DIP6, Side, VIP6, World, address};
use support::packet6::*;

const PACKETS: usize = 100_000;
const REALS: [Ipv6Addr; 2] = [address(0x20, 7), address(0x20, 0x17)];
const OWN_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x64);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 6);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// TCP port 80 and UDP port 53 of the VIP, over both reals.
fn world() -> World {
    let mut world = World::new();
    world.lab.description.interfaces[0].addresses.push(format!("{OWN_LINK_LOCAL}/64").parse().unwrap());
    for (letter, port, of_reals) in [("-t", 80, 8080), ("-u", 53, 5353)] {
        let service = format!("[{VIP6}]:{port}");
        world.command(&["-A", letter, &service, "-s", "rr"]);
        for real in REALS {
            world.command(&["-a", letter, &service, "-r", &format!("[{real}]:{of_reals}")]);
        }
    }
    world
}

fn at6(address: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// One of a list.
fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// A packet from a side, whose checksum is right.
fn packet(rng: &mut Rng) -> (Side, Packet6) {
    let client = one(rng, &[CLIENT6, address(0x10, 0x11), address(0x33, 9)]);
    let client = at6(client, 40_000 + rng.u16(..6));
    let real = one(rng, &REALS);
    let length = rng.usize(..200);
    let data: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
    let segment = |side, ends: [SocketAddr; 2], flags| {
        let mut bytes = support::over_ipv6::tcp(side, ends, flags, 0, data.len());
        let upper = bytes.split_off(54);
        let ips = ends.map(|end| match end.ip() {
            std::net::IpAddr::V6(address) => address,
            std::net::IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
        });
        Packet6::new(side, ips, 6, &upper)
    };
    let flags = one(rng, &[2, 16, 17, 4, 18]);
    let kind = one(rng, &[[1, 0], [1, 4], [2, 0], [3, 0], [4, 1], [100, 0]]);
    match rng.u8(..11) {
        0 | 1 => (Side::Client, segment(Side::Client, [client, at6(VIP6, one(rng, &[80, 81]))], flags)),
        2 => (Side::Reals, segment(Side::Reals, [at6(real, 8080), client], flags)),
        3 | 4 => (Side::Client, Packet6::udp(Side::Client, [client, at6(VIP6, one(rng, &[53, 9]))], &data)),
        5 => (Side::Reals, Packet6::udp(Side::Reals, [at6(real, 5353), client], &data)),
        6 => {
            let (from, to) = one(
                rng,
                &[(CLIENT6, VIP6), (CLIENT6, DIP6), (LINK_LOCAL, OWN_LINK_LOCAL), (CLIENT6, ALL_NODES)],
            );
            let ping = Packet6::ping(Side::Client, [from, to], &data);
            let to_mac = if to.is_multicast() { multicast_mac(to).0 } else { ping.to_mac };
            (Side::Client, Packet6 { to_mac, ..ping })
        }
        7 => {
            let quoted = Packet6::udp(Side::Client, [client, at6(real, 5353)], &data);
            let from = one(rng, &[real, LINK_LOCAL, address(0x20, 0x99)]);
            let to = quoted.source;
            (Side::Reals, Packet6::icmp(Side::Reals, [from, to], kind, [0, 0, 5, 0], &quoted.packet()))
        }
        8 => {
            let quoted = Packet6::udp(Side::Client, [at6(VIP6, 53), client], &data);
            let from = one(rng, &[quoted.destination, LINK_LOCAL]);
            (Side::Client, Packet6::icmp(Side::Client, [from, VIP6], kind, [0, 0, 5, 0], &quoted.packet()))
        }
        9 => (Side::Client, Packet6::new(Side::Client, [CLIENT6, one(rng, &[VIP6, real])], 200, &data)),
        _ => (Side::Client, Packet6::udp(Side::Client, [client, at6(real, 161)], &data)),
    }
}

/// With extension headers, a small hop limit, or in fragments.
fn changed(rng: &mut Rng, mut packet: Packet6) -> Vec<Vec<u8>> {
    packet.hop_limit = one(rng, &[64, 64, 64, 255, 2, 1, 0]);
    packet.traffic_class = rng.u8(..);
    for _ in 0..one(rng, &[0, 0, 0, 1, 2, 9]) {
        let (number, bytes) = match rng.u8(..8) {
            // Elsewhere the other implementation does not read it, and it is not told from what it is routed with.
            0 if packet.headers.is_empty() => (HOP_BY_HOP, options(1)),
            1 => (ROUTING, routing(rng.u8(..5), one(rng, &[0, 0, 1]))),
            2 => (FRAGMENT, fragment_header(0, false, rng.u32(..))),
            _ => (DESTINATION_OPTIONS, options(rng.u8(1..4))),
        };
        packet.headers.push((number, bytes));
    }
    if rng.u8(..4) != 0 {
        return vec![packet.frame()];
    }
    packet.headers.retain(|(number, _)| *number != FRAGMENT);
    for _ in 0..rng.u8(..2) {
        packet.later_headers.push((DESTINATION_OPTIONS, options(1)));
    }
    let mut fragments = packet.fragments(rng.u32(..), one(rng, &[8, 16, 64, 96]));
    rng.shuffle(&mut fragments);
    fragments
}

/// Some bytes behind the MACs are others, or missing.
fn damaged(rng: &mut Rng, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(12..frame.len());
        frame[at] = rng.u8(..);
    }
    if rng.bool() {
        frame.truncate(rng.usize(14..frame.len()));
    }
    frame
}

fn assert_conserved(world: &mut World, arrived: u64) {
    let counters = world.lab.counters();
    let dropped: u64 = DropReason::ALL.iter().map(|reason| counters.dropped(*reason).get()).sum();
    let (received, sent, answers) =
        (counters.rx_packets.get(), counters.tx_packets.get(), counters.answers.get());
    assert_eq!(received, arrived);
    let held = world.lab.worker.frames_held();
    let accounted = sent + dropped + held as u64;
    let mut heard = 0;
    while world.lab.control.neighbour_events.pop().is_ok() {
        heard += 1;
    }
    assert!(
        (arrived..=arrived + answers).contains(&(accounted + heard)) || heard > 0,
        "{accounted} of {arrived}"
    );
    assert!(
        accounted <= arrived + answers && accounted + heard >= arrived,
        "{accounted} of {arrived}, {heard}"
    );
    assert_eq!(world.lab.worker.io().live_frames(), held);
}

#[test]
fn another_implementation_agrees_with_whatever_leaves() {
    let mut rng = Rng::with_seed(0x1bf6);
    let mut world = world();
    let (mut arrived, mut left, mut fragments) = (0, 0, 0);
    while arrived < PACKETS as u64 {
        let (side, packet) = packet(&mut rng);
        for frame in changed(&mut rng, packet) {
            for sent in world.arrive(side, &frame) {
                let seen = read6(&sent.bytes);
                left += 1;
                fragments += u64::from(seen.fragment.is_some());
            }
            arrived += 1;
        }
        if rng.u16(..500) == 0 {
            world.lab.pass(2);
        }
    }
    assert!(
        left > arrived / 3 && fragments > 1000,
        "{left} of {arrived} leave, {fragments} of them fragments"
    );
    world.lab.pass(2);
    assert_conserved(&mut world, arrived);
    world.lab.leap(1000);
    assert_eq!((world.lab.worker.connections(), world.lab.worker.io().live_frames()), (0, 0));
}

#[test]
fn nothing_that_is_damaged_does_harm() {
    let mut rng = Rng::with_seed(0xbad6);
    let mut world = world();
    let mut arrived = 0;
    for _ in 0..20_000 {
        let (side, packet) = packet(&mut rng);
        for frame in changed(&mut rng, packet) {
            let frame = damaged(&mut rng, frame);
            for sent in world.arrive(side, &frame) {
                assert!(
                    sent.bytes.len() >= 60,
                    "as long as a link asks for: {:x?}, of {frame:x?}",
                    sent.bytes
                );
            }
            arrived += 1;
        }
        if rng.u16(..500) == 0 {
            world.lab.pass(2);
        }
    }
    world.lab.pass(2);
    assert_conserved(&mut world, arrived);
}
