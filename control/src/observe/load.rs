//! How busy a worker is, and what its packets cost, over the last seconds.

use dataplane::counters::WorkerCounters;
use std::collections::VecDeque;

/// Samples, one a second, that the load is taken over.
const SAMPLES: usize = 4;

/// A worker's load over the last seconds.
#[derive(Debug)]
pub(super) struct Load {
    /// Never empty; the first is from before the first packet.
    samples: VecDeque<Sample>,
    /// The last that could be computed: an idle worker has none.
    per_packet: PerPacket,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    busy: u64,
    total: u64,
    packets: u64,
    bursts: u64,
}

/// What packets cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerPacket {
    pub(super) busy_nanoseconds: f64,
    pub(super) packets_per_burst: f64,
}

impl Default for Load {
    fn default() -> Self {
        Self { samples: VecDeque::from([Sample::default()]), per_packet: PerPacket::default() }
    }
}

impl Sample {
    pub(super) fn of(counters: &WorkerCounters) -> Self {
        Self {
            busy: counters.busy_nanoseconds.get(),
            total: counters.total_nanoseconds.get(),
            packets: counters.rx_packets.get() + counters.taken_over.get(),
            bursts: counters.bursts.get(),
        }
    }
}

impl Load {
    /// Once a second.
    pub(super) fn add(&mut self, now: Sample) {
        self.per_packet = self.per_packet(now);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(now);
    }

    /// From the oldest sample until now: what came within the last second counts, too.
    fn passed(&self, now: Sample) -> Sample {
        let first = self.samples.front().copied().unwrap_or_default();
        let passed = |value: fn(&Sample) -> u64| value(&now).saturating_sub(value(&first));
        Sample {
            busy: passed(|sample| sample.busy),
            total: passed(|sample| sample.total),
            packets: passed(|sample| sample.packets),
            bursts: passed(|sample| sample.bursts),
        }
    }

    pub(super) fn per_packet(&self, now: Sample) -> PerPacket {
        match self.passed(now) {
            Sample { packets: 0, .. } => self.per_packet,
            Sample { busy, packets, bursts, .. } => PerPacket {
                busy_nanoseconds: busy as f64 / packets as f64,
                packets_per_burst: packets as f64 / bursts.max(1) as f64,
            },
        }
    }

    pub(super) fn busy_share(&self, now: Sample) -> f64 {
        match self.passed(now) {
            Sample { total: 0, .. } => 0.0,
            Sample { busy, total, .. } => (busy as f64 / total as f64).min(1.0),
        }
    }
}
