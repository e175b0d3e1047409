//! From a client's endpoint to the worker that owns its connections.

use super::spreading::{draw, spreads};
use super::{Indirection, Unsuitable};

/// Bits of a client's address.
const ADDRESS_BITS: usize = 32;
/// Bytes of a client's endpoint.
const ENDPOINT_BYTES: usize = 6;
/// Bits of a client's endpoint.
const ENDPOINT_BITS: usize = ENDPOINT_BYTES * 8;

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

    /// These bits without those of ports.
    #[must_use]
    pub const fn without_port(self) -> Self {
        Self { port: None, ..self }
    }
}

/// The one owner map, for every way to steer packets, on every port, in both directions.
///
/// It is a Toeplitz hash (Microsoft, "RSS hashing functions") of the client's endpoint, or where no NIC
/// computes it another linear one, and an indirection table. As the hash is linear, its low bits are the exclusive-or
/// of a value for each of the endpoint's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerMap {
    /// For each byte of the endpoint, what its value adds to the table's index.
    parts: [[u16; 256]; ENDPOINT_BYTES],
    indirection: Indirection,
}

impl OwnerMap {
    /// One worker owns everything.
    pub const fn single() -> Self {
        Self { parts: [[0; 256]; ENDPOINT_BYTES], indirection: Indirection::single() }
    }

    /// The map of a NIC with this hash `key` (bytes, as given to it) and table, if it hashes all fields
    /// and everything but the client's at `client` has no influence.
    ///
    /// # Errors
    /// If the key is too short.
    pub fn from_key(key: &[u8], client: ClientBits, indirection: Indirection) -> Result<Self, Unsuitable> {
        let width = indirection.bits() as usize;
        let mut adds = [0; ENDPOINT_BITS];
        for (bit, adds) in adds.iter_mut().enumerate() {
            let field = match (bit < ADDRESS_BITS, client.port) {
                (true, _) => client.address + bit,
                (false, Some(port)) => port + bit - ADDRESS_BITS,
                (false, None) => continue,
            };
            *adds = low_bits_of_window(key, field, width).ok_or(Unsuitable::KeyLength(key.len()))?;
        }
        Ok(Self::from_adds(&adds, indirection))
    }

    /// A map for software alone, of which 48 L bits are secret: what each bit of the endpoint adds is
    /// drawn for itself, while in a key neighbours share all but one bit.
    ///
    /// # Errors
    /// If `random` is not random.
    pub fn random(indirection: Indirection, mut random: impl FnMut() -> u64) -> Result<Self, Unsuitable> {
        let last = (indirection.entries() - 1) as u16;
        let adds = || std::array::from_fn::<_, ENDPOINT_BITS, _>(|_| random() as u16 & last);
        let adds = draw(adds, |adds| spreads(adds, ADDRESS_BITS, indirection.bits() as usize))?;
        Ok(Self::from_adds(&adds, indirection))
    }

    /// From what each bit of the endpoint, in the order of the wire, adds to the table's index.
    fn from_adds(adds: &[u16; ENDPOINT_BITS], indirection: Indirection) -> Self {
        let mut parts = [[0; 256]; ENDPOINT_BYTES];
        for (part, adds) in parts.iter_mut().zip(adds.chunks(8)) {
            for (value, sum) in part.iter_mut().enumerate() {
                let set = (0..8).filter(|bit| value & (0x80 >> bit) != 0);
                *sum = set.fold(0, |sum, bit| sum ^ adds[bit]);
            }
        }
        Self { parts, indirection }
    }

    /// The worker that owns the connections of a client: its address and port, 48 bits in the order of
    /// the wire, the first byte lowest (as [`endpoint_bits`](crate::translation::endpoint_bits)).
    #[inline(always)]
    pub fn owner(&self, client: u64) -> usize {
        self.indirection.worker(u32::from(self.index(client)))
    }

    /// The table's index for a client: the low bits of its hash.
    #[inline(always)]
    fn index(&self, client: u64) -> u16 {
        let bytes = client.to_le_bytes();
        self.parts.iter().zip(bytes).fold(0, |sum, (part, byte)| sum ^ part[usize::from(byte)])
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
