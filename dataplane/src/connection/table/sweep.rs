//! Passing over the table to take dead entries out.

use super::entry::{AWAY, Bucket, SPILL_MASK, WAYS, state_index};
use super::gauges::uncount_at;
use super::{Entry, Table};
use crate::connection::Clock;
use crate::connection::family::{Family, Line};
use crate::counters::WorkerCounters;
use memory::aged;

/// Buckets that the sweep prefetches ahead.
const AHEAD: usize = 16;
/// Buckets that it examines before it takes the dead out: as many as have a bit for each entry in a word.
const STRETCH: usize = u32::BITS as usize / WAYS;

impl<F: Family> Table<F> {
    /// Examines the next `buckets` buckets and takes dead entries out. Returns how many.
    pub fn sweep(&mut self, buckets: usize, clock: Clock<'_>, counters: &WorkerCounters) -> usize {
        if !clock.is_one_for_all() {
            self.sweep_by::<true>(buckets, clock, counters, |keys, values| {
                let limit = |way| {
                    let entry: Entry = Entry { key: keys[way], value: values[way], rest: () };
                    clock.timeouts(entry.real()).ticks_of_index(state_index::<true>(keys[way]))
                };
                std::array::from_fn(limit)
            })
        } else if self.has_sctp {
            self.sweep_with_usual::<true>(buckets, clock, counters)
        } else {
            self.sweep_with_usual::<false>(buckets, clock, counters)
        }
    }

    /// As [`sweep`](Self::sweep), where all reals' connections have the same timeouts.
    fn sweep_with_usual<const SCTP: bool>(
        &mut self,
        buckets: usize,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> usize {
        self.sweep_by::<SCTP>(buckets, clock, counters, |keys, _| {
            keys.map(|key| clock.usual().ticks_of_index(state_index::<SCTP>(key)))
        })
    }

    /// As [`sweep`](Self::sweep), where `limits` gives the timeouts, in ticks, of a bucket's entries by their keys and
    /// values, and `SCTP` says whether there may be any. It is called once a turn and not inlined there, for its loop
    /// needs all registers: one instruction fewer for each entry.
    #[inline(never)]
    fn sweep_by<const SCTP: bool>(
        &mut self,
        buckets: usize,
        clock: Clock<'_>,
        counters: &WorkerCounters,
        limits: impl Fn(&[u64; WAYS], &[u64; WAYS]) -> [u32; WAYS],
    ) -> usize {
        let (mut expired, mut examined) = (0, 0);
        let mut left = buckets;
        while left > 0 {
            let first = self.sweep_position;
            let stretch = left.min(STRETCH).min(self.extent.run(first));
            left -= stretch;
            self.sweep_position = self.extent.after(first + stretch - 1);
            // Noted first, without a branch, and taken out then: which entries are dead cannot be predicted.
            let (mut all_taken, mut all_dead) = (0u32, 0u32);
            for (index, bucket) in self.buckets[first..first + stretch].iter().enumerate() {
                self.buckets.prefetch(first + index + AHEAD);
                let (taken, dead) = bucket.dead(clock, &limits);
                all_taken |= taken << (index * WAYS);
                all_dead |= dead << (index * WAYS);
            }
            examined += u64::from(all_taken.count_ones());
            expired += all_dead.count_ones() as usize;
            self.vacate_all::<SCTP>(first, first + stretch, all_dead, counters);
        }
        self.live -= expired;
        counters.entries_swept.add(examined);
        counters.connections_expired.add(expired as u64);
        expired
    }

    /// Takes out these entries of the buckets from `first` to before `end`: a bit for each way.
    #[inline(always)]
    fn vacate_all<const SCTP: bool>(
        &mut self,
        first: usize,
        end: usize,
        mut entries: u32,
        counters: &WorkerCounters,
    ) {
        let words: &mut [u64] = bytemuck::cast_slice_mut(&mut self.buckets[first..end]);
        let records = counters.reals();
        let mut away = 0;
        while entries != 0 {
            let at = entries.trailing_zeros() as usize;
            entries &= entries - 1;
            // A bucket's keys come before its values, and those before what else is in its lines.
            let key = at + (at & !(WAYS - 1)) * (F::Line::WORDS / WAYS - 1);
            let value = words[key + WAYS];
            if value & AWAY != 0 {
                away |= 1 << at;
                continue;
            }
            let entry: Entry<F> = Entry { key: words[key], value, rest: F::Rest::default() };
            words[key] &= SPILL_MASK;
            memory::in_order();
            words[key + WAYS] = 0;
            uncount_at::<F, SCTP>(records, counters, entry);
        }
        // Few. Each is taken off the counts of its home as well.
        while away != 0 {
            let at = u32::trailing_zeros(away) as usize;
            self.vacate(first + at / WAYS, at % WAYS, counters);
            away &= away - 1;
        }
    }

    /// Buckets that may hold entries: what a full pass of the sweep examines.
    pub const fn buckets(&self) -> usize {
        self.extent.used()
    }
}

impl Bucket {
    /// Which of its entries are taken, and which of these are dead: sets of four bits.
    #[inline(always)]
    fn dead(
        &self,
        clock: Clock<'_>,
        limits: &impl Fn(&[u64; WAYS], &[u64; WAYS]) -> [u32; WAYS],
    ) -> (u32, u32) {
        let taken = self.taken();
        let limits = limits(&self.keys, &self.values);
        (taken, taken & aged(&self.values, clock.tick.raw(), limits))
    }
}
