//! The algorithms that take the best of all reals: `lc`, `wlc`, `sed`, `nq`, `fo`, `ovf`.
//!
//! The kernel looks at each real in the order of its list and takes the first that no other beats. Here a tournament of
//! the same reals, each against its neighbour, is kept by each worker: one that has come to stand otherwise plays its
//! few matches again, so that a pick costs the logarithm of what looking at each would.

use super::asked::Known;
use super::listed::Listed;
use super::slow_start::Ramp;
use super::{Algorithm, Candidate};
use crate::names::ids::RealId;
use std::sync::Arc;

/// A service's reals, and which of them is the best.
#[derive(Debug)]
pub struct Least {
    pub(super) listed: Listed,
}

/// How a real stands: what it has to do, and what it can. It is the better the smaller their ratio.
///
/// Half the width of their products. So from 16,777,216 active connections on a real counts as if it had no more, where
/// the kernel's number has become negative before; and so does a weight beyond that where there is slow start.
#[derive(Clone, Copy, Debug)]
struct Standing {
    overhead: u32,
    /// 0: it gets no connection.
    weight: u32,
    /// Its place in the list.
    place: u32,
    real: RealId,
}

impl Standing {
    /// What does for a real that gets none: any other is better.
    const fn none(place: usize) -> Self {
        Self { overhead: 1, weight: 0, place: place as u32, real: RealId(0) }
    }

    /// As the kernel compares, by multiplying crosswise.
    #[inline(always)]
    const fn is_better_than(&self, other: &Self) -> bool {
        (self.overhead as u64) * (other.weight as u64) < (other.overhead as u64) * (self.weight as u64)
    }
}

/// The most that a standing can say.
const MOST: u64 = u32::MAX as u64;

/// A match of four, in the order of the list. A cache line, so that none has two workers' matches.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Match([Standing; 4]);

impl Match {
    /// The best; of equals the earliest in the list.
    #[inline(always)]
    const fn winner(&self) -> &Standing {
        let Self([a, b, c, d]) = self;
        let first = if b.is_better_than(a) { b } else { a };
        let last = if d.is_better_than(c) { d } else { c };
        if last.is_better_than(first) { last } else { first }
    }
}

/// What a worker keeps of a service: its reals' standings, and the matches between them.
#[derive(Clone, Debug)]
pub struct Tournament {
    algorithm: Algorithm,
    /// A complete tree: the last match is 0, in which the winners of 1 to 4 meet, and so on (those of 4n + 1 to 4n + 4
    /// in n).
    matches: Box<[Match]>,
    candidates: Arc<[Candidate]>,
    ramp: Ramp,
}

impl Tournament {
    /// Goes over from one list, with its shares, to another.
    pub(super) fn adopt(old: Option<(&Listed, &Ramp)>, new: &Listed, known: &Known<'_>) -> Self {
        let (mut matches, mut width) = (1, 1);
        while 4 * width < new.candidates.len() {
            width *= 4;
            matches += width;
        }
        let mut tournament = Self {
            algorithm: new.algorithm,
            matches: vec![Match([Standing::none(0); 4]); matches].into(),
            candidates: Arc::clone(&new.candidates),
            ramp: Ramp::adopt(old, new, known.now),
        };
        tournament.rebuild(known);
        tournament
    }

    /// The shares of reals that start slowly.
    pub(super) const fn ramp(&self) -> &Ramp {
        &self.ramp
    }

    /// Whether changes of connection counts make a difference.
    pub(super) const fn compares_connections(algorithm: Algorithm) -> bool {
        !matches!(algorithm, Algorithm::WeightedFailover)
    }

    /// From this match on neighbours of the list meet.
    #[inline(always)]
    const fn first(&self) -> usize {
        (self.matches.len() - 1) / 4
    }

    /// Looks at all reals again.
    pub(super) fn rebuild(&mut self, known: &Known<'_>) {
        let first = self.first();
        for place in 0..4 * (self.matches.len() - first) {
            self.matches[first + place / 4].0[place % 4] = self.standing(&self.ramp, place, known);
        }
        for number in (1..self.matches.len()).rev() {
            self.matches[(number - 1) / 4].0[(number - 1) % 4] = *self.matches[number].winner();
        }
    }

    /// Looks at the real at this place again.
    #[inline(always)]
    pub(super) fn refresh(&mut self, place: usize, known: &Known<'_>) {
        let standing = self.standing(&self.ramp, place, known);
        self.set(standing);
    }

    /// The best real.
    #[inline(always)]
    pub(super) fn pick(&mut self, known: &Known<'_>) -> Option<RealId> {
        if self.ramp.is_due(known.now) {
            self.step(known);
        }
        loop {
            let best = self.matches.first()?.winner();
            if best.weight == 0 {
                return None;
            }
            if known.live.is_usable(best.real) {
                return Some(best.real);
            }
            self.take_out(best.place as usize);
        }
    }

    /// The flags of a real have changed just now.
    #[cold]
    #[inline(never)]
    fn take_out(&mut self, place: usize) {
        self.set(Standing::none(place));
    }

    /// Shares of reals that start slowly have changed.
    #[cold]
    #[inline(never)]
    fn step(&mut self, known: &Known<'_>) {
        let mut ramp = std::mem::take(&mut self.ramp);
        ramp.step(known.now, |ramp, place| {
            let standing = self.standing(ramp, place, known);
            self.set(standing);
        });
        self.ramp = ramp;
    }

    #[inline(always)]
    fn standing(&self, ramp: &Ramp, place: usize, known: &Known<'_>) -> Standing {
        let candidate = self.candidates.get(place).copied();
        let stands =
            candidate.and_then(|candidate| Some((candidate.real, stands(self.algorithm, candidate, known)?)));
        let Some((real, (overhead, mut weight))) = stands else { return Standing::none(place) };
        if ramp.is_configured() {
            weight = u32::try_from(ramp.weigh(weight, place, known.now)).unwrap_or(u32::MAX);
        }
        Standing { overhead, weight, place: place as u32, real }
    }

    /// Notes how a real stands, and plays its matches again.
    #[inline(always)]
    fn set(&mut self, standing: Standing) {
        let place = standing.place as usize;
        let (mut number, mut side) = (self.first() + place / 4, place % 4);
        let mut winner = standing;
        while let Some(played) = self.matches.get_mut(number) {
            let before = std::mem::replace(&mut played.0[side], winner);
            if number == 0 || before.place == winner.place && winner.place != standing.place {
                // The last one, or it lost and loses again: further on it never was.
                return;
            }
            winner = *played.winner();
            (number, side) = ((number - 1) / 4, (number - 1) % 4);
        }
    }
}

/// What a real has to do, and what it can: with its whole share; `None`: it gets no connection.
#[inline(always)]
pub(super) fn stands(algorithm: Algorithm, candidate: Candidate, known: &Known<'_>) -> Option<(u32, u32)> {
    let Candidate { real, weight } = candidate;
    if weight == 0 || !known.live.is_usable(real) {
        return None;
    }
    let counts @ (active, _) = known.counts(real);
    let weight = match algorithm {
        Algorithm::LeastConnection => 1,
        Algorithm::WeightedOverflow if active > u64::from(weight) => 0,
        _ => weight,
    };
    Some((cost(algorithm, counts), weight))
}

/// What a real has to do that has so many connections in an active state, and in all.
#[inline(always)]
pub(super) fn cost(algorithm: Algorithm, (active, all): (u64, u64)) -> u32 {
    let cost = match algorithm {
        Algorithm::LeastConnection | Algorithm::WeightedLeastConnection => overhead(active, all),
        Algorithm::ShortestExpectedDelay => active + 1,
        // An idle one is better than any that is not, and no better than another idle one.
        Algorithm::NeverQueue if active == 0 => 0,
        Algorithm::NeverQueue => active + 1,
        // The weights alone decide.
        _ => 1,
    };
    cost.min(MOST) as u32
}

/// What connections cost, in the kernel's measure: each 1, and an active one 256.
#[inline(always)]
pub(super) const fn overhead(active: u64, all: u64) -> u64 {
    active * 255 + all
}
