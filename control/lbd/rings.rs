//! How large a port's rings, a core's cache of a pool and what a worker holds may be, so that a pool never runs dry.
//!
//! Buffers of one pool lie in the ring that it fills, in the rings to transmit of every port and worker (a driver
//! gives a frame that was sent back when its slot is needed again, however late), in the caches of all cores, with
//! packets that wait, and in bursts under way. If these can take all of them, nothing is received any more; and what
//! is not received pushes nothing out of a ring to transmit. So it would stay for good.

use dataplane::frame::BURST;
use dataplane::worker::MOST_HELD;
use dpdk::{RingLimits, RingUse};

/// Slots of a ring that a burst fits into, and that drivers give back from in time (they do so by 32).
const LEAST_SLOTS: u16 = 64;
/// The smallest cache that is worth its while, if any is wanted.
const LEAST_CACHE: usize = 32;
/// The fewest frames that a worker may hold while they wait (for a next hop, or for other fragments).
const LEAST_HELD: usize = 48;
/// One buffer in this many stays spare: no ring or queue is planned to hold it.
const SPARE_SHARE: usize = 32;
/// The fewest buffers that stay spare.
const LEAST_SPARE: usize = 2 * BURST;

/// What of a port counts.
#[derive(Clone, Debug)]
pub(crate) struct PortShape {
    pub(crate) uses: RingUse,
    pub(crate) rx: RingLimits,
    pub(crate) tx: RingLimits,
    /// Queues to transmit.
    pub(crate) tx_queues: usize,
}

/// `[buffers]` and the workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) count: usize,
    pub(crate) cache: usize,
    pub(crate) workers: usize,
    /// That each worker has in its hands at once.
    pub(crate) bursts: usize,
}

/// What fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// By port: slots to receive and to transmit.
    pub(crate) rings: Vec<(u16, u16)>,
    pub(crate) cache: usize,
    /// Frames that each worker holds at most.
    pub(crate) held: usize,
    /// Bursts that each worker has in its hands at once.
    pub(crate) bursts: usize,
    /// The `count` with which nothing had to be smaller than it would be; no more than the present one if nothing is.
    pub(crate) enough: usize,
}

/// A pool of the port with this index would run dry whatever is made smaller; the least `count` that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFew {
    pub(crate) port: usize,
    pub(crate) least: usize,
}

/// What takes buffers, and can be made smaller.
#[derive(Clone, Copy, Debug)]
enum Part {
    Rx(usize),
    Tx(usize),
    Cache,
    Held,
}

/// Reckons with the sizes that the drivers prefer, and halves what takes most until every pool has room to spare.
pub(crate) fn fit(ports: &[PortShape], wanted: Wanted) -> Result<Sizes, TooFew> {
    let preferred = |port: &PortShape| (port.rx.fit(port.rx.preferred), port.tx.fit(port.tx.preferred));
    let mut sizes = Sizes {
        rings: ports.iter().map(preferred).collect(),
        cache: wanted.cache,
        held: MOST_HELD,
        bursts: wanted.bursts,
        enough: 0,
    };
    let most = (0..ports.len()).map(|port| sizes.taken(ports, port, wanted.workers)).max().unwrap_or(0);
    sizes.enough = with_spare(most);
    let usable = wanted.count - spare(wanted.count).min(wanted.count);
    loop {
        let short = (0..ports.len()).find(|port| sizes.taken(ports, *port, wanted.workers) > usable);
        let Some(port) = short else { return Ok(sizes) };
        if !sizes.halve_largest(ports, port, wanted.workers) {
            for other in 0..ports.len() {
                while sizes.halve_largest(ports, other, wanted.workers) {}
            }
            let least = (0..ports.len()).map(|port| sizes.taken(ports, port, wanted.workers)).max();
            return Err(TooFew { port, least: with_spare(least.unwrap_or(0)) });
        }
    }
}

/// What is left over of `count` buffers.
fn spare(count: usize) -> usize {
    (count / SPARE_SHARE).max(LEAST_SPARE)
}

/// The fewest buffers that leave so much over when `taken` are taken.
fn with_spare(taken: usize) -> usize {
    (taken + LEAST_SPARE).max((taken * SPARE_SHARE).div_ceil(SPARE_SHARE - 1))
}

impl Sizes {
    /// The most buffers of one pool of a port that can be out at once.
    pub(crate) fn taken(&self, ports: &[PortShape], port: usize, workers: usize) -> usize {
        let sent: usize = (0..ports.len()).map(|other| self.part(ports, Part::Tx(other), workers)).sum();
        let fixed = ports[port].uses.rx_fixed as usize
            + ports.iter().map(|other| other.tx_queues * other.uses.tx_fixed as usize).sum::<usize>();
        // Each worker has one burst more for each port, of what the device did not take.
        let in_hand = workers * (self.bursts + ports.len()) * BURST;
        let parts = [Part::Rx(port), Part::Cache, Part::Held].map(|part| self.part(ports, part, workers));
        sent + fixed + in_hand + parts.iter().sum::<usize>()
    }

    /// The buffers that a part takes.
    fn part(&self, ports: &[PortShape], part: Part, workers: usize) -> usize {
        match part {
            Part::Rx(port) => usize::from(self.rings[port].0) * ports[port].uses.rx_for_each as usize,
            Part::Tx(port) => {
                let each = ports[port].tx_queues * ports[port].uses.tx_for_each as usize;
                usize::from(self.rings[port].1) * each
            }
            // Those of the other workers, and of the control thread's core, which fills the rings. A cache is filled
            // by half beyond its size.
            Part::Cache => workers * (self.cache * 3 / 2),
            Part::Held => workers * self.held,
        }
    }

    /// Halves what takes most of a port's pool and can be smaller; false: nothing can.
    fn halve_largest(&mut self, ports: &[PortShape], port: usize, workers: usize) -> bool {
        let parts = [Part::Rx(port), Part::Cache, Part::Held];
        let parts = parts.into_iter().chain((0..ports.len()).map(Part::Tx));
        let smaller = |part: Part| Some((part, self.half(ports, part)?));
        let possible = parts.filter_map(smaller).filter(|(part, _)| self.part(ports, *part, workers) > 0);
        let Some((part, half)) = possible.max_by_key(|(part, _)| self.part(ports, *part, workers)) else {
            return false;
        };
        match part {
            Part::Rx(port) => self.rings[port].0 = half as u16,
            Part::Tx(port) => self.rings[port].1 = half as u16,
            Part::Cache => self.cache = half,
            Part::Held => self.held = half,
        }
        true
    }

    /// The next smaller size of a part; `None`: it is as small as it can be.
    fn half(&self, ports: &[PortShape], part: Part) -> Option<usize> {
        let ring = |slots: u16, limits: &RingLimits| {
            let half = 1u16 << slots.checked_sub(1)?.checked_ilog2()?;
            let half = limits.fit(half.max(LEAST_SLOTS));
            (half < slots).then_some(usize::from(half))
        };
        match part {
            Part::Rx(port) => ring(self.rings[port].0, &ports[port].rx),
            Part::Tx(port) => ring(self.rings[port].1, &ports[port].tx),
            Part::Cache => (self.cache > LEAST_CACHE).then(|| (self.cache / 2).max(LEAST_CACHE)),
            Part::Held => (self.held > LEAST_HELD).then(|| (self.held / 2).max(LEAST_HELD)),
        }
    }
}

#[cfg(test)]
mod tests;
