//! Changes are carried out, checked, kept and compiled here, on a thread of its own: for tens of thousands of reals
//! that takes a good part of a second, in which the control thread answers others.
//!
//! ```text
//! control thread ──Job──► carried out ─► checked ─► kept in the state file ─► compiled ──Done──► control thread
//! ```
//!
//! One job after the other, in the order given. What a job needs of the control thread it gets as values: models and
//! networks are shared, not copied.

use super::commands::logged;
use super::targets::{self, Configured, Report, Target};
use crate::api::origin::Origin;
use crate::api::protocol::{Command, EntryView, HistoryView};
use crate::api::refusal::Refused;
use crate::change::{self, Effect};
use crate::config::Config;
use crate::model::{Model, Network};
use crate::neighbours::HopIds;
use crate::persist::history::{Entry, History, New};
use crate::persist::kept::RealNames;
use crate::persist::state_file::StateFile;
use crate::publish::compile::Compiler;
use crate::publish::ids::{Arrived, Left};
use crate::publish::ways::Ways;
use crate::publish::workers::Gauges;
use dataplane::names::ids::{NeighbourKey, RealKey};
use dataplane::snapshot::Snapshot;
use hashbrown::HashMap;
use mio::Waker;
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

/// What is to be done.
pub(super) enum Job {
    /// A command is carried out on a model, and what it leads to kept and compiled. If `may_release`, removed reals
    /// without connections give their ids to it.
    Change {
        model: Model,
        network: Arc<Network>,
        command: Arc<Command>,
        origin: Arc<Origin>,
        may_release: bool,
    },
    /// A model is compiled as it is.
    Compile { model: Model, network: Arc<Network> },
    /// A command is carried out and checked; nothing comes of it.
    Try { model: Model, network: Arc<Network>, command: Arc<Command> },
    /// Removed reals without connections are let go of. The last snapshot is in force.
    Release,
    /// From now on it is written for later processes which real has which id.
    Name(RealNames),
    /// The configuration file that can be read again.
    Configure(Box<Configured>),
    /// The last changes are to be shown: so many, or all.
    History(Option<u32>),
    /// The change that waits to be confirmed stays.
    Confirm,
    /// Something large is freed.
    Free(Box<dyn Any + Send>),
}

/// What has become of a job; [`Job::Name`], [`Job::Configure`] and [`Job::Free`] give none.
pub(super) enum Done {
    /// A snapshot is to be offered. What it was made of is in the state file.
    Prepared(Box<Prepared>),
    /// The command changes neither services nor routes.
    Unchanged(Option<Box<Report>>),
    /// The command is refused; nothing has changed.
    Refused(Refused),
    /// The change was not made: it needs the ids of these removed reals, which are free after the next snapshot.
    MadeRoom(Vec<RealKey>),
    /// What a command leads to, or why it is refused.
    Tried(Result<Box<Tried>, Refused>),
    /// The last changes.
    History(HistoryView),
    /// The number of the change that stays; `None`: none waited.
    Confirmed(Result<Option<u64>, Refused>),
    /// These are let go of.
    Released(Vec<RealKey>),
}

/// What a command that is only tried leads to.
pub(super) struct Tried {
    pub(super) model: Model,
    /// If it has a target of its own.
    pub(super) report: Option<Report>,
}

/// A model and its snapshot, with all that others have to follow.
pub(super) struct Prepared {
    pub(super) next: Model,
    pub(super) snapshot: Arc<Snapshot>,
    /// It has other services or reals, or others that take new connections.
    pub(super) has_others: bool,
    /// Much memory is freed when the snapshot before is.
    pub(super) is_anew: bool,
    pub(super) arrived: Arrived,
    pub(super) left: Left,
    /// Own addresses that came, went or changed their ports, with the ports that answer now.
    pub(super) addresses: BTreeMap<IpAddr, u16>,
    /// Hosts for which something has changed, and gateways, each with how much depends on it: how many reals behind it
    /// take new connections, or `None`: there is no real behind it any more.
    pub(super) ways: Vec<(NeighbourKey, Option<u32>)>,
    /// With other routes or neighbours than the one before; `None`: they are the same.
    pub(super) network: Option<Arc<Network>>,
    /// Of a change.
    pub(super) report: Option<Box<Report>>,
}

/// The control thread's end.
pub(super) struct Preparation {
    /// `None`: it ends.
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has.
pub(super) struct Desk {
    pub(super) compiler: Compiler,
    pub(super) state: Option<StateFile>,
    pub(super) gauges: Gauges,
    pub(super) hop_ids: HopIds,
    pub(super) history: History,
    /// Of the model that is kept.
    pub(super) fingerprint: u64,
    /// `None`: no file can be read again.
    pub(super) configured: Option<Box<Configured>>,
}

impl Preparation {
    /// Starts the thread, which wakes the control thread by `waker` when something is done.
    ///
    /// # Errors
    /// No thread can be made.
    pub(super) fn start(desk: Desk, waker: Waker) -> io::Result<Self> {
        let (jobs, given) = channel();
        let (reports, done) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker { desk, ways: Ways::default(), names: None, stop: Arc::clone(&stop) };
        let work = move || worker.run(&given, &reports, &waker);
        let thread = thread::Builder::new().name("preparation".into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, stop, thread: Some(thread) })
    }

    /// Gives it something to do.
    pub(super) fn give(&self, job: Job) {
        // If the thread is gone, `take` says why.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// What is done, if something is.
    pub(super) fn take(&mut self) -> Option<Done> {
        match self.done.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.join();
                None
            }
        }
    }

    /// Ends the thread: nothing is kept any more that is not yet. Returns what was done meanwhile; what it was not
    /// given time for is left out.
    pub(super) fn end(&mut self) -> Vec<Done> {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        self.join();
        self.done.try_iter().collect()
    }

    /// A panic of the thread is one of this thread, too.
    fn join(&mut self) {
        if let Some(Err(why)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            panic::resume_unwind(why);
        }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread.
struct Worker {
    desk: Desk,
    ways: Ways,
    /// `None`: connections are not kept.
    names: Option<RealNames>,
    stop: Arc<AtomicBool>,
}

/// The control thread stops.
struct Stopped;

/// Where a command leads.
struct Led {
    model: Model,
    /// With other routes or neighbours; `None`: they stay.
    network: Option<Arc<Network>>,
    /// If it has a target of its own.
    report: Option<Box<Report>>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, done: &Sender<Done>, waker: &Waker) {
        self.run_to_the_end(jobs, done, waker);
        // A failure was logged.
        let _ = self.desk.history.flush();
    }

    fn run_to_the_end(&mut self, jobs: &Receiver<Job>, done: &Sender<Done>, waker: &Waker) {
        while let Ok(job) = jobs.recv() {
            match self.work(job) {
                Err(Stopped) => return,
                Ok(None) => {}
                Ok(Some(report)) => {
                    if done.send(report).is_err() {
                        return;
                    }
                    // If it is not woken, it looks with its next turn.
                    let _ = waker.wake();
                }
            }
        }
    }

    fn work(&mut self, job: Job) -> Result<Option<Done>, Stopped> {
        self.go_on()?;
        Ok(Some(match job {
            Job::Change { model, network, command, origin, may_release } => {
                return self.change(&model, &network, (&command, &origin), may_release).map(Some);
            }
            Job::Compile { model, network } => Done::Prepared(Box::new(self.compile(model, &network, false))),
            Job::Try { model, network, command } => Done::Tried(self.tried(&model, &network, &command)),
            Job::Release => {
                // Once a second: no change waits for it.
                let _ = self.desk.history.flush();
                Done::Released(self.release())
            }
            Job::Configure(configured) => {
                self.desk.configured = Some(configured);
                return Ok(None);
            }
            Job::History(count) => Done::History(self.history(count)),
            Job::Confirm => {
                let refused = |error: io::Error| Refused::HistoryWrite(error.to_string());
                let confirmed = self.desk.history.confirm().map_err(refused);
                if confirmed.is_ok() {
                    self.release_spare();
                }
                Done::Confirmed(confirmed)
            }
            Job::Name(names) => {
                self.names = Some(names);
                return Ok(None);
            }
            Job::Free(large) => {
                drop(large);
                return Ok(None);
            }
        }))
    }

    /// Between two steps of a job: whether the next one is to follow.
    fn go_on(&self) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    fn change(
        &mut self,
        model: &Model,
        network: &Arc<Network>,
        (command, origin): (&Command, &Origin),
        may_release: bool,
    ) -> Result<Done, Stopped> {
        let target = match self.target(model, network, command) {
            Err(refused) => return Ok(Done::Refused(refused)),
            Ok(None) => return Ok(Done::Unchanged(None)),
            Ok(Some(target)) => target,
        };
        let Led { model: next, network: other, mut report } = target;
        if report.as_ref().is_some_and(|report| report.edits.is_empty()) && other.is_none() {
            self.follow_file(report.as_deref());
            return Ok(Done::Unchanged(report));
        }
        // Before anything is touched, so that a refused command changes nothing.
        if let Err(no_room) = self.desk.compiler.check(&next, |_| true) {
            let released = if may_release { self.release() } else { Vec::new() };
            let refused = || Done::Refused(no_room.into());
            return Ok(if released.is_empty() { refused() } else { Done::MadeRoom(released) });
        }
        self.go_on()?;
        let confirm = report.as_ref().and_then(|report| report.confirm);
        if let (Some(_), Some(state)) = (confirm, &mut self.desk.state) {
            // It must be possible to take it back also when the disk is full by then.
            if let Err(error) = state.set_aside(model) {
                return Ok(Done::Refused(Refused::StateWrite(error.to_string())));
            }
        }
        let number = match self.note(model, &next, (command, origin), confirm) {
            Ok(number) => number,
            Err(error) => {
                self.release_spare();
                return Ok(Done::Refused(Refused::HistoryWrite(error.to_string())));
            }
        };
        if let Err(error) = self.keep(model, &next) {
            self.desk.history.take_back_last();
            // Something that is to be confirmed may still wait.
            if confirm.is_some() {
                self.release_spare();
            }
            return Ok(Done::Refused(Refused::StateWrite(error.to_string())));
        }
        if confirm.is_none() {
            self.release_spare();
        }
        self.desk.fingerprint = change::fingerprint_after(self.desk.fingerprint, model, &next);
        self.follow_file(report.as_deref());
        report.get_or_insert_default().number = Some(number);
        let has_other_routes = other.is_some();
        let mut prepared = self.compile(next, other.as_ref().unwrap_or(network), has_other_routes);
        (prepared.network, prepared.report) = (other, report);
        Ok(Done::Prepared(Box::new(prepared)))
    }

    /// Where a command leads; `None`: it changes nothing.
    fn target(
        &self,
        model: &Model,
        network: &Arc<Network>,
        command: &Command,
    ) -> Result<Option<Led>, Refused> {
        let Desk { history, fingerprint, configured, .. } = &self.desk;
        match targets::target(model, network, command, configured.as_deref(), (history, *fingerprint)) {
            Some(target) => target.map(|target| {
                let Target { model, network, report } = target;
                Some(Led { model, network, report: Some(Box::new(report)) })
            }),
            None => Ok(match change::apply(model, network, command)? {
                (_, Effect::None) => None,
                (model, Effect::Changed) => Some(Led { model, network: None, report: None }),
            }),
        }
    }

    /// What a reload has found in the configuration file is what the next one starts from.
    fn follow_file(&mut self, report: Option<&Report>) {
        if let (Some(configured), Some(config)) =
            (&mut self.desk.configured, report.and_then(|report| report.config.as_ref()))
        {
            configured.running = Config::clone(config);
        }
    }

    /// Notes a change in the history. Returns its number.
    fn note(
        &mut self,
        before: &Model,
        next: &Model,
        (command, origin): (&Command, &Origin),
        confirm: Option<u32>,
    ) -> io::Result<u64> {
        let Desk { history, fingerprint, compiler, state, .. } = &mut self.desk;
        if confirm.is_some() && state.is_some() && !history.outlives_the_process() {
            return Err(io::Error::other("it is in memory alone, as the log says"));
        }
        history.note(New {
            version: compiler.version() + 1,
            origin: origin.clone(),
            command: logged(command),
            fingerprints: (*fingerprint, change::fingerprint_after(*fingerprint, before, next)),
            undo: change::steps(next, before),
            confirm,
        })
    }

    fn history(&self, count: Option<u32>) -> HistoryView {
        let entries = self.desk.history.entries();
        let left_out = count.map_or(0, |count| entries.len().saturating_sub(count as usize));
        let pending = self.desk.history.pending();
        let view = |entry: &Entry| EntryView {
            change: entry.number,
            time_ms: entry.time_ms,
            config_version: entry.version,
            origin: entry.origin.clone(),
            command: entry.command.clone(),
            lines_back: entry.undo.as_ref().map(Vec::len),
            confirm_until_ms: pending
                .filter(|(number, _)| *number == entry.number)
                .map(|(_, deadline)| deadline.until_ms),
        };
        HistoryView { changes: entries.skip(left_out).map(view).collect() }
    }

    /// Nothing waits to be confirmed any more.
    fn release_spare(&mut self) {
        if let Some(state) = &mut self.desk.state {
            state.release();
        }
    }

    /// Has the state file lead to another model.
    fn keep(&mut self, before: &Model, next: &Model) -> io::Result<()> {
        let Some(state) = &mut self.desk.state else { return Ok(()) };
        state.change(before, next).inspect_err(|_| {
            // The new file may already be in place if only the last step failed.
            let _ = state.write(before);
        })
    }

    fn compile(&mut self, next: Model, network: &Arc<Network>, has_other_routes: bool) -> Prepared {
        let Desk { compiler, hop_ids, .. } = &mut self.desk;
        let old_gateways: Vec<_> = compiler.network().gateways().filter(|_| has_other_routes).collect();
        compiler.follow_network(network);
        let snapshot = compiler.compile(&next, |key| hop_ids.id(key));
        let (arrived, left) = compiler.take_changes();
        // Before a worker can have a connection with such an id.
        if let Some(Err(error)) = self.names.as_ref().map(|names| names.write(&arrived.reals)) {
            log::warn!("connections of some reals will not outlive this process: {error}");
        }
        let has_others = compiler.has_others();
        let mut ways = match (has_other_routes, has_others) {
            (true, _) => self.ways.follow_anew(&next, network),
            (_, true) => self.ways.follow(&next, network),
            _ => HashMap::new(),
        };
        for gateway in old_gateways {
            ways.entry(gateway).or_insert(None);
        }
        if has_others || has_other_routes {
            // More depends on a gateway than on all reals.
            ways.extend(network.gateways().map(|gateway| (gateway, Some(u32::MAX))));
        }
        let ways = ways.into_iter().collect();
        let (is_anew, addresses) = (compiler.is_anew(), compiler.take_addresses());
        let (network, report) = (None, None);
        Prepared { next, snapshot, has_others, is_anew, arrived, left, addresses, ways, network, report }
    }

    fn tried(&self, model: &Model, network: &Arc<Network>, command: &Command) -> Result<Box<Tried>, Refused> {
        let Desk { compiler, gauges, history, fingerprint, configured, .. } = &self.desk;
        let history = (history, *fingerprint);
        let tried = match targets::target(model, network, command, configured.as_deref(), history) {
            Some(target) => {
                target.map(|Target { model, report, .. }| Tried { model, report: Some(report) })?
            }
            None => Tried { model: change::apply(model, network, command)?.0, report: None },
        };
        compiler.check(&tried.model, |id| gauges.connections(id).hold_real())?;
        Ok(Box::new(tried))
    }

    fn release(&mut self) -> Vec<RealKey> {
        let Desk { compiler, gauges, .. } = &mut self.desk;
        compiler.release(compiler.version(), |id| gauges.connections(id).hold_real())
    }
}
