//! Whether a file of lines has lost some of them.
//!
//! ```text
//! # natlb state: whole only with its last line
//! --set 900 120 300                                                    all of a configuration
//! -A -t 192.168.10.100:80 -s wrr
//! # natlb state: the end, lines: 2
//! -a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1                       what a change has added since
//! # natlb state: change 1, lines: 1, check: 64b5f9f1c2d0a3e7
//! ```
//!
//! A writer that is interrupted leaves the last change without its line, or with another check: then that change counts
//! as not made.

use super::words::words;
use std::fmt;

/// The first line of a file that is whole only with its last one.
pub const FIRST_LINE: &str = "# natlb state: whole only with its last line";
/// How the last line begins; the number of lines between the first and this one follows.
const LAST_LINE: &str = "# natlb state: the end, lines: ";
/// How the line behind a change begins; the change's number follows.
const CHANGE_LINE: &str = "# natlb state: change ";

/// The last line of a file with this many lines between its first and its last one.
pub fn last_line(lines: usize) -> String {
    format!("{LAST_LINE}{lines}")
}

/// The line behind the lines of a change, which are numbered from 1.
pub fn change_line<'a>(number: u64, lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut check = Check::new(number);
    lines.into_iter().for_each(|line| check.add(line));
    format!("{CHANGE_LINE}{number}, lines: {}, check: {:016x}", check.lines, check.sum)
}

/// Fowler, Noll and Vo's hash (FNV-1a) of a change's lines. It finds what an interrupted write leaves, no forgery.
struct Check {
    lines: usize,
    sum: u64,
}

impl Check {
    fn new(number: u64) -> Self {
        let mut check = Self { lines: 0, sum: 0xcbf2_9ce4_8422_2325 };
        check.take(&number.to_le_bytes());
        check
    }

    fn add(&mut self, line: &str) {
        self.lines += 1;
        self.take(line.as_bytes());
        self.take(b"\n");
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.sum = (self.sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
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
    /// A change is not as it was written, but another one follows.
    Change(u64),
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { found, expected } => {
                write!(f, "some of it is missing, or more: {found} lines, and its last one says {expected}")?;
            }
            Self::NoEnd => write!(f, "its end is missing: \"{LAST_LINE}…\"")?,
            Self::Change(number) => {
                return write!(
                    f,
                    "change {number} after its end is not whole; if it was changed by hand, remove the lines that begin \
                     with \"# natlb state\""
                );
            }
        }
        f.write_str("; if it was changed by hand, remove its first and last line")
    }
}

impl std::error::Error for CutOff {}

/// How many of the lines count: all of them, except those of a last change that is not whole. A file without a first
/// and a last line of ours says nothing of its end, and all of it counts. Blank lines and comments are skipped.
///
/// # Errors
/// What is missing.
pub fn check_whole<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<usize, CutOff> {
    let mut lines = lines.into_iter();
    let (mut has_first, mut found, mut all) = (false, 0, 0);
    for line in lines.by_ref() {
        all += 1;
        let line = line.trim();
        if let Some(number) = line.strip_prefix(LAST_LINE) {
            let expected = number.parse().unwrap_or(usize::MAX);
            return if expected == found {
                check_changes(all, lines)
            } else {
                Err(CutOff::Count { found, expected })
            };
        } else if line == FIRST_LINE {
            has_first = true;
        } else {
            found += usize::from(words(line).next().is_some());
        }
    }
    if has_first { Err(CutOff::NoEnd) } else { Ok(all) }
}

/// How many lines count, of which `before` come before the first change.
fn check_changes<'a>(before: usize, lines: impl Iterator<Item = &'a str>) -> Result<usize, CutOff> {
    let (mut whole, mut number, mut damaged) = (before, 1, false);
    let mut check = Check::new(number);
    for (line, count) in lines.zip(before + 1..) {
        let Some(rest) = line.strip_prefix(CHANGE_LINE) else {
            check.add(line);
            continue;
        };
        if damaged {
            return Err(CutOff::Change(number));
        }
        let Check { lines, sum } = check;
        damaged = rest != format!("{number}, lines: {lines}, check: {sum:016x}");
        if !damaged {
            whole = count;
            number += 1;
        }
        check = Check::new(number);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration of one line, and changes of these lines each.
    fn file(changes: &[&[&str]]) -> Vec<String> {
        let mut lines = vec![FIRST_LINE.to_owned(), "--set 1 2 3".into(), last_line(1)];
        for (number, change) in (1..).zip(changes) {
            lines.extend(change.iter().map(|line| (*line).to_owned()));
            lines.push(change_line(number, change.iter().copied()));
        }
        lines
    }

    fn check(lines: &[String]) -> Result<usize, CutOff> {
        check_whole(lines.iter().map(String::as_str))
    }

    #[test]
    fn a_last_change_that_is_not_whole_does_not_count() {
        let whole = file(&[&["-C"], &["-D -t 1.2.3.4:5", "--set 4 5 6"]]);
        assert_eq!(check(&whole), Ok(8));
        // Where each of the changes ends.
        for (length, counted) in [(7, 5), (6, 5), (5, 5), (4, 3), (3, 3)] {
            assert_eq!(check(&whole[..length]), Ok(counted), "{length} lines");
        }
        let mut other = whole.clone();
        other[5] = "\0".repeat(other[5].len());
        assert_eq!(check(&other), Ok(5), "what was not written yet is zero");
        other = whole.clone();
        other[3] = "-D -t 1.2.3.4:6".into();
        assert_eq!(check(&other), Err(CutOff::Change(1)), "another one follows");
        other = whole;
        other.drain(3..5);
        assert_eq!(check(&other), Ok(3), "not the first");
    }
}
