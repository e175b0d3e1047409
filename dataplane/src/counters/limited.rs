//! Which reals have a connection threshold, and on which of these connections have begun or ended, so that a worker
//! looks at those alone.
//!
//! Two sets of reals' numbers as bits. What is in the second is found by two more levels, in which a bit stands for a
//! word of the level below that is not zero.

use super::Counter;
use crate::names::ids::{REAL_IDS, RealId};

const WORDS: usize = REAL_IDS / 64;
const GROUPS: usize = WORDS / 64;
const _: () = assert!(REAL_IDS.is_multiple_of(64 * 64) && GROUPS <= 64);

/// See the module's text. All of it is one worker's to write.
#[derive(Debug)]
pub(super) struct Limited {
    is_limited: Bits,
    noted: Bits,
    /// By words of `noted`.
    noted_words: [Counter; GROUPS],
    /// By words of `noted_words`.
    noted_groups: Counter,
}

/// A set of reals' numbers, in cache lines of its own.
#[derive(Debug)]
struct Bits(Box<[Line]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line([Counter; WORDS_IN_A_LINE]);

const WORDS_IN_A_LINE: usize = 16;

impl Default for Bits {
    fn default() -> Self {
        Self((0..WORDS / WORDS_IN_A_LINE).map(|_| Line::default()).collect())
    }
}

impl Bits {
    fn word(&self, word: usize) -> &Counter {
        &self.0[word / WORDS_IN_A_LINE].0[word % WORDS_IN_A_LINE]
    }
}

impl Default for Limited {
    fn default() -> Self {
        Self {
            is_limited: Bits::default(),
            noted: Bits::default(),
            noted_words: std::array::from_fn(|_| Counter::default()),
            noted_groups: Counter::default(),
        }
    }
}

/// A number's word and bit.
const fn place(number: usize) -> (usize, u64) {
    (number / 64, 1 << (number % 64))
}

fn set(word: &Counter, bit: u64, is: bool) {
    word.set(if is { word.get() | bit } else { word.get() & !bit });
}

impl Limited {
    /// A connection of this real, if it is limited, has begun or ended.
    #[cold]
    #[inline(never)]
    pub(super) fn note(&self, real: RealId) {
        let number = real.0 as usize & (REAL_IDS - 1);
        let (word, bit) = place(number);
        if self.is_limited.word(word).get() & bit == 0 {
            return;
        }
        let (group, of_word) = place(word);
        set(self.noted.word(word), bit, true);
        set(&self.noted_words[group], of_word, true);
        set(&self.noted_groups, 1 << group, true);
    }

    pub(super) fn set_limited(&self, real: RealId, is: bool) {
        let (word, bit) = place(real.0 as usize & (REAL_IDS - 1));
        set(self.is_limited.word(word), bit, is);
    }

    /// One of those that have changed, from now on no more.
    pub(super) fn take(&self) -> Option<RealId> {
        let first = |word: &Counter| (word.get() != 0).then(|| word.get().trailing_zeros() as usize);
        let group = first(&self.noted_groups)?;
        let word = group * 64 + first(&self.noted_words[group])?;
        let at = first(self.noted.word(word))?;
        set(self.noted.word(word), 1 << at, false);
        if self.noted.word(word).get() == 0 {
            set(&self.noted_words[group], place(word).1, false);
        }
        if self.noted_words[group].get() == 0 {
            set(&self.noted_groups, 1 << group, false);
        }
        Some(RealId((word * 64 + at) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_limited_ones_those_that_have_changed_are_taken_once() {
        let limited = Limited::default();
        let ids = [0, 1, 63, 64, 4095, 4096, 70_001 % REAL_IDS as u32, REAL_IDS as u32 - 1].map(RealId);
        ids.iter().for_each(|id| limited.note(*id));
        assert_eq!(limited.take(), None, "none is limited");
        ids.iter().for_each(|id| limited.set_limited(*id, true));
        ids.iter().for_each(|id| limited.set_limited(*id, true));
        limited.set_limited(ids[3], false);
        assert_eq!(limited.take(), None, "no change yet");
        for _ in 0..2 {
            (0..2).for_each(|_| ids.iter().rev().for_each(|id| limited.note(*id)));
            limited.note(RealId(5));
            let mut taken: Vec<_> = std::iter::from_fn(|| limited.take()).collect();
            taken.sort();
            let expected: Vec<_> = ids.iter().copied().filter(|id| *id != ids[3]).collect();
            assert_eq!(taken, expected);
        }
        ids.iter().for_each(|id| limited.set_limited(*id, false));
        ids.iter().for_each(|id| limited.note(*id));
        assert_eq!(limited.take(), None, "none is limited any more");
    }
}
