//! Frames on their way out: one buffer for each port, handed to the device in bursts.

use crate::counters::WorkerCounters;
use crate::frame::{BURST, FrameIo};
use crate::ids::{MAX_PORTS, PortIndex};
use crate::verdict::DropReason;
use arrayvec::ArrayVec;

/// Frames that wait for the end of the turn, or for a device that did not take them yet.
pub(super) struct Outgoing<Io: FrameIo> {
    ports: [ArrayVec<Io::Frame, BURST>; MAX_PORTS],
    /// The ports with frames, as bits. Under load there is hardly one when a turn ends: whole bursts do not come here.
    occupied: u16,
}

const _: () = assert!(MAX_PORTS <= u16::BITS as usize);

impl<Io: FrameIo> Outgoing<Io> {
    pub(super) fn new() -> Self {
        Self { ports: std::array::from_fn(|_| ArrayVec::new()), occupied: 0 }
    }

    /// Appends a frame; a full buffer is handed to the device first, and a frame that finds no room
    /// even then is dropped.
    #[inline(always)]
    pub(super) fn push(&mut self, io: &mut Io, port: PortIndex, frame: Io::Frame, counters: &WorkerCounters) {
        let index = usize::from(port) % MAX_PORTS;
        let buffer = &mut self.ports[index];
        self.occupied |= 1 << index;
        if let Err(full) = buffer.try_push(frame) {
            push_to_full(io, port, buffer, full.element(), counters);
        }
    }

    /// Appends a whole burst, and empties it. One of at least half the size goes to the device at once.
    #[inline(always)]
    pub(super) fn push_burst(
        &mut self,
        io: &mut Io,
        port: PortIndex,
        frames: &mut ArrayVec<Io::Frame, BURST>,
        counters: &WorkerCounters,
    ) {
        if frames.len() >= BURST / 2 && self.ports[usize::from(port) % MAX_PORTS].is_empty() {
            io.transmit(port, frames);
        }
        for frame in frames.drain(..) {
            self.push(io, port, frame, counters);
        }
    }

    /// Hands every buffer to its device, once.
    pub(super) fn flush(&mut self, io: &mut Io) {
        let mut occupied = self.occupied;
        while occupied != 0 {
            let port = occupied.trailing_zeros() as PortIndex;
            let buffer = &mut self.ports[usize::from(port)];
            io.transmit(port, buffer);
            if buffer.is_empty() {
                self.occupied &= !(1 << port);
            }
            occupied &= occupied - 1;
        }
    }

    /// Frames that no device has taken.
    pub(super) fn len(&self) -> usize {
        self.ports.iter().map(ArrayVec::len).sum()
    }
}

#[cold]
fn push_to_full<Io: FrameIo>(
    io: &mut Io,
    port: PortIndex,
    buffer: &mut ArrayVec<Io::Frame, BURST>,
    frame: Io::Frame,
    counters: &WorkerCounters,
) {
    io.transmit(port, buffer);
    if buffer.try_push(frame).is_err() {
        counters.dropped(DropReason::TransmitFull).add(1);
    }
}
