//! What hosts of the link say of themselves, by ARP or neighbour discovery: reported to the control thread.

use super::Slow;
use crate::exchange::orders::NeighbourEvent;
use crate::frame::Frame;
use crate::names::ids::NeighbourKey;
use crate::names::mac::Mac;
use std::net::IpAddr;

/// Slots of the ring that what neighbours say leaves free for what is wanted of them.
pub(super) const KEPT_FOR_WANTED: usize = 64;
/// Slots that answers of hosts which no packet waits for leave free for those of next hops: anybody can send some.
const KEPT_FOR_KNOWN: usize = 128;

/// A host, and the MAC that it says is its.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) address: IpAddr,
    pub(super) mac: Mac,
    /// As in [`NeighbourEvent::Heard`].
    pub(super) reply: bool,
    /// Likewise.
    pub(super) replaces: bool,
}

impl<F: Frame> Slow<'_, F> {
    /// Whether the interface that the packet came by answers for this address.
    pub(super) fn is_ours_here(&self, address: IpAddr) -> bool {
        self.snapshot.local(address).is_some_and(|local| local.interfaces & self.arrival.bit() != 0)
    }

    /// Whether an own interface has this MAC: a link may send back what was sent to it.
    pub(super) fn is_own_mac(&self, mac: Mac) -> bool {
        self.snapshot.interfaces.iter().any(|own| own.mac == mac)
    }

    /// Another host says that an own address of this link is its. That is reported to the control thread; an own
    /// message that a link sends back is not (RFC 5227 §2.1.1, §2.4). Whether it was reported.
    pub(super) fn claimed(&mut self, address: IpAddr, mac: Mac) -> bool {
        let key = NeighbourKey { interface: self.arrival, address };
        !self.is_own_mac(mac)
            && self.reach.can_report(KEPT_FOR_WANTED)
            && self.limits.claimed.take(self.now)
            && self.reach.report(NeighbourEvent::Conflict { key, mac })
    }

    /// Reports to the control thread what a host says of itself, where that may matter: it is a next hop, packets wait
    /// for it, or it answers us. Hosts that nothing is sent to are not listened to, so that what they say cannot fill
    /// the ring. Whether it was reported.
    pub(super) fn heard(&mut self, said: Said) -> bool {
        let Said { address, mac, reply, replaces } = said;
        if address.is_unspecified() || mac.is_group() || self.snapshot.local(address).is_some() {
            return false;
        }
        let key = NeighbourKey { interface: self.arrival, address };
        let id = self.reach.id(key);
        let is_known = id.is_some() || self.held.waiting.is_awaited(key);
        let worth_reporting = match id {
            Some(id) => {
                let known = self.reach.next_hops.get(id);
                reply || !known.is_resolved() || known.mac() != mac
            }
            None => reply || is_known,
        };
        let limits = self.limits.on(self.arrival);
        let (limit, kept) = if is_known {
            (&mut limits.heard, KEPT_FOR_WANTED)
        } else {
            (&mut limits.heard_of_others, KEPT_FOR_KNOWN)
        };
        let event = NeighbourEvent::Heard { key, mac, reply, replaces };
        worth_reporting && self.reach.can_report(kept) && limit.take(self.now) && self.reach.report(event)
    }
}
