//! What is published, one after the other: peers' changes in the order in which they came, and what the daemon itself
//! has to change. The loop goes on meanwhile.
//!
//! ```text
//! peer's change ──► waiting ─┐
//!                            ├─► prepared ──► followed ──► offered ──all run on it──► closed ──► answered
//! own change ──► wanted ─────┘      │                         └──deadline──► closed ──► answered: kept, not in force
//!                                   └──refused──► answered                                           everywhere
//! ```
//!
//! *Prepared*: carried out, kept in the state file and compiled, by a thread of its own (`preparation`).
//! *Followed*: accounts are opened for what is new, and the ways to reals asked for.
//! *Offered*: workers adopt it (`publish::transition`).
//! *Closed*: the accounts of what is gone are closed.
//!
//! Following and closing a large change takes several turns of the loop ([`SLICE`]). From the moment at which a change
//! is offered its model is the daemon's: nothing takes it back. Until then the model before is what peers see.

use super::ControlThread;
use super::confirming::Confirming;
use super::preparation::{Done, Job, Prepared};
use super::targets::Report;
use crate::api::origin::Origin;
use crate::api::protocol::{Command, Edited};
use crate::api::refusal::Refused;
use crate::api::server::{MAX_PEERS, PeerId};
use crate::model::{Model, Network};
use crate::publish::ids::Left;
use crate::publish::transition::{Progress, Stage, Transition};
use crate::publish::workers::WorkerLate;
use dataplane::names::ids::{InterfaceId, NeighbourKey, RealKey};
use dataplane::names::mac::Mac;
use dataplane::snapshot::Snapshot;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Changes that wait for their turn. Each keeps its peer's place, so half of the places are left for those that look.
const MOST_WAITING: usize = MAX_PEERS / 2;
/// Bytes of the lines of `restore` that wait, from which on no more is taken.
const MOST_BYTES: usize = 32 << 20;
/// Services, reals or next hops that are followed, closed or forgotten in one turn: 1 or 2 ms on a busy machine.
const SLICE: usize = 512;
/// Between two looks whether the first publication is in force.
const PAUSE: Duration = Duration::from_micros(100);

/// What is on its way, and what waits for its turn.
#[derive(Default)]
pub(super) struct Publications {
    under_way: Option<Publication>,
    waiting: VecDeque<Change>,
    wanted: Wanted,
    /// Removed reals that can be let go of are being looked for.
    is_releasing: bool,
    /// Removed reals that are let go of and not forgotten yet.
    released: Vec<RealKey>,
    /// Commands that are to be carried out without any effect.
    trials: VecDeque<Asked>,
    /// The one that is being carried out.
    trial: Option<Asked>,
    /// Peers that are to see the history, in their order.
    readers: VecDeque<PeerId>,
    /// Who confirms a change.
    confirming: Option<(PeerId, Confirming)>,
}

/// A command, and the peer that waits for its answer.
pub(super) struct Asked {
    pub(super) peer: PeerId,
    pub(super) command: Arc<Command>,
    pub(super) origin: Arc<Origin>,
}

impl Asked {
    pub(super) fn new(peer: PeerId, command: Command, origin: Origin) -> Self {
        Self { peer, command: Arc::new(command), origin: Arc::new(origin) }
    }
}

/// A peer's change.
struct Change {
    asked: Asked,
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
#[derive(Default)]
struct Publication {
    step: Step,
    asked: Option<Asked>,
    macs: Vec<(InterfaceId, Mac)>,
    left: Left,
    /// Own addresses that came, went or changed their ports, with the ports that answer now.
    addresses: BTreeMap<IpAddr, u16>,
    /// What is own by the snapshot before or by this one is so for the devices until all run on this one.
    has_other_addresses: bool,
    /// What it takes the place of, if that is large.
    before: Option<(Model, Arc<Snapshot>)>,
    /// With other routes or neighbours.
    network: Option<Arc<Network>>,
    /// Routers that nothing leads to any more.
    old_gateways: Vec<NeighbourKey>,
    report: Option<Box<Report>>,
    /// What is said of the report, while what goes is still there.
    edited: Option<Edited>,
}

/// How far a publication has come.
enum Step {
    /// It is being prepared. If a device has refused an address of the first result, it is compiled again.
    Preparing { first: Option<Box<Prepared>> },
    /// What is new is followed.
    Following(Box<Prepared>),
    /// The workers adopt it.
    Offered(Offered),
    /// All run on it, or one is late; what is gone is closed.
    Closing(Offered, Result<(), WorkerLate>),
}

struct Offered {
    transition: Transition,
    began: Instant,
}

impl Default for Step {
    fn default() -> Self {
        Self::Preparing { first: None }
    }
}

impl Publications {
    /// When something is to be done, apart from looking how far the workers are.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let is_next_due = match self.under_way.as_ref().map(|publication| &publication.step) {
            None => self.is_something_next() && !self.is_releasing && self.confirming.is_none(),
            Some(Step::Preparing { .. } | Step::Offered(_)) => false,
            Some(Step::Following(_) | Step::Closing(..)) => true,
        };
        let is_trial_due = self.trial.is_none() && !self.trials.is_empty();
        (is_next_due || is_trial_due || !self.released.is_empty()).then_some(now)
    }

    /// Whether all that is new is followed.
    fn could_be_offered(&self) -> bool {
        match self.under_way.as_ref().map(|publication| &publication.step) {
            Some(Step::Following(prepared)) => prepared.arrived.is_empty() && prepared.ways.is_empty(),
            _ => false,
        }
    }

    /// Whether nothing is on its way, or waits to be.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = self.waiting.is_empty() && self.released.is_empty();
        self.under_way.is_none() && !self.is_releasing && is_empty
    }

    fn is_something_next(&self) -> bool {
        let Wanted { release, republish, macs } = &self.wanted;
        *release || *republish || !macs.is_empty() || !self.waiting.is_empty()
    }

    /// How long workers have had the one that they are to adopt.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.offered().map(|offered| now.saturating_duration_since(offered.began))
    }

    /// Whether a worker is late, so that nothing else can be published.
    pub(super) fn is_late(&self) -> bool {
        self.offered().is_some_and(|offered| offered.transition.stage() == Stage::Late)
    }

    fn offered(&self) -> Option<&Offered> {
        match &self.under_way.as_ref()?.step {
            Step::Offered(offered) | Step::Closing(offered, _) => Some(offered),
            Step::Preparing { .. } | Step::Following(_) => None,
        }
    }

    /// Gives workers this long to adopt what is under way.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        if let Some(Step::Offered(offered) | Step::Closing(offered, _)) =
            self.under_way.as_mut().map(|publication| &mut publication.step)
        {
            offered.transition.set_patience(patience);
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

    /// Whether a command finds a place to wait.
    fn room_for(&self, command: &Command) -> Result<(), Refused> {
        let waiting = self.waiting.iter().map(|change| &change.asked).chain(&self.trials);
        let held: usize = waiting.clone().map(|asked| asked.command.bytes()).sum();
        let count = waiting.count();
        if count >= MOST_WAITING || held > 0 && held + command.bytes() > MOST_BYTES {
            return Err(Refused::TooManyWaiting(count));
        }
        Ok(())
    }

    /// The next command that is to be tried, if none is being tried.
    fn next_trial(&mut self) -> Option<Arc<Command>> {
        if self.trial.is_none() {
            self.trial = self.trials.pop_front();
            return self.trial.as_ref().map(|asked| Arc::clone(&asked.command));
        }
        None
    }

    /// The command of a change that comes to its end before it is offered.
    fn give_up(&mut self) -> Option<Asked> {
        self.under_way.take()?.asked
    }

    /// The snapshot without these is to follow, so that packets from their addresses are routed again.
    fn take_released(&mut self, released: Vec<RealKey>) {
        self.wanted.republish |= !released.is_empty();
        self.released = released;
    }
}

impl ControlThread {
    /// Takes a peer's change, which is answered when it is in force or refused.
    pub(super) fn take_change(&mut self, peer: PeerId, command: Command) {
        let origin = self.peers.origin(peer);
        self.take_asked(Asked::new(peer, command, origin));
    }

    /// Likewise, whoever asks.
    pub(super) fn take_asked(&mut self, asked: Asked) {
        let place = self.hand_over.refuses_changes().and_then(|()| self.late());
        match place.and_then(|()| self.publications.room_for(&asked.command)) {
            Ok(()) => self.publications.waiting.push_back(Change { asked, has_made_room: false }),
            Err(refused) => self.refuse_asked(&asked, refused),
        }
    }

    /// Shows a peer the last changes.
    pub(super) fn take_reader(&mut self, peer: PeerId, count: Option<u32>) {
        self.publications.readers.push_back(peer);
        self.preparation.give(Job::History(count));
    }

    /// Has it noted that a change stays.
    pub(super) fn ask_to_confirm(&mut self, peer: PeerId, waits: Confirming) {
        self.publications.confirming = Some((peer, waits));
        self.preparation.give(Job::Confirm);
    }

    /// Takes a command that is only tried: it is answered by what it would lead to.
    pub(super) fn take_trial(&mut self, peer: PeerId, command: Command) {
        match self.publications.room_for(&command) {
            Ok(()) => {
                let origin = Origin::default();
                self.publications.trials.push_back(Asked::new(peer, command, origin));
            }
            Err(refused) => self.refuse(peer, &command, refused),
        }
    }

    /// Goes on with what is under way, or begins with what is next.
    ///
    /// # Errors
    /// A worker has just become late.
    pub(super) fn publish(&mut self) -> Result<(), WorkerLate> {
        while let Some(done) = self.preparation.take() {
            self.take_done(done);
        }
        self.forget_released();
        self.go_on()?;
        if let Some(command) = self.publications.next_trial() {
            let (model, network) = (self.model.clone(), Arc::clone(&self.network));
            self.preparation.give(Job::Try { model, network, command });
        }
        self.begin_next();
        Ok(())
    }

    /// Prepares the first snapshot, and waits until it could be offered: that is for
    /// [`publish_first`](Self::publish_first).
    ///
    /// # Errors
    /// None: no worker has anything to take.
    pub(super) fn prepare_first(&mut self) -> Result<(), WorkerLate> {
        self.hand_over.set_prepared(true);
        self.begin_again();
        while !self.publications.could_be_offered() {
            self.publish()?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Publishes the first snapshot, and waits until it is in force.
    ///
    /// # Errors
    /// A worker does not take it in time.
    pub(super) fn publish_first(&mut self) -> Result<(), WorkerLate> {
        if self.publications.under_way.is_none() {
            self.begin_again();
        }
        self.hand_over.set_prepared(false);
        while self.publications.under_way.is_some() {
            self.publish()?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The worker that nothing can be published for at present.
    fn late(&self) -> Result<(), Refused> {
        let late = self.publications.offered().filter(|_| self.publications.is_late());
        match late.and_then(|offered| offered.transition.behind(&self.workers)) {
            Some(late) => Err(late.into()),
            None => Ok(()),
        }
    }

    fn begin_next(&mut self) {
        let holds = self.hand_over.holds_publications();
        let Publications { under_way, is_releasing, released, wanted, waiting, confirming, .. } =
            &mut self.publications;
        // Whether a change waits to be confirmed is open as long as that is being written.
        if holds || under_way.is_some() || *is_releasing || !released.is_empty() || confirming.is_some() {
            return;
        }
        if mem::take(&mut wanted.release) {
            *is_releasing = true;
            self.preparation.give(Job::Release);
        } else if wanted.republish || !wanted.macs.is_empty() {
            self.begin_again();
        } else if let Some(change) = waiting.pop_front() {
            match self.refuses_while_confirming(&change.asked.command) {
                Ok(()) => self.begin_change(change),
                Err(refused) => self.refuse_asked(&change.asked, refused),
            }
        }
    }

    /// The model as it is, with what the daemon itself wants.
    fn begin_again(&mut self) {
        self.publications.wanted.republish = false;
        let macs = mem::take(&mut self.publications.wanted.macs);
        // When this is in force every worker has finished a turn without the next hops that are withdrawn here.
        macs.iter().for_each(|(interface, mac)| self.withdraw(*interface, *mac));
        let (model, network) = (self.model.clone(), Arc::clone(&self.network));
        self.preparation.give(Job::Compile { model, network });
        self.publications.under_way = Some(Publication { macs, ..Publication::default() });
    }

    fn begin_change(&mut self, Change { asked, has_made_room }: Change) {
        let (model, network) = (self.model.clone(), Arc::clone(&self.network));
        let (command, origin) = (Arc::clone(&asked.command), Arc::clone(&asked.origin));
        let may_release = !has_made_room && !self.inheriting.is_under_way();
        self.preparation.give(Job::Change { model, network, command, origin, may_release });
        self.publications.under_way = Some(Publication { asked: Some(asked), ..Publication::default() });
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Prepared(prepared) => self.take_prepared(prepared),
            Done::Unchanged(report) => {
                if let Some(asked) = self.publications.give_up() {
                    let edited = report.as_deref().map(|report| self.edited(report));
                    self.answer_report(&asked, report, edited);
                }
            }
            Done::Refused(refused) => {
                if let Some(asked) = self.publications.give_up() {
                    self.refuse_asked(&asked, refused);
                }
            }
            // Removed reals, which are otherwise let go of once a second, give their ids to what needs them now.
            Done::MadeRoom(released) => {
                if let Some(asked) = self.publications.give_up() {
                    self.publications.waiting.push_front(Change { asked, has_made_room: true });
                }
                self.publications.take_released(released);
            }
            Done::Released(released) => {
                self.publications.is_releasing = false;
                self.publications.take_released(released);
            }
            Done::Tried(result) => {
                if let Some(Asked { peer, command, .. }) = self.publications.trial.take() {
                    self.answer_tried(peer, &command, result);
                }
            }
            Done::History(history) => {
                if let Some(peer) = self.publications.readers.pop_front() {
                    self.reply(peer, Ok(serde_json::to_value(history).unwrap_or_default()));
                }
            }
            Done::Confirmed(result) => {
                if let Some(asked) = self.publications.confirming.take() {
                    self.answer_confirmed(asked, result);
                }
            }
        }
    }

    /// A snapshot is compiled: devices are to know its addresses before workers get it.
    fn take_prepared(&mut self, mut prepared: Box<Prepared>) {
        let Some(mut publication) = self.publications.under_way.take() else { return };
        if let Some(report) = prepared.report.take() {
            publication.edited = Some(self.edited(&report));
            publication.report = Some(report);
        }
        if let Some(network) = prepared.network.take() {
            let gateways: Vec<_> = network.gateways().collect();
            let old = self.network.gateways().filter(|gateway| !gateways.contains(gateway));
            publication.old_gateways = old.collect();
            let now = self.moment(Instant::now());
            self.neighbours.set_fixed(network.fixed(), now);
            self.act();
            publication.network = Some(network);
        }
        publication.step = match publication.step {
            Step::Preparing { first: None } => {
                publication.has_other_addresses = !prepared.addresses.is_empty();
                if publication.has_other_addresses
                    && self.follow_addresses(&[&self.snapshot.clone(), &prepared.snapshot])
                {
                    let network = self.network_with(publication.network.as_deref());
                    let model = prepared.next.clone();
                    self.preparation.give(Job::Compile { model, network });
                    Step::Preparing { first: Some(prepared) }
                } else {
                    Step::Following(prepared)
                }
            }
            // Nothing else is new the second time.
            Step::Preparing { first: Some(mut first) } => {
                first.snapshot = Arc::clone(&prepared.snapshot);
                first.addresses.append(&mut prepared.addresses);
                first.is_anew |= prepared.is_anew;
                Step::Following(first)
            }
            other => other,
        };
        self.publications.under_way = Some(publication);
    }

    /// The network as it is, with the routes and neighbours of another.
    fn network_with(&self, other: Option<&Network>) -> Arc<Network> {
        let Some(other) = other else { return Arc::clone(&self.network) };
        let mut network = Network::clone(&self.network);
        network.set_routing(other.routing());
        Arc::new(network)
    }

    /// One slice, or one look at the workers.
    fn go_on(&mut self) -> Result<(), WorkerLate> {
        let Some(mut publication) = self.publications.under_way.take() else { return Ok(()) };
        let step = match mem::take(&mut publication.step) {
            Step::Following(prepared) => self.follow(&mut publication, prepared),
            Step::Offered(mut offered) => {
                match offered.transition.advance(&mut self.workers, Instant::now()) {
                    Progress::Waiting => Step::Offered(offered),
                    Progress::Late(late) => Step::Closing(offered, Err(late)),
                    Progress::Settled => Step::Closing(offered, Ok(())),
                }
            }
            step => step,
        };
        let (step, result) = match step {
            Step::Closing(offered, result) => self.close(&mut publication, offered, result),
            step => (Some(step), Ok(())),
        };
        self.publications.under_way = step.map(|step| Publication { step, ..publication });
        result
    }

    /// Follows a slice of what is new; after the last one the snapshot is offered.
    fn follow(&mut self, publication: &mut Publication, mut prepared: Box<Prepared>) -> Step {
        let now = Instant::now();
        let Prepared { arrived, ways, .. } = &mut *prepared;
        self.statistics.open(arrived, SLICE, &self.workers);
        for (key, importance) in ways.drain(ways.len().saturating_sub(SLICE)..) {
            self.neighbours.depend(key, importance, now - self.started);
        }
        if !arrived.is_empty() || !ways.is_empty() || self.hand_over.is_prepared() {
            return Step::Following(prepared);
        }
        self.watch.follow_addresses(&prepared.addresses, &self.network);
        if prepared.has_others {
            self.choose_vips(&prepared.snapshot, &prepared.addresses);
        }
        let Prepared { next, snapshot, is_anew, left, addresses, .. } = *prepared;
        let before = (mem::replace(&mut self.model, next), mem::replace(&mut self.snapshot, snapshot));
        publication.before = is_anew.then_some(before);
        self.network = self.network_with(publication.network.as_deref());
        (publication.left, publication.addresses) = (left, addresses);
        self.inheriting.begin(&self.statistics, &mut self.workers, now);
        let mut transition = Transition::new(Arc::clone(&self.snapshot), self.patience);
        transition.offer(&mut self.workers, now);
        Step::Offered(Offered { transition, began: now })
    }

    /// Closes a slice of what is gone; after the last one the publication is finished, which is its end unless a worker
    /// is late.
    fn close(
        &mut self,
        publication: &mut Publication,
        offered: Offered,
        result: Result<(), WorkerLate>,
    ) -> (Option<Step>, Result<(), WorkerLate>) {
        self.statistics.close(&mut publication.left, SLICE, &self.workers);
        if !publication.left.is_empty() {
            return (Some(Step::Closing(offered, result)), Ok(()));
        }
        self.finish(publication, result);
        (result.is_err().then_some(Step::Offered(offered)), result)
    }

    /// Lets everything else follow what is in force: on all workers (`Ok`, the end of this publication), or on all but
    /// those that are late. What has followed then does not do so again.
    fn finish(&mut self, publication: &mut Publication, result: Result<(), WorkerLate>) {
        if result.is_ok() {
            self.inheriting.forwarding();
            // What the next compiling writes to is the snapshot before, if it is back.
            self.workers.take_returns();
            self.sums.follow(&self.snapshot, &self.workers);
            if publication.has_other_addresses {
                self.follow_addresses(&[&self.snapshot.clone()]); // lets go only
            }
            for gateway in mem::take(&mut publication.old_gateways) {
                self.neighbours.let_go(gateway);
            }
            if let Some(before) = publication.before.take() {
                self.preparation.give(Job::Free(Box::new(before)));
                self.has_freed = true;
            }
        }
        let now = self.moment(Instant::now());
        for (address, interfaces) in mem::take(&mut publication.addresses) {
            self.announcer.set_address(address, interfaces, now);
        }
        for (interface, mac) in mem::take(&mut publication.macs) {
            self.restore(interface, mac, now);
        }
        self.act();
        let (report, edited) = (publication.report.take(), publication.edited.take());
        match (publication.asked.take(), result) {
            (Some(asked), Ok(())) => {
                self.log_change(&asked, report.as_deref());
                self.answer_report(&asked, report, edited);
            }
            (Some(asked), Err(late)) => {
                self.follow_report(&asked, report);
                self.refuse_asked(&asked, late.into());
            }
            (None, Err(late)) => log::error!("{}", Refused::from(late)),
            (None, Ok(())) => {}
        }
    }

    /// A change is in force, or there was nothing to change.
    fn answer_report(&mut self, asked: &Asked, report: Option<Box<Report>>, edited: Option<Edited>) {
        let Asked { peer, command, .. } = asked;
        self.follow_report(asked, report);
        match (&**command, edited) {
            (Command::Apply { .. } | Command::Reload { .. } | Command::Rollback { .. }, Some(edited)) => {
                self.answer_edited(asked, edited);
            }
            _ => self.answer_done(*peer, command),
        }
    }

    fn forget_released(&mut self) {
        let released = &mut self.publications.released;
        for key in released.drain(released.len().saturating_sub(SLICE)..) {
            self.statistics.forget(&key);
        }
    }

    /// A worker is late: nothing else can be published for the time being.
    pub(super) fn refuse_waiting(&mut self) {
        let Err(refused) = self.late() else { return };
        for Change { asked, .. } in mem::take(&mut self.publications.waiting) {
            self.refuse_asked(&asked, refused.clone());
        }
    }

    /// The daemon stops: nobody waits for an answer that does not come. What is being prepared comes as far as the end
    /// of a step, and so into the state file as a whole or not at all.
    pub(super) fn refuse_all(&mut self) {
        let mut kept = None;
        for done in self.preparation.end() {
            match done {
                Done::Prepared(prepared) => kept = Some(prepared.snapshot.version),
                done => self.take_done(done),
            }
        }
        let Publications { under_way, waiting, trials, trial, readers, confirming, .. } =
            mem::take(&mut self.publications);
        for peer in readers.into_iter().chain(confirming.map(|(peer, _)| peer)) {
            self.say_stopping(peer, Refused::Stopping);
        }
        if let Some(Publication { step, asked: Some(Asked { peer, .. }), .. }) = under_way {
            let version = match step {
                Step::Preparing { first } => kept.or(first.map(|first| first.snapshot.version)),
                Step::Following(prepared) => Some(prepared.snapshot.version),
                Step::Offered(_) | Step::Closing(..) => Some(self.snapshot.version),
            };
            self.say_stopping(peer, version.map_or(Refused::Stopping, Refused::StoppingKept));
        }
        for peer in self.take_clearing() {
            self.say_stopping(peer, Refused::Stopping);
        }
        let asked = waiting.into_iter().map(|change| change.asked).chain(trials).chain(trial);
        for Asked { peer, .. } in asked {
            self.say_stopping(peer, Refused::Stopping);
        }
    }

    fn say_stopping(&mut self, peer: PeerId, refused: Refused) {
        self.reply(peer, Err(refused));
    }
}
