//! The algorithms by which a client, or a destination, has its real: `sh`, `mh`, `dh`.
//!
//! The tables are made with the snapshot, and all workers read the same. No position is kept.

use super::flags::Flags;
use super::listed::Listed;
use super::maglev::{self, NOBODY, SLOTS, folded};
use super::{Algorithm, Options};
use crate::live::reals::Reals;
use crate::names::ids::RealId;
use std::net::SocketAddr;

/// Buckets of `sh` and `dh`.
const BUCKETS: usize = 256;

/// A service's reals, and which of them has which hash.
#[derive(Debug)]
pub struct Hashed {
    pub(super) listed: Listed,
    flags: Flags,
    /// Places of reals, or [`NOBODY`].
    buckets: Box<[u32]>,
}

impl Hashed {
    pub(super) fn new(listed: Listed, options: &Options) -> Self {
        let candidates = &listed.candidates;
        let buckets = match listed.algorithm {
            Algorithm::MaglevHashing => {
                let (reals, identities) = (candidates.len(), options.identities.len());
                assert_eq!(reals, identities, "mh hashes the addresses of its {reals} reals");
                maglev::table(candidates, &options.identities)
            }
            Algorithm::SourceHashing => {
                in_a_row(candidates.iter().map(|candidate| candidate.weight.max(1) as usize))
            }
            _ => in_a_row(candidates.iter().map(|_| 1)),
        };
        Self { flags: options.flags, buckets, listed }
    }

    /// The real of this client, or of the destination, which is asked for where it counts. `None` if it takes no
    /// connection and there is no fallback.
    #[inline(always)]
    pub fn pick(
        &self,
        client: SocketAddr,
        destination: impl FnOnce() -> Option<SocketAddr>,
        live: &Reals,
    ) -> Option<RealId> {
        let port = |port| if self.flags.has(Flags::PORT) { u32::from(port) } else { 0 };
        let word = match self.listed.algorithm {
            Algorithm::DestinationHashing => folded(destination()?.ip()),
            _ => folded(client.ip()).wrapping_add(port(client.port())),
        };
        let first = self.bucket(word, 0);
        self.usable(first, live).ok().or_else(|| self.fall_back(word, first, live))
    }

    /// What the kernel tries instead, in its order.
    #[cold]
    #[inline(never)]
    fn fall_back(&self, word: u32, first: usize, live: &Reals) -> Option<RealId> {
        if self.listed.algorithm == Algorithm::DestinationHashing || !self.flags.has(Flags::FALLBACK) {
            return None;
        }
        for step in 0..self.buckets.len() {
            let offset = (step + first) % self.buckets.len();
            match self.usable(self.bucket(word, offset as u32), live) {
                Ok(real) => return Some(real),
                Err(Unusable::Nobody) => return None,
                Err(Unusable::Busy) => {}
            }
        }
        None
    }

    /// The bucket of a word, so far on.
    #[inline(always)]
    fn bucket(&self, word: u32, offset: u32) -> usize {
        match self.listed.algorithm {
            Algorithm::MaglevHashing => maglev::slot(word.wrapping_add(offset)),
            _ => (hash(word) + offset as usize) % BUCKETS,
        }
    }

    #[inline(always)]
    fn usable(&self, bucket: usize, live: &Reals) -> Result<RealId, Unusable> {
        let place = self.buckets.get(bucket).copied().unwrap_or(NOBODY);
        let candidate = self.listed.candidates.get(place as usize).ok_or(Unusable::Nobody)?;
        let is_usable = candidate.weight > 0 && live.is_usable(candidate.real);
        if is_usable { Ok(candidate.real) } else { Err(Unusable::Busy) }
    }
}

/// Why a bucket is of no use.
enum Unusable {
    /// It has no real.
    Nobody,
    /// Its real takes no connection.
    Busy,
}

/// Eight bits of a word, by the golden ratio.
#[inline(always)]
const fn hash(word: u32) -> usize {
    (word.wrapping_mul(0x61c8_8647) >> 24) as usize
}

/// Reals one after the other take so many buckets each, again and again, until all are taken.
fn in_a_row(mut counts: impl Iterator<Item = usize> + Clone) -> Box<[u32]> {
    let places = (0u32..).zip(&mut counts);
    let one_round: Vec<u32> =
        places.flat_map(|(place, count)| std::iter::repeat_n(place, count)).take(BUCKETS).collect();
    if one_round.is_empty() {
        return vec![NOBODY; BUCKETS].into();
    }
    one_round.into_iter().cycle().take(BUCKETS).collect()
}

const _: () = assert!(SLOTS > BUCKETS);
