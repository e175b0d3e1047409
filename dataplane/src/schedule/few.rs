//! `lc`, `wlc`, `sed` and `nq` among no more than four reals, as most services have.
//!
//! There the matches would cost most of a pick: two multiplications for each comparison. The weights of so few nearly
//! always have a small common multiple. What a real has to do, times how often its weight goes into that, is one number
//! that compares as the kernel's products do, and is made anew only when the real's connections change.

use super::asked::{Known, counts};
use super::change::greatest_common_divisor;
use super::least::{cost, stands};
use super::listed::Listed;
use super::{Algorithm, Candidate};
use crate::counters::RealCounters;
use crate::live::elsewhere::Load;
use crate::names::ids::RealId;
use std::sync::Arc;

/// Reals, at most.
pub(super) const MOST: usize = 4;
/// The rank of what gets no connection: behind any real's.
const NEVER: u64 = u64::MAX;

/// What a worker keeps of a service with few reals.
#[derive(Clone, Debug)]
pub struct Few {
    line: Box<Line>,
    algorithm: Algorithm,
    candidates: Arc<[Candidate]>,
}

/// By the reals' places. Cache lines of its own, so that none has two workers'.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Line {
    /// The cost, and the place below it, so that of equals the earliest in the list is first; or [`NEVER`].
    ranks: [u64; MOST],
    /// By what an overhead is multiplied for its rank. Half the width of that, as the overhead is.
    scales: [u32; MOST],
    reals: [RealId; MOST],
    /// Connections on the other workers.
    elsewhere: [Load; MOST],
}

impl Few {
    /// For these reals; `None` if it takes a tournament: they are too many, something else than the connections
    /// decides, or the weights have no common multiple that is small enough.
    pub(super) fn of(listed: &Listed, known: &Known<'_>) -> Option<Self> {
        let candidates = &listed.candidates;
        let by_weight = [Algorithm::WeightedFailover, Algorithm::WeightedOverflow];
        if candidates.len() > MOST || listed.slow_start != 0 || by_weight.contains(&listed.algorithm) {
            return None;
        }
        let weights = candidates.iter().map(|candidate| match listed.algorithm {
            Algorithm::LeastConnection => candidate.weight.min(1),
            _ => candidate.weight,
        });
        let multiple = weights.clone().filter(|weight| *weight > 0).try_fold(1, common_multiple)?;
        let mut line = Line {
            ranks: [NEVER; MOST],
            scales: [0; MOST],
            reals: [RealId(0); MOST],
            elsewhere: [Load::default(); MOST],
        };
        for (place, (candidate, weight)) in candidates.iter().zip(weights).enumerate() {
            line.reals[place] = candidate.real;
            let goes_into = multiple.checked_div(weight.into()).unwrap_or(0);
            line.scales[place] = u32::try_from(goes_into.checked_mul(MOST as u64)?).ok()?;
        }
        let (algorithm, candidates) = (listed.algorithm, Arc::clone(candidates));
        let mut few = Self { line: Box::new(line), algorithm, candidates };
        few.rebuild(known);
        Some(few)
    }

    /// Looks at all reals again.
    pub(super) fn rebuild(&mut self, known: &Known<'_>) {
        (0..MOST).for_each(|place| self.refresh(place, known));
    }

    /// Looks at the real at this place again.
    #[inline(always)]
    pub(super) fn refresh(&mut self, place: usize, known: &Known<'_>) {
        let Some(candidate) = self.candidates.get(place) else { return };
        let stands = stands(self.algorithm, *candidate, known);
        let place = place % MOST;
        self.line.elsewhere[place] = known.elsewhere.get(candidate.real);
        self.line.ranks[place] = match stands {
            Some((overhead, _)) => self.rank(place, overhead),
            None => NEVER,
        };
    }

    /// As [`refresh`](Self::refresh), where nothing but what this worker counts of the real has changed.
    #[inline(always)]
    pub(super) fn recount(&mut self, place: usize, own: &RealCounters) {
        let place = place % MOST;
        if self.line.ranks[place] != NEVER {
            let counts = counts(own, self.line.elsewhere[place]);
            self.line.ranks[place] = self.rank(place, cost(self.algorithm, counts));
        }
    }

    #[inline(always)]
    fn rank(&self, place: usize, overhead: u32) -> u64 {
        u64::from(overhead) * u64::from(self.line.scales[place]) + place as u64
    }

    /// The best real, if all that has happened is known.
    #[inline(always)]
    pub(super) fn best(&self) -> Option<RealId> {
        let Line { ranks: [a, b, c, d], reals, .. } = &*self.line;
        let first = *a.min(b).min(c.min(d));
        (first != NEVER).then(|| reals[first as usize % MOST])
    }

    /// The best real that takes connections.
    pub(super) fn pick(&mut self, known: &Known<'_>) -> Option<RealId> {
        loop {
            let best = self.best()?;
            if known.live.is_usable(best) {
                return Some(best);
            }
            // Its flags have changed just now.
            let place = self.line.reals.iter().position(|real| *real == best)?;
            self.line.ranks[place] = NEVER;
        }
    }
}

/// The least common multiple of one and another number; `None` if it takes more than a word.
fn common_multiple(multiple: u64, weight: u32) -> Option<u64> {
    // The same divides the weight and what the multiple leaves.
    let rest = u32::try_from(multiple % u64::from(weight)).ok()?;
    (multiple / u64::from(greatest_common_divisor(weight, rest))).checked_mul(weight.into())
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::lab::Around;
    use super::super::least::Tournament;
    use super::*;
    use crate::counters::StateGauges;
    use proptest::prelude::*;

    const ALGORITHMS: [Algorithm; 4] = [
        Algorithm::LeastConnection,
        Algorithm::WeightedLeastConnection,
        Algorithm::ShortestExpectedDelay,
        Algorithm::NeverQueue,
    ];

    proptest! {
        #[test]
        fn few_are_picked_from_as_a_tournament_does(
            algorithm in proptest::sample::select(&ALGORITHMS[..]),
            reals in proptest::collection::vec(
                (prop_oneof![0..9u32, 0..70_000u32, any::<u32>()], 0..3000u32, 0..3000u32),
                0..=MOST,
            ),
        ) {
            let around = Around::new();
            let mut candidates = Vec::new();
            for (real, (weight, active, inactive)) in (0..).map(RealId).zip(&reals) {
                candidates.push(Candidate { real, weight: *weight });
                around.own.real(real).total.add(u64::from(active + inactive));
                around.own.real(real).states.add(u64::from(*active) * StateGauges::ACTIVE);
            }
            let listed = Listed::new(algorithm, &Options::default(), 0, candidates);
            let known = around.known();
            let few = Few::of(&listed, &known);
            prop_assert!(few.is_some() || reals.iter().any(|(weight, ..)| *weight >= 9));
            if let Some(mut few) = few {
                let expected = Tournament::adopt(None, &listed, &known).pick(&known);
                prop_assert_eq!(few.pick(&known), expected);
                let noted = expected.unwrap_or(RealId(0));
                around.own.real(noted).total.add(5000);
                around.own.real(noted).states.add(5000 * StateGauges::ACTIVE);
                few.recount(noted.0 as usize, around.own.real(noted));
                prop_assert_eq!(few.best(), Tournament::adopt(None, &listed, &known).pick(&known));
            }
        }
    }

    #[test]
    fn a_multiple_that_is_too_large_takes_a_tournament() {
        let around = Around::new();
        let few = |weights: &[u32]| {
            let candidate = |(real, weight): (u32, &u32)| Candidate { real: RealId(real), weight: *weight };
            let candidates = (0..).zip(weights).map(candidate).collect();
            let listed = Listed::new(Algorithm::WeightedLeastConnection, &Options::default(), 0, candidates);
            Few::of(&listed, &around.known()).map(|few| few.line.scales)
        };
        assert_eq!(few(&[6, 0, 4]), Some([2 * 4, 0, 3 * 4, 0]));
        assert_eq!(few(&[1, 1 << 29]), Some([1 << 31, 4, 0, 0]));
        assert_eq!(few(&[1, 1 << 30]), None);
        assert_eq!(few(&[65_521, 65_519, 65_497]), None);
        assert_eq!(few(&[u32::MAX, u32::MAX - 1, u32::MAX - 2, u32::MAX - 4]), None);
        assert_eq!(few(&[u32::MAX; 4]), Some([4; 4]));
        assert_eq!(few(&[1; 5]), None);
    }
}
