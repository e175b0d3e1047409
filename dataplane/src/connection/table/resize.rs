//! Moving entries from one layout to the other, region by region, as the table changes its size.

use super::entry::{AWAY, Bucket, KEY_MASK};
use super::extent::Step;
use super::{Entry, Hash, REGION, Slot, Table};
use crate::counters::WorkerCounters;
use arrayvec::ArrayVec;
use bytemuck::Zeroable;
use memory::equal_under_mask;

/// Regions of the smaller layout that are moved in a turn …
const REGIONS: usize = 4;
/// … and one more for so many connections that have been made since the turn before, so that the other
/// layout is there before this one is full.
const CONNECTIONS_A_REGION: usize = 8;

impl Table {
    /// Whether [`resize`](Self::resize) has something to do.
    #[inline(always)]
    pub const fn is_to_resize(&self) -> bool {
        self.extent.is_to_change(self.live)
    }

    /// Whether it is on its way from one size to another.
    #[inline(always)]
    pub const fn is_between_sizes(&self) -> bool {
        self.extent.front != 0
    }

    /// Goes a bounded way to the size that the connections ask for: to be called once a turn. No home, slot or other place
    /// from before is worth anything after.
    pub fn resize(&mut self, counters: &WorkerCounters) {
        // Since the turn before only: what came while the size was right does not count.
        let before = if self.is_between_sizes() { self.live_at_resize } else { self.live };
        let made = self.live.saturating_sub(before);
        self.live_at_resize = self.live;
        for _ in 0..REGIONS + made / CONNECTIONS_A_REGION {
            let Some(step) = self.extent.next_step(self.live) else { return };
            let is_done = self.move_region(step, counters);
            self.extent.close();
            if !is_done {
                // What has no room now may have it later, when some have gone.
                return;
            }
        }
    }

    /// Moves the entries of one region of the smaller layout (two of the larger). If there is no room for all, which
    /// takes many connections of the same client endpoints, nothing is changed, and false returned.
    fn move_region(&mut self, step: Step, counters: &WorkerCounters) -> bool {
        let smaller = step.smaller..step.smaller + REGION;
        let larger = 2 * step.smaller..2 * (step.smaller + REGION);
        let (from, to) = if step.grows { (smaller, larger) } else { (larger, smaller) };
        let before = self.extent;
        let mut kept = ArrayVec::<Bucket, { 2 * REGION }>::new();
        kept.try_extend_from_slice(&self.buckets[from.clone()]).expect("one region, or two");
        // The first region's buckets are in both layouts.
        self.buckets[from.clone()].fill(Bucket::zeroed());
        self.extent.take(step);
        let mut moved = 0;
        for entry in kept.iter().flat_map(Bucket::entries) {
            if !self.put(entry) {
                self.buckets[to].fill(Bucket::zeroed());
                self.buckets[from].copy_from_slice(&kept);
                self.extent = before;
                if !step.grows {
                    self.extent.give_up_shrinking();
                }
                return false;
            }
            moved += 1;
        }
        counters.entries_moved.add(moved);
        true
    }

    /// Puts an entry to one of its places, if one is free or can be made free without loss.
    #[inline(always)]
    fn put(&mut self, entry: Entry) -> bool {
        let hash = self.hash(entry.client_key());
        let home = self.home(hash);
        let free = equal_under_mask(&self.buckets[home].keys, KEY_MASK, 0);
        if free == 0 {
            return self.put_away(entry, hash);
        }
        let slot = Slot { bucket: home as u32, way: free.trailing_zeros() as u8 };
        self.write(slot, Entry { value: entry.value & !AWAY, ..entry });
        true
    }

    #[cold]
    #[inline(never)]
    fn put_away(&mut self, entry: Entry, hash: Hash) -> bool {
        let places = self.places(hash);
        let Some(slot) = self.free_slot(&places).or_else(|| self.relocate_one(&places)) else { return false };
        self.count_spill(places[0], slot);
        let away = if slot.bucket as usize == places[0] { 0 } else { AWAY };
        self.write(slot, Entry { value: entry.value & !AWAY | away, ..entry });
        true
    }
}

#[cfg(test)]
mod tests;
