//! Comments are at most 120 columns wide, and no documentation begins with "The same": such a text makes its reader
//! look elsewhere first.

use std::fs;
use std::path::{Path, PathBuf};

/// The widest that a comment's line may be, in characters.
const WIDEST: usize = 120;

/// Suffixes of sources, each with what begins a comment there. Scripts have none: they are known by their first line.
const SOURCES: [(&str, &[&str]); 9] = [
    ("rs", &["//"]),
    ("c", &["/*", "*", "//"]),
    ("h", &["/*", "*", "//"]),
    ("lua", &["--"]),
    ("py", &["#"]),
    ("sh", &["#"]),
    ("toml", &["#"]),
    ("yaml", &["#"]),
    ("service", &["#"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files below a folder, hidden ones and what is built left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "target" || name.starts_with('.') || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// What begins a comment in a file; none if it is no source.
fn marks(path: &Path, text: &str) -> &'static [&'static str] {
    let suffix = path.extension().unwrap_or_default();
    match SOURCES.iter().find(|(other, _)| suffix == *other) {
        Some((_, marks)) => marks,
        None if suffix.is_empty() && text.starts_with("#!") => &["#"],
        None => &[],
    }
}

/// What is wrong with a line that is a comment, if anything.
fn fault(line: &str, marks: &[&str]) -> Option<&'static str> {
    let text = line.trim_start();
    if !marks.iter().any(|mark| text.starts_with(mark)) {
        return None;
    }
    if line.chars().count() > WIDEST {
        return Some("too wide");
    }
    let documentation = ["///", "//!"].iter().find_map(|mark| text.strip_prefix(mark));
    documentation.is_some_and(|text| text.starts_with(" The same")).then_some("begins with \"The same\"")
}

/// The faults of a file, by the number of the line. A documentation's line counts only if it is the first.
fn faults(path: &Path, text: &str) -> Vec<(usize, &'static str)> {
    let marks = marks(path, text);
    let mut before = "";
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let goes_on = ["///", "//!"].iter().any(|mark| before.trim_start().starts_with(mark));
        let fault = fault(line, marks).filter(|fault| *fault == "too wide" || !goes_on);
        faults.extend(fault.map(|fault| (number, fault)));
        before = line;
    }
    faults
}

#[test]
fn comments_are_narrow_and_say_what_they_are_about() {
    let (mut sources, mut wrong) = (0, Vec::new());
    for path in files(&root()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        sources += usize::from(!marks(&path, &text).is_empty());
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        wrong.extend(faults(&path, &text).iter().map(|(line, fault)| format!("{name}:{line}: {fault}")));
    }
    assert!(sources > 300, "{sources} sources: the tree is not read rightly");
    assert!(wrong.is_empty(), "comments: {wrong:#?}");
}

#[test]
fn a_faulty_comment_is_found() {
    let wide = "x".repeat(WIDEST);
    let text = format!(
        "/// The same.\nfn a() {{}}\n// {wide}\nlet s = \"{wide}\";\n/// One.\n/// The same again.\n"
    );
    let found = faults(Path::new("a.rs"), &text);
    assert_eq!(found, [(1, "begins with \"The same\""), (3, "too wide")]);
    assert_eq!(faults(Path::new("a"), &format!("#!/bin/sh\n# {wide}\n")), [(2, "too wide")]);
    assert_eq!(faults(Path::new("a.txt"), &format!("# {wide}\n")), []);
}
