//! What a connection table has to know of an address family: all else in it is the same for each, and is compiled for
//! each by itself.
//!
//! A key's word has room for a port, a protocol and 32 bits that tell addresses apart. For IPv4 these are the address.
//! A family with longer addresses folds them into 32 bits and keeps the address, the [rest](Family::Rest) of the key,
//! beside its bucket, where it is looked at only when the word is the right one.

use super::table::{Bucket, ClientKey, HashKey, WAYS};
use crate::names::family::V4;
use crate::names::ids::Protocol;
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

/// An address family.
pub trait Family: Copy + Debug + Default + Eq + 'static {
    /// What of a client's address the word of a key has no room for.
    type Rest: Copy + Debug + Default + Eq;
    /// A bucket with what of its entries' keys the words have no room for.
    type Line: Line<Self::Rest>;

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

/// A bucket of a table together with the [rests](Family::Rest) of its entries' keys: whole cache lines, side by side,
/// so that one look-up in the page tables is enough for both.
pub trait Line<Rest>: Pod + Debug + Deref<Target = Bucket> + DerefMut {
    /// Words of it, of which the bucket comes first.
    const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// The rest of an entry's key, by way.
    fn rest(&self, way: usize) -> Rest;

    /// An entry comes to lie here.
    fn set_rest(&mut self, way: usize, rest: Rest);

    /// Key, value and rest of the entry whose key is the word at `at`, of all the words of a table; `None`: there is no
    /// such word.
    fn entry_in(words: &[Cell<u64>], at: usize) -> Option<(u64, u64, Rest)>;
}

/// A bucket alone.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(transparent)]
pub struct Narrow(Bucket);

impl Deref for Narrow {
    type Target = Bucket;
    #[inline(always)]
    fn deref(&self) -> &Bucket {
        &self.0
    }
}

impl DerefMut for Narrow {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Bucket {
        &mut self.0
    }
}

impl Line<()> for Narrow {
    #[inline(always)]
    fn rest(&self, _: usize) {}

    #[inline(always)]
    fn set_rest(&mut self, _: usize, (): ()) {}

    #[inline(always)]
    fn entry_in(words: &[Cell<u64>], at: usize) -> Option<(u64, u64, ())> {
        // Of as many keys as values, so that one comparison tells that both are there.
        let values = words.get(WAYS..)?;
        let keys = &words[..values.len()];
        Some((keys.get(at)?.get(), values.get(at)?.get(), ()))
    }
}

impl Family for V4 {
    type Rest = ();
    type Line = Narrow;

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
