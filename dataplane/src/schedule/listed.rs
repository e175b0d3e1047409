//! A service's reals in the kernel's order.

use super::{Algorithm, Candidate, Options};
use crate::names::ids::RealId;
use std::sync::Arc;

/// What every schedule knows: its reals, the newest first, and since when it is the same schedule.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) algorithm: Algorithm,
    /// Another one whenever workers are to start afresh.
    pub(super) generation: u64,
    /// In seconds; 0: a real that appears has its whole share at once.
    pub(super) slow_start: u32,
    /// The newest first, as in the kernel's list. Workers keep it, too.
    pub(super) candidates: Arc<[Candidate]>,
    /// Sorted; where each real stands in `candidates`.
    places: Box<[(RealId, u32)]>,
}

impl Listed {
    pub(super) fn new(
        algorithm: Algorithm,
        options: &Options,
        generation: u64,
        candidates_newest_first: Vec<Candidate>,
    ) -> Self {
        let mut places: Vec<_> =
            (0..).zip(&candidates_newest_first).map(|(place, candidate)| (candidate.real, place)).collect();
        places.sort_unstable();
        Self {
            algorithm,
            generation,
            slow_start: if algorithm.has_slow_start() { options.slow_start } else { 0 },
            candidates: candidates_newest_first.into(),
            places: places.into(),
        }
    }

    pub(super) fn place_of(&self, real: RealId) -> Option<usize> {
        let found = self.places.binary_search_by_key(&real, |(real, _)| *real).ok()?;
        Some(self.places[found].1 as usize)
    }
}
