//! Commands over the socket, with workers that obey or do not.

mod control_lab;

use dataplane::names::ids::InterfaceId;

use control::api::protocol::Command;
use control_lab::{Lab, PATIENCE, beside, config_in, until};
use dataplane::counters::{Counter, PortCounters, StateGauges};
use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::family::V4;
use dataplane::names::ids::{NeighbourKey, RealId};
use dataplane::names::mac::Mac;
use dataplane::snapshot::Steering;
use dataplane::translation::Record;
use serde_json::json;
use std::time::{Duration, Instant};

const WEB: &str = r#""service":"tcp://192.168.10.100:80""#;
const RS1: &str = r#""real":"10.0.0.7:80""#;
const RS2: &str = r#""real":"10.0.0.17:80""#;

fn add_web(lab: &Lab) {
    lab.ok(&format!(r#""command":"add-service",{WEB},"scheduler":"wrr""#));
    lab.ok(&format!(r#""command":"add-real",{WEB},{RS1}"#));
    lab.ok(&format!(r#""command":"add-real",{WEB},{RS2},"weight":3"#));
}

fn lab(workers: usize, connections: usize) -> (tempfile::TempDir, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), workers, connections).unwrap();
    (directory, lab)
}

#[test]
fn a_reply_means_in_force_on_every_worker() {
    let (_directory, lab) = lab(3, 0);
    for round in 0..20 {
        let command = if round % 2 == 0 { "add-service" } else { "del-service" };
        let version = lab.ok(&format!(r#""command":"{command}",{WEB}"#))["config_version"].as_u64().unwrap();
        for worker in &lab.workers {
            assert_eq!(worker.counters.snapshot_version.get(), version);
        }
    }
}

#[test]
fn listings_have_the_keys_of_the_interface() {
    let (_directory, lab) = lab(2, 0);
    add_web(&lab);
    for worker in &lab.workers {
        let real = worker.counters.real(RealId(0));
        real.states.add(2 * StateGauges::ACTIVE + StateGauges::CLOSING);
        real.total.set(5);
        real.connections.set(5);
        real.in_packets.set(10);
        real.in_bytes.set(1000);
    }
    let rs1 = json!({
        "address": "10.0.0.7", "port": 80, "forward": "Masq", "weight": 1, "upper_threshold": 0,
        "lower_threshold": 0, "active": 4, "inactive": 6, "persistent_conns": 0
    });
    let rs2 = json!({
        "address": "10.0.0.17", "port": 80, "forward": "Masq", "weight": 3, "upper_threshold": 0,
        "lower_threshold": 0, "active": 0, "inactive": 0, "persistent_conns": 0
    });
    let web = json!({
        "protocol": "TCP", "address": "192.168.10.100", "port": 80, "last_port": 80, "scheduler": "wrr", "flags": [],
        "persistence_s": 0, "persistence_mask": null, "one_packet": false, "timeouts": {}, "on_removal": "drop",
        "slow_start_s": 0, "reals": [rs1, rs2]
    });
    assert_eq!(lab.ok(r#""command":"list""#), json!({"services": [web]}));
    let stats = lab.ok(&format!(r#""command":"stats",{WEB}"#));
    let service = &stats["services"][0];
    assert_eq!((&service["conns"], &service["in_packets"]), (&json!(10), &json!(20)));
    assert_eq!((&service["reals"][0]["in_bytes"], &service["out_bytes"]), (&json!(2000), &json!(0)));
    assert_eq!(service["reals"][1]["conns"], 0);
    lab.ok(r#""command":"zero""#);
    let stats = lab.ok(r#""command":"stats""#);
    assert_eq!(stats["services"][0]["conns"], 0);
    assert_eq!(stats["services"][0]["reals"][0]["active"], 4, "connections are not reset");
    let drained = lab.ok(&format!(r#""command":"drain",{WEB},{RS1}"#));
    assert_eq!(drained["live"], 8, "all but the closing ones");
    let rate = lab.ok(r#""command":"rate""#);
    assert_eq!(rate["services"][0]["in_packets"], 0);
    let none = lab.refused(r#""command":"list","service":"udp://192.168.10.100:80""#);
    assert_eq!(none.code, "no_such_service");
}

#[test]
fn removed_reals_come_back_with_their_counters_and_are_let_go_without_connections() {
    let (_directory, lab) = lab(1, 0);
    add_web(&lab);
    let counters = &lab.workers[0].counters;
    counters.real(RealId(0)).total.set(1);
    counters.real(RealId(0)).states.add(StateGauges::ACTIVE);
    counters.real(RealId(0)).connections.set(7);
    lab.ok(&format!(r#""command":"del-real",{WEB},{RS1}"#));
    let version = counters.snapshot_version.get();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(counters.snapshot_version.get(), version, "it has a connection");
    lab.ok(&format!(r#""command":"add-real",{WEB},{RS1}"#));
    let real = &lab.ok(r#""command":"stats""#)["services"][0]["reals"][0];
    assert_eq!((&real["active"], &real["conns"]), (&json!(1), &json!(7)));
    lab.ok(&format!(r#""command":"del-real",{WEB},{RS1}"#));
    let told = &lab.workers[0].told;
    let is_known = || told.lock().unwrap().snapshot.as_ref().unwrap().real_key(RealId(0)).is_some();
    assert!(is_known());
    counters.real(RealId(0)).total.set(0);
    until("the real is let go", || !is_known());
}

#[test]
fn status_tells_of_ports_workers_drops_and_trouble() {
    let (_directory, lab) = lab(1, 0);
    let counters = &lab.workers[0].counters;
    counters.dropped(dataplane::names::drop_reason::DropReason::NoRoute).add(4);
    counters.checksums_examined[0].set(6);
    counters.partial_checksums[0].set(4);
    counters.merged_segments[1].set(1);
    counters.connections_evicted.set(5);
    counters.most_swept.raise(256);
    counters.most_swept.raise(7);
    let status = lab.ok(r#""command":"status""#);
    assert_eq!(status["workers"][0]["evicted"], 5);
    assert_eq!(status["workers"][0]["most_swept"], 256);
    assert_eq!(status["drops"], json!({"no_route": 4}));
    assert_eq!(status["dpdk"], "DPDK 0");
    assert_eq!(status["ports"][1]["name"], "dip0");
    assert_eq!(status["ports"][0]["mac"], "02:00:00:00:01:00");
    assert_eq!(status["workers"][0]["capacity"], 1024);
    let notes = status["notes"].to_string();
    for expected in [
        "port vip0: no MTU",
        "port vip0: 4 of 6 TCP and UDP packets",
        "ethtool -K IFACE tx off",
        "port dip0: 1 frames",
        "ethtool -K IFACE gro off",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
    // Once the sender is put right, the note goes with the next packets, which come when the second is over.
    until("the note goes", || {
        std::thread::sleep(Duration::from_millis(1200));
        counters.checksums_examined[0].add(2);
        !lab.ok(r#""command":"status""#)["notes"].to_string().contains("partial checksum")
    });
    counters.busy_nanoseconds.set(0);
    until("the load is seen", || {
        // 25 % busy, 500 ns a packet.
        counters.total_nanoseconds.add(4_000_000);
        counters.busy_nanoseconds.add(1_000_000);
        counters.rx_packets.add(2000);
        let worker = &lab.ok(r#""command":"status""#)["workers"][0];
        let near =
            |value: &serde_json::Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 0.02 * wanted;
        near(&worker["busy_share"], 0.25) && near(&worker["cycles_per_packet"], 1000.0)
    });
}

/// A counter that is added to its list is shown without anything else.
#[test]
fn status_has_all_that_is_counted() {
    let (_directory, lab) = lab(2, 0);
    for (number, listed) in (7..).zip(lab.workers[1].counters.each().skip(1)) {
        listed.counters[0].set(number);
    }
    for worker in &lab.workers {
        worker.counters.each_by_port().for_each(|listed| listed.counters[1].set(21));
    }
    let status = lab.ok(r#""command":"status""#);
    for (number, listed) in (7..).zip(lab.workers[1].counters.each().skip(1)) {
        assert_eq!(status["workers"][1][listed.name], number, "{}", listed.name);
    }
    for listed in lab.workers[1].counters.each_by_port() {
        assert_eq!(
            (&status["ports"][1][listed.name], &status["ports"][0][listed.name]),
            (&json!(42), &json!(0))
        );
    }
    let device = PortCounters { rx_bytes: Some(60), ..PortCounters::default() };
    for listed in device.each() {
        assert!(status["ports"][0][listed.name].is_u64(), "{}", listed.name);
    }
    assert_eq!(status["ports"][0]["rx_bytes"], 60);
}

#[test]
fn every_connection_is_dumped_whatever_their_number() {
    let (_directory, lab) = lab(2, 20_000);
    add_web(&lab);
    lab.ok(r#""command":"add-service","service":"udp://192.168.10.100:53""#);
    let all = lab.ok(r#""command":"connections""#);
    let all = all["connections"].as_array().unwrap();
    assert_eq!(all.len(), 40_000);
    let expected = json!({
        "protocol": "TCP", "state": "ESTABLISHED", "expires_s": 900, "client": "192.168.10.6:19999",
        "virtual": "192.168.10.100:80", "real": "10.0.0.7:80", "worker": 1
    });
    assert_eq!(all[39_999], expected);
    let of = |service: &str| lab.ok(&format!(r#""command":"connections","service":"{service}""#));
    assert_eq!(of("udp://192.168.10.100:53"), json!({"connections": []}));
    assert_eq!(of("tcp://192.168.10.100:80")["connections"].as_array().unwrap().len(), 40_000);
    let none = lab.refused(r#""command":"connections","service":"udp://192.168.10.100:1""#);
    assert_eq!(none.code, "no_such_service");
}

#[test]
fn dumps_at_once_and_one_that_is_never_read_do_not_disturb_each_other() {
    let (_directory, lab) = lab(1, 30_000);
    add_web(&lab);
    let mut lazy = lab.connect();
    lazy.send(b"{\"v\":1,\"command\":\"connections\"}\n");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let dump = || lab.ok(r#""command":"connections""#)["connections"].as_array().unwrap().len();
            scope.spawn(move || assert_eq!(dump(), 30_000));
        }
    });
    assert!(
        matches!(lazy.answer(), Some(control::api::protocol::Outcome::Ok(_))),
        "and it is complete when read"
    );
}

#[test]
fn a_stuck_worker_is_named_and_what_follows_changes_nothing() {
    let (_directory, lab) = lab(2, 10);
    add_web(&lab);
    lab.workers[1].obey(false);
    let refusal = lab.stuck(r#""command":"add-service","service":"udp://192.168.10.100:53""#);
    assert_eq!(refusal.code, "worker_stuck");
    assert!(refusal.message.starts_with("worker 1 has not taken version"), "{refusal:?}");
    assert!(refusal.message.contains("is kept and comes into force when"), "{refusal:?}");
    let before = lab.ok(r#""command":"save""#);
    let refusal = lab.refused(r#""command":"clear""#);
    assert_eq!(refusal.code, "worker_stuck");
    assert!(refusal.message.starts_with("nothing changed: worker 1 has not taken version"), "{refusal:?}");
    assert_eq!(lab.ok(r#""command":"save""#), before);
    lab.workers[1].obey(true);
    until("it goes on", || matches!(lab.ask(r#""command":"clear""#), control::api::protocol::Outcome::Ok(_)));
}

#[test]
fn timeouts_are_shown_and_changed() {
    let (_directory, lab) = lab(1, 0);
    let shown = lab.ok(r#""command":"timeouts""#);
    assert_eq!((&shown["tcp"], &shown["tcp_fin"], &shown["udp"]), (&json!(900), &json!(120), &json!(300)));
    let changed = lab.ok(r#""command":"timeouts","set":[600,0,30]"#);
    assert_eq!(
        (&changed["tcp"], &changed["tcp_fin"], &changed["udp"]),
        (&json!(600), &json!(120), &json!(30))
    );
    let snapshot = lab.workers[0].told.lock().unwrap().snapshot.clone().unwrap();
    assert_eq!(snapshot.timeouts.seconds(dataplane::connection::State::Established), 600);
}

#[test]
fn next_hops_are_asked_for_resolved_and_told() {
    let (_directory, lab) = lab(2, 0);
    add_web(&lab);
    let worker = &lab.workers[0];
    // By any worker: another one sends when the first has not looked for a while.
    let frames = |is_wanted: &dyn Fn(&[u8]) -> bool| -> usize {
        let told = lab.workers.iter().map(|worker| worker.told.lock().unwrap());
        told.map(|told| told.frames.iter().filter(|(_, frame)| is_wanted(frame)).count()).sum()
    };
    let asked = |address: [u8; 4]| frames(&|frame| frame[38..42] == address && frame[28..32] != address) > 0;
    let announced = |address: [u8; 4]| frames(&|frame| frame[38..42] == address && frame[28..32] == address);
    until("the route's gateway and the real are asked for", || asked([10, 0, 0, 1]) && asked([10, 0, 0, 17]));
    assert!(!asked([10, 0, 0, 7]), "it is in the file");
    until("own addresses are announced twice", || announced([192, 168, 10, 100]) >= 2);
    let key = NeighbourKey { interface: InterfaceId(1), address: "10.0.0.17".parse().unwrap() };
    let mac = Mac([2, 0, 0, 0, 0, 0x17]);
    worker.says.lock().unwrap().push(NeighbourEvent::Heard { key, mac, reply: true, replaces: true });
    for worker in &lab.workers {
        until("it is told", || worker.told.lock().unwrap().reachable.contains(&key.address));
    }
    let snapshot = worker.told.lock().unwrap().snapshot.clone().unwrap();
    let hop = lab.next_hops.get(snapshot.rewrite::<V4>(RealId(1)).next_hop());
    assert!(hop.is_resolved());
    assert_eq!((hop.interface(), hop.mac()), (InterfaceId(1), mac));
    let fixed = lab.next_hops.get(snapshot.rewrite::<V4>(RealId(0)).next_hop());
    assert_eq!(fixed.mac(), Mac([2, 0, 0, 0, 0, 7]));
}

#[test]
fn ten_thousand_reals_are_restored_edited_and_listed() {
    let (_directory, lab) = lab(2, 0);
    let real = |n: usize| format!("172.16.{}.{}:80", n / 250, n % 250 + 1);
    // The least processor time that an edit takes among this many reals.
    let an_edit = |count: usize| {
        let reals = (0..count).map(|n| format!("-a -t 192.168.10.100:80 -r {} -m -w 1", real(n)));
        let lines: Vec<_> = std::iter::once("-A -t 192.168.10.100:80 -s wrr".into()).chain(reals).collect();
        lab.ok(&beside(&Command::Restore { lines: lines.iter().collect(), dry_run: false }));
        let edits = (0..count).step_by(count / 10).map(|n| {
            let before = lab.spent();
            lab.ok(&format!(r#""command":"edit-real",{WEB},"real":"{}","weight":7"#, real(n)));
            lab.spent() - before
        });
        edits.min().unwrap()
    };
    let (few, many) = (an_edit(1000), an_edit(10_000));
    println!("an edit: {few:?} among 1,000 reals, {many:?} among 10,000");
    assert!(
        many < 30 * few,
        "a cost that grows with the square: {few:?} among 1,000 reals, {many:?} among 10,000"
    );
    let saved = lab.ok(r#""command":"save""#)["lines"].as_array().unwrap().len();
    assert_eq!(saved, 10_002);
    assert_eq!(lab.ok(r#""command":"list""#)["services"][0]["reals"].as_array().unwrap().len(), 10_000);
}

/// Adds to a counter, with each call, one for each millisecond since the last one: as many a second, however seldom
/// the caller runs.
fn a_thousand_a_second(counter: &Counter) -> impl FnMut() {
    let mut counted_until = Instant::now();
    move || {
        let passed = counted_until.elapsed().as_millis() as u64;
        counted_until += Duration::from_millis(passed);
        counter.add(passed);
    }
}

#[test]
fn software_steers_where_the_device_does_it_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start(config_in(directory.path()), 2, 0).unwrap();
    let steering = |port: usize| {
        let told = lab.workers[1].told.lock().unwrap();
        told.snapshot.as_ref().unwrap().eth_ports[port].steering
    };
    assert_eq!(steering(0), Steering::Device);
    let mut misdirect = a_thousand_a_second(&lab.workers[1].counters.misdirected[0]);
    until("the port falls back", || {
        misdirect();
        steering(0) == Steering::Software
    });
    assert_eq!(steering(1), Steering::Device, "the other port goes on");
    let status = lab.ok(r#""command":"status""#);
    let line = status["ports"][0]["steering"].as_str().unwrap();
    assert!(line.starts_with("by software: ") && line.ends_with("(by the device)"), "{line}");
    assert!(status["ports"][0]["misdirected"].as_u64().unwrap() >= 300);
    assert_eq!(status["ports"][1]["steering"], "by the device");
}

/// The chip has not the queue that its driver claims, or it hangs: others send, and it is said.
#[test]
fn a_queue_to_transmit_that_stands_still_is_left() {
    let (_directory, lab) = lab(2, 0);
    let senders = |worker: usize| lab.workers[worker].told.lock().unwrap().senders.clone();
    let notes = || lab.ok(r#""command":"status""#)["notes"].to_string();
    let stands = &lab.workers[1].counters.transmit_stands[1];
    stands.set(3_000_000_000);
    until("another worker sends", || senders(1) == [(1, 0)]);
    stands.set(0);
    assert_eq!(senders(0), []);
    assert!(notes().contains("port dip0: the queue to transmit of worker 1 took nothing"), "{}", notes());
    // The other one has nobody left; of a port without a link nothing is said.
    lab.workers[0].counters.transmit_stands[1].set(7_000_000_000);
    until("it is noted", || notes().contains("worker 0 has taken nothing for 7 s"));
    assert_eq!(senders(0), []);
    lab.state.lock().unwrap().has_no_link = true;
    until("it is not noted", || !notes().contains("worker 0 has taken nothing"));
}

/// A stuck worker does not stop the control thread, which does not judge by a total that is unknown.
#[test]
fn steering_is_not_taken_while_a_worker_is_stuck_or_the_device_tells_nothing() {
    let (_directory, lab) = lab(2, 0);
    let steering = |worker: usize| {
        let told = lab.workers[worker].told.lock().unwrap();
        told.snapshot.as_ref().unwrap().eth_ports[0].steering
    };
    let misdirect = |seconds: u64| {
        let start = Instant::now();
        let mut misdirect = a_thousand_a_second(&lab.workers[1].counters.misdirected[0]);
        while start.elapsed() < Duration::from_secs(seconds) {
            misdirect();
            // If the control thread waited for the worker there would be no answer in time.
            lab.turn();
            std::thread::sleep(Duration::from_millis(4));
        }
    };
    // It stays behind once a change is published.
    lab.workers[1].obey(false);
    assert_eq!(lab.stuck(&format!(r#""command":"add-service",{WEB}"#)).code, "worker_stuck");
    misdirect(6);
    assert_eq!(steering(0), Steering::Device);

    lab.state.lock().unwrap().is_silent = true;
    lab.turn(); // what was judged before is not judged again
    lab.workers[1].obey(true);
    misdirect(5);
    assert_eq!(steering(1), Steering::Device);
    lab.state.lock().unwrap().is_silent = false;
    let mut misdirect = a_thousand_a_second(&lab.workers[1].counters.misdirected[0]);
    until("the port falls back", || {
        misdirect();
        steering(1) == Steering::Software
    });
}

/// The devices learn of a new own address before the workers do, and of the end of one after them.
#[test]
fn devices_are_told_of_an_address_in_time() {
    let (_directory, lab) = lab(2, 0);
    let (own, vip) = (["10.0.0.8", "192.168.10.100"], "192.168.10.101");
    let calls = |lab: &Lab| -> Vec<Vec<String>> {
        let mut state = lab.state.lock().unwrap();
        state.calls.drain(..).map(|call| call.iter().map(ToString::to_string).collect()).collect()
    };
    assert_eq!(calls(&lab), [own, own]);
    let service = format!(r#""service":"udp://{vip}:53""#);
    lab.ok(&format!(r#""command":"add-service",{service}"#));
    let with = [own[0], own[1], vip];
    assert_eq!(calls(&lab), [with, with]);
    lab.ok(&format!(r#""command":"del-service",{service}"#));
    assert_eq!(calls(&lab), [with.to_vec(), own.to_vec()]);

    // As long as a worker runs on the snapshot before, its addresses stay.
    lab.ok(&format!(r#""command":"add-service",{service}"#));
    lab.workers[1].obey(false);
    calls(&lab);
    assert_eq!(lab.stuck(&format!(r#""command":"del-service",{service}"#)).code, "worker_stuck");
    assert_eq!(calls(&lab), [with.to_vec()]);
    lab.workers[1].obey(true);
    until("they are let go of", || calls(&lab) == [own.to_vec()]);
    lab.ok(r#""command":"clear""#);
}

#[test]
fn software_steers_where_the_device_refuses_a_rule() {
    let (_directory, lab) = lab(2, 0);
    let status = |lab: &Lab| lab.ok(r#""command":"status""#)["ports"][0]["steering"].clone();
    let steering = |port: usize| {
        let told = lab.workers[1].told.lock().unwrap();
        told.snapshot.as_ref().unwrap().eth_ports[port].steering
    };
    assert_eq!((status(&lab), steering(0)), (json!("by the device"), Steering::Device));
    lab.state.lock().unwrap().refused = Some("192.168.10.101".parse().unwrap());
    lab.ok(r#""command":"add-service","service":"udp://192.168.10.100:53""#);
    assert_eq!(steering(0), Steering::Device);
    // In force with the service, not after it.
    lab.ok(r#""command":"add-service","service":"udp://192.168.10.101:53""#);
    assert_eq!((steering(0), steering(1)), (Steering::Software, Steering::Device));
    assert_eq!(status(&lab), "by software: it refuses a rule");
    let all = lab.ok(r#""command":"list""#);
    assert_eq!(all["services"].as_array().unwrap().len(), 2);
}

#[test]
fn silent_next_hops_are_noted_the_worst_first() {
    let (_directory, lab) = lab(1, 0);
    let lines = [
        "-A -t 192.168.10.100:80 -s wrr",
        "-a -t 192.168.10.100:80 -r 10.0.0.20 -m -w 0",
        "-a -t 192.168.10.100:80 -r 10.0.0.30 -m",
        "-a -t 192.168.10.100:80 -r 10.0.0.40 -m",
        "-a -t 192.168.10.100:80 -r 10.0.0.40:81 -m",
    ];
    lab.ok(&beside(&Command::Restore { lines: lines.iter().collect(), dry_run: false }));
    let notes = || {
        let status = lab.ok(r#""command":"status""#);
        let notes = status["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned());
        notes.filter(|note| note.contains("does not answer ARP")).collect::<Vec<_>>()
    };
    until("all are noted", || notes().len() == 4);
    let worst = ["10.0.0.1", "10.0.0.40", "10.0.0.30", "10.0.0.20"];
    assert_eq!(notes(), worst.map(|address| format!("port dip0: {address} does not answer ARP")));
}

/// The figures of the first second, before there is a whole one.
#[test]
fn the_load_is_told_from_the_first_packet_on() {
    let in_the_first_second = || {
        let began = Instant::now();
        let (_directory, lab) = lab(1, 0);
        let counters = &lab.workers[0].counters;
        counters.total_nanoseconds.set(4_000_000);
        counters.busy_nanoseconds.set(1_000_000);
        counters.rx_packets.set(2000);
        counters.bursts.set(500);
        let worker = &lab.ok(r#""command":"status""#)["workers"][0];
        let figures = ["busy_share", "cycles_per_packet", "packets_per_burst"];
        let figures = figures.map(|key| worker[key].as_f64().unwrap());
        (began.elapsed() < Duration::from_secs(1)).then_some(figures)
    };
    let began = Instant::now();
    let tries = std::iter::repeat_with(in_the_first_second).take_while(|_| began.elapsed() < PATIENCE);
    assert_eq!(tries.flatten().next(), Some([0.25, 1000.0, 4.0]));
}

#[test]
fn a_vip_that_may_be_a_mistake_is_noted() {
    let (_directory, lab) = lab(1, 0);
    let add =
        |vip: &str| lab.ok(&format!(r#""command":"add-service","service":"tcp://{vip}:80""#))["note"].clone();
    assert_eq!(add("192.168.10.100"), json!(null));
    let nowhere = add("8.8.8.8");
    assert_eq!(
        nowhere,
        "8.8.8.8 lies in no port's network: vip ports answer for it; clients need a route to it"
    );
    let wrong = add("10.0.0.100");
    let expected =
        "10.0.0.100 lies in the network of port dip0, on the side of the reals, where nobody answers for it";
    assert!(wrong.as_str().unwrap().starts_with(expected), "{wrong}");
    for last in 101..112 {
        add(&format!("10.0.0.{last}"));
    }
    let notes = lab.ok(r#""command":"status""#)["notes"].clone();
    let notes: Vec<_> =
        notes.as_array().unwrap().iter().filter(|note| note.to_string().contains("lie")).collect();
    assert_eq!(
        (notes.len(), notes[0], notes[8]),
        (9, &wrong, &json!("4 more VIPs lie in networks of the reals"))
    );
}
