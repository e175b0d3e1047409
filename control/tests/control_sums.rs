//! Connections over all workers, as each worker sees them: its own now, and the others' as they were last added up.

use control::publish::sums::Sums;
use control::publish::workers::Workers;
use dataplane::connection::Timeouts;
use dataplane::counters::{StateGauges, WorkerCounters};
use dataplane::exchange::orders::{WorkerEnd, channel};
use dataplane::live::elsewhere::Load;
use dataplane::live::next_hops::NextHops;
use dataplane::live::reals::Reals;
use dataplane::names::ids::*;
use dataplane::names::time::Now;
use dataplane::schedule::{Algorithm, Candidate, Change, Known, Schedule};
use dataplane::snapshot::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Services of the model.
const SERVICES: u32 = 3;
/// Ids of reals of the model.
const IDS: u32 = 6;
/// Between two passes while connections come and go.
const BUSY: Duration = Duration::from_millis(4);
/// … and while none does.
const AT_REST: Duration = Duration::from_millis(100);

fn endpoint(host: u32, port: u32) -> SocketAddr {
    SocketAddr::new([10, 0, (host >> 8) as u8, host as u8].into(), port as u16)
}

fn service_key(id: u32) -> ServiceKey {
    ServiceKey::new(Protocol::Tcp, endpoint(250, id + 1))
}

/// A service with these reals.
fn service(id: u32, reals: &[u32], needs_sums: bool) -> Service {
    let candidates: Vec<_> =
        reals.iter().map(|real| Candidate { real: RealId(*real), weight: real % 2 }).collect();
    let changes = vec![Change::of(candidates.iter().map(|candidate| candidate.weight))];
    let algorithm = if needs_sums { Algorithm::LeastConnection } else { Algorithm::RoundRobin };
    let schedule = Arc::new(Schedule::new(algorithm, 1, candidates, 0, changes));
    Service { key: service_key(id), policy: Policy::default(), timeouts: None, schedule }
}

fn real(id: u32, service: u32, serial: u32, is_removed: bool) -> Real {
    let key = RealKey { service: service_key(service), endpoint: endpoint(serial, 80) };
    let removed = is_removed.then_some(OnRemoval::Drop);
    Real {
        id: RealId(id),
        key,
        next_hop: NextHopId::UNKNOWN,
        thresholds: Thresholds::default(),
        removed,
        is_emptied: false,
    }
}

fn compiled(version: u64, services: Vec<Option<Service>>, reals: Vec<Real>) -> Snapshot {
    Snapshot::compile(Description {
        version,
        eth_ports: Vec::new(),
        interfaces: Vec::new(),
        services,
        reals,
        routes: Vec::new(),
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Drop,
        ip_options: IpOptions::Filter,
        sloppy_tcp: false,
        sloppy_sctp: false,
        keep_quiescent_templates: false,
    })
}

/// Workers that count what they are told to, and the sums that the control thread makes of it.
struct Lab {
    ends: Vec<WorkerEnd>,
    workers: Workers,
    sums: Sums,
    now: Instant,
}

impl Lab {
    fn new(workers: usize) -> Self {
        let next_hops = Arc::new(NextHops::new([]));
        let reals = Arc::<Reals>::default();
        let both = (0..workers).map(|_| channel(Arc::clone(&next_hops), Arc::clone(&reals)));
        let (ends, control): (Vec<_>, Vec<_>) = both.unzip();
        Self { ends, workers: Workers::new(control), sums: Sums::default(), now: Instant::now() }
    }

    fn counters(&self, worker: usize) -> &WorkerCounters {
        &self.ends[worker].counters
    }

    /// What a worker's picks are told of a real.
    fn view(&self, worker: usize, real: u32) -> Load {
        let WorkerEnd { counters, elsewhere, reals, .. } = &self.ends[worker];
        let now = Now { nanoseconds: 1 };
        Known { live: reals, own: counters, elsewhere, now }.connections(RealId(real))
    }

    fn open(&self, worker: usize, real: u32, state: u64) {
        let counters = self.counters(worker);
        counters.connections_created.add(1);
        counters.connections.add(1);
        counters.real(RealId(real)).total.add(1);
        counters.real(RealId(real)).states.add(state);
    }

    fn close(&self, worker: usize, real: u32, state: u64) {
        let counters = self.counters(worker);
        counters.real(RealId(real)).states.subtract(state);
        counters.real(RealId(real)).total.subtract(1);
        counters.connections.subtract(1);
    }

    /// A turn of the control thread's loop, after this time.
    fn turn_after(&mut self, time: Duration) {
        self.now += time;
        self.sums.turn(&self.workers, self.now);
    }
}

/// What happens in the model.
#[derive(Clone, Debug)]
enum Step {
    Open {
        worker: usize,
        real: u32,
        state: u64,
    },
    Close {
        worker: usize,
        nth: usize,
    },
    ChangeState {
        worker: usize,
        nth: usize,
        state: u64,
    },
    Sum,
    /// Has a real: one that was there before if its id is still its own, or else a new one.
    Add {
        service: u32,
        real: u32,
    },
    Remove {
        real: u32,
    },
    /// Removed reals without connections give their ids away.
    Release,
    Need {
        service: u32,
        needs: bool,
    },
    DropService {
        service: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let state = || prop::sample::select(vec![StateGauges::NONE, StateGauges::ACTIVE, StateGauges::CLOSING]);
    prop_oneof![
        6 => (0..4usize, 0..IDS, state()).prop_map(|(worker, real, state)| Step::Open { worker, real, state }),
        4 => (0..4usize, any::<usize>()).prop_map(|(worker, nth)| Step::Close { worker, nth }),
        3 => (0..4usize, any::<usize>(), state())
            .prop_map(|(worker, nth, state)| Step::ChangeState { worker, nth, state }),
        4 => Just(Step::Sum),
        3 => (0..SERVICES, 0..IDS).prop_map(|(service, real)| Step::Add { service, real }),
        2 => (0..IDS).prop_map(|real| Step::Remove { real }),
        2 => Just(Step::Release),
        2 => (0..SERVICES, any::<bool>()).prop_map(|(service, needs)| Step::Need { service, needs }),
        1 => (0..SERVICES).prop_map(|service| Step::DropService { service }),
    ]
}

/// A real of the model.
#[derive(Clone, Copy, Debug)]
struct Modelled {
    service: u32,
    serial: u32,
    is_removed: bool,
}

/// What is configured and connected, written down plainly.
struct Model {
    workers: usize,
    /// Those that there are, with whether they need sums.
    services: BTreeMap<u32, bool>,
    reals: BTreeMap<u32, Modelled>,
    serial: u32,
    /// By worker: the real and the state of each connection.
    connections: Vec<Vec<(u32, u64)>>,
    /// By worker and real: what it was last told.
    told: Vec<BTreeMap<u32, Load>>,
}

impl Model {
    fn needs_sums(&self, real: u32) -> bool {
        self.reals
            .get(&real)
            .is_some_and(|real| !real.is_removed && self.services.get(&real.service) == Some(&true))
    }

    fn on(&self, worker: usize, real: u32) -> Load {
        let count = |active: bool| {
            let of_real = self.connections[worker].iter().filter(|(of, _)| *of == real);
            of_real.filter(|(_, state)| (*state == StateGauges::ACTIVE) == active).count() as u32
        };
        Load { active: count(true), inactive: count(false) }
    }

    fn elsewhere(&self, worker: usize, real: u32) -> Load {
        let others = (0..self.workers).filter(|other| *other != worker);
        others.fold(Load::default(), |sum, other| sum + self.on(other, real))
    }

    fn sum(&mut self) {
        for worker in 0..self.workers {
            self.told[worker] = (0..IDS)
                .filter(|real| self.needs_sums(*real))
                .map(|real| (real, self.elsewhere(worker, real)))
                .collect();
        }
    }

    /// Sums of what is not needed any more are zero.
    fn follow(&mut self) {
        for worker in 0..self.workers {
            let mut told = std::mem::take(&mut self.told[worker]);
            told.retain(|real, _| self.needs_sums(*real));
            self.told[worker] = told;
        }
    }

    fn view(&self, worker: usize, real: u32) -> Load {
        self.on(worker, real) + self.told[worker].get(&real).copied().unwrap_or_default()
    }

    fn service(&self, id: u32) -> Option<Service> {
        let needs_sums = *self.services.get(&id)?;
        let reals = self.reals.iter().filter(|(_, real)| real.service == id && !real.is_removed);
        Some(service(id, &reals.map(|(id, _)| *id).collect::<Vec<_>>(), needs_sums))
    }

    fn real(&self, id: u32) -> Option<Real> {
        let Modelled { service, serial, is_removed } = *self.reals.get(&id)?;
        Some(real(id, service, serial, is_removed))
    }

    /// Everything anew, without holes at the end.
    fn compile(&self, version: u64) -> Snapshot {
        let services = self.services.keys().next_back().map_or(0, |last| last + 1);
        let services = (0..services).map(|id| self.service(id)).collect();
        compiled(version, services, (0..IDS).filter_map(|id| self.real(id)).collect())
    }

    /// What makes a step's difference: its service, its reals.
    fn edit(&self, before: &Snapshot, version: u64, services: &[u32]) -> Snapshot {
        let mut next = before.clone();
        next.apply(&Edit {
            version,
            services: services.iter().map(|id| (ServiceId(*id), self.service(*id))).collect(),
            reals: (0..IDS).map(|id| (RealId(id), self.real(id))).collect(),
            timeouts: Timeouts::default(),
        });
        next
    }

    /// Carries out a step. The services that it changes, or `None` if it changes nothing that is configured.
    fn step(&mut self, step: &Step, lab: &Lab) -> Option<Vec<u32>> {
        match *step {
            Step::Open { worker, real, state } => {
                let worker = worker % self.workers;
                // Some worker may not have adopted a removal yet.
                if self.reals.contains_key(&real) {
                    self.connections[worker].push((real, state));
                    lab.open(worker, real, state);
                }
                None
            }
            Step::Close { worker, nth } => {
                let worker = worker % self.workers;
                let connections = &mut self.connections[worker];
                if !connections.is_empty() {
                    let (real, state) = connections.swap_remove(nth % connections.len());
                    lab.close(worker, real, state);
                }
                None
            }
            Step::ChangeState { worker, nth, state } => {
                let worker = worker % self.workers;
                let connections = &mut self.connections[worker];
                let length = connections.len().max(1);
                if let Some((real, before)) = connections.get_mut(nth % length) {
                    let gauges = &lab.counters(worker).real(RealId(*real)).states;
                    gauges.add(state.wrapping_sub(std::mem::replace(before, state)));
                }
                None
            }
            Step::Sum => None,
            Step::Add { service, real } => {
                self.services.entry(service).or_insert(false);
                let serial = self.serial;
                self.serial += 1;
                let added = self.reals.entry(real).or_insert(Modelled { service, serial, is_removed: false });
                added.is_removed = false;
                let service = added.service;
                self.services.entry(service).or_insert(false);
                Some(vec![service])
            }
            Step::Remove { real } => {
                let removed = self.reals.get_mut(&real)?;
                removed.is_removed = true;
                Some(vec![removed.service])
            }
            Step::Release => {
                let is_held = |id: &u32| self.connections.iter().flatten().any(|(real, _)| real == id);
                self.reals.retain(|id, real| !real.is_removed || is_held(id));
                Some(Vec::new())
            }
            Step::Need { service, needs } => {
                self.services.insert(service, needs);
                Some(vec![service])
            }
            Step::DropService { service } => {
                self.services.remove(&service)?;
                self.reals
                    .values_mut()
                    .filter(|real| real.service == service)
                    .for_each(|real| real.is_removed = true);
                Some(vec![service])
            }
        }
    }
}

proptest! {
    // The counters of each worker are 8 MiB.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_worker_sees_its_own_connections_now_and_the_others_as_last_added_up(
        workers in 1..5usize,
        steps in prop::collection::vec((step(), any::<bool>()), 1..300),
    ) {
        let mut lab = Lab::new(workers);
        let mut model = Model {
            workers,
            services: BTreeMap::new(),
            reals: BTreeMap::new(),
            serial: 1,
            connections: vec![Vec::new(); workers],
            told: vec![BTreeMap::new(); workers],
        };
        let mut snapshot = Snapshot::empty();
        for (step, is_anew) in &steps {
            let changed = model.step(step, &lab);
            if let Some(services) = changed {
                let version = snapshot.version + 1;
                snapshot = if *is_anew { model.compile(version) } else { model.edit(&snapshot, version, &services) };
                lab.sums.follow(&snapshot, &lab.workers);
                model.follow();
            }
            if let Step::Sum = step {
                lab.turn_after(AT_REST);
                if workers > 1 {
                    model.sum();
                }
            }
            for worker in 0..workers {
                for real in 0..IDS {
                    prop_assert_eq!(lab.view(worker, real), model.view(worker, real), "{} {}", worker, real);
                }
            }
        }
    }
}

/// One service with these reals.
fn serving(version: u64, reals: u32, needs_sums: bool) -> Snapshot {
    let ids: Vec<u32> = (0..reals).collect();
    let reals = ids.iter().map(|id| real(*id, 1, *id, false)).collect();
    compiled(version, vec![None, Some(service(1, &ids, needs_sums))], reals)
}

/// A lab whose workers pick from these reals.
fn picking(workers: usize, reals: u32, needs_sums: bool) -> Lab {
    let mut lab = Lab::new(workers);
    lab.sums.follow(&serving(1, reals, needs_sums), &lab.workers);
    lab
}

#[test]
fn nothing_is_due_where_nobody_compares_or_one_worker_has_all() {
    for (workers, needs_sums) in [(2, false), (1, true)] {
        let mut lab = picking(workers, 3, needs_sums);
        lab.open(0, 1, StateGauges::ACTIVE);
        assert_eq!(lab.sums.due(lab.now), None);
        lab.turn_after(AT_REST);
        assert_eq!(lab.view(0, 1), Load { active: 1, inactive: 0 });
        assert_eq!(lab.view(workers - 1, 2), Load::default());
    }
}

#[test]
fn passes_follow_soon_on_moves_and_seldom_otherwise() {
    let mut lab = picking(2, 3, true);
    let seen = |active| Load { active, inactive: 0 };
    lab.open(0, 1, StateGauges::ACTIVE);
    assert_eq!(lab.sums.due(lab.now), Some(lab.now), "what is new is added up at once");
    lab.turn_after(Duration::ZERO);
    assert_eq!(lab.view(1, 1), seen(1));
    lab.open(0, 1, StateGauges::ACTIVE);
    assert_eq!(lab.sums.due(lab.now), Some(lab.now + BUSY));
    lab.turn_after(BUSY - Duration::from_millis(1));
    assert_eq!(lab.view(1, 1), seen(1), "not due yet");
    lab.turn_after(Duration::from_millis(1));
    assert_eq!(lab.view(1, 1), seen(2));
    // One more pass, for what was counted while the last one was under way; then none.
    let states = &lab.counters(0).real(RealId(1)).states;
    states.subtract(StateGauges::ACTIVE);
    lab.turn_after(BUSY);
    assert_eq!(lab.view(1, 1), Load { active: 1, inactive: 1 });
    lab.counters(0).real(RealId(1)).states.subtract(StateGauges::ACTIVE);
    lab.turn_after(BUSY);
    lab.turn_after(BUSY);
    assert_eq!(lab.view(1, 1), Load { active: 1, inactive: 1 }, "no connection has come or gone");
    lab.turn_after(AT_REST);
    assert_eq!(lab.view(1, 1), Load { active: 0, inactive: 2 });
    lab.close(0, 1, StateGauges::NONE);
    lab.turn_after(BUSY);
    assert_eq!(lab.view(1, 1), Load { active: 0, inactive: 1 });
}

#[test]
fn a_service_that_comes_to_need_sums_has_them_at_once() {
    let mut lab = picking(2, 3, true);
    for _ in 0..3 {
        lab.turn_after(BUSY);
    }
    // It had connections before.
    lab.counters(0).real(RealId(3)).total.add(1);
    assert_eq!(lab.sums.due(lab.now), Some(lab.now + BUSY));
    lab.sums.follow(&serving(2, 4, true), &lab.workers);
    assert_eq!(lab.sums.due(lab.now), Some(lab.now));
    lab.turn_after(Duration::ZERO);
    assert_eq!(lab.view(1, 3), Load { active: 0, inactive: 1 });
    lab.sums.follow(&serving(3, 4, false), &lab.workers);
    assert_eq!((lab.view(1, 3), lab.sums.due(lab.now)), (Load::default(), None));
}

#[test]
fn many_reals_are_added_up_in_slices_that_all_have_their_turn() {
    let mut lab = picking(8, MAX_REALS as u32, true);
    let last = MAX_REALS as u32 - 1;
    for real in [0, last / 2, last] {
        (0..8).for_each(|worker| lab.open(worker, real, StateGauges::ACTIVE));
    }
    let are_told = |lab: &Lab, real| (0..8).all(|worker| lab.view(worker, real).active == 8);
    lab.turn_after(Duration::ZERO);
    assert!(are_told(&lab, 0) && !are_told(&lab, last / 2), "one slice");
    let mut slices = 1;
    while !are_told(&lab, last) {
        let due = lab.sums.due(lab.now).unwrap();
        lab.turn_after(due - lab.now);
        slices += 1;
        assert!(slices <= 100);
    }
    assert!(are_told(&lab, last / 2));
    assert!(slices > 4, "{slices}");
}

/// Prints how long adding up takes: `cargo test --release -p control --test control_sums -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn how_long_a_pass_takes() {
    for (reals, workers) in [(1000, 2), (1000, 8), (MAX_REALS as u32, 2), (MAX_REALS as u32, 8)] {
        let mut lab = picking(workers, reals, true);
        let (mut passes, mut slices) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            (0..reals).for_each(|real| lab.open(real as usize % workers, real, StateGauges::ACTIVE));
            let mut pass = Duration::ZERO;
            lab.now += AT_REST;
            loop {
                let began = Instant::now();
                lab.turn_after(Duration::ZERO);
                let took = began.elapsed();
                pass += took;
                slices.push(took);
                let due = lab.sums.due(lab.now).unwrap();
                if due - lab.now >= BUSY {
                    break;
                }
                lab.now = due;
            }
            passes.push(pass);
        }
        passes.sort();
        slices.sort();
        let (pass, slice) = (passes[passes.len() / 2], slices[slices.len() * 9 / 10]);
        let number = slices.len() / passes.len();
        println!(
            "{reals} reals, {workers} workers: {pass:?} in {number} slices; 9 of 10 take up to {slice:?}"
        );
    }
}
