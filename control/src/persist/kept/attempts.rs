//! How often in a row a process has been ended by what it read of another, as it seems: the next one must not read it
//! again. It seems so if the process ended before it had read all, or later by a fault of its own. Who kills it later
//! has other reasons.

use super::folder::{Folder, FolderError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The file's name.
const NAME: &str = "attempts";
/// Attempts that may fail in a row.
pub(super) const MOST: u8 = 3;

/// How the last process stands that has begun to read: if it has ended, then as it was.
const SOUND: u8 = 0;
const READS: u8 = 1;
const FAULT: u8 = 2;
/// Where that is in the file.
const STANDING: u64 = 1;

/// The number of attempts and the standing of the last one, in a file of two bytes. They are there from the start on,
/// so writing them takes no memory.
#[derive(Debug)]
pub(super) struct Attempts(File);

impl Attempts {
    /// The file in this folder. What is in no such file counts as none.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub(super) fn open(folder: &Folder) -> Result<Self, FolderError> {
        let file = folder.lasting_file(NAME)?;
        let failed = |error| FolderError::Io(folder.path().join(NAME), error);
        if file.metadata().map_err(failed)?.len() != 2 {
            file.set_len(0).and_then(|()| file.write_all_at(&[0, SOUND], 0)).map_err(failed)?;
        }
        Ok(Self(file))
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> u8 {
        let mut found = [0, SOUND];
        match self.0.read_exact_at(&mut found, 0) {
            Ok(()) if found[1] != SOUND => found[0],
            _ => 0,
        }
    }

    /// One begins to read.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.0.write_all_at(&[self.failed().saturating_add(1), READS], 0)
    }

    /// It has read all. Only a fault counts from now on, until [`forget`](Self::forget) is called.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn through(&self) -> io::Result<()> {
        self.0.write_all_at(&[SOUND], STANDING)
    }

    /// From now on, a signal that a fault raises is noted before it ends this process. Once for a process.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(super) fn note_faults(&self) -> io::Result<()> {
        memory::note_faults(&self.0, STANDING, FAULT)
    }

    /// A thread has panicked.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn note_panic(&self) -> io::Result<()> {
        self.0.write_all_at(&[FAULT], STANDING)
    }

    /// None has failed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn forget(&self) -> io::Result<()> {
        self.0.write_all_at(&[0, SOUND], 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn attempts_are_counted_over_processes_until_one_succeeds() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(&above.path().join("kept")).unwrap();
        for failed in 0..MOST {
            let attempts = Attempts::open(&folder).unwrap();
            assert_eq!(attempts.failed(), failed);
            attempts.begin().unwrap();
        }
        let attempts = Attempts::open(&folder).unwrap();
        assert_eq!(attempts.failed(), MOST);
        attempts.forget().unwrap();
        assert_eq!(Attempts::open(&folder).unwrap().failed(), 0);
    }

    #[test]
    fn what_ends_it_once_it_has_read_all_counts_if_it_is_a_fault() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(&above.path().join("kept")).unwrap();
        let next = || Attempts::open(&folder).unwrap();
        for _ in 0..10 {
            let killed = next();
            killed.begin().unwrap();
            killed.through().unwrap();
            assert_eq!(next().failed(), 0);
        }
        for failed in 1..=MOST {
            let panicked = next();
            panicked.begin().unwrap();
            panicked.through().unwrap();
            panicked.note_panic().unwrap();
            assert_eq!(next().failed(), failed);
        }
        let killed = next();
        killed.begin().unwrap();
        killed.through().unwrap();
        assert_eq!(next().failed(), 0, "it has read all, and it was not that which ended it");
        // After a while it counts no more.
        let sound = next();
        sound.begin().unwrap();
        sound.forget().unwrap();
        sound.note_panic().unwrap();
        assert_eq!(next().failed(), 0);
    }

    #[test]
    fn a_damaged_file_counts_as_no_attempt() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(&above.path().join("kept")).unwrap();
        let attempts = Attempts::open(&folder).unwrap();
        attempts.begin().unwrap();
        fs::write(folder.path().join(NAME), "seven").unwrap();
        assert_eq!(Attempts::open(&folder).unwrap().failed(), 0);
        attempts.0.write_all_at(&[u8::MAX, READS], 0).unwrap();
        attempts.begin().unwrap();
        assert_eq!(attempts.failed(), u8::MAX, "it does not begin again");
    }
}
