//! IPv6 in a connection table. A key's word has the address's four words exclusive-ored in the place of an IPv4
//! address. The address itself, which alone tells entries apart for certain, lies in a second cache line beside each
//! bucket, which is read only where the word is the right one.

use super::family::{Family, Line};
use super::table::{Bucket, ClientKey, HashKey, WAYS, multiply_and_fold};
use crate::names::family::V6;
use crate::names::ids::Protocol;
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

/// What the address's upper half is multiplied by besides the secret: any odd constant, so that the halves are not
/// treated alike.
const UPPER: u64 = 0xa076_1d64_78bd_642f;

impl Family for V6 {
    /// The address as it lies on the wire, first byte lowest.
    type Rest = u128;
    type Line = Wide;

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

/// A bucket, and beside it the addresses of its entries' keys. As two arrays, at a million connections a packet cost
/// twice as many page walks.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(128))]
pub struct Wide {
    bucket: Bucket,
    addresses: [u128; WAYS],
}

/// Where the addresses begin, in words.
const ADDRESSES: usize = size_of::<Bucket>() / size_of::<u64>();

impl Deref for Wide {
    type Target = Bucket;
    #[inline(always)]
    fn deref(&self) -> &Bucket {
        &self.bucket
    }
}

impl DerefMut for Wide {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Bucket {
        &mut self.bucket
    }
}

impl Line<u128> for Wide {
    #[inline(always)]
    fn rest(&self, way: usize) -> u128 {
        self.addresses[way % WAYS]
    }

    #[inline(always)]
    fn set_rest(&mut self, way: usize, rest: u128) {
        self.addresses[way % WAYS] = rest;
    }

    #[inline(always)]
    fn entry_in(words: &[Cell<u64>], at: usize) -> Option<(u64, u64, u128)> {
        // One comparison tells that all of the line is there.
        let line: &[Cell<u64>; Self::WORDS] = words.get(at / Self::WORDS * Self::WORDS..)?.first_chunk()?;
        let way = at % WAYS;
        let half = |half: usize| u128::from(line[ADDRESSES + 2 * way + half].get());
        Some((line[way].get(), line[WAYS + way].get(), half(0) | half(1) << 64))
    }
}
