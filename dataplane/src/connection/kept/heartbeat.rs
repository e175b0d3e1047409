//! What is noted while a worker's tables are in use, so that a later process knows how old they are.

use super::layout::{BEAT, BOOT_OFFSET, CLEAN, LIVE, NOTES_TEMPLATES, NOTES_V4, NOTES_V6, TEMPLATES_LOST};
use crate::connection::table::{Note, PORTS_LOST};
use memory::Words;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's text. The worker and the control thread each have one.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    header: Words,
}

impl Heartbeat {
    pub(super) const fn new(header: Words) -> Self {
        Self { header }
    }

    /// The worker notes the time that it knows, once a turn: one store.
    #[inline(always)]
    pub fn beat(&self, nanoseconds: u64) {
        self.word(BEAT).store(nanoseconds, Ordering::Relaxed);
    }

    /// The time that the worker noted last; 0: none yet.
    pub fn nanoseconds(&self) -> u64 {
        self.word(BEAT).load(Ordering::Relaxed)
    }

    /// The control thread notes, about once a second, how far the machine's clock since its start is ahead of the
    /// worker's, in nanoseconds, and how many connections there are.
    pub fn note(&self, boot_offset: i64, connections: u64) {
        self.word(BOOT_OFFSET).store(boot_offset as u64, Ordering::Relaxed);
        self.word(LIVE).store(connections, Ordering::Relaxed);
    }

    /// The worker has ended in order; or it goes on after all.
    pub fn set_clean(&self, is_clean: bool) {
        self.word(CLEAN).store(u64::from(is_clean), Ordering::Relaxed);
    }

    /// Whether there was no memory in the files for the ports of connections whose services are on several: such
    /// connections are not kept then.
    pub fn has_lost_ports(&self) -> bool {
        let lost =
            |notes: usize| self.word(notes + Note::Ports as usize).load(Ordering::Relaxed) == PORTS_LOST;
        lost(NOTES_V4) || lost(NOTES_V6)
    }

    /// Whether there was no memory in the files for the templates of persistent services: they are not kept then.
    pub fn has_lost_templates(&self) -> bool {
        self.word(NOTES_TEMPLATES).load(Ordering::Relaxed) == TEMPLATES_LOST
    }

    #[inline(always)]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.header[at]
    }
}
