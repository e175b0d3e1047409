//! Looking at all of something over and over, a slice in each turn, paced by time.

use crate::names::time::Now;

/// Looked at in a turn that has packets, at most.
const BUSY: usize = 64;
/// Looked at in a turn without packets, at most.
const IDLE: usize = 1024;
/// Target time for one full pass, in nanoseconds: a tick of connections, for as many as [`IN_A_PASS`].
const PASS: u64 = 250_000_000;
/// Where there are more, a pass takes proportionally longer.
const IN_A_PASS: usize = 65_536;

/// How far it has got.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    position: usize,
    until: u64,
}

impl Sweep {
    /// How many of `length` are due by now, within a bound that is higher in an idle turn.
    pub(crate) fn due(&mut self, length: usize, now: Now, idle: bool) -> usize {
        if length == 0 {
            self.until = now.nanoseconds;
            return 0;
        }
        let pass = PASS * length.div_ceil(IN_A_PASS) as u64;
        let behind = now.nanoseconds.saturating_sub(self.until).min(pass);
        // It fits: fewer than 2^32 at less than 2^40 nanoseconds would not, but the quotient does.
        let due = (u128::from(behind) * length as u128 / u128::from(pass)) as usize;
        if due == 0 {
            return 0;
        }
        let examined = due.min(if idle { IDLE } else { BUSY });
        let worth = (examined as u128 * u128::from(pass) / length as u128) as u64;
        self.until = now.nanoseconds - behind + worth;
        examined
    }

    /// The next one of `length`.
    pub(crate) const fn next(&mut self, length: usize) -> usize {
        let next = if self.position < length { self.position } else { 0 };
        self.position = next + 1;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes that it gets through in ten seconds, with turns that are `apart` nanoseconds.
    fn passes(length: usize, apart: u64, idle: bool) -> f64 {
        let (mut sweep, mut looked_at) = (Sweep::default(), 0);
        for turn in 1..=10_000_000_000 / apart {
            let due = sweep.due(length, Now { nanoseconds: turn * apart }, idle);
            assert!(due <= if idle { IDLE } else { BUSY });
            looked_at += due;
        }
        looked_at as f64 / length as f64
    }

    #[test]
    fn a_pass_takes_a_tick_and_longer_where_there_is_much() {
        for (length, expected) in [(1, 40.0), (1000, 40.0), (IN_A_PASS, 40.0), (8 * IN_A_PASS, 5.0)] {
            let passes = passes(length, 50_000, false);
            assert!((expected * 0.97..=expected * 1.01).contains(&passes), "{length}: {passes}");
        }
        assert!(passes(IN_A_PASS, 10_000_000, true) < 20.0, "few turns have a bound each");
    }

    #[test]
    fn each_is_next_in_its_turn_however_many_there_are() {
        let mut sweep = Sweep::default();
        let seen: Vec<usize> = [3, 3, 3, 3, 1, 2, 2].map(|length| sweep.next(length)).into();
        assert_eq!(seen, [0, 1, 2, 0, 0, 1, 0]);
    }
}
