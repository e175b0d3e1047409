//! Carrying out the control thread's orders, between two bursts.

use super::Worker;
use super::slow::waiting::Waited;
use super::turn::Turn;
use crate::exchange::orders::{Batch, Inheritance, Order, Return, Slice};
use crate::frame::FrameIo;
use crate::names::ids::{EthPortId, InterfaceId, MAX_ETH_PORTS, NeighbourKey, NextHopId};
use crate::names::time::Now;
use crate::snapshot::Snapshot;
use std::sync::Arc;

/// Orders of the control thread carried out in a turn, at most.
const ORDERS_IN_A_TURN: usize = 32;

impl<Io: FrameIo> Worker<Io> {
    pub(super) fn carry_out_orders(&mut self, now: Now) {
        for _ in 0..ORDERS_IN_A_TURN {
            let Ok(order) = self.orders.pop() else { return };
            match order {
                Order::Adopt(snapshot) => self.adopt(snapshot, now),
                Order::Send { interface, length, bytes } => {
                    let length = usize::from(length).min(bytes.len());
                    self.send(interface, &bytes[..length]);
                }
                Order::Reachable(key, id) => self.lend(now).0.reachable(key, id),
                Order::Unreachable(key) => self.lend(now).0.unreachable(key),
                Order::SendThrough { port, worker } => self.send_through(port, worker),
                Order::Export(slice) => self.export(slice, now),
                Order::Import(batch) => self.import(batch, now),
                Order::Inherit(inheritance) => self.inherit(inheritance, now),
                Order::Forget => self.flows.forget_all(),
            }
        }
    }

    /// Changes over to another configuration. No packet is in a stage now.
    fn adopt(&mut self, snapshot: Arc<Snapshot>, now: Now) {
        snapshot.prefetch();
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        self.reach.adopt(&self.snapshot);
        self.flows.adopt(&old, &self.snapshot, self.egress.io.peers.own(), now);
        self.flows.begin_inheriting(&self.snapshot, self.egress.io.peers.workers(), now);
        // The ring holds more snapshots than the control thread lets be on their way, so that it is
        // the control thread that frees them.
        let _ = self.returns.push(Return::Retired(old));
        self.counters.snapshot_version.publish(self.snapshot.version);
    }

    fn send(&mut self, out: InterfaceId, bytes: &[u8]) {
        if out.index() < self.snapshot.interfaces.len() {
            self.egress.send(out, bytes);
        }
    }

    fn send_through(&mut self, port: EthPortId, worker: usize) {
        let peers = &mut self.egress.io.peers;
        if port.index() < MAX_ETH_PORTS && worker < peers.workers() && worker != peers.own() {
            peers.send_through(port, worker);
        }
    }

    fn export(&mut self, mut slice: Box<Slice>, now: Now) {
        self.flows.export(&mut slice, &self.snapshot, now);
        // The control thread has one slice under way at a time; should the ring be full all the
        // same, the slice is lost and its dump ends early, by its time limit.
        let _ = self.returns.push(Return::Exported(slice));
    }

    fn import(&mut self, mut batch: Box<Batch>, now: Now) {
        let peers = &self.egress.io.peers;
        let is_own = |client| peers.is_alone() || peers.owner_of(client) == peers.own();
        for copied in batch.rows.drain(..).take(Batch::ROWS) {
            let result = self.flows.import(&copied, is_own, &self.snapshot, now.tick());
            batch.imported.count(result);
        }
        // As with slices.
        let _ = self.returns.push(Return::Imported(batch));
    }

    fn inherit(&mut self, inheritance: Box<Inheritance>, now: Now) {
        let workers = self.egress.io.peers.workers();
        if let Some(inheritance) = self.flows.inherit(inheritance, &self.snapshot, workers, now) {
            // Another one is under way. As with slices.
            let _ = self.returns.push(Return::Inherited(inheritance));
        }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// What waited for this neighbour walks the slow path again.
    fn reachable(&mut self, key: NeighbourKey, id: NextHopId) {
        self.reach.reachable(key, id, self.snapshot);
        // As many as wait now: what has to be kept again is not met again here.
        for _ in 0..self.held.waiting.count(key) {
            let Some(Waited { arrived_on, scheduled, frame }) = self.held.waiting.take(key) else { return };
            self.walk_slow_to(frame, arrived_on, scheduled);
        }
    }

    /// What waited for this neighbour is dropped, and its senders hear why.
    fn unreachable(&mut self, key: NeighbourKey) {
        self.reach.unreachable(key, self.snapshot);
        for _ in 0..self.held.waiting.count(key) {
            let Some(Waited { arrived_on, mut frame, .. }) = self.held.waiting.take(key) else { return };
            let judged = self.slow(arrived_on).host_unreachable(&mut frame);
            self.egress.dispose(frame, judged);
        }
    }
}
