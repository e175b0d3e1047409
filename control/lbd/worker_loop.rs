//! One worker's polling loop: its clock, and what it does when nothing arrives.

use control::config::{Config, Idle};
use dataplane::exchange::pace::Phase;
use dataplane::frame::FrameIo;
use dataplane::names::time::Now;
use dataplane::worker::Worker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Empty turns after which a worker that yields gives its core away.
const YIELD_AFTER: u32 = 64;
/// Empty turns after which it sleeps.
const SLEEP_AFTER: u32 = 512;
/// How long it sleeps at once: the latency that the first packet after a pause pays at most, and short enough that a
/// NIC's ring does not run full meanwhile (512 frames at 10 million packets a second).
const SLEEP: Duration = Duration::from_micros(50);
/// Likewise while it rests.
const REST: Duration = Duration::from_millis(1);

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idling {
    /// Polls on.
    Spin,
    /// Gives its core away.
    Yield,
}

impl Idling {
    /// `auto` spins on a core of its own, and yields where others need the core: the control thread's,
    /// and any core of a machine with no more than two.
    pub(crate) fn choose(config: &Config) -> Self {
        let shared = config.eal.workers.contains(&config.eal.main_lcore);
        let small = thread::available_parallelism().is_ok_and(|cores| cores.get() <= 2) || core_count() <= 2;
        match config.eal.idle {
            Idle::Spin => Self::Spin,
            Idle::Yield => Self::Yield,
            Idle::Auto if shared || small => Self::Yield,
            Idle::Auto => Self::Spin,
        }
    }
}

/// Cores of the machine: `available_parallelism` counts those of this thread, which is pinned.
fn core_count() -> usize {
    core_affinity::get_core_ids().map_or(1, |cores| cores.len())
}

/// Stops the control thread too when a worker ends, also by a panic: `lbd` without its worker would
/// take commands and forward nothing.
#[derive(Debug)]
pub(crate) struct StopAll(pub(crate) Arc<AtomicBool>);

impl Drop for StopAll {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Turns the worker until it is stopped.
pub(crate) fn run<Io: FrameIo>(mut worker: Worker<Io>, idling: Idling, _at_end: StopAll) {
    let mut clock = Clock::start();
    let mut empty = 0u32;
    while !worker.is_stopped() {
        if worker.step(clock.at(dpdk::tsc())) > 0 {
            empty = 0;
            continue;
        }
        if let Some(pause) = pause_of(worker.pace().asked()) {
            thread::sleep(pause);
            continue;
        }
        if worker.is_inheriting() {
            empty = 0;
            continue; // the sooner all connections are there, the better
        }
        empty = empty.saturating_add(1);
        if idling == Idling::Yield && empty > YIELD_AFTER {
            if empty > SLEEP_AFTER { thread::sleep(SLEEP) } else { thread::yield_now() }
        }
    }
}

/// How long a worker that does not work sleeps between two looks at whether it is to: another process's worker needs
/// the core.
const fn pause_of(phase: Phase) -> Option<Duration> {
    match phase {
        Phase::Run | Phase::Finish => None,
        Phase::Rest => Some(REST),
        Phase::Discard => Some(SLEEP),
    }
}

/// Turns the time stamp counter into nanoseconds: one reading and one multiplication a turn. The counter may go back,
/// also behind where it was at the start (a virtual machine that moves to another host): then time goes on from where
/// it was.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// What the counter said last.
    last: u64,
    /// By how much it has gone forward since the start.
    cycles: u64,
    /// Nanoseconds in a cycle, as a fraction of 2^32.
    scale: u64,
}

impl Clock {
    fn start() -> Self {
        let hz = u128::from(dpdk::tsc_hz().max(1));
        Self { last: dpdk::tsc(), cycles: 0, scale: ((1_000_000_000u128 << 32) / hz) as u64 }
    }

    /// When the counter says `tsc`.
    fn at(&mut self, tsc: u64) -> Now {
        self.cycles += tsc.saturating_sub(self.last);
        self.last = tsc;
        // From one second on, not zero: an entry's tick 0 is long past then.
        let nanoseconds = (u128::from(self.cycles) * u128::from(self.scale)) >> 32;
        Now { nanoseconds: nanoseconds as u64 + 1_000_000_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn a_panic_of_the_worker_stops_all() {
        let stop = Arc::new(AtomicBool::new(false));
        let at_end = StopAll(Arc::clone(&stop));
        let panicked = catch_unwind(move || {
            let _at_end = at_end;
            panic!("as planned");
        });
        assert!(panicked.is_err() && stop.load(Ordering::Relaxed));
    }

    #[test]
    fn time_goes_on_where_the_counter_goes_back() {
        let mut clock = Clock { last: 5_000_000_000, cycles: 0, scale: 1 << 32 };
        let steps = [5_000_000_000, 7_000_000_000, 6_999_999_999, 8_000_000_000, 3, 1_000_000_003];
        let times = steps.map(|tsc| clock.at(tsc).nanoseconds);
        assert_eq!(times, [1, 3, 3, 4, 4, 5].map(|second| second * 1_000_000_000 + u64::from(second > 3)));
    }
}
