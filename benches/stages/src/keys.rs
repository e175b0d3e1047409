//! What flows are looked up by, in every table.

use bytemuck::{Pod, Zeroable};
use dataplane::connection::table::ClientKey;
use dataplane::translation::{Fields, endpoint_bits};
use std::net::SocketAddrV4;
use traffic::flows::{VIP, client, is_tcp, service_port};

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

    /// The key's fields as they lie in a packet.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_has_a_key_of_its_own() {
        let keys: std::collections::HashSet<Key> = (0..150_000).map(Key::of).collect();
        assert_eq!(keys.len(), 150_000);
    }
}
