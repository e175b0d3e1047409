//! The entries as the loop over a burst has them: a bare slice of words, which it keeps in registers.

use super::entry::{STATE_MASK, TICK_SHIFT, WAYS};
use super::{Entry, Home, Probed, Table};
use crate::connection::State;
use crate::connection::family::{Family, Line};
use crate::names::family::V4;
use crate::names::time::Tick;
use std::cell::Cell;
use std::marker::PhantomData;

/// Words that are brought close at once.
const WORDS_OF_CACHE_LINE: usize = 64 / size_of::<u64>();

/// The keys and values of all buckets, to be read and changed in place, with the rests of the keys.
pub struct Words<'a, F: Family = V4> {
    words: &'a [Cell<u64>],
    family: PhantomData<F>,
}

impl<F: Family> Clone for Words<'_, F> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Family> Copy for Words<'_, F> {}

impl<F: Family> Table<F> {
    /// All of its words.
    #[inline(always)]
    pub fn words(&mut self) -> Words<'_, F> {
        let words = Cell::from_mut(bytemuck::cast_slice_mut(&mut self.buckets)).as_slice_of_cells();
        Words { words, family: PhantomData }
    }
}

impl<F: Family> Words<'_, F> {
    /// What was first found at home, nearly always the only one, or lies in a slot. If it is not the right one,
    /// [`find`](Table::find) looks at all.
    #[inline(always)]
    pub fn entry(self, probed: Probed) -> Option<Entry<F>> {
        let (key, value, rest) = F::Line::entry_in(self.words, probed.0 as usize)?;
        Some(Entry { key, value, rest })
    }

    /// Notes the tick of a packet.
    #[inline(always)]
    pub fn touch(self, probed: Probed, tick: Tick) {
        let value = &self.words[probed.0 as usize + WAYS];
        value.set(value.get() & !(u64::MAX << TICK_SHIFT) | u64::from(tick.raw()) << TICK_SHIFT);
    }

    /// Notes the state that a packet led to.
    #[inline(always)]
    pub fn set_state(self, probed: Probed, state: State) {
        let key = &self.words[probed.0 as usize];
        key.set(key.get() & !STATE_MASK | state as u64 & STATE_MASK);
    }

    /// Brings a bucket close, and the rests of its keys.
    #[inline(always)]
    pub fn prefetch(self, home: Home) {
        let first = home.0 as usize * F::Line::WORDS;
        for line in (0..F::Line::WORDS).step_by(WORDS_OF_CACHE_LINE) {
            memory::prefetch_in(self.words, first + line);
        }
    }
}
