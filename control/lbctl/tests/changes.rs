//! `reload`, `diff`, `apply`, `confirm`, `history` and `rollback`: the request that each makes, what it prints of the
//! answer, and its exit code.
#![allow(missing_docs, reason = "a test")]

mod fake_lbd;

use fake_lbd::{Ran, against, lbctl};
use serde_json::{Value, json};
use std::path::Path;

const SAME: &str =
    r#"{"v":1,"ok":{"config_version":7,"edits":[],"others":[],"needs_restart":[],"notes":[]}}"#;
const OTHER: &str = r#"{"v":1,"ok":{"config_version":7,"edits":[
    {"line":"-d -t 192.168.10.100:80 -r 10.0.0.7:80","active":1204},
    {"line":"-a -t 192.168.10.100:80 -r 10.0.0.8:80 -m -w 1"}],
    "others":["route add 172.16.0.0/12 via 10.0.0.1 port dip0"],"needs_restart":[],"notes":[]}}"#;

fn answer(text: &str) -> String {
    text.replace('\n', "")
}

fn ran(answer: &str, words: &[&str], stdin: &str) -> (Ran, Value) {
    against(answer, words, stdin.as_bytes())
}

#[test]
fn diff_shows_what_reload_would_change_and_says_by_its_exit_code_whether() {
    let (same, request) = ran(SAME, &["diff"], "");
    assert_eq!(request, json!({"v": 1, "command": "reload", "dry_run": true}));
    assert_eq!((same.code, &*same.stdout, &*same.stderr), (0, "", ""));
    let (other, _) = ran(&answer(OTHER), &["diff"], "");
    let shown = "-d -t 192.168.10.100:80 -r 10.0.0.7:80    # 1,204 active\n\
                 -a -t 192.168.10.100:80 -r 10.0.0.8:80 -m -w 1\n\
                 route add 172.16.0.0/12 via 10.0.0.1 port dip0\n";
    assert_eq!((other.code, &*other.stdout, &*other.stderr), (4, shown, ""));
    let (json, _) = ran(&answer(OTHER), &["--output", "json", "diff"], "");
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &document["edits"][0]["active"]), (4, &json!(1204)));
    let restart = SAME.replace(r#""needs_restart":[]"#, r#""needs_restart":["[eal] workers"]"#);
    let (needs, _) = ran(&restart, &["diff"], "");
    assert_eq!((needs.code, &*needs.stderr), (4, "lbctl: needs a restart of lbd: [eal] workers\n"));
}

#[test]
fn reload_says_what_has_changed_and_what_needs_a_restart() {
    let (same, request) = ran(SAME, &["reload"], "");
    assert_eq!(request, json!({"v": 1, "command": "reload"}));
    assert_eq!((same.code, &*same.stdout), (0, "nothing to change\n"));
    let changed = answer(OTHER).replace(r#""notes":[]"#, r#""notes":["a note"],"change":17"#);
    let (changed, _) = ran(&changed, &["reload"], "");
    assert!(changed.stdout.ends_with("port dip0\nchange 17 is in force\n"), "{changed:?}");
    assert_eq!((changed.code, &*changed.stderr), (0, "lbctl: note: a note\n"));
    let restart =
        SAME.replace(r#""needs_restart":[]"#, r#""needs_restart":["[eal] workers","[[port]] vip0 mtu"]"#);
    let (needs, _) = ran(&restart, &["reload"], "");
    let named =
        "lbctl: needs a restart of lbd: [eal] workers\nlbctl: needs a restart of lbd: [[port]] vip0 mtu\n";
    assert_eq!((needs.code, &*needs.stderr), (5, named));
    let (json, _) = ran(&restart, &["--output", "json", "reload"], "");
    assert_eq!((json.code, json.stdout.lines().count()), (5, 1), "one document: {json:?}");
}

#[test]
fn every_mistake_of_the_file_is_named_by_its_line() {
    let faulty = r#"{"v":1,"error":{"code":"bad_file","message":"nothing changed: …","file":"/etc/natlb/lbd.toml",
        "lines":[{"line":7,"message":"one"},{"line":0,"message":"all of it"}],"more":3}}"#;
    let (refused, _) = ran(&answer(faulty), &["reload"], "");
    let named = "lbctl: /etc/natlb/lbd.toml:7: one\nlbctl: /etc/natlb/lbd.toml: all of it\nlbctl: 3 more faulty lines\n";
    assert_eq!((refused.code, &*refused.stderr), (1, named));
}

#[test]
fn apply_sends_the_lines_of_a_file_or_of_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    std::fs::write(&file, "one\ntwo\n").unwrap();
    let name = file.to_str().unwrap();
    let lines = json!(["one", "two"]);
    let applied = json!({"v": 1, "command": "apply", "lines": lines});
    assert_eq!(ran(SAME, &["apply", name], "").1, applied);
    assert_eq!(ran(SAME, &["apply", "-"], "one\ntwo\n").1, applied);
    let tried = json!({"v": 1, "command": "apply", "lines": lines, "dry_run": true});
    assert_eq!(ran(SAME, &["apply", name, "--dry-run"], "").1, tried);
    assert_eq!(ran(SAME, &["diff", name], "").1, tried);
    let waiting = answer(OTHER).replace(r#""notes":[]"#, r#""notes":[],"change":17,"confirm_s":60"#);
    let (waits, request) = ran(&waiting, &["apply", name, "--confirm", "60"], "");
    assert_eq!(request, json!({"v": 1, "command": "apply", "lines": lines, "confirm": 60}));
    let last = "change 17 is in force; it is taken back in 60 s without lbctl confirm\n";
    assert!(waits.code == 0 && waits.stdout.ends_with(last), "{waits:?}");
    for words in [
        &["apply"][..],
        &["apply", name, "--confirm", "0"],
        &["apply", name, "--confirm", "3601"],
        &["apply", name, "--dry-run", "--confirm", "6"],
        &["apply", "/nowhere/services"],
        &["rollback"],
        &["rollback", "3", "--last"],
        &["history", "0"],
    ] {
        assert_eq!(lbctl(Path::new("/nowhere/lbd.sock"), words, b"").code, 2, "{words:?}");
    }
}

#[test]
fn the_history_is_a_table_and_changes_are_confirmed_and_taken_back() {
    let history = r#"{"v":1,"ok":{"changes":[
        {"change":9,"time_ms":1700000000000,"config_version":3,"by":"control","uid":0,"user":"root","process":2041,
         "program":"lbctl","command":"{\"command\":\"clear\"}","lines_back":4},
        {"change":10,"time_ms":1700000001000,"config_version":4,"by":"lbd","command":"x","lines_back":null,
         "confirm_until_ms":1700000061000}]}}"#;
    let (shown, request) = ran(&answer(history), &["history", "2"], "");
    assert_eq!(request, json!({"v": 1, "command": "history", "count": 2}));
    let table = "Changes\n  change  time                  version  by                              command\n       \
                 9  2023-11-14T22:13:20Z        3  lbctl, process 2041, user root  {\"command\":\"clear\"}\n      \
                 10  2023-11-14T22:13:21Z        4  lbd itself                      x (waits for lbctl confirm)\n";
    assert_eq!((shown.code, &*shown.stdout), (0, table));
    let (confirmed, request) = ran(r#"{"v":1,"ok":{"change":17,"config_version":7}}"#, &["confirm"], "");
    assert_eq!(request, json!({"v": 1, "command": "confirm"}));
    assert_eq!((confirmed.code, &*confirmed.stdout), (0, "change 17 stays\n"));
    assert_eq!(ran(SAME, &["rollback", "--last"], "").1, json!({"v": 1, "command": "rollback"}));
    assert_eq!(ran(SAME, &["rollback", "7"], "").1, json!({"v": 1, "command": "rollback", "to": 7}));
}
