//! Passing over the table: to take dead entries out, and to copy live ones out.

use super::entry::{ALL_WAYS, KEY_MASK, WAYS};
use super::{Entry, Slot, Table};
use crate::connection::{Row, Timeouts};
use crate::counters::WorkerCounters;
use crate::time::Tick;
use memory::equal_under_mask;

/// Buckets that the sweep prefetches ahead.
const AHEAD: usize = 16;

impl Table {
    /// Examines the next `buckets` buckets and takes dead entries out. Returns how many.
    pub fn sweep(
        &mut self,
        buckets: usize,
        now: Tick,
        timeouts: &Timeouts,
        counters: &WorkerCounters,
    ) -> usize {
        let (mut expired, mut examined) = (0, 0);
        for _ in 0..buckets {
            let bucket = self.sweep_position;
            self.sweep_position = self.after(bucket);
            self.buckets.prefetch(bucket + AHEAD);
            let line = &self.buckets[bucket];
            let taken = !equal_under_mask(&line.keys, KEY_MASK, 0) & ALL_WAYS;
            let mut dead = 0;
            for way in 0..WAYS {
                let entry = Entry { key: line.keys[way], value: line.values[way] };
                dead |= u32::from(entry.is_dead(now, timeouts)) << way;
            }
            dead &= taken;
            examined += u64::from(taken.count_ones());
            while dead != 0 {
                let slot = Slot { bucket: bucket as u32, way: dead.trailing_zeros() as u8 };
                self.vacate(slot, self.taken(slot), counters);
                expired += 1;
                dead &= dead - 1;
            }
        }
        self.live -= expired;
        counters.connections.set(self.live as u64);
        counters.entries_swept.add(examined);
        counters.connections_expired.add(expired as u64);
        expired
    }

    /// Buckets that there are: what a full pass of the sweep examines.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Copies live entries out, from bucket `position` on, until `rows` is as long as its capacity
    /// or `buckets` have been examined. Returns where to go on, or `None` at the end.
    pub fn export(
        &self,
        position: usize,
        buckets: usize,
        now: Tick,
        timeouts: &Timeouts,
        rows: &mut Vec<Row>,
    ) -> Option<usize> {
        let end = position.saturating_add(buckets).min(self.buckets.len());
        for bucket in position..end {
            if rows.len() + WAYS > rows.capacity() {
                return Some(bucket);
            }
            for slot in Self::slots(&[bucket]) {
                let Some(entry) = self.entry(slot) else { continue };
                let Some(protocol) = entry.client_key().protocol() else { continue };
                let left = entry.ticks_left(now, timeouts);
                if left == 0 {
                    continue;
                }
                rows.push(Row {
                    protocol,
                    state: entry.state(),
                    expires_seconds: left / Tick::PER_SECOND,
                    client: entry.client_key().client(),
                    real: entry.real(),
                });
            }
        }
        (end < self.buckets.len()).then_some(end)
    }
}
