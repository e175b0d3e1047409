//! Packets of connections whose real, or its service, has been removed, or whose real is emptied, and SYNs and INITs
//! that are sent again.
//!
//! A SYN or INIT of a connection whose real has been removed, or has weight 0, is scheduled anew whatever the state: as
//! the kernel does with `expire_nodest_conn=1`. So a client whose SYN met a dead server reaches another by its next
//! one. What becomes of other packets of removed reals is for the service to say; a real that is emptied is handled as
//! with `reset`:
//!
//! ```text
//!             TCP, and SCTP with ABORT for RST                UDP
//! drop        dropped, and counted                            dropped, and counted
//! reset       RST to both sides, and it is forgotten          ICMP port unreachable, and it is forgotten
//! reschedule  RST to the client, and it is forgotten          scheduled anew
//! ```
//!
//! The RST to the client and the RST to the server have the numbers that each of the two waits for, as far as the
//! segment at hand tells. A server that does not take its own (the segment was sent twice) is reset with its next
//! segment, which is of no connection then.

use super::Slow;
use super::packet::Segment;
use crate::connection::{TcpEvent, Transport, sctp};
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::names::ids::{InterfaceId, Protocol};
use crate::snapshot::OnRemoval;
use crate::wire::{answer, answer6};
use crate::worker::fate::Judged;
use crate::worker::flows::Found;
use crate::worker::held::Besides;
use std::net::SocketAddr;

/// How a connection stands when a packet of its client has come.
pub(in crate::worker) enum Standing {
    /// The packet is of it.
    GoesOn,
    /// It is forgotten, and the packet opens another.
    BeginsAnew,
    /// It is over, and so is the packet.
    Ends(Ending),
}

/// How a connection of a removed real ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) enum Ending {
    /// Nobody is told, and it stays: the real may be added again.
    Silent,
    /// The client is told.
    ToClient,
    /// Both sides are told.
    ToBoth,
}

impl<F: Frame> Slow<'_, F> {
    /// How the connection stands that a client's packet has been found to be of.
    pub(super) fn standing(&self, segment: &Segment, found: Found) -> Standing {
        let real = found.real;
        let removed = self.snapshot.on_removal(real);
        if segment.begins() {
            // As with conn_reuse_mode=1, which leaves clients with the real that they stay with.
            let is_reused =
                found.state.is_closing() && !self.flows.stays_with(&segment.ends, real, self.snapshot);
            let begins_anew = is_reused || removed.is_some() || self.snapshot.is_quiesced(real);
            return if begins_anew { Standing::BeginsAnew } else { Standing::GoesOn };
        }
        match removed {
            None => Standing::GoesOn,
            // Its connection is forgotten with the first fragment.
            Some(_) if segment.transport.is_none() => Standing::Ends(Ending::Silent),
            Some(OnRemoval::Drop) => Standing::Ends(Ending::Silent),
            Some(OnRemoval::Reset) => Standing::Ends(Ending::ToBoth),
            Some(OnRemoval::Reschedule) => match segment.ends.protocol {
                Protocol::Tcp | Protocol::Sctp => Standing::Ends(Ending::ToClient),
                Protocol::Udp => Standing::BeginsAnew,
            },
        }
    }

    /// Ends a connection of a removed real with a packet of its client.
    pub(super) fn end(&mut self, frame: &mut F, segment: &Segment, found: Found, ending: Ending) -> Judged {
        let reason = match ending {
            Ending::Silent => return Err(DropReason::RealRemoved),
            Ending::ToClient | Ending::ToBoth => DropReason::ConnectionReset,
        };
        if segment.ends.protocol == Protocol::Udp {
            self.flows.close_found(found);
            return self.answer_port_unreachable(frame, reason, segment.ends.destination.ip());
        }
        // While it can still be read.
        let onward = match ending {
            Ending::ToBoth => self.reset_onward(frame, segment, found),
            _ => None,
        };
        // The client's own RST or ABORT ends it too, and is not answered.
        let is_over = matches!(
            segment.transport,
            Some(Transport::Tcp(TcpEvent::Reset) | Transport::Sctp(sctp::Event::Abort))
        );
        let judged = self.answer_with_reset(frame, reason);
        if judged.is_ok() || is_over {
            self.flows.close_found(found);
            self.held.besides = onward;
        }
        judged
    }

    /// The RST or ABORT to the real, as from the client whose segment this is; `None` if there is no way to the real
    /// any more.
    fn reset_onward(&self, frame: &F, segment: &Segment, found: Found) -> Option<(InterfaceId, Besides)> {
        let real = self.snapshot.connection_key(found.real, found.port)?;
        let way = self.reach.way(found.course(), segment.ends.destination.ip(), self.snapshot)?;
        let (_, destination) = self.reach.resolved(way.hop, way.known)?;
        let source = self.snapshot.interfaces.get(way.hop.interface.index())?.mac;
        let (bytes, macs) = (frame.bytes(), (source, destination));
        let reset = match (segment.ends.protocol, real.endpoint) {
            (Protocol::Sctp, SocketAddr::V4(to)) => answer::abort_onward(bytes, to, macs).map(besides),
            (Protocol::Sctp, SocketAddr::V6(to)) => answer6::abort_onward(bytes, to, macs).map(besides),
            (_, SocketAddr::V4(to)) => answer::reset_onward(bytes, to, macs).map(besides),
            (_, SocketAddr::V6(to)) => answer6::reset_onward(bytes, to, macs).map(besides),
        };
        Some((way.hop.interface, reset?))
    }
}

/// A frame of this many bytes, which is no longer than the longest.
fn besides<const LENGTH: usize>(frame: [u8; LENGTH]) -> Besides {
    frame.into_iter().collect()
}
