//! `swrr`, smooth weighted round robin: turns in proportion to the weights, a heavy real's spread among the others'.
//!
//! Each real has a credit. At each pick all credits grow by their reals' weights; the largest is picked, of equals the
//! first in the list, and it pays what all have grown by. Reals that take no connections are left out: their credit
//! stands still. With weights 5, 1 and 1 that gives `a a b a c a a`. An edit keeps the credits of the reals that stay,
//! as far as the new sum of the weights (they are cut to that much below and above 0), and a new one begins with none.
//!
//! All credits but one grow evenly between two picks, so nobody adds them up: a tournament of lines knows when the next
//! match will end otherwise than now.

use super::Candidate;
use super::asked::Known;
use super::listed::Listed;
use super::slow_start::Ramp;
use crate::names::ids::RealId;

/// A service's reals, which take turns.
#[derive(Debug)]
pub struct Smooth {
    pub(super) listed: Listed,
}

/// Nothing will change by itself.
const NEVER: u64 = u64::MAX;

/// A real, and a match of the tournament (numbered as the nodes of a binary tree: the last is 1; the winners of 2n and
/// 2n + 1 meet in n; the first ones are the upper half). A cache line, so that none has two workers' slots.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Slot {
    candidate: Option<Candidate>,
    /// The credit at pick `n` is `start + n * weight`, all wrapping: the credit itself is never that large.
    start: i64,
    /// The weight that it counts with; 0: it is left out.
    weight: i64,
    /// The place that has won the match.
    winner: u32,
    /// The pick at which this match, or one on the way to it, may end otherwise.
    due: u64,
}

/// What a worker keeps of a service: the credits, and who has the largest.
#[derive(Clone, Debug)]
pub struct Race {
    /// As many as a power of two.
    slots: Box<[Slot]>,
    ramp: Ramp,
    /// Picks so far.
    picks: u64,
    /// The sum of the weights.
    total: i64,
}

impl Race {
    /// Goes over from one list, with what was kept of it, to another.
    pub(super) fn adopt(old: Option<(&Listed, &Self)>, new: &Listed, known: &Known<'_>) -> Self {
        let old = old.filter(|(old, _)| old.generation == new.generation);
        let places = new.candidates.len().next_power_of_two().max(2);
        let mut race = Self {
            slots: vec![Slot::default(); places].into(),
            ramp: Ramp::adopt(old.map(|(listed, old)| (listed, &old.ramp)), new, known.now),
            picks: 0,
            total: 0,
        };
        for (place, candidate) in new.candidates.iter().enumerate() {
            race.slots[place].candidate = Some(*candidate);
            let credit = old.and_then(|(listed, old)| Some(old.credit(listed.place_of(candidate.real)?)));
            race.slots[place].start = credit.unwrap_or(0);
        }
        let total: u64 = (0..places).map(|place| race.weight(&race.ramp, place, known) as u64).sum();
        let most = i64::try_from(total).unwrap_or(i64::MAX);
        for slot in &mut race.slots {
            slot.start = slot.start.clamp(-most, most);
        }
        race.rebuild(known);
        race
    }

    /// Looks at all reals again.
    pub(super) fn rebuild(&mut self, known: &Known<'_>) {
        self.total = 0;
        for place in 0..self.slots.len() {
            let credit = self.credit(place);
            let weight = self.weight(&self.ramp, place, known);
            let slot = &mut self.slots[place];
            (slot.start, slot.weight) = (credit, weight);
            self.total += weight;
        }
        self.picks = 0;
        for node in (1..self.slots.len()).rev() {
            self.play(node);
        }
    }

    /// Looks at the real at this place again.
    pub(super) fn refresh(&mut self, place: usize, known: &Known<'_>) {
        let weight = self.weight(&self.ramp, place, known);
        self.set_weight(place, weight);
    }

    fn weight(&self, ramp: &Ramp, place: usize, known: &Known<'_>) -> i64 {
        match self.slots[place].candidate {
            Some(Candidate { real, weight }) if known.live.is_usable(real) => {
                ramp.weigh(weight, place, known.now) as i64
            }
            _ => 0,
        }
    }

    fn set_weight(&mut self, place: usize, weight: i64) {
        let credit = self.credit(place);
        let slot = &mut self.slots[place];
        self.total += weight - slot.weight;
        slot.weight = weight;
        slot.start = credit.wrapping_sub(weight.wrapping_mul(self.picks as i64));
        self.play_all_of(place);
    }

    /// The real whose turn it is.
    pub(super) fn pick(&mut self, known: &Known<'_>) -> Option<RealId> {
        if self.ramp.is_due(known.now) {
            self.step(known);
        }
        // Each turn takes a real out whose flags have changed just now.
        while self.total > 0 {
            let place = self.leader();
            let real = self.slots[place].candidate?.real;
            if known.live.is_usable(real) {
                return self.take(place);
            }
            self.set_weight(place, 0);
        }
        None
    }

    /// Who is picked next.
    fn leader(&mut self) -> usize {
        self.picks += 1;
        self.catch_up(1);
        self.picks -= 1;
        self.slots[1].winner as usize
    }

    fn take(&mut self, place: usize) -> Option<RealId> {
        self.picks += 1;
        self.slots[place].start = self.slots[place].start.wrapping_sub(self.total);
        self.play_all_of(place);
        self.slots[place].candidate.map(|candidate| candidate.real)
    }

    /// Shares of reals that start slowly have changed.
    #[cold]
    #[inline(never)]
    fn step(&mut self, known: &Known<'_>) {
        let mut ramp = std::mem::take(&mut self.ramp);
        ramp.step(known.now, |ramp, place| {
            let weight = self.weight(ramp, place, known);
            self.set_weight(place, weight);
        });
        self.ramp = ramp;
    }

    /// The credit of the real at this place.
    #[inline(always)]
    fn credit(&self, place: usize) -> i64 {
        let Slot { start, weight, .. } = self.slots[place];
        start.wrapping_add(weight.wrapping_mul(self.picks as i64))
    }

    /// Plays again what may end otherwise by now.
    fn catch_up(&mut self, node: usize) {
        if self.slots[node].due > self.picks {
            return;
        }
        if node * 2 < self.slots.len() {
            self.catch_up(node * 2);
            self.catch_up(node * 2 + 1);
        }
        self.play(node);
    }

    /// Plays the matches of the real at this place.
    fn play_all_of(&mut self, place: usize) {
        let mut node = (self.slots.len() + place) / 2;
        while node > 0 {
            self.play(node);
            node /= 2;
        }
    }

    /// Plays a match, and tells when it may end otherwise.
    #[inline(always)]
    fn play(&mut self, node: usize) {
        let child = node * 2;
        let (left, right, due) = if child < self.slots.len() {
            let (left, right) = (&self.slots[child], &self.slots[child + 1]);
            (left.winner as usize, right.winner as usize, left.due.min(right.due))
        } else {
            (child - self.slots.len(), child - self.slots.len() + 1, NEVER)
        };
        let (of_left, of_right) = (self.slots[left].weight, self.slots[right].weight);
        let ahead = self.credit(left).wrapping_sub(self.credit(right));
        // Of equals the earlier one in the list: the left.
        let is_left = of_right == 0 || of_left != 0 && ahead >= 0;
        let overtaken = if of_left == 0 || of_right == 0 {
            NEVER
        } else if is_left {
            picks_until(ahead as u64 + 1, of_right - of_left)
        } else {
            picks_until(ahead.unsigned_abs(), of_left - of_right)
        };
        let winner = if is_left { left } else { right };
        let slot = &mut self.slots[node];
        slot.winner = winner as u32;
        slot.due = due.min(self.picks.saturating_add(overtaken));
    }
}

/// How many picks it takes to come so far at this gain on each.
#[inline(always)]
const fn picks_until(far: u64, gain: i64) -> u64 {
    if gain <= 0 { NEVER } else { far.div_ceil(gain as u64) }
}
