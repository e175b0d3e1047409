//! Changes are carried out, checked, kept and compiled here, on a thread of its own: for tens of thousands of reals
//! that takes a good part of a second, in which the control thread answers others.
//!
//! ```text
//! control thread ──Job──► carried out ─► checked ─► kept in the state file ─► compiled ──Done──► control thread
//! ```
//!
//! One job after the other, in the order given. What a job needs of the control thread it gets as values: models and
//! networks are shared, not copied.

use crate::api::protocol::Command;
use crate::api::refusal::Refused;
use crate::change::{self, Effect};
use crate::model::{Model, Network};
use crate::neighbours::HopIds;
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
    Change { model: Model, network: Arc<Network>, command: Arc<Command>, may_release: bool },
    /// A model is compiled as it is.
    Compile { model: Model, network: Arc<Network> },
    /// A command is carried out and checked; nothing comes of it.
    Try { model: Model, network: Arc<Network>, command: Arc<Command> },
    /// Removed reals without connections are let go of. The last snapshot is in force.
    Release,
    /// From now on it is written for later processes which real has which id.
    Name(RealNames),
    /// Something large is freed.
    Free(Box<dyn Any + Send>),
}

/// What has become of a job; [`Job::Name`] and [`Job::Free`] give none.
pub(super) enum Done {
    /// A snapshot is to be offered. What it was made of is in the state file.
    Prepared(Box<Prepared>),
    /// The command changes nothing.
    Unchanged,
    /// The command is refused; nothing has changed.
    Refused(Refused),
    /// The change was not made: it needs the ids of these removed reals, which are free after the next snapshot.
    MadeRoom(Vec<RealKey>),
    /// The model that a command leads to, or why it is refused.
    Tried(Result<Model, Refused>),
    /// These are let go of.
    Released(Vec<RealKey>),
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

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, done: &Sender<Done>, waker: &Waker) {
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
            Job::Change { model, network, command, may_release } => {
                return self.change(&model, &network, &command, may_release).map(Some);
            }
            Job::Compile { model, network } => Done::Prepared(Box::new(self.compile(model, &network))),
            Job::Try { model, network, command } => Done::Tried(self.tried(&model, &network, &command)),
            Job::Release => Done::Released(self.release()),
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
        command: &Command,
        may_release: bool,
    ) -> Result<Done, Stopped> {
        let next = match change::apply(model, network, command) {
            Ok((_, Effect::None)) => return Ok(Done::Unchanged),
            Ok((next, Effect::Changed)) => next,
            Err(refused) => return Ok(Done::Refused(refused)),
        };
        // Before anything is touched, so that a refused command changes nothing.
        if let Err(no_room) = self.desk.compiler.check(&next, |_| true) {
            let released = if may_release { self.release() } else { Vec::new() };
            let refused = || Done::Refused(no_room.into());
            return Ok(if released.is_empty() { refused() } else { Done::MadeRoom(released) });
        }
        self.go_on()?;
        if let Err(error) = self.keep(model, &next) {
            return Ok(Done::Refused(Refused::StateWrite(error.to_string())));
        }
        Ok(Done::Prepared(Box::new(self.compile(next, network))))
    }

    /// Has the state file lead to another model.
    fn keep(&mut self, before: &Model, next: &Model) -> io::Result<()> {
        let Some(state) = &mut self.desk.state else { return Ok(()) };
        state.change(before, next).inspect_err(|_| {
            // The new file may already be in place if only the last step failed.
            let _ = state.write(before);
        })
    }

    fn compile(&mut self, next: Model, network: &Arc<Network>) -> Prepared {
        let Desk { compiler, hop_ids, .. } = &mut self.desk;
        compiler.follow_network(network);
        let snapshot = compiler.compile(&next, |key| hop_ids.id(key));
        let (arrived, left) = compiler.take_changes();
        // Before a worker can have a connection with such an id.
        if let Some(Err(error)) = self.names.as_ref().map(|names| names.write(&arrived.reals)) {
            log::warn!("connections of some reals will not outlive this process: {error}");
        }
        let has_others = compiler.has_others();
        let mut ways = if has_others { self.ways.follow(&next, network) } else { HashMap::new() };
        if has_others {
            // More depends on a gateway than on all reals.
            ways.extend(network.gateways().map(|gateway| (gateway, Some(u32::MAX))));
        }
        let ways = ways.into_iter().collect();
        let (is_anew, addresses) = (compiler.is_anew(), compiler.take_addresses());
        Prepared { next, snapshot, has_others, is_anew, arrived, left, addresses, ways }
    }

    fn tried(&self, model: &Model, network: &Network, command: &Command) -> Result<Model, Refused> {
        let Desk { compiler, gauges, .. } = &self.desk;
        let (next, _) = change::apply(model, network, command)?;
        compiler.check(&next, |id| gauges.connections(id).hold_real())?;
        Ok(next)
    }

    fn release(&mut self) -> Vec<RealKey> {
        let Desk { compiler, gauges, .. } = &mut self.desk;
        compiler.release(compiler.version(), |id| gauges.connections(id).hold_real())
    }
}
