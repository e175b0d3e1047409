//! Which real a new connection gets.
//!
//! ```text
//! Algorithm   which rule
//! Schedule    the reals in the kernel's order and what changed, immutable, in the snapshot
//! Position    where one worker stands in it
//! ```
//!
//! Linux's order depends on every single change of a service's reals, so a [`Schedule`] carries the
//! changes' effects, numbered, and each worker replays on its own [`Position`] those that it has not
//! seen. A pick costs two searches in a tree at most, whatever the weights.

mod algorithm;
mod position;
mod weight_tree;

#[cfg(test)]
mod kernel_model;
#[cfg(test)]
mod transcript;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use position::Position;

use crate::names::ids::RealId;
use weight_tree::WeightTree;

/// A real that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub real: RealId,
    /// 0: gets no new connection.
    pub weight: u32,
}

/// What one change to a service's reals does to `wrr`: `mw` and `di` after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Greatest common divisor of the weights above 0; 1 if there are none.
    pub divisor: u32,
    /// Largest weight less (`divisor` - 1): the level that a round begins at. 0 if no weight is above 0.
    pub top: u32,
}

impl Change {
    /// After which a service has no real that could be picked.
    pub const NONE: Self = Self { divisor: 1, top: 0 };

    /// After which a service's reals have these weights.
    pub fn of(weights: impl IntoIterator<Item = u32>) -> Self {
        weights.into_iter().fold(Self::NONE, Self::with_added)
    }

    /// After which a service has one more real, with this weight: for many additions in a row.
    #[must_use]
    pub const fn with_added(self, weight: u32) -> Self {
        if weight == 0 {
            return self;
        }
        if self.top == 0 {
            return Self { divisor: weight, top: 1 };
        }
        let largest = self.top + (self.divisor - 1);
        let divisor = greatest_common_divisor(self.divisor, weight);
        let largest = if weight > largest { weight } else { largest };
        Self { divisor, top: largest - (divisor - 1) }
    }
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The immutable part of scheduling, in the snapshot.
#[derive(Debug)]
pub struct Schedule {
    algorithm: Algorithm,
    generation: u64,
    /// The newest first, as in the kernel's list.
    candidates: Box<[Candidate]>,
    weights: WeightTree,
    /// Sorted; where each real stands in `candidates`.
    places: Box<[(RealId, u32)]>,
    /// The levels that a round goes through: for `rr` one, which every weight above 0 reaches.
    now: Change,
    first_sequence: u64,
    changes: Box<[Change]>,
}

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
        let weights = || candidates_newest_first.iter().map(|candidate| candidate.weight);
        let mut places: Vec<_> =
            (0..).zip(&candidates_newest_first).map(|(place, candidate)| (candidate.real, place)).collect();
        places.sort_unstable();
        Self {
            algorithm,
            generation,
            weights: WeightTree::new(weights()),
            now: match algorithm {
                Algorithm::WeightedRoundRobin => Change::of(weights()),
                Algorithm::RoundRobin => Change::of(weights().map(|weight| weight.min(1))),
            },
            places: places.into(),
            candidates: candidates_newest_first.into(),
            first_sequence,
            changes: changes.into(),
        }
    }

    /// The rule.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The reals, the newest first.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Number of the change that comes next.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + self.changes.len() as u64
    }

    /// The changes from number `sequence` on that are still there.
    fn changes_from(&self, sequence: u64) -> &[Change] {
        let known = sequence.saturating_sub(self.first_sequence);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(self.changes.len());
        &self.changes[known..]
    }

    fn place_of(&self, real: RealId) -> Option<usize> {
        let found = self.places.binary_search_by_key(&real, |(real, _)| *real).ok()?;
        Some(self.places[found].1 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_knows_divisor_and_top() {
        assert_eq!(Change::of([]), Change { divisor: 1, top: 0 });
        assert_eq!(Change::of([0, 0]), Change { divisor: 1, top: 0 });
        assert_eq!(Change::of([4]), Change { divisor: 4, top: 1 });
        assert_eq!(Change::of([4, 0, 6]), Change { divisor: 2, top: 5 });
        assert_eq!(Change::of([u32::MAX, u32::MAX]), Change { divisor: u32::MAX, top: 1 });
        assert_eq!(Change::of([1, u32::MAX]), Change { divisor: 1, top: u32::MAX });
    }
}
