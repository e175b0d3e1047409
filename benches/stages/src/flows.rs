//! Flows by number: every second one is TCP, each has a client endpoint of its own.

use crate::world::{TCP_PORT, UDP_PORT, VIP};
use bytemuck::{Pod, Zeroable};
use dataplane::connection::table::ClientKey;
use dataplane::translation::{Fields, endpoint_bits};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Whether the flow is TCP.
pub const fn is_tcp(flow: u32) -> bool {
    flow % 2 == 1
}

/// The client's address and port.
pub fn client(flow: u32) -> SocketAddrV4 {
    let address = 0x1000_0000 + flow / 2 / 50_000;
    SocketAddrV4::new(Ipv4Addr::from(address), 1024 + (flow / 2 % 50_000) as u16)
}

/// The port of the flow's service.
pub const fn service_port(flow: u32) -> u16 {
    if is_tcp(flow) { TCP_PORT } else { UDP_PORT }
}

/// What a flow's packet from its client is looked up by: 16 bytes for every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Key {
    /// Client endpoint as 48 bits in the order of the wire, then the protocol number.
    pub near: u64,
    /// The endpoint of the service, likewise.
    pub far: u64,
}

impl Key {
    /// Of a flow.
    pub fn of(flow: u32) -> Self {
        let protocol: u64 = if is_tcp(flow) { 6 } else { 17 };
        let listen = SocketAddrV4::new(VIP, service_port(flow));
        Self { near: endpoint_bits(client(flow)) | protocol << 48, far: endpoint_bits(listen) }
    }

    /// The same as they lie in a packet.
    #[inline(always)]
    pub fn fields(self) -> Fields {
        const NONE: u8 = 0x80;
        let order = [NONE, 6, NONE, NONE, 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13];
        Fields::from_words([self.near, self.far]).shuffled(order)
    }

    /// The key of natlb's table: the same bits.
    #[inline(always)]
    pub const fn client(self) -> ClientKey {
        ClientKey::new(self.near, 0)
    }
}

/// Random numbers (xorshift64*), the same in each run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    /// The next one below `limit`, with nearly equal chances.
    pub const fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((random * limit as u64) >> 32) as u32
    }
}

/// The flows below `count`, each once, in random order.
pub fn shuffled(count: u32) -> Vec<u32> {
    let mut random = Random::default();
    let mut flows: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        flows.swap(last as usize, random.below(last + 1) as usize);
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_order_has_each_flow_once_and_every_flow_a_key_of_its_own() {
        let mut flows = shuffled(150_000);
        assert!(flows.iter().zip(1..).filter(|(flow, next)| **flow + 1 == *next).count() < 10);
        flows.sort_unstable();
        assert!(flows.iter().copied().eq(0..150_000));
        let keys: std::collections::HashSet<Key> = flows.iter().map(|flow| Key::of(*flow)).collect();
        assert_eq!(keys.len(), flows.len());
    }
}
