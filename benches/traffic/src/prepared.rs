//! Frames that are written before the measuring begins, and the ports that a worker takes them from.

use crate::buffer::Buffer;
use crate::world::{DIP_PORT, VIP_PORT};
use arrayvec::ArrayVec;
use dataplane::frame::{BURST, FrameIo};
use dataplane::names::direction::Direction;
use dataplane::names::ids::EthPortId;

/// Two ports. What has been put in line is received; what is sent is kept, to be written anew.
#[derive(Debug, Default)]
pub struct Prepared {
    /// By port, the next one last.
    arriving: [Vec<Buffer>; 2],
    sent: Vec<Buffer>,
}

impl Prepared {
    /// Room for so many frames.
    pub fn new(frames: usize) -> Self {
        let arriving = [Vec::with_capacity(frames), Vec::with_capacity(frames)];
        Self { arriving, sent: (0..frames).map(|_| Buffer::default()).collect() }
    }

    /// Frames that have been sent, or were never in line.
    pub const fn idle(&self) -> usize {
        self.sent.len()
    }

    /// Puts packets in line, the last of the slice to be received first.
    ///
    /// # Panics
    /// If there are fewer idle frames.
    pub fn line_up(&mut self, flows: &[u32], direction: Direction, flags: u8) {
        let port = match direction {
            Direction::Forward => VIP_PORT,
            Direction::Reverse => DIP_PORT,
        };
        for flow in flows {
            let mut frame = self.sent.pop().expect("an idle frame");
            frame.write(*flow, direction, flags);
            self.arriving[port.index()].push(frame);
        }
    }
}

impl FrameIo for Prepared {
    type Frame = Buffer;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Buffer, BURST>) {
        take(&mut self.arriving[port.index() % 2], into);
    }

    #[inline(always)]
    fn transmit(&mut self, _port: EthPortId, from: &mut ArrayVec<Buffer, BURST>) {
        self.sent.extend(from.drain(..));
    }

    fn allocate(&mut self, _port: EthPortId) -> Option<Buffer> {
        None
    }
}

/// As many frames from the end of a line as there is room for. Out of line, as a driver's function is: inlined into a
/// worker's loop, each frame would cost more the fewer registers that loop leaves it.
#[inline(never)]
fn take(line: &mut Vec<Buffer>, into: &mut ArrayVec<Buffer, BURST>) {
    let first = line.len().saturating_sub(into.remaining_capacity());
    into.extend(line.drain(first..).rev());
}
