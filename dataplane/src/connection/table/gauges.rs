//! How many connections a real has, by kind of state.

use crate::connection::State;
use crate::counters::{Counter, WorkerCounters};
use crate::ids::RealId;

/// Moves a connection of `real` from one state's counts to another's.
#[inline]
pub fn recount_state(counters: &WorkerCounters, real: RealId, from: State, to: State) {
    uncount_state(counters, real, from);
    count_state(counters, real, to);
}

fn gauges(counters: &WorkerCounters, real: RealId, state: State, change: impl Fn(&Counter)) {
    let of_real = counters.real(real);
    change(if state.is_active() { &of_real.active } else { &of_real.inactive });
    if state.is_closing() {
        change(&of_real.closing);
    }
}

pub(super) fn count_state(counters: &WorkerCounters, real: RealId, state: State) {
    gauges(counters, real, state, |gauge| gauge.add(1));
}

pub(super) fn uncount_state(counters: &WorkerCounters, real: RealId, state: State) {
    gauges(counters, real, state, |gauge| gauge.subtract(1));
}
