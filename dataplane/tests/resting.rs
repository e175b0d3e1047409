//! Coming to rest and going on, while another process has the devices: nothing that was received is lost, nothing is
//! sent meanwhile, and what the other process has handled is dropped.

mod support;

use dataplane::exchange::pace::Phase;
use dataplane::frame::plain::PlainIo;
use dataplane::names::time::Now;
use dataplane::snapshot::Steering;
use dataplane::worker::Worker;
use std::net::SocketAddrV4;
use support::cluster::Cluster;
use support::packet::{Packet, read};
use support::*;

/// A datagram of a client with this port, to the service on port 53.
fn datagram(client: SocketAddrV4) -> Vec<u8> {
    Packet::udp(client, at(VIP, 53), b"?").macs(CLIENT_MAC, VIP_MAC).frame()
}

fn client(port: u16) -> SocketAddrV4 {
    at(CLIENT, 40_000 + port)
}

/// A step of the worker; the client ports of what leaves.
fn step(worker: &mut Worker<PlainIo>, now: u64) -> Vec<u16> {
    worker.step(Now { nanoseconds: now });
    let ports = [VIP0, DIP0].into_iter();
    let sent: Vec<_> = ports.flat_map(|port| worker.io().take_sent(port)).collect();
    sent.iter().map(|bytes| read(bytes).source.port() - 40_000).collect()
}

fn step_lab(lab: &mut Lab) -> Vec<u16> {
    let now = lab.now().nanoseconds;
    step(&mut lab.worker, now)
}

/// Steps until the worker has nothing left to do; the client ports of what leaves.
fn finish(lab: &mut Lab) -> Vec<u16> {
    lab.control.pace.ask(Phase::Finish);
    let mut left = Vec::new();
    for _ in 0..100 {
        lab.skip(1000);
        left.extend(step_lab(lab));
        if lab.control.pace.finished().is_some_and(|done| done.turns > done.busy) {
            return left;
        }
    }
    panic!("the worker does not come to rest");
}

#[test]
fn a_worker_that_finishes_sends_what_has_arrived_and_receives_nothing_more() {
    for mut lab in [Lab::serving(), Lab::with_near_table(1024)] {
        lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] }]);
        // More than a full burst: one is kept for the next turn.
        (1..=100).for_each(|port| lab.queue(VIP0, &datagram(client(port))));
        assert_eq!(finish(&mut lab), (1..=100).collect::<Vec<_>>());
        (101..=110).for_each(|port| lab.queue(VIP0, &datagram(client(port))));
        for phase in [Phase::Finish, Phase::Rest] {
            lab.control.pace.ask(phase);
            for _ in 0..10 {
                assert!(step_lab(&mut lab).is_empty(), "{phase:?}");
            }
            assert!(lab.control.pace.follows(phase));
        }
        // The one that was to take over has not: what came meanwhile is handled.
        lab.skip(5_000_000_000);
        lab.control.pace.ask(Phase::Run);
        let busy = lab.counters().total_nanoseconds.get();
        assert_eq!(step_lab(&mut lab), (101..=110).collect::<Vec<_>>());
        assert!(lab.control.pace.follows(Phase::Run));
        assert!(lab.counters().total_nanoseconds.get() < busy + 1_000_000_000, "rest is no work");
    }
}

#[test]
fn a_worker_that_always_receives_finishes_all_the_same() {
    let mut lab = Lab::serving();
    lab.control.pace.ask(Phase::Finish);
    let mut steps = 0;
    while lab.control.pace.finished().is_none() {
        (1..=32).for_each(|port| lab.queue(VIP0, &datagram(client(port))));
        lab.skip(1000);
        step_lab(&mut lab);
        steps += 1;
        assert!(steps < 100);
    }
    assert_eq!(finish(&mut lab), []);
}

/// A worker that takes the place of another one, and has its configuration.
fn newcomer() -> Lab {
    let mut lab = Lab::serving();
    lab.worker = lab.worker.resting(2);
    lab
}

#[test]
fn a_newcomer_drops_what_came_before_it_runs_and_handles_what_comes_after() {
    for bursts in [0, 1, 32, 33, 500] {
        let mut lab = newcomer();
        assert!(lab.control.pace.follows(Phase::Rest));
        (0..bursts).for_each(|_| lab.queue(VIP0, &datagram(client(1))));
        assert!(step_lab(&mut lab).is_empty());
        lab.control.pace.ask(Phase::Discard);
        // All that came while it rested, a burst at a time.
        for _ in 0..(bursts as usize).div_ceil(32) {
            assert!(step_lab(&mut lab).is_empty() && !lab.control.pace.follows(Phase::Discard));
        }
        assert!(step_lab(&mut lab).is_empty());
        assert!(lab.control.pace.follows(Phase::Discard));
        // These arrive before the other one's last frame is known.
        (0..bursts).for_each(|_| lab.queue(DIP0, &datagram(client(2))));
        lab.control.pace.ask(Phase::Run);
        assert!(step_lab(&mut lab).is_empty(), "{bursts} before");
        lab.queue(VIP0, &datagram(client(3)));
        lab.skip(1000);
        assert_eq!(step_lab(&mut lab), [3]);
        assert_eq!(lab.counters().connections_created.get(), 1);
    }
}

#[test]
fn devices_that_never_run_empty_do_not_keep_a_newcomer_from_running() {
    let mut lab = newcomer();
    lab.control.pace.ask(Phase::Discard);
    step_lab(&mut lab);
    (0..40_000).for_each(|_| lab.queue(VIP0, &datagram(client(1))));
    lab.control.pace.ask(Phase::Run);
    let left: Vec<_> = (0..2).flat_map(|_| step_lab(&mut lab)).collect();
    assert_eq!(left, [1; 32], "the first burst leaves with the second");
}

/// Frames on their way between workers are sent, in whatever order these come to rest.
#[test]
fn what_workers_hand_over_is_finished_too() {
    let mut lab = Lab::new();
    lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(RS1, 5353), 1)] }]);
    for order in [[0, 1], [1, 0]] {
        // Worker 1 has no queue to transmit towards the reals: worker 0 sends for it.
        let mut cluster = Cluster::with_senders(&lab, 2, Steering::Software, &[(1, DIP0, 0)]);
        let clients: Vec<_> = (1..=64).map(client).collect();
        for (index, client) in clients.iter().enumerate() {
            cluster.arrive(index % 2, VIP0, &datagram(*client));
        }
        cluster.controls.iter().for_each(|control| control.pace.ask(Phase::Finish));
        let mut left = Vec::new();
        let mut quiet = 0;
        while quiet < 4 {
            let before: Vec<_> = cluster.controls.iter().map(|control| control.pace.finished()).collect();
            for worker in order {
                cluster.skip(1000);
                let now = cluster.now();
                left.extend(step(&mut cluster.workers[worker], now));
            }
            let after = cluster.controls.iter().map(|control| control.pace.finished());
            let is_quiet = before.iter().zip(after).all(|(before, after)| {
                before.zip(after).is_some_and(|(before, after)| before.busy == after.busy)
            });
            quiet = if is_quiet { quiet + 1 } else { 0 };
            assert!(left.len() <= 64);
        }
        left.sort_unstable();
        assert_eq!(left, (1..=64).collect::<Vec<_>>());
    }
}
