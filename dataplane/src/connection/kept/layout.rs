//! Where everything lies in a worker's files.
//!
//! ```text
//! tables   header (a page) · journals with their ports (two pages) · buckets of IPv4 · buckets of IPv6
//! more     ports of IPv4 · ports of IPv6 · templates
//! ```
//!
//! Each part begins on a page, and buckets that fill a huge page begin on one. The header says where the parts are, so
//! that a reader needs to know nothing of how many there have to be. Files never leave the machine that made them:
//! words are in its order.
//!
//! ```text
//! words  0..31  what never changes after the files were made: see [`Word`]; the last one is a CRC-32C of the others
//!       64      the worker's heartbeat
//!       72..    what the control thread notes
//!       80..    notes of the table of IPv4, and those of IPv6
//!       96..    notes of the templates
//! ```

use super::Shape;
use crate::connection::family::Family;
use crate::connection::table::{JOURNAL, NOTES, Table, WAYS};
use crate::names::family::{V4, V6};

/// "natlbct", and a zero.
pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"natlbct\0");
/// The layout that is written.
pub(super) const LAYOUT: u32 = 2;
/// Bytes of the header.
pub(super) const HEADER: usize = 4096;
/// Bytes of a template.
pub(super) const TEMPLATE: usize = 64;
const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// What the words of the header say that never change.
#[derive(Clone, Copy)]
pub(super) enum Word {
    /// [`MAGIC`]; written last.
    Magic = 0,
    /// The layout, and from bit 32 on the bytes of the header.
    Layout = 1,
    BootIdLow = 2,
    BootIdHigh = 3,
    /// The worker's number, and from bit 16 on how many there are.
    Workers = 4,
    Generation = 5,
    CapacityV4 = 6,
    CapacityV6 = 7,
    CapacityTemplates = 8,
    HashMask = 9,
    HashMultiplier = 10,
    /// The first of [`FAMILY_WORDS`] on IPv4.
    V4 = 11,
    /// Likewise on IPv6.
    V6 = 16,
    /// Offset in the file of ports.
    Templates = 21,
    /// Bytes of one.
    TemplateBytes = 22,
    /// The version of the program, as 16 bytes of text. Not in layout 1.
    VersionLow = 23,
    VersionHigh = 24,
    /// CRC-32C of all before.
    Checksum = 31,
}

/// What the words on a family say, from its first on.
#[derive(Clone, Copy)]
pub(super) enum FamilyWord {
    /// Offset of the buckets.
    Buckets = 0,
    /// How many there are.
    Count = 1,
    /// Offset of the journal.
    Journal = 2,
    /// Offset of the journal's ports.
    JournalPorts = 3,
    /// Offset of the ports, in the other file.
    Ports = 4,
}

/// The worker's nanoseconds. Alone in its cache line.
pub(super) const BEAT: usize = 64;
/// CLOCK_BOOTTIME less the worker's clock, in nanoseconds.
pub(super) const BOOT_OFFSET: usize = 72;
/// How many connections there are.
pub(super) const LIVE: usize = 73;
/// 1 after an orderly end.
pub(super) const CLEAN: usize = 74;
/// The table's notes, for each family.
pub(super) const NOTES_V4: usize = 80;
pub(super) const NOTES_V6: usize = NOTES_V4 + NOTES;
/// Notes of the templates: the first says whether there was memory for them, once a service has been persistent.
pub(super) const NOTES_TEMPLATES: usize = NOTES_V6 + NOTES;
/// There was.
pub(super) const TEMPLATES_KEPT: u64 = 1;
/// There was none: they are not kept.
pub(super) const TEMPLATES_LOST: u64 = 2;

/// Bytes of a worker's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of that with the tables.
    pub tables: usize,
    /// Of that with what most have no need of: at most, as its memory is taken when it is needed.
    pub more: usize,
}

/// How large the files for so many connections are.
pub fn bytes(shape: Shape) -> Sizes {
    Plan::new(shape).sizes
}

/// Offsets in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FamilyPlan {
    pub(super) buckets: usize,
    pub(super) count: usize,
    pub(super) journal: usize,
    pub(super) journal_ports: usize,
    pub(super) ports: usize,
}

/// Where everything lies in files of a shape.
pub(super) struct Plan {
    pub(super) v4: FamilyPlan,
    pub(super) v6: FamilyPlan,
    pub(super) templates: usize,
    pub(super) sizes: Sizes,
}

impl Plan {
    pub(super) fn new(shape: Shape) -> Self {
        let (mut tables, mut more) = (Cursor(HEADER), Cursor(0));
        let mut v4 = FamilyPlan::journal::<V4>(&mut tables);
        let mut v6 = FamilyPlan::journal::<V6>(&mut tables);
        v4.table::<V4>(Table::<V4>::most_buckets(shape.v4), &mut tables, &mut more);
        let of_v6 = if shape.v6 == 0 { 0 } else { Table::<V6>::most_buckets(shape.v6) };
        v6.table::<V6>(of_v6, &mut tables, &mut more);
        let templates = more.take(PAGE, shape.templates * TEMPLATE);
        let sizes = Sizes { tables: tables.0.next_multiple_of(PAGE), more: more.0.next_multiple_of(PAGE) };
        Self { v4, v6, templates, sizes }
    }
}

impl FamilyPlan {
    /// With the journal alone.
    fn journal<F: Family>(tables: &mut Cursor) -> Self {
        let journal = tables.take(PAGE, JOURNAL * size_of::<F::Line>());
        let journal_ports = tables.take(64, JOURNAL * size_of::<[u16; WAYS]>());
        Self { journal, journal_ports, ..Self::default() }
    }

    fn table<F: Family>(&mut self, count: usize, tables: &mut Cursor, more: &mut Cursor) {
        let bytes = count * size_of::<F::Line>();
        self.count = count;
        self.buckets = tables.take(if bytes < HUGE_PAGE { PAGE } else { HUGE_PAGE }, bytes);
        self.ports = more.take(PAGE, count * size_of::<[u16; WAYS]>());
    }
}

/// The end of what has its place.
struct Cursor(usize);

impl Cursor {
    /// The place of what comes next.
    fn take(&mut self, boundary: usize, bytes: usize) -> usize {
        let at = self.0.next_multiple_of(boundary);
        self.0 = at + bytes;
        at
    }
}

const _: () = assert!(NOTES_TEMPLATES + NOTES <= HEADER / size_of::<u64>());
