//! What is published, one after the other: peers' changes in the order in which they came, and what the daemon itself
//! has to change. The loop goes on meanwhile.
//!
//! ```text
//! peer's change ──► waiting ─┐
//!                            ├─► compiled, offered to the workers ──all run on it──► answered
//! own change ──► wanted ─────┘      (publish::transition)      └──deadline──► answered: kept, not in force everywhere
//! ```
//!
//! From the moment at which a change is offered its model is the daemon's: nothing takes it back.

use super::ControlThread;
use crate::api::protocol::{Command, Outcome};
use crate::api::refusal::Refused;
use crate::api::server::{MAX_PEERS, PeerId};
use crate::change::{self, Effect};
use crate::model::Model;
use crate::publish::transition::{Progress, Stage, Transition};
use crate::publish::workers::WorkerLate;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Changes that wait for their turn. Each keeps its peer's place, so half of the places are left for those that look.
const MOST_WAITING: usize = MAX_PEERS / 2;
/// Bytes of the lines of `restore` that wait, from which on no more is taken.
const MOST_BYTES: usize = 32 << 20;
/// Between two looks whether the first publication is in force.
const PAUSE: Duration = Duration::from_micros(100);

/// What is on its way, and what waits for its turn.
#[derive(Debug, Default)]
pub(super) struct Publications {
    under_way: Option<Publication>,
    waiting: VecDeque<Change>,
    wanted: Wanted,
}

/// A peer's change.
#[derive(Debug)]
struct Change {
    peer: PeerId,
    command: Command,
    /// Ids were freed for it already.
    has_made_room: bool,
}

/// What the daemon itself has to change. It goes before peers' changes.
#[derive(Debug, Default)]
struct Wanted {
    /// Look for removed reals without connections.
    release: bool,
    /// The model as it is, for ports or ids have changed.
    republish: bool,
    /// Interfaces that have another MAC.
    macs: Vec<(InterfaceId, Mac)>,
}

/// A publication that is under way, and what follows when it is in force.
#[derive(Debug)]
struct Publication {
    transition: Transition,
    began: Instant,
    /// It has other services or reals.
    has_others: bool,
    /// What is own by the snapshot before or by this one is so for the devices until all run on this one.
    has_other_addresses: bool,
    macs: Vec<(InterfaceId, Mac)>,
    asked: Option<(PeerId, Command)>,
}

impl Publications {
    /// When something is to be done, apart from looking how far the workers are.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let Wanted { release, republish, macs } = &self.wanted;
        let is_something = *release || *republish || !macs.is_empty() || !self.waiting.is_empty();
        (self.under_way.is_none() && is_something).then_some(now)
    }

    /// How long the one under way has been so.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.under_way.as_ref().map(|publication| now.saturating_duration_since(publication.began))
    }

    /// Whether a worker is late, so that nothing else can be published.
    pub(super) fn is_late(&self) -> bool {
        self.under_way.as_ref().is_some_and(|publication| publication.transition.stage() == Stage::Late)
    }

    /// Gives workers this long to adopt what is under way.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        if let Some(publication) = &mut self.under_way {
            publication.transition.set_patience(patience);
        }
    }

    /// Removed reals without connections are to be let go of.
    pub(super) fn release(&mut self) {
        self.wanted.release = true;
    }

    /// The model is to be published again as it is.
    pub(super) fn republish(&mut self) {
        self.wanted.republish = true;
    }

    /// An interface's MAC is this one.
    pub(super) fn follow_mac(&mut self, interface: InterfaceId, mac: Mac) {
        self.wanted.macs.push((interface, mac));
    }

    /// Whether a change finds a place to wait.
    fn room_for(&self, command: &Command) -> Result<(), Refused> {
        let bytes = |command: &Command| match command {
            Command::Restore { lines, .. } => lines.bytes(),
            _ => 0,
        };
        let held: usize = self.waiting.iter().map(|change| bytes(&change.command)).sum();
        if self.waiting.len() >= MOST_WAITING || held > 0 && held + bytes(command) > MOST_BYTES {
            return Err(Refused::TooManyWaiting(self.waiting.len()));
        }
        Ok(())
    }
}

impl ControlThread {
    /// Takes a peer's change, which is answered when it is in force or refused.
    pub(super) fn take_change(&mut self, peer: PeerId, command: Command) {
        match self.late().and_then(|()| self.publications.room_for(&command)) {
            Ok(()) => {
                self.publications.waiting.push_back(Change { peer, command, has_made_room: false });
            }
            Err(refused) => self.refuse(peer, &command, refused),
        }
    }

    /// Goes on with what is under way, or begins with what is next.
    pub(super) fn publish(&mut self) {
        if let Some(publication) = &mut self.publications.under_way {
            match publication.transition.advance(&mut self.workers, Instant::now()) {
                Progress::Waiting => return,
                Progress::Late(late) => {
                    self.finish(Err(late));
                    return self.refuse_waiting();
                }
                Progress::Settled => self.finish(Ok(())),
            }
        }
        self.begin_next();
    }

    /// Publishes the first snapshot, and waits until it is in force.
    ///
    /// # Errors
    /// A worker does not take it in time.
    pub(super) fn publish_first(&mut self) -> Result<(), WorkerLate> {
        self.begin(self.model.clone(), None);
        while let Some(publication) = &mut self.publications.under_way {
            match publication.transition.advance(&mut self.workers, Instant::now()) {
                Progress::Waiting => thread::sleep(PAUSE),
                Progress::Late(late) => return Err(late),
                Progress::Settled => self.finish(Ok(())),
            }
        }
        Ok(())
    }

    /// The worker that nothing can be published for at present.
    fn late(&self) -> Result<(), Refused> {
        let late = self.publications.under_way.as_ref().filter(|_| self.publications.is_late());
        match late.and_then(|publication| publication.transition.behind(&self.workers)) {
            Some(late) => Err(late.into()),
            None => Ok(()),
        }
    }

    /// One step, so that a turn takes no longer than one change.
    fn begin_next(&mut self) {
        if std::mem::take(&mut self.publications.wanted.release) {
            self.publications.wanted.republish |= self.release();
        }
        if self.publications.wanted.republish || !self.publications.wanted.macs.is_empty() {
            return self.begin(self.model.clone(), None);
        }
        if let Some(change) = self.publications.waiting.pop_front() {
            self.begin_change(change);
        }
    }

    /// Lets go of removed reals without connections and persistence templates. The snapshot without them is to follow,
    /// so that packets from their addresses are routed again. Whether there are any.
    fn release(&mut self) -> bool {
        let workers = &self.workers;
        let live = |id| workers.connections(id).hold_real();
        let released = self.compiler.release(self.compiler.version(), live);
        for key in &released {
            self.statistics.forget(key);
        }
        !released.is_empty()
    }

    /// A peer's change is carried out: it is kept, then offered.
    fn begin_change(&mut self, change: Change) {
        let Change { peer, command, has_made_room } = change;
        match self.prepare(&command) {
            Ok(Some(next)) => self.begin(next, Some((peer, command))),
            Ok(None) => self.answer_done(peer, &command),
            // Removed reals, which are otherwise let go of once a second, give their ids to what needs them now.
            Err(Refused::IdsUsedUp { .. }) if !has_made_room && self.release() => {
                self.publications.republish();
                self.publications.waiting.push_front(Change { peer, command, has_made_room: true });
            }
            Err(refused) => self.refuse(peer, &command, refused),
        }
    }

    /// The model that a command leads to, which is kept already; `None`: it changes nothing.
    fn prepare(&mut self, command: &Command) -> Result<Option<Model>, Refused> {
        let (next, effect) = change::apply(&self.model, self.compiler.network(), command)?;
        if effect != Effect::Changed {
            return Ok(None);
        }
        // Before anything is touched, so that a refused command changes nothing.
        self.compiler.check(&next, |_| true)?;
        if let Some(state) = &mut self.state
            && let Err(error) = state.change(&self.model, &next)
        {
            // The new file may already be in place if only the last step failed.
            let _ = state.write(&self.model);
            return Err(Refused::StateWrite(error.to_string()));
        }
        Ok(Some(next))
    }

    /// Compiles a model and offers it to the workers. What the daemon itself wants goes with it.
    fn begin(&mut self, next: Model, asked: Option<(PeerId, Command)>) {
        self.publications.wanted.republish = false;
        let macs = std::mem::take(&mut self.publications.wanted.macs);
        // When this is in force every worker has finished a turn without the next hops that are withdrawn here.
        macs.iter().for_each(|(interface, mac)| self.withdraw(*interface, *mac));
        let before = Arc::clone(&self.snapshot);
        self.compile(&next);
        let has_others = self.compiler.has_others();
        let has_other_addresses = self.compiler.has_other_addresses();
        if has_other_addresses && self.follow_addresses(Some(&before)) {
            self.compile(&next);
        }
        if has_others {
            self.statistics.open(&next, |key| self.compiler.ids().real(key), &self.workers);
            self.follow_next_hops(&next, self.moment(Instant::now()));
        }
        self.model = next;
        let mut transition = Transition::new(Arc::clone(&self.snapshot), self.patience);
        let began = Instant::now();
        transition.offer(&mut self.workers, began);
        self.publications.under_way =
            Some(Publication { transition, began, has_others, has_other_addresses, macs, asked });
    }

    /// Lets everything else follow what is in force: on all workers (`Ok`, the end of this publication), or on all but
    /// those that are late. What has followed then does not do so again.
    fn finish(&mut self, result: Result<(), WorkerLate>) {
        let Some(mut publication) = self.publications.under_way.take() else { return };
        if result.is_ok() {
            // What the next compiling writes to is the snapshot before, if it is back.
            self.workers.take_returns();
            self.sums.follow(&self.snapshot, &self.workers);
            if publication.has_other_addresses {
                self.follow_addresses(None); // lets go only
            }
        }
        if std::mem::take(&mut publication.has_others) {
            self.statistics.close(&self.model, &self.workers);
        }
        let now = self.moment(Instant::now());
        for (address, interfaces) in self.compiler.take_addresses() {
            self.announcer.set_address(address, interfaces, now);
        }
        for (interface, mac) in std::mem::take(&mut publication.macs) {
            self.restore(interface, mac, now);
        }
        self.act();
        self.has_freed |= self.compiler.is_anew();
        self.answer_asked(publication.asked.take(), result);
        if result.is_err() {
            self.publications.under_way = Some(publication);
        }
    }

    fn answer_asked(&mut self, asked: Option<(PeerId, Command)>, result: Result<(), WorkerLate>) {
        match (asked, result) {
            (Some((peer, command)), Ok(())) => {
                self.log_change(&command);
                self.answer_done(peer, &command);
            }
            (Some((peer, command)), Err(late)) => self.refuse(peer, &command, late.into()),
            (None, Err(late)) => log::error!("{}", Refused::from(late)),
            (None, Ok(())) => {}
        }
    }

    /// A worker is late: nothing else can be published for the time being.
    fn refuse_waiting(&mut self) {
        let Err(refused) = self.late() else { return };
        for change in std::mem::take(&mut self.publications.waiting) {
            self.refuse(change.peer, &change.command, refused.clone());
        }
    }

    /// The daemon stops: nobody waits for an answer that does not come.
    pub(super) fn refuse_all(&mut self) {
        let under_way = self.publications.under_way.take().and_then(|publication| publication.asked);
        if let Some((peer, _)) = under_way {
            let version = self.compiler.version();
            self.server.answer(peer, Outcome::Error(Refused::StoppingKept(version).into()), Instant::now());
        }
        for Change { peer, .. } in std::mem::take(&mut self.publications.waiting) {
            self.server.answer(peer, Outcome::Error(Refused::Stopping.into()), Instant::now());
        }
    }

    fn compile(&mut self, next: &Model) {
        let Self { compiler, neighbours, .. } = self;
        self.snapshot = compiler.compile(next, |key: NeighbourKey| neighbours.id(key));
    }
}
