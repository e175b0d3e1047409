//! The queues of one worker: bursts in and out.

use crate::af_packet::Cutter;
use crate::mbuf::Mbuf;
use crate::pool::Pool;
use crate::port::Started;
use arrayvec::ArrayVec;
use dataplane::frame::{BURST, FrameIo, asked_for};
use dataplane::names::ids::EthPortId;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One receive and one transmit queue of a started port, or one of them or none, with the pool that
/// receiving draws from. There is one of each number, so that nobody else uses the queues.
#[derive(Debug)]
pub struct PortQueue {
    /// DPDK's number of the port.
    port: u16,
    rx: Option<u16>,
    tx: Option<u16>,
    pool: Pool,
    /// Of an af_packet device.
    cutter: Option<Box<Cutter<Mbuf, OwnedFd>>>,
    /// Stops and closes the port when the last user is gone.
    _started: Arc<Started>,
}

impl PortQueue {
    pub(crate) fn new(started: Arc<Started>, rx: Option<u16>, tx: Option<u16>, pool: Pool) -> Self {
        Self { port: started.id(), rx, tx, pool, cutter: None, _started: started }
    }

    /// Has what is longer than the MTU cut on its way in.
    pub(crate) fn cutting(mut self, cutter: Option<Cutter<Mbuf, OwnedFd>>) -> Self {
        self.cutter = cutter.map(Box::new);
        self
    }

    /// Appends the frames that have arrived, as many as fit, rounded down to a multiple of
    /// [`RECEIVE_STEP`](dataplane::frame::RECEIVE_STEP).
    #[inline(always)]
    pub fn receive(&mut self, into: &mut ArrayVec<Mbuf, BURST>) {
        if self.cutter.is_some() {
            return self.receive_and_cut(into);
        }
        self.receive_as_they_are(into);
    }

    #[inline(never)]
    fn receive_and_cut(&mut self, into: &mut ArrayVec<Mbuf, BURST>) {
        let Some(mut cutter) = self.cutter.take() else { return };
        if !cutter.is_busy() {
            let held = into.len();
            self.receive_as_they_are(into);
            cutter.take(into, held);
        }
        if cutter.is_busy() {
            cutter.pass_on(into, || self.pool.allocate());
        }
        self.cutter = Some(cutter);
    }

    #[inline(always)]
    fn receive_as_they_are(&mut self, into: &mut ArrayVec<Mbuf, BURST>) {
        let Some(queue) = self.rx else { return };
        let held = into.len();
        let room = asked_for(into);
        // SAFETY: the array has room for at least `room` more, and an `Mbuf` is laid out as the pointer that
        // the driver writes. `&mut self` and the uniqueness of a `PortQueue` make us the queue's only
        // user, as DPDK demands.
        let count = unsafe {
            let free = into.as_mut_ptr().add(held).cast();
            dpdk_sys::natlb_rx_burst(self.port, queue, free, room as u16)
        };
        debug_assert!(usize::from(count) <= room);
        // SAFETY: the driver has written `count` mbufs, at most `room`, and given them to us.
        unsafe { into.set_len(held + usize::from(count)) };
    }

    /// Sends frames from the front of `from`; those that the device does not take now remain, and all of
    /// them without a transmit queue.
    #[inline(always)]
    pub fn transmit(&mut self, from: &mut ArrayVec<Mbuf, BURST>) {
        let Some(queue) = self.tx else { return };
        let held = from.len();
        // SAFETY: the array holds `held` mbufs that are ours; the driver takes over the first of them,
        // and returns their number. For the queue, see `receive`.
        let count =
            unsafe { dpdk_sys::natlb_tx_burst(self.port, queue, from.as_mut_ptr().cast(), held as u16) };
        let taken = usize::from(count);
        debug_assert!(taken <= held);
        // SAFETY: the first `taken` are the driver's now and must be forgotten, not dropped; the others
        // are moved down, to where the array is valid up to its new length.
        unsafe {
            if taken < held {
                let first = from.as_mut_ptr();
                first.copy_from(first.add(taken), held - taken);
            }
            from.set_len(held - taken);
        }
    }

    /// An empty frame from the port's pool; `None` when it is used up.
    #[inline(always)]
    pub fn allocate(&mut self) -> Option<Mbuf> {
        self.pool.allocate()
    }

    /// Whether it has a transmit queue.
    pub fn transmits(&self) -> bool {
        self.tx.is_some()
    }

    /// The pool that receiving draws from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// The queues of one worker on every `EthPort`, in the order of the configuration.
#[derive(Debug)]
pub struct Queues(Vec<PortQueue>);

impl Queues {
    /// Queue `i` is that of the port with index `i`.
    pub fn new(queues: Vec<PortQueue>) -> Self {
        Self(queues)
    }
}

impl FrameIo for Queues {
    type Frame = Mbuf;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Mbuf, BURST>) {
        self.0[port.index()].receive(into);
    }

    #[inline(always)]
    fn transmit(&mut self, port: EthPortId, from: &mut ArrayVec<Mbuf, BURST>) {
        self.0[port.index()].transmit(from);
    }

    #[inline(always)]
    fn allocate(&mut self, port: EthPortId) -> Option<Mbuf> {
        self.0[port.index()].allocate()
    }
}
