//! Sequences that once went wrong, or would have.

mod support;
use dataplane::connection::{State, TimeoutSeconds, Timeouts};
use dataplane::exchange::orders::{NeighbourEvent, Order};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::*;
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::*;
use dataplane::wire::arp;
use std::net::Ipv4Addr;
use support::packet::*;
use support::*;

fn fc(p: Packet) -> Vec<u8> {
    p.macs(CLIENT_MAC, VIP_MAC).frame()
}
fn tcp(port: u16, vip: Ipv4Addr, flags: u8) -> Packet {
    Packet::tcp(at(CLIENT, port), at(vip, 80), flags)
}
fn drops(lab: &Lab) -> Vec<(&'static str, u64)> {
    DropReason::ALL.iter().map(|r| (r.name(), lab.dropped(*r))).filter(|(_, n)| *n > 0).collect()
}

#[test]
fn a_removed_services_vip_that_only_it_named_is_still_ours() {
    let vip2 = Ipv4Addr::new(192, 168, 10, 101);
    let mut lab = Lab::new();
    lab.configure(&[Configured { key: tcp_service(at(vip2, 80)), reals: vec![(at(RS1, 80), 1)] }]);
    lab.arrive(VIP0, &fc(tcp(40000, vip2, SYN)));
    lab.configure(&[]);
    while lab.control.neighbour_events.pop().is_ok() {}
    let out = lab.arrive(VIP0, &fc(tcp(40000, vip2, ACK)));
    let event = lab.control.neighbour_events.pop();
    assert_eq!(
        (out.len(), lab.dropped(DropReason::RealRemoved), lab.worker.frames_held()),
        (0, 1, 0),
        "event {event:?}"
    );
}

#[test]
fn silent_hosts_do_not_keep_others_from_being_resolved() {
    let mut lab = Lab::serving();
    for host in 0..8u8 {
        for _ in 0..64 {
            let p = Packet::udp(at(CLIENT, 1), at(Ipv4Addr::new(10, 0, 0, 100 + host), 9), b"x");
            lab.arrive(VIP0, &fc(p));
        }
    }
    while lab.control.neighbour_events.pop().is_ok() {}
    let new_client = Ipv4Addr::new(192, 168, 10, 50);
    let p = Packet::udp(at(RS1, 7), at(new_client, 7), b"x").macs(RS1_MAC, DIP_MAC);
    for _ in 0..20 {
        lab.arrive(DIP0, &p.frame());
    }
    let key = NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(new_client) };
    assert_eq!(lab.control.neighbour_events.pop(), Ok(NeighbourEvent::Wanted(key)), "{:?}", drops(&lab));
}

#[test]
fn data_behind_a_reopening_syn_follows_it_to_the_new_real() {
    let mut lab = Lab::serving();
    lab.arrive(VIP0, &fc(tcp(40000, VIP, SYN)));
    lab.arrive(VIP0, &fc(tcp(40000, VIP, RST | ACK)));
    lab.arrive(VIP0, &fc(tcp(40000, VIP, ACK)));
    lab.arrive(DIP0, &Packet::tcp(at(RS2, 80), at(CLIENT, 40000), RST).macs(RS2_MAC, DIP_MAC).frame());
    assert_eq!(lab.connections()[0].state, State::Close);
    let mut data = tcp(40000, VIP, ACK);
    data.payload = b"data".to_vec();
    lab.worker.io().arrive(VIP0, &fc(tcp(40000, VIP, SYN)));
    lab.worker.io().arrive(VIP0, &fc(data));
    let out: Vec<_> = lab
        .turn()
        .iter()
        .map(|s| {
            let r = read(&s.bytes);
            (r.flags, *r.destination.ip())
        })
        .collect();
    assert_eq!(out, [(SYN, RS1), (ACK, RS1)]);
}

#[test]
fn large_and_small_packets_of_a_burst_stay_in_order() {
    let mut lab = Lab::serving();
    lab.description.interfaces.push(Interface {
        side: Side::Dip,
        mac: Mac([2, 0, 0, 0, 0, 9]),
        mtu: 1000,
        addresses: vec!["10.9.0.1/24".parse().unwrap()],
    });
    *lab.worker.io() = dataplane::frame::plain::PlainIo::new(3);
    lab.apply();
    lab.arrive(VIP0, &fc(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"first")));
    for n in 0..6u8 {
        let size = if n % 3 == 2 { 100 } else { 1400 };
        lab.worker.io().arrive(VIP0, &fc(Packet::udp(at(CLIENT, 5000), at(VIP, 53), &vec![n; size])));
    }
    let out: Vec<_> = lab.turn().iter().map(|s| read(&s.bytes).payload[0]).collect();
    assert_eq!(out, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn packets_with_and_without_options_stay_in_order() {
    let mut lab = Lab::serving();
    lab.arrive(VIP0, &fc(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"first")));
    for n in 0..4u8 {
        let mut p = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[n]);
        if n % 2 == 0 {
            p.options = vec![1, 1, 1, 0];
        }
        lab.worker.io().arrive(VIP0, &fc(p));
    }
    let out: Vec<_> = lab.turn().iter().map(|s| read(&s.bytes).payload[0]).collect();
    assert_eq!(out, [0, 1, 2, 3]);
}

#[test]
fn a_collision_with_a_heavy_real_finds_the_light_one() {
    let vip2 = Ipv4Addr::new(192, 168, 10, 101);
    let mut lab = Lab::new();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: tcp_service(at(vip2, 80)), reals: vec![(at(RS2, 80), 1), (at(RS1, 80), 100)] },
    ]);
    for n in 0..3 {
        lab.arrive(VIP0, &fc(tcp(50000 + n, vip2, SYN)));
    }
    lab.arrive(VIP0, &fc(tcp(40000, VIP, SYN)));
    let out = lab.arrive(VIP0, &fc(tcp(40000, vip2, SYN)));
    let seen = read(&out[0].bytes);
    assert_eq!((seen.protocol, *seen.destination.ip()), (6, RS2), "{:?}", drops(&lab));
}

#[test]
fn a_closed_connection_gives_way_to_one_whose_replies_collide() {
    let vip2 = Ipv4Addr::new(192, 168, 10, 101);
    let mut lab = Lab::new();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: tcp_service(at(vip2, 80)), reals: vec![(at(RS1, 80), 1)] },
    ]);
    lab.arrive(VIP0, &fc(tcp(40000, VIP, SYN)));
    lab.arrive(DIP0, &Packet::tcp(at(RS1, 80), at(CLIENT, 40000), RST).macs(RS1_MAC, DIP_MAC).frame());
    assert_eq!(lab.connections()[0].state, State::Close);
    let out = lab.arrive(VIP0, &fc(tcp(40000, vip2, SYN)));
    assert_eq!(read(&out[0].bytes).protocol, 6, "{:?}", drops(&lab));
}

#[test]
fn a_chatty_neighbour_does_not_fill_the_ring() {
    let mut lab = Lab::serving();
    let mut m = arp::Message {
        operation: arp::Operation::Reply,
        sender_mac: CLIENT_MAC,
        sender: CLIENT,
        target_mac: VIP_MAC,
        target: VIP,
    };
    m.target_mac = VIP_MAC;
    let mut frame = vec![0u8; 60];
    frame[..6].copy_from_slice(&VIP_MAC.0);
    frame[6..12].copy_from_slice(&CLIENT_MAC.0);
    frame[12] = 8;
    frame[13] = 6;
    m.write(&mut frame[14..]);
    for _ in 0..300 {
        lab.arrive(VIP0, &frame);
    }
    let p = Packet::udp(at(RS1, 7), at(Ipv4Addr::new(192, 168, 10, 50), 7), b"x").macs(RS1_MAC, DIP_MAC);
    lab.arrive(DIP0, &p.frame());
    let mut n = 0;
    let mut wanted = 0;
    while let Ok(e) = lab.control.neighbour_events.pop() {
        n += 1;
        if matches!(e, NeighbourEvent::Wanted(_)) {
            wanted += 1
        }
    }
    // the ring is free again: the next packet should ask
    lab.arrive(DIP0, &p.frame());
    let again = lab.control.neighbour_events.pop();
    assert_eq!((n < 256, wanted), (true, 1), "{n} {wanted} {again:?}");
}

#[test]
fn a_links_broadcast_address_is_no_client() {
    let mut lab = Lab::serving();
    let src = Ipv4Addr::new(192, 168, 10, 255);
    let out = lab.arrive(VIP0, &fc(Packet::udp(at(src, 5000), at(VIP, 53), b"a")));
    assert_eq!((out.len(), lab.connections().len()), (0, 0), "{:?}", drops(&lab));
}

#[test]
fn unanswered_udp_makes_room_for_new_connections() {
    let mut lab = Lab::with_capacity(1024);
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 53), 1)] },
    ]);
    for n in 0..2000u16 {
        lab.arrive(VIP0, &fc(Packet::udp(at(FAR_CLIENT, n + 1), at(VIP, 53), b"a")));
    }
    let out = lab.arrive(VIP0, &fc(tcp(40000, VIP, SYN)));
    assert_eq!(out.len(), 1, "{:?}", drops(&lab));
}

#[test]
fn what_cannot_be_answered_costs_no_token() {
    let mut lab = Lab::serving();
    for _ in 0..1150 {
        lab.arrive(VIP0, &fc(tcp(40000, VIP, RST)));
    }
    let out = lab.arrive(VIP0, &fc(tcp(40001, VIP, ACK)));
    assert_eq!(out.len(), 1, "suppressed {}", lab.counters().answers_suppressed.get());
}

#[test]
fn what_has_to_wait_again_keeps_its_order() {
    let mut lab = Lab::new();
    let rs3 = Ipv4Addr::new(10, 0, 0, 27);
    lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(rs3, 53), 1)] }]);
    let key = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(rs3) };
    for n in 0..3u8 {
        lab.arrive(VIP0, &fc(Packet::udp(at(CLIENT, 5000), at(VIP, 53), &[n])));
    }
    // others waiting too
    for n in 0..5u8 {
        lab.arrive(VIP0, &fc(Packet::udp(at(CLIENT, 1), at(Ipv4Addr::new(10, 0, 0, 200), 9), &[n])));
    }
    let id = lab.next_hop_id(key);
    // Reachable whose word was withdrawn meanwhile
    lab.control.orders.push(Order::Reachable(key, id)).unwrap();
    lab.turn();
    let sent = lab.reachable(key, Mac([2, 0, 0, 0, 0, 0x27]));
    let order: Vec<_> = sent.iter().map(|s| read(&s.bytes).payload[0]).collect();
    assert_eq!(order, [0, 1, 2]);
}

#[test]
fn a_longer_timeout_brings_no_dead_connection_back() {
    let mut lab = Lab::with_capacity(1 << 20);
    lab.configure(&[Configured {
        key: udp_service(at(VIP, 53)),
        reals: vec![(at(RS1, 53), 1), (at(RS2, 53), 1)],
    }]);
    lab.description.timeouts = Timeouts::new(TimeoutSeconds { tcp: 900, fin: 120, udp: 1 });
    lab.apply();
    let p = fc(Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"a"));
    let first = *read(&lab.arrive(VIP0, &p)[0].bytes).destination.ip();
    lab.pass(1);
    let second = *read(&lab.arrive(VIP0, &p)[0].bytes).destination.ip();
    lab.description.timeouts = Timeouts::new(TimeoutSeconds { tcp: 900, fin: 120, udp: 300 });
    lab.apply();
    let third = *read(&lab.arrive(VIP0, &p)[0].bytes).destination.ip();
    assert_eq!((lab.connections().len(), third), (1, second), "first {first} second {second} third {third}");
}

#[test]
fn source_port_20_is_never_scheduled() {
    let mut lab = Lab::serving();
    let out = lab.arrive(VIP0, &fc(Packet::udp(at(CLIENT, 20), at(VIP, 53), b"a")));
    assert_eq!(read(&out[0].bytes).protocol, 1);
}

#[test]
fn replies_of_a_removed_service_are_translated() {
    let vip2 = Ipv4Addr::new(192, 168, 10, 101);
    let mut lab = Lab::new();
    lab.configure(&[Configured { key: tcp_service(at(vip2, 80)), reals: vec![(at(RS1, 80), 1)] }]);
    lab.arrive(VIP0, &fc(tcp(40000, vip2, SYN)));
    lab.configure(&[]);
    let out =
        lab.arrive(DIP0, &Packet::tcp(at(RS1, 80), at(CLIENT, 40000), ACK).macs(RS1_MAC, DIP_MAC).frame());
    assert_eq!(read(&out[0].bytes).source, at(vip2, 80));
}
