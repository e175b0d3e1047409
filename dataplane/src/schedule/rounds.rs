//! The kernel's two round robins, `rr` and `wrr`.
//!
//! Linux's order depends on every single change of a service's reals, so [`Rounds`] carries the changes' effects,
//! numbered, and each worker replays on its own [`Place`](super::place::Place) those that it has not seen. A pick costs
//! two searches in a tree at most, whatever the weights.

use super::listed::Listed;
use super::place::Place;
use super::weight_tree::WeightTree;
use super::{Algorithm, Change};
use crate::live::reals::Reals;
use crate::names::ids::RealId;
use crate::names::time::Now;

/// A level above all weights: no real reaches it.
pub(super) const NO_LEVEL: u32 = u32::MAX;

/// Picks that pass over a real which takes no new connection now, at most. Further ones are for the next connection,
/// which goes on where this one gave up.
pub(super) const MOST_PASSED_OVER: usize = 1024;

/// A service's reals in the kernel's order, and what has changed.
#[derive(Debug)]
pub struct Rounds {
    pub(super) listed: Listed,
    pub(super) weights: WeightTree,
    /// The levels that a round goes through: for `rr` one, which every weight above 0 reaches.
    pub(super) now: Change,
    /// The level that follows on the lowest one: the top, or one that no real reaches if none can be picked.
    pub(super) restart: u32,
    first_sequence: u64,
    pub(super) changes: Box<[Change]>,
}

impl Rounds {
    /// See [`Schedule::new`](super::Schedule::new).
    pub(super) fn new(listed: Listed, first_sequence: u64, changes: Vec<Change>) -> Self {
        let weights = || listed.candidates.iter().map(|candidate| candidate.weight);
        let now = match listed.algorithm {
            Algorithm::WeightedRoundRobin => Change::of(weights()),
            _ => Change::of(weights().map(|weight| weight.min(1))),
        };
        Self {
            weights: WeightTree::new(weights()),
            now,
            restart: if now.top == 0 { NO_LEVEL } else { now.top },
            listed,
            first_sequence,
            changes: changes.into(),
        }
    }

    /// The real whose turn it is: the next that is usable.
    #[inline(always)]
    pub(super) fn turn(&self, place: &mut Place, live: &Reals, now: Now) -> Option<RealId> {
        place.pick_usual(live).or_else(|| self.unusual_turn(place, live, now))
    }

    /// The next in line that is usable and takes its turn. Where all that are usable let their turns pass, because they
    /// start slowly, the first of them takes it all the same.
    ///
    /// Out of line, so that the usual way keeps what it needs in registers.
    #[cold]
    #[inline(never)]
    fn unusual_turn(&self, place: &mut Place, live: &Reals, now: Now) -> Option<RealId> {
        let mut spared = None;
        let mut real = place.pick(self)?;
        for _ in 0..MOST_PASSED_OVER {
            if live.is_usable(real) {
                if place.takes_turn(now) || spared == Some(real) {
                    return Some(real);
                }
                spared = spared.or(Some(real));
            }
            real = place.pick(self)?;
        }
        live.is_usable(real).then_some(real).or(spared)
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
}
