//! Which reals have been written lately, so that a reader looks at these and not at all.

use crate::names::ids::{REAL_IDS, RealId};
use std::sync::atomic::{AtomicU64, Ordering};

/// Changes that are remembered. A reader that is further behind has to look at all reals.
const LENGTH: usize = 256;
/// Bits of a real's number.
const REAL_BITS: u32 = REAL_IDS.ilog2();

/// The last changes. Written by some threads, read by others, who each know how far they have read.
#[derive(Debug)]
pub struct Changes {
    begun: AtomicU64,
    /// By the number of a change: that number and one more, then the real's in the low bits.
    ring: [AtomicU64; LENGTH],
}

impl Default for Changes {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), ring: [const { AtomicU64::new(0) }; LENGTH] }
    }
}

impl Changes {
    /// Remembers that something of this real has been stored before the call.
    pub(super) fn note(&self, real: RealId) {
        let number = self.begun.fetch_add(1, Ordering::AcqRel);
        let entry = ((number + 1) << REAL_BITS) | (u64::from(real.0) % REAL_IDS as u64);
        self.ring[number as usize % LENGTH].store(entry, Ordering::Release);
    }

    /// The number of changes so far.
    #[inline(always)]
    pub fn count(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Tells of each change from number `read` on, and moves that on. False if too many have come to know them all:
    /// then any real may have changed. What another thread is about to write is told of by the next call.
    pub fn follow(&self, read: &mut u64, mut changed: impl FnMut(RealId)) -> bool {
        let count = self.count();
        while *read < count {
            let entry = self.ring[*read as usize % LENGTH].load(Ordering::Acquire);
            if entry >> REAL_BITS > *read + 1 || count - *read > LENGTH as u64 {
                *read = count;
                return false;
            }
            if entry >> REAL_BITS <= *read {
                return true;
            }
            changed(RealId(entry as u32 % REAL_IDS as u32));
            *read += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(changes: &Changes, read: &mut u64) -> Option<Vec<u32>> {
        let mut changed = Vec::new();
        changes.follow(read, |real| changed.push(real.0)).then_some(changed)
    }

    #[test]
    fn a_reader_is_told_of_what_it_has_not_read() {
        let changes = Changes::default();
        let mut read = 0;
        assert_eq!(follow(&changes, &mut read), Some(vec![]));
        for real in [7, REAL_IDS as u32 - 1, 7] {
            changes.note(RealId(real));
        }
        assert_eq!(follow(&changes, &mut read), Some(vec![7, REAL_IDS as u32 - 1, 7]));
        assert_eq!(follow(&changes, &mut read), Some(vec![]));
        for real in 0..LENGTH as u32 {
            changes.note(RealId(real));
        }
        assert_eq!(follow(&changes, &mut read), Some((0..LENGTH as u32).collect()));
        for real in 0..=LENGTH as u32 {
            changes.note(RealId(real));
        }
        assert_eq!(follow(&changes, &mut read), None, "one too many");
        assert_eq!(follow(&changes, &mut read), Some(vec![]));
    }

    #[test]
    fn no_change_is_missed_while_several_write() {
        const WRITERS: u32 = 3;
        const EACH: u32 = 20_000;
        let changes = Changes::default();
        let mut last = [0; WRITERS as usize];
        let mut read = 0;
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let changes = &changes;
                scope.spawn(move || {
                    for number in 1..=EACH {
                        changes.note(RealId(writer << 15 | number));
                    }
                });
            }
            while read < u64::from(WRITERS * EACH) {
                changes.follow(&mut read, |real| {
                    let (writer, number) = ((real.0 >> 15) as usize, real.0 & 0x7fff);
                    assert!(number > last[writer], "in order, and none twice");
                    last[writer] = number;
                });
            }
        });
        assert!(last.iter().all(|last| *last <= EACH));
    }
}
