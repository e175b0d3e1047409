//! What the tables of one worker are put in.

use super::heartbeat::Heartbeat;
use super::layout::{
    FamilyPlan, FamilyWord, HEADER, LAYOUT, MAGIC, NOTES_TEMPLATES, NOTES_V4, NOTES_V6, Plan, TEMPLATE,
    TEMPLATES_KEPT, TEMPLATES_LOST, Word,
};
use super::{Identity, Shape, Version};
use crate::connection::family::Family;
use crate::connection::table::{HashKey, JOURNAL, NOTES, Notes, Parts, TableMemory};
use crate::names::family::{V4, V6};
use memory::{Area, Words};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The files of one worker, made and empty: the worker is made in it.
pub struct Home {
    shape: Shape,
    hash_key: HashKey,
    v4: Option<Box<Parts<V4>>>,
    v6: Option<Box<Parts<V6>>>,
    templates: Words,
    template_notes: Words,
    heartbeat: Heartbeat,
}

impl Home {
    /// In files that have just been [created](Area::create), at least as large as [`bytes`](super::bytes) says, that
    /// with the tables all allocated. The hash key is to be the tables', and secret.
    ///
    /// `None` if they are smaller, or parts of them have been given out, or they were not made by this process.
    pub fn new(
        tables: &Arc<Area>,
        more: &Arc<Area>,
        shape: Shape,
        identity: Identity,
        hash_key: HashKey,
    ) -> Option<Self> {
        let plan = Plan::new(shape);
        if tables.bytes() < plan.sizes.tables || more.bytes() < plan.sizes.more {
            return None;
        }
        let hash_key = hash_key.made_odd();
        let header = tables.words(0, HEADER / size_of::<u64>())?;
        let home = Self {
            shape,
            hash_key,
            v4: Some(parts(&plan.v4, NOTES_V4, tables, more)?),
            v6: if shape.v6 == 0 { None } else { Some(parts(&plan.v6, NOTES_V6, tables, more)?) },
            templates: more.words(plan.templates, shape.templates * TEMPLATE / size_of::<u64>())?,
            template_notes: tables.words(NOTES_TEMPLATES * size_of::<u64>(), NOTES)?,
            heartbeat: Heartbeat::new(header.clone()),
        };
        write_header(&header, &plan, shape, identity, hash_key);
        Some(home)
    }

    /// What there is room for.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The secret of the tables.
    pub const fn hash_key(&self) -> HashKey {
        self.hash_key
    }

    /// What is noted while the tables are in use.
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// The memory of the table of IPv4. Once: from then on it is that table's.
    pub fn take_v4(&mut self) -> Option<TableMemory<V4>> {
        self.v4.take().map(TableMemory::Kept)
    }

    /// Likewise of IPv6; `None` if none is served, too.
    pub fn take_v6(&mut self) -> Option<TableMemory<V6>> {
        self.v6.take().map(TableMemory::Kept)
    }

    /// Takes the memory for the templates, and notes whether there was any: only then may they be written.
    pub fn take_templates(&self) -> bool {
        let taken = self.templates.populate().is_ok();
        self.template_notes[0].store(if taken { TEMPLATES_KEPT } else { TEMPLATES_LOST }, Ordering::Relaxed);
        taken
    }

    /// Room for the templates: see [`take_templates`](Self::take_templates).
    pub const fn templates(&self) -> &Words {
        &self.templates
    }

    /// Words of the header that are the templates'.
    pub const fn template_notes(&self) -> &Words {
        &self.template_notes
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("shape", &self.shape).finish_non_exhaustive()
    }
}

fn parts<F: Family>(
    plan: &FamilyPlan,
    notes: usize,
    tables: &Arc<Area>,
    more: &Arc<Area>,
) -> Option<Box<Parts<F>>> {
    Some(Box::new(Parts {
        buckets: tables.slice(plan.buckets, plan.count)?,
        ports: more.slice(plan.ports, plan.count)?,
        journal: tables.slice(plan.journal, JOURNAL)?,
        journal_ports: tables.slice(plan.journal_ports, JOURNAL)?,
        notes: Notes::new(tables.words(notes * size_of::<u64>(), NOTES)?),
    }))
}

/// Whoever reads a header that is not written to the end finds no magic number.
fn write_header(header: &Words, plan: &Plan, shape: Shape, identity: Identity, hash_key: HashKey) {
    let Identity { worker, workers, generation, boot_id } = identity;
    let mut words = [0; Word::Checksum as usize + 1];
    let mut set = |word: Word, value: u64| words[word as usize] = value;
    set(Word::Magic, MAGIC);
    set(Word::Layout, u64::from(LAYOUT) | (HEADER as u64) << 32);
    let boot_id = u128::from_le_bytes(boot_id);
    set(Word::BootIdLow, boot_id as u64);
    set(Word::BootIdHigh, (boot_id >> 64) as u64);
    set(Word::Workers, u64::from(worker) | u64::from(workers) << 16);
    set(Word::Generation, generation);
    set(Word::CapacityV4, shape.v4 as u64);
    set(Word::CapacityV6, shape.v6 as u64);
    set(Word::CapacityTemplates, shape.templates as u64);
    set(Word::HashMask, hash_key.mask);
    set(Word::HashMultiplier, hash_key.multiplier);
    set(Word::Templates, plan.templates as u64);
    set(Word::TemplateBytes, TEMPLATE as u64);
    let [low, high] = Version::OWN.words();
    set(Word::VersionLow, low);
    set(Word::VersionHigh, high);
    for (first, plan) in [(Word::V4, plan.v4), (Word::V6, plan.v6)] {
        let mut set = |word: FamilyWord, value: usize| words[first as usize + word as usize] = value as u64;
        set(FamilyWord::Buckets, plan.buckets);
        set(FamilyWord::Count, plan.count);
        set(FamilyWord::Journal, plan.journal);
        set(FamilyWord::JournalPorts, plan.journal_ports);
        set(FamilyWord::Ports, plan.ports);
    }
    words[Word::Checksum as usize] = checksum(&words[..Word::Checksum as usize]);
    for (word, value) in header.iter().zip(words).skip(1) {
        word.store(value, Ordering::Relaxed);
    }
    memory::in_order();
    header[Word::Magic as usize].store(MAGIC, Ordering::Relaxed);
}

/// Of words of a header.
pub(super) fn checksum(words: &[u64]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    crc32c::crc32c(&bytes).into()
}
