//! Everything that is not a plain packet of a connection, one packet at a time: new connections, ICMP, ARP, routing,
//! and whatever is wrong. Follows the order in which Linux and IPVS judge a packet.
//!
//! ```text
//! link        which protocol, and is the frame for us?
//! arp         answering for own addresses, and hearing neighbours
//! ndp         likewise, in IPv6
//! heard       what hosts of the link say of themselves, in either family
//! mld         which multicast groups are listened to
//! ip          is the packet to us, or through us? And how it leaves
//! ip6         likewise of IPv6
//! fragments   which connection a fragment belongs to
//! transport   TCP and UDP: packets of connections, and those that open one
//! removal     packets of connections whose real has been removed, or takes no new ones
//! openings    which packets open a connection, and which real it gets
//! icmp        ping, and which messages are errors about packets
//! icmp6       likewise of IPv6
//! errors      the errors of both that are about packets of connections
//! echo        pings in fragments
//! route       packets of no connection
//! answers     RST and ICMP errors, each kind under a limit of its own
//! packet      what is known of a packet
//! waiting     packets that wait until the MAC of their next hop is known
//! ```
//!
//! A frame comes here as it came in: what the fast path has read of it is read again, from its first byte.

pub(super) mod answers;
pub(super) mod arp;
pub(super) mod echo;
pub(super) mod errors;
pub(super) mod fragments;
mod heard;
pub(super) mod icmp;
pub(super) mod icmp6;
pub(super) mod ip;
pub(super) mod ip6;
pub(super) mod link;
pub(super) mod mld;
pub(super) mod ndp;
pub(super) mod openings;
pub(super) mod packet;
pub(super) mod removal;
pub(super) mod route;
pub(super) mod transport;
pub(super) mod waiting;

use super::fate::{Fate, Judged};
use super::flows::Flows;
use super::held::Held;
use super::io::hand_over::hand_over;
use super::io::limit::Limits;
use super::reach::Reach;
use super::turn::Turn;
use crate::counters::WorkerCounters;
use crate::exchange::peers::Peers;
use crate::fragments::Ports;
use crate::frame::{Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::ids::{InterfaceId, NeighbourKey, Protocol, RealId};
use crate::names::time::Now;
use crate::snapshot::Snapshot;

/// What judges one packet: how it came here, and what it may ask and change. It neither sends nor frees.
pub(super) struct Slow<'a, F> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) arrival: InterfaceId,
    pub(super) now: Now,
    pub(super) flows: &'a mut Flows,
    pub(super) reach: &'a mut Reach,
    pub(super) held: &'a mut Held<F>,
    pub(super) limits: &'a mut Limits,
    pub(super) peers: &'a Peers<F>,
    pub(super) counters: &'a WorkerCounters,
    /// The real that the packet has been scheduled to before, if it makes no connection.
    pub(super) scheduled: Option<RealId>,
}

impl<F: Frame> Slow<'_, F> {
    /// What becomes of a frame that arrived here.
    fn judge(&mut self, frame: &mut F) -> Judged {
        if !self.peers.is_alone()
            && let Some(fate) = hand_over(frame, self.arrival, self.snapshot, self.peers, self.counters)
        {
            return Ok(fate);
        }
        self.link_layer(frame)
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Handles one frame to its end, and the fragments that waited for it.
    pub(super) fn walk_slow(&mut self, frame: Io::Frame, arrival: InterfaceId) {
        self.walk_slow_to(frame, arrival, None);
    }

    /// As [`walk_slow`](Self::walk_slow), for a frame that may have been scheduled to this real before.
    pub(super) fn walk_slow_to(&mut self, frame: Io::Frame, arrival: InterfaceId, scheduled: Option<RealId>) {
        self.judge_and_settle(frame, arrival, scheduled);
        // These hold none themselves, so that there is no end to come to but theirs.
        let Some(released) = self.held.fragments.take_released() else { return };
        for (arrival, frame) in released {
            self.judge_and_settle(frame, arrival, None);
        }
    }

    /// Handles a fragment whose protocol and ports another worker has found. One that has to wait for its next hop
    /// walks the whole way again then, and is dropped there.
    pub(super) fn slow_fragment(
        &mut self,
        mut frame: Io::Frame,
        found: (Protocol, Ports),
        arrival: InterfaceId,
    ) {
        let judged = self.slow(arrival).fragment_with_ports(&mut frame, found);
        self.settle(frame, judged, arrival);
    }

    fn judge_and_settle(&mut self, mut frame: Io::Frame, arrival: InterfaceId, scheduled: Option<RealId>) {
        let judged = Slow { scheduled, ..self.slow(arrival) }.judge(&mut frame);
        self.settle(frame, judged, arrival);
    }

    /// Keeps a frame that waits for something; any other leaves, and a second one that it has caused.
    pub(super) fn settle(&mut self, frame: Io::Frame, judged: Judged, arrival: InterfaceId) {
        match judged {
            Ok(Fate::Await(key)) => self.hold(key, None, frame, arrival),
            Ok(Fate::AwaitTo(key, real)) => self.hold(key, Some(real), frame, arrival),
            Ok(Fate::AwaitFirstFragment(key)) => {
                let given_up = self.held.fragments.hold(key, arrival, frame, self.now);
                self.held.count_given_up(DropReason::FragmentQueueFull, given_up);
            }
            Ok(Fate::Gather(address, piece)) => self.gather(address, piece, frame, arrival),
            judged => self.egress.dispose(frame, judged),
        }
        if let Some((out, bytes)) = self.held.besides.take() {
            self.counters.answers.add(1);
            self.egress.send(out, &bytes);
        }
    }

    /// Keeps a frame until its next hop is known, and drops the one that has to go in its place.
    fn hold(&mut self, key: NeighbourKey, scheduled: Option<RealId>, frame: Io::Frame, arrival: InterfaceId) {
        let instead_of = Slow { scheduled, ..self.slow(arrival) }.hold(key, frame);
        if let Some(frame) = instead_of {
            self.egress.dispose(frame, Err(DropReason::NextHopQueueFull));
        }
    }
}

#[cfg(test)]
mod tests;
