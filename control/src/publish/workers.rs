//! The workers as the control thread sees them: rings and counters.

use dataplane::counters::{RealCounters, WorkerCounters};
use dataplane::exchange::orders::{
    ControlEnd, Inheritance, NEIGHBOUR_EVENTS, NeighbourEvent, ORDERS, Order, RETURNS, Return, Slice,
};
use dataplane::exchange::pace::{Finished, Phase};
use dataplane::live::elsewhere::Elsewhere;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{EthPortId, RealId};
use dataplane::snapshot::Snapshot;
use rtrb::PushError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a worker may take to adopt a snapshot. It does so between two bursts, so only one that has
/// died or lost its core takes longer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Orders that wait for room on a worker's ring.
const BACKLOG: usize = 8192;
/// How long a worker may leave orders unread before another one sends frames: far longer than a turn takes.
const SENDER_PATIENCE: Duration = Duration::from_millis(5);

/// A worker does not run on a snapshot that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WorkerLate {
    /// The snapshot was offered just now, and the worker has not adopted it in the time that it had. It will when it
    /// goes on.
    #[error("worker {worker} has not taken version {version} of the configuration within {seconds} s")]
    Stuck {
        /// The worker's index.
        worker: usize,
        /// Of the snapshot.
        version: u64,
        /// How long it had, in seconds.
        seconds: u64,
    },
    /// The snapshot before is not adopted yet, so no other one can follow.
    #[error("worker {worker} has not taken version {version} of the configuration yet")]
    Behind {
        /// The worker's index.
        worker: usize,
        /// Of the snapshot.
        version: u64,
    },
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Turns made in all.
    pub turns: u64,
    /// Whether it is to make any.
    pub is_to_turn: bool,
}

/// All workers.
#[derive(Debug)]
pub struct Workers {
    ends: Vec<ControlEnd>,
    /// By worker.
    backlogs: Vec<VecDeque<Order>>,
    exported: VecDeque<(usize, Box<Slice>)>,
    inherited: VecDeque<Box<Inheritance>>,
    forgotten: VecDeque<u64>,
    sender: Sender,
}

/// What the workers count, for other threads than the one that has their rings.
#[derive(Clone, Debug)]
pub struct Gauges(Vec<Arc<WorkerCounters>>);

/// The worker that sends the control thread's frames.
#[derive(Clone, Copy, Debug, Default)]
struct Sender {
    worker: usize,
    /// Since when its ring has not been seen empty.
    unread_since: Option<Instant>,
}

/// What one real counts on all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// As `ActiveConn`.
    pub active: u64,
    /// In any state.
    pub total: u64,
    /// Those in TIME_WAIT or CLOSE.
    pub closing: u64,
    /// Persistence templates, which are no connections (as `PersistConn`).
    pub templates: u64,
    /// Pairs of a one-packet service, which are no connections either.
    pub pairs: u64,
}

impl Gauges {
    /// A real's connections on all workers.
    pub fn connections(&self, id: RealId) -> Connections {
        Connections::of(id, self.0.iter().map(AsRef::as_ref))
    }
}

impl Connections {
    fn of<'a>(id: RealId, workers: impl Iterator<Item = &'a WorkerCounters> + Clone) -> Self {
        // A worker's gauge may be below 0 as long as another's is above: sums wrap back.
        let sum = |gauge: fn(&RealCounters) -> u64| {
            workers.clone().map(|counters| gauge(counters.real(id))).fold(0, u64::wrapping_add)
        };
        Self {
            active: sum(|real| real.states.active()),
            total: sum(|real| real.total.get()),
            closing: sum(|real| real.states.closing()),
            templates: workers.clone().map(|counters| counters.templates_of(id)).fold(0, u64::wrapping_add),
            pairs: workers.clone().map(|counters| counters.pairs_of(id)).fold(0, u64::wrapping_add),
        }
    }

    /// As `InActConn`.
    pub fn inactive(&self) -> u64 {
        self.total.saturating_sub(self.active)
    }

    /// Whether the real is known to workers by something that they keep.
    pub const fn hold_real(&self) -> bool {
        self.total > 0 || self.templates > 0 || self.pairs > 0
    }

    /// All but those that are over but for stragglers.
    pub fn live(&self) -> u64 {
        self.total.saturating_sub(self.closing)
    }
}

impl Workers {
    /// The control thread's ends of every worker's rings.
    pub fn new(ends: Vec<ControlEnd>) -> Self {
        let backlogs = ends.iter().map(|_| VecDeque::new()).collect();
        Self {
            ends,
            backlogs,
            exported: VecDeque::new(),
            inherited: VecDeque::new(),
            forgotten: VecDeque::new(),
            sender: Sender::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What they count, for another thread.
    pub fn gauges(&self) -> Gauges {
        Gauges(self.ends.iter().map(|end| Arc::clone(&end.counters)).collect())
    }

    /// What each of them counts.
    pub fn counters(&self) -> impl Iterator<Item = &WorkerCounters> + Clone {
        self.ends.iter().map(|end| &*end.counters)
    }

    /// What each of them is told of connections on the others.
    pub fn elsewhere(&self) -> impl Iterator<Item = &Elsewhere> {
        self.ends.iter().map(|end| &*end.elsewhere)
    }

    /// Packets that a port's device put into the wrong workers' queues.
    pub fn misdirected(&self, port: usize) -> u64 {
        self.counters().map(|counters| counters.misdirected[port].get()).sum()
    }

    /// Packets that were dropped for this reason, on all workers.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.counters().map(|counters| counters.dropped(reason).get()).sum()
    }

    /// Whether every worker runs on this version: then another one can follow.
    ///
    /// # Errors
    /// The first that does not.
    pub fn run_on(&self, version: u64) -> Result<(), WorkerLate> {
        let late = self.ends.iter().position(|end| end.counters.snapshot_version.observe() < version);
        late.map_or(Ok(()), |worker| Err(WorkerLate::Behind { worker, version }))
    }

    /// Has a worker adopt a snapshot, unless its ring is full. Whether there was room.
    pub fn adopt(&mut self, worker: usize, snapshot: &Arc<Snapshot>) -> bool {
        // It does not overtake what was given before.
        if !self.is_flushed(worker) {
            return false;
        }
        self.ends[worker].orders.push(Order::Adopt(Arc::clone(snapshot))).is_ok()
    }

    /// Takes back what workers give back: old snapshots are freed here, never by a worker.
    pub fn take_returns(&mut self) {
        for (worker, end) in self.ends.iter_mut().enumerate() {
            for _ in 0..RETURNS {
                match end.returns.pop() {
                    Ok(Return::Retired(snapshot)) => drop(snapshot),
                    Ok(Return::Exported(slice)) => self.exported.push_back((worker, slice)),
                    Ok(Return::Imported(_)) => {} // nobody asks for one yet
                    Ok(Return::Inherited(inheritance)) => self.inherited.push_back(inheritance),
                    Ok(Return::Forgotten(connections)) => self.forgotten.push_back(connections),
                    Err(_) => break,
                }
            }
        }
    }

    /// Has a worker fill a slice of the dump; gives it back if there is no room on the ring.
    pub fn export(&mut self, worker: usize, slice: Box<Slice>) -> Result<(), Box<Slice>> {
        match self.ends[worker].orders.push(Order::Export(slice)) {
            Err(PushError::Full(Order::Export(slice))) => Err(slice),
            Ok(()) | Err(PushError::Full(_)) => Ok(()),
        }
    }

    /// A filled slice, and whose.
    pub fn exported(&mut self) -> Option<(usize, Box<Slice>)> {
        self.exported.pop_front()
    }

    /// Has a worker take over what earlier processes have left ([`Order::Inherit`]). If its ring is full, when it has
    /// room.
    pub fn inherit(&mut self, worker: usize, inheritance: Box<Inheritance>) {
        self.backlogs[worker].push_back(Order::Inherit(inheritance));
        self.flush();
    }

    /// What a worker has taken over.
    pub fn inherited(&mut self) -> Option<Box<Inheritance>> {
        self.inherited.pop_front()
    }

    /// How many connections a worker has forgotten, which was told to.
    pub fn forgotten(&mut self) -> Option<u64> {
        self.forgotten.pop_front()
    }

    /// What workers saw or need of neighbours, a bounded number at once.
    pub fn neighbour_events(&mut self, mut take: impl FnMut(NeighbourEvent)) {
        for end in &mut self.ends {
            for _ in 0..NEIGHBOUR_EVENTS {
                match end.neighbour_events.pop() {
                    Ok(event) => take(event),
                    Err(_) => break,
                }
            }
        }
    }

    /// Has another worker send frames if the one that does has not read its orders for a while. To be called often.
    pub fn choose_sender(&mut self, now: Instant) {
        let reads = |end: &ControlEnd| end.orders.slots() == ORDERS;
        let Sender { worker, unread_since } = &mut self.sender;
        if self.ends.get(*worker).is_none_or(reads) {
            *unread_since = None;
        } else if now > *unread_since.get_or_insert(now) + SENDER_PATIENCE
            && let Some(other) = self.ends.iter().position(reads)
        {
            self.sender = Sender { worker: other, unread_since: None };
        }
    }

    /// Whether this many frames find room.
    pub fn can_send(&self, frames: usize) -> bool {
        self.ends.get(self.sender.worker).is_some_and(|end| end.orders.slots() >= frames)
    }

    /// Has a worker send a frame ([`Order::Send`]). If its ring is full the frame is lost: whatever is asked for or
    /// announced is so again.
    pub fn send(&mut self, frame: Order) {
        if let Some(end) = self.ends.get_mut(self.sender.worker) {
            let _ = end.orders.push(frame);
        }
    }

    /// Has a worker send by another on a port, now or when its ring has room.
    pub fn send_through(&mut self, worker: usize, port: EthPortId, instead: usize) {
        self.backlogs[worker].push_back(Order::SendThrough { port, worker: instead });
        self.flush();
    }

    /// Gives every worker an order of its own, now or when its ring has room.
    pub fn tell(&mut self, order: impl Fn() -> Order) {
        for backlog in &mut self.backlogs {
            // Beyond that the worker is stuck, and its waiting packets with it.
            if backlog.len() < BACKLOG {
                backlog.push_back(order());
            }
        }
        self.flush();
    }

    /// Whether nothing for a worker waits for room any more.
    pub fn is_flushed(&mut self, worker: usize) -> bool {
        self.flush();
        self.backlogs[worker].is_empty()
    }

    /// Sends what waits for room.
    pub fn flush(&mut self) {
        for (end, backlog) in self.ends.iter_mut().zip(&mut self.backlogs) {
            while let Some(order) = backlog.pop_front() {
                if let Err(PushError::Full(order)) = end.orders.push(order) {
                    backlog.push_front(order);
                    break;
                }
            }
        }
    }

    /// A real's connections on all workers.
    pub fn connections(&self, id: RealId) -> Connections {
        Connections::of(id, self.counters())
    }

    /// Has every worker do this from its next turn on.
    pub fn pace(&self, phase: Phase) {
        self.ends.iter().for_each(|end| end.pace.ask(phase));
    }

    /// Whether every worker does this.
    pub fn follow(&self, phase: Phase) -> bool {
        self.ends.iter().all(|end| end.pace.follows(phase))
    }

    /// How far each worker is with its turns.
    pub fn progress(&self) -> impl Iterator<Item = Progress> {
        self.ends.iter().map(|end| Progress {
            turns: end.counters.turns.get(),
            is_to_turn: end.pace.asked() == Phase::Run,
        })
    }

    /// How far each worker is that was to [finish](Phase::Finish); `None`: one still receives.
    pub fn finished(&self) -> Option<Vec<Finished>> {
        self.ends.iter().map(|end| end.pace.finished()).collect()
    }
}
