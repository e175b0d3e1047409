//! A successor takes a daemon's place: step by step, and what becomes of both when a step is not made.

mod control_lab;

use control::api::predecessor::{NoPredecessor, Predecessor};
use control::api::protocol::Outcome;
use control::api::protocol::hand_over::CONVERSATION;
use control::config::metrics::Address;
use control::config::{Config, IpvsSocket};
use control::daemon::{ControlThread, StartError};
use control::devices::WorkerInfo;
use control::handed::Handed;
use control_lab::{Client, Lab, MadeUp, PATIENCE, Worker, config_in, until};
use dataplane::exchange::orders::channel;
use dataplane::exchange::pace::Phase;
use dataplane::live::next_hops::NextHops;
use dataplane::live::reals::Reals;
use serde_json::Value;
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

const ADD: &str = r#""command":"add-service","service":"tcp://192.168.10.100:80","scheduler":"wrr""#;
const ADD_ANOTHER: &str = r#""command":"add-service","service":"tcp://192.168.10.100:81","scheduler":"wrr""#;
const LIST: &str = r#""command":"list""#;

/// A process that is about to take the place of another, as far as its control thread goes.
struct Successor {
    control: ControlThread,
    workers: Vec<Worker>,
}

impl Successor {
    fn with(config: &Config, handed: Handed) -> Result<Self, StartError> {
        let next_hops = Arc::new(NextHops::new([]));
        let reals = Arc::<Reals>::default();
        let (ends, control_ends): (Vec<_>, Vec<_>) =
            (0..2).map(|_| channel(Arc::clone(&next_hops), Arc::clone(&reals))).unzip();
        ends.iter().for_each(|end| end.pace.ask(Phase::Rest));
        let info = |core| WorkerInfo { core, capacity: 1024, capacity_ipv6: 1024 };
        let (devices, infos) = (Box::new(MadeUp::default()), (0..2).map(info).collect());
        let control = ControlThread::with(config, handed, control_ends, next_hops, devices, infos)?;
        Ok(Self { control, workers: ends.into_iter().map(|end| Worker::launch(end, 0)).collect() })
    }

    fn version(&self) -> u64 {
        self.workers[0].told.lock().unwrap().snapshot.as_ref().map_or(0, |snapshot| snapshot.version)
    }
}

fn ask(lab: &Lab) -> (Predecessor, Handed) {
    Predecessor::ask(&lab.config.control.socket).unwrap()
}

fn services(value: &Value) -> usize {
    value["services"].as_array().unwrap().len()
}

fn step(conversation: u32, step: &str) -> String {
    format!(r#""command":"hand-over","conversation":{conversation},"step":"{step}""#)
}

/// Runs a control thread as long as this works.
fn during<T: Send + 'static>(control: &mut ControlThread, work: impl FnOnce() -> T + Send + 'static) -> T {
    let working = thread::spawn(work);
    control.run_while(|_| !working.is_finished()).unwrap();
    working.join().unwrap()
}

/// Whether a daemon works as if no successor had ever been.
fn goes_on(lab: &Lab) {
    until("the workers work", || lab.workers.iter().all(|worker| worker.pace.follows(Phase::Run)));
    let mut number = 1000;
    until("changes are taken", || {
        number += 1;
        let add = ADD.replace(":80", &format!(":{number}"));
        matches!(lab.ask(&add), Outcome::Ok(_))
    });
    assert!(lab.config.control.socket.exists());
}

#[test]
fn a_successor_has_sockets_services_and_locks_and_nobody_finds_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    // A free port: the daemon listens on it from here on, whoever that is.
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.control.metrics.address = Some(Address::Tcp(metrics));
    let lab = Lab::start(config.clone(), 2, 0).unwrap();
    lab.ok(ADD);

    let (mut predecessor, handed) = ask(&lab);
    assert_eq!(lab.refused(ADD_ANOTHER).code, "busy");
    assert!(lab.refused(ADD_ANOTHER).message.contains(&format!("process {}", std::process::id())));
    assert_eq!(services(&lab.ok(LIST)), 1, "who only looks is answered");

    let mut successor = Successor::with(&config, handed).unwrap();
    successor.control.prepare().unwrap();
    successor.control.drop_what_arrives().unwrap();
    assert!(successor.workers.iter().all(|worker| worker.pace.follows(Phase::Discard)));
    assert_eq!(successor.version(), 0, "nothing is in force yet");

    // Who is at asking has an answer of the one that was asked.
    let mut midway = TcpStream::connect(metrics).unwrap();
    midway.set_read_timeout(Some(PATIENCE)).unwrap();
    midway.write_all(b"GET /metrics HTTP/1.0\r\n").unwrap();
    lab.turn();
    predecessor.pause().unwrap();
    assert!(lab.workers.iter().all(|worker| worker.pace.follows(Phase::Rest)));
    // Who comes now waits for whoever goes on.
    let mut early = Client::connect(&config.control.socket);
    early.send(format!("{{\"v\":1,{LIST}}}\n").as_bytes());
    let mut early_page = TcpStream::connect(metrics).unwrap();
    early_page.set_read_timeout(Some(PATIENCE)).unwrap();
    early_page.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    successor.control.take_what_arrives();
    predecessor.taken().unwrap();
    midway.write_all(b"\r\n").unwrap();
    let mut page = String::new();
    midway.read_to_string(&mut page).unwrap();
    // On a machine that is busy it may have taken too long to ask.
    assert!(page.contains("natlb_ready 1\n") || page.starts_with("HTTP/1.1 408 "), "{page:?}");
    drop(midway);
    lab.ended();

    successor.control.own();
    successor.control.start().unwrap();
    assert!(successor.version() > 0);
    let Successor { mut control, workers } = successor;
    let socket = config.control.socket.clone();
    let (answer, added) = during(&mut control, move || {
        let answer = early.answer();
        let mut page = String::new();
        early_page.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        (answer, Client::connect(&socket).ask(ADD_ANOTHER))
    });
    assert!(matches!(answer, Some(Outcome::Ok(ref value)) if services(value) == 1), "{answer:?}");
    assert!(matches!(added, Outcome::Ok(_)), "{added:?}");
    assert!(!config.control.socket.exists(), "it went with the successor");
    drop((control, workers));
    let lab = Lab::start(config, 1, 0).unwrap();
    assert_eq!(services(&lab.ok(LIST)), 2, "the state file is the successor's");
}

/// What commands have set is in no file, and a successor has it all the same; what the file of the one before said is
/// the file's.
#[test]
fn services_that_are_kept_nowhere_are_handed_over_if_commands_have_set_them() {
    for changes in [0, 1] {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config_in(directory.path());
        config.control.state = None;
        let lab = Lab::start(config.clone(), 1, 0).unwrap();
        (0..changes).for_each(|_| drop(lab.ok(ADD)));
        let (mut predecessor, handed) = ask(&lab);
        assert_eq!(handed.services.as_ref().map_or(0, Vec::len), 2 * changes, "a line of timeouts, and one");
        let mut successor = Successor::with(&config, handed).unwrap();
        successor.control.prepare().unwrap();
        predecessor.pause().unwrap();
        successor.control.take_what_arrives();
        predecessor.taken().unwrap();
        lab.ended();
        successor.control.own();
        successor.control.start().unwrap();
        let (listed, handed) = during(&mut successor.control, move || {
            let listed = Client::connect(&config.control.socket).ask(LIST);
            (listed, Predecessor::ask(&config.control.socket).unwrap().1)
        });
        assert!(matches!(listed, Outcome::Ok(ref value) if services(value) == changes), "{listed:?}");
        assert_eq!(
            handed.services.map_or(0, |lines| lines.len()),
            2 * changes,
            "and to the one that follows"
        );
    }
}

/// A change that a successor could miss is in force before it is answered.
#[test]
fn what_is_on_its_way_comes_first() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    lab.workers[0].obey(false);
    let mut changing = lab.sent(ADD);
    let mut asking = lab.sent(&step(CONVERSATION, "prepare"));
    assert_eq!(lab.refused(ADD_ANOTHER).code, "busy");
    asking.stream.get_ref().set_nonblocking(true).unwrap();
    assert!(asking.stream.fill_buf().is_err(), "no answer yet");
    asking.stream.get_ref().set_nonblocking(false).unwrap();
    lab.workers[0].obey(true);
    assert!(matches!(changing.answer(), Some(Outcome::Ok(_))));
    assert!(matches!(asking.answer(), Some(Outcome::Ok(_))));
    drop(asking);
    goes_on(&lab);
    lab.stop();
}

#[test]
fn a_socket_that_the_successor_does_not_use_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let before = directory.path().join("run/ipvs.sock");
    assert!(before.exists());
    let mut config = lab.config.clone();
    config.control.ipvs_socket = IpvsSocket::At(directory.path().join("run/other.sock"));
    let (mut predecessor, handed) = ask(&lab);
    let mut successor = Successor::with(&config, handed).unwrap();
    successor.control.prepare().unwrap();
    predecessor.pause().unwrap();
    successor.control.take_what_arrives();
    predecessor.taken().unwrap();
    lab.ended();
    assert!(before.exists(), "until it has begun");
    successor.control.own();
    assert!(!before.exists() && directory.path().join("run/other.sock").exists());
    drop(successor);
    assert!(!directory.path().join("run/other.sock").exists());
}

#[test]
fn the_locks_are_both_ones_until_the_last_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let config = lab.config.clone();
    let (mut predecessor, handed) = ask(&lab);
    let mut successor = Successor::with(&config, handed).unwrap();
    successor.control.prepare().unwrap();
    predecessor.pause().unwrap();
    predecessor.taken().unwrap();
    lab.ended();
    let third = Successor::with(&config, Handed::default()).err();
    assert!(matches!(third, Some(StartError::Socket(_))), "{third:?}");
    drop(successor);
    assert!(config.control.socket.exists(), "it has not begun, so it removes nothing");
    Lab::start(config, 1, 0).unwrap().stop();
}

/// Wherever a successor ends, the daemon goes on, and another one can follow.
#[test]
fn a_successor_that_goes_away_leaves_nothing_changed() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 2, 0).unwrap();
    for _ in 0..2 {
        let (predecessor, handed) = ask(&lab);
        drop((predecessor, handed));
        goes_on(&lab);

        let (predecessor, handed) = ask(&lab);
        let mut successor = Successor::with(&lab.config, handed).unwrap();
        successor.control.prepare().unwrap();
        successor.control.drop_what_arrives().unwrap();
        drop((predecessor, successor));
        goes_on(&lab);

        let (mut predecessor, handed) = ask(&lab);
        let mut successor = Successor::with(&lab.config, handed).unwrap();
        successor.control.prepare().unwrap();
        predecessor.pause().unwrap();
        assert!(lab.workers.iter().all(|worker| worker.pace.follows(Phase::Rest)));
        drop((predecessor, successor));
        goes_on(&lab);
    }
    lab.stop();
}

#[test]
fn a_successor_that_does_not_go_on_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    let (mut predecessor, _handed) = ask(&lab);
    predecessor.pause().unwrap();
    goes_on(&lab);
    let late = predecessor.taken();
    assert!(matches!(late, Err(NoPredecessor::Gone(_))), "{late:?}");
    goes_on(&lab);
    lab.stop();
}

#[test]
fn a_worker_that_stands_still_keeps_the_daemon_from_giving_way() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 2, 0).unwrap();
    let (mut predecessor, _handed) = ask(&lab);
    lab.workers[1].obey(false);
    let refused = predecessor.pause();
    assert!(matches!(refused, Err(NoPredecessor::Refused(_))), "{refused:?}");
    lab.workers[1].obey(true);
    goes_on(&lab);
    lab.stop();
}

#[test]
fn steps_that_do_not_follow_are_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 1, 0).unwrap();
    for (asked, says) in [
        (step(CONVERSATION, "pause"), "does not follow"),
        (step(CONVERSATION, "taken"), "does not follow"),
        (step(CONVERSATION + 1, "prepare"), "speaks number 1"),
    ] {
        let refusal = lab.refused(&asked);
        assert!(refusal.code == "no_hand_over" && refusal.message.contains(says), "{asked}: {refusal:?}");
    }
    for asked in [step(CONVERSATION, "vanish"), r#""command":"hand-over""#.into()] {
        assert_eq!(lab.refused(&asked).code, "bad_request", "{asked}");
    }
    let (mut predecessor, _handed) = ask(&lab);
    let second = Predecessor::ask(&lab.config.control.socket);
    assert!(matches!(second, Err(NoPredecessor::Refused(ref why)) if why.contains("already")), "{second:?}");
    // Nor may anybody else go the first one's steps.
    assert_eq!(lab.refused(&step(CONVERSATION, "pause")).code, "no_hand_over");
    predecessor.pause().unwrap();
    drop(predecessor);
    goes_on(&lab);
    lab.stop();
}

#[test]
fn without_a_daemon_there_is_no_place_to_take() {
    let directory = tempfile::tempdir().unwrap();
    let asked = Predecessor::ask(&directory.path().join("lbd.sock"));
    assert!(matches!(asked, Err(NoPredecessor::NotThere { .. })), "{asked:?}");
}
