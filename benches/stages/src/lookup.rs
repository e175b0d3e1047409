//! Equal look-ups in natlb's table, in hashbrown and in DPDK's `rte_hash`: each is a hit that reads what a
//! packet needs.

#[cfg(feature = "rte_hash")]
pub mod rte_hash;

use crate::keys::Key;
use dataplane::connection::table::{ClientKey, Entry, Home, New, Probed, Table};
use dataplane::connection::{Clock, State, Timeouts};
use dataplane::counters::WorkerCounters;
use dataplane::frame::BURST;
use dataplane::names::direction::Direction;
use dataplane::names::family::V4;
use dataplane::names::ids::{NextHopId, RealId};
use dataplane::names::time::Tick;
use dataplane::snapshot::Snapshot;
use dataplane::translation::{Record, Rewrite};
use dataplane::worker::MISSES_PAGE_TABLES;
use dataplane::worker::stages::{PREFETCH_GROUP, PREFETCH_GROUP_IF_HUGE};
use hashbrown::HashMap;
use traffic::flows::is_tcp;
use traffic::world::{HASH_KEY, snapshot};

/// Reals of each service.
pub const REALS: u8 = 16;
const NOW: Tick = Tick::new(1);

/// The real that a flow has.
fn real_of(flow: u32) -> RealId {
    let index = flow / 2 % u32::from(REALS);
    RealId(if is_tcp(flow) { index } else { u32::from(REALS) + index })
}

/// What look-ups come to, to be compared between tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many were found.
    pub found: u64,
    /// Sum of what their clients' packets get for the VIP.
    pub sum: u64,
}

impl Outcome {
    #[inline(always)]
    fn add(&mut self, value: u64) {
        self.found += 1;
        self.sum = self.sum.wrapping_add(value);
    }
}

/// natlb's table, looked up as the packet path does: prefetch the homes of a burst, probe them, verify
/// each entry by its real's rewrite record and read that.
#[derive(Debug)]
pub struct Natlb {
    table: Table,
    snapshot: Snapshot,
}

/// Where a burst's keys are at home, and in which places there.
type Burst = [(Home, Probed); BURST];

impl Natlb {
    /// A table of capacity `flows` that is full.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn filled(flows: u32, huge: memory::Huge) -> Self {
        let mut table = Table::new(flows as usize, HASH_KEY, huge).expect("memory for the table");
        let (timeouts, counters) = (Timeouts::default(), WorkerCounters::new());
        let clock = Clock::new(Tick::new(0), &timeouts);
        for flow in 0..flows {
            let key = Key::of(flow).client();
            let state = if is_tcp(flow) { State::Established } else { State::Udp };
            let new = New { key, real: real_of(flow), port: 0, next_hop: NextHopId(1), state };
            table.insert(table.hash(key), new, clock, &counters).expect("room");
            table.resize(&counters);
        }
        Self { table, snapshot: snapshot(REALS) }
    }

    /// What its memory is made of.
    pub fn backing(&self) -> memory::Backing {
        self.table.backing()
    }

    #[inline(always)]
    fn hash(&self, burst: &mut Burst, keys: &[Key; BURST]) {
        for ((home, _), key) in burst.iter_mut().zip(keys) {
            *home = self.table.home_of(key.client());
        }
    }

    #[inline(always)]
    fn prefetch(&self, burst: &[(Home, Probed)]) {
        burst.iter().for_each(|(home, _)| self.table.prefetch(*home));
    }

    /// Meanwhile the buckets of the next burst, if there is one, are prefetched, so many at a time.
    #[inline(always)]
    fn resolve<const GROUP: usize>(
        &mut self,
        burst: &mut Burst,
        keys: &[Key; BURST],
        next: &[(Home, Probed)],
        outcome: &mut Outcome,
    ) {
        let homes = self.table.homes();
        for ((home, probed), key) in burst.iter_mut().zip(keys) {
            *probed = homes.probe(*home, &key.client());
        }
        let mut next = next.chunks_exact(GROUP);
        for (index, ((_, probed), key)) in burst.iter().zip(keys).enumerate() {
            if index % GROUP == 0
                && let Some(group) = next.next()
            {
                self.prefetch(group);
            }
            if let Some(rewrite) = self.value(*probed, *key) {
                outcome.add(u64::from(rewrite.next_hop().0));
            }
        }
    }

    #[inline(always)]
    fn value(&mut self, probed: Probed, key: Key) -> Option<&Rewrite> {
        let snapshot = &self.snapshot;
        let belongs = |entry: Entry| {
            snapshot.rewrite::<V4>(entry.real()).has(Direction::Forward, key.fields())
                && (entry.tick() == NOW || !entry.is_dead(snapshot.clock(NOW)))
        };
        let entry = match self.table.words().entry(probed) {
            Some(entry) if entry.has_key(key.client()) && belongs(entry) => entry,
            _ => elsewhere(&self.table, key, &belongs)?,
        };
        Some(snapshot.rewrite::<V4>(entry.real()))
    }

    /// Burst by burst, each resolved before the next is prefetched.
    pub fn bursts(&mut self, keys: &[[Key; BURST]]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut burst = Burst::default();
        for keys in keys {
            self.hash(&mut burst, keys);
            self.prefetch(&burst);
            self.resolve::<BURST>(&mut burst, keys, &[], &mut outcome);
        }
        outcome
    }

    /// Each burst is prefetched while the one before it is resolved: the worker's way.
    pub fn pipelined(&mut self, keys: &[[Key; BURST]]) -> Outcome {
        if self.table.buckets() > MISSES_PAGE_TABLES {
            self.pipelined_by::<PREFETCH_GROUP_IF_HUGE>(keys)
        } else {
            self.pipelined_by::<PREFETCH_GROUP>(keys)
        }
    }

    fn pipelined_by<const GROUP: usize>(&mut self, keys: &[[Key; BURST]]) -> Outcome {
        let mut outcome = Outcome::default();
        let (mut now, mut next) = (Burst::default(), Burst::default());
        let Some(first) = keys.first() else { return outcome };
        self.hash(&mut now, first);
        self.prefetch(&now);
        for pair in keys.windows(2) {
            self.hash(&mut next, &pair[1]);
            self.resolve::<GROUP>(&mut now, &pair[0], &next, &mut outcome);
            std::mem::swap(&mut now, &mut next);
        }
        self.resolve::<GROUP>(&mut now, &keys[keys.len() - 1], &[], &mut outcome);
        outcome
    }
}

#[cold]
fn elsewhere(table: &Table, key: Key, belongs: &impl Fn(Entry) -> bool) -> Option<Entry> {
    let key: ClientKey = key.client();
    table.find(table.hash(key), key, belongs).map(|(_, entry)| entry)
}

/// hashbrown in the place of natlb's table: the same keys, entries of the same content, the same
/// rewrite records. It can't prefetch.
#[derive(Debug)]
pub struct Hashbrown {
    map: HashMap<u64, u64>,
    snapshot: Snapshot,
}

impl Hashbrown {
    /// So many flows.
    pub fn filled(flows: u32) -> Self {
        let map = (0..flows).map(|flow| (Key::of(flow).near, u64::from(real_of(flow).0))).collect();
        Self { map, snapshot: snapshot(REALS) }
    }

    /// One after the other.
    pub fn one_by_one(&self, keys: &[[Key; BURST]]) -> Outcome {
        let mut outcome = Outcome::default();
        for key in keys.as_flattened() {
            let Some(value) = self.map.get(&key.near) else { continue };
            let rewrite = self.snapshot.rewrite::<V4>(RealId(*value as u32));
            if rewrite.has(Direction::Forward, key.fields()) {
                outcome.add(u64::from(rewrite.next_hop().0));
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffic::random::shuffled;

    #[test]
    fn all_tables_find_the_same() {
        let keys: Vec<Key> = shuffled(10_240).into_iter().map(Key::of).collect();
        let (bursts, _) = keys.as_chunks();
        let mut natlb = Natlb::filled(10_240, memory::Huge::Never);
        let outcome = natlb.bursts(bursts);
        assert_eq!(outcome.found, 10_240);
        assert_eq!(natlb.pipelined(bursts), outcome);
        assert_eq!(Hashbrown::filled(10_240).one_by_one(bursts), outcome);
    }
}
