//! The state file: services and reals set by commands, kept over a restart.
//!
//! It is replaced as a whole: a temporary file in the same directory is written and flushed to the disk,
//! then renamed over it, and the directory flushed. Whenever the power goes, the file is either the old
//! one or the new one.

use crate::change::{self, Refused};
use crate::model::{Links, Model};
use crate::protocol::{FaultyLine, FaultyLines};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The largest that is read: 65,536 reals with long lines fit several times.
const LARGEST: u64 = 64 << 20;

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

/// Where the model is kept.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// At this path, or where its symbolic link leads.
    pub fn new(path: &Path) -> Self {
        // Renaming over a link would replace the link.
        Self { path: fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()) }
    }

    /// The model in the file; `None` if there is no file. `model` gives the timeouts where the file has
    /// none.
    ///
    /// # Errors
    /// The file is there but cannot be read or is damaged: it is not silently replaced.
    pub fn load(&self, model: &Model, links: &Links) -> Result<Option<Model>, LoadError> {
        let failed = |error| LoadError::Read { path: self.path.clone(), error };
        let text = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.len() > LARGEST => {
                return Err(failed(io::Error::other(format!("larger than {LARGEST} bytes"))));
            }
            Ok(_) => fs::read(&self.path).map_err(failed)?,
        };
        // What is not text is found faulty as a line, and so named by its number.
        let text = String::from_utf8_lossy(&text);
        let faulty = |refused| LoadError::Lines { path: self.path.clone(), refused };
        change::restore(model, links, text.lines()).map(Some).map_err(faulty)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file is what it was, unless only flushing the directory failed.
    pub fn write(&self, model: &Model) -> io::Result<()> {
        let directory = self.directory();
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        let mut lines = change::save(model).join("\n");
        lines.push('\n');
        let mut temporary = tempfile::Builder::new().prefix(&self.prefix()).tempfile_in(directory)?;
        temporary.write_all(lines.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }

    /// Removes temporary files that a kill or power cut has left; they are never read.
    pub fn sweep(&self) {
        let prefix = self.prefix();
        let Ok(entries) = fs::read_dir(self.directory()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    fn prefix(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!(".{name}.new-")
    }
}
