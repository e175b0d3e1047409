//! `support`: one archive of what somebody who helps from afar would ask for first.
//!
//! ```text
//! mod        what is gathered, in which order, and what is said of it
//! of_lbd     the answers of lbd, and facts of its process
//! telemetry  what DPDK tells of its ports
//! host       the machine: files of the kernel, answers of programs
//! programs   a program within limits of time and size
//! archive    entries and what is missing, their sizes, the file
//! secrets    values that are left out
//! ```
//!
//! No packet is in it, and of connections only how many there are. Everything that cannot be had is named with the
//! reason, and stops nothing: also where `lbd` is away, or the user may not read something.

mod archive;
mod host;
mod of_lbd;
mod programs;
mod secrets;
mod telemetry;

use crate::Failure;
use crate::exchange::Lbd;
use crate::options::{Output, SupportOptions};
use crate::printer::Printer;
use archive::Archive;
use control::text::quantities::bytes;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io};
use tempfile::NamedTempFile;

/// How long everything besides `lbd`'s own answers may take: what is left then is missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gathers, writes, and says where it is. It fails where nothing could be written, and, with the archive written, where
/// `lbd` could not be reached.
pub(crate) fn run(
    options: &SupportOptions,
    output: Output,
    lbd: &Lbd,
    versions: (&str, &str),
    printer: &Printer<'_>,
) -> Result<(), Failure> {
    let now = SystemTime::now();
    let name = format!("natlb-support-{}-{}", host_name(), compact(now));
    let path = options.write.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    let path = place(&path).map_err(|error| unwritten(&path, &error))?;
    // Before anything is gathered: where it cannot be written, that need not be waited for. It is the user's alone.
    let folder = path.parent().unwrap_or(Path::new("/"));
    let file = NamedTempFile::new_in(folder).map_err(|error| unwritten(&path, &error))?;

    let mut archive = Archive::default();
    let unreachable = of_lbd::ask(lbd, &mut archive);
    let end = Instant::now() + PATIENCE;
    let process = of_lbd::process(lbd, options.config.as_deref(), &mut archive);
    telemetry::gather(process, &lbd.socket, &mut archive);
    let unit = process.and_then(host::unit_of).unwrap_or_else(|| "lbd.service".to_owned());
    host::gather(process, &unit, end, &mut archive);

    let (version, dpdk) = versions;
    let head = format!(
        "natlb support archive of {}\nlbctl {version} (DPDK {dpdk}), socket {}\n",
        humantime::format_rfc3339_seconds(now),
        lbd.socket.display(),
    );
    let written = archive.write(file.as_file(), &name, &head, now);
    let written = written.and_then(|()| file.as_file().sync_all()).and_then(|()| file.as_file().metadata());
    let size = written.map_err(|error| unwritten(&path, &error))?.len();
    file.persist(&path).map_err(|error| unwritten(&path, &error.error))?;
    printer.print(&match output {
        Output::Text => said(&path, size, &archive),
        Output::Json => archive.summary(&path, size).to_string() + "\n",
    })?;
    unreachable.map_or(Ok(()), Err)
}

/// Where the archive gets its name. It takes the place of what is there, so that must be a file: a device, or a link as
/// `/dev/stdout`, would be lost.
fn place(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => fs::canonicalize(path),
        Ok(there) if there.is_dir() => Err(io::Error::other("a folder, not a file")),
        Ok(_) => Err(io::Error::other("not a regular file, which the archive would take the place of")),
        // What it is called for is found out when it is written.
        Err(_) => std::path::absolute(path),
    }
}

fn said(path: &Path, size: u64, archive: &Archive) -> String {
    let (entries, missing) = (archive.entries(), archive.missing());
    let lacks = if missing == 0 { String::new() } else { format!(", {missing} could not be had") };
    format!("{}: {}, {entries} entries{lacks}: see MANIFEST in it\n", path.display(), bytes(size))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::Unwritten(format!("{}: {error}", path.display()))
}

/// The machine's name, as far as a file's may have it.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name: String = name.trim().chars().filter(fits).take(64).collect();
    if name.is_empty() { "host".into() } else { name }
}

/// `20261130T072232Z`.
fn compact(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

/// A variable's value that is not empty.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
