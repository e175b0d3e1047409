//! What devices are told of own addresses; whether they put packets into the right workers' queues, and what is
//! done if not.

use super::ControlThread;
use dataplane::snapshot::{Snapshot, Steering};
use std::sync::Arc;

/// Of so many packets that a port received one may be in the wrong worker's queue.
const ONE_OF: u64 = 100;
/// Fewer than so many a second do not matter.
const LEAST: u64 = 100;
/// Seconds in a row after which software takes over.
const SECONDS: u32 = 3;

/// What a port's device has put wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Misdirection {
    misdirected: u64,
    received: u64,
    bad_seconds: u32,
}

impl Misdirection {
    /// Takes the totals, once a second. Whether it has been too much for too long.
    fn sample(&mut self, misdirected: u64, received: u64) -> bool {
        let wrong = misdirected.saturating_sub(self.misdirected);
        let of = received.saturating_sub(self.received);
        let is_bad = wrong >= LEAST && wrong > of / ONE_OF;
        let bad_seconds = if is_bad { self.bad_seconds + 1 } else { 0 };
        *self = Self { misdirected, received, bad_seconds };
        bad_seconds >= SECONDS
    }
}

impl ControlThread {
    /// Has the devices know the own addresses of all of these. Whether one refuses: its port is steered by software
    /// from the next snapshot on.
    pub(super) fn follow_addresses(&mut self, snapshots: &[&Snapshot]) -> bool {
        let own = snapshots.iter().flat_map(|snapshot| snapshot.local_addresses());
        let mut own = own.map(|(address, _)| address);
        let refusing = self.devices.follow_addresses(&mut own);
        for port in &refusing {
            log::warn!("port {}: {}", self.watch.name(*port), self.devices.status(*port).steering);
            Arc::make_mut(&mut self.network).steer_by_software(*port);
        }
        !refusing.is_empty()
    }

    /// Has software steer the ports whose devices do not do it right. For good: connections do not move,
    /// so that nothing is lost by it but the time that the hand-over takes.
    pub(super) fn watch_steering(&mut self) {
        let mut wrong = Vec::new();
        for port in 0..self.network.eth_ports.len() {
            if self.network.eth_ports[port].steering == Steering::Software {
                continue;
            }
            // Without the total nothing can be said of the share: the next second is judged with this one.
            let Some(received) = self.devices.status(port).counted.and_then(|counted| counted.rx_packets)
            else {
                continue;
            };
            let misdirected = self.workers.misdirected(port);
            if self.misdirection[port].sample(misdirected, received) {
                wrong.push((port, misdirected, received));
            }
        }
        // While a worker is late nothing can be published: as long as it is wrong it is seen each second.
        if wrong.is_empty() || self.publications.is_late() {
            return;
        }
        for (port, misdirected, received) in wrong {
            let name = self.watch.name(port);
            log::warn!(
                "port {name}: its device puts packets into the wrong workers' queues ({misdirected} of {received} \
                 so far): software steers from now on"
            );
            Arc::make_mut(&mut self.network).steer_by_software(port);
        }
        self.publications.republish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_share_is_too_much() {
        let mut misdirection = Misdirection::default();
        assert!(!misdirection.sample(200, 10_000));
        assert!(!misdirection.sample(400, 20_000));
        assert!(misdirection.sample(600, 30_000));
    }

    #[test]
    fn a_pause_few_packets_or_a_small_share_are_not() {
        let mut misdirection = Misdirection::default();
        for second in 1..10 {
            assert!(!misdirection.sample(second * 100, second * 10_000), "one of a hundred");
        }
        let mut misdirection = Misdirection::default();
        for second in 1..10 {
            assert!(!misdirection.sample(second * 99, second * 99), "few");
        }
        let mut misdirection = Misdirection::default();
        for second in 1..30 {
            let total = (second - second / 3) * 200;
            assert!(!misdirection.sample(total, total), "never three seconds in a row");
        }
    }
}
