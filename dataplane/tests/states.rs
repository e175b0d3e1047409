//! States, timers and counts after each packet of the phases that were recorded on a real kernel
//! (states, expiry and counts as `ipvsadm -lnc` and `-ln` showed them).

mod support;

use dataplane::connection::{State, TimeoutSeconds, Timeouts};
use dataplane::names::ids::RealKey;
use support::packet::{ACK, FIN, Packet, RST, SYN};
use support::*;

/// Who sends a segment.
#[derive(Clone, Copy)]
enum Sender {
    Client,
    Real,
}
use Sender::{Client, Real};

/// One service with one real, VIP:7400 to rs1:7000, as in the transcript.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 7400)), reals: vec![(at(RS1, 7000), 1)] },
        Configured { key: udp_service(at(VIP, 5000)), reals: vec![(at(RS1, 5000), 1)] },
    ]);
    lab
}

fn segment(lab: &mut Lab, from: Sender, flags: u8) {
    match from {
        Client => {
            let packet = Packet::tcp(at(CLIENT, 41002), at(VIP, 7400), flags).macs(CLIENT_MAC, VIP_MAC);
            lab.arrive(VIP0, &packet.frame());
        }
        Real => {
            let packet = Packet::tcp(at(RS1, 7000), at(CLIENT, 41002), flags).macs(RS1_MAC, DIP_MAC);
            lab.arrive(DIP0, &packet.frame());
        }
    }
}

fn counts(lab: &mut Lab) -> (u64, u64) {
    let id = lab.real_id(RealKey {
        service: tcp_service(at(VIP, 7400)),
        endpoint: std::net::SocketAddr::V4(at(RS1, 7000)),
    });
    let real = lab.counters().real(id);
    (real.states.active(), real.inactive())
}

/// A segment; the state it leads to, that state's timeout in seconds, and ActiveConn and InActConn.
type Step = (Sender, u8, State, u32, (u64, u64));

/// Plays a sequence; after each segment the state, its timeout and ActiveConn/InActConn must be these.
fn play(sequence: &[Step]) {
    let mut lab = lab();
    for (step, (from, flags, state, seconds, expected)) in sequence.iter().enumerate() {
        segment(&mut lab, *from, *flags);
        let rows = lab.connections();
        assert_eq!(rows.len(), 1, "step {step}");
        assert_eq!(rows[0].state.shown(), *state, "step {step}");
        assert_eq!(rows[0].seconds_left(), *seconds, "step {step}: timer restarted");
        assert_eq!(counts(&mut lab), *expected, "step {step}: ActiveConn, InActConn");
        lab.pass(1); // so that a timer that is not restarted shows
    }
}

#[test]
fn client_closes_first() {
    play(&[
        (Client, SYN, State::SynRecv, 60, (1, 0)),
        (Real, SYN | ACK, State::SynRecv, 60, (1, 0)),
        (Client, ACK, State::Established, 900, (1, 0)),
        (Client, ACK, State::Established, 900, (1, 0)),
        (Real, ACK, State::Established, 900, (1, 0)),
        (Client, FIN | ACK, State::CloseWait, 60, (0, 1)),
        (Real, FIN | ACK, State::TimeWait, 120, (0, 1)),
        (Client, ACK, State::TimeWait, 120, (0, 1)),
    ]);
}

#[test]
fn server_closes_first() {
    play(&[
        (Client, SYN, State::SynRecv, 60, (1, 0)),
        (Real, SYN | ACK, State::SynRecv, 60, (1, 0)),
        (Client, ACK, State::Established, 900, (1, 0)),
        (Real, FIN | ACK, State::FinWait, 120, (0, 1)),
        (Client, ACK, State::FinWait, 120, (0, 1)),
        (Client, FIN | ACK, State::TimeWait, 120, (0, 1)),
        (Real, ACK, State::TimeWait, 120, (0, 1)),
    ]);
}

#[test]
fn a_reset_of_either_side_closes() {
    for from in [Client, Real] {
        play(&[
            (Client, SYN, State::SynRecv, 60, (1, 0)),
            (Real, SYN | ACK, State::SynRecv, 60, (1, 0)),
            (Client, ACK, State::Established, 900, (1, 0)),
            (from, RST, State::Close, 10, (0, 1)),
        ]);
    }
}

#[test]
fn a_real_that_refuses_closes_and_a_clients_early_reset_does_not() {
    play(&[
        (Client, SYN, State::SynRecv, 60, (1, 0)),
        (Client, RST, State::SynRecv, 60, (1, 0)),
        (Real, RST | ACK, State::Close, 10, (0, 1)),
    ]);
}

#[test]
fn a_new_syn_reopens_time_wait() {
    play(&[
        (Client, SYN, State::SynRecv, 60, (1, 0)),
        (Client, ACK, State::Established, 900, (1, 0)),
        (Client, FIN | ACK, State::CloseWait, 60, (0, 1)),
        (Real, FIN | ACK, State::TimeWait, 120, (0, 1)),
        (Client, SYN, State::SynRecv, 60, (1, 0)),
        (Client, ACK, State::Established, 900, (1, 0)),
    ]);
}

#[test]
fn a_syn_ack_without_connection_is_scheduled_and_an_ack_fin_or_rst_is_not() {
    for (flags, made) in [(SYN | ACK, 1), (SYN | FIN, 1), (ACK, 0), (FIN, 0), (RST, 0), (0, 0)] {
        let mut lab = lab();
        segment(&mut lab, Client, flags);
        assert_eq!(lab.connections().len(), made, "flags {flags:#x}");
    }
}

#[test]
fn udp_has_one_state_that_both_sides_refresh() {
    let mut lab = lab();
    for (from_client, expires) in [(true, 300), (false, 300), (true, 300)] {
        if from_client {
            let packet = Packet::udp(at(CLIENT, 43001), at(VIP, 5000), b"hi").macs(CLIENT_MAC, VIP_MAC);
            lab.arrive(VIP0, &packet.frame());
        } else {
            let packet = Packet::udp(at(RS1, 5000), at(CLIENT, 43001), b"ho").macs(RS1_MAC, DIP_MAC);
            lab.arrive(DIP0, &packet.frame());
        }
        let rows = lab.connections();
        assert_eq!((rows[0].state.name(), rows[0].seconds_left()), ("UDP", expires));
        lab.pass(10);
        assert_eq!(lab.connections()[0].seconds_left(), expires - 10);
    }
    let id = lab.real_id(RealKey {
        service: udp_service(at(VIP, 5000)),
        endpoint: std::net::SocketAddr::V4(at(RS1, 5000)),
    });
    let real = lab.counters().real(id);
    assert_eq!((real.states.active(), real.inactive()), (0, 1), "UDP is never active");
}

#[test]
fn a_connection_ends_at_its_timeout_and_not_before() {
    for (packet, seconds) in [
        (Packet::udp(at(CLIENT, 43001), at(VIP, 5000), b"hi"), 300),
        (Packet::tcp(at(CLIENT, 43001), at(VIP, 7400), SYN), 60),
    ] {
        let mut lab = lab();
        lab.arrive(VIP0, &packet.macs(CLIENT_MAC, VIP_MAC).frame());
        lab.pass(seconds - 1);
        assert_eq!(lab.connections().len(), 1);
        lab.pass(2);
        assert!(lab.connections().is_empty());
        assert!(lab.worker.table().is_empty(), "swept, not only hidden");
    }
}

#[test]
fn changed_timeouts_hold_from_the_next_snapshot_on() {
    let mut lab = lab();
    let packet = Packet::udp(at(CLIENT, 43001), at(VIP, 5000), b"hi").macs(CLIENT_MAC, VIP_MAC);
    lab.arrive(VIP0, &packet.frame());
    lab.description.timeouts = Timeouts::new(TimeoutSeconds { tcp: 900, fin: 120, udp: 20 });
    lab.apply();
    assert_eq!(lab.connections()[0].seconds_left(), 20);
    lab.pass(21);
    assert!(lab.connections().is_empty());
}

/// As `sloppy_tcp=1`: a segment of no connection opens one in the state that it leads to.
#[test]
fn with_sloppy_tcp_any_segment_but_a_rst_opens_a_connection() {
    for sloppy in [false, true] {
        let mut lab = lab();
        lab.description.sloppy_tcp = sloppy;
        lab.apply();
        segment(&mut lab, Client, RST);
        segment(&mut lab, Client, RST | ACK);
        assert!(lab.connections().is_empty());
        segment(&mut lab, Client, ACK);
        let rows: Vec<_> = lab.connections().iter().map(|row| (row.state, row.seconds_left())).collect();
        let expected: &[_] = if sloppy { &[(State::Established, 900)] } else { &[] };
        assert_eq!(rows, expected);
        segment(&mut lab, Real, RST);
        lab.leap(12);
        segment(&mut lab, Client, FIN | ACK);
        let rows: Vec<_> = lab.connections().iter().map(|row| (row.state, row.seconds_left())).collect();
        let expected: &[_] = if sloppy { &[(State::Close, 10)] } else { &[] };
        assert_eq!(rows, expected);
    }
}

/// As `secure_tcp`: the real has to take part before a connection lives as long as an open one.
#[test]
fn secured_timeouts_are_those_of_openings_until_the_real_has_confirmed() {
    let mut lab = lab();
    lab.description.timeouts = Timeouts::default().secured();
    lab.apply();
    let left = |lab: &mut Lab| lab.connections()[0].seconds_left();
    for (from, flags, seconds) in [
        (Client, SYN, 60),
        (Client, ACK, 60),
        (Real, SYN | ACK, 60),
        (Client, ACK, 60),
        (Real, ACK, 900),
        (Client, ACK, 900),
    ] {
        segment(&mut lab, from, flags);
        assert_eq!(left(&mut lab), seconds);
    }
}

over_ipv6! {
    client_closes_first,
    server_closes_first,
    a_reset_of_either_side_closes,
    a_real_that_refuses_closes_and_a_clients_early_reset_does_not,
    a_new_syn_reopens_time_wait,
    a_syn_ack_without_connection_is_scheduled_and_an_ack_fin_or_rst_is_not,
    udp_has_one_state_that_both_sides_refresh,
    a_connection_ends_at_its_timeout_and_not_before,
    changed_timeouts_hold_from_the_next_snapshot_on,
    with_sloppy_tcp_any_segment_but_a_rst_opens_a_connection,
    secured_timeouts_are_those_of_openings_until_the_real_has_confirmed,
}
