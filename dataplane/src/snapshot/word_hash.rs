//! A short hash of one word, for maps whose keys the configuration alone decides: nobody else can make
//! them collide.

use std::hash::{BuildHasherDefault, Hasher};

/// For [`hashbrown::HashMap`].
pub(super) type BuildWordHasher = BuildHasherDefault<WordHasher>;

/// Multiplies by an odd constant and folds the product.
#[derive(Default)]
pub(super) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_u128(&mut self, words: u128) {
        self.write_u64(words as u64);
        self.write_u64((words >> 64) as u64);
    }
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}
