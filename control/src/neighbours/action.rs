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
    Send(SmallFrame),
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

/// Ethernet's minimum without the frame check sequence, in bytes.
const MINIMUM: usize = 60;

/// A message in a complete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallFrame {
    /// Out of this interface.
    pub interface: InterfaceId,
    /// Bytes in use of `bytes`.
    pub length: u8,
    /// From the Ethernet header on, padded to Ethernet's minimum.
    pub bytes: [u8; SMALL_FRAME],
}

impl SmallFrame {
    /// With this message, which has an Ethernet header and is no longer than [`SMALL_FRAME`], and zeros up to
    /// Ethernet's minimum.
    pub(super) fn new(interface: InterfaceId, message: &[u8]) -> Self {
        let mut bytes = [0; SMALL_FRAME];
        bytes[..message.len()].copy_from_slice(message);
        Self { interface, length: message.len().max(MINIMUM) as u8, bytes }
    }

    /// The order to the worker that sends it.
    pub fn order(self) -> Order {
        let Self { interface, length, bytes } = self;
        Order::Send { interface, length, bytes }
    }
}
