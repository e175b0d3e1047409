//! Several workers in plain memory, turned in one thread, with the rings between them.

use super::{CLIENT, DIP0, Lab, Sent, VIP0};
use dataplane::connection::table::HashKey;
use dataplane::counters::WorkerCounters;
use dataplane::exchange::orders::{ControlEnd, Order, Return, Slice, WorkerEnd, channel};
use dataplane::exchange::peers::mesh;
use dataplane::frame::plain::PlainIo;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::InterfaceId;
use dataplane::names::time::Now;
use dataplane::persistence::CopiedTemplate;
use dataplane::snapshot::{Interface, Snapshot, Steering};
use dataplane::steering::{ClientBits, Family, Indirection, OwnerMap};
use dataplane::translation::endpoint_bits;
use dataplane::worker::Worker;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::sync::Arc;

pub struct Cluster {
    pub workers: Vec<Worker<PlainIo>>,
    pub controls: Vec<ControlEnd>,
    pub owners: Arc<OwnerMap>,
    now: u64,
}

/// An owner map with a fixed key.
pub fn owners(workers: usize) -> Arc<OwnerMap> {
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        state
    };
    let table = Indirection::shuffled(64, workers, &mut random).unwrap();
    let key = [0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67];
    let map = OwnerMap::random(table, random).unwrap();
    Arc::new(map.with_key(Family::V4, &key, ClientBits::ALONE).unwrap())
}

impl Cluster {
    /// `workers` workers on what `lab` has configured, with its neighbours.
    pub fn new(lab: &Lab, workers: usize, steering: Steering) -> Self {
        Self::with_senders(lab, workers, steering, &[])
    }

    /// Workers of which some have no transmit queue on a port: (worker, port, sender for it).
    pub fn with_senders(
        lab: &Lab,
        workers: usize,
        steering: Steering,
        senders: &[(usize, InterfaceId, usize)],
    ) -> Self {
        let mut cluster = Self::unconfigured(lab, workers, senders);
        cluster.begin(0..workers, lab, steering);
        cluster.turn();
        cluster
    }

    /// With tables of another secret and capacity.
    pub fn with_tables(lab: &Lab, workers: usize, steering: Steering, key: HashKey, capacity: usize) -> Self {
        let mut cluster = Self::of(lab, workers, &[], key, capacity);
        cluster.begin(0..workers, lab, steering);
        cluster.turn();
        cluster
    }

    /// Workers without a configuration yet: see [`begin`](Self::begin).
    pub fn unconfigured(lab: &Lab, workers: usize, senders: &[(usize, InterfaceId, usize)]) -> Self {
        let key = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
        Self::of(lab, workers, senders, key, 4096)
    }

    fn of(
        lab: &Lab,
        workers: usize,
        senders: &[(usize, InterfaceId, usize)],
        key: HashKey,
        capacity: usize,
    ) -> Self {
        let has_ipv6 = lab.description.interfaces.iter().any(Interface::speaks_ipv6);
        let ipv6 = if has_ipv6 { capacity } else { 0 };
        Self::made(lab, workers, senders, |_, end| {
            let worker = Worker::new(PlainIo::new(2), end, capacity, key, memory::Huge::Never).unwrap();
            worker.with_ipv6(ipv6, memory::Huge::Never).unwrap()
        })
    }

    /// Workers without a configuration yet, each made with its number.
    pub fn made(
        lab: &Lab,
        workers: usize,
        senders: &[(usize, InterfaceId, usize)],
        mut make: impl FnMut(usize, WorkerEnd) -> Worker<PlainIo>,
    ) -> Self {
        let owners = owners(workers);
        let (mut all, mut controls) = (Vec::new(), Vec::new());
        for mut peers in mesh(&owners) {
            let own = peers.own();
            for (_, port, sender) in senders.iter().filter(|(worker, ..)| *worker == own) {
                peers.send_through(port.eth_port(), *sender);
            }
            let (end, control) = channel(Arc::clone(&lab.next_hops), Arc::clone(&lab.control.reals));
            all.push(make(own, end).with_peers(peers));
            controls.push(control);
        }
        Self { workers: all, controls, owners, now: lab.now().nanoseconds }
    }

    /// Has these workers know the neighbours of `lab`, and run on what it has configured.
    pub fn begin(&mut self, workers: Range<usize>, lab: &Lab, steering: Steering) {
        self.order(workers.clone(), lab, steering);
        for control in &mut self.controls[workers] {
            for (key, id) in &lab.neighbours {
                control.orders.push(Order::Reachable(*key, *id)).unwrap();
            }
        }
    }

    /// Has every worker run on what `lab` has configured.
    pub fn adopt(&mut self, lab: &Lab, steering: Steering) {
        self.order(0..self.workers.len(), lab, steering);
        self.turn();
        for control in &mut self.controls {
            while let Ok(returned) = control.returns.pop() {
                assert!(matches!(returned, Return::Retired(_)));
            }
        }
    }

    fn order(&mut self, workers: Range<usize>, lab: &Lab, steering: Steering) {
        let mut description = lab.description.clone();
        description.version += 1000;
        for port in &mut description.eth_ports {
            port.steering = steering;
        }
        let snapshot = Arc::new(Snapshot::compile(description));
        for control in &mut self.controls[workers] {
            control.orders.push(Order::Adopt(Arc::clone(&snapshot))).unwrap();
        }
    }

    pub fn owner(&self, client: SocketAddrV4) -> usize {
        self.owners.owner(endpoint_bits(client))
    }

    /// The first port of the usual client, from `from` on, that `worker` owns.
    pub fn client_of(&self, worker: usize, from: u16) -> SocketAddrV4 {
        let clients = (from..).map(|port| SocketAddrV4::new(CLIENT, port));
        clients.into_iter().find(|client| self.owner(*client) == worker).unwrap()
    }

    /// One turn of one worker; what it sends.
    pub fn turn_one(&mut self, worker: usize) -> Vec<Sent> {
        self.now += 1000;
        self.workers[worker].turn(Now { nanoseconds: self.now });
        let io = self.workers[worker].io();
        let mut sent = Vec::new();
        for port in [VIP0, DIP0] {
            sent.extend(io.take_sent(port).into_iter().map(|bytes| Sent { port, bytes }));
        }
        sent
    }

    /// A turn of every worker.
    pub fn turn(&mut self) -> Vec<Sent> {
        (0..self.workers.len()).flat_map(|worker| self.turn_one(worker)).collect()
    }

    /// Lets time pass at once, with turns enough for a full pass of every sweep.
    pub fn leap(&mut self, seconds: u64) {
        self.now += seconds * 1_000_000_000;
        for _ in 0..4 {
            self.now += 1_000_000_000;
            self.turn();
        }
    }

    /// What time it is, in nanoseconds.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Lets time pass without a turn.
    pub const fn skip(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
    }

    /// Every persistence template, of all workers.
    pub fn templates(&mut self) -> Vec<CopiedTemplate> {
        let mut templates = Vec::new();
        for worker in 0..self.workers.len() {
            let mut slice = Slice::first();
            while slice.position.is_some() {
                self.controls[worker].orders.push(Order::Export(slice)).unwrap();
                self.turn_one(worker);
                let returns = std::iter::from_fn(|| self.controls[worker].returns.pop().ok());
                let exported = returns.into_iter().find_map(|returned| match returned {
                    Return::Exported(slice) => Some(slice),
                    _ => None,
                });
                let exported = exported.expect("the worker gives the slice back");
                templates.extend(&exported.templates);
                slice = exported;
            }
        }
        templates
    }

    /// Turns until nothing happens any more.
    pub fn settle(&mut self) -> Vec<Sent> {
        (0..8).flat_map(|_| self.turn()).collect()
    }

    /// Lets a frame arrive in a worker's queue.
    pub fn arrive(&mut self, worker: usize, port: InterfaceId, bytes: &[u8]) {
        self.workers[worker].io().arrive(port, bytes);
    }

    pub fn counters(&self, worker: usize) -> &WorkerCounters {
        &self.controls[worker].counters
    }

    /// Over all workers.
    pub fn sum(&self, counter: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.controls.iter().map(|control| counter(&control.counters)).sum()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|counters| counters.dropped(reason).get())
    }
}
