//! The connection tables of a worker: one for each address family.

use crate::connection::family::Family;
use crate::connection::table::{ClientKey, HashKey, Table};
use crate::counters::WorkerCounters;
use crate::names::family::{V4, V6};

/// See the module's text.
pub(super) struct Tables {
    pub(super) v4: Table<V4>,
    /// For no connections, unless it has been [made](Self::serve_v6) larger.
    pub(super) v6: Table<V6>,
}

impl Tables {
    /// No connections yet, and room for `capacity` of IPv4.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn new(capacity: usize, hash_key: HashKey, huge: memory::Huge) -> Result<Self, memory::Error> {
        Ok(Self { v4: Table::new(capacity, hash_key, huge)?, v6: Table::new(0, hash_key, huge)? })
    }

    /// Has it have room for `capacity` connections of IPv6. There must be none yet.
    ///
    /// # Errors
    /// If there is no memory.
    pub(super) fn serve_v6(
        &mut self,
        capacity: usize,
        hash_key: HashKey,
        huge: memory::Huge,
    ) -> Result<(), memory::Error> {
        self.v6 = Table::new(capacity, hash_key, huge)?;
        Ok(())
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

impl Tabled for V6 {
    #[inline(always)]
    fn of(tables: &Tables) -> &Table<Self> {
        &tables.v6
    }

    #[inline(always)]
    fn of_mut(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.v6
    }

    fn note_full_endpoint(key: ClientKey<Self>, counters: &WorkerCounters) {
        counters.full_endpoint.set(key.endpoint_bits());
    }
}
