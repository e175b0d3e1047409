//! What a worker does instead of a turn, while another process has the devices: see [`Phase`].

use super::Worker;
use super::bursts::{Bursts, Pair};
use crate::exchange::pace::{Pace, Phase};
use crate::frame::FrameIo;
use crate::names::ids::EthPortId;
use crate::names::time::Now;
use std::sync::Arc;

/// Turns that a worker which is to finish makes as ever, if it always receives something: as many bursts as a ring of
/// 1,024 slots has.
const LAST_TURNS: u32 = 32;
/// Looks at the devices, if they always give something, until a newcomer says that it drops what arrives.
const FIRST_LOOKS: usize = 4096;
/// Frames of each device that are dropped in the last look, if it never runs empty: twice what a ring of 4,096 slots
/// holds.
const LAST_FRAMES: usize = 8192;

/// What a worker knows of its rest.
#[derive(Debug, Default)]
pub(super) struct Resting {
    phase: Phase,
    /// Turns made since it was asked to finish.
    last_turns: u32,
    /// Looks at the devices to drop what is there.
    looks: usize,
    /// Devices that are to be emptied.
    eth_ports: u8,
}

impl<Io: FrameIo> Worker<Io> {
    /// Has it do nothing until it is asked to, as the worker of a process that is to take the place of another. It has
    /// queues of this number of `EthPort`s.
    #[must_use]
    pub fn resting(mut self, eth_ports: usize) -> Self {
        self.resting.phase = Phase::Rest;
        self.resting.eth_ports = u8::try_from(eth_ports).unwrap_or(u8::MAX);
        self.pace.ask(Phase::Rest);
        self.pace.follow(Phase::Rest);
        self
    }

    /// Whether it is to work, and whether it does.
    pub fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// A turn, or what the control thread has asked for instead. Returns the number of frames that were handled.
    #[inline(always)]
    pub fn step(&mut self, now: Now) -> usize {
        let asked = self.pace.asked();
        if asked == Phase::Run && self.resting.phase == Phase::Run {
            return self.turn(now);
        }
        self.step_otherwise(asked, now)
    }

    #[cold]
    #[inline(never)]
    fn step_otherwise(&mut self, asked: Phase, now: Now) -> usize {
        match asked {
            Phase::Run => {
                if self.resting.looks > 0 {
                    self.empty_rings();
                }
                // The time in between was nobody's turn.
                self.before.last = None;
                self.follow(Phase::Run);
                self.turn(now)
            }
            Phase::Finish => {
                if self.resting.phase == Phase::Run && self.resting.last_turns < LAST_TURNS {
                    self.resting.last_turns += 1;
                    let received = self.turn(now);
                    if received > 0 {
                        return received;
                    }
                }
                self.follow(Phase::Finish);
                let handled = self.finish(now);
                self.pace.note(handled > 0 || self.egress.len() > 0);
                handled
            }
            Phase::Rest => {
                self.follow(Phase::Rest);
                self.listen(now);
                0
            }
            Phase::Discard => {
                self.listen(now);
                let dropped = self.discard();
                self.resting.looks += 1;
                // What has come while it rested is gone, so that little is left for the last look.
                if dropped == 0 || self.resting.looks >= FIRST_LOOKS {
                    self.follow(Phase::Discard);
                }
                dropped
            }
        }
    }

    fn follow(&mut self, phase: Phase) {
        if self.resting.phase != phase {
            self.resting.phase = phase;
            self.resting.last_turns = 0;
            if phase == Phase::Run {
                self.resting.looks = 0;
            }
            self.pace.follow(phase);
        }
    }

    /// A worker that has no configuration yet is told of neighbours meanwhile; it sends nothing before it has one.
    fn listen(&mut self, now: Now) {
        if self.snapshot.interfaces.is_empty() {
            self.carry_out_orders(now);
        }
    }

    /// A turn without receiving from devices. Returns how many frames others have handed over.
    fn finish(&mut self, now: Now) -> usize {
        let now = self.before.clock.at(now);
        self.beat(now);
        let (mut turn, Bursts { v4: Pair { decoded, spare }, v6 }) = self.lend(now);
        turn.resolve_kept(decoded, v6);
        let taken = if turn.egress.io.peers.is_alone() { 0 } else { turn.take_over(decoded, spare, v6) };
        turn.resolve_kept(decoded, v6);
        turn.egress.flush(now);
        taken
    }

    /// Drops what is in the devices' rings. A burst that is not full says nothing: some devices give fewer frames than
    /// they have.
    fn empty_rings(&mut self) {
        let mut left = LAST_FRAMES * usize::from(self.resting.eth_ports);
        while left > 0 {
            match self.discard() {
                0 => return,
                dropped => left = left.saturating_sub(dropped),
            }
        }
    }

    /// Drops what has arrived, a burst of each device at most. Returns how many frames that were.
    fn discard(&mut self) -> usize {
        let frames = &mut self.bursts.v4.spare.frames;
        let mut dropped = 0;
        for port in (0..self.resting.eth_ports).map(EthPortId) {
            self.egress.io.receive(port, frames);
            dropped += frames.len();
            frames.clear();
        }
        dropped
    }
}
