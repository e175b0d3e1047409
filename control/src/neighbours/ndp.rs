//! Messages of neighbour discovery to send (RFC 4861, RFC 4862).

use super::action::SmallFrame;
use super::interface::Interface;
use dataplane::names::mac::Mac;
use dataplane::wire::ndp;
use std::net::Ipv6Addr;

/// What our advertisements say: packets are passed on here.
const IS_ROUTER: bool = true;

/// Asks for the MAC of `target`: its group, or the host that had the MAC `known`.
pub(super) fn solicitation(
    interface: &Interface,
    source: Ipv6Addr,
    target: Ipv6Addr,
    known: Option<Mac>,
) -> SmallFrame {
    SmallFrame::new(interface.id, &ndp::solicitation(interface.mac, source, target, known))
}

/// Asks whether anyone else has `address`. Who does answers, which is a conflict.
pub(super) fn probe(interface: &Interface, address: Ipv6Addr) -> SmallFrame {
    SmallFrame::new(interface.id, &ndp::probe(interface.mac, address))
}

/// Says to all that `address` is ours.
pub(super) fn announcement(interface: &Interface, address: Ipv6Addr) -> SmallFrame {
    SmallFrame::new(interface.id, &ndp::announcement(interface.mac, address, IS_ROUTER))
}
