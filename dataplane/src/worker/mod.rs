//! One worker: a polling loop's turn, from receiving to transmitting.
//!
//! ```text
//! turn ─► orders of the control thread
//!      ─► each port, then what other workers have handed over:
//!         receive ─► (hand over what is others') ─► decode all, prefetch ─► the burst before it:
//!      │                                                resolve and rewrite each ─┐
//!      │                                                └─ anything else:         │
//!      │                                                   exception ─────────────┤
//!      ◄─ a slice of the sweep ◄─ transmit ◄────────────────────────────────────────┘
//! ```
//!
//! Nothing here is shared with another worker, and nothing on the way of a packet allocates, locks,
//! logs or reads a clock.

mod answer;
mod arp;
mod decode;
mod exception;
mod extremes;
pub(crate) mod footprint;
mod fragment;
mod fragmentation;
mod hand_over;
mod icmp;
mod limit;
mod linked;
mod orders;
mod outgoing;
mod resolve;
mod rewrite;
mod schedule;
pub mod stages;
mod waiting;

use crate::connection::Direction;
use crate::connection::table::{HashKey, Table};
use crate::counters::WorkerCounters;
use crate::fragment::Tracker;
use crate::frame::{BURST, Frame, FrameIo, Stage};
use crate::hand_over::{Peers, Purpose};
use crate::ids::{NeighbourKey, NextHopId, PortIndex};
use crate::message::{NeighbourEvent, Order, Return, WorkerEnd};
use crate::next_hop::NextHops;
use crate::schedule::Position;
use crate::snapshot::{Side, Snapshot, Steering};
use crate::time::Now;
use crate::verdict::{DropReason, Verdict};
use arrayvec::ArrayVec;
use decode::{Decoded, Expected, decode};
use extremes::Extremes;
use hashbrown::HashMap;
use limit::Limits;
use linked::Linked;
use outgoing::Outgoing;
use rtrb::{Consumer, Producer};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waiting::Waiting;

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
    last_turn: Option<(u64, bool)>,
    extremes: Extremes,
}

/// A burst between its two stages: in whole cache lines, for it is written with every burst.
#[repr(align(128))]
struct Staged<F> {
    port: PortIndex,
    frames: ArrayVec<F, BURST>,
    /// Those that may take the fast path.
    plain: FrameSet,
    decoded: [Decoded; BURST],
    /// Where those leave that took it.
    outs: [PortIndex; BURST],
}

impl<F> Default for Staged<F> {
    fn default() -> Self {
        Self {
            port: 0,
            frames: ArrayVec::new(),
            plain: 0,
            decoded: [Decoded::default(); BURST],
            outs: [0; BURST],
        }
    }
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
    /// The neighbours that have an id.
    neighbours: HashMap<NeighbourKey, NextHopId>,
    outgoing: Outgoing<Linked<Io>>,
    waiting: Waiting<Io::Frame>,
    fragments: Tracker<Io::Frame>,
    limits: Limits,
    returns: Producer<Return>,
    neighbour_events: Producer<NeighbourEvent>,
    swept_until: u64,
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
            neighbours: HashMap::with_capacity(NextHops::CAPACITY),
            outgoing: Outgoing::new(),
            waiting: Waiting::new(),
            fragments: Tracker::new(hash_key),
            limits: Limits::new(),
            returns,
            neighbour_events,
            swept_until: 0,
        };
        Ok(Self {
            snapshot: Arc::new(Snapshot::empty()),
            handler,
            stop,
            orders,
            decoded: Box::default(),
            spare: Box::default(),
            last_turn: None,
            extremes: Extremes::default(),
        })
    }

    /// Makes it one of several workers.
    #[must_use]
    pub fn with_peers(mut self, peers: Peers<Io::Frame>) -> Self {
        self.handler.io.peers = peers;
        self
    }

    /// One turn. Returns the number of frames received, from devices and from other workers.
    ///
    /// A burst is decoded, and its buckets prefetched, before the burst before it is resolved: so the
    /// queue of prefetches does not run dry under load.
    pub fn turn(&mut self, now: Now) -> usize {
        self.account(now);
        if !self.orders.is_empty() {
            // No packet is in a stage while the configuration changes.
            self.handler.resolve_burst(&mut self.decoded, &self.snapshot, now);
            self.carry_out_orders(now);
        }
        let Self { handler, snapshot, decoded, spare, .. } = self;
        let alone = handler.io.peers.is_alone();
        let (mut received, mut bursts, mut taken) = (0, 0, 0);
        for port in 0..snapshot.ports.len() as PortIndex {
            spare.port = port;
            handler.io.receive(port, &mut spare.frames);
            if spare.frames.is_empty() {
                continue;
            }
            received += spare.frames.len();
            bursts += 1;
            if !alone && snapshot.ports[usize::from(port)].steering == Steering::Software {
                handler.steer(spare, snapshot);
                if spare.frames.is_empty() {
                    continue;
                }
            }
            handler.decode_burst(spare, snapshot);
            handler.io.ended(Stage::Decode);
            handler.resolve_burst(decoded, snapshot, now);
            std::mem::swap(decoded, spare);
        }
        if !alone {
            taken = handler.take_over(decoded, spare, snapshot, now);
        }
        // A full burst comes from a busy device, which has more. Anything less is finished at once.
        let handled = received + taken;
        if handled == 0 || !decoded.frames.is_full() {
            handler.resolve_burst(decoded, snapshot, now);
        }
        handler.outgoing.flush(&mut handler.io, &handler.counters);
        if !alone {
            handler.io.peers.flush(&handler.counters);
        }
        handler.give_up_impatient(now);
        handler.sweep(snapshot, now, handled == 0);
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

    /// Frames that the worker holds between two turns: those that wait for a next hop, for the
    /// first fragment of their datagram, or for a device.
    pub fn frames_held(&self) -> usize {
        let handler = &self.handler;
        let waiting = handler.waiting.len() + handler.fragments.held();
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
    /// First stage: decodes a burst and prefetches its buckets.
    fn decode_burst(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        match snapshot.ports[usize::from(burst.port)].side {
            Side::Vip => self.decode_all::<Forwards>(burst, snapshot),
            Side::Dip => self.decode_all::<Backwards>(burst, snapshot),
            Side::Both => self.decode_all::<EitherWay>(burst, snapshot),
        }
    }

    /// Second stage: resolves and rewrites a decoded burst, and empties it.
    fn resolve_burst(&mut self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot, now: Now) {
        if burst.frames.is_empty() {
            return;
        }
        match snapshot.ports[usize::from(burst.port)].side {
            Side::Vip => self.resolve_all::<Forwards>(burst, snapshot, now),
            Side::Dip => self.resolve_all::<Backwards>(burst, snapshot, now),
            Side::Both => self.resolve_all::<EitherWay>(burst, snapshot, now),
        }
        self.io.ended(Stage::Resolve);
    }

    #[inline(always)]
    fn decode_all<Way: DirectionOf>(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        let expected = Expected::new(snapshot.mac_bits(burst.port), snapshot.smallest_mtu);
        let mut plain = 0;
        for (index, (frame, place)) in burst.frames.iter().zip(&mut burst.decoded).enumerate() {
            let (mut decoded, is_plain) = decode(frame, Way::of_frame(snapshot, frame), expected);
            decoded.home = self.table.prefetch_home(decoded.key);
            *place = decoded;
            plain |= FrameSet::from(is_plain) << index;
        }
        burst.plain = plain;
    }

    /// What is not plain TCP or UDP of a known connection is handled after the rest, in order of
    /// arrival.
    #[inline(always)]
    fn resolve_all<Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let tick = now.tick();
        // Short, so that many of the lines which are still on their way are waited for at once.
        for decoded in &mut burst.decoded[..burst.frames.len()] {
            decoded.probed = self.table.probe(decoded.home, decoded.key);
        }
        let mut behind = Behind::default();
        let mut ports: u16 = 0;
        let mut path = self.path(snapshot, tick);
        let stages = burst.frames.iter_mut().zip(&burst.decoded).zip(&mut burst.outs);
        for (index, ((frame, decoded), out)) in stages.enumerate() {
            let direction = Way::of_decoded(decoded);
            if burst.plain >> index & 1 != 0
                && !behind.includes(decoded)
                && let Some(port) = path.forward(frame, decoded, direction)
            {
                *out = port;
                ports |= 1 << port;
            } else {
                behind.add(index, decoded, frame);
            }
        }
        if behind.frames == 0 && ports.is_power_of_two() {
            let port = ports.trailing_zeros() as PortIndex;
            self.outgoing.push_burst(&mut self.io, port, &mut burst.frames, &self.counters);
        } else {
            self.part_burst(burst, behind.frames, snapshot, now);
        }
    }

    /// Sends the frames of a burst, but for those of `others`, which are handled one by one.
    #[inline(never)]
    fn part_burst(&mut self, burst: &mut Staged<Io::Frame>, others: FrameSet, snapshot: &Snapshot, now: Now) {
        let mut exceptions: ArrayVec<Io::Frame, BURST> = ArrayVec::new();
        for (index, (frame, out)) in burst.frames.drain(..).zip(&burst.outs).enumerate() {
            if others >> index & 1 == 0 {
                self.outgoing.push(&mut self.io, *out, frame, &self.counters);
            } else {
                exceptions.push(frame);
            }
        }
        for frame in exceptions {
            self.exception(burst.port, frame, snapshot, now);
        }
    }

    /// Counts a frame's verdict, and frees or sends it accordingly.
    fn conclude(&mut self, verdict: Verdict, frame: Io::Frame) {
        match verdict {
            Verdict::Forward(port) => self.outgoing.push(&mut self.io, port, frame, &self.counters),
            Verdict::Fragment { port, mtu } => self.send_in_fragments(port, mtu, frame),
            Verdict::Answer(port) => {
                self.counters.answers.add(1);
                self.outgoing.push(&mut self.io, port, frame, &self.counters);
            }
            Verdict::Drop(reason) => self.counters.dropped(reason).add(1),
            Verdict::HandOver { to, port } => {
                self.io.peers.pass(to, Purpose::Received, port, frame, &self.counters);
            }
            Verdict::HandOverFragment { to, port, ports } => {
                let peers = &mut self.io.peers;
                peers.pass_with_ports(to, Purpose::Fragment, port, ports, frame, &self.counters);
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
        let due = (u128::from(behind) * u128::from(buckets) / u128::from(pass)) as usize;
        if due == 0 {
            return;
        }
        let examined = due.min(if idle { SWEEP_IDLE } else { SWEEP_BUSY });
        self.table.sweep(examined, now.tick(), &snapshot.timeouts, &self.counters);
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

/// A set of a burst's frames: bit `i` for the frame at `i`.
type FrameSet = u32;

/// The frames of a burst that have left the fast path, and their connections as a set of bits of their
/// home buckets: what follows on them leaves it too, so that nothing is overtaken. A false hit costs
/// that packet some time.
#[derive(Default)]
struct Behind {
    frames: FrameSet,
    homes: u64,
}

impl Behind {
    #[inline(always)]
    fn includes(&self, decoded: &Decoded) -> bool {
        self.homes >> decoded.home.low_bits() & 1 != 0
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, index: usize, decoded: &Decoded, frame: &impl Frame) {
        self.frames |= 1 << index;
        let head = frame.head();
        if head[decode::at::ETHER_TYPE..decode::at::IPV4] != [8, 0] {
            return;
        }
        // With options the ports were read in the wrong place: then all that follow go the same way.
        let has_options = head[decode::at::IPV4] != 0x45;
        self.homes |= if has_options { u64::MAX } else { 1 << decoded.home.low_bits() };
    }
}

/// How the direction of a port's frames is told. On a port of one side it is a constant, for which
/// the stages are compiled on their own.
trait DirectionOf {
    fn of_frame(snapshot: &Snapshot, frame: &impl Frame) -> Direction;
    fn of_decoded(decoded: &Decoded) -> Direction;
}

/// A port towards clients.
struct Forwards;
/// A port towards reals.
struct Backwards;
/// One-arm: what is addressed to us comes from a client, all else from a real.
struct EitherWay;

impl DirectionOf for Forwards {
    #[inline(always)]
    fn of_frame(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Forward
    }
    #[inline(always)]
    fn of_decoded(_: &Decoded) -> Direction {
        Direction::Forward
    }
}

impl DirectionOf for Backwards {
    #[inline(always)]
    fn of_frame(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Reverse
    }
    #[inline(always)]
    fn of_decoded(_: &Decoded) -> Direction {
        Direction::Reverse
    }
}

impl DirectionOf for EitherWay {
    fn of_frame(snapshot: &Snapshot, frame: &impl Frame) -> Direction {
        let at = decode::at::DESTINATION;
        let octets: &[u8; 4] = frame.head()[at..].first_chunk().expect("within the head");
        let local = snapshot.local(Ipv4Addr::from(*octets)).is_some();
        if local { Direction::Forward } else { Direction::Reverse }
    }
    fn of_decoded(decoded: &Decoded) -> Direction {
        decoded.direction
    }
}

impl<Io: FrameIo> std::fmt::Debug for Worker<Io> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("table", &self.handler.table).finish_non_exhaustive()
    }
}
