//! What libraries write to stderr by themselves while devices are started: the C library about an argument of the EAL,
//! a driver about its device. As JSON it becomes records, like everything else.
//!
//! It holds for the start alone. Later nothing is known to write there but a fault that ends the process, as
//! `malloc(): …`, and what stands in a pipe would be lost with it.

use super::OBJECTS;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, stderr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

/// The target of the records.
const TARGET: &str = "stderr";

/// Bytes of a line; what is longer becomes several.
const LONGEST: u64 = 4096;

/// While this lives, stderr is a pipe whose lines are logged. Dropping it restores stderr, once all are.
pub(crate) struct Stray {
    stderr: OwnedFd,
    reader: Option<JoinHandle<()>>,
}

impl Stray {
    /// Begins; `None` where lines are text, among which everything may stand.
    ///
    /// # Errors
    /// No pipe or thread can be made.
    pub(crate) fn gather() -> io::Result<Option<Self>> {
        if OBJECTS.get().is_none() {
            return Ok(None);
        }
        let kept = fcntl_dupfd_cloexec(stderr(), 3)?;
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let reader = thread::Builder::new().name("stderr".into()).spawn(move || log(File::from(read_end)))?;
        dup2_stderr(&write_end)?;
        Ok(Some(Self { stderr: kept, reader: Some(reader) }))
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        // This closes the last end that is written to, so that the reader ends.
        if dup2_stderr(&self.stderr).is_ok()
            && let Some(reader) = self.reader.take()
        {
            let _ = reader.join();
        }
    }
}

fn log(from: impl Read) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!((&mut from).take(LONGEST).read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        if !text.trim_end().is_empty() {
            log::warn!(target: TARGET, "{}", text.trim_end());
        }
        line.clear();
    }
}
