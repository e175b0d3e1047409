//! What crosses between one worker and the control thread: bounded rings of plain values, so that
//! neither ever waits for the other or frees what the other reads.

use crate::connection::kept::Old;
use crate::connection::{Copied, Imported};
use crate::counters::WorkerCounters;
use crate::exchange::pace::Pace;
use crate::live::elsewhere::Elsewhere;
use crate::live::next_hops::NextHops;
use crate::live::reals::Reals;
use crate::names::ids::{EthPortId, InterfaceId, NeighbourKey, NextHopId, RealId};
use crate::names::mac::Mac;
use crate::persistence::CopiedTemplate;
use crate::snapshot::Snapshot;
use crate::wire::mld::Query;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Orders from the control thread that a ring holds.
pub const ORDERS: usize = 1024;
/// Things given back by the worker that a ring holds.
pub const RETURNS: usize = 64;
/// Neighbour events that a ring holds; more are not reported (hosts ask again).
pub const NEIGHBOUR_EVENTS: usize = 256;
/// Longest frame that the control thread can have sent, in bytes: a report that a group is listened to has 90.
pub const SMALL_FRAME: usize = 96;

/// What the control thread tells a worker.
#[derive(Debug)]
pub enum Order {
    /// Run on this from the next burst on; give the old one back.
    Adopt(Arc<Snapshot>),
    /// Send a frame (of ARP, neighbour discovery or listener discovery), complete from the Ethernet header on.
    Send {
        /// Out of this interface.
        interface: InterfaceId,
        /// Bytes in use of `bytes`.
        length: u8,
        /// The frame.
        bytes: [u8; SMALL_FRAME],
    },
    /// This neighbour is reachable under this id: send what waits for it.
    Reachable(NeighbourKey, NextHopId),
    /// This neighbour does not answer: drop what waits for it, saying so to the senders.
    Unreachable(NeighbourKey),
    /// Have another worker send what is for this port: its own queue stands still.
    SendThrough {
        /// The port.
        port: EthPortId,
        /// The worker.
        worker: usize,
    },
    /// Fill this slice of the connection dump and give it back.
    Export(Box<Slice>),
    /// Put these connections into the table, and give the batch back. One is to be under way at a time, so that the
    /// table has a turn to grow after each.
    Import(Box<Batch>),
    /// Take over the connections and templates that earlier processes have left, beginning with the next snapshot, or
    /// at once if there is one. One is to be under way at a time.
    Inherit(Box<Inheritance>),
    /// Forget all connections and templates, and what is still to be inherited of them.
    Forget,
}

/// What earlier processes have left, for a worker to take over, and what has become of it.
#[derive(Debug)]
pub struct Inheritance {
    /// The newest first: where two have the same connection, it has the right one.
    pub generations: Arc<[Inherited]>,
    /// Filled in by the worker.
    pub counts: InheritedCounts,
}

impl Inheritance {
    /// Nothing has been taken over yet.
    pub fn new(generations: Arc<[Inherited]>) -> Box<Self> {
        Box::new(Self { generations, counts: InheritedCounts::default() })
    }
}

/// What one process has left. All workers look at it, and each takes over what it owns now.
///
/// Ids of reals and interfaces are given by this process. None of them may be given to another real as long as a worker
/// has not given its [`Inheritance`] back.
#[derive(Debug)]
pub struct Inherited {
    /// One for each of its workers.
    pub areas: Vec<LeftArea>,
    /// The ids here of its reals, by their ids there; `None`: there is no such real any more.
    pub reals: Vec<Option<RealId>>,
    /// The interfaces here that its next hops were behind, by their ids there; `None`: that is not known, or there is
    /// no such interface any more.
    pub interfaces: Vec<Option<InterfaceId>>,
}

/// What one worker of an earlier process has left.
#[derive(Clone, Debug)]
pub struct LeftArea {
    /// Its connections and templates.
    pub old: Arc<Old>,
    /// Ticks from its last turn to the moment this was made; see [`Tick::PER_SECOND`](crate::names::time::Tick).
    pub elapsed: u32,
}

/// What has become of an inheritance on one worker. What other workers own is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InheritedCounts {
    /// Of connections.
    pub connections: Imported,
    /// For how many ticks the connection had been silent, when it was taken over, that had been so for longest.
    pub silent: u32,
    /// Templates taken over.
    pub templates: u32,
    /// Templates that were not: their real or their time is gone, their client has another, or there is no room.
    pub templates_given_up: u32,
    /// From the snapshot that it began with until all was done.
    pub nanoseconds: u64,
}

/// Connections to be put into a worker's table.
#[derive(Debug)]
pub struct Batch {
    /// At most [`ROWS`](Self::ROWS); the worker takes them out.
    pub rows: Vec<Copied>,
    /// What has become of them; filled in by the worker.
    pub imported: Imported,
}

impl Batch {
    /// Rows that a batch holds; of more the worker takes no notice.
    pub const ROWS: usize = Slice::ROWS;

    /// The connections, in batches.
    pub fn of(rows: &[Copied]) -> impl Iterator<Item = Box<Self>> + '_ {
        let batch = |rows: &[Copied]| Box::new(Self { rows: rows.to_vec(), imported: Imported::default() });
        rows.chunks(Self::ROWS).map(batch)
    }
}

/// A part of the connection table and the persistence templates, copied out by the worker between two bursts.
#[derive(Debug)]
pub struct Slice {
    /// Where to begin, for the worker to tell; it sets it to where the next slice begins, or `None` at the end.
    pub position: Option<usize>,
    /// Filled by the worker up to its capacity, never beyond.
    pub rows: Vec<Copied>,
    /// Templates likewise; they come behind all connections.
    pub templates: Vec<CopiedTemplate>,
}

impl Slice {
    /// Rows that a slice holds.
    pub const ROWS: usize = 512;

    /// The first slice of a dump.
    pub fn first() -> Box<Self> {
        let (rows, templates) = (Vec::with_capacity(Self::ROWS), Vec::with_capacity(Self::ROWS));
        Box::new(Self { position: Some(0), rows, templates })
    }
}

/// What a worker gives back.
#[derive(Debug)]
pub enum Return {
    /// A snapshot that this worker uses no longer; dropped by the control thread.
    Retired(Arc<Snapshot>),
    /// A filled slice.
    Exported(Box<Slice>),
    /// A batch that has been put into the table.
    Imported(Box<Batch>),
    /// An inheritance that this worker is through with.
    Inherited(Box<Inheritance>),
    /// All has been forgotten: this many connections.
    Forgotten(u64),
}

/// What a worker saw or needs of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourEvent {
    /// Packets wait for it.
    Wanted(NeighbourKey),
    /// It said by ARP or neighbour discovery what its MAC is.
    Heard {
        /// Who.
        key: NeighbourKey,
        /// Its MAC.
        mac: Mac,
        /// Whether it answered a request of ours (a reply addressed to us), which proves that it lives.
        reply: bool,
        /// Whether the MAC replaces another that is known. If not, another one stays, and is only to be checked
        /// (RFC 4861 §7.2.5); all that is said by ARP replaces.
        replaces: bool,
    },
    /// Another station said by ARP or neighbour discovery that an own address is its (RFC 5227 §2.4, RFC 4862 §5.4).
    Conflict {
        /// The address, and the port whose link it was said on.
        key: NeighbourKey,
        /// The other's MAC.
        mac: Mac,
    },
    /// A router or switch asked which multicast groups are listened to (RFC 3810).
    GroupsAsked {
        /// The interface whose link it asked on.
        interface: InterfaceId,
        /// What it asked.
        query: Query,
    },
}

/// The worker's ends.
#[derive(Debug)]
pub struct WorkerEnd {
    /// Orders to carry out.
    pub orders: Consumer<Order>,
    /// Things to give back.
    pub returns: Producer<Return>,
    /// Neighbour events, on a ring that nothing else can fill.
    pub neighbour_events: Producer<NeighbourEvent>,
    /// What it counts.
    pub counters: Arc<WorkerCounters>,
    /// The MACs.
    pub next_hops: Arc<NextHops>,
    /// Which reals take new connections.
    pub reals: Arc<Reals>,
    /// Connections on the other workers.
    pub elsewhere: Arc<Elsewhere>,
    /// Set when the worker is to return.
    pub stop: Arc<AtomicBool>,
    /// Whether it is to work, and whether it does.
    pub pace: Arc<Pace>,
}

/// The control thread's ends.
#[derive(Debug)]
pub struct ControlEnd {
    /// Orders to give.
    pub orders: Producer<Order>,
    /// Things given back.
    pub returns: Consumer<Return>,
    /// Neighbour events.
    pub neighbour_events: Consumer<NeighbourEvent>,
    /// What the worker counts.
    pub counters: Arc<WorkerCounters>,
    /// Which reals take new connections: of all workers.
    pub reals: Arc<Reals>,
    /// What the worker is told of connections on the others.
    pub elsewhere: Arc<Elsewhere>,
    /// Set to make the worker return.
    pub stop: Arc<AtomicBool>,
    /// Has it work or rest.
    pub pace: Arc<Pace>,
}

/// Both ends of the rings of one worker. All workers have the same next hops and reals.
pub fn channel(next_hops: Arc<NextHops>, reals: Arc<Reals>) -> (WorkerEnd, ControlEnd) {
    let (orders_in, orders_out) = RingBuffer::new(ORDERS);
    let (returns_in, returns_out) = RingBuffer::new(RETURNS);
    let (events_in, events_out) = RingBuffer::new(NEIGHBOUR_EVENTS);
    let counters = Arc::new(WorkerCounters::new());
    let elsewhere = Arc::<Elsewhere>::default();
    let stop = Arc::new(AtomicBool::new(false));
    let pace = Arc::<Pace>::default();
    let worker = WorkerEnd {
        orders: orders_out,
        returns: returns_in,
        neighbour_events: events_in,
        counters: Arc::clone(&counters),
        next_hops,
        reals: Arc::clone(&reals),
        elsewhere: Arc::clone(&elsewhere),
        stop: Arc::clone(&stop),
        pace: Arc::clone(&pace),
    };
    let control = ControlEnd {
        orders: orders_in,
        returns: returns_out,
        neighbour_events: events_out,
        counters,
        reals,
        elsewhere,
        stop,
        pace,
    };
    (worker, control)
}
