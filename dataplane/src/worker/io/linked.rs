//! A worker's own queues, and other workers' where it has none.

use crate::counters::WorkerCounters;
use crate::exchange::peers::{Peers, Purpose};
use crate::frame::{BURST, FrameIo, Stage};
use crate::names::ids::EthPortId;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// Routes frames through another worker on `EthPort`s where this one has no transmit queue. The worker that sends a
/// frame counts it as sent.
pub(in crate::worker) struct Linked<Io: FrameIo> {
    pub(in crate::worker) io: Io,
    pub(in crate::worker) peers: Peers<Io::Frame>,
    /// The worker whose frames are taken first.
    pub(in crate::worker) first_peer: usize,
    counters: Arc<WorkerCounters>,
}

impl<Io: FrameIo> Linked<Io> {
    pub(in crate::worker) fn new(io: Io, counters: Arc<WorkerCounters>) -> Self {
        Self { io, peers: Peers::none(), first_peer: 0, counters }
    }

    #[cold]
    fn pass(&mut self, sender: usize, port: EthPortId, from: &mut ArrayVec<Io::Frame, BURST>) {
        for frame in from.drain(..) {
            self.peers.pass(sender, Purpose::ToSend, port, frame, &self.counters);
        }
    }
}

impl<Io: FrameIo> FrameIo for Linked<Io> {
    type Frame = Io::Frame;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Io::Frame, BURST>) {
        self.io.receive(port, into);
    }

    #[inline(always)]
    fn transmit(&mut self, port: EthPortId, from: &mut ArrayVec<Io::Frame, BURST>) {
        match self.peers.sender(port) {
            None => {
                let before = from.len();
                self.io.transmit(port, from);
                self.counters.tx_packets.add((before - from.len()) as u64);
            }
            Some(sender) => self.pass(sender, port, from),
        }
    }

    #[inline(always)]
    fn ended(&mut self, stage: Stage) {
        self.io.ended(stage);
    }

    #[inline(always)]
    fn allocate(&mut self, port: EthPortId) -> Option<Io::Frame> {
        self.io.allocate(port)
    }
}
