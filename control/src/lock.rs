//! Locks next to files that only one daemon may have: unlike a look at what is there, this leaves no moment for two to
//! start at once. A lock goes with the process that holds it, however that ends.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it.
    Held,
    /// This file cannot be made or opened.
    Io(PathBuf, io::Error),
}

/// Locks `path` by a file next to it. That file stays: removing it would let two daemons lock two files of one name.
pub(crate) fn next_to(path: &Path) -> Result<Flock<File>, LockError> {
    let name = with_suffix(path, ".lock");
    let failed = |error| LockError::Io(name.clone(), error);
    // Opening must neither wait (a FIFO) nor lead elsewhere (a symbolic link).
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(flags);
    let opened = options.clone().write(true).create(true).truncate(false).open(&name);
    // What is there already can be locked on a file system that cannot be written, too.
    let file = opened.or_else(|error| options.read(true).open(&name).map_err(|_| error)).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file; remove it")));
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => LockError::Held,
        other => failed(other.into()),
    })
}

/// `path` with something behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
