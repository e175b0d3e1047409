//! What tests and benches do to a worker, and look at, that its loop has no use for.

use super::Worker;
use crate::frame::FrameIo;
use memory::addresses_of as of;
use std::ops::Range;

impl<Io: FrameIo> Worker<Io> {
    /// Keeps bursts as those of a large table are, however small it is.
    #[must_use]
    pub fn keeping_bursts(mut self) -> Self {
        self.fits_core_cache = 0;
        self
    }

    /// Keeps bursts, and prefetches as for a table whose page tables miss the cache.
    #[must_use]
    pub fn keeping_bursts_as_if_vast(mut self) -> Self {
        self.level.huge = 0;
        self.keeping_bursts()
    }

    /// Runs the code for processors without AVX2.
    #[must_use]
    pub fn as_on_an_older_processor(mut self) -> Self {
        self.level.v3 = None;
        self
    }

    /// Where its frames come from, to be filled and emptied.
    pub const fn io(&mut self) -> &mut Io {
        &mut self.egress.io.io
    }

    /// Connections of both families.
    pub const fn connections(&self) -> usize {
        self.flows.tables.len()
    }

    /// Frames that the worker holds between two turns: those that wait for a next hop, for other
    /// fragments of their datagram, or for a device.
    pub fn frames_held(&self) -> usize {
        self.bursts.kept() + self.held.len() + self.egress.len()
    }

    /// Ranges of addresses that this worker writes in steady state: with packets of connections that are
    /// there, with new ones, and with what is handed over. Not what it writes only when it carries out an order
    /// or waits for a next hop, and not the slots of its rings, which are aligned as what lies in them.
    pub fn footprint(&self) -> Vec<Range<usize>> {
        let Self { counters, flows, egress, bursts, .. } = self;
        let positions = flows.positions.footprint();
        let mut ranges = vec![of(self), positions];
        ranges.extend([of(&*bursts.v4.decoded), of(&*bursts.v4.spare), flows.tables.v4.footprint()]);
        ranges.extend([of(&*bursts.v6.decoded), of(&*bursts.v6.spare), flows.tables.v6.footprint()]);
        ranges.extend(counters.footprint());
        ranges.push(egress.io.peers.footprint());
        ranges
    }
}
