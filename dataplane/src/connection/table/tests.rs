use super::*;
use crate::connection::{Clock, Timeouts};
use crate::counters::WorkerCounters;
use crate::names::ids::REAL_IDS;
use crate::names::ids::RealId;
use memory::Huge;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::HashMap;

pub(super) const NOW: Tick = Tick::new(1_000_000);
const KEY: HashKey = HashKey { mask: 0x0123_4567_89ab_cdef, multiplier: 0x9e37_79b9_7f4a_7c15 };

fn new(key: ClientKey, real: u32, state: State) -> New {
    New { key, real: RealId(real), port: 0, next_hop: NextHopId(9), state }
}

impl<F: Family> Entry<F> {
    /// Its client and protocol.
    pub(in crate::connection) fn client(
        &self,
    ) -> Option<(std::net::SocketAddr, crate::names::ids::Protocol)> {
        Some((self.client_key().client(), self.client_key().protocol()?))
    }
}

impl<F: Family> Table<F> {
    /// Each slot that is taken, what it holds, and the port there.
    pub(in crate::connection) fn taken_slots(&self) -> Vec<(Slot, Entry<F>, u16)> {
        let places: Vec<usize> = (0..self.extent.most()).collect();
        let slots = Self::slots(&places);
        slots.filter_map(|slot| Some((slot, self.entry(slot)?, self.port(slot)))).collect()
    }

    /// Entries that lie in further choices.
    pub(in crate::connection) const fn in_further_choices(&self) -> usize {
        self.further_entries
    }
}

pub(super) struct Bench {
    pub(super) table: Table,
    pub(super) counters: WorkerCounters,
    pub(super) timeouts: Timeouts,
}

impl Bench {
    pub(super) fn new(capacity: usize) -> Self {
        Self::with_secret(capacity, KEY.mask, KEY.multiplier)
    }

    pub(super) fn with_secret(capacity: usize, mask: u64, multiplier: u64) -> Self {
        let table = Table::new(capacity, HashKey { mask, multiplier }, Huge::Never).unwrap();
        Self { table, counters: WorkerCounters::new(), timeouts: Timeouts::default() }
    }

    /// A turn with one new connection. It may lie elsewhere at its end.
    pub(super) fn insert(
        &mut self,
        client: u64,
        real: u32,
        state: State,
        tick: Tick,
    ) -> Result<Slot, NoRoom> {
        let made = self.insert_only(client, real, state, tick);
        self.end_turn();
        made
    }

    /// What a worker does with its table between two turns.
    pub(super) fn end_turn(&mut self) {
        if self.table.is_to_resize() {
            self.table.resize(&self.counters);
        }
    }

    pub(super) fn insert_only(
        &mut self,
        client: u64,
        real: u32,
        state: State,
        tick: Tick,
    ) -> Result<Slot, NoRoom> {
        let protocol = state.protocol().number();
        let key = ClientKey::new(client, protocol);
        let hash = self.table.hash(key);
        let Self { table, counters, timeouts } = self;
        let clock = Clock::new(tick, timeouts);
        table.insert(hash, new(key, real, state), clock, counters)
    }

    /// As the packet path does: at home if that is simple.
    pub(super) fn open(&mut self, client: u64, real: u32, state: State, tick: Tick) -> Result<(), NoRoom> {
        let key = ClientKey::new(client, 6);
        let Self { table, counters, .. } = self;
        let home = table.home_of(key);
        let nowhere = table.homes().probe(home, &key).is_nowhere();
        let known = table.find(table.hash(key), key, |_| true).is_some();
        assert!(!(nowhere && known), "client {client} is somewhere");
        match table.vacancy(home, key) {
            Some(vacancy) => {
                assert!(!known, "client {client} has an entry");
                table.insert_at_home(vacancy, new(key, real, state), tick, counters);
                Ok(())
            }
            None => self.insert_only(client, real, state, tick).map(|_| ()),
        }
    }

    /// Every entry can be found, is told to lie where it does, and is counted everywhere.
    pub(super) fn assert_sound(&self) {
        let table = &self.table;
        let (mut near, mut anywhere) = (vec![0; table.buckets.len()], vec![false; table.buckets.len()]);
        let mut further = vec![0; table.further.len()];
        let mut taken = 0;
        for bucket in 0..table.buckets.len() {
            for slot in Table::<V4>::slots(&[bucket]) {
                let Some(entry) = table.entry(slot) else { continue };
                let hash = table.hash(entry.client_key());
                let home = table.home(hash);
                assert_eq!(entry.value & entry::AWAY != 0, bucket != home);
                if region_of(home) != region_of(bucket) {
                    let (choice, placed_by) = table.hash_placed_by(hash, bucket);
                    assert!((1..=table.further(hash).choices()).contains(&choice), "it is looked for there");
                    assert!(table.places(placed_by).contains(&bucket));
                    assert!(table.buckets[home].spill().further);
                    further[table.extent.position(hash) / REGION] += 1;
                } else if bucket != home {
                    near[home] += 1;
                    anywhere[home] |= !table.places(hash).contains(&bucket);
                }
                taken += 1;
            }
        }
        for (home, bucket) in table.buckets.iter().enumerate() {
            let spill = bucket.spill();
            assert_eq!(spill.near, near[home]);
            assert!(spill.anywhere || !anywhere[home], "the whole region is searched");
            assert_eq!(bucket.keys[0] >> 4 & 15 == 0, spill == spill::Spill::default());
        }
        let known: Vec<_> = table.further.iter().map(|further| further.count()).collect();
        assert_eq!(known, further);
        assert_eq!(table.len(), taken);
        let gone = self.counters.connections_expired.get() + self.counters.connections_evicted.get();
        assert_eq!(self.counters.connections_created.get() - gone, taken as u64);
        let total = |real| self.counters.real(RealId(real)).total.get();
        assert_eq!((0..2048).map(total).sum::<u64>(), taken as u64);
    }

    pub(super) fn find(&self, client: u64, protocol: u8, real: u32) -> Option<(Slot, Entry)> {
        let key = ClientKey::new(client, protocol);
        self.table.find(self.table.hash(key), key, |entry| entry.real() == RealId(real))
    }

    pub(super) fn sweep_all(&mut self, now: Tick) -> usize {
        let Self { table, counters, timeouts } = self;
        table.sweep(table.buckets(), Clock::new(now, timeouts), counters)
    }

    fn spills(&self) -> u64 {
        let further = self.table.further.iter().map(|further| u64::from(further.count()));
        self.table.buckets.iter().map(|bucket| bucket.spill().near).chain(further).sum()
    }
}

#[test]
fn the_asked_capacity_is_held_by_established_connections_alone() {
    for capacity in [1, 7, 1000, 100_000] {
        let mut bench = Bench::new(capacity);
        for n in 0..capacity as u64 {
            let made = bench.insert(n * 0x9e37 + 1, 1, State::Established, NOW);
            assert!(made.is_ok(), "{n} of {capacity}: {made:?}");
        }
        assert_eq!(bench.table.len(), capacity);
        let one_more = bench.insert(u64::MAX >> 16, 1, State::Established, NOW);
        assert_eq!(one_more, Err(NoRoom::Capacity));
        for n in 0..capacity as u64 {
            assert!(bench.find(n * 0x9e37 + 1, 6, 1).is_some(), "{n} of {capacity}");
        }
        assert!(bench.table.bytes() <= capacity * 40 + (4 << 20));
    }
}

#[test]
fn the_capacity_is_held_whatever_the_clients_and_the_secret() {
    // Ports of one client, clients of one port, every 256th address, and a mixture.
    let patterns: [fn(u64) -> u64; 4] = [
        |n| 0x060a_a8c0 | (n & 0xffff).swap_bytes() >> 16 | n >> 16 << 24,
        |n| n | 0x5000 << 32,
        |n| n << 8 & 0xffff_ffff | n >> 24 << 32,
        |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16,
    ];
    for secret in 0..8u64 {
        for (which, pattern) in patterns.iter().enumerate() {
            let mut bench = Bench::new(60_000);
            bench.table.hash_key = HashKey {
                mask: secret.wrapping_mul(0x1234_5678_9abc_def1),
                multiplier: (secret + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1,
            };
            for n in 0..60_000 {
                let made = bench.insert(pattern(n), 1, State::Established, NOW);
                assert!(made.is_ok(), "pattern {which}, secret {secret}: {n}: {made:?}");
            }
            for n in 0..60_000 {
                assert!(bench.find(pattern(n), 6, 1).is_some(), "pattern {which}: {n}");
            }
        }
    }
}

#[test]
fn few_entries_lie_away_from_home_at_working_load() {
    let mut bench = Bench::new(100_000);
    for n in 0..100_000 {
        bench.insert(n, 1, State::Established, NOW).unwrap();
    }
    let share = bench.spills() as f64 / 100_000.0;
    assert!(share < 0.07, "{share}");
}

#[test]
fn room_is_made_in_order_dead_then_closing_then_half_open_then_one_sided() {
    let order = [
        (State::Udp, Tick::new(0)),
        (State::TimeWait, NOW),
        (State::SynRecv, NOW),
        (State::EstablishedByClient, NOW),
    ];
    let mut bench = Bench::new(order.len());
    for (n, (state, tick)) in order.iter().enumerate() {
        bench.insert(n as u64 + 1, n as u32, *state, *tick).unwrap();
    }
    for n in 0..4u32 {
        assert!(bench.insert(u64::from(n) + 100, 50 + n, State::Established, NOW).is_ok(), "{n}");
        for other in 0..4u32 {
            let protocol = if other == 0 { 17 } else { 6 };
            let there = bench.find(u64::from(other) + 1, protocol, other).is_some();
            assert_eq!(there, other > n, "after {n}: {other}");
        }
    }
    assert_eq!(bench.insert(200, 60, State::Established, NOW), Err(NoRoom::Capacity));
    assert_eq!(bench.counters.connections_expired.get(), 1);
    assert_eq!(bench.counters.connections_evicted.get(), 3);
    for n in 0..4u32 {
        assert!(bench.find(u64::from(n) + 100, 6, 50 + n).is_some(), "established ones stay");
    }
}

#[test]
fn every_state_of_one_side_alone_gives_way_and_no_other_that_lives() {
    for state in State::ALL.into_iter().skip(1) {
        let mut bench = Bench::new(8);
        for n in 0..8 {
            bench.insert(n, 1, state, NOW).unwrap();
        }
        let gives_way = state.is_closing() || state.is_half_open() || state.is_one_sided();
        assert_eq!(bench.insert(100, 2, State::SynRecv, NOW).is_ok(), gives_way, "{state:?}");
        bench.assert_sound();
    }
}

/// Real 0 is of the service with the most connections, 1 of one with fewer, 2 of one with hardly any.
fn standing(new: u32) -> impl Fn(RealId) -> Standing {
    const SHARES: [u32; 3] = [1000, 300, 5];
    move |real| {
        let (share, own) = (SHARES[real.0 as usize], SHARES[new as usize]);
        let beside_new = if share / 2 > own {
            Ordering::Greater
        } else if own / 2 > share {
            Ordering::Less
        } else {
            Ordering::Equal
        };
        Standing { beside_new, share }
    }
}

fn insert_beside(bench: &mut Bench, client: u64, real: u32, state: State) -> Result<Slot, NoRoom> {
    let key = ClientKey::new(client, 6);
    let hash = bench.table.hash(key);
    let Bench { table, counters, timeouts } = bench;
    let clock = Clock::new(NOW, timeouts);
    table.insert_beside(standing(real), hash, new(key, real, state), clock, counters)
}

#[test]
fn a_small_service_takes_from_the_largest_what_has_been_silent_for_longest() {
    let mut bench = Bench::new(40);
    for n in 0..40u64 {
        bench.insert(n, u32::from(n % 4 == 0), State::Established, Tick::new(1_000_000 - n)).unwrap();
    }
    // Of the largest service, one after the other; of the second none, though one has been silent for longer.
    for n in 0..5 {
        insert_beside(&mut bench, 100 + n, 2, State::Established).unwrap();
        bench.assert_sound();
    }
    let left = |real| (0..40u64).filter(|n| bench.find(*n, 6, real).is_some()).collect::<Vec<_>>();
    assert_eq!((left(0).len(), left(1).len()), (25, 10));
    assert!(!left(0).contains(&39) && !left(0).contains(&38), "{:?}", left(0));
    assert_eq!(bench.counters.connections_evicted.get(), 5);
    // Services of like size take nothing from each other, nor does one from itself.
    let mut bench = Bench::new(40);
    for n in 0..40 {
        bench.insert(n, 0, State::Established, NOW).unwrap();
    }
    assert_eq!(insert_beside(&mut bench, 100, 0, State::SynRecv), Err(NoRoom::Capacity));
}

#[test]
fn what_small_services_begin_is_spared_up_to_an_eighth() {
    for (half_open, spared) in [(1, true), (5, true), (6, false), (20, false)] {
        let mut bench = Bench::new(40);
        for n in 0..40u64 {
            let (real, state) = if n < half_open { (2, State::SynRecv) } else { (0, State::Established) };
            bench.insert(n, real, state, NOW).unwrap();
        }
        let made = insert_beside(&mut bench, 100, 0, State::SynRecv);
        assert_eq!(made.is_err(), spared, "{half_open}");
        // What is over is not.
        let (slot, _) = bench.find(0, 6, 2).unwrap_or_else(|| bench.find(1, 6, 2).unwrap());
        bench.table.set_state(slot, State::TimeWait);
        bench.table.capacity = bench.table.len();
        assert!(insert_beside(&mut bench, 101, 0, State::SynRecv).is_ok());
    }
}

#[test]
fn a_table_kept_full_by_half_open_connections_refuses_none_and_keeps_the_established() {
    const CAPACITY: u64 = 1024;
    const ESTABLISHED: u64 = CAPACITY * 3 / 4;
    let mut bench = Bench::new(CAPACITY as usize);
    for client in 0..ESTABLISHED {
        bench.insert(client, 1, State::Established, Tick::new(100)).unwrap();
    }
    for client in ESTABLISHED..ESTABLISHED + 20 * CAPACITY {
        assert!(bench.insert(client, 1, State::SynRecv, Tick::new(100)).is_ok(), "client {client}");
    }
    for client in 0..ESTABLISHED {
        assert!(bench.find(client, 6, 1).is_some(), "client {client}");
    }
    assert_eq!(bench.table.len() as u64, CAPACITY);
}

#[test]
fn a_home_bucket_is_filled_up_and_then_no_vacancy_any_more() {
    let mut bench = Bench::new(1000);
    let home = |bench: &Bench, client| bench.table.home(bench.table.hash(ClientKey::new(client, 6)));
    let first = home(&bench, 0);
    let mut together = (0..).filter(|client| home(&bench, *client) == first).take(6).collect::<Vec<u64>>();
    for (n, client) in together.drain(..5).enumerate() {
        let key = ClientKey::new(client, 6);
        let is_vacant = bench.table.vacancy(Home(first as u32), key).is_some();
        assert_eq!(is_vacant, n < WAYS, "{n}");
        bench.open(client, 1, State::SynRecv, NOW).unwrap();
        assert!(bench.table.vacancy(Home(first as u32), key).is_none(), "it is there");
        bench.assert_sound();
    }
    // One slot is free again, but the home has an entry elsewhere: any key's may be that.
    bench.table.expire(Slot { bucket: first as u32, way: 2 }, &bench.counters);
    assert!(bench.table.vacancy(Home(first as u32), ClientKey::new(together[0], 6)).is_none());
    bench.assert_sound();
}

#[test]
fn the_dead_at_home_give_way_before_an_entry_goes_elsewhere() {
    let mut bench = Bench::new(1000);
    let home = |bench: &Bench, client| bench.table.home(bench.table.hash(ClientKey::new(client, 6)));
    let first = home(&bench, 0);
    let together = (0..).filter(|client| home(&bench, *client) == first).take(6).collect::<Vec<u64>>();
    let states = [State::Close, State::Established, State::Close, State::SynRecv];
    for (client, state) in together.iter().zip(states) {
        bench.open(*client, 1, state, NOW).unwrap();
    }
    let late = Tick::new(1_000_000 + 41);
    let key = ClientKey::new(together[4], 6);
    assert!(bench.table.vacancy(Home(first as u32), key).is_none());
    let Bench { table, counters, timeouts } = &mut bench;
    table.expire_at_home(Home(first as u32), Clock::new(late, timeouts), counters);
    assert!(table.vacancy(Home(first as u32), key).is_some());
    assert_eq!((table.len(), counters.connections_expired.get()), (2, 2));
    // Without that having been asked for first.
    for client in [together[0], together[2]] {
        bench.insert(client, 1, State::Close, NOW).unwrap();
    }
    for client in &together[4..] {
        bench.insert(*client, 1, State::SynRecv, late).unwrap();
    }
    assert_eq!((bench.table.len(), bench.spills()), (4, 0));
    assert_eq!((bench.counters.connections_expired.get(), bench.counters.connections_evicted.get()), (4, 0));
    bench.assert_sound();
}

#[test]
fn a_connection_makes_place_for_a_new_one_of_its_client_if_it_is_the_only_one() {
    let mut bench = Bench::new(1000);
    let key = ClientKey::new(7, 6);
    let vacate = |bench: &mut Bench, goes: bool| {
        let home = bench.table.home_of(key);
        bench.table.vacate_only(home, key, |_| goes, &bench.counters)
    };
    assert!(vacate(&mut bench, true).is_none(), "there is none");
    bench.insert(7, 1, State::TimeWait, NOW).unwrap();
    assert!(vacate(&mut bench, false).is_none(), "it may not go");
    bench.insert(7, 2, State::TimeWait, NOW).unwrap();
    assert!(vacate(&mut bench, true).is_none(), "there are two");
    assert_eq!(bench.table.len(), 2);
    let (slot, _) = bench.find(7, 6, 1).unwrap();
    bench.table.expire(slot, &bench.counters);
    let vacancy = vacate(&mut bench, true).expect("the only one");
    assert!(bench.table.is_empty());
    let Bench { table, counters, .. } = &mut bench;
    table.insert_at_home(vacancy, new(key, 1, State::SynRecv), NOW, counters);
    assert_eq!(bench.find(7, 6, 1).map(|(_, entry)| entry.state()), Some(State::SynRecv));
    // With others elsewhere, or itself, it is not so simple.
    for real in 2..6 {
        bench.insert(7, real, State::TimeWait, NOW).unwrap();
    }
    for real in 1..5 {
        let (slot, _) = bench.find(7, 6, real).unwrap();
        bench.table.expire(slot, &bench.counters);
    }
    assert!(bench.spills() > 0 && vacate(&mut bench, true).is_none());
    assert!(bench.find(7, 6, 5).is_some());
}

#[test]
fn a_full_table_has_no_vacancy() {
    let mut bench = Bench::new(2);
    bench.open(1, 1, State::Established, NOW).unwrap();
    bench.open(2, 1, State::Established, NOW).unwrap();
    assert_eq!(bench.open(3, 1, State::SynRecv, NOW), Err(NoRoom::Capacity));
}

/// In tables of one region, of few, of many; empty or nearly full.
#[test]
fn one_client_endpoint_has_256_connections() {
    for (capacity, others) in [(1_000, 0), (1_000, 700), (6_000, 5_000), (100_000, 0), (100_000, 99_000)] {
        let mut bench = Bench::new(capacity);
        for n in 0..others {
            bench.insert(n + 1_000, 1, State::Established, NOW).unwrap();
        }
        for real in 0..MOST_OF_ENDPOINT as u32 {
            let made = bench.insert(7, real, State::Established, NOW);
            assert!(made.is_ok(), "{real} in {capacity} beside {others}: {made:?}");
        }
        bench.assert_sound();
        for real in 0..MOST_OF_ENDPOINT as u32 {
            assert!(bench.find(7, 6, real).is_some(), "{real}");
        }
        for real in 1_000..1_010 {
            assert_eq!(bench.insert(7, real, State::Established, NOW), Err(NoRoom::Places));
        }
        assert!(bench.insert(8, 100, State::Established, NOW).is_ok(), "others are not concerned");
        assert!((0..others).all(|n| bench.find(n + 1_000, 6, 1).is_some()));
        // One goes, one comes.
        let (slot, _) = bench.find(7, 6, 200).unwrap();
        bench.table.expire(slot, &bench.counters);
        assert!(bench.insert(7, 1_000, State::Established, NOW).is_ok());
        bench.assert_sound();
        // It is as if they had never been.
        for real in (0..MOST_OF_ENDPOINT as u32).filter(|real| *real != 200).chain([1_000]) {
            let (slot, _) = bench.find(7, 6, real).unwrap();
            bench.table.expire(slot, &bench.counters);
        }
        bench.assert_sound();
        assert!(bench.table.further.iter().all(|further| *further == Further::default()));
    }
}

/// A few connections further away are found by few look-ups, and what has none by the first.
#[test]
fn a_client_endpoint_has_as_many_choices_searched_as_it_uses() {
    let mut bench = Bench::new(100_000);
    let hash = bench.table.hash(ClientKey::new(7, 6));
    for (connections, choices) in [(16, 0), (17, 1), (32, 1), (33, 2), (64, 4), (128, 8), (256, 16)] {
        for real in bench.table.len() as u32..connections {
            bench.insert_only(7, real, State::Established, NOW).unwrap();
        }
        assert_eq!(bench.table.further(hash).choices(), choices, "{connections}");
    }
}

#[test]
fn spills_are_forgotten_with_their_entries() {
    let mut bench = Bench::new(2000);
    for n in 0..2000 {
        bench.insert(n, 1, State::Close, NOW).unwrap();
    }
    assert!(bench.spills() > 0);
    assert_eq!(bench.sweep_all(Tick::new(1_000_000 + 41)), 2000);
    assert_eq!(bench.spills(), 0);
    assert!(bench.table.is_empty());
    assert!(bench.table.buckets.iter().all(|bucket| bucket.keys == [0; WAYS]));
}

#[test]
fn a_sweep_in_slices_of_any_size_takes_out_the_dead_alone() {
    for slice in [1, 3, 7, 8, 9, 31, 64, 1000] {
        let mut bench = Bench::new(2000);
        for n in 0..2000 {
            let state = if n % 3 == 0 { State::Close } else { State::Established };
            bench.insert(n, 1, state, NOW).unwrap();
        }
        let now = Tick::new(1_000_000 + 41);
        let mut expired = 0;
        let Bench { table, counters, timeouts } = &mut bench;
        for _ in 0..table.buckets().div_ceil(slice) {
            expired += table.sweep(slice, Clock::new(now, timeouts), counters);
        }
        assert_eq!((expired, bench.table.len()), (667, 1333), "slices of {slice}");
        assert_eq!(
            bench.counters.entries_swept.get().div_euclid(2000),
            1,
            "once, but for what the last slice goes over"
        );
        assert!((0..2000).all(|n| bench.find(n, 6, 1).is_some() == (n % 3 != 0)));
        bench.assert_sound();
    }
}

#[test]
fn an_entry_keeps_the_largest_ids() {
    let mut bench = Bench::new(10);
    let real = REAL_IDS as u32 - 1;
    let slot = bench.insert(5, real, State::SynRecv, NOW).unwrap();
    bench.table.set_next_hop(slot, NextHopId((1 << 17) - 1));
    let entry = bench.table.entry(slot).unwrap();
    assert_eq!((entry.real(), entry.next_hop()), (RealId(real), NextHopId((1 << 17) - 1)));
    assert_eq!((entry.state(), entry.tick()), (State::SynRecv, NOW));
    bench.table.touch(slot, Tick::new(1_000_001));
    bench.table.set_state(slot, State::Established);
    let entry = bench.table.entry(slot).unwrap();
    assert_eq!((entry.real(), entry.next_hop()), (RealId(real), NextHopId((1 << 17) - 1)));
    assert_eq!((entry.state(), entry.tick()), (State::Established, Tick::new(1_000_001)));
}

#[test]
fn the_hash_depends_on_its_secret_and_spreads_consecutive_clients() {
    let mut bench = Bench::new(40_000);
    let mut fullest = HashMap::new();
    for n in 0..40_000u64 {
        let hash = bench.table.hash(ClientKey::new(n << 32 | 0x060a_a8c0, 6));
        *fullest.entry(bench.table.extent.position(hash)).or_insert(0) += 1;
    }
    assert!(fullest.values().max() < Some(&16), "{:?}", fullest.values().max());
    let one = bench.table.hash(ClientKey::new(1, 6)).0;
    bench.table.hash_key.mask ^= 1 << 40;
    assert_ne!(one, bench.table.hash(ClientKey::new(1, 6)).0);
}

/// What may be done to a table.
#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u32, usize),
    Remove(u64, u32),
    Touch(u64, u32, usize),
    Sweep,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, real) = (0..60u64, 0..3u32);
    prop_oneof![
        6 => (client.clone(), real.clone(), 0..11usize).prop_map(|(c, r, s)| Step::Insert(c, r, s)),
        2 => (client.clone(), real.clone()).prop_map(|(c, r)| Step::Remove(c, r)),
        3 => (client, real, 0..11usize).prop_map(|(c, r, s)| Step::Touch(c, r, s)),
        1 => Just(Step::Sweep),
        1 => (0..2000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// In a table of 64 slots that may be filled to the last: entries lie away from home, move, and give way.
    #[test]
    fn a_crowded_table_stays_sound(steps in prop::collection::vec(step(), 1..400)) {
        let mut bench = Bench::new(16);
        bench.table.capacity = 64;
        let mut ticks = 5_000;
        for step in steps {
            let now = Tick::new(ticks);
            match step {
                Step::Insert(client, real, state) => {
                    if bench.find(client, 6, real).is_none() {
                        let _ = bench.open(client, real, State::ALL[state], now);
                        let (slot, entry) = bench.find(client, 6, real).unzip();
                        prop_assert!(slot.is_none() || entry.map(Entry::tick) == Some(now));
                    }
                }
                Step::Remove(client, real) => {
                    if let Some((slot, _)) = bench.find(client, 6, real) {
                        bench.table.expire(slot, &bench.counters);
                    }
                }
                Step::Touch(client, real, _) => {
                    if let Some((slot, _)) = bench.find(client, 6, real) {
                        bench.table.touch(slot, now);
                        bench.table.set_next_hop(slot, NextHopId((1 << 17) - 1));
                    }
                }
                Step::Sweep => {
                    bench.sweep_all(now);
                }
                Step::Pass(more) => ticks += more,
            }
            bench.assert_sound();
        }
    }

    /// Against a plain map: what is alive there is found here with the same contents, and nothing else.
    #[test]
    fn the_table_holds_what_a_map_would(
        steps in prop::collection::vec(step(), 1..300), sctp in 0..8u32,
    ) {
        // Some of the reals are of SCTP's, whose states have the same four bits as the others'.
        let state_of = |real: u32, index: usize| State::ALL[index + if sctp >> real & 1 != 0 { 16 } else { 0 }];
        let protocol_of = |real| state_of(real, 0).protocol().number();
        let mut bench = Bench::new(1000);
        let mut map: HashMap<(u64, u32), (State, u64)> = HashMap::new();
        let mut ticks = 5_000u64;
        for step in steps {
            let now = Tick::new(ticks);
            let timeouts = bench.timeouts;
            let current = ticks;
            let alive = |entry: &(State, u64)| current - entry.1 < u64::from(timeouts.ticks(entry.0));
            match step {
                Step::Insert(client, real, state) => {
                    let state = state_of(real, state);
                    if map.get(&(client, real)).is_some_and(alive) { continue }
                    // The caller inserts what it did not find alive; a dead one is taken out first here
                    // so that the map's key stays unique.
                    if let Some((slot, _)) = bench.find(client, protocol_of(real), real) {
                        bench.table.remove(slot, &bench.counters);
                    }
                    if bench.insert(client, real, state, now).is_ok() {
                        map.insert((client, real), (state, ticks));
                    }
                }
                Step::Remove(client, real) => {
                    if let Some((slot, _)) = bench.find(client, protocol_of(real), real) {
                        bench.table.remove(slot, &bench.counters);
                    }
                    map.remove(&(client, real));
                }
                Step::Touch(client, real, state) => {
                    let state = state_of(real, state);
                    let Some(kept) = map.get_mut(&(client, real)).filter(|entry| alive(entry)) else { continue };
                    let (slot, entry) = bench.find(client, protocol_of(real), real).unwrap();
                    recount_state(bench.counters.reals(), RealId(real), entry.state(), state);
                    bench.table.touch(slot, now);
                    bench.table.set_state(slot, state);
                    *kept = (state, ticks);
                }
                Step::Sweep => {
                    let before = bench.table.len();
                    let expired = bench.sweep_all(now);
                    prop_assert_eq!(before - expired, bench.table.len());
                    map.retain(|_, entry| alive(entry));
                    prop_assert_eq!(map.len(), bench.table.len());
                }
                Step::Pass(more) => {
                    ticks += more;
                    continue;
                }
            }
            for ((client, real), (state, tick)) in &map {
                if !alive(&(*state, *tick)) { continue }
                let (_, entry) = bench.find(*client, protocol_of(*real), *real).expect("alive in the map");
                prop_assert_eq!((entry.state(), entry.tick()), (*state, Tick::new(*tick)));
            }
        }
        let counted: u64 = (0..3)
            .map(|real| bench.counters.real(RealId(real)))
            .map(|real| real.states.active() + real.inactive())
            .sum();
        prop_assert_eq!(counted, bench.table.len() as u64);
    }
}
