//! The state file: services and reals set by commands, kept over a restart.
//!
//! It is replaced as a whole: a temporary file in the same directory is written and flushed to the disk, then renamed
//! over it, and the directory flushed. By its first and last line it is known whether something else has cut it
//! off; a file without them, written by hand or by an older release, is taken as it is.
//!
//! To a large file a change is appended: the lines that make it, and one that says that they are whole.
//! When these lines are as many bytes as all others, the file is replaced.
//!
//! Whenever the power goes, what is loaded is the state before a change or the one after it. One daemon at a time has
//! the file.

use crate::api::protocol::{FaultyLine, FaultyLines};
use crate::api::refusal::Refused;
use crate::change;
use crate::config::history_of;
use crate::handed::{Handed, Kind, Label};
use crate::lock::{self, Lock, LockError};
use crate::model::{Model, Network};
use crate::persist::journal::Journal;
use crate::text::ipvsadm_lines;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use thiserror::Error;

/// The largest that is read: 65,536 reals with long lines fit several times.
const LARGEST: u64 = 64 << 20;
/// Symbolic links that are followed: as many as Linux follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Why the state file cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It is there but cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// Of the file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another daemon has it.
    #[error(
        "{0}: another lbd keeps its services in this file; stop it, or set another path as [control] state"
    )]
    InUse(PathBuf),
    /// Lines are faulty or missing.
    #[error("{}", located(path, refused))]
    Lines {
        /// Of the file.
        path: PathBuf,
        /// Which, and what is wrong with them.
        refused: Refused,
    },
}

/// `FILE:LINE: what is wrong` for each line, and the remedy.
fn located(path: &Path, refused: &Refused) -> String {
    let path = path.display();
    let remedy = "or remove the file to start with the services of the configuration";
    match refused {
        Refused::Lines(FaultyLines { named, more }) => {
            let named = named.iter().map(|FaultyLine { line, message }| format!("{path}:{line}: {message}"));
            let more = (*more > 0).then(|| format!("{path}: {more} more faulty lines"));
            let mut lines: Vec<String> = named.chain(more).collect();
            if let Some(last) = lines.last_mut() {
                *last += &format!("; correct the line, {remedy}");
            }
            lines.join("\n")
        }
        other => format!("{path}: {other}; correct it, {remedy}"),
    }
}

/// What is in a file already that nothing reads yet.
#[derive(Debug)]
struct Spare {
    model: Model,
    written: Written,
}

/// A temporary file, which goes unless it gets its name.
#[derive(Debug)]
struct Written {
    file: NamedTempFile,
    /// In bytes.
    length: u64,
}

/// Where the model is kept.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// `None`: the next change replaces the file.
    journal: Option<Journal>,
    spare: Option<Spare>,
    /// Held as long as the file is ours. `None`: the file system cannot be written, so nobody's changes are kept.
    lock: Option<Lock>,
}

impl StateFile {
    /// At this path, or where its symbolic link leads, whether there is a file yet or not. From now on it is of this
    /// process alone; its directory is made if it is missing.
    ///
    /// # Errors
    /// Another daemon has it; or it is something else than a regular file, or cannot be looked at.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::open_handed(path, &mut Handed::default())
    }

    /// Likewise, with the lock of the daemon before, if that has handed it over.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_handed(path: &Path, handed: &mut Handed) -> Result<Self, LoadError> {
        let failed = |path: &Path, error| LoadError::Read { path: path.to_path_buf(), error };
        // Renaming over a link would replace the link.
        let path = resolved(path).map_err(|error| failed(path, error))?;
        check_regular(&path).map_err(|error| failed(&path, error))?;
        if let Some(lock) = handed.take(&Label::of_path(Kind::Lock, &path)) {
            return Ok(Self { path, journal: None, spare: None, lock: Some(Lock::of(lock)) });
        }
        let unlocked = match make_directory(&path) {
            Err(error) if is_read_only(&error) => error,
            Err(error) => return Err(failed(&path, error)),
            Ok(()) => match lock::next_to(&path) {
                Ok(lock) => return Ok(Self { path, journal: None, spare: None, lock: Some(lock) }),
                Err(LockError::Held) => return Err(LoadError::InUse(path)),
                Err(LockError::Io(_, error)) if is_read_only(&error) => error,
                Err(LockError::Io(name, error)) => return Err(failed(&name, error)),
            },
        };
        log::warn!("{}: {unlocked}: changes will be refused", path.display());
        Ok(Self { path, journal: None, spare: None, lock: None })
    }

    /// A descriptor of its lock, for a successor; `None`: it has none.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn share(&self) -> io::Result<Option<(Label, OwnedFd)>> {
        let Some(lock) = &self.lock else { return Ok(None) };
        Ok(Some((Label::of_path(Kind::Lock, &self.path), lock.share()?)))
    }

    /// Where the history of changes is; `None`: nothing can be written there.
    pub fn history(&self) -> Option<PathBuf> {
        self.lock.as_ref()?;
        Some(history_of(&self.path))
    }

    /// The model in the file; `None` if there is no file. `model` gives the timeouts where the file has
    /// none.
    ///
    /// # Errors
    /// The file is there but cannot be read or is damaged: it is not silently replaced.
    pub fn load(&self, model: &Model, network: &Network) -> Result<Option<Model>, LoadError> {
        let failed = |error| LoadError::Read { path: self.path.clone(), error };
        let text = match read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed)?,
        };
        // What is not text is found faulty as a line, and so named by its number.
        let text = String::from_utf8_lossy(&text);
        let (lines, whole) = (text.lines().count(), ipvsadm_lines::check_whole(text.lines()));
        if whole.is_ok_and(|whole| whole < lines) {
            log::warn!("{}: its last change was not written to its end: left out", self.path.display());
        }
        let faulty = |refused| LoadError::Lines { path: self.path.clone(), refused };
        change::restore(model, network, text.lines()).map(Some).map_err(faulty)
    }

    /// Keeps the change from one model to another, of which the file has the first.
    ///
    /// # Errors
    /// The file is what it was, unless only the last step failed.
    pub fn change(&mut self, before: &Model, now: &Model) -> io::Result<()> {
        let Err(error) = self.append_or_write(before, now) else { return Ok(()) };
        match self.spare.take_if(|spare| change::steps(&spare.model, now).is_empty()) {
            Some(spare) => self.put(spare.written),
            None => Err(error),
        }
    }

    fn append_or_write(&mut self, before: &Model, now: &Model) -> io::Result<()> {
        // Another file may have taken its place.
        let journal = self.journal.take().filter(|journal| journal.is_at(&self.path));
        let Some(mut journal) = journal else { return self.write(now) };
        if !journal.append(&change::steps(before, now))? {
            return self.write(now);
        }
        self.journal = Some(journal);
        Ok(())
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file is what it was, unless only flushing the directory failed.
    pub fn write(&mut self, model: &Model) -> io::Result<()> {
        self.journal = None;
        let written = self.written(model)?;
        self.put(written)
    }

    /// Writes a file for this model that may have to take the place of what is there later: then
    /// [`change`](Self::change) leads to it even if nothing can be written any more.
    ///
    /// # Errors
    /// There is no room, or the directory refuses.
    pub fn set_aside(&mut self, model: &Model) -> io::Result<()> {
        self.spare = None;
        self.spare = Some(Spare { model: model.clone(), written: self.written(model)? });
        Ok(())
    }

    /// What was set aside is not needed any more.
    pub fn release(&mut self) {
        self.spare = None;
    }

    /// A temporary file beside it, with its length.
    fn written(&self, model: &Model) -> io::Result<Written> {
        make_directory(&self.path)?;
        let lines = change::save(model);
        let mut text = format!("{}\n", ipvsadm_lines::FIRST_LINE);
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        text += &ipvsadm_lines::last_line(lines.len());
        text.push('\n');
        let directory = directory(&self.path);
        let mut file = tempfile::Builder::new().prefix(&self.prefix()).tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(Written { file, length: text.len() as u64 })
    }

    /// Has it take the place of what is there.
    fn put(&mut self, Written { file, length }: Written) -> io::Result<()> {
        // Only what it was is replaced.
        check_regular(&self.path)?;
        let file = file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory(&self.path))?.sync_all()?;
        self.journal = Journal::new(file, length);
        Ok(())
    }

    /// Removes temporary files that a kill or power cut has left; they are never read.
    pub fn sweep(&self) {
        let prefix = self.prefix();
        let Ok(entries) = fs::read_dir(directory(&self.path)) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn prefix(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!(".{name}.new-")
    }
}

/// Where symbolic links lead in the end, whether anything is there or not.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = directory(&path).join(target),
            // Not a link; or nothing is there yet.
            Err(error) if [io::ErrorKind::InvalidInput, io::ErrorKind::NotFound].contains(&error.kind()) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::ELOOP.into())
}

/// Whether there is nothing, or a regular file.
fn check_regular(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?.file_type(),
    };
    let found = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_symlink() => "a symbolic link that was not there at the start",
        _ => "a device",
    };
    Err(io::Error::other(format!(
        "expected a regular file, found {found}; set another path as [control] state"
    )))
}

/// All of a regular file, without ever waiting for anything else.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    check_regular(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory(path))
}

fn is_read_only(error: &io::Error) -> bool {
    [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied].contains(&error.kind())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
