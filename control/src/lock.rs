//! Locks next to files that only one daemon may have: unlike a look at what is there, this leaves no moment for two to
//! start at once. A lock goes with the process that holds it, however that ends.

use nix::fcntl::OFlag;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A lock on a file. It is on the open file, not on the process: one that is handed the descriptor has the lock, too,
/// and it goes when the last descriptor is closed. So dropping this closes, and does not unlock.
#[derive(Debug)]
pub struct Lock(OwnedFd);

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held,
    /// This file cannot be made or opened.
    Io(PathBuf, io::Error),
}

impl Lock {
    /// Locks a file, if no other open file has the lock.
    ///
    /// # Errors
    /// One has it (`WouldBlock`), or the file system knows no locks; with the file.
    pub fn take(file: File) -> Result<Self, (File, io::Error)> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file.into())),
            Err(error) => Err((file, error.into())),
        }
    }

    /// The lock of a process that has handed its descriptor over.
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// A descriptor for another process.
    ///
    /// # Errors
    /// None is left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

/// Locks `path` by a file next to it. That file stays: removing it would let two daemons lock two files of one name.
pub fn next_to(path: &Path) -> Result<Lock, LockError> {
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
    Lock::take(file).map_err(|(_, error)| match error.kind() {
        io::ErrorKind::WouldBlock => LockError::Held,
        _ => failed(error),
    })
}

/// `path` with something behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// The process that has locked a file, by `/proc/locks`; `None`: the kernel does not say.
pub fn holder_of(file: &File) -> Option<u32> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    file.metadata().ok().and_then(|file| holder_in(&locks, file.dev(), file.ino()))
}

/// `1: FLOCK  ADVISORY  WRITE 708 00:13:13548 0 EOF`: the third word from the end is the device (hexadecimal) and
/// inode.
fn holder_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&&*wanted)).then(|| words[4].parse().ok())?
    };
    locks.lines().find_map(line).filter(|pid| *pid != 0)
}

/// A process in words: its number and its name.
pub fn process(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_shared_with_who_has_its_descriptor_and_goes_with_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let first = next_to(&path).unwrap();
        let second = Lock::of(first.share().unwrap());
        assert!(matches!(next_to(&path), Err(LockError::Held)));
        drop(first);
        assert!(matches!(next_to(&path), Err(LockError::Held)), "the second has it still");
        drop(second);
        assert!(next_to(&path).is_ok());
    }

    #[test]
    fn the_holder_is_found_among_the_kernels_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 700 00:13:40 0 EOF\n2: FLOCK  ADVISORY  WRITE 708 00:13:41 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 709 00:13:42 0 EOF\n3: FLOCK  ADVISORY  WRITE 0 fe:0a:43 0 EOF\n";
        assert_eq!(holder_in(locks, nix::sys::stat::makedev(0, 0x13), 41), Some(708));
        assert_eq!(holder_in(locks, nix::sys::stat::makedev(0, 0x13), 40), None, "another kind of lock");
        assert_eq!(
            holder_in(locks, nix::sys::stat::makedev(0, 0x13), 42),
            None,
            "who waits for it has it not"
        );
        assert_eq!(
            holder_in(locks, nix::sys::stat::makedev(0xfe, 0xa), 43),
            None,
            "of another PID namespace"
        );
    }
}
