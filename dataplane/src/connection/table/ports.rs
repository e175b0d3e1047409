//! The ports that clients asked for, of connections whose service is on several: beside the buckets, so that what a
//! service on one port needs stays within an entry. Its memory is taken page by page as such connections are made, and
//! nothing looks at it before the first one.

use super::entry::WAYS;
use super::place::{Note, PORTS_KEPT, PORTS_LOST};
use super::{Entry, Slot, Table};
use crate::connection::family::Family;
use memory::{Huge, HugeSlice};
use std::ops::Range;

/// By bucket and way. That of an entry whose service is on one port says nothing.
pub(super) struct Ports {
    ports: HugeSlice<[u16; WAYS]>,
    /// Of ports in a file: what takes their place if there is no memory for them there.
    instead: Option<HugeSlice<[u16; WAYS]>>,
    /// Whether some connection has ever had one.
    in_use: bool,
}

impl Ports {
    /// For so many buckets.
    ///
    /// # Errors
    /// If there is not that much memory.
    pub(super) fn new(buckets: usize) -> Result<Self, memory::Error> {
        Ok(Self { ports: HugeSlice::zeroed(buckets, Huge::Never)?, instead: None, in_use: false })
    }

    /// In a file, whose memory is not taken yet; or else in these, for as many buckets.
    pub(super) fn kept(ports: HugeSlice<[u16; WAYS]>, others: Self) -> Self {
        Self { ports, instead: Some(others.ports), in_use: false }
    }

    /// The first connection has one. Takes the memory in a file at once: a page that is missing later would be the end
    /// of the process. Returns what a reader is to know.
    fn begin(&mut self) -> u64 {
        self.in_use = true;
        let Some(others) = self.instead.take() else { return PORTS_LOST };
        if self.ports.populate().is_ok() {
            return PORTS_KEPT;
        }
        self.ports = others;
        PORTS_LOST
    }

    /// Whether some connection has ever had one.
    pub(super) const fn are_in_use(&self) -> bool {
        self.in_use
    }

    /// Those of a bucket.
    #[inline(always)]
    pub(super) fn of(&self, bucket: usize) -> [u16; WAYS] {
        if self.in_use { self.ports[bucket] } else { [0; WAYS] }
    }

    /// Those of some buckets, once any is in use.
    pub(super) fn of_all(&self, buckets: Range<usize>) -> &[[u16; WAYS]] {
        &self.ports[buckets]
    }

    /// The entry that comes to lie here has this one.
    #[inline(always)]
    pub(super) fn set(&mut self, slot: Slot, port: u16) {
        if self.in_use {
            self.ports[slot.bucket as usize][usize::from(slot.way) % WAYS] = port;
        }
    }
}

impl<F: Family> Table<F> {
    /// The port that the client of the connection in a slot asked for, if its service is on several.
    pub fn port(&self, slot: Slot) -> u16 {
        self.ports.of(slot.bucket as usize)[usize::from(slot.way) % WAYS]
    }

    /// A new entry comes to lie here, of a connection whose client asked for this port. Out of line, so that those
    /// without one are made without what this needs.
    #[cold]
    #[inline(never)]
    pub(super) fn write_with_port(&mut self, slot: Slot, entry: Entry<F>, port: u16) {
        if !self.ports.in_use {
            self.notes.set(Note::Ports, self.ports.begin());
        }
        self.put_at(slot, entry, port);
    }

    /// An entry that is moved, with its port, comes to lie here.
    #[inline(always)]
    pub(super) fn put_at(&mut self, slot: Slot, entry: Entry<F>, port: u16) {
        self.ports.set(slot, port);
        self.write(slot, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::table::{ClientKey, HashKey, New};
    use crate::connection::{Clock, Copied, State, Timeouts};
    use crate::counters::WorkerCounters;
    use crate::names::ids::{NextHopId, RealId};
    use crate::names::time::Tick;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// While the table grows and shrinks, entries lie away from home, and are carried to another table: of clients
        /// with up to as many connections as one may have.
        #[test]
        fn a_connection_keeps_its_port_wherever_it_comes_to_lie(
            steps in prop::collection::vec((0..400u64, 1..100u16, 0..4u8), 1..2500),
            mask: u64, multiplier: u64, one_client: bool,
        ) {
            let mut table: Table = Table::new(3000, HashKey { mask, multiplier }, Huge::Never).unwrap();
            let (counters, timeouts) = (WorkerCounters::new(), Timeouts::default());
            let clock = Clock::new(Tick::new(1000), &timeouts);
            let mut known = BTreeSet::new();
            for (client, port, what) in steps {
                let client = if one_client { client % 4 } else { client };
                let key = ClientKey::new(client << 20, 6);
                let hash = table.hash(key);
                let found = table.find_by_slot(hash, key, |slot, _| table.port(slot) == port);
                prop_assert_eq!(found.is_some(), known.contains(&(client, port)));
                match found {
                    Some((slot, _)) if what == 0 => {
                        table.remove(slot, &counters);
                        known.remove(&(client, port));
                    }
                    Some(_) => {}
                    None => {
                        let (real, next_hop) = (RealId(1), NextHopId(1));
                        let new = New { key, real, port, next_hop, state: State::Established };
                        if table.insert(hash, new, clock, &counters).is_ok() {
                            known.insert((client, port));
                        }
                    }
                }
                if table.is_to_resize() {
                    table.resize(&counters);
                }
            }
            prop_assert_eq!(table.len(), known.len());
            let mut rows: Vec<Copied> = Vec::with_capacity(8000);
            prop_assert_eq!(table.export(0, usize::MAX / 64, clock, &mut rows), None);
            let mut other: Table = Table::new(5000, HashKey { mask: !mask, multiplier }, Huge::Never).unwrap();
            for row in &rows {
                let made = other.import(row, |_, port| port == row.port, clock, &counters);
                prop_assert!(made.is_ok());
                let again = other.import(row, |_, port| port == row.port, clock, &counters);
                prop_assert!(again.is_err());
                other.resize(&counters);
            }
            let mut again: Vec<Copied> = Vec::with_capacity(8000);
            prop_assert_eq!(other.export(0, usize::MAX / 64, clock, &mut again), None);
            let ports = |rows: &[Copied]| rows.iter().map(|row| (row.client, row.port)).collect::<BTreeSet<_>>();
            prop_assert_eq!(ports(&rows), ports(&again));
            prop_assert_eq!(rows.len(), known.len());
        }
    }
}
