//! Where a table's memory comes from: memory of its own, or parts of files that outlive the process.
//!
//! What lies in files is read by a later process, which finds it as a kill has left it: see
//! [`kept`](super::super::kept). So the words and lines there are written in an order in which each moment is one that
//! can be read.

use super::entry::WAYS;
use super::extent::Extent;
use super::ports::Ports;
use super::{REGION, Table};
use crate::connection::family::Family;
use crate::names::family::V4;
use memory::{Huge, HugeSlice};
use std::sync::atomic::Ordering;

/// Buckets that a journal has room for: those that move at once when a table shrinks.
pub(in crate::connection) const JOURNAL: usize = 2 * REGION;

/// What a table's memory is to be.
pub enum TableMemory<F: Family = V4> {
    /// Memory of its own.
    Own(Huge),
    /// Parts of files.
    Kept(Box<Parts<F>>),
}

/// The parts of files that a table is put in. All zero.
pub struct Parts<F: Family> {
    /// As many as a table for the capacity [may use](Table::most_buckets).
    pub(in crate::connection) buckets: HugeSlice<F::Line>,
    /// By bucket; not taken yet.
    pub(in crate::connection) ports: HugeSlice<[u16; WAYS]>,
    /// [`JOURNAL`] lines.
    pub(in crate::connection) journal: HugeSlice<F::Line>,
    /// [`JOURNAL`] of them.
    pub(in crate::connection) journal_ports: HugeSlice<[u16; WAYS]>,
    pub(in crate::connection) notes: Notes,
}

impl<F: Family> From<Huge> for TableMemory<F> {
    fn from(huge: Huge) -> Self {
        Self::Own(huge)
    }
}

/// Buckets that are being moved, as long as they lie nowhere else, with their ports.
pub(super) struct Journal<F: Family> {
    pub(super) lines: HugeSlice<F::Line>,
    pub(super) ports: HugeSlice<[u16; WAYS]>,
}

/// All the memory of a table.
pub(super) struct Made<F: Family> {
    pub(super) buckets: HugeSlice<F::Line>,
    pub(super) ports: Ports,
    pub(super) journal: Journal<F>,
    pub(super) notes: Notes,
}

impl<F: Family> TableMemory<F> {
    /// For so many buckets; it is taken now, but for the ports.
    ///
    /// # Errors
    /// If there is not that much.
    pub(super) fn make(self, most: usize) -> Result<Made<F>, memory::Error> {
        match self {
            Self::Own(huge) => {
                let mut buckets = HugeSlice::zeroed(most, huge)?;
                buckets.populate()?;
                let mut lines = HugeSlice::zeroed(JOURNAL, Huge::Never)?;
                lines.populate()?;
                let journal = Journal { lines, ports: HugeSlice::zeroed(JOURNAL, Huge::Never)? };
                Ok(Made { buckets, ports: Ports::new(most)?, journal, notes: Notes::NONE })
            }
            Self::Kept(parts) => {
                let Parts { buckets, ports, journal, journal_ports, notes } = *parts;
                assert!(buckets.len() == most && ports.len() == most, "the parts are for this capacity");
                let ports = Ports::kept(ports, Ports::new(most)?);
                let journal = Journal { lines: journal, ports: journal_ports };
                Ok(Made { buckets, ports, journal, notes })
            }
        }
    }
}

/// What a reader of a table's memory has to know besides, in words of the header; nothing where there is no reader.
#[derive(Clone, Debug)]
pub(in crate::connection) struct Notes(Option<memory::Words>);

/// What each word of the notes says.
#[derive(Clone, Copy)]
pub(in crate::connection) enum Note {
    /// Buckets in use, and from bit 32 on the front between two sizes: see [`extent`](super::extent). 0: no table yet.
    Extent,
    /// How many lines of the journal are valid.
    Journal,
    /// Whether entries have ports, and these are kept: see [`PORTS_KEPT`].
    Ports,
}

/// Words of the notes.
pub(in crate::connection) const NOTES: usize = 8;
/// Ports are in use, and kept.
pub(in crate::connection) const PORTS_KEPT: u64 = 1;
/// Ports are in use, and not kept: there was no memory in the file.
pub(in crate::connection) const PORTS_LOST: u64 = 2;

impl Notes {
    const NONE: Self = Self(None);

    /// In these words.
    pub(in crate::connection) const fn new(words: memory::Words) -> Self {
        Self(Some(words))
    }

    /// After all stores before this, and before all that come after it.
    #[inline(always)]
    pub(super) fn set(&self, note: Note, value: u64) {
        if let Self(Some(words)) = self {
            memory::in_order();
            words[note as usize].store(value, Ordering::Relaxed);
        }
        memory::in_order();
    }

    pub(super) fn set_extent(&self, extent: &Extent) {
        self.set(Note::Extent, extent.buckets as u64 | (extent.front as u64) << 32);
    }
}

impl<F: Family> Table<F> {
    /// Buckets that a table for `capacity` connections may come to use.
    pub(in crate::connection) fn most_buckets(capacity: usize) -> usize {
        Extent::new(capacity, F::BUCKETS_PER_16_CONNECTIONS).most()
    }
}
