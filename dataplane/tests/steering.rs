//! Zero-window keys: both directions of a connection meet, and nothing but the client counts.

mod nic;

use dataplane::steering::{
    ClientBits, Family, Hashed, Indirection, OwnerMap, Unsuitable, ZeroWindow, free_key,
};
use dataplane::translation::endpoint_bits;
use nic::{Input, Nic, Random, ipv4_input, toeplitz};
use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddrV4};

const TABLES: [usize; 6] = [16, 32, 64, 128, 256, 512];
const BOTH: [Hashed; 2] = [Hashed::Addresses, Hashed::AddressesAndPorts];

fn table(entries: usize, workers: usize, random: &mut Random) -> Indirection {
    Indirection::shuffled(entries, workers, || random.next()).unwrap()
}

/// The map of software alone.
fn software(table: &Indirection, random: &mut Random) -> OwnerMap {
    OwnerMap::random(table.clone(), || random.next()).unwrap()
}

fn pair(family: Family, hashed: Hashed, table: &Indirection, random: &mut Random) -> ZeroWindow {
    ZeroWindow::random(family, hashed, table, || random.next()).unwrap()
}

fn endpoint() -> impl Strategy<Value = SocketAddrV4> {
    (any::<u32>(), any::<u16>()).prop_map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from_bits(ip), port))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 32 } else { 1024 }))]

    /// Whatever the virtual address and the real: the queue is the owner map's, in both directions.
    #[test]
    fn both_directions_reach_the_owner(
        seed: u64,
        entries in prop::sample::select(&TABLES),
        workers in 2_usize..=16,
        hashed in prop::sample::select(&BOTH),
        long: bool,
        client in endpoint(),
        ignored in prop::array::uniform4(endpoint()),
    ) {
        let mut random = Random(seed);
        let table = table(entries, workers, &mut random);
        let pair = pair(Family::V4, hashed, &table, &mut random);
        let length = if long { 52 } else { 40 };
        let vip_key = pair.key(ClientBits::SOURCE, length).unwrap();
        let dip_key = pair.key(ClientBits::DESTINATION, length).unwrap();
        let software = software(&table, &mut random);
        let map = pair.owner_map(software.clone()).unwrap();
        for (key, client) in [(&vip_key, ClientBits::SOURCE), (&dip_key, ClientBits::DESTINATION)] {
            prop_assert_eq!(&software.clone().with_key(Family::V4, key, client).unwrap(), &map);
        }
        let owner = map.owner(endpoint_bits(client));
        // A NIC with a larger table gets copies of this one.
        for copies in [1, 4] {
            let reta: Vec<_> = table.repeated(entries * copies).collect();
            let queue = |key, input: &[u8]| usize::from(reta[toeplitz(key, input) as usize % reta.len()]);
            for other in ignored {
                prop_assert_eq!(queue(&vip_key, &ipv4_input(client, other)), owner);
                prop_assert_eq!(queue(&dip_key, &ipv4_input(other, client)), owner);
                if hashed == Hashed::Addresses {
                    // Not the client's port either, nor whether the NIC hashes ports at all.
                    let moved = SocketAddrV4::new(*client.ip(), other.port());
                    prop_assert_eq!(queue(&vip_key, &ipv4_input(moved, other)), owner);
                    prop_assert_eq!(queue(&dip_key, &ipv4_input(other, moved)[..8]), owner);
                }
            }
        }
    }

    /// The simulated NIC's quick hash is the bitwise one.
    #[test]
    fn the_simulated_nic_hashes_as_specified(key: [u8; 40], from in endpoint(), to in endpoint()) {
        let nic = |input| Nic::new(&key, 0..1, input).hash(from, to);
        let all = ipv4_input(from, to);
        prop_assert_eq!(nic(Input::All), toeplitz(&key, &all));
        prop_assert_eq!(nic(Input::Addresses), toeplitz(&key, &all[..8]));
        prop_assert_eq!(nic(Input::SourceAlone), toeplitz(&key, &endpoint_bits(from).to_le_bytes()[..6]));
        prop_assert_eq!(nic(Input::DestinationAlone), toeplitz(&key, &endpoint_bits(to).to_le_bytes()[..6]));
    }

    #[test]
    fn ipv6_clients_have_the_same_hash_in_both_directions(
        seed: u64,
        entries in prop::sample::select(&TABLES),
        hashed in prop::sample::select(&BOTH),
        client: ([u8; 16], [u8; 2]),
        others in prop::array::uniform4(any::<([u8; 16], [u8; 2])>()),
    ) {
        let mut random = Random(seed);
        let table = table(entries, 2, &mut random);
        let pair = pair(Family::V6, hashed, &table, &mut random);
        let vip_key = pair.key(ClientBits::SOURCE_V6, 40).unwrap();
        let dip_key = pair.key(ClientBits::DESTINATION_V6, 40).unwrap();
        let alone = pair.key(ClientBits::ALONE_V6, 40).unwrap();
        let hash = |key: &[u8], parts: &[&[u8]]| toeplitz(key, &parts.concat()) % entries as u32;
        let expected = hash(&alone, &[&client.0, &client.1]);
        let map = pair.owner_map(software(&table, &mut random)).unwrap();
        let owner = map.owner_v6(u128::from_le_bytes(client.0), u16::from_le_bytes(client.1));
        prop_assert_eq!(owner, table.worker(expected));
        for other in others {
            prop_assert_eq!(hash(&vip_key, &[&client.0, &other.0, &client.1, &other.1]), expected);
            prop_assert_eq!(hash(&dip_key, &[&other.0, &client.0, &other.1, &client.1]), expected);
        }
    }
}

/// The verification of the bitwise hash itself: the first example of Microsoft's suite.
#[test]
fn the_bitwise_hash_is_the_specified_one() {
    let key: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    let source = "66.9.149.187:2794".parse().unwrap();
    let destination = "161.142.100.80:1766".parse().unwrap();
    assert_eq!(toeplitz(&key, &ipv4_input(source, destination)), 0x51cc_c178);
    assert_eq!(toeplitz(&key, &ipv4_input(source, destination)[..8]), 0x323e_8fc2);
}

/// Rank over the two-element field of the index bits that the fields' bits contribute.
fn rank(key: &[u8], bits: impl Iterator<Item = usize>, entries: usize) -> u32 {
    let mut basis = [0_u32; 9];
    for bit in bits {
        let mut input = [0; 36];
        input[bit / 8] = 0x80 >> (bit % 8);
        let mut vector = toeplitz(key, &input) % entries as u32;
        while vector != 0 {
            let pivot = &mut basis[vector.ilog2() as usize];
            if *pivot == 0 {
                *pivot = vector;
                break;
            }
            vector ^= *pivot;
        }
    }
    basis.iter().filter(|vector| **vector != 0).count() as u32
}

/// Every entry is reached, by runs of addresses, and of ports, alone.
#[test]
fn every_key_has_full_rank() {
    let mut random = Random(1);
    for entries in TABLES {
        let table = table(entries, 2, &mut random);
        for _ in 0..if cfg!(debug_assertions) { 4 } else { 50 } {
            for (family, client) in
                [(Family::V4, ClientBits::DESTINATION), (Family::V6, ClientBits::DESTINATION_V6)]
            {
                let key =
                    pair(family, Hashed::AddressesAndPorts, &table, &mut random).key(client, 40).unwrap();
                let port = client.port.unwrap();
                for (field, width) in [(client.address, family.address_bits()), (port, 16)] {
                    for from in [field, field + width - 14] {
                        assert_eq!(rank(&key, from..from + 14, entries), table.bits());
                    }
                }
            }
            let key = free_key(&table, || random.next()).unwrap();
            assert_eq!(rank(&key, 0..14, entries), table.bits());
            assert_eq!(rank(&key, 34..48, entries), table.bits());
        }
        for constant in [0, 1] {
            let drawn = ZeroWindow::random(Family::V4, Hashed::Addresses, &table, || constant);
            assert_eq!(drawn.unwrap_err(), Unsuitable::Random);
            assert_eq!(free_key(&table, || constant), Err(Unsuitable::Random));
            assert_eq!(OwnerMap::random(table.clone(), || constant), Err(Unsuitable::Random));
        }
    }
}

#[test]
fn free_bits_differ_from_start_to_start() {
    let keys = 150;
    let mut random = Random(2);
    for entries in [16, 128, 512] {
        let table = table(entries, 2, &mut random);
        for hashed in BOTH {
            let drawn: Vec<_> = (0..keys)
                .map(|_| pair(Family::V4, hashed, &table, &mut random).key(ClientBits::SOURCE, 40).unwrap())
                .collect();
            let distinct = drawn.iter().collect::<std::collections::HashSet<_>>().len();
            assert!(distinct + 2 >= keys, "{distinct} different keys");
            let flipped = (0..320).filter(|bit| {
                let set = drawn.iter().filter(|key| key[bit / 8] << (bit % 8) & 0x80 != 0).count();
                (keys / 4..keys * 3 / 4).contains(&set) // six standard deviations
            });
            let flipped = flipped.count();
            let width = table.bits() as usize;
            let free = 33 - width + if hashed == Hashed::Addresses { 0 } else { 17 - width };
            // A clear bit at an end of a pattern makes a key poor, so these are mostly set.
            assert!((free - 8..=free).contains(&flipped), "{entries} {hashed:?}: {flipped} of {free}");
        }
    }
}

/// No worker gets more than the table's size makes inevitable, and 5 %.
#[test]
fn clients_spread_as_evenly_as_the_table_allows() {
    let mut random = Random(3);
    let clients = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    let anyone: Vec<_> = (0..clients).map(|_| endpoint_bits(random.endpoint())).collect();
    let one_address = Ipv4Addr::new(192, 0, 2, 7);
    let ports: Vec<_> = (0..=u16::MAX).map(|n| endpoint_bits(SocketAddrV4::new(one_address, n))).collect();
    let network = |n: u32| endpoint_bits(SocketAddrV4::new(Ipv4Addr::from_bits(0xc612_0000 | n), 40_000));
    let addresses: Vec<_> = (0..1 << 16).map(network).collect();
    for entries in TABLES {
        for workers in (2..=16).step_by(if cfg!(debug_assertions) { 7 } else { 1 }) {
            let table = table(entries, workers, &mut random);
            let mut of_software = || software(&table, &mut random);
            let software = [(); 4].map(|()| of_software());
            let [addresses_alone, both, free, software] = software;
            let mut zero_window =
                |hashed, map| pair(Family::V4, hashed, &table, &mut random).owner_map(map).unwrap();
            let mut maps = vec![
                zero_window(Hashed::Addresses, addresses_alone),
                zero_window(Hashed::AddressesAndPorts, both),
            ];
            let key = free_key(&table, || random.next()).unwrap();
            maps.push(free.with_key(Family::V4, &key, ClientBits::ALONE).unwrap());
            maps.push(software);
            for (map, ports_count) in maps.iter().zip([false, true, true, true]) {
                let best = entries.div_ceil(workers) as f64 / entries as f64;
                for population in [&anyone, &addresses, &ports] {
                    if !ports_count && std::ptr::eq(population, &ports) {
                        continue;
                    }
                    let mut shares = vec![0_u32; workers];
                    population.iter().for_each(|client| shares[map.owner(*client)] += 1);
                    let most = f64::from(*shares.iter().max().unwrap()) / population.len() as f64;
                    assert!(most <= 1.05 * best, "{entries} entries, {workers} workers: {most} for {best}");
                }
            }
        }
    }
}

/// Indices that agree in all but the lowest and highest bits: those of clients that differ only in the first and
/// last bits of their fields.
#[test]
fn no_worker_has_much_more_than_its_share_of_a_block() {
    let mut random = Random(5);
    for entries in TABLES {
        for workers in (2..=16).step_by(if cfg!(debug_assertions) { 7 } else { 1 }) {
            let table = table(entries, workers, &mut random);
            let bits = table.bits();
            let (mut blocks, mut uneven) = (0, 0);
            for free in (1..bits).filter(|free| 1 << free >= 2 * workers) {
                for low in 0..=free {
                    let mut counts = std::collections::HashMap::new();
                    for index in 0..entries as u32 {
                        let block = (index % (1 << (bits - free + low))) >> low;
                        *counts.entry((block, table.worker(index))).or_insert(0) += 1;
                    }
                    let twice = |count: &&usize| **count * workers > 2 << free;
                    blocks += entries >> free;
                    uneven += counts.values().filter(twice).count();
                }
            }
            assert!(uneven * 50 <= blocks, "{uneven} of {blocks}: {entries} entries, {workers} workers");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut random = Random(4);
    let (small, large) = (table(128, 2, &mut random), table(512, 2, &mut random));
    let generated = pair(Family::V4, Hashed::AddressesAndPorts, &small, &mut random);
    assert_eq!(generated.owner_map(software(&large, &mut random)), Err(Unsuitable::Table(512)));
    assert_eq!(generated.key(ClientBits::DESTINATION, 14), Err(Unsuitable::KeyLength(14)));
    assert_eq!(generated.key(ClientBits::DESTINATION, 16).unwrap().len(), 16);
}
