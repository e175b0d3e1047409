//! The state file: what survives, and what is said when it is damaged.

mod control_lab;

use control::change::restore;
use control::model::{Links, Model};
use control::protocol::Outcome;
use control::state_file::StateFile;
use control_lab::{Lab, config_in};
use dataplane::next_hop::Mac;
use dataplane::snapshot::Steering;
use std::fs;
use std::path::Path;

const WEB: [&str; 3] = [
    "-A -t 192.168.10.100:80 -s wrr",
    "-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1",
    "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m -w 3",
];

fn links() -> Links {
    Links::new(&control_lab::without_default(), |_| (Mac([2, 0, 0, 0, 0, 1]), 9216, Steering::Software))
}

fn model(lines: &[&str]) -> Model {
    restore(&Model::new([900, 120, 300]), &links(), lines.iter().copied()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_state_is_written_and_loaded_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not/there/yet/state");
    let file = StateFile::new(&path);
    let empty = Model::new([1, 2, 3]);
    assert!(file.load(&empty, &links()).unwrap().is_none());
    let written = model(&WEB);
    file.write(&written).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("--set 900 120 300\n{}\n", WEB.join("\n")));
    let loaded = file.load(&empty, &links()).unwrap().unwrap();
    assert_eq!(loaded.timeouts, written.timeouts);
    assert!(loaded.services.values().zip(written.services.values()).all(|(a, b)| a.reals == b.reals));
    assert_eq!(names(path.parent().unwrap()), ["state"], "nothing is left beside it");
}

#[test]
fn a_power_cut_while_writing_leaves_the_old_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let file = StateFile::new(&path);
    file.write(&model(&WEB)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    // However far the new file had come, the old one is what is loaded.
    for length in 0..whole.len() {
        let left = directory.path().join(format!(".state.new-{length}"));
        fs::write(&left, &whole.as_bytes()[..length]).unwrap();
        let loaded = file.load(&Model::new([1, 1, 1]), &links()).unwrap().unwrap();
        assert_eq!(loaded.real_count(), 2);
    }
    fs::write(directory.path().join("state.mine"), "not ours").unwrap();
    file.sweep();
    assert_eq!(names(directory.path()), ["state", "state.mine"]);
}

#[test]
fn a_damaged_state_is_named_with_its_line_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let config = config_in(directory.path());
    let path = config.control.state.clone().unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let damaged: [(&[u8], &str); 5] = [
        (b"-A -t 192.168.10.100:80\n-a -t 192.168.10.100:80 -r 10.0.", ":2: "),
        (b"-A -t 192.168.10.100:80\n\n\xff\xfe\x00\n", ":3: "),
        (b"-A -t 192.168.10.100:80\n-a -t 192.168.10.100:80 -r 10.9.9.9 -m", ":2: no route to 10.9.9.9"),
        (b"\0\0\0\0", ":1: "),
        (b"", ": no line to restore"),
    ];
    for (bytes, expected) in damaged {
        fs::write(&path, bytes).unwrap();
        let error = Lab::start(config.clone(), 1, 0).err().expect("refused").to_string();
        assert!(error.starts_with(path.to_str().unwrap()) && error.contains(expected), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left for the operator to look at");
        assert!(!config.control.socket.exists());
    }
}

#[test]
fn a_restart_brings_services_and_timeouts_back_in_place_of_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    config.services = control::config::parse(
        &(control_lab::FILE.to_owned()
            + "[[service]]\nlisten = \"tcp://192.168.10.100:443\"\n[[service.real]]\naddress = \"10.0.0.27:443\"\n"),
    )
    .unwrap()
    .services;
    let saved = |lab: &Lab| lab.ok(r#""command":"save""#)["lines"].clone();
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    assert_eq!(saved(&lab)[1], "-A -t 192.168.10.100:443 -s wrr");
    let state = config.control.state.clone().unwrap();
    assert!(!state.exists(), "nothing was changed yet");
    let lines = serde_json::to_string(&WEB).unwrap();
    lab.ok(&format!(r#""command":"restore","lines":{lines}"#));
    lab.ok(r#""command":"timeouts","set":[600,0,0]"#);
    let before = saved(&lab);
    lab.stop();
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    assert_eq!(saved(&lab), before);
    assert_eq!(before[0], "--set 600 120 300");
    // An emptied state is a state, too.
    lab.ok(r#""command":"clear""#);
    lab.stop();
    let lab = Lab::start(config, 1, 0).unwrap();
    assert_eq!(saved(&lab), serde_json::json!(["--set 600 120 300"]));
}

#[test]
fn a_state_that_cannot_be_written_refuses_the_change() {
    let directory = tempfile::tempdir().unwrap();
    let config = config_in(directory.path());
    // Where the directory should be there is a file; permissions would not stop root.
    fs::write(directory.path().join("lib"), "").unwrap();
    let lab = Lab::start(config, 1, 0);
    // A path through a file is an error already when looking for the state.
    assert!(lab.err().unwrap().to_string().contains("lib/state"));
    fs::remove_file(directory.path().join("lib")).unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    fs::write(directory.path().join("lib"), "").unwrap();
    let add = r#""command":"add-service","service":"tcp://192.168.10.100:80""#;
    let refusal = lab.refused(add);
    assert_eq!(refusal.code, "state_write_failed");
    assert_eq!(lab.ok(r#""command":"list""#), serde_json::json!({"services": []}));
    fs::remove_file(directory.path().join("lib")).unwrap();
    assert!(matches!(lab.ask(add), Outcome::Ok(_)));
}
