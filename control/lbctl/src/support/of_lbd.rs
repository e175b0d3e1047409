//! What `lbd` answers, and what its process shows.

use super::archive::Archive;
use crate::exchange::Lbd;
use crate::options::Options;
use crate::printer::Printer;
use crate::{Failure, show};
use control::api::protocol::{Command, Program};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Entries that are answers, with the words that `lbctl` is given for them.
const COMMANDS: [(&str, &[&str]); 12] = [
    ("lbd/status.json", &["--output", "json", "status"]),
    ("lbd/status", &["status"]),
    ("lbd/list", &["list"]),
    ("lbd/thresholds", &["list", "--thresholds"]),
    ("lbd/stats", &["stats"]),
    ("lbd/rate", &["rate"]),
    ("lbd/timeouts", &["timeouts"]),
    ("lbd/save", &["save"]),
    ("lbd/metrics.prom", &["metrics"]),
    ("lbd/diff", &["diff"]),
    ("lbd/history", &["history"]),
    ("lbd/history.json", &["--output", "json", "history"]),
];

/// Where a package puts the configuration.
const USUAL_CONFIG: &str = "/etc/natlb/lbd.toml";

/// Asks for everything. Returns why `lbd` could not be reached, if so: it is not asked again then.
pub(super) fn ask(lbd: &Lbd, archive: &mut Archive) -> Option<Failure> {
    let mut unreachable: Option<Failure> = None;
    for (name, words) in COMMANDS {
        if let Some(failure) = &unreachable {
            archive.lack(name, &failure.message());
            continue;
        }
        let (mut bytes, source) = (Vec::new(), format!("lbctl {}", words.join(" ")));
        match answered(lbd, words, &mut bytes) {
            Ok(()) => archive.add(name, &source, bytes),
            // What runs differs from the file, for one.
            Err(Failure::Said(_, notes)) => archive.add_with(name, &source, bytes, notes),
            Err(failure) => {
                archive.lack(name, &failure.message());
                unreachable = matches!(failure, Failure::Unreachable(_)).then_some(failure);
            }
        }
    }
    unreachable
}

/// Writes what `lbctl` prints with these words.
fn answered(lbd: &Lbd, words: &[&str], bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let arguments: Vec<OsString> = ["lbctl"].iter().chain(words).map(OsString::from).collect();
    let options = Options::read(&arguments).map_err(|error| Failure::Usage(error.to_string()))?;
    show(&options, lbd, &mut io::empty(), &Printer::new(bytes)).map(drop)
}

/// The process behind the socket, what it shows, and its configuration.
pub(super) fn process(lbd: &Lbd, config: Option<&Path>, archive: &mut Archive) -> Option<i32> {
    let process = number(lbd).and_then(|process| {
        let name = fs::read_to_string(format!("/proc/{process}/comm"));
        let name = name.map_err(|error| format!("process {process}: {error}"))?;
        // One that does not say its number may have been handed the socket by another.
        if name.trim() == "lbd" { Ok(process) } else { Err(format!("process {process} is {}", name.trim())) }
    });
    let found = match &process {
        Ok(process) => {
            for name in ["status", "limits", "cgroup", "numa_maps", "sched"] {
                archive
                    .add_file(&format!("lbd/process/{name}"), Path::new(&format!("/proc/{process}/{name}")));
            }
            let words = words_of(*process);
            archive.add("lbd/process/cmdline", &format!("/proc/{process}/cmdline"), joined(&words));
            config_of(*process, &words)
        }
        Err(why) => {
            archive.lack("lbd/process", why);
            None
        }
    };
    let path = config.map(Path::to_path_buf).or(found).unwrap_or_else(|| USUAL_CONFIG.into());
    archive.add_file("lbd/lbd.toml", &path);
    process.ok()
}

/// The process that `lbd` says it is, or else the one that made the socket.
fn number(lbd: &Lbd) -> Result<i32, String> {
    let program: Result<Program, Failure> = lbd.ask(&Command::Program {}, &Printer::new(&mut Vec::new()));
    let said =
        program.ok().and_then(|program| i32::try_from(program.process).ok()).filter(|process| *process > 0);
    said.map_or_else(|| lbd.process().map_err(|error| format!("the socket: {error}")), Ok)
}

fn words_of(process: i32) -> Vec<OsString> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

fn joined(words: &[OsString]) -> Vec<u8> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    (words.join(" ").trim_end().to_owned() + "\n").into_bytes()
}

/// The configuration that a command line of `lbd` names, for whom it is not in the same folder.
fn config_of(process: i32, words: &[OsString]) -> Option<PathBuf> {
    let behind = words.windows(2).find(|pair| pair[0] == "--config").map(|pair| pair[1].clone());
    let mut joined =
        words.iter().filter_map(|word| word.to_str()?.strip_prefix("--config=").map(OsString::from));
    let path = PathBuf::from(behind.or_else(|| joined.next())?);
    let folder = fs::read_link(format!("/proc/{process}/cwd")).unwrap_or_default();
    Some(folder.join(path))
}
