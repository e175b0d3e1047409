//! Whether a file of lines has lost its end.

use super::words::words;
use std::fmt;

/// The first line of a file that is whole only with its last one.
pub const FIRST_LINE: &str = "# natlb state: whole only with its last line";
/// How the last line begins; the number of lines between the first and this one follows.
const LAST_LINE: &str = "# natlb state: the end, lines: ";

/// The last line of a file with this many lines between its first and its last one.
pub fn last_line(lines: usize) -> String {
    format!("{LAST_LINE}{lines}")
}

/// Lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOff {
    /// The last line is there, but not as many lines before it as it says.
    Count {
        /// Lines found.
        found: usize,
        /// Lines that the last one says there are.
        expected: usize,
    },
    /// The first line is there, and the last one is not.
    NoEnd,
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { found, expected } => {
                write!(f, "some of it is missing, or more: {found} lines, and its last one says {expected}")?;
            }
            Self::NoEnd => write!(f, "its end is missing: \"{LAST_LINE}…\"")?,
        }
        f.write_str("; if it was changed by hand, remove its first and last line")
    }
}

impl std::error::Error for CutOff {}

/// Whether no line is missing. A file without a first and a last line of ours says nothing of its end, and passes.
/// Blank lines and comments do not count.
///
/// # Errors
/// What is missing.
pub fn check_whole<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<(), CutOff> {
    let (mut has_first, mut found, mut expected) = (false, 0, None);
    for line in lines {
        let line = line.trim();
        if let Some(number) = line.strip_prefix(LAST_LINE) {
            expected = Some(number.parse::<usize>().unwrap_or(usize::MAX));
        } else if line == FIRST_LINE {
            has_first = true;
        } else {
            found += usize::from(words(line).next().is_some());
        }
    }
    match expected {
        Some(expected) if expected != found => Err(CutOff::Count { found, expected }),
        None if has_first => Err(CutOff::NoEnd),
        _ => Ok(()),
    }
}
