//! What Linux IPVS picked, from the transcripts in `testdata/schedule` and from recorded vectors.

use super::{Algorithm, Candidate, Change, Position, Rounds};
use crate::names::ids::RealId;

/// A service whose every change is adopted at once.
struct Service {
    list: Vec<Candidate>,
    schedule: Rounds,
    position: Position,
}

impl Service {
    fn new(algorithm: Algorithm) -> Self {
        let schedule = Rounds::new(algorithm, 1, Vec::new(), 0, Vec::new());
        Self { list: Vec::new(), schedule, position: Position::default() }
    }

    fn with(algorithm: Algorithm, reals: &[(u32, u32)]) -> Self {
        let mut service = Self::new(algorithm);
        for (real, weight) in reals {
            service.add(*real, *weight);
        }
        service
    }

    fn add(&mut self, real: u32, weight: u32) {
        self.list.insert(0, Candidate { real: RealId(real), weight });
        self.changed();
    }

    fn delete(&mut self, real: u32) {
        self.list.retain(|candidate| candidate.real != RealId(real));
        self.changed();
    }

    fn changed(&mut self) {
        let change = Change::of(self.list.iter().map(|candidate| candidate.weight));
        let (algorithm, sequence) = (self.schedule.algorithm, self.schedule.next_sequence());
        let new = Rounds::new(algorithm, 1, self.list.clone(), sequence, vec![change]);
        self.position.adopt_rounds(Some(&self.schedule), &new);
        self.schedule = new;
    }

    fn pick(&mut self) -> Option<u32> {
        self.position.pick(&self.schedule).map(|real| real.0)
    }

    fn picks(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.pick().unwrap()).collect()
    }
}

/// Runs all blocks of a transcript; how many picks were compared.
fn replay(text: &str) -> usize {
    let mut service = None;
    let mut compared = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["[lb]#", "ipvsadm", "-A", .., "-s", name] => service = Some(Service::new(name.parse().unwrap())),
            ["[lb]#", "ipvsadm", "-a", .., "-r", endpoint, "-m", "-w", weight] => {
                // 10.0.0.7 is rs1, 10.0.0.17 rs2 and so on.
                let host: u32 = endpoint.split(['.', ':']).nth(3).unwrap().parse().unwrap();
                service.as_mut().unwrap().add((host + 3) / 10, weight.parse().unwrap());
            }
            ["REFUSED", ..] | [_, "REFUSED", ..] => {
                assert!(words.iter().all(|word| *word == "REFUSED"));
                for _ in &words {
                    assert_eq!(service.as_mut().unwrap().pick(), None);
                    compared += 1;
                }
            }
            [first, ..] if first.starts_with("rs") => {
                for word in &words {
                    let expected = word.strip_prefix("rs").unwrap().parse().ok();
                    assert_eq!(service.as_mut().unwrap().pick(), expected, "{line}");
                    compared += 1;
                }
            }
            _ => {}
        }
    }
    compared
}

#[test]
fn wrr_transcript() {
    assert_eq!(replay(include_str!("../../testdata/schedule/wrr.txt")), 282);
}

#[test]
fn rr_transcript() {
    assert_eq!(replay(include_str!("../../testdata/schedule/rr.txt")), 282);
}

#[test]
fn rr_with_an_addition_and_a_deletion_in_between() {
    let mut service = Service::with(Algorithm::RoundRobin, &[(11, 1), (12, 1), (13, 1)]);
    assert_eq!(service.picks(4), [13, 12, 11, 13]);
    service.add(14, 1);
    assert_eq!(service.picks(8), [12, 11, 14, 13, 12, 11, 14, 13]);
    service.delete(13);
    assert_eq!(service.picks(6), [12, 11, 14, 12, 11, 14]);
}

#[test]
fn wrr_vectors() {
    let wrr = |reals: &[_], picks| Service::with(Algorithm::WeightedRoundRobin, reals).picks(picks);
    assert_eq!(
        wrr(&[(11, 4), (12, 2), (13, 1)], 17),
        [13, 12, 11, 11, 11, 12, 11, 13, 12, 11, 11, 11, 12, 11, 13, 12, 11]
    );
    assert_eq!(
        wrr(&[(11, 5), (12, 1), (13, 1)], 14),
        [13, 12, 11, 11, 11, 11, 11, 13, 12, 11, 11, 11, 11, 11]
    );
    assert_eq!(wrr(&[(11, 1), (12, 1), (13, 5)], 10), [13, 12, 11, 13, 13, 13, 13, 13, 12, 11]);
}

/// Not recorded but worked out by hand from the kernel's rule: a change goes back to the head of the
/// list and keeps the level, 4 here, as far as the new weights allow.
#[test]
fn wrr_with_changes_in_mid_round() {
    let mut service = Service::with(Algorithm::WeightedRoundRobin, &[(11, 4), (12, 2), (13, 1)]);
    assert_eq!(service.picks(4), [13, 12, 11, 11]);
    service.add(14, 3);
    assert_eq!(service.picks(6), [11, 14, 11, 14, 12, 11]);
    service.delete(13);
    assert_eq!(service.picks(4), [14, 12, 11, 14], "level 2, then 1");
    service.delete(11);
    assert_eq!(service.picks(6), [14, 12, 14, 14, 12, 14], "level 1 stays; then 3, 2, 1");
}
