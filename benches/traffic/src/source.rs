//! Two ports whose traffic is made while it is received: each frame is a fresh packet of a random flow, written into a
//! buffer of a ring as large as a NIC's, and each frame that is sent goes back into the ring.

use crate::buffer::Buffer;
use crate::packet::{ACK, SYN};
use crate::random::Random;
use arrayvec::ArrayVec;
use dataplane::frame::{BURST, FrameIo};
use dataplane::names::direction::Direction;
use dataplane::names::ids::EthPortId;
use std::collections::VecDeque;

/// Buffers in the ring.
const RING: usize = 4096;
/// What the source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Every flow once, in order, from the clients: TCP as SYN.
    Openings,
    /// Random flows from the clients.
    Forward,
    /// Random flows, a burst from the clients, a burst from the reals.
    Mixed,
    /// Nothing.
    None,
}

/// See the module's text. With `CHOSEN` it sends only the flows of a list; without, it has no list to look into.
#[derive(Debug)]
pub struct Source<const CHOSEN: bool = false> {
    ring: VecDeque<Buffer>,
    flows: u32,
    /// The flows by their numbers up to `flows`.
    chosen: Vec<u32>,
    next: u32,
    random: Random,
    /// What it sends.
    pub traffic: Traffic,
}

impl<const CHOSEN: bool> Source<CHOSEN> {
    /// All flows below this number.
    pub fn new(flows: u32) -> Self {
        let ring = (0..RING).map(|_| Buffer::default()).collect();
        let chosen = Vec::new();
        Self { ring, flows, chosen, next: 0, random: Random::default(), traffic: Traffic::Openings }
    }

    /// Only these flows.
    pub fn of_flows(chosen: Vec<u32>) -> Self {
        Self { chosen: chosen.clone(), ..Self::new(chosen.len() as u32) }
    }

    /// Sends nothing until [`go_on`](Self::go_on).
    pub fn pause(&mut self) {
        self.traffic = Traffic::None;
    }

    /// Sends both ways from now on: other flows, if there are any in `instead`.
    pub fn go_on(&mut self, instead: Vec<u32>) {
        self.traffic = Traffic::Mixed;
        if !instead.is_empty() {
            (self.flows, self.chosen) = (instead.len() as u32, instead);
        }
    }

    #[inline(always)]
    fn flow(&mut self) -> u32 {
        if self.traffic == Traffic::Openings {
            self.next += 1;
            return self.numbered(self.next - 1);
        }
        let flow = self.random.below(self.flows);
        self.numbered(flow)
    }

    #[inline(always)]
    fn numbered(&self, flow: u32) -> u32 {
        if CHOSEN { self.chosen[flow as usize] } else { flow }
    }

    /// Whether the openings are done.
    pub fn is_open(&self) -> bool {
        self.next >= self.flows
    }
}

impl<const CHOSEN: bool> FrameIo for Source<CHOSEN> {
    type Frame = Buffer;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Buffer, BURST>) {
        let direction = if port == EthPortId(0) { Direction::Forward } else { Direction::Reverse };
        let opening = self.traffic == Traffic::Openings;
        if CHOSEN && self.traffic == Traffic::None {
            return;
        }
        if direction == Direction::Reverse && self.traffic != Traffic::Mixed || opening && self.is_open() {
            return;
        }
        while !into.is_full() {
            let mut frame = match self.ring.pop_front() {
                Some(frame) => frame,
                // Another worker's ring has it, or it was dropped on its way there.
                None if CHOSEN => Buffer::default(),
                None => return,
            };
            let flow = self.flow();
            frame.write_unsealed(flow, direction, if opening { SYN } else { ACK });
            if opening {
                // A new connection is looked at as a host does: the header's checksum has to be right.
                frame.seal();
            }
            into.push(frame);
            if opening && self.is_open() {
                return;
            }
        }
    }

    #[inline(always)]
    fn transmit(&mut self, _port: EthPortId, from: &mut ArrayVec<Buffer, BURST>) {
        self.ring.extend(from.drain(..));
    }

    fn allocate(&mut self, _port: EthPortId) -> Option<Buffer> {
        None
    }
}
