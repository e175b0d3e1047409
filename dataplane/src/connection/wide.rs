//! A family for tests, with addresses of 128 bits. The words of its keys are often equal: the rests, stored beside the
//! buckets, tell its entries apart.

use super::family::{Family, Rests};
use super::table::{ClientKey, WAYS};
use crate::names::ids::Protocol;
use memory::Huge;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wide;

impl Wide {
    /// The key of a client's connections.
    pub(crate) fn key_of(address: Ipv6Addr, port: u16, protocol_number: u8) -> ClientKey<Self> {
        // Two bits of the address alone: a fold that could not be worse.
        let folded = u64::from(address.to_bits() as u8 & 3) | u64::from(port.swap_bytes()) << 32;
        ClientKey::with_rest(folded, protocol_number, address.to_bits())
    }
}

impl Family for Wide {
    type Rest = u128;
    type Rests = Vec<[u128; WAYS]>;

    fn hashed(key: ClientKey<Self>) -> u64 {
        key.word() ^ (key.rest() as u64) ^ (key.rest() >> 64) as u64
    }

    fn key(client: SocketAddr, protocol: Protocol) -> Option<ClientKey<Self>> {
        let IpAddr::V6(address) = client.ip() else { return None };
        Some(Self::key_of(address, client.port(), protocol.number()))
    }

    fn client(key: ClientKey<Self>) -> SocketAddr {
        let port = ((key.endpoint_bits() >> 32) as u16).swap_bytes();
        SocketAddr::new(Ipv6Addr::from_bits(key.rest()).into(), port)
    }
}

impl Rests<u128> for Vec<[u128; WAYS]> {
    fn new(buckets: usize, _: Huge) -> Result<Self, memory::Error> {
        Ok(vec![[0; WAYS]; buckets])
    }
    fn get(&self, bucket: usize, way: usize) -> u128 {
        self[bucket][way]
    }
    fn set(&mut self, bucket: usize, way: usize, rest: u128) {
        self[bucket][way] = rest;
    }
    fn prefetch(&self, bucket: usize) {
        memory::prefetch_in(self, bucket);
    }
}
