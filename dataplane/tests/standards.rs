//! docs/standards.md and docs/ipv6.md name tests for the clauses that they go through: whether they are there.

#[path = "support/named_tests.rs"]
mod named_tests;

use named_tests::{in_repository, is_there};
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv6Addr;

/// The pages with tables of clauses, and how many rows each has at least.
const PAGES: [(&str, usize); 2] = [("docs/standards.md", 100), ("docs/ipv6.md", 60)];

fn page(name: &str) -> String {
    fs::read_to_string(in_repository(name)).unwrap()
}

/// The cells of every row of its tables, headings left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| clause |"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backquotes and is a test: `file::name`. An address or prefix of IPv6 may look like one.
fn tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_address = |quoted: &str| quoted.split('/').next().is_some_and(|of| of.parse::<Ipv6Addr>().is_ok());
    let quoted = text.split('`').skip(1).step_by(2).filter(move |quoted| !is_address(quoted));
    quoted.filter_map(|quoted| quoted.split_once("::"))
}

#[test]
fn every_test_that_a_clause_names_is_there() {
    for (page_name, least) in PAGES {
        let text = page(page_name);
        let mut missing = Vec::new();
        let mut named = 0;
        for (file, name) in tests(&text).filter(|(_, name)| *name != "name") {
            named += 1;
            if !is_there(file, name) {
                missing.push(format!("{file}::{name}"));
            }
        }
        assert!(named > least, "{page_name}: {named} tests: the table is not read rightly");
        assert!(missing.is_empty(), "{page_name} names tests that are not there: {missing:#?}");
    }
}

#[test]
fn every_clause_has_a_test_or_a_reason() {
    for (page_name, least) in PAGES {
        let text = page(page_name);
        let rows = rows(&text);
        assert!(rows.len() > least, "{page_name}: {} rows: the table is not read rightly", rows.len());
        for row in rows {
            assert_eq!(row.len(), 4, "{row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
            assert!(tests(row[3]).next().is_some() || row[3].contains("**Differs**"), "{row:?}");
        }
    }
}

#[test]
fn every_test_of_the_clauses_is_named() {
    let texts = PAGES.map(|(name, _)| page(name));
    let named: BTreeSet<_> = texts.iter().flat_map(|text| tests(text)).collect();
    for file in fs::read_dir(in_repository("dataplane/tests")).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !stem.starts_with("clauses_") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line != "#[test]" {
                continue;
            }
            let function = lines.next().and_then(|line| line.strip_prefix("fn "));
            let name = function.and_then(|function| function.split('(').next()).expect("a function");
            assert!(named.contains(&(stem.as_str(), name)), "no table of clauses names {stem}::{name}");
        }
    }
}
