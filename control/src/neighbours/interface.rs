//! Interfaces as senders of what is asked and said on their links, by ARP or neighbour discovery.

use super::action::SmallFrame;
use super::{arp, ndp};
use crate::model::rules;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// An interface as the sender of requests.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its index.
    pub id: InterfaceId,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses with prefixes.
    pub addresses: Vec<IpNet>,
    /// VIPs that speak for it in families that it has no address of: one of each at most.
    pub vips: Vec<IpAddr>,
}

impl Interface {
    /// Whether this is the address of a host that can be asked for.
    pub(super) fn may_ask(&self, address: IpAddr) -> bool {
        let own = || self.addresses.iter().any(|prefix| prefix.addr() == address);
        rules::is_unicast(address) && !own()
    }

    /// Whether it has an address of this one's family.
    pub fn has_family_of(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|prefix| prefix.addr().is_ipv4() == address.is_ipv4())
    }

    /// Which own address asks for this one: RFC 826 and RFC 4861 §7.2.2 leave that open, but hosts tend to ignore one
    /// outside their prefix. In IPv6 a link-local address is within it on any link.
    fn speaker(&self, target: IpAddr) -> Option<IpAddr> {
        let of_family = || self.addresses.iter().filter(|prefix| prefix.addr().is_ipv4() == target.is_ipv4());
        let on_link = of_family().find(|prefix| prefix.contains(&target));
        let link_local = || of_family().find(|prefix| rules::is_link_local(prefix.addr()));
        let own = on_link.or_else(link_local).or_else(|| of_family().next()).map(IpNet::addr);
        own.or_else(|| self.vips.iter().copied().find(|vip| vip.is_ipv4() == target.is_ipv4()))
    }

    /// The address that reports about groups come from: the link-local one, if it has any (RFC 3810 §5.2.13).
    pub(super) fn link_local(&self) -> Ipv6Addr {
        let of = |prefix: &IpNet| match prefix.addr() {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        };
        self.addresses.iter().find_map(of).unwrap_or(Ipv6Addr::UNSPECIFIED)
    }

    /// A request for `key`, to all or to the host that had the MAC `known`; `None` while there is no address to send
    /// it from.
    pub(super) fn request(&self, key: NeighbourKey, known: Option<Mac>) -> Option<SmallFrame> {
        match (self.speaker(key.address)?, key.address) {
            (IpAddr::V4(sender), IpAddr::V4(target)) => Some(arp::request(self, sender, target, known)),
            (IpAddr::V6(sender), IpAddr::V6(target)) => Some(ndp::solicitation(self, sender, target, known)),
            _ => None,
        }
    }

    /// Says to all that `address` is ours.
    pub(super) fn announcement(&self, address: IpAddr) -> Vec<SmallFrame> {
        match address {
            IpAddr::V4(address) => arp::announcement(self, address),
            IpAddr::V6(address) => vec![ndp::announcement(self, address)],
        }
    }

    /// Asks, before the first announcement, whether another has `address`, where it is of IPv6.
    pub(super) fn probe(&self, address: IpAddr) -> Option<SmallFrame> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(ndp::probe(self, address)),
        }
    }
}
