//! ARP messages to send (RFC 826), and who they are from.

use super::ArpFrame;
use crate::text::addresses;
use dataplane::exchange::orders::SMALL_FRAME;
use dataplane::names::ids::{NeighbourKey, PortIndex};
use dataplane::names::mac::Mac;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// An `EthPort` as the sender of requests.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its index.
    pub port: PortIndex,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses with prefixes.
    pub addresses: Vec<Ipv4Net>,
    /// A VIP that speaks for a port that has no address.
    pub vip: Option<Ipv4Addr>,
}

/// Ethernet's minimum without the frame check sequence.
const MINIMUM: usize = 60;
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Hardware Ethernet, protocol IPv4, their address lengths; then the operation.
const REQUEST: [u8; 8] = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
const REPLY: [u8; 8] = [0, 1, 0x08, 0x00, 6, 4, 0, 2];

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
        Some(self.frame(&REQUEST, sender, (Mac([0; 6]), key.address), to))
    }

    /// Says to all that `address` is ours, in both forms (RFC 5944 §4.6): a request for itself (RFC 5227 §3), and a
    /// reply that nobody asked for, whose target is ourselves, too.
    pub(super) fn announcement(&self, address: Ipv4Addr) -> [ArpFrame; 2] {
        [(&REQUEST, Mac([0; 6])), (&REPLY, self.mac)]
            .map(|(form, target_mac)| self.frame(form, address, (target_mac, address), Mac::BROADCAST))
    }

    fn frame(&self, form: &[u8; 8], sender: Ipv4Addr, target: (Mac, Ipv4Addr), to: Mac) -> ArpFrame {
        let mut bytes = [0; SMALL_FRAME];
        let parts: [&[u8]; 9] = [
            &to.0,
            &self.mac.0,
            &ETHERTYPE_ARP,
            form,
            &self.mac.0,
            &sender.octets(),
            &target.0.0,
            &target.1.octets(),
            &[0; MINIMUM - 42],
        ];
        bytes[..MINIMUM].copy_from_slice(&parts.concat());
        ArpFrame { port: self.port, length: MINIMUM as u8, bytes }
    }
}
