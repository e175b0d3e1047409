//! The entries as the loop over a burst has them: a bare slice of words, which it keeps in registers.

use super::entry::{STATE_MASK, TICK_SHIFT, WAYS};
use super::{Entry, Home, Probed, Slot, Table, WORDS};
use crate::connection::State;
use crate::connection::family::{Family, Rests};
use crate::names::family::V4;
use crate::names::time::Tick;
use std::cell::Cell;

/// The keys and values of all buckets, to be read and changed in place, and the rests of the keys.
pub struct Words<'a, F: Family = V4> {
    words: &'a [Cell<u64>],
    rests: &'a F::Rests,
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
        Words { words, rests: &self.rests }
    }
}

impl<F: Family> Words<'_, F> {
    /// What was first found at home, nearly always the only one, or lies in a slot. If it is not the right one,
    /// [`find`](Table::find) looks at all.
    #[inline(always)]
    pub fn entry(self, probed: Probed) -> Option<Entry<F>> {
        // Of as many keys as values, so that one comparison tells that both are there.
        let values = self.words.get(WAYS..)?;
        let keys = &self.words[..values.len()];
        let at = probed.0 as usize;
        let (key, value) = (keys.get(at)?.get(), values.get(at)?.get());
        let Slot { bucket, way } = probed.into();
        Some(Entry { key, value, rest: self.rests.get(bucket as usize, way.into()) })
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
        memory::prefetch_in(self.words, home.0 as usize * WORDS as usize);
        self.rests.prefetch(home.0 as usize);
    }
}
