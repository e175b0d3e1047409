//! Making entries and taking them out, and finding room where there is none.

use super::entry::{AWAY, KEY_MASK, SPILL_MASK, WAYS};
use super::gauges::{count_new, uncount};
use super::{ClientKey, Entry, Hash, Home, New, REGION, Slot, Table, region_of};
use crate::connection::Clock;
use crate::connection::family::{Family, Line};
use crate::counters::WorkerCounters;
use crate::names::ids::{Protocol, RealId};
use crate::names::time::Tick;
use memory::equal_under_mask;
use std::cmp::{Ordering, Reverse};

/// Buckets searched at the sweep's position for one that can make room when the table is full.
const ROOM_SEARCH: usize = 32;
/// One entry of so many is spared: see [`first_to_go`](Table::first_to_go).
const SPARED_ONE_OF: usize = 8;

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// All places of this client endpoint are taken by connections that may not give way.
    Places,
    /// The table holds its capacity of connections that may not give way.
    Capacity,
}

/// A free slot in a key's home bucket.
#[derive(Clone, Copy, Debug)]
pub struct Vacancy(pub(super) Slot);

/// How soon an entry gives way to a new connection when there is no other room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Yielding {
    /// Both sides have taken part in it.
    Established,
    /// See [`State::is_one_sided`].
    OneSided,
    HalfOpen,
    Closing,
    Dead,
}

impl Yielding {
    fn of<F: Family>(entry: Entry<F>, clock: Clock<'_>) -> Self {
        let state = entry.state();
        if entry.is_dead(clock) {
            Self::Dead
        } else if state.is_closing() {
            Self::Closing
        } else if state.is_half_open() {
            Self::HalfOpen
        } else if state.is_one_sided() {
            Self::OneSided
        } else {
            Self::Established
        }
    }
}

/// How the service of an entry stands beside that of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has far more or far fewer connections.
    pub beside_new: Ordering,
    /// How many it has.
    pub share: u32,
}

impl Standing {
    /// Where no service is known to have more than another.
    pub const ALIKE: Self = Self { beside_new: Ordering::Equal, share: 0 };
}

impl<F: Family> Table<F> {
    /// Makes an entry, and counts it towards its real, as [`insert_beside`](Self::insert_beside) does where no service
    /// is known to have more than another.
    ///
    /// # Errors
    /// If nothing may give way.
    pub fn insert(
        &mut self,
        hash: Hash,
        new: New<F>,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<Slot, NoRoom> {
        let alike = |_| Standing::ALIKE;
        self.insert_beside(alike, hash, new, clock, counters)
    }

    /// Makes an entry, and counts it towards its real. The caller has made sure that there is none for the same
    /// connection, and tells how the services of reals stand. When there is no room, dead entries give way first, then
    /// those in CLOSE and TIME_WAIT, then half-open ones and unanswered UDP, then those that one side alone has taken
    /// part in, and last, to a service with far fewer, established ones: of each kind those of the service with the
    /// most.
    ///
    /// # Errors
    /// If nothing may give way.
    pub fn insert_beside(
        &mut self,
        standing: impl Fn(RealId) -> Standing,
        hash: Hash,
        new: New<F>,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<Slot, NoRoom> {
        let (slot, away) = self.place(standing, hash, new, clock, counters)?;
        self.fill(slot, away, new, clock.tick, counters);
        Ok(slot)
    }

    /// The slot for a new entry, free by now, and whether it is away from home.
    pub(super) fn place(
        &mut self,
        standing: impl Fn(RealId) -> Standing,
        hash: Hash,
        new: New<F>,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<(Slot, bool), NoRoom> {
        self.has_sctp |= new.state.protocol() == Protocol::Sctp;
        let places = self.places(hash);
        if self.free_slot(&places[..1]).is_none() {
            self.expire_in(places[0], clock, counters);
        }
        self.correct_spill(places[0]);
        let (choice, slot) = match self.free_slot(&places) {
            Some(free) => (0, free),
            None => self.make_place(&places, hash, new.key, clock, counters)?,
        };
        if self.live >= self.capacity {
            self.make_room(standing, clock, counters)?;
        }
        self.count_spill(hash, choice, slot.bucket as usize);
        let away = slot.bucket as usize != places[0];
        Ok((slot, away))
    }

    /// Takes out what is dead in a key's home bucket, where it may keep the key from its place.
    #[cold]
    pub fn expire_at_home(&mut self, home: Home, clock: Clock<'_>, counters: &WorkerCounters) {
        self.expire_in(home.0 as usize, clock, counters);
    }

    /// Takes the dead out of a bucket.
    fn expire_in(&mut self, bucket: usize, clock: Clock<'_>, counters: &WorkerCounters) {
        for slot in Self::slots(&[bucket]) {
            if self.entry(slot).is_some_and(|entry| entry.is_dead(clock)) {
                self.expire(slot, counters);
            }
        }
    }

    /// Room in the home bucket of a key that has no entry there or anywhere else. `None` if it has one, or
    /// if finding room may take more than that: then see [`find`](Self::find) and [`insert`](Self::insert).
    #[inline(always)]
    pub fn vacancy(&self, home: Home, key: ClientKey<F>) -> Option<Vacancy> {
        let line = &self.buckets[home.0 as usize];
        let has_entry = equal_under_mask(&line.keys, KEY_MASK, key.word) != 0;
        let free = equal_under_mask(&line.keys, KEY_MASK, 0);
        let has_spilled = line.keys[0] & SPILL_MASK != 0;
        if has_entry | has_spilled | (free == 0) | (self.live >= self.capacity) {
            return None;
        }
        Some(Vacancy(Slot { bucket: home.0, way: free.trailing_zeros() as u8 }))
    }

    /// Takes out the only entry of a key, for a new one of that key, if it lies at home and `may_go` holds.
    pub fn vacate_only(
        &mut self,
        home: Home,
        key: ClientKey<F>,
        may_go: impl Fn(Entry<F>) -> bool,
        counters: &WorkerCounters,
    ) -> Option<Vacancy> {
        let line = &self.buckets[home.0 as usize];
        let found = equal_under_mask(&line.keys, KEY_MASK, key.word);
        if !found.is_power_of_two() || line.keys[0] & SPILL_MASK != 0 {
            return None; // none, or more than one, or perhaps more elsewhere
        }
        let slot = Slot { bucket: home.0, way: found.trailing_zeros() as u8 };
        if !may_go(self.taken(slot)) {
            return None;
        }
        self.vacate(slot.bucket as usize, usize::from(slot.way), counters);
        self.live -= 1;
        Some(Vacancy(slot))
    }

    /// Makes an entry as [`insert`](Self::insert) does, where room for it has been found: nothing may have been
    /// done to the table since. It is of TCP or UDP: those of SCTP are told to the table as they are
    /// [inserted](Self::insert_beside).
    #[inline(always)]
    pub fn insert_at_home(
        &mut self,
        Vacancy(slot): Vacancy,
        new: New<F>,
        tick: Tick,
        counters: &WorkerCounters,
    ) {
        debug_assert!(new.state.protocol() != Protocol::Sctp);
        self.fill(slot, false, new, tick, counters);
    }

    #[inline(always)]
    pub(super) fn fill(
        &mut self,
        slot: Slot,
        away: bool,
        new: New<F>,
        tick: Tick,
        counters: &WorkerCounters,
    ) {
        self.write_new(slot, away, new, tick);
        self.live += 1;
        counters.connections_created.add(1);
        count_new(counters, new.real, new.state);
    }

    /// The entry that gives way first, and how readily; of equals, the first. None that is established.
    fn most_yielding(&self, places: &[usize], clock: Clock<'_>) -> Option<(Yielding, Slot)> {
        let yielding = |slot: Slot| Some((Yielding::of(self.entry(slot)?, clock), slot));
        let all = Self::slots(places).filter_map(yielding).filter(|(how, _)| *how > Yielding::Established);
        // Of equals, `max_by_key` takes the last.
        all.min_by_key(|(how, _)| Reverse(*how))
    }

    /// All places of a key are taken: a dead entry gives way, or one moves to another place of its
    /// own (as in cuckoo hashing, one step), or there is room by a further choice, or a closing, half-open or one-sided
    /// one gives way. Returns the choice too.
    #[cold]
    fn make_place(
        &mut self,
        places: &[usize],
        hash: Hash,
        key: ClientKey<F>,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<(usize, Slot), NoRoom> {
        let yielding = self.most_yielding(places, clock);
        if let Some((Yielding::Dead, slot)) = yielding {
            self.expire(slot, counters);
            return Ok((0, slot));
        }
        if let Some(vacated) = self.relocate_one(places) {
            return Ok((0, vacated));
        }
        // Taken by others, not by this client endpoint alone: with more buckets they would lie elsewhere.
        if Self::slots(places).any(|slot| self.taken(slot).client_key() != key) {
            self.extent.run_short(self.live);
        }
        if let Some(further) = self.further_slot(hash, key) {
            return Ok(further);
        }
        let (_, slot) = yielding.ok_or(NoRoom::Places)?;
        self.evict(slot, clock, counters);
        Ok((0, slot))
    }

    /// Where the places of a key are taken when its region is moved: a free slot of that. Look-ups for a home that has
    /// such entries search the whole region.
    pub(super) fn anywhere(&self, home: usize) -> Option<Slot> {
        let mut region = [0; REGION];
        region.iter_mut().zip(region_of(home)).for_each(|(place, bucket)| *place = bucket);
        self.free_slot(&region)
    }

    pub(super) fn relocate_one(&mut self, places: &[usize]) -> Option<Slot> {
        let (from, to, hash, home) = Self::slots(places).find_map(|slot| {
            let hash = self.hash(self.entry(slot)?.client_key());
            let its_places = self.places(hash);
            let is_of_region = !Self::is_further(its_places[0], slot.bucket as usize);
            Some((slot, self.free_slot(&its_places)?, hash, its_places[0])).filter(|_| is_of_region)
        })?;
        let entry = self.entry(from)?;
        self.uncount_spill(hash, from.bucket as usize);
        self.count_spill(hash, 0, to.bucket as usize);
        let away = if to.bucket as usize == home { 0 } else { AWAY };
        let port = self.port(from);
        // In its new place before it leaves the old one.
        self.put_at(to, Entry { value: entry.value & !AWAY | away, ..entry }, port);
        memory::in_order();
        self.buckets[from.bucket as usize].take::<F>(usize::from(from.way), entry.rest);
        Some(from)
    }

    /// A new entry comes to lie in a free slot.
    #[inline(always)]
    pub(super) fn write_new(&mut self, slot: Slot, away: bool, new: New<F>, tick: Tick) {
        if new.port == 0 {
            self.write(slot, new.entry(away, tick));
        } else {
            self.write_with_port(slot, new.entry(away, tick), new.port);
        }
    }

    /// An entry comes to lie in a free slot: its key last, by which it is there.
    #[inline(always)]
    pub(super) fn write(&mut self, slot: Slot, entry: Entry<F>) {
        let line = &mut self.buckets[slot.bucket as usize];
        let way = usize::from(slot.way) % WAYS;
        let key = line.keys[way] & SPILL_MASK | entry.key;
        line.values[way] = entry.value;
        line.set_rest(way, entry.rest);
        memory::in_order();
        line.keys[way] = key;
    }

    /// The table holds its capacity: looks for an entry that may give way, in a bounded stretch of
    /// the table. The next call goes on from the bucket of the one found: were the whole stretch passed
    /// over for one entry, the number left in each would walk at random, and some would have none.
    fn make_room(
        &mut self,
        standing: impl Fn(RealId) -> Standing,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<(), NoRoom> {
        let mut stretch = [0; ROOM_SEARCH];
        let mut position = self.sweep_position;
        for place in &mut stretch {
            *place = position;
            position = self.extent.after(position);
        }
        let found = self.first_to_go(&stretch, standing, clock);
        self.sweep_position = found.map_or(position, |slot| slot.bucket as usize);
        self.evict(found.ok_or(NoRoom::Capacity)?, clock, counters);
        Ok(())
    }

    /// The entry of a stretch that gives way first to a new connection. What has just begun of services with far fewer
    /// connections than the new one's is spared, so that a flood of one service cannot take from all others what they
    /// need to open connections; but only up to an eighth of the stretch, so that half-open ones of many small services
    /// keep no large one out.
    fn first_to_go(
        &self,
        stretch: &[usize],
        standing: impl Fn(RealId) -> Standing,
        clock: Clock<'_>,
    ) -> Option<Slot> {
        let (mut entries, mut spared) = (0, 0);
        let (mut first, mut first_spared) = (None, None);
        for slot in Self::slots(stretch) {
            let Some(entry) = self.entry(slot) else { continue };
            entries += 1;
            let how = Yielding::of(entry, clock);
            let Standing { beside_new, share } = standing(entry.real());
            let is_spared = beside_new == Ordering::Less && how < Yielding::Closing;
            let silent = match how {
                Yielding::Established if beside_new != Ordering::Greater => continue,
                // The others are met in the order of their places, and so as long after they were made as can be.
                Yielding::Established => clock.tick.since(entry.tick()),
                _ => 0,
            };
            let best = if is_spared { &mut first_spared } else { &mut first };
            spared += usize::from(is_spared);
            let rank = (how, share, silent);
            if best.is_none_or(|(before, _)| rank > before) {
                *best = Some((rank, slot));
            }
        }
        first.or(first_spared.filter(|_| spared * SPARED_ONE_OF > entries)).map(|(_, slot)| slot)
    }

    fn evict(&mut self, slot: Slot, clock: Clock<'_>, counters: &WorkerCounters) {
        let Some(entry) = self.entry(slot) else { return };
        if entry.is_dead(clock) {
            self.expire(slot, counters);
        } else {
            counters.connections_evicted.add(1);
            self.remove(slot, counters);
        }
    }

    /// Takes out an entry that is dead.
    pub fn expire(&mut self, slot: Slot, counters: &WorkerCounters) {
        counters.connections_expired.add(1);
        self.remove(slot, counters);
    }

    /// Takes an entry out, and off its real's counts.
    pub fn remove(&mut self, slot: Slot, counters: &WorkerCounters) {
        if self.entry(slot).is_none() {
            return;
        }
        self.vacate(slot.bucket as usize, usize::from(slot.way), counters);
        self.live -= 1;
    }

    /// Takes off all counts what is in no slot any more.
    pub(super) fn forget(&mut self, entry: Entry<F>, counters: &WorkerCounters) {
        uncount(counters, entry);
        self.live -= 1;
    }

    /// Takes out what lies in this way of a bucket, and off its real's counts, but not yet off the table's.
    #[inline(always)]
    pub(super) fn vacate(&mut self, bucket: usize, way: usize, counters: &WorkerCounters) {
        let line = &mut self.buckets[bucket];
        let rest = line.rest(way);
        let entry: Entry<F> = line.take(way, rest);
        if entry.value & AWAY != 0 {
            self.forget_spill(bucket, entry);
        }
        uncount(counters, entry);
    }

    /// Takes an entry that lay away from home off the counts of its home bucket.
    #[cold]
    fn forget_spill(&mut self, bucket: usize, entry: Entry<F>) {
        self.uncount_spill(self.hash(entry.client_key()), bucket);
    }
}
