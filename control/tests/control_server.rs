//! Peers that behave badly, and the socket itself.

mod control_lab;

use control::api::protocol::{Command, LONGEST_LINE, Outcome, Refusal};
use control::api::server::{
    Farewell, IDLE, JsonLines, KEPT, MAX_PEERS, Outlet, PAUSE, PeerId, Server, Speech,
};
use control_lab::{Client, Lab, PATIENCE, config_in, until};
use mio::{Events, Poll, Token};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::fs;
use std::io::{BufRead, Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LIST: &str = r#""command":"list""#;

fn lab() -> (tempfile::TempDir, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    (directory, lab)
}

fn refusal(outcome: Option<Outcome>) -> Refusal {
    match outcome {
        Some(Outcome::Error(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_may_ask_again_and_again_and_all_at_once() {
    let (_directory, lab) = lab();
    let mut client = lab.connect();
    for _ in 0..100 {
        assert!(matches!(client.ask(LIST), Outcome::Ok(_)));
    }
    client.send("{\"v\":1,\"command\":\"list\"}\n".repeat(100).as_bytes());
    client.stream.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..100 {
        assert!(matches!(client.answer(), Some(Outcome::Ok(_))));
    }
    assert!(client.answer().is_none());
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let (_directory, lab) = lab();
    let mut client = lab.connect();
    for byte in b"{\"v\":1,\"command\":\"save\"}\n" {
        client.send(&[*byte]);
    }
    assert!(matches!(client.answer(), Some(Outcome::Ok(_))));
}

#[test]
fn what_is_no_request_is_answered_so_and_closed() {
    let (_directory, lab) = lab();
    let lines: [&[u8]; 13] = [
        b"",
        b"hello",
        b"{}",
        b"{\"v\":1}",
        b"{\"v\":1,\"command\":\"format-disk\"}",
        b"{\"v\":2,\"command\":\"list\"}",
        b"{\"v\":1,\"command\":\"list\",\"extra\":1}",
        b"{\"v\":1,\"command\":\"clear\",\"service\":\"tcp://192.168.10.100:80\"}",
        b"{\"v\":1,\"command\":\"zero\",\"real\":\"10.0.0.7:80\"}",
        b"{\"v\":1,\"command\":\"save\",\"extra\":1}",
        b"{\"v\":1,\"command\":\"status\",\"extra\":1}",
        b"{\"v\":1,\"command\":\"add-real\",\"service\":\"tcp://192.168.10.100:80\",\"real\":\"10.0.0.7\"}",
        b"\xff\xfe\0\x01",
    ];
    for line in lines {
        let mut client = lab.connect();
        client.send(&[line, b"\n"].concat());
        assert_eq!(refusal(client.answer()).code, "bad_request", "{line:?}");
        assert!(client.answer().is_none(), "closed");
    }
}

#[test]
fn megabytes_without_a_newline_end_with_an_error_and_disturb_nobody() {
    let (_directory, lab) = lab();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = lab.connect();
                client.send(&vec![b'x'; LONGEST_LINE + (1 << 20)]);
                let refusal = refusal(client.answer());
                assert!(["bad_request", "busy"].contains(&refusal.code.as_str()), "{refusal:?}");
            });
        }
        let ask = || {
            let start = Instant::now();
            assert!(matches!(lab.ask(LIST), Outcome::Ok(_)));
            start.elapsed()
        };
        let mut times: Vec<_> = (0..50).map(|_| ask()).collect();
        times.sort_unstable();
        assert!(times[25] < Duration::from_secs(2), "{times:?}");
    });
}

#[test]
fn unfinished_lines_are_bounded_in_all() {
    let (_directory, lab) = lab();
    let chunk = vec![b'x'; LONGEST_LINE - 1];
    let mut clients: Vec<_> = (0..10).map(|_| lab.connect()).collect();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| client.send(&chunk));
        }
    });
    for client in &clients {
        client.stream.get_ref().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    }
    let is_busy = |client: &mut Client| {
        client.stream.fill_buf().is_ok_and(|line| String::from_utf8_lossy(line).contains("\"busy\""))
    };
    // Of ten times 16 MiB two are kept: what a refused one held is another's.
    until("eight are told to come back", || {
        clients.iter_mut().map(is_busy).filter(|busy| *busy).count() == 8
    });
    assert!(matches!(lab.ask(LIST), Outcome::Ok(_)));
}

#[test]
fn only_a_restore_may_be_long() {
    let (_directory, lab) = lab();
    let blank =
        |count: usize| format!(r#"{{"v":1,"command":"restore","lines":[{}""]"#, r#""","#.repeat(count));
    // Each of them would take many times its bytes if it were read as just any JSON.
    for request in [
        format!(r#"{{"v":1,"command":"list","service":"{}"}}"#, "x".repeat(1 << 20)),
        format!(r#"{{"v":1,"command":"restore","lines":[{}1]}}"#, "1,".repeat(1 << 20)),
        format!(r#"{{"v":1,"command":"restore","lines":{}"#, "[".repeat(1 << 20)),
        format!(r#"{{"v":1,"extra":[{}1]}}"#, "1,".repeat(1 << 20)),
        format!(r#"{{"v":1,"command":"save","lines":[{}""]}}"#, r#""","#.repeat(1 << 20)),
        blank(1 << 20) + r#","extra":1}"#,
        blank(1 << 20).replace("\"v\":1", "\"v\":2") + "}",
    ] {
        let mut client = lab.connect();
        client.send(&[request.as_bytes(), b"\n"].concat());
        assert_eq!(refusal(client.answer()).code, "bad_request", "{}", &request[..50]);
    }
    let refusal = refusal(Some(lab.ask(&blank(1 << 20)[1..].replace("\"v\":1,", ""))));
    assert_eq!(refusal.code, "bad_line");
    assert!(refusal.message.starts_with("no line to restore"), "{refusal:?}");
}

#[test]
fn silent_peers_take_no_more_than_their_places() {
    let (_directory, lab) = lab();
    let _silent: Vec<_> = (0..MAX_PEERS).map(|_| lab.connect()).collect();
    // They go one by one, long before their time is up.
    until("one gives way", || matches!(lab.ask(LIST), Outcome::Ok(_)));
    // A hundred at once: each is served or told that there is no room.
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| match lab.ask(LIST) {
                Outcome::Ok(_) => {}
                Outcome::Error(refusal) => assert_eq!(refusal.code, "busy"),
            });
        }
    });
}

#[test]
fn peers_that_leave_without_reading_are_forgotten() {
    let (_directory, lab) = lab();
    for _ in 0..500 {
        lab.connect().send(b"{\"v\":1,\"command\":\"status\"}\n");
    }
    until("all are gone", || matches!(lab.ask(LIST), Outcome::Ok(_)));
}

#[test]
fn ten_thousand_random_inputs_change_nothing_and_lbd_still_answers() {
    let (_directory, lab) = lab();
    lab.ok(r#""command":"add-service","service":"tcp://192.168.10.100:80""#);
    let before = lab.ok(r#""command":"save""#);
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 10_000, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let valid = r#"{"v":1,"command":"edit-service","service":"tcp://192.168.10.100:80","scheduler":"x"}"#;
    let mutated = (0..valid.len(), any::<u8>(), any::<bool>()).prop_map(move |(at, byte, cut)| {
        let mut bytes = valid.as_bytes().to_vec();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        bytes
    });
    let input = prop_oneof![mutated, proptest::collection::vec(any::<u8>(), 0..200)];
    let answered = Cell::new(0);
    let ran = runner.run(&input, |bytes| {
        let mut stream = UnixStream::connect(&lab.config.control.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.write_all(b"\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // Whatever was sent, the daemon closes in the end; a line it refused comes with an answer.
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => prop_assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        answered.set(answered.get() + usize::from(answer.ends_with(b"\n")));
        Ok(())
    });
    ran.unwrap();
    assert!(answered.get() > 9_900, "{answered:?} answered");
    assert_eq!(lab.ok(r#""command":"save""#), before);
}

#[test]
fn the_socket_has_its_mode_and_goes_with_the_daemon() {
    let (_directory, lab) = lab();
    let socket = lab.config.control.socket.clone();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    lab.stop();
    assert!(!socket.exists());
}

#[test]
fn a_second_daemon_is_refused_and_a_dead_ones_socket_replaced() {
    let (directory, lab) = lab();
    let config = lab.config.clone();
    let mut second = config.clone();
    second.control.state = Some(directory.path().join("other"));
    let error = Lab::start(second, 1, 0).err().expect("refused").to_string();
    assert!(error.contains("another lbd runs on this socket"), "{error}");
    assert!(matches!(lab.ask(LIST), Outcome::Ok(_)), "the first is not disturbed");
    lab.stop();
    // What a killed daemon leaves: nobody listens any more.
    drop(UnixListener::bind(&config.control.socket).unwrap());
    assert!(config.control.socket.exists());
    let lab = Lab::start(config.clone(), 1, 0).unwrap();
    assert!(matches!(lab.ask(LIST), Outcome::Ok(_)));
    lab.stop();
    fs::write(&config.control.socket, "precious").unwrap();
    let error = Lab::start(config.clone(), 1, 0).err().expect("refused").to_string();
    assert!(error.contains("is not a socket"), "{error}");
    assert_eq!(fs::read(&config.control.socket).unwrap(), b"precious");
}

#[test]
fn a_group_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    config.control.group = Some("no-such-group".into());
    let error = Lab::start(config, 1, 0).err().expect("refused").to_string();
    assert!(error.contains("no group \"no-such-group\""), "{error}");
}

/// Where [`knock`] finds the socket.
const SOCKET: &str = "NATLB_TEST_SOCKET";

/// Not a test of its own: what the one below runs as another user. It says by its exit code whether it
/// was answered (0), refused (3), or could not connect (4).
#[test]
fn knock() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    if UnixStream::connect(&socket).is_err() {
        std::process::exit(4);
    }
    let mut client = Client::connect(&socket.into());
    client.send(format!("{{\"v\":1,{LIST}}}\n").as_bytes());
    match client.answer() {
        Some(Outcome::Ok(_)) => std::process::exit(0),
        Some(Outcome::Error(refusal)) if refusal.code == "not_permitted" => std::process::exit(3),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_root_and_members_of_the_group_may_speak() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be somebody else");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = config_in(directory.path());
    config.control.group = Some("daemon".into());
    let group =
        nix::unistd::Group::from_name("daemon").unwrap().expect("a group of every system").gid.as_raw();
    let lab = Lab::start(config, 1, 0).unwrap();
    let socket = &lab.config.control.socket;
    let program = directory.path().join("knock");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let knock = |user: u32, group: u32| {
        let mut command = std::process::Command::new(&program);
        command.args(["--exact", "knock"]).env(SOCKET, socket).current_dir("/").uid(user).gid(group);
        command.output().unwrap().status.code()
    };
    assert_eq!(knock(0, 0), Some(0), "root");
    assert_eq!(knock(54_321, 54_321), Some(4), "the mode keeps others out");
    assert_eq!(knock(54_321, group), Some(0), "a member of the group");
    // Even if somebody opens the mode, the daemon looks who it is.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(knock(54_321, 54_321), Some(3), "the credentials");
}

/// A server without a control thread, on a clock of its own.
struct Alone<S = JsonLines> {
    poll: Poll,
    events: Events,
    server: Server<S>,
}

impl<S: Speech<Request = Command>> Alone<S> {
    /// Waits at most this long for something to do, and does it. Returns the requests that have come.
    fn turn(&mut self, timeout: Duration, now: Instant) -> Vec<(PeerId, Command)> {
        let due = self.server.due(now).map(|due| due.saturating_duration_since(now));
        self.poll.poll(&mut self.events, Some(due.map_or(timeout, |due| due.min(timeout)))).unwrap();
        self.events.iter().for_each(|event| self.server.ready(event.token()));
        self.server.turn(now)
    }
}

impl<S> Deref for Alone<S> {
    type Target = Server<S>;

    fn deref(&self) -> &Server<S> {
        &self.server
    }
}

impl<S> DerefMut for Alone<S> {
    fn deref_mut(&mut self) -> &mut Server<S> {
        &mut self.server
    }
}

/// The first peer is number 1.
fn server<S: Speech>(directory: &tempfile::TempDir) -> (Alone<S>, PathBuf) {
    let socket = directory.path().join("lbd.sock");
    let poll = Poll::new().unwrap();
    let server = Server::bind(&socket, None, poll.registry(), Token(0)).unwrap();
    (Alone { poll, events: Events::with_capacity(128), server }, socket)
}

#[test]
fn who_neither_sends_nor_reads_is_closed_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, socket) = server(&directory);
    let start = Instant::now();
    let turn = |server: &mut Alone, after: Duration| {
        let requests = server.turn(Duration::from_millis(20), start + after);
        (requests.len(), server.peer_count())
    };
    let mut silent = Client::connect(&socket);
    let mut lazy = Client::connect(&socket);
    lazy.send(b"{\"v\":1,\"command\":\"list\"}\n");
    assert_eq!(turn(&mut server, Duration::ZERO), (1, 2));
    assert_eq!(server.due(start), Some(start + IDLE), "one of them has said nothing");
    // More than a socket's buffer takes.
    server.answer(2, Outcome::Ok("x".repeat(8 << 20).into()), start);
    assert_eq!(turn(&mut server, IDLE), (0, 2));
    assert_eq!(turn(&mut server, IDLE + Duration::from_millis(1)), (0, 0));
    assert!(silent.answer().is_none());
    // One that sends a byte now and then never comes to the end of its line.
    let mut dripping = Client::connect(&socket);
    for seconds in [40, 60, 80, 100] {
        dripping.send(b"x");
        assert_eq!(turn(&mut server, Duration::from_secs(seconds)), (0, 1));
    }
    dripping.send(b"x");
    assert_eq!(turn(&mut server, Duration::from_secs(101)), (0, 0));
}

/// As `JsonLines`, but who speaks so need not speak at all.
struct Unhurried;

impl Speech for Unhurried {
    type Request = Command;
    const LONGEST: usize = JsonLines::LONGEST;
    const MAY_BE_SILENT: bool = true;

    fn end(input: &[u8], searched: usize) -> Option<usize> {
        JsonLines::end(input, searched)
    }

    fn request(bytes: Vec<u8>) -> Result<Command, Vec<u8>> {
        JsonLines::request(bytes)
    }

    fn farewell(why: Farewell, message: String) -> Vec<u8> {
        JsonLines::farewell(why, message)
    }
}

#[test]
fn who_may_be_silent_stays_but_not_with_half_a_request_or_an_answer_unread() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, socket) = server::<Unhurried>(&directory);
    let start = Instant::now();
    let turn = |server: &mut Alone<Unhurried>, after: Duration| {
        let requests = server.turn(Duration::from_millis(20), start + after);
        (requests.len(), server.peer_count())
    };
    let _silent = Client::connect(&socket);
    let mut lazy = Client::connect(&socket);
    lazy.send(b"{\"v\":1,\"command\":\"list\"}\n");
    assert_eq!(turn(&mut server, Duration::ZERO), (1, 2));
    server.push(2, &vec![b'x'; 8 << 20]);
    server.end(2, start);
    assert_eq!(turn(&mut server, IDLE), (0, 2));
    assert_eq!(turn(&mut server, IDLE + Duration::from_millis(1)), (0, 1));
    let later = Duration::from_secs(100_000);
    assert_eq!(turn(&mut server, later), (0, 1));
    let mut half = Client::connect(&socket);
    half.send(b"x");
    assert_eq!(turn(&mut server, later), (0, 2));
    assert_eq!(turn(&mut server, later + Duration::from_secs(61)), (0, 1));
}

/// Somebody looks at a long answer in a pager: what lbd keeps of it is little, and it waits.
#[test]
fn one_that_pauses_in_a_long_answer_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, socket) = server::<JsonLines>(&directory);
    let start = Instant::now();
    let mut pausing = Client::connect(&socket);
    pausing.send(b"{\"v\":1,\"command\":\"connections\"}\n");
    assert_eq!(server.turn(Duration::from_millis(20), start).len(), 1);
    let slice = vec![b'x'; 70_000];
    // Until the socket takes no more and what is kept here is enough.
    let slices = (0..1000).take_while(|_| {
        let has_room = server.has_room(1) == Some(true);
        if has_room {
            server.push(1, &slice);
            server.turn(Duration::ZERO, start);
        }
        has_room
    });
    assert!(slices.count() < 100, "it is not read, so it takes no more");
    for paused in [10 * IDLE, PAUSE] {
        server.turn(Duration::ZERO, start + paused);
        assert_eq!(server.peer_count(), 1, "{paused:?}");
    }
    server.turn(Duration::ZERO, start + PAUSE + Duration::from_millis(1));
    assert_eq!(server.peer_count(), 0);
}

#[test]
fn the_most_idle_peer_gives_way_and_none_that_is_being_served() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, socket) = server(&directory);
    let start = Instant::now();
    let turn = |server: &mut Alone, after: Duration| server.turn(Duration::from_millis(20), start + after);
    let request = b"{\"v\":1,\"command\":\"list\"}\n";
    // The first asks and is being served; the second asks and does not read; the others say nothing, or a byte now and
    // then.
    let mut peers: Vec<Client> = Vec::new();
    for number in 0..MAX_PEERS {
        let mut client = Client::connect(&socket);
        if number < 2 {
            client.send(request);
        }
        peers.push(client);
        let asked = turn(&mut server, Duration::from_millis(number as u64));
        assert_eq!(asked.len(), usize::from(number < 2));
    }
    server.answer(2, Outcome::Ok("x".repeat(8 << 20).into()), start);
    // Who has only just come keeps its place.
    let mut late = Client::connect(&socket);
    turn(&mut server, KEPT / 2);
    assert_eq!(refusal(late.answer()).code, "busy");
    for dripping in &mut peers[2..] {
        dripping.send(b"{");
    }
    turn(&mut server, 2 * KEPT);
    assert_eq!(server.peer_count(), MAX_PEERS);
    // In the order in which they came, the second included, however lately they have sent a byte.
    for gone in 1..MAX_PEERS {
        let mut client = Client::connect(&socket);
        client.send(request);
        let asked = turn(&mut server, 3 * KEPT);
        assert_eq!((asked.len(), server.peer_count()), (1, MAX_PEERS), "{gone}");
        if gone > 1 {
            let refusal = refusal(peers[gone].answer());
            assert!(refusal.code == "busy" && refusal.message.contains("idle the longest"), "{refusal:?}");
        }
        peers.push(client);
    }
    // Now all are being served.
    let mut late = Client::connect(&socket);
    turn(&mut server, 9 * KEPT);
    assert_eq!(refusal(late.answer()).code, "busy");
    server.answer(1, Outcome::Ok("done".into()), start + 9 * KEPT);
    assert!(matches!(peers[0].answer(), Some(Outcome::Ok(_))));
}

#[test]
fn large_answers_that_are_hardly_read_make_room_for_others() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, socket) = server(&directory);
    let start = Instant::now();
    let mut hoarders: Vec<_> = (0..5).map(|_| Client::connect(&socket)).collect();
    for hoarder in &mut hoarders {
        hoarder.send(b"{\"v\":1,\"command\":\"list\"}\n");
    }
    for (peer, _) in server.turn(Duration::from_millis(20), start) {
        server.answer(peer, Outcome::Ok("x".repeat(8 << 20).into()), start);
    }
    let mut other = Client::connect(&socket);
    other.send(b"{\"v\":1,\"command\":\"list\"}\n");
    let mut served = None;
    for seconds in (0..60).step_by(5) {
        let now = start + Duration::from_secs(seconds);
        for hoarder in &mut hoarders {
            // Enough to count as reading.
            let _ = hoarder.stream.get_mut().read(&mut vec![0; 300_000]);
        }
        if !server.turn(Duration::from_millis(20), now).is_empty() {
            served = Some(seconds);
            break;
        }
    }
    assert!(served.is_some_and(|seconds| seconds > 30), "{served:?}");
}
