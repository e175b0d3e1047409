//! The connection tables of a worker: one for each address family.

use crate::connection::family::Family;
use crate::connection::kept::Home as Kept;
use crate::connection::table::{HashKey, Table, TableMemory};
use crate::counters::WorkerCounters;
use crate::names::family::{IpVersion, V4, V6};

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

    /// No connections yet, in files, and room for as many as these have.
    ///
    /// # Errors
    /// If there is no memory for what is beside them.
    ///
    /// # Panics
    /// If other tables have been made in them.
    pub(super) fn kept(home: &mut Kept) -> Result<Self, memory::Error> {
        let (shape, hash_key) = (home.shape(), home.hash_key());
        let v4 = home.take_v4().expect("one worker is made in it");
        let v6 = home.take_v6().unwrap_or(TableMemory::Own(memory::Huge::Never));
        Ok(Self { v4: Table::new(shape.v4, hash_key, v4)?, v6: Table::new(shape.v6, hash_key, v6)? })
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

/// What is asked of all tables at once.
impl Tables {
    /// Connections in them.
    #[inline(always)]
    pub(super) const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Connections that there is room for in all.
    pub(super) const fn capacity(&self) -> usize {
        self.v4.capacity() + self.v6.capacity()
    }

    /// Whether there is room for connections of IPv6.
    #[inline(always)]
    pub(super) const fn serve_both(&self) -> bool {
        self.v6.capacity() != 0
    }

    /// Whether [`resize`](Self::resize) has something to do.
    #[inline(always)]
    pub(super) const fn are_to_resize(&self) -> bool {
        self.v4.is_to_resize() || self.serve_both() && self.v6.is_to_resize()
    }

    /// Goes a bounded way to the sizes that the connections ask for: see [`Table::resize`].
    pub(super) fn resize(&mut self, counters: &WorkerCounters) {
        self.v4.resize(counters);
        if self.serve_both() {
            self.v6.resize(counters);
        }
    }

    /// Whether one of them is nearly full.
    #[inline(always)]
    pub(super) const fn are_nearly_full(&self) -> bool {
        self.v4.is_nearly_full() || self.serve_both() && self.v6.is_nearly_full()
    }
}

/// An address family whose connections a worker has.
pub(super) trait Tabled: Family {
    /// Which one it is.
    const VERSION: IpVersion;

    /// The table that they are in.
    fn of(tables: &Tables) -> &Table<Self>;

    /// That table, to be changed.
    fn of_mut(tables: &mut Tables) -> &mut Table<Self>;
}

impl Tabled for V4 {
    const VERSION: IpVersion = IpVersion::Four;

    #[inline(always)]
    fn of(tables: &Tables) -> &Table {
        &tables.v4
    }

    #[inline(always)]
    fn of_mut(tables: &mut Tables) -> &mut Table {
        &mut tables.v4
    }
}

impl Tabled for V6 {
    const VERSION: IpVersion = IpVersion::Six;

    #[inline(always)]
    fn of(tables: &Tables) -> &Table<Self> {
        &tables.v6
    }

    #[inline(always)]
    fn of_mut(tables: &mut Tables) -> &mut Table<Self> {
        &mut tables.v6
    }
}
