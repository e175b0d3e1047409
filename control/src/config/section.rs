//! Reads the keys of one table; what is wrong is noted and the reading goes on.

use super::problem::Problems;
use crate::text::addresses::Fault;
use std::ops::{Deref, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    /// Offset into the text.
    pub(super) at: usize,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A table that is being read. Every getter notes the key as known; [`Section::finish`] reports the
/// others. A getter gives `None` both for an absent key and for a faulty one, which it has reported.
pub(super) struct Section<'a> {
    /// As `[eal]`, for messages.
    title: &'static str,
    pub(super) at: usize,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(title: &'static str, at: usize, table: &'a DeTable<'a>) -> Self {
        Self { title, at, table, known: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Whether a key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.keys().any(|name| name.get_ref() == key)
    }

    /// Reports a key that must be there and is not.
    pub(super) fn require(&self, key: &str, example: &str, problems: &mut Problems) {
        if !self.has(key) {
            problems.add(self.at, format!("{}: {key} is missing, as in {key} = {example}", self.title));
        }
    }

    /// Reports a key that is not supported yet.
    pub(super) fn later(&mut self, key: &'static str, problems: &mut Problems) {
        if let Some(value) = self.get(key) {
            problems.add(value.span().start, format!("not supported yet: {key}"));
        }
    }

    /// A string that is not empty.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<&'a str>> {
        let value = self.get(key)?;
        text(key, value, problems)
    }

    /// A string that `parse` takes.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Fault>,
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let text = self.text(key, problems)?;
        parsed(key, text, parse, problems)
    }

    /// A whole number.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        problems: &mut Problems,
    ) -> Option<At<u32>> {
        let value = self.get(key)?;
        number(key, value, range, problems)
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<bool>> {
        let value = self.get(key)?;
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Boolean(value) => Some(At { value: *value, at }),
            other => {
                problems.add(at, format!("{key}: expected true or false, found {}", kind(other)));
                None
            }
        }
    }

    /// A table with a number for each of its keys, which the caller judges; an absent one counts as empty.
    pub(super) fn numbers(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        problems: &mut Problems,
    ) -> Option<Vec<(&'a str, u32)>> {
        let value = self.get(key)?;
        let at = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            let found = kind(value.get_ref());
            problems.add(at, format!("{key}: expected a table as {{ tcp = 900 }}, found {found}"));
            return None;
        };
        let each = table.iter().filter_map(|(name, value)| {
            let name: &'a str = name.get_ref();
            Some((name, number(&format!("{key}: {name}"), value, range.clone(), problems)?.value))
        });
        Some(each.collect())
    }

    /// Where a key's value stands, of one that is there.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        let value = self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value);
        value.map(|value| value.span().start)
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let At { value: found, at } = self.text(key, problems)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Some(At { value: *value, at });
        }
        let expected: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        problems.add(at, format!("{key}: expected {}, found {found:?}", expected.join(" or ")));
        None
    }

    /// An array of values, each for the caller to read.
    pub(super) fn array(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<&'a [Spanned<DeValue<'a>>]>> {
        let value = self.get(key)?;
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Array(array) => Some(At { value: &array[..], at }),
            other => {
                problems.add(at, format!("{key}: expected an array, found {}", kind(other)));
                None
            }
        }
    }

    /// A string, or the strings of an array where that can be more than one.
    pub(super) fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<At<&'a str>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let several = match value.get_ref() {
            DeValue::Array(array) => &array[..],
            _ => std::slice::from_ref(value),
        };
        several.iter().filter_map(|value| text(key, value, problems)).collect()
    }

    /// A value of any type, for the caller to read.
    pub(super) fn any(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.get(key)
    }

    /// A table of its own, as `[eal]`; an absent one counts as empty.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        title: &'static str,
        problems: &mut Problems,
    ) -> Option<Section<'a>> {
        let value = self.get(key)?;
        let found = as_table(title, value);
        if found.is_none() {
            let found = kind(value.get_ref());
            problems.add(value.span().start, format!("{key}: expected one table {title}, found {found}"));
        }
        found
    }

    /// An array of tables, as `[[port]]`; an absent one counts as empty.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
        title: &'static str,
        problems: &mut Problems,
    ) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let mut expected = |value: &Spanned<DeValue<'_>>| {
            let found = kind(value.get_ref());
            problems.add(value.span().start, format!("{key}: expected tables {title}, found {found}"));
        };
        let DeValue::Array(array) = value.get_ref() else {
            expected(value);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for value in array.iter() {
            match as_table(title, value) {
                Some(section) => sections.push(section),
                None => expected(value),
            }
        }
        sections
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, problems: &mut Problems) {
        for name in self.table.keys().filter(|name| !self.known.contains(&name.get_ref().as_ref())) {
            let unknown = name.get_ref().as_ref();
            let near = self.known.iter().map(|known| (strsim::damerau_levenshtein(known, unknown), *known));
            let near = near.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min();
            let right = match near {
                Some((_, known)) => format!("did you mean {known}?"),
                None => format!("known: {}", self.known.join(", ")),
            };
            let title = self.title;
            problems.add(name.span().start, format!("{title}: unknown key {unknown:?}; {right}"));
        }
    }
}

fn as_table<'a>(title: &'static str, value: &'a Spanned<DeValue<'a>>) -> Option<Section<'a>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Section::new(title, value.span().start, table)),
        _ => None,
    }
}

/// A string that is not empty and holds no NUL, which no path or device name may.
pub(super) fn text<'a>(
    key: &str,
    value: &'a Spanned<DeValue<'a>>,
    problems: &mut Problems,
) -> Option<At<&'a str>> {
    let at = value.span().start;
    let message = match value.get_ref() {
        DeValue::String(text) if text.is_empty() => format!("{key}: expected a string, found an empty one"),
        DeValue::String(text) if text.contains('\0') => format!("{key}: a NUL is not allowed"),
        DeValue::String(text) => return Some(At { value: text, at }),
        other => format!("{key}: expected a string, found {}", kind(other)),
    };
    problems.add(at, message);
    None
}

/// A string that `parse` takes.
pub(super) fn parsed<T>(
    key: &str,
    text: At<&str>,
    parse: impl Fn(&str) -> Result<T, Fault>,
    problems: &mut Problems,
) -> Option<At<T>> {
    match parse(text.value) {
        Ok(value) => Some(At { value, at: text.at }),
        Err(fault @ Fault::NotSupported(_)) => {
            problems.add(text.at, fault.to_string());
            None
        }
        Err(fault) => {
            problems.add(text.at, format!("{key}: {fault}"));
            None
        }
    }
}

/// A whole number.
pub(super) fn number(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    range: RangeInclusive<u32>,
    problems: &mut Problems,
) -> Option<At<u32>> {
    let at = value.span().start;
    let found = match value.get_ref() {
        DeValue::Integer(number) => {
            let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok();
            if let Some(value) = parsed.filter(|value| range.contains(value)) {
                return Some(At { value, at });
            }
            number.to_string()
        }
        other => kind(other).to_owned(),
    };
    let (least, most) = range.into_inner();
    problems.add(at, format!("{key}: expected a number from {least} to {most}, found {found}"));
    None
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
