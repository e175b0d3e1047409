//! Handling what other workers have handed over.

use super::bursts::Pair;
use super::fast::staged::Staged;
use super::turn::Turn;
use crate::exchange::peers::{FRAMES, Purpose};
use crate::frame::{BURST, Frame, FrameIo};
use crate::names::family::V6;
use memory::prefetch;

/// Parcels taken from each other worker in a turn, at most.
const PARCELS_OF_A_PEER: usize = 16;
/// Frames taken from all of them in a turn, at most: as many as eight ports give.
const FRAMES_IN_A_TURN: usize = 8 * BURST;

impl<Io: FrameIo> Turn<'_, Io> {
    /// Handles what the other workers have handed over since the last turn. Returns how many frames, those
    /// that only had to be sent, or whose connections a template was asked for, among them.
    #[inline(never)]
    pub(in crate::worker) fn take_over(
        &mut self,
        decoded: &mut Box<Staged<Io::Frame>>,
        spare: &mut Box<Staged<Io::Frame>>,
        v6: &mut Pair<Io::Frame, V6>,
    ) -> usize {
        if self.snapshot.interfaces.is_empty() {
            return 0; // another worker has its first configuration already: it knows the interfaces, this one does not
        }
        let (mut taken, mut to_send, mut asked, mut bursts) = (0, 0, 0, 0);
        let (workers, first) = (self.egress.io.peers.workers(), self.egress.io.first_peer);
        for worker in (first..workers).chain(0..first) {
            // No room for a full share: start with this peer next turn.
            if FRAMES_IN_A_TURN - taken - to_send - asked < PARCELS_OF_A_PEER * FRAMES {
                self.egress.io.first_peer = worker;
                break;
            }
            let mut parcels = PARCELS_OF_A_PEER;
            while let Some((port, purpose)) =
                self.egress.io.peers.take(worker, &mut spare.frames, &mut parcels)
            {
                if purpose == Purpose::ToSend {
                    to_send += spare.frames.len();
                    spare.frames.drain(..).for_each(|frame| self.egress.push_on(port, frame));
                    continue;
                }
                if matches!(purpose, Purpose::Question | Purpose::Answer) {
                    asked += spare.frames.len();
                    self.resolve_kept(decoded, v6); // nothing overtakes what came before
                    for frame in spare.frames.drain(..) {
                        match purpose {
                            Purpose::Question => self.give_back(frame, port.interface(), worker),
                            _ => self.open_answered(frame, port.interface(), worker),
                        }
                    }
                    continue;
                }
                taken += spare.frames.len();
                bursts += 1;
                if let Purpose::Fragment(protocol, ports) = purpose {
                    self.resolve_kept(decoded, v6); // nor here
                    for frame in spare.frames.drain(..) {
                        self.slow_fragment(frame, (protocol, ports), port.interface());
                    }
                    continue;
                }
                // Another core has written them last: all are fetched at once.
                spare.frames.iter().for_each(|frame| prefetch(frame.head()));
                spare.arrival = port.interface();
                if self.flows.tables.serve_both() {
                    self.take_ipv6_over(spare, v6);
                }
                self.decode_burst(spare);
                self.resolve_and_prefetch(decoded, spare);
                std::mem::swap(decoded, spare);
            }
        }
        self.counters.taken_over.add(taken as u64);
        self.counters.bursts.add(bursts);
        taken + to_send + asked
    }
}
