//! Services on several ports of a VIP: on a range, and on any.

mod support;

use dataplane::connection::State;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{Protocol, RealKey, ServiceKey};
use dataplane::snapshot::{OnRemoval, Steering};
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use support::cluster::Cluster;
use support::packet::{ACK, FIN, Packet, RST, SYN, Seen, read, reassemble};
use support::persistent::{ALONE, persistence};
use support::*;

/// The port that a client asks for, at a real.
const AS_ASKED: u16 = 0;

fn any_port(protocol: Protocol, reals: &[SocketAddrV4]) -> Configured {
    on_ports(protocol, 0, 0, reals)
}

fn on_ports(protocol: Protocol, first: u16, last_port: u16, reals: &[SocketAddrV4]) -> Configured {
    let key = ServiceKey { last_port, ..ServiceKey::new(protocol, at(VIP, first).into()) };
    Configured { key, reals: reals.iter().map(|real| (*real, 1)).collect() }
}

fn lab(services: &[Configured]) -> Lab {
    let mut lab = Lab::new();
    lab.configure(services);
    lab
}

fn to_vip(client: u16, port: u16, flags: u8) -> Packet {
    Packet::tcp(at(CLIENT, client), at(VIP, port), flags).macs(CLIENT_MAC, VIP_MAC)
}

fn datagram(client: u16, port: u16) -> Packet {
    Packet::udp(at(CLIENT, client), at(VIP, port), b"question").macs(CLIENT_MAC, VIP_MAC)
}

/// What has come of one packet from a client.
fn sent(lab: &mut Lab, packet: &Packet) -> (u8, Seen) {
    let sent = lab.arrive(VIP0, &packet.frame());
    assert_eq!(sent.len(), 1, "{packet:?}");
    (sent[0].port.0, read(&sent[0].bytes))
}

/// The server that a packet of a client got to.
fn server(lab: &mut Lab, packet: &Packet) -> SocketAddrV4 {
    let (port, seen) = sent(lab, packet);
    assert_eq!((port, seen.source), (DIP0.0, packet.source), "{seen:?}");
    seen.destination
}

/// Whom a client believes a server's packet to come from.
fn speaker(lab: &mut Lab, packet: Packet) -> SocketAddrV4 {
    let destination = packet.destination;
    let sent = lab.arrive(DIP0, &packet.macs(RS1_MAC, DIP_MAC).frame());
    assert_eq!((sent.len(), sent[0].port), (1, VIP0));
    let seen = read(&sent[0].bytes);
    assert_eq!(seen.destination, destination);
    seen.source
}

/// Opens a TCP connection and sends a few segments each way. Which server it is with.
fn establish(lab: &mut Lab, client: u16, port: u16) -> SocketAddrV4 {
    let real = server(lab, &to_vip(client, port, SYN));
    let back = |flags| Packet::tcp(real, at(CLIENT, client), flags);
    assert_eq!(speaker(lab, back(SYN | ACK)), at(VIP, port));
    for _ in 0..2 {
        assert_eq!(server(lab, &to_vip(client, port, ACK)), real);
        assert_eq!(speaker(lab, back(ACK)), at(VIP, port));
    }
    real
}

#[test]
fn any_port_of_the_vip_reaches_that_port_of_a_real_and_back() {
    let mut lab =
        lab(&[any_port(Protocol::Tcp, &[at(RS1, AS_ASKED)]), any_port(Protocol::Udp, &[at(RS2, AS_ASKED)])]);
    for port in [1, 22, 80, 443, 8080, 65535] {
        assert_eq!(establish(&mut lab, 40000, port), at(RS1, port));
        assert_eq!(server(&mut lab, &datagram(40000, port)), at(RS2, port));
        let answer = Packet::udp(at(RS2, port), at(CLIENT, 40000), b"answer");
        assert_eq!(speaker(&mut lab, answer), at(VIP, port));
    }
    let states: Vec<_> = lab.connections().iter().map(|row| (row.state, row.port)).collect();
    assert_eq!(states.iter().filter(|(state, _)| *state == State::Established).count(), 6);
    assert_eq!(states.iter().filter(|(_, port)| *port == 443).count(), 2);
    // Nobody serves port 0.
    let (port, seen) = sent(&mut lab, &to_vip(40000, 0, SYN));
    assert_eq!((port, seen.flags), (VIP0.0, RST | ACK));
}

#[test]
fn a_service_on_the_port_comes_before_one_on_a_range_and_that_before_any() {
    let mut lab = lab(&[
        any_port(Protocol::Tcp, &[at(RS1, 1000)]),
        on_ports(Protocol::Tcp, 8000, 8100, &[at(RS1, 2000)]),
        on_ports(Protocol::Tcp, 8050, 8050, &[at(RS1, 3000)]),
        on_ports(Protocol::Tcp, 8101, 8200, &[at(RS1, AS_ASKED)]),
    ]);
    for (client, (port, expected)) in (41000..).zip([
        (7999, 1000),
        (8000, 2000),
        (8049, 2000),
        (8050, 3000),
        (8051, 2000),
        (8100, 2000),
        (8101, 8101),
        (8200, 8200),
        (8201, 1000),
        (80, 1000),
    ]) {
        assert_eq!(establish(&mut lab, client, port), at(RS1, expected), "port {port}");
    }
    // Of the other protocol there is none.
    let (port, seen) = sent(&mut lab, &datagram(41000, 8000));
    assert_eq!((port, seen.payload[..2].to_vec()), (VIP0.0, vec![3, 3]));
}

#[test]
fn live_connections_stay_with_their_reals_whatever_services_come_and_go() {
    let any = any_port(Protocol::Tcp, &[at(RS1, AS_ASKED)]);
    let mut lab = lab(std::slice::from_ref(&any));
    assert_eq!(establish(&mut lab, 40000, 80), at(RS1, 80));
    // A service on the very port is added: new connections are its own, and this one goes on.
    let web = Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(RS2, 8080), 1)] };
    lab.configure(&[any.clone(), web.clone()]);
    let goes_on = |lab: &mut Lab| {
        assert_eq!(server(lab, &to_vip(40000, 80, ACK)), at(RS1, 80));
        assert_eq!(speaker(lab, Packet::tcp(at(RS1, 80), at(CLIENT, 40000), ACK)), at(VIP, 80));
    };
    goes_on(&mut lab);
    assert_eq!(establish(&mut lab, 40001, 80), at(RS2, 8080));
    assert_eq!(establish(&mut lab, 40000, 81), at(RS1, 81), "of the same client port");
    goes_on(&mut lab);
    // It closes, and is opened anew: as its port says now.
    server(&mut lab, &to_vip(40000, 80, FIN | ACK));
    speaker(&mut lab, Packet::tcp(at(RS1, 80), at(CLIENT, 40000), FIN | ACK));
    assert_eq!(establish(&mut lab, 40000, 80), at(RS2, 8080));
    // It is removed: its connections are dropped, and a SYN goes to the one on any port.
    lab.configure(&[any]);
    assert_eq!(lab.arrive(VIP0, &to_vip(40001, 80, ACK).frame()), []);
    assert_eq!(lab.dropped(DropReason::RealRemoved), 1);
    assert_eq!(establish(&mut lab, 40001, 80), at(RS1, 80));
    assert_eq!(lab.connections().len(), 3);
}

#[test]
fn one_client_port_on_two_ports_with_one_endpoint_gets_another_real_or_none() {
    let mut lab = lab(&[on_ports(Protocol::Tcp, 8000, 8100, &[at(RS1, 80), at(RS2, 80)])]);
    let first = establish(&mut lab, 40000, 8000);
    let second = establish(&mut lab, 40000, 8001);
    assert_ne!(first, second);
    let (port, seen) = sent(&mut lab, &to_vip(40000, 8002, SYN));
    assert_eq!((port, seen.flags & RST), (VIP0.0, RST));
    assert_eq!(lab.dropped(DropReason::ReplyCollision), 1);
    // Each reply comes from where its client has asked.
    for (real, asked) in [(first, 8000), (second, 8001)] {
        assert_eq!(speaker(&mut lab, Packet::tcp(real, at(CLIENT, 40000), ACK)), at(VIP, asked));
    }
    // Where a closed one is left of the two, it gives way.
    server(&mut lab, &to_vip(40000, 8000, FIN | ACK));
    speaker(&mut lab, Packet::tcp(first, at(CLIENT, 40000), FIN | ACK));
    assert_eq!(establish(&mut lab, 40000, 8002), first);
    assert_eq!(lab.connections().len(), 2);
}

#[test]
fn icmp_errors_and_fragments_are_translated_as_the_connection_is() {
    let mut lab = lab(&[any_port(Protocol::Udp, &[at(RS1, AS_ASKED)])]);
    assert_eq!(server(&mut lab, &datagram(40000, 5000)), at(RS1, 5000));
    // About a client's datagram, as its real saw it.
    let quoted = Packet::udp(at(CLIENT, 40000), at(RS1, 5000), b"question").ttl(63).datagram();
    let error = Packet::icmp(RS1, CLIENT, [3, 3], [0; 4], &quoted).macs(RS1_MAC, DIP_MAC);
    let sent = lab.arrive(DIP0, &error.frame());
    let seen = read(&sent[0].bytes);
    assert_eq!((*seen.source.ip(), sent[0].port), (VIP, VIP0));
    let expected = Packet::udp(at(CLIENT, 40000), at(VIP, 5000), b"question").ttl(63).datagram();
    assert_eq!(seen.payload[8..], expected);
    // About a reply, as the client saw it.
    let quoted = Packet::udp(at(VIP, 5000), at(CLIENT, 40000), b"answer").ttl(63).datagram();
    let error = Packet::icmp(CLIENT, VIP, [3, 3], [0; 4], &quoted).macs(CLIENT_MAC, VIP_MAC);
    let sent = lab.arrive(VIP0, &error.frame());
    let seen = read(&sent[0].bytes);
    assert_eq!((*seen.destination.ip(), sent[0].port), (RS1, DIP0));
    let expected = Packet::udp(at(RS1, 5000), at(CLIENT, 40000), b"answer").ttl(63).datagram();
    assert_eq!(seen.payload[8..], expected);

    let large = Packet { payload: vec![9; 3000], ..datagram(40001, 6000) };
    let frames = large.fragments(1500).into_iter().flat_map(|frame| lab.arrive(VIP0, &frame));
    let whole = read(&reassemble(&frames.map(|sent| sent.bytes).collect::<Vec<_>>()));
    assert_eq!((whole.destination, whole.payload), (at(RS1, 6000), large.payload));
}

#[test]
fn connections_of_a_removed_real_fare_as_their_service_says() {
    let service = |reals: &[SocketAddrV4]| vec![on_ports(Protocol::Tcp, 8000, 8100, reals)];
    let both = [at(RS1, AS_ASKED), at(RS2, AS_ASKED)];
    for policy in [OnRemoval::Drop, OnRemoval::Reset, OnRemoval::Reschedule] {
        let mut lab = Lab::new();
        lab.on_removal = policy;
        lab.configure(&service(&both));
        let first = establish(&mut lab, 40000, 8000);
        let other = if *first.ip() == RS1 { RS2 } else { RS1 };
        lab.configure(&service(&[at(other, AS_ASKED)]));
        let sent = lab.arrive(VIP0, &to_vip(40000, 8000, ACK).frame());
        let seen: Vec<_> = sent.iter().map(|sent| (sent.port, read(&sent.bytes))).collect();
        match policy {
            OnRemoval::Drop => {
                assert_eq!(seen, []);
                assert_eq!(
                    speaker(&mut lab, Packet::tcp(first, at(CLIENT, 40000), ACK)),
                    at(VIP, 8000),
                    "still translated"
                );
                lab.configure(&service(&both));
                assert_eq!(server(&mut lab, &to_vip(40000, 8000, ACK)), first, "added again");
                lab.configure(&service(&[at(other, AS_ASKED)]));
            }
            OnRemoval::Reset => {
                assert_eq!((seen[0].0, seen[0].1.source, seen[0].1.flags & RST), (VIP0, at(VIP, 8000), RST));
                assert_eq!((seen[1].0, seen[1].1.destination, seen[1].1.flags & RST), (DIP0, first, RST));
            }
            OnRemoval::Reschedule => {
                assert_eq!((seen.len(), seen[0].1.flags & RST), (1, RST));
            }
        }
        assert_eq!(establish(&mut lab, 40000, 8000), at(other, 8000), "{policy:?}");
        assert_eq!(lab.connections().len(), 1);
    }
}

/// What a real says without a connection: from the port of a service on that port alone it is reset, from other ports
/// it is its own business.
#[test]
fn reals_on_any_port_speak_for_themselves_elsewhere() {
    let mut lab = lab(&[any_port(Protocol::Tcp, &[at(RS1, AS_ASKED)])]);
    let own = Packet::tcp(at(RS1, 50000), at(CLIENT, 80), ACK).macs(RS1_MAC, DIP_MAC);
    let sent = lab.arrive(DIP0, &own.frame());
    assert_eq!((sent[0].port, read(&sent[0].bytes).source), (VIP0, at(RS1, 50000)), "routed");
}

#[test]
fn a_client_of_any_port_stays_with_its_real_on_all_of_them() {
    for (workers, steering) in
        [(1, Steering::Software), (2, Steering::Software), (4, Steering::Software), (3, Steering::Device)]
    {
        let mut lab = Lab::new();
        lab.configure(&[any_port(Protocol::Tcp, &[at(RS1, AS_ASKED), at(RS2, AS_ASKED)])]);
        for service in lab.description.services.iter_mut().flatten() {
            service.policy.persistence = Some(persistence(50, ALONE));
        }
        lab.apply();
        let mut cluster = Cluster::new(&lab, workers, steering);
        let mut reached = HashMap::new();
        for n in 0..200u16 {
            let (client, port) = (20000 + 37 * n, 1 + 11 * n);
            let send = |cluster: &mut Cluster, packet: Packet, on| {
                cluster.arrive(usize::from(n) % workers, on, &packet.frame());
                let sent = cluster.settle();
                assert_eq!(sent.len(), 1);
                read(&sent[0].bytes)
            };
            let seen = send(&mut cluster, to_vip(client, port, SYN), VIP0);
            assert_eq!(seen.destination.port(), port);
            *reached.entry(*seen.destination.ip()).or_insert(0) += 1;
            // A reply that came to whatever worker is its own.
            let reply = Packet::tcp(seen.destination, at(CLIENT, client), SYN | ACK);
            let seen = send(&mut cluster, reply.macs(RS1_MAC, DIP_MAC), DIP0);
            assert_eq!(seen.source, at(VIP, port));
        }
        assert_eq!(reached.into_values().collect::<Vec<_>>(), [200], "{workers} workers");
        let templates = cluster.templates();
        assert_eq!((templates.len(), templates[0].assured), (1, false));
        // With the connections it is over: as templates know them by their ports.
        cluster.leap(130);
        cluster.leap(130);
        cluster.leap(61);
        assert_eq!(cluster.templates(), []);
        assert_eq!(cluster.sum(|counters| counters.connections.get()), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Connections of a few clients on many ports, in a table that grows, while services come and go: each goes where
    /// the service that was there when it began has sent it, and its replies come from where it was sent.
    #[test]
    fn each_connection_keeps_its_ends(
        // Room for one connection of each client on each port: none is to give way.
        steps in prop::collection::vec((0..5u8, 0..8u16, 0..40u16), 1..400), capacity in 8 * 40..3000usize,
    ) {
        let all = [
            any_port(Protocol::Tcp, &[at(RS1, AS_ASKED), at(RS2, AS_ASKED)]),
            on_ports(Protocol::Tcp, 10, 19, &[at(RS1, AS_ASKED)]),
            on_ports(Protocol::Tcp, 15, 15, &[at(RS2, AS_ASKED)]),
            on_ports(Protocol::Tcp, 16, 16, &[at(RS1, 1600)]),
        ];
        let mut lab = Lab::with_capacity(capacity);
        let mut there = [true; 4];
        lab.configure(&all);
        let mut connections: HashMap<(u16, u16), SocketAddrV4> = HashMap::new();
        for (what, client, port) in steps {
            let (client, port) = (40000 + client, 1 + port);
            if what == 0 {
                // One comes or goes; what goes has its connections dropped, so they are forgotten here.
                let which = usize::from(port % 3) + 1;
                there[which] = !there[which];
                let services: Vec<_> =
                    all.iter().zip(there).filter(|(_, there)| *there).map(|(one, _)| one.clone()).collect();
                lab.configure(&services);
                continue;
            }
            match connections.get(&(client, port)).copied() {
                Some(real) => {
                    let sent = lab.arrive(VIP0, &to_vip(client, port, ACK).frame());
                    let reply = speaker(&mut lab, Packet::tcp(real, at(CLIENT, client), ACK));
                    prop_assert_eq!(reply, at(VIP, port), "also of a removed one");
                    if sent.is_empty() {
                        prop_assert!(lab.dropped(DropReason::RealRemoved) > 0);
                    } else {
                        prop_assert_eq!(read(&sent[0].bytes).destination, real);
                    }
                }
                None => {
                    let exact = (port == 15 && there[2]) || (port == 16 && there[3]);
                    let range = (10..=19).contains(&port) && there[1];
                    let real = server(&mut lab, &to_vip(client, port, SYN));
                    let expected = match (exact, range, port) {
                        (true, _, 15) => at(RS2, 15),
                        (true, _, _) => at(RS1, 1600),
                        (_, true, _) => at(RS1, port),
                        _ => at(*real.ip(), port),
                    };
                    prop_assert_eq!(real, expected);
                    connections.insert((client, port), real);
                }
            }
            lab.turn();
        }
        let rows = lab.connections();
        prop_assert_eq!(rows.len(), connections.len());
        for row in rows {
            let key = lab.description.reals.iter().find(|real| real.id == row.real).map(|real| real.key);
            let RealKey { service, endpoint } = key.unwrap().at_port(row.port);
            let real = connections.get(&(row.client.port(), service.listen.port()));
            prop_assert_eq!(real.copied().map(SocketAddr::V4), Some(endpoint));
        }
    }
}

over_ipv6! {
    any_port_of_the_vip_reaches_that_port_of_a_real_and_back,
    a_service_on_the_port_comes_before_one_on_a_range_and_that_before_any,
    live_connections_stay_with_their_reals_whatever_services_come_and_go,
    one_client_port_on_two_ports_with_one_endpoint_gets_another_real_or_none,
    icmp_errors_and_fragments_are_translated_as_the_connection_is,
    connections_of_a_removed_real_fare_as_their_service_says,
    reals_on_any_port_speak_for_themselves_elsewhere,
    a_client_of_any_port_stays_with_its_real_on_all_of_them,
}
