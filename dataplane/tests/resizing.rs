//! Connections while the table changes its size under them.

mod support;
use std::collections::HashMap;
use std::net::SocketAddrV4;
use support::packet::*;
use support::*;

const CLIENTS: u16 = 12_000;
/// Their ports; each sends to the VIP.
const PORTS: std::ops::Range<u16> = 1_000..1_000 + CLIENTS;

fn datagram(port: u16) -> Vec<u8> {
    Packet::udp(at(CLIENT, port), at(VIP, 53), &port.to_be_bytes()).macs(CLIENT_MAC, VIP_MAC).frame()
}

/// Lets these clients send, in full bursts and one after the other; each gets the real that it has had
/// before, and what a client sends leaves in order.
fn send(lab: &mut Lab, reals: &mut HashMap<u16, SocketAddrV4>, ports: impl Iterator<Item = u16>) {
    let mut expected = Vec::new();
    for port in ports {
        lab.worker.io().arrive(VIP0, &datagram(port));
        expected.push(port);
    }
    let mut seen = Vec::new();
    for _ in 0..expected.len() + 2 {
        for sent in lab.turn() {
            let Seen { source, destination, payload, .. } = read(&sent.bytes);
            let port = source.port();
            assert_eq!(payload, port.to_be_bytes());
            assert_eq!(*reals.entry(port).or_insert(destination), destination, "client {port}");
            seen.push(port);
        }
        if seen.len() == expected.len() {
            break;
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn connections_keep_their_reals_and_their_order_while_the_table_grows_and_shrinks() {
    let mut lab = Lab::with_capacity(20_000);
    lab.configure(&[Configured {
        key: udp_service(at(VIP, 53)),
        reals: vec![(at(RS1, 5353), 1), (at(RS2, 5353), 1)],
    }]);
    let mut reals = HashMap::new();
    // Each new client beside two that are there.
    send(&mut lab, &mut reals, PORTS.flat_map(|port| [port, port.midpoint(PORTS.start), port]));
    assert_eq!(lab.counters().connections_created.get(), u64::from(CLIENTS), "each was made once");
    let grown = lab.counters().entries_moved.get();
    assert!(grown > u64::from(CLIENTS) / 2, "{grown} have been moved");
    assert_eq!(lab.connections().len(), usize::from(CLIENTS));
    // Their answers, so that they live longer than those that stay silent.
    for (port, real) in &reals {
        let answer = Packet::udp(*real, at(CLIENT, *port), b"r").macs(RS1_MAC, DIP_MAC);
        lab.worker.io().arrive(DIP0, &answer.frame());
        let back = lab.turn();
        assert!(back.iter().all(|sent| read(&sent.bytes).source == at(VIP, 53)));
    }
    // All but a few fall silent, and time out; these few go on.
    let few = || PORTS.step_by(97);
    for _ in 0..40 {
        lab.pass(10);
        send(&mut lab, &mut reals, few().chain(few()));
    }
    assert_eq!(lab.counters().connections.get(), few().count() as u64);
    let shrunk = lab.counters().entries_moved.get() - grown;
    for _ in 0..400 {
        send(&mut lab, &mut reals, few());
    }
    assert!(shrunk > 0 && !lab.worker.table().is_to_resize());
    assert_eq!(lab.counters().connections_created.get(), u64::from(CLIENTS), "none was made anew");
    assert!(lab.counters().most_moved.get() <= (1 + 32 / 8) * 64, "{}", lab.counters().most_moved.get());
    assert_eq!(lab.connections().len(), few().count());
}
