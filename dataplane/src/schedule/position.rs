//! What one worker keeps for a service.

use super::asked::Known;
use super::few::Few;
use super::least::Tournament;
use super::place::Place;
use super::slow_start::Ramp;
use super::smooth::Race;
use super::two::Lots;
use super::{Hashed, Schedule};
use std::sync::Arc;

/// The worker's own part of scheduling one service. Every [`Schedule`] is adopted once, in the order in which they
/// come, before anything is picked from it. Cache lines of its own, so that no two workers' lie in one.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub enum Position {
    /// Nothing has been adopted yet.
    #[default]
    Nowhere,
    /// With `rr` and `wrr`.
    Place(Place),
    /// With `lc`, `wlc`, `sed` and `nq`, and few reals.
    Few(Few),
    /// With these and many reals or slow start, and with `fo` and `ovf`.
    Tournament(Tournament),
    /// With `sh`, `mh` and `dh`: the schedule itself, the same for all workers.
    Table(Arc<Hashed>),
    /// With `twos`.
    Lots(Lots),
    /// With `swrr`.
    Race(Race),
}

impl Position {
    /// Goes over from `old` (the schedule adopted last, if any) to `new`. A schedule of another generation, or none
    /// before, begins anew; then positions are staggered by the number of the worker, so that few connections spread
    /// over the reals whichever workers they reach. Takes memory, and time in proportion to the reals and, for `rr` and
    /// `wrr`, in proportion to the changes.
    pub fn adopt(&mut self, old: Option<&Schedule>, new: &Schedule, known: &Known<'_>, worker: usize) {
        let before = std::mem::take(self);
        let listed = old.map(Schedule::listed).filter(|old| old.generation == new.listed().generation);
        let is_new = listed.is_none();
        *self = match (new, before) {
            (Schedule::Hashed(new), _) => Self::Table(Arc::clone(new)),
            (Schedule::Rounds(new), before) => {
                let (old, mut place) = match (old, before) {
                    (Some(Schedule::Rounds(old)), Self::Place(place)) => (Some(old), place),
                    _ => (None, Place::default()),
                };
                if place.adopt(old, new, known.now) {
                    place.skip(worker, new);
                }
                Self::Place(place)
            }
            (Schedule::Least(new), before) => match Few::of(&new.listed, known) {
                Some(few) => Self::Few(few),
                None => {
                    let whole = Ramp::default();
                    let ramp = match &before {
                        Self::Tournament(before) => Some(before.ramp()),
                        Self::Few(_) => Some(&whole),
                        _ => None,
                    };
                    Self::Tournament(Tournament::adopt(listed.zip(ramp), &new.listed, known))
                }
            },
            (Schedule::Two(new), before) => {
                let old = match &before {
                    Self::Lots(before) => listed.map(|listed| (listed, before)),
                    _ => None,
                };
                let mut lots = Lots::adopt(old, &new.listed, known);
                if is_new {
                    lots.seed(new.listed.generation.wrapping_mul(SEEDS) + worker as u64);
                }
                Self::Lots(lots)
            }
            (Schedule::Smooth(new), before) => {
                let old = match &before {
                    Self::Race(before) => listed.map(|listed| (listed, before)),
                    _ => None,
                };
                let mut race = Race::adopt(old, &new.listed, known);
                if is_new {
                    for _ in 0..worker {
                        race.pick(known);
                    }
                }
                Self::Race(race)
            }
        };
    }

    /// Looks again at the real at this place of the list.
    pub(super) fn refresh(&mut self, place: usize, known: &Known<'_>) {
        match self {
            Self::Nowhere | Self::Place(_) | Self::Table(_) => {}
            Self::Few(few) => few.refresh(place, known),
            Self::Tournament(tournament) => tournament.refresh(place, known),
            Self::Lots(lots) => lots.refresh(place, known),
            Self::Race(race) => race.refresh(place, known),
        }
    }

    /// Looks at all reals again.
    pub(super) fn rebuild(&mut self, known: &Known<'_>) {
        match self {
            Self::Nowhere | Self::Place(_) | Self::Table(_) => {}
            Self::Few(few) => few.rebuild(known),
            Self::Tournament(tournament) => tournament.rebuild(known),
            Self::Lots(lots) => lots.rebuild(known),
            Self::Race(race) => race.rebuild(known),
        }
    }
}

/// More than there can be workers.
const SEEDS: u64 = 1 << 16;
