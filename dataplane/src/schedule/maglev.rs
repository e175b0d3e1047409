//! The table of `mh`: Maglev hashing as Linux 6.1 does it with its default size, so that directors agree on it.

use super::{Candidate, Identity, sip_hash};
use std::net::IpAddr;

/// Slots of the table; a prime.
pub(super) const SLOTS: usize = 4093;
/// Half the table's index bits in the kernel: weights that would take more bits are scaled down.
const TURN_BITS: u32 = 6;
const FIRST_KEY: u64 = 2_654_435_761;
const SECOND_KEY: u64 = 2_654_446_892;

/// Nobody has this bucket.
pub(super) const NOBODY: u32 = u32::MAX;

/// The slot that is looked up for this word.
#[inline(always)]
pub(super) const fn slot(word: u32) -> usize {
    sip_hash::of_word(word, FIRST_KEY) as usize % SLOTS
}

/// An address as `mh` and `sh` hash it: a number, of IPv6 the sum of its four words without carries.
#[inline(always)]
pub(super) fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// Where a real takes its next slot.
struct Walk {
    place: u32,
    next: usize,
    skip: usize,
    /// Slots that it takes in a row.
    turns: u32,
}

/// The place of the real that each slot is of.
///
/// Reals take free slots in turn, each by an order of its own that follows from its address and port. Their last
/// weights above 0 count: a weight of 0 moves nobody else's clients. Reals beyond the slots get none; the kernel
/// refuses a table then.
pub(super) fn table(candidates: &[Candidate], identities: &[Identity]) -> Box<[u32]> {
    let mut table: Box<[u32]> = vec![NOBODY; SLOTS].into();
    let weights = || identities.iter().map(|identity| identity.last_weight).filter(|weight| *weight > 0);
    let divisor = weights().fold(0, super::change::greatest_common_divisor);
    if divisor == 0 {
        return table;
    }
    let most = weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - most.leading_zeros()).saturating_sub(TURN_BITS);
    let walk = |(place, identity): (u32, &Identity)| {
        let word = folded(identity.endpoint.ip()).wrapping_add(u32::from(identity.endpoint.port()));
        Walk {
            place,
            next: slot(word),
            skip: sip_hash::of_word(word, SECOND_KEY) as usize % (SLOTS - 1) + 1,
            turns: ((identity.last_weight / divisor) >> shift).max(1),
        }
    };
    let with_weight = (0..).zip(identities).filter(|(_, identity)| identity.last_weight > 0);
    let mut walks: Vec<Walk> = with_weight.take(candidates.len()).map(walk).collect();
    let mut free = SLOTS;
    loop {
        for walk in &mut walks {
            for _ in 0..walk.turns {
                while table[walk.next] != NOBODY {
                    walk.next = (walk.next + walk.skip) % SLOTS;
                }
                table[walk.next] = walk.place;
                free -= 1;
                if free == 0 {
                    return table;
                }
            }
        }
    }
}
