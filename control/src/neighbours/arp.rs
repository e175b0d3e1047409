//! ARP messages to send (RFC 826).

use super::action::SmallFrame;
use super::interface::Interface;
use dataplane::names::mac::Mac;
use dataplane::wire::arp;
use std::net::Ipv4Addr;

/// Asks for the MAC of `target`: all of the link, or the host that had the MAC `known`.
pub(super) fn request(
    interface: &Interface,
    sender: Ipv4Addr,
    target: Ipv4Addr,
    known: Option<Mac>,
) -> SmallFrame {
    let to = known.unwrap_or(Mac::BROADCAST);
    SmallFrame::new(interface.id, &arp::request(interface.mac, sender, target, to))
}

/// Says to all that `address` is ours, in both forms (RFC 5944 §4.6): a request for itself, and a reply.
pub(super) fn announcement(interface: &Interface, address: Ipv4Addr) -> Vec<SmallFrame> {
    let Interface { id, mac, .. } = *interface;
    let forms = [arp::announcement(mac, address), arp::unasked_reply(mac, address)];
    forms.iter().map(|frame| SmallFrame::new(id, frame)).collect()
}
