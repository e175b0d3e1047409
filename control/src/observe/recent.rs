//! What passed in each of the last seconds, for pictures of the last minutes that are there at the first look.
//!
//! A bounded ring: the oldest second goes when a new one comes. What cannot be known of a second is left out of it, as
//! where a device's counters began anew, or where its driver does not count.

use super::period::{Port, Totals, Worker};
use crate::neighbours::Moment;
use dataplane::counters::{PortCounters, WorkerTotals};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds that are kept: ten minutes.
pub const SECONDS: usize = 600;

/// Names of the rates, in the order of a second's `rates`.
const RATES: [&str; 7] = ["rx_packets", "tx_packets", "rx_bits", "tx_bits", "rx_missed", "conns", "drops"];

/// What passed in each of the last [`SECONDS`].
#[derive(Debug, Default)]
pub struct Recent {
    /// At the end of the last second; `None`: nothing has been seen yet.
    before: Option<Totals>,
    seconds: VecDeque<Second>,
    /// The number of the next one; the first of all has 0.
    next: u64,
}

/// What passed in a second, or as long as it took to look again.
#[derive(Clone, Debug, PartialEq)]
struct Second {
    /// When it ended, after the start.
    end: Moment,
    span: Duration,
    /// A second; `None`: not known.
    rates: [Option<u64>; RATES.len()],
    /// In the tables, at its end.
    connections: u64,
    /// By worker, in thousandths: no more memory than it takes.
    busy: Vec<u16>,
}

/// As programs read it: an array for each quantity, with an element for each second.
#[derive(Debug, PartialEq, Serialize)]
pub struct View {
    /// Whether all workers run on what is configured.
    ready: bool,
    /// When the daemon began, in milliseconds since 1970: another number is another daemon's.
    began_ms: u64,
    /// The number of the first second shown.
    first: u64,
    /// The number of the second that comes next.
    next: u64,
    /// When each ended, in milliseconds since 1970.
    at_ms: Vec<u64>,
    /// How long each was, in milliseconds.
    span_ms: Vec<u64>,
    /// By name.
    #[serde(flatten)]
    rates: BTreeMap<&'static str, Vec<Option<u64>>>,
    connections: Vec<u64>,
    /// By worker: the share of time in turns that had packets, 0 to 1.
    busy_share: Vec<Vec<f64>>,
}

impl Recent {
    /// Once a second.
    pub fn add(&mut self, now: Totals) {
        if let Some(before) = self.before.take() {
            if self.seconds.len() == SECONDS {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Second::between(&before, &now));
            self.next += 1;
        }
        self.before = Some(now);
    }

    /// The seconds from the one of this number on, of a daemon that began then. Of a number that is still to come, as
    /// of an earlier daemon: all.
    pub fn view(&self, from: u64, began: SystemTime, ready: bool) -> View {
        let oldest = self.next - self.seconds.len() as u64;
        let first = if from > self.next { oldest } else { from.max(oldest) };
        let began_ms = milliseconds(began.duration_since(UNIX_EPOCH).unwrap_or_default());
        let shown = || self.seconds.range((first - oldest) as usize..);
        let rate = |rate: usize| shown().map(|second| second.rates[rate]).collect();
        let workers = shown().map(|second| second.busy.len()).max().unwrap_or(0);
        let share = |second: &Second, worker: usize| {
            second.busy.get(worker).map_or(0.0, |busy| f64::from(*busy) / 1e3)
        };
        View {
            ready,
            began_ms,
            first,
            next: self.next,
            at_ms: shown().map(|second| began_ms + milliseconds(second.end)).collect(),
            span_ms: shown().map(|second| milliseconds(second.span)).collect(),
            rates: RATES.into_iter().enumerate().map(|(index, name)| (name, rate(index))).collect(),
            connections: shown().map(|second| second.connections).collect(),
            busy_share: (0..workers)
                .map(|worker| shown().map(|second| share(second, worker)).collect())
                .collect(),
        }
    }
}

impl Second {
    fn between(before: &Totals, now: &Totals) -> Self {
        let span = now.up.saturating_sub(before.up);
        let seconds = span.as_secs_f64().max(f64::MIN_POSITIVE);
        let ports = || before.ports.iter().zip(&now.ports);
        let of_ports =
            |passed: fn(&Port, &Port) -> Option<u64>| ports().map(|(before, now)| passed(before, now)).sum();
        let workers = || before.workers.iter().zip(&now.workers);
        let of_workers = |total: fn(&WorkerTotals) -> u64| {
            workers().map(|(before, now)| total(&now.counted).checked_sub(total(&before.counted))).sum()
        };
        let drops = before.drops.iter().zip(&now.drops).map(|(before, now)| now.checked_sub(*before)).sum();
        let passed: [Option<u64>; RATES.len()] = [
            of_ports(|before, now| passed(before, now, |port| port.rx_packets)),
            of_ports(|before, now| passed(before, now, |port| port.tx_packets)),
            of_ports(|before, now| bits(before, now, |port| port.rx_packets, |port| port.rx_bytes)),
            of_ports(|before, now| bits(before, now, |port| port.tx_packets, |port| port.tx_bytes)),
            of_ports(|before, now| passed(before, now, |port| port.rx_missed)),
            of_workers(|worker| worker.connections_created),
            drops,
        ];
        Self {
            end: now.up,
            span,
            rates: passed.map(|passed| passed.map(|passed| (passed as f64 / seconds).round() as u64)),
            connections: now.workers.iter().map(|worker| worker.counted.connections).sum(),
            busy: workers().map(|(before, now)| busy(before, now)).collect(),
        }
    }
}

type Count = fn(&PortCounters) -> Option<u64>;

/// What a port's device counted; `None`: it does not say, or began anew.
fn passed(before: &Port, now: &Port, count: Count) -> Option<u64> {
    count(&now.counted)?.checked_sub(count(&before.counted)?)
}

/// Likewise, in bits: drivers that count no bytes leave them at 0.
fn bits(before: &Port, now: &Port, packets: Count, bytes: Count) -> Option<u64> {
    let bytes = passed(before, now, bytes)?;
    let is_counted = bytes > 0 || passed(before, now, packets) == Some(0);
    is_counted.then_some(8 * bytes)
}

fn busy(before: &Worker, now: &Worker) -> u16 {
    let passed = |total: fn(&WorkerTotals) -> u64| total(&now.counted).saturating_sub(total(&before.counted));
    let (busy, all) = (passed(|worker| worker.busy_nanoseconds), passed(|worker| worker.total_nanoseconds));
    (1e3 * busy as f64 / all.max(1) as f64).round().min(1e3) as u16
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A port that has received so many frames of 100 bytes, and a worker that has been busy for half of the time.
    fn totals(up: f64, rx_packets: u64, drops: u64) -> Totals {
        let counted = PortCounters {
            rx_packets: Some(rx_packets),
            tx_packets: Some(0),
            rx_bytes: Some(100 * rx_packets),
            tx_bytes: Some(0),
            ..PortCounters::default()
        };
        let worker = WorkerTotals {
            busy_nanoseconds: (up * 5e8) as u64,
            total_nanoseconds: (up * 1e9) as u64,
            connections: rx_packets / 10,
            connections_created: rx_packets / 2,
            ..WorkerTotals::default()
        };
        Totals {
            up: Duration::from_secs_f64(up),
            ports: vec![Port { name: "vip0".into(), counted }],
            workers: vec![Worker { core: 0, counted: worker }],
            drops: vec![drops, 2 * drops],
        }
    }

    fn view(recent: &Recent, from: u64) -> Value {
        let began = UNIX_EPOCH + Duration::from_secs(1000);
        serde_json::to_value(recent.view(from, began, true)).unwrap()
    }

    #[test]
    fn a_second_has_its_rates_and_what_is_not_known_is_null() {
        let mut recent = Recent::default();
        recent.add(totals(1.0, 100, 0));
        assert_eq!(view(&recent, 0)["at_ms"], json!([]), "one look says nothing of what passed");
        recent.add(totals(3.0, 300, 4));
        let expected = json!({
            "ready": true, "began_ms": 1_000_000, "first": 0, "next": 1, "at_ms": [1_003_000], "span_ms": [2000],
            "rx_packets": [100], "tx_packets": [0], "rx_bits": [80_000], "tx_bits": [0], "rx_missed": [null],
            "conns": [50], "drops": [6], "connections": [30], "busy_share": [[0.5]]
        });
        assert_eq!(view(&recent, 0), expected);
        // A device that was reset, and one whose driver counts no bytes.
        recent.add(totals(4.0, 10, 4));
        let mut silent = totals(5.0, 20, 4);
        silent.ports[0].counted.rx_bytes = Some(1000);
        recent.add(silent);
        let later = view(&recent, 1);
        assert_eq!((&later["first"], &later["rx_packets"]), (&json!(1), &json!([null, 10])));
        assert_eq!(later["rx_bits"], json!([null, null]));
        assert_eq!(later["conns"], json!([null, 5]), "a worker's counters that went back");
        assert_eq!(later["drops"], json!([0, 0]));
    }

    #[test]
    fn it_is_bounded_and_goes_on_from_where_a_client_was() {
        let mut recent = Recent::default();
        for up in 0..=SECONDS as u64 + 50 {
            recent.add(totals(up as f64, 10 * up, 0));
        }
        let length = |view: &Value| view["at_ms"].as_array().unwrap().len();
        let all = view(&recent, 0);
        assert_eq!((length(&all), &all["first"], &all["next"]), (SECONDS, &json!(50), &json!(650)));
        assert_eq!(length(&view(&recent, 648)), 2);
        assert_eq!(length(&view(&recent, 650)), 0);
        assert_eq!(length(&view(&recent, 651)), SECONDS, "of an earlier daemon");
        assert_eq!(recent.seconds.capacity().next_power_of_two(), 1024, "nothing grows");
    }
}
