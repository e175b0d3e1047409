//! What is wrong with a file, and where.

use std::fmt;
use std::path::Path;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; `None`: the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// `FILE:LINE: what is wrong and what would be right`, or `FILE: why`.
    pub fn in_file<'a>(&'a self, path: &'a Path) -> impl fmt::Display + 'a {
        InFile { problem: self, path }
    }
}

struct InFile<'a> {
    problem: &'a Problem,
    path: &'a Path,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem: Problem { line, message }, path } = self;
        match line {
            Some(line) => write!(f, "{}:{line}: {message}", path.display()),
            None => write!(f, "{}: {message}", path.display()),
        }
    }
}

/// Collects problems; finds their lines by offsets into the text.
#[derive(Debug)]
pub(super) struct Problems {
    /// Offsets of the line breaks, ascending.
    breaks: Vec<usize>,
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn of(text: &str) -> Self {
        Self { breaks: text.match_indices('\n').map(|(offset, _)| offset).collect(), found: Vec::new() }
    }

    /// The line, from 1, of the byte at `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.breaks.partition_point(|line_break| *line_break < offset)
    }

    /// Something is wrong at `offset`.
    pub(super) fn add(&mut self, offset: usize, message: impl Into<String>) {
        // A message is one line whatever the file holds.
        let message = message.into().replace(['\n', '\r'], " ");
        self.found.push(Problem { line: Some(self.line(offset)), message });
    }

    /// Something is wrong with the file as a whole.
    pub(super) fn add_for_file(&mut self, message: impl Into<String>) {
        self.found.push(Problem { line: None, message: message.into() });
    }

    /// In the order of the lines; those of the file as a whole last.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        self.found
    }
}
