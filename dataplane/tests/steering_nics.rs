//! Simulated NICs of each kind: no packet of a connection is received by a wrong worker.

mod nic;

use dataplane::steering::{ClientBits, Family, Hashed, Indirection, OwnerMap, ZeroWindow};
use dataplane::translation::endpoint_bits;
use nic::{Input, Nic, Random};

/// For each kind and number of queues; fewer where the build is not optimised.
const CONNECTIONS: usize = if cfg!(debug_assertions) { 10_000 } else { 1_000_000 };

/// Packets of `CONNECTIONS` connections, both directions, that a NIC gave to another than the owner.
fn received_by_the_wrong_worker(map: &OwnerMap, vip: &Nic, dip: &Nic, random: &mut Random) -> usize {
    let mut wrong = 0;
    for _ in 0..CONNECTIONS {
        let (client, service, real) = (random.endpoint(), random.endpoint(), random.endpoint());
        let owner = map.owner(endpoint_bits(client));
        wrong += usize::from(vip.queue(client, service) != owner);
        wrong += usize::from(dip.queue(real, client) != owner);
    }
    wrong
}

struct Kind {
    vip: (ClientBits, Input),
    dip: (ClientBits, Input),
    key_bytes: usize,
    nic_entries: usize,
    map_entries: usize,
    hashed: Hashed,
}

impl Kind {
    fn key_of_its_own(entries: usize) -> Self {
        Self {
            vip: (ClientBits::SOURCE, Input::All),
            dip: (ClientBits::DESTINATION, Input::All),
            key_bytes: 40,
            nic_entries: entries,
            map_entries: entries,
            hashed: Hashed::AddressesAndPorts,
        }
    }

    fn check(&self, seed: u64) {
        let mut random = Random(seed);
        for queues in 2..=16 {
            let table = Indirection::shuffled(self.map_entries, queues, || random.next()).unwrap();
            let pair = ZeroWindow::random(Family::V4, self.hashed, &table, || random.next()).unwrap();
            let nic = |(client, input)| {
                let key = pair.key(client, self.key_bytes).unwrap();
                Nic::new(&key, table.repeated(self.nic_entries), input)
            };
            let software = OwnerMap::random(table.clone(), || random.next()).unwrap();
            let map = pair.owner_map(software).unwrap();
            let (vip, dip) = (nic(self.vip), nic(self.dip));
            assert_eq!(received_by_the_wrong_worker(&map, &vip, &dip, &mut random), 0, "{queues} queues");
        }
    }
}

#[test]
fn source_only_and_destination_only() {
    let (vip, dip) = (Input::SourceAlone, Input::DestinationAlone);
    let alone = ClientBits::ALONE;
    Kind { vip: (alone, vip), dip: (alone, dip), ..Kind::key_of_its_own(512) }.check(1);
}

#[test]
fn writable_key_and_64_entries() {
    Kind::key_of_its_own(64).check(2);
}

#[test]
fn writable_key_and_128_entries() {
    Kind::key_of_its_own(128).check(3);
}

#[test]
fn writable_key_and_512_entries() {
    Kind { key_bytes: 52, ..Kind::key_of_its_own(512) }.check(4);
}

/// A NIC of 2048 entries beside one of 64 that hashes addresses alone.
#[test]
fn two_kinds_at_once() {
    let dip = (ClientBits::DESTINATION, Input::Addresses);
    let hashed = Hashed::Addresses;
    Kind { dip, hashed, nic_entries: 2048, ..Kind::key_of_its_own(64) }.check(5);
}

/// The count is one that can be other than zero: a NIC that kept a key of its own, or hashes other fields.
#[test]
fn a_nic_that_disagrees_is_noticed() {
    let mut random = Random(6);
    let table = Indirection::shuffled(128, 4, || random.next()).unwrap();
    let pair = ZeroWindow::random(Family::V4, Hashed::AddressesAndPorts, &table, || random.next()).unwrap();
    let software = OwnerMap::random(table.clone(), || random.next()).unwrap();
    let map = pair.owner_map(software).unwrap();
    let nic = |key: &[u8], input| Nic::new(key, table.repeated(128), input);
    let right = nic(&pair.key(ClientBits::DESTINATION, 40).unwrap(), Input::All);
    let mut own = [0; 40];
    own.fill_with(|| random.next() as u8);
    let source_key = pair.key(ClientBits::SOURCE, 40).unwrap();
    for wrong in [nic(&own, Input::All), nic(&source_key, Input::SourceAlone)] {
        let counted = received_by_the_wrong_worker(&map, &wrong, &right, &mut random);
        let expected = CONNECTIONS * 3 / 4;
        assert!(counted.abs_diff(expected) < CONNECTIONS / 20, "{counted}, not about {expected}");
    }
}
