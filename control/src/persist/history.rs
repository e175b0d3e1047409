//! The changes of services, reals and timeouts, each with who made it and what takes it back: a file beside the state
//! file, with a JSON object a line. The last [`MOST`] of them are kept, and [`MOST_BYTES`] at most.
//!
//! It is there to help, and never in the way: a file that is damaged, too large or cannot be written costs what it had,
//! a warning, and nothing else. What of a line is not understood is left out, and what a cut has left at the end, too.
//!
//! Each change has the fingerprints of what was before and after it. So it shows when something else has changed the
//! services, as an editor in the state file: then nothing is taken back beyond that.

use crate::api::origin::{Origin, Way};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Changes that are kept.
pub const MOST: usize = 200;
/// Bytes of all lines that take changes back, in memory as in the file; the oldest changes give way.
pub const MOST_BYTES: usize = 16 << 20;
/// Bytes of one change's. What takes back a larger one is not kept.
pub const MOST_OF_ONE: usize = 8 << 20;
/// The largest file that is read: it is written anew before it has twice the bytes that are kept.
const LARGEST: u64 = 64 << 20;
/// Bytes that the file may have beyond what is kept before it is written anew.
const SLACK: u64 = 256 << 10;
/// The highest number that a file may have: no daemon comes so far, and all that follow can be counted.
const HIGHEST: u64 = 1 << 53;
/// The longest text of a command.
const LONGEST_COMMAND: usize = 400;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1, over restarts.
    pub number: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The version of the configuration that it led to, which each process counts from 1.
    pub version: u64,
    /// Who.
    pub origin: Origin,
    /// What was asked for.
    pub command: String,
    /// Fingerprint of what was before.
    pub before: u64,
    /// Fingerprint of what is after it.
    pub after: u64,
    /// Appended to the lines of `save`, these lead back; `None`: nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Vec<String>>,
    /// It is taken back unless it is confirmed in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Deadline>,
    /// It was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_confirmed: bool,
}

/// Until when a change is to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// How long was given.
    pub seconds: u32,
    /// Milliseconds since 1970.
    pub until_ms: u64,
}

/// What a line of the file says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record<'a> {
    Change(std::borrow::Cow<'a, Entry>),
    Confirmed { number: u64 },
}

/// A change that is to be noted.
#[derive(Clone, Debug)]
pub struct New {
    /// The version that it will lead to.
    pub version: u64,
    /// Who.
    pub origin: Origin,
    /// What was asked for.
    pub command: String,
    /// Fingerprints of what is before and after.
    pub fingerprints: (u64, u64),
    /// What leads back.
    pub undo: Vec<String>,
    /// Seconds in which it is to be confirmed.
    pub confirm: Option<u32>,
}

/// Why a change cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// There is none.
    #[error("no change is known that could be taken back")]
    Empty,
    /// It is not known, or not any more.
    #[error("change {0} is not in the history (lbctl history)")]
    Unknown(u64),
    /// It has something in between that leads nowhere.
    #[error("change {0} cannot be taken back: {1}")]
    Blocked(u64, &'static str),
}

/// All changes that are known.
#[derive(Debug, Default)]
pub struct History {
    /// `None`: it is in memory alone.
    path: Option<PathBuf>,
    entries: VecDeque<Entry>,
    /// Of the lines that lead back.
    bytes: usize,
    /// The last number that was given.
    last: u64,
    /// Of the file; `None`: it is to be written anew.
    length: Option<u64>,
    /// It was written to and not flushed.
    is_dirty: bool,
    has_warned: bool,
}

/// Now.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl History {
    /// In memory alone.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// What is in the file at `path`, and is kept there from now on.
    pub fn open(path: PathBuf) -> Self {
        let mut history = Self { path: Some(path.clone()), ..Self::default() };
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return history,
            Err(error) => {
                log::warn!(
                    "{}: {error}: the history of changes begins anew, in memory alone",
                    path.display()
                );
                return Self::default();
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let (mut is_whole, mut damaged) = (text.is_empty() || text.ends_with('\n'), 0);
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Record::Change(entry)) if (history.last + 1..=HIGHEST).contains(&entry.number) => {
                    history.add(entry.into_owned());
                }
                Ok(Record::Confirmed { number }) => history.set_confirmed(number),
                Ok(Record::Change(_)) | Err(_) => damaged += 1,
            }
        }
        if damaged > 0 {
            is_whole = false;
            log::warn!("{}: {damaged} damaged lines are left out", path.display());
        }
        history.length = is_whole.then_some(bytes.len() as u64);
        history
    }

    /// Whether it is in a file.
    pub fn outlives_the_process(&self) -> bool {
        self.path.is_some()
    }

    /// All, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// What is configured at the start has this fingerprint. If that is not what the last change has left, or there is
    /// none, it is noted.
    pub fn begin(&mut self, fingerprint: u64, version: u64, from: String) {
        let last = self.entries.back().map(|last| last.after);
        if last == Some(fingerprint) {
            return;
        }
        if last.is_some() {
            log::info!("services are not what the last change in the history has left: {from}");
        }
        let before = last.unwrap_or(fingerprint);
        let entry = Entry {
            number: self.last + 1,
            time_ms: now_ms(),
            version,
            origin: Origin { by: Way::Lbd, ..Origin::default() },
            command: from,
            before,
            after: fingerprint,
            undo: None,
            confirm: None,
            is_confirmed: false,
        };
        // Nothing depends on it.
        let _ = self.append(entry);
    }

    /// Notes a change that is about to be made. Returns its number.
    ///
    /// # Errors
    /// Of a change that is to be confirmed: the file cannot be written, so that the next process would not know of it;
    /// or it is too large to be taken back. The change is not noted then.
    pub fn note(&mut self, new: New) -> io::Result<u64> {
        let New { version, origin, mut command, fingerprints: (before, after), undo, confirm } = new;
        if let Some((end, _)) = command.char_indices().nth(LONGEST_COMMAND) {
            command.truncate(end);
            command += " …";
        }
        let time_ms = now_ms();
        let deadline = |seconds| Deadline { seconds, until_ms: time_ms + u64::from(seconds) * 1000 };
        let undo = (bytes_of(&undo) <= MOST_OF_ONE).then_some(undo);
        if confirm.is_some() && undo.is_none() {
            return Err(io::Error::other(format!("what takes it back has more than {MOST_OF_ONE} bytes")));
        }
        let (number, confirm) = (self.last + 1, confirm.map(deadline));
        let must_be_kept = confirm.is_some() && self.path.is_some();
        let entry = Entry {
            number,
            time_ms,
            version,
            origin,
            command,
            before,
            after,
            undo,
            confirm,
            is_confirmed: false,
        };
        let noted = self.append(entry).and_then(|()| if must_be_kept { self.flush() } else { Ok(()) });
        if let Err(error) = noted
            && must_be_kept
        {
            self.take_back_last();
            return Err(error);
        }
        Ok(number)
    }

    /// The last change was not made after all.
    pub fn take_back_last(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry.undo.as_deref().map_or(0, bytes_of);
            self.last = entry.number - 1;
            self.length = None;
            self.write_anew();
        }
    }

    /// The last change, if it waits to be confirmed.
    pub fn pending(&self) -> Option<(u64, Deadline)> {
        let last = self.entries.back()?;
        let deadline = last.confirm.filter(|_| !last.is_confirmed)?;
        Some((last.number, deadline))
    }

    /// The last change is confirmed. Returns its number; `None`: it waits for nothing.
    ///
    /// # Errors
    /// This cannot be written.
    pub fn confirm(&mut self) -> io::Result<Option<u64>> {
        let Some((number, _)) = self.pending() else { return Ok(None) };
        self.write(&Record::Confirmed { number }).and_then(|()| self.flush())?;
        self.set_confirmed(number);
        Ok(Some(number))
    }

    /// The lines that lead from what has this fingerprint back to what was after change `to`, or, if that is `None`,
    /// before the last; with the number of the change that is the last one then.
    ///
    /// # Errors
    /// Nothing leads there.
    pub fn way_back(&self, fingerprint: u64, to: Option<u64>) -> Result<(u64, Vec<&str>), NoWay> {
        let last = self.entries.back().ok_or(NoWay::Empty)?;
        let to = to.unwrap_or(last.number - 1);
        let first = self.entries.front().map_or(0, |first| first.number);
        if to > last.number || to + 1 < first {
            return Err(NoWay::Unknown(to));
        }
        let (mut lines, mut now) = (Vec::new(), fingerprint);
        for entry in self.entries.iter().rev().take_while(|entry| entry.number > to) {
            if entry.after != now {
                return Err(NoWay::Blocked(entry.number, "something else has changed the services since"));
            }
            let Some(undo) = &entry.undo else {
                let why = "the services were set by a start, or it is too large";
                return Err(NoWay::Blocked(entry.number, why));
            };
            lines.extend(undo.iter().map(String::as_str));
            now = entry.before;
        }
        Ok((to, lines))
    }

    /// Has what was written survive a power cut. Without it a cut costs the last changes' lines, and nothing else.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| self.is_dirty) else { return Ok(()) };
        self.is_dirty = false;
        // fsync is about the file, whichever descriptor it was written by.
        let flushed = options().append(true).open(path).and_then(|file| file.sync_data());
        self.warned(flushed)
    }

    fn append(&mut self, entry: Entry) -> io::Result<()> {
        let written = self.write(&Record::Change(std::borrow::Cow::Borrowed(&entry)));
        self.add(entry);
        written
    }

    fn add(&mut self, entry: Entry) {
        self.last = entry.number;
        self.bytes += entry.undo.as_deref().map_or(0, bytes_of);
        self.entries.push_back(entry);
        while self.entries.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.undo.as_deref().map_or(0, bytes_of);
        }
    }

    fn set_confirmed(&mut self, number: u64) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.number == number) {
            entry.is_confirmed = true;
        }
    }

    /// Appends a line; writes the file anew first if that is due.
    fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        if self.length.is_none_or(|length| length > 2 * self.bytes as u64 + SLACK) {
            self.write_anew();
        }
        let written = append(&path, self.length, &line(record));
        // What a failure has left is not followed by anything.
        self.length = written.as_ref().ok().copied();
        self.is_dirty = true;
        self.warned(written.map(drop))
    }

    fn write_anew(&mut self) {
        let Some(path) = &self.path else { return };
        let mut text = Vec::new();
        for entry in &self.entries {
            text.append(&mut line(&Record::Change(std::borrow::Cow::Borrowed(entry))));
        }
        let written = replace(path, &text).map(|()| text.len() as u64);
        self.length = written.as_ref().ok().copied();
        let _ = self.warned(written.map(drop));
    }

    /// The first failure in a row is a warning.
    fn warned(&mut self, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = &result
            && !self.has_warned
        {
            let path = self.path.as_deref().unwrap_or(Path::new("")).display();
            log::warn!("{path}: {error}: changes are not in the history that outlives this process");
        }
        self.has_warned = result.is_err();
        result
    }
}

fn bytes_of(lines: &[String]) -> usize {
    lines.iter().map(|line| line.len() + 3).sum()
}

/// Entries have text keys, so they always have a JSON form.
fn line(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(record).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Neither waits, as for a FIFO, nor follows a link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags((nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW).bits());
    options
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = regular(options().read(true).open(path)?)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// Returns the file's length then. It is written to where it ends: if it has another length than it was left with,
/// somebody else has written to it, and what is added stands on a line of its own.
fn append(path: &Path, length: Option<u64>, line: &[u8]) -> io::Result<u64> {
    let mut file = regular(options().append(true).create(true).open(path)?)?;
    let found = file.metadata()?.len();
    let mut text = Vec::with_capacity(line.len() + 1);
    if found > 0 && Some(found) != length {
        text.push(b'\n');
    }
    text.extend_from_slice(line);
    if let Err(error) = file.write_all(&text) {
        let _ = file.set_len(found);
        return Err(error);
    }
    Ok(found + text.len() as u64)
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(io::Error::other("not a regular file"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut temporary = tempfile::Builder::new().prefix(&format!(".{name}.new-")).tempfile_in(directory)?;
    temporary.write_all(text)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
