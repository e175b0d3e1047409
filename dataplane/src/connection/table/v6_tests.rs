//! A table of IPv6 connections.

use super::{HashKey, New, Table};
use crate::connection::family::Family;
use crate::connection::{Clock, Copied, State, Timeouts};
use crate::counters::WorkerCounters;
use crate::names::family::{V4, V6};
use crate::names::ids::{NextHopId, Protocol, RealId};
use crate::names::time::Tick;
use memory::Huge;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

/// Of addresses that are all folded to the same word.
fn client(n: u16) -> SocketAddr {
    let half = u128::from(n / 2);
    SocketAddr::new(Ipv6Addr::from_bits(half << 96 | half << 64 | 1).into(), 40_000 + n % 2)
}

const NOW: Tick = Tick::new(1000);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// While it grows and shrinks, and its entries are moved, taken out and carried to another.
    #[test]
    fn a_table_of_ipv6_holds_what_a_map_would(
        steps in prop::collection::vec((0..1500u16, 0..4u32, 0..5u8), 1..2500), mask: u64, multiplier: u64,
    ) {
        let secret = HashKey { mask, multiplier };
        let mut table = Table::<V6>::new(3000, secret, Huge::Never).unwrap();
        let (counters, timeouts) = (WorkerCounters::new(), Timeouts::default());
        let clock = Clock::new(NOW, &timeouts);
        let mut map = BTreeMap::new();
        for (n, real, what) in steps {
            let key = V6::key(client(n), Protocol::Tcp).unwrap();
            let hash = table.hash(key);
            let found = table.find(hash, key, |entry| entry.real() == RealId(real));
            prop_assert_eq!(found.is_some(), map.contains_key(&(client(n), real)));
            match found {
                Some((slot, entry)) if what == 0 => {
                    prop_assert_eq!(entry.client_key().client(), client(n));
                    table.remove(slot, &counters);
                    map.remove(&(client(n), real));
                }
                Some((slot, _)) => table.set_state(slot, State::CloseWait),
                None => {
                    let new = New { key, real: RealId(real), port: 0, next_hop: NextHopId(1), state: State::Established };
                    prop_assert!(table.insert(hash, new, clock, &counters).is_ok());
                    map.insert((client(n), real), ());
                }
            }
            if table.is_to_resize() {
                table.resize(&counters);
            }
        }
        prop_assert_eq!(table.len(), map.len());
        let mut rows: Vec<Copied> = Vec::with_capacity(8000);
        prop_assert_eq!(table.export(0, usize::MAX / 64, clock, &mut rows), None);
        let mut other = Table::<V6>::new(5000, HashKey { mask: !mask, multiplier }, Huge::Never).unwrap();
        for row in &rows {
            prop_assert!(map.contains_key(&(row.client, row.real.0)));
            prop_assert!(other.import(row, |real, _| real == row.real, clock, &counters).is_ok());
            other.resize(&counters);
        }
        prop_assert_eq!((rows.len(), other.len()), (map.len(), map.len()));
        let late = Clock::new(Tick::new(1_000_000), &timeouts);
        prop_assert_eq!(other.sweep(other.buckets(), late, &counters), map.len());
    }
}

/// A million connections of each family, in bytes for one; besides, each region of 16 buckets has a few.
#[test]
fn connections_take_as_much_memory_as_is_said() {
    const MANY: usize = 1 << 20;
    for (bytes, said) in [(Table::<V6>::bytes_for(MANY), 72.0), (Table::<V4>::bytes_for(MANY), 40.0)] {
        let of_one = bytes as f64 / MANY as f64;
        assert!(of_one >= said && of_one < said + 0.5, "{of_one} bytes, not {said}");
    }
}
