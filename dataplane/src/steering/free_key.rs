//! A hash key without any restriction, for ports where a NIC hashes the client's fields alone
//! (source-only and destination-only RSS).

use super::owner::low_bits_of_window;
use super::spreading::{draw, spreads};
use super::{Family, Indirection, Unsuitable};

/// A random key, of 52 bytes (of which a NIC may take the first 40), for
/// [`OwnerMap::with_key`](super::OwnerMap::with_key) with [`Family::alone`] and this table, for both families at once.
/// It is harder to guess than a [`ZeroWindow`](super::ZeroWindow): 47 + L bits of it count, and for IPv6 143 + L.
///
/// # Errors
/// If `random` is not random.
pub fn free_key(table: &Indirection, mut random: impl FnMut() -> u64) -> Result<[u8; 52], Unsuitable> {
    let index_bits = table.bits() as usize;
    let bytes = || {
        let mut key = [0; 52];
        key.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random().to_le_bytes()[..chunk.len()]));
        key
    };
    draw(bytes, |key| {
        [Family::V4, Family::V6].into_iter().all(|family| {
            let bits = family.address_bits() + 16;
            let adds = |bit| low_bits_of_window(key, family.alone().address + bit, index_bits).unwrap_or(0);
            spreads(&(0..bits).map(adds).collect::<Vec<_>>(), family.address_bits(), index_bits)
        })
    })
}
