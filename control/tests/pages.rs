//! The pages of the documentation as pages: their links and anchors lead somewhere, and the files that they name exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Suffixes of the files that a page may name between backquotes.
const NAMED: [&str; 9] = [".rs", ".py", ".toml", ".json", ".md", ".c", ".h", ".lua", ".service"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page, by its path from the repository's root.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::from([("README.md".to_owned(), String::new())]);
    let mut folders = vec!["docs".to_owned(), "scripts".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.ends_with(".md") {
                pages.insert(path, String::new());
            }
        }
    }
    for (path, text) in &mut pages {
        *text = fs::read_to_string(root().join(path)).unwrap();
    }
    pages
}

/// The lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    })
}

/// The anchors of a page's headings, as GitHub makes them: a heading that stands there twice gets `-1` the second time.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let plain: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|n| format!("{plain}-{n}"));
        let free = std::iter::once(plain.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// What the links of a line lead to.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// `docs/a/b.md` and `../c.md` are `docs/c.md`.
fn resolved(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What is wrong with a link, if anything.
fn fault(pages: &BTreeMap<String, String>, page: &str, link: &str) -> Option<&'static str> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let file = if file.is_empty() { page.to_owned() } else { resolved(page, file) };
    if !root().join(&file).exists() {
        return Some("no such file");
    }
    let anchor = anchor?;
    match pages.get(&file) {
        Some(text) if anchors(text).iter().any(|other| other == anchor) => None,
        _ => Some("no such heading"),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (page, text) in &pages {
        for link in prose(text).flat_map(links) {
            checked += 1;
            wrong.extend(fault(&pages, page, link).map(|fault| format!("{page}: {link}: {fault}")));
        }
    }
    assert!(checked > 50, "{checked} links: the pages are not read rightly");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The paths that a line names between backquotes. A word without a folder is a file's name alone, not a path.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|path| {
        let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        is_plain
            && path.contains('/')
            && !path.starts_with('/')
            && NAMED.iter().any(|suffix| path.ends_with(suffix))
    })
}

#[test]
fn every_file_that_a_page_names_exists() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for (page, text) in &pages() {
        for path in prose(text).flat_map(named) {
            checked += 1;
            let places = [path.to_owned(), resolved(page, path)];
            if !places.iter().any(|place| root().join(place).is_file()) {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    assert!(checked > 10, "{checked} paths: the pages are not read rightly");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_readme_is_short_and_every_page_is_reached_from_it() {
    let pages = pages();
    let lines = pages["README.md"].lines().count();
    assert!(lines <= 150, "README.md has {lines} lines; more than 150 belong on a page of docs/");
    let mut reached = vec!["README.md".to_owned()];
    let mut next = 0;
    while let Some(page) = reached.get(next).cloned() {
        next += 1;
        for link in prose(&pages[&page]).flat_map(links) {
            let file = resolved(&page, link.split('#').next().unwrap_or_default());
            if pages.contains_key(&file) && !reached.contains(&file) {
                reached.push(file);
            }
        }
    }
    let lost: Vec<_> = pages.keys().filter(|page| !reached.contains(page)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

#[test]
fn the_architecture_has_every_room() {
    let page = &pages()["docs/architecture.md"];
    for root_file in ["dataplane/src/lib.rs", "control/src/lib.rs"] {
        let source = fs::read_to_string(root().join(root_file)).unwrap();
        let rooms = source.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
        for room in rooms.filter_map(|rest| rest.strip_suffix(';')) {
            assert!(
                page.contains(&format!("| `{room}` | ")),
                "docs/architecture.md lacks {room} of {root_file}"
            );
        }
    }
}

/// A table's row cannot be broken, and a link is longer than a line now and then.
#[test]
fn prose_is_at_most_120_columns_wide() {
    let mut wide = Vec::new();
    for (page, text) in &pages() {
        let lines = prose(text).filter(|line| !line.starts_with('|') && line.trim().contains(' '));
        wide.extend(lines.filter(|line| line.chars().count() > 120).map(|line| format!("{page}: {line}")));
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn a_broken_link_is_found() {
    let text = "# One `two`, three\n## Two\n## Two\n```\n# not a heading\n```\n";
    assert_eq!(anchors(text), ["one-two-three", "two", "two-1"]);
    let pages = BTreeMap::from([("docs/standards.md".to_owned(), text.to_owned())]);
    assert_eq!(fault(&pages, "docs/standards.md", "#two-1"), None);
    assert_eq!(fault(&pages, "docs/standards.md", "../README.md"), None);
    assert_eq!(fault(&pages, "docs/standards.md", "#three"), Some("no such heading"));
    assert_eq!(fault(&pages, "docs/standards.md", "README.md"), Some("no such file"));
    assert_eq!(named("`a/b.rs`, `b.rs`, `a/b` and `a b/c.rs`").collect::<Vec<_>>(), ["a/b.rs"]);
}
