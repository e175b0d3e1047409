//! Moving entries from one layout to the other, region by region, as the table changes its size.

use super::entry::{AWAY, Bucket, KEY_MASK, WAYS};
use super::extent::Step;
use super::place::Note;
use super::{Entry, Hash, REGION, Slot, Table};
use crate::connection::family::{Family, Line};
use crate::counters::WorkerCounters;
use arrayvec::ArrayVec;
use bytemuck::Pod;
use memory::equal_under_mask;
use std::ops::{DerefMut, Range};

/// Regions of the smaller layout that every turn moves while the size changes.
const REGIONS: usize = 1;
/// A turn moves one more region for each of this many connections made since the turn before, so that the other
/// layout is there before this one is full.
const CONNECTIONS_A_REGION: usize = 8;

impl<F: Family> Table<F> {
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
            if self.ports.are_in_use() {
                self.move_region::<true>(step, counters);
            } else {
                self.move_region::<false>(step, counters);
            }
        }
        self.sweep_position = self.extent.at_or_after(self.sweep_position);
    }

    /// So many connections are about to come: it has the buckets for them at once, if it has no connection yet; else
    /// nothing is done. Until [`expect_no_more`](Self::expect_no_more) it keeps them.
    pub fn expect(&mut self, connections: usize) {
        if self.live == 0 {
            self.extent.expect(connections.min(self.capacity));
            self.notes.set_extent(&self.extent);
            self.sweep_position = self.extent.at_or_after(self.sweep_position);
        }
    }

    /// Those that were [expected](Self::expect) have come, or never will.
    pub fn expect_no_more(&mut self) {
        self.extent.may_shrink();
    }

    /// Moves the entries of one region of the smaller layout to two of the larger, where each finds room; or those of
    /// two to one, if they all have room there. Compiled twice: where there are `PORTS` to be moved along, each entry
    /// takes 17 instructions more.
    fn move_region<const PORTS: bool>(&mut self, step: Step, counters: &WorkerCounters) {
        let smaller = step.smaller..step.smaller + REGION;
        let larger = 2 * step.smaller..2 * (step.smaller + REGION);
        let (from, to) = if step.grows { (smaller, larger) } else { (larger, smaller) };
        let leaving = &self.buckets[from.clone()];
        if !step.grows
            && leaving.iter().map(|bucket| bucket.taken().count_ones() as usize).sum::<usize>()
                > REGION * WAYS
        {
            self.extent.give_up_shrinking(self.live);
            return;
        }
        let mut journal = self.journal.take().expect("no other region is being moved");
        let lines = from.len();
        journal.lines[..lines].copy_from_slice(leaving);
        if PORTS {
            journal.ports[..lines].copy_from_slice(self.ports.of_all(from.clone()));
        }
        self.notes.set(Note::Journal, lines as u64);
        // Nearly always there is none in the whole table.
        let has_further = self.further_entries > 0;
        let further = if has_further { self.further_in(from.clone()) } else { ArrayVec::new() };
        // Now all of where they go to is empty: it is in the hole, or, the first region's, has just been cleared.
        self.buckets[from].iter_mut().for_each(clear);
        self.extent.take(step);
        self.notes.set_extent(&self.extent);
        if has_further {
            to.for_each(|home| self.note_further(home));
        }
        let mut moved = 0;
        for (index, line) in journal.lines[..lines].iter().enumerate() {
            let mut taken = line.taken();
            moved += u64::from(taken.count_ones());
            while taken != 0 {
                let way = taken.trailing_zeros() as usize % WAYS;
                taken &= taken - 1;
                let entry = line.entry(way, line.rest(way));
                let port = if PORTS { journal.ports[index][way] } else { 0 };
                if further.is_empty() || further.iter().all(|further| !further.is(entry, port)) {
                    self.put::<PORTS>(entry, port);
                }
            }
        }
        // After those that have to lie in these regions.
        for entry in further {
            self.put_further(entry, counters);
        }
        // Now all lie elsewhere.
        self.notes.set(Note::Journal, 0);
        self.journal = Some(journal);
        counters.entries_moved.add(moved);
    }

    /// The entries that lie in these buckets by further choices.
    fn further_in(&self, buckets: Range<usize>) -> ArrayVec<ByChoice<F>, { 2 * REGION * WAYS }> {
        let mut all = ArrayVec::new();
        for bucket in buckets {
            for slot in Self::slots(&[bucket]) {
                let Some(entry) = self.entry(slot).filter(|entry| entry.value & AWAY != 0) else { continue };
                let hash = self.hash(entry.client_key());
                if Self::is_further(self.home(hash), bucket) {
                    let (choice, placed_by) = self.hash_placed_by(hash, bucket);
                    all.push(ByChoice { entry, port: self.port(slot), hash, choice, placed_by });
                }
            }
        }
        all
    }

    /// Puts an entry that is moved where there is room.
    #[inline(always)]
    fn put<const PORTS: bool>(&mut self, entry: Entry<F>, port: u16) {
        let hash = self.hash(entry.client_key());
        let home = self.home(hash);
        let free = equal_under_mask(&self.buckets[home].keys, KEY_MASK, 0);
        if free == 0 {
            return self.put_away((entry, port), hash);
        }
        let slot = Slot { bucket: home as u32, way: free.trailing_zeros() as u8 };
        let entry = Entry { value: entry.value & !AWAY, ..entry };
        if PORTS {
            self.put_at(slot, entry, port);
        } else {
            self.write(slot, entry);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_away(&mut self, moved: (Entry<F>, u16), hash: Hash) {
        let places = self.places(hash);
        let slot = self.free_slot(&places).or_else(|| self.relocate_one(&places));
        let slot =
            slot.or_else(|| self.anywhere(places[0])).expect("no more entries than slots come to a region");
        self.put_in(slot, 0, moved, hash);
    }

    /// One that lay here by a further choice: it does so again, or by another.
    #[cold]
    #[inline(never)]
    fn put_further(&mut self, further: ByChoice<F>, counters: &WorkerCounters) {
        let ByChoice { entry, port, hash, choice, placed_by } = further;
        // Counted anew where it comes to lie.
        self.uncount_further(hash);
        let there = self.free_slot(&self.places(placed_by)).map(|slot| (choice, slot));
        let (choice, slot) = match there.or_else(|| self.further_slot_of_any(hash)) {
            Some(found) => found,
            None => {
                // Nowhere in 256 buckets: a table is never so full.
                counters.connections_evicted.add(1);
                self.forget(entry, counters);
                return;
            }
        };
        self.put_in(slot, choice, (entry, port), hash);
    }

    fn put_in(&mut self, slot: Slot, choice: usize, (entry, port): (Entry<F>, u16), hash: Hash) {
        self.count_spill(hash, choice, slot.bucket as usize);
        let away = if slot.bucket as usize == self.home(hash) { 0 } else { AWAY };
        self.put_at(slot, Entry { value: entry.value & !AWAY | away, ..entry }, port);
    }
}

/// Empties a bucket: its keys first, by which its entries are there, and each at once. An instruction that clears all
/// lines may be interrupted within a word, and a process that is killed then leaves parts of keys.
#[inline(always)]
fn clear<L: Pod + DerefMut<Target = Bucket>>(line: &mut L) {
    line.keys = [0; WAYS];
    memory::in_order();
    *line = L::zeroed();
    memory::in_order();
}

/// An entry that lies where it does by a further choice.
struct ByChoice<F: Family> {
    entry: Entry<F>,
    port: u16,
    hash: Hash,
    choice: usize,
    placed_by: Hash,
}

impl<F: Family> ByChoice<F> {
    fn is(&self, entry: Entry<F>, port: u16) -> bool {
        self.entry == entry && self.port == port
    }
}

#[cfg(test)]
mod tests;
