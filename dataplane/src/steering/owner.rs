//! From a client's endpoint to the worker that owns its connections.

use super::spreading::{draw, spreads};
use super::{Family, Indirection, Unsuitable};

/// Bytes of an IPv4 client's endpoint.
const BYTES_V4: usize = 4 + PORT_BYTES;
/// Bytes of an IPv6 client's endpoint.
const BYTES_V6: usize = 16 + PORT_BYTES;
/// Bytes of a port.
const PORT_BYTES: usize = 2;

/// Where the client's fields lie in what is hashed, in bits from its beginning. RSS hashes source
/// address, destination address, source port, destination port, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientBits {
    /// The address.
    pub address: usize,
    /// The port; `None` where ports are not hashed.
    pub port: Option<usize>,
}

impl ClientBits {
    /// From clients: the client is the source.
    pub const SOURCE: Self = Self { address: 0, port: Some(64) };
    /// From reals: the client is the destination.
    pub const DESTINATION: Self = Self { address: 32, port: Some(80) };
    /// From IPv6 clients.
    pub const SOURCE_V6: Self = Self { address: 0, port: Some(256) };
    /// To IPv6 clients.
    pub const DESTINATION_V6: Self = Self { address: 128, port: Some(272) };
    /// Where the NIC hashes the client's fields alone, one behind the other.
    pub const ALONE: Self = Self { address: 0, port: Some(32) };
    /// Likewise of IPv6 clients.
    pub const ALONE_V6: Self = Self { address: 0, port: Some(128) };

    /// These bits without those of ports.
    #[must_use]
    pub const fn without_port(self) -> Self {
        Self { port: None, ..self }
    }
}

/// The one owner map, for every way to steer packets, on every port, in both directions.
///
/// For each address family it is a Toeplitz hash (Microsoft, "RSS hashing functions") of the client's endpoint, all of
/// its address included, or where no NIC computes it another linear one; and for both an indirection table. As the hash
/// is linear, its low bits are the exclusive-or of a value for each of the endpoint's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerMap {
    v4: Parts<BYTES_V4>,
    v6: Parts<BYTES_V6>,
    indirection: Indirection,
}

/// For each byte of an endpoint, what its value adds to the table's index.
#[derive(Clone, PartialEq, Eq)]
struct Parts<const BYTES: usize>([[u16; 256]; BYTES]);

impl OwnerMap {
    /// One worker owns everything.
    pub const fn single() -> Self {
        Self { v4: Parts::NONE, v6: Parts::NONE, indirection: Indirection::single() }
    }

    /// A map for software alone, of which 48 L bits are secret, and of IPv6 144 L: what each bit of the endpoint adds
    /// is drawn for itself, while in a key neighbours share all but one bit.
    ///
    /// # Errors
    /// If `random` is not random.
    pub fn random(indirection: Indirection, mut random: impl FnMut() -> u64) -> Result<Self, Unsuitable> {
        let v4 = Parts::random(&indirection, &mut random)?;
        let v6 = Parts::random(&indirection, &mut random)?;
        Ok(Self { v4, v6, indirection })
    }

    /// This map, but for one family that of a NIC with this hash `key` (bytes, as given to it) and table, if it hashes
    /// all fields and everything but the client's at `client` has no influence.
    ///
    /// # Errors
    /// If the key is too short.
    pub fn with_key(mut self, family: Family, key: &[u8], client: ClientBits) -> Result<Self, Unsuitable> {
        match family {
            Family::V4 => self.v4 = Parts::of_key(key, client, &self.indirection)?,
            Family::V6 => self.v6 = Parts::of_key(key, client, &self.indirection)?,
        }
        Ok(self)
    }

    /// The worker that owns the connections of an IPv4 client: its address and port, 48 bits in the order of
    /// the wire, the first byte lowest (as [`endpoint_bits`](crate::translation::endpoint_bits)).
    #[inline(always)]
    pub fn owner(&self, client: u64) -> usize {
        self.indirection.worker(u32::from(self.v4.index(&client.to_le_bytes()[..BYTES_V4])))
    }

    /// The worker that owns the connections of an IPv6 client: its address and its port, each in the order of the wire,
    /// the first byte lowest.
    #[inline(always)]
    pub fn owner_v6(&self, address: u128, port: u16) -> usize {
        let mut bytes = [0; BYTES_V6];
        bytes[..16].copy_from_slice(&address.to_le_bytes());
        bytes[16..].copy_from_slice(&port.to_le_bytes());
        self.indirection.worker(u32::from(self.v6.index(&bytes)))
    }

    /// How many workers there are.
    pub const fn workers(&self) -> usize {
        self.indirection.workers()
    }

    /// Its table.
    pub const fn indirection(&self) -> &Indirection {
        &self.indirection
    }
}

impl<const BYTES: usize> Parts<BYTES> {
    /// Nothing adds anything.
    const NONE: Self = Self([[0; 256]; BYTES]);
    /// Bits of a client's address.
    const ADDRESS_BITS: usize = (BYTES - PORT_BYTES) * 8;

    /// See [`OwnerMap::with_key`].
    fn of_key(key: &[u8], client: ClientBits, table: &Indirection) -> Result<Self, Unsuitable> {
        let adds = (0..BYTES * 8).map(|bit| {
            let field = match client.port {
                _ if bit < Self::ADDRESS_BITS => client.address + bit,
                Some(port) => port + bit - Self::ADDRESS_BITS,
                None => return Some(0),
            };
            low_bits_of_window(key, field, table.bits() as usize)
        });
        let adds: Option<Vec<_>> = adds.collect();
        adds.map(|adds| Self::from_adds(&adds)).ok_or(Unsuitable::KeyLength(key.len()))
    }

    /// See [`OwnerMap::random`].
    fn random(table: &Indirection, mut random: impl FnMut() -> u64) -> Result<Self, Unsuitable> {
        let last = (table.entries() - 1) as u16;
        // The upper bits: those of simple generators, as tests have them, are random sooner than the lower ones.
        let adds = || (0..BYTES * 8).map(|_| (random() >> 48) as u16 & last).collect::<Vec<_>>();
        let adds = draw(adds, |adds| spreads(adds, Self::ADDRESS_BITS, table.bits() as usize))?;
        Ok(Self::from_adds(&adds))
    }

    /// From what each bit of the endpoint, in the order of the wire, adds to the table's index.
    fn from_adds(adds: &[u16]) -> Self {
        let mut parts = Self::NONE;
        for (part, adds) in parts.0.iter_mut().zip(adds.chunks(8)) {
            for (value, sum) in part.iter_mut().enumerate() {
                let set = (0..8).filter(|bit| value & (0x80 >> bit) != 0);
                *sum = set.fold(0, |sum, bit| sum ^ adds[bit]);
            }
        }
        parts
    }

    /// The table's index for a client: the low bits of its hash.
    #[inline(always)]
    fn index(&self, endpoint: &[u8]) -> u16 {
        self.0.iter().zip(endpoint).fold(0, |sum, (part, byte)| sum ^ part[usize::from(*byte)])
    }
}

/// What one bit of the input at `bit` adds to the hash: the 32 bits of the key from there on; the low
/// `width` of them.
pub(super) fn low_bits_of_window(key: &[u8], bit: usize, width: usize) -> Option<u16> {
    let positions = bit + 32 - width..bit + 32;
    let mut low = 0;
    for position in positions {
        let byte = key.get(position / 8)?;
        low = low << 1 | u16::from(byte >> (7 - position % 8) & 1);
    }
    Some(low)
}

impl std::fmt::Debug for OwnerMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnerMap").field("indirection", &self.indirection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
