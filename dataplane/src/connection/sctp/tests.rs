use super::*;
use crate::connection::{Timeouts, Transport};
use crate::names::ids::Protocol;
use crate::names::time::Tick;
use crate::wire::sctp::{CHUNK_HEADER, HEADER, Packet, chunk_type};
use Direction::{Forward, Reverse};

/// The kernel's states, in its order.
const KERNELS: [State; 14] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL];

/// The state that a client's packet leads to that opens a connection, if it does.
fn first(event: Event, sloppy: bool) -> Option<State> {
    opens(event, sloppy).then(|| after(State::first(Transport::Sctp(event)), Forward, event))
}

/// What the kernel does, told another way than by lists: by what a state is.
fn expected(state: State, direction: Direction, event: Event) -> State {
    let (begins, opens) = (matches!(state, NO | I1 | IN), state < ES);
    // Where the client began, up to its cookie.
    let is_clients = state <= CR;
    match (direction, event) {
        (_, Event::Data) if state == NO => ES,
        (_, Event::Data) => state,

        (Forward, Event::Init) if state == NO => I1,
        (Forward, Event::Init) if state == I1 || state >= RJ => IN,
        (Reverse, Event::Init) if state != ES => CW,
        (Forward, Event::InitAck) if begins => CW,
        (Forward, Event::InitAck) if state == CW => CO,
        (Reverse, Event::InitAck) if begins => CS,
        (_, Event::Init | Event::InitAck) => state,

        (Forward, Event::CookieEcho) if state == I1 => IN,
        (Forward, Event::CookieEcho) if state == NO || state == CS => CR,
        (Reverse, Event::CookieEcho) if opens => CE,
        (Forward, Event::CookieAck) if state == NO || state == CE => ES,
        (Reverse, Event::CookieAck) if opens => ES,
        (_, Event::CookieEcho | Event::CookieAck) => state,

        (Forward, Event::Shutdown) if state == NO || state == ES => SR,
        (Reverse, Event::Shutdown) if opens || state == ES => SS,
        (Forward, Event::ShutdownAck) if state == I1 => IN,
        (Forward, Event::ShutdownAck) if matches!(state, NO | SS | SA) => CL,
        (Reverse, Event::ShutdownAck) if is_clients || matches!(state, SS | SR) => SA,
        (Forward, Event::ShutdownComplete) if begins || state == SA => CL,
        (Reverse, Event::ShutdownComplete) if state == NO => CL,
        (_, Event::Shutdown | Event::ShutdownAck | Event::ShutdownComplete) => state,

        (Forward, Event::Error) if state == NO || state == CE => CL,
        (Reverse, Event::Error) if is_clients => CL,
        (_, Event::Error) => state,
        // Refused by the one that was asked first.
        (Forward, Event::Abort) if state == CW => RJ,
        (Reverse, Event::Abort) if state == I1 => RJ,
        (_, Event::Abort) => CL,
    }
}

#[test]
fn every_packet_leads_where_the_kernel_is_led() {
    for direction in [Forward, Reverse] {
        for event in Event::ALL {
            for state in KERNELS {
                let after = after(state, direction, event);
                let told = expected(state, direction, event);
                assert_eq!(after.shown(), told, "{state:?}, {direction:?}, {event:?}");
            }
        }
    }
}

#[test]
fn no_word_of_the_real_leaves_a_connection_one_sided_and_none_else_begins_so() {
    for state in ALL {
        for event in Event::ALL {
            let reals = after(state, Reverse, event);
            assert!(!reals.is_one_sided(), "{state:?}, {event:?}");
            assert_eq!(reals, after(state.shown(), Reverse, event), "{state:?}, {event:?}");
            let clients = after(state, Forward, event);
            assert_eq!(clients.shown(), after(state.shown(), Forward, event).shown(), "{state:?}, {event:?}");
            assert!(!clients.is_one_sided() || state == NO || state.is_one_sided(), "{state:?}, {event:?}");
            let proves = clients.is_proven() && !state.is_proven();
            assert!(!proves || state == CE, "{state:?}, {event:?}: the client proves nothing alone");
        }
    }
}

/// Whatever a client says by itself: no connection is proven, and none that began with INIT counts as active.
#[test]
fn a_client_alone_gets_nowhere() {
    for sloppy in [false, true] {
        let mut reached: Vec<_> = Event::ALL.iter().filter_map(|event| first(*event, sloppy)).collect();
        let mut index = 0;
        while index < reached.len() {
            for event in Event::ALL {
                let next = after(reached[index], Forward, event);
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
            index += 1;
        }
        assert!(reached.iter().all(|state| !state.is_proven()), "{reached:?}");
        assert_eq!(reached.iter().any(|state| state.is_active()), sloppy, "{reached:?}");
        assert_eq!(reached.iter().any(|state| state.is_one_sided()), sloppy, "{reached:?}");
    }
}

#[test]
fn only_init_opens_a_connection_and_all_but_abort_where_that_is_set() {
    for event in Event::ALL {
        let strictly = first(event, false);
        assert_eq!(strictly, (event == Event::Init).then_some(I1), "{event:?}");
        let sloppily = first(event, true).map(State::shown);
        assert_eq!(sloppily, (event != Event::Abort).then(|| expected(NO, Forward, event)), "{event:?}");
    }
    assert_eq!(first(Event::Data, true), Some(EC));
    assert_eq!(after(EC, Forward, Event::Data), EC);
    assert_eq!(after(EC, Reverse, Event::Data), ES);
    assert_eq!(after(EC, Forward, Event::Shutdown), RC);
    assert_eq!(after(RC, Reverse, Event::ShutdownAck), SA);
}

#[test]
fn a_state_is_of_the_kernels_or_shown_and_timed_as_one() {
    let timeouts = Timeouts::default();
    for (index, state) in ALL.into_iter().enumerate() {
        assert_eq!((state as usize, State::of_index(16 + index)), (16 + index, state));
        assert_eq!(State::of_index((16 + index) | 0xe0), state, "higher bits are not its");
        assert_eq!(KERNELS.contains(&state), state.shown() == state);
        assert_eq!((state.name(), state.protocol()), (state.shown().name(), Protocol::Sctp));
        assert_eq!(timeout_seconds(state), timeout_seconds(state.shown()));
        assert_eq!(timeouts.ticks(state), timeout_seconds(state) * Tick::PER_SECOND);
        assert_eq!(state.is_active(), state.shown() == ES);
        let kinds = [state.is_half_open(), state.is_proven(), state.is_one_sided(), matches!(state, RJ | CL)];
        assert_eq!(kinds.into_iter().filter(|is| *is).count(), 1, "{state:?}");
    }
    let names: std::collections::HashSet<_> = KERNELS.map(State::name).into_iter().collect();
    assert_eq!(names.len(), KERNELS.len());
}

/// The type of a chunk that a transcript names.
fn type_of(name: &str) -> u8 {
    match name {
        "DATA" => chunk_type::DATA,
        "INIT" => chunk_type::INIT,
        "INIT ACK" => chunk_type::INIT_ACK,
        "SACK" => chunk_type::SACK,
        "HEARTBEAT" => chunk_type::HEARTBEAT,
        "ABORT" => chunk_type::ABORT,
        "SHUTDOWN" => chunk_type::SHUTDOWN,
        "SHUTDOWN ACK" => chunk_type::SHUTDOWN_ACK,
        "ERROR" => chunk_type::ERROR,
        "COOKIE ECHO" => chunk_type::COOKIE_ECHO,
        "COOKIE ACK" => chunk_type::COOKIE_ACK,
        "SHUTDOWN COMPLETE" => chunk_type::SHUTDOWN_COMPLETE,
        other => panic!("unknown chunk {other}"),
    }
}

/// As `ipvsadm -Lnc` prints it.
fn minutes(seconds: u32) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

/// Follows one connection after the other, as the headings of a transcript begin them.
#[derive(Default)]
struct Replay {
    sloppy: bool,
    connection: Option<State>,
    /// Connections of the sections before that are still active: no other lives as long as the transcript takes.
    active_before: usize,
    steps: usize,
}

impl Replay {
    fn packet(&mut self, direction: Direction, chunk: &str) {
        let mut bytes = [0; HEADER + CHUNK_HEADER];
        bytes[HEADER..].copy_from_slice(&[type_of(chunk), 0, 0, CHUNK_HEADER as u8]);
        let event = Packet::parse(&bytes).unwrap().event();
        let opens_anew = |state: State| state.is_closing() && direction == Forward && event == Event::Init;
        self.connection = match self.connection {
            Some(state) if !opens_anew(state) => Some(after(state, direction, event)),
            _ if direction == Forward => first(event, self.sloppy),
            other => other,
        };
    }

    /// A line like `client INIT  SCTP 00:03  INIT1  … # ActiveConn 0 InActConn 1`, or with `(no entry)`.
    fn step(&mut self, direction: Direction, rest: &str) {
        let (line, counts) = rest.split_once('#').unwrap();
        let (chunk, entry) = match line.split_once(" SCTP ") {
            Some((chunk, entry)) => (chunk, Some(entry)),
            None => (line.strip_suffix("(no entry)   ").unwrap(), None),
        };
        self.packet(direction, chunk.trim());
        // A moment has passed since the packet, and the rest of the second is cut off.
        let found = self.connection.map(|state| (minutes(timeout_seconds(state) - 1), state.name()));
        let words: Option<Vec<_>> = entry.map(|entry| entry.split_whitespace().collect());
        let listed = words.map(|words| (words[0].to_owned(), words[1]));
        assert_eq!(found.as_ref().map(|(left, name)| (left.clone(), *name)), listed, "{rest}");
        let active: usize = counts.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(self.active(), active, "{rest}");
        self.steps += 1;
    }

    fn active(&self) -> usize {
        self.active_before + usize::from(self.connection.is_some_and(State::is_active))
    }

    fn line(&mut self, line: &str) {
        if line.starts_with("## ") {
            self.active_before = self.active();
            self.connection = None;
        } else if let Some(value) = line.strip_prefix("net.ipv4.vs.sloppy_sctp = ") {
            self.sloppy = value != "0";
        } else if let Some(rest) = line.strip_prefix("client ") {
            self.step(Forward, rest);
        } else if let Some(rest) = line.strip_prefix("server ") {
            self.step(Reverse, rest);
        }
    }
}

/// Packet by packet: the state, what is left of its timeout, and how many connections are active.
#[test]
fn the_kernels_transcripts_are_reproduced() {
    let transcripts =
        [include_str!("../../../testdata/sctp/ipv4.txt"), include_str!("../../../testdata/sctp/ipv6.txt")];
    for transcript in transcripts {
        let mut replay = Replay::default();
        transcript.lines().for_each(|line| replay.line(line));
        assert_eq!(replay.steps, 109);
    }
}
