//! The entries as the loop over a burst has them: a bare slice of words, which it keeps in registers.

use super::entry::{STATE_MASK, TICK_SHIFT, WAYS};
use super::{Entry, Home, Probed, Table, WORDS};
use crate::connection::State;
use crate::connection::family::Family;
use crate::names::time::Tick;
use std::cell::Cell;

/// The keys and values of all buckets, to be read and changed in place.
#[derive(Clone, Copy)]
pub struct Words<'a>(&'a [Cell<u64>]);

impl<F: Family> Table<F> {
    /// All of its words.
    #[inline(always)]
    pub fn words(&mut self) -> Words<'_> {
        Words(Cell::from_mut(bytemuck::cast_slice_mut(&mut self.buckets)).as_slice_of_cells())
    }
}

impl Words<'_> {
    /// What was first found at home, nearly always the only one, or lies in a slot. If it is not the right one,
    /// [`find`](Table::find) looks at all.
    #[inline(always)]
    pub fn entry(self, probed: Probed) -> Option<Entry> {
        // Of as many keys as values, so that one comparison tells that both are there.
        let values = self.0.get(WAYS..)?;
        let keys = &self.0[..values.len()];
        let at = probed.0 as usize;
        Some(Entry { key: keys.get(at)?.get(), value: values.get(at)?.get(), rest: () })
    }

    /// Notes the tick of a packet.
    #[inline(always)]
    pub fn touch(self, probed: Probed, tick: Tick) {
        let value = &self.0[probed.0 as usize + WAYS];
        value.set(value.get() & !(u64::MAX << TICK_SHIFT) | u64::from(tick.raw()) << TICK_SHIFT);
    }

    /// Notes the state that a packet led to.
    #[inline(always)]
    pub fn set_state(self, probed: Probed, state: State) {
        let key = &self.0[probed.0 as usize];
        key.set(key.get() & !STATE_MASK | state as u64);
    }

    /// Brings a bucket close.
    #[inline(always)]
    pub fn prefetch(self, home: Home) {
        memory::prefetch_in(self.0, home.0 as usize * WORDS as usize);
    }
}
