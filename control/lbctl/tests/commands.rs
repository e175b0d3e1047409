//! Every command of `lbctl`: the request that it makes, and what it prints of the answer.
#![allow(missing_docs, reason = "a test")]

mod fake_lbd;

use fake_lbd::{FakeLbd, against, lbctl, lbctl_with};
use serde_json::{Value, json};

const CHANGED: &str = r#"{"v":1,"ok":{"config_version":7}}"#;
const TCP: &str = "192.168.10.100:80";

/// Runs a command that only changes; gives its request.
#[track_caller]
fn request(words: &str, stdin: &str) -> Value {
    let words: Vec<_> = words.split_whitespace().collect();
    let (ran, request) = against(CHANGED, &words, stdin.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""), "{words:?}");
    request
}

#[test]
fn commands_on_services_ask_with_long_names() {
    let service = "tcp://192.168.10.100:80";
    let add = json!({"v": 1, "command": "add-service", "service": service, "scheduler": "wrr"});
    assert_eq!(request("add-service -t 192.168.10.100:80 -s wrr", ""), add);
    assert_eq!(request("add-service --tcp-service=192.168.10.100:80 --scheduler wrr", ""), add);
    assert_eq!(request("-n add-service -t 192.168.10.100:80 -s wrr -n", ""), add);
    let plain = json!({"v": 1, "command": "add-service", "service": "udp://192.168.10.100:53"});
    assert_eq!(request("add-service -u 192.168.10.100:53", ""), plain);
    assert_eq!(request("add-service --udp-service 192.168.10.100:53", ""), plain);
    let sctp = json!({"v": 1, "command": "add-service", "service": "sctp://[fd00:10::100]:9000"});
    assert_eq!(request("add-service --sctp-service [fd00:10::100]:9000", ""), sctp);
    let persistent =
        |seconds: u32| json!({"v": 1, "command": "add-service", "service": service, "persistence": seconds});
    assert_eq!(request("add-service -t 192.168.10.100:80 -p", ""), persistent(360));
    assert_eq!(request("add-service -p -t 192.168.10.100:80", ""), persistent(360));
    assert_eq!(request("add-service -t 192.168.10.100:80 -p 50", ""), persistent(50));
    let edit = json!({"v": 1, "command": "edit-service", "service": service, "scheduler": "rr"});
    assert_eq!(request("edit-service -t 192.168.10.100:80 -s rr", ""), edit);
    let delete = json!({"v": 1, "command": "del-service", "service": service});
    assert_eq!(request("del-service -t 192.168.10.100:80", ""), delete);
}

#[test]
fn settings_of_services_ask_with_the_names_of_the_file() {
    let asked = |command: &str, words: &str, mut keys: Value| {
        let service =
            if words.contains("-u") { "udp://192.168.10.100:53" } else { "tcp://192.168.10.100:80" };
        let object = keys.as_object_mut().unwrap();
        for (key, value) in [("v", json!(1)), ("command", json!(command)), ("service", json!(service))] {
            object.entry(key).or_insert(value);
        }
        assert_eq!(request(&format!("{command} {words}"), ""), keys, "{words}");
    };
    let (tcp, udp) = ("-t 192.168.10.100:80", "-u 192.168.10.100:53");
    for command in ["add-service", "edit-service"] {
        for (options, keys) in [
            ("-p 50 -M 255.255.255.0", json!({"persistence": 50, "persistence_mask": "255.255.255.0"})),
            ("-s sh -b sh-port,sh-fallback", json!({"scheduler": "sh", "flags": ["sh-port", "sh-fallback"]})),
            ("--scheduler mh --sched-flags mh-port", json!({"scheduler": "mh", "flags": ["mh-port"]})),
            ("-b flag-3", json!({"flags": ["flag-3"]})),
            ("--timeouts tcp=60,SYN_RECV=5", json!({"timeouts": {"tcp": 60, "syn_recv": 5}})),
            ("--on-removal reset --slow-start 30", json!({"on_removal": "reset", "slow_start": 30})),
        ] {
            asked(command, &format!("{tcp} {options}"), keys);
        }
        asked(command, &format!("{udp} -o"), json!({"one_packet": true}));
        asked(
            command,
            &format!("{udp} --ops --persistent --netmask 255.0.0.0"),
            json!({"one_packet": true, "persistence": 360, "persistence_mask": "255.0.0.0"}),
        );
        for ports in ["0", "8000-8100"] {
            let service = format!("tcp://192.168.10.100:{ports}");
            asked(command, &format!("-t 192.168.10.100:{ports}"), json!({"service": service}));
        }
    }
    asked("edit-service", &format!("{tcp} --no-persistent"), json!({"persistence": 0}));
    asked("edit-service", &format!("{tcp} --no-sched-flags"), json!({"flags": []}));
    asked("edit-service", &format!("{udp} --no-ops"), json!({"one_packet": false}));
    asked("edit-service", &format!("{tcp} -M 255.0.0.0"), json!({"persistence_mask": "255.0.0.0"}));
    asked("edit-service", &format!("{tcp} -b sh-port"), json!({"flags": ["sh-port"]}));
}

#[test]
fn a_note_is_said_on_stderr() {
    let answer = r#"{"v":1,"ok":{"config_version":7,"note":"8.8.8.8 lies in no port's network"}}"#;
    let (ran, _) = against(answer, &["add-service", "-t", "8.8.8.8:80"], b"");
    let note = "lbctl: note: 8.8.8.8 lies in no port's network\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", note));
}

#[test]
fn commands_on_reals_ask_with_long_names() {
    let service = "tcp://192.168.10.100:80";
    let add = json!({"v": 1, "command": "add-real", "service": service, "real": "10.0.0.7:80"});
    assert_eq!(request("add-real -t 192.168.10.100:80 -r 10.0.0.7:80 -m", ""), add);
    assert_eq!(request("add-real -t 192.168.10.100:80 -r 10.0.0.7", ""), add, "the service's port");
    assert_eq!(
        request("add-real --tcp-service 192.168.10.100:80 --real-server 10.0.0.7 --masquerading", ""),
        add
    );
    let limited = json!({"v": 1, "command": "add-real", "service": "udp://192.168.10.100:53", "real": "10.0.0.7:5000",
        "weight": 65535, "upper_threshold": 100, "lower_threshold": 50});
    assert_eq!(request("add-real -u 192.168.10.100:53 -r 10.0.0.7:5000 -w 65535 -x 100 -y 50", ""), limited);
    let long =
        "add-real -u 192.168.10.100:53 -r 10.0.0.7:5000 --weight 65535 --u-threshold 100 --l-threshold 50";
    assert_eq!(request(long, ""), limited);
    for (ports, real, port) in
        [("0", "10.0.0.7", 0), ("8000-8100", "10.0.0.7", 0), ("8000-8100", "10.0.0.7:80", 80)]
    {
        let service = format!("tcp://192.168.10.100:{ports}");
        let real = request(&format!("add-real -t 192.168.10.100:{ports} -r {real}"), "");
        let expected =
            json!({"v": 1, "command": "add-real", "service": service, "real": format!("10.0.0.7:{port}")});
        assert_eq!(real, expected);
    }
    let edit =
        json!({"v": 1, "command": "edit-real", "service": service, "real": "10.0.0.7:80", "weight": 0});
    assert_eq!(request("edit-real -t 192.168.10.100:80 -r 10.0.0.7 -w 0", ""), edit);
    let delete = json!({"v": 1, "command": "del-real", "service": service, "real": "10.0.0.7:80"});
    assert_eq!(request("del-real -t 192.168.10.100:80 -r 10.0.0.7", ""), delete);
}

#[test]
fn commands_on_everything_ask_and_are_quiet() {
    assert_eq!(request("zero", ""), json!({"v": 1, "command": "zero"}));
    let of_one = json!({"v": 1, "command": "zero", "service": "tcp://192.168.10.100:80"});
    assert_eq!(request("zero -t 192.168.10.100:80", ""), of_one);
    assert_eq!(request("clear", ""), json!({"v": 1, "command": "clear"}));
    let set = json!({"v": 1, "command": "timeouts", "set": [900, 0, 300]});
    assert_eq!(request("timeouts --set 900 0 300", ""), set);
    let lines = "# saved\n\n-A -t 192.168.10.100:80 -s wrr\n";
    let restore =
        json!({"v": 1, "command": "restore", "lines": ["# saved", "", "-A -t 192.168.10.100:80 -s wrr"]});
    assert_eq!(request("restore", lines), restore);
    assert_eq!(request("restore", ""), json!({"v": 1, "command": "restore", "lines": []}));
}

const SERVICES: &str = r#"{"v":1,"ok":{"services":[{"protocol":"TCP","address":"192.168.10.100","port":80,
 "scheduler":"wrr","flags":[],"persistence_s":0,"conns":6,"in_packets":36,"out_packets":24,"in_bytes":2388,"out_bytes":1755,
 "reals":[{"address":"10.0.0.7","port":80,"forward":"Masq","weight":1,"upper_threshold":0,"lower_threshold":0,"active":1,
 "inactive":2,"conns":6,"in_packets":36,"out_packets":24,"in_bytes":2388,"out_bytes":1755}]}]}}"#;

#[test]
fn tables_are_asked_for_and_printed() {
    let services = SERVICES.replace('\n', "");
    for (command, line) in [
        ("list", "  -> 10.0.0.7:80                  Masq    1      1          2"),
        ("stats", "  -> 10.0.0.7:80                         6       36       24     2388     1755"),
        ("rate", "  -> 10.0.0.7:80                         6       36       24     2388     1755"),
    ] {
        let (ran, request) = against(&services, &[command], b"");
        assert_eq!(request, json!({"v": 1, "command": command}));
        assert_eq!((ran.code, ran.stdout.lines().last()), (0, Some(line)));
        let (_, request) = against(&services, &[command, "-t", TCP], b"");
        assert_eq!(request, json!({"v": 1, "command": command, "service": "tcp://192.168.10.100:80"}));
    }
}

#[test]
fn limits_and_persistent_connections_have_lists_of_their_own() {
    let services = SERVICES.replace('\n', "");
    for (option, line) in [
        ("--thresholds", "  -> 10.0.0.7:80                  0          0          1          2"),
        ("--persistent-conn", "  -> 10.0.0.7:80                  1         0           1          2"),
    ] {
        let (ran, request) = against(&services, &["list", option, "-t", TCP], b"");
        assert_eq!(request, json!({"v": 1, "command": "list", "service": "tcp://192.168.10.100:80"}));
        assert_eq!((ran.code, ran.stdout.lines().last()), (0, Some(line)));
    }
}

#[test]
fn connections_are_asked_for_and_printed() {
    let answer = r#"{"v":1,"ok":{"connections":[{"protocol":"TCP","state":"ESTABLISHED","expires_s":899,"client":"192.168.10.6:48066","virtual":"192.168.10.100:80","real":"10.0.0.7:80","worker":0}]}}"#;
    let (ran, request) = against(answer, &["connections", "-u", "192.168.10.100:53"], b"");
    assert_eq!(request, json!({"v": 1, "command": "connections", "service": "udp://192.168.10.100:53"}));
    let line = "TCP 14:59  ESTABLISHED 192.168.10.6:48066 192.168.10.100:80  10.0.0.7:80";
    assert_eq!((ran.code, ran.stdout.lines().last()), (0, Some(line)));
}

#[test]
fn a_large_answer_is_read() {
    let view = r#"{"protocol":"UDP","state":"UDP","expires_s":1,"client":"a:1","virtual":"b:2","real":"c:3","worker":0}"#;
    let count = 200_000;
    let answer = format!(r#"{{"v":1,"ok":{{"connections":[{}]}}}}"#, vec![view; count].join(","));
    assert!(answer.len() > 16 << 20);
    let (ran, _) = against(&answer, &["connections"], b"");
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, count + 1));
}

#[test]
fn timeouts_and_saved_lines_are_printed() {
    let answer = r#"{"v":1,"ok":{"tcp":900,"tcp_fin":120,"udp":300,"config_version":7}}"#;
    let (ran, request) = against(answer, &["timeouts"], b"");
    assert_eq!(request, json!({"v": 1, "command": "timeouts"}));
    assert_eq!(ran.stdout, "Timeout (tcp tcpfin udp): 900 120 300\n");
    let answer = r#"{"v":1,"ok":{"lines":["--set 900 120 300","-A -t 192.168.10.100:80 -s wrr"]}}"#;
    let (ran, request) = against(answer, &["save"], b"");
    assert_eq!(request, json!({"v": 1, "command": "save"}));
    assert_eq!(ran.stdout, "--set 900 120 300\n-A -t 192.168.10.100:80 -s wrr\n");
}

#[test]
fn status_is_printed() {
    let answer = r#"{"v":1,"ok":{"version":"0.1.0","dpdk":"22.11.11","uptime_s":61,"config_version":7,"ports":[],"workers":[],"drops":{"no_real":2},"notes":[]}}"#;
    let (ran, request) = against(answer, &["status"], b"");
    assert_eq!(request, json!({"v": 1, "command": "status"}));
    assert!(ran.stdout.starts_with("natlb 0.1.0 (DPDK 22.11.11), up 00:01:01, configuration version 7\n"));
    assert!(ran.stdout.contains("no_real"), "{}", ran.stdout);
}

#[test]
fn clearing_connections_tells_how_many_there_were() {
    let cleared = |count| format!(r#"{{"v":1,"ok":{{"connections":{count},"config_version":7}}}}"#);
    let (ran, request) = against(&cleared(3), &["clear", "--connections"], b"");
    assert_eq!(request, json!({"v": 1, "command": "clear", "connections": true}));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "3 connections cleared\n"));
    assert_eq!(against(&cleared(1), &["clear", "--connections"], b"").0.stdout, "1 connection cleared\n");
}

fn drained(live: u64) -> String {
    format!(r#"{{"v":1,"ok":{{"live":{live},"config_version":7}}}}"#)
}

#[test]
fn drain_tells_how_many_live() {
    let words = ["drain", "-t", TCP, "-r", "10.0.0.7"];
    let (ran, request) = against(&drained(3), &words, b"");
    let expected =
        json!({"v": 1, "command": "drain", "service": "tcp://192.168.10.100:80", "real": "10.0.0.7:80"});
    assert_eq!(request, expected);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "3 connections live\n"));
    assert_eq!(against(&drained(1), &words, b"").0.stdout, "1 connection live\n");
}

#[test]
fn drain_waits_until_none_lives() {
    let answers = [drained(2), drained(1), drained(0)];
    let lbd = FakeLbd::answering(&answers.each_ref().map(String::as_str));
    let ran = lbctl(&lbd.socket, &["drain", "-t", TCP, "-r", "10.0.0.7", "--wait", "60"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0 connections live\n"));
    assert_eq!(lbd.asked().len(), 3);
}

#[test]
fn drain_gives_up_when_the_time_is_up() {
    let words = ["drain", "-t", TCP, "-r", "10.0.0.7", "--wait", "0"];
    let (ran, _) = against(&drained(5), &words, b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(ran.stderr, "lbctl: 5 connections live after 0 s\n");
    let lbd = FakeLbd::answering(&vec![drained(1); 6].iter().map(String::as_str).collect::<Vec<_>>());
    let ran = lbctl(&lbd.socket, &["drain", "-t", TCP, "-r", "10.0.0.7", "--wait", "1"], b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "lbctl: 1 connection live after 1 s\n"));
    let (ran, _) = against(&drained(5), &[&["--output", "json"], &words[..]].concat(), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "{\"live\":5,\"config_version\":7}\n"));
}

#[test]
fn drain_has_what_lives_reset_when_the_time_is_up() {
    let answers = [drained(3), drained(2), drained(0)];
    let lbd = FakeLbd::answering(&answers.each_ref().map(String::as_str));
    let words = ["drain", "-t", TCP, "-r", "10.0.0.7", "--wait", "0", "--then", "reset"];
    let ran = lbctl(&lbd.socket, &words, b"");
    let expected = "3 connections live after 0 s: reset, 0 connections live\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, expected, ""));
    let asked = lbd.asked();
    let reset: Vec<_> = asked.iter().map(|request| request["reset"] == json!(true)).collect();
    assert_eq!(reset, [false, true, true]);
    // Nothing is reset where nothing lives.
    let (ran, request) = against(&drained(0), &words, b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0 connections live\n"));
    assert_eq!(request.get("reset"), None);
}

#[test]
fn json_is_what_stands_under_ok() {
    let services = SERVICES.replace('\n', "");
    let (ran, _) = against(&services, &["list", "--output", "json"], b"");
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let answer: Value = serde_json::from_str(&services).unwrap();
    assert_eq!((ran.code, ran.stderr.as_str(), &printed), (0, "", &answer["ok"]));
    let (ran, _) = against(CHANGED, &["--output=json", "zero"], b"");
    assert_eq!(ran.stdout, "{\"config_version\":7}\n");
}

#[test]
fn the_socket_comes_from_the_option_or_the_environment() {
    let lbd = FakeLbd::answering(&[CHANGED]);
    assert_eq!(lbctl_with(&["lbctl", "zero"], Some(&lbd.socket), b"").code, 0);
    lbd.asked();
    let lbd = FakeLbd::answering(&[CHANGED]);
    let option = ["lbctl", "zero", "--socket", lbd.socket.to_str().unwrap()];
    assert_eq!(lbctl_with(&option, Some("/nonexistent/lbd.sock".as_ref()), b"").code, 0);
    lbd.asked();
}
