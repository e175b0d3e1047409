//! Whether what comes to a port has whole checksums.

use crate::publish::workers::Workers;
use dataplane::counters::{Counter, WorkerCounters};
use dataplane::names::ids::MAX_ETH_PORTS;

/// The TCP and UDP packets of a port whose checksums were looked at in the last seconds that had any: what is wrong
/// now, not what was right for years.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checksums {
    /// Totals at the end of those seconds.
    until: Examined,
    within: Examined,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Examined {
    pub(super) all: u64,
    /// Those with only a partial checksum.
    pub(super) partial: u64,
}

impl Examined {
    /// One right checksum in 65,536 looks like a partial one, so a single packet says nothing. One sender of many may
    /// be at fault.
    pub(super) const fn is_trouble(self) -> bool {
        let Self { all, partial } = self;
        partial >= 2 && partial > all / 2 || partial >= 3 && partial > all / 100
    }
}

impl Checksums {
    /// With fewer packets than these a second is not over: a client that is not answered sends one now and then.
    const FEWEST: u64 = 4;

    /// With the totals of this moment.
    pub(super) fn at(&self, total: Examined) -> Examined {
        match total.all - self.until.all {
            0 => self.within,
            all => Examined { all, partial: total.partial - self.until.partial },
        }
    }

    pub(super) fn sample(&mut self, total: Examined) {
        if total.all - self.until.all >= Self::FEWEST {
            *self = Self { within: self.at(total), until: total };
        }
    }
}

pub(super) fn total_examined(workers: &Workers, port: usize) -> Examined {
    // In this order: a partial one that is counted meanwhile is among all.
    let partial = sum(workers, port, |counters| &counters.partial_checksums);
    Examined { all: sum(workers, port, |counters| &counters.checksums_examined), partial }
}

/// A port's counter, over all workers.
pub(super) fn sum(
    workers: &Workers,
    port: usize,
    counter: fn(&WorkerCounters) -> &[Counter; MAX_ETH_PORTS],
) -> u64 {
    workers.counters().map(|counters| counter(counters)[port].get()).sum()
}
