//! The way back to a new connection's client.

use crate::frame::FrameIo;
use crate::names::ids::{InterfaceId, NextHopId};
use crate::snapshot::{NextOnWay, Snapshot};
use crate::worker::Handler;
use std::net::IpAddr;

/// The ids of the gateways, by their numbers in the snapshot's routes, so that clients behind one cost no
/// look-up among the neighbours; [`NextHopId::UNKNOWN`] until it is looked up.
#[derive(Default)]
pub(in crate::worker) struct Gateways {
    ids: Vec<NextHopId>,
}

impl Gateways {
    /// The routes, or the neighbours that have an id, have changed.
    pub(in crate::worker) fn forget(&mut self, snapshot: &Snapshot) {
        self.ids.clear();
        self.ids.resize(snapshot.routes.gateways().len(), NextHopId::UNKNOWN);
    }
}

impl<Io: FrameIo> Handler<Io> {
    /// The id of the host that replies to a client are sent to next whose packets come by `port`; as long as it has
    /// none, the port's own.
    #[inline(always)]
    pub(in crate::worker) fn way_back<A: Into<IpAddr> + Copy>(
        &mut self,
        client: A,
        port: InterfaceId,
        snapshot: &Snapshot,
    ) -> NextHopId {
        let next = snapshot.routes.to_client(client.into(), port);
        let gateway = next.and_then(|next| next.gateway);
        match gateway.and_then(|number| self.gateways.ids.get(number)) {
            Some(id) if *id != NextHopId::UNKNOWN => *id,
            _ => self.look_up(client, port, snapshot),
        }
    }

    #[inline(never)]
    fn look_up<A: Into<IpAddr>>(&mut self, client: A, port: InterfaceId, snapshot: &Snapshot) -> NextHopId {
        let Some(NextOnWay { key, gateway }) = snapshot.routes.to_client(client.into(), port) else {
            return NextHopId::UNKNOWN;
        };
        let Some(id) = self.neighbours.get(&key).copied() else { return NextHopId::behind(port) };
        if let Some(kept) = gateway.and_then(|number| self.gateways.ids.get_mut(number)) {
            *kept = id;
        }
        id
    }
}
