//! `twos`: the better one of two reals that are drawn by weight.

use super::Candidate;
use super::asked::Known;
use super::least::overhead;
use super::listed::Listed;
use super::slow_start::Ramp;
use crate::names::ids::RealId;
use fastrand::Rng;
use std::sync::Arc;

/// A service's reals, two of which are drawn.
#[derive(Debug)]
pub struct Two {
    pub(super) listed: Listed,
}

/// Sums of weights in a binary tree: node 1 is the root, the children of node `n` are `2n` and `2n + 1`, the leaves are
/// the second half. Whole cache lines, so that none has two workers' sums.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u64; 8]);

/// What a worker keeps of a service: how the lots lie, and where its random numbers go on.
#[derive(Clone, Debug)]
pub struct Lots {
    sums: Box<[Line]>,
    candidates: Arc<[Candidate]>,
    ramp: Ramp,
    random: Rng,
}

impl Lots {
    /// Goes over from one list, with what was kept of it, to another. The random numbers begin with `generation` where
    /// a list begins anew, and go on otherwise.
    pub(super) fn adopt(old: Option<(&Listed, &Self)>, new: &Listed, known: &Known<'_>) -> Self {
        let old = old.filter(|(old, _)| old.generation == new.generation);
        let nodes = new.candidates.len().next_power_of_two().max(1) * 2;
        let mut lots = Self {
            sums: vec![Line::default(); nodes.div_ceil(8)].into(),
            candidates: Arc::clone(&new.candidates),
            ramp: Ramp::adopt(old.map(|(listed, old)| (listed, &old.ramp)), new, known.now),
            random: old.map_or_else(|| Rng::with_seed(new.generation), |(_, old)| old.random.clone()),
        };
        lots.rebuild(known);
        lots
    }

    /// Another seed, so that workers do not draw alike.
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = Rng::with_seed(seed);
    }

    fn leaves(&self) -> usize {
        self.candidates.len().next_power_of_two().max(1)
    }

    #[inline(always)]
    fn sum(&mut self, node: usize) -> &mut u64 {
        &mut self.sums[node / 8].0[node % 8]
    }

    /// Looks at all reals again.
    pub(super) fn rebuild(&mut self, known: &Known<'_>) {
        let leaves = self.leaves();
        for place in 0..self.candidates.len() {
            *self.sum(leaves + place) = self.weight(&self.ramp, place, known);
        }
        for node in (1..leaves).rev() {
            *self.sum(node) = *self.sum(2 * node) + *self.sum(2 * node + 1);
        }
    }

    /// Looks at the real at this place again.
    pub(super) fn refresh(&mut self, place: usize, known: &Known<'_>) {
        if place < self.candidates.len() {
            let weight = self.weight(&self.ramp, place, known);
            self.set(place, weight);
        }
    }

    fn weight(&self, ramp: &Ramp, place: usize, known: &Known<'_>) -> u64 {
        let Candidate { real, weight } = self.candidates[place];
        if known.live.is_usable(real) { ramp.weigh(weight, place, known.now) } else { 0 }
    }

    fn set(&mut self, place: usize, weight: u64) {
        let mut node = self.leaves() + place;
        let before = *self.sum(node);
        while node > 0 {
            let sum = self.sum(node);
            *sum = sum.wrapping_sub(before).wrapping_add(weight);
            node /= 2;
        }
    }

    /// Draws two, and takes the second only if it has less to do for its weight.
    pub(super) fn pick(&mut self, known: &Known<'_>) -> Option<RealId> {
        if self.ramp.is_due(known.now) {
            self.step(known);
        }
        // Each turn takes a real out whose flags have changed just now.
        while *self.sum(1) > 0 {
            let total = *self.sum(1);
            let lots: [u64; 2] = std::array::from_fn(|_| self.random.u64(0..=total));
            let [first, second] = lots.map(|lot| self.drawn(lot));
            let overhead = |place: usize| {
                let (active, all) = known.counts(self.candidates[place].real);
                u128::from(overhead(active, all))
            };
            let ours = [overhead(first), overhead(second)];
            let leaves = self.leaves();
            let [weight, other] = [first, second].map(|place| u128::from(*self.sum(leaves + place)));
            let place = if other * ours[0] > weight * ours[1] { second } else { first };
            let real = self.candidates[place].real;
            if known.live.is_usable(real) {
                return Some(real);
            }
            self.set(place, 0);
        }
        None
    }

    /// The first place whose weight and those before it come to as much as this. Lot 0 is the first real's, as 1 is: it
    /// has one more than its weight's, as in the kernel.
    fn drawn(&mut self, lot: u64) -> usize {
        let mut left = lot.max(1);
        let (mut node, leaves) = (1, self.leaves());
        while node < leaves {
            node *= 2;
            let sum = *self.sum(node);
            if left > sum {
                left -= sum;
                node += 1;
            }
        }
        node - leaves
    }

    /// Shares of reals that start slowly have changed.
    #[cold]
    #[inline(never)]
    fn step(&mut self, known: &Known<'_>) {
        let mut ramp = std::mem::take(&mut self.ramp);
        ramp.step(known.now, |ramp, place| {
            let weight = self.weight(ramp, place, known);
            self.set(place, weight);
        });
        self.ramp = ramp;
    }
}
