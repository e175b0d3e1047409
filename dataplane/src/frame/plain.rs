//! Frames in plain memory: the `EthPort`s of tests, fuzzers and benches.

use super::{BURST, Frame, FrameIo, HEAD};
use crate::names::ids::EthPortId;
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size of a plain buffer, as of an mbuf's data room.
pub const ROOM: usize = 2048;

/// A frame in a heap buffer of its own.
#[derive(Debug)]
pub struct PlainFrame {
    bytes: Box<[u8; ROOM]>,
    length: usize,
    flags: u64,
    live: Arc<AtomicUsize>,
}

impl Drop for PlainFrame {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Frame for PlainFrame {
    fn length(&self) -> usize {
        self.length
    }
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
    fn head(&self) -> &[u8; HEAD] {
        self.bytes.first_chunk().expect("ROOM exceeds HEAD")
    }
    fn head_mut(&mut self) -> &mut [u8; HEAD] {
        self.bytes.first_chunk_mut().expect("ROOM exceeds HEAD")
    }
    fn set_length(&mut self, length: usize) -> bool {
        let fits = length <= ROOM;
        if fits {
            self.length = length;
        }
        fits
    }
    fn pieces(&self) -> u16 {
        1
    }
    fn flags(&self) -> u64 {
        self.flags
    }
}

/// Ports whose queues a test fills and empties by hand.
#[derive(Debug, Default)]
pub struct PlainIo {
    arriving: Vec<VecDeque<PlainFrame>>,
    sent: Vec<Vec<Vec<u8>>>,
    live: Arc<AtomicUsize>,
    /// Frames that may exist at once, as a pool's size; `None`: any number.
    pub pool_size: Option<usize>,
    /// Frames that each `transmit` call takes, as a slow device's; `None`: all.
    pub transmit_limit: Option<usize>,
    /// A port whose device takes nothing, as a queue that the chip has not.
    pub stands: Option<EthPortId>,
}

impl PlainIo {
    /// So many ports, all queues empty.
    pub fn new(ports: usize) -> Self {
        Self {
            arriving: (0..ports).map(|_| VecDeque::new()).collect(),
            sent: vec![Vec::new(); ports],
            ..Self::default()
        }
    }

    /// Lets `bytes` (at most [`ROOM`]) arrive on `port`.
    pub fn arrive(&mut self, port: impl Into<EthPortId>, bytes: &[u8]) {
        self.arrive_flagged(port, bytes, 0);
    }

    /// A frame arrives, with a device's flags ([`Frame::flags`]).
    pub fn arrive_flagged(&mut self, port: impl Into<EthPortId>, bytes: &[u8], flags: u64) {
        let mut frame = self.empty_frame();
        frame.flags = flags;
        frame.bytes[..bytes.len()].copy_from_slice(bytes);
        frame.length = bytes.len();
        self.arriving[port.into().index()].push_back(frame);
    }

    /// Takes all that was sent on `port`, in order.
    pub fn take_sent(&mut self, port: impl Into<EthPortId>) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent[port.into().index()])
    }

    /// Frames that exist: waiting to be received, or held by the packet path.
    pub fn live_frames(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn empty_frame(&self) -> PlainFrame {
        self.live.fetch_add(1, Ordering::Relaxed);
        // Stale bytes are not zero on a NIC either.
        PlainFrame { bytes: Box::new([0xA5; ROOM]), length: 0, flags: 0, live: Arc::clone(&self.live) }
    }
}

impl FrameIo for PlainIo {
    type Frame = PlainFrame;

    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<PlainFrame, BURST>) {
        let queue = &mut self.arriving[port.index()];
        while !into.is_full() {
            let Some(frame) = queue.pop_front() else { break };
            into.push(frame);
        }
    }

    fn transmit(&mut self, port: EthPortId, from: &mut ArrayVec<PlainFrame, BURST>) {
        let most = if self.stands == Some(port) { 0 } else { self.transmit_limit.unwrap_or(usize::MAX) };
        let taken = most.min(from.len());
        self.sent[port.index()].extend(from.drain(..taken).map(|frame| frame.bytes().to_vec()));
    }

    fn allocate(&mut self, _port: EthPortId) -> Option<PlainFrame> {
        let room = self.pool_size.is_none_or(|size| self.live_frames() < size);
        room.then(|| self.empty_frame())
    }
}
