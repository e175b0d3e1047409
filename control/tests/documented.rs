//! What the README and the example configuration say, held against the code.

mod control_lab;

use control::api::server;
use control::client::{Surroundings, run};
use control::{config, model};
use control_lab::{Lab, config_in};
use dataplane::names::ids::{MAX_PORTS, MAX_REALS, REAL_IDS};
use dataplane::names::verdict::DropReason;
use std::fs;
use std::path::{Path, PathBuf};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn readme() -> String {
    fs::read_to_string(in_repository("README.md")).unwrap()
}

#[test]
fn the_example_for_nics_is_a_right_configuration() {
    let config = config::read(&in_repository("scripts/nic/lbd.toml")).unwrap();
    assert_eq!((config.ports.len(), config.services.len()), (2, 1));
}

#[test]
fn the_unit_starts_it_again_whatever_ended_it() {
    let unit = fs::read_to_string(in_repository("scripts/nic/lbd.service")).unwrap();
    // Death by SIGHUP is a clean end for systemd, and five starts in ten seconds are too many unless told otherwise.
    for line in ["Restart=always", "StartLimitIntervalSec=0", "RestartPreventExitStatus=2"] {
        assert!(unit.lines().any(|other| other == line), "lbd.service lacks {line}");
    }
}

#[test]
fn the_readme_explains_every_drop_reason() {
    let readme = readme();
    for reason in DropReason::ALL {
        let row = format!("| `{}` | {} |", reason.name(), reason.text());
        assert!(readme.contains(&row), "README.md lacks: {row}");
    }
}

#[test]
fn the_readme_names_every_command() {
    let (readme, mut help, mut errors) = (readme(), Vec::new(), Vec::new());
    let surroundings = Surroundings {
        socket: None,
        version: "0",
        dpdk: "0",
        stdin: &mut std::io::empty(),
        stdout: &mut help,
        stderr: &mut errors,
    };
    assert_eq!(run(["lbctl", "--help"].map(Into::into), surroundings), 0);
    let help = String::from_utf8(help).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert!(readme.contains(&format!("`{command}")), "README.md lacks {command}");
    }
}

#[test]
fn the_readme_names_every_key_of_the_status() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let status = lab.ok(r#""command":"status""#);
    let readme = readme();
    let row = readme.lines().find(|line| line.starts_with("| `status` | `version`")).expect("a row");
    for object in [&status, &status["ports"][0], &status["workers"][0]] {
        for key in object.as_object().unwrap().keys() {
            assert!(row.contains(&format!("`{key}`")), "README.md lacks {key} in: {row}");
        }
    }
}

#[test]
fn the_readmes_limits_are_the_codes() {
    let readme = readme();
    let rows = [
        format!("| ports | {MAX_PORTS} |"),
        format!("| services | {} |", model::MAX_SERVICES),
        format!("| reals in all | {},{:03} |", MAX_REALS / 1000, MAX_REALS % 1000),
        format!(
            "| … and with them those removed or replaced that still have connections | {},{:03} |",
            REAL_IDS / 1000,
            REAL_IDS % 1000
        ),
        format!(
            "| clients on the socket | {}; silent {} s at most, {} min in the middle of `connections` |",
            server::MAX_PEERS,
            server::IDLE.as_secs(),
            server::PAUSE.as_secs() / 60
        ),
    ];
    for row in rows {
        assert!(readme.contains(&row), "README.md lacks: {row}");
    }
}
