//! What `lbd` says on stderr: one line each.
//!
//! ```text
//! mod    the two formats, and what is said beside the log: ready, and why lbd ends
//! json   a line as an object
//! stray  what libraries write to stderr by themselves
//! ```
//!
//! As text a line begins with its level; systemd and containers add the time. As JSON (`--log-format json`) it has its
//! time itself, and nothing else is on stderr: not what DPDK and its drivers say, nor a panic, nor a mistake in the
//! command line.

mod json;
mod stray;

pub(crate) use json::{of_usage, wants_json};
pub(crate) use stray::Stray;

use crate::options::Format;
use control::config::Problem;
use json::{Field, Line};
use log::{Level, LevelFilter};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

/// Where lines of JSON go: stderr, whatever its number means meanwhile. `None`: the format is text.
static OBJECTS: OnceLock<File> = OnceLock::new();

/// The target of what no room says.
const TARGET: &str = "lbd";

/// Starts logging at this level; `RUST_LOG` can say more finely what is logged.
///
/// # Errors
/// There is no stderr that could be kept open.
pub(crate) fn start(level: LevelFilter, format: Format) -> io::Result<()> {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).parse_default_env();
    match format {
        Format::Text => {
            builder.format(|out, record| {
                let level = record.level().as_str().to_ascii_lowercase();
                writeln!(out, "{level}: {}", record.args())
            });
        }
        Format::Json => {
            let stderr = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?);
            let objects = OBJECTS.get_or_init(|| stderr);
            builder.target(env_logger::Target::Pipe(Box::new(objects)));
            builder.format(|out, record| out.write_all(Line::of(record).text().as_bytes()));
            std::panic::set_hook(Box::new(panicked));
            dpdk::messages::hand_to_log().map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
        }
    }
    builder.init();
    Ok(())
}

/// Says that packets are forwarded from now on: a line of its own, that scripts wait for.
pub(crate) fn ready() {
    say(Level::Info, "ready", &[]);
}

/// Says why `lbd` ends: the last line, or lines.
pub(crate) fn last(why: &str) {
    match OBJECTS.get() {
        None => say(Level::Error, why, &[]),
        Some(_) => why.lines().for_each(|line| say(Level::Error, line, &[])),
    }
}

/// Says what is wrong with the configuration.
pub(crate) fn problems(problems: &[Problem], path: &Path) {
    for problem in problems {
        match OBJECTS.get() {
            None => say(Level::Error, &problem.in_file(path).to_string(), &[]),
            Some(_) => {
                let file = ("file".to_owned(), path.display().to_string().into());
                let line = problem.line.map(|line| ("line".to_owned(), line.into()));
                let fields: Vec<Field> = [file].into_iter().chain(line).collect();
                say(Level::Error, &problem.message, &fields);
            }
        }
    }
}

/// Whoever read stderr may be gone: that neither ends `lbd` nor changes its exit code.
fn say(level: Level, message: &str, fields: &[Field]) {
    let _ = match OBJECTS.get() {
        None => writeln!(io::stderr(), "{message}"),
        Some(mut out) => out.write_all(Line::now(level, TARGET, message, fields).text().as_bytes()),
    };
}

/// Says that a thread panicked, and where, as an object.
fn panicked(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let why = text.unwrap_or("for a reason that is no text");
    let mut fields = vec![("thread".to_owned(), name.into())];
    if let Some(place) = panic.location() {
        fields.push(("place".to_owned(), place.to_string().into()));
    }
    // Only where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        fields.push(("backtrace".to_owned(), backtrace.to_string().into()));
    }
    say(Level::Error, &format!("thread {name} panicked: {why}"), &fields);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::{Read, Seek};

    #[test]
    fn a_panic_is_one_object() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(OBJECTS.set(file.try_clone().unwrap()).is_ok(), "nothing else of these tests logs");
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(panicked));
        let ended = thread::Builder::new().name("worker 7".into()).spawn(|| panic!("two\nlines {}", 17));
        let ended = ended.unwrap().join();
        std::panic::set_hook(before);
        assert!(ended.is_err());
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_thread = objects.iter().find(|object| object["thread"] == "worker 7").expect(&text);
        assert_eq!(of_thread["message"], "thread worker 7 panicked: two\nlines 17");
        assert!(of_thread["place"].as_str().unwrap().contains("logging/mod.rs:"), "{text}");
    }
}
