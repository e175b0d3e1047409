//! How many connections a real has, by kind of state.

use crate::connection::State;
use crate::counters::{RealCounters, WorkerCounters};
use crate::ids::RealId;

/// Moves a connection of `real` from one state's counts to another's.
#[inline]
pub fn recount_state(counters: &WorkerCounters, real: RealId, from: State, to: State) {
    let of_real = counters.real(real);
    // One store each: no reader sees a gauge without a connection that stays in it.
    of_real.active.add(u64::from(to.is_active()).wrapping_sub(u64::from(from.is_active())));
    of_real.closing.add(u64::from(to.is_closing()).wrapping_sub(u64::from(from.is_closing())));
}

/// Counts a new connection.
#[inline(always)]
pub(super) fn count_state(of_real: &RealCounters, state: State) {
    of_real.total.add(1);
    of_real.active.add(u64::from(state.is_active()));
    of_real.closing.add(u64::from(state.is_closing()));
}

/// Takes a connection off the counts.
#[inline(always)]
pub(super) fn uncount_state(of_real: &RealCounters, state: State) {
    of_real.active.subtract(u64::from(state.is_active()));
    of_real.closing.subtract(u64::from(state.is_closing()));
    of_real.total.subtract(1);
}
