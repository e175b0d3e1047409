//! `lbd`, the daemon: poll-mode workers and one control thread.
//!
//! ```text
//! main         the order of start and stop, exit codes
//! options      the command line
//! take_over    the place that an lbd takes: a free one, or that of the lbd which runs
//! reloading    --reload: the lbd that runs reads its file again, or this program takes its place
//! device_lock  one lbd for each device
//! interfaces   the host's interfaces that devices stand on
//! devices      DPDK, its ports, queues and pools, from the configuration
//! rings        how large rings and caches may be, so that a pool never runs dry
//! placement    which worker has which queue, and on which NUMA node what is
//! starting     a start that hangs in a driver can be ended, and is named
//! nic_steering keys, tables and rules of the NICs, so that packets reach their connection's owner
//! fleet        all workers, each on its core
//! worker_loop  one worker's polling loop: its clock, and what it does when nothing arrives
//! logging      what is said on stderr
//! rights       what devices need of the kernel, and whether this process has it
//! supervision  what is said to systemd
//! confinement  what this process may still ask of the kernel once it forwards
//! signals      signals that do not stop it: SIGHUP, and those that are logged and ignored
//! measure      only with the feature of that name: when the stages of turns are measured
//! ```
#![forbid(unsafe_code)]

mod confinement;
mod device_lock;
mod devices;
mod fleet;
mod interfaces;
mod logging;
#[cfg(feature = "measure")]
mod measure;
mod nic_steering;
mod options;
mod placement;
mod reloading;
mod rights;
mod rings;
mod signals;
mod starting;
mod supervision;
mod take_over;
mod worker_loop;

use clap::Parser;
use confinement::{Drivers, confine};
use control::config::{self, Config};
use control::daemon::{ControlThread, Hangups, RunError, StartError};
use control::devices::WorkerInfo;
use control::persist::state_file::LoadError;
use dataplane::live::next_hops::NextHops;
use devices::DpdkDevices;
use dpdk::Eal;
use fleet::{Fleet, Launched};
use options::{Options, Seccomp};
use signal_hook::consts::{SIGINT, SIGTERM};
use starting::Starting;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use supervision::Supervision;
use take_over::Place;

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
    let options = read_command_line(); // exits with 2 by itself
    let Some(path) = options.config.filter(|_| !options.version) else {
        println!("lbd {} ({})", env!("NATLB_VERSION"), Eal::version());
        return ExitCode::SUCCESS;
    };
    if let Err(error) = logging::start(options.log_level, options.log_format) {
        logging::last(&format!("lbd: cannot log: {error}"));
        return ExitCode::FAILURE;
    }
    let result = match config::read(&path) {
        Ok(config) if options.check => {
            println!("nothing wrong with {}; {}", path.display(), fleet::Bill::of(&config));
            Ok(())
        }
        Ok(config) if options.rights => {
            print!("{}", rights::DropIn::of(&config));
            Ok(())
        }
        Ok(config) if options.reload => reloading::reload((&config, &path)).map_err(Failure::Other),
        Ok(config) => {
            let period = options.stats_period.map(Duration::from_secs);
            run((&config, &path), period, options.take_over, options.seccomp)
        }
        Err(problems) => {
            logging::problems(&problems, &path);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(lines)) => {
            logging::last(&lines);
            ExitCode::from(2)
        }
        Err(Failure::Other(line)) => {
            logging::last(&format!("lbd: {line}"));
            ExitCode::FAILURE
        }
    }
}

/// This process's options. Ends it where they cannot be read, with exit code 2, and after help.
fn read_command_line() -> Options {
    Options::try_parse().unwrap_or_else(|error| {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        if error.use_stderr() && logging::wants_json(&arguments) {
            let _ = io::stderr().write_all(logging::of_usage(&error.render().to_string()).as_bytes());
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

/// Starts everything, serves until a signal comes or a worker fails, and stops everything in the reverse order.
fn run(
    (config, path): (&Config, &Path),
    stats_period: Option<Duration>,
    takes_over: bool,
    seccomp: Seccomp,
) -> Result<(), Failure> {
    rights::check(config)?;
    rights::get_no_more();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // The second one ends it at once, whatever hangs.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .map_err(cannot_handle_signals)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(cannot_handle_signals)?;
    }
    let hangups = Hangups::default();
    let ignored = signals::Ignored::start(hangups.clone()).map_err(cannot_handle_signals)?;
    let mut place = Place::find(config, takes_over)?;
    let mut keeping = place.keeping();

    let starting = Starting::watch(Arc::clone(&stop))
        .map_err(|error| Failure::Other(format!("cannot start a thread: {error}")))?;
    let prefix = place.prefix(config);
    let stray = logging::Stray::gather().map_err(|error| Failure::Other(format!("cannot log: {error}")))?;
    let eal = devices::start_eal(config, &prefix, &starting)?;
    let devices = DpdkDevices::open(&eal, config, &starting)?;
    drop((starting, stray));
    ignored.add_real_time().map_err(cannot_handle_signals)?;
    let map = devices.owner_map();
    log::debug!("workers: {}, clients shared out by {} entries", map.workers(), map.indirection().entries());
    let next_hops = Arc::new(NextHops::new(devices.macs()));
    fleet::begin_keeping(&mut keeping, config);
    let keeping = Arc::new(keeping);
    keeping.note_faults();
    let (fleet, launched) =
        Fleet::launch(&eal, config, &devices, (&next_hops, &keeping), &stop, place.is_taken())?;
    let infos = config.eal.workers.iter().map(|core| WorkerInfo {
        core: *core,
        capacity: config.capacity.ipv4 as u64,
        capacity_ipv6: config.capacity.ipv6 as u64,
    });

    let Launched { ends, heartbeats, table_backing } = launched;
    let (handed, infos) = (place.handed(), infos.collect());
    let control = ControlThread::with(config, handed, ends, next_hops, Box::new(devices), infos);
    let mut control = match control {
        Ok(control) => control,
        Err(error) => {
            fleet.end()?;
            return Err(start_failure(&error));
        }
    };
    control.set_file(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()), config);
    control.set_program(reloading::program(path));
    control.obey_hangups(hangups);
    control.set_facts(place.facts(config, &prefix.name, &keeping));
    control.keep_connections(keeping, heartbeats, table_backing);
    // Before a place is taken: what would not work then, shows while the one before is still there.
    if config.control.group.is_some() {
        confinement::load_user_databases();
    }
    confine(seccomp, Drivers::of(config));
    let entered = place.enter(&mut control, &stop);
    let served = entered.and_then(|()| serve(&mut control, stats_period, takes_over, &stop));
    let successor = control.successor();
    if let Some(successor) = successor {
        supervision::give_way(successor);
        // Its own are used from now on.
        eal.give_pages_back();
    }
    fleet.end()?;
    if successor.is_none() {
        control.end_in_order();
    }
    drop(control); // stops and closes the ports
    if served.is_ok() {
        log::info!("stopped");
    }
    served
}

fn cannot_handle_signals(error: io::Error) -> Failure {
    Failure::Other(format!("cannot handle signals: {error}"))
}

/// Obeys commands until `stop` is set, or a successor has taken over.
fn serve(
    control: &mut ControlThread,
    stats_period: Option<Duration>,
    takes_over: bool,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    logging::ready();
    let mut supervision = Supervision::ready(takes_over);
    let mut goes_on = |control: &mut ControlThread| {
        supervision.turn(control);
        !stop.load(Ordering::Relaxed)
    };
    stats_period
        .map_or(Ok(()), |period| control.report_every(period, io::stdout()))
        .map_err(RunError::from)
        .and_then(|()| control.run_while(&mut goes_on))
        .map_err(|error| Failure::Other(error.to_string()))
}

/// What the state file asks for is a configuration error.
fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::State(LoadError::InUse(_)) => Failure::Other(error.to_string()),
        StartError::State(_) => Failure::Configuration(error.to_string()),
        StartError::Handed(_)
        | StartError::Socket(_)
        | StartError::Wait(_)
        | StartError::Publish(_)
        | StartError::Run(_) => Failure::Other(error.to_string()),
    }
}
