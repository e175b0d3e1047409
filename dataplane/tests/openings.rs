//! Connections opened several in a burst.

mod support;
use dataplane::live::reals::Reals;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::*;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Route;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use support::packet::*;
use support::*;

fn from_client(packet: Packet) -> Vec<u8> {
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    from_client(Packet::udp(at(CLIENT, port), at(VIP, 53), payload))
}

fn syn(port: u16) -> Packet {
    Packet::tcp(at(CLIENT, port), at(VIP, 80), SYN)
}

/// Frames of one burst; what leaves.
fn burst(lab: &mut Lab, frames: &[Vec<u8>]) -> Vec<Seen> {
    for frame in frames {
        lab.queue(VIP0, frame);
    }
    lab.turn().iter().map(|sent| read(&sent.bytes)).collect()
}

/// Every connection's count of its real, and the table's own, are those of what is in the table.
fn assert_counted(lab: &mut Lab, connections: usize, packets: u64) {
    assert_eq!(lab.connections().len(), connections);
    let ids: Vec<_> = lab.description.reals.iter().map(|real| real.id).collect();
    let sum = |of: &dyn Fn(&dataplane::counters::RealCounters) -> u64| -> u64 {
        ids.iter().map(|id| of(lab.counters().real(*id))).sum()
    };
    let live = connections as u64;
    assert_eq!(sum(&|real| real.total.get()), live);
    assert_eq!(sum(&|real| real.states.active() + real.inactive()), live);
    assert_eq!(sum(&|real| real.in_packets.get()), packets);
    assert_eq!(lab.counters().connections.get(), live);
    let counters = lab.counters();
    let gone = counters.connections_expired.get() + counters.connections_evicted.get();
    assert_eq!(counters.connections_created.get() - gone, live);
}

/// A table so small that most of the burst shares its home buckets.
#[test]
fn a_burst_of_openings_makes_each_once_also_in_one_bucket() {
    let mut lab = Lab::with_capacity(24);
    lab.configure(&[Configured {
        key: udp_service(at(VIP, 53)),
        reals: vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)],
    }]);
    let frames: Vec<_> = (0..24).map(|n| datagram(5000 + n, &[n as u8])).collect();
    let out = burst(&mut lab, &frames);
    assert_eq!(out.iter().map(|seen| seen.payload[0]).collect::<Vec<_>>(), Vec::from_iter(0..24));
    let to_first = out.iter().filter(|seen| *seen.destination.ip() == RS1).count();
    assert_eq!(to_first, 12, "by turns");
    assert_counted(&mut lab, 24, 24);
    // Each real knows its clients, and no other answers.
    for seen in &out {
        let reply = Packet::udp(seen.destination, seen.source, b"r").macs(RS1_MAC, DIP_MAC);
        let back = lab.arrive(DIP0, &reply.frame());
        assert_eq!(read(&back[0].bytes).source, at(VIP, 53));
    }
    let again = burst(&mut lab, &frames);
    let ends = |seen: &[Seen]| seen.iter().map(|s| (s.source, s.destination)).collect::<HashSet<_>>();
    assert_eq!(ends(&again), ends(&out), "each keeps its real");
    assert_counted(&mut lab, 24, 48);
}

#[test]
fn packets_of_a_connection_opened_in_the_same_burst_follow_in_order() {
    let mut lab = Lab::serving();
    let frames = [
        datagram(5000, &[0]),
        datagram(5001, &[1]),
        datagram(5000, &[2]),
        datagram(5002, &[3]),
        datagram(5000, &[4]),
        datagram(5001, &[5]),
    ];
    let out = burst(&mut lab, &frames);
    assert_eq!(out.iter().map(|seen| seen.payload[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let real_of = |n: usize| out[n].destination;
    assert!(real_of(0) == real_of(2) && real_of(2) == real_of(4) && real_of(1) == real_of(5));
    assert_counted(&mut lab, 3, 6);
}

/// The first packet has options: it still opens the connection, and none of the packets behind it does so
/// before it.
#[test]
fn an_opening_with_options_is_not_overtaken() {
    let mut lab = Lab::serving();
    let with_options = |port, payload: &[u8]| {
        let packet = Packet::udp(at(CLIENT, port), at(VIP, 53), payload);
        from_client(Packet { options: vec![1, 1, 1, 0], ..packet })
    };
    let frames = [datagram(5000, &[0]), with_options(5001, &[1]), datagram(5001, &[2]), datagram(5002, &[3])];
    let out = burst(&mut lab, &frames);
    assert_eq!(out.iter().map(|seen| seen.payload[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(out[1].destination, out[2].destination);
    assert_counted(&mut lab, 3, 4);
}

/// Client endpoints whose port moves along with their address, so that all have one half of a key, by which a bucket is
/// searched first.
#[test]
fn clients_that_half_a_key_does_not_tell_apart_are_told_apart() {
    let mut lab = Lab::with_capacity(40);
    lab.description.routes.push(Route {
        prefix: "198.0.0.0/8".parse().unwrap(),
        interface: VIP0,
        via: Some(std::net::IpAddr::V4(ROUTER)),
    });
    let reals = vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)];
    lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals }]);
    let clients: Vec<_> =
        (0..30u8).map(|n| at(Ipv4Addr::new(198, 51, 100 ^ n, 7), u16::from(n) | 0x2100)).collect();
    let frames: Vec<_> =
        clients.iter().map(|client| from_client(Packet::udp(*client, at(VIP, 53), b"a"))).collect();
    let out = burst(&mut lab, &frames);
    assert_eq!(out.iter().map(|seen| seen.source).collect::<Vec<_>>(), clients);
    let again = burst(&mut lab, &frames);
    for (seen, before) in again.iter().zip(&out) {
        assert_eq!(
            (seen.source, seen.destination),
            (before.source, before.destination),
            "each keeps its real"
        );
        let reply = Packet::udp(seen.destination, seen.source, b"r").macs(RS1_MAC, DIP_MAC);
        let back = read(&lab.arrive(DIP0, &reply.frame())[0].bytes);
        assert_eq!((back.source, back.destination), (at(VIP, 53), seen.source));
    }
    assert_counted(&mut lab, 30, 60);
}

/// All endpoints that half a key does not tell from the one that has a connection: none has a part in it.
#[test]
fn a_client_that_half_a_key_does_not_tell_apart_has_no_part_in_a_connection() {
    let mut lab = Lab::serving();
    let (client, port) = (Ipv4Addr::new(198, 51, 100, 9), 40000u16);
    let packet = |source, flags| from_client(Packet::tcp(source, at(VIP, 80), flags));
    assert_eq!(lab.arrive(VIP0, &packet(at(client, port), SYN)).len(), 1);
    // The upper half is the address, exclusive-ored with the port in its second and third bytes.
    let [a, b, c, d] = client.octets();
    let [high, low] = port.to_be_bytes();
    for other in (0..=u16::MAX).filter(|other| *other != port) {
        let [other_high, other_low] = other.to_be_bytes();
        let alike = Ipv4Addr::new(a, b ^ high ^ other_high, c ^ low ^ other_low, d);
        let sent = lab.arrive(VIP0, &packet(at(alike, other), ACK));
        assert!(sent.iter().all(|frame| frame.port != DIP0), "{alike}:{other}");
    }
}

/// One client opens connections to two services in one burst: both have one key, and differ in their reals. Where
/// one real serves both, the second gets another real.
#[test]
fn one_client_opens_two_services_in_one_burst() {
    let mut lab = Lab::new();
    let services = [at(VIP, 53), at(VIP, 54)];
    let reals = vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)];
    let configured = |listen| Configured { key: udp_service(listen), reals: reals.clone() };
    lab.configure(&services.map(configured));
    let client = at(CLIENT, 5000);
    let frames: Vec<_> =
        services.iter().map(|listen| from_client(Packet::udp(client, *listen, b"a"))).collect();
    let out = burst(&mut lab, &frames);
    assert_ne!(out[0].destination, out[1].destination, "replies would collide");
    assert_counted(&mut lab, 2, 2);
    for (seen, listen) in out.iter().zip(services) {
        let reply = Packet::udp(seen.destination, client, b"r").macs(RS1_MAC, DIP_MAC);
        let back = lab.arrive(DIP0, &reply.frame());
        assert_eq!(read(&back[0].bytes).source, listen);
    }
}

/// A SYN, the same SYN again, data, and a SYN that reopens what was reset, among other openings.
#[test]
fn retransmitted_and_reopening_syns_make_no_second_connection() {
    let mut lab = Lab::serving();
    let frames =
        [syn(40000), syn(40001), syn(40000), Packet::tcp(at(CLIENT, 40001), at(VIP, 80), ACK), syn(40002)];
    let out = burst(&mut lab, &frames.map(from_client));
    assert_eq!(out.iter().map(|s| s.source.port()).collect::<Vec<_>>(), [40000, 40001, 40000, 40001, 40002]);
    assert_eq!(out[0].destination, out[2].destination);
    assert_counted(&mut lab, 3, 5);
    for seen in &out[..1] {
        let reset = Packet::tcp(seen.destination, seen.source, RST).macs(RS1_MAC, DIP_MAC);
        lab.arrive(DIP0, &reset.frame());
    }
    let before = lab.counters().connections_created.get();
    let out = burst(&mut lab, &[syn(40003), syn(40000), syn(40004)].map(from_client));
    assert_eq!((out.len(), lab.counters().connections_created.get() - before), (3, 3));
    assert_eq!(lab.connections().len(), 5, "the one that was reset is not there beside the new one");
}

/// Refusals and openings in one burst: a service without reals, one that is not there, no room.
#[test]
fn openings_among_refusals_are_made() {
    let mut lab = Lab::with_capacity(2);
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS1, 80), 1)] },
        Configured { key: tcp_service(at(VIP, 81)), reals: vec![(at(RS1, 81), 0)] },
    ]);
    // Both established: neither gives way.
    for port in [40000, 40001] {
        lab.arrive(VIP0, &from_client(syn(port)));
        lab.arrive(
            DIP0,
            &Packet::tcp(at(RS1, 80), at(CLIENT, port), SYN | ACK).macs(RS1_MAC, DIP_MAC).frame(),
        );
        lab.arrive(VIP0, &from_client(Packet::tcp(at(CLIENT, port), at(VIP, 80), ACK)));
        let confirmed = Packet::tcp(at(RS1, 80), at(CLIENT, port), ACK);
        lab.arrive(DIP0, &confirmed.macs(RS1_MAC, DIP_MAC).frame());
    }
    let to = |listen: SocketAddrV4, port| from_client(Packet::tcp(at(CLIENT, port), listen, SYN));
    let frames = [syn(40002), syn(40003)].map(from_client);
    assert_eq!(burst(&mut lab, &frames).len(), 0);
    assert_eq!(lab.dropped(DropReason::TableFull), 2);
    // One is reset, and makes room for the first that comes; then nothing does.
    lab.arrive(DIP0, &Packet::tcp(at(RS1, 80), at(CLIENT, 40000), RST).macs(RS1_MAC, DIP_MAC).frame());
    let frames = [to(at(VIP, 81), 1000), to(at(VIP, 82), 1001), to(at(VIP, 80), 1002)];
    let out = burst(&mut lab, &frames);
    assert_eq!(out.iter().filter(|seen| *seen.destination.ip() == RS1).count(), 1);
    assert_eq!(lab.connections().len(), 2);
    assert_eq!((lab.dropped(DropReason::NoReal), lab.dropped(DropReason::NoService)), (1, 1));
}

/// The id of the router is kept, and forgotten when it changes.
#[test]
fn the_way_back_through_a_router_follows_its_id() {
    let mut lab = Lab::serving();
    let key = NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(ROUTER) };
    let opened = |lab: &mut Lab, port: u16| {
        let packet = Packet::udp(at(FAR_CLIENT, port), at(VIP, 53), b"a").macs(CLIENT_MAC, VIP_MAC);
        let to = read(&lab.arrive(VIP0, &packet.frame())[0].bytes).destination;
        let reply = Packet::udp(to, at(FAR_CLIENT, port), b"r").macs(RS1_MAC, DIP_MAC);
        let back = lab.arrive(DIP0, &reply.frame());
        back.first().map(|sent| read(&sent.bytes).to_mac)
    };
    let first = Mac([2, 0, 0, 0, 0x10, 1]);
    assert_eq!(opened(&mut lab, 1), Some(first));
    assert_eq!(opened(&mut lab, 2), Some(first));
    lab.unreachable(key);
    lab.turn();
    assert_eq!(opened(&mut lab, 3), None, "waits for the router");
    // Under another id, as if the first had been given away; the first is now somebody else's.
    lab.neighbours.retain(|(known, _)| *known != key);
    let second = Mac([2, 0, 0, 0, 0x10, 2]);
    lab.reachable(key, second);
    assert_eq!(opened(&mut lab, 4), Some(second));
}

/// A real that is unavailable or overloaded keeps its connections and gets no new one, by either way of opening.
#[test]
fn reals_that_take_no_connections_now_are_passed_over() {
    let mut lab = Lab::with_capacity(1024);
    let reals = vec![(at(RS1, 80), 1), (at(RS2, 80), 1)];
    let other = Configured { key: tcp_service(at(VIP, 81)), reals: vec![(at(RS1, 81), 1)] };
    lab.configure(&[Configured { key: tcp_service(at(VIP, 80)), reals }, other]);
    let real = |seen: &Seen| *seen.destination.ip();
    let opened = |lab: &mut Lab, ports: std::ops::Range<u16>| -> HashSet<Ipv4Addr> {
        let frames: Vec<_> = ports.map(|port| from_client(syn(port))).collect();
        burst(lab, &frames).iter().map(real).collect()
    };
    assert_eq!(opened(&mut lab, 1000..1008), HashSet::from([RS1, RS2]));
    let ids: Vec<RealId> = lab.description.reals.iter().map(|real| real.id).collect();
    for set in [Reals::set_unavailable, Reals::set_overloaded] {
        set(&lab.control.reals, ids[0], true);
        assert_eq!(opened(&mut lab, 2000..2008), HashSet::from([RS2]));
        // A client port that has another connection takes the slow path.
        lab.arrive(VIP0, &from_client(Packet::tcp(at(CLIENT, 3000), at(VIP, 81), SYN)));
        let slow = lab.arrive(VIP0, &from_client(syn(3000)));
        assert_eq!(real(&read(&slow[0].bytes)), RS2);
        let established = burst(&mut lab, &[from_client(Packet::tcp(at(CLIENT, 1000), at(VIP, 80), ACK))]);
        assert_eq!(established.len(), 1);
        for port in (2000..2008).chain([3000]) {
            lab.arrive(VIP0, &from_client(Packet::tcp(at(CLIENT, port), at(VIP, 80), RST)));
        }
        set(&lab.control.reals, ids[0], false);
    }
    ids.iter().for_each(|id| lab.control.reals.set_unavailable(*id, true));
    assert_eq!(opened(&mut lab, 4000..4002), HashSet::from([CLIENT]), "told that there is none");
    assert_eq!(lab.dropped(DropReason::NoReal), 2);
    ids.iter().for_each(|id| lab.control.reals.set_unavailable(*id, false));
    assert_eq!(opened(&mut lab, 5000..5008), HashSet::from([RS1, RS2]));
}

over_ipv6! {
    a_burst_of_openings_makes_each_once_also_in_one_bucket,
    packets_of_a_connection_opened_in_the_same_burst_follow_in_order,
    clients_that_half_a_key_does_not_tell_apart_are_told_apart,
    a_client_that_half_a_key_does_not_tell_apart_has_no_part_in_a_connection,
    one_client_opens_two_services_in_one_burst,
    retransmitted_and_reopening_syns_make_no_second_connection,
    openings_among_refusals_are_made,
    the_way_back_through_a_router_follows_its_id,
    reals_that_take_no_connections_now_are_passed_over,
}
