//! Datagrams of which nothing can be done before all of their fragments are there, and that are kept until then: pings
//! to ourselves, and SCTP packets, whose checksum depends on how long they are.

use super::Piece;
use super::seen::{Misfit, Seen};
use crate::frame::Frame;
use crate::names::ids::InterfaceId;
use crate::names::time::Now;
use arrayvec::ArrayVec;
use std::net::IpAddr;

/// Datagrams that are gathered at once.
pub const GATHERED: usize = 16;
/// Fragments of one, as what is cut here: the longest, in fragments of 1480 bytes, has 45.
pub const PIECES: usize = 64;
/// Fragments of all of them.
pub const ALL_PIECES: usize = 256;
/// How long the fragments of one are waited for, from its first to come. A host would wait for 60 s or more (RFC
/// 1122 §3.3.2), for what fragments take to overtake each other a second is long.
pub const GATHERED_NANOSECONDS: u64 = 1_000_000_000;

/// What a datagram's fragments share (RFC 791 §3.2), and the interface that they come in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Who sends it.
    pub source: IpAddr,
    /// To whom: of a ping, an own address.
    pub destination: IpAddr,
    /// Number of the protocol.
    pub protocol: u8,
    /// Identification.
    pub id: u32,
    /// Where it comes in.
    pub arrival: InterfaceId,
}

/// All fragments of a datagram, by where in it they belong.
pub type Pieces<F> = ArrayVec<(Piece, F), PIECES>;

/// What keeping a fragment came to.
#[derive(Debug)]
pub enum Kept<F> {
    /// Others are missing.
    Waits,
    /// These are all, in order.
    Whole(Pieces<F>),
    /// It repeats another: this one goes.
    Repeats(F),
    /// It overlaps others, or there are too many: this one goes, and so have the others of its datagram.
    Refused(F, Misfits),
}

/// Why a datagram was given up, and how many fragments of it had been kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfits {
    /// Fragments overlap, or contradict each other.
    Overlap(usize),
    /// There are too many fragments, or gaps.
    TooMany(usize),
}

#[derive(Debug)]
struct Datagram<F> {
    address: Address,
    since: u64,
    seen: Seen,
    pieces: Pieces<F>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Gathering<F> {
    /// The oldest first.
    datagrams: Box<ArrayVec<Datagram<F>, GATHERED>>,
    held: usize,
}

impl<F: Frame> Gathering<F> {
    /// Nothing yet. All memory is taken now.
    pub fn new() -> Self {
        Self { datagrams: Box::default(), held: 0 }
    }

    /// Fragments that are kept.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Keeps a fragment. Where there is no room the oldest datagram goes: returns how many fragments so went.
    pub fn keep(&mut self, address: Address, piece: Piece, frame: F, now: Now) -> (Kept<F>, usize) {
        let mut given_up = 0;
        let known = |datagrams: &[Datagram<F>]| datagrams.iter().position(|known| known.address == address);
        if known(&self.datagrams).is_none() && self.datagrams.is_full() {
            given_up += self.give_up(0);
        }
        while self.held >= ALL_PIECES && !self.datagrams.is_empty() {
            given_up += self.give_up(0);
        }
        let at = known(&self.datagrams).unwrap_or_else(|| {
            let since = now.nanoseconds;
            let new = Datagram { address, since, seen: Seen::default(), pieces: ArrayVec::new() };
            self.datagrams.push(new);
            self.datagrams.len() - 1
        });
        (self.keep_in(at, piece, frame), given_up)
    }

    fn keep_in(&mut self, at: usize, piece: Piece, frame: F) -> Kept<F> {
        let datagram = &mut self.datagrams[at];
        let fits = match datagram.seen.check(piece) {
            Ok(()) if datagram.pieces.is_full() => Err(Misfit::TooManyGaps),
            checked => checked,
        };
        match fits {
            Ok(()) => {}
            Err(Misfit::Repeated) => return Kept::Repeats(frame),
            Err(Misfit::Contradicts) => return Kept::Refused(frame, Misfits::Overlap(self.give_up(at))),
            Err(Misfit::TooManyGaps) => return Kept::Refused(frame, Misfits::TooMany(self.give_up(at))),
        }
        datagram.seen.add(piece);
        let place = datagram.pieces.partition_point(|(other, _)| other.start < piece.start);
        datagram.pieces.insert(place, (piece, frame));
        self.held += 1;
        if !datagram.seen.is_complete() {
            return Kept::Waits;
        }
        let whole = self.datagrams.remove(at);
        self.held -= whole.pieces.len();
        Kept::Whole(whole.pieces)
    }

    /// Whether nothing has come, so that nothing can have waited for too long.
    pub const fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Gives up what has waited for too long; how many fragments.
    #[cold]
    #[inline(never)]
    pub fn expire(&mut self, now: Now) -> usize {
        let mut given_up = 0;
        let is_late = |since: u64| now.nanoseconds.saturating_sub(since) > GATHERED_NANOSECONDS;
        while self.datagrams.first().is_some_and(|oldest| is_late(oldest.since)) {
            given_up += self.give_up(0);
        }
        given_up
    }

    /// Gives up what has come of a datagram; how many fragments.
    pub fn refuse(&mut self, address: Address) -> usize {
        let at = self.datagrams.iter().position(|known| known.address == address);
        at.map_or(0, |at| self.give_up(at))
    }

    fn give_up(&mut self, at: usize) -> usize {
        let gone = self.datagrams.remove(at).pieces.len();
        self.held -= gone;
        gone
    }
}

impl<F: Frame> Default for Gathering<F> {
    fn default() -> Self {
        Self::new()
    }
}
