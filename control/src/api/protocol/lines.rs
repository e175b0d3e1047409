//! The lines of `restore`, and what is wrong with some.

use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Lines as one text: a request of many megabytes takes little more memory than its bytes. In JSON an array of strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    text: String,
    /// Where each line ends in `text`.
    ends: Vec<u32>,
}

impl Lines {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Each, without its end.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start as usize..*end as usize])
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        // A request is shorter than 4 GiB by far.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }
}

impl<T: AsRef<str>> FromIterator<T> for Lines {
    fn from_iter<I: IntoIterator<Item = T>>(lines: I) -> Self {
        let mut all = Self::default();
        lines.into_iter().for_each(|line| all.push(line.as_ref()));
        all
    }
}

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(All)
    }
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of lines")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Lines, A::Error> {
        let mut lines = Lines::default();
        while array.next_element_seed(One(&mut lines))?.is_some() {}
        Ok(lines)
    }
}

/// Adds one line to all.
struct One<'a>(&'a mut Lines);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line")
    }

    fn visit_str<E>(self, line: &str) -> Result<(), E> {
        self.0.push(line);
        Ok(())
    }
}

/// A line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultyLine {
    /// Its number, from 1; 0: all of them are meant.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// All lines that are wrong. At most [`MOST_NAMED`](Self::MOST_NAMED) are named, so that the answer stays short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultyLines {
    /// The first of them.
    pub named: Vec<FaultyLine>,
    /// Those beyond.
    pub more: usize,
}

impl FaultyLines {
    /// Lines that are named.
    pub const MOST_NAMED: usize = 100;

    /// Adds one.
    pub fn add(&mut self, line: usize, message: String) {
        if self.named.len() < Self::MOST_NAMED {
            self.named.push(FaultyLine { line, message });
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for FaultyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            // Of a file: what is wrong with all of it.
            0 => f.write_str(&self.message),
            line => write!(f, "line {line}: {}", self.message),
        }
    }
}

/// The first, and how many others there are.
impl fmt::Display for FaultyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.named.len().saturating_sub(1) + self.more;
        match self.named.first() {
            Some(first) => first.fmt(f)?,
            None => return f.write_str("no line is faulty"),
        }
        match others {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more faulty line)"),
            _ => write!(f, " (and {others} more faulty lines)"),
        }
    }
}
