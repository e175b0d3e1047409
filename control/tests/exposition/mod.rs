//! A strict reader of Prometheus' text format 0.0.4 and of OpenMetrics 1.0: what breaks a rule of the format, or of
//! naming, is a panic that says what.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

#[derive(Debug, Default)]
pub struct Family {
    pub help: String,
    pub kind: String,
    pub unit: String,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Families by name, which in the older form is the samples' name.
#[derive(Debug)]
pub struct Scrape(pub BTreeMap<String, Family>);

impl Scrape {
    /// All samples of this name that have these labels.
    pub fn samples(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let all = self.0.values().flat_map(|family| &family.samples).filter(|sample| sample.name == name);
        let has = |sample: &&Sample| {
            labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|it| it == value))
        };
        all.filter(has).collect()
    }

    /// The value of the only one of them.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        match &self.samples(name, labels)[..] {
            [sample] => sample.value,
            other => panic!("{name} {labels:?}: {other:?}"),
        }
    }

    /// The names of all series that there are or could be.
    pub fn names(&self) -> BTreeSet<&str> {
        let of_samples =
            self.0.values().flat_map(|family| &family.samples).map(|sample| sample.name.as_str());
        self.0.keys().map(String::as_str).chain(of_samples).collect()
    }
}

/// Reads a whole scrape.
pub fn parse(text: &str, format: Format) -> Scrape {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut series = BTreeSet::new();
    let mut is_over = false;
    assert!(text.ends_with('\n'), "the last line is cut off");
    for line in text.lines() {
        assert!(!is_over, "behind the end: {line}");
        if format == Format::OpenMetrics && line == "# EOF" {
            is_over = true;
        } else if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            check_name(name);
            match word {
                "HELP" => {
                    assert!(!families.contains_key(name), "described twice: {name}");
                    current = name.to_owned();
                    let help = unescaped(rest, false);
                    assert!(help.ends_with('.'), "{line}");
                    families.insert(current.clone(), Family { help, ..Family::default() });
                }
                "TYPE" => {
                    assert!(name == current && family(&mut families, name).samples.is_empty(), "{line}");
                    let known = match format {
                        Format::Prometheus => &["counter", "gauge"][..],
                        Format::OpenMetrics => &["counter", "gauge", "info"],
                    };
                    assert!(known.contains(&rest), "{line}");
                    family(&mut families, name).kind = rest.to_owned();
                    let in_name = name.ends_with("_total");
                    assert_eq!(in_name, format == Format::Prometheus && rest == "counter", "{line}");
                }
                "UNIT" => {
                    assert!(format == Format::OpenMetrics && name == current, "{line}");
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                    family(&mut families, name).unit = rest.to_owned();
                }
                _ => panic!("{line}"),
            }
        } else {
            let sample = sample(line);
            let of = family(&mut families, &current);
            let expected = match (format, of.kind.as_str()) {
                (Format::OpenMetrics, "counter") => format!("{current}_total"),
                (Format::OpenMetrics, "info") => format!("{current}_info"),
                _ => current.clone(),
            };
            assert_eq!(sample.name, expected, "not next to its family: {line}");
            assert!(sample.value >= 0.0, "{line}");
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            of.samples.push(sample);
        }
    }
    assert_eq!(is_over, format == Format::OpenMetrics, "the end is missing");
    for (name, family) in &families {
        assert!(!family.kind.is_empty(), "no type: {name}");
        let labels: BTreeSet<Vec<_>> =
            family.samples.iter().map(|sample| sample.labels.keys().cloned().collect()).collect();
        assert!(labels.len() <= 1, "{name}: not all have the same labels: {labels:?}");
    }
    Scrape(families)
}

fn family<'a>(families: &'a mut BTreeMap<String, Family>, name: &str) -> &'a mut Family {
    families.get_mut(name).unwrap_or_else(|| panic!("not described: {name}"))
}

/// As the rules of naming want them: no colon, which is for recording rules, no doubled or outer underscore, no unit
/// but a base unit.
fn check_name(name: &str) {
    let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_good), "{name}");
    let strange = ["__", "nanoseconds", "milliseconds", "microseconds", "kilobytes", "bits"];
    assert!(strange.iter().all(|word| !name.contains(word)) && !name.ends_with('_'), "{name}");
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    check_name(name);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            check_name(key);
            let end = value_end(after).unwrap_or_else(|| panic!("a label does not end: {line}"));
            let value = unescaped(&after[..end], true);
            assert!(labels.insert(key.to_owned(), value).is_none(), "a label twice: {line}");
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').filter(|rest| !rest.starts_with('}')).unwrap_or(rest);
            assert!(rest.starts_with('}') || rest.starts_with(|c: char| c.is_ascii_lowercase()), "{line}");
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number, or a time behind it: {line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// Where the text of a label ends.
fn value_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends.then_some(at)
    })
}

fn unescaped(text: &str, is_label: bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('\\') => out.push('\\'),
                Some('"') if is_label => out.push('"'),
                other => panic!("\\{other:?} in {text}"),
            },
            c => out.push(c),
        }
    }
    out
}
