//! The control thread: everything of the control side that lives, in one loop.
//!
//! ```text
//! mod           what it owns, and starting
//! event_loop    waiting for sockets and timers, and a turn
//! peers         who asks: `lbctl`, and the tools of LVS
//! commands      a request of lbctl's → its answer
//! pages         a path of HTTP → what stands there
//! messages      a message of the tools of LVS → its answer
//! publication   changes on their way into force, one after the other
//! preparation   carrying out, keeping and compiling changes, on a thread of its own
//! targets       where a change leads that is written down elsewhere: in the file, in lines, in the history
//! confirming    a change that is taken back unless somebody confirms it; what SIGHUP asks for
//! hand_over     a successor takes this daemon's place
//! inheritance   connections of earlier processes are taken over, and these kept for later ones
//! refusals      what went wrong below → the answer to the operator
//! misdirection  what devices are told of own addresses, and whether they put packets into the right queues
//! transmitting  queues to transmit that take nothing, and who sends instead
//! links         what becomes of the ports' links
//! ```

mod commands;
mod confirming;
mod event_loop;
pub mod hand_over;
mod inheritance;
mod links;
mod messages;
mod misdirection;
mod pages;
mod peers;
mod preparation;
mod publication;
mod refusals;
mod targets;
mod transmitting;

use crate::api::protocol::Program;
use crate::api::refusal::Refused;
use crate::api::server::SocketError;
use crate::change;
use crate::config::Config;
use crate::config::metrics::Metrics;
use crate::devices::{DeviceStatus, Devices, WorkerInfo};
use crate::handed::Handed;
use crate::host_interface;
use crate::model::{Model, Network};
use crate::neighbours::{Action, Announcer, FRAMES_AT_ONCE, Interface, LOOKS, Moment, Neighbours};
use crate::observe::answers::Answers;
use crate::observe::connections::Dumps;
use crate::observe::period::Totals;
use crate::observe::periodic::{self, Periodic};
use crate::observe::recent::Recent;
use crate::observe::statistics::Statistics;
use crate::observe::watch::Watch;
use crate::persist::history as changes;
use crate::persist::state_file::{LoadError, StateFile};
use crate::publish::compile::Compiler;
use crate::publish::sums::Sums;
use crate::publish::workers::{PATIENCE, Progress, Workers};
use confirming::Confirming;
pub use confirming::Hangups;
use dataplane::exchange::orders::{ControlEnd, NeighbourEvent};
use dataplane::live::next_hops::NextHops;
use dataplane::names::ids::InterfaceId;
use dataplane::snapshot::{self, Snapshot};
use event_loop::{PREPARED, Timers, Waiter};
use hand_over::HandOver;
use inheritance::{Clearing, Inheriting};
use mio::Waker;
use misdirection::Misdirection;
use peers::Peers;
use preparation::{Desk, Job, Preparation};
use publication::Publications;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use targets::Configured;
use thiserror::Error;
use transmitting::Transmitting;

/// Why the control thread cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The state file is damaged.
    #[error(transparent)]
    State(#[from] LoadError),
    /// Services of the daemon before cannot be with this configuration.
    #[error("the services of the lbd that runs: {0}")]
    Handed(Refused),
    /// The system gives nothing to wait with.
    #[error("the control thread: {0}")]
    Wait(#[from] io::Error),
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
    waiter: Waiter,
    timers: Timers,
    peers: Peers,
    model: Model,
    network: Arc<Network>,
    preparation: Preparation,
    /// The one in force, or on its way into force.
    snapshot: Arc<Snapshot>,
    publications: Publications,
    /// How long a worker may take to adopt a snapshot.
    patience: Duration,
    workers: Workers,
    sums: Sums,
    next_hops: Arc<NextHops>,
    neighbours: Neighbours,
    announcer: Announcer,
    statistics: Statistics,
    dumps: Dumps,
    answers: Answers,
    recent: Recent,
    /// What scrapes show.
    shown: Metrics,
    watch: Watch,
    periodic: Option<Periodic>,
    /// By port.
    links: Vec<host_interface::Watch>,
    /// By port.
    misdirection: Vec<Misdirection>,
    transmitting: Vec<Transmitting>,
    inheriting: Inheriting,
    clearing: Clearing,
    devices: Box<dyn Devices>,
    hand_over: HandOver,
    hangups: Hangups,
    /// A change that waits to be confirmed.
    confirming: Option<Confirming>,
    /// There is a state file.
    has_state: bool,
    /// Which program this is, for one that could take its place.
    program: Program,
    /// The lock of the state file, which the preparation has, for a successor.
    lent: Handed,
    /// Connections that there is room for, of both families.
    table_size: u32,
    started: Instant,
    /// By the clock of the world, for metrics.
    began: SystemTime,
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
        infos: Vec<WorkerInfo>,
    ) -> Result<Self, StartError> {
        Self::with(config, Handed::default(), ends, next_hops, devices, infos)
    }

    /// Likewise, with what the daemon before has handed over. What of that is needed is used, but clients are answered
    /// only after [`own`](Self::own).
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn with(
        config: &Config,
        mut handed: Handed,
        ends: Vec<ControlEnd>,
        next_hops: Arc<NextHops>,
        devices: Box<dyn Devices>,
        infos: Vec<WorkerInfo>,
    ) -> Result<Self, StartError> {
        memory::map_large_arrays();
        let waiter = Waiter::new()?;
        let peers = Peers::bind(&config.control, &mut handed, waiter.registry())?;
        let network = config.network(|port| {
            let DeviceStatus { mac, mtu, steered_by, .. } = devices.status(port);
            (mac, mtu, steered_by)
        });
        let state = config.control.state.as_deref();
        let state = state.map(|path| StateFile::open_handed(path, &mut handed)).transpose()?;
        let mut lent = Handed::default();
        lent.extend(state.as_ref().map_or(Ok(None), StateFile::share)?);
        let (model, from) = first_model(config, &network, state.as_ref(), handed.services.as_deref())?;
        let path = state.as_ref().and_then(StateFile::history);
        let mut made = path.map_or_else(changes::History::in_memory, changes::History::open);
        let fingerprint = change::fingerprint(&model);
        made.begin(fingerprint, 1, from);
        let (confirming, has_state) = (confirming::inherited(made.pending()), state.is_some());
        let interfaces = InterfaceId::all().zip(&network.interfaces).map(|(id, interface)| Interface {
            id,
            mac: interface.mac,
            addresses: interface.addresses.clone(),
            vips: Vec::new(),
        });
        let neighbours = Neighbours::new(interfaces.collect(), network.fixed(), Moment::ZERO);
        let watch =
            |interface: &snapshot::Interface| host_interface::Watch::new(interface.mac, interface.mtu);
        let watches = network.interfaces.iter().map(watch).collect();
        let waker = Waker::new(waiter.registry(), PREPARED)?;
        let workers = Workers::new(ends);
        let network = Arc::new(network);
        let desk = Desk {
            compiler: Compiler::new(Arc::clone(&network)),
            state,
            gauges: workers.gauges(),
            hop_ids: neighbours.ids().clone(),
            history: made,
            fingerprint,
            configured: None,
        };
        desk.compiler.check(&model, |_| true).map_err(Refused::from)?;
        let now = Instant::now();
        Ok(Self {
            waiter,
            timers: Timers::starting(now),
            peers,
            hand_over: HandOver::new(config, &handed),
            model,
            network,
            preparation: Preparation::start(desk, waker)?,
            snapshot: Arc::new(Snapshot::empty()),
            publications: Publications::default(),
            patience: PATIENCE,
            workers,
            sums: Sums::default(),
            next_hops,
            neighbours,
            announcer: Announcer::new(
                config.eth_ports.iter().map(|port| port.interface.announce_every).collect(),
            ),
            statistics: Statistics::default(),
            dumps: Dumps::default(),
            answers: Answers::default(),
            recent: Recent::default(),
            shown: config.control.metrics.clone(),
            watch: Watch::new(config, infos),
            periodic: None,
            links: watches,
            misdirection: vec![Misdirection::default(); config.eth_ports.len()],
            transmitting: vec![Transmitting::default(); config.eth_ports.len()],
            inheriting: Inheriting::nothing(),
            clearing: Clearing::default(),
            devices,
            hangups: Hangups::default(),
            confirming,
            has_state,
            program: Program::default(),
            lent,
            table_size: u32::try_from(
                (config.capacity.ipv4 + config.capacity.ipv6) * config.eal.workers.len(),
            )
            .unwrap_or(u32::MAX),
            started: now,
            began: SystemTime::now(),
            has_freed: false,
        })
    }

    /// Publishes the first snapshot; the workers run already.
    ///
    /// # Errors
    /// A worker does not take it, or an interface is gone already.
    pub fn start(&mut self) -> Result<(), StartError> {
        if !self.hand_over.is_prepared() {
            self.begin();
        }
        self.publish_first().map_err(Refused::from)?;
        self.watch_links(self.moment(Instant::now()))?;
        Ok(())
    }

    /// Does all that [`start`](Self::start) does up to where a worker gets the first snapshot.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub fn prepare(&mut self) -> Result<(), StartError> {
        self.begin();
        self.prepare_first().map_err(Refused::from)?;
        Ok(())
    }

    fn begin(&mut self) {
        let now = Instant::now();
        (self.started, self.began, self.timers) = (now, SystemTime::now(), Timers::starting(now));
        self.act();
    }

    /// The file that `config` was read from: it is read again when that is asked for. `config` is what runs of it.
    pub fn set_file(&mut self, path: PathBuf, config: &Config) {
        let running = config.clone();
        self.preparation.give(Job::Configure(Box::new(Configured { path, running })));
    }

    /// Which program this is.
    pub fn set_program(&mut self, program: Program) {
        self.program = program;
    }

    /// Gives a worker this long to adopt a snapshot, the one under way included, instead of [`PATIENCE`].
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        self.publications.set_patience(patience);
    }

    /// From now on writes to `out` what passed in each `period`, until it cannot be written to. A block
    /// that `out` does not take in time is left out.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn report_every(&mut self, period: Duration, out: impl Write + Send + 'static) -> io::Result<()> {
        self.periodic = Some(Periodic::start(period, out, self.totals())?);
        Ok(())
    }

    /// How far each worker is with its turns.
    pub fn progress(&self) -> impl Iterator<Item = Progress> {
        self.workers.progress()
    }

    fn totals(&self) -> Totals {
        periodic::totals(&*self.devices, &self.watch, &self.workers, self.moment(Instant::now()))
    }

    fn report(&mut self, now: Instant) {
        if self.periodic.as_ref().is_none_or(|periodic| periodic.due() > now) {
            return;
        }
        let (totals, tsc_hz) = (self.totals(), self.devices.tsc_hz());
        if self.periodic.as_mut().is_some_and(|periodic| !periodic.report(totals, tsc_hz, now)) {
            log::warn!("statistics are no longer printed: the terminal or pipe is gone");
            self.periodic = None;
        }
    }

    fn moment(&self, now: Instant) -> Moment {
        now - self.started
    }

    fn meet_neighbours(&mut self, now: Moment) {
        let Self { workers, neighbours, announcer, .. } = self;
        workers.neighbour_events(|event| match event {
            NeighbourEvent::GroupsAsked { interface, query } => {
                if let Some(interface) = neighbours.interfaces().get(interface.index()) {
                    announcer.groups_asked(interface, query, now);
                }
            }
            event => neighbours.event(event, now),
        });
        // A request that finds no room would count as one that nobody answered.
        if workers.can_send(LOOKS) {
            neighbours.turn(now);
        }
        self.act();
        // Nobody asks for an announcement that finds no room.
        if self.workers.can_send(FRAMES_AT_ONCE) {
            for frame in self.announcer.turn(self.neighbours.interfaces(), now) {
                self.workers.send(frame.order());
            }
        }
    }

    /// Does what the neighbours' state machine wants.
    fn act(&mut self) {
        for action in self.neighbours.take_actions() {
            match action {
                Action::Set(id, next_hop) => {
                    self.inheriting.name_hop(id, next_hop);
                    self.next_hops.set(id, next_hop);
                }
                Action::Send(frame) => self.workers.send(frame.order()),
                Action::Tell(notice) => self.workers.tell(|| notice.order()),
            }
        }
    }

    /// On links where no port has an address of its own of a family, hosts of it are asked from a VIP. `changed` are
    /// the own addresses that came or went, so that the others are looked at only if one of them has to take another's
    /// place.
    fn choose_vips(&mut self, snapshot: &Snapshot, changed: &BTreeMap<IpAddr, u16>) {
        for interface in self.neighbours.interfaces_mut() {
            let answers = |interfaces: u16| interfaces & interface.id.bit() != 0;
            let is_good = |vip: &IpAddr| snapshot.local(*vip).is_some_and(|local| answers(local.interfaces));
            let before = interface.vips.len();
            interface.vips.retain(is_good);
            let mut vips: Vec<IpAddr> = changed
                .keys()
                .copied()
                .filter(|vip| is_good(vip) && !interface.has_family_of(*vip))
                .collect();
            if interface.vips.len() < before {
                let all = snapshot.local_addresses().filter(|(_, local)| answers(local.interfaces));
                vips.extend(all.map(|(vip, _)| vip).filter(|vip| !interface.has_family_of(*vip)));
            }
            for vip in vips {
                if interface.vips.iter().all(|known| known.is_ipv4() != vip.is_ipv4()) {
                    interface.vips.push(vip);
                }
            }
        }
    }
}

/// The state file's services or, if there is none yet, those that the daemon before has handed over, or else the
/// configuration's. And where they are from, in words.
fn first_model(
    config: &Config,
    network: &Network,
    state: Option<&StateFile>,
    handed: Option<&[String]>,
) -> Result<(Model, String), StartError> {
    if let Some(state) = state {
        state.sweep();
        if let Some(model) = state.load(&Model::new(config.model.timeouts), network)? {
            let path = config.control.state.as_deref().unwrap_or(Path::new("")).display();
            let count = model.services().len();
            log::info!(
                "{path}: {count} services; [[service]] and [timeouts] of the configuration are not looked at"
            );
            return Ok((model, format!("start with the services of {path}")));
        }
    }
    if let Some(lines) = handed {
        let lines = lines.iter().map(String::as_str);
        let model = change::restore(&Model::new(config.model.timeouts), network, lines);
        let model = model.map_err(StartError::Handed)?;
        return Ok((model, "start with the services of the lbd before".into()));
    }
    Ok((config.model.clone(), "start with the services of the configuration".into()))
}
