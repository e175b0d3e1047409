//! One client address and port with connections to very many services, as NTP, SIP, DNS forwarders and monitoring have.

mod support;

use dataplane::connection::table::MOST_OF_ENDPOINT;
use dataplane::names::drop_reason::DropReason;
use std::net::SocketAddrV4;
use support::packet::*;
use support::*;

const SERVICES: u16 = 300;
const MOST: u16 = MOST_OF_ENDPOINT as u16;

fn services(protocol: u8) -> Vec<Configured> {
    let key = |port| if protocol == 17 { udp_service(at(VIP, port)) } else { tcp_service(at(VIP, port)) };
    let configured =
        |port| Configured { key: key(port), reals: vec![(at(RS1, port), 1), (at(RS2, port), 1)] };
    (1000..1000 + SERVICES).map(configured).collect()
}

fn ask(lab: &mut Lab, client: SocketAddrV4, port: u16) -> Option<SocketAddrV4> {
    let packet = Packet::udp(client, at(VIP, port), &port.to_be_bytes()).macs(CLIENT_MAC, VIP_MAC);
    let sent = lab.arrive(VIP0, &packet.frame());
    sent.first().map(|sent| read(&sent.bytes).destination)
}

fn answer(lab: &mut Lab, client: SocketAddrV4, real: SocketAddrV4) -> Option<SocketAddrV4> {
    let mac = if *real.ip() == RS1 { RS1_MAC } else { RS2_MAC };
    let sent = lab.arrive(DIP0, &Packet::udp(real, client, b"r").macs(mac, DIP_MAC).frame());
    sent.first().map(|sent| read(&sent.bytes).source)
}

#[test]
fn one_client_port_speaks_to_256_services_and_no_more() {
    for capacity in [1_000, 65_536] {
        let mut lab = Lab::with_capacity(capacity);
        lab.configure(&services(17));
        let client = at(CLIENT, 123);
        let mut reals = Vec::new();
        for port in 1000..1000 + MOST {
            let real = ask(&mut lab, client, port).unwrap_or_else(|| panic!("service {port}"));
            assert_eq!(answer(&mut lab, client, real), Some(at(VIP, port)));
            reals.push(real);
        }
        // Each keeps its real, in either direction, also when others of the client have made the table another size.
        for (port, real) in (1000..).zip(&reals) {
            assert_eq!(ask(&mut lab, client, port), Some(*real));
            assert_eq!(answer(&mut lab, client, *real), Some(at(VIP, port)));
        }
        assert_eq!(lab.dropped(DropReason::ClientEndpointFull), 0);
        for port in 1000 + MOST..1000 + SERVICES {
            assert_eq!(ask(&mut lab, client, port), None);
        }
        assert_eq!(lab.dropped(DropReason::ClientEndpointFull), u64::from(SERVICES - MOST));
        assert_eq!(lab.counters().full_endpoint.get(), Some(client.into()));
        // Others are not concerned.
        assert!(ask(&mut lab, at(CLIENT, 124), 1000).is_some());
        assert_eq!(lab.connections().len(), usize::from(MOST) + 1);
        // When they have timed out there is room again.
        lab.pass(302);
        assert!(lab.worker.table().is_empty());
        assert!(ask(&mut lab, client, 1000 + MOST).is_some());
    }
}

/// Each service has the same two reals at the same port, so replies of most would collide: two get a connection, the
/// others are refused, and to find that out takes no longer with many connections.
#[test]
fn replies_that_would_collide_are_told_among_many_connections() {
    let mut lab = Lab::with_capacity(10_000);
    let mut all = services(17);
    let shared =
        |port| Configured { key: udp_service(at(VIP, port)), reals: vec![(at(RS1, 9), 1), (at(RS2, 9), 1)] };
    all.extend((2000..2010).map(shared));
    lab.configure(&all);
    let client = at(CLIENT, 123);
    let opened = (1000..1200).filter(|port| ask(&mut lab, client, *port).is_some()).count();
    assert_eq!(opened, 200);
    let opened: Vec<_> = (2000..2010)
        .filter_map(|port| {
            let real = ask(&mut lab, client, port).filter(|real| real.port() == 9)?;
            Some((port, real))
        })
        .collect();
    assert_eq!(opened.len(), 2);
    for (port, real) in opened {
        assert_eq!(answer(&mut lab, client, real), Some(at(VIP, port)));
    }
    assert_eq!(lab.dropped(DropReason::ReplyCollision), 8);
}

/// Client ports with as many connections as they may have, as an attacker makes them: nobody is kept out.
#[test]
fn many_such_clients_keep_no_other_out() {
    let mut lab = Lab::with_capacity(20_000);
    lab.configure(&services(6));
    for client in 0..70 {
        for port in 1000..1000 + MOST {
            for flags in [SYN, ACK] {
                let packet = Packet::tcp(at(CLIENT, 20_000 + client), at(VIP, port), flags);
                lab.worker.io().arrive(VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
            }
            for sent in lab.turn().iter().filter(|sent| sent.port == DIP0) {
                let seen = read(&sent.bytes);
                let confirmed = Packet::tcp(seen.destination, seen.source, ACK);
                lab.worker.io().arrive(DIP0, &confirmed.macs(RS1_MAC, DIP_MAC).frame());
            }
        }
    }
    assert_eq!(lab.connections().len(), 70 * usize::from(MOST));
    let opened = (0..1000).filter(|n| {
        let syn =
            Packet::tcp(at(CLIENT, 30_000 + n), at(VIP, 1000 + n % SERVICES), SYN).macs(CLIENT_MAC, VIP_MAC);
        lab.arrive(VIP0, &syn.frame()).iter().any(|sent| sent.port == DIP0)
    });
    assert_eq!(opened.count(), 1000);
}
