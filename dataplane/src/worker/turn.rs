//! One turn of the polling loop.

use super::Worker;
use super::bursts::{Bursts, Pair};
use super::extremes::Extremes;
use super::fast::Fast;
use super::fast::dispatch::Level;
use super::flows::Flows;
use super::held::Held;
use super::io::egress::Egress;
use super::io::limit::Limits;
use super::reach::Reach;
use super::slow::Slow;
use crate::counters::WorkerCounters;
use crate::frame::{FrameIo, Stage};
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::names::ids::{EthPortId, InterfaceId};
use crate::names::time::{Now, Onward};
use crate::snapshot::Snapshot;

/// What frames meet in a turn: the parts of a worker, the configuration that it runs on, and the time.
///
/// The configuration is lent: taking part in its ownership would cost a locked instruction.
pub(super) struct Turn<'a, Io: FrameIo> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Now,
    pub(super) flows: &'a mut Flows,
    pub(super) reach: &'a mut Reach,
    pub(super) egress: &'a mut Egress<Io>,
    pub(super) held: &'a mut Held<Io::Frame>,
    pub(super) limits: &'a mut Limits,
    pub(super) counters: &'a WorkerCounters,
    /// See [`FITS_CORE_CACHE`](super::FITS_CORE_CACHE).
    pub(super) fits_core_cache: usize,
    pub(super) level: Level,
}

/// What a worker knows of the turns before.
#[derive(Default)]
pub(super) struct Before {
    /// When the last turn began, and whether it had frames.
    pub(super) last: Option<(u64, bool)>,
    pub(super) clock: Onward,
    extremes: Extremes,
}

impl<Io: FrameIo> Worker<Io> {
    /// One turn. Returns the number of frames received, from devices and from other workers.
    ///
    /// A burst is decoded before the burst before it is resolved, and its buckets prefetched while it is: so the
    /// queue of prefetches does not run dry under load. With a table no larger than a core's own cache it is resolved
    /// at once.
    ///
    /// Should `now` be before that of the turn before, time stands still for this turn, and goes on from there.
    pub fn turn(&mut self, now: Now) -> usize {
        let now = self.before.clock.at(now);
        self.beat(now);
        self.account(now);
        if !self.orders.is_empty() || self.flows.tables.are_to_resize() {
            // No packet is in a stage while the configuration changes, or entries move.
            let (mut turn, Bursts { v4, v6 }) = self.lend(now);
            turn.resolve_kept(&mut v4.decoded, v6);
            self.carry_out_orders(now);
            self.flows.tables.resize(&self.counters);
        }
        let at_once = self.flows.tables.v4.buckets() <= self.fits_core_cache;
        let (mut turn, bursts) = self.lend(now);
        let received = turn.receive(bursts, at_once);
        turn.egress.flush(now);
        turn.give_up_expired();
        turn.flows.sweep(turn.snapshot, now, received == 0);
        turn.flows.settle_limited();
        turn.flows.count_shares(turn.snapshot);
        if turn.flows.has_more {
            turn.tend_more(received == 0);
            self.give_back();
        }
        self.counters.connections.set(self.flows.tables.len() as u64);
        self.before.extremes.at_end_of_turn(&self.counters);
        self.egress.io.ended(Stage::Turn);
        self.before.last = Some((now.nanoseconds, received > 0));
        received
    }

    /// The parts of the worker for a turn, and its bursts.
    #[inline(always)]
    pub(super) fn lend(&mut self, now: Now) -> (Turn<'_, Io>, &mut Bursts<Io::Frame>) {
        let Self { snapshot, flows, reach, egress, held, limits, counters, level, bursts, .. } = self;
        let (snapshot, fits_core_cache, level) = (&**snapshot, self.fits_core_cache, *level);
        (Turn { snapshot, now, flows, reach, egress, held, limits, counters, fits_core_cache, level }, bursts)
    }

    /// Notes the time for a later process, before anything that is of this time.
    #[inline(always)]
    pub(super) fn beat(&self, now: Now) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat(now.nanoseconds);
        }
    }

    /// A turn lasts until the next one begins: one reading of the clock serves both.
    fn account(&mut self, now: Now) {
        let counters = &self.counters;
        counters.turns.add(1);
        let Some((began, busy)) = self.before.last else { return };
        let took = now.nanoseconds.saturating_sub(began);
        counters.total_nanoseconds.add(took);
        if busy {
            counters.busy_turns.add(1);
            counters.busy_nanoseconds.add(took);
        }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Handles what the devices have received, and then what other workers have handed over. Returns how many frames
    /// that was.
    #[inline(always)]
    fn receive(&mut self, bursts: &mut Bursts<Io::Frame>, at_once: bool) -> usize {
        let Bursts { v4: Pair { decoded, spare }, v6 } = bursts;
        let alone = self.egress.io.peers.is_alone();
        let (mut received, mut count, mut taken) = (0, 0, 0);
        let mut has_staged = false;
        for port in (0..self.snapshot.eth_ports.len() as u8).map(EthPortId) {
            spare.arrival = port.interface();
            self.egress.io.receive(port, &mut spare.frames);
            if spare.frames.is_empty() {
                continue;
            }
            received += spare.frames.len();
            count += 1;
            if self.flows.tables.serve_both() {
                let more = self.receive_ipv6(spare, v6);
                received += more.frames;
                count += more.bursts;
            }
            if !alone && !self.snapshot.eth_ports[port.index()].steering.is_by_device(IpVersion::Four) {
                self.egress.steer(spare, self.snapshot);
            }
            if spare.frames.is_empty() {
                continue;
            }
            self.decode_burst(spare);
            self.egress.io.ended(Stage::Decode);
            if at_once {
                // None is kept, but for one that was there before the table became so small.
                self.resolve_burst(decoded);
                self.resolve_burst(spare);
            } else {
                self.resolve_and_prefetch(decoded, spare);
                std::mem::swap(decoded, spare);
                has_staged = true;
            }
        }
        if !alone {
            taken = self.take_over(decoded, spare, v6);
        }
        // A full burst comes from a busy device, which has more. Anything less is finished at once, and so is one
        // that nothing followed: what comes may all be other workers'.
        if !has_staged || !decoded.is_of_full() {
            self.resolve_burst(decoded);
        }
        if self.flows.tables.serve_both() {
            self.finish_ipv6(v6);
        }
        self.counters.rx_packets.add(received as u64);
        self.counters.bursts.add(count);
        received + taken
    }

    /// Looks after what there is besides the connections of this process.
    #[inline(never)]
    fn tend_more(&mut self, idle: bool) {
        self.tend_inheritance(idle);
        self.flows.forget_some(idle);
        self.tend_persistence(idle);
        self.tend_one_packet(idle);
    }

    /// Drops what has waited too long for a next hop, or for other fragments of its datagram.
    fn give_up_expired(&mut self) {
        while let Some(frame) = self.held.waiting.pop_expired(self.now) {
            self.egress.dispose(frame, Err(DropReason::NextHopUnresolved));
        }
        self.held.expire_fragments(self.now);
    }

    /// What a plain packet needs.
    #[inline(always)]
    pub(super) fn fast(&mut self) -> Fast<'_, Io::Frame> {
        let Self { snapshot, now, flows, reach, egress, .. } = self;
        Fast { snapshot, now: *now, flows, reach, peers: &egress.io.peers }
    }

    /// What judges any other frame, that arrived on this interface.
    #[inline(always)]
    pub(super) fn slow(&mut self, arrival: InterfaceId) -> Slow<'_, Io::Frame> {
        let Self { snapshot, now, flows, reach, egress, held, limits, counters, .. } = self;
        let (now, peers) = (*now, &egress.io.peers);
        Slow { snapshot, arrival, now, flows, reach, held, limits, peers, counters, scheduled: None }
    }
}
