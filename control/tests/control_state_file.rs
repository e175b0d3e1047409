//! The state file: what survives, and what is said when it is damaged.

mod control_lab;

use control::api::protocol::Outcome;
use control::change::restore;
use control::model::{Model, Network};
use control::persist::state_file::StateFile;
use control_lab::{Lab, config_in};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::mac::Mac;
use dataplane::snapshot::Steering;
use std::fs;
use std::path::Path;

const WEB: [&str; 3] = [
    "-A -t 192.168.10.100:80 -s wrr",
    "-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1",
    "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m -w 3",
];

fn links() -> Network {
    control_lab::without_default().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 9216, Steering::Software))
}

fn model(lines: &[&str]) -> Model {
    restore(&Model::new(TimeoutSeconds::default()), &links(), lines.iter().copied()).unwrap()
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
    let file = StateFile::open(&path).unwrap();
    let empty = Model::new([1, 2, 3].into());
    assert!(file.load(&empty, &links()).unwrap().is_none());
    let written = model(&WEB);
    file.write(&written).unwrap();
    let lines = format!("--set 900 120 300\n{}\n", WEB.join("\n"));
    let text =
        format!("# natlb state: whole only with its last line\n{lines}# natlb state: the end, lines: 4\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let loaded = file.load(&empty, &links()).unwrap().unwrap();
    assert_eq!(loaded.timeouts, written.timeouts);
    assert!(loaded.services().values().zip(written.services().values()).all(|(a, b)| a.reals == b.reals));
    assert_eq!(names(path.parent().unwrap()), ["state", "state.lock"], "nothing else is left beside it");
}

#[test]
fn a_power_cut_while_writing_leaves_the_old_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let file = StateFile::open(&path).unwrap();
    file.write(&model(&WEB)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    // However far the new file had come, the old one is what is loaded.
    for length in 0..whole.len() {
        let left = directory.path().join(format!(".state.new-{length}"));
        fs::write(&left, &whole.as_bytes()[..length]).unwrap();
        let loaded = file.load(&Model::new([1, 1, 1].into()), &links()).unwrap().unwrap();
        assert_eq!(loaded.real_count(), 2);
    }
    fs::write(directory.path().join("state.mine"), "not ours").unwrap();
    file.sweep();
    assert_eq!(names(directory.path()), ["state", "state.lock", "state.mine"]);
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
    config.model = control::config::parse(
        &(control_lab::FILE.to_owned()
            + "[[service]]\nlisten = \"tcp://192.168.10.100:443\"\n[[service.real]]\naddress = \"10.0.0.27:443\"\n"),
    )
    .unwrap()
    .model;
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
    fs::remove_dir_all(directory.path().join("lib")).unwrap();
    fs::write(directory.path().join("lib"), "").unwrap();
    let add = r#""command":"add-service","service":"tcp://192.168.10.100:80""#;
    let refusal = lab.refused(add);
    assert_eq!(refusal.code, "state_write_failed");
    assert_eq!(lab.ok(r#""command":"list""#), serde_json::json!({"services": []}));
    fs::remove_file(directory.path().join("lib")).unwrap();
    assert!(matches!(lab.ask(add), Outcome::Ok(_)));
}

#[test]
fn a_state_that_is_cut_off_anywhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let file = StateFile::open(&path).unwrap();
    file.write(&model(&WEB)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let load = || file.load(&Model::new([1, 1, 1].into()), &links());
    // But for the last end of line.
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(load().is_err(), "cut to {length} bytes: {}", &whole[..length]);
    }
    let lines: Vec<&str> = whole.lines().collect();
    for missing in 1..lines.len() {
        let others = lines.iter().enumerate().filter(|(number, _)| *number != missing);
        fs::write(&path, others.map(|(_, line)| format!("{line}\n")).collect::<String>()).unwrap();
        let error = load().unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("remove its first and last line"), "{error}");
    }
    // What is written by hand says nothing of its end; comments do not count.
    for text in [WEB.join("\n"), whole.replace("--set", "# mine\n\n--set"), whole.trim_end().to_owned()] {
        fs::write(&path, text).unwrap();
        assert_eq!(load().unwrap().unwrap().real_count(), 2);
    }
}

#[test]
fn two_daemons_never_have_one_state_whatever_they_call_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = config_in(directory.path());
    let lab = Lab::start(first.clone(), 1, 0).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("lib/state", &link).unwrap();
    for name in [first.control.state.clone().unwrap(), link, directory.path().join("lib/../lib/state")] {
        let mut second = first.clone();
        second.control.socket = directory.path().join("run/second.sock");
        second.control.state = Some(name);
        let error = Lab::start(second, 1, 0).err().expect("refused").to_string();
        assert!(error.contains("another lbd keeps its services in this file"), "{error}");
        assert!(!directory.path().join("run/second.sock").exists());
    }
    lab.ok(r#""command":"add-service","service":"tcp://192.168.10.100:80""#);
    lab.stop();
    drop(Lab::start(first, 1, 0).unwrap());
}

#[test]
fn what_is_no_regular_file_is_refused_at_once_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(path("directory")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, path(name)).unwrap();
    link("loop", "loop");
    link("fifo", "to_fifo");
    for (name, what) in [
        ("fifo", "found a FIFO"),
        ("to_fifo", "found a FIFO"),
        ("directory", "found a directory"),
        ("socket", "found a socket"),
        ("/dev/zero", "found a device"),
        ("loop", "ymbolic link"),
    ] {
        let error = StateFile::open(&path(name)).expect_err(name).to_string();
        assert!(error.contains(what), "{name}: {error}");
    }
    // Nor is the lock waited for.
    nix::unistd::mkfifo(&path("state.lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = StateFile::open(&path("state")).unwrap_err().to_string();
    assert!(error.contains("state.lock: "), "{error}");
}

#[test]
fn a_link_to_nothing_yet_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("state");
    std::os::unix::fs::symlink("link", &link).unwrap();
    std::os::unix::fs::symlink("disk/real", directory.path().join("link")).unwrap();
    let file = StateFile::open(&link).unwrap();
    assert!(file.load(&Model::new([1, 1, 1].into()), &links()).unwrap().is_none());
    file.write(&model(&WEB)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::symlink_metadata(directory.path().join("disk/real")).unwrap().is_file());
    // What takes its place later is not replaced.
    fs::remove_file(directory.path().join("disk/real")).unwrap();
    fs::create_dir(directory.path().join("disk/real")).unwrap();
    assert!(file.write(&model(&WEB)).unwrap_err().to_string().contains("found a directory"));
}
