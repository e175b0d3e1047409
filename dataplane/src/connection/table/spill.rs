//! Entries that lie away from home, and where to look for them.
//!
//! An entry that finds its home bucket full lies in another of its [`PLACES`], all in one region, or, when those are
//! taken too, in the places of a further choice: those that the same client endpoint would have with another hash,
//! nearly always in another region. There are [`CHOICES`] of these, so that one client endpoint, whose connections have
//! one key, can have [`MOST_OF_ENDPOINT`] connections, a few in each of many regions, and take no region from others.
//!
//! Look-ups of others pay for that as little as can be. A bucket knows how many entries at home in it lie in other
//! buckets of the region (bits 4 to 7 of its keys), and whether any lie further. How many choices have to be searched
//! then is known for each region of the largest layout, which stays what it is when the table changes its size. All is
//! exact, and forgotten with the last entry. What all misses pay together grows with the entries that lie away, of
//! which an attacker can have no more than the table holds; and whom he slows down he cannot choose, as homes depend on
//! a secret.
//!
//! ```text
//! bits 4..7 of key 0   entries at home here that lie elsewhere in the region; 15: see the others
//!              key 1, 2   then: how many
//!              key 3   then, a bit each: some lie outside of their places; some may lie in further choices
//! ```

use super::entry::{Bucket, SPILL_MASK, SPILL_ONE};
use super::{ClientKey, Hash, PLACES, REGION, Slot, Table, multiply_and_fold, region_of};
use crate::connection::family::Family;
use arrayvec::ArrayVec;

/// Choices of places that there are beside the first.
pub(super) const CHOICES: usize = 64;
/// Connections that one client endpoint may have.
pub const MOST_OF_ENDPOINT: usize = 256;

/// What bits 4 to 7 of the first key say when the others count.
const SEE_OTHERS: u64 = 15;
/// Some entries lie in the region, but outside of their places.
const ANYWHERE: u64 = 1;
/// Some entries may lie in further choices.
const FURTHER: u64 = 2;

/// What a bucket knows of the entries at home in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spill {
    /// Entries elsewhere in its region.
    pub(super) near: u64,
    /// Whether some of these lie outside of their places.
    pub(super) anywhere: bool,
    /// Whether entries may lie in further choices.
    pub(super) further: bool,
}

impl Bucket {
    pub(super) fn spill(&self) -> Spill {
        let bits = |way: usize| (self.keys[way] & SPILL_MASK) / SPILL_ONE;
        match bits(0) {
            SEE_OTHERS => Spill {
                near: bits(1) | bits(2) << 4,
                anywhere: bits(3) & ANYWHERE != 0,
                further: bits(3) & FURTHER != 0,
            },
            near => Spill { near, anywhere: false, further: false },
        }
    }

    /// Counts one entry less elsewhere in the region. False, and nothing done, if more is to be known than how many.
    #[inline(always)]
    fn forget_near(&mut self) -> bool {
        let only_number = self.keys[0] & SPILL_MASK < SEE_OTHERS * SPILL_ONE;
        if only_number {
            self.keys[0] -= SPILL_ONE;
        }
        only_number
    }

    fn set_spill(&mut self, spill: Spill) {
        let Spill { near, anywhere, further } = spill;
        let words = if near < SEE_OTHERS && !anywhere && !further {
            [near, 0, 0, 0]
        } else {
            let kinds = if anywhere { ANYWHERE } else { 0 } | if further { FURTHER } else { 0 };
            [SEE_OTHERS, near & 15, near >> 4, kinds]
        };
        for (key, word) in self.keys.iter_mut().zip(words) {
            *key = *key & !SPILL_MASK | (word * SPILL_ONE);
        }
    }
}

/// Entries in further choices of all that are at home in one region of the largest layout, and how many choices are in
/// use: twelve bits, and four for its power of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Further(u16);

impl Further {
    const MOST: u16 = (1 << 12) - 1;

    pub(super) const fn count(self) -> u16 {
        self.0 & Self::MOST
    }

    /// Choices to be searched.
    pub(super) const fn choices(self) -> usize {
        match self.0 >> 12 {
            0 => 0,
            power => 1 << (power - 1),
        }
    }

    const fn with_choice(self, choice: usize) -> Self {
        let power = choice.next_power_of_two().trailing_zeros() as u16 + 1;
        let known = self.0 >> 12;
        let largest = if power > known { power } else { known };
        Self((self.count() + 1) | largest << 12)
    }

    const fn without(self) -> Self {
        if self.count() <= 1 { Self(0) } else { Self(self.0 - 1) }
    }
}

impl Hash {
    /// What places of a further choice follow from; 0 is the first.
    pub(super) fn choice(self, choice: usize) -> Self {
        let Self(bits) = self;
        match choice {
            0 => self,
            _ => Self(multiply_and_fold(
                bits.wrapping_add((choice as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                0xbf58_476d_1ce4_e5b9,
            )),
        }
    }
}

impl<F: Family> Table<F> {
    fn region_of_further(&self, hash: Hash) -> usize {
        self.extent.position(hash) / REGION
    }

    /// What is known of the entries in further choices of a key.
    pub(super) fn further(&self, hash: Hash) -> Further {
        self.further[self.region_of_further(hash)]
    }

    /// Whether a bucket is in another region than a home: then what lies in it lies there by a further choice.
    pub(super) fn is_further(home: usize, bucket: usize) -> bool {
        region_of(home) != region_of(bucket)
    }

    /// An entry of this key comes to lie here, by this choice.
    pub(super) fn count_spill(&mut self, hash: Hash, choice: usize, bucket: usize) {
        let places = self.places(hash);
        let home = places[0];
        if bucket == home {
            return;
        }
        let mut spill = self.buckets[home].spill();
        if Self::is_further(home, bucket) {
            spill.further = true;
            let region = self.region_of_further(hash);
            self.further[region] = self.further[region].with_choice(choice);
            self.further_entries += 1;
        } else {
            spill.near += 1;
            spill.anywhere |= !places.contains(&bucket);
        }
        self.buckets[home].set_spill(spill);
    }

    /// An entry of this key lies here no longer.
    pub(super) fn uncount_spill(&mut self, hash: Hash, bucket: usize) {
        let home = self.home(hash);
        if bucket == home {
            return;
        }
        let line = &mut self.buckets[home];
        if line.forget_near() {
            return;
        }
        let mut spill = line.spill();
        if Self::is_further(home, bucket) {
            self.uncount_further(hash);
        } else {
            spill.near -= 1;
            spill.anywhere &= spill.near > 0;
        }
        spill.further = spill.further && self.has_further(home);
        self.buckets[home].set_spill(spill);
    }

    /// An entry in a further choice of this key is on its way: its place is to be counted anew.
    pub(super) fn uncount_further(&mut self, hash: Hash) {
        let region = self.region_of_further(hash);
        self.further[region] = self.further[region].without();
        self.further_entries -= 1;
    }

    /// A free slot for an entry of this key, by any choice.
    pub(super) fn further_slot_of_any(&self, hash: Hash) -> Option<(usize, Slot)> {
        (1..=CHOICES).find_map(|choice| Some((choice, self.free_slot(&self.places(hash.choice(choice)))?)))
    }

    /// What a bucket knows of further choices is brought up to date: when entries are moved it comes to know of some
    /// that are at home in others.
    pub(super) fn correct_spill(&mut self, home: usize) {
        let mut spill = self.buckets[home].spill();
        if spill.further && !self.has_further(home) {
            spill.further = false;
            self.buckets[home].set_spill(spill);
        }
    }

    /// Whether entries at home in this bucket may lie in further choices.
    pub(super) fn has_further(&self, home: usize) -> bool {
        let regions = self.extent.positions(home);
        self.further[regions.start / REGION..regions.end.div_ceil(REGION)]
            .iter()
            .any(|further| further.count() > 0)
    }

    /// Has a bucket that has just been emptied know of the entries in further choices that are at home in it.
    pub(super) fn note_further(&mut self, home: usize) {
        if self.has_further(home) {
            let spill = Spill { further: true, ..self.buckets[home].spill() };
            self.buckets[home].set_spill(spill);
        }
    }

    /// What an entry's place follows from: its hash, or that of the further choice by which it lies in this bucket.
    pub(super) fn hash_placed_by(&self, hash: Hash, bucket: usize) -> (usize, Hash) {
        if !Self::is_further(self.home(hash), bucket) {
            return (0, hash);
        }
        let choices = (1..=self.further(hash).choices()).map(|choice| (choice, hash.choice(choice)));
        let mut there = choices.filter(|(_, hash)| self.places(*hash).contains(&bucket));
        there.next().unwrap_or((0, hash))
    }

    /// A free slot by a further choice for a new entry of a key that has no room in its places, or why there is none.
    pub(super) fn further_slot(&self, hash: Hash, key: ClientKey<F>) -> Option<(usize, Slot)> {
        let own = region_of(self.home(hash));
        let further = self.further(hash);
        let mut counted = self.count(own.clone(), key);
        let mut seen = ArrayVec::<[usize; PLACES], CHOICES>::new();
        let mut free = None;
        for choice in 1..=CHOICES {
            let places = self.places(hash.choice(choice));
            if !own.contains(&places[0]) {
                // In a small table the places of several choices are often the same.
                let same_region = |others: &&[usize; PLACES]| !Self::is_further(others[0], places[0]);
                let is_new =
                    |place: &usize| !seen.iter().filter(same_region).any(|others| others.contains(place));
                let new = places.into_iter().filter(is_new);
                counted += new.map(|place| self.count(place..place + 1, key)).sum::<usize>();
                seen.push(places);
                free = free.or_else(|| Some((choice, self.free_slot(&places)?)));
            }
            // All in use are looked at, for the number of this client endpoint's.
            if free.is_some() && choice >= further.choices() {
                break;
            }
        }
        free.filter(|_| counted < MOST_OF_ENDPOINT && further.count() < Further::MOST)
    }

    /// Connections of a client endpoint in some buckets.
    fn count(&self, buckets: std::ops::Range<usize>, key: ClientKey<F>) -> usize {
        let entries = buckets.flat_map(|bucket| self.entries_in(bucket));
        entries.filter(|entry| entry.client_key() == key).count()
    }
}

const _: () =
    assert!(CHOICES.is_power_of_two() && REGION * PLACES <= 64 && MOST_OF_ENDPOINT < Further::MOST as usize);
