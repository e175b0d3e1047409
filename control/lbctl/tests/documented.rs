//! What the documentation and the example configuration say, compared with the code.

#[path = "../../tests/control_lab/mod.rs"]
mod control_lab;

use control::api::server;
use control::{config, model};
use control_lab::{Lab, config_in};
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{MAX_INTERFACES, MAX_REALS, REAL_IDS};
use lbctl::{Surroundings, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn page(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap()
}

fn manual() -> String {
    page("docs/manual.md")
}

/// What `lbctl` prints to these arguments, which ask for help.
fn help(arguments: &[&str]) -> String {
    let (mut help, mut errors) = (Vec::new(), Vec::new());
    let surroundings = Surroundings {
        socket: None,
        version: "0",
        dpdk: "0",
        stdin: &mut std::io::empty(),
        stdout: &mut help,
        stderr: &mut errors,
    };
    let words = ["lbctl"].iter().chain(arguments).map(Into::into);
    assert_eq!(run(words, surroundings), 0, "{arguments:?}");
    String::from_utf8(help).unwrap()
}

fn commands() -> Vec<String> {
    let help = help(&["--help"]);
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> =
        lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(commands.len() > 10, "{help}");
    commands.into_iter().filter(|command| command != "help").collect()
}

#[test]
fn the_example_for_nics_is_a_right_configuration() {
    let config = config::read(&in_repository("scripts/nic/lbd.toml")).unwrap();
    assert_eq!((config.eth_ports.len(), config.model.services().len()), (2, 1));
}

#[test]
fn the_unit_starts_it_again_whatever_ended_it() {
    let unit = page("scripts/nic/lbd.service");
    // Death by SIGHUP is a clean end for systemd, and it gives up after five starts in ten seconds by default. Nothing
    // is forwarded until it starts.
    for line in
        ["Restart=always", "RestartSec=100ms", "StartLimitIntervalSec=0", "RestartPreventExitStatus=2"]
    {
        assert!(unit.lines().any(|other| other == line), "lbd.service lacks {line}");
    }
}

#[test]
fn every_drop_reason_is_explained() {
    let page = page("docs/operating.md");
    for reason in DropReason::ALL {
        let row = format!("| `{}` | {} |", reason.name(), reason.text());
        assert!(page.contains(&row), "docs/operating.md lacks: {row}");
    }
}

#[test]
fn the_manual_has_every_command() {
    let manual = manual();
    for command in commands() {
        assert!(manual.contains(&format!("`{command}")), "docs/manual.md lacks {command}");
    }
}

#[test]
fn the_manual_has_every_option() {
    let manual = manual();
    let words: Vec<&str> = manual.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let mut checked = 0;
    for command in commands() {
        let help = help(&[&command, "--help"]);
        let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let options = lines.flat_map(|line| {
            line.split([' ', ',']).take_while(|word| word.starts_with('-') || word.is_empty())
        });
        for option in options
            .filter(|option| !option.is_empty() && !["-h", "--help", "-V", "--version"].contains(option))
        {
            checked += 1;
            assert!(words.contains(&option), "docs/manual.md lacks {option} of {command}");
        }
    }
    assert!(checked > 50, "{checked} options: the help is not read rightly");
}

/// A configuration with a key that no table knows in each of them: each says which keys it knows.
const STRANGE: &str = "qqqqqqqqqqqqqqqqqqqqqqqq = 1";

#[test]
fn the_manual_has_every_key_of_the_configuration() {
    let tables = [
        "[eal]",
        "[buffers]",
        "[control]",
        "[[port]]",
        "[[route]]",
        "[[neighbour]]",
        "[connections]",
        "[steering]",
        "[forward]",
        "[timeouts]",
        "[[service]]",
        "[[service.real]]",
    ];
    let text: String = tables.iter().map(|table| format!("{table}\n{STRANGE}\n")).collect();
    let problems = config::parse(&format!("{STRANGE}\n{text}")).unwrap_err();
    let known = problems.iter().filter_map(|problem| problem.message.split_once("; known: "));
    let known: Vec<_> = known.collect();
    assert_eq!(known.len(), tables.len() + 1, "each table: {problems:?}");
    let manual = manual();
    for (title, keys) in known {
        for key in keys.split(", ") {
            let spellings = [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`")];
            let is_there = spellings.iter().any(|spelling| manual.contains(spelling));
            // A service's tables of reals are written with both names.
            assert!(is_there || key == "real", "docs/manual.md lacks the key {key}: {title}");
        }
    }
    for table in tables {
        assert!(manual.contains(&format!("`{table}`")), "docs/manual.md lacks {table}");
    }
}

#[test]
fn the_manual_has_every_key_of_the_status() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let status = lab.ok(r#""command":"status""#);
    let manual = manual();
    let row = manual.lines().find(|line| line.starts_with("| `status` | `version`")).expect("a row");
    for object in [&status, &status["ports"][0], &status["workers"][0], &status["kept"]] {
        for key in object.as_object().unwrap().keys() {
            assert!(row.contains(&format!("`{key}`")), "docs/manual.md lacks {key} in: {row}");
        }
    }
}

/// Every Rust file of a folder, without its tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(sources_unless_tests(&path));
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            sources.extend(fs::read_to_string(&path));
        }
    }
    sources
}

fn sources_unless_tests(folder: &Path) -> Vec<String> {
    if folder.ends_with("tests") { Vec::new() } else { sources(folder) }
}

/// The codes of refusals that a source has: in a function `code`, and where a refusal is made.
fn refusal_codes(source: &str) -> Vec<&str> {
    let made =
        source.split("Refusal::new(\"").chain(source.split("refuse(peer, \"")).chain(source.split("Err((\""));
    let functions = source.split("fn code(").skip(1).filter_map(|rest| rest.split("\n    }\n").next());
    let arms = functions.flat_map(|body| body.split('"').skip(1).step_by(2));
    let texts = made.filter_map(|rest| rest.split('"').next()).chain(arms);
    texts
        .filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect()
}

#[test]
fn the_manual_has_every_refusal() {
    let manual = manual();
    let section = manual.split("### Refusals").nth(1).expect("a section").split("\n#").next().unwrap();
    let sources = sources(&in_repository("control/src"));
    let codes: BTreeSet<&str> = sources.iter().flat_map(|source| refusal_codes(source)).collect();
    assert!(codes.len() > 15, "the sources are not read rightly: {codes:?}");
    for code in codes {
        assert!(section.contains(&format!("`{code}`")), "docs/manual.md lacks the refusal {code}");
    }
}

/// As the documents write a number from 1,000 to 999,999.
fn thousands(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn the_limits_are_the_codes() {
    let page = page("docs/ipvs.md");
    let rows = [
        format!("| ports | {MAX_INTERFACES} |"),
        format!("| services | {} |", thousands(model::MAX_SERVICES)),
        format!("| reals in all | {} |", thousands(MAX_REALS)),
        format!(
            "| … and with them those removed or replaced that still have connections | {} |",
            thousands(REAL_IDS)
        ),
        format!(
            "| clients on the socket | {}; silent {} s at most, {} min in the middle of `connections` |",
            server::MAX_PEERS,
            server::IDLE.as_secs(),
            server::PAUSE.as_secs() / 60
        ),
    ];
    for row in rows {
        assert!(page.contains(&row), "docs/ipvs.md lacks: {row}");
    }
}
