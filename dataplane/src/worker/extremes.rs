//! The most work that any turn has done.

use crate::counters::WorkerCounters;

/// The totals at the end of the last turn.
#[derive(Debug, Default)]
pub(super) struct Extremes {
    swept: u64,
    expired: u64,
    created: u64,
    moved: u64,
}

impl Extremes {
    /// Compares the turn that ends with the most so far.
    #[inline(always)]
    pub(super) fn at_end_of_turn(&mut self, counters: &WorkerCounters) {
        let (swept, expired, created, moved) = (
            counters.entries_swept.get(),
            counters.connections_expired.get(),
            counters.connections_created.get(),
            counters.entries_moved.get(),
        );
        counters.most_swept.raise(swept - self.swept);
        counters.most_expired.raise(expired - self.expired);
        counters.most_created.raise(created - self.created);
        counters.most_moved.raise(moved - self.moved);
        *self = Self { swept, expired, created, moved };
    }
}
