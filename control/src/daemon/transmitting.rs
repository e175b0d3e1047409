//! Queues to transmit that take nothing: one that the chip has not, though its driver says so, or one that hangs.

use super::ControlThread;
use dataplane::names::ids::EthPortId;

/// A queue that took nothing for so many seconds while frames waited and the link was up stands still. Another device
/// may make it pause (IEEE 802.3 annex 31B), but by 34 ms at a time and 1 Gbit/s.
const SECONDS: u64 = 3;

/// What a port's queues to transmit do.
#[derive(Clone, Debug, Default)]
pub(super) struct Transmitting {
    /// By worker: who sends instead of it, since its queue was left.
    instead: Vec<Option<usize>>,
    /// Workers whose queue stands still, and nobody can send instead, with the seconds.
    standing: Vec<(usize, u64)>,
}

/// What is to be done for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leave {
    worker: usize,
    instead: usize,
}

impl Transmitting {
    /// Takes for how many seconds each worker's queue took nothing (`None`: nothing waits for it, or it takes
    /// frames), and whether a worker has a queue at all. Returns the queues that are to be left.
    fn sample(&mut self, stands: &[Option<u64>], has_queue: impl Fn(usize) -> bool) -> Vec<Leave> {
        self.instead.resize(stands.len(), None);
        self.standing.clear();
        let mut leave = Vec::new();
        for (worker, seconds) in stands.iter().enumerate() {
            let Some(seconds) = seconds.filter(|seconds| *seconds >= SECONDS) else { continue };
            if self.instead[worker].is_some() {
                continue; // it is being told
            }
            let can = |other: &usize| {
                has_queue(*other) && stands[*other].is_none() && self.instead[*other].is_none()
            };
            match (0..stands.len()).filter(|other| *other != worker).find(can) {
                Some(instead) => {
                    self.instead[worker] = Some(instead);
                    leave.push(Leave { worker, instead });
                }
                None => self.standing.push((worker, seconds)),
            }
        }
        leave
    }

    /// What an operator should know of the port.
    fn notes(&self, name: &str) -> Vec<String> {
        let left =
            self.instead.iter().enumerate().filter_map(|(worker, instead)| Some((worker, (*instead)?)));
        let left = left.map(|(worker, instead)| left_note(name, Leave { worker, instead }));
        left.chain(self.standing.iter().map(|standing| standing_note(name, *standing))).collect()
    }
}

fn left_note(name: &str, Leave { worker, instead }: Leave) -> String {
    format!(
        "port {name}: the queue to transmit of worker {worker} took nothing for {SECONDS} s, though the link is up: worker \
         {instead} sends for it until lbd starts again"
    )
}

fn standing_note(name: &str, (worker, seconds): (usize, u64)) -> String {
    format!(
        "port {name}: the queue to transmit of worker {worker} has taken nothing for {seconds} s, though the link is up, and \
         no other can send for it: what does the other end of the link do? A new start sets the device up again"
    )
}

impl ControlThread {
    /// Once a second: finds queues that stand still, and has other workers send.
    pub(super) fn watch_transmitting(&mut self) {
        for port in 0..self.network.eth_ports.len() {
            let nanoseconds = self.workers.counters().map(|counters| counters.transmit_stands[port].get());
            let stands: Vec<_> = nanoseconds.map(|ns| (ns > 0).then_some(ns / 1_000_000_000)).collect();
            let is_idle = stands.iter().all(Option::is_none);
            if is_idle && self.transmitting[port].standing.is_empty() {
                continue;
            }
            // Without a link nothing is taken, and nothing is wrong but that.
            let stands =
                if self.devices.status(port).link_up { stands } else { vec![None; self.workers.len()] };
            let said: Vec<_> = self.transmitting[port].standing.iter().map(|(worker, _)| *worker).collect();
            let devices = &self.devices;
            let leave = self.transmitting[port].sample(&stands, |worker| devices.transmits(port, worker));
            let name = self.watch.name(port);
            for leave in leave {
                log::warn!("{}", left_note(name, leave));
                self.workers.send_through(leave.worker, EthPortId(port as u8), leave.instead);
            }
            let standing = &self.transmitting[port].standing;
            for new in standing.iter().filter(|(worker, _)| !said.contains(worker)) {
                log::warn!("{}", standing_note(name, *new));
            }
            for worker in said.iter().filter(|worker| standing.iter().all(|(now, _)| now != *worker)) {
                log::info!("port {name}: the queue to transmit of worker {worker} stands still no more");
            }
        }
    }

    /// What an operator should know of the queues of all ports.
    pub(super) fn notes_of_transmitting(&self) -> Vec<String> {
        let ports = self.transmitting.iter().enumerate();
        ports.flat_map(|(port, transmitting)| transmitting.notes(self.watch.name(port))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: Option<u64> = None;

    fn left(transmitting: &mut Transmitting, stands: &[Option<u64>]) -> Vec<(usize, usize)> {
        transmitting.sample(stands, |_| true).iter().map(|leave| (leave.worker, leave.instead)).collect()
    }

    #[test]
    fn a_queue_that_stands_still_is_left_to_one_that_does_not() {
        let mut transmitting = Transmitting::default();
        assert_eq!(left(&mut transmitting, &[MOVES, Some(2)]), []);
        assert_eq!(left(&mut transmitting, &[MOVES, Some(3)]), [(1, 0)]);
        assert_eq!(left(&mut transmitting, &[MOVES, Some(4)]), [], "told once");
        assert_eq!(left(&mut transmitting, &[MOVES, MOVES]), []);
        assert_eq!(transmitting.notes("dip0").len(), 1, "it stays left");
        // The other one's time comes: nobody goes back to a queue that was left.
        assert_eq!(left(&mut transmitting, &[Some(9), MOVES]), []);
        assert_eq!(transmitting.standing, [(0, 9)]);
        assert_eq!(transmitting.notes("dip0").len(), 2);
    }

    #[test]
    fn where_all_stand_still_none_is_left() {
        let mut transmitting = Transmitting::default();
        assert_eq!(left(&mut transmitting, &[Some(5), Some(0)]), [], "the other may stand still as well");
        assert_eq!(transmitting.standing, [(0, 5)]);
        assert_eq!(left(&mut transmitting, &[Some(6), Some(3)]), []);
        assert_eq!(transmitting.standing, [(0, 6), (1, 3)]);
        assert_eq!(left(&mut transmitting, &[MOVES, MOVES]), []);
        assert_eq!(transmitting.notes("dip0"), [""; 0]);
        assert_eq!(left(&mut transmitting, &[Some(8)]), []);
        assert_eq!(transmitting.standing, [(0, 8)], "the only worker");
    }

    #[test]
    fn only_a_worker_with_a_queue_sends_for_others() {
        let mut transmitting = Transmitting::default();
        let leave = transmitting.sample(&[Some(3), MOVES, MOVES], |worker| worker != 1);
        assert_eq!(leave, [Leave { worker: 0, instead: 2 }]);
        let mut transmitting = Transmitting::default();
        assert_eq!(transmitting.sample(&[Some(3), MOVES], |worker| worker != 1), []);
        // From one to the next, and never round.
        let mut transmitting = Transmitting::default();
        assert_eq!(left(&mut transmitting, &[Some(3), MOVES, MOVES]), [(0, 1)]);
        assert_eq!(left(&mut transmitting, &[MOVES, Some(3), MOVES]), [(1, 2)]);
        assert_eq!(left(&mut transmitting, &[MOVES, MOVES, Some(3)]), []);
    }
}
