//! What `lbctl` says and returns when something is in the way.
#![allow(missing_docs, reason = "a test")]

mod fake_lbd;

use fake_lbd::{FakeLbd, against, lbctl, lbctl_with};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

const NOBODY: &str = "/nonexistent/lbd.sock";

#[test]
fn a_refusal_is_one_line_and_1() {
    for (code, message) in [
        ("service_exists", "service exists"),
        ("no_such_service", "no such service"),
        ("real_exists", "real exists"),
        ("no_such_real", "no such real"),
        ("unknown_scheduler", "unknown scheduler \"x\" (known: rr, wrr)"),
        ("bad_line", "line 3: unknown option \"-q\""),
    ] {
        let error = serde_json::json!({"code": code, "message": message});
        let answer = serde_json::json!({"v": 1, "error": error}).to_string();
        let (ran, _) = against(&answer, &["clear"], b"");
        let line = format!("lbctl: {message}\n");
        assert_eq!((ran.code, ran.stdout.as_str(), &ran.stderr), (1, "", &line));
        let (ran, _) = against(&answer, &["clear", "--output", "json"], b"");
        let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, printed, ran.stderr), (1, error, line));
    }
}

#[test]
fn what_is_not_built_yet_is_refused_by_name_and_1() {
    for (words, what) in [
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -g", "-g (direct routing)"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 --gatewaying", "-g (direct routing)"),
        ("edit-real -t 10.0.0.1:80 -r 10.0.0.7 -i", "-i (tunnelling)"),
        ("list -f 7", "-f (firewall mark)"),
        ("add-service -t 10.0.0.1:80 --pe sip", "--pe (persistence engine)"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -b", "-b (full NAT)"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let ran = lbctl(NOBODY.as_ref(), &words, b"");
        let line = format!("lbctl: not supported yet: {what}\n");
        assert_eq!((ran.code, ran.stdout.as_str(), &ran.stderr), (1, "", &line), "{words:?}");
        let ran = lbctl(NOBODY.as_ref(), &[&["--output", "json"], &words[..]].concat(), b"");
        let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &printed["code"]), (1, &"not_supported".into()));
    }
}

#[test]
fn usage_errors_say_what_is_expected_and_2() {
    for (words, part) in [
        ("", "Usage: lbctl"),
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("lists", "tip: there is 'lbctl list'"),
        ("add-service", "a service is needed: -t VIP:PORT, -u VIP:PORT or --sctp-service VIP:PORT"),
        ("del-real -r 10.0.0.7", "a service is needed: -t VIP:PORT, -u VIP:PORT or --sctp-service VIP:PORT"),
        ("add-service -t 10.0.0.1:80 -u 10.0.0.1:80", "cannot be used with"),
        ("add-service -t 10.0.0.1", "expected VIP:PORT, found \"10.0.0.1\" without a port"),
        (
            "add-service -t 10.0.0.300:80",
            "expected an address as 10.0.0.7 or [2001:db8::7], found \"10.0.0.300\"",
        ),
        (
            "add-service -t 2001:db8::1",
            "expected VIP:PORT, found \"2001:db8::1\" without a port (of IPv6: as [2001:db8::10]:80)",
        ),
        (
            "add-real -t 10.0.0.1:80 -r [2001:db8::7]:80",
            "Different address family is allowed only for tunneling servers",
        ),
        (
            "edit-real -t [2001:db8::1]:80 -r 10.0.0.7",
            "Different address family is allowed only for tunneling servers",
        ),
        ("add-service -t 10.0.0.1:80 -s", "a value is required"),
        ("add-service -t 10.0.0.1:80 -p 0", "expected a whole number from 1 to 2678400"),
        (
            "add-service -t 10.0.0.1:80-70",
            "expected a port from 1 to 65535, 0 (any port), or a range as 8000-8100",
        ),
        ("add-service -t 10.0.0.1:80 -o", "One-Packet Scheduling is only for UDP virtual services"),
        ("edit-service -t 10.0.0.1:80 -o", "One-Packet Scheduling is only for UDP virtual services"),
        ("add-service -t 10.0.0.1:80 -b sh-port", "incompatible scheduler flag `sh-port'"),
        ("add-service -t 10.0.0.1:80 -s mh -b sh-port", "incompatible scheduler flag `sh-port'"),
        ("edit-service -t 10.0.0.1:80 -s mh -b sh-port", "incompatible scheduler flag `sh-port'"),
        ("edit-service -t 10.0.0.1:80 -b nosuch", "invalid scheduler flag `nosuch'"),
        ("edit-service -t 10.0.0.1:80 -b sh-port --no-sched-flags", "cannot be used with"),
        ("edit-service -t 10.0.0.1:80 -p 5 --no-persistent", "cannot be used with"),
        ("add-service -t 10.0.0.1:80 --no-persistent", "unexpected argument"),
        (
            "add-service -t 10.0.0.1:80 -M 255.0.0.0",
            "a persistence mask (-M) is only for persistent services (-p)",
        ),
        ("edit-service -t 10.0.0.1:80 -M 0.0.0.0", "illegal virtual server persistent mask specified"),
        (
            "add-service -t 10.0.0.1:80 --timeouts open=5",
            "unknown state \"open\" (known: none, tcp, syn_sent",
        ),
        ("add-service -t 10.0.0.1:80 --timeouts tcp=", "invalid timeout value in \"tcp=\""),
        ("add-service -t 10.0.0.1:80 --timeouts tcp=2678401", "invalid timeout value `2678401' specified"),
        ("add-service -t 10.0.0.1:80 --on-removal wait", "[possible values: drop, reset, reschedule]"),
        ("add-service -t 10.0.0.1:80 --slow-start 86401", "expected a whole number from 0 to 86400"),
        ("list --thresholds --persistent-conn", "cannot be used with"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -x -1", "expected a whole number from 0 to 2147483647"),
        ("add-real -t 10.0.0.1:80", "--real-server <RIP[:PORT]>"),
        (
            "add-real -t 10.0.0.1:80 -r 10.0.0.7:99999",
            "expected a port from 1 to 65535, or 0 (the client's choice)",
        ),
        ("add-real -t 10.0.0.1:80 -r 224.0.0.1", "expected the address of a host, found 224.0.0.1"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -w 65536", "expected a whole number from 0 to 65535"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -w -1", "expected a whole number from 0 to 65535"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -w abc", "expected a whole number"),
        ("add-real -t 10.0.0.1:80 -r 10.0.0.7 -m -g", "cannot be used with"),
        ("drain -t 10.0.0.1:80 -r 10.0.0.7 --wait -1", "expected a whole number"),
        ("drain -t 10.0.0.1:80 -r 10.0.0.7 --then reset", "--wait <SECONDS>"),
        ("drain -t 10.0.0.1:80 -r 10.0.0.7 --wait 1 --then stop", "[possible values: reset]"),
        ("timeouts --set 1 2", "3 values required"),
        ("timeouts --set 1 2 99999999", "expected a whole number from 0 to 2678400"),
        ("list --output xml", "[possible values: text, json]"),
        ("status --bogus", "unexpected argument '--bogus'"),
    ] {
        let words: Vec<_> = words.split_whitespace().collect();
        let ran = lbctl(NOBODY.as_ref(), &words, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words:?}");
        assert!(ran.stderr.contains(part), "{words:?}: {}", ran.stderr);
        let json: Vec<_> = ["--output", "json"].into_iter().chain(words.iter().copied()).collect();
        if !words.contains(&"--output") {
            let ran = lbctl(NOBODY.as_ref(), &json, b"");
            let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!((ran.code, &printed["code"]), (2, &"usage".into()), "{words:?}");
        }
    }
}

/// What is said after a usage error, as a user sees it.
#[track_caller]
fn said(words: &str) -> String {
    let words: Vec<_> = words.split_whitespace().collect();
    let ran = lbctl(NOBODY.as_ref(), &words, b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words:?}: {}", ran.stderr);
    ran.stderr
}

#[test]
fn letters_of_ipvsadm_are_explained() {
    for (words, tip) in [
        ("-A -t 10.0.0.1:80 -s rr", "-A is add-service: see 'lbctl add-service --help'"),
        ("-At 10.0.0.1:80", "-A is add-service"),
        ("--add-service -t 10.0.0.1:80", "--add-service is add-service"),
        ("-E -t 10.0.0.1:80 -s rr", "-E is edit-service"),
        ("-D -t 10.0.0.1:80", "-D is del-service"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.7 -m", "-a is add-real"),
        ("-e -t 10.0.0.1:80 -r 10.0.0.7 -m", "-e is edit-real"),
        ("-d -t 10.0.0.1:80 -r 10.0.0.7", "-d is del-real"),
        ("--delete-server -t 10.0.0.1:80 -r 10.0.0.7", "--delete-server is del-real"),
        ("-C", "-C is clear"),
        ("-Z", "-Z is zero"),
        ("-S -n", "-S is save"),
        ("-Sn", "-Sn is save"),
        ("-R", "-R is restore"),
        ("--set 1 2 3", "--set is timeouts --set: see 'lbctl timeouts --help'"),
        ("-L", "-L is list"),
        ("-Ln", "-Ln is list"),
        ("-ln", "-ln is list"),
        ("-nL", "-nL is list"),
        ("-n -L", "-L is list"),
        ("-Lnc", "-Lnc is connections"),
        ("-L -n -c", "-L is connections"),
        ("-Ln --stats", "-Ln is stats"),
        ("-L -n --rate", "-L is rate"),
        ("-L --timeout", "-L is timeouts"),
        ("--list --stats", "--list is stats"),
        ("--output text --timeout=3 -Ln", "-Ln is list"),
        ("list --stats", "--stats of list is stats: 'lbctl stats'"),
        ("list -n --rate", "--rate of list is rate"),
        ("list -c", "-c of list is connections"),
    ] {
        let said = said(words);
        let found = said.lines().find_map(|line| line.trim().strip_prefix("tip: ")).unwrap_or_default();
        assert!(found.starts_with(tip), "{words}: {said}");
    }
    assert!(!said("-q").contains("tip"));
}

#[test]
fn tips_take_nothing_away_and_name_nothing_hidden() {
    for (word, tip) in [
        ("version", "there is 'lbctl --version'"),
        ("ls", "there is 'lbctl list'"),
        ("show", "there is 'lbctl list'"),
        ("conns", "there is 'lbctl connections'"),
        ("stat", "there is 'lbctl stats'"),
        ("add-servce", "there is 'lbctl add-service'"),
        ("top", "there is 'lbctl rate --watch'"),
        ("--json list", "for JSON: 'lbctl --output json …'"),
        ("list -o json", "for JSON: 'lbctl --output json …'"),
    ] {
        let said = said(word);
        assert!(said.contains(&format!("\n  tip: {tip}\n")), "{word}: {said}");
    }
    let commands = [
        "add-service",
        "edit-service",
        "del-service",
        "delete-service",
        "add-real",
        "edit-real",
        "del-real",
        "add-server",
        "edit-server",
        "delete-server",
        "drain",
        "list",
        "stats",
        "rate",
        "connections",
        "timeouts",
        "zero",
        "clear",
        "save",
        "restore",
        "status",
        "version",
        "reset",
        "remove",
        "del",
        "rm",
        "flush",
    ];
    let mistyped = |word: &str| {
        let mut all = vec![word[1..].to_owned(), format!("{word}x"), format!("x{word}"), word.to_uppercase()];
        for place in 0..word.len() {
            all.push(format!("{}{}", &word[..place], &word[place + 1..]));
            all.push(format!("{}q{}", &word[..place], &word[place + 1..]));
        }
        all
    };
    let options = ["--tcp", "--fwmark-servic", "--ipi", "--gateway", "--netmas", "--sched-flag", "--op"];
    let with_options =
        commands.iter().flat_map(|command| options.map(|option| format!("{command} {option} 7")));
    for words in commands.iter().flat_map(|word| mistyped(word)).chain(with_options) {
        let words: Vec<_> = words.split(' ').collect();
        let said = lbctl(NOBODY.as_ref(), &words, b"").stderr;
        for tip in said.lines().filter(|line| line.contains("tip:")) {
            let never = [
                "del-",
                "delete",
                "clear",
                "zero",
                "restore",
                "drain",
                "edit",
                "server",
                "fwmark",
                "ipip",
                "gatewaying",
            ];
            let bad = never.iter().find(|never| tip.replace(" -- ", "").contains(**never));
            assert!(bad.is_none(), "{words:?}: {tip}");
        }
    }
    for words in [
        "add-service",
        "del-real",
        "add-real -t 10.0.0.1:80",
        "list -t",
        "drain",
        "add-service -t 10.0.0.1:80 -u 10.0.0.1:80",
    ] {
        let said = said(words);
        assert!(!said.contains("fwmark"), "{words}: {said}");
    }
}

#[test]
fn stdin_that_is_no_text_is_a_usage_error() {
    let ran = lbctl(NOBODY.as_ref(), &["restore"], b"-A -t 10.0.0.1:80\n\xff\n");
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "lbctl: stdin: line 2: expected UTF-8, found other bytes\n")
    );
    let ran = lbctl(NOBODY.as_ref(), &["restore"], &vec![b'#'; control::api::protocol::LONGEST_LINE + 1]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "lbctl: stdin: more than 16777216 bytes\n"));
}

#[track_caller]
fn expect_unreachable(socket: &Path, words: &[&str], why: &str) {
    let ran = lbctl(socket, words, b"");
    let line = format!("cannot reach lbd at {}: {why}", socket.display());
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert_eq!(ran.stderr, format!("lbctl: {line}\n"));
}

#[test]
fn a_missing_socket_is_named_and_3() {
    expect_unreachable(NOBODY.as_ref(), &["list"], "the socket is missing; is lbd running?");
    let ran = lbctl_with(&["lbctl", "list", "--output", "json"], Some(NOBODY.as_ref()), b"");
    let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &printed["code"]), (3, &"unreachable".into()));
    assert!(ran.stderr.contains(NOBODY), "{}", ran.stderr);
}

#[test]
fn a_socket_without_listener_is_named_and_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lbd.sock");
    drop(UnixListener::bind(&socket).unwrap());
    expect_unreachable(&socket, &["list"], "connection refused; nobody listens there, is lbd running?");
}

#[test]
fn a_socket_that_is_not_permitted_is_named_and_3() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = folder.path().join("lbd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    let as_nobody = move || {
        // Root may connect to any socket; this thread alone, which ends here, gives that up.
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        let why = "not permitted; only root and the group in [control] may";
        expect_unreachable(&socket, &["list"], why);
    };
    std::thread::spawn(as_nobody).join().unwrap();
    let answer = r#"{"v":1,"error":{"code":"not_permitted","message":"not permitted: uid 1000"}}"#;
    let lbd = FakeLbd::answering(&[answer]);
    expect_unreachable(&lbd.socket, &["list"], "not permitted: uid 1000");
}

#[test]
fn an_lbd_that_hangs_is_named_and_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lbd.sock");
    // Nobody accepts: the connection waits in the backlog.
    let _listener = UnixListener::bind(&socket).unwrap();
    // Without the option it would be 10 s. A busy machine may make one of the tries longer, hardly all.
    let a_second = Duration::from_secs(1)..Duration::from_secs(5);
    let mut tries = (0..20).map(|_| {
        let start = Instant::now();
        expect_unreachable(&socket, &["list", "--timeout", "1"], "no answer within 1 s");
        start.elapsed()
    });
    assert!(tries.any(|took| a_second.contains(&took)));
}

#[test]
fn a_full_backlog_does_not_hang_either() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lbd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let connect = |socket: &Path| {
        let stream = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_NONBLOCK,
            None,
        )
        .unwrap();
        let address = nix::sys::socket::UnixAddr::new(socket).unwrap();
        let done = nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &address);
        done.is_ok().then_some(stream)
    };
    let waiting: Vec<_> = std::iter::from_fn(|| connect(&socket)).take(900).collect();
    if waiting.len() == 900 {
        eprintln!("SKIPPED: the backlog is longer than the files this test may open");
        return;
    }
    expect_unreachable(&socket, &["list", "--timeout", "1"], "no answer within 1 s");
}

#[test]
fn an_answer_that_is_none_is_named_and_3() {
    let lbd = FakeLbd::answering(&["hello"]);
    let ran = lbctl(&lbd.socket, &["list"], b"");
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("not the answer of an lbd"), "{}", ran.stderr);
    let lbd = FakeLbd::answering(&[r#"{"v":2,"ok":{}}"#]);
    expect_unreachable(&lbd.socket, &["list"], "lbd speaks version 2 of the protocol, lbctl 1");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lbd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    expect_unreachable(&socket, &["list"], "the connection was closed without an answer");
    closing.join().unwrap();
}

#[test]
fn help_and_version_are_on_stdout_and_0() {
    let ran = lbctl_with(&["lbctl", "--version"], None, b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "lbctl 0.1.0 (1234abcde) (DPDK 22.11.11)\n"));
    let ran = lbctl_with(&["lbctl", "--help"], None, b"");
    assert_eq!(ran.code, 0);
    for part in ["Examples:", "lbctl add-service -t 192.168.10.100:80 -s wrr", "  drain ", "Exit codes:"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    for command in ["add-service", "add-real", "drain", "timeouts", "restore", "status"] {
        assert_eq!(lbctl_with(&["lbctl", command, "--help"], None, b"").code, 0);
    }
}
