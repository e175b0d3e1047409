//! Connections through the NAT, both ways, packet by packet.

mod support;

use dataplane::connection::State;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::RealKey;
use support::packet::{ACK, FIN, Packet, RST, SYN, read};
use support::*;

fn syn(port: u16) -> Packet {
    Packet::tcp(at(CLIENT, port), at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC)
}

#[test]
fn a_tcp_connection_is_translated_both_ways() {
    let mut lab = Lab::serving();
    let mut packet = syn(40000);
    packet.payload = b"hello".to_vec();
    let out = lab.arrive(VIP0, &packet.frame());
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].port, DIP0);
    let seen = read(&out[0].bytes);
    assert_eq!((seen.source, seen.destination), (at(CLIENT, 40000), at(RS2, 80)), "newest real first");
    assert_eq!((seen.from_mac, seen.to_mac), (DIP_MAC, RS2_MAC));
    assert_eq!((seen.ttl, seen.flags, seen.payload.as_slice()), (63, SYN, b"hello".as_slice()));

    let reply = Packet::tcp(at(RS2, 80), at(CLIENT, 40000), SYN | ACK).macs(RS2_MAC, DIP_MAC);
    let out = lab.arrive(DIP0, &reply.frame());
    assert_eq!(out.len(), 1);
    let seen = read(&out[0].bytes);
    assert_eq!((seen.source, seen.destination), (at(VIP, 80), at(CLIENT, 40000)));
    assert_eq!((seen.from_mac, seen.to_mac, seen.ttl), (VIP_MAC, CLIENT_MAC, 63));

    let ack = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), ACK).macs(CLIENT_MAC, VIP_MAC);
    let seen = read(&lab.arrive(VIP0, &ack.frame())[0].bytes);
    assert_eq!(seen.destination, at(RS2, 80));
    assert_eq!(lab.connections()[0].state, State::Established);
}

#[test]
fn new_connections_alternate_beginning_with_the_real_added_last() {
    let mut lab = Lab::serving();
    let order: Vec<_> = (0..6u16)
        .map(|n| *read(&lab.arrive(VIP0, &syn(40000 + n).frame())[0].bytes).destination.ip())
        .collect();
    assert_eq!(order, [RS2, RS1, RS2, RS1, RS2, RS1]);
}

#[test]
fn ports_are_translated_and_udp_without_checksum_stays_without() {
    let mut lab = Lab::serving();
    for (port, with_checksum) in [(5000, true), (5001, false)] {
        let mut query = Packet::udp(at(CLIENT, port), at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC);
        query.udp_checksum = with_checksum;
        let out = lab.arrive(VIP0, &query.frame());
        let seen = read(&out[0].bytes);
        assert_eq!(seen.destination.port(), 5353);
        assert_eq!(out[0].bytes[40..42] != [0, 0], with_checksum);
        let server = seen.destination;
        let mut reply = Packet::udp(server, at(CLIENT, port), b"!").macs(RS2_MAC, DIP_MAC);
        reply.udp_checksum = with_checksum;
        let out = lab.arrive(DIP0, &reply.frame());
        assert_eq!(read(&out[0].bytes).source, at(VIP, 53));
        assert_eq!(out[0].bytes[40..42] != [0, 0], with_checksum);
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_by_the_same_amount() {
    let mut lab = Lab::serving();
    let mut frame = Packet::udp(at(CLIENT, 5000), at(VIP, 53), b"payload").macs(CLIENT_MAC, VIP_MAC).frame();
    frame[42] ^= 0x40; // the payload's first byte
    let mut out = lab.arrive(VIP0, &frame).remove(0).bytes;
    out[42] ^= 0x40;
    assert_eq!(read(&out).payload, b"payload", "right again once the damage is undone");
}

#[test]
fn every_length_from_none_to_the_mtu_passes() {
    let mut lab = Lab::serving();
    for length in 0..=1472 {
        let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let frame = Packet::udp(at(CLIENT, 5000), at(VIP, 53), &payload).macs(CLIENT_MAC, VIP_MAC).frame();
        let out = lab.arrive(VIP0, &frame);
        assert_eq!(read(&out[0].bytes).payload, payload, "{length}");
    }
}

#[test]
fn ip_options_are_carried_through() {
    let mut lab = Lab::serving();
    lab.arrive(VIP0, &syn(40000).frame());
    let mut packet = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), ACK).macs(CLIENT_MAC, VIP_MAC);
    packet.options = vec![1, 1, 1, 0];
    packet.payload = b"with options".to_vec();
    let seen = read(&lab.arrive(VIP0, &packet.frame())[0].bytes);
    assert_eq!((seen.destination, seen.ttl), (at(RS2, 80), 63));
    assert_eq!(seen.payload, b"with options");
}

#[test]
fn a_burst_keeps_each_connections_packets_in_order() {
    let mut lab = Lab::serving();
    for n in 0..32u32 {
        let flags = if n == 0 { SYN } else { ACK };
        let mut packet = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), flags).macs(CLIENT_MAC, VIP_MAC);
        packet.sequence = n;
        lab.queue(VIP0, &packet.frame());
    }
    assert_eq!(lab.turn(), [], "a full burst waits for the next turn, behind its prefetches");
    assert_eq!(lab.worker.frames_held(), 32);
    let order: Vec<_> = lab.turn().iter().map(|sent| read(&sent.bytes).sequence).collect();
    assert_eq!(order, (0..32).collect::<Vec<_>>());
}

#[test]
fn a_syn_on_a_closed_connection_is_scheduled_anew() {
    let mut lab = Lab::serving();
    assert_eq!(*read(&lab.arrive(VIP0, &syn(40000).frame())[0].bytes).destination.ip(), RS2);
    let fin = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), ACK).macs(CLIENT_MAC, VIP_MAC);
    lab.arrive(VIP0, &fin.frame());
    for (source, destination, port) in
        [(at(CLIENT, 40000), at(VIP, 80), VIP0), (at(RS2, 80), at(CLIENT, 40000), DIP0)]
    {
        let (from, to) = if port == VIP0 { (CLIENT_MAC, VIP_MAC) } else { (RS2_MAC, DIP_MAC) };
        lab.arrive(port, &Packet::tcp(source, destination, FIN | ACK).macs(from, to).frame());
    }
    assert_eq!(lab.connections()[0].state, State::TimeWait);
    let out = lab.arrive(VIP0, &syn(40000).frame());
    assert_eq!(*read(&out[0].bytes).destination.ip(), RS1, "the next in turn");
    assert_eq!(lab.connections().len(), 1);
    assert_eq!(lab.connections()[0].state, State::SynRecv);
}

#[test]
fn a_syn_on_an_open_connection_stays_with_its_real() {
    let mut lab = Lab::serving();
    for _ in 0..3 {
        assert_eq!(*read(&lab.arrive(VIP0, &syn(40000).frame())[0].bytes).destination.ip(), RS2);
    }
    assert_eq!(lab.connections().len(), 1);
}

#[test]
fn counters_follow_the_connection() {
    let mut lab = Lab::serving();
    lab.arrive(VIP0, &syn(40000).frame());
    let reply = Packet::tcp(at(RS2, 80), at(CLIENT, 40000), SYN | ACK).macs(RS2_MAC, DIP_MAC);
    lab.arrive(DIP0, &reply.frame());
    lab.arrive(DIP0, &reply.frame());
    let id = lab.real_id(RealKey {
        service: tcp_service(at(VIP, 80)),
        endpoint: std::net::SocketAddr::V4(at(RS2, 80)),
    });
    let real = lab.counters().real(id);
    assert_eq!((real.connections.get(), real.states.active(), real.inactive()), (1, 1, 0));
    assert_eq!((real.in_packets.get(), real.in_bytes.get()), (1, 40));
    assert_eq!((real.out_packets.get(), real.out_bytes.get()), (2, 80));
    let reset = Packet::tcp(at(RS2, 80), at(CLIENT, 40000), RST).macs(RS2_MAC, DIP_MAC);
    lab.arrive(DIP0, &reset.frame());
    let real = lab.counters().real(id);
    assert_eq!((real.states.active(), real.inactive(), real.states.closing()), (0, 1, 1));
    lab.pass(12);
    let real = lab.counters().real(id);
    assert_eq!((real.states.active(), real.inactive(), real.states.closing()), (0, 0, 0), "swept");
    assert!(lab.connections().is_empty());
    assert_eq!(lab.counters().connections_expired.get(), 1);
}

#[test]
fn a_removed_reals_clients_are_dropped_its_replies_translated_and_it_comes_back() {
    let mut lab = Lab::serving();
    lab.arrive(VIP0, &syn(40000).frame());
    let all = [Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1), (at(RS2, 80), 1)] }];
    let without = [Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] }];
    let ack = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), ACK).macs(CLIENT_MAC, VIP_MAC).frame();
    let reply = Packet::tcp(at(RS2, 80), at(CLIENT, 40000), SYN | ACK).macs(RS2_MAC, DIP_MAC).frame();
    for services in [&without[..], &[]] {
        lab.configure(services);
        assert!(lab.arrive(VIP0, &ack).is_empty());
        assert_eq!(read(&lab.arrive(DIP0, &reply)[0].bytes).source, at(VIP, 80));
    }
    assert_eq!(lab.dropped(DropReason::RealRemoved), 2);
    lab.configure(&all);
    assert_eq!(read(&lab.arrive(VIP0, &ack)[0].bytes).destination, at(RS2, 80), "parked, not lost");
}

#[test]
fn replies_that_would_collide_go_to_another_real_or_are_refused() {
    let mut lab = Lab::new();
    let reals = vec![(at(RS1, 80), 1), (at(RS2, 80), 1)];
    let other = std::net::Ipv4Addr::new(192, 168, 10, 101);
    let third = std::net::Ipv4Addr::new(192, 168, 10, 102);
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: reals.clone() },
        Configured { key: tcp_service(at(other, 80)), reals: reals.clone() },
        Configured { key: tcp_service(at(third, 80)), reals },
    ]);
    let mut open = |vip| {
        let packet = Packet::tcp(at(CLIENT, 40000), at(vip, 80), SYN).macs(CLIENT_MAC, VIP_MAC);
        lab.arrive(VIP0, &packet.frame()).iter().map(|sent| read(&sent.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(*open(VIP)[0].destination.ip(), RS2);
    assert_eq!(*open(other)[0].destination.ip(), RS1, "rs2 already answers this client endpoint as the VIP");
    let refused = open(third);
    assert_eq!((refused[0].protocol, refused[0].flags), (6, RST | ACK));
    assert_eq!(lab.dropped(DropReason::ReplyCollision), 1);
    let reply = Packet::tcp(at(RS1, 80), at(CLIENT, 40000), SYN | ACK).macs(RS1_MAC, DIP_MAC);
    assert_eq!(read(&lab.arrive(DIP0, &reply.frame())[0].bytes).source, at(other, 80));
}

#[test]
fn clients_behind_a_router_are_answered_through_it() {
    let mut lab = Lab::serving();
    let router = dataplane::names::mac::Mac([2, 0, 0, 0, 0x10, 1]);
    let open = Packet::tcp(at(FAR_CLIENT, 40000), at(VIP, 80), SYN).macs(router, VIP_MAC);
    assert_eq!(lab.arrive(VIP0, &open.frame()).len(), 1);
    let reply = Packet::tcp(at(RS2, 80), at(FAR_CLIENT, 40000), SYN | ACK).macs(RS2_MAC, DIP_MAC);
    assert_eq!(read(&lab.arrive(DIP0, &reply.frame())[0].bytes).to_mac, router);
}

#[test]
fn one_arm_does_both_directions_on_one_port() {
    let mut lab = Lab::serving();
    let both = &mut lab.description.interfaces[VIP0.index()];
    both.side = dataplane::names::side::Side::Both;
    both.addresses.push("10.0.0.8/24".parse().unwrap());
    lab.description.interfaces.truncate(1);
    for real in &mut lab.description.reals {
        real.next_hop = dataplane::names::ids::NextHopId::UNKNOWN;
    }
    lab.apply();
    for (address, mac) in [(RS1, RS1_MAC), (RS2, RS2_MAC)] {
        lab.reachable(
            dataplane::names::ids::NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(address) },
            mac,
        );
    }
    for flags in [SYN, ACK, ACK] {
        let packet = Packet::tcp(at(CLIENT, 40000), at(VIP, 80), flags).macs(CLIENT_MAC, VIP_MAC);
        let out = lab.arrive(VIP0, &packet.frame());
        assert_eq!(read(&out[0].bytes).destination, at(RS2, 80));
        assert_eq!((out[0].port, read(&out[0].bytes).to_mac), (VIP0, RS2_MAC));
        let reply = Packet::tcp(at(RS2, 80), at(CLIENT, 40000), flags | ACK).macs(RS2_MAC, VIP_MAC);
        let out = lab.arrive(VIP0, &reply.frame());
        assert_eq!(read(&out[0].bytes).source, at(VIP, 80));
        assert_eq!(read(&out[0].bytes).to_mac, CLIENT_MAC);
    }
    assert_eq!(lab.connections()[0].state, State::Established);
}

over_ipv6! {
    a_tcp_connection_is_translated_both_ways,
    new_connections_alternate_beginning_with_the_real_added_last,
    a_wrong_checksum_stays_wrong_by_the_same_amount,
    every_length_from_none_to_the_mtu_passes,
    a_burst_keeps_each_connections_packets_in_order,
    a_syn_on_a_closed_connection_is_scheduled_anew,
    a_syn_on_an_open_connection_stays_with_its_real,
    a_removed_reals_clients_are_dropped_its_replies_translated_and_it_comes_back,
    replies_that_would_collide_go_to_another_real_or_are_refused,
    clients_behind_a_router_are_answered_through_it,
    one_arm_does_both_directions_on_one_port,
}
