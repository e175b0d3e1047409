//! A map from words, or longer keys, to ids for look-ups on the packet path, for keys that the configuration alone
//! decides, so that nobody else can make them collide.

use std::fmt::Debug;

/// Places for each key, at least: so few keys lie beside their place that a look-up is nearly always one load.
const ROOM: usize = 4;

/// What is looked up. The default of its type is no key, and stands for a free place.
pub trait Key: Copy + Debug + Default + Eq {
    /// All of it, or what tells nearly all keys apart.
    fn word(self) -> u64;
}

impl Key for u64 {
    #[inline(always)]
    fn word(self) -> u64 {
        self
    }
}

/// Open addressing: a key lies at its place or at the next free one after it.
#[derive(Clone, Debug)]
pub(super) struct WordMap<K: Key> {
    /// Keys and ids; no key: free.
    places: Box<[(K, u32)]>,
    /// What leaves of a hash as many bits as there are places for.
    shift: u32,
    /// Keys in it.
    length: usize,
}

impl<K: Key> WordMap<K> {
    /// An empty one, with room for this many keys.
    pub(super) fn with_room(keys: usize) -> Self {
        let bits = (keys * ROOM).next_power_of_two().ilog2().max(1);
        Self { places: vec![(K::default(), 0); 1 << bits].into(), shift: u64::BITS - bits, length: 0 }
    }

    /// Adds a key, or gives it another id.
    pub(super) fn insert(&mut self, key: K, id: u32) {
        debug_assert!(!is_free(key));
        let place = self.find(key);
        if is_free(self.places[place].0) {
            self.length += 1;
            if self.length * ROOM > self.places.len() {
                return self.grow(key, id);
            }
        }
        self.places[place] = (key, id);
    }

    fn grow(&mut self, key: K, id: u32) {
        let mut grown = Self::with_room(2 * self.length);
        let taken = self.places.iter().filter(|(key, _)| !is_free(*key));
        for (key, id) in taken.chain([&(key, id)]) {
            grown.insert(*key, *id);
        }
        *self = grown;
    }

    /// Removes a key, if it is there. Keys behind it that lie beside their places move up.
    pub(super) fn remove(&mut self, key: K) {
        let last = self.places.len() - 1;
        let mut free = self.find(key);
        if is_free(self.places[free].0) {
            return;
        }
        self.length -= 1;
        let mut next = (free + 1) & last;
        while !is_free(self.places[next].0) {
            let home = self.place_of(self.places[next].0);
            // How far each is behind the key's place: whether the free place is on its way.
            if next.wrapping_sub(home) & last >= next.wrapping_sub(free) & last {
                self.places[free] = self.places[next];
                free = next;
            }
            next = (next + 1) & last;
        }
        self.places[free] = (K::default(), 0);
    }

    /// Where a key lies, or the free place where it would.
    fn find(&self, key: K) -> usize {
        let mut place = self.place_of(key);
        while !is_free(self.places[place].0) && self.places[place].0 != key {
            place = (place + 1) & (self.places.len() - 1);
        }
        place
    }

    #[inline(always)]
    fn place_of(&self, key: K) -> usize {
        // Twice: one multiplication leaves addresses in a row in a row.
        let mixed = key.word().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> self.shift) as usize
    }

    /// The id of `key`. Some place is free, so this ends.
    #[inline(always)]
    pub(super) fn get(&self, key: K) -> Option<u32> {
        let mut place = self.place_of(key);
        loop {
            let (known, id) = self.places[place & (self.places.len() - 1)];
            if known == key {
                return Some(id);
            }
            if is_free(known) {
                return None;
            }
            place += 1;
        }
    }
}

#[inline(always)]
fn is_free<K: Key>(key: K) -> bool {
    key == K::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn map_of(entries: impl IntoIterator<Item = (u64, u32)>) -> WordMap<u64> {
        let mut map = WordMap::with_room(0);
        entries.into_iter().for_each(|(key, id)| map.insert(key, id));
        map
    }

    #[test]
    fn an_empty_map_has_nothing() {
        assert_eq!(WordMap::<u64>::with_room(0).get(7), None);
    }

    /// Endpoints as configurations have them: ports of one address, addresses in a row, ports of each of them.
    #[test]
    fn few_keys_lie_far_from_their_places() {
        let patterns: [fn(u64) -> u64; 4] = [
            |n| 0x0100_000a | (n & 0xffff).swap_bytes() >> 16,
            |n| (n & 0xffff).swap_bytes() >> 32 | 0x5000 << 32 | 0x10a,
            |n| (n & 0xff) << 24 | 0x10a | ((n >> 8) + 1000).swap_bytes() >> 16,
            |n| (n & 0xff) << 24 | 0x10a | (n >> 8 & 1) << 41 | (n >> 9) << 40,
        ];
        for (which, pattern) in patterns.iter().enumerate() {
            for count in [10, 100, 1000, 4000] {
                let keys: Vec<u64> = (0..count).map(|n| pattern(n) | 6 << 48).collect();
                let map = map_of(keys.iter().copied().zip(0..));
                let taken = map.places.iter().filter(|(key, _)| *key != 0).count();
                let at_place = keys.iter().filter(|key| map.places[map.place_of(**key)].0 == **key).count();
                assert!(at_place * 4 > taken * 3, "pattern {which}: {at_place} of {taken}");
                let longest = map.places.split(|(key, _)| *key == 0).map(<[_]>::len).max();
                assert!(longest < Some(24), "pattern {which}, {count}: {longest:?} in a row");
            }
        }
    }

    proptest! {
        /// Keys that differ in few bits, and others.
        #[test]
        fn every_key_is_found_and_no_other(
            keys in proptest::collection::hash_set(prop_oneof![1u64..40, any::<u64>().prop_map(|key| key | 1)], 0..60),
            others in proptest::collection::vec(1u64..60, 20),
        ) {
            let plain: HashMap<u64, u32> = keys.iter().copied().zip(0..).collect();
            let map = map_of(plain.iter().map(|(key, id)| (*key, *id)));
            for key in keys.iter().chain(&others) {
                prop_assert_eq!(map.get(*key), plain.get(key).copied());
            }
        }

        #[test]
        fn it_holds_what_was_put_in_and_not_removed(
            steps in proptest::collection::vec((1u64..60, any::<Option<u32>>()), 0..200),
        ) {
            let (mut plain, mut map) = (HashMap::new(), WordMap::with_room(0));
            for (key, id) in steps {
                match id {
                    Some(id) => {
                        map.insert(key, id);
                        plain.insert(key, id);
                    }
                    None => {
                        map.remove(key);
                        plain.remove(&key);
                    }
                }
                prop_assert_eq!(map.length, plain.len());
                for key in 1..60 {
                    prop_assert_eq!(map.get(key), plain.get(&key).copied());
                }
            }
        }
    }
}
