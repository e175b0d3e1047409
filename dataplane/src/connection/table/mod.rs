//! The table of one worker's connections: one entry each, found from both directions.
//!
//! An entry is 16 bytes, a bucket four of them in one cache line, the keys side by side. The bucket
//! follows from a *keyed* hash of what both directions share: the client's address and port, and the
//! protocol. The keys of a client endpoint's connections are equal, so which connection a packet
//! belongs to is told by the real's [`Rewrite`](crate::translation::Rewrite) record, which has to match its far end.
//!
//! ```text
//! place  where its memory comes from
//! entry  the layout of an entry and of a bucket
//! extent how many of its buckets a table uses
//! resize moving entries when it comes to use more or fewer
//! room   making and removing entries, and what gives way when there is no room
//! spill  entries that lie away from home, and where to look for them
//! sweep  taking dead entries out
//! carry  copying live entries out, and putting copies in
//! clear  forgetting all
//! inherit  making entries for connections of an earlier process
//! words  entries in the loop over a burst
//! ports  the ports that clients asked for, where a service is on several
//! gauges how many connections each real has
//! ```
//!
//! An entry lies in its home bucket, or else in the home's neighbour or the two buckets of a second
//! choice: [`PLACES`] in all, in one region of [`REGION`] buckets. Only a home that has sent entries
//! elsewhere is searched further. Where all of these are taken, it lies in other regions.
//!
//! There are no timers. An entry older than its state's timeout is dead: a miss for look-ups, free
//! to be overwritten, and taken out by the [`sweep`](Table::sweep).

mod carry;
mod clear;
mod entry;
mod extent;
mod gauges;
mod inherit;
mod place;
mod ports;
mod resize;
mod room;
mod spill;
mod sweep;
mod words;

pub(in crate::connection) use entry::WAYS;
pub use entry::{Bucket, ClientKey, Entry, New, Slot};
pub(crate) use gauges::recount_state;
pub use place::TableMemory;
pub(in crate::connection) use place::{JOURNAL, NOTES, Note, Notes, PORTS_KEPT, PORTS_LOST, Parts};
pub use room::{NoRoom, Standing, Vacancy};
pub use spill::MOST_OF_ENDPOINT;
pub use words::Words;

use crate::connection::State;
use crate::connection::family::{Family, Line};
use crate::names::family::V4;
use crate::names::ids::NextHopId;
use crate::names::time::Tick;
use entry::{ENTRY_MASK, HOP_MASK, HOP_SHIFT, KEY_MASK, SPILL_MASK};
use extent::Extent;
pub(in crate::connection) use extent::reduce as bucket_of;
use memory::{HugeSlice, equal_under_mask, equal_upper_halves};
use place::{Journal, Made};
use ports::Ports;
use spill::Further;

/// Buckets that an entry may lie in.
pub const PLACES: usize = 4;
/// Buckets among which those are: within a page, and what is moved at once when a table changes its size.
pub const REGION: usize = 16;

/// The keyed hash of a [`ClientKey`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Hash(u64);

/// The bucket that a key is at home in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home(u32);

impl Home {
    /// Six bits that are equal for equal buckets.
    #[inline(always)]
    pub const fn low_bits(self) -> u32 {
        self.0 % 64
    }
}

/// Where in its home bucket a key, or one with the same upper half, was first found: the index of its word among those
/// of all buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed(u32);

impl Probed {
    /// Not at home. No table has so many words: the largest, of 2^28 connections of IPv6, has 2.3 · 2^30.
    const NOT_HOME: Self = Self(u32::MAX);
    /// Neither at home nor anywhere else.
    const NOWHERE: Self = Self(u32::MAX - 1);

    /// Whether there was none with that key, neither at home nor anywhere else.
    #[inline(always)]
    pub const fn is_nowhere(self) -> bool {
        self.0 == Self::NOWHERE.0
    }
}

impl Default for Probed {
    fn default() -> Self {
        Self::NOT_HOME
    }
}

/// The secret that the hash depends on; random at each start, so that nobody can aim at a bucket.
#[derive(Clone, Copy, Debug)]
pub struct HashKey {
    /// Exclusive-ored to the key.
    pub mask: u64,
    /// Multiplied with; made odd.
    pub multiplier: u64,
}

impl HashKey {
    /// As a table uses it.
    pub(in crate::connection) const fn made_odd(self) -> Self {
        Self { multiplier: self.multiplier | 1, ..self }
    }

    /// A multiply-and-fold with a secret mask and multiplier, so that nobody can tell which clients
    /// share a bucket, and a second multiplication, since the first alone leaves clients at equal
    /// distances at equal distances, which fill some buckets and leave others empty.
    #[inline(always)]
    pub(in crate::connection) fn hash<F: Family>(self, key: ClientKey<F>) -> Hash {
        let folded = multiply_and_fold(F::hashed(key, self) ^ self.mask, self.multiplier);
        Hash(multiply_and_fold(folded, 0xd6e8_feb8_6659_fd93))
    }
}

/// See the module's text.
pub struct Table<F: Family = V4> {
    buckets: HugeSlice<F::Line>,
    ports: Ports,
    /// Taken while a region is moved.
    journal: Option<Box<Journal<F>>>,
    notes: Notes,
    /// Whether there has ever been a connection of SCTP's.
    has_sctp: bool,
    hash_key: HashKey,
    capacity: usize,
    nearly_full: usize,
    live: usize,
    live_at_resize: usize,
    extent: Extent,
    /// By region of the largest layout.
    further: Box<[Further]>,
    /// The sum of all.
    further_entries: usize,
    sweep_position: usize,
}

impl<F: Family> Table<F> {
    /// A table for `capacity` connections at once; its memory is taken now.
    ///
    /// # Errors
    /// If there is not that much memory.
    ///
    /// # Panics
    /// If the memory is that of a [`Home`](crate::connection::kept::Home) for another capacity.
    pub fn new(
        capacity: usize,
        hash_key: HashKey,
        memory: impl Into<TableMemory<F>>,
    ) -> Result<Self, memory::Error> {
        let extent = Extent::new(capacity, F::BUCKETS_PER_16_CONNECTIONS);
        let Made { buckets, ports, journal, notes } = memory.into().make(extent.most())?;
        notes.set_extent(&extent);
        Ok(Self {
            buckets,
            ports,
            journal: Some(Box::new(journal)),
            notes,
            has_sctp: false,
            hash_key: hash_key.made_odd(),
            capacity,
            nearly_full: capacity - capacity / 8,
            live: 0,
            live_at_resize: 0,
            further: vec![Further::default(); extent.most() / REGION].into(),
            further_entries: 0,
            extent,
            sweep_position: 0,
        })
    }

    /// The addresses of its buckets.
    #[cfg(feature = "testing")]
    pub(crate) fn footprint(&self) -> std::ops::Range<usize> {
        memory::addresses_of(&self.buckets[..])
    }

    /// Bytes of memory that a table for `capacity` connections takes, but for the rounding to pages.
    pub fn bytes_for(capacity: usize) -> usize {
        let buckets = Extent::new(capacity, F::BUCKETS_PER_16_CONNECTIONS).most();
        buckets * size_of::<F::Line>() + buckets / REGION * size_of::<Further>()
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.buckets.memory() + size_of_val(&*self.further)
    }

    /// Connections in the table, dead ones that are not swept yet included.
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Connections that it holds at once.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether more than seven eighths of it are taken.
    #[inline(always)]
    pub const fn is_nearly_full(&self) -> bool {
        self.live > self.nearly_full
    }

    /// What the memory is made of, for the log.
    pub fn backing(&self) -> memory::Backing {
        self.buckets.backing()
    }

    /// What its bucket follows from, as nobody knows who does not know the secret.
    #[inline(always)]
    pub fn hash(&self, key: ClientKey<F>) -> Hash {
        self.hash_key.hash(key)
    }

    #[inline(always)]
    fn home(&self, hash: Hash) -> usize {
        self.extent.home(hash)
    }

    fn places(&self, hash: Hash) -> [usize; PLACES] {
        let home = self.home(hash);
        // Two to fourteen buckets further, round the region, by hash bits that the home hardly depends on.
        let pairs = ((hash.0 & u64::from(u32::MAX)) * (REGION as u64 / 2 - 1)) >> 32;
        let second = home / REGION * REGION + (home + 2 * (1 + pairs as usize)) % REGION;
        [home, home ^ 1, second, second ^ 1]
    }

    /// Where the entries with this key are at home.
    #[inline(always)]
    pub fn home_of(&self, key: ClientKey<F>) -> Home {
        Home(self.home(self.hash(key)) as u32)
    }

    /// Brings a bucket close, and the rests of its keys.
    #[inline(always)]
    pub fn prefetch(&self, home: Home) {
        if let Some(line) = self.buckets.get(home.0 as usize) {
            memory::prefetch_all(std::slice::from_ref(line));
        }
    }

    /// The home of a key, if the table is not [between two sizes](Self::is_between_sizes): a few instructions less.
    #[inline(always)]
    pub fn home_at_rest(&self, key: ClientKey<F>) -> Home {
        Home(self.extent.home_at_rest(self.hash(key)) as u32)
    }

    /// To look for many keys in their home buckets.
    #[inline(always)]
    pub fn homes(&self) -> Homes<'_, F> {
        Homes { table: self, buckets: &self.buckets }
    }

    #[cold]
    fn prefetch_away(&self, key: ClientKey<F>) {
        for place in &self.places(self.hash(key))[1..] {
            memory::prefetch_all(std::slice::from_ref(&self.buckets[*place]));
        }
    }

    /// The entry with this key for which `belongs` holds.
    #[inline(always)]
    pub fn find(
        &self,
        hash: Hash,
        key: ClientKey<F>,
        belongs: impl Fn(Entry<F>) -> bool,
    ) -> Option<(Slot, Entry<F>)> {
        self.find_by_slot(hash, key, |_, entry| belongs(entry))
    }

    /// As [`find`](Self::find), where what belongs depends on more than the entry.
    #[inline(always)]
    pub fn find_by_slot(
        &self,
        hash: Hash,
        key: ClientKey<F>,
        belongs: impl Fn(Slot, Entry<F>) -> bool,
    ) -> Option<(Slot, Entry<F>)> {
        let home = self.home(hash);
        let found = self.find_in(home, key, &belongs);
        if found.is_some() || self.buckets[home].keys[0] & SPILL_MASK == 0 {
            return found;
        }
        self.find_away(hash, key, &belongs)
    }

    #[inline(always)]
    fn find_in(
        &self,
        bucket: usize,
        key: ClientKey<F>,
        belongs: &impl Fn(Slot, Entry<F>) -> bool,
    ) -> Option<(Slot, Entry<F>)> {
        let line = &self.buckets[bucket];
        let mut candidates = equal_under_mask(&line.keys, KEY_MASK, key.word);
        while candidates != 0 {
            let way = candidates.trailing_zeros() as usize % WAYS;
            let rest = line.rest(way);
            let entry = Entry { key: line.keys[way] & ENTRY_MASK, value: line.values[way], rest };
            let slot = Slot { bucket: bucket as u32, way: way as u8 };
            if rest == key.rest && belongs(slot, entry) {
                return Some((slot, entry));
            }
            candidates &= candidates - 1;
        }
        None
    }

    #[cold]
    fn find_away(
        &self,
        hash: Hash,
        key: ClientKey<F>,
        belongs: &impl Fn(Slot, Entry<F>) -> bool,
    ) -> Option<(Slot, Entry<F>)> {
        let places = self.places(hash);
        let spill = self.buckets[places[0]].spill();
        let near = if spill.anywhere {
            region_of(places[0]).find_map(|place| self.find_in(place, key, belongs))
        } else {
            places[1..].iter().find_map(|place| self.find_in(*place, key, belongs))
        };
        if near.is_some() || !spill.further {
            return near;
        }
        (1..=self.further(hash).choices()).find_map(|choice| {
            let places = self.places(hash.choice(choice));
            places.iter().find_map(|place| self.find_in(*place, key, belongs))
        })
    }

    /// What a slot that is known to be taken holds.
    #[inline(always)]
    pub fn taken(&self, slot: Slot) -> Entry<F> {
        let line = &self.buckets[slot.bucket as usize];
        let way = usize::from(slot.way) % WAYS;
        let rest = line.rest(way);
        Entry { key: line.keys[way], value: line.values[way], rest }
    }

    /// What is in a slot, as if it had been found at home.
    #[inline(always)]
    pub const fn probed(slot: Slot) -> Probed {
        Probed(slot.bucket * F::Line::WORDS as u32 + slot.way as u32)
    }

    /// Notes the tick of a packet.
    #[inline(always)]
    pub fn touch(&mut self, slot: Slot, tick: Tick) {
        self.words().touch(Self::probed(slot), tick);
    }

    /// Notes the state that a packet led to.
    pub fn set_state(&mut self, slot: Slot, state: State) {
        self.words().set_state(Self::probed(slot), state);
    }

    /// Sets the way back to the client.
    pub fn set_next_hop(&mut self, slot: Slot, next_hop: NextHopId) {
        let value = &mut self.buckets[slot.bucket as usize].values[usize::from(slot.way) % WAYS];
        *value = *value & !(HOP_MASK << HOP_SHIFT) | (u64::from(next_hop.0) & HOP_MASK) << HOP_SHIFT;
    }

    /// What a slot holds.
    #[inline(always)]
    pub fn entry(&self, slot: Slot) -> Option<Entry<F>> {
        let line = &self.buckets[slot.bucket as usize];
        let way = usize::from(slot.way) % WAYS;
        let rest = line.rest(way);
        let entry = Entry { key: line.keys[way] & ENTRY_MASK, value: line.values[way], rest };
        (entry.key & KEY_MASK != 0).then_some(entry)
    }

    /// What the slots of a bucket hold that are taken.
    fn entries_in(&self, bucket: usize) -> impl Iterator<Item = Entry<F>> + '_ {
        self.buckets[bucket].entries(rests_of::<F>(&self.buckets[bucket]))
    }

    fn free_slot(&self, places: &[usize]) -> Option<Slot> {
        places.iter().find_map(|place| {
            let free = equal_under_mask(&self.buckets[*place].keys, KEY_MASK, 0);
            (free != 0).then(|| Slot { bucket: *place as u32, way: free.trailing_zeros() as u8 })
        })
    }

    fn slots(places: &[usize]) -> impl Iterator<Item = Slot> + '_ {
        let ways = |bucket: &usize| {
            let bucket = *bucket as u32;
            (0..WAYS as u8).map(move |way| Slot { bucket, way })
        };
        places.iter().flat_map(ways)
    }
}

/// The product of two words in 128 bits, its halves exclusive-ored.
#[inline(always)]
pub(in crate::connection) fn multiply_and_fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The rests of the keys in a bucket, by way.
#[inline(always)]
fn rests_of<F: Family>(line: &F::Line) -> [F::Rest; WAYS] {
    std::array::from_fn(|way| line.rest(way))
}

/// The region that a bucket is in.
fn region_of(bucket: usize) -> std::ops::Range<usize> {
    let first = bucket / REGION * REGION;
    first..first + REGION
}

/// The buckets of a table, where to find them at hand.
#[derive(Debug)]
pub struct Homes<'a, F: Family = V4> {
    table: &'a Table<F>,
    buckets: &'a [F::Line],
}

impl<F: Family> Homes<'_, F> {
    const WORDS: u32 = F::Line::WORDS as u32;

    /// Looks for the key in its home bucket, which has been prefetched, by its upper half, which alone is loaded: what
    /// is found nearly always [has it](Entry::has_key), but may be another's or, for an upper half of zero, a free
    /// slot. If it is not there but may lie elsewhere, the other places are brought close until [`find`](Table::find)
    /// looks at them.
    #[inline(always)]
    pub fn probe(&self, home: Home, key: &ClientKey<F>) -> Probed {
        self.at_home(home, key).unwrap_or_else(|| self.not_at_home(home, key))
    }

    /// Like [`probe`](Self::probe), for a key that is likely to be nowhere.
    #[inline(always)]
    pub fn probe_new(&self, home: Home, key: &ClientKey<F>) -> Probed {
        self.at_home(home, key).unwrap_or_else(|| self.elsewhere(home, key))
    }

    #[inline(always)]
    fn at_home(&self, home: Home, key: &ClientKey<F>) -> Option<Probed> {
        let line = &self.buckets[home.0 as usize];
        let candidates = equal_upper_halves(&line.keys, key.upper_half());
        (candidates != 0).then(|| Probed(home.0 * Self::WORDS + candidates.trailing_zeros()))
    }

    /// Out of line, so that nothing is kept at hand for it.
    #[cold]
    #[inline(never)]
    fn not_at_home(&self, home: Home, key: &ClientKey<F>) -> Probed {
        self.elsewhere(home, key)
    }

    #[inline(always)]
    fn elsewhere(&self, home: Home, key: &ClientKey<F>) -> Probed {
        if self.buckets[home.0 as usize].keys[0] & SPILL_MASK == 0 {
            return Probed::NOWHERE;
        }
        self.table.prefetch_away(*key);
        Probed::NOT_HOME
    }
}

impl<F: Family> std::fmt::Debug for Table<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("live", &self.live).field("capacity", &self.capacity).finish()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod v6_tests;
