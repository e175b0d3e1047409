//! The memory that a worker writes as it forwards: for the test that no cache line is written by two.

use super::Worker;
use crate::frame::FrameIo;
use memory::addresses_of as of;
use std::ops::Range;

impl<Io: FrameIo> Worker<Io> {
    /// Ranges of addresses that this worker writes in steady state: with packets of connections that are
    /// there, with new ones, and with what is handed over. Not what it writes only when it carries out an order
    /// or waits for a next hop, and not the slots of its rings, which are aligned as what lies in them.
    pub fn footprint(&self) -> Vec<Range<usize>> {
        let Self { counters, flows, egress, bursts, .. } = self;
        let (decoded, spare) = (&*bursts.decoded, &*bursts.spare);
        let positions = of(&flows.positions[..]);
        let mut ranges = vec![of(self), of(decoded), of(spare), positions, flows.table.footprint()];
        ranges.extend(counters.footprint());
        ranges.push(egress.io.peers.footprint());
        ranges
    }
}
