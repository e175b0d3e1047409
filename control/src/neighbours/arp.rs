//! ARP messages to send (RFC 826), and the interfaces that they are from.

use super::ArpFrame;
use crate::model::rules;
use dataplane::exchange::orders::SMALL_FRAME;
use dataplane::names::family::V4;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::wire::arp;
use ipnet::IpNet;
use std::net::IpAddr;

/// An interface as the sender of requests.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its index.
    pub id: InterfaceId,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses with prefixes.
    pub addresses: Vec<IpNet>,
    /// A VIP that speaks for an interface that has no address.
    pub vip: Option<IpAddr>,
}

/// Ethernet's minimum without the frame check sequence, in bytes.
const MINIMUM: usize = 60;

impl Interface {
    /// Whether this is the address of a host that can be asked for.
    pub(super) fn may_ask(&self, address: IpAddr) -> bool {
        let own = || self.addresses.iter().any(|prefix| prefix.addr() == address);
        rules::is_unicast(address) && !own()
    }

    /// A request for `key`; `None` while there is no address to send it from.
    pub(super) fn request(&self, key: NeighbourKey, to: Mac) -> Option<ArpFrame> {
        // RFC 826 leaves open which of our addresses asks; hosts tend to ignore one outside their prefix.
        let on_link = self.addresses.iter().find(|prefix| prefix.contains(&key.address));
        let sender = on_link.or(self.addresses.first()).map(IpNet::addr).or(self.vip)?;
        let (sender, target) = V4::address(sender).zip(V4::address(key.address))?;
        Some(self.padded(&arp::request(self.mac, sender, target, to)))
    }

    /// Says to all that `address`, if it is IPv4, is ours, in both forms (RFC 5944 §4.6): a request for itself, and a
    /// reply.
    pub(super) fn announcement(&self, address: IpAddr) -> Option<[ArpFrame; 2]> {
        let address = V4::address(address)?;
        let request = arp::announcement(self.mac, address);
        Some([request, arp::unasked_reply(self.mac, address)].map(|frame| self.padded(&frame)))
    }

    fn padded(&self, frame: &[u8; arp::FRAME]) -> ArpFrame {
        let mut bytes = [0; SMALL_FRAME];
        bytes[..arp::FRAME].copy_from_slice(frame);
        ArpFrame { interface: self.id, length: MINIMUM as u8, bytes }
    }
}
