//! The kernel's two round robins as they are described, step by step, and the comparison with ours.

use super::listed::Listed;
use super::place::Place;
use super::{Algorithm, Candidate, Change, Options, Rounds};
use crate::names::ids::RealId;
use crate::names::time::Now;
use proptest::prelude::*;

const NOW: Now = Now { nanoseconds: 0 };

fn rounds(
    algorithm: Algorithm,
    generation: u64,
    list: Vec<Candidate>,
    first_sequence: u64,
    changes: Vec<Change>,
) -> Rounds {
    let listed = Listed::new(algorithm, &Options::default(), generation, list);
    Rounds::new(listed, first_sequence, changes)
}

/// A service in the kernel: walks its list one real at a time.
#[derive(Default)]
pub(super) struct Model {
    pub(super) list: Vec<Candidate>,
    /// The real picked last; `None`: the list's head.
    pub(super) pointer: Option<RealId>,
    cw: i64,
    mw: i64,
    di: i64,
}

impl Model {
    fn place(&self) -> Option<usize> {
        self.pointer.map(|real| self.list.iter().position(|candidate| candidate.real == real).unwrap())
    }

    pub(super) fn add(&mut self, candidate: Candidate) {
        self.list.insert(0, candidate);
        self.changed();
    }

    pub(super) fn edit(&mut self, at: usize, weight: u32) {
        self.list[at].weight = weight;
        self.changed();
    }

    pub(super) fn delete(&mut self, at: usize) {
        if self.place() == Some(at) {
            self.pointer = at.checked_sub(1).map(|before| self.list[before].real);
        }
        self.list.remove(at);
        self.changed();
    }

    /// What `wrr` does on any change. `rr` has no part in it but for its pointer, kept apart below.
    pub(super) fn changed(&mut self) {
        let weights: Vec<i64> =
            self.list.iter().map(|c| i64::from(c.weight)).filter(|weight| *weight > 0).collect();
        let largest = weights.iter().copied().max().unwrap_or(0);
        self.di = (1..=largest).rev().find(|d| weights.iter().all(|weight| weight % d == 0)).unwrap_or(1);
        self.mw = largest - (self.di - 1);
        if self.cw > self.mw || self.cw == 0 {
            self.cw = self.mw;
        } else if self.di > 1 {
            self.cw = self.cw / self.di * self.di + 1;
        }
    }

    pub(super) fn pick_wrr(&mut self) -> Option<RealId> {
        if self.mw == 0 {
            return None;
        }
        let mut at = self.place().map_or(0, |place| place + 1);
        for _ in 0..1_000_000 {
            while at < self.list.len() {
                if i64::from(self.list[at].weight) >= self.cw {
                    self.pointer = Some(self.list[at].real);
                    return self.pointer;
                }
                at += 1;
            }
            self.cw -= self.di;
            if self.cw <= 0 {
                self.cw = self.mw;
            }
            at = 0;
        }
        panic!("the model does not end");
    }

    pub(super) fn pick_rr(&mut self) -> Option<RealId> {
        let after = self.place().map_or(0, |place| place + 1);
        let places = (after..self.list.len()).chain(0..after.min(self.list.len()));
        let place = places.into_iter().find(|place| self.list[*place].weight > 0)?;
        self.pointer = Some(self.list[place].real);
        self.pointer
    }
}

/// Ours, kept as the control thread and a worker would.
struct Ours {
    algorithm: Algorithm,
    schedule: Rounds,
    position: Place,
    /// Not adopted yet.
    changes: Vec<Change>,
}

impl Ours {
    fn new(algorithm: Algorithm) -> Self {
        let schedule = rounds(algorithm, 1, Vec::new(), 0, Vec::new());
        let mut position = Place::default();
        position.adopt(None, &schedule, NOW);
        Self { algorithm, schedule, position, changes: Vec::new() }
    }

    fn changed(&mut self, list: &[Candidate]) {
        self.changes.push(Change::of(list.iter().map(|candidate| candidate.weight)));
    }

    fn adopt(&mut self, list: &[Candidate], kept: usize) {
        // Old changes may still be listed: they are not replayed twice.
        let kept = kept.min(self.schedule.changes.len());
        let old = &self.schedule.changes[self.schedule.changes.len() - kept..];
        let changes: Vec<_> = old.iter().copied().chain(self.changes.drain(..)).collect();
        let first = self.schedule.next_sequence() - kept as u64;
        let new = rounds(self.algorithm, 1, list.to_vec(), first, changes);
        self.position.adopt(Some(&self.schedule), &new, NOW);
        self.schedule = new;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32),
    Edit(prop::sample::Index, u32),
    Delete(prop::sample::Index),
    Pick(u8),
    Adopt(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let weight = || prop_oneof![Just(0u32), 1u32..6, (1u32..8).prop_map(|n| n * 6), 0u32..=65_535];
    let step = prop_oneof![
        4 => weight().prop_map(Step::Add),
        2 => (any::<prop::sample::Index>(), weight()).prop_map(|(at, weight)| Step::Edit(at, weight)),
        2 => any::<prop::sample::Index>().prop_map(Step::Delete),
        6 => (1u8..40).prop_map(Step::Pick),
        2 => (0usize..3).prop_map(Step::Adopt),
    ];
    proptest::collection::vec(step, 1..60)
}

/// `at_once`: each change is adopted before the next, else only before a pick.
fn compare(algorithm: Algorithm, steps: &[Step], at_once: bool) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut ours = Ours::new(algorithm);
    let mut names = (0..).map(RealId);
    for step in steps {
        let picks = match step {
            Step::Add(weight) => {
                model.add(Candidate { real: names.next().unwrap(), weight: *weight });
                0
            }
            Step::Edit(..) | Step::Delete(_) if model.list.is_empty() => continue,
            Step::Edit(at, weight) => {
                model.edit(at.index(model.list.len()), *weight);
                0
            }
            Step::Delete(at) => {
                model.delete(at.index(model.list.len()));
                0
            }
            Step::Pick(picks) => *picks,
            Step::Adopt(kept) => {
                ours.adopt(&model.list, *kept);
                continue;
            }
        };
        if picks == 0 {
            ours.changed(&model.list);
            if algorithm == Algorithm::WeightedRoundRobin {
                model.pointer = None;
            }
        }
        if at_once || picks > 0 {
            ours.adopt(&model.list, 1);
        }
        for _ in 0..picks {
            let expected = match algorithm {
                Algorithm::WeightedRoundRobin => model.pick_wrr(),
                _ => model.pick_rr(),
            };
            prop_assert_eq!(ours.position.pick(&ours.schedule), expected);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn wrr_is_the_kernels(steps in steps(), at_once: bool) {
        compare(Algorithm::WeightedRoundRobin, &steps, at_once)?;
    }

    #[test]
    fn rr_is_the_kernels(steps in steps()) {
        compare(Algorithm::RoundRobin, &steps, true)?;
    }

    /// One round of all levels gives each real its weight's worth.
    #[test]
    fn wrr_is_in_proportion(weights in proptest::collection::vec(0u32..40, 1..30)) {
        let list: Vec<_> = (0..).zip(&weights).map(|(id, w)| Candidate { real: RealId(id), weight: *w }).collect();
        let change = Change::of(weights.iter().copied());
        let schedule = rounds(Algorithm::WeightedRoundRobin, 1, list, 7, vec![change]);
        let mut position = Place::default();
        position.adopt(None, &schedule, NOW);
        let total: u32 = weights.iter().sum::<u32>() / change.divisor;
        let mut picked = vec![0; weights.len()];
        for _ in 0..total {
            picked[position.pick(&schedule).unwrap().0 as usize] += change.divisor;
        }
        prop_assert_eq!(picked, weights);
    }
}

#[test]
fn ten_thousand_reals_are_each_picked_once_in_a_round() {
    let list: Vec<_> = (0..10_000).rev().map(|id| Candidate { real: RealId(id), weight: 3 }).collect();
    for algorithm in [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin] {
        let change = vec![Change::of(list.iter().map(|candidate| candidate.weight))];
        let schedule = rounds(algorithm, 1, list.clone(), 0, change);
        let mut position = Place::default();
        position.adopt(None, &schedule, NOW);
        let picked: Vec<_> = (0..20_000).map(|_| position.pick(&schedule).unwrap().0).collect();
        assert!(picked.iter().copied().eq((0..10_000).rev().chain((0..10_000).rev())));
    }
}

#[test]
fn several_changes_at_once_move_rr_to_the_nearest_real_before() {
    let list = |ids: &[u32]| ids.iter().map(|id| Candidate { real: RealId(*id), weight: 1 }).collect();
    let old = rounds(Algorithm::RoundRobin, 1, list(&[5, 4, 3, 2, 1]), 0, Vec::new());
    let mut position = Place::default();
    position.adopt(None, &old, NOW);
    let picked: Vec<_> = (0..3).map(|_| position.pick(&old).unwrap().0).collect();
    assert_eq!(picked, [5, 4, 3]);
    let new = rounds(Algorithm::RoundRobin, 1, list(&[6, 5, 2, 1]), 0, Vec::new());
    let mut kept = position.clone();
    kept.adopt(Some(&old), &new, NOW);
    assert_eq!(kept.pick(&new), Some(RealId(2)), "4 and 3 are gone: after 5");
    let anew = rounds(Algorithm::RoundRobin, 2, list(&[6, 5, 2, 1]), 0, Vec::new());
    position.adopt(Some(&old), &anew, NOW);
    assert_eq!(position.pick(&anew), Some(RealId(6)), "another generation begins at the head");
}
