//! The listening Unix socket: made, guarded and removed.

use crate::handed::{Handed, Kind, Label};
use crate::lock::{self, Lock, LockError};
use mio::net::UnixListener;
use nix::unistd::{Group, getegid, geteuid};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the socket could not be created.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another daemon holds it.
    #[error("{0}: another lbd runs on this socket; stop it, or set another path for it in [control]")]
    InUse(PathBuf),
    /// Something that is not a socket has this name.
    #[error("{0}: exists and is not a socket; remove it, or set another path for it in [control]")]
    NotASocket(PathBuf),
    /// `[control] group` names none.
    #[error("[control] group: there is no group {0:?}; create it (groupadd), or correct the name")]
    NoGroup(String),
    /// Only root, and its members, may give files to a group.
    #[error(
        "{path}: lbd's user may not give it to group {group:?}, of which it is no member; add it (usermod -a -G; systemd: \
         SupplementaryGroups={group}), or leave out [control] group"
    )]
    NoMember {
        /// The socket.
        path: PathBuf,
        /// By name.
        group: String,
    },
    /// The system refused a port.
    #[error(
        "[control] metrics: {address}: {error}; expected an address of this machine with a port that is free (ss -ltnp), \
         from 1024 on unless lbd is root"
    )]
    Port {
        /// What was to be listened on.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The system refused.
    #[error("{path}: {error}")]
    Io {
        /// What was to be opened or made.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// A bound socket; removed when dropped.
#[derive(Debug)]
pub(in crate::api) struct Socket {
    pub(in crate::api) listener: UnixListener,
    path: PathBuf,
    /// Whether it goes with this process.
    is_own: bool,
    /// Held as long as the socket is ours.
    lock: Lock,
}

/// Clients that wait to be accepted, at most.
const BACKLOG: i32 = 1024;

impl Socket {
    /// Binds at `path`, mode 0660, of this group.
    ///
    /// A socket that a dead daemon left is replaced. The new one appears under its name only when mode
    /// and owner are right.
    pub(in crate::api) fn bind(path: &Path, group: Option<&Group>) -> Result<Self, SocketError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error: io::Error| SocketError::Io { path, error }
        };
        if let Some(directory) = path.parent().filter(|directory| *directory != Path::new("")) {
            DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed(directory))?;
        }
        let held = lock::next_to(path).map_err(|error| match error {
            LockError::Held => SocketError::InUse(path.to_path_buf()),
            LockError::Io(path, error) => SocketError::Io { path, error },
        })?;
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_path_buf()));
            }
            _ => {}
        }
        let new = lock::with_suffix(path, ".new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&new)(error)),
            _ => {}
        }
        let listener = listen(&new, path, group).map_err(|error| match group {
            Some(group) if error.kind() == io::ErrorKind::PermissionDenied && !is_member(group) => {
                SocketError::NoMember { path: path.to_path_buf(), group: group.name.clone() }
            }
            _ => failed(path)(error),
        })?;
        Ok(Self { listener, path: path.to_path_buf(), is_own: true, lock: held })
    }

    /// The one at this path that another process listens on, if that has handed it over. It is that process's until
    /// [`own`](Self::own).
    pub(in crate::api) fn handed(path: &Path, handed: &mut Handed) -> Option<Self> {
        let listener = handed.take(&Label::of_path(Kind::Socket, path))?;
        let lock = Lock::of(handed.take(&Label::of_path(Kind::Lock, path))?);
        let listener = std::os::unix::net::UnixListener::from(listener);
        listener.set_nonblocking(true).ok()?;
        Some(Self {
            listener: UnixListener::from_std(listener),
            path: path.to_path_buf(),
            is_own: false,
            lock,
        })
    }

    /// Descriptors of it, for another process.
    pub(in crate::api) fn share(&self) -> io::Result<[(Label, OwnedFd); 2]> {
        let listener = self.listener.as_fd().try_clone_to_owned()?;
        Ok([
            (Label::of_path(Kind::Socket, &self.path), listener),
            (Label::of_path(Kind::Lock, &self.path), self.lock.share()?),
        ])
    }

    /// It is this process's now.
    pub(in crate::api) fn own(&mut self) {
        self.is_own = true;
        // Clients ask the kernel whose it is: that of the process that said last that it listens.
        if let Err(error) = rustix::net::listen(&self.listener, BACKLOG) {
            log::debug!("{}: {error}", self.path.display());
        }
    }

    /// It is another process's now.
    pub(in crate::api) fn disown(&mut self) {
        self.is_own = false;
    }
}

impl Socket {
    /// Removes it, once, if it is this process's.
    pub(in crate::api) fn remove(&mut self) {
        if !std::mem::take(&mut self.is_own) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{}: not removed: {error}", self.path.display());
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Whether this process may give files to a group, as far as it is the group that matters.
fn is_member(group: &Group) -> bool {
    let others = nix::unistd::getgroups().unwrap_or_default();
    geteuid().is_root() || getegid() == group.gid || others.contains(&group.gid)
}

/// Binds as `new`, and gives it its name when mode and group are right.
fn listen(new: &Path, path: &Path, group: Option<&Group>) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(new)?;
    let named = || {
        fs::set_permissions(new, Permissions::from_mode(0o660))?;
        if let Some(group) = group {
            std::os::unix::fs::chown(new, None, Some(group.gid.as_raw()))?;
        }
        fs::rename(new, path)
    };
    match named() {
        Ok(()) => Ok(listener),
        Err(error) => {
            // Nothing else would remove it if the next daemon uses another path.
            let _ = fs::remove_file(new);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_cannot_get_its_name_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("lbd.sock.new");
        assert!(listen(&new, &directory.path().join("none/lbd.sock"), None).is_err());
        assert!(!new.exists());
        let path = directory.path().join("lbd.sock");
        assert!(listen(&new, &path, None).is_ok());
        assert!(!new.exists() && path.exists());
    }
}
