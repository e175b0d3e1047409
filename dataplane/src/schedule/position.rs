//! Where a worker stands in a service's list.

use super::rounds::{NO_LEVEL, Rounds};
use super::{Algorithm, Change, Schedule};
use crate::names::ids::RealId;

/// The worker's own part of scheduling one service. The default stands before anything; every
/// [`Schedule`] is adopted once, in the order in which they come, before anything is picked from it.
/// A cache line, so that no two workers' lie in one.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Position {
    /// Place behind that of the real that was picked last; 0: at the head of the list.
    after: usize,
    /// The weight that a real must reach to be picked (`cw`; for `rr` 1); [`NO_LEVEL`]: not set yet, or no real can be
    /// picked. Never above that of the round's beginning, nor 0.
    level: u32,
    /// Number of the first change that was not replayed.
    next_sequence: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { after: 0, level: NO_LEVEL, next_sequence: 0 }
    }
}

impl Position {
    /// Goes over from `old` (the schedule adopted last, if any) to `new`: replays the changes that are
    /// new to this worker.
    ///
    /// `wrr` goes back to the head with each change, its level adjusted. `rr` keeps its place at
    /// the real picked last or, if that is gone, at the nearest one before it that is still there.
    /// Takes time in proportion to the changes and the reals deleted. Returns whether it begins at the
    /// head again.
    pub fn adopt(&mut self, old: Option<&Schedule>, new: &Schedule) -> bool {
        let Schedule::Rounds(new) = new;
        self.adopt_rounds(old.map(|Schedule::Rounds(old)| old), new)
    }

    pub(super) fn adopt_rounds(&mut self, old: Option<&Rounds>, new: &Rounds) -> bool {
        let mut at_head = old.is_none_or(|old| old.generation != new.generation);
        let old = old.filter(|old| old.generation == new.generation);
        if old.is_none() {
            *self = Self::default();
        }
        match new.algorithm {
            Algorithm::WeightedRoundRobin => {
                for change in new.changes_from(self.next_sequence) {
                    self.level = level_after(self.level, *change);
                    debug_assert_ne!(self.level, 0);
                }
                if new.next_sequence() != self.next_sequence {
                    self.after = 0;
                    at_head = true;
                }
            }
            Algorithm::RoundRobin => {
                let last = old.and_then(|old| {
                    let up_to_last = old.candidates.get(..self.after)?.iter().rev();
                    up_to_last.filter_map(|candidate| new.place_of(candidate.real)).next()
                });
                self.after = last.map_or(0, |last| last + 1);
            }
        }
        self.next_sequence = new.next_sequence();
        at_head
    }

    /// Passes over so many picks: several workers that begin at the head are staggered like this, so that
    /// few connections spread over the reals whichever workers they reach.
    pub fn skip(&mut self, picks: usize, schedule: &Schedule) {
        let Schedule::Rounds(rounds) = schedule;
        for _ in 0..picks {
            self.pick(rounds);
        }
    }

    /// The real that is next in line; `None` if none has a weight above 0.
    #[inline(always)]
    pub(super) fn pick(&mut self, rounds: &Rounds) -> Option<RealId> {
        // Nearly always the next in the list will do, or behind its end the first, one level lower.
        let (candidate, after, level) = if let Some(next) = rounds.candidates.get(self.after) {
            (next, self.after + 1, self.level)
        } else if let Some(first) = rounds.candidates.first() {
            (first, 1, lower(self.level, rounds.now.divisor, rounds.restart))
        } else {
            return None;
        };
        if candidate.weight < level {
            return self.pick_further(rounds);
        }
        (self.after, self.level) = (after, level);
        Some(candidate.real)
    }

    #[inline(never)]
    fn pick_further(&mut self, rounds: &Rounds) -> Option<RealId> {
        let Change { divisor, top } = rounds.now;
        if top == 0 {
            return None;
        }
        self.level = self.level.min(top);
        let place = rounds.weights.first_from(self.after, self.level).or_else(|| {
            self.level = lower(self.level, divisor, top);
            // Some weight reaches every level, so one more search finds it.
            rounds.weights.first_from(0, self.level)
        })?;
        self.after = place + 1;
        Some(rounds.candidates[place].real)
    }
}

/// The level that follows on this one once the list has been gone through.
const fn lower(level: u32, divisor: u32, restart: u32) -> u32 {
    if level > divisor { level - divisor } else { restart }
}

/// What a change makes of `wrr`'s level: it stays where the new levels allow it.
const fn level_after(level: u32, change: Change) -> u32 {
    if change.top == 0 {
        NO_LEVEL
    } else if level > change.top {
        change.top
    } else if change.divisor > 1 {
        level / change.divisor * change.divisor + 1
    } else {
        level
    }
}
