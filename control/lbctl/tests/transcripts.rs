//! `ipvsadm`'s commands as they were typed on a real kernel with services of both families, given to `lbctl` and a
//! control thread: the transcripts in `control/testdata/ipv6`. What `ipvsadm` took is taken, and saved as it saved it;
//! what it refused is refused.
//!
//! Each line that is left out, or for which natlb differs on purpose, falls under one of the reasons below.

#[path = "../../tests/control_lab/mod.rs"]
mod control_lab;

use control::config;
use control_lab::{FILE, Lab};
use lbctl::{Surroundings, run};

const ERRORS: &str = include_str!("../../testdata/ipv6/errors.txt");
const RESTORE: &str = include_str!("../../testdata/ipv6/restore.txt");
const LISTINGS: &str = include_str!("../../testdata/ipv6/listings.txt");
const PERSISTENCE: &str = include_str!("../../../dataplane/testdata/persistence/ipv6.txt");

/// What each block of `errors.txt` begins with.
const FIRST: &str = "\
--set 900 120 300
-A -t 192.168.10.100:80 -s wrr
-a -t 192.168.10.100:80 -r 10.0.0.7:80 -m -w 1
-A -t [fd00:10::100]:80 -s wrr
-a -t [fd00:10::100]:80 -r [fd00:20::7]:80 -m -w 1
";

/// Why a command is not compared.
fn left_out(command: &str) -> Option<&'static str> {
    let has = |word: &str| command.split(' ').any(|found| found == word);
    if has("-f") || has("-6") {
        Some("services by firewall mark are not there")
    } else if has("-i") || has("-g") {
        Some("other ways of forwarding than NAT are not there")
    } else if command.starts_with("-a") && !has("-m") {
        Some("a real is forwarded to by NAT where nothing is said, by direct routing in ipvsadm")
    } else if has("-Z") {
        Some("the counters of a single service are not set to zero")
    } else if has("-L") || has("-S") || has("-Lc") || has("--nosort") {
        Some("ports are numbers always, and the order of the kernel's hash table is not natlb's")
    } else {
        None
    }
}

/// What `ipvsadm` takes and natlb refuses.
const REFUSED_HERE: [(&str, &str); 12] = [
    ("-t [::ffff:192.168.10.100]:81", "no host on an IPv6 network has such an address"),
    ("-t [::]:81", "no host has this address"),
    ("-t [ff02::1]:81", "no host has a multicast address"),
    ("-t [fe80::1]:80", "packets to a link's own address are not routed"),
    ("-t [::1]:80", "no other host has a loopback address"),
    ("-r [::1]:80", "no other host has a loopback address"),
    ("-r [fd00:10::100]:80", "the address is natlb's own"),
    ("-r [2001:db8::1]:80", "nothing leads there"),
    ("-M 64x", "what follows the number is no part of it"),
    ("-M 24", "it would be the mask 0.0.0.24, which is hardly meant"),
    ("192.168.10.100:81 -s rr -p 60 -M 64", "likewise"),
    ("-t [fd00:10::100]:81 -s rr -M 64", "a mask means nothing without -p"),
];

/// What `ipvsadm` refuses and natlb takes.
const TAKEN_HERE: [(&str, &str); 1] =
    [("-t [fd00:10::100]:0 -s rr", "a service on any port need not be persistent")];

/// What both take, with another meaning.
const TAKEN_OTHERWISE: [(&str, &str); 1] = [("-A -M 64 -p 60 -t", "the order of options does not matter")];

fn reason(of: &[(&'static str, &'static str)], command: &str) -> Option<&'static str> {
    of.iter().find(|(part, _)| command.contains(part)).map(|(_, why)| *why)
}

/// What `ipvsadm` did at a command.
#[derive(Debug)]
enum Done<'a> {
    Refused {
        words: &'a str,
    },
    /// It printed this, or nothing.
    Printed(Vec<&'a str>),
    /// The table is this since.
    Changed(Vec<&'a str>),
}

/// The commands of a transcript.
fn commands(text: &str) -> Vec<(&str, Done<'_>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("[lb]# ") {
            all.push((command.strip_prefix("ipvsadm ").unwrap_or(command), Vec::new()));
        } else if let Some((_, lines)) = all.last_mut() {
            lines.push(line.trim_end());
        }
    }
    all.into_iter().map(|(command, lines)| (command, done(lines))).collect()
}

/// What the lines behind a command say of it.
fn done(mut lines: Vec<&str>) -> Done<'_> {
    lines.retain(|line| !line.is_empty() && !line.starts_with("## "));
    let is_refused = lines.last().is_some_and(|line| line.starts_with("(exit status "));
    if is_refused {
        Done::Refused { words: lines[0] }
    } else if lines.first().is_some_and(|line| line.starts_with("# table now")) {
        Done::Changed(lines.split_off(1))
    } else {
        Done::Printed(lines)
    }
}

struct Session {
    lab: Lab,
    _directory: tempfile::TempDir,
}

impl Session {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = FILE
            .replace("\"192.168.10.100/24\"", "\"192.168.10.100/24\", \"fd00:10::100/64\"")
            .replace("\"10.0.0.8/24\"", "\"10.0.0.8/24\", \"fd00:20::8/64\"");
        // One real of the listings is not on a link.
        let file = file + "\n[[route]]\nto = \"2001:db8:11::/48\"\nvia = \"fd00:20::7\"\n";
        let mut config = config::parse(&file).unwrap();
        config.control.socket = directory.path().join("run/lbd.sock");
        config.control.state = Some(directory.path().join("lib/state"));
        let lab = Lab::start(config, 1, 0).unwrap();
        Self { lab, _directory: directory }
    }

    /// What `lbctl` with these words gives: exit code, stdout, stderr.
    fn lbctl(&self, words: &str, stdin: &str) -> (u8, String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let surroundings = Surroundings {
            socket: Some(self.lab.config.control.socket.clone().into()),
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

    /// A command of `ipvsadm` in `lbctl`'s words, which has the letters of its options.
    fn command(&self, command: &str) -> (u8, String, String) {
        let (letter, options) = command.split_once(' ').unwrap_or((command, ""));
        let name = match letter {
            "-A" => "add-service",
            "-E" => "edit-service",
            "-D" => "del-service",
            "-a" => "add-real",
            "-e" => "edit-real",
            "-d" => "del-real",
            "-Ln" => "list",
            "-Sn" => "save",
            "-C" => "clear",
            _ => panic!("{command} is not known here"),
        };
        // A new service has another scheduler here where none is named.
        let scheduler = if letter == "-A" && !options.contains("-s ") { " -s wlc" } else { "" };
        self.lbctl(format!("{name} {options}{scheduler}").trim_end(), "")
    }

    /// What `save` prints without the timeouts, which `ipvsadm` does not save.
    fn saved(&self) -> Vec<String> {
        let (code, saved, stderr) = self.lbctl("save", "");
        assert_eq!((code, stderr.as_str()), (0, ""));
        saved.lines().filter(|line| !line.starts_with("--set ")).map(str::to_owned).collect()
    }

    fn begin_anew(&self) {
        assert_eq!(self.lbctl("restore", FIRST), (0, String::new(), String::new()));
    }
}

/// Words of `ipvsadm` that natlb says too.
const SHARED_WORDS: [&str; 5] = [
    "Different address family is allowed only for tunneling servers",
    "illegal virtual server address[:port] specified",
    "illegal real server address[:port] specified",
    "illegal ipv6 netmask specified",
    "One-Packet Scheduling is only for UDP virtual services",
];

#[test]
fn what_ipvsadm_refuses_is_refused_and_what_it_takes_is_saved_as_it_saves_it() {
    let session = Session::start();
    let (mut refused, mut in_its_words, mut changed) = (0, 0, 0);
    for (command, done) in commands(ERRORS) {
        if left_out(command).is_some() {
            continue;
        }
        session.begin_anew();
        let (code, _, stderr) = session.command(command);
        match done {
            Done::Refused { words } if reason(&TAKEN_HERE, command).is_none() => {
                assert!(code == 1 || code == 2, "{command}: {words}");
                in_its_words += usize::from(SHARED_WORDS.contains(&words) && stderr.contains(words));
                refused += 1;
            }
            Done::Changed(_) if reason(&REFUSED_HERE, command).is_some() => {
                assert!(code == 1 || code == 2, "{command}");
                refused += 1;
            }
            Done::Changed(table) if reason(&TAKEN_OTHERWISE, command).is_none() => {
                assert_eq!((code, session.saved()), (0, owned(&table)), "{command}: {stderr}");
                changed += 1;
            }
            _ => assert_eq!(code, 0, "{command}: {stderr}"),
        }
    }
    assert!(refused >= 45 && in_its_words >= 10 && changed >= 9, "{refused}, {in_its_words}, {changed}");
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Without services that are not there, and those that natlb refuses.
fn comparable(lines: &[&str]) -> Vec<String> {
    let is_kept = |line: &&&str| left_out(line).is_none() && reason(&REFUSED_HERE, line).is_none();
    lines.iter().filter(is_kept).map(|line| (*line).to_owned()).collect()
}

/// The thresholds, which `ipvsadm` does not save.
fn without_thresholds(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| line.split(" -x ").next().unwrap().to_owned()).collect()
}

/// The reals of each service in one order: natlb saves them as they were added, so that the same picks come back.
fn reals_sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.chunk_by_mut(|one, other| one.starts_with("-a ") && other.starts_with("-a ")).for_each(<[_]>::sort);
    lines
}

#[test]
fn sessions_are_saved_as_recorded() {
    let session = Session::start();
    let mut saved = 0;
    for (command, done) in commands(LISTINGS).into_iter().chain(commands(PERSISTENCE)) {
        let is_change = ["-A", "-E", "-D", "-a", "-e", "-d", "-C"].contains(&&command[..2]);
        if left_out(command).is_some() || !(is_change || command == "-Sn") {
            continue;
        }
        let (code, _, stderr) = session.command(command);
        match done {
            Done::Printed(lines) if command == "-Sn" => {
                assert_eq!(
                    reals_sorted(without_thresholds(session.saved())),
                    reals_sorted(comparable(&lines))
                );
                saved += 1;
            }
            Done::Refused { .. } => assert!(code == 1 || code == 2, "{command}"),
            _ if reason(&REFUSED_HERE, command).is_some() => assert!(code == 1 || code == 2, "{command}"),
            _ => assert_eq!(code, 0, "{command}: {stderr}"),
        }
    }
    assert!(saved >= 10, "{saved}");
}

/// The lines of `printf '%b' '…' | ipvsadm -R`.
fn restored(command: &str) -> Option<String> {
    let lines = command.strip_prefix("printf '%b' '")?.strip_suffix("' | ipvsadm -R")?;
    Some(lines.replace("\\n", "\n"))
}

#[test]
fn lines_are_restored_as_recorded_or_all_of_them_refused() {
    let session = Session::start();
    let (mut restores, mut taken) = (0, true);
    // What follows is not about restoring.
    for (command, done) in commands(RESTORE.split("\n## ").next().unwrap()) {
        if let Some(lines) = restored(command) {
            assert_eq!(session.lbctl("clear", "").0, 0);
            let (code, _, stderr) = session.lbctl("restore", &lines);
            taken = code == 0;
            // Without brackets the whole text is the address, as in ipvsadm; but a port is needed, which is 0 there.
            let is_without_port = lines.contains("-t fd00:10::100:80");
            let is_refused = matches!(done, Done::Refused { .. }) || lines.contains("-f ") || is_without_port;
            assert_eq!(taken, !is_refused, "{lines}: {stderr}");
            restores += 1;
        } else if let (Done::Printed(lines), "-Sn") = (&done, command) {
            // A faulty line changes nothing, where ipvsadm leaves what came before it.
            assert_eq!(session.saved(), if taken { owned(lines) } else { Vec::new() });
        }
    }
    assert_eq!(restores, 7);
}
