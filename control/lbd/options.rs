//! The command line of `lbd`. This file needs no other one: man pages and completions are made from it, too.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Layer-4 NAT load balancer on DPDK.
///
/// Runs in the foreground and logs to stderr; says "ready" when it forwards.
/// SIGTERM and SIGINT stop it, SIGHUP has it read the file again, other signals are logged and ignored.
/// Services are managed with lbctl while it runs.
#[derive(Parser)]
#[command(
    name = "lbd",
    disable_version_flag = true,
    verbatim_doc_comment,
    override_usage = "lbd --config FILE [--check | --rights | --take-over | --reload]\n           [--stats-period SECONDS] [--log-level LEVEL] [--log-format FORMAT] [--seccomp MODE]",
    after_help = "\
Exit codes:
  0  stopped by SIGTERM or SIGINT, or another lbd took its place; or --check found nothing wrong; or --reload is done
  1  it could not start or go on: the last line says why
  2  usage or configuration error: FILE:LINE: what is wrong"
)]
pub(crate) struct Options {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE", required_unless_present = "version")]
    pub(crate) config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and start nothing.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print what the devices need where lbd does not run as root, as lines for systemd and udev, and start nothing.
    #[arg(long, conflicts_with = "check")]
    pub(crate) rights: bool,
    /// Take the place of the lbd that runs on the same control socket: it ends when this one is ready.
    #[arg(long, conflicts_with_all = ["check", "rights"])]
    pub(crate) take_over: bool,
    /// Have the lbd that runs on the same control socket read the file again; where another program than this runs,
    /// start this one with --take-over instead, and do not wait for it.
    #[arg(long, conflicts_with_all = ["check", "rights", "take_over"])]
    pub(crate) reload: bool,
    /// Print rates, load, connections and drops to stdout at this interval, 1 to 3600 seconds.
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    pub(crate) stats_period: Option<u64>,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level())]
    #[arg(hide_possible_values = true, ignore_case = true)]
    pub(crate) log_level: log::LevelFilter,
    /// text: a line for people; json: an object in each line.
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub(crate) log_format: Format,
    /// System calls that lbd does not need: on (they fail, or end it), log (the kernel notes them) or off.
    #[arg(long, value_name = "MODE", default_value = "on", hide_possible_values = true)]
    pub(crate) seccomp: Seccomp,
    /// Print natlb's version and the DPDK release that it runs on.
    #[arg(long, short = 'V')]
    pub(crate) version: bool,
}

/// Reads a level's name. What is wrong is answered by all names.
fn level() -> impl TypedValueParser<Value = log::LevelFilter> {
    let names = ["error", "warn", "info", "debug", "trace"].map(PossibleValue::new);
    // Not advised: nobody would hear why it ends.
    let off = PossibleValue::new("off").hide(true);
    PossibleValuesParser::new(names.into_iter().chain([off]))
        .map(|name| name.parse().unwrap_or(log::LevelFilter::Info))
}

fn period(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds.ok_or_else(|| "expected a whole number from 1 to 3600".into())
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `info: …`
    #[default]
    Text,
    /// An object in each line.
    Json,
}

/// What happens to system calls that `lbd` is not known to need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Seccomp {
    /// They fail; those that only an attacker makes end the process.
    #[default]
    On,
    /// The kernel carries them out, and notes each in its audit log.
    Log,
    /// Nothing.
    Off,
}
