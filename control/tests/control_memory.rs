//! Memory does not grow with the number of changes. The only test of its process, whose resident memory it looks at.

mod control_lab;

use control_lab::{Lab, config_in};
use std::fmt::Write;
use std::time::Duration;

const SERVICES: usize = 4096;
const REALS: usize = 15;
/// The first changes bring the heap to its size.
const FIRST: usize = 5;
const EDITS: usize = 20;

/// KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

fn vip(service: usize) -> String {
    format!("192.168.10.{}:{}", 1 + service % 250, 1000 + service / 250)
}

/// Distinct addresses: each is a next hop, too.
fn real(number: usize) -> String {
    format!("172.{}.{}.{}:80", 16 + number / 62_500, 1 + number / 250 % 250, 1 + number % 250)
}

#[test]
fn resident_memory_stays_over_many_changes_of_a_large_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config_in(directory.path());
    // Writing the file takes memory that hides the growth.
    config.control.state = None;
    let mut lines = String::from("\"--set 900 120 300\"");
    for service in 0..SERVICES {
        write!(lines, ",\"-A -t {} -s wrr\"", vip(service)).unwrap();
        for of_it in 0..REALS {
            let real = real(service * REALS + of_it);
            write!(lines, ",\"-a -t {} -r {real} -m\"", vip(service)).unwrap();
        }
    }
    let lab = Lab::start(config, 1, 0).unwrap();
    let empty = resident();
    lab.ok(&format!("\"command\":\"restore\",\"lines\":[{lines}]"));
    drop(lines);
    let mut edit = |number: usize| {
        let service = number * 997 % SERVICES;
        let (vip, real) = (vip(service), real(service * REALS + number % REALS));
        let weight = 2 + number % 7;
        lab.ok(&format!(
            r#""command":"edit-real","service":"tcp://{vip}","real":"{real}","weight":{weight}"#
        ));
        // What lives on between two changes settles in what they have freed.
        std::thread::sleep(Duration::from_millis(30));
    };
    (0..FIRST).for_each(&mut edit);
    let start = resident();
    (FIRST..FIRST + EDITS).for_each(&mut edit);
    let end = resident();
    println!("{start} KiB, after {EDITS} changes {end} KiB");
    control_lab::until("what was freed late is used again", || resident() < start + start / 10);
    lab.ok(r#""command":"clear""#);
    let given_back = || resident() < empty + (end - empty) * 3 / 4;
    control_lab::until("clear gives memory back", given_back);
}
