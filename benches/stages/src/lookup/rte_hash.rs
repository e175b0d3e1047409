//! DPDK's `rte_hash`: looked up in bulk, each connection's value a cache line of its own that is
//! prefetched.

use super::{Outcome, real_of};
use crate::keys::Key;
use crate::lookup::REALS;
use dataplane::names::family::V4;
use dataplane::translation::Record;
use dpdk::{Eal, Hash, HashKey16};
use memory::{HugeSlice, prefetch};
use traffic::world::snapshot;

/// A table, and values by position.
#[derive(Debug)]
pub struct RteHash {
    table: Hash,
    /// The first word is what the client's packets get for the VIP.
    values: HugeSlice<[u64; 8]>,
}

impl RteHash {
    /// So many flows.
    ///
    /// # Panics
    /// If there is not so much memory.
    pub fn filled(eal: &Eal, flows: u32, huge: memory::Huge) -> Self {
        let mut table = Hash::new(eal, &format!("flows-{flows}"), flows).expect("memory of the EAL");
        // DPDK's positions begin at 0 or 1, by release.
        let mut values: HugeSlice<[u64; 8]> = HugeSlice::zeroed(flows as usize + 8, huge).expect("memory");
        let snapshot = snapshot(REALS);
        for flow in 0..flows {
            let key = Key::of(flow);
            let position = table.add(&[key.near, key.far]).expect("room");
            let next_hop = snapshot.rewrite::<V4>(real_of(flow)).next_hop();
            values[position as usize] = [u64::from(next_hop.0); 8];
        }
        Self { table, values }
    }

    /// `N` keys at once, then their values.
    pub fn bulk<const N: usize>(&self, keys: &[Key]) -> Outcome {
        let mut outcome = Outcome::default();
        let (bursts, _) = bytemuck::cast_slice::<Key, HashKey16>(keys).as_chunks::<N>();
        for keys in bursts {
            let positions = self.find(keys);
            self.read(&positions, &mut outcome);
        }
        outcome
    }

    /// Looks up as above, but reads values after the next `N` keys have been looked up.
    pub fn pipelined<const N: usize>(&self, keys: &[Key]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut before = [-1; N];
        let (bursts, _) = bytemuck::cast_slice::<Key, HashKey16>(keys).as_chunks::<N>();
        for keys in bursts {
            let positions = self.find(keys);
            self.read(&before, &mut outcome);
            before = positions;
        }
        self.read(&before, &mut outcome);
        outcome
    }

    #[inline(always)]
    fn find<const N: usize>(&self, keys: &[HashKey16; N]) -> [i32; N] {
        let positions = self.table.lookup_bulk(keys);
        for position in positions {
            if let Some(value) = self.values.get(position as usize) {
                prefetch(value);
            }
        }
        positions
    }

    #[inline(always)]
    fn read<const N: usize>(&self, positions: &[i32; N], outcome: &mut Outcome) {
        for position in positions {
            if let Some(value) = self.values.get(*position as usize) {
                outcome.add(value[0]);
            }
        }
    }
}
