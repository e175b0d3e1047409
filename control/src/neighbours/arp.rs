//! ARP messages to send (RFC 826), and the interfaces that they are from.

use super::ArpFrame;
use crate::text::addresses;
use dataplane::exchange::orders::SMALL_FRAME;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::wire::arp;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// An interface as the sender of requests.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its index.
    pub id: InterfaceId,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses with prefixes.
    pub addresses: Vec<Ipv4Net>,
    /// A VIP that speaks for an interface that has no address.
    pub vip: Option<Ipv4Addr>,
}

/// Ethernet's minimum without the frame check sequence, in bytes.
const MINIMUM: usize = 60;

impl Interface {
    /// Whether this is the address of a host that can be asked for.
    pub(super) fn may_ask(&self, address: Ipv4Addr) -> bool {
        let own = || self.addresses.iter().any(|prefix| prefix.addr() == address);
        addresses::is_unicast(address) && !own()
    }

    /// A request for `key`; `None` while there is no address to send it from.
    pub(super) fn request(&self, key: NeighbourKey, to: Mac) -> Option<ArpFrame> {
        // RFC 826 leaves open which of our addresses asks; hosts tend to ignore one outside their prefix.
        let on_link = self.addresses.iter().find(|prefix| prefix.contains(&key.address));
        let sender = on_link.or(self.addresses.first()).map(Ipv4Net::addr).or(self.vip)?;
        Some(self.padded(&arp::request(self.mac, sender, key.address, to)))
    }

    /// Says to all that `address` is ours, in both forms (RFC 5944 §4.6): a request for itself, and a reply.
    pub(super) fn announcement(&self, address: Ipv4Addr) -> [ArpFrame; 2] {
        let request = arp::announcement(self.mac, address);
        [request, arp::unasked_reply(self.mac, address)].map(|frame| self.padded(&frame))
    }

    fn padded(&self, frame: &[u8; arp::FRAME]) -> ArpFrame {
        let mut bytes = [0; SMALL_FRAME];
        bytes[..arp::FRAME].copy_from_slice(frame);
        ArpFrame { interface: self.id, length: MINIMUM as u8, bytes }
    }
}
