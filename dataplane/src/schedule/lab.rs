//! For tests: one worker, one service, and connections as numbers.

use super::*;
use crate::counters::{StateGauges, WorkerCounters, note_count};
use crate::live::elsewhere::Elsewhere;
use crate::live::reals::Reals;
use crate::names::ids::ServiceId;
use crate::names::time::Now;

/// All that a pick may ask about.
pub(super) struct Around {
    pub(super) live: Box<Reals>,
    pub(super) own: WorkerCounters,
    pub(super) elsewhere: Elsewhere,
    pub(super) now: Now,
}

impl Around {
    pub(super) fn new() -> Self {
        Self {
            live: Box::default(),
            own: WorkerCounters::new(),
            elsewhere: Elsewhere::default(),
            now: Now { nanoseconds: 1_000_000_000_000 },
        }
    }

    pub(super) fn known(&self) -> Known<'_> {
        let Self { live, own, elsewhere, now } = self;
        Known { live, own, elsewhere, now: *now }
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        let client = "192.0.2.6:1234".parse().unwrap();
        let destination = "198.51.100.1:80".parse().unwrap();
        Asked { client, destination, known: self.known() }
    }
}

/// A real as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) real: RealId,
    pub(super) weight: u32,
    pub(super) identity: Identity,
}

/// A service whose every change is adopted at once.
pub(super) struct Lab {
    pub(super) around: Around,
    pub(super) algorithm: Algorithm,
    pub(super) options: Options,
    /// Newest first.
    pub(super) list: Vec<Entry>,
    pub(super) service: ServiceId,
    pub(super) worker: usize,
    generation: u64,
    schedule: Option<Schedule>,
    positions: Positions,
}

impl Lab {
    pub(super) fn new(algorithm: Algorithm, flags: Flags) -> Self {
        Self {
            around: Around::new(),
            algorithm,
            options: Options { flags, ..Options::default() },
            list: Vec::new(),
            service: ServiceId(3),
            worker: 0,
            generation: 1,
            schedule: None,
            positions: Positions::default(),
        }
    }

    pub(super) fn with(algorithm: Algorithm, reals: &[(u32, u32)]) -> Self {
        let mut lab = Self::new(algorithm, Flags::NONE);
        for (real, weight) in reals {
            lab.add(*real, *weight);
        }
        lab
    }

    pub(super) fn add(&mut self, real: u32, weight: u32) {
        self.add_at(real, &format!("192.168.1.{real}:80"), weight);
    }

    pub(super) fn add_at(&mut self, real: u32, endpoint: &str, weight: u32) {
        let identity = Identity { endpoint: endpoint.parse().unwrap(), last_weight: weight };
        self.list.insert(0, Entry { real: RealId(real), weight, identity });
        self.changed();
    }

    pub(super) fn delete(&mut self, real: u32) {
        self.list.retain(|entry| entry.real != RealId(real));
        self.changed();
    }

    pub(super) fn edit(&mut self, real: u32, weight: u32) {
        let entry = self.list.iter_mut().find(|entry| entry.real == RealId(real)).unwrap();
        entry.weight = weight;
        if weight > 0 {
            entry.identity.last_weight = weight;
        }
        self.changed();
    }

    /// As if the scheduler had been replaced.
    pub(super) fn begin_anew(&mut self) {
        self.generation += 1;
        self.changed();
    }

    pub(super) fn changed(&mut self) {
        let change = Change::of(self.list.iter().map(|entry| entry.weight));
        let candidates =
            self.list.iter().map(|Entry { real, weight, .. }| Candidate { real: *real, weight: *weight });
        self.options.identities = self.list.iter().map(|entry| entry.identity).collect();
        let sequence = self.schedule.as_ref().map_or(0, Schedule::next_sequence);
        let changes = (sequence, vec![change]);
        let new = Schedule::with_options(
            self.algorithm,
            &self.options,
            self.generation,
            candidates.collect(),
            changes,
        );
        self.positions.resize(self.service.0 as usize + 1);
        let both = (self.schedule.as_ref(), Some(&new));
        self.positions.adopt(self.service, both, &self.around.known(), self.worker);
        self.schedule = Some(new);
    }

    /// The real that a client gets for a destination.
    pub(super) fn pick_for(&mut self, client: SocketAddr, destination: SocketAddr) -> Option<u32> {
        let asked = Asked { client, destination, known: self.around.known() };
        let schedule = self.schedule.as_ref()?;
        // As a worker does: first the usual case.
        let usual = match self.positions.get(self.service) {
            Some(Position::Place(_)) => self.positions.usual_turn(self.service, asked.known.live),
            Some(Position::Few(_)) => self.positions.best_of_few(self.service, asked.known),
            _ => None,
        };
        usual.or_else(|| self.positions.choice(self.service, schedule, &asked)).map(|real| real.0)
    }

    pub(super) fn pick(&mut self) -> Option<u32> {
        let Asked { client, destination, .. } = self.around.asked();
        self.pick_for(client, destination)
    }

    /// A connection that is opened and stays.
    pub(super) fn open(&self, real: u32) {
        self.count(real, 1, StateGauges::ACTIVE);
    }

    /// One of these is closed by its client.
    pub(super) fn close(&self, real: u32) {
        self.count(real, 0, StateGauges::CLOSING.wrapping_sub(StateGauges::ACTIVE));
    }

    /// One that has been closed is forgotten.
    pub(super) fn forget(&self, real: u32) {
        self.count(real, u64::MAX, StateGauges::CLOSING.wrapping_neg());
    }

    /// As the table counts.
    fn count(&self, real: u32, total: u64, states: u64) {
        let counters = self.around.own.real(RealId(real));
        counters.total.add(total);
        counters.states.add(states);
        note_count(self.around.own.reals(), counters, RealId(real));
    }

    /// So many picks, each of which opens a connection that stays.
    pub(super) fn held(&mut self, count: usize) -> Vec<u32> {
        let open = |lab: &mut Self| {
            let real = lab.pick().unwrap();
            lab.open(real);
            real
        };
        (0..count).map(|_| open(self)).collect()
    }

    pub(super) fn picks(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.pick().unwrap()).collect()
    }
}
