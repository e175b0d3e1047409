//! ICMP errors about packets that were translated: whose connection they belong to, and their translation.
//!
//! ```text
//! IPv4 header │ ICMP header │ quoted IPv4 header │ at least 8 bytes of TCP, UDP or SCTP
//!   outer                     quoted
//! ```

use super::ipv4::{self, Packet};
use super::{be_u16, checksum, ethernet, icmp, ports, put, sctp, tcp};
use crate::frame::Frame;
use crate::names::ids::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Bytes of the transport header that an error quotes at least (RFC 792).
const LEAST_TRANSPORT: usize = 8;

/// The packet that an ICMP error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it was going.
    pub destination: SocketAddr,
}

impl Quoted {
    /// What the ICMP error in `packet` quotes. `None` if `packet` is a fragment or no error of the types
    /// 3, 11 and 12, or if the quoted packet is not the beginning of a TCP segment, UDP datagram or SCTP packet.
    /// The ICMP checksum is not looked at: see [`icmp::Message::has_right_checksum`].
    pub fn parse(packet: &Packet<'_>) -> Option<Self> {
        let quote = Quote::find(packet)?;
        let quoted = packet.bytes().get(quote.header..)?;
        let transport = packet.bytes().get(quote.transport..)?;
        let endpoint = |address, port| {
            SocketAddr::new(ipv4::address_at(quoted, address).into(), be_u16(transport, port))
        };
        Some(Self {
            protocol: quote.protocol,
            source: endpoint(ipv4::field::SOURCE, ports::SOURCE),
            destination: endpoint(ipv4::field::DESTINATION, ports::DESTINATION),
        })
    }
}

/// Where the packet was going that the ICMP error in `packet` quotes, if it is a fragment of TCP, UDP or SCTP other
/// than the first. Its ports are not in it; no router should send such an error (RFC 1812 §4.3.2.7).
pub fn later_fragments_destination(packet: &Packet<'_>) -> Option<IpAddr> {
    let quote = Quote::of_any_fragment(packet)?;
    let quoted = packet.bytes().get(quote.header..)?;
    quote.is_later_fragment(packet).then(|| ipv4::address_at(quoted, ipv4::field::DESTINATION).into())
}

/// Where in the outer packet the quoted one is.
#[derive(Clone, Copy, Debug)]
struct Quote {
    protocol: Protocol,
    header: usize,
    transport: usize,
}

impl Quote {
    /// The beginning of a TCP segment, UDP datagram or SCTP packet.
    fn find(packet: &Packet<'_>) -> Option<Self> {
        let quote = Self::of_any_fragment(packet)?;
        let complete = packet.bytes().len() >= quote.transport + LEAST_TRANSPORT;
        (!quote.is_later_fragment(packet) && complete).then_some(quote)
    }

    fn is_later_fragment(&self, packet: &Packet<'_>) -> bool {
        be_u16(packet.bytes(), self.header + ipv4::field::FRAGMENT) & ipv4::OFFSET != 0
    }

    fn of_any_fragment(packet: &Packet<'_>) -> Option<Self> {
        if packet.protocol() != ipv4::ICMP || packet.is_fragment() {
            return None;
        }
        let message = icmp::Message::parse(packet.payload())?;
        if !icmp::is_error(message.kind()) || icmp::is_never_passed_on(message.kind()) {
            return None;
        }
        // Its total length is that of the whole packet, of which only the beginning is here.
        let quoted = message.data();
        let header_length = ipv4::header_length(quoted)?;
        let protocol = Protocol::from_number(quoted[ipv4::field::PROTOCOL])?;
        let header = packet.header_length() + icmp::HEADER;
        Some(Self { protocol, header, transport: header + header_length })
    }
}

/// Translates the ICMP error in a frame: the addresses of the outer packet, and addresses and ports of
/// the quoted one. Every checksum that covers a change is updated: both IPv4 headers', the quoted
/// segment's or datagram's if it is quoted, and ICMP's; one that was wrong stays wrong. SCTP's is if the quoted header
/// tells how long the packet was, which that of a fragment does not.
/// False, and nothing done, if [`Quoted::parse`] finds nothing.
pub fn translate<F: Frame>(
    frame: &mut F,
    outer_new_source: Option<Ipv4Addr>,
    outer_new_destination: Option<Ipv4Addr>,
    quoted_new_source: Option<SocketAddrV4>,
    quoted_new_destination: Option<SocketAddrV4>,
) -> bool {
    let Ok(packet) = Packet::in_frame(frame.bytes()) else { return false };
    let Some(quote) = Quote::find(&packet) else { return false };
    let (total, message) = (packet.bytes().len(), packet.header_length());

    let bytes = &mut frame.bytes_mut()[ethernet::HEADER..][..total];
    if let Some(address) = outer_new_source {
        ipv4::replace_source(bytes, address);
    }
    if let Some(address) = outer_new_destination {
        ipv4::replace_destination(bytes, address);
    }

    // All that can change lies in here, and it begins on a word of what the ICMP checksum covers.
    let changing = quote.header..total.min(quote.transport + tcp::HEADER);
    let before = checksum::sum(&bytes[changing.clone()]);
    rewrite(&mut bytes[quote.header..], quote, quoted_new_source, quoted_new_destination);
    let delta = checksum::add(!before, checksum::sum(&bytes[changing]));

    let place = message + icmp::field::CHECKSUM;
    let check = checksum::adjust(checksum::read(bytes, place), delta);
    checksum::write(bytes, place, check);
    true
}

/// Rewrites the quoted packet, which begins `bytes`.
fn rewrite(bytes: &mut [u8], quote: Quote, source: Option<SocketAddrV4>, destination: Option<SocketAddrV4>) {
    let transport = quote.transport - quote.header;
    let is_fragment = be_u16(bytes, ipv4::field::FRAGMENT) & (ipv4::OFFSET | ipv4::MORE_FRAGMENTS) != 0;
    let length = usize::from(be_u16(bytes, ipv4::field::TOTAL_LENGTH)).checked_sub(transport);
    let mut delta = 0;
    if let Some(endpoint) = source {
        delta = checksum::add(delta, ipv4::replace_source(bytes, *endpoint.ip()));
    }
    if let Some(endpoint) = destination {
        delta = checksum::add(delta, ipv4::replace_destination(bytes, *endpoint.ip()));
    }
    let ports = [source, destination].map(|endpoint| endpoint.map(|endpoint| endpoint.port()));
    let length = length.filter(|_| !is_fragment);
    replace_ports(&mut bytes[transport..], (quote.protocol, length), ports, delta);
}

/// Sets the source's and the destination's port of the quoted segment, datagram or packet that begins `transport`, if
/// they are given, and updates its checksum, if it is quoted. `delta` is what the new addresses add to a checksum that
/// covers these; `length` that of all that the quoted packet had there, if it is known.
pub(super) fn replace_ports(
    transport: &mut [u8],
    (protocol, length): (Protocol, Option<usize>),
    ports: [Option<u16>; 2],
    mut delta: u16,
) {
    let places = [ports::SOURCE, ports::DESTINATION].into_iter().zip(ports);
    let new = places.filter_map(|(offset, port)| Some((offset, port?)));
    let Some(place) = checksum::offset_in(protocol) else {
        return new.for_each(|(offset, port)| match length {
            Some(length) => sctp::replace_port(transport, length, offset, port),
            None => put(transport, offset, port.to_be_bytes()),
        });
    };
    for (offset, port) in new {
        delta = checksum::add(delta, checksum::delta(&transport[offset..offset + 2], &port.to_be_bytes()));
        put(transport, offset, port.to_be_bytes());
    }
    if transport.len() < place + 2 {
        return;
    }
    let check = checksum::read(transport, place);
    let check = match protocol {
        Protocol::Udp => checksum::adjust_udp(check, delta),
        _ => checksum::adjust(check, delta),
    };
    checksum::write(transport, place, check);
}

#[cfg(test)]
mod tests;
