//! What leads from one state of an SCTP connection to another, and how long each lasts, as in Linux IPVS (NAT mode):
//! one pair of addresses, told by what each packet begins with.

use super::State;
use crate::names::direction::Direction;
pub use crate::wire::sctp::Event;

use State::{
    SctpClosed as CL, SctpCookie as CO, SctpCookieEchoed as CE, SctpCookieReplied as CR,
    SctpCookieSent as CS, SctpCookieWait as CW, SctpEstablished as ES, SctpEstablishedByClient as EC,
    SctpInit as IN, SctpInit1 as I1, SctpNone as NO, SctpRejected as RJ, SctpShutdownAckSent as SA,
    SctpShutdownReceived as SR, SctpShutdownReceivedByClient as RC, SctpShutdownSent as SS,
};

/// SCTP's states, in the order of their discriminants.
const ALL: [State; State::ROWS] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, EC, RC];

/// What leads from which of the kernel's states to which other.
type Change = (Event, &'static [State], State);

/// The kernel's, of a client's packets. What is not listed changes nothing.
const CLIENTS: &[Change] = &[
    (Event::Data, &[NO], ES),
    (Event::Init, &[NO], I1),
    (Event::Init, &[I1, RJ, CL], IN),
    (Event::InitAck, &[NO, I1, IN], CW),
    (Event::InitAck, &[CW], CO),
    (Event::CookieEcho, &[NO, CS], CR),
    (Event::CookieEcho, &[I1], IN),
    (Event::CookieAck, &[NO, CE], ES),
    (Event::Shutdown, &[NO, ES], SR),
    (Event::ShutdownAck, &[NO, SS, SA], CL),
    (Event::ShutdownAck, &[I1], IN),
    (Event::ShutdownComplete, &[NO, I1, IN, SA], CL),
    (Event::Error, &[NO, CE], CL),
    (Event::Abort, &[NO, I1, IN, CS, CR, CO, CE, ES, SS, SR, SA, RJ], CL),
    (Event::Abort, &[CW], RJ),
];

/// The kernel's, of a real's packets.
const REALS: &[Change] = &[
    (Event::Data, &[NO], ES),
    (Event::Init, &[NO, I1, IN, CS, CR, CO, CE, SS, SR, SA, RJ, CL], CW),
    (Event::InitAck, &[NO, I1, IN], CS),
    (Event::CookieEcho, &[NO, I1, IN, CS, CR, CW, CO], CE),
    (Event::CookieAck, &[NO, I1, IN, CS, CR, CW, CO, CE], ES),
    (Event::Shutdown, &[NO, I1, IN, CS, CR, CW, CO, CE, ES], SS),
    (Event::ShutdownAck, &[NO, I1, IN, CS, CR, SS, SR], SA),
    (Event::ShutdownComplete, &[NO], CL),
    (Event::Error, &[NO, I1, IN, CS, CR], CL),
    (Event::Abort, &[NO, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ], CL),
    (Event::Abort, &[I1], RJ),
];

/// For each state the next one on each event, by direction.
const TRANSITIONS: [[[State; Event::COUNT]; State::ROWS]; 2] = {
    let mut transitions = [[[NO; Event::COUNT]; State::ROWS]; 2];
    let mut row = 0;
    while row < State::ROWS {
        let state = ALL[row];
        let mut event = 0;
        while event < Event::COUNT {
            let clients = next(CLIENTS, state.shown(), Event::ALL[event]);
            transitions[Direction::Forward as usize][row][event] =
                if matches!(state, NO | EC | RC) { by_client(clients) } else { clients };
            transitions[Direction::Reverse as usize][row][event] =
                next(REALS, state.shown(), Event::ALL[event]);
            event += 1;
        }
        row += 1;
    }
    transitions
};

/// The state that follows by these changes.
const fn next(changes: &[Change], state: State, event: Event) -> State {
    let mut index = 0;
    while index < changes.len() {
        let (on, from, to) = changes[index];
        let mut among = 0;
        while among < from.len() {
            if on as u8 == event as u8 && from[among] as u8 == state as u8 {
                return to;
            }
            among += 1;
        }
        index += 1;
    }
    state
}

/// Where the client alone has led to this state of the kernel's.
const fn by_client(state: State) -> State {
    match state {
        ES => EC,
        SR => RC,
        other => other,
    }
}

/// The state after a packet. A state of another protocol is taken for the one of SCTP's with the same four bits.
#[inline(always)]
pub const fn after(state: State, direction: Direction, event: Event) -> State {
    TRANSITIONS[direction as usize][state as usize % State::ROWS][event as usize]
}

/// Whether a client's packet opens a connection. INIT does, and with the kernel's `sloppy_sctp` all but ABORT, so that
/// a balancer that has just taken over goes on with what was open. The kernel goes by the first chunk alone there, and
/// opens a connection in CLOSED for a cookie with an ABORT after it; here that is an ABORT too.
pub const fn opens(event: Event, sloppy: bool) -> bool {
    match event {
        Event::Init => true,
        Event::Abort => false,
        _ => sloppy,
    }
}

/// Seconds without a packet after which a connection in this state is over. The kernel's, fixed there too;
/// `ipvsadm -Lnc` shows `00:03` or `01:00` right after a packet, for what is left of 4 s or 61 s by then is cut to
/// whole seconds.
pub(super) const fn timeout_seconds(state: State) -> u32 {
    match state {
        NO => 2,
        I1 | RJ => 4,
        ES | EC => 900,
        _ => 61,
    }
}

#[cfg(test)]
mod tests;
