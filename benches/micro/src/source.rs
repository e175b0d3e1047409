//! An in-memory traffic source: each frame received is a fresh packet of a random flow, written into
//! a buffer of a ring as large as a NIC's; each frame sent goes back into the ring.

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, Frame, FrameIo, HEAD};
use dataplane::names::ids::EthPortId;
use dataplane::names::mac::Mac;
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// Buffers in the ring.
const RING: usize = 4096;
/// Distance between two buffers, as between two mbufs.
const ROOM: usize = 2304;

/// The frames of the source: Ethernet, IPv4, then UDP or TCP, 60 bytes.
pub(crate) const LENGTH: usize = 60;
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
pub(crate) const REAL: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);
pub(crate) const VIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const DIP_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(crate) const TCP_PORT: u16 = 80;
pub(crate) const UDP_PORT: u16 = 53;

/// A buffer of the ring.
pub(crate) struct RingFrame(Box<[u8; ROOM]>);

impl Frame for RingFrame {
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

/// What the source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Every flow once, in order, from the clients: TCP as SYN.
    Openings,
    /// Random flows from the clients.
    Forward,
    /// Random flows, a burst from the clients, a burst from the reals.
    Mixed,
    /// Nothing.
    None,
}

/// `CHOSEN`: only flows of a list. The others do without looking into it, so that what they cost stays what it was.
pub(crate) struct Source<const CHOSEN: bool = false> {
    ring: VecDeque<RingFrame>,
    flows: u32,
    /// The flows by their numbers up to `flows`.
    chosen: Vec<u32>,
    next: u32,
    random: u64,
    pub(crate) traffic: Traffic,
}

impl<const CHOSEN: bool> Source<CHOSEN> {
    pub(crate) fn new(flows: u32) -> Self {
        let ring = (0..RING).map(|_| RingFrame(Box::new([0; ROOM]))).collect();
        let chosen = Vec::new();
        Self { ring, flows, chosen, next: 0, random: 0x9e37_79b9_7f4a_7c15, traffic: Traffic::Openings }
    }

    /// Only these flows.
    pub(crate) fn of_flows(chosen: Vec<u32>) -> Self {
        Self { chosen: chosen.clone(), ..Self::new(chosen.len() as u32) }
    }

    /// Sends nothing until [`go_on`](Self::go_on).
    pub(crate) fn pause(&mut self) {
        self.traffic = Traffic::None;
    }

    /// Sends both ways from now on: other flows, if there are any in `instead`.
    pub(crate) fn go_on(&mut self, instead: Vec<u32>) {
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
        // xorshift64*, then a multiplication in place of a division.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let random = (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32;
        self.numbered(((u64::from(random) * u64::from(self.flows)) >> 32) as u32)
    }

    #[inline(always)]
    fn numbered(&self, flow: u32) -> u32 {
        if CHOSEN { self.chosen[flow as usize] } else { flow }
    }

    /// Whether the openings are done.
    pub(crate) fn is_open(&self) -> bool {
        self.next >= self.flows
    }
}

/// A client's address and port, both in the order of the wire.
pub(crate) fn client(flow: u32) -> ([u8; 4], [u8; 2]) {
    let address = 0x1000_0000 + flow / 2 / 50_000;
    let port = 1024 + (flow / 2 % 50_000) as u16;
    (address.to_be_bytes(), port.to_be_bytes())
}

/// Writes the packet of a flow: every second one is TCP. Checksums are not computed: the packet path
/// updates them by what changes, whatever they are.
#[inline(always)]
fn write(bytes: &mut [u8; ROOM], flow: u32, forward: bool, opening: bool) {
    let is_tcp = flow % 2 == 1;
    let (address, port) = client(flow);
    let service = if is_tcp { TCP_PORT } else { UDP_PORT }.to_be_bytes();
    let mac = if forward { VIP_MAC } else { DIP_MAC };
    bytes[..6].copy_from_slice(&mac.0);
    bytes[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 1, 0, 0, 64, if is_tcp { 6 } else { 17 }]);
    let (source, destination) = if forward { (26, 30) } else { (30, 26) };
    let far = if forward { VIP } else { REAL };
    bytes[source..source + 4].copy_from_slice(&address);
    bytes[destination..destination + 4].copy_from_slice(&far.octets());
    let (source, destination) = if forward { (34, 36) } else { (36, 34) };
    bytes[source..source + 2].copy_from_slice(&port);
    bytes[destination..destination + 2].copy_from_slice(&service);
    bytes[38..50].copy_from_slice(&[0, 26, 0x12, 0x34, 0, 0, 0, 0, 0x50, if opening { 2 } else { 16 }, 1, 0]);
    if opening {
        // A new connection is looked at as a host does: the header's checksum has to be right.
        bytes[24..26].fill(0);
        let check = !dataplane::wire::checksum::sum(&bytes[14..34]);
        dataplane::wire::checksum::write(bytes, 24, check);
    }
}

impl<const CHOSEN: bool> FrameIo for Source<CHOSEN> {
    type Frame = RingFrame;

    #[inline(always)]
    fn receive(&mut self, port: EthPortId, into: &mut ArrayVec<RingFrame, BURST>) {
        let forward = port == EthPortId(0);
        let opening = self.traffic == Traffic::Openings;
        if CHOSEN && self.traffic == Traffic::None {
            return;
        }
        if !forward && self.traffic != Traffic::Mixed || opening && self.is_open() {
            return;
        }
        while !into.is_full() {
            let mut frame = match self.ring.pop_front() {
                Some(frame) => frame,
                // Another worker's ring has it, or it was dropped on its way there.
                None if CHOSEN => RingFrame(Box::new([0; ROOM])),
                None => return,
            };
            let flow = self.flow();
            write(&mut frame.0, flow, forward, opening);
            into.push(frame);
            if opening && self.is_open() {
                return;
            }
        }
    }

    #[inline(always)]
    fn transmit(&mut self, _port: EthPortId, from: &mut ArrayVec<RingFrame, BURST>) {
        self.ring.extend(from.drain(..));
    }

    fn allocate(&mut self, _port: EthPortId) -> Option<RingFrame> {
        None
    }
}
