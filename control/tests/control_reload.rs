//! The configuration file is read again, what would change is said, changes are confirmed or taken back, and all of
//! them are in the history with who made them.

mod control_lab;

use control::api::predecessor::{NoPredecessor, Predecessor};
use control::api::protocol::Outcome;
use control::config::{self, Config};
use control_lab::{Client, FILE, Lab, config_in, file, until};
use dataplane::names::family::V4;
use dataplane::names::ids::RealId;
use dataplane::translation::Record;
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

const SERVICE: &str = r#"
[timeouts]
tcp = 100
[[service]]
listen = "tcp://192.168.10.100:80"
  [[service.real]]
  address = "10.0.0.7:80"
"#;
const ANOTHER_REAL: &str = "  [[service.real]]\n  address = \"10.0.0.17:80\"\n  weight = 3\n";
const RELOAD: &str = r#""command":"reload""#;
const DIFF: &str = r#""command":"reload","dry_run":true"#;
const SAVE: &str = r#""command":"save""#;
const HISTORY: &str = r#""command":"history""#;

fn text(more: &str) -> String {
    format!("{}{SERVICE}{more}", FILE.replace("gateway = \"192.168.10.1\"", ""))
}

/// A configuration with a file that has this text.
fn configured(directory: &Path, text: &str) -> Config {
    let parsed = config::parse(text).unwrap();
    let config = Config { control: config_in(directory).control, ..parsed };
    write(&config, text);
    config
}

/// The file gets this text, and the sockets and files of the tests.
fn write(config: &Config, text: &str) {
    let control = &config.control;
    let state = control.state.as_ref().map(|state| format!("state = {state:?}\n")).unwrap_or_default();
    fs::write(file(config), format!("{text}\n[control]\nsocket = {:?}\n{state}", control.socket)).unwrap();
}

fn saved(lab: &Lab) -> Vec<String> {
    let lines = lab.ok(SAVE)["lines"].as_array().unwrap().clone();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn edits(answer: &Value) -> Vec<&str> {
    answer["edits"].as_array().unwrap().iter().map(|edit| edit["line"].as_str().unwrap()).collect()
}

fn apply(lines: &[&str], more: &str) -> String {
    format!(r#""command":"apply","lines":{}{more}"#, json!(lines))
}

fn history(lab: &Lab) -> Vec<Value> {
    lab.ok(HISTORY)["changes"].as_array().unwrap().clone()
}

const ONE: [&str; 3] =
    ["--set 100 120 300", "-A -t 192.168.10.100:80 -s wrr", "-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1"];
const TWO: [&str; 4] = [ONE[0], ONE[1], ONE[2], "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m -w 3"];

#[test]
fn what_the_file_says_comes_into_force_and_diff_says_it_before() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 2, 0).unwrap();
    let same = lab.ok(DIFF);
    assert_eq!((edits(&same), &same["others"], &same["needs_restart"]), (vec![], &json!([]), &json!([])));
    assert_eq!(lab.ok(RELOAD).get("change"), None, "nothing to change is no change");

    lab.ok(r#""command":"add-service","service":"udp://192.168.10.100:53""#);
    write(&config, &text(ANOTHER_REAL).replace("tcp = 100", "tcp = 200"));
    let expected =
        ["-D -u 192.168.10.100:53", "--set 200 120 300", "-a -t 192.168.10.100:80 -r 10.0.0.17:80 -m -w 3"];
    let said = lab.ok(DIFF);
    assert_eq!(edits(&said), expected);
    assert_eq!(saved(&lab).len(), 4, "only said");
    let done = lab.ok(RELOAD);
    assert_eq!(edits(&done), expected);
    assert_eq!(saved(&lab)[1..], TWO[1..]);
    assert_eq!(done["config_version"], lab.ok(r#""command":"timeouts""#)["config_version"]);
    assert!(edits(&lab.ok(DIFF)).is_empty());
    // It is in the state file, so a restart has it.
    lab.stop();
    let lab = Lab::start(config, 1, 0).unwrap();
    assert_eq!(saved(&lab)[1..], TWO[1..]);
}

#[test]
fn connections_of_what_goes_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(ANOTHER_REAL));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    write(&config, &text(""));
    let said = lab.ok(DIFF);
    let expected = json!([{"line": "-d -t 192.168.10.100:80 -r 10.0.0.17:80", "active": 0}]);
    assert_eq!(said["edits"], expected);
    // Others, as a service that is added, are about none.
    let more = lab.ok(&apply(&[&TWO[..], &["-A -t 192.168.10.100:81 -s rr"]].concat(), r#","dry_run":true"#));
    assert_eq!(more["edits"], json!([{"line": "-A -t 192.168.10.100:81 -s rr"}]));
}

#[test]
fn services_and_timeouts_that_the_file_does_not_speak_of_stay() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    let without = FILE.replace("gateway = \"192.168.10.1\"", "");
    write(&config, &without);
    let said = lab.ok(RELOAD);
    assert_eq!((edits(&said), said["notes"].as_array().unwrap().len()), (vec![], 2), "{said}");
    assert_eq!(saved(&lab), ONE);
    // A real that no route leads to any more is not left without one.
    lab.ok(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"172.16.0.9:80""#);
    write(&config, &without.replace("172.16.0.0/12", "172.31.0.0/16"));
    let refusal = lab.refused(RELOAD);
    assert!(refusal.message.contains("no route to 172.16.0.9"), "{}", refusal.message);
}

#[test]
fn a_faulty_file_changes_nothing_and_every_mistake_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    let before = lab.ok(r#""command":"timeouts""#);
    let faulty = text(ANOTHER_REAL).replace("tcp = 100", "tcp = 0").replace("weight = 3", "weight = -3");
    write(&config, &faulty);
    for request in [RELOAD, DIFF] {
        let refusal = lab.refused(request);
        assert_eq!(refusal.code, "bad_file");
        let line = |what: &str| 1 + faulty.lines().position(|line| line.contains(what)).unwrap();
        let named: Vec<usize> = refusal.lines.iter().map(|fault| fault.line).collect();
        assert_eq!(named, [line("tcp = 0"), line("weight = -3")]);
        assert_eq!(refusal.file.as_deref(), file(&config).to_str());
    }
    fs::remove_file(file(&config)).unwrap();
    let refusal = lab.refused(RELOAD);
    assert_eq!((refusal.code.as_str(), refusal.lines[0].line), ("bad_file", 0));
    assert_eq!(lab.ok(r#""command":"timeouts""#), before, "the version is the same, too");
    assert_eq!(saved(&lab), ONE);
    let without = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(without.path()), 1, 0).unwrap();
    assert_eq!(lab.refused(RELOAD).code, "bad_file", "it was not started from a file");
}

#[test]
fn what_is_no_file_any_more_is_refused_and_nobody_waits() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    fs::remove_file(file(&config)).unwrap();
    nix::unistd::mkfifo(&file(&config), nix::sys::stat::Mode::S_IRUSR).unwrap();
    for request in [RELOAD, DIFF] {
        let refusal = lab.refused(request);
        assert!(refusal.message.ends_with("expected a regular file"), "{}", refusal.message);
    }
    lab.ok(&apply(&TWO, ""));
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    let port =
        "[[port]]\nname = \"dip1\"\nside = \"dip\"\ndevice = \"net_null2\"\naddresses = [\"10.9.0.8/24\"]\n";
    let changed = format!("{port}[eal]\nworkers = [1, 2]\n{}", text(ANOTHER_REAL));
    write(&config, &changed);
    let done = lab.ok(RELOAD);
    assert_eq!(done["needs_restart"], json!(["[eal] workers", "[[port]] dip1: to be added"]));
    assert_eq!(saved(&lab)[1..], TWO[1..]);
    let again = lab.ok(RELOAD);
    assert_eq!((edits(&again), &again["needs_restart"]), (vec![], &done["needs_restart"]), "it stays so");
    // A service that only the new port could have is refused as a whole.
    let real = "  [[service.real]]\n  address = \"10.9.0.7:80\"\n";
    write(&config, &format!("{changed}{real}"));
    let refusal = lab.refused(RELOAD);
    assert_eq!(refusal.code, "needs_restart");
    assert!(refusal.message.contains("no route to 10.9.0.7"), "{}", refusal.message);
    assert_eq!(saved(&lab)[1..], TWO[1..]);
}

#[test]
fn routes_and_neighbours_change_while_services_stay() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    lab.ok(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"172.16.0.9:80""#);
    let way = |real: &str| -> (IpAddr, Option<[u8; 6]>) {
        let told = lab.workers[0].told.lock().unwrap();
        let snapshot = told.snapshot.as_ref().unwrap();
        let endpoint: SocketAddr = real.parse().unwrap();
        let has = |id: &RealId| snapshot.real_key(*id).is_some_and(|key| key.endpoint == endpoint);
        let id = (0..snapshot.real_ids()).map(RealId).find(has).unwrap();
        let hop = lab.next_hops.get(snapshot.rewrite::<V4>(id).next_hop());
        let via = snapshot.routes.to_real(endpoint.ip()).unwrap().address;
        (via, hop.is_resolved().then(|| hop.mac().0))
    };
    assert_eq!(way("172.16.0.9:80").0, IpAddr::from([10, 0, 0, 1]));
    assert_eq!(way("10.0.0.7:80").1, Some([2, 0, 0, 0, 0, 7]));
    let real = "  [[service.real]]\n  address = \"172.16.0.9:80\"\n";
    let changed = text(real)
        .replace("via = \"10.0.0.1\"", "via = \"10.0.0.2\"")
        .replace("02:00:00:00:00:07", "02:00:00:00:00:08")
        + "[[neighbour]]\naddress = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\n[forward]\nunmatched = \"drop\"\n";
    write(&config, &changed);
    let done = lab.ok(RELOAD);
    assert!(edits(&done).is_empty(), "{done}");
    assert_eq!(done["others"].as_array().unwrap().len(), 6, "{done}");
    assert!(done["change"].is_u64());
    assert_eq!(way("172.16.0.9:80"), ([10, 0, 0, 2].into(), Some([2, 0, 0, 0, 0, 2])));
    assert_eq!(way("10.0.0.7:80").1, Some([2, 0, 0, 0, 0, 8]));
    let again = lab.ok(DIFF);
    assert_eq!(again["others"], json!([]));
    // A change after it is made on the new routes, and the file leads back.
    lab.ok(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"172.16.0.10:80""#);
    assert_eq!(way("172.16.0.10:80").0, IpAddr::from([10, 0, 0, 2]));
    write(&config, &text(real));
    lab.ok(RELOAD);
    assert_eq!(way("172.16.0.9:80").0, IpAddr::from([10, 0, 0, 1]));
    assert_eq!(way("10.0.0.7:80").1, Some([2, 0, 0, 0, 0, 7]));
}

#[test]
fn sighup_reads_the_file_and_nobody_waits_for_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    write(&config, &text(ANOTHER_REAL));
    lab.hangups.come(4711, 0);
    until("the file is in force", || saved(&lab).len() == 4);
    let last = history(&lab).pop().unwrap();
    assert_eq!(
        (&last["by"], &last["process"], &last["user"]),
        (&json!("signal"), &json!(4711), &json!("root"))
    );
    // A faulty one changes nothing, and the next is obeyed.
    write(&config, "faulty");
    lab.hangups.come(4711, 0);
    lab.turn();
    write(&config, &text(""));
    lab.hangups.come(4711, 0);
    until("the file is in force", || saved(&lab).len() == 3);
}

#[test]
fn apply_touches_only_what_differs_and_faulty_lines_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(configured(directory.path(), &text("")), 1, 0).unwrap();
    let snapshot = || lab.workers[0].told.lock().unwrap().snapshot.clone().unwrap();
    let schedule = || {
        std::sync::Arc::as_ptr(
            &snapshot()
                .services
                .iter()
                .flatten()
                .find(|service| service.key.listen.port() == 80)
                .unwrap()
                .schedule,
        )
    };
    let before = schedule();
    let done = lab.ok(&apply(&[&ONE[..], &["-A -u 192.168.10.100:53 -s rr"]].concat(), ""));
    assert_eq!(edits(&done), ["-A -u 192.168.10.100:53 -s rr"]);
    assert_eq!(schedule(), before, "the other service goes on where it is");
    let refusal = lab.refused(&apply(&[ONE[1], "-a nonsense"], ""));
    assert_eq!((refusal.code.as_str(), refusal.lines[0].line), ("bad_line", 2));
    assert_eq!(lab.refused(&apply(&[], "")).code, "bad_line", "nothing at all is more likely a mistake");
    assert_eq!(lab.refused(&apply(&ONE, r#","confirm":0"#)).code, "bad_confirm");
    assert_eq!(lab.refused(&apply(&ONE, r#","confirm":3601"#)).code, "bad_confirm");
    assert_eq!(saved(&lab).len(), 4);
}

#[test]
fn without_confirmation_a_change_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(configured(directory.path(), &text("")), 1, 0).unwrap();
    // Whoever has asked may be gone.
    let mut asking = lab.connect();
    assert!(matches!(asking.ask(&apply(&TWO, r#","confirm":60"#)), Outcome::Ok(_)));
    drop(asking);
    lab.pass(Duration::from_secs(58));
    assert_eq!(saved(&lab), TWO);
    lab.pass(Duration::from_secs(60));
    until("it is taken back", || saved(&lab) == ONE);
    let last = history(&lab).pop().unwrap();
    assert_eq!((&last["by"], last.get("process")), (&json!("lbd"), None));
    assert_eq!(lab.refused(r#""command":"confirm""#).code, "nothing_to_confirm");
    // From then on everything is as before.
    lab.ok(&apply(&TWO, ""));
}

#[test]
fn what_is_confirmed_stays_and_until_then_nothing_else_changes() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    assert_eq!(lab.refused(r#""command":"confirm""#).code, "nothing_to_confirm");
    let done = lab.ok(&apply(&TWO, r#","confirm":60"#));
    assert_eq!(done["confirm_s"], 60);
    let other = r#""command":"add-service","service":"udp://192.168.10.100:53""#;
    for request in [other, RELOAD, &apply(&ONE, ""), &apply(&ONE, r#","confirm":5"#)] {
        let refusal = lab.refused(request);
        assert_eq!(refusal.code, "busy", "{}", refusal.message);
        assert!(refusal.message.contains("to be confirmed"), "{}", refusal.message);
    }
    lab.hangups.come(1, 0);
    assert!(edits(&lab.ok(DIFF)).len() == 1, "who only looks is answered");
    let confirmed = lab.ok(r#""command":"confirm""#);
    assert_eq!(confirmed["change"], done["change"]);
    lab.pass(Duration::from_secs(100));
    lab.turn();
    assert_eq!(saved(&lab), TWO);
    lab.ok(other);
    // And it stays so in the next process.
    lab.stop();
    let lab = Lab::start(config, 1, 0).unwrap();
    assert_eq!(saved(&lab).len(), 5);
    assert_eq!(lab.refused(r#""command":"confirm""#).code, "nothing_to_confirm");
}

#[test]
fn a_change_that_waits_can_be_taken_back_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(configured(directory.path(), &text("")), 1, 0).unwrap();
    lab.ok(&apply(&TWO, r#","confirm":60"#));
    lab.ok(r#""command":"rollback""#);
    assert_eq!(saved(&lab), ONE);
    assert_eq!(lab.refused(r#""command":"confirm""#).code, "nothing_to_confirm");
    lab.pass(Duration::from_secs(100));
    lab.turn();
    assert_eq!(saved(&lab), ONE, "the time has nothing to take back any more");
}

#[test]
fn a_change_goes_on_waiting_when_taking_back_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(configured(directory.path(), &text("")), 1, 0).unwrap();
    let waits = lab.ok(&apply(&TWO, r#","confirm":60"#))["change"].clone();
    // It is in force already.
    let done = lab.ok(&format!(r#""command":"rollback","to":{waits}"#));
    assert_eq!((edits(&done).len(), done.get("change")), (0, None));
    assert_eq!(lab.refused(&apply(&ONE, "")).code, "busy");
    lab.pass(Duration::from_secs(100));
    until("it is taken back", || saved(&lab) == ONE);
    lab.ok(&apply(&TWO, ""));
}

#[test]
fn a_restart_goes_on_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    lab.ok(&apply(&TWO, r#","confirm":3600"#));
    lab.stop();
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    assert_eq!(saved(&lab), TWO);
    assert_eq!(lab.refused(&apply(&ONE, "")).code, "busy", "the next process knows of it");
    lab.stop();
    // The time is up while nobody is there.
    let path = directory.path().join("lib/state.history");
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("\"until_ms\":").unwrap();
    let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    fs::write(&path, format!("{before}\"until_ms\":1{rest}")).unwrap();
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    until("it is taken back", || saved(&lab) == ONE);
    lab.stop();
    let lab = Lab::start(config, 1, 0).unwrap();
    assert_eq!(saved(&lab), ONE);
}

#[test]
fn without_a_state_file_no_other_takes_over_while_a_change_waits() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = configured(directory.path(), &text(""));
    config.control.state = None;
    write(&config, &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    lab.ok(&apply(&TWO, r#","confirm":60"#));
    match Predecessor::ask(&config.control.socket) {
        Err(NoPredecessor::Refused(why)) => assert!(why.contains("to be confirmed"), "{why}"),
        other => panic!("{other:?}"),
    }
    lab.ok(r#""command":"confirm""#);
    drop(Predecessor::ask(&config.control.socket).unwrap());
    until("changes are taken again", || matches!(lab.ask(&apply(&ONE, "")), Outcome::Ok(_)));
    lab.ok(r#""command":"rollback""#);
    assert_eq!(saved(&lab), TWO, "the history is there without a file, too");
}

#[test]
fn a_successor_waits_for_what_waited() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    lab.ok(&apply(&TWO, r#","confirm":60"#));
    let (predecessor, handed) = Predecessor::ask(&config.control.socket).unwrap();
    // The time is up meanwhile: nothing is changed behind the successor's back.
    lab.pass(Duration::from_secs(100));
    lab.turn();
    assert_eq!(saved(&lab), TWO);
    drop((predecessor, handed));
    until("the daemon goes on, and takes it back", || saved(&lab) == ONE);
}

#[test]
fn changes_are_taken_back_one_by_one_or_many_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    let first = history(&lab).pop().unwrap()["change"].as_u64().unwrap();
    let mut states = vec![saved(&lab)];
    let requests = [
        r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"10.0.0.17:80","weight":2"#,
        r#""command":"edit-real","service":"tcp://192.168.10.100:80","real":"10.0.0.7:80","weight":9"#,
        r#""command":"add-service","service":"udp://192.168.10.100:53","scheduler":"sh","flags":["sh-port"]"#,
        r#""command":"timeouts","set":[1,2,3]"#,
        r#""command":"del-service","service":"tcp://192.168.10.100:80""#,
        r#""command":"clear""#,
    ];
    for request in requests {
        lab.ok(request);
        states.push(saved(&lab));
    }
    // The last one back, and back again.
    lab.ok(r#""command":"rollback""#);
    assert_eq!(saved(&lab), states[5]);
    lab.ok(r#""command":"rollback""#);
    assert_eq!(saved(&lab), states[6]);
    for (after, state) in states.iter().enumerate().rev() {
        let to = first + after as u64;
        lab.ok(&format!(r#""command":"rollback","to":{to}"#));
        assert_eq!(&saved(&lab), state, "after change {to}");
    }
    let refusal = lab.refused(r#""command":"rollback","to":1000"#);
    assert_eq!(refusal.code, "no_way_back");
    // Over a restart, too.
    lab.stop();
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    lab.ok(&format!(r#""command":"rollback","to":{}"#, first + 3));
    assert_eq!(saved(&lab), states[3]);
    lab.stop();
    // Somebody has edited the state file: what was before is not made out of it.
    let state = config.control.state.clone().unwrap();
    let edited = fs::read_to_string(&state)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |text, line| text + line + "\n")
        + "-A -t 192.168.10.100:99 -s rr\n";
    fs::write(&state, edited).unwrap();
    let lab = Lab::start(config, 1, 0).unwrap();
    assert_eq!(lab.refused(r#""command":"rollback""#).code, "no_way_back");
    lab.ok(requests[3]);
    lab.ok(r#""command":"rollback""#);
}

#[test]
fn each_change_has_its_origin_and_there_are_only_so_many() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(configured(directory.path(), &text("")), 1, 0).unwrap();
    for weight in 1..=210 {
        let service = r#""service":"tcp://192.168.10.100:80","real":"10.0.0.7:80""#;
        lab.ok(&format!(r#""command":"edit-real",{service},"weight":{}"#, 1 + weight % 2));
    }
    let all = history(&lab);
    assert_eq!(all.len(), 200);
    let last = all.last().unwrap();
    assert_eq!(last["process"], std::process::id());
    assert_eq!((&last["by"], &last["uid"]), (&json!("control"), &json!(nix::unistd::geteuid().as_raw())));
    assert!(last["program"].as_str().is_some_and(|program| program.starts_with("control_reload")), "{last}");
    assert!(last["command"].as_str().unwrap().contains("edit-real"));
    assert!(last["time_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let numbers: Vec<_> = all.iter().map(|change| change["change"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let three = lab.ok(r#""command":"history","count":3"#);
    assert_eq!(three["changes"].as_array().unwrap().as_slice(), &all[197..]);
    // What changes nothing is not there.
    lab.ok(r#""command":"timeouts","set":[0,0,0]"#);
    lab.refused(r#""command":"del-service","service":"tcp://192.168.10.100:9""#);
    assert_eq!(history(&lab).last(), all.last());
}

#[test]
fn a_history_that_cannot_be_had_keeps_nothing_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(""));
    let path = directory.path().join("lib/state.history");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for content in [&b"\xff\xfe\x00garbage"[..], b"{\"change\":{}}\n{", &vec![b'x'; 70 << 20]] {
        fs::write(&path, content).unwrap();
        let lab = Lab::start(config.clone(), 1, 0).unwrap();
        lab.ok(&apply(&TWO, ""));
        lab.ok(r#""command":"rollback""#);
        assert_eq!(saved(&lab), ONE);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    lab.ok(&apply(&TWO, ""));
    let refusal = lab.refused(&apply(&ONE, r#","confirm":60"#));
    assert_eq!(refusal.code, "history_write_failed", "a restart would not know of it");
    assert_eq!(saved(&lab), TWO);
    lab.ok(r#""command":"rollback""#);
    lab.stop();
    fs::remove_dir(&path).unwrap();
    // Made anew, it is nobody else's business.
    let lab = Lab::start(config, 1, 0).unwrap();
    lab.ok(&apply(&TWO, r#","confirm":60"#));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn reloads_and_changes_of_many_peers_are_one_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path(), &text(ANOTHER_REAL));
    let lab = Lab::start(config.clone(), 2, 0).unwrap();
    let socket = &config.control.socket;
    thread::scope(|scope| {
        for peer in 0..4_u32 {
            scope.spawn(move || {
                let mut client = Client::connect(socket);
                for round in 0..25 {
                    let weight = 1 + (peer + round) % 5;
                    let request = match peer {
                        0 => RELOAD.to_owned(),
                        1 => apply(&TWO, ""),
                        _ => format!(r#""command":"edit-real","service":"tcp://192.168.10.100:80","real":"10.0.0.7:80","weight":{weight}"#),
                    };
                    let outcome = client.ask(&request);
                    assert!(matches!(outcome, Outcome::Ok(_)), "{request}: {outcome:?}");
                }
            });
        }
    });
    lab.ok(RELOAD);
    assert_eq!(saved(&lab)[1..], TWO[1..]);
    let all = history(&lab);
    let first = all.first().unwrap()["change"].as_u64().unwrap();
    lab.ok(&format!(r#""command":"rollback","to":{first}"#));
    assert_eq!(saved(&lab)[1..], TWO[1..]);
}
