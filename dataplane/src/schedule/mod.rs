//! Which real a new connection gets.
//!
//! ```text
//! algorithm    the algorithms and their names
//! asked        what a scheduler is told of a new connection
//! rounds       rr and wrr: the reals in the kernel's order and what changed, immutable, in the snapshot
//!   change       what one change to a service's reals does to wrr
//!   position     where one worker stands
//!   weight_tree  finding the next real whose weight reaches a level
//! ```
//!
//! An algorithm of another kind is a file that makes its choices, a variant of [`Schedule`], and its names in
//! [`Algorithm`].

mod algorithm;
mod asked;
mod change;
mod position;
mod rounds;
mod weight_tree;

#[cfg(test)]
mod kernel_model;
#[cfg(test)]
mod transcript;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use asked::Asked;
pub use change::Change;
pub use position::Position;
pub use rounds::Rounds;

use crate::live::reals::Reals;
use crate::names::ids::RealId;

/// A real that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub real: RealId,
    /// 0: gets no new connection.
    pub weight: u32,
}

/// The immutable part of scheduling one service, in the snapshot. What kind of algorithm it is matters once for each
/// new connection.
#[derive(Debug)]
pub enum Schedule {
    /// `rr` and `wrr`.
    Rounds(Rounds),
}

/// Picks that pass over a real which takes no new connection now, at most. Further ones are for the next connection,
/// which goes on where this one gave up.
const MOST_PASSED_OVER: usize = 1024;

impl Schedule {
    /// `generation` is another one whenever the service is made anew or its algorithm replaced: then
    /// workers start afresh. `changes` are the effects of single additions, edits and deletions in
    /// their order, numbered from `first_sequence` on without gaps; each is replayed once by every
    /// worker, so it must be there until all workers have adopted a schedule that contains it.
    pub fn new(
        algorithm: Algorithm,
        generation: u64,
        candidates_newest_first: Vec<Candidate>,
        first_sequence: u64,
        changes: Vec<Change>,
    ) -> Self {
        match algorithm {
            Algorithm::RoundRobin | Algorithm::WeightedRoundRobin => Self::Rounds(Rounds::new(
                algorithm,
                generation,
                candidates_newest_first,
                first_sequence,
                changes,
            )),
        }
    }

    /// The rule.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rounds(rounds) => rounds.algorithm(),
        }
    }

    /// Whether its picks compare reals by their [connections](Asked::connections), so that these are to be added up
    /// over the workers.
    pub fn needs_sums(&self) -> bool {
        match self {
            Self::Rounds(_) => false,
        }
    }

    /// The reals, the newest first.
    pub fn candidates(&self) -> &[Candidate] {
        match self {
            Self::Rounds(rounds) => rounds.candidates(),
        }
    }

    /// Number of the change that comes next.
    pub fn next_sequence(&self) -> u64 {
        match self {
            Self::Rounds(rounds) => rounds.next_sequence(),
        }
    }

    /// The real for a new connection: the first of its [`choices`](Self::choices). `None` if none is usable, as far as
    /// was looked.
    #[inline(always)]
    pub fn choice(&self, position: &mut Position, asked: &Asked<'_>) -> Option<RealId> {
        let real = self.next(position)?;
        if asked.live.is_usable(real) { Some(real) } else { self.next_usable(position, asked.live) }
    }

    /// The reals that a new connection may get, in the order in which they are to be tried: the first is the choice,
    /// and where it can't be used, the next one. The worker's position moves on by one choice, whatever is used.
    pub fn choices<'a>(
        &'a self,
        position: &mut Position,
        asked: &Asked<'a>,
    ) -> impl Iterator<Item = RealId> + use<'a> {
        let first = self.choice(position, asked);
        let live = asked.live;
        // Where there is no first choice all others are of no use either, or have not been looked at.
        let others = if first.is_some() { self.candidates() } else { &[] };
        let others = others.iter().filter(|candidate| candidate.weight > 0).map(|candidate| candidate.real);
        first.into_iter().chain(others.filter(move |real| live.is_usable(*real)))
    }

    /// The next in line, usable or not.
    #[inline(always)]
    fn next(&self, position: &mut Position) -> Option<RealId> {
        match self {
            Self::Rounds(rounds) => position.pick(rounds),
        }
    }

    /// Out of line, and told no more than it needs, so that the usual way keeps what is asked in registers.
    #[cold]
    #[inline(never)]
    fn next_usable(&self, position: &mut Position, live: &Reals) -> Option<RealId> {
        let mut passed = (0..MOST_PASSED_OVER).map_while(|_| self.next(position));
        passed.find(|real| live.is_usable(*real))
    }
}

#[cfg(test)]
mod tests;
