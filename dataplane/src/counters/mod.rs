//! Counters: each has one writer, and anyone may read.
//!
//! ```text
//! mod       Counter, and what is counted of a real
//! followed  which reals' connection counts have changed
//! limited   which reals have a connection threshold
//! list      counters!: a struct of counters, with what each of them is, from one list
//! worker    what a worker counts
//! noted     a client that it has noted last
//! port      what an EthPort's device counts
//! ```

mod followed;
mod limited;
mod list;
mod noted;
mod port;
mod worker;

pub use followed::Followed;
pub(crate) use followed::note_count;
pub use list::{Kind, Listed, ListedTotal};
pub use noted::NotedClient;
pub use port::PortCounters;
pub(crate) use worker::Records;
pub use worker::{WorkerCounters, WorkerTotals};

use crate::names::direction::Direction;
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
    /// Who wants to know when the gauges change.
    mark: followed::Mark,
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

/// An array whose length the compiler knows: an index that is cut to it needs no check.
pub(crate) fn fixed<T, const N: usize>(elements: Box<[T]>) -> Box<[T; N]> {
    let length = elements.len();
    elements.try_into().unwrap_or_else(|_| unreachable!("{length} elements for {N}"))
}
