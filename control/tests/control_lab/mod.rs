//! The lab of the tests: a configuration, made up devices, and workers that only obey.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use dataplane::names::ids::InterfaceId;

use control::api::protocol::{Answer, Command, Outcome, Refusal};
use control::config::keep::Keep;
use control::config::{self, Config};
use control::daemon::{ControlThread, Hangups, StartError};
use control::devices::{DeviceStatus, Devices, WorkerInfo};
use control::handed::Handed;
use control::host_interface::Footing;
use control::persist::kept::Keeping;
use dataplane::connection::kept::{Home, Shape};
use dataplane::connection::table::HashKey;
use dataplane::connection::{Copied, State};
use dataplane::counters::{PortCounters, WorkerCounters};
use dataplane::exchange::orders::{Inheritance, NeighbourEvent, Order, Return, WorkerEnd, channel};
use dataplane::exchange::pace::{Pace, Phase};
use dataplane::live::next_hops::NextHops;
use dataplane::live::reals::Reals;
use dataplane::names::ids::{NextHopId, Protocol, RealId};
use dataplane::names::mac::Mac;
use dataplane::snapshot::{Snapshot, Steering};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything may take that comes by itself: the machine may be so busy that a thread does not run for seconds.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// What workers have to adopt a snapshot. No test waits so long: one that is about a stuck worker ends the patience.
const WORKERS_PATIENCE: Duration = Duration::from_secs(3600);

pub const FILE: &str = r#"
[[port]]
name = "vip0"
side = "vip"
device = "net_null0"
addresses = ["192.168.10.100/24"]
gateway = "192.168.10.1"

[[port]]
name = "dip0"
side = "dip"
device = "net_null1"
addresses = ["10.0.0.8/24"]

[[route]]
to = "172.16.0.0/12"
via = "10.0.0.1"

[[neighbour]]
address = "10.0.0.7"
mac = "02:00:00:00:00:07"
"#;

/// A configuration whose default route is left out, so that some addresses have none.
pub fn without_default() -> Config {
    config::parse(&FILE.replace("gateway = \"192.168.10.1\"", "")).unwrap()
}

pub fn config_in(directory: &Path) -> Config {
    let mut config = without_default();
    config.control.socket = directory.join("run/lbd.sock");
    config.control.state = Some(directory.join("lib/state"));
    config
}

/// The configuration file that a lab reads again, if there is one.
pub fn file(config: &Config) -> PathBuf {
    config.control.socket.parent().and_then(Path::parent).unwrap_or(Path::new("")).join("lbd.toml")
}

/// What the made-up devices get, and how they fail.
#[derive(Default)]
pub struct DeviceState {
    /// The own addresses of each call, in their order.
    pub calls: Vec<Vec<IpAddr>>,
    /// A rule for it is refused; the port is 0.
    pub refused: Option<IpAddr>,
    /// They do not tell what they have counted.
    pub is_silent: bool,
    /// Their links are down.
    pub has_no_link: bool,
    /// Of the second port: another MAC than at the start.
    pub mac: Option<Mac>,
    has_refused: bool,
}

/// Devices that are not there.
#[derive(Default)]
pub struct MadeUp(Arc<Mutex<DeviceState>>);

impl Devices for MadeUp {
    fn follow_addresses(&mut self, own: &mut dyn Iterator<Item = IpAddr>) -> Vec<usize> {
        let mut state = self.0.lock().unwrap();
        let own: BTreeSet<_> = own.collect();
        let refuses = !state.has_refused && state.refused.is_some_and(|address| own.contains(&address));
        state.has_refused |= refuses;
        state.calls.push(own.into_iter().collect());
        Vec::from_iter(refuses.then_some(0))
    }

    fn status(&self, port: usize) -> DeviceStatus {
        if port == 0 && self.0.lock().unwrap().has_refused {
            let steering = "by software: it refuses a rule".into();
            return DeviceStatus { steered_by: Steering::Software, steering, ..self.status(1) };
        }
        let link_up = !self.0.lock().unwrap().has_no_link;
        let other = self.0.lock().unwrap().mac.filter(|_| port == 1);
        let mac = other.unwrap_or(Mac([2, 0, 0, 0, 1, port as u8]));
        DeviceStatus {
            driver: "net_null".into(),
            mac,
            mtu: 9216,
            link_up,
            footing: Footing::Own,
            steered_by: Steering::Device,
            steering: "by the device".into(),
            counted: (!self.0.lock().unwrap().is_silent).then_some(PortCounters {
                rx_packets: Some(1),
                tx_packets: Some(2),
                rx_bytes: Some(60),
                tx_bytes: Some(120),
                rx_missed: Some(0),
                rx_nobuf: Some(0),
                rx_errors: Some(0),
                tx_errors: None,
            }),
            buffers_in_use: 3,
            buffers: 8192,
            notes: vec!["no MTU".into()],
        }
    }

    fn transmits(&self, _port: usize, _worker: usize) -> bool {
        true
    }

    fn dpdk_version(&self) -> String {
        "DPDK 0".into()
    }

    fn tsc_hz(&self) -> f64 {
        2e9
    }
}

/// What a worker got from the control thread.
#[derive(Default)]
pub struct Told {
    pub snapshot: Option<Arc<Snapshot>>,
    pub frames: Vec<(InterfaceId, Vec<u8>)>,
    pub reachable: Vec<IpAddr>,
    pub senders: Vec<(u8, usize)>,
    /// What it is to take over, as long as it is at it.
    pub inheritance: Option<Box<Inheritance>>,
    /// It is not through with that.
    pub holds_inheritance: bool,
    /// There was a snapshot when the order to take over came.
    pub inherited_late: bool,
}

/// A worker that adopts what it gets, and has `connections` connections on real 0.
pub struct Worker {
    pub counters: Arc<WorkerCounters>,
    pub told: Arc<Mutex<Told>>,
    pub pace: Arc<Pace>,
    obeys: Arc<Mutex<bool>>,
    pub says: Arc<Mutex<Vec<NeighbourEvent>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn launch(end: WorkerEnd, connections: usize) -> Self {
        Self::launch_with(end, connections, Told::default())
    }

    fn launch_holding(end: WorkerEnd) -> Self {
        Self::launch_with(end, 0, Told { holds_inheritance: true, ..Told::default() })
    }

    fn launch_with(mut end: WorkerEnd, connections: usize, told: Told) -> Self {
        let (counters, pace) = (Arc::clone(&end.counters), Arc::clone(&end.pace));
        let told = Arc::new(Mutex::new(told));
        let (obeys, stop) = (Arc::new(Mutex::new(true)), Arc::new(AtomicBool::new(false)));
        let says: Arc<Mutex<Vec<NeighbourEvent>>> = Arc::default();
        let thread = {
            let (told, obeys, stop, says) =
                (Arc::clone(&told), Arc::clone(&obeys), Arc::clone(&stop), Arc::clone(&says));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Held meanwhile, so that nothing is adopted any more once it is taken back.
                    let obeying = obeys.lock().unwrap();
                    let works = *obeying && keeps_pace(&end.pace);
                    while works && obey(&mut end, &mut told.lock().unwrap(), connections) {}
                    if works {
                        give_back(&mut end, &mut told.lock().unwrap());
                    }
                    drop(obeying);
                    for event in says.lock().unwrap().drain(..) {
                        let _ = end.neighbour_events.push(event);
                    }
                    thread::sleep(Duration::from_micros(50));
                }
            })
        };
        Self { counters, told, pace, obeys, says, stop, thread: Some(thread) }
    }

    /// Whether it adopts what it gets from now on.
    pub fn obey(&self, obeys: bool) {
        *self.obeys.lock().unwrap() = obeys;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Does what it is asked for, and has nothing left whenever it is to finish. Whether it works.
fn keeps_pace(pace: &Pace) -> bool {
    let asked = pace.asked();
    pace.follow(asked);
    if asked == Phase::Finish {
        pace.note(false);
    }
    asked == Phase::Run
}

fn obey(end: &mut WorkerEnd, told: &mut Told, connections: usize) -> bool {
    let Ok(order) = end.orders.pop() else { return false };
    match order {
        Order::Adopt(snapshot) => {
            let version = snapshot.version;
            if let Some(old) = told.snapshot.replace(snapshot) {
                end.returns.push(Return::Retired(old)).unwrap();
            }
            end.counters.snapshot_version.set(version);
        }
        Order::Send { interface, length, bytes } => {
            told.frames.push((InterfaceId(interface.0), bytes[..length.into()].to_vec()))
        }
        Order::SendThrough { port, worker } => told.senders.push((port.0, worker)),
        Order::Reachable(key, _) => told.reachable.push(key.address),
        Order::Unreachable(_) => {}
        Order::Export(mut slice) => {
            assert!(slice.rows.is_empty());
            let from = slice.position.unwrap();
            let to = connections.min(from + slice.rows.capacity());
            slice.rows.extend((from..to).map(row));
            slice.position = (to < connections).then_some(to);
            end.returns.push(Return::Exported(slice)).unwrap();
        }
        Order::Import(batch) => end.returns.push(Return::Imported(batch)).unwrap(),
        Order::Inherit(inheritance) => {
            told.inherited_late = told.snapshot.is_some();
            told.inheritance = Some(inheritance);
        }
        Order::Forget => end.returns.push(Return::Forgotten(connections as u64)).unwrap(),
    }
    true
}

fn give_back(end: &mut WorkerEnd, told: &mut Told) {
    if !told.holds_inheritance
        && let Some(inheritance) = told.inheritance.take()
    {
        end.returns.push(Return::Inherited(inheritance)).unwrap();
    }
}

/// Keeps connections, if the configuration names a folder for them. The tables stay empty.
fn keep(config: &Config, control: &mut ControlThread, workers: usize) -> Vec<Home> {
    let Keep::In(_) = config.keep else { return Vec::new() };
    let mut keeping = Keeping::open(config, &mut Handed::default()).unwrap();
    keeping.begin(workers, Shape { v4: 64, v6: 64, templates: 64 }, false);
    let key = HashKey { mask: 1, multiplier: 3 };
    let homes: Vec<_> = (0..workers).map(|worker| keeping.home(worker, key).unwrap()).collect();
    let heartbeats = homes.iter().map(Home::heartbeat).enumerate();
    let heartbeats: Vec<_> = heartbeats.inspect(|(_, heartbeat)| heartbeat.beat(1_000_000_000)).collect();
    control.keep_connections(Arc::new(keeping), heartbeats, "memory of a test".into());
    homes
}

fn row(number: usize) -> Copied {
    Copied {
        protocol: Protocol::Tcp,
        state: State::Established,
        ticks_left: 3600,
        client: format!("192.168.10.6:{}", number % 65536).parse().unwrap(),
        real: RealId(0),
        port: 0,
        next_hop: NextHopId::UNKNOWN,
    }
}

/// A control thread at work.
pub struct Lab {
    pub config: Config,
    pub workers: Vec<Worker>,
    pub next_hops: Arc<NextHops>,
    pub state: Arc<Mutex<DeviceState>>,
    /// By which SIGHUP comes.
    pub hangups: Hangups,
    /// Milliseconds that are to pass for a change that waits to be confirmed.
    passing: Arc<AtomicU64>,
    patience: Arc<Patience>,
    turns: Arc<Turns>,
    /// The control thread's entry below `/proc`.
    proc_entry: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How long workers have, in milliseconds.
#[derive(Debug)]
struct Patience {
    wanted: AtomicU64,
    /// What the control thread goes by.
    followed: AtomicU64,
}

/// Turns of the control thread's loop, in processor time of its own: what another process takes the core for adds
/// nothing to them.
#[derive(Debug, Default)]
struct Turns {
    /// Nanoseconds.
    longest: AtomicU64,
}

impl Lab {
    pub fn start(config: Config, workers: usize, connections: usize) -> Result<Self, StartError> {
        Self::start_reporting(config, workers, connections, None)
    }

    /// With statistics that are written each period.
    pub fn start_reporting(
        config: Config,
        workers: usize,
        connections: usize,
        report: Option<(Duration, Box<dyn Write + Send>)>,
    ) -> Result<Self, StartError> {
        let mut launched = Vec::new();
        let lab = Self::start_running(config, workers, report, |ends| {
            launched.extend(ends.into_iter().map(|end| Worker::launch(end, connections)));
        });
        lab.map(|mut lab| {
            lab.workers = launched;
            lab
        })
    }

    /// With workers that are not through with what they take over before [`end_holding`](Self::end_holding).
    pub fn start_holding(config: Config, workers: usize) -> Result<Self, StartError> {
        let mut launched = Vec::new();
        let lab = Self::start_running(config, workers, None, |ends| {
            for end in ends {
                let worker = Worker::launch_holding(end);
                launched.push(worker);
            }
        });
        lab.map(|mut lab| {
            lab.workers = launched;
            lab
        })
    }

    /// The workers are through with what they take over.
    pub fn end_holding(&self) {
        for worker in &self.workers {
            worker.told.lock().unwrap().holds_inheritance = false;
        }
    }

    /// With workers that the caller runs.
    pub fn start_running(
        config: Config,
        workers: usize,
        report: Option<(Duration, Box<dyn Write + Send>)>,
        run: impl FnOnce(Vec<WorkerEnd>),
    ) -> Result<Self, StartError> {
        let next_hops = Arc::new(NextHops::new([]));
        let reals = Arc::<Reals>::default();
        let (worker_ends, control_ends): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| channel(Arc::clone(&next_hops), Arc::clone(&reals))).unzip();
        let infos =
            (0..workers).map(|core| WorkerInfo { core, capacity: 1024, capacity_ipv6: 1024 }).collect();
        let hops = Arc::clone(&next_hops);
        let stop = Arc::new(AtomicBool::new(false));
        let (said, says) = std::sync::mpsc::channel();
        let state: Arc<Mutex<DeviceState>> = Arc::default();
        let milliseconds = WORKERS_PATIENCE.as_millis() as u64;
        let patience = Arc::new(Patience { wanted: milliseconds.into(), followed: milliseconds.into() });
        let turns = Arc::<Turns>::default();
        let (hangups, passing) = (Hangups::default(), Arc::<AtomicU64>::default());
        let thread = {
            let (patience, turns) = (Arc::clone(&patience), Arc::clone(&turns));
            let (obeyed, passing) = (hangups.clone(), Arc::clone(&passing));
            let (config, stop, devices) = (config.clone(), Arc::clone(&stop), MadeUp(Arc::clone(&state)));
            thread::spawn(move || {
                let entry = Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap());
                let made = ControlThread::new(&config, control_ends, hops, Box::new(devices), infos);
                let mut control = match made {
                    Ok(control) => control,
                    Err(error) => return said.send(Err(error)).unwrap(),
                };
                control.set_patience(WORKERS_PATIENCE);
                let file = file(&config);
                if file.exists() {
                    control.set_file(file, &config);
                }
                control.obey_hangups(obeyed);
                let _homes = keep(&config, &mut control, workers);
                let started = control.start();
                if let Some((period, out)) = report {
                    control.report_every(period, out).unwrap();
                }
                said.send(started.map(|()| entry)).unwrap();
                let mut before = own_time();
                let ran = control.run_while(|control| {
                    let now = own_time();
                    turns.longest.fetch_max((now - before).as_nanos() as u64, Ordering::Relaxed);
                    before = now;
                    patience.follow(control);
                    control.pass_time(Duration::from_millis(passing.swap(0, Ordering::Relaxed)));
                    !stop.load(Ordering::Relaxed)
                });
                ran.unwrap();
                let stays = control.successor().is_some();
                assert_eq!(config.control.socket.exists(), stays, "removed when run returns");
            })
        };
        run(worker_ends);
        match says.recv().unwrap() {
            Ok(proc_entry) => {
                let (workers, thread) = (Vec::new(), Some(thread));
                Ok(Self {
                    config,
                    workers,
                    next_hops,
                    state,
                    hangups,
                    passing,
                    patience,
                    turns,
                    proc_entry,
                    stop,
                    thread,
                })
            }
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                thread.join().unwrap();
                Err(error)
            }
        }
    }

    /// Workers are out of time to adopt what is under way; what follows has all time again.
    pub fn end_patience(&self) {
        for milliseconds in [0, WORKERS_PATIENCE.as_millis() as u64] {
            self.patience.wanted.store(milliseconds, Ordering::Relaxed);
            let followed = || self.patience.followed.load(Ordering::Relaxed) == milliseconds;
            until("the control thread goes by it", followed);
        }
    }

    /// Has time pass for a change that waits to be confirmed.
    pub fn pass(&self, time: Duration) {
        self.passing.store(time.as_millis() as u64, Ordering::Relaxed);
        until("the time has passed", || self.passing.load(Ordering::Relaxed) == 0);
    }

    /// Changes the configuration while a worker does not obey. When all others have adopted the change, the patience
    /// ends. What is answered then.
    pub fn stuck(&self, request: &str) -> Refusal {
        let obeying: Vec<_> = self.workers.iter().filter(|worker| *worker.obeys.lock().unwrap()).collect();
        let version = |worker: &&Worker| worker.counters.snapshot_version.get();
        let before = obeying.iter().map(version).max().expect("a worker that obeys");
        let mut client = self.connect();
        client.send(format!("{{\"v\":1,{request}}}\n").as_bytes());
        until("the others have it", || obeying.iter().all(|worker| version(worker) > before));
        self.end_patience();
        match client.answer() {
            Some(Outcome::Error(refusal)) => refusal,
            other => panic!("{request}: {other:?}"),
        }
    }

    /// Processor time that the control thread has had: another process that takes the core adds nothing to it.
    pub fn spent(&self) -> Duration {
        let schedstat = fs::read_to_string(self.proc_entry.join("schedstat")).unwrap();
        Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
    }

    /// Processor time of the control thread's longest turn since this was called last.
    pub fn longest_turn(&self) -> Duration {
        Duration::from_nanos(self.turns.longest.swap(0, Ordering::Relaxed))
    }

    /// Sends a request on a connection of its own, and waits until the control thread has taken it, answered or not.
    pub fn sent(&self, request: &str) -> Client {
        let mut client = self.connect();
        client.send(format!("{{\"v\":1,{request}}}\n").as_bytes());
        self.turn();
        client
    }

    /// Waits until the control thread has taken all that was sent so far: it finds that no later than what is asked
    /// now.
    pub fn turn(&self) {
        self.ok(r#""command":"timeouts""#);
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.config.control.socket)
    }

    /// Asks on a connection of its own.
    pub fn ask(&self, request: &str) -> Outcome {
        self.connect().ask(request)
    }

    pub fn ok(&self, request: &str) -> Value {
        match self.ask(request) {
            Outcome::Ok(value) => value,
            Outcome::Error(refusal) => panic!("{request}: {refusal:?}"),
        }
    }

    pub fn refused(&self, request: &str) -> Refusal {
        match self.ask(request) {
            Outcome::Ok(value) => panic!("{request}: {value}"),
            Outcome::Error(refusal) => refusal,
        }
    }

    /// Waits until the control thread ends by itself.
    pub fn ended(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the control thread panicked");
        }
    }
}

impl Patience {
    /// Has the control thread go by what is wanted. What is under way is judged by it in the turn that follows.
    fn follow(&self, control: &mut ControlThread) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted != self.followed.load(Ordering::Relaxed) {
            control.set_patience(Duration::from_millis(wanted));
            self.followed.store(wanted, Ordering::Relaxed);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}

pub struct Client {
    pub stream: BufReader<UnixStream>,
}

impl Client {
    pub fn connect(socket: &PathBuf) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// `request` is what stands beside `"v":1`.
    pub fn ask(&mut self, request: &str) -> Outcome {
        self.send(format!("{{\"v\":1,{request}}}\n").as_bytes());
        self.answer().expect("an answer")
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The daemon may close before everything is written.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// What comes next, up to the end of the line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    /// `None`: closed.
    pub fn answer(&mut self) -> Option<Outcome> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                Some(serde_json::from_str::<Answer>(&line).unwrap_or_else(|e| panic!("{e}: {line}")).result)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Processor time that the calling thread has had.
fn own_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a time since the thread began")
}

/// A command as JSON beside `"v":1`.
pub fn beside(command: &Command) -> String {
    let text = serde_json::to_string(command).unwrap();
    text[1..text.len() - 1].to_owned()
}
