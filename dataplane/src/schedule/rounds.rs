//! The kernel's two round robins, `rr` and `wrr`.
//!
//! Linux's order depends on every single change of a service's reals, so [`Rounds`] carries the changes' effects,
//! numbered, and each worker replays on its own [`Position`](super::Position) those that it has not seen. A pick costs
//! two searches in a tree at most, whatever the weights.

use super::weight_tree::WeightTree;
use super::{Algorithm, Candidate, Change};
use crate::names::ids::RealId;

/// A level above all weights: no real reaches it.
pub(super) const NO_LEVEL: u32 = u32::MAX;

/// A service's reals in the kernel's order, and what has changed.
#[derive(Debug)]
pub struct Rounds {
    pub(super) algorithm: Algorithm,
    pub(super) generation: u64,
    /// The newest first, as in the kernel's list.
    pub(super) candidates: Box<[Candidate]>,
    pub(super) weights: WeightTree,
    /// Sorted; where each real stands in `candidates`.
    places: Box<[(RealId, u32)]>,
    /// The levels that a round goes through: for `rr` one, which every weight above 0 reaches.
    pub(super) now: Change,
    /// The level that follows on the lowest one: the top, or one that no real reaches if none can be picked.
    pub(super) restart: u32,
    first_sequence: u64,
    pub(super) changes: Box<[Change]>,
}

impl Rounds {
    /// See [`Schedule::new`](super::Schedule::new).
    pub(super) fn new(
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
        let now = match algorithm {
            Algorithm::WeightedRoundRobin => Change::of(weights()),
            Algorithm::RoundRobin => Change::of(weights().map(|weight| weight.min(1))),
        };
        Self {
            algorithm,
            generation,
            weights: WeightTree::new(weights()),
            now,
            restart: if now.top == 0 { NO_LEVEL } else { now.top },
            places: places.into(),
            candidates: candidates_newest_first.into(),
            first_sequence,
            changes: changes.into(),
        }
    }

    /// The rule.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The reals, the newest first.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Number of the change that comes next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.first_sequence + self.changes.len() as u64
    }

    /// The changes from number `sequence` on that are still there.
    pub(super) fn changes_from(&self, sequence: u64) -> &[Change] {
        let known = sequence.saturating_sub(self.first_sequence);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(self.changes.len());
        &self.changes[known..]
    }

    pub(super) fn place_of(&self, real: RealId) -> Option<usize> {
        let found = self.places.binary_search_by_key(&real, |(real, _)| *real).ok()?;
        Some(self.places[found].1 as usize)
    }
}
