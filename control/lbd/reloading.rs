//! `lbd --reload`, for `systemctl reload`: the one that runs reads its file again. But where another program than this
//! one runs, for a package has been installed meanwhile, this one takes its place, without a gap. Then the state file
//! counts for services, as at a start.

use control::api::protocol::{Answer, Command, Edited, Outcome, Program, Refusal, Request, VERSION};
use control::config::Config;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long the one that runs may take to answer: a large change takes a good part of a second.
const PATIENCE: Duration = Duration::from_secs(50);

/// What this process is, with its configuration file.
pub(crate) fn program(configuration: &Path) -> Program {
    let file = std::fs::metadata("/proc/self/exe").map(|file| (file.dev(), file.ino()));
    Program {
        version: env!("NATLB_VERSION").into(),
        process: std::process::id(),
        file: file.ok(),
        configuration: std::path::absolute(configuration).ok(),
    }
}

/// Has the `lbd` on this configuration's socket read its file again, or starts another in its place.
pub(crate) fn reload((config, path): (&Config, &Path)) -> Result<(), String> {
    let socket = &config.control.socket;
    let failed = |error: io::Error| no_answer(socket, &error);
    let runs: Option<Program> = match ask(socket, Command::Program {}).map_err(failed)? {
        Ok(program) => serde_json::from_value(program).ok(),
        Err(refusal) if refusal.code == "not_permitted" => return Err(refusal.message),
        // One from before there was this question.
        Err(_) => None,
    };
    let this = program(path);
    if runs.as_ref().is_none_or(|runs| (&runs.version, runs.file) != (&this.version, this.file)) {
        let version = runs.map_or_else(|| "before this one".into(), |runs| runs.version);
        let differs =
            format!("the lbd that runs ({version}) is another program than this one ({})", this.version);
        // Said at once: nobody waits for the one that is started, and the file would seem to have been read.
        if let Some(why) = crate::take_over::refusal(config) {
            return Err(format!(
                "{differs}, which cannot take its place: {why}; until then, lbctl reload has the one that runs read its \
                 file again"
            ));
        }
        log::info!("{differs}, which takes its place");
        return take_over().map_err(|error| format!("cannot start lbd --take-over: {error}"));
    }
    if let (Some(other), Some(this)) = (runs.and_then(|runs| runs.configuration), this.configuration)
        && other != this
    {
        let (other, this) = (other.display(), this.display());
        log::warn!("{other} is read again, with which lbd was started, and not {this}");
    }
    let refused = |refusal: &Refusal| -> String {
        let file = refusal.file.as_deref().unwrap_or_default();
        let lines = refusal.lines.iter().map(|fault| format!("{file}:{}: {}", fault.line, fault.message));
        if refusal.lines.is_empty() { refusal.message.clone() } else { lines.collect::<Vec<_>>().join("\n") }
    };
    let answer = ask(socket, Command::Reload { dry_run: false }).map_err(failed)?;
    let edited = answer.map_err(|refusal| refused(&refusal))?;
    let edited: Edited = serde_json::from_value(edited).map_err(|error| error.to_string())?;
    log::info!("{} changes of services, {} of routes and settings", edited.edits.len(), edited.others.len());
    edited.notes.iter().for_each(|note| log::info!("{note}"));
    edited.needs_restart.iter().for_each(|what| log::warn!("needs a restart of lbd: {what}"));
    Ok(())
}

fn no_answer(socket: &Path, error: &io::Error) -> String {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::WouldBlock => format!("{socket}: no answer within {} s", PATIENCE.as_secs()),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "{socket}: no lbd answers there: {error}; \
             one that runs on another socket needs a restart to come to this one ([control] socket)"
        ),
        _ => format!("{socket}: no lbd answers there: {error}"),
    }
}

/// Starts this program to take over, and leaves it to itself: systemd takes it for its own when this process has ended.
fn take_over() -> io::Result<()> {
    let option = |word: OsString| if word == "--reload" { "--take-over".into() } else { word };
    let words = std::env::args_os().skip(1).map(option);
    let program = std::env::current_exe()?;
    std::process::Command::new(program).args(words).stdin(Stdio::null()).spawn().map(drop)
}

/// What stands under `ok`, or the refusal.
fn ask(socket: &Path, command: Command) -> io::Result<Result<serde_json::Value, Refusal>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = serde_json::to_vec(&Request { v: VERSION, command })?;
    request.push(b'\n');
    stream.write_all(&request)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(match serde_json::from_str::<Answer>(&line)?.result {
        Outcome::Ok(value) => Ok(value),
        Outcome::Error(refusal) => Err(refusal),
    })
}
