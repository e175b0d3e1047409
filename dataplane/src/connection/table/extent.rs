//! How many of its buckets a table uses: as few as its connections need, so that few connections take
//! few cache lines and pages, whatever the capacity.
//!
//! A table uses `least` buckets, or twice, four times … as many, up to all. Homes are told by the
//! upper bits of the hash, so what is at home in bucket `b` of `n` is at home in `2b` or `2b + 1` of
//! `2n`. Between two sizes both layouts are in use, side by side in the same memory: the hashes at the lower
//! end have the smaller one, up to the `front`. Growing takes the front from the end of the smaller layout down to 0,
//! shrinking takes it up from 0, region by region: so what moves, to or from twice its place, finds it empty.
//!
//! ```text
//! 0          front        2 front           buckets
//! | smaller    |  all zero   |  larger         |
//! ```

use super::{Hash, REGION};

/// Regions that a table uses at least, or all if it has fewer: 32 KiB.
const LEAST_REGIONS: usize = 32;
/// A table uses twice as many buckets when there are more connections: a load of 0.3, with which 0.8 % of the entries
/// lie away from home. With 0.4 it is 2 %, which with few connections costs more than the memory saved.
const CONNECTIONS_IN_10_BUCKETS: usize = 12;

/// Which buckets are in use. Sizes and positions are in buckets, and multiples of [`REGION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Of the layout in use, the larger one of two.
    pub(super) buckets: usize,
    /// End of what lies in the smaller layout; 0: nothing does.
    pub(super) front: usize,
    least: usize,
    most: usize,
    grows: bool,
    /// An entry found no room that more buckets would have, however many connections there are.
    is_short: bool,
    /// It shrinks with fewer connections than these only, however sparse it is.
    shrinks_below: usize,
}

/// The next step on the way to another size: the same part of all hashes in both layouts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Where its region begins in the smaller layout.
    pub(super) smaller: usize,
    pub(super) grows: bool,
}

impl Extent {
    /// For this many connections at once.
    pub(super) fn new(capacity: usize, buckets_per_16_connections: usize) -> Self {
        let regions = (capacity * buckets_per_16_connections).div_ceil(16 * REGION).max(1);
        let doublings = (regions / LEAST_REGIONS).checked_ilog2().unwrap_or(0);
        // To the nearest: up to 1.6 % more or fewer.
        let least = (regions << 1 >> doublings).div_ceil(2) * REGION;
        let most = least << doublings;
        Self {
            buckets: least,
            front: 0,
            least,
            most,
            grows: false,
            is_short: false,
            shrinks_below: usize::MAX,
        }
    }

    /// Buckets that it may come to use.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Buckets that may hold entries.
    pub(super) const fn used(&self) -> usize {
        self.buckets - self.front
    }

    /// The bucket that entries with this hash are at home in.
    #[inline(always)]
    pub(super) fn home(&self, hash: Hash) -> usize {
        let in_larger = self.home_at_rest(hash);
        let in_smaller = in_larger / 2;
        if in_smaller < self.front { in_smaller } else { in_larger }
    }

    /// The home bucket of a hash, if the table is not between two sizes.
    #[inline(always)]
    pub(super) fn home_at_rest(&self, hash: Hash) -> usize {
        reduce(hash, self.buckets)
    }

    /// The bucket after this one, of those that may hold entries; round and round.
    #[inline(always)]
    pub(super) const fn after(&self, bucket: usize) -> usize {
        let next = bucket + 1;
        let next = if next == self.front { 2 * self.front } else { next };
        if next < self.buckets { next } else { 0 }
    }

    /// This bucket, or the next that may hold entries.
    pub(super) const fn at_or_after(&self, bucket: usize) -> usize {
        let is_empty = self.front <= bucket && bucket < 2 * self.front;
        let next = if is_empty { 2 * self.front } else { bucket };
        if next < self.buckets { next } else { 0 }
    }

    /// Buckets up to where [`after`](Self::after) does not simply go on, this one included.
    #[inline(always)]
    pub(super) const fn run(&self, bucket: usize) -> usize {
        if bucket < self.front { self.front - bucket } else { self.buckets - bucket }
    }

    /// The region that has the hashes at `position`, a bucket of the largest layout, and the position
    /// where the next one's begin. Positions stay what they are while the table changes its size.
    pub(super) const fn region_at(&self, position: usize) -> (usize, usize) {
        let larger = position * self.buckets / self.most;
        let (bucket, buckets) =
            if larger / 2 < self.front { (larger / 2, self.buckets / 2) } else { (larger, self.buckets) };
        let region = bucket / REGION * REGION;
        (region, (region + REGION) * (self.most / buckets))
    }

    /// Where, as buckets of the largest layout, the hashes come that are at home in this one.
    pub(super) const fn positions(&self, bucket: usize) -> std::ops::Range<usize> {
        let buckets = if bucket < self.front { self.buckets / 2 } else { self.buckets };
        let ratio = self.most / buckets;
        bucket * ratio..(bucket + 1) * ratio
    }

    /// Where, as a bucket of the largest layout, such a hash comes.
    pub(super) fn position(&self, hash: Hash) -> usize {
        reduce(hash, self.most)
    }

    /// Whether `live` connections ask for another size, or one is on its way.
    #[inline(always)]
    pub(super) const fn is_to_change(&self, live: usize) -> bool {
        self.front != 0 || self.is_short || self.is_crowded(live) || self.is_sparse(live)
    }

    /// More connections than these buckets are used for, if there are more of them.
    const fn is_crowded(&self, live: usize) -> bool {
        live * 10 > self.buckets * CONNECTIONS_IN_10_BUCKETS && self.buckets < self.most
    }

    /// So few that in half as many buckets they would be half of what makes these crowded.
    const fn is_sparse(&self, live: usize) -> bool {
        let few = live * 4 * 10 < self.buckets * CONNECTIONS_IN_10_BUCKETS;
        few && self.buckets > self.least && live < self.shrinks_below
    }

    /// What is to be done next for `live` connections: `None` if the size is right.
    pub(super) fn next_step(&mut self, live: usize) -> Option<Step> {
        if self.front == 0 {
            let is_crowded = self.is_crowded(live);
            if is_crowded || self.is_short {
                if is_crowded {
                    self.shrinks_below = usize::MAX;
                }
                self.front = self.buckets;
                self.buckets *= 2;
                self.grows = true;
                self.is_short = false;
            } else if self.is_sparse(live) {
                self.grows = false;
            } else {
                return None;
            }
        }
        // The smaller layout would be crowded: others have come before it was through.
        if live * 2 * 10 > self.buckets * CONNECTIONS_IN_10_BUCKETS {
            self.grows = true;
        }
        let smaller = if self.grows { self.front - REGION } else { self.front };
        Some(Step { smaller, grows: self.grows })
    }

    /// From now on the hashes of this step have the other layout.
    pub(super) const fn take(&mut self, step: Step) {
        self.front = if step.grows { step.smaller } else { step.smaller + REGION };
        if self.front * 2 == self.buckets {
            self.buckets = self.front;
            self.front = 0;
        }
    }

    /// Uses as many buckets as `live` connections need from now on, if there are none yet. It does not become smaller
    /// before it [may](Self::may_shrink), or was crowded.
    pub(super) const fn expect(&mut self, live: usize) {
        self.front = 0;
        self.is_short = false;
        while self.is_crowded(live) {
            self.buckets *= 2;
        }
        self.shrinks_below = 0;
    }

    /// It may become smaller again.
    pub(super) const fn may_shrink(&mut self) {
        self.shrinks_below = usize::MAX;
    }

    /// An entry has found no room beside these `live` connections: grows as soon as may be, and stays so
    /// until half of them are gone.
    pub(super) const fn run_short(&mut self, live: usize) {
        if self.front != 0 {
            self.grows = true;
        } else if self.buckets < self.most {
            self.is_short = true;
        }
        self.shrinks_below = live / 2;
    }

    /// Goes back, for entries of these `live` connections that have no room in the smaller layout, and does not
    /// try again before half of them are gone or it has grown.
    pub(super) const fn give_up_shrinking(&mut self, live: usize) {
        self.grows = true;
        self.shrinks_below = live / 2;
    }
}

/// Maps a hash to a bucket by multiplication, so that any number of buckets will do: by its upper bits.
#[inline(always)]
pub(in crate::connection) fn reduce(Hash(bits): Hash, buckets: usize) -> usize {
    ((u128::from(bits) * buckets as u128) >> 64) as usize
}

#[cfg(test)]
mod tests;
