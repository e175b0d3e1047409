//! The control thread: everything of the control side that lives, in one loop.
//!
//! ```text
//! mod        starting, the loop, and putting a model into force
//! commands   a request → its answer
//! refusals   what went wrong below → the answer to the operator
//! views      listings
//! dump       the connections, slice by slice
//! status     how the daemon does
//! pressure   what connection tables are short of
//! periodic   what passed, on the terminal at a fixed interval
//! misdirection  what devices are told of own addresses, and whether they put packets into the right queues
//! transmitting  queues to transmit that take nothing, and who sends instead
//! links      what becomes of the ports' links
//! devices    what it asks the devices
//! ```

mod commands;
mod devices;
mod dump;
mod links;
mod misdirection;
mod periodic;
mod pressure;
mod refusals;
mod status;
mod transmitting;
mod views;

pub use devices::{Counted, DeviceStatus, Devices, WorkerInfo};

use crate::api::refusal::Refused;
use crate::api::server::{Server, SocketError};
use crate::config::Config;
use crate::host_interface;
use crate::model::{Model, Network};
use crate::neighbours::{Action, Announcer, FRAMES_AT_ONCE, Interface, LOOKS, Moment, Neighbours};
use crate::observe::rates;
use crate::observe::statistics::Statistics;
use crate::persist::state_file::{LoadError, StateFile};
use crate::publish::compile::Compiler;
use crate::publish::ids::NoRoom;
use crate::publish::ways::Ways;
use crate::publish::workers::{WorkerLate, Workers};
use dataplane::exchange::orders::ControlEnd;
use dataplane::live::next_hops::NextHops;
use dataplane::names::ids::InterfaceId;
use dataplane::snapshot::{self, Snapshot};
use dump::Dumps;
use misdirection::Misdirection;
use periodic::Periodic;
use status::Watch;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;
use transmitting::Transmitting;

/// The longest the loop waits for the socket: how late a neighbour's event may be seen.
const WAIT: Duration = Duration::from_millis(2);
/// The same while a dump is under way.
const WAIT_DUMPING: Duration = Duration::from_millis(1);
/// How often links, removed reals and the workers' load are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Why the control thread cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The state file is damaged.
    #[error(transparent)]
    State(#[from] LoadError),
    /// An interface is gone already.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The first snapshot is not in force.
    #[error("the configuration is not in force: {0}")]
    Publish(#[from] Refused),
}

/// Why the control thread cannot go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// Waiting for the socket failed.
    #[error("the control thread: {0}")]
    Wait(#[from] io::Error),
    /// A port's device is bound to an interface that is no longer there.
    #[error(
        "port {port}: interface {interface} is gone (deleted, or moved to another network namespace), and its device \
         with it: start lbd again when there is one"
    )]
    InterfaceGone {
        /// By name.
        port: String,
        /// The name that it had.
        interface: String,
    },
}

/// See the module's text.
pub struct ControlThread {
    server: Server,
    model: Model,
    compiler: Compiler,
    ways: Ways,
    /// The one in force.
    snapshot: Arc<Snapshot>,
    workers: Workers,
    next_hops: Arc<NextHops>,
    neighbours: Neighbours,
    announcer: Announcer,
    statistics: Statistics,
    state: Option<StateFile>,
    dumps: Dumps,
    watch: Watch,
    periodic: Option<Periodic>,
    /// By port.
    links: Vec<host_interface::Watch>,
    /// By port.
    misdirection: Vec<Misdirection>,
    transmitting: Vec<Transmitting>,
    devices: Box<dyn Devices>,
    started: Instant,
    watched: Instant,
    estimated: Instant,
    /// Something was put into force, so that memory was freed, since free memory was last given back.
    has_freed: bool,
}

impl ControlThread {
    /// Binds the socket, loads the state file or else the services of the configuration. Nothing is
    /// published before [`start`](Self::start).
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(
        config: &Config,
        ends: Vec<ControlEnd>,
        next_hops: Arc<NextHops>,
        devices: Box<dyn Devices>,
        workers: Vec<WorkerInfo>,
    ) -> Result<Self, StartError> {
        memory::map_large_arrays();
        let server = Server::bind(&config.control.socket, config.control.group.as_deref())?;
        let links = config.network(|port| {
            let DeviceStatus { mac, mtu, steered_by, .. } = devices.status(port);
            (mac, mtu, steered_by)
        });
        let state = config.control.state.as_deref().map(StateFile::open).transpose()?;
        let model = first_model(config, &links, state.as_ref())?;
        let interfaces = InterfaceId::all().zip(&links.interfaces).map(|(id, interface)| Interface {
            id,
            mac: interface.mac,
            addresses: interface.addresses.clone(),
            vip: None,
        });
        let neighbours = Neighbours::new(interfaces.collect(), links.fixed(), Moment::ZERO);
        let watch =
            |interface: &snapshot::Interface| host_interface::Watch::new(interface.mac, interface.mtu);
        let watches = links.interfaces.iter().map(watch).collect();
        let now = Instant::now();
        Ok(Self {
            server,
            model,
            compiler: Compiler::new(links),
            ways: Ways::default(),
            snapshot: Arc::new(Snapshot::empty()),
            workers: Workers::new(ends),
            next_hops,
            neighbours,
            announcer: Announcer::new(
                config.eth_ports.iter().map(|port| port.interface.announce_every).collect(),
            ),
            statistics: Statistics::default(),
            state,
            dumps: Dumps::default(),
            watch: Watch::new(config, workers),
            periodic: None,
            links: watches,
            misdirection: vec![Misdirection::default(); config.eth_ports.len()],
            transmitting: vec![Transmitting::default(); config.eth_ports.len()],
            devices,
            started: now,
            watched: now,
            estimated: now,
            has_freed: false,
        })
    }

    /// Publishes the first snapshot; the workers run already.
    ///
    /// # Errors
    /// A worker does not take it, or an interface is gone already.
    pub fn start(&mut self) -> Result<(), StartError> {
        let now = Instant::now();
        (self.started, self.watched, self.estimated) = (now, now, now);
        self.act();
        self.compiler.check(&self.model, |_| true).map_err(Refused::from)?;
        self.put_in_force(self.model.clone()).map_err(Refused::from)?;
        self.watch_links(self.moment(now))?;
        Ok(())
    }

    /// Waits this long for a worker to take a snapshot, instead of
    /// [`PATIENCE`](crate::publish::workers::PATIENCE).
    pub fn set_patience(&mut self, patience: Duration) {
        self.workers.set_patience(patience);
    }

    /// Works until `stop` is set or it cannot go on, then removes the socket.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), RunError> {
        let mut result = Ok(());
        while result.is_ok() && !stop.load(Ordering::Relaxed) {
            result = self.turn();
        }
        self.server.remove_socket();
        result
    }

    /// One turn of the loop.
    fn turn(&mut self) -> Result<(), RunError> {
        let wait = if self.dumps.are_waiting() { WAIT_DUMPING } else { WAIT };
        for (peer, command) in self.server.turn(wait, Instant::now())? {
            self.command(peer, command);
        }
        let now = Instant::now();
        self.workers.take_returns();
        self.workers.flush();
        self.dumps.turn(&mut self.server, &mut self.workers, &self.snapshot, now);
        self.meet_neighbours(self.moment(now));
        let elapsed = now - self.estimated;
        if elapsed >= rates::INTERVAL {
            self.estimated = now;
            self.statistics.collect(&self.workers);
            self.statistics.estimate(elapsed);
        }
        if now - self.watched >= WATCH_INTERVAL {
            self.watched = now;
            self.watch_links(self.moment(now))?;
            self.watch.sample(&self.workers);
            self.watch.warn(&self.workers);
            self.watch_steering();
            self.watch_transmitting();
            self.release();
            // The snapshot before came back in an earlier turn, or comes back in the next second.
            if std::mem::take(&mut self.has_freed) {
                memory::give_back();
            }
        }
        self.report(now);
        Ok(())
    }

    fn moment(&self, now: Instant) -> Moment {
        now - self.started
    }

    fn meet_neighbours(&mut self, now: Moment) {
        let Self { workers, neighbours, .. } = self;
        workers.neighbour_events(|event| neighbours.event(event, now));
        // A request that finds no room would count as one that nobody answered.
        if workers.can_send(LOOKS) {
            neighbours.turn(now);
        }
        self.act();
        // Nobody asks for an announcement that finds no room.
        if self.workers.can_send(FRAMES_AT_ONCE) {
            for frame in self.announcer.turn(self.neighbours.interfaces_mut(), now) {
                self.workers.send(frame.order());
            }
        }
    }

    /// Does what the neighbours' state machine wants.
    fn act(&mut self) {
        for action in self.neighbours.take_actions() {
            match action {
                Action::Set(id, next_hop) => self.next_hops.set(id, next_hop),
                Action::Send(frame) => self.workers.send(frame.order()),
                Action::Tell(notice) => self.workers.tell(|| notice.order()),
            }
        }
    }

    /// Lets go of removed reals without connections; the snapshot without them follows at once, so that
    /// packets from their addresses are routed again.
    fn release(&mut self) {
        let version = self.compiler.version();
        if self.workers.run_on(version).is_err() {
            return;
        }
        let workers = &self.workers;
        let live = |id| workers.connections(id).total > 0;
        let released = self.compiler.release(version, live);
        if released.is_empty() {
            return;
        }
        for key in &released {
            self.statistics.forget(key);
        }
        if let Err(late) = self.put_in_force(self.model.clone()) {
            log::error!("{}", Refused::from(late));
        }
    }

    /// Carries out a change: it is kept, then published. A reply after this means that it is in force.
    fn change(&mut self, next: Model) -> Result<(), Refused> {
        // Before anything is touched, so that a refused command changes nothing.
        self.workers.run_on(self.compiler.version())?;
        self.make_room(&next)?;
        if let Some(state) = &self.state
            && let Err(error) = state.write(&next)
        {
            // The new file may already be in place if only the last step failed.
            let _ = state.write(&self.model);
            return Err(Refused::StateWrite(error.to_string()));
        }
        Ok(self.put_in_force(next)?)
    }

    /// Removed reals without connections, which are otherwise let go of once a second, give their ids to what needs
    /// them now.
    fn make_room(&mut self, next: &Model) -> Result<(), NoRoom> {
        self.compiler.check(next, |_| true).or_else(|_| {
            self.release();
            self.compiler.check(next, |_| true)
        })
    }

    /// Compiles, publishes, and lets everything else follow. Even if a worker is stuck the model is the
    /// new one: the others run on it.
    fn put_in_force(&mut self, next: Model) -> Result<(), WorkerLate> {
        let before = Arc::clone(&self.snapshot);
        self.compile(&next);
        let has_others = self.compiler.has_others();
        // What is own by either counts until all run on the new one.
        let has_other_addresses = self.compiler.has_other_addresses();
        if has_other_addresses && self.follow_addresses(Some(&before)) {
            self.compile(&next);
        }
        let now = self.moment(Instant::now());
        if has_others {
            self.statistics.open(&next, |key| self.compiler.ids().real(key), &self.workers);
            self.follow_next_hops(&next, now);
        }
        let published = self.workers.publish(&self.snapshot);
        if published.is_ok() && has_other_addresses {
            self.follow_addresses(None); // lets go only
        }
        if has_others {
            self.statistics.close(&next, &self.workers);
        }
        self.model = next;
        self.has_freed |= self.compiler.is_anew();
        for (address, interfaces) in self.compiler.take_addresses() {
            self.announcer.set_address(address, interfaces, now);
        }
        self.act();
        published
    }

    fn compile(&mut self, next: &Model) {
        let Self { compiler, neighbours, .. } = self;
        self.snapshot = compiler.compile(next, |key| neighbours.id(key));
    }

    /// The ways to reals and the gateways are asked for from the start.
    fn follow_next_hops(&mut self, next: &Model, now: Moment) {
        let links = self.compiler.links();
        let mut changed = self.ways.follow(next, links);
        // More depends on a gateway than on all reals.
        changed.extend(links.gateways().map(|gateway| (gateway, Some(u32::MAX))));
        for (key, importance) in changed {
            self.neighbours.depend(key, importance, now);
        }
        for interface in self.neighbours.interfaces_mut() {
            let answers = |interfaces: u16| interfaces & interface.id.bit() != 0;
            let is_good = |vip| self.snapshot.local(vip).is_some_and(|local| answers(local.interfaces));
            if interface.addresses.is_empty() && !interface.vip.is_some_and(is_good) {
                let mut vips = self.snapshot.local_addresses().filter(|(_, local)| answers(local.interfaces));
                interface.vip = vips.next().map(|(address, _)| address);
            }
        }
    }
}

/// The state file's services or, if there is none yet, the configuration's.
fn first_model(config: &Config, links: &Network, state: Option<&StateFile>) -> Result<Model, StartError> {
    if let Some(state) = state {
        state.sweep();
        if let Some(model) = state.load(&Model::new(config.model.timeouts), links)? {
            let path = config.control.state.as_deref().unwrap_or(Path::new("")).display();
            let count = model.services().len();
            log::info!(
                "{path}: {count} services; [[service]] and [timeouts] of the configuration are not looked at"
            );
            return Ok(model);
        }
    }
    Ok(config.model.clone())
}
