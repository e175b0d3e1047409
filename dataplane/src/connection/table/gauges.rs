//! How many connections a real has, by kind of state.

use super::Entry;
use crate::connection::State;
use crate::connection::family::Family;
use crate::counters::{RealCounters, StateGauges};

/// What a connection adds to its real's gauges, by the four bits of its state.
const GAUGES: [u64; State::ROWS] = {
    let mut gauges = [StateGauges::NONE; State::ROWS];
    let mut index = 0;
    while index < State::COUNT {
        let state = State::ALL[index];
        if state.is_active() {
            gauges[state as usize] += StateGauges::ACTIVE;
        }
        if state.is_closing() {
            gauges[state as usize] += StateGauges::CLOSING;
        }
        index += 1;
    }
    gauges
};

/// Moves a connection from one state's counts to another's.
#[inline(always)]
pub fn recount_state(of_real: &RealCounters, from: State, to: State) {
    // One store: no reader sees a gauge without a connection that stays in it.
    let change = GAUGES[to as usize].wrapping_sub(GAUGES[from as usize]);
    of_real.states.add(change);
}

/// Counts a new connection.
#[inline(always)]
pub(super) fn count_state(of_real: &RealCounters, state: State) {
    of_real.total.add(1);
    of_real.states.add(GAUGES[state as usize]);
}

/// Takes a connection off the counts.
#[inline(always)]
pub(super) fn uncount<F: Family>(of_real: &RealCounters, entry: Entry<F>) {
    of_real.states.subtract(GAUGES[entry.key as usize % State::ROWS]);
    of_real.total.subtract(1);
}
