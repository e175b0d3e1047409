//! A change of a whole large configuration: what goes on while it is made, what comes after it, and a stop in the
//! middle.

mod control_lab;

use control::api::protocol::Outcome;
use control_lab::{Client, Lab, config_in, until};
use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use serde_json::Value;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const DNS: &str = r#""service":"udp://192.168.10.100:53""#;
/// Reals of each service.
const REALS: usize = 16;
/// Answers of each kind while a large change is made: there is time for many times more of them. If the loop made the
/// change itself there would be one or two.
const ANSWERS: usize = 20;
/// Hosts that are asked for while a change is made.
const HOSTS: usize = 20;

fn start(directory: &Path) -> Lab {
    Lab::start(config_in(directory), 2, 0).unwrap()
}

fn vip(service: usize) -> String {
    format!("192.168.10.{}:{}", 1 + service % 90, 1000 + service / 90)
}

fn real(service: usize, of_it: usize) -> String {
    let number = service * REALS + of_it;
    format!("172.{}.{}.{}:80", 16 + number / 62_500, number / 250 % 250, 1 + number % 250)
}

/// The request that makes so many services the configuration, and the DNS service with a real of this weight.
fn restore(services: usize, weight: u64) -> String {
    let mut lines = format!(
        r#""--set 900 120 300","-A -u 192.168.10.100:53","-a -u 192.168.10.100:53 -r 10.0.0.7:53 -m -w {weight}""#
    );
    for service in 0..services {
        let vip = vip(service);
        write!(lines, ",\"-A -t {vip} -s wrr\"").unwrap();
        for of_it in 0..REALS {
            write!(lines, ",\"-a -t {vip} -r {} -m -w 1\"", real(service, of_it)).unwrap();
        }
    }
    format!(r#""command":"restore","lines":[{lines}]"#)
}

fn done(client: &mut Client) -> Value {
    match client.answer() {
        Some(Outcome::Ok(value)) => value,
        other => panic!("{other:?}"),
    }
}

/// The weight of the DNS service's real.
fn weight(listing: &Value) -> u64 {
    listing["services"][0]["reals"][0]["weight"].as_u64().unwrap()
}

fn is_asked_for(lab: &Lab, host: Ipv4Addr) -> bool {
    lab.workers.iter().any(|worker| {
        let told = worker.told.lock().unwrap();
        told.frames.iter().any(|(_, frame)| frame[38..42] == host.octets())
    })
}

/// Only what is answered between the last byte of the request and its answer counts: before that nothing is changed
/// yet.
#[test]
fn while_all_is_replaced_others_are_answered_and_hosts_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let lab = start(directory.path());
    lab.ok(&restore(0, 1));
    let mut peer = lab.connect();
    let mut next_host = 20;
    for (services, before, now) in [(4095, 1, 2), (4095, 2, 3), (0, 3, 4)] {
        let version = lab.ok(r#""command":"status""#)["config_version"].as_u64().unwrap();
        let request = restore(services, now);
        let is_over = AtomicBool::new(false);
        let (mut statuses, mut lists, mut hosts) = (0, 0, 0);
        let (mut longest, mut has_changed) = (Duration::ZERO, false);
        let mut changer = lab.connect();
        changer.send(format!("{{\"v\":1,{request}}}\n").as_bytes());
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let after = done(&mut changer)["config_version"].as_u64().unwrap();
                is_over.store(true, Ordering::Relaxed);
                assert!(after > version);
            });
            while !is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                let status = peer.ask(r#""command":"status""#);
                statuses += usize::from(matches!(status, Outcome::Ok(_)) && !is_over.load(Ordering::Relaxed));
                let Outcome::Ok(list) = peer.ask(&format!(r#""command":"list",{DNS}"#)) else {
                    panic!("list")
                };
                lists += usize::from(!is_over.load(Ordering::Relaxed));
                let seen = weight(&list);
                assert!(seen == now || seen == before && !has_changed, "{seen}");
                has_changed = seen == now;
                longest = longest.max(start.elapsed());
                if hosts < HOSTS {
                    let host = Ipv4Addr::new(10, 0, 0, next_host);
                    next_host += 1;
                    let key = NeighbourKey { interface: InterfaceId(1), address: host.into() };
                    lab.workers[0].says.lock().unwrap().push(NeighbourEvent::Wanted(key));
                    until("it is asked for", || is_asked_for(&lab, host));
                    hosts += usize::from(!is_over.load(Ordering::Relaxed));
                }
            }
        });
        println!(
            "{services} services: {:?}; meanwhile {statuses} x status, {lists} x list, {hosts} hosts asked for; status and \
             list took {longest:?} at most",
            begun.elapsed()
        );
        if services > 0 {
            assert!(statuses >= ANSWERS && lists >= ANSWERS && hosts >= HOSTS / 2, "too few");
        }
        assert_eq!(weight(&lab.ok(&format!(r#""command":"list",{DNS}"#))), now);
    }
}

#[test]
fn changes_behind_a_large_one_are_made_in_their_order_and_on_what_it_has_made() {
    let directory = tempfile::tempdir().unwrap();
    let lab = start(directory.path());
    lab.ok(&restore(1, 1));
    lab.ok(&format!(r#""command":"add-real",{DNS},"real":"10.0.0.99:53""#));
    let before = lab.ok(r#""command":"status""#)["config_version"].as_u64().unwrap();
    let mut large = lab.sent(&restore(1024, 2));
    let (new_vip, new_real) = (vip(1023), real(1023, 7));
    let mut tried = lab.sent(&restore(1, 9).replace("\"restore\"", "\"restore\",\"dry_run\":true"));
    let mut peers: Vec<Client> = [
        // Only the new configuration has it …
        format!(r#""command":"edit-real","service":"tcp://{new_vip}","real":"{new_real}","weight":7"#),
        // … and it lacks what was added to the one before.
        format!(r#""command":"edit-real",{DNS},"real":"10.0.0.99:53","weight":7"#),
        format!(r#""command":"add-real",{DNS},"real":"10.0.0.99:53","weight":3"#),
        format!(r#""command":"edit-real",{DNS},"real":"10.0.0.99:53","weight":4"#),
        restore(1024, 5),
        format!(r#""command":"drain",{DNS},"real":"10.0.0.7:53""#),
        r#""command":"timeouts","set":[900,0,0]"#.to_owned(),
    ]
    .iter()
    .map(|request| lab.sent(request))
    .collect();
    // Between them the daemon publishes what it lets go of.
    let mut versions = vec![before];
    let mut next = |client: &mut Client| versions.push(done(client)["config_version"].as_u64().unwrap());
    next(&mut large);
    next(&mut peers[0]);
    assert!(matches!(peers[1].answer(), Some(Outcome::Error(refusal)) if refusal.code == "no_such_real"));
    peers[2..6].iter_mut().for_each(&mut next);
    assert!(versions.is_sorted_by(|one, other| one < other), "{versions:?}");
    done(&mut peers[6]);
    let tried = done(&mut tried);
    assert_eq!((tried["services"].as_u64(), tried["reals"].as_u64()), (Some(2), Some(REALS as u64 + 1)));
    let dns = lab.ok(&format!(r#""command":"list",{DNS}"#));
    assert_eq!((weight(&dns), dns["services"][0]["reals"].as_array().unwrap().len()), (0, 1));
    let saved = lab.ok(r#""command":"save""#)["lines"].clone();
    lab.stop();
    assert_eq!(
        start(directory.path()).ok(r#""command":"save""#)["lines"],
        saved,
        "the state file has all of it"
    );
}

/// What a stop finds in the middle of being made is made as a whole or not at all, and the peer is told which.
#[test]
fn a_stop_in_the_middle_leaves_the_state_before_or_the_state_after() {
    let (few, many) = (2, 1024);
    let mut outcomes = [0; 3];
    for milliseconds in [0, 20, 40, 80, 120, 160, 200, 300, 400, 600] {
        let directory = tempfile::tempdir().unwrap();
        let lab = start(directory.path());
        lab.ok(&restore(few, 1));
        let mut large = lab.sent(&restore(many, 2));
        let mut behind = lab.sent(&format!(r#""command":"del-service",{DNS}"#));
        thread::sleep(Duration::from_millis(milliseconds));
        lab.stop();
        let (outcome, expected) = match large.answer() {
            Some(Outcome::Ok(_)) => (2, many),
            Some(Outcome::Error(refusal)) if refusal.message.starts_with("nothing changed: lbd stops") => {
                (0, few)
            }
            Some(Outcome::Error(refusal)) if refusal.message.contains("the state file has it") => (1, many),
            // It had not read the request yet.
            None => (0, few),
            other => panic!("{other:?}"),
        };
        outcomes[outcome] += 1;
        // It is refused, or in force as well.
        let is_behind_kept = match behind.answer() {
            Some(Outcome::Ok(_)) => true,
            Some(Outcome::Error(refusal)) => {
                assert_eq!(refusal.code, "stopping");
                refusal.message.contains("the state file has it")
            }
            None => false,
        };
        assert!(!is_behind_kept || outcome == 2, "in their order");
        let files: Vec<_> = std::fs::read_dir(directory.path().join("lib")).unwrap().flatten().collect();
        assert!(files.iter().all(|file| !file.file_name().to_string_lossy().contains(".new-")), "{files:?}");
        let lab = start(directory.path());
        let services = lab.ok(r#""command":"save""#)["lines"].to_string().matches("-A ").count();
        assert_eq!(services, expected + usize::from(!is_behind_kept), "{milliseconds} ms: {outcome}");
    }
    println!("not made {}, kept alone {}, answered {}", outcomes[0], outcomes[1], outcomes[2]);
    assert!(outcomes[0] + outcomes[1] > 0, "never in the middle");
}
