//! Connections that outlive a control thread: what the next one makes of what is left.

mod control_lab;

use control::config::keep::Keep;
use control::config::{self, Config};
use control_lab::{FILE, Lab, until};
use dataplane::exchange::orders::Inherited;
use dataplane::names::ids::{InterfaceId, NextHopId, RealId};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const SERVICE: &str = "[[service]]\nlisten = \"tcp://192.168.10.100:80\"\n";

/// A configuration whose connections are kept, with these reals.
fn config(directory: &Path, reals: &[u8]) -> Config {
    let real = |number: &u8| format!("  [[service.real]]\n  address = \"10.0.0.{number}:80\"\n");
    let reals: String = reals.iter().map(real).collect();
    let mut config = config::parse(&format!("{FILE}{SERVICE}{reals}")).unwrap();
    config.control.socket = directory.join("run/lbd.sock");
    config.keep = Keep::In(directory.join("kept"));
    config
}

fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory.join("kept")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !["lock", "attempts"].contains(&&**name)).collect();
    names.sort();
    names
}

/// Endpoints of reals by the ids that they had before, as the snapshot of now knows them.
fn endpoints(lab: &Lab, inherited: &Inherited) -> Vec<Option<SocketAddr>> {
    let told = lab.workers[0].told.lock().unwrap();
    let snapshot = told.snapshot.as_ref().unwrap();
    let endpoint = |id: &Option<RealId>| Some(snapshot.real_key((*id)?).expect("a real of now").endpoint);
    inherited.reals.iter().map(endpoint).collect()
}

fn real(number: u8) -> Option<SocketAddr> {
    Some(([10, 0, 0, number], 80).into())
}

#[test]
fn ids_of_before_become_those_of_now_before_the_first_snapshot() {
    let directory = directory();
    let lab = Lab::start(config(directory.path(), &[7, 18]), 2, 0).unwrap();
    // What comes later is known, too.
    lab.ok(r#""command":"add-real","service":"tcp://192.168.10.100:80","real":"10.0.0.9:80""#);
    lab.stop();
    assert_eq!(files(directory.path()), ["1.0.more", "1.0.tables", "1.1.more", "1.1.tables", "1.names"]);

    let lab = Lab::start_holding(config(directory.path(), &[9, 11, 7]), 3).unwrap();
    for worker in &lab.workers {
        let told = worker.told.lock().unwrap();
        let inheritance = told.inheritance.as_ref().expect("each worker takes over");
        assert!(!told.inherited_late, "before a packet can open a connection");
        assert_eq!(inheritance.generations.len(), 1);
        assert_eq!(inheritance.generations[0].areas.len(), 2, "of both workers");
    }
    let generations = {
        let told = lab.workers[0].told.lock().unwrap();
        std::sync::Arc::clone(&told.inheritance.as_ref().unwrap().generations)
    };
    assert_eq!(endpoints(&lab, &generations[0]), [None, real(7), real(9)], "the file's last is the newest");
    let behind = |id| generations[0].interfaces[NextHopId::behind(InterfaceId(id)).0 as usize];
    assert_eq!([0, 1].map(behind), [Some(InterfaceId(0)), Some(InterfaceId(1))]);
    // The way to a real, whose MAC is in the file.
    assert!(generations[0].interfaces[1..10].contains(&Some(InterfaceId(1))));
    let status = lab.ok(r#""command":"status""#);
    assert_eq!(status["kept"]["inherited"]["in_progress"], json!(true));
    assert_eq!(status["kept"]["generation"], json!(2));
    assert_eq!(files(directory.path()).iter().filter(|name| name.starts_with("1.")).count(), 5, "they stay");

    lab.end_holding();
    until("what is taken over is removed", || {
        files(directory.path()).iter().all(|name| name.starts_with("2."))
    });
    let status = lab.ok(r#""command":"status""#);
    let inherited = &status["kept"]["inherited"];
    assert_eq!(inherited["in_progress"], json!(false));
    assert!(inherited["gap_ms"].is_u64(), "{status}");
    assert_eq!(status["kept"]["where"], json!(directory.path().join("kept")));
    assert_eq!(status["kept"]["backing"], json!("memory of a test"));
}

#[test]
fn no_id_is_given_to_another_real_while_workers_take_over() {
    let directory = directory();
    Lab::start(config(directory.path(), &[7, 18]), 1, 0).unwrap().stop();
    let lab = Lab::start_holding(config(directory.path(), &[7, 18]), 1).unwrap();
    let id = {
        let told = lab.workers[0].told.lock().unwrap();
        told.inheritance.as_ref().unwrap().generations[0].reals[0].expect("a real of now")
    };
    let knows = |lab: &Lab| {
        let told = lab.workers[0].told.lock().unwrap();
        told.snapshot.as_ref().unwrap().real_key(id).is_some()
    };
    lab.ok(r#""command":"del-real","service":"tcp://192.168.10.100:80","real":"10.0.0.18:80""#);
    // Otherwise it would be let go of within a second, as no worker has a connection to it.
    thread::sleep(Duration::from_millis(2500));
    lab.turn();
    assert!(knows(&lab));
    lab.end_holding();
    until("it is let go of", || !knows(&lab));
}

#[test]
fn without_anything_left_there_is_nothing_to_take_over() {
    let directory = directory();
    let lab = Lab::start_holding(config(directory.path(), &[7]), 1).unwrap();
    assert!(lab.workers[0].told.lock().unwrap().inheritance.is_none());
    let status = lab.ok(r#""command":"status""#);
    assert_eq!(status["kept"]["inherited"], json!(null));
    lab.stop();
    let mut other = config(directory.path(), &[7]);
    other.keep = Keep::Auto;
    let lab = Lab::start(other, 1, 0).unwrap();
    let expected = json!({"where": null, "backing": "", "generation": null, "inherited": null});
    assert_eq!(lab.ok(r#""command":"status""#)["kept"], expected, "no thread keeps without being told to");
}

#[test]
fn all_who_ask_for_connections_to_be_cleared_are_answered_by_all_workers_together() {
    let directory = directory();
    let lab = Lab::start(config(directory.path(), &[7]), 2, 10).unwrap();
    let command = r#""command":"clear","connections":true"#;
    assert_eq!(lab.ok(command)["connections"], json!(20));
    // Services stay.
    assert_eq!(lab.ok(r#""command":"list""#)["services"].as_array().unwrap().len(), 1);
    lab.workers[1].obey(false);
    let mut clients: Vec<_> = (0..3).map(|_| lab.sent(command)).collect();
    lab.workers[1].obey(true);
    for client in &mut clients {
        match client.answer() {
            Some(control::api::protocol::Outcome::Ok(value)) => assert_eq!(value["connections"], json!(20)),
            other => panic!("{other:?}"),
        }
    }
    // One that is not answered when the daemon stops.
    lab.workers[1].obey(false);
    let mut client = lab.sent(command);
    lab.stop();
    match client.answer() {
        Some(control::api::protocol::Outcome::Error(refusal)) => assert_eq!(refusal.code, "stopping"),
        other => panic!("{other:?}"),
    }
}
