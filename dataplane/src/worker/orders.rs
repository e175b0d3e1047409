//! Carrying out the control thread's orders, between two bursts.

use super::{Handler, ORDERS_IN_A_TURN, Worker};
use crate::exchange::orders::{Order, Return, Slice};
use crate::frame::{Frame, FrameIo};
use crate::names::ids::{InterfaceId, MAX_ETH_PORTS, NeighbourKey, NextHopId, ServiceId};
use crate::names::time::Now;
use crate::names::verdict::{DropReason, Verdict};
use crate::schedule::Position;
use crate::snapshot::Snapshot;
use crate::wire::link;
use std::sync::Arc;

/// Buckets of the table looked at for one slice of a dump.
const EXPORT_BUCKETS: usize = 1024;

impl<Io: FrameIo> Worker<Io> {
    pub(super) fn carry_out_orders(&mut self, now: Now) {
        for _ in 0..ORDERS_IN_A_TURN {
            let Ok(order) = self.orders.pop() else { return };
            let handler = &mut self.handler;
            match order {
                Order::Adopt(snapshot) => self.adopt(snapshot),
                Order::Send { interface, length, bytes } => {
                    let length = usize::from(length).min(bytes.len());
                    handler.send(interface, &bytes[..length], &self.snapshot);
                }
                Order::Reachable(key, id) => handler.reachable(key, id, &self.snapshot, now),
                Order::Unreachable(key) => handler.unreachable(key, &self.snapshot, now),
                Order::SendThrough { port, worker } => {
                    let is_there = port.index() < MAX_ETH_PORTS && worker < handler.io.peers.workers();
                    if is_there && worker != handler.io.peers.own() {
                        handler.io.peers.send_through(port, worker);
                    }
                }
                Order::Export(slice) => handler.export(slice, &self.snapshot, now),
            }
        }
    }

    /// Changes over to another configuration. No packet is in a stage now.
    fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        snapshot.prefetch();
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        let (handler, services) = (&mut self.handler, &self.snapshot.services);
        handler.gateways.forget(&self.snapshot);
        handler.positions.resize_with(services.len(), Position::default);
        handler.shares.adopt(&self.snapshot);
        for ServiceId(index) in self.snapshot.edited_since(&old) {
            let index = index as usize;
            let Some(service) = &services[index] else { continue };
            let before = old.services.get(index).and_then(Option::as_ref).map(|old| &old.schedule);
            if before.is_none_or(|before| !Arc::ptr_eq(before, &service.schedule)) {
                let position = &mut handler.positions[index];
                if position.adopt(before.map(Arc::as_ref), &service.schedule) {
                    position.skip(handler.io.peers.own(), &service.schedule);
                }
            }
        }
        // The ring holds more snapshots than the control thread lets be on their way, so that it is
        // the control thread that frees them.
        let _ = handler.returns.push(Return::Retired(old));
        handler.counters.snapshot_version.publish(self.snapshot.version);
    }
}

impl<Io: FrameIo> Handler<Io> {
    fn send(&mut self, port: InterfaceId, bytes: &[u8], snapshot: &Snapshot) {
        if port.index() >= snapshot.interfaces.len() {
            return;
        }
        let Some(mut frame) = self.io.allocate(port.eth_port()) else {
            self.counters.dropped(DropReason::NoBuffer).add(1);
            return;
        };
        if frame.set_length(bytes.len()) {
            frame.bytes_mut().copy_from_slice(bytes);
            link::pad(&mut frame);
            self.conclude(Verdict::Forward(port), frame);
        }
    }

    /// What waited for this neighbour walks the exception path again.
    fn reachable(&mut self, key: NeighbourKey, id: NextHopId, snapshot: &Snapshot, now: Now) {
        self.neighbours.insert(key, id);
        self.gateways.forget(snapshot);
        // As many as wait now: what has to be kept again is not met again here.
        for _ in 0..self.waiting.count(key) {
            let Some((port, frame)) = self.waiting.take(key) else { return };
            self.exception(port, frame, snapshot, now);
        }
    }

    /// What waited for this neighbour is dropped, and its senders are told.
    fn unreachable(&mut self, key: NeighbourKey, snapshot: &Snapshot, now: Now) {
        self.neighbours.remove(&key);
        self.gateways.forget(snapshot);
        for _ in 0..self.waiting.count(key) {
            let Some((port, frame)) = self.waiting.take(key) else { return };
            self.host_unreachable(port, frame, snapshot, now);
        }
    }

    fn export(&mut self, mut slice: Box<Slice>, snapshot: &Snapshot, now: Now) {
        slice.rows.clear();
        let position = slice.position.unwrap_or(0);
        let clock = snapshot.clock(now.tick());
        slice.position = self.table.export(position, EXPORT_BUCKETS, clock, &mut slice.rows);
        // The control thread has one slice under way at a time; should the ring be full all the
        // same, the slice is lost and its dump ends early, by its time limit.
        let _ = self.returns.push(Return::Exported(slice));
    }
}
