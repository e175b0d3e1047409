//! Where a worker stands in a service's list.

use super::{Algorithm, Change, Schedule};
use crate::names::ids::RealId;

/// The worker's own part of scheduling one service. The default stands before anything; every
/// [`Schedule`] is adopted once, in the order in which they come, before anything is picked from it.
/// A cache line, so that no two workers' lie in one.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub struct Position {
    /// Place behind that of the real that was picked last; 0: at the head of the list.
    after: usize,
    /// The weight that a real must reach to be picked (`cw`; for `rr` 1); 0: not set yet.
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
        for _ in 0..picks {
            self.pick(schedule);
        }
    }

    /// The real for the next new connection; `None` if none has a weight above 0.
    #[inline(always)]
    pub fn pick(&mut self, schedule: &Schedule) -> Option<RealId> {
        let Change { divisor, top } = schedule.now;
        if (1..=top).contains(&self.level) {
            // Nearly always the next in the list will do, or behind its end the first, one level lower.
            let (next, level) = if self.after < schedule.candidates.len() {
                (self.after, self.level)
            } else {
                (0, lower(self.level, divisor, top))
            };
            if let Some(candidate) = schedule.candidates.get(next)
                && candidate.weight >= level
            {
                (self.after, self.level) = (next + 1, level);
                return Some(candidate.real);
            }
        }
        self.pick_further(schedule)
    }

    #[inline(never)]
    fn pick_further(&mut self, schedule: &Schedule) -> Option<RealId> {
        let Change { divisor, top } = schedule.now;
        if top == 0 {
            return None;
        }
        if self.level == 0 || self.level > top {
            self.level = top;
        }
        let place = schedule.weights.first_from(self.after, self.level).or_else(|| {
            self.level = lower(self.level, divisor, top);
            // Some weight reaches every level, so one more search finds it.
            schedule.weights.first_from(0, self.level)
        })?;
        self.after = place + 1;
        Some(schedule.candidates[place].real)
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
