//! IPv6 in a connection table. A key's word has the address's four words exclusive-ored in the place of an IPv4
//! address. The address itself, which alone tells entries apart for certain, lies in a second array beside the buckets:
//! a cache line for each bucket, which is read only where the word is the right one.

use super::family::{Family, Rests};
use super::table::{ClientKey, HashKey, WAYS, multiply_and_fold};
use crate::names::family::V6;
use crate::names::ids::Protocol;
use memory::{Huge, HugeSlice};
use std::net::SocketAddr;

/// What the address's upper half is multiplied by besides the secret: any odd constant, so that the halves are not
/// treated alike.
const UPPER: u64 = 0xa076_1d64_78bd_642f;

impl Family for V6 {
    /// The address as it lies on the wire, first byte lowest.
    type Rest = u128;
    type Rests = Addresses;

    /// At 72 bytes a connection, with the addresses.
    const BUCKETS_PER_16_CONNECTIONS: usize = 9;

    /// Both halves of the address go through a multiplication that depends on the secret, so that nobody can pick
    /// addresses that share a bucket.
    #[inline(always)]
    fn hashed(key: ClientKey<Self>, secret: HashKey) -> u64 {
        let (lower, upper) = (key.rest() as u64, (key.rest() >> 64) as u64);
        key.word() ^ multiply_and_fold(lower ^ secret.mask, upper ^ secret.multiplier ^ UPPER)
    }

    fn key(client: SocketAddr, protocol: Protocol) -> Option<ClientKey<Self>> {
        let SocketAddr::V6(client) = client else { return None };
        let address = u128::from_le_bytes(client.ip().octets());
        let port = u16::from_le_bytes(client.port().to_be_bytes());
        Some(ClientKey::of_address(address, port, protocol.number()))
    }

    #[inline(always)]
    fn client(key: ClientKey<Self>) -> SocketAddr {
        let [p, q] = ((key.endpoint_bits() >> 32) as u16).to_le_bytes();
        SocketAddr::new(key.rest().to_le_bytes().into(), u16::from_be_bytes([p, q]))
    }
}

impl ClientKey<V6> {
    /// Of a client's address and port, both as they lie on the wire, first byte lowest.
    #[inline(always)]
    pub const fn of_address(address: u128, port: u16, protocol_number: u8) -> Self {
        Self::with_rest(V6::folded(address) as u64 | (port as u64) << 32, protocol_number, address)
    }
}

/// The addresses of all entries.
#[derive(Debug)]
pub struct Addresses(HugeSlice<[u128; WAYS]>);

impl Rests<u128> for Addresses {
    const BYTES_OF_BUCKET: usize = size_of::<[u128; WAYS]>();

    fn new(buckets: usize, huge: Huge) -> Result<Self, memory::Error> {
        let mut addresses = HugeSlice::zeroed(buckets, huge)?;
        addresses.populate()?;
        Ok(Self(addresses))
    }

    fn bytes(&self) -> usize {
        self.0.memory()
    }

    #[inline(always)]
    fn get(&self, bucket: usize, way: usize) -> u128 {
        self.0[bucket][way % WAYS]
    }

    #[inline(always)]
    fn set(&mut self, bucket: usize, way: usize, rest: u128) {
        self.0[bucket][way % WAYS] = rest;
    }

    #[inline(always)]
    fn prefetch(&self, bucket: usize) {
        self.0.prefetch(bucket);
    }
}
