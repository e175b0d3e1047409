use super::*;
use crate::names::ids::Protocol;
use Direction::{Forward, Reverse};

/// The kernel's tables (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, without `secure_tcp`), for what a client and a real
/// send.
const KERNELS: [[[State; 4]; 11]; 2] = [
    [
        [SR, CL, ES, CL],
        [ES, CW, ES, CL],
        [ES, SS, SS, CL],
        [SR, TW, ES, SR],
        [SR, TW, FW, CL],
        [SR, TW, TW, CL],
        [SR, CL, CL, CL],
        [SR, CW, CW, CL],
        [SR, LA, CL, LA],
        [SR, LI, LI, LI],
        [SR, TW, ES, SR],
    ],
    [
        [SS, TW, ES, CL],
        [ES, FW, ES, CL],
        [SS, SS, SS, SS],
        [SR, TW, ES, CL],
        [SS, FW, FW, CL],
        [SS, TW, TW, TW],
        [SS, CL, CL, CL],
        [SS, TW, CW, CL],
        [SS, LA, LA, CL],
        [LI, LI, ES, CL],
        [SR, TW, ES, CL],
    ],
];

const EVENTS: [TcpEvent; 4] = [TcpEvent::Syn, TcpEvent::Fin, TcpEvent::Ack, TcpEvent::Reset];

#[test]
fn a_state_is_shown_and_timed_as_the_kernels() {
    let timeouts = Timeouts::default();
    for state in State::ALL.into_iter().filter(|state| state.protocol() == Protocol::Tcp) {
        for direction in [Forward, Reverse] {
            for event in EVENTS {
                let kernels = KERNELS[direction as usize][state.shown() as usize][event as usize];
                let ours = state.after(direction, event);
                assert_eq!(ours.shown(), kernels, "{state:?} {direction:?} {event:?}");
                assert_eq!((ours.name(), timeouts.ticks(ours)), (kernels.name(), timeouts.ticks(kernels)));
                assert_eq!(
                    (ours.is_active(), ours.is_closing()),
                    (kernels.is_active(), kernels.is_closing())
                );
            }
        }
    }
}

/// Whatever a client sends that sees no answer, and however often.
#[test]
fn a_client_alone_comes_to_nothing_that_is_worth_keeping() {
    let mut states = vec![NO.after(Forward, TcpEvent::Syn)];
    while let Some(next) = states.iter().find_map(|state| {
        let after = EVENTS.map(|event| state.after(Forward, event));
        after.into_iter().find(|after| !states.contains(after))
    }) {
        states.push(next);
    }
    assert!(states.contains(&EC) && states.contains(&CC));
    for state in states {
        assert!(state.is_closing() || state.is_half_open() || state.is_one_sided(), "{state:?}");
    }
}

/// What a real sends for a client that it knows nothing of but the SYN: its answer, again and again, and RST.
#[test]
fn answers_to_a_made_up_client_make_nothing_worth_keeping_of_it() {
    let mut states = vec![NO.after(Forward, TcpEvent::Syn)];
    let after = |state: State| {
        let by_client = EVENTS.map(|event| state.after(Forward, event));
        let by_real = [TcpEvent::Syn, TcpEvent::Reset].map(|event| state.after(Reverse, event));
        by_client.into_iter().chain(by_real)
    };
    while let Some(next) = states.iter().find_map(|state| after(*state).find(|after| !states.contains(after)))
    {
        states.push(next);
    }
    for state in states {
        assert!(state.is_closing() || state.is_half_open() || state.is_one_sided(), "{state:?}");
    }
}

#[test]
fn the_reals_word_makes_an_open_connection_established() {
    let mut state = NO;
    let steps = [(Forward, TcpEvent::Syn), (Reverse, TcpEvent::Syn), (Forward, TcpEvent::Ack)];
    for (direction, event) in steps {
        state = state.after(direction, event);
    }
    assert_eq!(state, EC);
    assert_eq!(state.after(Forward, TcpEvent::Ack), EC, "data of the client");
    assert_eq!(state.after(Reverse, TcpEvent::Syn), EC, "its SYN again");
    assert_eq!(state.after(Reverse, TcpEvent::Ack), ES);
    assert_eq!(state.after(Reverse, TcpEvent::Fin), FW);
    assert_eq!(EC.after(Forward, TcpEvent::Fin).after(Reverse, TcpEvent::Ack), CW);
}

#[test]
fn udp_is_worth_keeping_once_its_client_has_spoken_after_an_answer() {
    for event in EVENTS {
        let sequence = [Forward, Forward, Reverse, Reverse, Forward, Reverse, Forward];
        let mut state = UU;
        let states = sequence.map(|direction| {
            state = state.after(direction, event);
            state
        });
        assert_eq!(states, [UU, UU, UA, UA, UD, UD, UD]);
        assert!(states.iter().all(|state| state.name() == "UDP" && !state.is_active()));
    }
    assert!(UU.is_half_open() && UA.is_one_sided());
    assert!(!UD.is_half_open() && !UD.is_one_sided() && !UD.is_closing());
}

#[test]
fn a_syn_is_told_by_its_flags_alone() {
    for flags in 0..=u8::MAX {
        assert_eq!(TcpEvent::is_syn(flags), TcpEvent::of(flags) == TcpEvent::Syn, "{flags:#b}");
    }
}

#[test]
fn a_packet_leads_on_as_its_event_does_and_udp_by_direction_alone() {
    for direction in [Direction::Forward, Direction::Reverse] {
        for state in State::ALL {
            for event in EVENTS {
                assert_eq!(
                    state.after_packet(direction, Transport::Tcp(event)),
                    state.after(direction, event)
                );
            }
        }
    }
    use State::{Udp, UdpAnswered, UdpUnanswered};
    assert_eq!(State::first(Transport::Udp), UdpUnanswered);
    assert_eq!(UdpUnanswered.after_packet(Direction::Reverse, Transport::Udp), UdpAnswered);
    assert_eq!(UdpAnswered.after_packet(Direction::Forward, Transport::Udp), Udp);
    assert_eq!(State::first(Transport::Tcp(TcpEvent::Syn)), State::SynRecv);
}
