//! How many connections a real has, by kind of state.

use super::Entry;
use super::entry::state_index;
use crate::connection::State;
use crate::connection::family::Family;
use crate::counters::{Records, StateGauges, WorkerCounters, note_count};
use crate::names::ids::{REAL_IDS, RealId};

/// What a connection adds to its real's gauges, by its state.
const GAUGES: [u64; State::COUNT] = {
    let mut gauges = [StateGauges::NONE; State::COUNT];
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
pub(crate) fn recount_state(records: &Records, real: RealId, from: State, to: State) {
    // One store: no reader sees a gauge without a connection that stays in it.
    let change = GAUGES[to as usize].wrapping_sub(GAUGES[from as usize]);
    let of_real = &records[real.0 as usize & (REAL_IDS - 1)];
    of_real.states.add(change);
    note_count(records, of_real, real);
}

/// Counts a new connection.
#[inline(always)]
pub(super) fn count_new(counters: &WorkerCounters, real: RealId, state: State) {
    let of_real = counters.real(real);
    of_real.connections.add(1);
    of_real.total.add(1);
    of_real.states.add(GAUGES[state as usize]);
    counters.note_begun(of_real, real);
}

/// Counts a connection of an earlier process, which is not a new one.
#[inline(always)]
pub(super) fn count_inherited(counters: &WorkerCounters, real: RealId, state: State) {
    let of_real = counters.real(real);
    of_real.total.add(1);
    of_real.states.add(GAUGES[state as usize]);
    counters.connections_inherited.add(1);
    counters.note_begun(of_real, real);
}

/// Takes a connection off the counts.
#[inline(always)]
pub(super) fn uncount<F: Family>(counters: &WorkerCounters, entry: Entry<F>) {
    uncount_at::<F, true>(counters.reals(), counters, entry);
}

/// As [`uncount`], for a caller with many, which has looked up the reals' counters once, and knows whether there may be
/// SCTP among them.
#[inline(always)]
pub(super) fn uncount_at<F: Family, const SCTP: bool>(
    records: &Records,
    counters: &WorkerCounters,
    entry: Entry<F>,
) {
    let of_real = &records[entry.real_index()];
    of_real.states.subtract(GAUGES[state_index::<SCTP>(entry.key)]);
    of_real.total.subtract(1);
    counters.note_ended(of_real, entry.real());
}
