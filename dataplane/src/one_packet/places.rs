//! A memory of fixed size for what is asked for soon or never: a hash leads to eight places, and what is new takes the
//! one of them that is worth least.
//!
//! It takes nothing but the time of eight comparisons, whatever is in it, and its memory is mapped as it comes to be
//! used.

use crate::connection::digest;
use crate::connection::table::HashKey;
use crate::names::family::V4;
use crate::persistence::Hasher;
use std::net::SocketAddr;

/// Places that one hash leads to.
const WAYS: usize = 8;
/// Words of a place.
const WORDS: usize = 4;

/// What something is remembered by; the first word is not zero.
pub(super) type Key = [u64; 2];

/// In a key's second word: it is a digest. An IPv4 endpoint has no bit that high.
const IS_DIGEST: u64 = 1 << 63;

/// What two endpoints and a number are remembered by: themselves if they are of IPv4, else a digest, so that both
/// families have places of one size.
pub(super) fn key(ends: [SocketAddr; 2], number: u32, secret: HashKey) -> Key {
    let [first, second] = ends;
    if let (Some(first), Some(second)) = (V4::endpoint_bits(first), V4::endpoint_bits(second)) {
        return [first | u64::from(number) << 48, second];
    }
    let mut bytes = [0; 40];
    for (half, end) in bytes.chunks_exact_mut(18).zip(ends) {
        half[..16].copy_from_slice(&digest::octets(end.ip()));
        half[16..].copy_from_slice(&end.port().to_be_bytes());
    }
    bytes[36..].copy_from_slice(&number.to_be_bytes());
    let digest = digest::of(secret, &bytes);
    [digest as u64 | 1, (digest >> 64) as u64 | IS_DIGEST]
}
/// What is remembered.
pub(super) type Value = [u64; 2];

/// Two words of the key, two of the value; all zero where there is nothing.
type Place = [u64; WORDS];
type Group = [Place; WAYS];

/// See the module's text.
#[derive(Debug)]
pub(super) struct Places {
    groups: Vec<Group>,
    hash_key: HashKey,
}

/// What putting something in has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It was there, with this value.
    Instead(Value),
    /// It is new, and has taken a free place.
    New,
    /// It is new, and this has given way to it.
    InPlaceOf(Value),
}

impl Places {
    /// At least this many, all free.
    pub(super) fn new(places: usize, hash_key: HashKey) -> Self {
        // Of integers, so that the system's zeroed memory is taken as it is.
        Self { groups: vec![[[0; WORDS]; WAYS]; places.div_ceil(WAYS).next_power_of_two()], hash_key }
    }

    pub(super) const fn len(&self) -> usize {
        self.groups.len() * WAYS
    }

    pub(super) fn get(&self, key: Key) -> Option<Value> {
        self.groups[self.group(key)].iter().find(|place| is_of(place, key)).map(value)
    }

    /// Changes the value of what is there.
    pub(super) fn change(&mut self, key: Key, change: impl FnOnce(&mut Value)) {
        let group = self.group(key);
        if let Some(place) = self.groups[group].iter_mut().find(|place| is_of(place, key)) {
            let mut changed = value(place);
            change(&mut changed);
            *place = filled(key, changed);
        }
    }

    /// Remembers something, where it was before if it was there, else in a free place, else in that of what `worth`
    /// says is worth least. `new` is made of what was there by this key.
    pub(super) fn put(
        &mut self,
        key: Key,
        new: impl FnOnce(Option<Value>) -> Value,
        worth: impl Fn(Value) -> u64,
    ) -> Put {
        let group = self.group(key);
        let places = &mut self.groups[group];
        let (mut least, mut at) = (u64::MAX, 0);
        for (index, place) in places.iter_mut().enumerate() {
            if is_of(place, key) {
                let before = value(place);
                *place = filled(key, new(Some(before)));
                return Put::Instead(before);
            }
            let worth = if is_free(place) { 0 } else { worth(value(place)).saturating_add(1) };
            if worth < least {
                (least, at) = (worth, index);
            }
        }
        let before = std::mem::replace(&mut places[at], filled(key, new(None)));
        if is_free(&before) { Put::New } else { Put::InPlaceOf(value(&before)) }
    }

    /// Frees one place if `goes` holds for what is there, and returns that.
    pub(super) fn clear_if(&mut self, place: usize, goes: impl FnOnce(Value) -> bool) -> Option<Value> {
        let place = &mut self.groups.get_mut(place / WAYS)?[place % WAYS];
        if is_free(place) || !goes(value(place)) {
            return None;
        }
        Some(value(&std::mem::take(place)))
    }

    fn group(&self, [first, second]: Key) -> usize {
        let hash = Hasher::new(self.hash_key).word(first).word(second).finish();
        hash as usize & (self.groups.len() - 1)
    }
}

const fn is_of(place: &Place, [first, second]: Key) -> bool {
    place[0] == first && place[1] == second
}

const fn is_free(place: &Place) -> bool {
    place[0] == 0
}

const fn value(place: &Place) -> Value {
    [place[2], place[3]]
}

const fn filled([first, second]: Key, [third, fourth]: Value) -> Place {
    [first, second, third, fourth]
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashMap;

    const HASH_KEY: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };

    /// As long as there is room, it is a map; beyond that what is worth least has gone.
    #[test]
    fn it_is_a_map_until_a_group_is_full() {
        let mut places = Places::new(1 << 16, HASH_KEY);
        assert_eq!(places.len(), 1 << 16);
        let mut map = HashMap::new();
        for n in 0..40_000u64 {
            let key = [1 + n % 5000, n % 2];
            let put = places.put(key, |_| [n, 0], |value| value[0]);
            match (map.insert(key, n), put) {
                (Some(before), Put::Instead(value)) => assert_eq!(value[0], before),
                (None, Put::New) => {}
                (before, put) => panic!("{before:?} {put:?}"),
            }
        }
        assert!(map.iter().all(|(key, n)| places.get(*key) == Some([*n, 0])));
        assert_eq!(places.get([5001, 0]), None);
        let mut left = 0;
        for place in 0..places.len() + 5 {
            left += u64::from(places.clear_if(place, |value| value[0] % 2 == 0).is_some());
        }
        assert_eq!(left, map.values().filter(|n| *n % 2 == 0).count() as u64);
        assert!(map.iter().all(|(key, n)| places.get(*key).is_none() == (n % 2 == 0)));
    }

    #[test]
    fn what_is_worth_least_gives_way() {
        let mut places = Places::new(1, HASH_KEY);
        for n in 1..=8 {
            assert_eq!(places.put([n, 0], |_| [100 - n, n], |value| value[0]), Put::New);
        }
        places.change([8, 0], |value| value[0] = 1000);
        places.change([80, 0], |value| value[0] = 1000);
        assert_eq!(places.put([9, 0], |_| [50, 9], |value| value[0]), Put::InPlaceOf([93, 7]));
        assert_eq!(places.put([10, 0], |_| [60, 10], |value| value[0]), Put::InPlaceOf([50, 9]));
        assert_eq!((places.get([7, 0]), places.get([8, 0])), (None, Some([1000, 8])));
    }
}
