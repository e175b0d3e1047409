//! Packets of connections whose real, or its service, has been removed, and SYNs that are sent again.

mod support;

use dataplane::connection::State;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::RealKey;
use dataplane::snapshot::OnRemoval;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use support::packet::{ACK, FIN, Packet, RST, SYN, Seen, read};
use support::*;

const POLICIES: [OnRemoval; 3] = [OnRemoval::Drop, OnRemoval::Reset, OnRemoval::Reschedule];

fn services(reals: &[Ipv4Addr]) -> Vec<Configured> {
    let with = |port| reals.iter().map(|real| (at(*real, port), 1)).collect();
    vec![
        Configured { key: tcp_service(at(VIP, 80)), reals: with(8080) },
        Configured { key: udp_service(at(VIP, 53)), reals: with(5353) },
    ]
}

/// Of what the services of a lab say of removed reals.
fn lab(on_removal: OnRemoval, reals: &[Ipv4Addr]) -> Lab {
    let mut lab = Lab::new();
    lab.on_removal = on_removal;
    lab.configure(&services(reals));
    lab
}

fn tcp(flags: u8) -> Packet {
    Packet::tcp(at(CLIENT, 40000), at(VIP, 80), flags).macs(CLIENT_MAC, VIP_MAC)
}

fn udp() -> Packet {
    Packet::udp(at(CLIENT, 40000), at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC)
}

fn send(lab: &mut Lab, packet: &Packet) -> Vec<(u8, Seen)> {
    let mut sent = lab.arrive(VIP0, &packet.frame());
    // A full burst is kept until the next turn.
    sent.extend(lab.turn());
    sent.iter().map(|sent| (sent.port.0, read(&sent.bytes))).collect()
}

fn reply(lab: &mut Lab, from: SocketAddrV4, flags: u8) {
    let packet = Packet::tcp(from, at(CLIENT, 40000), flags).macs(RS1_MAC, DIP_MAC);
    assert_eq!(lab.arrive(DIP0, &packet.frame()).len(), 1);
}

/// The server that a packet got to.
fn server(lab: &mut Lab, packet: &Packet) -> SocketAddrV4 {
    let sent = send(lab, packet);
    assert_eq!((sent.len(), sent[0].0), (1, DIP0.0), "{sent:?}");
    sent[0].1.destination
}

/// Opens a connection by three packets; to whom.
fn established(lab: &mut Lab) -> SocketAddrV4 {
    let real = server(lab, &tcp(SYN));
    reply(lab, real, SYN | ACK);
    assert_eq!(server(lab, &tcp(ACK)), real);
    reply(lab, real, ACK);
    real
}

fn states(lab: &mut Lab) -> Vec<State> {
    lab.connections().iter().map(|row| row.state).collect()
}

fn totals(lab: &mut Lab, endpoint: SocketAddrV4) -> (u64, u64) {
    let key = RealKey { service: tcp_service(at(VIP, 80)), endpoint: SocketAddr::V4(endpoint) };
    let id = lab.real_id(key);
    let of_real = lab.counters().real(id);
    (of_real.total.get(), of_real.states.active())
}

#[test]
fn a_syn_that_is_sent_again_goes_elsewhere_when_its_real_is_removed() {
    for policy in POLICIES {
        for opened in [false, true] {
            let mut lab = lab(policy, &[RS1, RS2]);
            let first = if opened { established(&mut lab) } else { server(&mut lab, &tcp(SYN)) };
            let other = if first == at(RS1, 8080) { RS2 } else { RS1 };
            lab.configure(&services(&[other]));
            assert_eq!(server(&mut lab, &tcp(SYN)), at(other, 8080), "{policy:?}");
            assert_eq!(states(&mut lab), [State::SynRecv]);
            assert_eq!((totals(&mut lab, first), totals(&mut lab, at(other, 8080))), ((0, 0), (1, 1)));
        }
    }
}

#[test]
fn a_syn_that_is_sent_again_goes_elsewhere_when_its_real_has_weight_0() {
    for opened in [false, true] {
        for others in [0, 31] {
            let mut lab = lab(OnRemoval::Drop, &[RS1, RS2]);
            let first = if opened { established(&mut lab) } else { server(&mut lab, &tcp(SYN)) };
            let mut drained = services(&[RS1, RS2]);
            let is_first = |(endpoint, _): &&mut (SocketAddrV4, u32)| *endpoint == first;
            drained[0].reals.iter_mut().find(is_first).unwrap().1 = 0;
            // It stays while its SYN is not sent again, whatever else is.
            lab.configure(&drained);
            if opened {
                assert_eq!(server(&mut lab, &tcp(ACK)), first);
            }
            // Of a full burst, too.
            for other in 0..others {
                let packet = Packet::tcp(at(CLIENT, 50000 + other), at(VIP, 80), SYN);
                lab.queue(VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
            }
            let sent = send(&mut lab, &tcp(SYN));
            let mine = |(_, seen): &&(u8, Seen)| seen.source == at(CLIENT, 40000);
            let second = sent.iter().find(mine).unwrap().1.destination;
            assert_ne!(second, first);
            let mine = lab.connections().into_iter().filter(|row| row.client.port() == 40000);
            let states: Vec<_> = mine.map(|row| row.state).collect();
            assert_eq!(states, [State::SynRecv]);
            assert_eq!(totals(&mut lab, first), (0, 0));
            assert_eq!(server(&mut lab, &tcp(SYN)), second, "whose weight is 1");
        }
    }
}

#[test]
fn a_connection_of_a_removed_real_is_dropped_and_revived() {
    let mut lab = lab(OnRemoval::Drop, &[RS1]);
    let real = established(&mut lab);
    lab.configure(&services(&[RS2]));
    assert_eq!(send(&mut lab, &tcp(ACK)), []);
    assert_eq!((lab.dropped(DropReason::RealRemoved), states(&mut lab)), (1, vec![State::Established]));
    lab.configure(&services(&[RS1]));
    assert_eq!(server(&mut lab, &tcp(ACK)), real);
}

#[test]
fn both_sides_are_reset_with_the_numbers_that_they_wait_for() {
    for removed in ["real", "service"] {
        for flags in [ACK, ACK | FIN, 0] {
            let mut lab = lab(OnRemoval::Reset, &[RS1]);
            let real = established(&mut lab);
            let left = services(&[RS2]);
            lab.configure(if removed == "real" { &left } else { &left[1..] });
            let segment = Packet { payload: b"GET /".to_vec(), ..tcp(flags) };
            let sent = send(&mut lab, &segment);
            assert_eq!(sent.len(), 2, "{removed} {flags}");
            let (to_client, to_real) = match sent[0].0 {
                0 => (&sent[0].1, &sent[1].1),
                _ => (&sent[1].1, &sent[0].1),
            };
            assert_eq!((to_client.source, to_client.destination), (at(VIP, 80), at(CLIENT, 40000)));
            assert_eq!((to_real.source, to_real.destination), (at(CLIENT, 40000), real));
            assert_eq!((to_real.from_mac, to_real.to_mac), (DIP_MAC, RS1_MAC));
            let length = 5 + u32::from(flags & FIN != 0);
            let (client_expects, its_flags) = match flags & ACK {
                0 => ((0, segment.sequence + length), RST | ACK),
                _ => ((segment.acknowledgement, 0), RST),
            };
            assert_eq!((to_client.sequence, to_client.acknowledgement), client_expects);
            assert_eq!((to_client.flags, to_real.sequence), (its_flags, segment.sequence));
            let has_ack = flags & ACK != 0;
            assert_eq!(to_real.flags, if has_ack { RST | ACK } else { RST });
            assert_eq!(to_real.acknowledgement, if has_ack { segment.acknowledgement } else { 0 });
            assert_eq!((states(&mut lab), totals(&mut lab, real)), (vec![], (0, 0)));
            assert_eq!(lab.dropped(DropReason::ConnectionReset), 1);
            assert_eq!(lab.counters().answers.get(), 2);
            // What it still sends is of no connection.
            let late = Packet::tcp(real, at(CLIENT, 40000), ACK).macs(RS1_MAC, DIP_MAC);
            let sent = lab.arrive(DIP0, &late.frame());
            assert_eq!((sent[0].port, read(&sent[0].bytes).flags), (DIP0, RST));
        }
    }
}

#[test]
fn a_client_that_resets_is_not_answered_and_its_server_hears_of_it() {
    let mut lab = lab(OnRemoval::Reset, &[RS1]);
    let real = established(&mut lab);
    lab.configure(&services(&[RS2]));
    let segment = tcp(RST);
    let sent = send(&mut lab, &segment);
    assert_eq!((sent.len(), sent[0].0, sent[0].1.destination, sent[0].1.flags), (1, DIP0.0, real, RST));
    assert_eq!((sent[0].1.sequence, states(&mut lab)), (segment.sequence, vec![]));
    assert_eq!(lab.dropped(DropReason::ConnectionReset), 1);
}

#[test]
fn a_segment_with_a_wrong_checksum_resets_nothing() {
    let mut lab = lab(OnRemoval::Reset, &[RS1]);
    established(&mut lab);
    lab.configure(&services(&[RS2]));
    let mut frame = tcp(ACK).frame();
    frame[14 + 20 + 16] ^= 1;
    assert_eq!(lab.arrive(VIP0, &frame), []);
    assert_eq!(states(&mut lab), [State::Established]);
}

#[test]
fn resets_are_limited_and_what_is_not_answered_stays() {
    let mut lab = lab(OnRemoval::Reset, &[RS1]);
    let packet = |port| Packet::tcp(at(CLIENT, port), at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC);
    let ports = 20_000..21_024;
    for port in ports.clone() {
        lab.queue(VIP0, &packet(port).frame());
        lab.turn();
    }
    lab.configure(&services(&[RS2]));
    let opened = lab.connections().len();
    assert_eq!(opened, 1024);
    lab.skip(1_000_000_000);
    for port in ports {
        lab.queue(VIP0, &Packet { flags: ACK, ..packet(port) }.frame());
    }
    for _ in 0..64 {
        lab.turn();
    }
    let left = lab.connections().len() as u64;
    assert!((1..=24).contains(&left), "a burst of 1000, and 10,000 a second: {left}");
    assert_eq!(lab.counters().answers.get(), 2 * (1024 - left));
    assert_eq!(lab.dropped(DropReason::ConnectionReset), 1024);
}

#[test]
fn tcp_that_is_not_rescheduled_is_reset_towards_its_client_alone() {
    let mut lab = lab(OnRemoval::Reschedule, &[RS1]);
    established(&mut lab);
    lab.configure(&services(&[RS2]));
    let sent = send(&mut lab, &tcp(ACK));
    assert_eq!((sent.len(), sent[0].0, sent[0].1.flags), (1, VIP0.0, RST));
    assert_eq!((states(&mut lab), lab.dropped(DropReason::ConnectionReset)), (vec![], 1));
    assert_eq!(server(&mut lab, &tcp(SYN)), at(RS2, 8080));
}

#[test]
fn a_datagram_goes_elsewhere_is_refused_or_dropped_as_the_service_says() {
    for policy in POLICIES {
        let mut lab = lab(policy, &[RS1]);
        assert_eq!(server(&mut lab, &udp()), at(RS1, 5353));
        lab.configure(&services(&[RS2]));
        match policy {
            OnRemoval::Drop => {
                assert_eq!(send(&mut lab, &udp()), []);
                assert_eq!((states(&mut lab).len(), lab.dropped(DropReason::RealRemoved)), (1, 1));
            }
            OnRemoval::Reset => {
                let sent = send(&mut lab, &udp());
                assert_eq!((sent.len(), sent[0].1.protocol, &sent[0].1.payload[..2]), (1, 1, &[3, 3][..]));
                assert_eq!((states(&mut lab), lab.dropped(DropReason::ConnectionReset)), (vec![], 1));
                assert_eq!(server(&mut lab, &udp()), at(RS2, 5353));
            }
            OnRemoval::Reschedule => {
                assert_eq!(server(&mut lab, &udp()), at(RS2, 5353));
                let rows = lab.connections();
                assert_eq!(rows.len(), 1, "the old one goes");
                lab.configure(&services(&[])[1..]);
                let unserved = send(&mut lab, &udp());
                assert_eq!((unserved.len(), unserved[0].1.protocol), (1, 1), "nobody is left");
            }
        }
    }
}

#[test]
fn a_real_that_is_emptied_loses_its_connections_and_has_new_ones_when_it_has_weight_again() {
    let mut lab = lab(OnRemoval::Drop, &[RS1, RS2]);
    let real = established(&mut lab);
    let silent = Packet::tcp(at(CLIENT, 40001), at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC);
    server(&mut lab, &silent);
    let same_real = Packet { source: at(CLIENT, 40002), ..silent };
    assert_eq!(server(&mut lab, &same_real), real);
    let mut drained = services(&[RS1, RS2]);
    drained[0].reals.iter_mut().filter(|(endpoint, _)| *endpoint == real).for_each(|(_, weight)| *weight = 0);
    lab.emptied = vec![RealKey { service: tcp_service(at(VIP, 80)), endpoint: SocketAddr::V4(real) }];
    lab.configure(&drained);
    // Those that speak are reset on both sides.
    let sent = send(&mut lab, &tcp(ACK));
    assert_eq!((sent.len(), totals(&mut lab, real).0), (2, 1), "{sent:?}");
    assert!(sent.iter().all(|(_, seen)| seen.flags & RST != 0));
    // Those that are silent for a second are forgotten; those of the other real are not.
    lab.pass(2);
    assert_eq!((totals(&mut lab, real).0, lab.connections().len()), (0, 1));
    assert_ne!(server(&mut lab, &tcp(SYN)), real);
    lab.emptied.clear();
    lab.configure(&services(&[RS1, RS2]));
    let opened: Vec<_> = (41_000..41_004)
        .map(|port| {
            server(&mut lab, &Packet::tcp(at(CLIENT, port), at(VIP, 80), SYN).macs(CLIENT_MAC, VIP_MAC))
        })
        .collect();
    assert!(opened.contains(&real));
    lab.pass(10);
    assert_eq!(lab.connections().len(), 6, "they live as long as any");
}

over_ipv6! {
    a_syn_that_is_sent_again_goes_elsewhere_when_its_real_is_removed,
    a_connection_of_a_removed_real_is_dropped_and_revived,
    both_sides_are_reset_with_the_numbers_that_they_wait_for,
    a_client_that_resets_is_not_answered_and_its_server_hears_of_it,
    a_segment_with_a_wrong_checksum_resets_nothing,
    resets_are_limited_and_what_is_not_answered_stays,
    tcp_that_is_not_rescheduled_is_reset_towards_its_client_alone,
    a_datagram_goes_elsewhere_is_refused_or_dropped_as_the_service_says,
}
