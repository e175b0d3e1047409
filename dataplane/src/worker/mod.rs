//! One worker: a polling loop's turn, from receiving to transmitting.
//!
//! ```text
//! turn ─► orders of the control thread
//!      ─► each device, then what other workers have handed over:
//!         receive ─► (hand over what is others') ─► decode all ─► prefetch, and of the burst before it
//!      │                                                look up and rewrite each ─┐
//!      │                                                └─ anything else: open,   │
//!      │                                                   or the slow path ──────┤
//!      ◄─ a slice of the sweep ◄─ transmit ◄────────────────────────────────────────┘
//! ```
//!
//! What a worker owns is split by who uses it. A `Turn` lends all of it to the frames of a turn, with the
//! configuration and the time; what judges a frame is lent less, and has no I/O.
//!
//! ```text
//! turn        one turn, and what is lent for it
//! bursts      the bursts in its hands, by address family
//! orders      carrying out the control thread's orders
//! take_over   handling what other workers have handed over
//! rest        what it does instead of a turn, while another process has the devices
//! slow        everything that is not a plain packet of a connection, one packet at a time
//! fast        plain packets, a burst at a time
//! held        the frames that are kept beyond their turn
//! io          where frames come from and leave: devices, peers, limits
//! reach       the ways to and back: next hops and neighbours
//! sweep       takes dead connections out, in slices
//! flows       the connections: finding, opening, closing
//! tables      the tables that they are in: one for each address family
//! limited     connections of reals that have a threshold
//! persistent  which real the clients of persistent services stay with, asked of the worker that knows
//! inherit     connections and templates of earlier processes are taken over
//! forget      all of them are forgotten
//! one_packet  datagrams that are scheduled by themselves and make no connection
//! own         connections that reals themselves open from a port that they serve on
//! shares      how much of a full table each service has
//! fate        what becomes of a frame
//! extremes    the most work that any turn has done
//! testing     what tests and benches do to a worker, and look at
//! stages      single stages as functions, for benches
//! ```
//!
//! Nothing here is shared with another worker, and nothing on the way of a packet allocates, locks,
//! logs or reads a clock.

mod bursts;
mod extremes;
mod fast;
mod fate;
mod flows;
mod forget;
mod held;
mod inherit;
mod io;
mod limited;
mod one_packet;
mod orders;
mod own;
mod persistent;
mod reach;
mod rest;
mod shares;
mod slow;
#[cfg(feature = "testing")]
pub mod stages;
mod sweep;
mod tables;
mod take_over;
#[cfg(feature = "testing")]
mod testing;
mod turn;

pub use fast::dispatch::MISSES_PAGE_TABLES;
pub use held::MOST_HELD;
pub use inherit::{INHERIT_BUSY, INHERIT_IDLE};
pub use persistent::templates_for;
pub use sweep::{SWEEP_BUSY, SWEEP_IDLE};

use crate::connection::kept::{Heartbeat, Home};
use crate::connection::table::{HashKey, Table};
use crate::counters::WorkerCounters;
use crate::exchange::orders::{Order, Return, WorkerEnd};
use crate::exchange::pace::Pace;
use crate::exchange::peers::Peers;
use crate::frame::FrameIo;
use crate::snapshot::Snapshot;
use bursts::Bursts;
use fast::dispatch::Level;
use flows::Flows;
use held::Held;
use io::egress::Egress;
use io::limit::Limits;
use reach::Reach;
use rest::Resting;
use rtrb::{Consumer, Producer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tables::Tables;
use turn::Before;

/// Tables up to this number of buckets (512 KiB) fit the core's own cache: bursts are resolved at once, without
/// prefetching. Staging them would evict the frames.
const FITS_CORE_CACHE: usize = 8192;
/// Bursts that are in a worker's hands at once, besides those that wait for a device: one that is received, one that is
/// decoded, and one that is taken over.
pub const BURSTS_IN_HAND: usize = 3;
/// As many more where it has [room for IPv6](Worker::with_ipv6): one that is decoded of that family.
pub const BURSTS_IN_HAND_OF_IPV6: usize = 1;

/// See the module's text. `Io` is where its frames come from. It shares its cache lines with nothing else.
#[repr(align(128))]
pub struct Worker<Io: FrameIo> {
    snapshot: Arc<Snapshot>,
    flows: Flows,
    reach: Reach,
    egress: Egress<Io>,
    held: Held<Io::Frame>,
    limits: Limits,
    counters: Arc<WorkerCounters>,
    bursts: Bursts<Io::Frame>,
    /// Tables of no more buckets fit the core's own cache: see [`FITS_CORE_CACHE`].
    fits_core_cache: usize,
    level: Level,
    stop: Arc<AtomicBool>,
    pace: Arc<Pace>,
    resting: Resting,
    orders: Consumer<Order>,
    returns: Producer<Return>,
    before: Before,
    /// Where the time of each turn is noted, if the tables are to outlive the process.
    heartbeat: Option<Heartbeat>,
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
        Ok(Self::with_tables(io, end, Tables::new(capacity, hash_key, huge)?, hash_key))
    }

    /// A worker whose tables are in files, with room for as many connections of each family as these have.
    ///
    /// # Errors
    /// If there is no memory for what is beside them.
    pub fn kept(io: Io, end: WorkerEnd, mut home: Home) -> Result<Self, memory::Error> {
        let tables = Tables::kept(&mut home)?;
        let hash_key = home.hash_key();
        let mut worker = Self::with_tables(io, end, tables, hash_key);
        worker.heartbeat = Some(home.heartbeat());
        worker.flows.home = Some(home);
        Ok(worker)
    }

    fn with_tables(io: Io, end: WorkerEnd, tables: Tables, hash_key: HashKey) -> Self {
        let WorkerEnd {
            orders,
            returns,
            neighbour_events,
            counters,
            next_hops,
            reals,
            elsewhere,
            stop,
            pace,
        } = end;
        Self {
            snapshot: Arc::new(Snapshot::empty()),
            flows: Flows::new(tables, hash_key, (reals, elsewhere), Arc::clone(&counters)),
            reach: Reach::new(next_hops, neighbour_events),
            egress: Egress::new(io, hash_key, Arc::clone(&counters)),
            held: Held::new(hash_key, Arc::clone(&counters)),
            limits: Limits::new(),
            counters,
            bursts: Bursts::default(),
            fits_core_cache: FITS_CORE_CACHE,
            level: Level::detect(),
            stop,
            pace,
            resting: Resting::default(),
            orders,
            returns,
            before: Before::default(),
            heartbeat: None,
        }
    }

    /// Has it have room for `capacity` connections of IPv6, besides those of IPv4.
    ///
    /// # Errors
    /// If there is no memory for their table.
    pub fn with_ipv6(mut self, capacity: usize, huge: memory::Huge) -> Result<Self, memory::Error> {
        self.flows.tables.serve_v6(capacity, self.flows.hash_key, huge)?;
        Ok(self)
    }

    /// Makes it one of several workers.
    #[must_use]
    pub fn with_peers(mut self, peers: Peers<Io::Frame>) -> Self {
        self.egress.io.peers = peers;
        self
    }

    /// Has it hold fewer frames than [`MOST_HELD`], where there are few buffers: a flood to hosts that are not there
    /// must not take them all.
    #[must_use]
    pub fn holding_at_most(mut self, frames: usize) -> Self {
        self.held.limit(frames);
        self
    }

    /// Whether the control thread wants the loop to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether it takes over what earlier processes have left: turns without packets are not idle then.
    pub fn is_inheriting(&self) -> bool {
        self.flows.is_inheriting()
    }

    /// Bytes of memory that the connection tables take: IPv4's and IPv6's.
    pub fn table_bytes(&self) -> [usize; 2] {
        [self.flows.tables.v4.bytes(), self.flows.tables.v6.bytes()]
    }

    /// The connection table, to look at.
    pub const fn table(&self) -> &Table {
        &self.flows.tables.v4
    }
}

impl<Io: FrameIo> std::fmt::Debug for Worker<Io> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("table", &self.flows.tables.v4).finish_non_exhaustive()
    }
}
