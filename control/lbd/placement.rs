//! Which worker has which queue of a port, on which NUMA node what is, and how many buffers are under way between
//! workers.

use dataplane::exchange::peers::{FRAMES, PARCELS};
use std::path::Path;

/// A port's queues, where it may have fewer than there are workers. Worker `w` has queue `w` if there is one for
/// each. Otherwise those that there are go to different workers on different ports, so that not one
/// receives everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueuePlan {
    workers: usize,
    /// Queues to receive.
    pub(crate) rx: usize,
    /// Queues to transmit.
    pub(crate) tx: usize,
    /// The worker of queue 0.
    first: usize,
}

impl QueuePlan {
    /// For the port with this index, and what its device can have.
    pub(crate) fn new(port: usize, workers: usize, most_rx: usize, most_tx: usize) -> Self {
        let (rx, tx) = (most_rx.clamp(1, workers), most_tx.clamp(1, workers));
        let first = if rx < workers { port % workers } else { 0 };
        Self { workers, rx, tx, first }
    }

    /// The number of a worker's queues; `None` if it has none.
    pub(crate) fn queue_of(&self, worker: usize) -> Option<usize> {
        let queue = (worker + self.workers - self.first) % self.workers;
        (queue < self.rx.max(self.tx)).then_some(queue)
    }

    /// Whether a worker has a queue to transmit.
    pub(crate) fn transmits(&self, worker: usize) -> bool {
        self.queue_of(worker).is_some_and(|queue| queue < self.tx)
    }

    /// The worker that sends for `worker`: itself, if it has a queue for that.
    pub(crate) fn sender_of(&self, worker: usize) -> usize {
        let queue = (worker + self.workers - self.first) % self.workers;
        (queue % self.tx + self.first) % self.workers
    }
}

/// The NUMA node of a core; `None` where the kernel knows of none.
pub(crate) fn numa_node(core: usize) -> Option<u32> {
    let entries = Path::new("/sys/devices/system/cpu").join(format!("cpu{core}")).read_dir().ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("node")?.parse().ok()).next()
}

/// The buffers of one pool that can be under way from its worker to the others at once. They come back by themselves.
pub(crate) fn hand_over_buffers(workers: usize) -> usize {
    (workers - 1) * PARCELS * FRAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_enough_queues_each_worker_has_its_own() {
        for port in 0..3 {
            let plan = QueuePlan::new(port, 4, 64, 16);
            assert_eq!((plan.rx, plan.tx), (4, 4));
            for worker in 0..4 {
                assert_eq!((plan.queue_of(worker), plan.sender_of(worker)), (Some(worker), worker));
            }
        }
    }

    #[test]
    fn single_queues_go_to_different_workers() {
        let plans = [0, 1].map(|port| QueuePlan::new(port, 2, 1, 1));
        assert_eq!(plans.each_ref().map(|plan| plan.queue_of(0)), [Some(0), None]);
        assert_eq!(plans.each_ref().map(|plan| plan.queue_of(1)), [None, Some(0)]);
        assert_eq!(plans.each_ref().map(|plan| plan.sender_of(0)), [0, 1]);
        assert_eq!(plans.each_ref().map(|plan| plan.sender_of(1)), [0, 1]);
    }

    #[test]
    fn whoever_sends_has_a_queue_for_it() {
        for (workers, port, rx, tx) in
            [(1, 3, 1, 1), (4, 1, 2, 3), (5, 2, 5, 1), (8, 7, 3, 3), (3, 0, 1, 3), (16, 9, 4, 16)]
        {
            let plan = QueuePlan::new(port, workers, rx, tx);
            let mut queues: Vec<_> = (0..workers).filter_map(|worker| plan.queue_of(worker)).collect();
            queues.sort_unstable();
            assert_eq!(queues, (0..plan.rx.max(plan.tx)).collect::<Vec<_>>(), "each queue has one worker");
            for worker in 0..workers {
                let sender = plan.sender_of(worker);
                assert!(plan.queue_of(sender).is_some_and(|queue| queue < plan.tx));
                assert_eq!(
                    sender == worker,
                    plan.transmits(worker),
                    "{workers} workers, port {port}, worker {worker}"
                );
            }
        }
    }

    #[test]
    fn a_core_that_is_not_there_is_on_no_node() {
        assert_eq!(numa_node(100_000), None);
    }
}
