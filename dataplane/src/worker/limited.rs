//! This worker's part in the connections of reals that have a connection threshold.
//!
//! What all workers have together is one word for each such real ([`limits`](crate::live::limits)). A connection that
//! is to be opened takes a place there first; connections that have ended give theirs back before the next one is
//! opened, and at the end of each turn. So there are never more than the upper threshold says, and with one worker a
//! real is closed and opened after the very connections after which the kernel does it. Connections that are not asked
//! for (those of persistent clients, and those that are taken over from another run) are added after they have been
//! made.

use crate::counters::WorkerCounters;
use crate::live::reals::Reals;
use crate::names::ids::RealId;
use crate::snapshot::{Snapshot, Thresholds};
use hashbrown::HashMap;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Limited {
    /// By real that has a threshold: how many of this worker's connections are in the word of all workers.
    told: HashMap<RealId, u32>,
}

impl Limited {
    /// Changes over from one configuration to another.
    pub(super) fn adopt(&mut self, old: &Snapshot, new: &Snapshot, reals: &Reals, counters: &WorkerCounters) {
        let begins = reals.begins(new.version);
        for real in new.limited_since(old) {
            let Thresholds { upper, lower } = new.thresholds(real);
            if begins {
                reals.set_limit(real, upper, lower);
            }
            let (had, has) = (self.told.contains_key(&real), upper != 0);
            if had == has {
                continue;
            }
            counters.set_limited(real, has);
            if has {
                let own = own(real, counters);
                self.told.insert(real, own);
                reals.join_connections(real, own);
            } else if let Some(told) = self.told.remove(&real) {
                reals.take_connections(real, told);
            }
        }
    }

    /// Whether any real has a connection threshold.
    #[inline(always)]
    pub(super) fn has_any(&self) -> bool {
        !self.told.is_empty()
    }

    /// Takes a place for a connection that is to be opened on this worker; false: the real takes no more.
    pub(super) fn admit(&mut self, real: RealId, reals: &Reals) -> bool {
        // Whoever does not know of the threshold yet counts all connections when it does.
        let Some(told) = self.told.get_mut(&real) else { return true };
        let admitted = reals.admit(real);
        *told += u32::from(admitted);
        admitted
    }

    /// Has all workers know of the connections that have begun and ended here.
    #[cold]
    #[inline(never)]
    pub(super) fn settle_all(&mut self, reals: &Reals, counters: &WorkerCounters) {
        while let Some(real) = counters.take_limited() {
            self.settle(real, reals, counters);
        }
    }

    /// As [`settle_all`](Self::settle_all), of one real.
    pub(super) fn settle(&mut self, real: RealId, reals: &Reals, counters: &WorkerCounters) {
        let Some(told) = self.told.get_mut(&real) else { return };
        let now = own(real, counters);
        let before = std::mem::replace(told, now);
        if now > before {
            reals.add_connections(real, now - before);
        } else if now < before {
            reals.take_connections(real, before - now);
        }
    }
}

/// Connections of a real on this worker.
fn own(real: RealId, counters: &WorkerCounters) -> u32 {
    u32::try_from(counters.real(real).total.get()).unwrap_or(u32::MAX)
}
