//! Services whose connections live longer or shorter than those of others.

mod support;

use dataplane::connection::{State, TimeoutSeconds, Timeouts};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::time::Tick;
use proptest::prelude::*;
use support::packet::{ACK, Packet, RST, SYN, read};
use support::*;

/// VIP:80 and VIP:81, and UDP VIP:53; the ports of the services.
const PORTS: [u16; 3] = [80, 81, 53];

fn services() -> Vec<Configured> {
    let of = |port| Configured {
        key: if port == 53 { udp_service(at(VIP, port)) } else { tcp_service(at(VIP, port)) },
        reals: vec![(at(RS1, port), 1), (at(RS2, port), 1)],
    };
    PORTS.map(of).into()
}

fn packet(client: u16, port: u16, flags: u8) -> Vec<u8> {
    let (from, to) = (at(CLIENT, client), at(VIP, port));
    let packet = if port == 53 { Packet::udp(from, to, b"?") } else { Packet::tcp(from, to, flags) };
    packet.macs(CLIENT_MAC, VIP_MAC).frame()
}

/// By client port and state: seconds that are left.
fn left(lab: &mut Lab) -> Vec<(u16, State, u32)> {
    let rows = lab.connections();
    let mut left: Vec<_> =
        rows.iter().map(|row| (row.client.port(), row.state, row.seconds_left())).collect();
    left.sort();
    left
}

#[test]
fn each_service_has_its_own_timeouts_and_new_ones_count_from_the_next_look() {
    let mut lab = Lab::new();
    let own = Timeouts::default().with(State::SynRecv, 10).with(State::Established, 7200);
    lab.own_timeouts = vec![(tcp_service(at(VIP, 81)), own)];
    lab.configure(&services());
    for (client, port) in [(1000, 80), (1001, 81), (1002, 53)] {
        lab.arrive(VIP0, &packet(client, port, SYN));
    }
    let (opened, udp) = (State::SynRecv, (1002, State::Udp, 300));
    assert_eq!(left(&mut lab), [(1000, opened, 60), (1001, opened, 10), udp]);
    lab.pass(2);
    for (client, port) in [(1000, 80), (1001, 81)] {
        lab.arrive(VIP0, &packet(client, port, ACK));
    }
    let (opened, udp) = (State::Established, (1002, State::Udp, 298));
    assert_eq!(left(&mut lab), [(1000, opened, 900), (1001, opened, 7200), udp]);
    // Live connections follow, also those of a service that comes to have its own, and by no packet.
    let udp_own = Timeouts::default().with(State::Udp, 100);
    lab.own_timeouts = vec![(udp_service(at(VIP, 53)), udp_own)];
    lab.configure(&services());
    assert_eq!(left(&mut lab), [(1000, opened, 900), (1001, opened, 900), (1002, State::Udp, 98)]);
    // What has been silent for too long is dead at once, whether or not it has been swept.
    lab.own_timeouts.push((tcp_service(at(VIP, 80)), Timeouts::default().with(State::Established, 1)));
    lab.skip(1_000_000_000);
    lab.configure(&services());
    let sent = lab.arrive(VIP0, &packet(1000, 80, ACK));
    assert_eq!((sent[0].port, read(&sent[0].bytes).flags), (VIP0, RST));
    assert_eq!(lab.dropped(DropReason::NoConnection), 1);
    lab.leap(5);
    assert_eq!(left(&mut lab).iter().map(|(port, ..)| *port).collect::<Vec<_>>(), [1001, 1002]);
    let counted: u64 =
        (0..6).map(|id| lab.counters().real(dataplane::names::ids::RealId(id)).total.get()).sum();
    assert_eq!((counted, lab.worker.connections()), (2, 2));
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet of a client, by its number: which service it talks to is the number modulo 3.
    Packet(u16),
    /// Ticks without a turn.
    Wait(u32),
    /// A second or two with turns.
    Turns,
    /// A service gets these seconds for ESTABLISHED, SYN_RECV and UDP, or none of its own.
    Own(usize, Option<u32>),
    /// All services get these for ESTABLISHED and UDP.
    All(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..12u16).prop_map(Step::Packet),
        4 => (1..40u32).prop_map(Step::Wait),
        1 => Just(Step::Turns),
        1 => (0..3usize, proptest::option::of(1..20u32)).prop_map(|(service, own)| Step::Own(service, own)),
        1 => (1..20u32).prop_map(Step::All),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A connection as the description says that it goes.
#[derive(Clone, Copy)]
struct Known {
    tick: u64,
    state: State,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_connection_lives_as_long_as_its_service_says_at_the_time(steps in steps()) {
        let mut lab = Lab::new();
        let (mut all, mut own) = (900, [None; 3]);
        let mut known: [Option<Known>; 12] = [None; 12];
        lab.configure(&services());
        let tick_nanoseconds = 1_000_000_000 / u64::from(Tick::PER_SECOND);
        let tick = |lab: &Lab| lab.now().nanoseconds / tick_nanoseconds;
        for step in steps {
            match step {
                Step::Packet(client) => {
                    let service = usize::from(client) % 3;
                    let timeout = |state| seconds(state, own[service], all);
                    let now = tick(&lab);
                    let before = known[usize::from(client)]
                        .filter(|known| now - known.tick < timeout(known.state) * u64::from(Tick::PER_SECOND));
                    let port = PORTS[service];
                    // The first opens a connection, later ones are of it.
                    let state = if port == 53 {
                        State::Udp
                    } else if before.is_some() {
                        State::Established
                    } else {
                        State::SynRecv
                    };
                    let flags = if state == State::SynRecv { SYN } else { ACK };
                    let sent = lab.arrive(VIP0, &packet(1000 + client, port, flags));
                    prop_assert_eq!(sent.iter().map(|sent| sent.port).collect::<Vec<_>>(), [DIP0]);
                    known[usize::from(client)] = Some(Known { tick: tick(&lab), state });
                }
                Step::Wait(ticks) => lab.skip(u64::from(ticks) * tick_nanoseconds),
                Step::Turns => lab.leap(1),
                Step::Own(..) | Step::All(_) => {
                    // What is dead goes before it could come to live longer.
                    lab.leap(1);
                    let now = tick(&lab);
                    for (client, known) in known.iter_mut().enumerate() {
                        let timeout = |known: &Known| seconds(known.state, own[client % 3], all);
                        let lives = |known: &Known| now - known.tick < timeout(known) * u64::from(Tick::PER_SECOND);
                        *known = known.filter(lives);
                    }
                    match step {
                        Step::Own(service, seconds) => own[service] = seconds,
                        Step::All(seconds) => all = seconds,
                        _ => {}
                    }
                }
            }
            let usual = Timeouts::new(TimeoutSeconds { tcp: all, udp: all, ..TimeoutSeconds::default() });
            lab.description.timeouts = usual;
            lab.own_timeouts = (0..3)
                .filter_map(|service| {
                    let seconds = own[service]?;
                    let of_state = |timeouts: Timeouts, state| timeouts.with(state, seconds);
                    let timeouts = [State::Established, State::SynRecv, State::Udp].into_iter().fold(usual, of_state);
                    Some((services()[service].key, timeouts))
                })
                .collect();
            lab.configure(&services());
            let now = tick(&lab);
            let expected: Vec<_> = (0u16..)
                .zip(known)
                .filter_map(|(client, known)| {
                    let Known { tick, state } = known?;
                    let timeout = seconds(state, own[usize::from(client) % 3], all) * u64::from(Tick::PER_SECOND);
                    let left = timeout.checked_sub(now - tick).filter(|left| *left > 0)?;
                    Some((1000 + client, state, (left / u64::from(Tick::PER_SECOND)) as u32))
                })
                .collect();
            prop_assert_eq!(left(&mut lab), expected);
        }
    }
}

fn seconds(state: State, own: Option<u32>, all: u32) -> u64 {
    u64::from(own.unwrap_or(if state == State::SynRecv { 60 } else { all }))
}

over_ipv6! {
    each_service_has_its_own_timeouts_and_new_ones_count_from_the_next_look,
}
