//! `restore` and `save` through `lbctl` and a control thread: the largest configurations, and faulty ones.

#[path = "../../tests/control_lab/mod.rs"]
mod control_lab;

use control::model::MAX_SERVICES;
use control_lab::{Lab, config_in};
use dataplane::names::ids::MAX_REALS;
use lbctl::{Surroundings, run};
use serde_json::{Value, json};
use std::fmt::Write;

/// What `lbctl` with these words gives: exit code, stdout, stderr.
fn lbctl(lab: &Lab, words: &str, stdin: &str) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let surroundings = Surroundings {
        socket: Some(lab.config.control.socket.clone().into()),
        version: "0",
        dpdk: "0",
        stdin: &mut stdin.as_bytes(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    // The machine may be busy with other things.
    let arguments = ["lbctl", "--timeout", "300"].into_iter().chain(words.split(' '));
    let code = run(arguments.map(Into::into), surroundings);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (code, stdout, stderr)
}

/// The longest lines of as many services and reals as there may be; all reals differ from those of another `set`.
fn largest(set: usize) -> String {
    let mut text = String::from("--set 2678400 2678400 2678400\n");
    for service in 0..MAX_SERVICES {
        let vip =
            format!("203.113.{}.{}:{}", 100 + service % 150, 100 + service / 150, 60_000 + service % 5000);
        writeln!(text, "-A -t {vip} -s wrr").unwrap();
        for real in 0..MAX_REALS / MAX_SERVICES {
            let number = service * 16 + real;
            let address = format!("172.{}.{}.{}", 20 + set, 1 + number / 256 % 250, number % 250 + 1);
            writeln!(
                text,
                "-a -t {vip} -r {address}:{} -m -w 65535",
                50_000 + number / 64_000 + 16 * set + real
            )
            .unwrap();
        }
    }
    // In the order of `save`.
    let mut services: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().skip(1) {
        if line.starts_with("-A") {
            services.push(Vec::new());
        }
        services.last_mut().unwrap().push(line);
    }
    services.sort_by_key(|lines| {
        let listen = lines[0].split(' ').nth(2).unwrap();
        listen.parse::<std::net::SocketAddrV4>().unwrap()
    });
    let lines = text.lines().take(1).chain(services.into_iter().flatten());
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_largest_configurations_follow_one_another_in_one_change_each() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let done = (0, String::new(), String::new());
    // The ids of the first are needed for the third, which comes before they are let go of by themselves.
    for set in 0..3 {
        let lines = largest(set);
        assert!(lines.len() > 4 << 20);
        assert_eq!(lbctl(&lab, "restore", &lines), done, "set {set}");
        let (code, saved, stderr) = lbctl(&lab, "save", "");
        assert!((code, stderr.as_str()) == (0, "") && saved == lines, "set {set}");
    }
    let told = lab.workers[0].told.lock().unwrap();
    let snapshot = told.snapshot.as_ref().unwrap();
    assert_eq!(snapshot.services.iter().flatten().count(), MAX_SERVICES);
}

#[test]
fn every_faulty_line_is_named_and_nothing_changes() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let first = "-A -t 192.168.10.100:80 -s rr\n-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1\n";
    assert_eq!(lbctl(&lab, "restore", first).0, 0);
    let before = lbctl(&lab, "save", "");
    let faulty = "\
# of another balancer
ipvsadm -C
-A -t 192.168.10.100:80 -s lblc
-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m
-a -t 192.168.10.100:80 -r 10.9.9.9:80 -m
-A -t 192.168.10.100:81 -s rr
-a -t 192.168.10.100:82 -r 10.0.0.7:80 -m

-a -t 192.168.10.100:81 -r 10.0.0.7:80 -g
-C
";
    let expected = [
        (
            3,
            "not supported yet: scheduler \"lblc\" (supported: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)",
        ),
        (5, "no route to 10.9.9.9"),
        (7, "no such service"),
        (9, "not supported yet: -g (direct routing)"),
        (10, "not supported yet: -C after services: all lines are one change"),
    ];
    let lines: String = expected.iter().map(|(line, why)| format!("lbctl: line {line}: {why}\n")).collect();
    for words in ["restore", "restore --dry-run"] {
        assert_eq!(lbctl(&lab, words, faulty), (1, String::new(), lines.clone()));
        let (code, stdout, stderr) = lbctl(&lab, &format!("--output json {words}"), faulty);
        assert_eq!((code, &stderr), (1, &lines));
        let named: Vec<Value> =
            expected.iter().map(|(line, message)| json!({ "line": line, "message": message })).collect();
        let message = format!("line 3: {} (and 4 more faulty lines)", expected[0].1);
        let document = json!({ "code": "bad_line", "message": message, "lines": named });
        assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), document);
    }
    let (code, _, stderr) = lbctl(&lab, "restore", &"nonsense\n".repeat(250));
    assert_eq!((code, stderr.lines().count()), (1, 101));
    assert!(stderr.ends_with("lbctl: 150 more faulty lines\n"), "{stderr}");
    // One is named in one line, as before.
    let (code, stdout, stderr) = lbctl(&lab, "--output json restore", "nonsense\n");
    let why = r#"line 1: expected -A, -a or --set, found "nonsense""#;
    assert_eq!((code, stderr), (1, format!("lbctl: {why}\n")));
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["message"], why);
    assert_eq!(lbctl(&lab, "save", ""), before);
}

#[test]
fn what_is_only_tried_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let before = lbctl(&lab, "save", "");
    let lines = "-A -t 192.168.10.100:80\n-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m\n";
    let said = "1 services with 1 reals: nothing is wrong, nothing was changed\n";
    assert_eq!(lbctl(&lab, "restore --dry-run", lines), (0, said.into(), String::new()));
    let (_, stdout, _) = lbctl(&lab, "--output json restore --dry-run", lines);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document, json!({ "services": 1, "reals": 1, "config_version": 1 }));
    assert_eq!(lbctl(&lab, "save", ""), before);
    assert!(!lab.config.control.state.as_ref().unwrap().exists());
}
