//! The way back to a new connection's client.

use super::Handler;
use crate::frame::FrameIo;
use crate::ids::NextHopId;
use crate::snapshot::{NextOnWay, Snapshot};
use std::net::Ipv4Addr;

/// The ids of the gateways, by their numbers in the snapshot's routes, so that clients behind one cost no
/// look-up among the neighbours; [`NextHopId::UNKNOWN`] until it is looked up.
#[derive(Default)]
pub(super) struct Gateways {
    ids: Vec<NextHopId>,
}

impl Gateways {
    /// The routes, or the neighbours that have an id, have changed.
    pub(super) fn forget(&mut self, snapshot: &Snapshot) {
        self.ids.clear();
        self.ids.resize(snapshot.routes.gateways().len(), NextHopId::UNKNOWN);
    }
}

impl<Io: FrameIo> Handler<Io> {
    /// The id of the host that replies to this client are sent to next, if it has one.
    #[inline(always)]
    pub(super) fn way_back(&mut self, client: Ipv4Addr, snapshot: &Snapshot) -> NextHopId {
        let next = snapshot.routes.next_on_way(client);
        let gateway = next.and_then(|next| next.gateway);
        match gateway.and_then(|number| self.gateways.ids.get(number)) {
            Some(id) if *id != NextHopId::UNKNOWN => *id,
            _ => self.look_up(client, snapshot),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, client: Ipv4Addr, snapshot: &Snapshot) -> NextHopId {
        let Some(NextOnWay { key, gateway }) = snapshot.routes.next_on_way(client) else {
            return NextHopId::UNKNOWN;
        };
        let id = self.neighbours.get(&key).copied().unwrap_or(NextHopId::UNKNOWN);
        if let Some(kept) = gateway.and_then(|number| self.gateways.ids.get_mut(number)) {
            *kept = id;
        }
        id
    }
}
