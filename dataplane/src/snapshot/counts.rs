//! A set whose members are put in by several.

use hashbrown::HashMap;
use std::hash::Hash;

/// Members, each with how often it was put in.
#[derive(Clone, Debug)]
pub(super) struct Counts<K>(HashMap<K, u32>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    pub(super) fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Returns whether it was not there before.
    pub(super) fn add(&mut self, key: K) -> bool {
        let count = self.0.entry(key).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Takes back one [`add`](Self::add). Returns whether it is there no more.
    pub(super) fn take(&mut self, key: &K) -> bool {
        match self.0.get_mut(key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => self.0.remove(key).is_some(),
            None => false,
        }
    }
}
