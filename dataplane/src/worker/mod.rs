//! One worker: a polling loop's turn, from receiving to transmitting.
//!
//! ```text
//! turn ─► orders of the control thread
//!      ─► each port, then what other workers have handed over:
//!         receive ─► (hand over what is others') ─► decode all ─► prefetch, and of the burst before it
//!      │                                                resolve and rewrite each ─┐
//!      │                                                └─ anything else: open,   │
//!      │                                                   or exception ──────────┤
//!      ◄─ a slice of the sweep ◄─ transmit ◄────────────────────────────────────────┘
//! ```
//!
//! Nothing here is shared with another worker, and nothing on the way of a packet allocates, locks,
//! logs or reads a clock.

mod extremes;
mod fast;
mod footprint;
mod io;
mod orders;
mod shares;
mod slow;
pub mod stages;

use crate::connection::table::{HashKey, Table};
use crate::counters::WorkerCounters;
use crate::exchange::orders::{NeighbourEvent, Order, Return, WorkerEnd};
use crate::exchange::peers::{Peers, Purpose};
use crate::fragments::{Gathering, Tracker};
use crate::frame::{FrameIo, Stage};
use crate::live::next_hops::NextHops;
use crate::names::ids::{EthPortId, NeighbourKey, NextHopId};
use crate::names::time::{Now, Onward};
use crate::names::verdict::{DropReason, Verdict};
use crate::schedule::Position;
use crate::snapshot::{Snapshot, Steering};
use crate::wire::link;
use extremes::Extremes;
use fast::staged::Staged;
use hashbrown::HashMap;
use io::limit::Limits;
use io::linked::Linked;
use io::outgoing::Outgoing;
use memory::V3;
use rtrb::{Consumer, Producer};
use shares::Shares;
use slow::own::OwnConnections;
use slow::waiting::{self, Waiting};
use slow::way_back::Gateways;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Buckets that the sweep examines in a turn that has packets, at most.
pub const SWEEP_BUSY: usize = 64;
/// Buckets that the sweep examines in a turn without packets, at most.
pub const SWEEP_IDLE: usize = 1024;
/// How long a full pass of the sweep takes when the turns come often enough: a second …
const SWEEP_PASS_NANOSECONDS: u64 = 1_000_000_000;
/// … for so many buckets (1.7 million connections). A larger table takes as many times longer, up to …
const SWEEP_BUCKETS_A_SECOND: usize = 1 << 20;
/// … so many seconds, unless more than three quarters of it are taken: then it needs the room sooner.
const SWEEP_SLOWEST: usize = 4;
const _: () = assert!(SWEEP_PASS_NANOSECONDS * SWEEP_SLOWEST as u64 <= u64::MAX >> 32);
/// Buckets of 512 KiB: where a table is no larger than a core's own cache, a burst that a port receives is not
/// prefetched for, nor kept until the next one has been decoded, for what it waits for is as near as the frames
/// themselves, which that would push out.
const NEAR: usize = 8192;
/// Buckets of 256 MiB. A host may map them by pages of 4 KiB, whatever they lie in for its guest; then the page
/// tables of more do not fit into a core's own cache.
pub const VAST: usize = 1 << 22;
/// Frames that a worker holds at most, beside those of its bursts: packets that wait until their next hop is
/// resolved, and fragments that wait for the first of their datagram.
pub const MOST_HELD: usize = waiting::CAPACITY + crate::fragments::HELD;
/// Frames of the bursts that are in a worker's hands at once, beside those that wait for a device: one that is
/// received, one that is decoded, and one that is taken over.
pub const BURSTS_IN_HAND: usize = 3;
/// Orders of the control thread carried out in a turn, at most.
const ORDERS_IN_A_TURN: usize = 32;

/// See the module's text. `Io` is where its frames come from. It shares its cache lines with nothing else.
#[repr(align(128))]
pub struct Worker<Io: FrameIo> {
    snapshot: Arc<Snapshot>,
    handler: Handler<Io>,
    stop: Arc<AtomicBool>,
    orders: Consumer<Order>,
    /// The burst that has been decoded and waits to be resolved.
    decoded: Box<Staged<Io::Frame>>,
    /// An empty one, for the next.
    spare: Box<Staged<Io::Frame>>,
    /// A table of so many buckets or fewer is near: see [`NEAR`].
    near: usize,
    last_turn: Option<(u64, bool)>,
    clock: Onward,
    extremes: Extremes,
}

/// All of a worker but the configuration that it runs on, which is lent to it: taking part in its
/// ownership would cost a locked instruction a burst.
struct Handler<Io: FrameIo> {
    io: Linked<Io>,
    counters: Arc<WorkerCounters>,
    next_hops: Arc<NextHops>,
    table: Table,
    /// By service id: where this worker stands in each service's list of reals.
    positions: Vec<Position>,
    shares: Shares,
    /// The neighbours that have an id.
    neighbours: HashMap<NeighbourKey, NextHopId>,
    gateways: Gateways,
    outgoing: Outgoing<Linked<Io>>,
    waiting: Waiting<Io::Frame>,
    fragments: Tracker<Io::Frame>,
    pings: Gathering<Io::Frame>,
    limits: Limits,
    own_connections: OwnConnections,
    returns: Producer<Return>,
    neighbour_events: Producer<NeighbourEvent>,
    swept_until: u64,
    /// A table of more buckets is vast: see [`VAST`].
    vast: usize,
    /// Whether it runs the code for newer processors.
    v3: Option<V3>,
    /// The worker whose frames are taken first.
    first_peer: usize,
}

impl<Io: FrameIo> Worker<Io> {
    /// A worker with an empty configuration and table, that waits for its first snapshot.
    ///
    /// # Errors
    /// If there is no memory for a table of `capacity` connections.
    pub fn new(
        io: Io,
        end: WorkerEnd,
        capacity: usize,
        hash_key: HashKey,
        huge: memory::Huge,
    ) -> Result<Self, memory::Error> {
        let WorkerEnd { orders, returns, neighbour_events, counters, next_hops, stop } = end;
        let handler = Handler {
            io: Linked::new(io, Arc::clone(&counters)),
            counters,
            next_hops,
            table: Table::new(capacity, hash_key, huge)?,
            positions: Vec::new(),
            shares: Shares::default(),
            neighbours: HashMap::with_capacity(NextHops::CAPACITY),
            gateways: Gateways::default(),
            outgoing: Outgoing::new(),
            waiting: Waiting::new(),
            fragments: Tracker::new(hash_key),
            pings: Gathering::new(),
            limits: Limits::new(),
            own_connections: OwnConnections::new(),
            returns,
            neighbour_events,
            swept_until: 0,
            vast: VAST,
            v3: V3::detect(),
            first_peer: 0,
        };
        Ok(Self {
            snapshot: Arc::new(Snapshot::empty()),
            handler,
            stop,
            orders,
            decoded: Box::default(),
            spare: Box::default(),
            near: NEAR,
            last_turn: None,
            clock: Onward::default(),
            extremes: Extremes::default(),
        })
    }

    /// Makes it one of several workers.
    #[must_use]
    pub fn with_peers(mut self, peers: Peers<Io::Frame>) -> Self {
        self.handler.io.peers = peers;
        self
    }

    /// Has it hold fewer frames than [`MOST_HELD`], where few buffers are to be had: a flood to hosts that are not
    /// there must not take them all.
    #[must_use]
    pub fn holding_at_most(mut self, frames: usize) -> Self {
        let waiting = frames * waiting::CAPACITY / MOST_HELD;
        self.handler.waiting.limit(waiting);
        self.handler.fragments.limit(frames - waiting);
        self
    }

    /// Keeps bursts as those of a large table are, however small it is: for tests of that.
    #[must_use]
    pub fn keeping_bursts(mut self) -> Self {
        self.near = 0;
        self
    }

    /// Keeps bursts, and prefetches as with a vast table.
    #[must_use]
    pub fn keeping_bursts_as_if_vast(mut self) -> Self {
        self.handler.vast = 0;
        self.keeping_bursts()
    }

    /// As on an older processor, for tests of that.
    #[must_use]
    pub fn as_on_an_older_processor(mut self) -> Self {
        self.handler.v3 = None;
        self
    }

    /// One turn. Returns the number of frames received, from devices and from other workers.
    ///
    /// A burst is decoded before the burst before it is resolved, and its buckets prefetched while it is: so the
    /// queue of prefetches does not run dry under load. With a table no larger than a core's own cache it is resolved
    /// at once.
    ///
    /// Should `now` be before that of the turn before, time stands still for this turn, and goes on from there.
    pub fn turn(&mut self, now: Now) -> usize {
        let now = self.clock.at(now);
        self.account(now);
        if !self.orders.is_empty() || self.handler.table.is_to_resize() {
            // No packet is in a stage while the configuration changes, or entries move.
            self.handler.resolve_burst(&mut self.decoded, &self.snapshot, now);
            self.carry_out_orders(now);
            self.handler.table.resize(&self.handler.counters);
        }
        let Self { handler, snapshot, decoded, spare, near, .. } = self;
        let alone = handler.io.peers.is_alone();
        let (mut received, mut bursts, mut taken) = (0, 0, 0);
        let mut has_staged = false;
        for port in 0..snapshot.eth_ports.len() as u8 {
            let port = EthPortId(port);
            spare.port = port.interface();
            handler.io.receive(port, &mut spare.frames);
            if spare.frames.is_empty() {
                continue;
            }
            received += spare.frames.len();
            bursts += 1;
            if !alone && snapshot.eth_ports[port.index()].steering == Steering::Software {
                handler.steer(spare, snapshot);
                if spare.frames.is_empty() {
                    continue;
                }
            }
            handler.decode_burst(spare, snapshot);
            handler.io.ended(Stage::Decode);
            if handler.table.buckets() <= *near {
                // None is kept, but for one that was there before the table became so small.
                handler.resolve_burst(decoded, snapshot, now);
                handler.resolve_burst(spare, snapshot, now);
            } else {
                handler.resolve_and_prefetch(decoded, spare, snapshot, now);
                std::mem::swap(decoded, spare);
                has_staged = true;
            }
        }
        if !alone {
            taken = handler.take_over(decoded, spare, snapshot, now);
        }
        // A full burst comes from a busy device, which has more. Anything less is finished at once, and so is one
        // that nothing followed: what comes may all be other workers'.
        if !has_staged || !decoded.frames.is_full() {
            handler.resolve_burst(decoded, snapshot, now);
        }
        let handled = received + taken;
        handler.outgoing.flush(&mut handler.io, now, &handler.counters);
        if !alone {
            handler.io.peers.flush(&handler.counters);
        }
        handler.give_up_impatient(now);
        handler.sweep(snapshot, now, handled == 0);
        handler.count_shares(snapshot);
        handler.counters.rx_packets.add(received as u64);
        handler.counters.bursts.add(bursts);
        self.extremes.at_end_of_turn(&handler.counters);
        handler.io.ended(Stage::Turn);
        self.last_turn = Some((now.nanoseconds, handled > 0));
        handled
    }

    /// Whether the control thread wants the loop to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The connection table, to look at.
    pub const fn table(&self) -> &Table {
        &self.handler.table
    }

    /// Where frames come from, for tests to fill and empty.
    pub const fn io(&mut self) -> &mut Io {
        &mut self.handler.io.io
    }

    /// Frames that the worker holds between two turns: those that wait for a next hop, for other
    /// fragments of their datagram, or for a device.
    pub fn frames_held(&self) -> usize {
        let handler = &self.handler;
        let waiting = handler.waiting.len() + handler.fragments.held() + handler.pings.held();
        self.decoded.frames.len() + waiting + handler.outgoing.len()
    }

    /// A turn lasts until the next one begins: one reading of the clock serves both.
    fn account(&mut self, now: Now) {
        let counters = &self.handler.counters;
        counters.turns.add(1);
        let Some((began, busy)) = self.last_turn else { return };
        let took = now.nanoseconds.saturating_sub(began);
        counters.total_nanoseconds.add(took);
        if busy {
            counters.busy_turns.add(1);
            counters.busy_nanoseconds.add(took);
        }
    }
}

impl<Io: FrameIo> Handler<Io> {
    /// Counts a frame's verdict, and frees or sends it accordingly.
    fn conclude(&mut self, verdict: Verdict, mut frame: Io::Frame) {
        match verdict {
            Verdict::Forward(port) => self.outgoing.push(&mut self.io, port, frame, &self.counters),
            Verdict::Fragment { port, mtu } => self.send_in_fragments(port, mtu, frame),
            Verdict::Answer(port) => {
                self.counters.answers.add(1);
                link::pad(&mut frame);
                self.outgoing.push(&mut self.io, port, frame, &self.counters);
            }
            Verdict::Drop(reason) => self.counters.dropped(reason).add(1),
            Verdict::HandOver { to, port } => {
                self.io.peers.pass(to, Purpose::Received, port.eth_port(), frame, &self.counters);
            }
            Verdict::HandOverFragment { to, port, ports } => {
                let peers = &mut self.io.peers;
                peers.pass_with_ports(to, Purpose::Fragment, port.eth_port(), ports, frame, &self.counters);
            }
            Verdict::Consumed => {}
        }
    }

    /// Drops what has waited too long for a next hop, or for the first fragment of its datagram.
    fn give_up_impatient(&mut self, now: Now) {
        while let Some(frame) = self.waiting.take_impatient(now) {
            self.conclude(Verdict::Drop(DropReason::NextHopUnresolved), frame);
        }
        self.expire_fragments(now);
    }

    /// A slice of the sweep: as much as has to be done by now for a pass a second, within a bound.
    fn sweep(&mut self, snapshot: &Snapshot, now: Now, idle: bool) {
        let pass = self.sweep_pass();
        let behind = now.nanoseconds.saturating_sub(self.swept_until).min(pass);
        let buckets = self.table.buckets() as u64;
        // It fits: a pass has fewer than 2^32 nanoseconds, and a table fewer than 2^32 buckets.
        let due = (behind * buckets / pass) as usize;
        if due == 0 {
            return;
        }
        let examined = due.min(if idle { SWEEP_IDLE } else { SWEEP_BUSY });
        self.table.sweep(examined, snapshot.clock(now.tick()), &self.counters);
        // Being late is made up for within a pass, and never more than that.
        let worth = examined as u64 * pass / buckets;
        self.swept_until = (now.nanoseconds - behind) + worth;
    }

    /// How long a full pass is to take, in nanoseconds.
    fn sweep_pass(&self) -> u64 {
        let is_filling = self.table.len() > self.table.capacity() / 4 * 3;
        let slowest = if is_filling { 1 } else { SWEEP_SLOWEST };
        let seconds = self.table.buckets().div_ceil(SWEEP_BUCKETS_A_SECOND).clamp(1, slowest);
        SWEEP_PASS_NANOSECONDS * seconds as u64
    }
}

impl<Io: FrameIo> std::fmt::Debug for Worker<Io> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("table", &self.handler.table).finish_non_exhaustive()
    }
}
