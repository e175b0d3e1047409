//! The way of one snapshot into force, as a value: nothing here waits.
//!
//! ```text
//! Prepared ──given to the rings as they have room──► Offered { since } ──all run on it──► Settled
//!                                                        │ patience ends                      ▲
//!                                                        └──────────► Late ──all run on it────┘
//! ```
//!
//! Nothing takes back what was offered: a worker that is late runs on it when it goes on.

use crate::publish::workers::{WorkerLate, Workers};
use dataplane::snapshot::Snapshot;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A snapshot on its way into force.
#[derive(Debug)]
pub struct Transition {
    snapshot: Arc<Snapshot>,
    /// Workers whose rings had no room for it yet.
    unoffered: Vec<usize>,
    patience: Duration,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No worker knows it.
    Prepared,
    /// It is with the workers, which have the transition's patience to adopt it.
    Offered {
        /// When it was given to them.
        since: Instant,
    },
    /// The patience has ended.
    Late,
    /// Every worker runs on it.
    Settled,
}

/// What an [`advance`](Transition::advance) has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing new.
    Waiting,
    /// The patience has just ended, and this worker does not run on it.
    Late(WorkerLate),
    /// Every worker runs on it.
    Settled,
}

impl Transition {
    /// Nothing is offered yet. Once it is, each worker has `patience` to adopt it.
    pub fn new(snapshot: Arc<Snapshot>, patience: Duration) -> Self {
        Self { snapshot, unoffered: Vec::new(), patience, stage: Stage::Prepared }
    }

    /// From now on each worker has this long to adopt it, from the time at which it was offered.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The first worker that does not run on it: no other snapshot can follow.
    pub fn behind(&self, workers: &Workers) -> Option<WorkerLate> {
        workers.run_on(self.snapshot.version).err()
    }

    /// Gives it to every worker whose ring has room; to the others with the next [`advance`](Self::advance).
    pub fn offer(&mut self, workers: &mut Workers, now: Instant) {
        self.unoffered = (0..workers.len()).collect();
        self.stage = Stage::Offered { since: now };
        self.push(workers);
    }

    /// Goes on as far as the workers have come.
    pub fn advance(&mut self, workers: &mut Workers, now: Instant) -> Progress {
        self.push(workers);
        match self.stage {
            Stage::Prepared | Stage::Settled => return Progress::Waiting,
            Stage::Offered { .. } | Stage::Late => {}
        }
        let Some(WorkerLate::Behind { worker, version }) = self.behind(workers) else {
            self.stage = Stage::Settled;
            return Progress::Settled;
        };
        match self.stage {
            Stage::Offered { since } if now > since + self.patience => {
                self.stage = Stage::Late;
                Progress::Late(WorkerLate::Stuck { worker, version, seconds: self.patience.as_secs() })
            }
            _ => Progress::Waiting,
        }
    }

    fn push(&mut self, workers: &mut Workers) {
        self.unoffered.retain(|worker| !workers.adopt(*worker, &self.snapshot));
    }
}
