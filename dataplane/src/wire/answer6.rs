//! Answers to IPv6 packets, made in place: the frame that causes one becomes it, on its way back.
//!
//! Every function returns whether the answer was made; if not, nothing was changed, and the frame is to be dropped.
//! Whether the packet is addressed to us, and whether one may answer as often, is for the caller to know. Answers have
//! no extension headers, whatever the packet had. A packet with a routing header that is not done gets no answer but
//! ICMPv6 errors: its checksum covers another destination than the header's.

use super::answer::CONGESTION;
use super::ethernet::{self, swap_addresses};
use super::ipv6::{self, Packet};
use super::ipv6_extensions::{self, FRAGMENT_HEADER, UpperLayer};
use super::sctp::{self, Control};
use super::tcp::{self, Reset, Segment};
use super::udp::Datagram;
use super::{checksum, icmp6, ipv4, put};
use crate::frame::Frame;
use crate::names::mac::Mac;
use std::net::{Ipv6Addr, SocketAddrV6};

/// Where the IPv6 packet begins, and where its payload does in an answer.
const PACKET: usize = ethernet::HEADER;
const PAYLOAD: usize = PACKET + ipv6::HEADER;

/// Bytes of a packet that an ICMPv6 error quotes at most: with its own headers it fits in the least MTU
/// (RFC 4443 §2.4 (c)).
pub const MOST_QUOTED: usize = ipv6::LEAST_MTU - ipv6::HEADER - icmp6::HEADER;

/// What an ICMPv6 error says of the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp6Error {
    /// There is no route.
    NoRoute,
    /// Forbidden by a rule of the network's operator.
    Prohibited,
    /// The next hop does not answer.
    AddressUnreachable,
    /// Nobody listens there, or no real is available.
    PortUnreachable,
    /// Larger than the MTU on the way.
    PacketTooBig {
        /// The MTU in bytes.
        mtu: u32,
    },
    /// The hop limit ran out here.
    HopLimitExceeded,
    /// A header is wrong or unknown.
    ParameterProblem {
        /// The code, for instance [`icmp6::UNKNOWN_NEXT_HEADER`].
        code: u8,
        /// Where, in bytes from the packet's start.
        pointer: u32,
    },
}

impl Icmp6Error {
    /// The first eight bytes of the message, the checksum zero.
    const fn header(self) -> [u8; icmp6::HEADER] {
        let (kind, code, [a, b, c, d]) = match self {
            Self::NoRoute => (icmp6::DESTINATION_UNREACHABLE, icmp6::NO_ROUTE, [0; 4]),
            Self::Prohibited => (icmp6::DESTINATION_UNREACHABLE, icmp6::PROHIBITED, [0; 4]),
            Self::AddressUnreachable => (icmp6::DESTINATION_UNREACHABLE, icmp6::ADDRESS_UNREACHABLE, [0; 4]),
            Self::PortUnreachable => (icmp6::DESTINATION_UNREACHABLE, icmp6::PORT_UNREACHABLE, [0; 4]),
            Self::PacketTooBig { mtu } => (icmp6::PACKET_TOO_BIG, 0, mtu.to_be_bytes()),
            Self::HopLimitExceeded => (icmp6::TIME_EXCEEDED, icmp6::HOP_LIMIT_EXCEEDED, [0; 4]),
            Self::ParameterProblem { code, pointer } => {
                (icmp6::PARAMETER_PROBLEM, code, pointer.to_be_bytes())
            }
        };
        [kind, code, 0, 0, a, b, c, d]
    }
}

/// Turns a TCP segment into the RST to its sender (RFC 9293 §3.10.7.1). Not made for a RST, for a fragment, and for a
/// segment whose checksum is wrong; the mere sum of the pseudo-header, as Linux leaves it on virtual devices, passes.
pub fn tcp_reset<F: Frame>(frame: &mut F) -> bool {
    let Some((packet, segment)) = acceptable_segment(frame.bytes()) else { return false };
    let Some(reset) = segment.reset() else { return false };
    let header = ipv6::Header {
        source: packet.destination(),
        destination: packet.source(),
        ..reset_header(packet.traffic_class())
    };
    if !frame.set_length(RESET_FRAME) {
        return false;
    }
    let bytes = frame.bytes_mut();
    write_reset(&reset, &header, &mut bytes[PAYLOAD..]);
    send_back(bytes, &header);
    true
}

/// Length of a frame with a RST.
const RESET_FRAME: usize = PAYLOAD + tcp::HEADER;
/// A frame with a RST.
pub type ResetFrame = [u8; RESET_FRAME];

/// The RST to the receiver of a segment that is on its way, as from its sender, at the end `to` that the segment's
/// destination stands for; the MACs are the new frame's source and destination. Not made for a fragment, and for a
/// segment whose checksum is wrong, as with [`tcp_reset`].
pub fn reset_onward(frame: &[u8], to: SocketAddrV6, (from_mac, to_mac): (Mac, Mac)) -> Option<ResetFrame> {
    let (packet, segment) = acceptable_segment(frame)?;
    let reset = Reset { destination_port: to.port(), ..segment.reset_onward() };
    let header = ipv6::Header {
        source: packet.source(),
        destination: *to.ip(),
        ..reset_header(packet.traffic_class())
    };
    let mut bytes = [0; RESET_FRAME];
    let ether_type = ethernet::IPV6;
    ethernet::Header { destination: to_mac, source: from_mac, ether_type }.write(&mut bytes);
    header.write(&mut bytes[PACKET..]);
    write_reset(&reset, &header, &mut bytes[PAYLOAD..]);
    Some(bytes)
}

/// The TCP segment in a frame, if it is whole and its checksum is right or left to a device.
fn acceptable_segment(frame: &[u8]) -> Option<(Packet<'_>, Segment<'_>)> {
    let packet = answerable(frame)?;
    let upper = whole_upper_layer(&packet)?;
    if upper.protocol != ipv4::TCP {
        return None;
    }
    let segment = Segment::parse(packet.bytes().get(upper.offset..)?)?;
    let right = is_acceptable(segment.checksum(), &packet, ipv4::TCP, segment.bytes());
    right.then_some((packet, segment))
}

/// The header of a packet with a RST, but for the addresses, where the segment that it is about has this traffic class.
const fn reset_header(traffic_class: u8) -> ipv6::Header {
    control_header(traffic_class, ipv4::TCP, tcp::HEADER)
}

/// As [`reset_header`], of a packet of this protocol with so many bytes of payload.
const fn control_header(traffic_class: u8, protocol: u8, payload: usize) -> ipv6::Header {
    ipv6::Header {
        traffic_class: traffic_class & !CONGESTION,
        flow_label: 0,
        payload_length: payload as u16,
        next_header: protocol,
        hop_limit: ipv6::HOP_LIMIT,
        source: Ipv6Addr::UNSPECIFIED,
        destination: Ipv6Addr::UNSPECIFIED,
    }
}

/// Writes a RST in a packet with this header.
fn write_reset(reset: &Reset, header: &ipv6::Header, segment: &mut [u8]) {
    reset.write(segment);
    let check = checksum::transport_v6(header.source, header.destination, ipv4::TCP, segment);
    checksum::write(segment, tcp::field::CHECKSUM, check);
}

/// Turns an SCTP packet that is of no connection into the answer to its sender, ABORT as a rule
/// ([`Control::out_of_the_blue`]). Not made for a fragment, and for a packet whose checksum is wrong.
pub fn sctp_abort<F: Frame>(frame: &mut F) -> bool {
    let Some((packet, received)) = acceptable_sctp(frame.bytes()) else { return false };
    let Some(control) = Control::out_of_the_blue(&received) else { return false };
    let header = ipv6::Header {
        source: packet.destination(),
        destination: packet.source(),
        ..control_header(packet.traffic_class(), sctp::PROTOCOL_NUMBER, sctp::CONTROL)
    };
    if !frame.set_length(ABORT_FRAME) {
        return false;
    }
    let bytes = frame.bytes_mut();
    control.write(&mut bytes[PAYLOAD..]);
    send_back(bytes, &header);
    true
}

/// Length of a frame with an ABORT.
const ABORT_FRAME: usize = PAYLOAD + sctp::CONTROL;
/// A frame with an ABORT.
pub type AbortFrame = [u8; ABORT_FRAME];

/// The ABORT to whom an SCTP packet is on its way, as [`reset_onward`] makes the RST of TCP.
pub fn abort_onward(frame: &[u8], to: SocketAddrV6, (from_mac, to_mac): (Mac, Mac)) -> Option<AbortFrame> {
    let (packet, received) = acceptable_sctp(frame)?;
    let control = Control { destination_port: to.port(), ..Control::abort_onward(&received) };
    let header = ipv6::Header {
        source: packet.source(),
        destination: *to.ip(),
        ..control_header(packet.traffic_class(), sctp::PROTOCOL_NUMBER, sctp::CONTROL)
    };
    let mut bytes = [0; ABORT_FRAME];
    let ether_type = ethernet::IPV6;
    ethernet::Header { destination: to_mac, source: from_mac, ether_type }.write(&mut bytes);
    header.write(&mut bytes[PACKET..]);
    control.write(&mut bytes[PAYLOAD..]);
    Some(bytes)
}

/// The SCTP packet in a frame, if it is whole and its checksum is right or left out.
fn acceptable_sctp(frame: &[u8]) -> Option<(Packet<'_>, sctp::Packet<'_>)> {
    let packet = answerable(frame)?;
    let upper = whole_upper_layer(&packet)?;
    if upper.protocol != sctp::PROTOCOL_NUMBER {
        return None;
    }
    let received = sctp::Packet::parse(packet.bytes().get(upper.offset..)?)?;
    received.has_acceptable_checksum().then_some((packet, received))
}

/// Turns an ICMPv6 echo request that is no fragment into its reply (RFC 4443 §4.2). A wrong checksum stays wrong.
pub fn echo_reply<F: Frame>(frame: &mut F) -> bool {
    let Some(packet) = answerable(frame.bytes()) else { return false };
    let Some(upper) = whole_upper_layer(&packet) else { return false };
    let (start, end) = (PACKET + upper.offset, PACKET + packet.bytes().len());
    let header = echo_header(&packet, packet.destination(), end - start);
    let bytes = frame.bytes_mut();
    if upper.protocol != ipv6::ICMP || !icmp6::echo_reply_in_place(&mut bytes[start..end]) {
        return false;
    }
    bytes.copy_within(start..end, PAYLOAD);
    send_back(bytes, &header);
    // It is no longer than before, so this cannot fail.
    frame.set_length(PAYLOAD + end - start)
}

/// As [`echo_reply`], of a request to a group that we are in: from this own address and MAC.
pub fn echo_reply_of_group<F: Frame>(frame: &mut F, from: Ipv6Addr, from_mac: Mac) -> bool {
    let Some(asked) = ethernet::Header::parse(frame.bytes()) else { return false };
    let Some(packet) = Packet::in_frame(frame.bytes()).ok().filter(|packet| is_from_one_host(&asked, packet))
    else {
        return false;
    };
    let Some(upper) = whole_upper_layer(&packet) else { return false };
    let (start, end) = (PACKET + upper.offset, PACKET + packet.bytes().len());
    let header = echo_header(&packet, from, end - start);
    // The reply's checksum covers our address in place of the group's.
    let delta = checksum::delta(&packet.destination().octets(), &from.octets());
    let bytes = frame.bytes_mut();
    if upper.protocol != ipv6::ICMP || !icmp6::echo_reply_in_place(&mut bytes[start..end]) {
        return false;
    }
    let place = start + icmp6::field::CHECKSUM;
    let check = checksum::adjust(checksum::read(bytes, place), delta);
    checksum::write(bytes, place, check);
    bytes.copy_within(start..end, PAYLOAD);
    let ether_type = ethernet::IPV6;
    ethernet::Header { destination: asked.source, source: from_mac, ether_type }.write(bytes);
    header.write(&mut bytes[PACKET..]);
    frame.set_length(PAYLOAD + end - start)
}

/// Turns a fragment of a request, of which the caller has all fragments, into one of the reply, at its place in the
/// packet and with the identification of the request. Not made where extension headers follow the fragment header: the
/// reply has none, and its parts would lie elsewhere.
pub fn echo_reply_fragment<F: Frame>(frame: &mut F) -> bool {
    let Some(packet) = answerable(frame.bytes()) else { return false };
    let upper = ipv6_extensions::upper_layer(&packet).ok().filter(|upper| upper.routing.is_none());
    let Some((upper, fragment)) = upper.and_then(|upper| Some((upper, upper.fragment?))) else {
        return false;
    };
    if upper.protocol != ipv6::ICMP || upper.offset != fragment.header + FRAGMENT_HEADER {
        return false;
    }
    let (start, end) = (PACKET + fragment.header, PACKET + packet.bytes().len());
    let header = ipv6::Header {
        next_header: ipv6_extensions::FRAGMENT,
        ..echo_header(&packet, packet.destination(), end - start)
    };
    let bytes = frame.bytes_mut();
    if fragment.is_first() && !icmp6::echo_reply_in_place(&mut bytes[PACKET + upper.offset..end]) {
        return false;
    }
    bytes.copy_within(start..end, PAYLOAD);
    send_back(bytes, &header);
    frame.set_length(PAYLOAD + end - start)
}

/// The header of the reply to an echo request, from this own address, with so many bytes behind it.
fn echo_header(request: &Packet<'_>, from: Ipv6Addr, payload_length: usize) -> ipv6::Header {
    ipv6::Header {
        traffic_class: request.traffic_class(),
        flow_label: 0,
        payload_length: payload_length as u16,
        next_header: ipv6::ICMP,
        hop_limit: ipv6::HOP_LIMIT,
        source: from,
        destination: request.source(),
    }
}

/// Turns a packet into the ICMPv6 error about itself, sent by `from`, an own address. It quotes at most [`MOST_QUOTED`]
/// bytes.
///
/// Not made where RFC 4443 §2.4 (e) forbids it: about an ICMPv6 error or redirect, a multicast (of IPv6 or Ethernet),
/// or a source that is not one host; nor where there is no telling, as with a fragment of an ICMPv6 message other than
/// the first. Of a packet whose extension headers cannot be walked over, only a parameter problem is reported. That a
/// port is unreachable is not said of a datagram or SCTP packet that its receiver would discard silently: one whose
/// checksum or length is wrong, or a datagram that has no checksum (RFC 8200 §8.1).
pub fn icmp_error<F: Frame>(frame: &mut F, kind: Icmp6Error, from: Ipv6Addr) -> bool {
    let Some(packet) = answerable(frame.bytes()) else { return false };
    if !may_cause(&packet, kind) {
        return false;
    }
    let quoted = packet.bytes().len().min(MOST_QUOTED);
    let header = ipv6::Header {
        traffic_class: 0,
        flow_label: 0,
        payload_length: (icmp6::HEADER + quoted) as u16,
        next_header: ipv6::ICMP,
        hop_limit: ipv6::HOP_LIMIT,
        source: from,
        destination: packet.source(),
    };
    if !frame.set_length(PAYLOAD + icmp6::HEADER + quoted) {
        return false;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(PACKET..PACKET + quoted, PAYLOAD + icmp6::HEADER);
    let message = &mut bytes[PAYLOAD..];
    put(message, 0, kind.header());
    icmp6::set_checksum(header.source, header.destination, message);
    send_back(bytes, &header);
    true
}

/// Whether what follows a packet's header allows this error about it.
fn may_cause(packet: &Packet<'_>, error: Icmp6Error) -> bool {
    let Ok(upper) = ipv6_extensions::upper_layer(packet) else {
        return matches!(error, Icmp6Error::ParameterProblem { .. });
    };
    if upper.protocol == ipv6::ICMP {
        let kind = packet.bytes().get(upper.offset).filter(|_| !upper.is_later_fragment());
        return kind.is_some_and(|kind| icmp6::may_cause_error(*kind));
    }
    error != Icmp6Error::PortUnreachable || may_be_received(packet, &upper)
}

/// Whether a packet is not one that a host discards silently before it looks at the port. Of a first fragment there is
/// no telling; others have no port.
fn may_be_received(packet: &Packet<'_>, upper: &UpperLayer) -> bool {
    if upper.protocol == sctp::PROTOCOL_NUMBER && !upper.is_fragment() {
        let received = packet.bytes().get(upper.offset..).and_then(sctp::Packet::parse);
        return received.is_some_and(|received| received.has_acceptable_checksum());
    }
    if upper.protocol != ipv4::UDP || upper.is_fragment() {
        return !upper.is_later_fragment();
    }
    let datagram = packet.bytes().get(upper.offset..).and_then(Datagram::parse);
    upper.routing.is_none()
        && datagram.is_some_and(|datagram| {
            datagram.checksum() != 0
                && is_acceptable(datagram.checksum(), packet, ipv4::UDP, datagram.bytes())
        })
}

/// What a packet's extension headers lead to, if the packet is whole and was for the header's destination.
fn whole_upper_layer(packet: &Packet<'_>) -> Option<UpperLayer> {
    let upper = ipv6_extensions::upper_layer(packet).ok()?;
    (!upper.is_fragment() && upper.routing.is_none()).then_some(upper)
}

/// The packet, if it is well-formed and from one host to one host.
fn answerable(frame: &[u8]) -> Option<Packet<'_>> {
    let header = ethernet::Header::parse(frame)?;
    let packet = Packet::in_frame(frame).ok()?;
    let is_to_one_host = !header.destination.is_group() && !packet.destination().is_multicast();
    (is_to_one_host && is_from_one_host(&header, &packet)).then_some(packet)
}

/// Whether a packet of IPv6 comes from one host.
fn is_from_one_host(header: &ethernet::Header, packet: &Packet<'_>) -> bool {
    header.ether_type == ethernet::IPV6 && !header.source.is_group() && !ipv6::is_martian(packet.source())
}

/// Whether `check` is the right checksum of a TCP segment or UDP datagram, or the mere sum of its pseudo-header.
fn is_acceptable(check: u16, packet: &Packet<'_>, protocol: u8, transport: &[u8]) -> bool {
    let (source, destination) = (packet.source(), packet.destination());
    checksum::transport_v6(source, destination, protocol, transport) == 0
        || check == checksum::pseudo_header_v6(source, destination, protocol, transport.len() as u32)
}

fn send_back(frame: &mut [u8], header: &ipv6::Header) {
    swap_addresses(frame);
    header.write(&mut frame[PACKET..]);
}

#[cfg(test)]
mod tests;
