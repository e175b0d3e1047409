//! Floods that open connections, or belong to none.

use super::*;

#[test]
fn syns() {
    let packet = |n| in_vip(tcp_to_flooded(n, SYN));
    for answers in [silence, listens] {
        let mut outcome = play(Flood { packet, answers });
        outcome.assert_unharmed();
        outcome.assert_dropped(&[]);
        assert_eq!(outcome.lab.worker.table().len(), CAPACITY);
    }
}

/// What IPVS takes for a SYN.
#[test]
fn syns_with_other_flags() {
    let packet = |n| in_vip(tcp_to_flooded(n, SYN | [FIN, ACK, 32, FIN | ACK][n as usize % 4]));
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

#[test]
fn datagrams_that_nobody_answers() {
    let packet = |n| in_vip(udp_to_flooded(n));
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

#[test]
fn datagrams_that_are_answered() {
    let packet = |n| in_vip(udp_to_flooded(n));
    let mut outcome = play(Flood { packet, answers: echo });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[]);
}

/// An attacker knows that a second datagram makes a connection worth keeping. The service that he floods is closed to
/// new clients, others are not.
#[test]
fn datagrams_of_clients_that_speak_again_after_the_answer() {
    let packet = |n| in_vip(udp_to_flooded(turns(n, 2).0));
    let mut outcome = play(Flood { packet, answers: echo });
    assert!(outcome.lab.dropped(DropReason::TableFull) > ALL / 4);
    outcome.assert_unharmed();
}

#[test]
fn syn_and_wrong_ack() {
    let packet = |n| {
        let (client, which) = turns(n, 2);
        in_vip(tcp_to_flooded(client, [SYN, ACK][which as usize]))
    };
    for answers in [silence, listens, listens_and_repeats, asks_for_what_is_missing] {
        play(Flood { packet, answers }).assert_unharmed();
    }
}

/// As far as a client gets that sees no answer.
#[test]
fn whole_connections_by_the_clients_word_alone() {
    fn packet(n: u32, flags: fn(u32) -> u8) -> Frames {
        let (client, which) = turns(n, 3);
        in_vip(tcp_to_flooded(client, flags(which)))
    }
    let floods: [fn(u32) -> Frames; 3] = [
        |n| packet(n, |step| [SYN, ACK, FIN | ACK][step as usize]),
        |n| packet(n, |step| [SYN, ACK, SYN][step as usize]),
        |n| packet(n, |step| [SYN, FIN, ACK][step as usize]),
    ];
    for packet in floods {
        for answers in [silence, listens_and_repeats] {
            play(Flood { packet, answers }).assert_unharmed();
        }
    }
}

/// Clients that are real, each with a connection like any other: more than the table holds.
#[test]
fn connections_of_real_clients() {
    let packet = |n| {
        let (client, which) = turns(n, 3);
        in_vip(tcp_to_flooded(client, [SYN, ACK, ACK][which as usize]))
    };
    let mut outcome = play(Flood { packet, answers: asks_for_what_is_missing });
    assert!(outcome.lab.dropped(DropReason::TableFull) > 0);
    outcome.assert_unharmed();
}

#[test]
fn segments_of_no_connection() {
    let packet = |n| in_vip(tcp_to_flooded(n, [ACK, FIN | ACK, RST, 0][n as usize % 4]));
    let mut outcome = play(Flood { packet, answers: silence });
    outcome.assert_unharmed();
    outcome.assert_dropped(&[(DropReason::NoConnection, ALL)]);
    let answers = outcome.lab.counters().answers.get();
    assert!((7_000..10_000).contains(&answers), "{answers}: at most 10,000 a second");
}
