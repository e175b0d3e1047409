//! Tests that pages name, as `clauses_icmp::name`: whether they are there.

use std::fs;
use std::path::{Path, PathBuf};

/// The path of a file of the repository, whichever crate's test asks.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The files that a test named so may be in.
fn places(file: &str) -> Vec<String> {
    match file.split_once('/') {
        None => ["dataplane/tests", "control/tests"].map(|tests| format!("{tests}/{file}.rs")).to_vec(),
        Some(("lab", file)) => vec![format!("tests/lab/{file}.py")],
        Some(("lbctl", file)) => {
            ["tests", "src"].map(|folder| format!("control/lbctl/{folder}/{file}.rs")).to_vec()
        }
        Some(_) => ["dataplane/src", "control/src", "dataplane/tests"]
            .map(|folder| format!("{folder}/{file}.rs"))
            .to_vec(),
    }
}

/// Whether a source has a test of this name. One that a macro makes of a row begins the row: `name: …;`.
fn has_test(source: &str, name: &str, is_python: bool) -> bool {
    let (function, mark) =
        if is_python { (format!("def {name}("), "@test(") } else { (format!("fn {name}("), "#[test]") };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_row = |line: &str| {
        !is_python
            && source.contains("#[test]\n        fn $name(")
            && line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ") && rest.ends_with(';'))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let before = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '@', '/']));
        is_row(line) || line.starts_with(&function) && before.into_iter().any(|line| line.starts_with(mark))
    })
}

/// Whether the test `name` of `file` is there, with its folder as a page names it.
pub(crate) fn is_there(file: &str, name: &str) -> bool {
    places(file).iter().any(|place| {
        let source = fs::read_to_string(in_repository(place)).unwrap_or_default();
        has_test(&source, name, place.ends_with(".py"))
    })
}

#[test]
fn a_test_is_told_from_what_is_none() {
    let source =
        "fn helper() {}\n#[test]\nfn one() {}\n#[test]\n        fn $name() {}\nrows! {\n    two: 2;\n}\n";
    let found = ["one", "two", "helper", "three", "on", "tw"].map(|name| has_test(source, name, false));
    assert_eq!(found, [true, true, false, false, false, false]);
    assert!(!has_test("    two: 2;\n", "two", false), "a row of something else");
    assert!(has_test("@test()\ndef three(bed):\n", "three", true));
    assert!(!has_test("def three(bed):\n", "three", true));
}
