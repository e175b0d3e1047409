//! Packets that wait until the MAC of their next hop is known. They are kept as they came in, and
//! walk the slow path again when it is.

use super::Slow;
use crate::exchange::orders::NeighbourEvent;
use crate::frame::Frame;
use crate::names::ids::{InterfaceId, NeighbourKey, RealId};
use crate::names::time::Now;
use std::collections::VecDeque;

/// Packets that wait in all.
pub(in crate::worker) const CAPACITY: usize = 512;
/// Packets that wait for one next hop.
pub(in crate::worker) const PER_NEIGHBOUR: usize = 64;
/// How long they wait before they are dropped, should the control thread not say what became of
/// the next hop: longer than it takes to give up (three requests, a second apart).
const PATIENCE_NANOSECONDS: u64 = 5_000_000_000;
/// How often the control thread is asked again while packets wait.
const ASK_AGAIN_NANOSECONDS: u64 = 1_000_000_000;

struct Held<F> {
    for_key: NeighbourKey,
    arrived_on: InterfaceId,
    since: u64,
    /// The real that it has been scheduled to, if it makes no connection.
    scheduled: Option<RealId>,
    frame: F,
}

/// A frame that has waited.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::worker) struct Waited<F> {
    pub(in crate::worker) arrived_on: InterfaceId,
    pub(in crate::worker) scheduled: Option<RealId>,
    pub(in crate::worker) frame: F,
}

/// A next hop that packets wait for.
struct Awaited {
    key: NeighbourKey,
    /// How many.
    count: usize,
    /// When the control thread was asked last.
    asked: Option<u64>,
}

/// A bounded queue, in order of arrival. Searched from end to end: it is short, and mostly empty.
pub(in crate::worker) struct Waiting<F> {
    held: VecDeque<Held<F>>,
    /// In the order in which they came to be awaited. Kept separately from the packets, because a flood to absent
    /// hosts evicts one waiting packet per arrival.
    awaited: Vec<Awaited>,
    /// Packets that wait in all, at most.
    most: usize,
}

/// What keeping a packet came to.
pub(in crate::worker) struct Kept<F> {
    /// Whether the control thread should be asked for the next hop now.
    pub(in crate::worker) ask: bool,
    /// What has to go in its place: the packet itself if too many wait for this next hop, else the
    /// oldest of those that wait for the next hop with the most (of equals, the one awaited for longest), so
    /// that a few silent hosts do not keep others from being resolved.
    pub(in crate::worker) instead_of: Option<F>,
}

impl<F> Waiting<F> {
    pub(in crate::worker) fn new() -> Self {
        Self {
            held: VecDeque::with_capacity(CAPACITY),
            awaited: Vec::with_capacity(CAPACITY),
            most: CAPACITY,
        }
    }

    /// Has fewer wait than [`CAPACITY`], where there are few buffers.
    pub(in crate::worker) fn limit(&mut self, most: usize) {
        self.most = most.clamp(1, CAPACITY);
    }

    #[cfg(feature = "testing")]
    pub(in crate::worker) fn len(&self) -> usize {
        self.held.len()
    }

    /// Keeps a frame until `key` is resolved.
    pub(in crate::worker) fn keep(
        &mut self,
        key: NeighbourKey,
        Waited { arrived_on, scheduled, frame }: Waited<F>,
        now: Now,
    ) -> Kept<F> {
        let (count, asked) = self.find(key).map_or((0, None), |awaited| (awaited.count, awaited.asked));
        let ask = asked.is_none_or(|asked| now.nanoseconds >= asked + ASK_AGAIN_NANOSECONDS);
        if count >= PER_NEIGHBOUR {
            return Kept { ask, instead_of: Some(frame) };
        }
        let instead_of = (self.held.len() >= self.most).then(|| self.take_from_most()).flatten();
        match self.find_mut(key) {
            Some(awaited) => awaited.count += 1,
            None => self.awaited.push(Awaited { key, count: 1, asked }),
        }
        self.held.push_back(Held { for_key: key, arrived_on, since: now.nanoseconds, scheduled, frame });
        Kept { ask, instead_of }
    }

    /// The oldest frame of the next hop for which most wait.
    fn take_from_most(&mut self) -> Option<F> {
        let longer = |most: &Awaited, other: &Awaited| most.count >= other.count;
        let most =
            self.awaited.iter().reduce(|most, other| if longer(most, other) { most } else { other })?;
        self.take(most.key).map(|waited| waited.frame)
    }

    /// The control thread has been asked for `key`.
    pub(in crate::worker) fn asked(&mut self, key: NeighbourKey, now: Now) {
        if let Some(awaited) = self.find_mut(key) {
            awaited.asked = Some(now.nanoseconds);
        }
    }

    /// Frames that wait for `key`.
    pub(in crate::worker) fn count(&self, key: NeighbourKey) -> usize {
        self.find(key).map_or(0, |awaited| awaited.count)
    }

    /// Whether anything waits for `key`.
    pub(in crate::worker) fn is_awaited(&self, key: NeighbourKey) -> bool {
        self.find(key).is_some()
    }

    /// The oldest frame that waits for `key`.
    pub(in crate::worker) fn take(&mut self, key: NeighbourKey) -> Option<Waited<F>> {
        self.find(key)?;
        let index = self.held.iter().position(|held| held.for_key == key)?;
        let Held { arrived_on, scheduled, frame, .. } = self.remove(index)?;
        Some(Waited { arrived_on, scheduled, frame })
    }

    /// A frame that has waited too long.
    pub(in crate::worker) fn pop_expired(&mut self, now: Now) -> Option<F> {
        let oldest = self.held.front()?;
        if now.nanoseconds.saturating_sub(oldest.since) < PATIENCE_NANOSECONDS {
            return None;
        }
        self.remove(0).map(|held| held.frame)
    }

    fn remove(&mut self, index: usize) -> Option<Held<F>> {
        let held = self.held.remove(index)?;
        let of = self.awaited.iter().position(|awaited| awaited.key == held.for_key)?;
        self.awaited[of].count -= 1;
        if self.awaited[of].count == 0 {
            self.awaited.remove(of);
        }
        Some(held)
    }

    fn find(&self, key: NeighbourKey) -> Option<&Awaited> {
        self.awaited.iter().find(|awaited| awaited.key == key)
    }

    fn find_mut(&mut self, key: NeighbourKey) -> Option<&mut Awaited> {
        self.awaited.iter_mut().find(|awaited| awaited.key == key)
    }
}

impl<F: Frame> Slow<'_, F> {
    /// Keeps a packet until its next hop is known, and asks for that. Returns the one that has to go in its place.
    pub(in crate::worker) fn hold(&mut self, key: NeighbourKey, frame: F) -> Option<F> {
        let waited = Waited { arrived_on: self.arrival, scheduled: self.scheduled, frame };
        let Kept { ask, instead_of } = self.held.waiting.keep(key, waited, self.now);
        // If it cannot be asked now, the next packet for it asks.
        if ask && self.limits.wanted.take(self.now) && self.reach.report(NeighbourEvent::Wanted(key)) {
            self.held.waiting.asked(key, self.now);
        }
        instead_of
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NOW: Now = Now { nanoseconds: 1 };

    fn key(host: usize) -> NeighbourKey {
        NeighbourKey { interface: InterfaceId(1), address: Ipv4Addr::from_bits(host as u32).into() }
    }

    /// Frames are numbers.
    fn waited(frame: usize) -> Waited<usize> {
        let scheduled = (frame % 2 == 1).then_some(RealId(frame as u32));
        Waited { arrived_on: InterfaceId(0), scheduled, frame }
    }

    fn filled(host_of: impl Fn(usize) -> usize) -> Waiting<usize> {
        let mut waiting = Waiting::new();
        for number in 0..CAPACITY {
            assert_eq!(waiting.keep(key(host_of(number)), waited(number), NOW).instead_of, None);
        }
        waiting
    }

    #[test]
    fn whoever_has_most_waiting_makes_room() {
        let mut waiting = filled(|number| if number % 10 == 3 { 7 } else { 1000 + number });
        assert_eq!(waiting.keep(key(1), waited(600), NOW).instead_of, Some(3));
        assert_eq!(waiting.keep(key(2), waited(601), NOW).instead_of, Some(13));
        assert_eq!((waiting.count(key(7)), waiting.count(key(2)), waiting.len()), (49, 1, CAPACITY));
    }

    #[test]
    fn of_equals_the_one_awaited_for_longest_makes_room() {
        let mut waiting = filled(|number| number);
        for number in CAPACITY..3 * CAPACITY {
            let gone = number - CAPACITY;
            assert_eq!(waiting.keep(key(number), waited(number), NOW).instead_of, Some(gone));
            assert!(!waiting.is_awaited(key(gone)) && waiting.is_awaited(key(gone + 1)));
        }
        assert_eq!(waiting.awaited.len(), CAPACITY);
    }

    /// That it was asked for is known as long as packets wait.
    #[test]
    fn one_is_asked_for_again_after_a_second() {
        let mut waiting = Waiting::new();
        let at = |nanoseconds| Now { nanoseconds };
        assert!(waiting.keep(key(1), waited(0), at(1)).ask);
        assert!(waiting.keep(key(1), waited(1), at(2)).ask, "nobody has been asked");
        waiting.asked(key(1), at(3));
        assert_eq!(waiting.take(key(1)), Some(waited(0)));
        assert!(!waiting.keep(key(1), waited(2), at(4)).ask);
        assert!(waiting.keep(key(2), waited(3), at(4)).ask);
        assert!(waiting.keep(key(1), waited(4), at(3 + ASK_AGAIN_NANOSECONDS)).ask);
        let late = at(5 + PATIENCE_NANOSECONDS);
        let gone: Vec<_> = std::iter::from_fn(|| waiting.pop_expired(late)).collect();
        assert_eq!(gone, [1, 2, 3]);
        assert_eq!((waiting.count(key(1)), waiting.is_awaited(key(2)), waiting.len()), (1, false, 1));
    }
}
