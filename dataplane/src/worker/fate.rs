//! What becomes of a frame.

use crate::exchange::peers::Purpose;
use crate::fragments;
use crate::names::drop_reason::DropReason;
use crate::names::ids::{InterfaceId, NeighbourKey, RealId};

/// What becomes of a frame that is not dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It leaves, translated or routed, out of this interface.
    Sent(InterfaceId),
    /// It leaves in fragments of at most `mtu` bytes, for it is longer than the interface's MTU.
    SentInFragments { out: InterfaceId, mtu: u16 },
    /// It has been turned into an answer, in place of the packet that was dropped for this reason, if it was.
    Answer { out: InterfaceId, instead_of: Option<DropReason> },
    /// It goes to the worker that owns it.
    HandOver { to: usize, arrival: InterfaceId, purpose: Purpose },
    /// What it says has been taken (an ARP message), and it is freed.
    Consumed,
    /// It is as it came in, and there is more to it than the fast path does.
    Slow,
    /// Likewise; it makes no connection, and has been scheduled to this real.
    SlowTo(RealId),
    /// It is as it came in, and waits until this neighbour's MAC is known.
    Await(NeighbourKey),
    /// Likewise; it makes no connection, and has been scheduled to this real.
    AwaitTo(NeighbourKey, RealId),
    /// It is as it came in, a fragment that waits for the first of its datagram.
    AwaitFirstFragment(fragments::Key),
    /// It is as it came in, a fragment of a ping, which is put together.
    Gather(fragments::Address, fragments::Piece),
}

/// The fate of a frame, or why it is dropped. A drop is nothing else than this error, and
/// [`dispose`](super::io::egress::Egress::dispose) counts it.
pub(super) type Judged = Result<Fate, DropReason>;
