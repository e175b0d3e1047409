//! Somebody who knows the program but not its key picks IPv6 clients, to have them all owned by one worker. A client
//! has far more bits to pick from than one of IPv4, and somebody has a whole network of them.

mod nic;

use dataplane::steering::{Family, Hashed, Indirection, OwnerMap, ZeroWindow, free_key};
use nic::{Random, toeplitz};

/// Client endpoints that are picked.
const PICKED: usize = 10_000;
/// Bits of an endpoint: first those of the address, then those of the port.
const BITS: usize = 144;

/// A client: its address and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    address: u128,
    port: u16,
}

/// In 2001:db8::/32.
const HOME: Client = Client { address: 0x2001_0db8_0a0b_0c0d_0000_0000_0000_1000, port: 40_000 };

impl Client {
    /// That bit set, counted from the first of the address to the last of the port; nothing else.
    fn bit(bit: usize) -> Self {
        match bit {
            0..128 => Self { address: 1 << (127 - bit), port: 0 },
            _ => Self { address: 0, port: 1 << (BITS - 1 - bit) },
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { address: self.address ^ other.address, port: self.port ^ other.port }
    }

    fn bytes(self) -> [u8; BITS / 8] {
        let mut bytes = [0; BITS / 8];
        bytes[..16].copy_from_slice(&self.address.to_be_bytes());
        bytes[16..].copy_from_slice(&self.port.to_be_bytes());
        bytes
    }

    fn owner(self, map: &OwnerMap) -> usize {
        map.owner_v6(self.address.swap_bytes(), self.port.swap_bytes())
    }

    fn random(random: &mut Random) -> Self {
        let address = u128::from(random.next()) << 64 | u128::from(random.next());
        Self { address, port: random.next() as u16 }
    }
}

/// All sums of the vectors and `HOME`, the first [`PICKED`] of them, in the order of a Gray code.
fn span(vectors: &[Client]) -> Vec<Client> {
    let mut client = HOME;
    let step = |n: usize| {
        if n > 0 {
            client = client.plus(vectors[n.trailing_zeros() as usize]);
        }
        client
    };
    (0..1 << vectors.len()).take(PICKED).map(step).collect()
}

fn each(client: impl Fn(u128) -> Client) -> Vec<Client> {
    (0..PICKED as u128).map(client).collect()
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
    let alone = Family::V6.alone();
    match kind {
        Key::Free => {
            let key = free_key(&table, || random.next()).unwrap();
            (software.with_key(Family::V6, &key, alone).unwrap(), key.into())
        }
        Key::ZeroWindow => {
            let hashed = Hashed::AddressesAndPorts;
            let pair = ZeroWindow::random(Family::V6, hashed, &table, || random.next()).unwrap();
            (pair.owner_map(software).unwrap(), pair.key(alone, 40).unwrap())
        }
        Key::Software => (software, vec![0; 40]),
    }
}

/// Rows of a matrix over the field of two elements, reduced; adds one if no sum of them is it.
#[derive(Default)]
struct Basis(Vec<(usize, Client)>);

impl Basis {
    fn add(&mut self, vector: Client) -> bool {
        let has = |client: Client, bit: usize| client.bytes()[bit / 8] >> (7 - bit % 8) & 1 == 1;
        let left = self.0.iter().fold(
            vector,
            |left, (pivot, row)| {
                if has(left, *pivot) { left.plus(*row) } else { left }
            },
        );
        let pivot = (0..BITS).find(|bit| has(left, *bit));
        self.0.extend(pivot.map(|pivot| (pivot, left)));
        pivot.is_some()
    }
}

/// Fourteen vectors on whose span the index takes few values under many keys: each is the one of the candidates that
/// adds the least rank, summed up over sample keys.
fn low_rank(samples: &[Start], candidates: &[Client]) -> Vec<Client> {
    let entries = samples[0].0.indirection().entries() as u32;
    let reduce = |basis: &[u32; 9], mut vector: u32| {
        while vector != 0 && basis[vector.ilog2() as usize] != 0 {
            vector ^= basis[vector.ilog2() as usize];
        }
        vector
    };
    let image = |vector: &Client, key: &[u8]| toeplitz(key, &vector.bytes()) % entries;
    let images: Vec<Vec<u32>> =
        candidates.iter().map(|vector| samples.iter().map(|(_, key)| image(vector, key)).collect()).collect();
    let mut bases = vec![[0_u32; 9]; samples.len()];
    let (mut chosen, mut taken) = (Vec::new(), Basis::default());
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    while chosen.len() < 14 {
        let cost = |at: &usize| {
            images[*at].iter().zip(&bases).filter(|(image, basis)| reduce(basis, **image) != 0).count()
        };
        let best = left.iter().copied().min_by_key(cost).unwrap();
        left.retain(|at| *at != best);
        if !taken.add(candidates[best]) {
            continue;
        }
        chosen.push(candidates[best]);
        for (basis, image) in bases.iter_mut().zip(&images[best]) {
            let rest = reduce(basis, *image);
            if rest != 0 {
                basis[rest.ilog2() as usize] = rest;
            }
        }
    }
    chosen
}

/// Picks, with their names. None of them knows the key that it is tried on.
fn picks(kind: Key, entries: usize, random: &mut Random) -> Vec<(String, Vec<Client>)> {
    let mut picks = Vec::new();
    let mut add = |name: String, clients: Vec<Client>| {
        assert_eq!(clients.len(), PICKED, "{name}");
        picks.push((name, clients));
    };
    for step in [1, 2, 3, 5, 6] {
        let ports = each(|n| Client { port: (1024 + n * step) as u16, ..HOME });
        add(format!("ports of one address, {step} apart"), ports);
    }
    for power in (0..=114).step_by(3) {
        let addresses = each(|n| Client { address: HOME.address.wrapping_add(n << power), ..HOME });
        add(format!("one port of addresses 2^{power} apart"), addresses);
    }
    for step in [3, 255, 257, 65_537, 0x0101_0101, 0x1_0000_0001, 0x0001_0001_0001_0001_0001_0001] {
        let addresses = each(|n| Client { address: HOME.address.wrapping_add(n * step), ..HOME });
        add(format!("one port of addresses {step:#x} apart"), addresses);
    }
    for shift in [0, 16, 48, 64, 96] {
        let in_step = |n: u128| Client { address: HOME.address.wrapping_add(n << shift), port: n as u16 };
        add(format!("address, from bit {shift} on, and port in step"), each(in_step));
    }
    // What differs in an address cancels out where its 32-bit words, or its halves, are added up.
    for (name, words) in
        [("words", [0, 32]), ("far words", [0, 96]), ("halves", [0, 64]), ("upper words", [64, 96])]
    {
        let same = |n: u128| n << words[0] | n << words[1];
        add(format!("one sum of {name}"), each(|n| Client { address: HOME.address ^ same(n), ..HOME }));
    }
    let thrice = |n: u128| {
        let [a, b] = [n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff, n.wrapping_mul(0x85eb_ca6b) & 0xffff_ffff];
        a << 96 | b << 64 | n << 32 | (a ^ b ^ n)
    };
    add("one sum of four words".into(), each(|n| Client { address: thrice(n), ..HOME }));
    // Low-dimensional: some bits of the address from these on, some of the port.
    for (from, address_bits, port_bits) in
        [(0, 14, 0), (32, 14, 0), (64, 14, 0), (114, 14, 0), (121, 7, 7), (0, 7, 7), (50, 7, 7)]
    {
        let of_port = (0..port_bits).map(|n| Client::bit(BITS - 1 - n));
        let vectors: Vec<_> = (from..from + address_bits).map(Client::bit).chain(of_port).collect();
        add(format!("{address_bits} bits from {from} on, {port_bits} of the port"), span(&vectors));
    }
    for apart in [2, 5, 9] {
        let vectors: Vec<_> = (0..14).map(|n| Client::bit(n * apart)).collect();
        add(format!("bits {apart} apart"), span(&vectors));
    }
    // Subspaces that are bad for many keys.
    let units: Vec<_> = (0..BITS).map(Client::bit).collect();
    let pairs = units.iter().enumerate().flat_map(|(n, a)| units[..n].iter().map(|b| a.plus(*b)));
    let pairs: Vec<_> = pairs.step_by(if cfg!(debug_assertions) { 31 } else { 3 }).collect();
    let samples = if cfg!(debug_assertions) { 2 } else { 16 };
    let samples: Vec<_> = (0..samples).map(|_| start(kind, entries, 2, random)).collect();
    for (name, candidates) in [("single bits", units), ("pairs of bits", pairs)] {
        add(format!("least rank, of {name}"), span(&low_rank(&samples, &candidates)));
    }
    // What is all one worker's under another key.
    for attempt in 0..4 {
        let (other, _) = start(kind, entries, 16, random);
        let all_its = |from: &mut dyn FnMut(u128) -> Client| -> Vec<Client> {
            (0..).map(&mut *from).filter(|client| client.owner(&other) == 0).take(PICKED).collect()
        };
        add(format!("owned by one under key {attempt}"), all_its(&mut |_| Client::random(random)));
        let of_network = |n: u128| Client { address: HOME.address + n, ..HOME };
        add(format!("a network's, owned by one under key {attempt}"), all_its(&mut { of_network }));
    }
    picks
}

/// The largest share of a worker, as a multiple of the even share.
fn share(map: &OwnerMap, clients: &[Client]) -> f64 {
    let mut counts = vec![0_u32; map.workers()];
    clients.iter().for_each(|client| counts[client.owner(map)] += 1);
    f64::from(*counts.iter().max().unwrap()) * map.workers() as f64 / clients.len() as f64
}

/// Trials, those in which a worker got more than twice its share, and the largest share.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    trials: usize,
    over: usize,
    most: f64,
}

/// Tries every pick on `keys` keys for each number of workers: those made from other keys' maps for more than four
/// workers, and all others.
fn attack(kind: Key, entries: usize, keys: usize) -> [Outcome; 2] {
    let (keys, step) = if cfg!(debug_assertions) { (1, 7) } else { (keys, 1) };
    let mut random = Random(entries as u64);
    let picks = picks(kind, entries, &mut random);
    let mut outcomes = [Outcome::default(); 2];
    for workers in (2..=16).step_by(step) {
        for _ in 0..keys {
            let (map, _) = start(kind, entries, workers, &mut random);
            for (name, clients) in &picks {
                let share = share(&map, clients);
                let is_copied = name.contains("under key") && workers > 4;
                let outcome = &mut outcomes[usize::from(!is_copied)];
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
    for outcome in attack(Key::Software, 512, 20) {
        assert!(outcome.trials >= 8 && outcome.most <= 2.0, "{outcome:?}");
    }
}

/// The key of NICs that hash the client's fields alone: neighbouring bits share most of it.
#[test]
fn hardly_any_free_key_gives_a_worker_more_than_twice_its_share() {
    let [copied, others] = attack(Key::Free, 512, 20);
    assert!(copied.trials >= 8 && copied.most <= 2.0, "{copied:?}");
    assert!(others.trials >= 80 && others.over <= others.trials / 2_000, "{others:?}");
}

/// With a zero window less of the key is secret: an attacker who knows its form can be lucky.
#[test]
fn a_zero_window_gives_a_worker_more_than_twice_its_share_by_luck_alone() {
    let [copied, others] = attack(Key::ZeroWindow, 128, 20);
    assert!(others.trials >= 80 && others.over <= 1 + others.trials / 2_000, "{others:?}");
    assert!(copied.trials >= 16 && copied.over <= 2 + copied.trials / 200, "{copied:?}");
}

/// What the test counts can be more: a key that everybody knows.
#[test]
fn a_known_key_is_no_defence() {
    let mut random = Random(1);
    let (map, _) = start(Key::Free, 512, 16, &mut random);
    let all_its = (0..).map(|_| Client::random(&mut random)).filter(|client| client.owner(&map) == 0);
    assert!(share(&map, &all_its.take(PICKED).collect::<Vec<_>>()) > 15.9);
}
