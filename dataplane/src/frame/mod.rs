//! Where frames come from and go to.
//!
//! The packet path is generic over [`FrameIo`], so the same code runs on DPDK's mbufs and, in tests,
//! fuzzers and benches, on plain memory (`plain`).

#[cfg(feature = "testing")]
pub mod plain;

use crate::names::ids::EthPortId;
use arrayvec::ArrayVec;

/// Frames that are received, and handled in stages, at once.
pub const BURST: usize = 32;

/// Devices are asked for a multiple of so many frames at once: drivers that handle several at a time give nothing
/// beyond such a multiple, and DPDK warrants no other number.
pub const RECEIVE_STEP: usize = 8;

/// How many frames a device is asked for that may fill the rest of a burst: those that fit, less what is beyond a
/// multiple of [`RECEIVE_STEP`].
#[inline(always)]
pub const fn asked_for<F>(burst: &ArrayVec<F, BURST>) -> usize {
    burst.remaining_capacity() / RECEIVE_STEP * RECEIVE_STEP
}

/// Bytes at the start of every buffer that may be read and written whatever the frame's length:
/// Ethernet (14) + the longest header without options of any family, IPv6's (40) + TCP (20), with room to load whole
/// words.
pub const HEAD: usize = 96;

/// The device has found the IPv4 header's checksum wrong; beside [`HEADER_RIGHT`]: the header is right, but not that
/// field. Both as DPDK has them.
pub const HEADER_WRONG: u64 = 1 << 4;
/// The device has found the IPv4 header's checksum right.
pub const HEADER_RIGHT: u64 = 1 << 7;

/// A frame that we own, in one piece of memory, beginning with the Ethernet destination address.
/// Dropping it gives its buffer back, on whatever thread: workers hand frames to each other.
pub trait Frame: Send {
    /// Length in bytes, without the frame check sequence.
    fn length(&self) -> usize;
    /// The whole frame.
    fn bytes(&self) -> &[u8];
    /// The whole frame, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// The first [`HEAD`] bytes of the buffer; what lies past [`length`](Self::length) is stale.
    fn head(&self) -> &[u8; HEAD];
    /// The bytes of [`head`](Self::head), to be changed.
    fn head_mut(&mut self) -> &mut [u8; HEAD];
    /// Sets the length; false, and nothing done, if the buffer is smaller. New bytes are stale.
    fn set_length(&mut self, length: usize) -> bool;
    /// Pieces of memory that the frame's bytes are in; only the first is at hand.
    fn pieces(&self) -> u16;
    /// What the device says of the frame: [`HEADER_WRONG`], [`HEADER_RIGHT`], and bits of its own. None of the two:
    /// it did not look.
    #[inline(always)]
    fn flags(&self) -> u64 {
        0
    }
    /// [`pieces`](Self::pieces) in the lower 16 bits, and the lower half of [`flags`](Self::flags) in the upper 32: one
    /// read where they lie side by side. The bits between are anything.
    #[inline(always)]
    fn marks(&self) -> u64 {
        self.flags() << 32 | u64::from(self.pieces())
    }
    /// Whether the frame's bytes are all in this piece. A chain of buffers is not handled.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.pieces() == 1
    }
}

/// The queues of one worker on every `EthPort`.
pub trait FrameIo {
    /// What a frame is held by.
    type Frame: Frame;
    /// Appends the frames that have arrived on `port`, as many as fit. A device may leave out those beyond
    /// [`asked_for`]: where fewer have come, it has no more.
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Self::Frame, BURST>);
    /// Sends frames from the front of `from`; those that the device does not take now remain.
    fn transmit(&mut self, port: EthPortId, from: &mut ArrayVec<Self::Frame, BURST>);
    /// An empty frame from the pool of `port`; `None` when the pool is used up.
    fn allocate(&mut self, port: EthPortId) -> Option<Self::Frame>;
    /// A stage of a turn is over: for queues that measure. Others do nothing, and it costs nothing.
    #[inline(always)]
    fn ended(&mut self, _stage: Stage) {}
}

/// The stages of a turn whose end the queues do not see by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A burst was decoded, and its buckets prefetched.
    Decode,
    /// A burst was resolved and rewritten.
    Resolve,
    /// The whole turn, with its slice of the sweep.
    Turn,
}
