//! Fragments that came before the first of their datagram.

use crate::frame::Frame;
use crate::names::ids::InterfaceId;
use crate::names::time::Now;

/// Fragments that are held in all.
pub const HELD: usize = 256;
/// Their bytes.
pub const HELD_BYTES: usize = 1 << 20;
/// Fragments that are held for one datagram: the longest, in fragments of 1480 bytes, has 45.
pub const PER_DATAGRAM: usize = 64;
/// How long one is held.
pub const HELD_NANOSECONDS: u64 = 1_000_000_000;

/// No slot.
const NONE: u16 = u16::MAX;

/// The fragments held for one datagram: a list through the slots, the oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u16,
    last: u16,
    length: u16,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE, length: 0 };

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) const fn is_full(&self) -> bool {
        self.length as usize >= PER_DATAGRAM
    }
}

#[derive(Debug)]
struct Slot<F> {
    frame: F,
    arrived_on: InterfaceId,
    since: u64,
    /// Index of the datagram.
    of: u32,
    next: u16,
}

/// A ring of slots in order of arrival. Those that were taken out of its middle are holes, which close
/// as the ring turns.
#[derive(Debug)]
pub(super) struct Held<F> {
    slots: Box<[Option<Slot<F>>]>,
    /// Slots ever begun; the next one's place is this modulo [`HELD`].
    head: usize,
    /// Likewise, of the oldest that is not a hole.
    tail: usize,
    bytes: usize,
    count: usize,
    /// Frames that are held in all, at most.
    most: usize,
}

impl<F: Frame> Held<F> {
    pub(super) fn new() -> Self {
        Self { slots: (0..HELD).map(|_| None).collect(), head: 0, tail: 0, bytes: 0, count: 0, most: HELD }
    }

    /// Holds fewer than [`HELD`], where few buffers are to be had.
    pub(super) fn limit(&mut self, most: usize) {
        self.most = most.clamp(1, HELD);
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Whether a frame of this length needs the oldest to go.
    pub(super) const fn is_full(&self, length: usize) -> bool {
        self.head - self.tail >= HELD || self.count >= self.most || self.bytes + length > HELD_BYTES
    }

    /// The datagram that the oldest frame is of, if that came before the moment `before`.
    pub(super) fn oldest(&self, before: u64) -> Option<u32> {
        let slot = self.slots[self.tail % HELD].as_ref()?;
        (slot.since < before).then_some(slot.of)
    }

    /// Appends to the list of datagram `of`. Neither the list nor the ring is full.
    pub(super) fn push(&mut self, list: &mut List, of: u32, arrived_on: InterfaceId, frame: F, now: Now) {
        let place = self.head % HELD;
        self.head += 1;
        self.bytes += frame.length();
        self.count += 1;
        self.slots[place] = Some(Slot { frame, arrived_on, since: now.nanoseconds, of, next: NONE });
        let place = place as u16;
        match self.slots.get_mut(usize::from(list.last)) {
            Some(Some(last)) => last.next = place,
            _ => list.first = place,
        }
        list.last = place;
        list.length += 1;
    }

    /// Takes the oldest of a list.
    pub(super) fn pop(&mut self, list: &mut List) -> Option<(InterfaceId, F)> {
        let slot = self.slots.get_mut(usize::from(list.first))?.take()?;
        self.bytes -= slot.frame.length();
        self.count -= 1;
        while self.tail < self.head && self.slots[self.tail % HELD].is_none() {
            self.tail += 1;
        }
        list.first = slot.next;
        list.length -= 1;
        if list.is_empty() {
            *list = List::EMPTY;
        }
        Some((slot.arrived_on, slot.frame))
    }
}
