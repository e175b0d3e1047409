//! Services whose datagrams are scheduled one by one: none makes a connection, and replies are translated all the
//! same.

mod support;

use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{NeighbourKey, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::Algorithm;
use dataplane::snapshot::{Steering, Thresholds};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use support::cluster::Cluster;
use support::packet::{Packet, Seen, read, reassemble};
use support::persistent::{ALONE, persistence};
use support::*;

/// Of the service, in the order in which they are added.
const REALS: [(Ipv4Addr, u16); 4] = [(RS1, 5353), (RS2, 5353), (RS1, 5454), (RS2, 5454)];

fn dns() -> ServiceKey {
    udp_service(at(VIP, 53))
}

fn client(port: u16) -> SocketAddrV4 {
    at(CLIENT, port)
}

fn reals(count: usize) -> Vec<(SocketAddrV4, u32)> {
    REALS.iter().take(count).map(|(address, port)| (at(*address, *port), 1)).collect()
}

/// Has the services of a lab be one-packet ones, or all of them usual ones.
fn set(lab: &mut Lab, one_packet: bool) {
    for service in lab.description.services.iter_mut().flatten() {
        service.policy.one_packet = one_packet;
    }
    lab.apply();
}

/// One-packet services.
fn configure(lab: &mut Lab, services: &[(ServiceKey, Vec<(SocketAddrV4, u32)>)]) {
    let services: Vec<_> =
        services.iter().map(|(key, reals)| Configured { key: *key, reals: reals.clone() }).collect();
    lab.configure(&services);
    set(lab, true);
}

/// VIP:53 in turns over so many reals.
fn serving(count: usize) -> Lab {
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    configure(&mut lab, &[(dns(), reals(count))]);
    lab
}

fn question(port: u16) -> Packet {
    Packet::udp(client(port), at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC)
}

fn answer(real: SocketAddrV4, to: SocketAddrV4) -> Packet {
    let mac = if *real.ip() == RS1 { RS1_MAC } else { RS2_MAC };
    Packet::udp(real, to, b"!").macs(mac, DIP_MAC)
}

/// The one packet that leaves.
fn only(sent: &[Sent]) -> (Seen, dataplane::names::ids::InterfaceId) {
    assert_eq!(sent.len(), 1, "{sent:?}");
    (read(&sent[0].bytes), sent[0].port)
}

/// Sends a datagram; the real that it reaches.
fn ask(lab: &mut Lab, packet: &Packet) -> SocketAddrV4 {
    let (seen, out) = only(&lab.arrive(VIP0, &packet.frame()));
    assert_eq!((out, seen.source, seen.protocol), (DIP0, packet.source, 17), "{seen:?}");
    seen.destination
}

/// Has a real answer; whom the client hears.
fn hear(lab: &mut Lab, real: SocketAddrV4, to: SocketAddrV4) -> SocketAddrV4 {
    let (seen, out) = only(&lab.arrive(DIP0, &answer(real, to).frame()));
    assert_eq!((out, seen.destination, seen.to_mac), (VIP0, to, CLIENT_MAC));
    seen.source
}

fn id(lab: &mut Lab, endpoint: SocketAddrV4) -> RealId {
    lab.real_id(RealKey { service: dns(), endpoint: SocketAddr::V4(endpoint) })
}

/// Conns, in and out packets of a real.
fn counted(lab: &mut Lab, endpoint: SocketAddrV4) -> [u64; 3] {
    let id = id(lab, endpoint);
    let real = lab.counters().real(id);
    assert_eq!((real.total.get(), real.states.active()), (0, 0), "no connection");
    [real.connections.get(), real.in_packets.get(), real.out_packets.get()]
}

/// By whatever path it comes: plain, in bursts; and with an IPv4 option, which takes the slow path.
#[test]
fn ten_thousand_datagrams_from_one_port_are_shared_evenly_and_every_reply_is_the_vips() {
    for (algorithm, options, capacity) in [
        (Algorithm::RoundRobin, &[][..], 1024),
        (Algorithm::WeightedRoundRobin, &[][..], 1 << 16),
        (Algorithm::RoundRobin, &[1, 1, 1, 1][..], 1024),
    ] {
        let mut lab = Lab::with_capacity(capacity);
        lab.algorithm = algorithm;
        configure(&mut lab, &[(dns(), reals(4))]);
        let mut replies = 0;
        for first in (0..10_000u16).step_by(50) {
            for n in first..first + 50 {
                let packet = Packet { options: options.to_vec(), ..question(4000) };
                lab.queue(VIP0, &Packet { id: n, ..packet }.frame());
            }
            let asked: Vec<Sent> = (0..4).flat_map(|_| lab.turn()).collect();
            assert_eq!(asked.len(), 50);
            for sent in asked {
                let seen = read(&sent.bytes);
                assert_eq!((sent.port, seen.source, &seen.payload[..]), (DIP0, client(4000), &b"?"[..]));
                let packet = Packet { options: options.to_vec(), ..answer(seen.destination, client(4000)) };
                lab.queue(DIP0, &packet.frame());
            }
            for sent in (0..4).flat_map(|_| lab.turn()) {
                let seen = read(&sent.bytes);
                assert_eq!((sent.port, seen.source, seen.destination), (VIP0, at(VIP, 53), client(4000)));
                replies += 1;
            }
        }
        assert_eq!(replies, 10_000);
        for (real, _) in reals(4) {
            assert_eq!(counted(&mut lab, real), [2500; 3], "{real}");
        }
        let counters = lab.counters();
        assert_eq!((counters.connections.get(), counters.connections_created.get()), (0, 0));
        assert_eq!((counters.datagrams_scheduled.get(), counters.pairs.get()), (10_000, 4));
        assert!(lab.connections().is_empty());
        assert_eq!(lab.worker.io().live_frames(), 0);
        lab.leap(301);
        lab.pass(34); // so large a memory is looked at in many turns
        let left: u64 = (0..4).map(|real| lab.counters().pairs_of(RealId(real))).sum();
        assert_eq!((lab.counters().pairs.get(), left), (0, 0));
    }
}

/// The kernel's picks and counts; its replies leave untranslated, and so uncounted.
#[test]
fn the_kernels_picks() {
    let recorded = include_str!("../testdata/one_packet/replies.txt");
    let service = udp_service(at(VIP, 5000));
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    configure(&mut lab, &[(service, vec![(at(RS1, 5000), 1), (at(RS2, 5000), 1)])]);
    let (_, inside) = recorded.split_once("--- lb eth0").unwrap();
    let picked: Vec<SocketAddrV4> = inside
        .lines()
        .filter_map(|line| line.trim().strip_prefix("192.168.10.6.43211 > ")?.split_once(": UDP"))
        .map(|(to, _)| {
            let (address, port) = to.rsplit_once('.').unwrap();
            at(address.parse().unwrap(), port.parse().unwrap())
        })
        .collect();
    assert_eq!(picked.len(), 3);
    for real in &picked {
        let packet = Packet::udp(client(43211), at(VIP, 5000), b"hi\n").macs(CLIENT_MAC, VIP_MAC);
        assert_eq!(ask(&mut lab, &packet), *real);
        assert_eq!(hear(&mut lab, *real, client(43211)), at(VIP, 5000));
    }
    let (_, stats) = recorded.split_once("--stats").unwrap();
    for real in [at(RS1, 5000), at(RS2, 5000)] {
        let row = stats.lines().find(|line| line.contains(&format!("-> {real} "))).unwrap();
        let row: Vec<u64> = row.split_whitespace().skip(2).map(|word| word.parse().unwrap()).collect();
        let id = lab.real_id(RealKey { service, endpoint: SocketAddr::V4(real) });
        let found = lab.counters().real(id);
        assert_eq!(
            [found.connections.get(), found.in_packets.get(), found.in_bytes.get()],
            [row[0], row[1], row[3]]
        );
    }
}

#[test]
fn a_comparing_scheduler_sees_no_connections() {
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::LeastConnection;
    configure(&mut lab, &[(dns(), reals(2))]);
    assert!((0..10).all(|n| ask(&mut lab, &question(5000 + n)) == at(RS2, 5353)), "the newest");
}

#[test]
fn connections_that_are_there_go_on_when_the_service_changes_over_and_back() {
    let mut lab = serving(2);
    set(&mut lab, false);
    let stays = ask(&mut lab, &question(6000));
    set(&mut lab, true);
    assert!((0..4).all(|_| ask(&mut lab, &question(6000)) == stays), "as before the service is asked for");
    assert_eq!(hear(&mut lab, stays, client(6000)), at(VIP, 53));
    let others: Vec<_> = (0..4).map(|_| ask(&mut lab, &question(6001))).collect();
    assert!(others[0] == others[2] && others[1] == others[3] && others[0] != others[1]);
    assert_eq!((lab.connections().len(), lab.counters().pairs.get()), (1, 2));
    set(&mut lab, false);
    let stays = ask(&mut lab, &question(6001));
    assert!((0..4).all(|_| ask(&mut lab, &question(6001)) == stays));
    // Late replies to what came before.
    others.iter().for_each(|real| assert_eq!(hear(&mut lab, *real, client(6001)), at(VIP, 53)));
    assert_eq!(lab.connections().len(), 2);
}

#[test]
fn of_two_services_that_share_a_real_the_latest_datagram_says_whose_a_reply_is() {
    let mut lab = Lab::new();
    let other = udp_service(at(VIP, 54));
    let shared = vec![(at(RS1, 5353), 1)];
    configure(&mut lab, &[(dns(), shared.clone()), (other, shared)]);
    let to = |port| Packet { destination: at(VIP, port), ..question(5000) };
    for port in [53, 54, 54, 53, 54] {
        assert_eq!(ask(&mut lab, &to(port)), at(RS1, 5353));
        assert_eq!(hear(&mut lab, at(RS1, 5353), client(5000)), at(VIP, port));
    }
    assert_eq!(lab.counters().pairs.get(), 1);
}

#[test]
fn a_real_that_a_connection_of_the_client_port_has_is_passed_over() {
    let mut lab = Lab::new();
    let usual = Configured { key: udp_service(at(VIP, 54)), reals: vec![(at(RS1, 5353), 1)] };
    lab.configure(&[Configured { key: dns(), reals: reals(2) }, usual]);
    lab.description.services[0].as_mut().unwrap().policy.one_packet = true;
    lab.apply();
    let connected = Packet { destination: at(VIP, 54), ..question(5000) };
    assert_eq!(ask(&mut lab, &connected), at(RS1, 5353));
    assert!((0..4).all(|_| ask(&mut lab, &question(5000)) == at(RS2, 5353)));
    assert_eq!(hear(&mut lab, at(RS2, 5353), client(5000)), at(VIP, 53));
    assert_eq!(hear(&mut lab, at(RS1, 5353), client(5000)), at(VIP, 54));
    assert_ne!(ask(&mut lab, &question(5001)), ask(&mut lab, &question(5001)), "nor is another client's");
}

#[test]
fn replies_of_a_removed_real_or_service_are_translated_and_datagrams_go_elsewhere() {
    let mut lab = serving(2);
    let before: Vec<_> = (0..2).map(|_| ask(&mut lab, &question(5000))).collect();
    configure(&mut lab, &[(dns(), vec![(at(RS1, 5353), 1)])]);
    assert!((0..4).all(|_| ask(&mut lab, &question(5000)) == at(RS1, 5353)));
    before.iter().for_each(|real| assert_eq!(hear(&mut lab, *real, client(5000)), at(VIP, 53)));
    let gone = id(&mut lab, at(RS2, 5353));
    assert_eq!(lab.counters().pairs_of(gone), 1, "its id is not given away");
    configure(&mut lab, &[]);
    let (seen, out) = only(&lab.arrive(VIP0, &question(5000).frame()));
    assert_eq!((out, &seen.payload[..2], seen.source), (VIP0, &[3, 3][..], at(VIP, 0)));
    before.iter().for_each(|real| assert_eq!(hear(&mut lab, *real, client(5000)), at(VIP, 53)));
    lab.leap(301);
    assert_eq!(lab.counters().pairs_of(gone), 0);
    // As any datagram of a real that is of nothing.
    assert_eq!(hear(&mut lab, at(RS2, 5353), client(5000)), at(RS2, 5353));
}

#[test]
fn without_a_real_the_client_hears_so() {
    let mut lab = Lab::new();
    configure(&mut lab, &[(dns(), vec![(at(RS1, 5353), 0)])]);
    let (seen, out) = only(&lab.arrive(VIP0, &question(5000).frame()));
    assert_eq!((out, &seen.payload[..2], seen.source), (VIP0, &[3, 3][..], at(VIP, 0)));
    assert_eq!((lab.dropped(DropReason::NoReal), lab.counters().datagrams_scheduled.get()), (1, 0));
}

/// A network behind a router that has not been heard of yet.
const HIDDEN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 77), Ipv4Addr::new(10, 0, 0, 78)];
const HIDDEN_MAC: Mac = Mac([2, 0, 0, 0, 0, 77]);

fn hidden(host: usize) -> NeighbourKey {
    NeighbourKey { interface: DIP0, address: HIDDEN[host].into() }
}

#[test]
fn what_waits_for_a_next_hop_has_been_scheduled_and_is_counted_once() {
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    let over: Vec<_> = [HIDDEN[0], RS1, HIDDEN[1]].map(|address| (at(address, 5353), 1)).into();
    configure(&mut lab, &[(dns(), over)]);
    let mut sent = Vec::new();
    for n in 0..30 {
        lab.queue(VIP0, &Packet { id: n, ..question(5000) }.frame());
        sent.extend(lab.turn());
    }
    assert_eq!((sent.len(), lab.worker.frames_held()), (10, 20));
    assert!(sent.iter().all(|sent| *read(&sent.bytes).destination.ip() == RS1));
    assert_eq!(counted(&mut lab, at(HIDDEN[0], 5353)), [0; 3]);
    for host in [1, 0] {
        let released = lab.reachable(hidden(host), HIDDEN_MAC);
        assert_eq!(released.len(), 10);
        assert!(released.iter().all(|sent| *read(&sent.bytes).destination.ip() == HIDDEN[host]));
        assert_eq!(counted(&mut lab, at(HIDDEN[host], 5353)), [10, 10, 0]);
    }
    let next: Vec<_> = (0..3).map(|_| *ask(&mut lab, &question(5000)).ip()).collect();
    assert_eq!(next, [HIDDEN[1], RS1, HIDDEN[0]], "nobody has lost a turn");
    assert_eq!((lab.worker.frames_held(), lab.worker.io().live_frames()), (0, 0));
}

#[test]
fn what_waits_for_a_real_that_is_removed_goes_elsewhere_and_what_waits_in_vain_is_answered() {
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    let over = |hosts: &[Ipv4Addr]| hosts.iter().map(|address| (at(*address, 5353), 1)).collect();
    configure(&mut lab, &[(dns(), over(&[RS1, HIDDEN[0]]))]);
    assert!(lab.arrive(VIP0, &question(5000).frame()).is_empty());
    configure(&mut lab, &[(dns(), over(&[RS1]))]);
    let (seen, _) = only(&lab.reachable(hidden(0), HIDDEN_MAC));
    assert_eq!(seen.destination, at(RS1, 5353));
    assert_eq!(
        (counted(&mut lab, at(RS1, 5353)), counted(&mut lab, at(HIDDEN[0], 5353))),
        ([1, 1, 0], [0; 3])
    );

    configure(&mut lab, &[(dns(), over(&[HIDDEN[1]]))]);
    assert!(lab.arrive(VIP0, &question(5000).frame()).is_empty());
    lab.unreachable(hidden(1));
    let (seen, out) = only(&lab.turn());
    assert_eq!((out, &seen.payload[..2], seen.source), (VIP0, &[3, 1][..], at(VIP, 0)));
    assert_eq!(seen.payload[24..28], VIP.octets(), "about what the client has sent");
    assert_eq!(counted(&mut lab, at(HIDDEN[1], 5353)), [0; 3]);
}

fn long_question(id: u16) -> Packet {
    let text: Vec<u8> = (0..4000u32).map(|n| (n * 31 + u32::from(id)) as u8).collect();
    Packet { id, dont_fragment: false, payload: text, ..question(5000) }
}

#[test]
fn all_fragments_of_a_datagram_go_to_the_real_of_its_first_however_they_are_mixed() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]] {
        let mut lab = serving(4);
        let packets = [7, 8, 9].map(long_question);
        let mut sent = Vec::new();
        for index in order {
            for packet in &packets {
                sent.extend(lab.arrive(VIP0, &packet.fragments(1500)[index]));
            }
        }
        assert_eq!(sent.len(), 9);
        let mut reached = Vec::new();
        for packet in &packets {
            let of_it = sent.iter().filter(|sent| sent.bytes[18..20] == packet.id.to_be_bytes());
            let seen = read(&reassemble(&of_it.map(|sent| sent.bytes.clone()).collect::<Vec<_>>()));
            assert_eq!(seen.payload, packet.payload);
            reached.push(seen.destination);
            assert_eq!(counted(&mut lab, seen.destination), [1, 3, 0]);
            let reply = Packet { id: 3, dont_fragment: false, ..answer(seen.destination, client(5000)) };
            let reply = Packet { payload: packet.payload.clone(), ..reply };
            let frames = reply.fragments(1500);
            let back: Vec<_> = order
                .iter()
                .flat_map(|index| lab.arrive(DIP0, &frames[*index]))
                .map(|sent| sent.bytes)
                .collect();
            let back = read(&reassemble(&back));
            assert_eq!((back.source, back.payload), (at(VIP, 53), packet.payload.clone()));
        }
        reached.sort();
        reached.dedup();
        assert_eq!(reached.len(), 3, "each went on to the next real");
        assert_eq!((lab.worker.frames_held(), lab.worker.io().live_frames()), (0, 0));
    }
}

#[test]
fn fragments_wait_behind_their_first_for_its_next_hop() {
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    configure(&mut lab, &[(dns(), vec![(at(RS1, 5353), 1), (at(HIDDEN[0], 5353), 1)])]);
    let packet = long_question(7);
    let fragments = packet.fragments(1500);
    for index in [1, 0, 2] {
        assert!(lab.arrive(VIP0, &fragments[index]).is_empty());
    }
    assert_eq!(ask(&mut lab, &question(5000)), at(RS1, 5353), "scheduled once");
    let released = lab.reachable(hidden(0), HIDDEN_MAC);
    let released: Vec<_> = released.into_iter().map(|sent| sent.bytes).collect();
    let seen = read(&reassemble(&released));
    assert_eq!((seen.destination, seen.payload), (at(HIDDEN[0], 5353), packet.payload));
    assert_eq!(counted(&mut lab, at(HIDDEN[0], 5353)), [1, 3, 0]);
}

/// The ICMP error that says to the sender of a frame that it has not arrived, from its receiver.
fn error_about(frame: &[u8], [kind, code]: [u8; 2], from: Ipv4Addr) -> Packet {
    let seen = read(frame);
    Packet::icmp(from, *seen.source.ip(), [kind, code], [0, 0, 4, 0], &frame[14..])
}

#[test]
fn errors_reach_whom_they_are_for() {
    let mut lab = serving(3);
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let sent = lab.arrive(VIP0, &question(5000).frame());
            sent[0].bytes.clone()
        })
        .collect();
    // A real's error about a question.
    for frame in &asked {
        let error = error_about(frame, [3, 3], *read(frame).destination.ip());
        let mac = if *read(frame).destination.ip() == RS1 { RS1_MAC } else { RS2_MAC };
        let (seen, out) = only(&lab.arrive(DIP0, &error.macs(mac, DIP_MAC).frame()));
        assert_eq!((out, *seen.source.ip(), *seen.destination.ip()), (VIP0, VIP, CLIENT));
        assert_eq!(
            (&seen.payload[24..28], &seen.payload[30..32]),
            (&VIP.octets()[..], &53u16.to_be_bytes()[..])
        );
    }
    // The client's about a reply: to the real that replied last.
    let unheard = Packet::udp(at(VIP, 53), client(5000), b"!").frame();
    let to_client = |about: &[u8]| error_about(about, [3, 4], CLIENT).macs(CLIENT_MAC, VIP_MAC).frame();
    assert!(lab.arrive(VIP0, &to_client(&unheard)).is_empty(), "none has replied");
    assert_eq!(lab.dropped(DropReason::IcmpUnmatched), 1);
    for frame in [&asked[1], &asked[0], &asked[2]] {
        let real = read(frame).destination;
        let reply = lab.arrive(DIP0, &answer(real, client(5000)).frame());
        let (seen, out) = only(&lab.arrive(VIP0, &to_client(&reply[0].bytes)));
        assert_eq!((out, *seen.source.ip(), *seen.destination.ip()), (DIP0, CLIENT, *real.ip()));
        let quoted = (&seen.payload[20..24], &seen.payload[28..30]);
        assert_eq!(quoted, (&real.ip().octets()[..], &real.port().to_be_bytes()[..]));
    }
    let before = lab.dropped(DropReason::IcmpUnmatched);
    configure(&mut lab, &[]);
    assert!(lab.arrive(VIP0, &to_client(&unheard)).is_empty());
    assert_eq!(lab.dropped(DropReason::IcmpUnmatched), before + 1);
}

#[test]
fn what_cannot_go_on_is_answered_by_the_vip_and_counted_as_in_the_kernel() {
    let mut lab = serving(1);
    lab.description.interfaces[DIP0.index()].mtu = 700;
    lab.apply();
    for (packet, error) in [
        (question(5000).ttl(1), [11, 0]),
        (Packet { payload: vec![0; 800], dont_fragment: true, ..question(5000) }, [3, 4]),
    ] {
        let (seen, out) = only(&lab.arrive(VIP0, &packet.frame()));
        assert_eq!((out, *seen.source.ip(), &seen.payload[..2]), (VIP0, VIP, &error[..]));
    }
    assert_eq!(counted(&mut lab, at(RS1, 5353)), [2, 2, 0]);
    let whole = Packet { payload: vec![7; 800], dont_fragment: false, ..question(5000) };
    let sent: Vec<_> = lab.arrive(VIP0, &whole.frame()).into_iter().map(|sent| sent.bytes).collect();
    assert_eq!((sent.len(), read(&reassemble(&sent)).payload), (2, whole.payload));
    // A reply that is too long for the way back.
    lab.description.interfaces[VIP0.index()].mtu = 700;
    lab.apply();
    let reply = Packet { payload: vec![0; 800], ..answer(at(RS1, 5353), client(5000)) };
    let (seen, out) = only(&lab.arrive(DIP0, &reply.frame()));
    assert_eq!((out, *seen.source.ip(), &seen.payload[..2]), (DIP0, DIP, &[3, 4][..]));
}

#[test]
fn datagrams_take_no_place_of_a_real_with_a_threshold_but_a_closed_one_gets_none() {
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    let key = RealKey { service: dns(), endpoint: SocketAddr::V4(at(RS1, 5353)) };
    lab.thresholds = vec![(key, Thresholds { upper: 2, lower: 0 })];
    lab.configure(&[Configured { key: dns(), reals: reals(2) }]);
    let limited = lab.real_id(key);
    let connected: Vec<_> = (0..3).map(|n| ask(&mut lab, &question(7000 + n))).collect();
    assert_eq!(connected, [at(RS2, 5353), at(RS1, 5353), at(RS2, 5353)]);
    set(&mut lab, true);
    for _ in 0..20 {
        let reached: Vec<_> = (0..2).map(|_| ask(&mut lab, &question(5000))).collect();
        assert!(reached.contains(&at(RS1, 5353)) && reached.contains(&at(RS2, 5353)));
    }
    assert_eq!(lab.control.reals.limited_connections(limited), 1);
    lab.control.reals.set_overloaded(limited, true);
    let slow = Packet { options: vec![1; 4], ..question(5000) };
    for packet in [question(5000), slow] {
        assert!((0..4).all(|_| ask(&mut lab, &packet) == at(RS2, 5353)));
    }
}

/// Templates decide, as in the kernel; a datagram renews them, and keeps none from running out.
#[test]
fn a_persistent_services_datagrams_go_where_its_templates_say() {
    for workers in [1, 2, 4] {
        let mut lab = Lab::new();
        lab.algorithm = Algorithm::RoundRobin;
        let limits = Thresholds { upper: 1000, lower: 0 };
        lab.thresholds = reals(2)
            .iter()
            .map(|(real, _)| (RealKey { service: dns(), endpoint: SocketAddr::V4(*real) }, limits))
            .collect();
        configure(&mut lab, &[(dns(), reals(2))]);
        let service = lab.description.services[0].as_mut().unwrap();
        service.policy.persistence = Some(persistence(60, ALONE));
        lab.apply();
        let mut cluster = Cluster::new(&lab, workers, Steering::Software);
        let mut reached = Vec::new();
        for n in 0..100 {
            let packet = question(5000 + n);
            cluster.arrive(usize::from(n) % workers, VIP0, &packet.frame());
            for sent in cluster.settle() {
                let seen = read(&sent.bytes);
                reached.push(seen.destination);
                cluster.arrive(
                    usize::from(n / 3) % workers,
                    DIP0,
                    &answer(seen.destination, packet.source).frame(),
                );
                let back: Vec<_> = cluster.settle().iter().map(|sent| read(&sent.bytes).source).collect();
                assert_eq!(back, [at(VIP, 53)]);
            }
        }
        assert_eq!((reached.len(), reached.iter().all(|real| *real == reached[0])), (100, true), "{workers}");
        assert_eq!((cluster.templates().len(), cluster.sum(|counters| counters.connections.get())), (1, 0));
        for (real, _) in reals(2) {
            let id = id(&mut lab, real);
            assert_eq!(lab.control.reals.limited_connections(id), 0, "no place is kept");
        }
        cluster.leap(61);
        assert!(cluster.templates().is_empty());
        for worker in &mut cluster.workers {
            assert_eq!(worker.io().live_frames(), 0);
        }
    }
}

/// Each client's datagrams and replies are one worker's, wherever they arrive.
#[test]
fn several_workers_share_clients_and_each_translates_its_own_replies() {
    let lab = serving(4);
    let mut cluster = Cluster::new(&lab, 3, Steering::Software);
    let (mut shares, mut state) = ([0; 4], 1u32);
    for n in 0..3000u16 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let packet = question(10_000 + n % 50);
        cluster.arrive((state >> 8) as usize % 3, VIP0, &packet.frame());
        let sent = cluster.settle();
        let (seen, _) = only(&sent);
        shares[REALS.iter().position(|(address, port)| at(*address, *port) == seen.destination).unwrap()] +=
            1;
        cluster.arrive((state >> 16) as usize % 3, DIP0, &answer(seen.destination, packet.source).frame());
        let (back, out) = only(&cluster.settle());
        assert_eq!((out, back.source, back.destination), (VIP0, at(VIP, 53), packet.source));
    }
    assert!(shares.iter().all(|share| (748..=752).contains(share)), "{shares:?}");
    assert_eq!(cluster.sum(|counters| counters.datagrams_scheduled.get()), 3000);
}

/// On any port and on a range, where the real has the port asked for or one of its own.
#[test]
fn replies_of_services_on_several_ports_are_those_of_the_port_asked_for() {
    let any = ServiceKey { last_port: 0, ..udp_service(at(VIP, 0)) };
    let range = ServiceKey { last_port: 8100, ..udp_service(at(VIP, 8000)) };
    let mut lab = Lab::new();
    lab.algorithm = Algorithm::RoundRobin;
    let as_asked = vec![(at(RS1, 0), 1), (at(RS2, 0), 1)];
    let own_port = vec![(at(RS1, 99), 1), (at(RS2, 99), 1)];
    configure(&mut lab, &[(any, as_asked), (range, own_port)]);
    for (port, expected) in [(53, 53), (8000, 99), (700, 700), (8100, 99), (53, 53)] {
        let packet = Packet { destination: at(VIP, port), ..question(5000) };
        let asked = [(); 2].map(|()| ask(&mut lab, &packet));
        let mut hosts = asked.map(|real| *real.ip());
        hosts.sort();
        assert_eq!((hosts, asked.map(|real| real.port())), ([RS1, RS2], [expected; 2]), "{port}");
        for real in asked {
            assert_eq!(hear(&mut lab, real, client(5000)), at(VIP, port));
        }
        // The client's error about the last reply, and the real's about a question.
        let reply = Packet::udp(at(VIP, port), client(5000), b"!").frame();
        let error = error_about(&reply, [3, 3], CLIENT).macs(CLIENT_MAC, VIP_MAC);
        let (seen, out) = only(&lab.arrive(VIP0, &error.frame()));
        assert_eq!((out, *seen.destination.ip()), (DIP0, *asked[1].ip()));
        assert_eq!(seen.payload[28..30], expected.to_be_bytes());
        let question = Packet::udp(client(5000), asked[0], b"?").frame();
        let mac = if *asked[0].ip() == RS1 { RS1_MAC } else { RS2_MAC };
        let error = error_about(&question, [3, 3], *asked[0].ip()).macs(mac, DIP_MAC);
        let (seen, out) = only(&lab.arrive(DIP0, &error.frame()));
        assert_eq!((out, &seen.payload[30..32]), (VIP0, &port.to_be_bytes()[..]));
    }
    let long = Packet { destination: at(VIP, 8050), ..long_question(7) };
    let sent: Vec<_> = long
        .fragments(1500)
        .iter()
        .flat_map(|frame| lab.arrive(VIP0, frame))
        .map(|sent| sent.bytes)
        .collect();
    let seen = read(&reassemble(&sent));
    assert_eq!((seen.destination.port(), seen.payload), (99, long.payload));
}

/// With more pairs than there is room for, those that were silent for longest are forgotten, and nothing else suffers.
#[test]
fn a_flood_of_made_up_clients_takes_no_more_memory_than_there_is() {
    let mut lab = serving(2);
    let mut sent = 0;
    for n in 0..20_000u32 {
        let source = at(Ipv4Addr::from_bits(0xc0a8_0b00 + n % 256), 1024 + (n / 256) as u16);
        lab.queue(VIP0, &Packet { source, ..question(1) }.frame());
        sent += if n % 32 == 31 { lab.turn().len() } else { 0 };
    }
    assert_eq!(sent + lab.turn().len(), 20_000);
    let counters = lab.counters();
    let (pairs, displaced) = (counters.pairs.get(), counters.pairs_displaced.get());
    assert_eq!(pairs + displaced, 20_000);
    let most = if support::family::is_ipv6() { 2048 } else { 1024 };
    assert!((most * 9 / 10..=most).contains(&pairs), "{pairs}");
    assert_eq!((0..2).map(|real| counters.pairs_of(RealId(real))).sum::<u64>(), pairs);
    let real = ask(&mut lab, &question(5000));
    assert_eq!(hear(&mut lab, real, client(5000)), at(VIP, 53));
}

over_ipv6! {
    ten_thousand_datagrams_from_one_port_are_shared_evenly_and_every_reply_is_the_vips,
    a_comparing_scheduler_sees_no_connections,
    connections_that_are_there_go_on_when_the_service_changes_over_and_back,
    of_two_services_that_share_a_real_the_latest_datagram_says_whose_a_reply_is,
    a_real_that_a_connection_of_the_client_port_has_is_passed_over,
    replies_of_a_removed_real_or_service_are_translated_and_datagrams_go_elsewhere,
    without_a_real_the_client_hears_so,
    what_waits_for_a_next_hop_has_been_scheduled_and_is_counted_once,
    what_waits_for_a_real_that_is_removed_goes_elsewhere_and_what_waits_in_vain_is_answered,
    all_fragments_of_a_datagram_go_to_the_real_of_its_first_however_they_are_mixed,
    fragments_wait_behind_their_first_for_its_next_hop,
    errors_reach_whom_they_are_for,
    datagrams_take_no_place_of_a_real_with_a_threshold_but_a_closed_one_gets_none,
    a_persistent_services_datagrams_go_where_its_templates_say,
    replies_of_services_on_several_ports_are_those_of_the_port_asked_for,
    a_flood_of_made_up_clients_takes_no_more_memory_than_there_is,
}
