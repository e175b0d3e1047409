//! Which of stdin, stdout and stderr is a terminal: only there something is painted, or said of what is under way.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

/// The terminals of a process; of a run without one, none.
#[derive(Debug, Default)]
pub struct Terminals {
    /// Whether a person types what is read.
    pub(crate) stdin: bool,
    /// What `--watch` paints on.
    pub(crate) stdout: Option<File>,
    /// Where it is said how far something is.
    pub(crate) stderr: Option<File>,
}

impl Terminals {
    /// Those of this process. One that can't move its cursor (`TERM=dumb`) is taken for a file.
    pub fn of_process() -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self {
            stdin: io::stdin().is_terminal(),
            stdout: terminal(io::stdout()).filter(|_| !is_dumb),
            stderr: terminal(io::stderr()).filter(|_| !is_dumb),
        }
    }
}

/// The terminal behind it, if it is one; what stands in a buffer of `of` is not waited for.
fn terminal(of: impl AsFd + IsTerminal) -> Option<File> {
    if !of.is_terminal() {
        return None;
    }
    of.as_fd().try_clone_to_owned().ok().map(File::from)
}
