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
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const WEB: [&str; 3] = [
    "-A -t 192.168.10.100:80 -s wrr",
    "-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1",
    "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m -w 3",
];

fn network() -> Network {
    control_lab::without_default().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 9216, Steering::Software))
}

fn model(lines: &[&str]) -> Model {
    restore(&Model::new(TimeoutSeconds::default()), &network(), lines.iter().copied()).unwrap()
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
    let mut file = StateFile::open(&path).unwrap();
    let empty = Model::new([1, 2, 3].into());
    assert!(file.load(&empty, &network()).unwrap().is_none());
    let written = model(&WEB);
    file.write(&written).unwrap();
    let lines = format!("--set 900 120 300\n{}\n", WEB.join("\n"));
    let text =
        format!("# natlb state: whole only with its last line\n{lines}# natlb state: the end, lines: 4\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let loaded = file.load(&empty, &network()).unwrap().unwrap();
    assert_eq!(loaded.timeouts, written.timeouts);
    assert!(loaded.services().values().zip(written.services().values()).all(|(a, b)| a.reals == b.reals));
    assert_eq!(names(path.parent().unwrap()), ["state", "state.lock"], "nothing else is left beside it");
}

#[test]
fn a_power_cut_while_writing_leaves_the_old_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut file = StateFile::open(&path).unwrap();
    file.write(&model(&WEB)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    // However far the new file had come, the old one is what is loaded.
    for length in 0..whole.len() {
        let left = directory.path().join(format!(".state.new-{length}"));
        fs::write(&left, &whole.as_bytes()[..length]).unwrap();
        let loaded = file.load(&Model::new([1, 1, 1].into()), &network()).unwrap().unwrap();
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
    let mut file = StateFile::open(&path).unwrap();
    file.write(&model(&WEB)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let load = || file.load(&Model::new([1, 1, 1].into()), &network());
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
    let mut file = StateFile::open(&link).unwrap();
    assert!(file.load(&Model::new([1, 1, 1].into()), &network()).unwrap().is_none());
    file.write(&model(&WEB)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::symlink_metadata(directory.path().join("disk/real")).unwrap().is_file());
    // What takes its place later is not replaced.
    fs::remove_file(directory.path().join("disk/real")).unwrap();
    fs::create_dir(directory.path().join("disk/real")).unwrap();
    assert!(file.write(&model(&WEB)).unwrap_err().to_string().contains("found a directory"));
}

/// More services and reals than a small file has.
fn large() -> Model {
    let service = |number: usize| {
        let vip = format!("192.168.10.{}:{}", 1 + number % 90, 1000 + number);
        let real = move |of: usize| format!("-a -t {vip} -r 172.16.{number}.{}:80 -m -w 1", 1 + of);
        let vip = format!("192.168.10.{}:{}", 1 + number % 90, 1000 + number);
        std::iter::once(format!("-A -t {vip} -s wrr")).chain((0..16).map(real)).collect::<Vec<_>>()
    };
    let lines: Vec<String> = (0..100).flat_map(service).collect();
    model(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A service of [`large`] and one of its reals.
fn of_large(number: usize) -> (String, String) {
    let (service, of) = (number % 100, number / 100 % 16);
    let vip = format!("tcp://192.168.10.{}:{}", 1 + service % 90, 1000 + service);
    (vip, format!("172.16.{service}.{}:80", 1 + of))
}

fn apply(model: &Model, command: &str) -> Model {
    let command = serde_json::from_str(&format!("{{{command}}}")).unwrap();
    control::change::apply(model, &network(), &command).unwrap().0
}

/// What a file brings back: all but the generations of scheduling.
fn saved(model: &Model) -> Vec<String> {
    control::change::save(model)
}

#[test]
fn a_change_of_a_large_state_is_appended_and_counts_only_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut file = StateFile::open(&path).unwrap();
    let load = |file: &StateFile| file.load(&Model::new([1, 1, 1].into()), &network()).unwrap().unwrap();
    let mut before = large();
    file.write(&before).unwrap();
    let (vip, real) = of_large(5);
    for command in [
        format!(r#""command":"edit-real","service":"{vip}","real":"{real}","weight":7"#),
        format!(r#""command":"add-real","service":"{vip}","real":"10.0.0.9:80","weight":2"#),
        format!(r#""command":"del-real","service":"{vip}","real":"{real}""#),
        format!(r#""command":"add-real","service":"{vip}","real":"{real}""#),
        format!(r#""command":"edit-service","service":"{vip}","scheduler":"rr""#),
        format!(r#""command":"del-service","service":"{vip}""#),
        format!(r#""command":"add-service","service":"{vip}","scheduler":"rr""#),
        r#""command":"timeouts","set":[0,0,77]"#.into(),
    ] {
        let now = apply(&before, &command);
        let old = fs::read(&path).unwrap();
        file.change(&before, &now).unwrap();
        let new = fs::read(&path).unwrap();
        assert!(new.starts_with(&old) && new.len() < old.len() + 2000, "{command}");
        assert_eq!(saved(&load(&file)), saved(&now), "{command}");
        // However far it had come when the power went, and if what was not written yet reads as zeros. The last end of
        // line makes no difference.
        for length in (old.len()..new.len() - 1).step_by(7) {
            fs::write(&path, &new[..length]).unwrap();
            assert_eq!(saved(&load(&file)), saved(&before), "{command}, {length} bytes");
            fs::write(&path, [&new[..length], &vec![0; new.len() - length]].concat()).unwrap();
            assert_eq!(saved(&load(&file)), saved(&before), "{command}, zeros from {length} on");
        }
        fs::write(&path, &new).unwrap();
        before = now;
    }
    // It is a file for `restore`, too, and one whose lines of ours are removed can be edited.
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(saved(&model(&text.lines().collect::<Vec<_>>())), saved(&before));
    let by_hand: Vec<&str> = text.lines().filter(|line| !line.starts_with("# natlb state")).collect();
    assert_eq!(saved(&model(&by_hand)), saved(&before));
}

#[test]
fn a_change_of_a_large_state_that_is_damaged_before_others_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut file = StateFile::open(&path).unwrap();
    let mut before = large();
    file.write(&before).unwrap();
    for number in 0..3 {
        let (vip, real) = of_large(number);
        let now = apply(&before, &format!(r#""command":"del-real","service":"{vip}","real":"{real}""#));
        file.change(&before, &now).unwrap();
        before = now;
    }
    let text = fs::read_to_string(&path).unwrap();
    let (end, _) = text.match_indices("-d -t").nth(1).unwrap();
    fs::write(&path, text[..end].to_owned() + &text[end + 1..]).unwrap();
    let error = file.load(&Model::new([1, 1, 1].into()), &network()).unwrap_err().to_string();
    assert!(error.contains("change 2 after its end is not whole"), "{error}");
}

#[test]
fn a_large_state_with_many_changes_is_replaced_and_so_is_a_file_that_is_not_as_it_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut file = StateFile::open(&path).unwrap();
    let mut before = large();
    file.write(&before).unwrap();
    let base = fs::read(&path).unwrap().len();
    let (mut longest, mut replaced) = (0, 0);
    for number in 0..3000 {
        let (vip, real) = of_large(number);
        let weight = 2 + number % 5;
        let command = format!(r#""command":"edit-real","service":"{vip}","real":"{real}","weight":{weight}"#);
        let now = apply(&before, &command);
        file.change(&before, &now).unwrap();
        let length = fs::metadata(&path).unwrap().len() as usize;
        replaced += usize::from(length < longest);
        longest = if length < longest { length } else { longest.max(length) };
        assert!(length <= 2 * base + 10_000);
        before = now;
    }
    assert!(replaced > 0);
    let loaded = || StateFile::load(&file, &Model::new([1, 1, 1].into()), &network()).unwrap().unwrap();
    assert_eq!(saved(&loaded()), saved(&before));
    // Somebody has written to it, or put another in its place.
    let appended = fs::read_to_string(&path).unwrap() + "-C\n";
    fs::write(&path, appended).unwrap();
    let (vip, real) = of_large(1);
    let now = apply(&before, &format!(r#""command":"del-real","service":"{vip}","real":"{real}""#));
    file.change(&before, &now).unwrap();
    let loaded = |file: &StateFile| file.load(&Model::new([1, 1, 1].into()), &network()).unwrap().unwrap();
    assert_eq!(saved(&loaded(&file)), saved(&now));
    fs::write(directory.path().join("other"), "").unwrap();
    fs::rename(directory.path().join("other"), &path).unwrap();
    file.change(&now, &before).unwrap();
    assert_eq!(saved(&loaded(&file)), saved(&before));
}

/// By `cp`, as for a backup. The file is appended to meanwhile, and replaced.
#[test]
fn a_copy_of_a_large_state_made_at_any_time_is_a_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut file = StateFile::open(&path).unwrap();
    let mut before = large();
    file.write(&before).unwrap();
    let mut states = vec![saved(&before)];
    let copy_to = |number: usize| directory.path().join(format!("copy-{number}"));
    let is_over = AtomicBool::new(false);
    let copies = std::thread::scope(|scope| {
        let copies = scope.spawn(|| {
            let mut copies = 0;
            while copies < 40 && !is_over.load(Ordering::Relaxed) {
                let copied = Command::new("cp").arg(&path).arg(copy_to(copies)).status().unwrap();
                assert!(copied.success());
                copies += 1;
            }
            copies
        });
        for number in 0..120 {
            let (vip, real) = of_large(number);
            let weight = 2 + number % 5;
            let command =
                format!(r#""command":"edit-real","service":"{vip}","real":"{real}","weight":{weight}"#);
            let now = apply(&before, &command);
            file.change(&before, &now).unwrap();
            if number % 40 == 39 {
                file.write(&now).unwrap();
            }
            states.push(saved(&now));
            before = now;
        }
        is_over.store(true, Ordering::Relaxed);
        copies.join().unwrap()
    });
    let mut last = 0;
    for number in 0..copies {
        // The daemon's own look at its file, and `restore`.
        let copy = StateFile::open(&copy_to(number)).unwrap();
        let loaded = copy.load(&Model::new([1, 1, 1].into()), &network()).unwrap().unwrap();
        let text = fs::read_to_string(copy_to(number)).unwrap();
        let restored = restore(&Model::new([1, 1, 1].into()), &network(), text.lines()).unwrap();
        let lines = saved(&loaded);
        assert_eq!(lines, saved(&restored));
        let state = states.iter().position(|state| *state == lines);
        let state = state.unwrap_or_else(|| panic!("copy {number} is no state that there was"));
        assert!(state >= last, "copy {number} is older than the one before");
        last = state;
    }
    println!("{copies} copies");
}

/// Services of a few VIPs and ports, each with a few reals in some order; some reals' addresses are others' VIPs.
fn any_model() -> impl Strategy<Value = Model> {
    let host = |number: u8| format!("10.0.0.{}", 20 + number);
    let real = (0..6u8, 0..3u32);
    let service = (0..6u8, 0..2u16, any::<bool>(), prop::collection::vec(real, 0..5));
    prop::collection::vec(service, 0..8).prop_map(move |services| {
        let lines = services.into_iter().flat_map(|(vip, port, is_rr, reals)| {
            let vip = format!("{}:{}", host(vip), 80 + port);
            let add = format!("-A -t {vip} -s {}", if is_rr { "rr" } else { "wrr" });
            let reals = reals
                .into_iter()
                .map(move |(number, weight)| format!("-a -t {vip} -r {}:80 -m -w {weight}", host(number)));
            std::iter::once(add).chain(reals.collect::<Vec<_>>())
        });
        // What is refused is left out.
        let mut taken = vec!["--set 900 120 300".to_owned()];
        for line in lines {
            taken.push(line);
            let lines = taken.iter().map(String::as_str);
            if restore(&Model::new([900, 120, 300].into()), &network(), lines).is_err() {
                taken.pop();
            }
        }
        model(&taken.iter().map(String::as_str).collect::<Vec<_>>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_steps_from_one_model_to_another_lead_there(before in any_model(), now in any_model()) {
        let steps = control::change::steps(&before, &now);
        let lines: Vec<String> = saved(&before).into_iter().chain(steps).collect();
        prop_assert_eq!(saved(&model(&lines.iter().map(String::as_str).collect::<Vec<_>>())), saved(&now));
    }
}
