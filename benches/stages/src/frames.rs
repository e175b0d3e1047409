//! Frames that are written before the measuring begins, and the ports that a worker takes them from.

use crate::flows::{client, is_tcp, service_port};
use crate::world::{DIP_MAC, DIP_PORT, REAL, VIP, VIP_MAC, VIP_PORT};
use arrayvec::ArrayVec;
use dataplane::frame::{BURST, Frame, FrameIo, HEAD};
use dataplane::names::direction::Direction;
use dataplane::names::ids::EthPortId;
use dataplane::wire::checksum;

/// Ethernet, IPv4, then TCP or UDP, without the frame check sequence.
const LENGTH: usize = 60;
/// Distance between two buffers, as between two mbufs.
const ROOM: usize = 2304;

/// A buffer: as large to move as a pointer to an mbuf.
#[derive(Debug)]
pub struct Buffer(Box<[u8; ROOM]>);

impl Default for Buffer {
    fn default() -> Self {
        Self(Box::new([0; ROOM]))
    }
}

impl Frame for Buffer {
    #[inline(always)]
    fn length(&self) -> usize {
        LENGTH
    }
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0[..LENGTH]
    }
    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0[..LENGTH]
    }
    #[inline(always)]
    fn head(&self) -> &[u8; HEAD] {
        self.0.first_chunk().expect("a buffer is larger")
    }
    #[inline(always)]
    fn head_mut(&mut self) -> &mut [u8; HEAD] {
        self.0.first_chunk_mut().expect("a buffer is larger")
    }
    fn set_length(&mut self, _length: usize) -> bool {
        false
    }
    #[inline(always)]
    fn pieces(&self) -> u16 {
        1
    }
}

impl Buffer {
    /// Writes a flow's packet: from its client to the VIP, or the reply of [`REAL`]; TCP with SYN if it
    /// `opens`, else with ACK. The header's checksum is right, that of TCP or UDP any: the packet path
    /// updates it by what changes.
    pub fn write(&mut self, flow: u32, direction: Direction, opens: bool) {
        let is_tcp = is_tcp(flow);
        let near = client(flow);
        let bytes = &mut self.0[..HEAD];
        bytes[6..12].fill(2);
        bytes[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 1, 0, 0, 64, if is_tcp { 6 } else { 17 }]);
        bytes[24..26].fill(0);
        let (mac, source, destination, ports) = match direction {
            Direction::Forward => (VIP_MAC, *near.ip(), VIP, [near.port(), service_port(flow)]),
            Direction::Reverse => (DIP_MAC, REAL, *near.ip(), [service_port(flow), near.port()]),
        };
        bytes[..6].copy_from_slice(&mac.0);
        bytes[26..30].copy_from_slice(&source.octets());
        bytes[30..34].copy_from_slice(&destination.octets());
        bytes[34..36].copy_from_slice(&ports[0].to_be_bytes());
        bytes[36..38].copy_from_slice(&ports[1].to_be_bytes());
        bytes[38..50].copy_from_slice(&[
            0,
            26,
            0x12,
            0x34,
            0,
            0,
            0,
            0,
            0x50,
            if opens { 2 } else { 16 },
            1,
            0,
        ]);
        let check = !checksum::sum(&bytes[14..34]);
        checksum::write(bytes, 24, check);
    }
}

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
    pub fn line_up(&mut self, flows: &[u32], direction: Direction, opens: bool) {
        let port = match direction {
            Direction::Forward => VIP_PORT,
            Direction::Reverse => DIP_PORT,
        };
        for flow in flows {
            let mut frame = self.sent.pop().expect("an idle frame");
            frame.write(*flow, direction, opens);
            self.arriving[port.index()].push(frame);
        }
    }
}

impl FrameIo for Prepared {
    type Frame = Buffer;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<Buffer, BURST>) {
        let line = &mut self.arriving[port.index() % 2];
        while !into.is_full() {
            let Some(frame) = line.pop() else { return };
            into.push(frame);
        }
    }

    #[inline(always)]
    fn transmit(&mut self, _port: EthPortId, from: &mut ArrayVec<Buffer, BURST>) {
        self.sent.extend(from.drain(..));
    }

    fn allocate(&mut self, _port: EthPortId) -> Option<Buffer> {
        None
    }
}
