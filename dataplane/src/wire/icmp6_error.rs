//! ICMPv6 errors about packets that were translated: whose connection they belong to, and their translation.
//!
//! ```text
//! IPv6 header │ ICMPv6 header │ quoted IPv6 header │ at least 8 bytes of TCP, UDP or SCTP
//!   outer                       quoted
//! ```
//! Behind either IPv6 header there may be extension headers.

use super::icmp_error::{Quoted, replace_ports};
use super::ipv6::{self, Packet, address_at};
use super::ipv6_extensions::{self, UpperLayer};
use super::{be_u16, checksum, ethernet, icmp6, ports, tcp};
use crate::frame::Frame;
use crate::names::ids::Protocol;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Bytes of the quoted transport header that are needed. An error quotes all of the packet that fits in the least MTU
/// (RFC 4443 §2.4 (c)), which is more as a rule.
const LEAST_TRANSPORT: usize = 8;

/// What the ICMPv6 error in `packet` quotes. `None` if `packet` is a fragment or no error, or if the quoted packet is
/// not the beginning of a TCP segment, UDP datagram or SCTP packet. Errors of unknown types count (RFC 4443 §2.4 (a)).
/// The ICMPv6 checksum is not looked at: see [`icmp6::Message::has_right_checksum`].
pub fn quoted(packet: &Packet<'_>) -> Option<Quoted> {
    let quote = Quote::find(packet)?;
    let quoted = packet.bytes().get(quote.header..)?;
    let transport = packet.bytes().get(quote.transport..)?;
    let endpoint =
        |address, port| SocketAddr::new(address_at(quoted, address).into(), be_u16(transport, port));
    Some(Quoted {
        protocol: quote.protocol,
        source: endpoint(ipv6::field::SOURCE, ports::SOURCE),
        destination: endpoint(ipv6::field::DESTINATION, ports::DESTINATION),
    })
}

/// Where the packet was going that the ICMPv6 error in `packet` quotes, if it is a fragment other than the first. Its
/// ports are not in it, and its protocol is not always known.
pub fn later_fragments_destination(packet: &Packet<'_>) -> Option<IpAddr> {
    let (_, header, upper) = quoted_headers(packet)?;
    let quoted = packet.bytes().get(header..)?;
    upper.is_later_fragment().then(|| address_at(quoted, ipv6::field::DESTINATION).into())
}

/// Where in the outer packet the message and the quoted packet are.
#[derive(Clone, Copy, Debug)]
struct Quote {
    protocol: Protocol,
    message: usize,
    header: usize,
    transport: usize,
    is_fragment: bool,
}

impl Quote {
    /// The beginning of a TCP segment, UDP datagram or SCTP packet.
    fn find(packet: &Packet<'_>) -> Option<Self> {
        let (message, header, upper) = quoted_headers(packet)?;
        let protocol = Protocol::from_number(upper.protocol)?;
        let transport = header + upper.offset;
        let complete = packet.bytes().len() >= transport + LEAST_TRANSPORT;
        // Where a routing header was not done, the checksum covers another destination than the header's.
        let is_plain = !upper.is_later_fragment() && upper.routing.is_none();
        let is_fragment = upper.is_fragment();
        (complete && is_plain).then_some(Self { protocol, message, header, transport, is_fragment })
    }
}

/// Where in the outer packet the ICMPv6 error and the packet that it quotes begin, and what the quoted one's extension
/// headers lead to.
fn quoted_headers(packet: &Packet<'_>) -> Option<(usize, usize, UpperLayer)> {
    let outer = ipv6_extensions::upper_layer(packet).ok()?;
    if outer.protocol != ipv6::ICMP || outer.is_fragment() || outer.routing.is_some() {
        return None;
    }
    let message = icmp6::Message::parse(packet.bytes().get(outer.offset..)?)?;
    // Its length is that of the whole packet, of which only the beginning is here.
    let quoted = message.data();
    if !icmp6::is_error(message.kind()) || !ipv6::has_header(quoted) {
        return None;
    }
    let upper = ipv6_extensions::walk(quoted).ok()?;
    Some((outer.offset, outer.offset + icmp6::HEADER, upper))
}

/// Translates the ICMPv6 error in a frame: the addresses of the outer packet, and addresses and ports of the quoted.
/// Both checksums that cover a change are updated: the quoted segment's or datagram's, if it is quoted, and ICMPv6's;
/// one that was wrong stays wrong. SCTP's is if the quoted headers tell how long the packet was, which those of a
/// fragment do not. False, and nothing done, if [`quoted`] finds nothing.
pub fn translate<F: Frame>(
    frame: &mut F,
    outer_new_source: Option<Ipv6Addr>,
    outer_new_destination: Option<Ipv6Addr>,
    quoted_new_source: Option<SocketAddrV6>,
    quoted_new_destination: Option<SocketAddrV6>,
) -> bool {
    let Ok(packet) = Packet::in_frame(frame.bytes()) else { return false };
    let Some(quote) = Quote::find(&packet) else { return false };
    let total = packet.bytes().len();

    let bytes = &mut frame.bytes_mut()[ethernet::HEADER..][..total];
    let mut delta = 0;
    if let Some(address) = outer_new_source {
        delta = checksum::add(delta, ipv6::replace_source(bytes, address));
    }
    if let Some(address) = outer_new_destination {
        delta = checksum::add(delta, ipv6::replace_destination(bytes, address));
    }

    // All of the quoted packet that can change lies in here, and it begins on a word of what the checksum covers.
    let changing = quote.header..total.min(quote.transport + tcp::HEADER);
    let before = checksum::sum(&bytes[changing.clone()]);
    rewrite(&mut bytes[quote.header..], quote, quoted_new_source, quoted_new_destination);
    delta = checksum::add(delta, checksum::add(!before, checksum::sum(&bytes[changing])));

    let place = quote.message + icmp6::field::CHECKSUM;
    let check = checksum::adjust(checksum::read(bytes, place), delta);
    checksum::write(bytes, place, check);
    true
}

/// Rewrites the quoted packet, which begins `bytes`.
fn rewrite(bytes: &mut [u8], quote: Quote, source: Option<SocketAddrV6>, destination: Option<SocketAddrV6>) {
    let transport = quote.transport - quote.header;
    let total = ipv6::HEADER + usize::from(be_u16(bytes, ipv6::field::PAYLOAD_LENGTH));
    let length = total.checked_sub(transport).filter(|_| !quote.is_fragment);
    let mut delta = 0;
    if let Some(endpoint) = source {
        delta = checksum::add(delta, ipv6::replace_source(bytes, *endpoint.ip()));
    }
    if let Some(endpoint) = destination {
        delta = checksum::add(delta, ipv6::replace_destination(bytes, *endpoint.ip()));
    }
    let ports = [source, destination].map(|endpoint| endpoint.map(|endpoint| endpoint.port()));
    replace_ports(&mut bytes[transport..], (quote.protocol, length), ports, delta);
}

#[cfg(test)]
mod tests;
