//! Whether all workers turn, as whoever restarts the daemon wants to know again and again (sd_notify(3), `WATCHDOG=1`).
//!
//! The control thread looks at them four times within the time after which it would be restarted. A worker counts as
//! stuck when two looks one after the other find it where it was: so it has had a quarter of that time at least, on a
//! machine that stood still as a whole, too. One that rests, while another process has the devices, does not count, and
//! one that imports connections turns.

use crate::publish::workers::Progress;
use std::time::{Duration, Instant};

/// Looks within the time after which the daemon is restarted.
const LOOKS: u32 = 4;
/// Looks in which a worker has made no turn, from which it counts as stuck.
const UNCHANGED: u32 = 2;

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// All turn.
    Alive,
    /// These workers are stuck. `is_news`: others were at the last look.
    Stuck {
        /// By number.
        workers: Vec<usize>,
        /// Whether it is worth a line in the log.
        is_news: bool,
    },
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Watchdog {
    interval: Duration,
    next: Instant,
    /// By worker.
    seen: Vec<Seen>,
    stuck: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    turns: Option<u64>,
    unchanged: u32,
}

impl Watchdog {
    /// The daemon is restarted if nothing is heard for `limit`. The first look is due at once.
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self { interval: limit / LOOKS, next: now, seen: Vec::new(), stuck: Vec::new() }
    }

    /// When the next look is due.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Looks at all workers, if it is time to.
    pub fn look(&mut self, now: Instant, workers: impl Iterator<Item = Progress>) -> Option<Found> {
        if now < self.next {
            return None;
        }
        self.next = now + self.interval;
        let mut stuck = Vec::new();
        for (number, progress) in workers.enumerate() {
            if self.seen.len() <= number {
                self.seen.push(Seen::default());
            }
            let seen = &mut self.seen[number];
            let has_turned = seen.turns.replace(progress.turns) != Some(progress.turns);
            seen.unchanged = if has_turned || !progress.is_to_turn { 0 } else { seen.unchanged + 1 };
            if seen.unchanged >= UNCHANGED {
                stuck.push(number);
            }
        }
        let is_news = stuck != self.stuck;
        self.stuck.clone_from(&stuck);
        Some(if stuck.is_empty() { Found::Alive } else { Found::Stuck { workers: stuck, is_news } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(12);

    /// What looks every 3 s find, of workers with these turns at each; `None`: it rests.
    fn found(looks: &[&[Option<u64>]]) -> Vec<Found> {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(LIMIT, start);
        let progress =
            |turns: &Option<u64>| Progress { turns: turns.unwrap_or(7), is_to_turn: turns.is_some() };
        let at = |look: usize| start + Duration::from_secs(3) * look as u32;
        let looks = looks.iter().enumerate();
        looks
            .map(|(look, workers)| {
                assert_eq!(watchdog.due(), at(look));
                watchdog.look(at(look), workers.iter().map(progress)).expect("it is due")
            })
            .collect()
    }

    fn stuck(workers: &[usize], is_news: bool) -> Found {
        Found::Stuck { workers: workers.to_vec(), is_news }
    }

    #[test]
    fn a_worker_that_stands_still_in_two_looks_is_stuck_until_it_turns() {
        let turns: Vec<Vec<Option<u64>>> =
            [(1, 5), (2, 5), (3, 5), (4, 5), (5, 6), (6, 7)].map(|(a, b)| vec![Some(a), Some(b)]).to_vec();
        let looks: Vec<_> = turns.iter().map(Vec::as_slice).collect();
        let alive = Found::Alive;
        let expected =
            [alive.clone(), alive.clone(), stuck(&[1], true), stuck(&[1], false), alive.clone(), alive];
        assert_eq!(found(&looks), expected);
    }

    #[test]
    fn one_that_rests_is_not_stuck_and_has_its_time_again_afterwards() {
        let looks = [Some(1), None, None, None, None, Some(7), Some(8), Some(9)].map(|turns| [turns]);
        let looks: Vec<_> = looks.iter().map(<[_; 1]>::as_slice).collect();
        assert_eq!(found(&looks), vec![Found::Alive; looks.len()]);
        let looks = [None, Some(7), Some(7), Some(7)].map(|turns| [turns]);
        let looks: Vec<_> = looks.iter().map(<[_; 1]>::as_slice).collect();
        assert_eq!(found(&looks)[2..], [stuck(&[0], true), stuck(&[0], false)]);
    }

    #[test]
    fn slow_turns_are_turns() {
        // Those of an import of millions of connections: few, and each with its share.
        let turns: Vec<[Option<u64>; 1]> = (1..20).map(|turn| [Some(turn)]).collect();
        let looks: Vec<_> = turns.iter().map(<[_; 1]>::as_slice).collect();
        assert_eq!(found(&looks), vec![Found::Alive; looks.len()]);
    }

    #[test]
    fn it_looks_no_earlier_than_it_is_due_and_a_late_look_is_one() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(LIMIT, start);
        let still = || std::iter::once(Progress { turns: 1, is_to_turn: true });
        assert_eq!(watchdog.look(start, still()), Some(Found::Alive));
        assert_eq!(watchdog.look(after(2), still()), None);
        // The whole machine stood still for an hour: the worker has not had time since.
        assert_eq!(watchdog.look(after(3600), still()), Some(Found::Alive));
        assert_eq!(watchdog.look(after(3601), still()), None);
        assert_eq!(watchdog.look(after(3603), still()), Some(stuck(&[0], true)));
    }
}
