//! How many connections a real has, by kind of state.

use crate::connection::State;
use crate::counters::{RealCounters, WorkerCounters};
use crate::ids::RealId;

/// Moves a connection of `real` from one state's counts to another's.
#[inline]
pub fn recount_state(counters: &WorkerCounters, real: RealId, from: State, to: State) {
    let of_real = counters.real(real);
    leave(of_real, from);
    enter(of_real, to);
}

/// Counts a new connection.
pub(super) fn count_state(counters: &WorkerCounters, real: RealId, state: State) {
    let of_real = counters.real(real);
    of_real.total.add(1);
    enter(of_real, state);
}

/// Takes a connection off the counts.
pub(super) fn uncount_state(counters: &WorkerCounters, real: RealId, state: State) {
    let of_real = counters.real(real);
    leave(of_real, state);
    of_real.total.subtract(1);
}

fn enter(of_real: &RealCounters, state: State) {
    of_real.active.add(u64::from(state.is_active()));
    of_real.closing.add(u64::from(state.is_closing()));
}

fn leave(of_real: &RealCounters, state: State) {
    of_real.active.subtract(u64::from(state.is_active()));
    of_real.closing.subtract(u64::from(state.is_closing()));
}
