//! Multicast listener discovery: routers and switches ask which groups are listened to. The control thread answers,
//! since it says so unasked as well.

use super::Slow;
use super::heard::KEPT_FOR_WANTED;
use crate::exchange::orders::NeighbourEvent;
use crate::frame::Frame;
use crate::names::drop_reason::DropReason;
use crate::wire::ipv6::Packet;
use crate::wire::mld::Query;
use crate::wire::ndp::ALL_NODES;
use crate::worker::fate::{Fate, Judged};

impl<F: Frame> Slow<'_, F> {
    /// A message of ICMPv6 with a type [of listener discovery](crate::wire::mld::is_listener_discovery), to an own
    /// address or to a group that is listened to. Whether it is a valid query is found here (RFC 3810 §6.2).
    pub(in crate::worker) fn listener_discovery(&mut self, frame: &F) -> Judged {
        let packet = Packet::in_frame(frame.bytes()).map_err(|_| DropReason::Malformed)?;
        let query = Query::parse(&packet).ok_or(DropReason::Mld)?;
        let Self { snapshot, arrival, .. } = *self;
        let event = NeighbourEvent::GroupsAsked { interface: arrival, query };
        let reported = snapshot.listens(arrival, query.group.unwrap_or(ALL_NODES))
            && self.reach.can_report(KEPT_FOR_WANTED)
            && self.limits.on(arrival).groups_asked.take(self.now)
            && self.reach.report(event);
        if reported { Ok(Fate::Consumed) } else { Err(DropReason::Mld) }
    }
}
