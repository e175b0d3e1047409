//! What the neighbours' state machine wants done.

use dataplane::exchange::orders::{Order, SMALL_FRAME};
use dataplane::live::next_hops::NextHop;
use dataplane::names::ids::{InterfaceId, NeighbourKey, NextHopId};

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish what is known of the next hop.
    Set(NextHopId, NextHop),
    /// Tell every worker.
    Tell(Notice),
    /// Send this frame.
    Send(ArpFrame),
}

/// What every worker is to know of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has this id: send what waits for it.
    Reachable(NeighbourKey, NextHopId),
    /// It does not answer: drop what waits for it.
    Unreachable(NeighbourKey),
}

impl Notice {
    /// The order to a worker.
    pub fn order(self) -> Order {
        match self {
            Self::Reachable(key, id) => Order::Reachable(key, id),
            Self::Unreachable(key) => Order::Unreachable(key),
        }
    }
}

/// An ARP message in a complete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpFrame {
    /// Out of this interface.
    pub interface: InterfaceId,
    /// Bytes in use of `bytes`.
    pub length: u8,
    /// From the Ethernet header on, padded to Ethernet's minimum.
    pub bytes: [u8; SMALL_FRAME],
}

impl ArpFrame {
    /// The order to the worker that sends it.
    pub fn order(self) -> Order {
        let Self { interface, length, bytes } = self;
        Order::Send { interface, length, bytes }
    }
}
