//! What the manual says of `lbd`'s command line, compared with its help.

use std::path::Path;
use std::process::Command;

#[test]
fn the_manual_has_every_option_of_lbd() {
    let output = Command::new(env!("CARGO_BIN_EXE_lbd")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let manual =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual.md")).unwrap();
    let section = manual.split("\n## lbd\n").nth(1).expect("a section").split("\n## ").next().unwrap();
    let words: Vec<&str> = section.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let options: Vec<&str> =
        lines.flat_map(|line| line.split([' ', ',']).filter(|word| word.starts_with("--"))).collect();
    assert!(options.len() >= 6, "the help is not read rightly: {help}");
    for option in options {
        assert!(words.contains(&option) || option == "--help", "docs/manual.md lacks {option} of lbd");
    }
    let codes = help.split("Exit codes:\n").nth(1).expect("exit codes").lines();
    for code in codes.filter_map(|line| line.split_whitespace().next()) {
        assert!(section.contains(&format!("| {code} |")), "docs/manual.md lacks the exit code {code} of lbd");
    }
}

#[test]
fn a_value_that_is_none_is_answered_by_those_that_are() {
    for (option, values) in [
        ("--log-level", "error, warn, info, debug, trace"),
        ("--log-format", "text, json"),
        ("--seccomp", "on, log, off"),
        ("--stats-period", "expected a whole number from 1 to 3600"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_lbd")).args(["--config", "x", option, "wrong"]).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(values), "{option}: {said}");
    }
}
