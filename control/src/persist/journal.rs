//! Changes that are appended to a large state file, each flushed to the disk before it counts.

use crate::text::ipvsadm_lines;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A file below this size, in bytes, is replaced at each change, which takes as long as appending to it: some thousand
/// reals.
const SMALL: u64 = 64 << 10;

/// A state file that changes are appended to.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Bytes before the first change.
    base: u64,
    /// Bytes in all.
    length: u64,
    /// Changes appended.
    changes: u64,
}

impl Journal {
    /// On a file of this length that nothing is appended to yet; `None`: it is small.
    pub(super) fn new(file: File, length: u64) -> Option<Self> {
        (length >= SMALL).then_some(Self { file, base: length, length, changes: 0 })
    }

    /// Whether this is the file at `path`, as it was left.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino(), metadata.len());
        let ours = self.file.metadata().map(identity);
        let there = fs::symlink_metadata(path).map(identity);
        matches!((ours, there), (Ok(ours), Ok(there)) if ours == there && ours.2 == self.length)
    }

    /// Appends a change. Returns whether there was room for it: there is for as many bytes as the file had before the
    /// first one.
    ///
    /// # Errors
    /// The file is what it was.
    pub(super) fn append(&mut self, lines: &[String]) -> io::Result<bool> {
        if lines.is_empty() {
            return Ok(true);
        }
        let number = self.changes + 1;
        let mut text = lines.join("\n");
        text.push('\n');
        text += &ipvsadm_lines::change_line(number, lines.iter().map(String::as_str));
        text.push('\n');
        let length = self.length + text.len() as u64;
        if length > 2 * self.base {
            return Ok(false);
        }
        let written =
            self.file.write_all_at(text.as_bytes(), self.length).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // If this fails too, the lines that are there do not count, for they are not whole, or the caller replaces
            // the file.
            let _ = self.file.set_len(self.length).and_then(|()| self.file.sync_data());
            return Err(error);
        }
        (self.length, self.changes) = (length, number);
        Ok(true)
    }
}
