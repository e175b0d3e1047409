//! How often in a row a process has ended soon after it began to read what another had left: if it is that which ends
//! it, the next one must not read it again.

use super::folder::{Folder, FolderError};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The file's name.
const NAME: &str = "attempts";
/// Attempts that may fail in a row.
pub(super) const MOST: u8 = 3;

/// The number, in a file of one byte. The byte is there from the start on, so writing it takes no memory.
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
        if file.metadata().map_err(failed)?.len() != 1 {
            file.set_len(0).and_then(|()| file.write_all_at(&[0], 0)).map_err(failed)?;
        }
        Ok(Self(file))
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> u8 {
        let mut number = [0];
        self.0.read_exact_at(&mut number, 0).map_or(0, |()| number[0])
    }

    /// One begins. It counts as failed until [`forget`](Self::forget) is called.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.0.write_all_at(&[self.failed().saturating_add(1)], 0)
    }

    /// None has failed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn forget(&self) -> io::Result<()> {
        self.0.write_all_at(&[0], 0)
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
    fn a_damaged_file_counts_as_no_attempt() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(&above.path().join("kept")).unwrap();
        let attempts = Attempts::open(&folder).unwrap();
        attempts.begin().unwrap();
        fs::write(folder.path().join(NAME), "seven").unwrap();
        assert_eq!(Attempts::open(&folder).unwrap().failed(), 0);
        attempts.0.write_all_at(&[u8::MAX], 0).unwrap();
        attempts.begin().unwrap();
        assert_eq!(attempts.failed(), u8::MAX, "it does not begin again");
    }
}
