//! Cycles a packet of the packet path on plain memory, net of the source's own.
//!
//! `micro [--hand-over] [FLOWS …]`: for each number of flows the median over windows of 64 turns, of the source
//! alone (receive and send back) and of a worker in between. TSC cycles. With `--hand-over` instead what
//! it costs that a packet is another worker's. With `--inherit [CONNECTIONS]` how long it takes to take over what an
//! earlier process has left.
//!
//! ```text
//! hand_over  two workers on two cores
//! inherit    a worker that takes over connections
//! ```
#![forbid(unsafe_code)]

mod hand_over;
mod inherit;

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, FrameIo};
use dataplane::names::ids::EthPortId;
use dataplane::names::time::Now;
use traffic::source::{Source, Traffic};
use traffic::world::worker;

/// Turns in a window.
const WINDOW: usize = 64;
/// Windows of which the median is taken.
const WINDOWS: usize = 2001;

fn main() {
    if std::env::args().any(|argument| argument == "--hand-over") {
        return hand_over::print();
    }
    if std::env::args().any(|argument| argument == "--inherit") {
        let named = std::env::args().find_map(|argument| argument.parse().ok());
        return inherit::print(named.unwrap_or(10_000_000));
    }
    let named: Vec<u32> = std::env::args().skip(1).filter_map(|flows| flows.parse().ok()).collect();
    let flows = if named.is_empty() { vec![1_000, 64_000, 1_000_000] } else { named };
    println!("{:>10} {:>8} {:>8} {:>8} {:>8}", "flows", "traffic", "source", "worker", "net");
    for flows in flows {
        for traffic in [Traffic::Forward, Traffic::Mixed] {
            let bare = bare(flows, traffic);
            let through = through_worker(flows, traffic);
            println!("{flows:>10} {traffic:>8?} {bare:>8.1} {through:>8.1} {:>8.1}", through - bare);
        }
    }
}

/// The median of cycles a packet over all windows.
fn median(mut turn: impl FnMut() -> usize) -> f64 {
    let mut windows: Vec<f64> = (0..WINDOWS)
        .map(|_| {
            let began = dpdk::tsc();
            let packets: usize = (0..WINDOW).map(|_| turn()).sum();
            (dpdk::tsc() - began) as f64 / packets as f64
        })
        .collect();
    windows.sort_by(f64::total_cmp);
    windows[WINDOWS / 2]
}

fn bare(flows: u32, traffic: Traffic) -> f64 {
    let mut source: Source = Source::new(flows);
    source.traffic = traffic;
    median(|| {
        let mut packets = 0;
        for port in 0..2 {
            let mut burst: ArrayVec<_, BURST> = ArrayVec::new();
            source.receive(EthPortId(port), &mut burst);
            packets += burst.len();
            source.transmit(EthPortId(1 - port), &mut burst);
        }
        packets
    })
}

fn through_worker(flows: u32, traffic: Traffic) -> f64 {
    let source = Source::<false>::new(flows);
    let (mut worker, _control) = worker(source, flows as usize, 1, memory::Huge::Auto);
    let now = clock();
    while !worker.io().is_open() {
        worker.turn(now());
    }
    worker.turn(now()); // a turn without frames finishes the last burst
    let made = worker.table().len();
    assert_eq!(made, flows as usize, "every flow has its connection");
    worker.io().traffic = traffic;
    median(|| worker.turn(now()))
}

/// A clock that a worker is turned by.
fn clock() -> impl Fn() -> Now {
    let began = dpdk::tsc();
    let hz = dpdk::tsc_hz().max(2_600_000_000);
    move || {
        let cycles = u128::from(dpdk::tsc() - began);
        Now { nanoseconds: (cycles * 1_000_000_000 / u128::from(hz)) as u64 + 1_000_000_000 }
    }
}
