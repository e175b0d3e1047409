//! Passing over the table: to take dead entries out, and to copy live ones out.

use super::entry::{KEY_MASK, WAYS};
use super::{Entry, Slot, Table};
use crate::connection::{Row, Timeouts};
use crate::counters::WorkerCounters;
use crate::time::Tick;

/// Buckets that the sweep prefetches ahead.
const AHEAD: usize = 16;
/// Buckets that it examines before it takes the dead out.
const STRETCH: usize = 8;

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
        let mut left = buckets;
        while left > 0 {
            let stretch = left.min(STRETCH);
            left -= stretch;
            // Noted first, without a branch, and taken out then: which entries are dead cannot be predicted.
            let mut dead = [Slot::default(); STRETCH * WAYS];
            let mut count = 0;
            for _ in 0..stretch {
                let bucket = self.sweep_position;
                self.sweep_position = self.after(bucket);
                self.buckets.prefetch(bucket + AHEAD);
                let line = &self.buckets[bucket];
                for way in 0..WAYS {
                    let entry = Entry { key: line.keys[way], value: line.values[way] };
                    let is_taken = entry.key & KEY_MASK != 0;
                    examined += u64::from(is_taken);
                    dead[count % dead.len()] = Slot { bucket: bucket as u32, way: way as u8 };
                    count += usize::from(is_taken & entry.is_dead(now, timeouts));
                }
            }
            for slot in &dead[..count.min(dead.len())] {
                self.vacate(*slot, self.taken(*slot), counters);
            }
            expired += count;
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
