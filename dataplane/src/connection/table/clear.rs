//! Forgetting all connections, some at a time.

use super::{REGION, Table};
use crate::connection::family::Family;
use crate::counters::WorkerCounters;

impl<F: Family> Table<F> {
    /// Takes entries out, from `position` on, until `buckets` have been examined, and counts them in `cleared`. Returns
    /// where to go on, or `None` at the end. Of entries that are there all the while none is left, even if the table
    /// changes its size in between.
    pub fn clear(
        &mut self,
        mut position: usize,
        buckets: usize,
        cleared: &mut u64,
        counters: &WorkerCounters,
    ) -> Option<usize> {
        for _ in 0..buckets.div_ceil(REGION) {
            if position >= self.extent.most() {
                return None;
            }
            let (region, end) = self.extent.region_at(position);
            for bucket in region..region + REGION {
                for slot in Self::slots(&[bucket]) {
                    if self.entry(slot).is_some() {
                        self.remove(slot, counters);
                        *cleared += 1;
                    }
                }
            }
            position = end;
        }
        (position < self.extent.most()).then_some(position)
    }
}
