//! What connection tables are short of, as notes that come and go: new connections that are refused, connections that
//! give way at a high rate, clients that have as many connections as one may have, or whose replies could not be told
//! apart.

use super::watch::Trouble;
use crate::publish::workers::Workers;
use dataplane::connection::table::MOST_OF_ENDPOINT;
use dataplane::counters::{NotedClient, WorkerCounters};
use dataplane::names::drop_reason::DropReason;
use std::collections::VecDeque;

/// Seconds that a note looks back: as long after its cause has ended it is gone.
const WINDOW: usize = 10;
/// Connections that give way in a second, from which on it is worth a note: few do where a table is full of what is
/// over.
const HIGH_RATE: u64 = 100;

/// What the kinds of these notes begin with.
const PREFIX: &str = "pressure on worker ";

/// Whether a note of this kind is one that comes and goes.
pub(super) fn is_passing(kind: &str) -> bool {
    kind.starts_with(PREFIX)
}

/// Totals of one worker.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    refused: u64,
    evicted: u64,
    endpoint_full: u64,
    collided: u64,
}

impl Totals {
    fn of(counters: &WorkerCounters) -> Self {
        Self {
            refused: counters.dropped(DropReason::TableFull).get(),
            evicted: counters.connections_evicted.get(),
            endpoint_full: counters.dropped(DropReason::ClientEndpointFull).get(),
            collided: counters.dropped(DropReason::ReplyCollision).get(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            refused: self.refused.saturating_sub(before.refused),
            evicted: self.evicted.saturating_sub(before.evicted),
            endpoint_full: self.endpoint_full.saturating_sub(before.endpoint_full),
            collided: self.collided.saturating_sub(before.collided),
        }
    }
}

/// The totals of all workers in the last seconds, one sample a second.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// The oldest first; by worker.
    samples: VecDeque<Vec<Totals>>,
}

impl Pressure {
    /// Once a second.
    pub(super) fn sample(&mut self, workers: &Workers) {
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(workers.counters().map(Totals::of).collect());
    }

    pub(super) fn troubles(&self, workers: &Workers) -> Vec<Trouble> {
        let before = self.samples.front().map_or(&[][..], Vec::as_slice);
        let seconds = self.samples.len().max(1) as u64;
        let counters = workers.counters().enumerate();
        let of_worker = |(id, counters): (usize, &WorkerCounters)| {
            let passed = Totals::of(counters).since(before.get(id).copied().unwrap_or_default());
            let clients = [&counters.full_endpoint, &counters.collided_endpoint].map(client);
            notes(id, passed, seconds, clients)
        };
        counters.flat_map(of_worker).collect()
    }
}

/// A client that has been noted, in words.
fn client(noted: &NotedClient) -> String {
    noted.get().map_or_else(|| "(unknown)".into(), |client| client.to_string())
}

fn notes(worker: usize, passed: Totals, seconds: u64, [full, collided_last]: [String; 2]) -> Vec<Trouble> {
    let Totals { refused, evicted, endpoint_full, collided } = passed;
    let mut notes = Vec::new();
    let mut note = |kind: &str, text: String| {
        notes.push(Trouble { kind: format!("{PREFIX}{worker} {kind}"), text });
    };
    if refused > 0 {
        let text = format!(
            "worker {worker}: the connection table is full: {refused} packets that would have opened a connection were \
             dropped in the last {seconds} s (table_full); [connections] capacity, or shorter timeouts"
        );
        note("full", text);
    }
    if evicted >= HIGH_RATE * seconds {
        let text = format!(
            "worker {worker}: the connection table is full: {} connections a second gave way to new ones in the last \
             {seconds} s; a flood, or [connections] capacity is too small",
            evicted / seconds
        );
        note("evicting", text);
    }
    if endpoint_full > 0 {
        let text = format!(
            "worker {worker}: client {} has {MOST_OF_ENDPOINT} connections, as many as one address and port may have: \
             {endpoint_full} packets to further services were dropped in the last {seconds} s (client_endpoint_full)",
            full
        );
        note("client", text);
    }
    if collided > 0 {
        let text = format!(
            "worker {worker}: client {} has used one address and port for two services, and every real of the second \
             already serves it for the first: {collided} packets were refused in the last {seconds} s (reply_collision); give \
             the services reals, or ports of reals, of their own",
            collided_last
        );
        note("collision", text);
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::exchange::orders::channel;
    use dataplane::live::next_hops::NextHops;
    use std::sync::Arc;

    /// One worker, whose counters are written by hand.
    fn workers() -> (Workers, Arc<WorkerCounters>) {
        let (_, end) = channel(Arc::new(NextHops::new([])), Arc::default());
        let counters = Arc::clone(&end.counters);
        (Workers::new(vec![end]), counters)
    }

    fn kinds(pressure: &Pressure, workers: &Workers) -> Vec<String> {
        pressure.troubles(workers).into_iter().map(|trouble| trouble.kind).collect()
    }

    #[test]
    fn notes_come_with_their_causes_and_go_when_these_have_ended() {
        let (workers, counters) = workers();
        let mut pressure = Pressure::default();
        pressure.sample(&workers);
        assert!(kinds(&pressure, &workers).is_empty());
        counters.dropped(DropReason::TableFull).add(7);
        counters.connections_evicted.add(5_000);
        counters.dropped(DropReason::ClientEndpointFull).add(3);
        counters.full_endpoint.note("192.0.2.6:123".parse().unwrap());
        counters.dropped(DropReason::ReplyCollision).add(2);
        counters.collided_endpoint.note("[2001:db8::7]:124".parse().unwrap());
        let troubles = pressure.troubles(&workers);
        let texts: Vec<_> = troubles.iter().map(|trouble| trouble.text.as_str()).collect();
        assert!(texts[0].contains("7 packets") && texts[0].contains("table_full"), "{texts:?}");
        assert!(texts[1].contains("5000 connections a second"), "{texts:?}");
        assert!(texts[2].contains("client 192.0.2.6:123 has 256 connections"), "{texts:?}");
        assert!(
            texts[3].contains("client [2001:db8::7]:124 has used") && texts[3].contains(": 2 packets"),
            "{texts:?}"
        );
        for _ in 1..WINDOW {
            pressure.sample(&workers);
            assert_eq!(kinds(&pressure, &workers)[..1], ["pressure on worker 0 full"]);
        }
        pressure.sample(&workers);
        assert!(kinds(&pressure, &workers).is_empty());
    }

    #[test]
    fn few_connections_that_give_way_are_no_trouble() {
        let (workers, counters) = workers();
        let mut pressure = Pressure::default();
        for _ in 0..30 {
            pressure.sample(&workers);
            counters.connections_evicted.add(HIGH_RATE - 1);
            assert!(kinds(&pressure, &workers).is_empty());
        }
        for _ in 0..30 {
            pressure.sample(&workers);
            counters.connections_evicted.add(HIGH_RATE);
        }
        assert_eq!(kinds(&pressure, &workers), ["pressure on worker 0 evicting"]);
    }
}
