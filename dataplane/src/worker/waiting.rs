//! Packets that wait until the MAC of their next hop is known. They are kept as they came in, and
//! walk the exception path again when it is.

use crate::ids::{NeighbourKey, PortIndex};
use crate::time::Now;

/// Packets that wait in all.
pub(super) const CAPACITY: usize = 512;
/// Packets that wait for one next hop.
pub(super) const PER_NEIGHBOUR: usize = 64;
/// How long they wait before they are dropped, should the control thread not say what became of
/// the next hop: longer than it takes to give up (three requests, a second apart).
const PATIENCE_NANOSECONDS: u64 = 5_000_000_000;
/// How often the control thread is asked again while packets wait.
const ASK_AGAIN_NANOSECONDS: u64 = 1_000_000_000;

struct Held<F> {
    for_key: NeighbourKey,
    arrived_on: PortIndex,
    since: u64,
    asked: Option<u64>,
    frame: F,
}

/// A bounded queue, in order of arrival. Searched from end to end: it is short, and mostly empty.
pub(super) struct Waiting<F> {
    held: Vec<Held<F>>,
}

/// What keeping a packet came to.
pub(super) struct Kept<F> {
    /// Whether the control thread should be asked for the next hop now.
    pub(super) ask: bool,
    /// What has to go in its place: the packet itself if too many wait for this next hop, else the
    /// oldest of those that wait for the next hop with the most, so that a few silent hosts do not
    /// keep others from being resolved.
    pub(super) instead_of: Option<F>,
}

impl<F> Waiting<F> {
    pub(super) fn new() -> Self {
        Self { held: Vec::with_capacity(CAPACITY) }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Keeps a frame until `key` is resolved.
    pub(super) fn keep(&mut self, key: NeighbourKey, arrived_on: PortIndex, frame: F, now: Now) -> Kept<F> {
        let for_same = self.held.iter().filter(|held| held.for_key == key);
        let (count, asked) =
            for_same.fold((0, None), |(count, asked), held| (count + 1, asked.max(held.asked)));
        let ask = asked.is_none_or(|asked| now.nanoseconds >= asked + ASK_AGAIN_NANOSECONDS);
        if count >= PER_NEIGHBOUR {
            return Kept { ask, instead_of: Some(frame) };
        }
        let instead_of = (self.held.len() >= CAPACITY).then(|| self.take_from_most()).flatten();
        self.held.push(Held { for_key: key, arrived_on, since: now.nanoseconds, asked, frame });
        Kept { ask, instead_of }
    }

    /// The oldest frame of the next hop for which most wait.
    fn take_from_most(&mut self) -> Option<F> {
        let most = self.held.iter().map(|held| held.for_key).max_by_key(|key| self.count(*key))?;
        self.take(most).map(|(_, frame)| frame)
    }

    /// The control thread has been asked for `key`.
    pub(super) fn asked(&mut self, key: NeighbourKey, now: Now) {
        for held in self.held.iter_mut().filter(|held| held.for_key == key) {
            held.asked = Some(now.nanoseconds);
        }
    }

    /// Frames that wait for `key`.
    pub(super) fn count(&self, key: NeighbourKey) -> usize {
        self.held.iter().filter(|held| held.for_key == key).count()
    }

    /// Whether anything waits for `key`.
    pub(super) fn is_awaited(&self, key: NeighbourKey) -> bool {
        self.held.iter().any(|held| held.for_key == key)
    }

    /// The oldest frame that waits for `key`, and the port that it came in on.
    pub(super) fn take(&mut self, key: NeighbourKey) -> Option<(PortIndex, F)> {
        let index = self.held.iter().position(|held| held.for_key == key)?;
        let held = self.held.remove(index);
        Some((held.arrived_on, held.frame))
    }

    /// A frame that has waited too long.
    pub(super) fn take_impatient(&mut self, now: Now) -> Option<F> {
        let oldest = self.held.first()?;
        if now.nanoseconds.saturating_sub(oldest.since) < PATIENCE_NANOSECONDS {
            return None;
        }
        Some(self.held.remove(0).frame)
    }
}
