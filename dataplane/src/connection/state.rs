//! Connection states and their timeouts, as in Linux IPVS (NAT mode, `secure_tcp` off). What leads from one of SCTP's
//! to another is in [`sctp`].
//!
//! An entry has four bits for its state. TCP and UDP share their values, SCTP has all of them to itself: which of the
//! two an entry's bits mean, its protocol tells.

use super::sctp;
use crate::names::direction::Direction;
use crate::names::ids::Protocol;
use crate::names::time::Tick;

/// The state of a connection. The lower four bits of the discriminants are what an entry holds; the fifth is set in
/// SCTP's. Those of SCTP are as seen by the real, so that a client's INIT ACK answers an INIT of the real's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// TCP, before its first packet was judged.
    None = 0,
    /// TCP: open.
    Established = 1,
    /// TCP: the real opens.
    SynSent = 2,
    /// TCP: the client's SYN was seen.
    SynRecv = 3,
    /// TCP: the real has closed its direction.
    FinWait = 4,
    /// TCP: both have closed.
    TimeWait = 5,
    /// TCP: reset.
    Close = 6,
    /// TCP: the client has closed its direction.
    CloseWait = 7,
    /// TCP: the last acknowledgement is awaited.
    LastAck = 8,
    /// TCP: expected.
    Listen = 9,
    /// TCP: the real's SYN and ACK were seen (only with `secure_tcp`).
    SynAck = 10,
    /// UDP, whose client has spoken again after an answer: worth keeping.
    Udp = 11,
    /// UDP, before the real has answered. Shown and timed as `Udp`.
    UdpUnanswered = 12,
    /// UDP, answered, and the client has not spoken since: anybody can have made it, by one datagram with a made-up
    /// source. Shown and timed as `Udp`.
    UdpAnswered = 13,
    /// TCP, open by the client's word alone: since its ACK the real has not confirmed that, which it does by its first
    /// segment other than a SYN. A made-up client can send both SYN and ACK. Shown and timed as `Established`.
    EstablishedByClient = 14,
    /// TCP, opened as `EstablishedByClient`, and closed by the client. Shown and timed as `CloseWait`.
    CloseWaitByClient = 15,
    /// SCTP, before its first packet was judged.
    SctpNone = 16,
    /// SCTP: the client's first INIT was seen.
    SctpInit1 = 17,
    /// SCTP: the client's INIT was seen again.
    SctpInit = 18,
    /// SCTP: the real's INIT ACK was seen: the client has its cookie.
    SctpCookieSent = 19,
    /// SCTP: the client's COOKIE ECHO was seen: it has returned the cookie.
    SctpCookieReplied = 20,
    /// SCTP: the real's INIT was seen.
    SctpCookieWait = 21,
    /// SCTP: the client's INIT ACK was seen: the real has its cookie.
    SctpCookie = 22,
    /// SCTP: the real's COOKIE ECHO was seen.
    SctpCookieEchoed = 23,
    /// SCTP: open.
    SctpEstablished = 24,
    /// SCTP: the real closes.
    SctpShutdownSent = 25,
    /// SCTP: the client closes.
    SctpShutdownReceived = 26,
    /// SCTP: the real has acknowledged that, or closes too.
    SctpShutdownAckSent = 27,
    /// SCTP, aborted before it was open: by the real after the first INIT, or by the client after an INIT of the
    /// real's.
    SctpRejected = 28,
    /// SCTP: over.
    SctpClosed = 29,
    /// SCTP, open by the client's word alone, where its first packet was no INIT: the real has sent nothing yet. Shown
    /// and timed as `SctpEstablished`.
    SctpEstablishedByClient = 30,
    /// SCTP, likewise open or not, and closed by the client. Shown and timed as `SctpShutdownReceived`.
    SctpShutdownReceivedByClient = 31,
}

use State::{
    Close as CL, CloseWait as CW, CloseWaitByClient as CC, Established as ES, EstablishedByClient as EC,
    FinWait as FW, LastAck as LA, Listen as LI, None as NO, SynAck as SA, SynRecv as SR, SynSent as SS,
    TimeWait as TW, Udp as UD, UdpAnswered as UA, UdpUnanswered as UU,
};

use State::{
    SctpClosed, SctpCookie, SctpCookieEchoed, SctpCookieReplied, SctpCookieSent, SctpCookieWait,
    SctpEstablished, SctpEstablishedByClient, SctpInit, SctpInit1, SctpNone, SctpRejected,
    SctpShutdownAckSent, SctpShutdownReceived, SctpShutdownReceivedByClient, SctpShutdownSent,
};

/// What a TCP segment's flags mean for the state, RST before SYN before FIN before ACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpEvent {
    /// SYN.
    Syn = 0,
    /// FIN.
    Fin = 1,
    /// ACK.
    #[default]
    Ack = 2,
    /// RST, or none of the four.
    Reset = 3,
}

impl TcpEvent {
    /// Values of the five lowest flags, URG and above left out, PSH in.
    const FLAGS: usize = 32;

    /// Of the flags byte (offset 13 of the TCP header).
    #[inline(always)]
    pub const fn of(flags: u8) -> Self {
        // Looked up, not decided: the flags of mixed traffic are not predictable.
        const EVENTS: [TcpEvent; TcpEvent::FLAGS] = TcpEvent::of_all_flags();
        EVENTS[flags as usize % TcpEvent::FLAGS]
    }

    /// Whether it is [`Syn`](Self::Syn) of these flags: fewer instructions than a look-up.
    #[inline(always)]
    pub const fn is_syn(flags: u8) -> bool {
        flags as usize & (Self::SYN | Self::RST) == Self::SYN
    }

    const FIN: usize = 1;
    const SYN: usize = 2;
    const RST: usize = 4;
    const ACK: usize = 16;

    const fn of_all_flags() -> [Self; Self::FLAGS] {
        let mut events = [Self::Reset; Self::FLAGS];
        let mut flags = 0;
        while flags < events.len() {
            if flags & Self::RST != 0 {
                events[flags] = Self::Reset;
            } else if flags & Self::SYN != 0 {
                events[flags] = Self::Syn;
            } else if flags & Self::FIN != 0 {
                events[flags] = Self::Fin;
            } else if flags & Self::ACK != 0 {
                events[flags] = Self::Ack;
            }
            flags += 1;
        }
        events
    }
}

/// What the transport header of a packet means for its connection's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment with these flags.
    Tcp(TcpEvent),
    /// A UDP datagram: only its direction counts.
    Udp,
    /// An SCTP packet that is this.
    Sctp(sctp::Event),
}

impl Transport {
    /// Whether it begins a connection, also where there is one that is over: SYN and INIT.
    pub const fn begins(self) -> bool {
        matches!(self, Self::Tcp(TcpEvent::Syn) | Self::Sctp(sctp::Event::Init))
    }
}

/// The kernel's two tables: for each state the next one on SYN, FIN, ACK, RST; by direction. Where the kernel's lead to
/// ESTABLISHED by the client's word, these lead to its state of that kind first, and from there the real's word leads
/// on. A row each for the states in the order of their discriminants; UDP has no events, only directions.
const TRANSITIONS: [[[State; 4]; State::ROWS]; 2] = [
    [
        [SR, CL, EC, CL],
        [ES, CW, ES, CL],
        [EC, SS, SS, CL],
        [SR, TW, EC, SR],
        [SR, TW, FW, CL],
        [SR, TW, TW, CL],
        [SR, CL, CL, CL],
        [SR, CW, CW, CL],
        [SR, LA, CL, LA],
        [SR, LI, LI, LI],
        [SR, TW, EC, SR],
        [UD; 4],
        [UU; 4],
        [UD; 4],
        [EC, CC, EC, CL],
        [SR, CC, CC, CL],
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
        [UD; 4],
        [UA; 4],
        [UA; 4],
        [EC, FW, ES, CL],
        [SS, TW, CW, CL],
    ],
];

/// Which flags of a segment change the state, bit `f` for the flags `f`: one look-up on the packet path. A client's SYN
/// is among them whatever it leads to, for it may open another connection. UDP's rows are equal all along, whatever is
/// in the place of flags.
const CHANGES: [[u32; State::ROWS]; 2] = {
    let mut changes = [[0; State::ROWS]; 2];
    let mut direction = 0;
    while direction < 2 {
        let mut row = 0;
        while row < State::ROWS {
            let mut flags = 0;
            while flags < TcpEvent::FLAGS {
                let after = TRANSITIONS[direction][row][TcpEvent::of(flags as u8) as usize];
                let may_open = direction == Direction::Forward as usize
                    && TcpEvent::is_syn(flags as u8)
                    && State::ALL[row].shown() as u8 != UD as u8;
                changes[direction][row] |= ((after as usize != row || may_open) as u32) << flags;
                flags += 1;
            }
            row += 1;
        }
        direction += 1;
    }
    changes
};

impl State {
    /// How many there are.
    pub const COUNT: usize = 32;

    /// Values that an entry's four bits have.
    pub(in crate::connection) const ROWS: usize = 16;

    /// The state with this discriminant; bits above its five are left out.
    #[inline(always)]
    pub(super) const fn of_index(index: usize) -> Self {
        State::ALL[index % State::COUNT]
    }

    /// Every state, in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] = [
        NO,
        ES,
        SS,
        SR,
        FW,
        TW,
        CL,
        CW,
        LA,
        LI,
        SA,
        UD,
        UU,
        UA,
        EC,
        CC,
        SctpNone,
        SctpInit1,
        SctpInit,
        SctpCookieSent,
        SctpCookieReplied,
        SctpCookieWait,
        SctpCookie,
        SctpCookieEchoed,
        SctpEstablished,
        SctpShutdownSent,
        SctpShutdownReceived,
        SctpShutdownAckSent,
        SctpRejected,
        SctpClosed,
        SctpEstablishedByClient,
        SctpShutdownReceivedByClient,
    ];

    /// The protocol whose connections can be in it.
    pub const fn protocol(self) -> Protocol {
        match self {
            UD | UU | UA => Protocol::Udp,
            _ if self.is_sctp() => Protocol::Sctp,
            _ => Protocol::Tcp,
        }
    }

    const fn is_sctp(self) -> bool {
        self as usize >= Self::ROWS
    }

    /// The state after a TCP segment with these events, of a connection of TCP's.
    #[inline(always)]
    pub const fn after(self, direction: Direction, event: TcpEvent) -> Self {
        TRANSITIONS[direction as usize][self as usize % Self::ROWS][event as usize]
    }

    /// The state after a packet of the state's protocol.
    #[inline(always)]
    pub const fn after_packet(self, direction: Direction, transport: Transport) -> Self {
        match transport {
            Transport::Tcp(event) => self.after(direction, event),
            // The rows of UDP are equal all along.
            Transport::Udp => self.after(direction, TcpEvent::Ack),
            Transport::Sctp(event) => sctp::after(self, direction, event),
        }
    }

    /// The state that a connection begins in, before its first packet from the client is noted. Noted twice, that of
    /// TCP or UDP leads no further than once, and so is in it already; SCTP's would.
    #[inline(always)]
    pub const fn first(transport: Transport) -> Self {
        match transport {
            Transport::Tcp(event) => NO.after(Direction::Forward, event),
            Transport::Udp => UU,
            Transport::Sctp(_) => SctpNone,
        }
    }

    /// Whether a segment with these flags changes the state of these four bits of TCP's or UDP's, or is a client's SYN.
    #[inline(always)]
    pub(super) const fn changes(bits: u8, direction: Direction, flags: u8) -> bool {
        CHANGES[direction as usize][bits as usize % Self::ROWS] >> (flags as usize % TcpEvent::FLAGS) & 1 != 0
    }

    /// As listings show it.
    pub const fn name(self) -> &'static str {
        match self {
            NO => "NONE",
            ES | EC => "ESTABLISHED",
            SS => "SYN_SENT",
            SR => "SYN_RECV",
            FW => "FIN_WAIT",
            TW => "TIME_WAIT",
            CL => "CLOSE",
            CW | CC => "CLOSE_WAIT",
            LA => "LAST_ACK",
            LI => "LISTEN",
            SA => "SYNACK",
            UD | UU | UA => "UDP",
            SctpNone => "NONE",
            SctpInit1 => "INIT1",
            SctpInit => "INIT",
            SctpCookieSent => "C-SENT",
            SctpCookieReplied => "C-REPLIED",
            SctpCookieWait => "C-WAIT",
            SctpCookie => "COOKIE",
            SctpCookieEchoed => "C-ECHOED",
            SctpEstablished | SctpEstablishedByClient => "ESTABLISHED",
            SctpShutdownSent => "S-SENT",
            SctpShutdownReceived | SctpShutdownReceivedByClient => "S-RECEIVED",
            SctpShutdownAckSent => "S-ACK-SENT",
            SctpRejected => "REJECTED",
            SctpClosed => "CLOSED",
        }
    }

    /// The state of the kernel's that it is shown and timed as.
    pub const fn shown(self) -> Self {
        match self {
            UU | UA => UD,
            EC => ES,
            CC => CW,
            SctpEstablishedByClient => SctpEstablished,
            SctpShutdownReceivedByClient => SctpShutdownReceived,
            other => other,
        }
    }

    /// Tests a bit rather than branching: which state it is cannot be predicted.
    #[inline(always)]
    const fn is_among(self, states: &[Self]) -> bool {
        let (mut set, mut index) = (0u32, 0);
        while index < states.len() {
            set |= 1 << states[index] as u32;
            index += 1;
        }
        set >> self as u32 & 1 != 0
    }

    /// Whether it counts as `ActiveConn`: unlike TCP, SCTP only while it is open.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        self.is_among(&[ES, EC, SS, SR, SA, SctpEstablished, SctpEstablishedByClient])
    }

    /// Whether the connection is over but for stragglers: TIME_WAIT, CLOSE, and SCTP's CLOSED. A new SYN or INIT on one
    /// of these opens a new connection.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        self.is_among(&[TW, CL, SctpClosed])
    }

    /// Whether no one has proved yet that it is more than a first packet. In SCTP that takes both, up to the
    /// acknowledged cookie.
    pub const fn is_half_open(self) -> bool {
        let is_opening = self.is_sctp() && (self as u8) < SctpEstablished as u8;
        is_opening || matches!(self, NO | SS | SR | LI | SA | UU)
    }

    /// Whether its real has taken part in it, as far as the state tells: what makes a persistence template assured. TCP
    /// has been ESTABLISHED, UDP has been answered; CLOSE also follows on a refusal. SCTP has been open, or the real
    /// has closed it; its CLOSED also follows on a refusal.
    pub const fn is_proven(self) -> bool {
        match self {
            CL | SctpRejected | SctpClosed => false,
            _ => !(self.is_half_open() || self.is_sctp() && self.is_one_sided()),
        }
    }

    /// Whether only one of the two has shown that it takes part, the real or the client: what answers made-up clients,
    /// and what these say at random, comes to no more than that.
    pub const fn is_one_sided(self) -> bool {
        matches!(self, UA | EC | CC | SctpEstablishedByClient | SctpShutdownReceivedByClient)
    }
}

/// The timeouts that can be set, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutSeconds {
    /// Of TCP connections that are open.
    pub tcp: u32,
    /// Of TCP connections that the real has begun to close.
    pub fin: u32,
    /// Of UDP.
    pub udp: u32,
}

impl Default for TimeoutSeconds {
    /// The kernel's.
    fn default() -> Self {
        Self { tcp: 900, fin: 120, udp: 300 }
    }
}

impl From<[u32; 3]> for TimeoutSeconds {
    /// In the order of `ipvsadm --set`.
    fn from([tcp, fin, udp]: [u32; 3]) -> Self {
        Self { tcp, fin, udp }
    }
}

/// How long a connection lives without a packet, by its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// By state.
    ticks: [u32; State::COUNT],
}

impl Timeouts {
    /// The longest that can be set: 31 days, as in `ipvsadm`.
    pub const LONGEST_SECONDS: u32 = 2_678_400;

    /// TCP's ESTABLISHED and FIN_WAIT and UDP as given; the others are the kernel's.
    pub const fn new(TimeoutSeconds { tcp, fin, udp }: TimeoutSeconds) -> Self {
        let seconds = [2, tcp, 120, 60, fin, 120, 10, 60, 30, 120, 120, udp];
        let mut ticks = [0; State::COUNT];
        let mut index = 0;
        while index < State::COUNT {
            let shown = State::ALL[index].shown();
            let seconds =
                if shown.is_sctp() { sctp::timeout_seconds(shown) } else { seconds[shown as usize] };
            ticks[index] = seconds * Tick::PER_SECOND;
            index += 1;
        }
        Self { ticks }
    }

    /// These, but for the states that are shown as `state` is.
    #[must_use]
    pub fn with(mut self, state: State, seconds: u32) -> Self {
        for (ticks, of) in self.ticks.iter_mut().zip(State::ALL) {
            if of.shown() == state.shown() {
                *ticks = seconds * Tick::PER_SECOND;
            }
        }
        self
    }

    /// These, but at most so many seconds each.
    #[must_use]
    pub fn at_most(mut self, seconds: u32) -> Self {
        for ticks in &mut self.ticks {
            *ticks = (*ticks).min(seconds * Tick::PER_SECOND);
        }
        self
    }

    /// These, but what is open by the client's word alone lives no longer than what is being opened: as with the
    /// kernel's `secure_tcp`, a client with a made-up address keeps a place for a minute, and not for as long as an
    /// open connection.
    #[must_use]
    pub fn secured(mut self) -> Self {
        for state in [EC, CC] {
            self.ticks[state as usize] = self.ticks(state).min(self.ticks(SR));
        }
        self
    }

    /// Ticks without a packet after which a connection in `state` is over.
    #[inline(always)]
    pub const fn ticks(&self, state: State) -> u32 {
        self.ticks[state as usize]
    }

    /// As [`ticks`](Self::ticks), of the state with this discriminant; bits above its five are left out.
    #[inline(always)]
    pub(super) const fn ticks_of_index(&self, index: usize) -> u32 {
        self.ticks[index % State::COUNT]
    }

    /// The timeout in seconds.
    pub const fn seconds(&self, state: State) -> u32 {
        self.ticks(state) / Tick::PER_SECOND
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::new(TimeoutSeconds::default())
    }
}

#[cfg(test)]
mod tests;
