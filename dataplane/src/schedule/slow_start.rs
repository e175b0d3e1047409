//! Slow start: a real that appears gets its share by and by.
//!
//! A real appears when it is added to a service that workers already have, or when its weight rises from 0. In the
//! seconds of `slow_start` after that it counts with a part of its weight that grows in equal steps from 1/256 to the
//! whole. The configured weight stays what it is: nothing is edited, and no order begins anew. A service that is made
//! with its reals, or whose scheduler is replaced, has them all in full at once: there is nobody to spare them.
//!
//! Where weights are compared (`lc`, `wlc`, `sed`, `nq`, `twos`, `swrr`; for `lc` all weights are 1) the part of the
//! weight takes the weight's place. `rr` and `wrr` go their way and give such a real that part of its turns. With `nq`
//! it holds among reals that are all busy: an idle one gets a connection whatever it counts.

use super::Candidate;
use super::listed::Listed;
use crate::names::time::Now;

/// The whole share, in steps.
pub(super) const WHOLE: u32 = 256;
/// It has been there for long.
const LONG_AGO: u64 = u64::MAX;
/// Nothing will change.
const NEVER: u64 = u64::MAX;

/// The shares of a service's reals, by their places.
#[derive(Clone, Debug)]
pub(super) struct Ramp {
    /// When the shares have changed enough to be looked at; [`NEVER`]: all have the whole one.
    next: u64,
    /// `None`: the service has no slow start.
    slow: Option<Box<Slow>>,
}

#[derive(Clone, Debug)]
struct Slow {
    /// How long it takes, in nanoseconds.
    span: u64,
    /// When each real appeared, in nanoseconds on the worker's clock.
    births: Box<[u64]>,
}

impl Default for Ramp {
    fn default() -> Self {
        Self { next: NEVER, slow: None }
    }
}

impl Ramp {
    /// The shares after a change from one list, with its shares, to another.
    pub(super) fn adopt(old: Option<(&Listed, &Self)>, new: &Listed, now: Now) -> Self {
        if new.slow_start == 0 {
            return Self::default();
        }
        let births: Box<[u64]> = match old.filter(|(old, _)| old.generation == new.generation) {
            None => new.candidates.iter().map(|_| LONG_AGO).collect(),
            Some((old, ramp)) => {
                let born = |candidate: &Candidate| {
                    let stays =
                        old.place_of(candidate.real).filter(|place| old.candidates[*place].weight > 0);
                    match (stays, &ramp.slow) {
                        (Some(place), Some(slow)) => slow.births[place],
                        (None, _) if candidate.weight > 0 => now.nanoseconds,
                        _ => LONG_AGO,
                    }
                };
                new.candidates.iter().map(born).collect()
            }
        };
        let is_slow = births.iter().any(|birth| *birth != LONG_AGO);
        let span = u64::from(new.slow_start) * 1_000_000_000;
        Self {
            next: if is_slow { now.nanoseconds } else { NEVER },
            slow: Some(Box::new(Slow { span, births })),
        }
    }

    /// The share of the real at this place, of [`WHOLE`].
    pub(super) fn share(&self, place: usize, now: Now) -> u32 {
        self.slow.as_ref().map_or(WHOLE, |slow| slow.share(place, now))
    }

    /// The weight that it counts with: in a service without slow start as it is, else times its share.
    #[inline(always)]
    pub(super) fn weigh(&self, weight: u32, place: usize, now: Now) -> u64 {
        let share = self.slow.as_ref().map_or(1, |slow| slow.share(place, now));
        u64::from(weight) * u64::from(share)
    }

    /// Whether the service has slow start at all.
    #[inline(always)]
    pub(super) const fn is_configured(&self) -> bool {
        self.slow.is_some()
    }

    /// Whether anybody has not the whole share.
    pub(super) const fn is_slow(&self) -> bool {
        self.next != NEVER
    }

    /// Whether it is time for [`step`](Self::step).
    #[inline(always)]
    pub(super) const fn is_due(&self, now: Now) -> bool {
        now.nanoseconds >= self.next
    }

    /// Goes on to the shares of this moment, and tells the places whose shares have changed.
    pub(super) fn step(&mut self, now: Now, mut changed: impl FnMut(&Self, usize)) {
        self.next = NEVER;
        let places = self.slow.as_ref().map_or(0, |slow| slow.births.len());
        for place in 0..places {
            let Some(Slow { span, births }) = self.slow.as_deref_mut() else { return };
            if births[place] == LONG_AGO {
                continue;
            }
            if now.nanoseconds.saturating_sub(births[place]) >= *span {
                births[place] = LONG_AGO;
            } else {
                self.next = now.nanoseconds + *span / u64::from(WHOLE);
            }
            changed(self, place);
        }
    }
}

impl Slow {
    fn share(&self, place: usize, now: Now) -> u32 {
        match self.births.get(place) {
            None | Some(&LONG_AGO) => WHOLE,
            Some(birth) => {
                let age = now.nanoseconds.saturating_sub(*birth).min(self.span);
                let share = u128::from(age) * u128::from(WHOLE) / u128::from(self.span);
                (share as u32).max(1)
            }
        }
    }
}
