//! The algorithms as they are described, looking at every real at every pick, and the comparison with ours over random
//! operations. `NATLB_SCHEDULE_OPERATIONS` is how many for each algorithm.

use super::kernel_model::Model;
use super::lab::{Entry, Lab};
use super::*;
use crate::live::elsewhere::Load;
use fastrand::Rng;
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::net::IpAddr;

const OPERATIONS: u64 = 20_000;
/// Reals that there may be at all.
const REALS: u32 = 400;
/// Seconds, and what the clock goes on by: a 256th of these.
const SLOW_START: u32 = 10;
const TICK: u64 = 10_000_000_000 / 256;

/// A service, told of every change.
struct Described {
    algorithm: Algorithm,
    flags: Flags,
    slow_start: u32,
    worker: u64,
    generation: u64,
    /// Newest first.
    list: Vec<Entry>,
    rounds: Model,
    credits: HashMap<RealId, i128>,
    random: Rng,
    /// When reals appeared that start slowly.
    births: HashMap<RealId, u64>,
    /// `mh`'s table, until a change.
    table: Option<Vec<Option<usize>>>,
}

impl Described {
    fn new(lab: &Lab) -> Self {
        let mut model = Self {
            algorithm: lab.algorithm,
            flags: lab.options.flags,
            slow_start: lab.options.slow_start,
            worker: lab.worker as u64,
            generation: 0,
            list: Vec::new(),
            rounds: Model::default(),
            credits: HashMap::new(),
            random: Rng::with_seed(0),
            births: HashMap::new(),
            table: None,
        };
        model.begin_anew();
        model
    }

    fn begin_anew(&mut self) {
        self.generation += 1;
        let list = std::mem::take(&mut self.rounds.list);
        // As made anew: with what the last change came to.
        self.rounds = Model::default();
        self.rounds.list = list;
        self.rounds.changed();
        self.credits.clear();
        self.births.clear();
        self.random = Rng::with_seed((self.generation << 16) + self.worker);
    }

    /// After a change to the list.
    fn changed(&mut self, known: &Known<'_>) {
        self.table = None;
        if self.algorithm == Algorithm::WeightedRoundRobin {
            self.rounds.pointer = None;
        }
        let total: i128 = self.usable(known).map(|entry| self.weight(entry, known)).sum();
        self.credits.retain(|real, _| self.list.iter().any(|entry| entry.real == *real));
        self.credits.values_mut().for_each(|credit| *credit = (*credit).clamp(-total, total));
    }

    fn add(&mut self, entry: Entry, known: &Known<'_>) {
        self.list.insert(0, entry);
        self.rounds.add(Candidate { real: entry.real, weight: entry.weight });
        if entry.weight > 0 {
            self.births.insert(entry.real, known.now.nanoseconds);
        }
        self.changed(known);
    }

    fn edit(&mut self, at: usize, weight: u32, known: &Known<'_>) {
        let entry = &mut self.list[at];
        if entry.weight == 0 {
            self.births.remove(&entry.real);
            if weight > 0 {
                self.births.insert(entry.real, known.now.nanoseconds);
            }
        }
        entry.weight = weight;
        if weight > 0 {
            entry.identity.last_weight = weight;
        }
        self.rounds.edit(at, weight);
        self.changed(known);
    }

    fn delete(&mut self, at: usize, known: &Known<'_>) {
        let entry = self.list.remove(at);
        self.births.remove(&entry.real);
        self.rounds.delete(at);
        self.changed(known);
    }

    fn usable(&self, known: &Known<'_>) -> impl Iterator<Item = &Entry> {
        self.list.iter().filter(|entry| entry.weight > 0 && known.live.is_usable(entry.real))
    }

    /// The weight that it counts with.
    fn weight(&self, entry: &Entry, known: &Known<'_>) -> i128 {
        self.share(entry, known) * i128::from(entry.weight)
    }

    fn share(&self, entry: &Entry, known: &Known<'_>) -> i128 {
        if self.slow_start == 0 {
            return 1;
        }
        let span = i128::from(self.slow_start) * 1_000_000_000;
        let Some(birth) = self.births.get(&entry.real) else { return 256 };
        (i128::from(known.now.nanoseconds - birth) * 256 / span).clamp(1, 256)
    }

    /// The first whose cost for its weight no other's is below.
    fn least(
        &self,
        known: &Known<'_>,
        cost: impl Fn(Load) -> i128,
        weight: impl Fn(&Entry) -> i128,
    ) -> Option<RealId> {
        let mut least: Option<(&Entry, i128)> = None;
        for entry in self.usable(known) {
            let cost = cost(known.connections(entry.real));
            if least.is_none_or(|(best, best_cost)| best_cost * weight(entry) > cost * weight(best)) {
                least = Some((entry, cost));
            }
        }
        least.map(|(entry, _)| entry.real)
    }

    fn heaviest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<RealId> {
        let mut heaviest: Option<&Entry> = None;
        for entry in entries {
            if heaviest.is_none_or(|heaviest| entry.weight > heaviest.weight) {
                heaviest = Some(entry);
            }
        }
        heaviest.map(|entry| entry.real)
    }

    fn two(&mut self, known: &Known<'_>) -> Option<RealId> {
        let usable: Vec<Entry> = self.usable(known).copied().collect();
        let total: i128 = usable.iter().map(|entry| self.weight(entry, known)).sum();
        if usable.is_empty() {
            return None;
        }
        let lots = [(); 2].map(|()| i128::from(self.random.u64(0..=total as u64)));
        let [first, second] = lots.map(|mut lot| {
            let drawn = usable.iter().find(|entry| {
                lot -= self.weight(entry, known);
                lot <= 0
            });
            *drawn.unwrap()
        });
        let cost = |entry: &Entry| overhead(known.connections(entry.real));
        let is_second =
            self.weight(&second, known) * cost(&first) > self.weight(&first, known) * cost(&second);
        Some(if is_second { second.real } else { first.real })
    }

    fn smooth(&mut self, known: &Known<'_>) -> Option<RealId> {
        let usable: Vec<(RealId, i128)> =
            self.usable(known).map(|entry| (entry.real, self.weight(entry, known))).collect();
        let mut best: Option<(RealId, i128)> = None;
        for (real, weight) in &usable {
            let credit = self.credits.entry(*real).or_insert(0);
            *credit += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((*real, *credit));
            }
        }
        let (best, _) = best?;
        *self.credits.get_mut(&best).unwrap() -= usable.iter().map(|(_, weight)| weight).sum::<i128>();
        Some(best)
    }

    fn number(address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(address) => u32::from_be_bytes(address.octets()),
            IpAddr::V6(address) => {
                let words = address.octets();
                words.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).fold(0, |a, b| a ^ b)
            }
        }
    }

    /// Whom a bucket of `sh` or `dh` is of.
    fn bucket(&self, bucket: usize) -> Option<&Entry> {
        let is_weighted = self.algorithm == Algorithm::SourceHashing;
        let turns = |entry: &Entry| if is_weighted { entry.weight.max(1) as usize } else { 1 };
        let round: usize = self.list.iter().map(turns).sum();
        let mut left = bucket % round.max(1);
        self.list.iter().find(|entry| {
            let is_his = left < turns(entry);
            left = left.wrapping_sub(turns(entry));
            is_his
        })
    }

    fn sip(word: u32, key: u64) -> usize {
        SipHasher13::new_with_keys(key, key).hash(&word.to_le_bytes()) as u32 as usize
    }

    fn maglev(&mut self) -> &[Option<usize>] {
        let list = &self.list;
        self.table.get_or_insert_with(|| {
            let mut table = vec![None; 4093];
            let weights: Vec<u32> = list.iter().map(|entry| entry.identity.last_weight).collect();
            let largest = weights.iter().copied().max().unwrap_or(0);
            let divides = |by: &u32| weights.iter().all(|weight| weight % by == 0);
            let Some(divisor) = (1..=largest).rev().find(divides) else { return table };
            let mut shift = 0;
            while (largest / divisor) >> (shift + 6) > 0 {
                shift += 1;
            }
            let mut tried = vec![0; list.len()];
            let mut filled = 0;
            loop {
                for (place, entry) in list.iter().enumerate() {
                    let turns = match weights[place] {
                        0 => 0,
                        weight => ((weight / divisor) >> shift).max(1),
                    };
                    let endpoint = entry.identity.endpoint;
                    let word = Self::number(endpoint.ip()).wrapping_add(u32::from(endpoint.port()));
                    let (from, step) =
                        (Self::sip(word, 2_654_435_761), Self::sip(word, 2_654_446_892) % 4092 + 1);
                    for _ in 0..turns {
                        let slot = |tried: usize| (from % 4093 + tried * step) % 4093;
                        while table[slot(tried[place])].is_some() {
                            tried[place] += 1;
                        }
                        table[slot(tried[place])] = Some(place);
                        filled += 1;
                        if filled == 4093 {
                            return table;
                        }
                    }
                }
            }
        })
    }

    fn hashed(&mut self, asked: &Asked<'_>) -> Option<RealId> {
        let is_maglev = self.algorithm == Algorithm::MaglevHashing;
        let is_destination = self.algorithm == Algorithm::DestinationHashing;
        let word = if is_destination {
            Self::number(asked.destination.ip())
        } else {
            let port = if self.flags.has(Flags::PORT) { asked.client.port() } else { 0 };
            Self::number(asked.client.ip()).wrapping_add(u32::from(port))
        };
        let size = if is_maglev { 4093 } else { 256 };
        let hash = |offset: usize| {
            if is_maglev {
                Self::sip(word.wrapping_add(offset as u32), 2_654_435_761) % 4093
            } else {
                ((word.wrapping_mul(0x61c8_8647) >> 24) as usize + offset) % 256
            }
        };
        if is_maglev {
            self.maglev();
        }
        let real = |bucket: usize| match &self.table {
            Some(table) if is_maglev => table[bucket].map(|place| &self.list[place]),
            _ => self.bucket(bucket),
        };
        let takes = |entry: &&Entry| entry.weight > 0 && asked.known.live.is_usable(entry.real);
        let first = hash(0);
        if let Some(entry) = real(first).filter(takes) {
            return Some(entry.real);
        }
        if is_destination || !self.flags.has(Flags::FALLBACK) {
            return None;
        }
        let tried = (0..size).map(|offset| hash((offset + first) % size));
        tried.map(real).find_map(|entry| entry.filter(takes)).map(|entry| entry.real)
    }

    fn pick(&mut self, asked: &Asked<'_>) -> Option<RealId> {
        let known = &asked.known;
        match self.algorithm {
            Algorithm::RoundRobin => self.rounds.pick_rr(),
            Algorithm::WeightedRoundRobin => self.rounds.pick_wrr(),
            Algorithm::LeastConnection => self.least(known, overhead, |entry| self.share(entry, known)),
            Algorithm::WeightedLeastConnection => {
                self.least(known, overhead, |entry| self.weight(entry, known))
            }
            Algorithm::ShortestExpectedDelay => self.shortest(known),
            Algorithm::NeverQueue => {
                let idle = self.usable(known).find(|entry| known.connections(entry.real).active == 0);
                idle.map(|entry| entry.real).or_else(|| self.shortest(known))
            }
            Algorithm::WeightedFailover => Self::heaviest(self.usable(known)),
            Algorithm::WeightedOverflow => Self::heaviest(
                self.usable(known).filter(|entry| known.connections(entry.real).active <= entry.weight),
            ),
            Algorithm::PowerOfTwo => self.two(known),
            Algorithm::SmoothWeightedRoundRobin => self.smooth(known),
            Algorithm::SourceHashing | Algorithm::MaglevHashing | Algorithm::DestinationHashing => {
                self.hashed(asked)
            }
        }
    }

    fn shortest(&self, known: &Known<'_>) -> Option<RealId> {
        self.least(known, |load| i128::from(load.active) + 1, |entry| self.weight(entry, known))
    }
}

fn overhead(load: Load) -> i128 {
    i128::from(load.active) * 256 + i128::from(load.inactive)
}

/// Both, and what happens to them.
struct Comparison {
    lab: Lab,
    model: Described,
    random: Rng,
    /// Reals are added up to this many.
    size: usize,
    picks: u64,
}

impl Comparison {
    fn new(algorithm: Algorithm, flags: Flags, slow_start: u32, seed: u64) -> Self {
        let mut lab = Lab::new(algorithm, flags);
        lab.options.slow_start = slow_start;
        lab.worker = if algorithm == Algorithm::PowerOfTwo { 5 } else { 0 };
        // The first list is adopted empty, so that the first reals start slowly as others do.
        lab.changed();
        let model = Described::new(&lab);
        Self { lab, model, random: Rng::with_seed(seed), size: 12, picks: 0 }
    }

    fn weight(&mut self) -> u32 {
        match self.random.u32(..8) {
            0 => 0,
            1 => self.random.u32(0..=65_535),
            2 => self.random.u32(1..8) * 6,
            _ => self.random.u32(1..6),
        }
    }

    fn some_real(&mut self) -> Option<u32> {
        let count = self.lab.list.len();
        (count > 0).then(|| self.lab.list[self.random.usize(..count)].real.0)
    }

    fn edit(&mut self) {
        let Self { lab, model, random, size, .. } = self;
        let weight = match random.u32(..8) {
            0 => 0,
            1 => random.u32(0..=65_535),
            _ => random.u32(1..6),
        };
        let count = lab.list.len();
        let at = if count > 0 { random.usize(..count) } else { 0 };
        match random.u32(..100) {
            0 => {
                model.begin_anew();
                lab.begin_anew();
                model.changed(&lab.around.known());
            }
            1..30 if count > 0 => {
                model.delete(at, &lab.around.known());
                lab.delete(lab.list[at].real.0);
            }
            30..60 if count > 0 => {
                model.edit(at, weight, &lab.around.known());
                lab.edit(lab.list[at].real.0, weight);
            }
            _ if count < *size => {
                let weight = self.weight();
                let Self { lab, model, random, .. } = self;
                let real = random.u32(..REALS);
                if lab.list.iter().all(|entry| entry.real.0 != real) {
                    lab.add_at(
                        real,
                        &format!("10.1.{}.{}:{}", real / 200, real % 200, 80 + real % 3),
                        weight,
                    );
                    model.add(lab.list[0], &lab.around.known());
                }
            }
            _ => {}
        }
    }

    /// Whether flags are compared: with `rr` and `wrr` they are elsewhere.
    fn has_flags(&self) -> bool {
        !matches!(self.lab.algorithm, Algorithm::RoundRobin | Algorithm::WeightedRoundRobin)
    }

    fn step(&mut self) {
        match self.random.u32(..1000) {
            0 => self.size = *self.random.choice(&[1, 3, 12, 12, 60, 300]).unwrap(),
            1 => {
                // More than is known one by one.
                for _ in 0..300 {
                    self.tell_of_others();
                }
            }
            2..80 => self.edit(),
            80..110 if self.has_flags() => {
                let is = self.random.u32(..3) == 0;
                if let Some(real) = self.some_real() {
                    if self.random.bool() {
                        self.lab.around.live.set_overloaded(RealId(real), is);
                    } else {
                        self.lab.around.live.set_unavailable(RealId(real), is);
                    }
                }
            }
            110..150 => self.tell_of_others(),
            150..200 => self.lab.around.now.nanoseconds += TICK * self.random.u64(1..40),
            200..500 => {
                let Some(real) = self.some_real() else { return };
                let load = Load::of(self.lab.around.own.real(RealId(real)));
                match self.random.u32(..3) {
                    0 if load.active > 0 => self.lab.close(real),
                    1 if load.inactive > 0 => self.lab.forget(real),
                    _ => self.lab.open(real),
                }
            }
            _ => self.pick(),
        }
    }

    fn tell_of_others(&mut self) {
        let load = Load { active: self.random.u32(..20), inactive: self.random.u32(..2000) };
        if let Some(real) = self.some_real() {
            self.lab.around.elsewhere.set(RealId(real), load);
        }
    }

    fn pick(&mut self) {
        let client: IpAddr = if self.random.bool() {
            self.random.u32(..).to_be_bytes().into()
        } else {
            self.random.u128(..).to_be_bytes().into()
        };
        let client = SocketAddr::new(client, self.random.u16(..));
        let destination = SocketAddr::from((self.random.u32(..).to_be_bytes(), 80));
        let asked = Asked { client, destination, known: self.lab.around.known() };
        let expected = self.model.pick(&asked).map(|real| real.0);
        let found = self.lab.pick_for(client, destination);
        assert_eq!(found, expected, "{}: pick {} of {:?}", self.lab.algorithm, self.picks, self.lab.list);
        self.picks += 1;
        if let Some(real) = found
            && self.random.u32(..4) > 0
        {
            self.lab.open(real);
        }
    }
}

fn compare(algorithm: Algorithm, flags: Flags, slow_start: u32) {
    let operations =
        std::env::var("NATLB_SCHEDULE_OPERATIONS").map_or(OPERATIONS, |text| text.parse().unwrap());
    let mut comparison = Comparison::new(algorithm, flags, slow_start, 0x5eed ^ algorithm as u64);
    for _ in 0..operations {
        comparison.step();
    }
    assert!(comparison.picks > operations / 3);
}

macro_rules! comparisons {
    ($($name:ident: $algorithm:ident;)*) => {
        $(#[test]
        fn $name() {
            compare(Algorithm::$algorithm, Flags::NONE, 0);
        })*
    };
}

comparisons! {
    rr_is_as_described: RoundRobin;
    wrr_is_as_described: WeightedRoundRobin;
    lc_is_as_described: LeastConnection;
    wlc_is_as_described: WeightedLeastConnection;
    sed_is_as_described: ShortestExpectedDelay;
    nq_is_as_described: NeverQueue;
    fo_is_as_described: WeightedFailover;
    ovf_is_as_described: WeightedOverflow;
    twos_is_as_described: PowerOfTwo;
    swrr_is_as_described: SmoothWeightedRoundRobin;
    sh_is_as_described: SourceHashing;
    mh_is_as_described: MaglevHashing;
    dh_is_as_described: DestinationHashing;
}

#[test]
fn hashing_with_flags_is_as_described() {
    for algorithm in [Algorithm::SourceHashing, Algorithm::MaglevHashing] {
        compare(algorithm, Flags::FALLBACK, 0);
        compare(algorithm, Flags::FALLBACK.with(Flags::PORT), 0);
    }
}

#[test]
fn slow_start_is_as_described() {
    for algorithm in Algorithm::ALL {
        // With `rr` and `wrr` shares are of turns: see the tests of these.
        if algorithm.has_slow_start() && !algorithm.name().ends_with("rr")
            || algorithm == Algorithm::SmoothWeightedRoundRobin
        {
            compare(algorithm, Flags::NONE, SLOW_START);
        }
    }
}
