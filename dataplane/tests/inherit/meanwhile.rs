//! What happens while connections are being taken over.

use super::room::{WEB, filled, web, web_client};
use super::*;

/// Connections enough to be taken over in many turns.
const MANY: u32 = 3000;

fn from_client(number: u32, flags: u8) -> Vec<u8> {
    frame([CLIENT_MAC, VIP_MAC], [web_client(number), socket(WEB)], Says::Flags(flags))
}

fn from_real(number: u32, flags: u8) -> Vec<u8> {
    frame([RS1_MAC, DIP_MAC], [socket("10.0.0.7:80"), web_client(number)], Says::Flags(flags))
}

fn beginning(left: &Left, workers: usize) -> Process {
    let mut after = Process::new(&web(), workers, 4000, 99);
    after.inherit(&[(left, 1)]);
    after.begin();
    after
}

#[test]
fn what_is_of_no_known_connection_is_neither_reset_nor_routed_until_all_are_there() {
    let left = filled(MANY, 0, 4000, |_| State::Established);
    let mut after = beginning(&left, 1);
    let unknown = 50_000;
    for (interface, bytes) in [
        (VIP0, from_client(unknown, ACK)),
        (VIP0, from_client(unknown, RST)),
        (DIP0, from_real(unknown, ACK)),
    ] {
        after.arrive(0, interface, &bytes);
    }
    // A server may open connections itself, and a client those that it has not had.
    after.arrive(0, DIP0, &from_real(unknown + 1, SYN));
    after.arrive(0, DIP0, &from_real(unknown + 1, ACK));
    after.arrive(0, VIP0, &from_client(unknown + 2, SYN));
    let sent: Vec<_> = (0..3).flat_map(|_| after.cluster.turn()).map(|sent| ends(&sent.bytes)).collect();
    let real = socket("10.0.0.7:80");
    let routed = [real, web_client(unknown + 1)];
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(sent.iter().filter(|sent| **sent == routed).count(), 2);
    assert!(sent.contains(&[web_client(unknown + 2), real]));
    assert_eq!(after.cluster.dropped(DropReason::Inheriting), 3);
    assert_eq!(after.inherited(), [], "some are still to come");
    let counts = after.finish().connections;
    assert_eq!(counts, Imported { made: MANY, ..Imported::default() });

    // Now it is sure that there is none.
    let sent = after.send(0, VIP0, &from_client(unknown, ACK));
    assert_eq!(sent, [(VIP0, [socket(WEB), web_client(unknown)])], "a RST");
    assert_eq!(
        after.send(0, DIP0, &from_real(unknown, ACK)),
        [(DIP0, [web_client(unknown), real])],
        "another"
    );
    assert_eq!(after.cluster.dropped(DropReason::Inheriting), 3);
    assert_eq!(after.cluster.dropped(DropReason::NoConnection), 1);
    assert_no_frame_is_lost(&mut after);
}

/// A SYN on a connection that is over opens another one, and the client's others are not forgotten over it.
#[test]
fn a_syn_on_a_connection_that_is_over_opens_another_at_once() {
    let left =
        filled(MANY, 0, 4000, |number| if number % 2 == 0 { State::TimeWait } else { State::Established });
    let mut after = beginning(&left, 2);
    for number in [2000, 2001] {
        after.arrive(1, VIP0, &from_client(number, SYN));
    }
    let sent: Vec<_> = (0..3).flat_map(|_| after.cluster.turn()).map(|sent| ends(&sent.bytes)).collect();
    assert_eq!(sent.len(), 2);
    let created = after.cluster.sum(|counters| counters.connections_created.get());
    assert_eq!(created, 1, "the other one is of a connection");
    after.finish();
    let (rows, _) = after.dump();
    let state = |number| rows.iter().find(|row| row.client == web_client(number)).map(|row| row.state);
    assert_eq!(state(2000), Some(State::SynRecv));
    assert!(state(2001).is_some_and(|state| state != State::SynRecv));
    assert_eq!(rows.len() as u32, MANY);
}

#[test]
fn an_order_that_comes_late_or_twice_is_carried_out_once() {
    let left = filled(500, 0, 1000, |_| State::Established);
    let mut after = Process::new(&web(), 1, 1000, 99);
    after.begin();
    after.cluster.turn();
    assert_eq!(after.inherited(), []);
    after.inherit(&[(&left, 1)]);
    after.inherit(&[(&left, 1)]);
    after.arrive(0, VIP0, &from_client(7, ACK));
    let sent = after.cluster.turn();
    assert_eq!(sent.len(), 1, "there is a snapshot already");
    let mut counts = after.inherited();
    assert_eq!(counts, [InheritedCounts::default()], "one is given back at once");
    for _ in 0..100 {
        after.cluster.turn();
        counts.extend(after.inherited());
    }
    assert_eq!(counts.len(), 2);
    assert_eq!(counts[1].connections, Imported { made: 500, ..Imported::default() });
    // Nothing is left to be taken over, and nothing is done.
    after.inherit(&[]);
    assert_eq!(after.finish().connections, Imported::default());
}

#[test]
fn all_can_be_forgotten_while_packets_come() {
    let mut offers = web();
    offers.push(Offer {
        persistence: Some(600),
        ..Offer::new(Protocol::Tcp, "192.168.10.100:443", &["10.0.0.7:443"])
    });
    let left = filled(MANY, 700, 4000, |_| State::Established);
    let mut after = Process::new(&offers, 2, 4000, 99);
    after.inherit(&[(&left, 1)]);
    after.begin();
    assert_eq!(after.finish().connections.made, MANY + 700);
    for number in 0..20u16 {
        let client = SocketAddr::new([198, 51, number as u8, 9].into(), 999);
        let syn = frame([CLIENT_MAC, VIP_MAC], [client, socket("192.168.10.100:443")], Says::Flags(SYN));
        assert_eq!(after.send(usize::from(number), VIP0, &syn).len(), 1);
    }
    assert_eq!(after.cluster.sum(|counters| counters.templates.get()), 20);
    let held = after.cluster.sum(|counters| counters.connections.get());
    assert_eq!(held, u64::from(MANY) + 720);

    after.cluster.controls.iter_mut().for_each(|control| control.orders.push(Order::Forget).unwrap());
    let mut forgotten = Vec::new();
    let mut opened = 0;
    for number in 0..400 {
        after.arrive(0, VIP0, &from_client(100_000 + number, SYN));
        opened += after.cluster.turn().len() as u64;
        for control in &mut after.cluster.controls {
            while let Ok(returned) = control.returns.pop() {
                let Return::Forgotten(count) = returned else { panic!("{returned:?}") };
                forgotten.push(count);
            }
        }
    }
    assert_eq!((forgotten.len(), opened), (2, 400));
    let sum: u64 = forgotten.iter().sum();
    let again = after.cluster.sum(|counters| counters.connections.get());
    assert_eq!(sum + again, held + opened);
    assert!(sum >= held && again > 100, "{sum} forgotten, {again} there");
    assert!(after.dump().0.iter().all(|row| row.client.port() >= 10_000 && row.state == State::SynRecv));
    assert_eq!(after.dump().1, []);
    assert_eq!(after.cluster.sum(|counters| counters.templates.get()), 0);
    for real in &after.lab.description.reals {
        let total = after.cluster.sum(|counters| counters.real(real.id).total.get());
        assert_eq!(total, if real.id == RealId(0) { again } else { 0 });
    }
    assert_no_frame_is_lost(&mut after);
}

/// What is still to be taken over is forgotten with the rest.
#[test]
fn nothing_is_taken_over_any_more_once_all_is_forgotten() {
    let left = filled(MANY, 0, 4000, |_| State::Established);
    let mut after = beginning(&left, 1);
    after.arrive(0, VIP0, &from_client(1, ACK));
    assert_eq!(after.cluster.turn().len(), 1);
    after.cluster.controls[0].orders.push(Order::Forget).unwrap();
    after.arrive(0, VIP0, &from_client(2, ACK));
    let sent: Vec<_> = after.cluster.turn().iter().map(|sent| ends(&sent.bytes)).collect();
    assert_eq!(sent, [[socket(WEB), web_client(2)]], "a RST");
    let (mut made, mut forgotten) = (None, None);
    for _ in 0..200 {
        after.cluster.turn();
        while let Ok(returned) = after.cluster.controls[0].returns.pop() {
            match returned {
                Return::Inherited(inheritance) => made = Some(inheritance.counts.connections.made),
                Return::Forgotten(count) => forgotten = Some(count),
                Return::Retired(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(made.is_some_and(|made| 0 < made && made < MANY), "{made:?}");
    assert_eq!(forgotten, made.map(u64::from));
    assert_eq!(after.dump().0, []);
}
