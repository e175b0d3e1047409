//! A buffer as large as an mbuf, and the frame of a flow written into it.

use crate::flows::{OF_IPV6, REAL, REAL_V6, VIP, VIP_V6, client, client_v6, is_tcp, service_port};
use crate::world::{DIP_MAC, VIP_MAC};
use dataplane::frame::{Frame, HEAD};
use dataplane::names::direction::Direction;
use dataplane::wire::checksum;

/// Ethernet, IPv4 or IPv6, then TCP or UDP, without the frame check sequence: the shortest TCP segment over IPv6.
const LENGTH: usize = 74;
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
    /// Writes a flow's packet: from its client to the VIP, or the reply of [`REAL`]; TCP with these
    /// `flags`. The header's checksum is right, that of TCP or UDP any: the packet path
    /// updates it by what changes.
    #[inline(always)]
    pub fn write(&mut self, flow: u32, direction: Direction, flags: u8) {
        if flow >= OF_IPV6 {
            return self.write_v6(flow - OF_IPV6, direction, flags);
        }
        self.write_unsealed(flow, direction, flags);
        self.seal();
    }

    /// Writes a flow's packet as [`write`](Self::write) does, but leaves the checksum of its header zero: of an
    /// established connection's packet nobody looks at it.
    #[inline(always)]
    pub fn write_unsealed(&mut self, flow: u32, direction: Direction, flags: u8) {
        let is_tcp = is_tcp(flow);
        let near = client(flow);
        let bytes = &mut self.0[..HEAD];
        bytes[6..12].fill(2);
        bytes[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 60, 0, 1, 0, 0, 64, if is_tcp { 6 } else { 17 }]);
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
        bytes[38..50].copy_from_slice(&[0, 40, 0x12, 0x34, 0, 0, 0, 0, 0x50, flags, 1, 0]);
    }

    #[inline(never)]
    fn write_v6(&mut self, flow: u32, direction: Direction, flags: u8) {
        let (near, port) = (client_v6(flow), client(flow).port());
        let (mac, source, destination, ports) = match direction {
            Direction::Forward => (VIP_MAC, near, VIP_V6, [port, service_port(flow)]),
            Direction::Reverse => (DIP_MAC, REAL_V6, near, [service_port(flow), port]),
        };
        let next_header = if is_tcp(flow) { 6 } else { 17 };
        let bytes = &mut self.0[..LENGTH];
        bytes[..6].copy_from_slice(&mac.0);
        bytes[6..12].fill(2);
        bytes[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, next_header, 64]);
        bytes[22..38].copy_from_slice(&source.octets());
        bytes[38..54].copy_from_slice(&destination.octets());
        bytes[54..56].copy_from_slice(&ports[0].to_be_bytes());
        bytes[56..58].copy_from_slice(&ports[1].to_be_bytes());
        bytes[58..70].copy_from_slice(&[0, 20, 0x12, 0x34, 0, 0, 0, 0, 0x50, flags, 1, 0]);
    }

    /// Makes the checksum of the IPv4 header right, where it was zero.
    #[inline(always)]
    pub fn seal(&mut self) {
        let check = !checksum::sum(&self.0[14..34]);
        checksum::write(&mut self.0[..HEAD], 24, check);
    }
}
