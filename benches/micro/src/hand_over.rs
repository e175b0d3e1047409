//! What handing a packet to another worker costs: two workers on two cores, software steering.

use crate::{WINDOW, clock};
use dataplane::counters::WorkerCounters;
use dataplane::exchange::orders::{ControlEnd, channel};
use dataplane::exchange::peers::mesh;
use dataplane::names::drop_reason::DropReason;
use dataplane::snapshot::Steering;
use dataplane::translation::endpoint_bits;
use dataplane::worker::Worker;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use traffic::flows::client;
use traffic::source::Source;
use traffic::world::{HASH_KEY, configure, next_hops, owners, steered_snapshot};

/// Connections of both workers together: few, so that the table costs nothing.
const FLOWS: u32 = 1000;
const WINDOWS: usize = 2001;

/// Prints cycles a packet received, with all packets in their workers' queues and with half of them.
pub(crate) fn print() {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() < 2 {
        println!("a hand-over needs two cores");
        return;
    }
    let (own, _) = cycles(Steering::Device, false, &cores[..2]);
    let (looked_at, _) = cycles(Steering::Software, false, &cores[..2]);
    let (mixed, share) = cycles(Steering::Software, true, &cores[..2]);
    println!("{:>44} {own:>8.1}", "own packets, steered by the device");
    println!("{:>44} {looked_at:>8.1}", "own packets, steered by software");
    println!("{:>44} {mixed:>8.1}", format!("{:.0}% others', steered by software", share * 100.0));
    println!("{:>44} {:>8.1}", "a hand-over", (mixed - looked_at) / share);
}

/// The mean of both workers' medians, and the share of packets handed over.
fn cycles(steering: Steering, others_too: bool, cores: &[core_affinity::CoreId]) -> (f64, f64) {
    let owners = owners(cores.len(), 512);
    let next_hops = next_hops(1);
    let snapshot = Arc::new(steered_snapshot(1, steering));
    let done = AtomicUsize::new(0);
    let (mut workers, mut controls): (Vec<Worker<Source<true>>>, Vec<ControlEnd>) = (Vec::new(), Vec::new());
    for peers in mesh(&owners) {
        let own = flows(|client| owners.owner(client) == peers.own());
        let (end, mut control) = channel(Arc::clone(&next_hops), Arc::default());
        let source = Source::of_flows(own);
        let worker = Worker::new(source, end, FLOWS as usize, HASH_KEY, memory::Huge::Auto);
        configure(&mut control, Arc::clone(&snapshot), 1);
        workers.push(worker.expect("memory for the table").with_peers(peers));
        controls.push(control);
    }
    thread::scope(|scope| {
        let measured = workers.into_iter().zip(&controls).zip(cores).map(|((worker, control), core)| {
            let counters = &*control.counters;
            let done = &done;
            scope.spawn(move || {
                core_affinity::set_for_current(*core);
                measure(worker, counters, others_too, done)
            })
        });
        let measured: Vec<_> = measured.collect();
        let medians: Vec<f64> = measured.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let sum = |counter: fn(&ControlEnd) -> u64| controls.iter().map(counter).sum::<u64>() as f64;
        let share = sum(|control| control.counters.handed_over.get())
            / sum(|control| control.counters.rx_packets.get());
        assert_eq!(sum(|control| control.counters.connections.get()), f64::from(FLOWS));
        let lost = sum(|control| control.counters.dropped(DropReason::HandOverFull).get());
        if lost > 0.0 {
            println!("{lost} packets found a ring full: one of the cores was shared");
        }
        (medians.iter().sum::<f64>() / medians.len() as f64, share)
    })
}

fn measure(
    mut worker: Worker<Source<true>>,
    counters: &WorkerCounters,
    others_too: bool,
    done: &AtomicUsize,
) -> f64 {
    let now = clock();
    while !worker.io().is_open() {
        worker.turn(now());
    }
    worker.turn(now());
    // Each has its connections before packets of the other's arrive.
    let wait_for = |count: usize, worker: &mut Worker<Source<true>>| {
        done.fetch_add(1, Ordering::AcqRel);
        while done.load(Ordering::Acquire) < count {
            worker.turn(now());
        }
    };
    worker.io().pause();
    wait_for(2, &mut worker);
    worker.io().go_on(if others_too { flows(|_| true) } else { Vec::new() });
    let received = &counters.rx_packets;
    let mut windows: Vec<f64> = (0..WINDOWS)
        .map(|_| {
            let (began, before) = (dpdk::tsc(), received.get());
            for _ in 0..WINDOW {
                worker.turn(now());
            }
            (dpdk::tsc() - began) as f64 / (received.get() - before).max(1) as f64
        })
        .collect();
    wait_for(4, &mut worker);
    windows.sort_by(f64::total_cmp);
    windows[WINDOWS / 2]
}

/// The flows whose client `is_wanted`.
fn flows(is_wanted: impl Fn(u64) -> bool) -> Vec<u32> {
    (0..FLOWS).filter(|flow| is_wanted(endpoint_bits(client(*flow)))).collect()
}
