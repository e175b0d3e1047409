//! `lbd`, the daemon: poll-mode workers and one control thread.
//!
//! ```text
//! main         options, the order of start and stop, exit codes
//! devices      DPDK, its ports and pools, from the configuration
//! steering     what the NICs are told, so that packets reach their connection's owner
//! worker_loop  one worker's polling loop: its clock, and what it does when nothing arrives
//! logging      what is said on stderr
//! measure      only with the feature of that name: when the stages of turns are measured
//! ```
#![forbid(unsafe_code)]

mod devices;
mod logging;
#[cfg(feature = "measure")]
mod measure;
mod steering;
mod worker_loop;

use clap::Parser;
use control::config::{self, Config};
use control::thread::{ControlThread, StartError, WorkerInfo};
use dataplane::connection::table::HashKey;
use dataplane::message::channel;
use dataplane::next_hop::NextHops;
use dataplane::worker::Worker;
use devices::DpdkDevices;
use dpdk::{Eal, Queues};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use worker_loop::Idling;

/// Where a worker's frames come from: its queues, or those of a measuring build.
#[cfg(not(feature = "measure"))]
type WorkerIo = Queues;
#[cfg(feature = "measure")]
type WorkerIo = measured::Measured<Queues>;

/// Layer-4 NAT load balancer on DPDK.
///
/// Runs in the foreground and logs to stderr; says "ready" when it forwards.
/// SIGTERM and SIGINT stop it. Services are managed with lbctl while it runs.
#[derive(Parser)]
#[command(
    name = "lbd",
    disable_version_flag = true,
    verbatim_doc_comment,
    override_usage = "lbd --config FILE [--check] [--stats-period SECONDS] [--log-level LEVEL]",
    after_help = "\
Exit codes:
  0  stopped by SIGTERM or SIGINT; or --check found nothing wrong
  1  it could not start or go on: the last line says why
  2  usage or configuration error: FILE:LINE: what is wrong"
)]
struct Options {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE", required_unless_present = "version")]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and start nothing.
    #[arg(long)]
    check: bool,
    /// Print rates, load, connections and drops to stdout each time so many seconds (1 to 3600) have passed.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    stats_period: Option<u64>,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: log::LevelFilter,
    /// Print natlb's version and the DPDK release that it runs on.
    #[arg(long, short = 'V')]
    version: bool,
}

/// Why `lbd` ends.
enum Failure {
    /// Exit code 2.
    Configuration(String),
    /// Exit code 1.
    Other(String),
}

impl From<dpdk::Error> for Failure {
    fn from(error: dpdk::Error) -> Self {
        Self::Other(error.to_string())
    }
}

fn main() -> ExitCode {
    let options = Options::parse(); // exits with 2 by itself
    let Some(path) = options.config.filter(|_| !options.version) else {
        println!("lbd {} ({})", env!("NATLB_VERSION"), Eal::version());
        return ExitCode::SUCCESS;
    };
    logging::start(options.log_level);
    let result = match config::read(&path) {
        Ok(_) if options.check => Ok(()),
        Ok(config) => run(&path, &config, options.stats_period.map(Duration::from_secs)),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(|problem| problem.in_file(&path).to_string()).collect();
            Err(Failure::Configuration(lines.join("\n")))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(lines)) => {
            eprintln!("{lines}");
            ExitCode::from(2)
        }
        Err(Failure::Other(line)) => {
            eprintln!("lbd: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Starts everything, serves until a signal comes or a worker fails, and stops everything in the reverse order.
fn run(path: &Path, config: &Config, stats_period: Option<Duration>) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| Failure::Other(format!("cannot handle signals: {error}")))?;
    }
    refuse_second(&config.control.socket)?;

    let eal = devices::start_eal(config)?;
    let mut devices = DpdkDevices::open(&eal, config)?;
    let map = devices.owner_map();
    log::debug!("workers: {}, clients shared out by {} entries", map.workers(), map.indirection().entries());
    let next_hops = Arc::new(NextHops::new());
    let (end, control_end) = channel(Arc::clone(&next_hops));
    let worker = new_worker(config, devices.queues(0)?, end)?;
    let worker_stop = Arc::clone(&control_end.stop);
    let infos: Vec<_> = config
        .eal
        .workers
        .iter()
        .map(|core| WorkerInfo { core: *core, capacity: config.capacity as u64 })
        .collect();
    log::info!(
        "memory: {} MiB for DPDK on {}, {} MiB of connection table on {}",
        config.eal.memory_mb,
        eal.memory(),
        worker.table().bytes() >> 20,
        worker.table().backing(),
    );

    let mut control = ControlThread::new(config, vec![control_end], next_hops, Box::new(devices), infos)
        .map_err(|error| start_failure(path, &error))?;
    let idling = Idling::choose(config);
    let at_end = worker_loop::StopAll(Arc::clone(&stop));
    let running = eal.launch(0, Box::new(move || worker_loop::run(worker, idling, at_end)))?;
    let served = control.start().map_err(|error| start_failure(path, &error)).and_then(|()| {
        logging::ready();
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            log::debug!("systemd is not told: {error}");
        }
        let reported = stats_period.map_or(Ok(()), |period| control.report_every(period, io::stdout()));
        reported
            .and_then(|()| control.run(&stop))
            .map_err(|error| Failure::Other(format!("the control thread: {error}")))
    });

    worker_stop.store(true, Ordering::Relaxed);
    running.join().map_err(|panic| Failure::Other(format!("worker 0: {panic}")))?;
    drop(control); // stops and closes the ports
    if served.is_ok() {
        log::info!("stopped");
    }
    served
}

/// Another `lbd` on the same socket is found before any device is touched.
fn refuse_second(socket: &Path) -> Result<(), Failure> {
    match UnixStream::connect(socket) {
        Ok(_) => Err(Failure::Other(format!(
            "another lbd listens on {}: stop it, or set another [control] socket",
            socket.display()
        ))),
        Err(_) => Ok(()),
    }
}

fn new_worker(
    config: &Config,
    queues: Queues,
    end: dataplane::message::WorkerEnd,
) -> Result<Worker<WorkerIo>, Failure> {
    #[cfg(feature = "measure")]
    let queues = measure::around(queues).map_err(Failure::Other)?;
    // The standard library's hash keys come from the system's random source.
    let random = || RandomState::new().hash_one(std::process::id());
    let hash_key = HashKey { mask: random(), multiplier: random() };
    let huge = match config.eal.hugepages {
        config::Hugepages::Never => memory::Huge::Never,
        // `require` is about DPDK's memory; the table takes what is left.
        config::Hugepages::Auto | config::Hugepages::Require => memory::Huge::Auto,
    };
    Worker::new(queues, end, config.capacity, hash_key, huge).map_err(|error| {
        Failure::Other(format!("the connection table: {error}; lower [connections] capacity"))
    })
}

/// What the file or the state file asks for is a configuration error.
fn start_failure(path: &Path, error: &StartError) -> Failure {
    match error {
        StartError::Service { .. } => Failure::Configuration(format!("{}: {error}", path.display())),
        StartError::State(_) => Failure::Configuration(error.to_string()),
        StartError::Socket(_) | StartError::Publish(_) => Failure::Other(error.to_string()),
    }
}
