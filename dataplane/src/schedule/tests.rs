use super::*;
use crate::counters::StateGauges;
use crate::live::elsewhere::Load;
use lab::Around;
use proptest::prelude::*;
use rounds::MOST_PASSED_OVER;

fn schedule(algorithm: Algorithm, weights: &[u32]) -> (Schedule, Position) {
    let list = (0..).zip(weights).map(|(id, weight)| Candidate { real: RealId(id), weight: *weight });
    let change = Change::of(weights.iter().copied());
    let schedule = Schedule::new(algorithm, 1, list.collect(), 0, vec![change]);
    let mut position = Position::default();
    position.adopt(None, &schedule, &Around::new().known(), 0);
    (schedule, position)
}

proptest! {
    /// As in the kernel, the others keep their order, and a real that is passed over loses its turn.
    #[test]
    fn reals_that_are_not_usable_are_passed_over(
        weights in prop::collection::vec(0u32..5, 1..12),
        flagged in prop::collection::vec(any::<bool>(), 12),
        is_weighted: bool,
    ) {
        let algorithm = if is_weighted { Algorithm::WeightedRoundRobin } else { Algorithm::RoundRobin };
        let known = Around::new();
        for (id, flagged) in (0..).map(RealId).zip(&flagged) {
            known.live.set_unavailable(id, *flagged && id.0 % 2 == 0);
            known.live.set_overloaded(id, *flagged && id.0 % 2 == 1);
        }
        let (schedule, mut position) = schedule(algorithm, &weights);
        let mut all = position.clone();
        let none = Around::new();
        let usable = |id: usize| weights[id] > 0 && !flagged[id];
        for _ in 0..40 {
            let found = schedule.choice(&mut position, &known.asked()).map(|real| real.0 as usize);
            if !(0..weights.len()).any(usable) {
                prop_assert_eq!(found, None);
                continue;
            }
            let expected = std::iter::from_fn(|| schedule.choice(&mut all, &none.asked()));
            let expected = expected.map(|real| real.0 as usize).find(|id| usable(*id));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn choices_begin_with_the_choice_and_go_on_with_all_that_are_usable(
        weights in prop::collection::vec(0u32..5, 1..12),
        flagged in prop::collection::vec(any::<bool>(), 12),
    ) {
        let known = Around::new();
        for (id, _) in (0..).map(RealId).zip(&flagged).filter(|(_, flagged)| **flagged) {
            known.live.set_unavailable(id, true);
        }
        let (schedule, mut position) = schedule(Algorithm::WeightedRoundRobin, &weights);
        let mut same = position.clone();
        for _ in 0..10 {
            let choices: Vec<RealId> = schedule.choices(&mut position, &known.asked()).collect();
            prop_assert_eq!(choices.first().copied(), schedule.choice(&mut same, &known.asked()));
            for id in (0..weights.len() as u32).map(RealId) {
                let index = id.0 as usize;
                prop_assert_eq!(choices.contains(&id), weights[index] > 0 && !flagged[index]);
            }
        }
    }
}

#[test]
fn a_pick_gives_up_after_very_many_reals_and_the_next_goes_on_there() {
    let known = Around::new();
    let many = 3 * MOST_PASSED_OVER;
    (0..many as u32 - 1).for_each(|id| known.live.set_unavailable(RealId(id), true));
    let (schedule, mut position) = schedule(Algorithm::RoundRobin, &vec![1; many]);
    let mut refused = 0;
    let found = loop {
        match schedule.choice(&mut position, &known.asked()) {
            None => refused += 1,
            Some(real) => break real,
        }
    };
    assert_eq!((found, refused), (RealId(many as u32 - 1), 2));
}

#[test]
fn connections_are_own_ones_now_and_those_elsewhere_as_they_were_told() {
    let known = Around::new();
    let (real, other) = (RealId(7), RealId(8));
    let own = known.own.real(real);
    own.total.add(2);
    own.states.add(StateGauges::ACTIVE);
    assert_eq!(known.known().connections(real), Load { active: 1, inactive: 1 });
    known.elsewhere.set(real, Load { active: 10, inactive: 20 });
    own.states.add(StateGauges::CLOSING.wrapping_sub(StateGauges::ACTIVE));
    assert_eq!(known.known().connections(real), Load { active: 10, inactive: 22 });
    assert_eq!(known.known().connections(other), Load::default());
}

#[test]
fn round_robin_compares_no_connections() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin] {
        assert!(!schedule(algorithm, &[1, 2]).0.needs_sums());
    }
}

/// How many of so many picks each of two reals gets, the second of which has appeared some seconds ago in a service
/// that starts slowly for ten.
fn picks_with_a_new_real(algorithm: Algorithm, seconds: u64, picks: usize) -> [usize; 2] {
    let mut lab = lab::Lab::new(algorithm, Flags::NONE);
    lab.options.slow_start = 10;
    lab.add(1, 2);
    lab.begin_anew();
    lab.add(2, 2);
    lab.around.now.nanoseconds += seconds * 1_000_000_000;
    let picked = lab.picks(picks);
    [1, 2].map(|real| picked.iter().filter(|picked| **picked == real).count())
}

#[test]
fn turns_of_a_real_that_appears_come_by_and_by() {
    for algorithm in
        [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin, Algorithm::SmoothWeightedRoundRobin]
    {
        let [old, new] = picks_with_a_new_real(algorithm, 5, 3000);
        assert!(new.abs_diff(1000) < 20, "{algorithm}: half its share: {old} and {new}");
        let [old, new] = picks_with_a_new_real(algorithm, 0, 2570);
        assert!((5..=20).contains(&new), "{algorithm}: a 256th of its share: {old} and {new}");
        assert_eq!(picks_with_a_new_real(algorithm, 10, 3000), [1500, 1500], "{algorithm}: its whole share");
    }
}

#[test]
fn a_real_that_starts_slowly_takes_every_turn_if_nobody_else_can() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::WeightedRoundRobin, Algorithm::PowerOfTwo] {
        let mut lab = lab::Lab::new(algorithm, Flags::NONE);
        lab.options.slow_start = 10;
        lab.add(1, 1);
        lab.begin_anew();
        lab.add(2, 1);
        lab.add(3, 1);
        lab.around.live.set_unavailable(RealId(1), true);
        let picked = lab.picks(40);
        assert!(picked.iter().all(|real| *real != 1), "{algorithm}");
        assert!(picked.contains(&2) && picked.contains(&3), "{algorithm}: {picked:?}");
        lab.around.live.set_overloaded(RealId(2), true);
        assert_eq!(lab.picks(5), [3; 5], "{algorithm}");
    }
}

#[test]
fn an_edit_keeps_slow_start_and_a_weight_that_rises_from_0_begins_it() {
    let mut lab = lab::Lab::new(Algorithm::SmoothWeightedRoundRobin, Flags::NONE);
    lab.options.slow_start = 10;
    lab.add(1, 1);
    lab.begin_anew();
    lab.add(2, 1);
    lab.around.now.nanoseconds += 5_000_000_000;
    lab.edit(2, 2);
    let count = |lab: &mut lab::Lab| lab.picks(600).iter().filter(|real| **real == 2).count();
    assert!(count(&mut lab).abs_diff(300) < 5, "half of weight 2");
    lab.around.now.nanoseconds += 5_000_000_000;
    lab.edit(2, 0);
    assert_eq!(count(&mut lab), 0);
    lab.edit(2, 1);
    assert!(count(&mut lab) < 10, "it begins anew");
}
