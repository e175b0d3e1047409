//! All workers: each made and run on its own core.

use crate::Failure;
use crate::devices::DpdkDevices;
use crate::worker_loop::{self, Idling};
use control::config::{Config, Hugepages};
use dataplane::connection::table::HashKey;
use dataplane::exchange::orders::{ControlEnd, channel};
use dataplane::exchange::peers::mesh;
use dataplane::live::next_hops::NextHops;
use dataplane::live::reals::Reals;
use dataplane::worker::Worker;
use dpdk::{Eal, RunningLcore};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// Workers that run.
pub(crate) struct Fleet {
    running: Vec<RunningLcore>,
    ends: Vec<Arc<AtomicBool>>,
}

/// What a worker that runs says of itself.
struct Started {
    end: ControlEnd,
    table_bytes: usize,
    table_backing: String,
}

impl Fleet {
    /// Starts every worker and waits until each has its memory. A worker that ends sets `stop`.
    ///
    /// # Errors
    /// If one has no queues, memory or core; then none runs.
    pub(crate) fn launch(
        eal: &Eal,
        config: &Config,
        devices: &DpdkDevices,
        next_hops: &Arc<NextHops>,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Self, Vec<ControlEnd>), Failure> {
        let mut fleet = Self { running: Vec::new(), ends: Vec::new() };
        let started = fleet.start_all(eal, config, devices, next_hops, stop);
        let started = match started {
            Ok(started) => started,
            Err(failure) => {
                stop.store(true, Ordering::Relaxed);
                fleet.end()?;
                return Err(failure);
            }
        };
        let tables: usize = started.iter().map(|started| started.table_bytes).sum();
        log::info!(
            "memory: {} MiB for DPDK on {}, {} MiB of connection tables on {}",
            config.eal.memory_mb,
            eal.memory(),
            tables >> 20,
            started.first().map_or("", |started| &started.table_backing),
        );
        Ok((fleet, started.into_iter().map(|started| started.end).collect()))
    }

    fn start_all(
        &mut self,
        eal: &Eal,
        config: &Config,
        devices: &DpdkDevices,
        next_hops: &Arc<NextHops>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<Started>, Failure> {
        let owners = Arc::new(devices.owner_map().clone());
        let (capacity, idling, held) = (config.capacity, Idling::choose(config), devices.held());
        let huge = match config.eal.hugepages {
            Hugepages::Never => memory::Huge::Never,
            // `require` is about DPDK's memory; the table takes what is left.
            Hugepages::Auto | Hugepages::Require => memory::Huge::Auto,
        };
        let reals = Arc::<Reals>::default();
        let mut all = Vec::new();
        for (number, mut peers) in mesh(&owners).into_iter().enumerate() {
            let queues = devices.queues(number, &mut peers)?;
            #[cfg(feature = "measure")]
            let queues = crate::measure::around(queues).map_err(Failure::Other)?;
            let (next_hops, reals) = (Arc::clone(next_hops), Arc::clone(&reals));
            let at_end = worker_loop::StopAll(Arc::clone(stop));
            let (report, reported) = mpsc::channel();
            // All that the worker uses is made on its core: memory lies on the NUMA node of the core that
            // touches it first.
            let work = move || {
                let (end, control) = channel(next_hops, reals);
                // The standard library's hash keys come from the system's random source.
                let random = || RandomState::new().hash_one(number);
                let hash_key = HashKey { mask: random(), multiplier: random() };
                let worker = match Worker::new(queues, end, capacity, hash_key, huge) {
                    Ok(worker) => worker.with_peers(peers).holding_at_most(held),
                    Err(error) => return drop(report.send(Err(error))),
                };
                let (table_bytes, backing) = (worker.table().bytes(), worker.table().backing());
                let table_backing = backing.to_string();
                if report.send(Ok(Started { end: control, table_bytes, table_backing })).is_ok() {
                    drop(report);
                    worker_loop::run(worker, idling, at_end);
                }
            };
            self.running.push(eal.launch(number, Box::new(work))?);
            let started = match reported.recv() {
                Ok(Ok(started)) => started,
                Ok(Err(error)) => {
                    let remedy = "lower [connections] capacity, or run fewer workers";
                    return Err(Failure::Other(format!("the connection table: {error}; {remedy}")));
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
