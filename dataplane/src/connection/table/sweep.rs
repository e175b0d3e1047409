//! Passing over the table: to take dead entries out, and to copy live ones out.

use super::entry::{KEY_MASK, WAYS};
use super::{Slot, Table};
use crate::connection::{Row, Timeouts};
use crate::counters::WorkerCounters;
use crate::time::Tick;

impl Table {
    /// Examines the next `buckets` buckets and takes dead entries out. Returns how many.
    pub fn sweep(
        &mut self,
        buckets: usize,
        now: Tick,
        timeouts: &Timeouts,
        counters: &WorkerCounters,
    ) -> usize {
        let mut expired = 0;
        for _ in 0..buckets {
            let bucket = self.sweep_position as u32;
            self.sweep_position = self.after(self.sweep_position);
            let occupied = self.buckets[bucket as usize].keys.map(|key| key & KEY_MASK != 0);
            if occupied == [false; WAYS] {
                continue;
            }
            for way in 0..WAYS as u8 {
                let slot = Slot { bucket, way };
                let Some(entry) = self.entry(slot) else { continue };
                counters.entries_swept.add(1);
                if entry.is_dead(now, timeouts) {
                    self.remove(slot, counters);
                    expired += 1;
                }
            }
        }
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
                let age = now.since(entry.tick());
                let Some(left) = timeouts.ticks(entry.state()).checked_sub(age) else { continue };
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
