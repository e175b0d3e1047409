//! Whether clients that differ in few bits still reach every entry of the table.

use super::Unsuitable;

/// Bits in which clients are thought to differ: 8,192 ports or addresses in a row, or a grid of both.
const RUN: usize = 13;

/// Index bits that must be reached in each such case. A zero window leaves the first and the last bits
/// of a field so many.
const LEAST_RANK: usize = RUN / 2;

/// The last bits of an endpoint: the port, and the end of the address, all of it in IPv4. Clients differ in these most
/// often, so runs of them must reach every index bit. In an IPv6 address there are so many other runs that hardly any
/// key had none that misses an index bit: these may miss one, which leaves half of the table.
const LAST: usize = 32 + 16;

/// Keys that are tried before the source of randomness is given up.
const TRIES: usize = 10_000;

/// Draws keys until one spreads.
///
/// # Errors
/// If none of many did, which no random source does.
pub(super) fn draw<K>(mut key: impl FnMut() -> K, spreads: impl Fn(&K) -> bool) -> Result<K, Unsuitable> {
    (0..TRIES).map(|_| key()).find(spreads).ok_or(Unsuitable::Random)
}

/// Whether the table's index takes all values, equally often (for a large table, 2^[`LEAST_RANK`] of
/// them in the last case; before the [`LAST`] bits half of them), over clients that differ
///
/// - in [`RUN`] neighbouring bits,
/// - or in the port while the address moves along with it,
/// - or in one group of an IPv6 address while another moves along with it (2001:db8:7::7, 2001:db8:8::8),
/// - or in the first and last bits of address and port, where a zero window leaves least of the key.
///
/// The index is linear, so this is a question of rank. `adds` is what each bit of the endpoint adds to
/// the index: those of the address, and if ports count, 16 of the port.
pub(super) fn spreads(adds: &[u16], address_bits: usize, index_bits: usize) -> bool {
    let (address, port) = adds.split_at(address_bits);
    // Of a run that begins at this bit.
    let wanted = |bit: usize| if bit + LAST >= adds.len() { index_bits } else { index_bits - 1 };
    let mut runs = adds.windows(RUN).enumerate();
    let neighbours = runs.all(|(bit, run)| rank(run.iter().copied()) >= wanted(bit));
    let along = || {
        let low = &port[port.len() - RUN.min(port.len())..];
        let sums = |run: &[u16]| rank(low.iter().zip(run).map(|(port, address)| port ^ address));
        port.is_empty() || address.windows(RUN).enumerate().all(|(bit, run)| sums(run) >= wanted(bit))
    };
    neighbours
        && along()
        && groups_along(address, index_bits)
        && ends(address, port, index_bits.min(LEAST_RANK))
}

/// Whether all index bits are reached where the last [`RUN`] bits of any two groups of 16 move along with each other.
/// An IPv4 address is not written in such groups.
fn groups_along(address: &[u16], index_bits: usize) -> bool {
    if address.len() <= 32 {
        return true;
    }
    let groups: Vec<_> = address.chunks(16).map(|group| &group[16 - RUN..]).collect();
    let sums = |a: &[u16], b: &[u16]| rank(a.iter().zip(b).map(|(a, b)| a ^ b));
    groups.iter().enumerate().all(|(index, a)| groups[..index].iter().all(|b| sums(a, b) == index_bits))
}

/// Whether any [`RUN`] bits of both ends of both fields reach `least` index bits.
fn ends(address: &[u16], port: &[u16], least: usize) -> bool {
    let of_port = if port.is_empty() { 0 } else { RUN };
    (0..=of_port).all(|port_bits| {
        let address_bits = RUN - port_bits;
        (0..=address_bits).all(|first| {
            let address = both_ends(address, first, address_bits - first);
            (0..=port_bits)
                .all(|first| rank(address.clone().chain(both_ends(port, first, port_bits - first))) >= least)
        })
    })
}

/// The first and the last so many.
fn both_ends(field: &[u16], first: usize, last: usize) -> impl Iterator<Item = u16> + Clone + '_ {
    field[..first].iter().chain(&field[field.len() - last..]).copied()
}

/// The rank of vectors over the field of two elements, by elimination.
fn rank(vectors: impl Iterator<Item = u16>) -> usize {
    let mut basis = [0; u16::BITS as usize];
    for mut vector in vectors {
        while vector != 0 {
            let pivot = &mut basis[vector.ilog2() as usize];
            if *pivot == 0 {
                *pivot = vector;
                break;
            }
            vector ^= *pivot;
        }
    }
    basis.iter().filter(|vector| **vector != 0).count()
}
