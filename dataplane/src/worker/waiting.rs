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
    asked: u64,
    frame: F,
}

/// A bounded queue, in order of arrival. Searched from end to end: it is short, and mostly empty.
pub(super) struct Waiting<F> {
    held: Vec<Held<F>>,
}

/// What became of a packet that was to wait.
pub(super) enum Kept<F> {
    /// It waits; whether the control thread should be asked for the next hop now.
    Yes { ask: bool },
    /// There is no room: it comes back.
    No(F),
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
        let (count, last_asked) =
            for_same.fold((0, None), |(count, last), held| (count + 1, last.max(Some(held.asked))));
        if count >= PER_NEIGHBOUR || self.held.len() >= CAPACITY {
            return Kept::No(frame);
        }
        let ask = last_asked.is_none_or(|asked| now.nanoseconds >= asked + ASK_AGAIN_NANOSECONDS);
        let asked = if ask { now.nanoseconds } else { last_asked.unwrap_or(now.nanoseconds) };
        self.held.push(Held { for_key: key, arrived_on, since: now.nanoseconds, asked, frame });
        Kept::Yes { ask }
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
