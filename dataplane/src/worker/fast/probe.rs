//! Looks for the keys of a burst in their home buckets, which have been prefetched.

use super::staged::Staged;
use crate::connection::family::Family;
use crate::connection::table::{Home, Table, Words};
use crate::frame::BURST;

#[inline(always)]
pub(super) fn probe_all<F, V: Family>(table: &Table<V>, burst: &mut Staged<F, V>) {
    // Short, so that many of the lines which are still on their way are waited for at once.
    let homes = table.homes();
    for index in 0..burst.frames.len().min(BURST) {
        burst.probed[index] = homes.probe(burst.homes[index], &burst.keys[index]);
    }
}

/// Like [`probe_all`], for bursts that mostly open connections. True if no frame has a connection and all are plain.
#[inline(never)]
pub(super) fn probe_openings<F, V: Family>(table: &Table<V>, burst: &mut Staged<F, V>) -> bool {
    let homes = table.homes();
    let mut all = burst.others == 0;
    for index in 0..burst.frames.len().min(BURST) {
        burst.probed[index] = homes.probe_new(burst.homes[index], &burst.keys[index]);
        all &= burst.probed[index].is_nowhere();
    }
    all
}

/// Brings buckets close.
#[inline(always)]
pub(super) fn prefetch_homes<V: Family>(words: Words<'_, V>, homes: &[Home]) {
    for home in homes {
        words.prefetch(*home);
    }
}
