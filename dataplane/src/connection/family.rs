//! What a connection table has to know of an address family: all else in it is the same for each, and is compiled for
//! each by itself.
//!
//! A key's word has room for a port, a protocol and 32 bits that tell addresses apart. For IPv4 these are the address.
//! A family with longer addresses folds them into 32 bits and keeps the address, the [rest](Family::Rest) of the key,
//! beside the table's buckets, where it is looked at only when the word is the right one.

use super::table::{ClientKey, HashKey};
use crate::names::family::V4;
use crate::names::ids::Protocol;
use std::fmt::Debug;
use std::net::SocketAddr;

/// An address family.
pub trait Family: Copy + Debug + Default + Eq + 'static {
    /// What of a client's address the word of a key has no room for.
    type Rest: Copy + Debug + Default + Eq;
    /// The rests of all entries of a table.
    type Rests: Rests<Self::Rest>;

    /// Buckets for 16 connections of the capacity: so few that they take little memory, so many that few entries lie
    /// away from home.
    const BUCKETS_PER_16_CONNECTIONS: usize;

    /// What the hash of a key is made of: all of the key. Where that is longer, it depends on the secret already.
    fn hashed(key: ClientKey<Self>, secret: HashKey) -> u64;

    /// The key of a client's connections; `None` if it is of another family.
    fn key(client: SocketAddr, protocol: Protocol) -> Option<ClientKey<Self>>;

    /// The client's address and port.
    fn client(key: ClientKey<Self>) -> SocketAddr;
}

/// The rests of all entries, by bucket and way.
pub trait Rests<Rest>: Sized {
    /// Bytes of memory that those of a bucket take.
    const BYTES_OF_BUCKET: usize;

    /// For so many buckets.
    ///
    /// # Errors
    /// If there is not that much memory.
    fn new(buckets: usize, huge: memory::Huge) -> Result<Self, memory::Error>;

    /// Bytes of memory that they take.
    fn bytes(&self) -> usize;

    /// That of an entry.
    fn get(&self, bucket: usize, way: usize) -> Rest;

    /// An entry comes to lie here.
    fn set(&mut self, bucket: usize, way: usize, rest: Rest);

    /// Brings those of a bucket close; has no other effect.
    fn prefetch(&self, bucket: usize);
}

impl Family for V4 {
    type Rest = ();
    type Rests = ();

    /// At 40 bytes a connection, and a load of 0.4.
    const BUCKETS_PER_16_CONNECTIONS: usize = 10;

    #[inline(always)]
    fn hashed(key: ClientKey, _: HashKey) -> u64 {
        key.word()
    }

    fn key(client: SocketAddr, protocol: Protocol) -> Option<ClientKey> {
        Some(ClientKey::new(Self::endpoint_bits(client)?, protocol.number()))
    }

    #[inline(always)]
    fn client(key: ClientKey) -> SocketAddr {
        Self::endpoint(key.endpoint_bits())
    }
}

/// No rests.
impl Rests<()> for () {
    const BYTES_OF_BUCKET: usize = 0;

    fn new(_: usize, _: memory::Huge) -> Result<Self, memory::Error> {
        Ok(())
    }

    fn bytes(&self) -> usize {
        0
    }

    #[inline(always)]
    fn get(&self, _: usize, _: usize) {}

    #[inline(always)]
    fn set(&mut self, _: usize, _: usize, (): ()) {}

    #[inline(always)]
    fn prefetch(&self, _: usize) {}
}
