//! Kills between any two stores: another process changes a table in files, and before and after each of its
//! instructions that stores to them, they are read as after a kill. What is read has to be what was there before the
//! change that the process is about, or what is there after it.
//!
//! The other process is this program again, with [`child`] as its only test: it makes the changes that the scenario's
//! number says, and this one makes them as well, in memory of its own, and so knows what is there before and after
//! each.

use super::layout::Sizes;
use super::{Home, Identity, Old, OldRow, Shape, bytes};
use crate::connection::family::Family;
use crate::connection::table::{HashKey, New, Slot, Table, TableMemory};
use crate::connection::{Clock, Copied, State, Timeouts};
use crate::counters::WorkerCounters;
use crate::names::family::{V4, V6};
use crate::names::ids::{NextHopId, Protocol, RealId};
use crate::names::time::Tick;
use memory::{Area, Huge, Words};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Names the folder and the scenario, to the process that is stepped through.
const FOLDER: &str = "NATLB_KILLED_FOLDER";
const SCENARIO: &str = "NATLB_KILLED_SCENARIO";
/// How many moments are to be read: a million takes some minutes.
const MOMENTS: &str = "NATLB_KILLED_MOMENTS";
const MOMENTS_BY_DEFAULT: usize = 6_000;
/// At least.
const SCENARIOS: u64 = 8 * KINDS.len() as u64;
/// How many times a process is killed at random.
const KILLS: usize = 40;
/// Changes that are stepped through, of each scenario.
const STEPPED: usize = 40;
/// Reals below this are of services on one port.
const WITHOUT_PORTS: u32 = 40;

/// The table that a scenario is about: one that may double its size once.
const CAPACITY_V4: usize = 1700;
const CAPACITY_V6: usize = 1900;

/// What a scenario is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A table with few connections.
    Few,
    /// It comes to use twice as many buckets.
    Growing,
    /// Half as many.
    Shrinking,
    /// Client endpoints with many connections, which lie in further choices and push others away.
    Crowded,
    /// It holds its capacity.
    Full,
}

const KINDS: [About; 5] = [About::Growing, About::Crowded, About::Shrinking, About::Full, About::Few];

/// One change.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The connection of this number is made, or comes to another state.
    Insert(u32, usize),
    /// By the way of most.
    InsertAtHome(u32),
    /// The only one of its key gives way to it.
    Replace(u32),
    /// It is copied from another table.
    Import(u32),
    /// It is that of an earlier process.
    Inherit(u32),
    Remove(u32),
    Touch(u32),
    NextHop(u32),
    /// Time passes.
    Wait(u32),
    Sweep(usize),
    Resize,
}

#[derive(Clone, Copy, Debug)]
struct Scenario {
    number: u64,
    about: About,
    is_v6: bool,
    with_ports: bool,
}

impl Scenario {
    fn new(number: u64) -> Self {
        let kinds = KINDS.len() as u64;
        let (about, is_v6) = (KINDS[(number % kinds) as usize], number / kinds % 2 == 1);
        Self { number, about, is_v6, with_ports: number / kinds / 2 % 2 == 1 }
    }

    const fn shape(&self) -> Shape {
        if self.is_v6 {
            Shape { v4: 1, v6: CAPACITY_V6, templates: 0 }
        } else {
            Shape { v4: CAPACITY_V4, v6: 0, templates: 0 }
        }
    }

    const fn capacity(&self) -> usize {
        if self.is_v6 { CAPACITY_V6 } else { CAPACITY_V4 }
    }

    fn secret(&self) -> HashKey {
        let mut random = fastrand::Rng::with_seed(self.number ^ 0x5ec7e7);
        HashKey { mask: random.u64(..), multiplier: random.u64(..) }
    }

    /// Those before the ones that are stepped through, and these.
    fn changes(&self) -> (Vec<Change>, Vec<Change>) {
        let mut random = fastrand::Rng::with_seed(self.number);
        let (mut before, mut stepped) = (Vec::new(), Vec::new());
        let fill = |before: &mut Vec<Change>, numbers: std::ops::Range<u32>| {
            for number in numbers {
                before.extend([Change::Insert(number, number as usize % 7), Change::Resize]);
            }
        };
        // The numbers that changes are about, and how often the size changes beside each.
        let (numbers, resizes) = match self.about {
            About::Few => {
                fill(&mut before, 0..random.u32(0..40));
                (60, 1)
            }
            About::Growing => {
                fill(&mut before, 0..640 + random.u32(0..40));
                (720, 1)
            }
            About::Shrinking => {
                fill(&mut before, 0..760);
                before.extend((0..60).map(|_| Change::Resize));
                before.extend((200 + random.u32(0..250)..760).map(Change::Remove));
                (460, 1)
            }
            About::Crowded => {
                fill(&mut before, 0..random.u32(200..700));
                (1200, 3)
            }
            About::Full => {
                fill(&mut before, 0..self.capacity() as u32 + 20);
                (self.capacity() as u32 + 400, 8)
            }
        };
        for _ in 0..STEPPED {
            let number = random.u32(0..numbers);
            stepped.push(match random.u32(0..20) {
                0..6 => Change::Insert(number, random.usize(0..State::COUNT)),
                6 => Change::InsertAtHome(number),
                7 => Change::Replace(number),
                8 => Change::Import(number),
                9 => Change::Inherit(number),
                10..14 => Change::Remove(number),
                14 => Change::Touch(number),
                15 => Change::NextHop(number),
                16 => Change::Wait(random.u32(0..60)),
                17 => Change::Sweep(random.usize(1..200)),
                _ => Change::Touch(number),
            });
            if random.u32(0..resizes) == 0 {
                stepped.push(Change::Resize);
            }
        }
        (before, stepped)
    }

    /// The connection of a number.
    fn connection(&self, number: u32) -> (SocketAddr, Protocol, u32, u16) {
        // Of a crowded table every endpoint has many connections, each to another real.
        let endpoint = if self.about == About::Crowded { number % 31 } else { number };
        let port = 1024 + endpoint as u16;
        let client = if self.is_v6 {
            let address = (0x2001_0db8_u128 << 96) | (u128::from(endpoint) * 0x1_0000_0003);
            SocketAddr::new(address.to_be_bytes().into(), port)
        } else {
            SocketAddr::new((0x0a00_0000 | (endpoint * 7)).to_be_bytes().into(), port)
        };
        let protocol = Protocol::ALL[(endpoint % 3) as usize];
        let service_port = if self.with_ports { number as u16 + 1 } else { 0 };
        let real = number % WITHOUT_PORTS + if service_port == 0 { 0 } else { WITHOUT_PORTS };
        (client, protocol, real, service_port)
    }

    /// A state of this protocol.
    fn state(protocol: Protocol, of: usize) -> State {
        let all: Vec<State> = State::ALL.into_iter().filter(|state| state.protocol() == protocol).collect();
        all[of % all.len()]
    }
}

/// A table, and what it takes to change it.
struct World<F: Family> {
    scenario: Scenario,
    table: Table<F>,
    counters: WorkerCounters,
    timeouts: Timeouts,
    tick: u32,
    /// By protocol.
    states: [Vec<State>; 3],
}

/// A connection's identity.
type Id = (SocketAddr, Protocol, u32, u16);

fn id(row: &OldRow) -> Id {
    (row.client, row.protocol, row.real, row.port)
}

/// Of a service on one port, the port says nothing.
fn normal(row: OldRow) -> OldRow {
    OldRow { port: if row.real < WITHOUT_PORTS { 0 } else { row.port }, ..row }
}

impl<F: Family> World<F> {
    fn new(scenario: Scenario, memory: TableMemory<F>) -> Self {
        let states = Protocol::ALL.map(|protocol| (0..64).map(|of| Scenario::state(protocol, of)).collect());
        let table = Table::new(scenario.capacity(), scenario.secret(), memory).unwrap();
        let (counters, timeouts) = (WorkerCounters::new(), Timeouts::default());
        Self { scenario, table, counters, timeouts, tick: 1000, states }
    }

    fn change(&mut self, change: Change) {
        let tick = Tick::new(u64::from(self.tick));
        match change {
            Change::Insert(number, state) => {
                let (new, found) = self.look_up(number, state);
                match found {
                    Some(slot) => self.table.set_state(slot, new.state),
                    None => {
                        let clock = Clock::new(tick, &self.timeouts);
                        let _ = self.table.insert(self.table.hash(new.key), new, clock, &self.counters);
                    }
                }
            }
            Change::InsertAtHome(number) => {
                let (new, found) = self.look_up(number, 1);
                let home = self.table.home_of(new.key);
                if let Some(vacancy) = self.table.vacancy(home, new.key).filter(|_| found.is_none())
                    && new.state.protocol() != Protocol::Sctp
                {
                    self.table.insert_at_home(vacancy, new, tick, &self.counters);
                }
            }
            Change::Replace(number) => {
                let (new, _) = self.look_up(number, 2);
                let home = self.table.home_of(new.key);
                if new.state.protocol() != Protocol::Sctp
                    && let Some(vacancy) = self.table.vacate_only(home, new.key, |_| true, &self.counters)
                {
                    self.table.insert_at_home(vacancy, new, tick, &self.counters);
                }
            }
            Change::Import(number) => {
                let (New { key, real, port, next_hop, state }, _) = self.look_up(number, 3);
                let (client, protocol) = (key.client(), state.protocol());
                let copied = Copied { protocol, state, ticks_left: 20, client, real, port, next_hop };
                let collides =
                    |other: RealId, its: u16| other == real && (its == port || real.0 < WITHOUT_PORTS);
                let clock = Clock::new(tick, &self.timeouts);
                let _ = self.table.import(&copied, collides, clock, &self.counters);
            }
            Change::Inherit(number) => {
                let (new, found) = self.look_up(number, 4);
                let (since, clock) = (Tick::new(u64::from(self.tick - 3)), Clock::new(tick, &self.timeouts));
                if found.is_none() {
                    let _ = self.table.inherit(new, since, true, |_, _| false, clock, &self.counters);
                }
            }
            Change::Remove(number) => {
                if let (_, Some(slot)) = self.look_up(number, 0) {
                    self.table.remove(slot, &self.counters);
                }
            }
            Change::Touch(number) => {
                if let (_, Some(slot)) = self.look_up(number, 0) {
                    self.table.touch(slot, tick);
                }
            }
            Change::NextHop(number) => {
                if let (_, Some(slot)) = self.look_up(number, 0) {
                    self.table.set_next_hop(slot, NextHopId(number + 77));
                }
            }
            Change::Wait(ticks) => self.tick += ticks,
            Change::Sweep(buckets) => {
                self.table.sweep(buckets, Clock::new(tick, &self.timeouts), &self.counters);
            }
            Change::Resize => {
                if self.table.is_to_resize() {
                    self.table.resize(&self.counters);
                }
            }
        }
    }

    /// What the connection of a number is made from, and where it lies.
    fn look_up(&self, number: u32, state: usize) -> (New<F>, Option<Slot>) {
        let (client, protocol, real, port) = self.scenario.connection(number);
        let index = Protocol::ALL.iter().position(|other| *other == protocol).unwrap();
        let state = self.states[index][state];
        let key = F::key(client, protocol).unwrap();
        let new = New { key, real: RealId(real), port, next_hop: NextHopId(number), state };
        let hash = self.table.hash(key);
        let its_own = |slot: Slot, of: RealId| of.0 == real && (port == 0 || self.table.port(slot) == port);
        let found = self.table.find_by_slot(hash, key, |slot, entry| its_own(slot, entry.real()));
        (new, found.map(|(slot, _)| slot))
    }

    fn contents(&self) -> BTreeMap<Id, OldRow> {
        let slots = self.table.taken_slots();
        let rows = slots.iter().map(|(_, entry, port)| {
            let client = entry.client().unwrap();
            normal(OldRow {
                protocol: client.1,
                state: entry.state(),
                client: client.0,
                real: entry.real().0,
                hop: entry.next_hop().0,
                port: *port,
                tick: entry.tick(),
            })
        });
        let contents: BTreeMap<Id, OldRow> = rows.map(|row| (id(&row), row)).collect();
        assert_eq!(contents.len(), slots.len(), "each is there once");
        contents
    }
}

/// Words that both processes know.
const PROGRESS: usize = 0;
const GO: usize = 1;
const THREAD: usize = 2;
/// The change that is being made is told by [`PROGRESS`]: this and twice its number, and one more when it is over.
const FIRST: u64 = 2;

fn file(folder: &Path, name: &str) -> File {
    File::options().read(true).write(true).create(true).truncate(false).open(folder.join(name)).unwrap()
}

/// The process that is stepped through, or killed.
#[test]
#[ignore = "a part of the tests beside it, as a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let number = std::env::var(SCENARIO).unwrap().parse().unwrap();
    let scenario = Scenario::new(number);
    let folder = Path::new(&folder);
    let shared = Area::open(&file(folder, "shared")).unwrap();
    let shared = shared.words(0, 8).unwrap();
    let Sizes { tables, more } = bytes(scenario.shape());
    let tables = Area::create(&file(folder, "tables"), tables, true).unwrap();
    let more = Area::create(&file(folder, "more"), more, false).unwrap();
    let identity = Identity { worker: 0, workers: 1, generation: number, boot_id: [7; 16] };
    let mut home = Home::new(&tables, &more, scenario.shape(), identity, scenario.secret()).unwrap();
    if scenario.is_v6 {
        // A worker has both.
        let _v4 = Table::<V4>::new(scenario.shape().v4, home.hash_key(), home.take_v4().unwrap()).unwrap();
        be_changed::<V6>(scenario, home.take_v6().unwrap(), &shared);
    } else {
        be_changed::<V4>(scenario, home.take_v4().unwrap(), &shared);
    }
}

fn be_changed<F: Family>(scenario: Scenario, memory: TableMemory<F>, shared: &Words) {
    let mut world = World::<F>::new(scenario, memory);
    let (before, stepped) = scenario.changes();
    before.iter().for_each(|change| world.change(*change));
    shared[THREAD].store(gettid().as_raw() as u64, Ordering::Release);
    shared[PROGRESS].store(1, Ordering::Release);
    while shared[GO].load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    for (number, change) in (0u64..).zip(stepped) {
        shared[PROGRESS].store(FIRST + 2 * number, Ordering::Release);
        world.change(change);
        shared[PROGRESS].store(FIRST + 2 * number + 1, Ordering::Release);
    }
    // To be killed here at the latest.
    let _ = raise(Signal::SIGSTOP);
}

/// The other process; ended when dropped.
struct Other {
    process: Child,
    shared: Words,
    /// A thread of it that this one traces.
    traced: Option<Pid>,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        // The end of a thread that is traced is told to its tracer before that of its process is to anybody.
        while let Some(thread) = self.traced
            && waitpid(thread, Some(WaitPidFlag::__WALL)).is_ok_and(|status| status.pid() == Some(thread))
        {
        }
        let _ = self.process.wait();
    }
}

impl Other {
    fn start(folder: &Path, scenario: Scenario) -> Self {
        let shared = Area::create(&file(folder, "shared"), 4096, true).unwrap().words(0, 8).unwrap();
        let name = "connection::kept::killed::child";
        let process = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .env(SCENARIO, scenario.number.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut other = Self { process, shared, traced: None };
        while other.shared[PROGRESS].load(Ordering::Acquire) == 0 {
            assert!(other.process.try_wait().unwrap().is_none(), "it ends before it has begun");
            std::thread::yield_now();
        }
        other
    }

    fn progress(&self) -> u64 {
        self.shared[PROGRESS].load(Ordering::Acquire)
    }

    fn go(&self) {
        self.shared[GO].store(1, Ordering::Release);
    }
}

/// All connections, as a later process reads them. Of what has not changed since the last time, nothing is read again:
/// the files' bytes tell.
struct Reader {
    tables: (File, Arc<Area>),
    more: (File, Arc<Area>),
    bytes: [Vec<u8>; 2],
    bytes_before: [Vec<u8>; 2],
    /// By position: the bytes that are read there, and what is there.
    positions: Vec<(Range<usize>, Vec<OldRow>)>,
    rows: BTreeMap<Id, Vec<OldRow>>,
}

impl Reader {
    fn new(folder: &Path) -> Self {
        let open = |name| {
            let file = file(folder, name);
            let area = Area::open(&file).unwrap();
            (file, area)
        };
        let (tables, more) = (open("tables"), open("more"));
        let bytes = [vec![0; tables.1.bytes()], vec![0; more.1.bytes()]];
        let bytes_before = bytes.clone();
        Self { tables, more, bytes, bytes_before, positions: Vec::new(), rows: BTreeMap::new() }
    }

    /// Reads the bytes. Whether any has changed.
    fn has_changed(&mut self) -> bool {
        std::mem::swap(&mut self.bytes, &mut self.bytes_before);
        self.tables.0.read_exact_at(&mut self.bytes[0], 0).unwrap();
        self.more.0.read_exact_at(&mut self.bytes[1], 0).unwrap();
        self.bytes != self.bytes_before
    }

    /// Reads the connections, after the bytes. Those of which something has changed are told.
    fn read(&mut self) -> (Old, BTreeSet<Id>) {
        let old = Old::open(&self.tables.1, Some(&self.more.1)).unwrap();
        let mut changed = BTreeSet::new();
        let same_ports = self.bytes[1] == self.bytes_before[1];
        for position in 0..old.positions().max(self.positions.len()) {
            let bytes = if position < old.positions() { old.bytes_at(position) } else { 0..0 };
            if position >= self.positions.len() {
                self.positions.push((0..0, Vec::new()));
            }
            let (known_bytes, known) = &mut self.positions[position];
            if same_ports
                && *known_bytes == bytes
                && self.bytes[0][bytes.clone()] == self.bytes_before[0][bytes.clone()]
            {
                continue;
            }
            for row in known.drain(..) {
                let rows = self.rows.get_mut(&id(&row)).unwrap();
                rows.swap_remove(rows.iter().position(|other| *other == row).unwrap());
                changed.insert(id(&row));
            }
            old.read(position, |row, _| known.push(normal(row)));
            for row in known {
                self.rows.entry(id(row)).or_default().push(*row);
                changed.insert(id(row));
            }
            *known_bytes = bytes;
        }
        self.rows.retain(|_, rows| !rows.is_empty());
        (old, changed)
    }
}

/// What is there before a change and after it.
struct Around {
    change: Option<Change>,
    before: BTreeMap<Id, OldRow>,
    after: BTreeMap<Id, OldRow>,
    /// A connection that gives way to another of its identity, and is gone in between.
    gives_way: Option<Id>,
    /// Some lie in further choices, which are not found for a miss.
    has_further: bool,
}

impl Around {
    /// Whether it is as before the change or as after it, of those that have changed. Of the others it is known.
    fn check(&self, old: &Old, reader: &Reader, changed: &BTreeSet<Id>) -> Result<(), String> {
        for id in changed {
            let (before, after) = (self.before.get(id), self.after.get(id));
            let Some(rows) = reader.rows.get(id) else {
                if before.is_some() && after.is_some() && self.gives_way != Some(*id) {
                    return Err(format!("{before:?} is missing"));
                }
                continue;
            };
            if rows.iter().any(|row| ![before, after].contains(&Some(row))) {
                return Err(format!(
                    "{rows:?} is neither what was there before, {before:?}, nor after, {after:?}"
                ));
            }
            if rows.iter().any(|row| *row != rows[0]) {
                return Err(format!("{rows:?} is there in two forms"));
            }
            let mut found = self.has_further;
            old.find(id.0, id.1, |row, _| found |= normal(row) == rows[0]);
            if !found {
                return Err(format!("{rows:?} is not found"));
            }
        }
        Ok(())
    }

    /// Whether it is as before the change, each connection once.
    fn check_before(&self, reader: &Reader) -> Result<(), String> {
        for id in reader.rows.keys().chain(self.before.keys()) {
            let (rows, before) = (reader.rows.get(id).map_or(&[][..], Vec::as_slice), self.before.get(id));
            if rows.len() != 1 || rows.first() != before {
                return Err(format!("{rows:?} is there, and was {before:?} before"));
            }
        }
        Ok(())
    }
}

/// What has been met on the way: a test that no longer meets it shows nothing.
#[derive(Debug, Default)]
struct Met {
    moments: usize,
    found_moved: usize,
    grown: usize,
    shrunk: usize,
    further: usize,
    evicted: u64,
    expired: u64,
    relocated: usize,
    twice: usize,
}

/// Makes the changes here, and says what is there around each.
struct Replay<F: Family> {
    world: World<F>,
    stepped: Vec<Change>,
    contents: BTreeMap<Id, OldRow>,
}

impl<F: Family> Replay<F> {
    fn new(scenario: Scenario) -> Self {
        let mut world = World::<F>::new(scenario, TableMemory::Own(Huge::Never));
        let (before, stepped) = scenario.changes();
        before.iter().for_each(|change| world.change(*change));
        let contents = world.contents();
        Self { world, stepped, contents }
    }

    fn at_rest(&self) -> Around {
        let contents = &self.contents;
        let has_further = self.world.table.in_further_choices() > 0;
        let (before, after) = (contents.clone(), contents.clone());
        Around { change: None, before, after, gives_way: None, has_further }
    }

    fn next(&mut self, number: usize, met: &mut Met) -> Around {
        let (world, change) = (&mut self.world, self.stepped[number]);
        let had_further = world.table.in_further_choices() > 0;
        let slots = |world: &World<F>| -> HashMap<_, _> {
            let slots = world.table.taken_slots();
            slots
                .into_iter()
                .map(|(slot, entry, port)| ((entry.client(), entry.real(), port), slot))
                .collect()
        };
        let (buckets, slots_before) = (world.table.buckets(), slots(world));
        world.change(change);
        let after = world.contents();
        let slots_after = slots(world);
        let moved =
            slots_before.iter().filter(|(id, slot)| slots_after.get(id).is_some_and(|now| now != *slot));
        let has_further = had_further || world.table.in_further_choices() > 0;
        if matches!(change, Change::Resize) {
            met.found_moved += moved.count();
            met.grown += usize::from(world.table.buckets() > buckets);
            met.shrunk += usize::from(world.table.buckets() < buckets);
        } else {
            met.relocated += moved.count();
        }
        met.further += usize::from(has_further);
        self.explain(change, &after);
        let before = std::mem::replace(&mut self.contents, after.clone());
        let gives_way = match change {
            Change::Replace(number) | Change::Import(number) => Some(self.world.scenario.connection(number)),
            _ => None,
        };
        Around { change: Some(change), before, after, gives_way, has_further }
    }

    /// What changes may do besides what they are for.
    fn explain(&self, change: Change, after: &BTreeMap<Id, OldRow>) {
        let (gone, new) = (
            self.contents.iter().filter(|(id, _)| !after.contains_key(id)).count(),
            after.keys().filter(|id| !self.contents.contains_key(id)).count(),
        );
        let most = match change {
            Change::Resize | Change::Touch(_) | Change::NextHop(_) | Change::Wait(_) => (0, 0),
            Change::Remove(_) => (1, 0),
            Change::Sweep(_) => (usize::MAX, 0),
            Change::InsertAtHome(_) => (0, 1),
            Change::Replace(_) => (1, 1),
            Change::Insert(..) | Change::Import(_) | Change::Inherit(_) => (8, 1),
        };
        assert!(gone <= most.0 && new <= most.1, "{change:?}: {gone} gone, {new} new");
    }

    fn count(&self, met: &mut Met) {
        met.evicted += self.world.counters.connections_evicted.get();
        met.expired += self.world.counters.connections_expired.get();
    }
}

/// Goes through the changes of a scenario store by store, until `most` moments have been read.
#[cfg(target_arch = "x86_64")]
fn step_through<F: Family>(scenario: Scenario, most: usize, met: &mut Met) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut other = Other::start(folder.path(), scenario);
    let mut replay = Replay::<F>::new(scenario);
    let mut reader = Reader::new(folder.path());
    let stores = Stores::attach(&mut other, &folder.path().join("tables"));
    other.go();
    let mut around = replay.at_rest();
    let (mut progress, first) = (1, met.moments);
    reader.has_changed();
    reader.read();
    around.check_before(&reader).unwrap();
    while met.moments - first < most {
        let is_at_store = stores.go_on();
        let now = other.progress();
        // What is beside the tables may have changed since, and changes without a store may have been made.
        let has_changed = reader.has_changed();
        let (old, changed) = reader.read();
        let check = |around: &Around, result: Result<(), String>| {
            if let Err(why) = result {
                panic!("{scenario:?}, {:?}: {why}", around.change);
            }
        };
        if progress < now {
            check(&around, around.check(&old, &reader, &changed));
            for number in progress + 1..=now {
                around = if (number - FIRST).is_multiple_of(2) {
                    replay.next(((number - FIRST) / 2) as usize, met)
                } else {
                    replay.at_rest()
                };
            }
            progress = now;
            check(&around, around.check_before(&reader));
        } else {
            check(&around, around.check(&old, &reader, &changed));
        }
        met.moments += usize::from(has_changed);
        if !is_at_store {
            break;
        }
        stores.store();
        if reader.has_changed() {
            let (old, changed) = reader.read();
            met.twice += usize::from(reader.rows.values().any(|rows| rows.len() > 1));
            check(&around, around.check(&old, &reader, &changed));
            met.moments += 1;
        }
    }
    replay.count(met);
}

/// A thread that stops at each of its stores to a file: it may read the file alone, and is let do each store by itself.
/// So it need not be stopped at each of its instructions, of which one in hundreds is a store.
#[cfg(target_arch = "x86_64")]
struct Stores {
    thread: Pid,
    /// The file, as it is mapped there.
    start: u64,
    length: u64,
    /// An instruction there that calls the kernel.
    call: u64,
}

#[cfg(target_arch = "x86_64")]
impl Stores {
    /// Stops a thread that is waiting, and has it store no more to this file.
    fn attach(other: &mut Other, file: &Path) -> Self {
        let thread = Pid::from_raw(other.shared[THREAD].load(Ordering::Acquire) as i32);
        ptrace::attach(thread).unwrap();
        other.traced = Some(thread);
        assert!(matches!(Self::wait(thread), WaitStatus::Stopped(_, Signal::SIGSTOP)));
        ptrace::setoptions(thread, ptrace::Options::PTRACE_O_EXITKILL).unwrap();
        let process = other.process.id();
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        let mapped = |name: &str| {
            let line = maps.lines().find(|line| line.ends_with(name)).unwrap();
            let (range, _) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |digits| u64::from_str_radix(digits, 16).unwrap();
            (number(start), number(end) - number(start))
        };
        let (start, length) = mapped(file.to_str().unwrap());
        let (kernels, bytes) = mapped("[vdso]");
        let mut code = vec![0; bytes as usize];
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        memory.read_exact_at(&mut code, kernels).unwrap();
        let call = kernels + code.windows(2).position(|bytes| bytes == [0x0f, 0x05]).unwrap() as u64;
        let stores = Self { thread, start, length, call };
        stores.protect(PROTECTION_READ);
        stores
    }

    fn wait(thread: Pid) -> WaitStatus {
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap()
    }

    /// Lets the thread go on to its next store to the file. False if it has come to its end without one.
    fn go_on(&self) -> bool {
        ptrace::cont(self.thread, None).unwrap();
        match Self::wait(self.thread) {
            WaitStatus::Stopped(_, Signal::SIGSEGV) => true,
            WaitStatus::Stopped(_, Signal::SIGSTOP) => false,
            other => panic!("{other:?}"),
        }
    }

    /// The store that the thread has stopped at.
    fn store(&self) {
        self.protect(PROTECTION_READ | PROTECTION_WRITE);
        self.step();
        self.protect(PROTECTION_READ);
    }

    fn step(&self) {
        ptrace::step(self.thread, None).unwrap();
        let status = Self::wait(self.thread);
        assert!(matches!(status, WaitStatus::Stopped(_, Signal::SIGTRAP)), "{status:?}");
    }

    /// Has the thread call `mprotect`, in between two of its instructions.
    fn protect(&self, protection: u64) {
        const MPROTECT: u64 = 10;
        let before = ptrace::getregs(self.thread).unwrap();
        let mut call = before;
        (call.rip, call.rax, call.orig_rax) = (self.call, MPROTECT, u64::MAX);
        (call.rdi, call.rsi, call.rdx) = (self.start, self.length, protection);
        ptrace::setregs(self.thread, call).unwrap();
        self.step();
        assert_eq!(ptrace::getregs(self.thread).unwrap().rax, 0);
        ptrace::setregs(self.thread, before).unwrap();
    }
}

#[cfg(target_arch = "x86_64")]
const PROTECTION_READ: u64 = 1;
#[cfg(target_arch = "x86_64")]
const PROTECTION_WRITE: u64 = 2;

#[cfg(target_arch = "x86_64")]
#[test]
fn a_kill_between_any_two_stores_leaves_every_connection() {
    let most = std::env::var(MOMENTS).map_or(MOMENTS_BY_DEFAULT, |moments| moments.parse().unwrap());
    let each = most.div_ceil(SCENARIOS as usize);
    let mut met = Met::default();
    for number in 0.. {
        let scenario = Scenario::new(number);
        if scenario.is_v6 {
            step_through::<V6>(scenario, each, &mut met);
        } else {
            step_through::<V4>(scenario, each, &mut met);
        }
        if met.moments >= most && number + 1 >= SCENARIOS {
            break;
        }
    }
    eprintln!("{met:?}");
    let Met { found_moved, grown, shrunk, further, evicted, expired, relocated, twice, .. } = met;
    let counts = [found_moved, grown, shrunk, further, evicted as usize, expired as usize, relocated, twice];
    assert!(counts.iter().all(|count| *count > 0), "{met:?}");
}

#[test]
fn a_kill_at_any_moment_leaves_every_connection() {
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..KILLS as u64 {
        let scenario = Scenario::new(number);
        if scenario.is_v6 {
            kill_once::<V6>(scenario, &mut random);
        } else {
            kill_once::<V4>(scenario, &mut random);
        }
    }
}

fn kill_once<F: Family>(scenario: Scenario, random: &mut fastrand::Rng) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let other = Other::start(folder.path(), scenario);
    let mut replay = Replay::<F>::new(scenario);
    other.go();
    let turns = random.u32(0..20_000);
    (0..turns).for_each(|_| std::hint::spin_loop());
    let shared = other.shared.clone();
    drop(other);
    let progress = shared[PROGRESS].load(Ordering::Acquire);
    let mut around = replay.at_rest();
    if progress >= FIRST {
        let number = ((progress - FIRST) / 2) as usize;
        for number in 0..=number {
            around = replay.next(number, &mut Met::default());
        }
    }
    let mut reader = Reader::new(folder.path());
    reader.has_changed();
    let (old, mut all) = reader.read();
    all.extend(around.before.keys());
    if let Err(why) = around.check(&old, &reader, &all) {
        panic!("{scenario:?}, {:?}, progress {progress}: {why}", around.change);
    }
}
