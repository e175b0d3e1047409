//! Where a worker stands in a service's list, with `rr` and `wrr`.

use super::rounds::{NO_LEVEL, Rounds};
use super::slow_start::{Ramp, WHOLE};
use super::{Algorithm, Candidate, Change};
use crate::live::reals::Reals;
use crate::names::ids::RealId;
use crate::names::time::Now;
use std::sync::Arc;

/// What a worker keeps of a service with `rr` or `wrr`. The default stands before anything.
///
/// All that a usual pick needs: it looks at neither the snapshot's service nor its [`Rounds`].
#[derive(Clone, Debug)]
pub struct Place {
    /// The reals; none while some of them start slowly.
    line: Arc<[Candidate]>,
    /// How far the level is lowered after each round, and to what after the last: those of the [`Rounds`].
    divisor: u32,
    restart: u32,
    /// Place behind that of the real that was picked last; 0: at the head of the list.
    after: usize,
    /// The weight that a real must reach to be picked (`cw`; for `rr` 1); [`NO_LEVEL`]: not set yet, or no real can be
    /// picked. Never above that of the round's beginning, nor 0.
    level: u32,
    /// Number of the first change that was not replayed.
    next_sequence: u64,
    /// `None`: no real starts slowly now.
    slow: Option<Box<Slow>>,
}

/// What is kept while some reals start slowly.
#[derive(Clone, Debug)]
struct Slow {
    ramp: Ramp,
    /// The [line](Place::line) as it will be then.
    line: Arc<[Candidate]>,
    /// By place: the shares of turns that the real has let pass, less those that it took.
    due: Box<[u32]>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            line: Arc::default(),
            divisor: 1,
            restart: NO_LEVEL,
            after: 0,
            level: NO_LEVEL,
            next_sequence: 0,
            slow: None,
        }
    }
}

impl Place {
    /// Goes over from `old` (what was adopted last, if anything) to `new`: replays the changes that are
    /// new to this worker.
    ///
    /// `wrr` goes back to the head with each change, its level adjusted. `rr` keeps its place at
    /// the real picked last or, if that is gone, at the nearest one before it that is still there.
    /// Takes time in proportion to the changes and the reals deleted. Returns whether it begins at the
    /// head again.
    pub(super) fn adopt(&mut self, old: Option<&Rounds>, new: &Rounds, now: Now) -> bool {
        let slow = self.slow.take().map_or_else(Ramp::default, |slow| slow.ramp);
        let ramp = Ramp::adopt(old.map(|old| (&old.listed, &slow)), &new.listed, now);
        let mut at_head = old.is_none_or(|old| old.listed.generation != new.listed.generation);
        let old = old.filter(|old| old.listed.generation == new.listed.generation);
        if old.is_none() {
            *self = Self::default();
        }
        match new.listed.algorithm {
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
            _ => {
                let last = old.and_then(|old| {
                    let up_to_last = old.listed.candidates.get(..self.after)?.iter().rev();
                    up_to_last.filter_map(|candidate| new.listed.place_of(candidate.real)).next()
                });
                self.after = last.map_or(0, |last| last + 1);
            }
        }
        self.next_sequence = new.next_sequence();
        (self.divisor, self.restart) = (new.now.divisor, new.restart);
        let line = Arc::clone(&new.listed.candidates);
        if ramp.is_slow() {
            let due = vec![0; line.len()].into();
            (self.slow, self.line) = (Some(Box::new(Slow { ramp, line, due })), Arc::default());
        } else {
            self.line = line;
        }
        at_head
    }

    /// Passes over so many picks: several workers that begin at the head are staggered like this, so that
    /// few connections spread over the reals whichever workers they reach.
    pub(super) fn skip(&mut self, picks: usize, rounds: &Rounds) {
        for _ in 0..picks {
            self.pick(rounds);
        }
    }

    /// Whether the real picked last takes its turn. One that starts slowly takes one whenever its shares come to a
    /// whole one.
    pub(super) fn takes_turn(&mut self, now: Now) -> bool {
        let Some(slow) = &mut self.slow else { return true };
        if slow.ramp.is_due(now) {
            slow.ramp.step(now, |_, _| ());
        }
        if !slow.ramp.is_slow() {
            self.line = std::mem::take(&mut slow.line);
            self.slow = None;
            return true;
        }
        let place = self.after - 1;
        slow.due[place] += slow.ramp.share(place, now);
        let takes = slow.due[place] >= WHOLE;
        if takes {
            slow.due[place] -= WHOLE;
        }
        takes
    }

    /// The real that is next in line in the usual case: if its weight is enough, it takes connections that nobody
    /// counts, and no real starts slowly. `None`, and nothing done: [`pick`](Self::pick) knows.
    #[inline(always)]
    pub(super) fn pick_usual(&mut self, live: &Reals) -> Option<RealId> {
        let step = self.step(&self.line)?;
        if step.candidate.weight < step.level || !live.is_plain(step.candidate.real) {
            return None;
        }
        Some(self.go(step))
    }

    /// The real that is next in line; `None` if none has a weight above 0.
    #[inline(always)]
    pub(super) fn pick(&mut self, rounds: &Rounds) -> Option<RealId> {
        let step = self.step(&rounds.listed.candidates)?;
        if step.candidate.weight < step.level {
            return self.pick_further(rounds);
        }
        Some(self.go(step))
    }

    /// Nearly always the next in the list will do, or behind its end the first, one level lower.
    #[inline(always)]
    fn step(&self, candidates: &[Candidate]) -> Option<Step> {
        if let Some(next) = candidates.get(self.after) {
            return Some(Step { candidate: *next, after: self.after + 1, level: self.level });
        }
        let level = lower(self.level, self.divisor, self.restart);
        candidates.first().map(|first| Step { candidate: *first, after: 1, level })
    }

    #[inline(always)]
    const fn go(&mut self, Step { candidate, after, level }: Step) -> RealId {
        (self.after, self.level) = (after, level);
        candidate.real
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
        Some(rounds.listed.candidates[place].real)
    }
}

/// A real that may be next, and where its pick leads.
struct Step {
    candidate: Candidate,
    after: usize,
    level: u32,
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
