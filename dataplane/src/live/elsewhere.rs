//! How many connections a real has, as one worker sees it: its own now, and those of the other workers some
//! milliseconds ago.
//!
//! ```text
//! worker 0's gauges ─┐                      ┌─► Elsewhere of worker 0: what 1 and 2 had
//! worker 1's gauges ─┼─► the control thread ┼─► Elsewhere of worker 1: what 0 and 2 had
//! worker 2's gauges ─┘                      └─► Elsewhere of worker 2: what 0 and 1 had
//! ```
//!
//! Each worker is given the sum over the others, not the sum over all: so its own connections, which it adds as they
//! are now, can neither be counted twice nor be missing. Reals whose connections nobody compares are not added up.

use super::changes::Changes;
use crate::counters::RealCounters;
use crate::names::ids::{REAL_IDS, RealId};
use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reals whose words are allocated together (32 KiB).
const CHUNK: usize = 4096;

const _: () = assert!(REAL_IDS.is_power_of_two() && CHUNK.is_power_of_two() && REAL_IDS >= CHUNK);

/// Connections of a real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Those in an active state (as `ActiveConn`).
    pub active: u32,
    /// All others (as `InActConn`).
    pub inactive: u32,
}

impl Load {
    /// What one worker has on a real now. Read by that worker itself it is exact; another thread may see a connection
    /// that is just being opened or closed as inactive.
    #[inline(always)]
    pub fn of(counters: &RealCounters) -> Self {
        let active = counters.states.active();
        let inactive = counters.total.get().saturating_sub(active);
        Self { active: active as u32, inactive: u32::try_from(inactive).unwrap_or(u32::MAX) }
    }

    /// In any state.
    pub const fn total(self) -> u32 {
        self.active.saturating_add(self.inactive)
    }

    /// One word, so that both are of the same moment.
    const fn bits(self) -> u64 {
        self.active as u64 | (self.inactive as u64) << 32
    }

    const fn from_bits(bits: u64) -> Self {
        Self { active: bits as u32, inactive: (bits >> 32) as u32 }
    }
}

impl Add for Load {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self {
            active: self.active.saturating_add(other.active),
            inactive: self.inactive.saturating_add(other.inactive),
        }
    }
}

impl Sub for Load {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            active: self.active.saturating_sub(other.active),
            inactive: self.inactive.saturating_sub(other.inactive),
        }
    }
}

/// What all workers but one have on each real, for that one to read. Written by the control thread alone.
///
/// Memory is taken by the chunk when one of its reals first has connections elsewhere.
#[derive(Debug, Default)]
pub struct Elsewhere {
    changes: Changes,
    chunks: [OnceLock<Box<[AtomicU64]>>; REAL_IDS / CHUNK],
}

impl Elsewhere {
    /// What the other workers had when they were last added up; nothing where they are not.
    #[inline(always)]
    pub fn get(&self, id: RealId) -> Load {
        let (chunk, place) = place(id);
        let word = self.chunks[chunk].get().and_then(|words| words.get(place));
        word.map_or(Load::default(), |word| Load::from_bits(word.load(Ordering::Relaxed)))
    }

    /// What the other workers have now; the next pick heeds it. The worker's cache keeps what does not change.
    pub fn set(&self, id: RealId, load: Load) {
        if self.get(id) == load {
            return;
        }
        let (chunk, place) = place(id);
        let words = self.chunks[chunk].get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(0)).collect());
        words[place].store(load.bits(), Ordering::Relaxed);
        self.changes.note(id);
    }

    /// The reals that the others have lately come to have another number of connections on.
    #[inline(always)]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }
}

/// The chunk of a real, and its word there.
#[inline(always)]
const fn place(id: RealId) -> (usize, usize) {
    let index = id.0 as usize & (REAL_IDS - 1);
    (index / CHUNK, index % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::StateGauges;

    #[test]
    fn a_word_is_kept_by_real_and_memory_is_taken_for_what_is_not_zero() {
        let elsewhere = Elsewhere::default();
        let taken = || elsewhere.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        let (first, last) = (RealId(0), RealId(REAL_IDS as u32 - 1));
        elsewhere.set(first, Load::default());
        assert_eq!((taken(), elsewhere.get(first)), (0, Load::default()));
        let most = Load { active: u32::MAX, inactive: u32::MAX - 1 };
        elsewhere.set(last, most);
        assert_eq!((taken(), elsewhere.get(last), most.total()), (1, most, u32::MAX));
        assert_eq!(elsewhere.get(RealId(last.0 - 1)), Load::default());
        elsewhere.set(last, Load::default());
        assert_eq!(
            (taken(), elsewhere.get(last), elsewhere.get(first)),
            (1, Load::default(), Load::default())
        );
    }

    #[test]
    fn what_is_not_active_is_inactive_closing_or_not() {
        let counters = RealCounters::default();
        counters.total.add(6);
        counters.states.add(2 * StateGauges::ACTIVE + 3 * StateGauges::CLOSING);
        assert_eq!(Load::of(&counters), Load { active: 2, inactive: 4 });
        counters.total.subtract(5);
        assert_eq!(Load::of(&counters), Load { active: 2, inactive: 0 }, "half of what happens was seen");
    }

    #[test]
    fn sums_stay_within_their_halves() {
        let (a, b) = (Load { active: u32::MAX, inactive: 1 }, Load { active: 1, inactive: 2 });
        assert_eq!(a + b, Load { active: u32::MAX, inactive: 3 });
        assert_eq!(b - a, Load { active: 0, inactive: 1 });
        assert_eq!(Load::from_bits((a + b).bits()), a + b);
    }
}
