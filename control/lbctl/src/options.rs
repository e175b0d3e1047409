//! The command line of `lbctl`; letters and long names are `ipvsadm`'s.

use crate::tips;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use control::api::protocol::LONGEST_CONFIRM;
use control::model::{LARGEST_THRESHOLD, LARGEST_WEIGHT, LONGEST_SLOW_START};
use control::text::addresses::{self, Listener, RealAddress};
use control::text::service_options::ON_REMOVAL;
use control::text::state_timeouts;
use dataplane::connection::Timeouts;
use dataplane::schedule::Algorithm;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const LONGEST_TIMEOUT: u64 = Timeouts::LONGEST_SECONDS as u64;

/// The heading, in each command's help, of the options that every command has.
const OF_EVERY_COMMAND: &str = "Options of every command";

const EXAMPLES: &str = "\
Examples:
  lbctl add-service -t 192.168.10.100:80 -s wrr
  lbctl add-real -t 192.168.10.100:80 -r 10.0.0.7:80
  lbctl add-real -t 192.168.10.100:80 -r 10.0.0.17:80 -w 3
  lbctl add-service -t 192.168.10.100:8000-8100 -p 300
  lbctl add-service -t [2001:db8::10]:80
  lbctl list
  lbctl drain -t 192.168.10.100:80 -r 10.0.0.7:80 --wait 60
  lbctl save > services; lbctl restore < services

What is reported as done is in force for the next packet on every worker.
Exit codes: 0 done, 1 refused, 2 usage, 3 lbd cannot be reached,
  4 diff has found differences, 5 reload is done and something in the file needs a restart.
'lbctl COMMAND --help' tells the options of a command.";

/// Controls lbd, the layer-4 NAT load balancer.
#[derive(Debug, Parser)]
#[command(name = "lbctl", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Options {
    /// Socket of lbd [default: $LBCTL_SOCKET, or /run/natlb/lbd.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = OF_EVERY_COMMAND)]
    pub(super) socket: Option<PathBuf>,
    /// text: tables as ipvsadm's; json: one document
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "text",
          hide_possible_values = true, help_heading = OF_EVERY_COMMAND)]
    pub(super) output: Output,
    /// How long to wait for lbd's answer
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", help_heading = OF_EVERY_COMMAND,
          value_parser = whole::<u64>(1, 3600))]
    pub(super) timeout: u64,
    /// Addresses and ports as numbers: always so
    #[arg(short = 'n', long, global = true, hide = true)]
    pub(super) numeric: bool,
    #[command(subcommand)]
    pub(super) command: Order,
}

impl Options {
    /// Reads a command line, the program's name first.
    pub(super) fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments).map_err(|mut error| {
            tips::correct(&mut error, &command, arguments);
            error
        })?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

impl Order {
    /// The name of a command that can be watched, and how it is to be.
    pub(super) const fn watching(&self) -> Option<(&'static str, &Watching)> {
        match self {
            Self::List(list) => Some(("list", &list.watching)),
            Self::Stats(stats) => Some(("stats", &stats.watching)),
            Self::Rate(rate) => Some(("rate", &rate.watching)),
            Self::Status(watching) => Some(("status", watching)),
            _ => None,
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Order {
    /// Create a virtual service
    #[command(override_usage = "lbctl add-service <-t VIP:PORT | -u VIP:PORT> [OPTIONS]")]
    AddService(ServiceOptions),
    /// Change a service; what is not named stays
    #[command(override_usage = "lbctl edit-service <-t VIP:PORT | -u VIP:PORT> [OPTIONS]")]
    EditService(EditedServiceOptions),
    /// Remove a service with its reals
    #[command(alias = "delete-service")]
    #[command(override_usage = "lbctl del-service <-t VIP:PORT | -u VIP:PORT>")]
    DelService(ServiceAddress),
    /// Add a real server to a service
    #[command(alias = "add-server")]
    #[command(override_usage = "lbctl add-real <-t VIP:PORT | -u VIP:PORT> -r RIP[:PORT] [OPTIONS]")]
    AddReal(RealOptions),
    /// Change a real; what is not named stays
    #[command(alias = "edit-server")]
    #[command(override_usage = "lbctl edit-real <-t VIP:PORT | -u VIP:PORT> -r RIP[:PORT] [OPTIONS]")]
    EditReal(RealOptions),
    /// Remove a real from a service
    #[command(alias = "delete-server")]
    #[command(override_usage = "lbctl del-real <-t VIP:PORT | -u VIP:PORT> -r RIP[:PORT]")]
    DelReal(RealName),
    /// Set a real's weight to 0 (no new connections), and tell how many live on
    #[command(
        override_usage = "lbctl drain <-t VIP:PORT | -u VIP:PORT> -r RIP[:PORT] [--wait SECONDS [--then reset]]"
    )]
    Drain(DrainOptions),
    /// Show services and reals
    #[command(override_usage = "lbctl list [-t VIP:PORT | -u VIP:PORT] [--thresholds | --persistent-conn] \
                               [--watch [SECONDS] [--count N]]")]
    List(ListOptions),
    /// Show connections, packets and bytes since the start or zero
    #[command(
        override_usage = "lbctl stats [-t VIP:PORT | -u VIP:PORT] [--exact] [--watch [SECONDS] [--count N]]"
    )]
    Stats(TrafficOptions),
    /// Show connections, packets and bytes a second
    #[command(
        override_usage = "lbctl rate [-t VIP:PORT | -u VIP:PORT] [--exact] [--watch [SECONDS] [--count N]]"
    )]
    Rate(TrafficOptions),
    /// Show connections
    #[command(override_usage = "lbctl connections [-t VIP:PORT | -u VIP:PORT]")]
    Connections(Selection),
    /// Show or change the timeouts of connections
    #[command(override_usage = "lbctl timeouts [--set TCP TCPFIN UDP]")]
    Timeouts(TimeoutOptions),
    /// Reset the counters of stats
    #[command(override_usage = "lbctl zero [-t VIP:PORT | -u VIP:PORT]")]
    Zero(Selection),
    /// Remove all services, or end all connections
    #[command(override_usage = "lbctl clear [--connections]")]
    Clear(ClearOptions),
    /// Print timeouts and services as restore reads them
    #[command(override_usage = "lbctl save > FILE")]
    Save,
    /// Replace all services by those on stdin (lines of save), in one change
    #[command(override_usage = "lbctl restore [--dry-run] < FILE")]
    Restore(RestoreOptions),
    /// Have lbd read its configuration file again: services, routes, neighbours and timeouts come into force as one
    /// change; what needs a restart is named
    Reload,
    /// Show what reload, or with a file apply, would change
    #[command(override_usage = "lbctl diff [FILE]")]
    Diff(DiffOptions),
    /// Change services to those of a file (lines of save), touching only what differs
    #[command(override_usage = "lbctl apply FILE [--dry-run | --confirm SECONDS]")]
    Apply(ApplyOptions),
    /// Keep the change that apply --confirm has made
    Confirm,
    /// Show the last changes: when, by whom, and what was asked for
    #[command(override_usage = "lbctl history [N]")]
    History(HistoryOptions),
    /// Take changes back: all after N, or the last one
    #[command(override_usage = "lbctl rollback <N | --last>")]
    Rollback(RollbackOptions),
    /// Show ports, workers, drops by reason, and what is amiss
    #[command(override_usage = "lbctl status [--watch [SECONDS] [--count N]]")]
    Status(Watching),
    /// Print all that is counted, in Prometheus' text format
    #[command(override_usage = "lbctl metrics > FILE.prom")]
    Metrics,
    /// Write an archive for those who help: status, counters, configuration, log, facts of the host
    #[command(override_usage = "lbctl support [--write FILE] [--config FILE]")]
    Support(SupportOptions),
}

#[derive(Debug, Args)]
pub(super) struct DiffOptions {
    /// Lines of save, or - for stdin; without it, lbd's configuration file
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ApplyOptions {
    /// Lines of save, or - for stdin
    pub(super) file: PathBuf,
    /// Say what would change (exit code 4 if something does); change nothing
    #[arg(long, conflicts_with = "confirm")]
    pub(super) dry_run: bool,
    /// Take the change back after so long, unless lbctl confirm comes
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u32>(1, LONGEST_CONFIRM as u64))]
    pub(super) confirm: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct HistoryOptions {
    /// The last so many [default: all that are known, up to 200]
    #[arg(value_name = "N", value_parser = whole::<u32>(1, 1_000_000))]
    pub(super) count: Option<u32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct RollbackOptions {
    /// Services and timeouts become what they were after change N of the history
    #[arg(value_name = "N", value_parser = whole::<u64>(0, u64::MAX))]
    pub(super) to: Option<u64>,
    /// … what they were before the last change
    #[arg(long)]
    pub(super) last: bool,
}

#[derive(Debug, Args)]
pub(super) struct ClearOptions {
    /// Services stay; all connections end, and clients of persistent services are forgotten
    #[arg(long)]
    pub(super) connections: bool,
}

#[derive(Debug, Args)]
pub(super) struct ServiceOptions {
    #[command(flatten)]
    pub(super) service: ServiceAddress,
    #[command(flatten)]
    pub(super) settings: Settings,
}

#[derive(Debug, Args)]
pub(super) struct EditedServiceOptions {
    #[command(flatten)]
    pub(super) service: ServiceAddress,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// A client no longer stays with its real
    #[arg(long, conflicts_with_all = ["persistence", "netmask"])]
    pub(super) no_persistent: bool,
    /// The scheduler has no flags any more
    #[arg(long, conflicts_with = "flags")]
    pub(super) no_sched_flags: bool,
    /// Datagrams of one client and port go to one real again
    #[arg(long, conflicts_with = "ops")]
    pub(super) no_ops: bool,
}

#[derive(Debug, Args)]
pub(super) struct Settings {
    #[arg(short, long, value_name = "NAME", help = scheduler_help())]
    pub(super) scheduler: Option<String>,
    /// Send a client to the same real for so long
    #[arg(short, long = "persistent", value_name = "SECONDS", num_args = 0..=1,
          default_missing_value = "360", value_parser = whole::<u32>(1, LONGEST_TIMEOUT))]
    pub(super) persistence: Option<u32>,
    /// Clients whose addresses are equal under it are one: as 255.255.255.0, of IPv6 as 64; only with -p
    #[arg(short = 'M', long, value_name = "MASK")]
    pub(super) netmask: Option<String>,
    /// Every datagram is scheduled by itself; only of UDP services
    #[arg(short, long)]
    pub(super) ops: bool,
    /// sh-fallback, sh-port, mh-fallback, mh-port: only of that scheduler; flag-1, flag-2, flag-3
    #[arg(short = 'b', long = "sched-flags", value_name = "FLAG,FLAG", value_delimiter = ',')]
    pub(super) flags: Option<Vec<String>>,
    /// How long connections live without a packet, as tcp=900,syn_recv=30; 0: as those of all services
    #[arg(long, value_name = "STATE=S,STATE=S", value_parser = state_timeouts::by_text)]
    pub(super) timeouts: Option<BTreeMap<String, u32>>,
    /// What happens to connections of a real that is removed: drop, reset or reschedule [default: drop]
    #[arg(long, value_name = "WHAT", hide_possible_values = true, value_parser = ON_REMOVAL.map(|(word, _)| word))]
    pub(super) on_removal: Option<String>,
    /// A real that appears gets its share by and by in so long; 0: at once
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true,
          value_parser = whole::<u32>(0, LONGEST_SLOW_START as u64))]
    pub(super) slow_start: Option<u32>,
    #[arg(long, hide = true)]
    pub(super) pe: Option<String>,
}

fn scheduler_help() -> String {
    format!("How a real is picked: {} [default of a new service: wrr]", Algorithm::KNOWN)
}

/// At most one service. Whether there is one where there must be is checked later: clap's message would name the hidden
/// options too.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct ServiceAddress {
    /// A TCP service, of IPv6 as [2001:db8::10]:80; PORT may be 0 (any port) or a range as 8000-8100
    #[arg(short, long, value_name = "VIP:PORT", value_parser = addresses::service)]
    pub(super) tcp_service: Option<Listener>,
    /// A UDP service, likewise
    #[arg(short, long, value_name = "VIP:PORT", value_parser = addresses::service)]
    pub(super) udp_service: Option<Listener>,
    /// An SCTP service, likewise
    #[arg(long, value_name = "VIP:PORT", value_parser = addresses::service)]
    pub(super) sctp_service: Option<Listener>,
    #[arg(short, long, value_name = "MARK", hide = true)]
    pub(super) fwmark_service: Option<String>,
}

/// One service, or all.
#[derive(Debug, Args)]
pub(super) struct Selection {
    #[command(flatten)]
    pub(super) service: Option<ServiceAddress>,
}

/// Whether to show it again and again.
#[derive(Debug, Args)]
pub(super) struct Watching {
    /// Show it again each so many seconds: painted over on a terminal, else one after the other
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = period)]
    pub(super) watch: Option<Duration>,
    /// End after so many times
    #[arg(long, value_name = "N", requires = "watch", value_parser = whole::<u32>(1, u32::MAX as u64))]
    pub(super) count: Option<u32>,
}

/// One service, or all, with which numbers, and whether to show it again and again.
#[derive(Debug, Args)]
pub(super) struct TrafficOptions {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// All digits of numbers from 100,000,000 on
    #[arg(long)]
    pub(super) exact: bool,
    #[command(flatten)]
    pub(super) watching: Watching,
}

#[derive(Debug, Args)]
pub(super) struct ListOptions {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) watching: Watching,
    /// The reals' limits, in place of weights
    #[arg(long)]
    pub(super) thresholds: bool,
    /// Clients that stay with their real, beside its connections
    #[arg(long, conflicts_with = "thresholds")]
    pub(super) persistent_conn: bool,
}

#[derive(Debug, Args)]
pub(super) struct RealName {
    #[command(flatten)]
    pub(super) service: ServiceAddress,
    /// The real; without a port it takes the service's, or keeps the one that the client asks for if the service has
    /// several
    #[arg(short, long = "real-server", value_name = "RIP[:PORT]", value_parser = addresses::real)]
    pub(super) real: RealAddress,
}

#[derive(Debug, Args)]
pub(super) struct RealOptions {
    #[command(flatten)]
    pub(super) name: RealName,
    /// 0 to 65535; 0: no new connections [default of a new real: 1]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true,
          value_parser = whole::<u32>(0, LARGEST_WEIGHT as u64))]
    pub(super) weight: Option<u32>,
    /// Connections at which no more are given; 0: no limit
    #[arg(short = 'x', long = "u-threshold", value_name = "N", allow_negative_numbers = true,
          value_parser = whole::<u32>(0, LARGEST_THRESHOLD as u64))]
    pub(super) upper_threshold: Option<u32>,
    /// Connections below which more are given again; 0: below three quarters of -x
    #[arg(short = 'y', long = "l-threshold", value_name = "N", allow_negative_numbers = true,
          value_parser = whole::<u32>(0, LARGEST_THRESHOLD as u64))]
    pub(super) lower_threshold: Option<u32>,
    #[command(flatten)]
    pub(super) forwarding: Forwarding,
}

/// At most one way of forwarding.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Forwarding {
    /// Masquerading (NAT): always so
    #[arg(short, long)]
    pub(super) masquerading: bool,
    #[arg(short, long, hide = true)]
    pub(super) gatewaying: bool,
    #[arg(short, long, hide = true)]
    pub(super) ipip: bool,
    /// DPVS's
    #[arg(short = 'b', long, hide = true)]
    pub(super) fullnat: bool,
}

#[derive(Debug, Args)]
pub(super) struct DrainOptions {
    #[command(flatten)]
    pub(super) name: RealName,
    /// Return when no connection lives any more, or with exit code 1 when the time is up
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = whole::<u32>(0, LONGEST_TIMEOUT))]
    pub(super) wait: Option<u32>,
    /// When the time is up: what still lives is reset, and the exit code is 0 if nothing does any more
    #[arg(long, value_name = "WHAT", requires = "wait")]
    pub(super) then: Option<Then>,
}

/// What happens to connections that live when the time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Then {
    /// Both sides get a RST.
    Reset,
}

#[derive(Debug, Args)]
pub(super) struct SupportOptions {
    /// The archive [default: natlb-support-HOST-TIME.tar.gz in this folder]
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
    /// The configuration of lbd [default: the one that it was started with]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RestoreOptions {
    /// Say what is wrong with the lines, or how many services and reals they are; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct TimeoutOptions {
    /// Seconds: established TCP, TCP after a FIN, UDP; 0 leaves one as it is
    #[arg(long, num_args = 3, value_names = ["TCP", "TCPFIN", "UDP"], allow_negative_numbers = true,
          value_parser = whole::<u32>(0, LONGEST_TIMEOUT))]
    pub(super) set: Option<Vec<u32>>,
}

/// Reads the seconds of `--watch`.
fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds from 0.1 to 3600".into())
}

/// Reads a whole number within these bounds, or says which ones they are.
fn whole<T: TryFrom<u64>>(least: u64, most: u64) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}
