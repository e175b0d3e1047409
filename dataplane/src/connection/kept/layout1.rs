//! How files of layout 1 are read.

use super::entries::{REGION, WAYS};
use super::home::checksum;
use super::layout::{
    BEAT, BOOT_OFFSET, CLEAN, FamilyWord, HEADER, LIVE, NOTES_TEMPLATES, NOTES_V4, NOTES_V6, TEMPLATE, Word,
};
use super::old::{Header, Lines, Parts};
use super::{Identity, Refused, Shape};
use crate::connection::table::{HashKey, JOURNAL, NOTES, Note, PORTS_KEPT};
use memory::{Area, Words};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The header and the parts of files whose header has this layout.
pub(super) fn read(
    header: &Words,
    tables: &Arc<Area>,
    more: Option<&Arc<Area>>,
) -> Result<(Header, Parts), Refused> {
    let word = |at: usize| header[at].load(Ordering::Relaxed);
    let fixed: Vec<u64> = (0..Word::Checksum as usize).map(word).collect();
    if word(Word::Checksum as usize) != checksum(&fixed) {
        return Err(Refused::Checksum);
    }
    let fixed = |at: Word| fixed[at as usize];
    let size = |at: Word| usize::try_from(fixed(at)).map_err(|_| Refused::Damaged);
    let boot_id = u128::from(fixed(Word::BootIdHigh)) << 64 | u128::from(fixed(Word::BootIdLow));
    let about = Header {
        layout: fixed(Word::Layout) as u32,
        version: None,
        identity: Identity {
            worker: fixed(Word::Workers) as u16,
            workers: (fixed(Word::Workers) >> 16) as u16,
            generation: fixed(Word::Generation),
            boot_id: boot_id.to_le_bytes(),
        },
        shape: Shape {
            v4: size(Word::CapacityV4)?,
            v6: size(Word::CapacityV6)?,
            templates: size(Word::CapacityTemplates)?,
        },
        nanoseconds: word(BEAT),
        boot_offset: word(BOOT_OFFSET) as i64,
        connections: word(LIVE),
        is_clean: word(CLEAN) == 1,
    };
    let lines = |first: Word, notes: usize, line: usize| {
        let at = |at: FamilyWord| {
            usize::try_from(word(first as usize + at as usize)).map_err(|_| Refused::Damaged)
        };
        lines(at, [0, 1, 2].map(|note| word(notes + note)), line, tables, more)
    };
    let templates = (about.shape.templates.checked_mul(TEMPLATE)).ok_or(Refused::Damaged)?;
    let template_bytes = part(size(Word::Templates)?, templates)?;
    let templates = more
        .filter(|more| {
            fixed(Word::TemplateBytes) == TEMPLATE as u64 && more.has_memory(template_bytes.clone())
        })
        .and_then(|more| more.words(template_bytes.start, template_bytes.len() / size_of::<u64>()));
    let parts = Parts {
        hash_key: HashKey { mask: fixed(Word::HashMask), multiplier: fixed(Word::HashMultiplier) },
        v4: lines(Word::V4, NOTES_V4, 2 * WAYS)?,
        v6: lines(Word::V6, NOTES_V6, 4 * WAYS)?,
        templates,
        template_notes: std::array::from_fn(|note| word(NOTES_TEMPLATES + note)),
    };
    Ok((about, parts))
}

/// The table of a family, with so many words in a line.
fn lines(
    at: impl Fn(FamilyWord) -> Result<usize, Refused>,
    notes: [u64; 3],
    words: usize,
    tables: &Arc<Area>,
    more: Option<&Arc<Area>>,
) -> Result<Lines, Refused> {
    let count = at(FamilyWord::Count)?;
    let (used, front) =
        (notes[Note::Extent as usize] as u32 as usize, (notes[Note::Extent as usize] >> 32) as usize);
    let whole = [count, used, front].iter().all(|buckets| buckets.is_multiple_of(REGION));
    if !whole || count >= 1 << 32 || used > count || front > used / 2 {
        return Err(Refused::Damaged);
    }
    let bytes = count * words * size_of::<u64>();
    let buckets = part(at(FamilyWord::Buckets)?, bytes)?;
    let journal = part(at(FamilyWord::Journal)?, JOURNAL * words * size_of::<u64>())?;
    let journal_ports = part(at(FamilyWord::JournalPorts)?, JOURNAL * size_of::<u64>())?;
    if [&buckets, &journal, &journal_ports].into_iter().any(|part| !tables.has_memory(part.clone())) {
        return Err(Refused::Size);
    }
    let ports = part(at(FamilyWord::Ports)?, count * size_of::<u64>())?;
    let has_ports = notes[Note::Ports as usize] == PORTS_KEPT;
    let ports = more.filter(|more| has_ports && more.has_memory(ports.clone()));
    Ok(Lines {
        used,
        front,
        words,
        buckets: buckets.start / size_of::<u64>(),
        journal: journal.start / size_of::<u64>(),
        journal_lines: (notes[Note::Journal as usize] as usize).min(JOURNAL),
        journal_ports: has_ports.then_some(journal_ports.start / size_of::<u64>()),
        ports: match ports {
            Some(more) => more.words(at(FamilyWord::Ports)?, count),
            None => None,
        },
    })
}

/// Whole words of a file, outside of its header.
fn part(offset: usize, bytes: usize) -> Result<Range<usize>, Refused> {
    let end = offset.checked_add(bytes).filter(|_| offset.is_multiple_of(size_of::<u64>()));
    Ok(offset..end.ok_or(Refused::Damaged)?)
}

const _: () = assert!(HEADER >= (NOTES_TEMPLATES + NOTES) * size_of::<u64>());
