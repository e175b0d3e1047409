//! How much of a full connection table each service has, so that none keeps the others out.
//!
//! Made-up clients leave behind what gives way to anything (see
//! [`insert_beside`](crate::connection::table::Table::insert_beside)), or, by two datagrams each, what does not; real
//! ones make as many connections as they like. So in a full table a service takes from those that have more than twice
//! as many connections as it has itself, established ones too, and those that have not half as many are spared.
//! Services of like size take no established connection from each other, and none takes one from itself: where one
//! service alone fills the table, its new clients are refused.
//!
//! Nothing is counted as long as there is room. When a table is nearly full the reals' own counts are added up, a few
//! in each turn, so what is known is up to some milliseconds old.

use crate::connection::table::Standing;
use crate::counters::WorkerCounters;
use crate::names::ids::{RealId, ServiceId};
use crate::snapshot::Snapshot;
use std::cmp::Ordering;

/// Reals whose connections are added up in a turn: a cache line each. All 65,536 are through in 2,048 turns, some
/// milliseconds.
const REALS_IN_A_TURN: u32 = 32;
/// Connections of removed reals and services serve nobody any more.
const REMOVED: Standing = Standing { beside_new: Ordering::Greater, share: u32::MAX };

/// Connections of each service, as far as they are known. No memory is taken but when there are more services than
/// ever.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// By [`ServiceId`].
    known: Vec<u32>,
    /// What is being added up, of the reals below [`next`](Self::next).
    sums: Vec<u32>,
    next: u32,
}

impl Shares {
    /// Services or reals are others than before. What is known of those that stay still holds, and adding up goes on,
    /// so that it comes to an end however often the configuration changes.
    pub(super) fn adopt(&mut self, snapshot: &Snapshot) {
        self.known.resize(snapshot.services.len(), 0);
        self.sums.resize(snapshot.services.len(), 0);
    }

    /// Adds up some more.
    #[cold]
    #[inline(never)]
    pub(super) fn count_some(&mut self, snapshot: &Snapshot, counters: &WorkerCounters) {
        let end = (self.next + REALS_IN_A_TURN).min(snapshot.real_ids());
        for real in (self.next..end).map(RealId) {
            if let Some(ServiceId(service)) = snapshot.service_of(real) {
                let sum = &mut self.sums[service as usize];
                *sum = sum.saturating_add(counters.real(real).total.get() as u32);
            }
        }
        self.next = end;
        if end == snapshot.real_ids() {
            std::mem::swap(&mut self.known, &mut self.sums);
            self.sums.fill(0);
            self.next = 0;
        }
    }

    /// How the services of other reals stand, compared with the service of a new connection's real.
    pub(super) fn beside<'a>(
        &'a self,
        new: RealId,
        snapshot: &'a Snapshot,
    ) -> impl Fn(RealId) -> Standing + use<'a> {
        let share = |service: ServiceId| self.known.get(service.0 as usize).copied().unwrap_or(0);
        let own = snapshot.service_of(new).map_or(0, share);
        move |real| {
            let Some(service) = snapshot.service_of(real) else { return REMOVED };
            let share = share(service);
            let beside_new = if share / 2 > own {
                Ordering::Greater
            } else if own / 2 > share {
                Ordering::Less
            } else {
                Ordering::Equal
            };
            Standing { beside_new, share }
        }
    }
}
