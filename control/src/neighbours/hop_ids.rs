//! The ids of neighbours. What is compiled on another thread needs them too, so copies share them.

use dataplane::live::next_hops::NextHops;
use dataplane::names::ids::{NeighbourKey, NextHopId};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An id for each host that one was asked for. It is bound for as long as the process lives: connections carry it.
#[derive(Clone, Debug, Default)]
pub struct HopIds(Arc<Mutex<Bound>>);

#[derive(Debug, Default)]
struct Bound {
    ids: HashMap<NeighbourKey, NextHopId>,
    /// How often there was none left.
    refused: u64,
}

impl HopIds {
    /// The id of a host; [`NextHopId::UNKNOWN`] if there are no more.
    pub fn id(&self, key: NeighbourKey) -> NextHopId {
        let mut bound = self.bound();
        if let Some(id) = bound.ids.get(&key) {
            return *id;
        }
        // 0 is `UNKNOWN`.
        let next = bound.ids.len() + 1;
        if next >= NextHops::IDS {
            bound.refused += 1;
            return NextHopId::UNKNOWN;
        }
        let id = NextHopId(next as u32);
        bound.ids.insert(key, id);
        id
    }

    /// The id that a host has already.
    pub(super) fn known(&self, key: NeighbourKey) -> Option<NextHopId> {
        self.bound().ids.get(&key).copied()
    }

    /// How often there was none left.
    pub(super) fn refused(&self) -> u64 {
        self.bound().refused
    }

    /// How many hosts have one.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.bound().ids.len()
    }

    /// Held for one look-up only, so that no thread waits for another one's work. A panic between two changes leaves
    /// nothing half done.
    fn bound(&self) -> MutexGuard<'_, Bound> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
