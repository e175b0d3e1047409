//! A process in plain memory whose tables lie in files: it begins with a configuration, ends at any moment, and another
//! one takes over what it has left.

use super::*;
use crate::support::ROUTER;
use dataplane::connection::kept::{Heartbeat, Home, Identity, Old, Shape, bytes};
use dataplane::exchange::orders::{Inheritance, Inherited, LeftArea};
use dataplane::schedule::{Algorithm, Candidate, Schedule};
use dataplane::snapshot::{Persistence, Policy, Real, Service, Thresholds};
use memory::Area;
use std::fs::{self, File};
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const TICK: u64 = SECOND / 4;
const ROUTER6: &str = "fd00:10::1";

/// A service, and its reals.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) key: ServiceKey,
    pub(crate) reals: Vec<SocketAddr>,
    pub(crate) persistence: Option<u32>,
    pub(crate) upper: u32,
    pub(crate) seconds: Option<u32>,
}

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Offer {
    pub(crate) fn new(protocol: Protocol, listen: &str, reals: &[&str]) -> Self {
        let key = ServiceKey::new(protocol, socket(listen));
        let reals = reals.iter().map(|real| socket(real)).collect();
        Self { key, reals, persistence: None, upper: 0, seconds: None }
    }
}

/// A file without a name.
fn unnamed() -> File {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/dev/shm/natlb-inherit-{}-{number}", std::process::id());
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

/// The files of a worker.
pub(crate) struct Files {
    tables: File,
    more: File,
}

/// What a process has left.
pub(crate) struct Left {
    pub(crate) files: Vec<Files>,
    reals: Vec<(RealId, RealKey)>,
    hops: Vec<(NextHopId, InterfaceId)>,
}

impl Left {
    pub(crate) fn areas(&self) -> Vec<Arc<Old>> {
        let old = |files: &Files| {
            let more = Area::open(&files.more).unwrap();
            Arc::new(Old::open(&Area::open(&files.tables).unwrap(), Some(&more)).unwrap())
        };
        self.files.iter().map(old).collect()
    }

    /// The files of the tables.
    pub(crate) fn tables(&self) -> Vec<Arc<Area>> {
        self.files.iter().map(|files| Area::open(&files.tables).unwrap()).collect()
    }

    /// Connections that are in the files.
    pub(crate) fn rows(&self) -> usize {
        let count = |old: &Arc<Old>| {
            let mut rows = 0;
            (0..old.positions()).for_each(|position| old.read(position, |_, _| rows += 1));
            rows
        };
        self.areas().iter().map(count).sum()
    }
}

pub(crate) struct Process {
    pub(crate) lab: Lab,
    pub(crate) cluster: Cluster,
    files: Vec<Files>,
    heartbeats: Vec<Heartbeat>,
    /// What has left in turns that nobody looked at.
    pub(crate) sent: Vec<Sent>,
}

/// What has become of all.
fn sum(counts: &[InheritedCounts]) -> InheritedCounts {
    let mut sum = InheritedCounts::default();
    for counts in counts {
        let (all, one) = (&mut sum.connections, counts.connections);
        all.made += one.made;
        all.malformed += one.malformed;
        all.no_real += one.no_real;
        all.other_worker += one.other_worker;
        all.duplicate += one.duplicate;
        all.expired += one.expired;
        all.no_room += one.no_room;
        sum.silent = sum.silent.max(counts.silent);
        sum.templates += counts.templates;
        sum.templates_given_up += counts.templates_given_up;
        sum.nanoseconds = sum.nanoseconds.max(counts.nanoseconds);
    }
    sum
}

/// A lab that serves these in this order, and so with these ids.
fn lab(offers: &[Offer]) -> Lab {
    let mut lab = Lab::new();
    for (interface, address) in [(VIP0, "fd00:10::8/64"), (DIP0, "fd00:20::8/64")] {
        lab.description.interfaces[interface.index()].addresses.push(address.parse().unwrap());
    }
    let router: std::net::IpAddr = ROUTER6.parse().unwrap();
    let prefix = "2001:db8::/32".parse().unwrap();
    lab.description.routes.push(Route { prefix, interface: VIP0, via: Some(router) });
    let prefix = "198.51.0.0/16".parse().unwrap();
    lab.description.routes.push(Route { prefix, interface: VIP0, via: Some(ROUTER.into()) });
    for offer in offers {
        let first = lab.description.reals.len() as u32;
        for endpoint in &offer.reals {
            let id = RealId(lab.description.reals.len() as u32);
            let next_hop = lab.next_hop_id(NeighbourKey { interface: DIP0, address: endpoint.ip() });
            let thresholds = Thresholds { upper: offer.upper, lower: 0 };
            let key = RealKey { service: offer.key, endpoint: *endpoint };
            let real = Real { id, key, next_hop, thresholds, removed: None, is_emptied: false };
            lab.description.reals.push(real);
        }
        let candidates =
            (first..).take(offer.reals.len()).map(|id| Candidate { real: RealId(id), weight: 1 });
        let schedule = Schedule::new(Algorithm::RoundRobin, 1, candidates.collect(), 0, Vec::new());
        let mask: std::net::IpAddr = match offer.key.listen {
            SocketAddr::V4(_) => [255, 255, 255, 0].into(),
            SocketAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX << 64).into(),
        };
        let persistence = offer.persistence.map(|seconds| Persistence { seconds, mask });
        let timeouts = offer.seconds.map(|seconds| Arc::new(Timeouts::default().at_most(seconds)));
        lab.description.services.push(Some(Service {
            key: offer.key,
            policy: Policy { persistence, ..Policy::default() },
            timeouts,
            schedule: Arc::new(schedule),
        }));
    }
    lab.apply();
    lab.reachable(NeighbourKey { interface: VIP0, address: router }, ROUTER_MAC);
    for host in ["fd00:20::7", "fd00:20::17"] {
        let mac = if host.ends_with("::7") { RS1_MAC } else { RS2_MAC };
        lab.reachable(NeighbourKey { interface: DIP0, address: host.parse().unwrap() }, mac);
    }
    lab
}

impl Process {
    /// Workers with so much room for each family, which wait for their configuration.
    pub(crate) fn new(offers: &[Offer], workers: usize, capacity: usize, mask: u64) -> Self {
        let lab = lab(offers);
        let hash_key = HashKey { mask, multiplier: mask.rotate_left(17) };
        let shape = Shape { v4: capacity, v6: capacity, templates: capacity.max(1024) };
        let (mut files, mut heartbeats) = (Vec::new(), Vec::new());
        let cluster = Cluster::made(&lab, workers, &[], |worker, end| {
            let of_worker = Files { tables: unnamed(), more: unnamed() };
            let sizes = bytes(shape);
            let tables = Area::create(&of_worker.tables, sizes.tables, true).unwrap();
            let more = Area::create(&of_worker.more, sizes.more, false).unwrap();
            let identity =
                Identity { worker: worker as u16, workers: workers as u16, generation: 1, boot_id: [7; 16] };
            let home = Home::new(&tables, &more, shape, identity, hash_key).unwrap();
            heartbeats.push(home.heartbeat());
            files.push(of_worker);
            Worker::kept(PlainIo::new(2), end, home).unwrap()
        });
        Self { lab, cluster, files, heartbeats, sent: Vec::new() }
    }

    /// Has its workers know what to do.
    pub(crate) fn begin(&mut self) {
        let workers = self.cluster.workers.len();
        self.cluster.begin(0..workers, &self.lab, Steering::Software);
    }

    /// Has its workers take over what others have left, the newest first, so many ticks after these have ended.
    pub(crate) fn inherit(&mut self, all: &[(&Left, u32)]) {
        let id_of = |key: &RealKey| {
            self.lab.description.reals.iter().find(|real| real.key == *key).map(|real| real.id)
        };
        let generation = |(left, elapsed): &(&Left, u32)| {
            let last = left.reals.iter().map(|(id, _)| id.0).max().map_or(0, |last| last as usize + 1);
            let mut reals = vec![None; last];
            left.reals.iter().for_each(|(id, key)| reals[id.0 as usize] = id_of(key));
            let mut interfaces = vec![None; NextHopId::CAPACITY];
            left.hops.iter().for_each(|(id, interface)| interfaces[id.0 as usize] = Some(*interface));
            let area = |old| LeftArea { old, elapsed: *elapsed };
            Inherited { areas: left.areas().into_iter().map(area).collect(), reals, interfaces }
        };
        let generations: Arc<[Inherited]> = all.iter().map(generation).collect();
        for control in &mut self.cluster.controls {
            control.orders.push(Order::Inherit(Inheritance::new(Arc::clone(&generations)))).unwrap();
        }
    }

    /// What has become of an inheritance, by worker; of those that are through.
    pub(crate) fn inherited(&mut self) -> Vec<InheritedCounts> {
        let mut counts = Vec::new();
        for control in &mut self.cluster.controls {
            while let Ok(returned) = control.returns.pop() {
                match returned {
                    Return::Inherited(inheritance) => counts.push(inheritance.counts),
                    Return::Retired(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        counts
    }

    /// Turns until all workers are through with what they inherit. What has become of it in all.
    pub(crate) fn finish(&mut self) -> InheritedCounts {
        let mut counts = Vec::new();
        for _ in 0..10_000 {
            counts.extend(self.inherited());
            if counts.len() == self.cluster.workers.len() {
                return sum(&counts);
            }
            self.sent.extend(self.cluster.turn());
        }
        panic!("some workers never come to an end: {counts:?}");
    }

    /// Every connection, with the identity of its real, and every template.
    pub(crate) fn dump(&mut self) -> (Vec<Row>, Vec<CopiedTemplate>) {
        let (mut rows, mut templates) = (Vec::new(), Vec::new());
        for worker in 0..self.cluster.workers.len() {
            let mut slice = Slice::first();
            while slice.position.is_some() {
                self.cluster.controls[worker].orders.push(Order::Export(slice)).unwrap();
                self.sent.extend(self.cluster.turn_one(worker));
                let returns = std::iter::from_fn(|| self.cluster.controls[worker].returns.pop().ok());
                let exported = returns.into_iter().find_map(|returned| match returned {
                    Return::Exported(slice) => Some(slice),
                    _ => None,
                });
                slice = exported.expect("the worker gives the slice back");
                let key =
                    |id| self.lab.description.reals.iter().find(|real| real.id == id).map(|real| real.key);
                rows.extend(slice.rows.iter().map(|row| Row::of(row, key, &self.lab.next_hops).unwrap()));
                templates.extend(&slice.templates);
            }
        }
        rows.sort();
        (rows, templates)
    }

    /// Has a frame arrive at a worker that may not be its connection's.
    pub(crate) fn arrive(&mut self, which: usize, interface: InterfaceId, frame: &[u8]) {
        self.cluster.arrive(which % self.cluster.workers.len(), interface, frame);
    }

    /// Has a frame arrive, and everybody do what is to be done. Where what leaves goes, from end to end.
    pub(crate) fn send(
        &mut self,
        which: usize,
        interface: InterfaceId,
        frame: &[u8],
    ) -> Vec<(InterfaceId, [SocketAddr; 2])> {
        self.arrive(which, interface, frame);
        self.cluster.settle().iter().map(|sent| (sent.port, ends(&sent.bytes))).collect()
    }

    /// All workers have made a turn; the last thing that they do.
    pub(crate) fn die(mut self) -> Left {
        self.cluster.turn();
        for (heartbeat, worker) in self.heartbeats.iter().zip(&self.cluster.workers) {
            heartbeat.note(0, worker.connections() as u64);
        }
        let hosts = self.lab.neighbours.iter().map(|(key, id)| (*id, key.interface));
        let behind = [VIP0, DIP0].map(|interface| (NextHopId::behind(interface), interface));
        let hops = hosts.chain(behind).collect();
        let reals = self.lab.description.reals.iter().map(|real| (real.id, real.key)).collect();
        Left { files: self.files, reals, hops }
    }
}
