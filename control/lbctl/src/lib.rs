//! `lbctl`: one command line, one request, its answer as text or JSON.
//!
//! The files, in the order of a run:
//!
//! ```text
//! options   the command line
//! tips      what was probably meant where it cannot be read
//! request   what it asks of lbd
//! exchange  the socket
//! answer    what comes back, as it comes
//! listing   the answer as text
//! changes   … of what changes services as a whole, and of the history
//! printer   stdout
//! watch     the answer again and again, painted where stdout is a terminal
//! progress  how far a restore is, on stderr where it is a terminal
//! support   an archive for those who help
//! terminals which of the three are terminals
//! ```
#![forbid(unsafe_code)]

mod answer;
mod changes;
mod exchange;
mod listing;
mod options;
mod printer;
mod progress;
mod request;
mod support;
mod terminals;
mod tips;
mod watch;

pub use terminals::Terminals;

use answer::{ConnectionRows, Echo};
use clap::error::ErrorKind;
use control::api::protocol::{Cleared, Command, Drained, FaultyLine, Metrics, Refusal, Saved, Tried};
use control::config::DEFAULT_SOCKET;
use control::text::quantities::count;
use exchange::Lbd;
use listing::{Columns, Numbers};
use options::{Options, Order, Output, Then};
use printer::Printer;
use progress::{Progress, Stage};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use watch::Watch;

/// How often `drain --wait` asks again.
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// How long `drain --then reset` waits until nothing lives any more. What is silent is forgotten after a second, and
/// what is not, reset at once.
const RESET_WAIT: Duration = Duration::from_secs(10);

/// What surrounds a run: everything that `lbctl` reads and writes besides the socket.
pub struct Surroundings<'a> {
    /// `$LBCTL_SOCKET`; empty counts as unset.
    pub socket: Option<OsString>,
    /// What was built, for `--version`: release and commit.
    pub version: &'a str,
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
    /// `lbd` refuses it, or would: exit code 1.
    Refused(Refusal),
    /// `drain --wait`: the time is up. What stood under `ok` last, and what to say: exit code 1.
    StillLive(String, String),
    /// All is printed and done, but the exit code says more; and so do these lines on stderr.
    Said(u8, Vec<String>),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Unreachable(String),
    /// A file cannot be written: exit code 1.
    Unwritten(String),
    /// Stdout takes no more: exit code 1, but 0 where its reader has seen enough, as in
    /// `lbctl connections | head`.
    Stdout(io::Error),
}

impl Failure {
    fn not_supported(what: &str) -> Self {
        Self::Refused(Refusal::new("not_supported", format!("not supported yet: {what}")))
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Said(code, _) => *code,
            Self::Refused(_) | Self::StillLive(..) | Self::Stdout(_) | Self::Unwritten(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.message.clone(),
            Self::StillLive(_, message)
            | Self::Usage(message)
            | Self::Unreachable(message)
            | Self::Unwritten(message) => message.clone(),
            Self::Said(_, lines) => lines.join("; "),
            Self::Stdout(error) => format!("stdout: {error}"),
        }
    }

    /// What is said on stderr, a line for each thing that is wrong.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Refused(Refusal { lines, more, file, .. }) if !lines.is_empty() => {
                let more = (*more > 0).then(|| format!("{more} more faulty lines"));
                let words = |fault: &FaultyLine| match (file, fault.line) {
                    (Some(file), 0) => format!("{file}: {}", fault.message),
                    (Some(file), line) => format!("{file}:{line}: {}", fault.message),
                    (None, _) => fault.to_string(),
                };
                lines.iter().map(words).chain(more).collect()
            }
            Self::Said(_, lines) => lines.clone(),
            _ => vec![self.message()],
        }
    }

    /// The document that `--output json` prints.
    fn json(&self) -> String {
        let code = match self {
            Self::StillLive(ok, _) => return ok.clone(),
            // Plain text and numbers always have a JSON form.
            Self::Refused(refusal) => return serde_json::to_string(refusal).unwrap_or_default(),
            // Printed already.
            Self::Said(..) => return String::new(),
            Self::Usage(_) => "usage",
            Self::Unreachable(_) => "unreachable",
            Self::Unwritten(_) => "unwritten",
            Self::Stdout(_) => "stdout",
        };
        serde_json::json!({ "code": code, "message": self.message() }).to_string()
    }
}

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    <Options as clap::CommandFactory>::command()
}

/// Runs `lbctl` with these arguments, its name first, and returns its exit code: 0 done, 1 refused,
/// 2 usage error, 3 `lbd` cannot be reached.
pub fn run(arguments: impl IntoIterator<Item = OsString>, surroundings: Surroundings<'_>) -> u8 {
    run_on(arguments, surroundings, Terminals::default())
}

/// As [`run`], where some of stdin, stdout and stderr are terminals.
pub fn run_on(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: Surroundings<'_>,
    terminals: Terminals,
) -> u8 {
    let Surroundings { socket, version, dpdk, stdin, stdout, stderr } = surroundings;
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let options = match Options::read(&arguments) {
        Ok(options) => options,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            return print(stdout, stderr, &format!("lbctl {version} (DPDK {dpdk})\n"));
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
    let lbd = Lbd { socket, timeout: Duration::from_secs(options.timeout), stage: None };
    let printer = Printer::new(stdout);
    let failure = match obey(&options, lbd, stdin, &printer, (version, dpdk), terminals) {
        Ok(note) => {
            if let Some(note) = note {
                let _ = writeln!(stderr, "lbctl: note: {note}");
            }
            return 0;
        }
        Err(failure) => failure,
    };
    let code = failure.exit_code();
    if let Failure::Said(_, lines) = &failure {
        for line in lines {
            let _ = writeln!(stderr, "lbctl: {line}");
        }
    } else if code != 0 {
        // Half a document is not followed by another.
        if printer.starts_anew() && options.output == Output::Json {
            let _ = printer.print(&(failure.json() + "\n"));
        }
        for line in failure.lines() {
            let _ = writeln!(stderr, "lbctl: {line}");
        }
    }
    code
}

/// Whether arguments that cannot be read ask for JSON.
fn wants_json(arguments: &[OsString]) -> bool {
    let follows = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
    arguments.iter().any(|argument| argument == "--output=json") || arguments.windows(2).any(follows)
}

/// Does what the options say: once, or again and again. Returns a note as [`show`].
fn obey(
    options: &Options,
    mut lbd: Lbd,
    stdin: &mut dyn Read,
    printer: &Printer<'_>,
    versions: (&str, &str),
    terminals: Terminals,
) -> Result<Option<String>, Failure> {
    if let Order::Support(support) = &options.command {
        return support::run(support, options.output, &lbd, versions, printer).map(|()| None);
    }
    if let Some((name, watching)) = options.command.watching()
        && let Some(period) = watching.watch
    {
        return Watch::new(options, name, period, &lbd)
            .run(watching, printer, terminals.stdout)
            .map(|()| None);
    }
    let Order::Restore(_) = options.command else { return show(options, &lbd, stdin, printer) };
    // Nothing is written below what somebody types.
    let progress = Progress::on(terminals.stderr.filter(|_| !terminals.stdin));
    lbd.stage = Some(Arc::clone(&progress.stage));
    show(options, &lbd, &mut Counted { stdin, stage: &progress.stage }, printer)
}

/// Stdin, whose bytes are counted.
struct Counted<'a> {
    stdin: &'a mut dyn Read,
    stage: &'a Stage,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stdin.read(buffer).inspect(|length| self.stage.read(*length))
    }
}

/// Asks, and prints what comes. Returns a note for stderr about what may be a mistake but was done.
fn show(
    options: &Options,
    lbd: &Lbd,
    stdin: &mut dyn Read,
    printer: &Printer<'_>,
) -> Result<Option<String>, Failure> {
    let command = request::command(&options.command, stdin)?;
    match (&options.command, options.output) {
        (Order::Drain(drain), output) => {
            let (ok, text) = drained(lbd, &command, (drain.wait, drain.then), printer)?;
            printer.print(&(if output == Output::Json { ok } else { text } + "\n"))?;
        }
        (
            Order::Reload
            | Order::Diff(_)
            | Order::Apply(_)
            | Order::Confirm
            | Order::History(_)
            | Order::Rollback(_),
            output,
        ) => changes::show(&options.command, &command, output, (lbd, printer))?,
        (Order::Connections(_), Output::Json) => {
            lbd.ask_for(&command, Echo(printer), printer)?;
            printer.print("\n")?;
        }
        (_, Output::Json) => {
            let ok: Box<RawValue> = lbd.ask(&command, printer)?;
            printer.print_later(&[ok.get()])?;
            printer.print("\n")?;
        }
        (Order::List(list), Output::Text) => {
            let columns = match (list.thresholds, list.persistent_conn) {
                (true, _) => Columns::Thresholds,
                (_, true) => Columns::PersistentConnections,
                _ => Columns::Plain,
            };
            printer.print(&listing::list(lbd.ask(&command, printer)?, columns))?;
        }
        (Order::Stats(stats), Output::Text) => {
            printer.print(&listing::stats(lbd.ask(&command, printer)?, numbers(stats.exact)))?;
        }
        (Order::Rate(rate), Output::Text) => {
            printer.print(&listing::rate(lbd.ask(&command, printer)?, numbers(rate.exact)))?;
        }
        (Order::AddService(_), Output::Text) => return Ok(lbd.ask::<Noted>(&command, printer)?.note),
        (_, Output::Text) => text(&command, lbd, printer)?,
    }
    Ok(None)
}

const fn numbers(exact: bool) -> Numbers {
    if exact { Numbers::Exact } else { Numbers::Scaled }
}

/// The part of [`Changed`](control::api::protocol::Changed) that is printed.
#[derive(Deserialize)]
struct Noted {
    note: Option<String>,
}

/// Drains; with `wait` (seconds) asks again until no connection lives or the time is up, and then, if so told, has what
/// lives reset. What stood under `ok` last, and how many live, for people.
fn drained(
    lbd: &Lbd,
    command: &Command,
    (wait, then): (Option<u32>, Option<Then>),
    printer: &Printer<'_>,
) -> Result<(String, String), Failure> {
    let drained =
        drained_within(lbd, command, wait.map(|seconds| Duration::from_secs(seconds.into())), printer);
    match (drained, command, then) {
        (Err(Failure::StillLive(_, live)), Command::Drain { service, real, .. }, Some(Then::Reset)) => {
            let command = Command::Drain { service: *service, real: *real, reset: true };
            let (ok, left) = drained_within(lbd, &command, Some(RESET_WAIT), printer)?;
            Ok((ok, format!("{live}: reset, {left}")))
        }
        (drained, ..) => drained,
    }
}

fn drained_within(
    lbd: &Lbd,
    command: &Command,
    wait: Option<Duration>,
    printer: &Printer<'_>,
) -> Result<(String, String), Failure> {
    let end = wait.map(|wait| Instant::now() + wait);
    loop {
        let ok = String::from(lbd.ask::<Box<RawValue>>(command, printer)?.get());
        let Drained { live, .. } = serde_json::from_str(&ok)
            .map_err(|error| Failure::Unreachable(format!("not the answer of an lbd: {error}")))?;
        let (Some(end), true) = (end, live > 0) else { return Ok((ok, lives(live))) };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let seconds = wait.unwrap_or_default().as_secs();
            return Err(Failure::StillLive(ok, format!("{} after {seconds} s", lives(live))));
        }
        std::thread::sleep(left.min(DRAIN_POLL));
    }
}

fn lives(live: u64) -> String {
    let connections = if live == 1 { "connection" } else { "connections" };
    format!("{live} {connections} live")
}

/// Asks, and prints the answer as text; commands that only change print nothing, as `ipvsadm`'s.
fn text(command: &Command, lbd: &Lbd, printer: &Printer<'_>) -> Result<(), Failure> {
    match command {
        Command::Connections { .. } => {
            lbd.ask_for(command, ConnectionRows(printer), printer)?;
            printer.print("")
        }
        Command::Timeouts { set: None } => printer.print(&listing::timeouts(&lbd.ask(command, printer)?)),
        Command::Status {} => {
            printer.print(&listing::status(&lbd.ask(command, printer)?, env!("NATLB_VERSION")))
        }
        Command::Metrics {} => {
            let Metrics { text } = lbd.ask(command, printer)?;
            printer.print(&text)
        }
        Command::Save {} => {
            let Saved { lines } = lbd.ask(command, printer)?;
            lines.iter().try_for_each(|line| printer.print_later(&[line, "\n"]))?;
            printer.print("")
        }
        Command::Restore { dry_run: true, .. } => {
            let Tried { services, reals, .. } = lbd.ask(command, printer)?;
            printer.print(&format!(
                "{services} services with {reals} reals: nothing is wrong, nothing was changed\n"
            ))
        }
        Command::Clear { connections: true } => {
            let Cleared { connections, .. } = lbd.ask(command, printer)?;
            let noun = if connections == 1 { "connection" } else { "connections" };
            printer.print(&format!("{} {noun} cleared\n", count(connections)))
        }
        _ => lbd.ask(command, printer).map(|IgnoredAny| ()),
    }
}

fn print(stdout: &mut dyn Write, stderr: &mut dyn Write, text: &str) -> u8 {
    let Err(failure) = Printer::new(stdout).print(text) else { return 0 };
    let code = failure.exit_code();
    if code != 0 {
        let _ = writeln!(stderr, "lbctl: {}", failure.message());
    }
    code
}
