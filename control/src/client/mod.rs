//! `lbctl`: one command line, one request, its answer as text or JSON.
//!
//! ```text
//! options   the command line
//! request   what it asks of lbd
//! exchange  the socket
//! listing   (of the crate) the answer as text
//! ```

mod exchange;
mod options;
mod request;

use crate::config::DEFAULT_SOCKET;
use crate::listing;
use crate::protocol::{Command, Drained, Refusal, Saved};
use clap::error::ErrorKind;
use exchange::Lbd;
use options::{Options, Order, Output};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often `drain --wait` asks again.
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// What surrounds a run: everything that `lbctl` reads and writes beside the socket.
pub struct Surroundings<'a> {
    /// `$LBCTL_SOCKET`; empty counts as unset.
    pub socket: Option<OsString>,
    /// The release of DPDK that this was built with, for `--version`.
    pub dpdk: &'a str,
    /// What `restore` reads.
    pub stdin: &'a mut dyn Read,
    /// Results.
    pub stdout: &'a mut dyn Write,
    /// What went wrong, in one line.
    pub stderr: &'a mut dyn Write,
}

/// Why nothing was done.
#[derive(Debug)]
enum Failure {
    /// By `lbd`, or for it: exit code 1.
    Refused(Refusal),
    /// `drain --wait`: the time is up. What stood under `ok` last, and what to say: exit code 1.
    StillLive(String, String),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Unreachable(String),
}

impl Failure {
    fn not_supported(what: &str) -> Self {
        Self::Refused(Refusal { code: "not_supported".into(), message: format!("not supported yet: {what}") })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::StillLive(..) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.message,
            Self::StillLive(_, message) | Self::Usage(message) | Self::Unreachable(message) => message,
        }
    }

    /// The document that `--output json` prints.
    fn json(&self) -> String {
        let code = match self {
            Self::StillLive(ok, _) => return ok.clone(),
            Self::Refused(refusal) => &refusal.code,
            Self::Usage(_) => "usage",
            Self::Unreachable(_) => "unreachable",
        };
        serde_json::json!({ "code": code, "message": self.message() }).to_string()
    }
}

/// Runs `lbctl` with these arguments, its name first, and returns its exit code: 0 done, 1 refused,
/// 2 usage error, 3 `lbd` cannot be reached.
pub fn run(arguments: impl IntoIterator<Item = OsString>, surroundings: Surroundings<'_>) -> u8 {
    let Surroundings { socket, dpdk, stdin, stdout, stderr } = surroundings;
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let options = match Options::read(arguments.iter().cloned()) {
        Ok(options) => options,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            return print(stdout, stderr, &format!("lbctl {} (DPDK {dpdk})\n", env!("CARGO_PKG_VERSION")));
        }
        Err(error) if !error.use_stderr() => return print(stdout, stderr, &error.render().to_string()),
        Err(error) => {
            let text = error.render().to_string();
            if wants_json(&arguments) {
                let first = text.lines().next().unwrap_or_default();
                let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
                print(stdout, stderr, &(Failure::Usage(message).json() + "\n"));
            }
            let _ = write!(stderr, "{text}");
            return 2;
        }
    };
    let of_surroundings = socket.filter(|path| !path.is_empty()).map(PathBuf::from);
    let socket = options.socket.clone().or(of_surroundings).unwrap_or_else(|| DEFAULT_SOCKET.into());
    let lbd = Lbd { socket, timeout: Duration::from_secs(options.timeout) };
    match result(&options, &lbd, stdin) {
        Ok(text) => print(stdout, stderr, &text),
        Err(failure) => {
            if options.output == Output::Json {
                print(stdout, stderr, &(failure.json() + "\n"));
            }
            let _ = writeln!(stderr, "lbctl: {}", failure.message());
            failure.exit_code()
        }
    }
}

/// Whether arguments that cannot be read ask for JSON.
fn wants_json(arguments: &[OsString]) -> bool {
    let follows = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
    arguments.iter().any(|argument| argument == "--output=json") || arguments.windows(2).any(follows)
}

/// What is to be printed.
fn result(options: &Options, lbd: &Lbd, stdin: &mut dyn Read) -> Result<String, Failure> {
    let command = request::command(&options.command, stdin)?;
    let ok = match &options.command {
        Order::Drain(drain) => drained(lbd, &command, drain.wait)?,
        _ => lbd.ask(&command)?,
    };
    match options.output {
        Output::Json => Ok(ok + "\n"),
        Output::Text => text(&command, &ok)
            .map_err(|error| Failure::Unreachable(format!("not the answer of an lbd: {error}"))),
    }
}

/// Drains; with `wait` (seconds) asks again until no connection lives or the time is up.
fn drained(lbd: &Lbd, command: &Command, wait: Option<u32>) -> Result<String, Failure> {
    let Some(seconds) = wait else { return lbd.ask(command) };
    let end = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        let ok = lbd.ask(command)?;
        let Drained { live, .. } =
            parse(&ok).map_err(|error| Failure::Unreachable(format!("not the answer of an lbd: {error}")))?;
        if live == 0 {
            return Ok(ok);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::StillLive(ok, format!("{} after {seconds} s", lives(live))));
        }
        std::thread::sleep(left.min(DRAIN_POLL));
    }
}

fn lives(live: u64) -> String {
    let connections = if live == 1 { "connection" } else { "connections" };
    format!("{live} {connections} live")
}

/// The text of what stands under `ok`; commands that only change print nothing, as `ipvsadm`'s.
fn text(command: &Command, ok: &str) -> serde_json::Result<String> {
    Ok(match command {
        Command::List { .. } => listing::list(&parse(ok)?),
        Command::Stats { .. } => listing::stats(&parse(ok)?),
        Command::Rate { .. } => listing::rate(&parse(ok)?),
        Command::Connections { .. } => listing::connections(&parse(ok)?),
        Command::Timeouts { set: None } => listing::timeouts(&parse(ok)?),
        Command::Status {} => listing::status(&parse(ok)?),
        Command::Save {} => parse::<Saved>(ok)?.lines.into_iter().map(|line| line + "\n").collect(),
        Command::Drain { .. } => lives(parse::<Drained>(ok)?.live) + "\n",
        Command::AddService { .. }
        | Command::EditService { .. }
        | Command::DelService { .. }
        | Command::AddReal { .. }
        | Command::EditReal { .. }
        | Command::DelReal { .. }
        | Command::Timeouts { set: Some(_) }
        | Command::Zero {}
        | Command::Clear {}
        | Command::Restore { .. } => String::new(),
    })
}

fn parse<T: DeserializeOwned>(ok: &str) -> serde_json::Result<T> {
    serde_json::from_str(ok)
}

fn print(stdout: &mut dyn Write, stderr: &mut dyn Write, text: &str) -> u8 {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => 0,
        // Whoever reads has seen enough, as in `lbctl connections | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(stderr, "lbctl: stdout: {error}");
            1
        }
    }
}
