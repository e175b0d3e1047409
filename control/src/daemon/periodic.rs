//! Statistics at a fixed interval, as testpmd's `--stats-period`: from the counters that anyone may read.
//!
//! Who writes is a thread of its own: a terminal that is stopped, or a pipe that nobody empties, must not
//! hold up the control thread. What comes meanwhile is left out.

use super::ControlThread;
use crate::observe::period::{PortTotals, Totals, WorkerTotals, period as text};
use dataplane::names::verdict::DropReason;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A report that is under way.
#[derive(Debug)]
pub(super) struct Periodic {
    period: Duration,
    /// When the last one was due.
    due: Instant,
    before: Totals,
    blocks: SyncSender<String>,
}

impl ControlThread {
    /// From now on writes to `out` what passed in each `period`, until it cannot be written to. A block
    /// that `out` does not take in time is left out.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn report_every(&mut self, period: Duration, mut out: impl Write + Send + 'static) -> io::Result<()> {
        let (blocks, written) = sync_channel::<String>(1);
        thread::Builder::new().name("statistics".into()).spawn(move || {
            for block in written {
                if out.write_all(block.as_bytes()).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        })?;
        let now = Instant::now();
        self.periodic = Some(Periodic { period, due: now, before: self.totals(now), blocks });
        Ok(())
    }

    /// When the next report is due.
    pub(super) fn report_due(&self) -> Option<Instant> {
        self.periodic.as_ref().map(|report| report.due + report.period)
    }

    /// Once a turn.
    pub(super) fn report(&mut self, now: Instant) {
        let due = self.periodic.as_ref().is_some_and(|report| now - report.due >= report.period);
        if !due {
            return;
        }
        let totals = self.totals(now);
        let Some(report) = &mut self.periodic else { return };
        let block = text(&report.before, &totals, self.devices.tsc_hz());
        report.before = totals;
        // Without drift, but nothing is made up for after a long turn.
        report.due += report.period;
        if now - report.due >= report.period {
            report.due = now;
        }
        if let Err(TrySendError::Disconnected(_)) = report.blocks.try_send(block) {
            log::warn!("statistics are no longer printed: the terminal or pipe is gone");
            self.periodic = None;
        }
    }

    fn totals(&self, now: Instant) -> Totals {
        let ports = self.compiler.links().eth_ports.len();
        let ports = (0..ports).map(|port| {
            let device = self.devices.status(port).counted.unwrap_or_default();
            PortTotals {
                name: self.watch.name(port).to_owned(),
                rx_packets: device.rx_packets,
                tx_packets: device.tx_packets,
                rx_bytes: device.rx_bytes,
                tx_bytes: device.tx_bytes,
                rx_missed: device.rx_missed,
            }
        });
        let workers = self.watch.infos().iter().zip(self.workers.counters());
        let workers = workers.map(|(info, counters)| WorkerTotals {
            core: info.core,
            rx_packets: counters.rx_packets.get(),
            taken_over: counters.taken_over.get(),
            busy_nanoseconds: counters.busy_nanoseconds.get(),
            total_nanoseconds: counters.total_nanoseconds.get(),
            connections: counters.connections.get(),
            created: counters.connections_created.get(),
        });
        Totals {
            up: self.moment(now),
            ports: ports.collect(),
            workers: workers.collect(),
            drops: DropReason::ALL.iter().map(|reason| self.dropped(*reason)).collect(),
        }
    }
}
