//! Where frames leave: each is sent, handed over or dropped here, and counted.

use super::identification::Identifications;
use super::linked::Linked;
use super::outgoing::Outgoing;
use crate::connection::table::HashKey;
use crate::counters::WorkerCounters;
use crate::frame::{BURST, Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::ids::{EthPortId, InterfaceId};
use crate::names::time::Now;
use crate::wire::link;
use crate::worker::fate::{Fate, Judged};
use arrayvec::ArrayVec;
use std::sync::Arc;

/// A worker's devices and peers, and what waits for them.
pub(in crate::worker) struct Egress<Io: FrameIo> {
    pub(in crate::worker) io: Linked<Io>,
    outgoing: Outgoing<Linked<Io>>,
    identifications: Identifications,
    counters: Arc<WorkerCounters>,
}

impl<Io: FrameIo> Egress<Io> {
    /// The secret is for identifications of packets that are cut here.
    pub(in crate::worker) fn new(io: Io, secret: HashKey, counters: Arc<WorkerCounters>) -> Self {
        Self {
            io: Linked::new(io, Arc::clone(&counters)),
            outgoing: Outgoing::new(),
            identifications: Identifications::new(secret),
            counters,
        }
    }

    /// Sends, hands over or drops a frame, and counts that. A frame whose fate is to stay is not given here.
    pub(in crate::worker) fn dispose(&mut self, mut frame: Io::Frame, judged: Judged) {
        match judged {
            Ok(Fate::Sent(out)) => self.push(out, frame),
            Ok(Fate::SentInFragments { out, mtu }) => self.send_in_fragments(out, mtu, frame),
            Ok(Fate::Answer { out, instead_of }) => {
                if let Some(reason) = instead_of {
                    self.counters.dropped(reason).add(1);
                }
                self.counters.answers.add(1);
                link::pad(&mut frame);
                self.push(out, frame);
            }
            Ok(Fate::HandOver { to, arrival, purpose }) => {
                self.io.peers.pass(to, purpose, arrival.eth_port(), frame, &self.counters);
            }
            Ok(Fate::Consumed) => {}
            Ok(
                Fate::Slow
                | Fate::SlowTo(_)
                | Fate::Await(_)
                | Fate::AwaitTo(..)
                | Fate::AwaitFirstFragment(_)
                | Fate::Gather(..),
            ) => debug_assert!(false, "it stays: {judged:?}"),
            Err(reason) => self.counters.dropped(reason).add(1),
        }
    }

    /// Sends a frame.
    #[inline(always)]
    pub(in crate::worker) fn push(&mut self, out: InterfaceId, frame: Io::Frame) {
        self.push_on(out.eth_port(), frame);
    }

    /// Sends a frame that another worker has prepared for this `EthPort`.
    #[inline(always)]
    pub(in crate::worker) fn push_on(&mut self, port: EthPortId, frame: Io::Frame) {
        self.outgoing.push(&mut self.io, port, frame, &self.counters);
    }

    /// Sends a whole burst, and empties it.
    #[inline(always)]
    pub(in crate::worker) fn push_burst(
        &mut self,
        out: InterfaceId,
        frames: &mut ArrayVec<Io::Frame, BURST>,
    ) {
        self.outgoing.push_burst(&mut self.io, out.eth_port(), frames, &self.counters);
    }

    /// Sends a frame of these bytes.
    pub(in crate::worker) fn send(&mut self, out: InterfaceId, bytes: &[u8]) {
        let Some(mut frame) = self.io.allocate(out.eth_port()) else {
            self.counters.dropped(DropReason::NoBuffer).add(1);
            return;
        };
        if frame.set_length(bytes.len()) {
            frame.bytes_mut().copy_from_slice(bytes);
            link::pad(&mut frame);
            self.push(out, frame);
        }
    }

    /// Sends all that waits for the end of a turn.
    pub(in crate::worker) fn flush(&mut self, now: Now) {
        self.outgoing.flush(&mut self.io, now, &self.counters);
        if !self.io.peers.is_alone() {
            self.io.peers.flush(&self.counters);
        }
    }

    /// Frames that no device has taken.
    pub(in crate::worker) fn len(&self) -> usize {
        self.outgoing.len()
    }

    /// Sends a packet, that is addressed and translated already, in fragments of at most `mtu` bytes: all or none.
    #[cold]
    fn send_in_fragments(&mut self, out: InterfaceId, mtu: u16, mut frame: Io::Frame) {
        match super::cut::cut(&mut self.io, out, mtu, &mut self.identifications, &mut frame) {
            Ok(others) => {
                self.counters.fragmented.add(1);
                self.counters.fragments_made.add(1 + others.len() as u64);
                self.push(out, frame);
                for other in others {
                    self.push(out, other);
                }
            }
            Err(reason) => self.counters.dropped(reason).add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::plain::PlainIo;

    #[test]
    fn each_fate_is_counted_here_and_once() {
        let counters = Arc::new(WorkerCounters::new());
        let mut egress =
            Egress::new(PlainIo::new(1), HashKey { mask: 7, multiplier: 9 }, Arc::clone(&counters));
        let out = InterfaceId(0);
        let reason = DropReason::NoService;
        let totals = || (counters.dropped(reason).get(), counters.answers.get());
        for (judged, expected, leaves) in [
            (Ok(Fate::Sent(out)), (0, 0), 1),
            (Ok(Fate::Answer { out, instead_of: None }), (0, 1), 1),
            (Ok(Fate::Answer { out, instead_of: Some(reason) }), (1, 1), 1),
            (Ok(Fate::Consumed), (0, 0), 0),
            (Err(reason), (1, 0), 0),
        ] {
            let before = totals();
            let mut frame = egress.io.allocate(out.eth_port()).unwrap();
            assert!(frame.set_length(60));
            egress.dispose(frame, judged);
            egress.flush(Now { nanoseconds: 1 });
            let after = totals();
            assert_eq!((after.0 - before.0, after.1 - before.1), expected, "{judged:?}");
            assert_eq!(egress.io.io.take_sent(out).len(), leaves, "{judged:?}");
            assert_eq!(egress.io.io.live_frames(), 0, "{judged:?}");
        }
        assert_eq!(counters.tx_packets.get(), 3);
    }
}
