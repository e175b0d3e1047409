//! The states of SCTP connections and their timeouts, as in Linux IPVS (NAT mode): one pair of addresses, told by what
//! each packet begins with.
//!
//! The discriminants take four bits, all that an entry has for its state, and so do those of TCP and UDP
//! ([`super::State`]). Which of the two an entry's bits mean, its protocol tells; the highest bit of the protocol
//! number is enough, for SCTP's alone has it. A packet finds only entries of its own protocol, so that the packets of
//! TCP and UDP need not look.

use crate::names::direction::Direction;
use crate::names::time::Tick;
use crate::wire::sctp::Event;

/// The state of an SCTP connection. As seen by the real, so that a client's INIT ACK answers an INIT of the real's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Before its first packet was judged.
    None = 0,
    /// The client's first INIT was seen.
    Init1 = 1,
    /// The client's INIT was seen again.
    Init = 2,
    /// The real's INIT ACK was seen: the client has its cookie.
    CookieSent = 3,
    /// The client's COOKIE ECHO was seen: it has returned the cookie.
    CookieReplied = 4,
    /// The real's INIT was seen.
    CookieWait = 5,
    /// The client's INIT ACK was seen: the real has its cookie.
    Cookie = 6,
    /// The real's COOKIE ECHO was seen.
    CookieEchoed = 7,
    /// Open.
    Established = 8,
    /// The real closes.
    ShutdownSent = 9,
    /// The client closes.
    ShutdownReceived = 10,
    /// The real has acknowledged that, or closes too.
    ShutdownAckSent = 11,
    /// Aborted before it was open: by the real after the first INIT, or by the client after an INIT of the real's.
    Rejected = 12,
    /// Over.
    Closed = 13,
    /// Open by the client's word alone, where its first packet was no INIT: the real has sent nothing yet. Shown and
    /// timed as `Established`.
    EstablishedByClient = 14,
    /// Likewise open or not, and closed by the client. Shown and timed as `ShutdownReceived`.
    ShutdownReceivedByClient = 15,
}

use State::{
    Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS, CookieWait as CW,
    Established as ES, EstablishedByClient as EC, Init as IN, Init1 as I1, None as NO, Rejected as RJ,
    ShutdownAckSent as SA, ShutdownReceived as SR, ShutdownReceivedByClient as RC, ShutdownSent as SS,
};

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
const TRANSITIONS: [[[State; Event::COUNT]; State::COUNT]; 2] = {
    let mut transitions = [[[NO; Event::COUNT]; State::COUNT]; 2];
    let mut row = 0;
    while row < State::COUNT {
        let state = State::ALL[row];
        let mut event = 0;
        while event < Event::COUNT {
            let kernels = [
                next(CLIENTS, state.shown(), Event::ALL[event]),
                next(REALS, state.shown(), Event::ALL[event]),
            ];
            transitions[Direction::Forward as usize][row][event] =
                if matches!(state, NO | EC | RC) { kernels[0].by_client() } else { kernels[0] };
            transitions[Direction::Reverse as usize][row][event] = kernels[1];
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

impl State {
    /// How many there are: as many as four bits have values.
    pub const COUNT: usize = 16;

    /// Every state, in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] = [NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL, EC, RC];

    /// The state of an entry's four bits; those above are left out.
    #[inline(always)]
    pub const fn of_bits(bits: u8) -> Self {
        Self::ALL[bits as usize % Self::COUNT]
    }

    /// The state after a packet.
    #[inline(always)]
    pub const fn after(self, direction: Direction, event: Event) -> Self {
        TRANSITIONS[direction as usize][self as usize][event as usize]
    }

    /// The state that a connection begins in with its first packet from the client; `None` if this opens none. INIT
    /// does, and with the kernel's `sloppy_sctp` all but ABORT, so that a balancer that has just taken over goes on
    /// with what was open. The kernel goes by the first chunk alone there, and opens a connection in CLOSED for a
    /// cookie with an ABORT after it; here that is an ABORT too.
    pub const fn first(event: Event, sloppy: bool) -> Option<Self> {
        match event {
            Event::Init => Some(NO.after(Direction::Forward, event)),
            Event::Abort => None,
            _ if sloppy => Some(NO.after(Direction::Forward, event)),
            _ => None,
        }
    }

    /// As listings show it.
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            I1 => "INIT1",
            IN => "INIT",
            CS => "C-SENT",
            CR => "C-REPLIED",
            CW => "C-WAIT",
            CO => "COOKIE",
            CE => "C-ECHOED",
            ES | EC => "ESTABLISHED",
            SS => "S-SENT",
            SR | RC => "S-RECEIVED",
            SA => "S-ACK-SENT",
            RJ => "REJECTED",
            CL => "CLOSED",
        }
    }

    /// The state of the kernel's that it is shown and timed as.
    pub const fn shown(self) -> Self {
        match self {
            EC => ES,
            RC => SR,
            other => other,
        }
    }

    /// Where the client alone has led to this state of the kernel's.
    const fn by_client(self) -> Self {
        match self {
            ES => EC,
            SR => RC,
            other => other,
        }
    }

    /// Seconds without a packet after which a connection in this state is over. The kernel's, fixed there too;
    /// `ipvsadm -Lnc` shows `00:03` or `01:00` right after a packet, for what is left of 4 s or 61 s by then is cut to
    /// whole seconds.
    pub const fn timeout_seconds(self) -> u32 {
        match self {
            NO => 2,
            I1 | RJ => 4,
            ES | EC => 900,
            IN | CS | CR | CW | CO | CE | SS | SR | RC | SA | CL => 61,
        }
    }

    /// As [`timeout_seconds`](Self::timeout_seconds), in ticks.
    #[inline(always)]
    pub const fn timeout_ticks(self) -> u32 {
        const TICKS: [u32; State::COUNT] = {
            let mut ticks = [0; State::COUNT];
            let mut index = 0;
            while index < State::COUNT {
                ticks[index] = State::ALL[index].timeout_seconds() * Tick::PER_SECOND;
                index += 1;
            }
            ticks
        };
        TICKS[self as usize]
    }

    /// Whether it counts as `ActiveConn`: unlike TCP, SCTP only while it is open.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        matches!(self, ES | EC)
    }

    /// Whether the connection is over but for stragglers. A new INIT of the client's on such a one opens a new
    /// connection.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        matches!(self, CL)
    }

    /// Whether no one has proved yet that it is more than a first packet: that takes both, up to the acknowledged
    /// cookie.
    pub const fn is_half_open(self) -> bool {
        matches!(self, NO | I1 | IN | CS | CR | CW | CO | CE)
    }

    /// Whether its real has taken part in it, as far as the state tells: what makes a persistence template assured.
    /// It has been open, or the real has closed it; CLOSED also follows on a refusal.
    pub const fn is_proven(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }

    /// Whether only the client has shown that it takes part, by something else than opening.
    pub const fn is_one_sided(self) -> bool {
        matches!(self, EC | RC)
    }
}

#[cfg(test)]
mod tests;
