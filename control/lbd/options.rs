//! The command line of `lbd`.

use crate::logging::{self, Format};
use clap::Parser;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

/// Layer-4 NAT load balancer on DPDK.
///
/// Runs in the foreground and logs to stderr; says "ready" when it forwards.
/// SIGTERM and SIGINT stop it, other signals are logged and ignored. Services are managed with lbctl while it runs.
#[derive(Parser)]
#[command(
    name = "lbd",
    disable_version_flag = true,
    verbatim_doc_comment,
    override_usage = "lbd --config FILE [--check | --take-over] [--stats-period SECONDS] [--log-level LEVEL]\n           [--log-format FORMAT]",
    after_help = "\
Exit codes:
  0  stopped by SIGTERM or SIGINT, or another lbd took its place; or --check found nothing wrong
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
    /// Take the place of the lbd that runs on the same [control] socket: it ends when this one is ready.
    #[arg(long, conflicts_with = "check")]
    pub(crate) take_over: bool,
    /// Print rates, load, connections and drops to stdout at this interval, 1 to 3600 seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) stats_period: Option<u64>,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: log::LevelFilter,
    /// text: a line for people; json: an object in each line.
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub(crate) log_format: Format,
    /// Print natlb's version and the DPDK release that it runs on.
    #[arg(long, short = 'V')]
    pub(crate) version: bool,
}

impl Options {
    /// This process's. Ends it where they cannot be read, with exit code 2, and after help.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let arguments: Vec<OsString> = std::env::args_os().collect();
            if error.use_stderr() && logging::wants_json(&arguments) {
                let _ = io::stderr().write_all(logging::of_usage(&error.render().to_string()).as_bytes());
                std::process::exit(error.exit_code());
            }
            error.exit()
        })
    }
}
