//! The keyed hash by which templates and connections are found: nobody can aim at a place.

use crate::connection::table::HashKey;
use std::net::{IpAddr, SocketAddr};

/// Room that an index of this many is made with. More than half again as much: so full an index hardly ever has to be
/// put in order again, which takes as long as it is large.
pub(super) const fn room(most: usize) -> usize {
    most + most / 2
}

/// Hashes a few words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    key: HashKey,
    state: u64,
}

impl Hasher {
    pub(crate) const fn new(key: HashKey) -> Self {
        Self { key: HashKey { mask: key.mask, multiplier: key.multiplier | 1 }, state: key.mask }
    }

    pub(crate) fn word(mut self, word: u64) -> Self {
        let product = u128::from(self.state ^ word) * u128::from(self.key.multiplier);
        self.state = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.key.mask);
        self
    }

    pub(crate) fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.word(u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.word(bits as u64).word((bits >> 64) as u64)
            }
        }
    }

    pub(crate) fn endpoint(self, endpoint: SocketAddr) -> Self {
        self.address(endpoint.ip()).word(u64::from(endpoint.port()))
    }

    /// The hash: a map looks at its highest and at its lowest bits.
    pub(crate) fn finish(self) -> u64 {
        self.word(0).state
    }
}
