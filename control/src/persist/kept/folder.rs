//! A folder whose files are read as if this process had written them: it and they are this user's alone.

use crate::lock::{self, Lock};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RawMode};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The lock's file.
const LOCK: &str = "lock";
/// How long the lock may be held by a process that is ending: its memory is unmapped before its files are closed.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// What others than the owner may do.
const OF_OTHERS: RawMode = 0o077;

/// Why a folder or a file in it is not used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The system says so.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A symbolic link would lead elsewhere.
    #[error("{0}: it is a symbolic link; remove it")]
    Link(PathBuf),
    /// Something else has this name.
    #[error("{0}: it is not {1}; remove it")]
    Kind(PathBuf, &'static str),
    /// Others could have written what is in there.
    #[error(
        "{path}: it belongs to user {found}, and lbd runs as user {own}; remove it, or name another folder"
    )]
    Owner {
        /// Of the folder or file.
        path: PathBuf,
        /// Whose it is.
        found: u32,
        /// Who runs this process.
        own: u32,
    },
    /// Others may write, or read whom services are used by.
    #[error(
        "{path}: others may use it (mode {mode:o}), and it has to be its owner's alone: chmod go= {path}, or name a \
         folder that does not exist yet"
    )]
    Mode {
        /// Of the folder or file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A process has the folder's lock.
    #[error(
        "{path}: {holder} keeps its connections there; stop it, or name another folder as [connections] keep"
    )]
    Held {
        /// Of the folder.
        path: PathBuf,
        /// Which process.
        holder: String,
    },
}

impl FolderError {
    /// Whether the folder is not there, so that nothing was kept in it.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// An open folder. Names that are given to its functions are those of files in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens a folder that is there.
    ///
    /// # Errors
    /// It is not there ([`FolderError::is_absent`]), or is not this user's alone.
    pub(super) fn open(path: &Path) -> Result<Self, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| Self::refused(path, errno, "a folder"))?;
        check(path, &descriptor)?;
        Ok(Self { path: path.to_path_buf(), descriptor })
    }

    /// As [`open`](Self::open); one that is not there is made, if the folder above it is there.
    ///
    /// # Errors
    /// Likewise, or it cannot be made.
    pub(super) fn open_or_make(path: &Path) -> Result<Self, FolderError> {
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            // If it is there already, that is enough.
            Err(errno) => Self::open(path).map_err(|other| {
                if other.is_absent() { FolderError::Io(path.to_path_buf(), errno.into()) } else { other }
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new, empty file.
    ///
    /// # Errors
    /// There is a file of this name already, or none can be made.
    pub(super) fn create(&self, name: &str) -> Result<File, FolderError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR);
        Ok(file.map_err(|errno| FolderError::Io(self.path.join(name), errno.into()))?.into())
    }

    /// A file that is there, to be read and written.
    ///
    /// # Errors
    /// It is not there, or is not a regular file of this user's alone.
    pub(super) fn file(&self, name: &str) -> Result<File, FolderError> {
        self.open_file(name, OFlags::empty())
    }

    /// A file that stays, and is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or is not a regular file of this user's alone.
    pub(super) fn lasting_file(&self, name: &str) -> Result<File, FolderError> {
        self.open_file(name, OFlags::CREATE)
    }

    fn open_file(&self, name: &str, more: OFlags) -> Result<File, FolderError> {
        let path = self.path.join(name);
        // Opening must not wait (a FIFO).
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
        let descriptor = rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| Self::refused(&path, errno, "a regular file"))?;
        check(&path, &descriptor)?;
        let file = File::from(descriptor);
        let found = file.metadata().map_err(|error| FolderError::Io(path.clone(), error))?;
        if !found.is_file() || found.nlink() != 1 {
            return Err(FolderError::Kind(path, "a regular file with one name"));
        }
        Ok(file)
    }

    /// The names of all that is in it, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            // No file of ours has a name that is no text.
            names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
        }
        Ok(names)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there, or is a folder, or may not be removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty())?)
    }

    /// Gives a file another name. A file that has it already is replaced.
    ///
    /// # Errors
    /// It is not there, or may not be changed.
    pub(super) fn rename(&self, name: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.descriptor, name, &self.descriptor, to)?)
    }

    /// Takes the folder's lock. A process that has it and is ending is waited for.
    ///
    /// # Errors
    /// Another process has it.
    pub(super) fn lock(&self) -> Result<Lock, FolderError> {
        let mut file = self.lasting_file(LOCK)?;
        let since = Instant::now();
        loop {
            let error = match Lock::take(file) {
                Ok(lock) => return Ok(lock),
                Err((unlocked, error)) => {
                    file = unlocked;
                    error
                }
            };
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(FolderError::Io(self.path.join(LOCK), error));
            }
            if since.elapsed() >= LOCK_PATIENCE {
                let holder = lock::holder_of(&file).map(lock::process);
                let holder = holder.unwrap_or_else(|| "another process".into());
                return Err(FolderError::Held { path: self.path.clone(), holder });
            }
            thread::sleep(LOCK_PAUSE);
        }
    }

    fn refused(path: &Path, errno: Errno, kind: &'static str) -> FolderError {
        let path = path.to_path_buf();
        match errno {
            Errno::LOOP => FolderError::Link(path),
            // O_DIRECTORY and O_NOFOLLOW together find a link to be no folder.
            Errno::NOTDIR if path.is_symlink() => FolderError::Link(path),
            Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => FolderError::Kind(path, kind),
            errno => FolderError::Io(path, errno.into()),
        }
    }
}

/// Whether something belongs to this user, and to nobody else.
fn check(path: &Path, descriptor: &OwnedFd) -> Result<(), FolderError> {
    let found =
        rustix::fs::fstat(descriptor).map_err(|errno| FolderError::Io(path.to_path_buf(), errno.into()))?;
    let own = rustix::process::geteuid().as_raw();
    if found.st_uid != own {
        return Err(FolderError::Owner { path: path.to_path_buf(), found: found.st_uid, own });
    }
    let mode = found.st_mode & 0o7777;
    if mode & OF_OTHERS != 0 {
        return Err(FolderError::Mode { path: path.to_path_buf(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A folder of the test's own, and a path in it that is not there.
    fn nowhere() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("kept");
        (above, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_found_again() {
        let (_above, path) = nowhere();
        assert!(Folder::open(&path).unwrap_err().is_absent());
        let folder = Folder::open_or_make(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        folder.create("1.names").unwrap();
        assert_eq!(mode(&path.join("1.names")), 0o600);
        assert!(folder.create("1.names").is_err(), "it is there");
        let again = Folder::open_or_make(&path).unwrap();
        again.rename("1.names", "1.names.bad").unwrap();
        let mut names = again.names().unwrap();
        names.retain(|name| !name.starts_with('.'));
        assert_eq!(names, ["1.names.bad"]);
        again.remove("1.names.bad").unwrap();
        assert!(again.remove("1.names.bad").is_err());
    }

    #[test]
    fn only_the_last_folder_of_a_path_is_made() {
        let (_above, path) = nowhere();
        let error = Folder::open_or_make(&path.join("deeper")).unwrap_err();
        assert!(error.is_absent(), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn links_and_files_are_no_folders() {
        let (above, path) = nowhere();
        let elsewhere = above.path().join("elsewhere");
        Folder::open_or_make(&elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let error = Folder::open_or_make(&path).unwrap_err().to_string();
        assert!(error.ends_with("kept: it is a symbolic link; remove it"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        let error = Folder::open_or_make(&path).unwrap_err().to_string();
        assert!(error.ends_with("kept: it is not a folder; remove it"), "{error}");
    }

    #[test]
    fn what_others_may_use_is_refused_and_left_as_it_is() {
        let (_above, path) = nowhere();
        let folder = Folder::open_or_make(&path).unwrap();
        folder.create("1.names").unwrap();
        fs::set_permissions(path.join("1.names"), fs::Permissions::from_mode(0o640)).unwrap();
        let error = folder.file("1.names").unwrap_err().to_string();
        assert!(error.contains("1.names: others may use it (mode 640)"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Folder::open_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("kept: others may use it (mode 755)"), "{error}");
        assert_eq!((mode(&path), mode(&path.join("1.names"))), (0o755, 0o640));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return; // only root can give files away
        }
        let (_above, path) = nowhere();
        let folder = Folder::open_or_make(&path).unwrap();
        folder.create("1.names").unwrap();
        std::os::unix::fs::chown(path.join("1.names"), Some(65534), None).unwrap();
        let error = folder.file("1.names").unwrap_err().to_string();
        assert!(error.contains("belongs to user 65534, and lbd runs as user 0"), "{error}");
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let error = Folder::open_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("belongs to user 65534"), "{error}");
    }

    #[test]
    fn files_are_regular_and_have_one_name() {
        let (above, path) = nowhere();
        let folder = Folder::open_or_make(&path).unwrap();
        let target = above.path().join("target");
        fs::write(&target, "precious").unwrap();
        symlink(&target, path.join("link")).unwrap();
        assert!(matches!(folder.file("link"), Err(FolderError::Link(_))));
        assert!(folder.create("link").is_err());
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&target, path.join("hard")).unwrap();
        assert!(matches!(folder.file("hard"), Err(FolderError::Kind(..))));
        fs::create_dir(path.join("folder")).unwrap();
        assert!(matches!(folder.file("folder"), Err(FolderError::Kind(..))));
        nix::unistd::mkfifo(&path.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(folder.file("fifo"), Err(FolderError::Kind(..))), "and it does not wait");
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }

    #[test]
    fn the_lock_has_one_holder_who_is_named_and_may_hand_it_over() {
        let (_above, path) = nowhere();
        let folder = Folder::open_or_make(&path).unwrap();
        let first = folder.lock().unwrap();
        let error = Folder::open(&path).unwrap().lock().unwrap_err().to_string();
        let holder = format!("process {} (", std::process::id());
        assert!(error.contains(&holder) && error.contains("keeps its connections there"), "{error}");
        let handed_over = Lock::of(first.share().unwrap());
        drop(first);
        assert!(matches!(folder.lock(), Err(FolderError::Held { .. })), "it goes on with the second");
        drop(handed_over);
        folder.lock().unwrap();
    }
}
