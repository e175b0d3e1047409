//! All workers: each made and run on its own core.

use crate::Failure;
use crate::devices::DpdkDevices;
use crate::worker_loop::{self, Idling};
use control::config::{Capacity, Config, Hugepages};
use control::persist::kept::Keeping;
use dataplane::connection::kept::{Heartbeat, Home, Shape};
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::{ControlEnd, channel};
use dataplane::exchange::peers::mesh;
use dataplane::live::next_hops::NextHops;
use dataplane::live::reals::Reals;
use dataplane::worker::{Worker, templates_for};
use dpdk::{Eal, RunningLcore};
use memory::Backing;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// Workers that run.
pub(crate) struct Fleet {
    running: Vec<RunningLcore>,
    ends: Vec<Arc<AtomicBool>>,
}

/// What the control thread has of workers that run.
pub(crate) struct Launched {
    pub(crate) ends: Vec<ControlEnd>,
    /// Each with its worker.
    pub(crate) heartbeats: Vec<(usize, Heartbeat)>,
    /// The memory that connection tables are in, in words.
    pub(crate) table_backing: String,
}

/// What a worker that runs says of itself.
struct Started {
    end: ControlEnd,
    table_bytes: [usize; 2],
    table_backing: Backing,
    /// `None`: its connections end with the process.
    heartbeat: Option<Heartbeat>,
}

/// The memory that DPDK and all workers' connection tables take.
pub(crate) struct Bill {
    dpdk_mb: usize,
    /// Bytes of IPv4's and IPv6's tables.
    tables: [usize; 2],
}

impl Bill {
    /// What it will be with a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let workers = config.eal.workers.len();
        let tables = config.capacity.table_bytes().map(|bytes| bytes * workers);
        Self { dpdk_mb: config.eal.memory_mb, tables }
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ipv4, ipv6] = self.tables;
        let (all, dpdk_mb) = ((ipv4 + ipv6) >> 20, self.dpdk_mb);
        write!(f, "memory: {dpdk_mb} MiB for DPDK, {all} MiB of connection tables")?;
        match ipv6 {
            0 => Ok(()),
            _ => write!(f, " ({} MiB of IPv4's, {} MiB of IPv6's)", ipv4 >> 20, ipv6 >> 20),
        }
    }
}

/// Whether DPDK's memory and tables may be in huge pages.
fn uses_huge_pages(config: &Config) -> bool {
    config.eal.hugepages != Hugepages::Never
}

/// Chooses where the workers' connections are kept.
pub(crate) fn begin_keeping(keeping: &mut Keeping, config: &Config) {
    let Capacity { ipv4, ipv6 } = config.capacity;
    let shape = Shape { v4: ipv4, v6: ipv6, templates: templates_for(ipv4 + ipv6) };
    keeping.begin(config.eal.workers.len(), shape, uses_huge_pages(config));
}

/// From this many bytes of a table on, the processor finds few of its small pages without a walk through the page
/// tables: some 200,000 connections.
const MANY_SMALL_PAGES: usize = 8 << 20;

/// Whether a worker's tables, kept in files, would be faster in memory of its own.
fn is_slow(backing: Backing, bytes: [usize; 2]) -> bool {
    backing == Backing::KeptPlain && bytes.iter().any(|bytes| *bytes >= MANY_SMALL_PAGES)
}

impl Fleet {
    /// Starts every worker and waits until each has its memory. A worker that ends sets `stop`. If they `are_to_rest`,
    /// they do nothing before they are asked to.
    ///
    /// # Errors
    /// If one has no queues, memory or core; then none runs.
    pub(crate) fn launch(
        eal: &Eal,
        config: &Config,
        devices: &DpdkDevices,
        shared: (&Arc<NextHops>, &Arc<Keeping>),
        stop: &Arc<AtomicBool>,
        are_to_rest: bool,
    ) -> Result<(Self, Launched), Failure> {
        let mut fleet = Self { running: Vec::new(), ends: Vec::new() };
        let started = fleet.start_all(eal, config, devices, shared, stop, are_to_rest);
        let started = match started {
            Ok(started) => started,
            Err(failure) => {
                stop.store(true, Ordering::Relaxed);
                fleet.end()?;
                return Err(failure);
            }
        };
        let all = |family: usize| started.iter().map(|started| started.table_bytes[family]).sum();
        log::info!(
            "{}; DPDK's on {}, the tables on {}",
            Bill { dpdk_mb: config.eal.memory_mb, tables: [all(0), all(1)] },
            eal.memory(),
            started.first().map_or(String::new(), |started| started.table_backing.to_string()),
        );
        let are_slow = |started: &Started| is_slow(started.table_backing, started.table_bytes);
        if started.iter().any(are_slow) {
            log::info!(
                "the tables are in small pages, as /dev/shm has them: with more than some 100,000 connections a \
                 packet costs twice as much or more; remedy: mount -o remount,huge=advise /dev/shm, or huge pages"
            );
        }
        let table_backing =
            started.first().map_or(String::new(), |started| started.table_backing.to_string());
        let mut launched = Launched { ends: Vec::new(), heartbeats: Vec::new(), table_backing };
        for (worker, started) in started.into_iter().enumerate() {
            launched.ends.push(started.end);
            launched.heartbeats.extend(started.heartbeat.map(|heartbeat| (worker, heartbeat)));
        }
        Ok((fleet, launched))
    }

    fn start_all(
        &mut self,
        eal: &Eal,
        config: &Config,
        devices: &DpdkDevices,
        (next_hops, keeping): (&Arc<NextHops>, &Arc<Keeping>),
        stop: &Arc<AtomicBool>,
        are_to_rest: bool,
    ) -> Result<Vec<Started>, Failure> {
        let eth_ports = config.eth_ports.len();
        let owners = Arc::new(devices.owner_map().clone());
        let (capacity, idling, held) = (config.capacity, Idling::choose(config), devices.held());
        // `require` is about DPDK's memory; the table takes what is left.
        let huge = if uses_huge_pages(config) { memory::Huge::Auto } else { memory::Huge::Never };
        let reals = Arc::<Reals>::default();
        let mut all = Vec::new();
        for (number, mut peers) in mesh(&owners).into_iter().enumerate() {
            let queues = devices.queues(number, &mut peers)?;
            #[cfg(feature = "measure")]
            let queues = crate::measure::around(queues).map_err(Failure::Other)?;
            let (next_hops, reals, keeping) =
                (Arc::clone(next_hops), Arc::clone(&reals), Arc::clone(keeping));
            let at_end = worker_loop::StopAll(Arc::clone(stop));
            let (report, reported) = mpsc::channel();
            // All that the worker uses is made on its core: memory lies on the NUMA node of the core that
            // touches it first.
            let work = move || {
                let (end, control) = channel(next_hops, reals);
                // The standard library's hash keys come from the system's random source.
                let random = || RandomState::new().hash_one(number);
                let hash_key = HashKey { mask: random(), multiplier: random() };
                let with_ipv6 = |worker: Worker<_>| match capacity.ipv6 {
                    0 => Ok(worker),
                    some => worker.with_ipv6(some, huge),
                };
                let home = keeping.home(number, hash_key);
                let heartbeat = home.as_ref().map(Home::heartbeat);
                let made = match home {
                    Some(home) => Worker::kept(queues, end, home),
                    None => Worker::new(queues, end, capacity.ipv4, hash_key, huge).and_then(with_ipv6),
                };
                let worker = match made {
                    Ok(worker) if are_to_rest => {
                        worker.with_peers(peers).holding_at_most(held).resting(eth_ports)
                    }
                    Ok(worker) => worker.with_peers(peers).holding_at_most(held),
                    Err(error) => return drop(report.send(Err(error))),
                };
                let (table_bytes, table_backing) = (worker.table_bytes(), worker.table().backing());
                let started = Started { end: control, table_bytes, table_backing, heartbeat };
                if report.send(Ok(started)).is_ok() {
                    drop(report);
                    worker_loop::run(worker, idling, at_end);
                }
            };
            self.running.push(eal.launch(number, Box::new(work))?);
            let started = match reported.recv() {
                Ok(Ok(started)) => started,
                Ok(Err(error)) => {
                    let key = if capacity.ipv6 == 0 { "capacity" } else { "capacity and capacity_ipv6" };
                    let remedy = format!("lower [connections] {key}, or run fewer workers");
                    return Err(Failure::Other(format!("the connection tables: {error}; {remedy}")));
                }
                Err(_) => return Err(Failure::Other(format!("worker {number} does not start"))),
            };
            self.ends.push(Arc::clone(&started.end.stop));
            all.push(started);
        }
        Ok(all)
    }

    /// Stops every worker and waits for it.
    ///
    /// # Errors
    /// The first that panicked.
    pub(crate) fn end(self) -> Result<(), Failure> {
        for end in &self.ends {
            end.store(true, Ordering::Relaxed);
        }
        let joined = self.running.into_iter().map(RunningLcore::join).enumerate();
        let failed = joined.filter_map(|(worker, joined)| Some((worker, joined.err()?)));
        match failed.min() {
            Some((worker, panic)) => Err(Failure::Other(format!("worker {worker}: {panic}"))),
            None => Ok(()),
        }
    }
}
