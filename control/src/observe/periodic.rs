//! Statistics at a fixed interval, as testpmd's `--stats-period`: from the counters that anyone may read.
//!
//! A thread of its own writes, so that a terminal that is stopped, or a pipe that nobody empties, does not hold up the
//! control thread. Reports that are due while it is held up are left out.

use super::period::{Port, Totals, Worker, period as text};
use super::watch::Watch;
use crate::devices::Devices;
use crate::neighbours::Moment;
use crate::publish::workers::Workers;
use dataplane::names::drop_reason::DropReason;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A report that is under way.
#[derive(Debug)]
pub struct Periodic {
    period: Duration,
    /// When the last one was due.
    due: Instant,
    before: Totals,
    blocks: SyncSender<String>,
}

impl Periodic {
    /// From now on writes to `out` what passed in each `period`, until it cannot be written to. A block
    /// that `out` does not take in time is left out.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(period: Duration, out: impl Write + Send + 'static, before: Totals) -> io::Result<Self> {
        let (blocks, written) = sync_channel::<String>(1);
        thread::Builder::new().name("statistics".into()).spawn(move || write(written, out))?;
        Ok(Self { period, due: Instant::now(), before, blocks })
    }

    /// When the next report is due.
    pub fn due(&self) -> Instant {
        self.due + self.period
    }

    /// Reports, with the totals of now. Whether anybody still reads.
    pub fn report(&mut self, totals: Totals, tsc_hz: f64, now: Instant) -> bool {
        let block = text(&self.before, &totals, tsc_hz);
        self.before = totals;
        // Without drift, but nothing is made up for after a long turn.
        self.due += self.period;
        if now - self.due >= self.period {
            self.due = now;
        }
        !matches!(self.blocks.try_send(block), Err(TrySendError::Disconnected(_)))
    }
}

fn write(blocks: Receiver<String>, mut out: impl Write) {
    for block in blocks {
        if out.write_all(block.as_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// All totals, `up` after the start.
pub fn totals(devices: &dyn Devices, watch: &Watch, workers: &Workers, up: Moment) -> Totals {
    let ports = (0..watch.ports()).map(|port| {
        let counted = devices.status(port).counted.unwrap_or_default();
        Port { name: watch.name(port).to_owned(), counted }
    });
    let by_worker = watch.infos().iter().zip(workers.counters());
    let by_worker = by_worker.map(|(info, counters)| Worker { core: info.core, counted: counters.totals() });
    Totals {
        up,
        ports: ports.collect(),
        workers: by_worker.collect(),
        drops: DropReason::ALL.iter().map(|reason| workers.dropped(*reason)).collect(),
    }
}
