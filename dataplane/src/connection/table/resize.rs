//! Moving entries from one layout to the other, region by region, as the table changes its size.

use super::entry::{AWAY, Bucket, KEY_MASK, WAYS};
use super::extent::Step;
use super::{Entry, Hash, REGION, Slot, Table};
use crate::counters::WorkerCounters;
use arrayvec::ArrayVec;
use bytemuck::Zeroable;
use memory::equal_under_mask;

/// Regions of the smaller layout that are moved in a turn …
const REGIONS: usize = 1;
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

    /// Goes a bounded way to the size that the connections ask for, if there is any to go: to be
    /// called once a turn. No home, slot or other place from before is worth anything after.
    pub fn resize(&mut self, counters: &WorkerCounters) {
        // Since the turn before only: what came while the size was right does not count.
        let before = if self.is_between_sizes() { self.live_at_resize } else { self.live };
        let made = self.live.saturating_sub(before);
        self.live_at_resize = self.live;
        for _ in 0..REGIONS + made / CONNECTIONS_A_REGION {
            let Some(step) = self.extent.next_step(self.live) else { break };
            self.move_region(step, counters);
        }
        self.sweep_position = self.extent.at_or_after(self.sweep_position);
    }

    /// Moves the entries of one region of the smaller layout to two of the larger, where each finds room; or those of two
    /// to one, if they all have room there.
    fn move_region(&mut self, step: Step, counters: &WorkerCounters) {
        let smaller = step.smaller..step.smaller + REGION;
        let larger = 2 * step.smaller..2 * (step.smaller + REGION);
        let from = if step.grows { smaller } else { larger };
        let mut kept = ArrayVec::<Bucket, { 2 * REGION }>::new();
        kept.try_extend_from_slice(&self.buckets[from.clone()]).expect("one region, or two");
        if !step.grows && kept.iter().flat_map(Bucket::entries).count() > REGION * WAYS {
            self.extent.give_up_shrinking(self.live);
            return;
        }
        // Now all of where they go to is empty: it is in the hole, or, the first region's, has just been cleared.
        self.buckets[from].fill(Bucket::zeroed());
        self.extent.take(step);
        let mut moved = 0;
        for entry in kept.iter().flat_map(Bucket::entries) {
            self.put(entry);
            moved += 1;
        }
        counters.entries_moved.add(moved);
    }

    /// Puts an entry that is moved where there is room.
    #[inline(always)]
    fn put(&mut self, entry: Entry) {
        let hash = self.hash(entry.client_key());
        let home = self.home(hash);
        let free = equal_under_mask(&self.buckets[home].keys, KEY_MASK, 0);
        if free == 0 {
            return self.put_away(entry, hash);
        }
        let slot = Slot { bucket: home as u32, way: free.trailing_zeros() as u8 };
        self.write(slot, Entry { value: entry.value & !AWAY, ..entry });
    }

    #[cold]
    #[inline(never)]
    fn put_away(&mut self, entry: Entry, hash: Hash) {
        let places = self.places(hash);
        let slot = self.free_slot(&places).or_else(|| self.relocate_one(&places));
        let slot =
            slot.or_else(|| self.anywhere(places[0])).expect("no more entries than slots come to a region");
        self.count_spill(places[0], slot);
        let away = if slot.bucket as usize == places[0] { 0 } else { AWAY };
        self.write(slot, Entry { value: entry.value & !AWAY | away, ..entry });
    }
}

#[cfg(test)]
mod tests;
