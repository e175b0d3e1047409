use crate::connection::table::tests::{Bench, NOW};
use crate::connection::table::{MOST_OF_ENDPOINT, NoRoom, REGION};
use crate::connection::{Clock, Copied, State};
use crate::names::ids::RealId;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Spread, as clients are.
fn client(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

fn used(bench: &Bench) -> usize {
    bench.table.buckets()
}

fn settle(bench: &mut Bench) {
    for _ in 0..100_000 {
        if !bench.table.is_to_resize() {
            return;
        }
        bench.end_turn();
    }
    panic!("{:?} does not settle", bench.table.extent);
}

#[test]
fn a_table_uses_as_much_of_its_memory_as_its_connections_need() {
    let mut bench = Bench::new(100_000);
    let least = used(&bench);
    for n in 0..100_000 {
        bench.insert(client(n), 1, State::Established, NOW).unwrap();
        if n % 5_000 == 0 {
            bench.assert_sound();
        }
        if n > 1_000 && used(&bench) < bench.table.buckets.len() && !bench.table.is_to_resize() {
            let load = n as f64 / (4 * used(&bench)) as f64;
            assert!((0.14..0.31).contains(&load), "{n}: {load}");
        }
    }
    assert_eq!(used(&bench), bench.table.buckets.len());
    for n in 0..100_000 {
        let (slot, _) = bench.find(client(n), 6, 1).expect("it lives");
        if n >= 1_000 {
            bench.table.expire(slot, &bench.counters);
            bench.end_turn();
        }
    }
    settle(&mut bench);
    assert!(used(&bench) <= 2 * least, "{}", used(&bench));
    bench.assert_sound();
    for n in 0..1_000 {
        assert!(bench.find(client(n), 6, 1).is_some(), "{n}");
    }
}

#[test]
fn it_grows_in_time_and_by_bounded_steps_when_every_packet_opens_a_connection() {
    let mut bench = Bench::new(200_000);
    for turn in 0..200_000 / 64 {
        for n in turn * 64..turn * 64 + 64 {
            assert_eq!(bench.open(client(n), 1, State::Established, NOW), Ok(()), "{n}");
        }
        let before = bench.counters.entries_moved.get();
        bench.end_turn();
        let moved = bench.counters.entries_moved.get() - before;
        assert!(moved <= (1 + 64 / 8) * 64, "{moved} in one turn");
    }
    settle(&mut bench);
    bench.assert_sound();
    assert_eq!(bench.table.len(), 200_000 / 64 * 64);
}

#[test]
fn a_turn_moves_a_bounded_number_of_entries() {
    let mut bench = Bench::new(100_000);
    let mut before = 0;
    for n in 0..100_000 {
        bench.insert(client(n), 1, State::Established, NOW).unwrap();
        let moved = bench.counters.entries_moved.get();
        assert!(moved - before <= 64, "{}", moved - before);
        before = moved;
    }
    assert!(before > 50_000, "most have been moved: {before}");
    assert!(before < 200_000, "once or twice: {before}");
}

#[test]
fn many_connections_of_few_client_endpoints_find_room_in_the_next_size() {
    // Four client endpoints whose connections take all 64 slots of the last region of the smallest size.
    let mut bench = Bench::new(100_000);
    let region = |bench: &Bench, client| {
        let hash = bench.table.hash(crate::connection::table::ClientKey::new(client, 6));
        bench.table.home(hash) / REGION
    };
    let last = used(&bench) / REGION - 1;
    let together: Vec<u64> = (0..).filter(|n| region(&bench, *n) == last).take(400).collect();
    let crowd: Vec<u64> = (1 << 20..).filter(|n| region(&bench, *n) < last).take(10_000).collect();
    let mut put_anywhere = 0; // in the region
    for four in together.chunks(4) {
        let mut made: Vec<(u64, u32)> = Vec::new();
        for (client, real) in four.iter().flat_map(|client| (0..16).map(|real| (*client, real))) {
            if bench.insert_only(client, real, State::Established, NOW).is_ok() {
                made.push((client, real));
            }
        }
        // More than the smallest size is for, elsewhere.
        for client in &crowd[..2_000] {
            bench.insert_only(*client, 1, State::Established, NOW).unwrap();
        }
        settle(&mut bench);
        bench.assert_sound();
        for (client, real) in &made {
            let (slot, entry) = bench.find(*client, 6, *real).expect("it lives");
            let places = bench.table.places(bench.table.hash(entry.client_key()));
            put_anywhere += usize::from(!places.contains(&(slot.bucket as usize)));
        }
        // The next size has room in their places again.
        for client in &crowd[2_000..] {
            bench.insert(*client, 1, State::Established, NOW).unwrap();
        }
        settle(&mut bench);
        bench.assert_sound();
        let theirs = made.into_iter().chain(crowd.iter().map(|client| (*client, 1)));
        for (client, real) in theirs {
            let (slot, _) = bench.find(client, 6, real).expect("it lives");
            bench.table.expire(slot, &bench.counters);
        }
        settle(&mut bench);
        assert!(bench.table.is_empty());
    }
    assert!(put_anywhere > 0, "none of them was without room");
}

#[test]
fn a_table_whose_entries_have_no_room_in_a_smaller_size_keeps_the_size() {
    let mut bench = Bench::new(100_000);
    for n in 0..1_600 {
        bench.insert(client(n), 1, State::Established, NOW).unwrap();
    }
    settle(&mut bench);
    let size = used(&bench);
    // In two regions that would be one: more than that has slots.
    let pair = |bench: &Bench, client| {
        let hash = bench.table.hash(crate::connection::table::ClientKey::new(client, 6));
        bench.table.home(hash) / (2 * REGION)
    };
    for n in 0..1_600 {
        let (slot, _) = bench.find(client(n), 6, 1).unwrap();
        bench.table.expire(slot, &bench.counters);
    }
    let kept: Vec<u64> = (1 << 20..).filter(|client| pair(&bench, *client) == 7).take(80).collect();
    for client in &kept {
        bench.insert_only(*client, 2, State::Established, NOW).unwrap();
    }
    settle(&mut bench);
    bench.assert_sound();
    assert_eq!(used(&bench), size);
    // It does not try again and again, but once half of those that are left are gone.
    let half = bench.table.len() / 2;
    for client in kept {
        assert_eq!(bench.table.is_to_resize(), bench.table.len() < half, "{} left", bench.table.len());
        let (slot, _) = bench.find(client, 6, 2).expect("it lives");
        bench.table.expire(slot, &bench.counters);
    }
    settle(&mut bench);
    assert!(used(&bench) < size);
    bench.assert_sound();
}

#[test]
fn few_client_endpoints_with_many_connections_do_not_keep_others_out_of_a_large_table() {
    let mut bench = Bench::new(100_000);
    let attackers = || (0..38).flat_map(|n| (0..16).map(move |real| (client(n), real)));
    for (client, real) in attackers() {
        let _ = bench.insert(client, real, State::Established, NOW);
    }
    settle(&mut bench);
    let mut refused = 0;
    for n in 1_000..11_000 {
        match bench.insert(client(n), 20, State::Established, NOW) {
            Ok(_) => {
                // It may have moved.
                let (slot, _) = bench.find(client(n), 6, 20).expect("it lives");
                bench.table.expire(slot, &bench.counters);
            }
            Err(_) => refused += 1,
        }
    }
    bench.assert_sound();
    assert_eq!(refused, 0);
    // It comes to use fewer again when they are gone.
    for (client, real) in attackers() {
        if let Some((slot, _)) = bench.find(client, 6, real) {
            bench.table.expire(slot, &bench.counters);
        }
    }
    settle(&mut bench);
    assert_eq!(used(&bench), used(&Bench::new(100_000)));
}

#[test]
fn a_client_endpoint_at_its_own_limit_asks_for_no_larger_table() {
    let mut bench = Bench::new(100_000);
    let size = used(&bench);
    for real in 0..1_000 {
        let _ = bench.insert(client(7), real, State::Established, NOW);
    }
    assert_eq!((bench.table.len(), used(&bench)), (MOST_OF_ENDPOINT, size));
}

/// What a dump gives that takes `buckets` at a time, while the table changes its size in between.
fn dump(bench: &mut Bench, buckets: usize, between: impl Fn(&mut Bench)) -> Vec<Copied> {
    let (mut all, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        let mut rows = Vec::with_capacity(512);
        let clock = Clock::new(NOW, &bench.timeouts);
        position = bench.table.export(from, buckets, clock, &mut rows);
        assert!(rows.capacity() == 512, "it stays within its room");
        all.append(&mut rows);
        between(bench);
    }
    all
}

#[test]
fn a_dump_has_every_connection_once_whatever_the_table_does_meanwhile() {
    let mut bench = Bench::new(100_000);
    for n in 0..100_000 {
        bench.insert(client(n), 1, State::Established, NOW).unwrap();
    }
    for n in 2_000..100_000 {
        let (slot, _) = bench.find(client(n), 6, 1).unwrap();
        bench.table.expire(slot, &bench.counters);
    }
    let clients = |rows: Vec<Copied>| {
        let count = rows.len();
        let all: BTreeSet<_> = rows.into_iter().map(|row| row.client).collect();
        assert_eq!(all.len(), count, "none twice");
        all
    };
    let at_rest = clients(dump(&mut bench, 1024, |_| ()));
    assert_eq!(at_rest.len(), 2_000);
    let before = used(&bench);
    let shrinking = clients(dump(&mut bench, 16, Bench::end_turn));
    assert!(used(&bench) <= before / 2);
    assert!(shrinking == at_rest);
    settle(&mut bench);
    for n in 100_000..140_000 {
        bench.insert_only(client(n), 2, State::Established, NOW).ok();
        if n % 64 == 0 && n < 103_000 {
            bench.end_turn();
        }
        if n == 103_000 {
            let growing = clients(dump(&mut bench, 16, Bench::end_turn));
            assert!(at_rest.is_subset(&growing));
            assert_eq!(growing.len(), bench.table.len());
            break;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(u64),
    Close(u64),
    Resize(usize),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..600u64).prop_map(Step::Open),
        3 => (1..600u64).prop_map(Step::Close),
        3 => (1..20usize).prop_map(Step::Resize),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Connections come and go in crowds, first come first gone, while the table is between sizes.
    #[test]
    fn a_table_between_sizes_stays_sound(steps in prop::collection::vec(step(), 1..40), extra in 0..50u32) {
        let mut bench = Bench::new(6_000 + extra as usize * 40);
        let (mut begin, mut end) = (0, 0);
        for step in steps {
            match step {
                Step::Open(count) => for _ in 0..count {
                    match bench.insert_only(client(end), (end % 3) as u32, State::Established, NOW).map(|_| ()) {
                        Ok(()) => end += 1,
                        Err(NoRoom::Capacity) => break,
                        Err(NoRoom::Places) => prop_assert!(bench.table.is_to_resize()),
                    }
                }
                Step::Close(count) => for _ in 0..count.min(end - begin) {
                    let (slot, _) = bench.find(client(begin), 6, (begin % 3) as u32).expect("it lives");
                    bench.table.expire(slot, &bench.counters);
                    begin += 1;
                }
                Step::Resize(times) => for _ in 0..times {
                    bench.end_turn();
                }
                Step::Sweep => prop_assert_eq!(bench.sweep_all(NOW), 0),
            }
            bench.assert_sound();
            for n in begin..end {
                let (_, entry) = bench.find(client(n), 6, (n % 3) as u32).expect("it lives");
                prop_assert_eq!((entry.real(), entry.state()), (RealId((n % 3) as u32), State::Established));
            }
            let sum = dump(&mut bench, 1024, |_| ()).len();
            prop_assert_eq!(sum as u64, end - begin);
        }
    }
}
