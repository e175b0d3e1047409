//! Programs of the host, each with a limit of time and of what is kept of its output.

use super::archive::LARGEST;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether a program has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an output is waited for at least after the program's end: a child of it may hold it open.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where programs are that an ordinary user's `PATH` lacks.
const OF_ROOT: &str = ":/usr/local/sbin:/usr/sbin:/sbin";

/// What it has written to stdout, and, where it failed, a note with the end of what it has said on stderr.
pub(super) fn run(words: &[&str], limit: Duration) -> Result<(Vec<u8>, Option<String>), String> {
    let (name, arguments) = words.split_first().ok_or("no program")?;
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    path.push(OF_ROOT);
    let mut command = Command::new(name);
    command.args(arguments).env_clear().env("PATH", path).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name}: {error}"),
    })?;
    let (out, err) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let end = Instant::now() + limit;
    let status: Option<ExitStatus> = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(PAUSE),
            Ok(None) | Err(_) => break None,
        }
    };
    // What it has started, too.
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (None, Some(group)) = (status, group) {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait();
    }
    let patience = end.saturating_duration_since(Instant::now()).max(LAST_WORDS);
    let [out, err] = [out, err]
        .map(|output| output.and_then(|output| output.recv_timeout(patience).ok()).unwrap_or_default());
    let said = || String::from_utf8_lossy(&err).trim().chars().take(500).collect::<String>();
    match status {
        None if out.is_empty() => Err(format!("{name} took more than {:.1} s", limit.as_secs_f64())),
        None => Ok((out, Some(format!("ended after {:.1} s", limit.as_secs_f64())))),
        Some(status) if status.success() => Ok((out, None)),
        Some(status) if out.is_empty() => Err(format!("{name}: {status}: {}", said())),
        Some(status) => Ok((out, Some(format!("{status}: {}", said().replace('\n', "; "))))),
    }
}

/// Reads to the end, as much as is kept; the rest has nowhere to go.
fn read(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (done, output) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(LARGEST as u64 + 1).read_to_end(&mut bytes);
        let _ = done.send(bytes);
    });
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_it_writes_is_kept_whatever_becomes_of_it() {
        assert_eq!(run(&["sh", "-c", "echo out; echo err >&2"], LONG), Ok((b"out\n".to_vec(), None)));
        let failed = run(&["sh", "-c", "echo out; echo no >&2; exit 3"], LONG).unwrap();
        assert_eq!(failed, (b"out\n".to_vec(), Some("exit status: 3: no".to_owned())));
        assert_eq!(run(&["sh", "-c", "echo no >&2; exit 3"], LONG), Err("sh: exit status: 3: no".to_owned()));
        assert_eq!(run(&["no-such-program"], LONG), Err("no-such-program is not installed".to_owned()));
    }

    #[test]
    fn none_takes_longer_or_more_than_it_may() {
        let limit = Duration::from_millis(300);
        let begin = Instant::now();
        let late = run(&["sh", "-c", "sleep 600"], limit);
        assert_eq!(late, Err("sh took more than 0.3 s".to_owned()));
        // A child that holds the output is ended with it; a busy machine may need longer for the first line.
        let limits = [0.3, 3.0, 30.0, 120.0].map(Duration::from_secs_f64);
        let cut_off = |limit: &Duration| run(&["sh", "-c", "echo out; sleep 600 & wait"], *limit).ok();
        let (out, note) = limits.iter().find_map(cut_off).unwrap();
        assert_eq!(out, b"out\n");
        assert!(note.unwrap().starts_with("ended after "));
        assert!(begin.elapsed() < Duration::from_secs(590));
        let (out, _) = run(&["head", "-c", "20000000", "/dev/zero"], LONG).unwrap();
        assert_eq!(out.len(), LARGEST + 1);
    }
}
