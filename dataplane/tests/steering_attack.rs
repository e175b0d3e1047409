//! Somebody who knows the program but not its key picks clients, to have them all owned by one worker.

mod nic;

use dataplane::steering::{ClientBits, Family, Hashed, Indirection, OwnerMap, ZeroWindow, free_key};
use dataplane::translation::endpoint_bits;
use nic::{Random, toeplitz};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Client endpoints that are picked.
const PICKED: usize = 10_000;

/// The endpoint with this address and this port, as 48 bits of which the address's first is the highest.
fn client(bits: u64) -> u64 {
    let (ip, port) = (Ipv4Addr::from_bits((bits >> 16) as u32), bits as u16);
    endpoint_bits(SocketAddrV4::new(ip, port))
}

/// All sums of the vectors, the first [`PICKED`] of them, in the order of a Gray code.
fn span(start: u64, vectors: &[u64]) -> Vec<u64> {
    let mut bits = start;
    let step = |n: u64| {
        if n > 0 {
            bits ^= vectors[n.trailing_zeros() as usize];
        }
        client(bits)
    };
    (0..1_u64 << vectors.len()).take(PICKED).map(step).collect()
}

fn stride(start: u64, step: u64) -> Vec<u64> {
    (0..PICKED as u64).map(|n| client(start.wrapping_add(n * step) & 0xffff_ffff_ffff)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    /// Of a NIC that hashes the client's fields alone.
    Free,
    ZeroWindow,
    /// No key: the map of software alone.
    Software,
}

/// A start of the daemon: its map, and the key that a NIC would have; none for software.
type Start = (OwnerMap, Vec<u8>);

fn start(kind: Key, entries: usize, workers: usize, random: &mut Random) -> Start {
    let table = Indirection::shuffled(entries, workers, || random.next()).unwrap();
    let software = OwnerMap::random(table.clone(), || random.next()).unwrap();
    match kind {
        Key::Free => {
            let key = free_key(&table, || random.next()).unwrap();
            (software.with_key(Family::V4, &key, ClientBits::ALONE).unwrap(), key.into())
        }
        Key::ZeroWindow => {
            let hashed = Hashed::AddressesAndPorts;
            let pair = ZeroWindow::random(Family::V4, hashed, &table, || random.next()).unwrap();
            (pair.owner_map(software).unwrap(), pair.key(ClientBits::ALONE, 40).unwrap())
        }
        Key::Software => (software, vec![0; 40]),
    }
}

/// Fourteen vectors on whose span the index takes few values under many keys: each is the one of the
/// candidates that adds the least rank, summed up over sample keys.
fn low_rank(samples: &[Start], candidates: &[u64]) -> Vec<u64> {
    let entries = samples[0].0.indirection().entries();
    let keys: Vec<_> = samples.iter().take(16).map(|(_, key)| key).collect();
    let index = |key: &[u8], vector: u64| toeplitz(key, &vector.to_be_bytes()[2..]) % entries as u32;
    let images: Vec<Vec<u32>> =
        candidates.iter().map(|vector| keys.iter().map(|key| index(key, *vector)).collect()).collect();
    let mut bases = vec![[0_u32; 9]; keys.len()];
    let mut chosen: Vec<u64> = Vec::new();
    let mut pivots = [0_u64; 48];
    let reduce = |basis: &[u32; 9], mut vector: u32| {
        while vector != 0 && basis[vector.ilog2() as usize] != 0 {
            vector ^= basis[vector.ilog2() as usize];
        }
        vector
    };
    while chosen.len() < 14 {
        let independent = |vector: u64| {
            let mut left = vector;
            while left != 0 && pivots[left.ilog2() as usize] != 0 {
                left ^= pivots[left.ilog2() as usize];
            }
            left
        };
        let cost = |at: &usize| {
            images[*at].iter().zip(&bases).filter(|(image, basis)| reduce(basis, **image) != 0).count()
        };
        let best =
            (0..candidates.len()).filter(|at| independent(candidates[*at]) != 0).min_by_key(cost).unwrap();
        let left = independent(candidates[best]);
        pivots[left.ilog2() as usize] = left;
        chosen.push(candidates[best]);
        for (basis, image) in bases.iter_mut().zip(&images[best]) {
            let left = reduce(basis, *image);
            if left != 0 {
                basis[left.ilog2() as usize] = left;
            }
        }
    }
    chosen
}

/// Whether one of the vectors is a sum of others.
fn dependent(vectors: &[u64]) -> bool {
    let mut pivots = [0_u64; 48];
    vectors.iter().any(|vector| {
        let mut left = *vector;
        while left != 0 && pivots[left.ilog2() as usize] != 0 {
            left ^= pivots[left.ilog2() as usize];
        }
        if left != 0 {
            pivots[left.ilog2() as usize] = left;
        }
        left == 0
    })
}

/// The vectors changed step by step, as long as more of sample keys give more than twice its share to a
/// worker, or nearly.
fn climbed(samples: &[Start], mut vectors: Vec<u64>, random: &mut Random) -> Vec<u64> {
    let (entries, workers) = (samples[0].0.indirection().entries(), samples[0].0.workers());
    let good = |vectors: &[u64]| {
        let over = |(map, key): &Start| {
            let mut reached = vec![0];
            for vector in vectors {
                let index = toeplitz(key, &vector.to_be_bytes()[2..]) % entries as u32;
                if !reached.contains(&index) {
                    reached.extend_from_within(..);
                    let half = reached.len() / 2;
                    reached[half..].iter_mut().for_each(|reached| *reached ^= index);
                }
            }
            let mut counts = vec![0; workers];
            reached.iter().for_each(|index| counts[map.indirection().worker(*index)] += 1);
            let share = f64::from(*counts.iter().max().unwrap()) * workers as f64 / reached.len() as f64;
            if share > 2.0 { 1.0 } else { (share - 1.0).powi(3) / 10.0 }
        };
        samples.iter().map(over).sum::<f64>()
    };
    let mut best = good(&vectors);
    for _ in 0..200 {
        let mut changed = vectors.clone();
        let at = random.below(14) as usize;
        let bit = |random: &mut Random| 1 << random.below(48);
        changed[at] = match random.below(3) {
            0 => bit(random) | bit(random),
            1 => changed[at] ^ bit(random),
            _ => random.next() & random.next() & random.next() & 0xffff_ffff_ffff,
        };
        if dependent(&changed) {
            continue;
        }
        let now = good(&changed);
        if now >= best {
            (best, vectors) = (now, changed);
        }
    }
    vectors
}

/// Guesses of the ratio of a zero window's two patterns, for each as many clients as give one worker too
/// much where it is right. With the first k bits of the patterns as polynomials P and Q, and those of a
/// client's address and port as a and b, such clients' index is zero, as aP + bQ = 0 modulo z^k. With
/// `at_end` the bits are in the other order.
fn ratios(workers: usize, at_end: bool, random: &mut Random) -> Vec<u64> {
    let each = PICKED * 7 / 5 / (workers - 1);
    let k = each.next_power_of_two().ilog2();
    let guess = |random: &mut Random| {
        let ratio = random.next() | 1;
        let of_port = |port: u64| (0..k).filter(|n| port >> n & 1 == 1).fold(0, |sum, n| sum ^ ratio << n);
        let bits = |port: u64| {
            let (address, port) = (of_port(port) << (64 - k) >> (64 - k), port);
            if at_end {
                address.reverse_bits() >> (64 - k) << 16 | port.reverse_bits() >> (64 - k)
            } else {
                address << (48 - k) | port << (16 - k)
            }
        };
        (0..each as u64).map(|port| client(bits(port))).collect::<Vec<_>>()
    };
    std::iter::repeat_with(|| guess(random)).flatten().take(PICKED).collect()
}

/// Picks, with their names. None of them knows the key that it is tried on.
fn picks(kind: Key, entries: usize, random: &mut Random) -> Vec<(String, Vec<u64>)> {
    let home = 0xc612_3456_0000_u64; // 198.18.52.86
    let mut picks = Vec::new();
    let mut add = |name: String, clients: Vec<u64>| {
        assert_eq!(clients.len(), PICKED, "{name}");
        picks.push((name, clients));
    };
    for step in [1, 2, 3, 4, 5, 6] {
        add(format!("ports of one address, {step} apart"), stride(home + 1024, step));
    }
    for power in 0..=18 {
        add(format!("one port of addresses 2^{power} apart"), stride(home | 40_000, 1 << (16 + power)));
    }
    for step in [3, 5, 127, 255, 257, 65_537, 0x0101_0101, 0x1234_5677] {
        add(format!("one port of addresses {step} apart"), stride(home | 40_000, step << 16));
    }
    for step in [0x0001_0001, 0x0100_0001, 0x0001_0100, 0x0101_0101_0101] {
        add(format!("address and port in step, {step:#x}"), stride(home, step));
    }
    for (ports, addresses) in [(100, 100), (10, 1000), (1000, 10)] {
        let grid = (0..PICKED as u64).map(|n| client(home + ((n / ports) << 16) + n % ports)).collect();
        add(format!("{ports} ports of {addresses} addresses"), grid);
    }
    // Low-dimensional: some bits of the address, some of the port.
    for (low, high, port_low, port_high) in [
        (14, 0, 0, 0),
        (0, 14, 0, 0),
        (0, 0, 14, 0),
        (0, 0, 0, 14),
        (7, 0, 7, 0),
        (0, 7, 0, 7),
        (4, 4, 3, 3),
        (7, 0, 0, 7),
        (0, 7, 7, 0),
    ] {
        let bit = |n: u64| 1_u64 << n;
        let vectors: Vec<_> = (0..low)
            .map(|n| bit(16 + n))
            .chain((0..high).map(|n| bit(47 - n)))
            .chain((0..port_low).map(bit))
            .chain((0..port_high).map(|n| bit(15 - n)))
            .collect();
        let name = format!("address bits {low} low {high} high, port bits {port_low} low {port_high} high");
        add(name, span(home, &vectors));
    }
    // Differences that cancel out if address and port have patterns alike.
    for (name, shift) in [("low", 16), ("middle", 24), ("high", 32)] {
        let vectors: Vec<_> = (0..14).map(|n| 1 << n | 1 << (shift + n)).collect();
        add(format!("port bits with {name} address bits"), span(home, &vectors));
    }
    // Subspaces that are bad for many keys.
    let units: Vec<u64> = (0..48).map(|n| 1 << n).collect();
    let few: Vec<u64> = units.iter().flat_map(|a| units.iter().map(move |b| a | b)).collect();
    let mixed = || random.next() & random.next() & 0xffff_ffff_ffff;
    let mixed: Vec<u64> = std::iter::repeat_with(mixed).take(2000).chain(units.clone()).collect();
    let samples = if cfg!(debug_assertions) { 4 } else { 16 };
    let samples: Vec<_> = (0..samples).map(|_| start(kind, entries, 2, random)).collect();
    for (name, candidates) in [("single bits", units), ("pairs of bits", few), ("any sums", mixed)] {
        add(format!("least rank, of {name}"), span(home, &low_rank(&samples, &candidates)));
    }
    // Others that the rules for drawing keys say nothing of.
    for step in [7, 15, 254, 510, 1000, 65_535, 0x00ff_00ff, 0x0100_0100] {
        add(format!("port 53 of addresses {step} apart"), stride(home | 53, step << 16));
    }
    for step in [0x0003_0001, 0x0001_0003, 0x0080_0001, 0x0001_8000, 0x1001_1001, 0xffff_0001] {
        add(format!("address and port in step, {step:#x}"), stride(home, step));
    }
    let patterns: [fn(u32) -> u64; 5] = [
        |n| 1 << (2 * n),
        |n| 1 << (3 * n),
        |n| 1 << (47 - n) | 1 << (33 - n),
        |n| 1 << (47 - n) | 1 << (16 + n),
        |n| 1 << (47 - n) | 1 << (15 - n) | 1 << n,
    ];
    for (number, pattern) in patterns.iter().enumerate() {
        let vectors: Vec<_> = (0..14).map(pattern).collect();
        add(format!("bits in pattern {number}"), span(home, &vectors));
    }
    for sums in [1, 2, 3, 1, 2, 3] {
        let vectors = std::iter::repeat_with(|| {
            let bits = |_| (0..sums).fold(0, |bits, _| bits ^ 1_u64 << random.below(48));
            (0..14).map(bits).collect::<Vec<_>>()
        });
        let vectors = vectors.into_iter().find(|vectors| !dependent(vectors)).unwrap();
        add(format!("any sums of {sums} bits"), span(home, &vectors));
    }
    // What is all one worker's under another key.
    for attempt in 0..4 {
        let (other, _) = start(kind, entries, 16, random);
        let all_its = |from: &mut dyn FnMut(u64) -> u64| -> Vec<u64> {
            (0..).map(&mut *from).filter(|client| other.owner(*client) == 0).take(PICKED).collect()
        };
        add(format!("owned by one under key {attempt}"), all_its(&mut |_| random.next() >> 16));
        add(format!("a network's, owned by one under key {attempt}"), all_its(&mut |n| client(home + n)));
    }
    picks
}

/// The largest share of a worker, as a multiple of the even share.
fn share(map: &OwnerMap, clients: &[u64]) -> f64 {
    let mut counts = vec![0_u32; map.workers()];
    clients.iter().for_each(|client| counts[map.owner(*client)] += 1);
    f64::from(*counts.iter().max().unwrap()) * map.workers() as f64 / clients.len() as f64
}

/// Trials, those in which a worker got more than twice its share, and the largest share.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    trials: usize,
    over: usize,
    most: f64,
}

/// What picks that are made from other keys' maps had, the others (up to four workers, and more), and
/// guesses of a zero window's ratio.
#[derive(Debug, Default)]
struct Outcomes {
    copied: Outcome,
    few_workers: Outcome,
    many_workers: Outcome,
    guessed: Outcome,
}

/// Tries every pick on `keys` keys for each number of workers.
fn attack(kind: Key, entries: usize, keys: usize) -> Outcomes {
    let (keys, samples, step) = if cfg!(debug_assertions) { (1, 2, 7) } else { (keys, 48, 1) };
    let mut random = Random(entries as u64);
    let general = picks(kind, entries, &mut random);
    let mut outcomes = Outcomes::default();
    for workers in (2..=16).step_by(step) {
        let mut picks = Vec::new();
        if kind != Key::Software {
            let units: Vec<u64> = (0..48).map(|n| 1 << n).collect();
            let pairs: Vec<u64> = units.iter().flat_map(|a| units.iter().map(move |b| a | b)).collect();
            let samples: Vec<_> = (0..samples).map(|_| start(kind, entries, workers, &mut random)).collect();
            for (name, candidates) in [("bits", &units), ("pairs", &pairs)] {
                let vectors = low_rank(&samples, candidates);
                let vectors = climbed(&samples, vectors, &mut random);
                picks.push((format!("{name} of least rank, climbed"), span(0, &vectors)));
            }
        }
        if kind == Key::ZeroWindow {
            for at_end in [false, true] {
                picks.push((format!("guessed, {at_end}"), ratios(workers, at_end, &mut random)));
            }
        }
        for _ in 0..keys {
            let (map, _) = start(kind, entries, workers, &mut random);
            for (name, clients) in general.iter().chain(&picks) {
                let share = share(&map, clients);
                let outcome = match name {
                    name if name.starts_with("guessed") => &mut outcomes.guessed,
                    name if name.contains("under key") && workers > 4 => &mut outcomes.copied,
                    _ if workers <= 4 => &mut outcomes.few_workers,
                    _ => &mut outcomes.many_workers,
                };
                outcome.trials += 1;
                outcome.most = outcome.most.max(share);
                if share > 2.0 {
                    outcome.over += 1;
                    println!("{kind:?}, {entries} entries, {workers} workers: {share:.2} for {name}");
                }
            }
        }
    }
    println!("{kind:?}, {entries} entries: {outcomes:?}");
    outcomes
}

/// The map of software.
#[test]
fn no_worker_gets_more_than_twice_its_share() {
    let Outcomes { copied, few_workers, many_workers, .. } = attack(Key::Software, 512, 20);
    for outcome in [copied, few_workers, many_workers] {
        assert!(outcome.trials >= 8 && outcome.most <= 2.0, "{outcome:?}");
    }
}

/// The key of NICs that hash the client's fields alone: neighbouring bits share most of it, so with many
/// workers a pick in some ten thousands has luck.
#[test]
fn hardly_any_free_key_gives_a_worker_more_than_twice_its_share() {
    let Outcomes { copied, few_workers, many_workers, .. } = attack(Key::Free, 512, 20);
    for outcome in [copied, few_workers] {
        assert!(outcome.trials >= 8 && outcome.most <= 2.0, "{outcome:?}");
    }
    assert!(
        many_workers.trials >= 80 && many_workers.over <= many_workers.trials / 5_000,
        "{many_workers:?}"
    );
}

/// With a zero window so little of the key is secret that an attacker who knows its form can be lucky.
#[test]
fn a_zero_window_gives_a_worker_more_than_twice_its_share_by_luck_alone() {
    let Outcomes { copied, few_workers, many_workers, guessed } = attack(Key::ZeroWindow, 128, 20);
    assert!(few_workers.trials >= 80 && few_workers.most <= 2.0, "{few_workers:?}");
    assert!(
        many_workers.trials >= 80 && many_workers.over <= many_workers.trials / 5_000,
        "{many_workers:?}"
    );
    assert!(copied.trials >= 16 && copied.over <= 2 + copied.trials / 200, "{copied:?}");
    assert!(guessed.trials >= 6 && guessed.over <= 2 + guessed.trials / 50, "{guessed:?}");
}

/// The figures of docs/measurements/workers.md.
#[test]
#[ignore = "it takes minutes"]
fn every_size_of_table_on_many_keys() {
    for kind in [Key::Software, Key::Free, Key::ZeroWindow] {
        for entries in [64, 128, 256, 512] {
            attack(kind, entries, if kind == Key::ZeroWindow { 500 } else { 100 });
        }
    }
}

/// What the test counts can be more: a key that everybody knows.
#[test]
fn a_known_key_is_no_defence() {
    let mut random = Random(1);
    let (map, _) = start(Key::Free, 512, 16, &mut random);
    let all_its = (0..).map(|_| random.next() >> 16).filter(|client| map.owner(*client) == 0);
    assert!(share(&map, &all_its.take(PICKED).collect::<Vec<_>>()) > 15.9);
}
