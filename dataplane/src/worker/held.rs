//! The frames that a worker keeps beyond their turn: those that wait for a next hop, or for other fragments.

use super::slow::waiting::{self, Waiting};
use crate::connection::table::HashKey;
use crate::counters::WorkerCounters;
use crate::fragments::{Gathering, Tracker};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::InterfaceId;
use crate::names::time::Now;
use crate::wire::answer6;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Frames that a worker holds at most, besides those of its bursts: packets that wait until their next hop is
/// resolved, and fragments that wait for the first of their datagram.
pub const MOST_HELD: usize = waiting::CAPACITY + crate::fragments::HELD;

/// A frame with the longest RST or ABORT, or a shorter one.
pub(super) type Besides = ArrayVec<u8, { size_of::<answer6::ResetFrame>() }>;

/// See the module's text.
pub(super) struct Held<F> {
    pub(super) waiting: Waiting<F>,
    pub(super) fragments: Tracker<F>,
    pub(super) pings: Gathering<F>,
    /// A frame that is to be sent, and where, besides what becomes of the one that is being judged.
    pub(super) besides: Option<(InterfaceId, Besides)>,
    counters: Arc<WorkerCounters>,
}

impl<F: Frame> Held<F> {
    /// Nothing is held yet. All memory is taken now.
    pub(super) fn new(hash_key: HashKey, counters: Arc<WorkerCounters>) -> Self {
        Self {
            waiting: Waiting::new(),
            fragments: Tracker::new(hash_key),
            pings: Gathering::new(),
            besides: None,
            counters,
        }
    }

    /// Holds fewer frames than [`MOST_HELD`].
    pub(super) fn limit(&mut self, frames: usize) {
        let waiting = frames * waiting::CAPACITY / MOST_HELD;
        self.waiting.limit(waiting);
        self.fragments.limit(frames - waiting);
    }

    /// Frames that are held.
    #[cfg(feature = "testing")]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.fragments.held() + self.pings.held()
    }

    /// Drops fragments that have waited too long for the first, and pings that have waited too long for any.
    pub(super) fn expire_fragments(&mut self, now: Now) {
        let mut given_up = self.fragments.expire(now);
        if !self.pings.is_empty() {
            given_up += self.pings.expire(now);
        }
        self.count_given_up(DropReason::FragmentExpired, given_up);
    }

    /// Counts fragments that have been let go: the tracker and the pings free them by themselves.
    pub(super) fn count_given_up(&self, reason: DropReason, count: usize) {
        if count > 0 {
            self.counters.dropped(reason).add(count as u64);
        }
    }
}
