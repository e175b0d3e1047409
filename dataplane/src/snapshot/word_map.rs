//! A map from words to ids for look-ups on the packet path: made once, and for keys that the configuration
//! alone decides, so that nobody else can make them collide.

/// Places for each key, at least: so few keys lie beside their place that a look-up is nearly always one load.
const ROOM: usize = 4;

/// Open addressing: a key lies at its place or at the next free one after it. Keys are not zero.
#[derive(Debug)]
pub(super) struct WordMap {
    /// Keys and ids; a key of zero: free.
    places: Box<[(u64, u32)]>,
    /// What leaves of a hash as many bits as there are places for.
    shift: u32,
}

impl WordMap {
    pub(super) fn new(entries: &[(u64, u32)]) -> Self {
        let bits = (entries.len() * ROOM).next_power_of_two().ilog2().max(1);
        let mut map = Self { places: vec![(0, 0); 1 << bits].into(), shift: u64::BITS - bits };
        for &(key, id) in entries {
            debug_assert_ne!(key, 0);
            let mut place = map.place_of(key);
            while map.places[place].0 != 0 && map.places[place].0 != key {
                place = (place + 1) & (map.places.len() - 1);
            }
            map.places[place] = (key, id);
        }
        map
    }

    #[inline(always)]
    fn place_of(&self, key: u64) -> usize {
        // Twice: one multiplication leaves addresses in a row in a row.
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> self.shift) as usize
    }

    /// The id of `key`. Some place is free, so this ends.
    #[inline(always)]
    pub(super) fn get(&self, key: u64) -> Option<u32> {
        let mut place = self.place_of(key);
        loop {
            let (known, id) = self.places[place & (self.places.len() - 1)];
            if known == key {
                return Some(id);
            }
            if known == 0 {
                return None;
            }
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_empty_map_has_nothing() {
        assert_eq!(WordMap::new(&[]).get(7), None);
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
                let map = WordMap::new(&keys.iter().copied().zip(0..).collect::<Vec<_>>());
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
            let map = WordMap::new(&plain.iter().map(|(key, id)| (*key, *id)).collect::<Vec<_>>());
            for key in keys.iter().chain(&others) {
                prop_assert_eq!(map.get(*key), plain.get(key).copied());
            }
        }
    }
}
