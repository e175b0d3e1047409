//! Where a worker stands in a service's list.

use super::{Algorithm, Change, Schedule};
use crate::ids::RealId;

/// The worker's own part of scheduling one service. The default stands before anything; every
/// [`Schedule`] is adopted once, in the order in which they come, before anything is picked from it.
/// A cache line, so that no two workers' lie in one.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub struct Position {
    /// Place of the real that was picked last; `None`: at the head of the list.
    last: Option<usize>,
    /// The weight that a real must reach to be picked (`cw`); 0: not set yet.
    level: u32,
    /// Number of the first change that was not replayed.
    next_sequence: u64,
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
        let mut at_head = old.is_none_or(|old| old.generation != new.generation);
        let old = old.filter(|old| old.generation == new.generation);
        if old.is_none() {
            *self = Self::default();
        }
        match new.algorithm {
            Algorithm::WeightedRoundRobin => {
                for change in new.changes_from(self.next_sequence) {
                    self.level = level_after(self.level, *change);
                }
                if new.next_sequence() != self.next_sequence {
                    self.last = None;
                    at_head = true;
                }
            }
            Algorithm::RoundRobin => {
                self.last = old.zip(self.last).and_then(|(old, last)| {
                    let here_and_before = old.candidates.get(..=last)?.iter().rev();
                    here_and_before.filter_map(|candidate| new.place_of(candidate.real)).next()
                });
            }
        }
        self.next_sequence = new.next_sequence();
        at_head
    }

    /// Passes over so many picks: several workers that begin at the head are staggered like this, so that
    /// few connections spread over the reals whichever workers they reach.
    pub fn skip(&mut self, picks: usize, schedule: &Schedule) {
        for _ in 0..picks {
            self.pick(schedule);
        }
    }

    /// The real for the next new connection; `None` if none has a weight above 0.
    #[inline(always)]
    pub fn pick(&mut self, schedule: &Schedule) -> Option<RealId> {
        let after = self.last.map_or(0, |last| last + 1);
        let Change { divisor, top } = schedule.now;
        let is_weighted = schedule.algorithm == Algorithm::WeightedRoundRobin;
        let level = if is_weighted { self.level } else { 1 };
        if level != 0 && level <= top {
            // Nearly always the next in the list will do, or behind its end the first, one level lower.
            let (next, level) = if after < schedule.candidates.len() {
                (after, level)
            } else if is_weighted {
                (0, lower(level, divisor, top))
            } else {
                (0, 1)
            };
            if schedule.weights.reaches(next, level) {
                if is_weighted {
                    self.level = level;
                }
                self.last = Some(next);
                return Some(schedule.candidates[next].real);
            }
        }
        self.pick_further(after, schedule)
    }

    #[inline(never)]
    fn pick_further(&mut self, after: usize, schedule: &Schedule) -> Option<RealId> {
        let Change { divisor, top } = schedule.now;
        if top == 0 {
            return None;
        }
        let place = match schedule.algorithm {
            Algorithm::WeightedRoundRobin => {
                if self.level == 0 || self.level > top {
                    self.level = top;
                }
                schedule.weights.first_from(after, self.level).or_else(|| {
                    self.level = lower(self.level, divisor, top);
                    // Some weight reaches every level, so one more search finds it.
                    schedule.weights.first_from(0, self.level)
                })
            }
            Algorithm::RoundRobin => {
                schedule.weights.first_from(after, 1).or_else(|| schedule.weights.first_from(0, 1))
            }
        };
        self.last = place;
        Some(schedule.candidates[place?].real)
    }
}

/// The level that follows on this one once the list has been gone through.
const fn lower(level: u32, divisor: u32, top: u32) -> u32 {
    if level > divisor { level - divisor } else { top }
}

/// What a change makes of `wrr`'s level: it stays where the new levels allow it.
const fn level_after(level: u32, change: Change) -> u32 {
    if level == 0 || level > change.top {
        change.top
    } else if change.divisor > 1 {
        level / change.divisor * change.divisor + 1
    } else {
        level
    }
}
