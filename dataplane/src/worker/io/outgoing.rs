//! Frames on their way out: one buffer for each port, handed to the device in bursts.

use crate::counters::WorkerCounters;
use crate::frame::{BURST, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::ids::{EthPortId, MAX_ETH_PORTS};
use crate::names::time::Now;
use arrayvec::ArrayVec;

/// Frames that wait for the end of the turn, or for a device that did not take them yet.
pub(in crate::worker) struct Outgoing<Io: FrameIo> {
    ports: [ArrayVec<Io::Frame, BURST>; MAX_ETH_PORTS],
    /// The ports with frames, as bits. Under load there is hardly one when a turn ends: whole bursts do not come here.
    occupied: u16,
    /// The ports whose device took nothing when it was last asked, as bits.
    unmoved: u16,
    /// Since when, in nanoseconds, of those.
    since: [u64; MAX_ETH_PORTS],
}

const _: () = assert!(MAX_ETH_PORTS <= u16::BITS as usize);

impl<Io: FrameIo> Outgoing<Io> {
    pub(in crate::worker) fn new() -> Self {
        Self {
            ports: std::array::from_fn(|_| ArrayVec::new()),
            occupied: 0,
            unmoved: 0,
            since: [0; MAX_ETH_PORTS],
        }
    }

    /// Appends a frame; a full buffer is handed to the device first, and a frame that finds no room even then is
    /// dropped.
    #[inline(always)]
    pub(in crate::worker) fn push(
        &mut self,
        io: &mut Io,
        port: EthPortId,
        frame: Io::Frame,
        counters: &WorkerCounters,
    ) {
        let index = port.index() % MAX_ETH_PORTS;
        let buffer = &mut self.ports[index];
        self.occupied |= 1 << index;
        if let Err(full) = buffer.try_push(frame) {
            self.push_to_full(io, port, full.element(), counters);
        }
    }

    /// Appends a whole burst, and empties it. One of at least half the size goes to the device at once.
    #[inline(always)]
    pub(in crate::worker) fn push_burst(
        &mut self,
        io: &mut Io,
        port: EthPortId,
        frames: &mut ArrayVec<Io::Frame, BURST>,
        counters: &WorkerCounters,
    ) {
        if frames.len() >= BURST / 2 && self.ports[port.index() % MAX_ETH_PORTS].is_empty() {
            io.transmit(port, frames);
        }
        for frame in frames.drain(..) {
            self.push(io, port, frame, counters);
        }
    }

    /// Hands every buffer to its device, once, and counts since when a device takes nothing.
    pub(in crate::worker) fn flush(&mut self, io: &mut Io, now: Now, counters: &WorkerCounters) {
        let mut occupied = self.occupied;
        while occupied != 0 {
            let port = EthPortId(occupied.trailing_zeros() as u8);
            let buffer = &mut self.ports[port.index()];
            let before = buffer.len();
            io.transmit(port, buffer);
            if buffer.is_empty() {
                self.occupied &= !(port.bit());
            }
            if !buffer.is_empty() || self.unmoved & port.bit() != 0 {
                self.left(port, before, now, counters);
            }
            occupied &= occupied - 1;
        }
    }

    /// Frames that no device has taken.
    pub(in crate::worker) fn len(&self) -> usize {
        self.ports.iter().map(ArrayVec::len).sum()
    }

    /// Takes note of a device that did not take all of `before` frames, or took nothing before.
    #[cold]
    fn left(&mut self, port: EthPortId, before: usize, now: Now, counters: &WorkerCounters) {
        let index = port.index();
        if self.ports[index].len() < before {
            self.moved(port, counters);
            return;
        }
        if self.unmoved & port.bit() == 0 {
            self.unmoved |= port.bit();
            self.since[index] = now.nanoseconds;
        }
        // No less than 1: that it stands still counts from the first time.
        let lasted = now.nanoseconds.saturating_sub(self.since[index]).max(1);
        counters.transmit_stands[index].set(lasted);
    }

    fn moved(&mut self, port: EthPortId, counters: &WorkerCounters) {
        self.unmoved &= !(port.bit());
        counters.transmit_stands[port.index()].set(0);
    }

    #[cold]
    fn push_to_full(&mut self, io: &mut Io, port: EthPortId, frame: Io::Frame, counters: &WorkerCounters) {
        let buffer = &mut self.ports[port.index() % MAX_ETH_PORTS];
        io.transmit(port, buffer);
        if buffer.try_push(frame).is_err() {
            counters.dropped(DropReason::TransmitFull).add(1);
        } else {
            self.moved(port, counters);
        }
    }
}
