//! Connections of reals, added up over the workers and told to each of them, for the services whose picks compare them.
//!
//! ```text
//! settled snapshot ─follow─► services that need sums ─turn─► a slice of a pass ─► every worker's Elsewhere
//! ```
//!
//! Reading a real's counters takes their cache line away from the worker that counts there. So nothing is read of a
//! service that needs no sums, and of the others little as long as no connection comes or goes. One worker alone knows
//! everything itself.

use crate::publish::workers::Workers;
use dataplane::live::elsewhere::Load;
use dataplane::names::ids::{RealId, ServiceId};
use dataplane::schedule::Schedule;
use dataplane::snapshot::{Service, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a pass the next one begins, if connections have come or gone.
const PASSES: Duration = Duration::from_millis(4);
/// How long after a pass began the next one does if none has: packets may have changed the states of those that there
/// are. No pick has read them meanwhile, for it would have made a connection.
const PASSES_AT_REST: Duration = Duration::from_millis(100);
/// Between two slices of a pass; the loop does everything else meanwhile.
const SLICES: Duration = Duration::from_micros(500);
/// Counters read in a slice, one of each worker for a real: less than half a millisecond. With 65,536 reals on 8
/// workers a pass has 32 slices.
const READ_IN_A_SLICE: usize = 16_384;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Sums {
    /// The services that need sums, with the reals that they pick from.
    services: BTreeMap<ServiceId, Arc<Schedule>>,
    /// Of the snapshot that was followed last.
    version: u64,
    /// Where the pass under way goes on: a service, and a place in its list of reals.
    next: Option<(ServiceId, usize)>,
    /// When there was last a slice, or no need of a pass; `None`: a pass is to begin at once.
    looked: Option<Instant>,
    /// When the last pass began; `None`: before there were services that it did not see.
    began: Option<Instant>,
    /// As the last pass began.
    moves: Moves,
    /// Connections had come or gone when the last pass began. A worker counts a connection and its real's one after the
    /// other, so one more pass sees them all.
    has_moved: bool,
    /// By worker: of the real being added up.
    loads: Vec<Load>,
}

/// What differs whenever a connection has come or gone: with as many made there can only be fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moves {
    made: u64,
    there: u64,
}

impl Moves {
    fn of(workers: &Workers) -> Self {
        workers.counters().fold(Self::default(), |sum, counters| Self {
            made: sum.made.wrapping_add(counters.connections_created.get()),
            there: sum.there.wrapping_add(counters.connections.get()),
        })
    }
}

impl Sums {
    /// From now on adds up what this snapshot needs, which every worker runs on: none picks any more from what is left
    /// out now, and whose sums become zero. Takes time in proportion to the services that have changed.
    pub fn follow(&mut self, snapshot: &Snapshot, workers: &Workers) {
        let before = std::mem::replace(&mut self.version, snapshot.version);
        if workers.len() < 2 {
            return;
        }
        let beyond = ServiceId(snapshot.services.len() as u32);
        let mut left: Vec<Arc<Schedule>> = self.services.split_off(&beyond).into_values().collect();
        for id in snapshot.edited_since(before) {
            left.extend(match needing(snapshot, id) {
                Some(service) => {
                    (self.looked, self.began) = (None, None);
                    self.services.insert(id, Arc::clone(&service.schedule))
                }
                None => self.services.remove(&id),
            });
        }
        for real in left.iter().flat_map(|schedule| schedule.candidates()).map(|candidate| candidate.real) {
            if snapshot.service_of(real).and_then(|id| needing(snapshot, id)).is_none() {
                workers.elsewhere().for_each(|elsewhere| elsewhere.set(real, Load::default()));
            }
        }
    }

    /// When there is something to do next, if ever.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let pause = if self.next.is_some() { SLICES } else { PASSES };
        (!self.services.is_empty()).then(|| self.looked.map_or(now, |looked| looked + pause))
    }

    /// Adds up a slice, if it is due.
    pub fn turn(&mut self, workers: &Workers, now: Instant) {
        if self.due(now).is_none_or(|due| due > now) {
            return;
        }
        self.looked = Some(now);
        if self.next.is_none() {
            self.begin(workers, now);
        }
        self.slice(workers);
    }

    /// Begins a pass if there may be anything new.
    fn begin(&mut self, workers: &Workers, now: Instant) {
        let moves = Moves::of(workers);
        let has_moved = moves != self.moves;
        let has_rested = self.began.is_none_or(|began| now - began >= PASSES_AT_REST);
        if has_moved || self.has_moved || has_rested {
            (self.moves, self.has_moved, self.began) = (moves, has_moved, Some(now));
            self.next = Some((ServiceId(0), 0));
        }
    }

    /// Goes on with the pass under way, if there is one.
    fn slice(&mut self, workers: &Workers) {
        let mut left = READ_IN_A_SLICE / workers.len().max(1);
        while let Some(next) = self.next.take() {
            let Some((id, schedule)) = self.services.range(next.0..).next() else { return };
            if left == 0 {
                self.next = Some(next);
                return;
            }
            let (candidates, place) = (schedule.candidates(), if *id == next.0 { next.1 } else { 0 });
            // There may be fewer than when the pass came here.
            let candidates = candidates.get(place..).unwrap_or_default();
            let (now, later) = candidates.split_at(candidates.len().min(left));
            let goes_on = if later.is_empty() { (ServiceId(id.0 + 1), 0) } else { (*id, place + now.len()) };
            now.iter().for_each(|candidate| add_up(candidate.real, workers, &mut self.loads));
            // A service without reals takes time, too.
            left = left.saturating_sub(now.len().max(1));
            self.next = Some(goes_on);
        }
    }
}

/// The service with this id, if it needs sums.
fn needing(snapshot: &Snapshot, id: ServiceId) -> Option<&Service> {
    snapshot.services.get(id.0 as usize)?.as_ref().filter(|service| service.schedule.needs_sums())
}

/// Tells each worker what the others have on a real. All are read once, so that what a worker is told has none of its
/// own.
fn add_up(real: RealId, workers: &Workers, loads: &mut Vec<Load>) {
    loads.clear();
    loads.extend(workers.counters().map(|counters| Load::of(counters.real(real))));
    let sum = loads.iter().fold(Load::default(), |sum, load| sum + *load);
    for (elsewhere, own) in workers.elsewhere().zip(loads) {
        elsewhere.set(real, sum - *own);
    }
}
