//! The files of an earlier process, read by all workers at once.
//!
//! Whatever their bytes are, reading them takes a bounded time and never fails: they may be forged, or those of a
//! process that was killed in the middle of anything.

use super::entries::{self, REGION, SPILL_MASK, WAYS};
use super::layout::{HEADER, MAGIC, Word};
use super::{Identity, Refused, Shape, Version, layout1, layout2};
use crate::connection::State;
use crate::connection::family::Family;
use crate::connection::table::{HashKey, NOTES, bucket_of};
use crate::names::family::{V4, V6};
use crate::names::ids::Protocol;
use crate::names::time::Tick;
use memory::{Area, Words};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How everything lies.
    pub layout: u32,
    /// Which version of this program made the files; layout 1 does not say.
    pub version: Option<Version>,
    /// Whose tables they are.
    pub identity: Identity,
    /// What they have room for.
    pub shape: Shape,
    /// The worker's last heartbeat, in its nanoseconds.
    pub nanoseconds: u64,
    /// CLOCK_BOOTTIME less the worker's clock, in nanoseconds.
    pub boot_offset: i64,
    /// How many connections there were, about a second before the end.
    pub connections: u64,
    /// Whether it ended in order.
    pub is_clean: bool,
}

/// A connection of an earlier process. Its real and next hop are ids of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldRow {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its state, which may be another protocol's in files that are damaged.
    pub state: State,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The real's id.
    pub real: u32,
    /// The id of the next hop to the client.
    pub hop: u32,
    /// The port that the client asked for, if the service is on several; else it says nothing.
    pub port: u16,
    /// The tick of the last packet, on the clock of its worker.
    pub tick: Tick,
}

/// Where a connection was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The word of its key.
    at: usize,
    key: u64,
}

/// A table of an earlier process. Places are in words of the file, counts in buckets.
#[derive(Debug)]
pub(super) struct Lines {
    /// Those in use, of the larger layout of two.
    pub(super) used: usize,
    /// End of the smaller layout; 0: there is one alone.
    pub(super) front: usize,
    /// Words of one.
    pub(super) words: usize,
    pub(super) buckets: usize,
    pub(super) journal: usize,
    pub(super) journal_lines: usize,
    pub(super) journal_ports: Option<usize>,
    pub(super) ports: Option<Words>,
}

/// All of a worker's files but the header.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) hash_key: HashKey,
    pub(super) v4: Lines,
    pub(super) v6: Lines,
    pub(super) templates: Option<Words>,
    pub(super) template_notes: [u64; NOTES],
}

/// See the module's text.
#[derive(Debug)]
pub struct Old {
    header: Header,
    parts: Parts,
    tables: Words,
}

/// Buckets that are read at once.
enum Part<'a> {
    Region(&'a Lines, Range<usize>),
    Journal(&'a Lines),
}

impl Part<'_> {
    /// The first of its words, and how many there are.
    const fn words(&self) -> (usize, usize) {
        match self {
            Self::Region(lines, buckets) => {
                (lines.buckets + buckets.start * lines.words, (buckets.end - buckets.start) * lines.words)
            }
            Self::Journal(lines) => (lines.journal, lines.journal_lines * lines.words),
        }
    }
}

impl Old {
    /// Of the file with the tables, and that with what most have no need of.
    ///
    /// # Errors
    /// Why they are not read.
    pub fn open(tables: &Arc<Area>, more: Option<&Arc<Area>>) -> Result<Self, Refused> {
        if !tables.has_memory(0..HEADER) {
            return Err(Refused::Size);
        }
        let words = tables.words(0, tables.bytes() / size_of::<u64>()).ok_or(Refused::Size)?;
        let word = |at: Word| words[at as usize].load(Ordering::Relaxed);
        if word(Word::Magic) != MAGIC {
            return Err(Refused::Magic);
        }
        let (header, parts) = match word(Word::Layout) as u32 {
            1 => layout1::read(&words, tables, more)?,
            2 => layout2::read(&words, tables, more)?,
            other => return Err(Refused::Layout(other)),
        };
        Ok(Self { header, parts, tables: words })
    }

    /// What the header says.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How many positions there are to be read: a few kilobytes each.
    pub fn positions(&self) -> usize {
        self.parts.v4.regions() + self.parts.v6.regions() + 2
    }

    /// Reads the connections at a position, of which there are [so many](Self::positions); those of the journals come
    /// last. A connection may come twice if the process was killed in the middle of a change: then it is the same.
    pub fn read(&self, position: usize, each: impl FnMut(OldRow, Mark)) {
        if let Some(part) = self.part(position) {
            self.read_part(&part, each);
        }
    }

    fn part(&self, position: usize) -> Option<Part<'_>> {
        let Parts { v4, v6, .. } = &self.parts;
        let (of_v4, of_v6) = (v4.regions(), v6.regions());
        if position < of_v4 {
            return Some(Part::Region(v4, v4.region(position)));
        } else if position < of_v4 + of_v6 {
            return Some(Part::Region(v6, v6.region(position - of_v4)));
        }
        match position - of_v4 - of_v6 {
            0 => Some(Part::Journal(v4)),
            1 => Some(Part::Journal(v6)),
            _ => None,
        }
    }

    /// The bytes of the file with the tables that are read at a position.
    #[cfg(test)]
    pub(super) fn bytes_at(&self, position: usize) -> Range<usize> {
        let part = self.part(position).expect("there is such a position");
        let (first, count) = part.words();
        first * size_of::<u64>()..(first + count) * size_of::<u64>()
    }

    /// Brings close what [`find`](Self::find) looks at first.
    pub fn prefetch(&self, client: SocketAddr, protocol: Protocol) {
        if let Some((lines, home)) = self.home(client, protocol) {
            let first = lines.buckets + home * lines.words;
            memory::prefetch_all(&self.tables[first..first + lines.words]);
        }
    }

    /// Reads the connections of a client endpoint, for a packet without one: those that lie in the bucket that they are
    /// at home in, in its region if the bucket says so, or in the journal. The few that found no room in their region,
    /// and what was on its way when the process was killed, are missed; they are [read](Self::read) like all.
    pub fn find(&self, client: SocketAddr, protocol: Protocol, mut each: impl FnMut(OldRow, Mark)) {
        let Some((lines, home)) = self.home(client, protocol) else { return };
        let mut its_own = |row: OldRow, mark: Mark| {
            if row.client == client && row.protocol == protocol {
                each(row, mark);
            }
        };
        let spill = self.tables[lines.buckets + home * lines.words].load(Ordering::Relaxed) & SPILL_MASK;
        let buckets = if spill == 0 { home..home + 1 } else { region_of(home) };
        self.read_part(&Part::Region(lines, buckets), &mut its_own);
        if lines.journal_lines > 0 {
            self.read_part(&Part::Journal(lines), &mut its_own);
        }
    }

    /// The table that a client endpoint's connections are in, and the bucket that they are at home in; `None`: there
    /// are none of its family.
    fn home(&self, client: SocketAddr, protocol: Protocol) -> Option<(&Lines, usize)> {
        let hash_key = self.parts.hash_key;
        let (lines, hash) = match client {
            SocketAddr::V4(_) => (&self.parts.v4, hash_key.hash(V4::key(client, protocol)?)),
            SocketAddr::V6(_) => (&self.parts.v6, hash_key.hash(V6::key(client, protocol)?)),
        };
        if lines.used == 0 {
            return None;
        }
        let in_larger = bucket_of(hash, lines.used);
        let home = if in_larger / 2 < lines.front { in_larger / 2 } else { in_larger };
        Some((lines, home))
    }

    /// Has a connection be read no more: it is in another table now, or never will be. Nothing if it has been forgotten
    /// already.
    pub fn forget(&self, mark: Mark) {
        let (at, free) = (&self.tables[mark.at], mark.key & SPILL_MASK);
        let _ = at.compare_exchange(mark.key, free, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Room for the templates, if it was ever taken.
    pub const fn templates(&self) -> Option<&Words> {
        self.parts.templates.as_ref()
    }

    /// Words of the header that are the templates'.
    pub const fn template_notes(&self) -> &[u64; NOTES] {
        &self.parts.template_notes
    }

    fn read_part(&self, part: &Part<'_>, mut each: impl FnMut(OldRow, Mark)) {
        let (Part::Region(lines, _) | Part::Journal(lines)) = part;
        let (first, count) = part.words();
        let ports = |index: usize| match part {
            Part::Region(lines, buckets) => Some(&lines.ports.as_ref()?[buckets.start + index]),
            Part::Journal(lines) => Some(&self.tables[lines.journal_ports? + index]),
        };
        let words = &self.tables[first..first + count];
        for (index, line) in words.chunks_exact(lines.words).enumerate() {
            let word = |at: usize| line[at].load(Ordering::Relaxed);
            for way in 0..WAYS {
                let key = word(way);
                if entries::is_free(key) {
                    continue;
                }
                let rest = 2 * WAYS + 2 * way;
                let address = (lines.words > 2 * WAYS)
                    .then(|| u128::from(word(rest)) | u128::from(word(rest + 1)) << 64);
                let ports = ports(index).map_or(0, |ports| ports.load(Ordering::Relaxed));
                let port = (ports >> (16 * way)) as u16;
                if let Some(row) = entries::row(key, word(WAYS + way), address, port) {
                    each(row, Mark { at: first + index * lines.words + way, key });
                }
            }
        }
    }
}

impl Lines {
    /// Regions that may have entries.
    const fn regions(&self) -> usize {
        (self.used - self.front) / REGION
    }

    /// The buckets of one of these.
    const fn region(&self, number: usize) -> Range<usize> {
        let first = number * REGION;
        let first = if first < self.front { first } else { first + self.front };
        first..first + REGION
    }
}

const fn region_of(bucket: usize) -> Range<usize> {
    let first = bucket / REGION * REGION;
    first..first + REGION
}
