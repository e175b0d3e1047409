//! The connection tables of a worker: one for each address family.

use crate::connection::family::Family;
use crate::connection::table::{ClientKey, HashKey, Table};
#[cfg(test)]
use crate::connection::wide::Wide;
use crate::counters::WorkerCounters;
use crate::names::family::V4;

/// See the module's text.
pub(super) struct Tables {
    pub(super) v4: Table<V4>,
    #[cfg(test)]
    pub(super) wide: Table<Wide>,
}

impl Tables {
    /// No connections yet, and room for `capacity`.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn new(capacity: usize, hash_key: HashKey, huge: memory::Huge) -> Result<Self, memory::Error> {
        Ok(Self {
            v4: Table::new(capacity, hash_key, huge)?,
            #[cfg(test)]
            wide: Table::new(capacity, hash_key, huge)?,
        })
    }
}

/// An address family whose connections a worker has.
pub(super) trait Tabled: Family {
    /// The table that they are in.
    fn of(tables: &Tables) -> &Table<Self>;

    /// That table, to be changed.
    fn of_mut(tables: &mut Tables) -> &mut Table<Self>;

    /// Notes a client endpoint that has as many connections as it may have.
    fn note_full_endpoint(key: ClientKey<Self>, counters: &WorkerCounters);
}

impl Tabled for V4 {
    #[inline(always)]
    fn of(tables: &Tables) -> &Table {
        &tables.v4
    }

    #[inline(always)]
    fn of_mut(tables: &mut Tables) -> &mut Table {
        &mut tables.v4
    }

    fn note_full_endpoint(key: ClientKey, counters: &WorkerCounters) {
        counters.full_endpoint.set(key.endpoint_bits());
    }
}
