//! What passed in a period, as `lbd --stats-period` prints it.

use crate::text::quantities::{a_second, count};
use crate::text::table::Align::{Left, Right};
use crate::text::table::{Table, part};
use dataplane::counters::{PortCounters, WorkerTotals};
use dataplane::names::drop_reason::DropReason;
use std::time::Duration;

/// All totals at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Since the start.
    pub up: Duration,
    /// By `EthPort`.
    pub ports: Vec<Port>,
    /// By worker.
    pub workers: Vec<Worker>,
    /// In the order of [`DropReason::ALL`].
    pub drops: Vec<u64>,
}

/// An `EthPort` with what its device has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Its name in the configuration.
    pub name: String,
    /// What is not known is left out.
    pub counted: PortCounters,
}

/// A worker with what it has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// The core it is pinned to.
    pub core: usize,
    /// All that is counted.
    pub counted: WorkerTotals,
}

/// What passed from `before` to `now`: rates are a second, `Rx-missed` and drops are the period's. `-` stands for what
/// is not known: frames missed and bits where the driver counts no bytes, cycles where nothing was received, not even
/// from other workers. Drop reasons that did not go up are left out.
pub fn period(before: &Totals, now: &Totals, tsc_hz: f64) -> String {
    let time = now.up.saturating_sub(before.up);
    let up = now.up.as_secs_f64().round() as u64;
    let mut text = format!("---- up {up} s, the last {:.2} s ----", time.as_secs_f64());
    text.push('\n');
    part(&mut text, "Ports", &ports(before, now, time));
    part(&mut text, "Workers", &workers(before, now, time, tsc_hz));
    part(&mut text, "Drops", &drops(before, now, time));
    text.push('\n');
    text
}

/// One of the numbers of a port.
type Count = fn(&PortCounters) -> Option<u64>;

fn ports(before: &Totals, now: &Totals, time: Duration) -> Table<6> {
    let rows = before.ports.iter().zip(&now.ports).map(|(before, now)| {
        let total = |port: &Port, counter: Count| counter(&port.counted).unwrap_or(0);
        let passed = |counter: Count| total(now, counter).saturating_sub(total(before, counter));
        let packets = [passed(|port| port.rx_packets), passed(|port| port.tx_packets)];
        let bytes = [passed(|port| port.rx_bytes), passed(|port| port.tx_bytes)];
        let bits = |side: usize| match bytes[side] {
            0 if packets[side] > 0 => "-".to_owned(),
            bytes => a_second(8 * bytes, time),
        };
        [
            now.name.clone(),
            a_second(packets[0], time),
            a_second(packets[1], time),
            bits(0),
            bits(1),
            now.counted.rx_missed.map_or_else(|| "-".to_owned(), |_| count(passed(|port| port.rx_missed))),
        ]
    });
    let head = [
        ("name", Left),
        ("Rx-pps", Right),
        ("Tx-pps", Right),
        ("Rx-bps", Right),
        ("Tx-bps", Right),
        ("Rx-missed", Right),
    ];
    Table { head, rows: rows.collect() }
}

fn workers(before: &Totals, now: &Totals, time: Duration, tsc_hz: f64) -> Table<7> {
    let rows = before.workers.iter().zip(&now.workers).enumerate().map(|(id, (before, now))| {
        let passed =
            |total: fn(&WorkerTotals) -> u64| total(&now.counted).saturating_sub(total(&before.counted));
        let (packets, busy) = (passed(|worker| worker.rx_packets), passed(|worker| worker.busy_nanoseconds));
        let share = busy as f64 / passed(|worker| worker.total_nanoseconds).max(1) as f64;
        let cycles = match packets + passed(|worker| worker.taken_over) {
            0 => "-".to_owned(),
            packets => format!("{:.0}", busy as f64 / packets as f64 * tsc_hz / 1e9),
        };
        [
            id.to_string(),
            now.core.to_string(),
            a_second(packets, time),
            cycles,
            format!("{:.1}%", 100.0 * share.min(1.0)),
            count(now.counted.connections),
            a_second(passed(|worker| worker.connections_created), time),
        ]
    });
    let head = [
        ("id", Right),
        ("core", Right),
        ("Rx-pps", Right),
        ("cycles/packet", Right),
        ("busy", Right),
        ("connections", Right),
        ("new/s", Right),
    ];
    Table { head, rows: rows.collect() }
}

fn drops(before: &Totals, now: &Totals, time: Duration) -> Table<3> {
    let counts = before.drops.iter().zip(&now.drops).map(|(before, now)| now.saturating_sub(*before));
    let rows = DropReason::ALL.iter().zip(counts).filter(|(_, packets)| *packets > 0);
    let rows =
        rows.map(|(reason, packets)| [reason.name().to_owned(), count(packets), a_second(packets, time)]);
    Table { head: [("reason", Left), ("packets", Right), ("pps", Right)], rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(up: f64) -> Totals {
        let port = |name: &str, rx_missed| Port {
            name: name.to_owned(),
            counted: PortCounters {
                rx_packets: Some(0),
                tx_packets: Some(0),
                rx_bytes: Some(0),
                tx_bytes: Some(0),
                rx_missed,
                ..PortCounters::default()
            },
        };
        Totals {
            up: Duration::from_secs_f64(up),
            ports: vec![port("vip0", Some(0)), port("dip0", None)],
            workers: vec![Worker { core: 2, ..Worker::default() }],
            drops: vec![0; DropReason::ALL.len()],
        }
    }

    #[test]
    fn rates_are_a_second_and_of_the_period_alone() {
        let mut before = totals(10.0);
        before.ports[0].counted = PortCounters {
            rx_packets: Some(1_000_000),
            tx_packets: Some(500),
            rx_bytes: Some(60_000_000),
            tx_bytes: Some(30_000),
            rx_missed: Some(7),
            ..PortCounters::default()
        };
        before.workers[0].counted = WorkerTotals {
            rx_packets: 1_000_000,
            busy_nanoseconds: 5_000_000_000,
            total_nanoseconds: 10_000_000_000,
            connections: 900,
            connections_created: 40_000,
            ..WorkerTotals::default()
        };
        before.drops[DropReason::NoService as usize] = 99;
        let mut now = before.clone();
        now.up = Duration::from_secs(12);
        now.ports[0].counted = PortCounters {
            rx_packets: Some(25_000_000),
            tx_packets: Some(503),
            rx_bytes: Some(60_000_000 + 24_000_000 * 60),
            tx_bytes: Some(30_000),
            rx_missed: Some(12),
            ..PortCounters::default()
        };
        now.workers[0].counted.rx_packets += 24_000_000;
        now.workers[0].counted.busy_nanoseconds += 1_600_000_000;
        now.workers[0].counted.total_nanoseconds += 2_000_000_000;
        now.workers[0].counted.connections = 1000;
        now.workers[0].counted.connections_created += 500;
        now.drops[DropReason::NoReal as usize] += 4;
        let expected = "\
---- up 12 s, the last 2.00 s ----

Ports
  name  Rx-pps  Tx-pps  Rx-bps  Tx-bps  Rx-missed
  vip0  12.0 M       2  5.76 G       -          5
  dip0       0       0       0       0          -

Workers
  id  core  Rx-pps  cycles/packet   busy  connections  new/s
   0     2  12.0 M            173  80.0%         1000    250

Drops
  reason   packets  pps
  no_real        4    2

";
        assert_eq!(period(&before, &now, 2.6e9), expected);
    }

    #[test]
    fn what_others_hand_over_costs_cycles_too() {
        let before = totals(1.0);
        let mut now = totals(2.0);
        now.workers[0].counted.taken_over = 1_000_000;
        now.workers[0].counted.busy_nanoseconds = 100_000_000;
        now.workers[0].counted.total_nanoseconds = 1_000_000_000;
        let text = period(&before, &now, 2.0e9);
        assert!(text.contains("   0     2       0            200  10.0%            0      0\n"), "{text}");
    }

    #[test]
    fn nothing_passed_and_counters_that_went_back_are_no_trouble() {
        let (mut before, now) = (totals(1.0), totals(1.0));
        before.ports[1].counted.rx_packets = Some(9); // the device was reset
        before.drops[0] = 9;
        let text = period(&before, &now, 2.6e9);
        assert!(text.contains("  dip0       0       0       0       0          -\n"), "{text}");
        assert!(text.contains("   0     2       0              -  0.0%            0      0\n"), "{text}");
        assert!(!text.contains("Drops"), "{text}");
    }
}
