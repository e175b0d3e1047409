//! The table of features in docs/ipvs.md is made of docs/features.toml, and the tests that it names are there.
//!
//! `NATLB_WRITE_PAGES=1 cargo test -p control --test features` writes it.

#[path = "../../dataplane/tests/support/named_tests.rs"]
mod named_tests;

use named_tests::{in_repository, is_there};
use serde::Deserialize;
use std::fmt::Write;
use std::fs;

const PAGE: &str = "docs/ipvs.md";
const DATA: &str = "docs/features.toml";
/// What the page has around that which is made.
const BEGIN: &str = "<!-- Made from features.toml: begin -->\n";
const END: &str = "<!-- Made from features.toml: end -->\n";
/// Where it is set, the page is written.
const WRITES: &str = "NATLB_WRITE_PAGES";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Features {
    feature: Vec<Feature>,
    left_out: Vec<LeftOut>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    name: String,
    ipvs: String,
    natlb: String,
    #[serde(default)]
    tests: Vec<String>,
}

impl Feature {
    /// What is wrong with it, if anything.
    fn fault(&self) -> Option<String> {
        let Self { name, ipvs, natlb, tests } = self;
        let (verdict, remark) = natlb.split_once(": ").unwrap_or((natlb, ""));
        let is_there = match verdict {
            "yes" | "in part" => true,
            "not yet" | "no" => false,
            _ => return Some(format!("{name}: natlb begins with yes, in part, not yet or no")),
        };
        let cells = [name, ipvs, natlb];
        if cells.iter().any(|cell| cell.is_empty() || cell.contains(['|', '\n'])) {
            return Some(format!("{name}: a cell is empty, or no cell"));
        }
        if remark.is_empty() && ["in part", "no"].contains(&verdict) {
            return Some(format!("{name}: {verdict}, and why?"));
        }
        (is_there && tests.is_empty()).then(|| format!("{name}: no test shows it"))
    }

    fn row(&self) -> String {
        let Self { name, ipvs, natlb, tests } = self;
        let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
        let tests = if tests.is_empty() { "-".into() } else { tests.join(", ") };
        format!("| {name} | {ipvs} | {natlb} | {tests} |\n")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    name: String,
    why: String,
}

fn read() -> Features {
    toml::from_str(&fs::read_to_string(in_repository(DATA)).unwrap()).unwrap()
}

/// What stands between the marks.
fn made(features: &Features) -> String {
    let mut text = String::from("| feature | IPVS | natlb | tests |\n|---|---|---|---|\n");
    text.extend(features.feature.iter().map(Feature::row));
    text.push_str("\nLess asked for, and not there:\n\n| feature | why not |\n|---|---|\n");
    for LeftOut { name, why } in &features.left_out {
        writeln!(text, "| {name} | {why} |").unwrap();
    }
    text
}

/// The page with another text between the marks.
fn page_with(page: &str, text: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    [before, BEGIN, "\n", text, "\n", END, after].concat()
}

#[test]
fn the_page_is_as_it_is_made() {
    let page = fs::read_to_string(in_repository(PAGE)).unwrap();
    let expected = page_with(&page, &made(&read()));
    if std::env::var_os(WRITES).is_some() {
        fs::write(in_repository(PAGE), expected).unwrap();
        return;
    }
    let differs = page.lines().zip(expected.lines()).find(|(is, should)| is != should);
    assert!(page == expected, "{PAGE} is not as {DATA} says ({WRITES}=1 writes it): {differs:?}");
}

#[test]
fn every_feature_has_its_tests_or_a_reason_and_all_of_these_are_there() {
    let features = read();
    let mut faults: Vec<_> = features.feature.iter().filter_map(Feature::fault).collect();
    let mut named = 0;
    for feature in &features.feature {
        for test in &feature.tests {
            named += 1;
            let (file, name) = test.split_once("::").unwrap_or((test, ""));
            if !is_there(file, name) {
                faults.push(format!("{}: there is no test {test}", feature.name));
            }
        }
    }
    assert!(named > 80 && features.feature.len() > 30, "{named} tests: the features are not read rightly");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_faulty_feature_is_found() {
    let feature = |natlb: &str, tests: &[&str]| Feature {
        name: "A feature".into(),
        ipvs: "yes".into(),
        natlb: natlb.into(),
        tests: tests.iter().map(ToString::to_string).collect(),
    };
    for (natlb, tests) in
        [("yes", &["a::b"][..]), ("in part: half", &["a::b"]), ("not yet", &[]), ("no: why", &[])]
    {
        assert_eq!(feature(natlb, tests).fault(), None);
    }
    for (natlb, tests) in [
        ("yes", &[][..]),
        ("in part", &["a::b"]),
        ("no", &[]),
        ("soon", &["a::b"]),
        ("yes: a | b", &["a::b"]),
    ] {
        assert!(feature(natlb, tests).fault().is_some(), "{natlb}");
    }
    assert_eq!(
        page_with(
            "a\n<!-- Made from features.toml: begin -->\nb\n<!-- Made from features.toml: end -->\nc",
            "d\n"
        ),
        "a\n<!-- Made from features.toml: begin -->\n\nd\n\n<!-- Made from features.toml: end -->\nc"
    );
}
