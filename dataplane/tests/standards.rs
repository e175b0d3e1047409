//! docs/standards.md names tests for the clauses that it goes through: whether they are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn table() -> String {
    fs::read_to_string(in_repository("docs/standards.md")).unwrap()
}

/// The cells of every row of its tables, headings left out.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| clause |"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backquotes and is a test: `file::name`.
fn tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::"))
}

/// Whether a source has a test of this name.
fn has_test(source: &str, name: &str, is_python: bool) -> bool {
    let (function, mark) =
        if is_python { (format!("def {name}("), "@test(") } else { (format!("fn {name}("), "#[test]") };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let before = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '@', '/']));
        line.starts_with(&function) && before.into_iter().any(|line| line.starts_with(mark))
    })
}

#[test]
fn every_test_that_a_clause_names_is_there() {
    let text = table();
    let mut missing = Vec::new();
    let mut named = 0;
    for (file, name) in tests(&text).filter(|(_, name)| *name != "name") {
        named += 1;
        let (folder, file) = file.rsplit_once('/').map_or(("", file), |(folder, file)| (folder, file));
        let places = if folder == "lab" {
            vec![format!("tests/lab/{file}.py")]
        } else if folder.is_empty() {
            ["dataplane/tests", "control/tests"].map(|tests| format!("{tests}/{file}.rs")).to_vec()
        } else {
            ["dataplane/src", "control/src"].map(|sources| format!("{sources}/{folder}/{file}.rs")).to_vec()
        };
        let is_there = places.iter().any(|place| {
            let source = fs::read_to_string(in_repository(place)).unwrap_or_default();
            has_test(&source, name, place.ends_with(".py"))
        });
        if !is_there {
            missing.push(format!("{folder}/{file}::{name}"));
        }
    }
    assert!(named > 100, "{named} tests: the table is not read rightly");
    assert!(missing.is_empty(), "docs/standards.md names tests that are not there: {missing:#?}");
}

#[test]
fn every_clause_has_a_test_or_a_reason() {
    let text = table();
    let rows = rows(&text);
    assert!(rows.len() > 100, "{} rows: the table is not read rightly", rows.len());
    for row in rows {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        assert!(tests(row[3]).next().is_some() || row[3].contains("**Differs**"), "{row:?}");
    }
}

#[test]
fn every_test_of_the_clauses_is_named() {
    let text = table();
    let named: BTreeSet<_> = tests(&text).collect();
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
            assert!(named.contains(&(stem.as_str(), name)), "docs/standards.md does not name {stem}::{name}");
        }
    }
}
