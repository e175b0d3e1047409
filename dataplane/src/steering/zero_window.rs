//! Hash keys under which a NIC's RSS sees the client's fields alone.
//!
//! The Toeplitz hash adds up, for each bit `i` of the input that is set, bits `i` to `i + 31` of the
//! key. A table of 2^L entries is indexed by the hash's low L bits, so of that window only the last L
//! key bits count: `i + 32 - L` to `i + 31`. Clear these for every input bit that is to have no
//! influence, and it has none. What is left in a key is a pattern for the address and one for the port:
//!
//! ```text
//! input    source address    destination address   source port    destination port     (IPv4: 32 32 16 16)
//! vip key  0 address pattern 0 0 0 0 0 0 0 0 0 0 0 0 port pattern 0 0 0 0 0 0 0 0 0
//! dip key  0 0 0 0 0 0 0 0 0 0 address pattern 0 0 0 0 0 0 0 0 0 0 0 0 port pattern
//! ```
//!
//! Both keys hold the same patterns, so a client gets the same hash as a source and as a destination.
//! In a pattern, whose first bit is the first that counts for the field's first bit, the bits before
//! L - 1 stay clear for the field in front of it, and those from the field's width on for the one
//! behind it. That leaves 33 - L bits for an IPv4 address and 17 - L for a port.
//!
//! The windows of IPv4 fields clear those of IPv6 fields, so a key is for one family.

use super::spreading::{draw, spreads};
use super::{ClientBits, Indirection, OwnerMap, Unsuitable};

/// What tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// Their addresses.
    Addresses,
    /// Their addresses and ports.
    AddressesAndPorts,
}

/// Whose addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Of 32 bits.
    V4,
    /// Of 128 bits.
    V6,
}

impl Family {
    /// Where the client is in packets from clients.
    pub const fn source(self) -> ClientBits {
        match self {
            Self::V4 => ClientBits::SOURCE,
            Self::V6 => ClientBits::SOURCE_V6,
        }
    }

    /// Where the client is in packets from reals.
    pub const fn destination(self) -> ClientBits {
        match self {
            Self::V4 => ClientBits::DESTINATION,
            Self::V6 => ClientBits::DESTINATION_V6,
        }
    }

    /// Where the client is if a NIC hashes its fields alone.
    pub const fn alone(self) -> ClientBits {
        match self {
            Self::V4 => ClientBits::ALONE,
            Self::V6 => ClientBits::ALONE_V6,
        }
    }

    /// Bits of an address.
    pub const fn address_bits(self) -> usize {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// Bits of a port.
const PORT_BITS: usize = 16;

/// The patterns of a pair of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ZeroWindow {
    family: Family,
    /// Bit `n` is the pattern's bit `n`.
    address: u128,
    port: u128,
    /// L.
    index_bits: usize,
}

impl ZeroWindow {
    /// Patterns for tables of the size of `table`, their free bits `random`.
    ///
    /// Over all bits of a field the rank is full unless its pattern is all zero, but a pattern can still
    /// be poor: clear at an end, or alike for address and port. Such are thrown away.
    ///
    /// # Errors
    /// If `random` is not random.
    pub fn random(
        family: Family,
        hashed: Hashed,
        table: &Indirection,
        mut random: impl FnMut() -> u64,
    ) -> Result<Self, Unsuitable> {
        let index_bits = table.bits() as usize;
        let mut pattern = |field_bits: usize| {
            let free = u128::MAX >> (128 - field_bits) & u128::MAX << (index_bits - 1);
            (u128::from(random()) << 64 | u128::from(random())) & free
        };
        let patterns = || {
            let address = pattern(family.address_bits());
            let port = if hashed == Hashed::Addresses { 0 } else { pattern(PORT_BITS) };
            Self { family, address, port, index_bits }
        };
        let bits = family.address_bits() + if hashed == Hashed::Addresses { 0 } else { PORT_BITS };
        draw(patterns, |drawn| {
            let adds: Vec<_> = (0..bits).map(|bit| drawn.adds(bit, family.address_bits())).collect();
            spreads(&adds, family.address_bits(), index_bits)
        })
    }

    /// What a bit of the endpoint adds to the index.
    fn adds(&self, bit: usize, address_bits: usize) -> u16 {
        let (pattern, bit) =
            if bit < address_bits { (self.address, bit) } else { (self.port, bit - address_bits) };
        (bit..bit + self.index_bits).fold(0, |sum, at| {
            let set = at < u128::BITS as usize && pattern >> at & 1 == 1;
            sum << 1 | u16::from(set)
        })
    }

    /// The key, of `length` bytes (40; 52 for ice and i40e), for a port on which the client's fields lie
    /// at `client`. Whether the NIC hashes ports has no influence if `client` has none, and none on
    /// patterns for addresses alone.
    ///
    /// # Errors
    /// If the key is too short.
    pub fn key(&self, client: ClientBits, length: usize) -> Result<Vec<u8>, Unsuitable> {
        let mut key = vec![0; length];
        let port = client.port.map(|at| (at, self.port));
        for (at, pattern) in [(client.address, self.address)].into_iter().chain(port) {
            for bit in (0..u128::BITS as usize).filter(|bit| pattern >> bit & 1 == 1) {
                let position = at + 32 - self.index_bits + bit;
                let byte = key.get_mut(position / 8).ok_or(Unsuitable::KeyLength(length))?;
                *byte |= 0x80 >> (position % 8);
            }
        }
        Ok(key)
    }

    /// The map that NICs with these keys and the table of `map` follow; `map` itself for the other family, whose
    /// clients no NIC tells apart by them. The table may be smaller than the one that the patterns were made for.
    ///
    /// # Errors
    /// If the table is larger.
    pub fn owner_map(&self, map: OwnerMap) -> Result<OwnerMap, Unsuitable> {
        let table = map.indirection();
        if table.bits() as usize > self.index_bits {
            return Err(Unsuitable::Table(table.entries()));
        }
        let client = self.family.source();
        map.with_key(self.family, &self.key(client, 40)?, client)
    }
}

/// Says nothing of the patterns, which are a secret.
impl std::fmt::Debug for ZeroWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZeroWindow").field("index_bits", &self.index_bits).finish_non_exhaustive()
    }
}
