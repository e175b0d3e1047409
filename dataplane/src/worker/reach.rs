//! The ways to and back: next hops, the neighbours that have one, and asking the control thread for others.

use crate::exchange::orders::NeighbourEvent;
use crate::live::next_hops::NextHops;
use crate::names::direction::Direction;
use crate::names::family::{IpVersion, V4, V6};
use crate::names::ids::{InterfaceId, NeighbourKey, NextHopId, RealId};
use crate::names::mac::Mac;
use crate::snapshot::{NextOnWay, Snapshot};
use crate::translation::Record;
use hashbrown::HashMap;
use rtrb::Producer;
use std::net::IpAddr;
use std::sync::Arc;

/// What a worker knows of the hosts that it sends to.
pub(super) struct Reach {
    pub(super) next_hops: Arc<NextHops>,
    /// The neighbours that have an id.
    neighbours: HashMap<NeighbourKey, NextHopId>,
    /// The ids of the gateways, by their numbers in the snapshot's routes, so that clients behind one cost no look-up
    /// among the neighbours; [`NextHopId::UNKNOWN`] until it is looked up.
    gateways: Vec<NextHopId>,
    events: Producer<NeighbourEvent>,
}

/// Between whom a packet goes that is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) real: RealId,
    /// The port that the client asked for: it counts if the service is on several.
    pub(super) port: u16,
    pub(super) direction: Direction,
    /// The next hop to the client, as far as it is known.
    pub(super) back: NextHopId,
}

/// Where a connection's packets are sent next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) hop: NeighbourKey,
    /// Its id, as far as it has been given one.
    pub(super) known: NextHopId,
}

impl Reach {
    pub(super) fn new(next_hops: Arc<NextHops>, events: Producer<NeighbourEvent>) -> Self {
        let neighbours = HashMap::with_capacity(NextHops::CAPACITY);
        Self { next_hops, neighbours, gateways: Vec::new(), events }
    }

    /// The routes have changed.
    pub(super) fn adopt(&mut self, snapshot: &Snapshot) {
        self.gateways.clear();
        self.gateways.resize(snapshot.routes.gateways().len(), NextHopId::UNKNOWN);
    }

    /// This neighbour can be reached by this id.
    pub(super) fn reachable(&mut self, key: NeighbourKey, id: NextHopId, snapshot: &Snapshot) {
        self.neighbours.insert(key, id);
        self.adopt(snapshot);
    }

    /// This neighbour does not answer.
    pub(super) fn unreachable(&mut self, key: NeighbourKey, snapshot: &Snapshot) {
        self.neighbours.remove(&key);
        self.adopt(snapshot);
    }

    /// The id of a neighbour, if it has one.
    pub(super) fn id(&self, key: NeighbourKey) -> Option<NextHopId> {
        self.neighbours.get(&key).copied()
    }

    /// The id and MAC of a next hop: by its known id, or looked up.
    pub(super) fn resolved(&self, hop: NeighbourKey, known: NextHopId) -> Option<(NextHopId, Mac)> {
        let id = if known.is_known() { known } else { self.id(hop)? };
        let next_hop = self.next_hops.get(id);
        next_hop.is_resolved().then(|| (id, next_hop.mac()))
    }

    /// The way of a connection's packets, and of the errors about them: towards the real, or back to `client` by the
    /// interface that its packets came by. It is the one that the fast path takes, by the same ids.
    pub(super) fn way(&self, course: Course, client: IpAddr, snapshot: &Snapshot) -> Option<Way> {
        let (known, hop) = match course.direction {
            Direction::Forward => {
                let real = snapshot.real_key(course.real)?;
                let known = match IpVersion::of(real.endpoint.ip()) {
                    IpVersion::Four => snapshot.rewrite::<V4>(course.real).next_hop(),
                    IpVersion::Six => snapshot.rewrite::<V6>(course.real).next_hop(),
                };
                (known, snapshot.routes.to_real(real.endpoint.ip())?)
            }
            Direction::Reverse => {
                let known = course.back;
                let arrival = known.only_interface().or_else(|| self.next_hops.get(known).last_interface());
                let hop = match arrival {
                    Some(arrival) => snapshot.routes.to_client(client, arrival)?.key,
                    None => snapshot.routes.next(client)?,
                };
                (known, hop)
            }
        };
        Some(Way { hop, known })
    }

    /// The id of the host that replies to a client are sent to next whose packets come by `arrival`; as long as it has
    /// none, the interface's own.
    #[inline(always)]
    pub(super) fn way_back<A: Into<IpAddr> + Copy>(
        &mut self,
        client: A,
        arrival: InterfaceId,
        snapshot: &Snapshot,
    ) -> NextHopId {
        let next = snapshot.routes.to_client(client.into(), arrival);
        let gateway = next.and_then(|next| next.gateway);
        match gateway.and_then(|number| self.gateways.get(number)) {
            Some(id) if *id != NextHopId::UNKNOWN => *id,
            _ => self.look_up(client, arrival, snapshot),
        }
    }

    #[inline(never)]
    fn look_up<A: Into<IpAddr>>(
        &mut self,
        client: A,
        arrival: InterfaceId,
        snapshot: &Snapshot,
    ) -> NextHopId {
        let Some(NextOnWay { key, gateway }) = snapshot.routes.to_client(client.into(), arrival) else {
            return NextHopId::UNKNOWN;
        };
        let Some(id) = self.id(key) else { return NextHopId::behind(arrival) };
        if let Some(kept) = gateway.and_then(|number| self.gateways.get_mut(number)) {
            *kept = id;
        }
        id
    }

    /// Whether the ring of events has more free slots than this, which are for others.
    pub(super) fn can_report(&self, free: usize) -> bool {
        self.events.slots() > free
    }

    /// Reports to the control thread; false if the ring is full.
    pub(super) fn report(&mut self, event: NeighbourEvent) -> bool {
        self.events.push(event).is_ok()
    }
}
