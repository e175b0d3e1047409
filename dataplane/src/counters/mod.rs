//! Counters: each has one writer, and anyone may read.

use crate::names::direction::Direction;
use crate::names::ids::{REAL_IDS, RealId};
use crate::names::verdict::DropReason;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes. Adding is a load and a store, never a locked instruction.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the one writer may call it.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Takes away, for gauges; only the one writer may call it.
    #[inline(always)]
    pub fn subtract(&self, amount: u64) {
        self.add(amount.wrapping_neg());
    }

    /// Sets, for gauges; only the one writer may call it.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets to `value` if that is more, for gauges of the most; only the one writer may call it.
    #[inline(always)]
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }

    /// The value now.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets, after all that this thread has counted before.
    pub fn publish(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// The value now, before all that this thread reads after.
    pub fn observe(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// One real's counters on one worker: a cache line. Bytes are IPv4 total lengths.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RealCounters {
    /// Connections made.
    pub connections: Counter,
    /// Packets from clients.
    pub in_packets: Counter,
    /// Their bytes.
    pub in_bytes: Counter,
    /// Packets to clients.
    pub out_packets: Counter,
    /// Their bytes.
    pub out_bytes: Counter,
    /// Gauge: connections in the table. One word, so that whoever sees it zero knows that there is none.
    pub total: Counter,
    /// Gauges: those in some states.
    pub states: StateGauges,
}

/// Two gauges in one word, so that one addition counts a connection's state, whatever it is: connections in an active
/// state in the lower half, those that are closing in the upper one. A worker has fewer than either can hold.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct StateGauges(Counter);

impl StateGauges {
    /// Of a connection in a state that is counted by neither.
    pub const NONE: u64 = 0;
    /// Of an active one.
    pub const ACTIVE: u64 = 1;
    /// Of one that is closing.
    pub const CLOSING: u64 = 1 << 32;

    /// Counts connections: some of the constants, or their difference; only the one writer may call it.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        self.0.add(amount);
    }

    /// Takes connections off; only the one writer may call it.
    #[inline(always)]
    pub fn subtract(&self, amount: u64) {
        self.0.subtract(amount);
    }

    /// Those in an active state (as `ActiveConn`).
    pub fn active(&self) -> u64 {
        self.0.get() & u64::from(u32::MAX)
    }

    /// Those in TIME_WAIT or CLOSE.
    pub fn closing(&self) -> u64 {
        self.0.get() >> 32
    }
}

impl RealCounters {
    /// Counts a packet, with its IPv4 length.
    #[inline(always)]
    pub(crate) fn count(&self, direction: Direction, length: u16) {
        let (packets, bytes) = match direction {
            Direction::Forward => (&self.in_packets, &self.in_bytes),
            Direction::Reverse => (&self.out_packets, &self.out_bytes),
        };
        packets.add(1);
        bytes.add(u64::from(length));
    }

    /// Connections in any state that is not active (as `InActConn`).
    pub fn inactive(&self) -> u64 {
        self.total.get().saturating_sub(self.states.active())
    }
}

/// What one worker counts: whole cache lines, two by two as processors fetch them, so that no line is
/// written by two workers.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// By [`RealId`].
    reals: Box<[RealCounters; REAL_IDS]>,
    drops: [Counter; DropReason::ALL.len()],
    /// The version of the snapshot in use, stored after the last packet of the older one.
    pub snapshot_version: Counter,
    /// Frames received.
    pub rx_packets: Counter,
    /// Frames sent.
    pub tx_packets: Counter,
    /// Frames received and handed to another worker, which owns them.
    pub handed_over: Counter,
    /// Frames that other workers have handed to this one, its own.
    pub taken_over: Counter,
    /// Frames that another worker sends, where this one has no transmit queue.
    pub sent_by_others: Counter,
    /// Gauge: how long a device has taken nothing of what waits to be sent, by `EthPort`, in nanoseconds; 0: it takes
    /// frames, or none wait.
    pub transmit_stands: [Counter; crate::names::ids::MAX_ETH_PORTS],
    /// Bursts handled: received, or taken over.
    pub bursts: Counter,
    /// Packets that a device put into the wrong worker's queue, by `EthPort`.
    pub misdirected: [Counter; crate::names::ids::MAX_ETH_PORTS],
    /// Answers made (ARP, echo, RST, ICMP errors).
    pub answers: Counter,
    /// Answers that were not made because of the rate limit.
    pub answers_suppressed: Counter,
    /// Packets routed without translation.
    pub routed: Counter,
    /// Packets cut into fragments because they were longer than the MTU on the way out.
    pub fragmented: Counter,
    /// Fragments made of them.
    pub fragments_made: Counter,
    /// Turns in which anything was received.
    pub busy_turns: Counter,
    /// Nanoseconds spent in those turns.
    pub busy_nanoseconds: Counter,
    /// Turns in all.
    pub turns: Counter,
    /// Nanoseconds since the first turn.
    pub total_nanoseconds: Counter,
    /// Gauge: connections in the table.
    pub connections: Counter,
    /// Connections made.
    pub connections_created: Counter,
    /// Connections that timed out.
    pub connections_expired: Counter,
    /// Connections that gave way to new ones because the table was full.
    pub connections_evicted: Counter,
    /// The client endpoint that was refused a connection last because it has as many as one may have: 48 bits in the
    /// order of the wire.
    pub full_endpoint: Counter,
    /// Entries examined by the sweep.
    pub entries_swept: Counter,
    /// Entries moved because the table came to use more or fewer of its buckets.
    pub entries_moved: Counter,
    /// The most entries that the sweep examined in one turn.
    pub most_swept: Counter,
    /// The most connections that timed out in one turn.
    pub most_expired: Counter,
    /// The most connections that were made in one turn.
    pub most_created: Counter,
    /// The most entries that were moved in one turn.
    pub most_moved: Counter,
    /// Packets of TCP and UDP whose checksum was looked at, by `EthPort`: those of bursts that were not full.
    pub checksums_examined: [Counter; crate::names::ids::MAX_ETH_PORTS],
    /// Those whose checksum was only that of the pseudo-header: the sender's link leaves checksums
    /// to a device that is not there (`ethtool -K … tx off` on the sending side).
    pub partial_checksums: [Counter; crate::names::ids::MAX_ETH_PORTS],
    /// Frames longer than their `EthPort`'s MTU allows, by `EthPort`: merged segments (GRO).
    pub merged_segments: [Counter; crate::names::ids::MAX_ETH_PORTS],
}

impl WorkerCounters {
    /// All zero.
    pub fn new() -> Self {
        let zero = Counter::default;
        Self {
            reals: fixed((0..REAL_IDS).map(|_| RealCounters::default()).collect()),
            drops: std::array::from_fn(|_| zero()),
            snapshot_version: zero(),
            rx_packets: zero(),
            tx_packets: zero(),
            handed_over: zero(),
            taken_over: zero(),
            sent_by_others: zero(),
            transmit_stands: Default::default(),
            bursts: zero(),
            misdirected: Default::default(),
            answers: zero(),
            answers_suppressed: zero(),
            routed: zero(),
            fragmented: zero(),
            fragments_made: zero(),
            busy_turns: zero(),
            busy_nanoseconds: zero(),
            turns: zero(),
            total_nanoseconds: zero(),
            connections: zero(),
            connections_created: zero(),
            connections_expired: zero(),
            connections_evicted: zero(),
            full_endpoint: zero(),
            entries_swept: zero(),
            entries_moved: zero(),
            most_swept: zero(),
            most_expired: zero(),
            most_created: zero(),
            most_moved: zero(),
            checksums_examined: Default::default(),
            partial_checksums: Default::default(),
            merged_segments: Default::default(),
        }
    }

    /// The counters of all reals, for a caller that looks up many.
    #[inline(always)]
    pub(crate) fn reals(&self) -> &[RealCounters; REAL_IDS] {
        &self.reals
    }

    /// The addresses of all of them.
    pub(crate) fn footprint(&self) -> [std::ops::Range<usize>; 2] {
        [memory::addresses_of(self), memory::addresses_of(&*self.reals)]
    }

    /// The counters of one real.
    #[inline(always)]
    pub fn real(&self, id: RealId) -> &RealCounters {
        &self.reals[id.0 as usize & (REAL_IDS - 1)]
    }

    /// The counter of one reason.
    #[inline(always)]
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }
}

/// An array whose length the compiler knows: an index that is cut to it needs no check.
pub(crate) fn fixed<T, const N: usize>(elements: Box<[T]>) -> Box<[T; N]> {
    let length = elements.len();
    elements.try_into().unwrap_or_else(|_| unreachable!("{length} elements for {N}"))
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self::new()
    }
}
