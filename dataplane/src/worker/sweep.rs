//! The sweep takes dead connections out of the table: a slice of it in each turn, paced by time.

use super::flows::Flows;
use crate::connection::family::Family;
use crate::connection::table::Table;
use crate::counters::WorkerCounters;
use crate::names::time::Now;
use crate::snapshot::Snapshot;

/// Buckets that the sweep examines in a turn that has packets, at most.
pub const SWEEP_BUSY: usize = 64;
/// Buckets that the sweep examines in a turn without packets, at most.
pub const SWEEP_IDLE: usize = 1024;
/// Target time for one full pass, in nanoseconds: a second, for tables up to [`SWEEP_BUCKETS_A_SECOND`].
const SWEEP_PASS_NANOSECONDS: u64 = 1_000_000_000;
/// Buckets of the largest table that is swept in one [pass time](SWEEP_PASS_NANOSECONDS): 1.7 million connections.
const SWEEP_BUCKETS_A_SECOND: usize = 1 << 20;
/// Larger tables take proportionally longer, but never more than this, and not once the table is three quarters full:
/// then it needs the room sooner.
const SWEEP_SLOWEST_SECONDS: usize = 4;
const _: () = assert!(SWEEP_PASS_NANOSECONDS * SWEEP_SLOWEST_SECONDS as u64 <= u64::MAX >> 32);

/// How far the sweep has got, by family: up to which moment, in nanoseconds, all is done that was due.
#[derive(Debug, Default)]
pub(super) struct SweptUntil {
    v4: u64,
    v6: u64,
}

impl Flows {
    /// Sweeps as much as is due by now, within a bound that is higher in an idle turn and holds for each table.
    pub(super) fn sweep(&mut self, snapshot: &Snapshot, now: Now, idle: bool) {
        let Self { tables, swept_until, counters, .. } = self;
        sweep(&mut tables.v4, &mut swept_until.v4, counters, snapshot, now, idle);
        if tables.serve_both() {
            sweep(&mut tables.v6, &mut swept_until.v6, counters, snapshot, now, idle);
            counters.connections_ipv6.set(tables.v6.len() as u64);
        }
    }
}

#[inline(always)]
fn sweep<V: Family>(
    table: &mut Table<V>,
    swept_until: &mut u64,
    counters: &WorkerCounters,
    snapshot: &Snapshot,
    now: Now,
    idle: bool,
) {
    let pass = sweep_pass(table);
    let behind = now.nanoseconds.saturating_sub(*swept_until).min(pass);
    let buckets = table.buckets() as u64;
    // It fits: a pass has fewer than 2^32 nanoseconds, and a table fewer than 2^32 buckets.
    let due = (behind * buckets / pass) as usize;
    if due == 0 {
        return;
    }
    let examined = due.min(if idle { SWEEP_IDLE } else { SWEEP_BUSY });
    table.sweep(examined, snapshot.clock(now.tick()), counters);
    // Being late is made up for within a pass, and never more than that.
    let worth = examined as u64 * pass / buckets;
    *swept_until = (now.nanoseconds - behind) + worth;
}

/// How long a full pass is to take, in nanoseconds.
fn sweep_pass<V: Family>(table: &Table<V>) -> u64 {
    let is_filling = table.len() > table.capacity() / 4 * 3;
    let slowest = if is_filling { 1 } else { SWEEP_SLOWEST_SECONDS };
    let seconds = table.buckets().div_ceil(SWEEP_BUCKETS_A_SECOND).clamp(1, slowest);
    SWEEP_PASS_NANOSECONDS * seconds as u64
}
