//! Answers made in place: the frame that causes one becomes it, on its way back.
//!
//! Every function returns whether the answer was made; if not, nothing was changed, and the frame is
//! to be dropped. Whether the packet is addressed to us, and whether one may answer as often, is for the
//! caller to know.

use super::ethernet::{self, swap_addresses};
use super::ipv4::{self, Packet};
use super::sctp::{self, Control};
use super::tcp::{self, Reset, Segment};
use super::udp::Datagram;
use super::{checksum, icmp, put};
use crate::frame::Frame;
use crate::names::mac::Mac;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The largest ICMP error: more of the packet is not quoted (RFC 1812 §4.3.2.3).
pub const LARGEST_ERROR: usize = 576;

/// Type of service of an ICMP error: precedence 6, internetwork control, and the type of the packet that causes it
/// (RFC 1812 §4.3.2.5) without [`CONGESTION`].
const fn error_tos(cause: u8) -> u8 {
    0xc0 | cause & 0x1f & !CONGESTION
}

/// The bits of the type of service that have become those of congestion notification (RFC 3168): answers have no part
/// in that.
pub(super) const CONGESTION: u8 = 0x03;

/// Where the IPv4 packet begins, and where its payload does in an answer, which has no options.
const PACKET: usize = ethernet::HEADER;
const PAYLOAD: usize = PACKET + ipv4::HEADER;

/// What an ICMP error says of the packet that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Could not be delivered, for the reason that RFC 792 and RFC 1812 §5.2.7.1 give this code.
    DestinationUnreachable {
        /// The code.
        code: u8,
    },
    /// Nobody listens there, or no real is available.
    PortUnreachable,
    /// The next hop does not answer, or there is no route.
    HostUnreachable,
    /// Larger than the MTU on the way, and DF is set (RFC 1191).
    FragmentationNeeded {
        /// The MTU in bytes.
        mtu: u16,
    },
    /// The time to live ran out here.
    TimeExceeded,
    /// The IPv4 header is wrong.
    ParameterProblem {
        /// Where, in bytes from its start.
        pointer: u8,
    },
}

impl IcmpError {
    /// The first eight bytes of the message, the checksum zero.
    const fn header(self) -> [u8; icmp::HEADER] {
        let (kind, code) = match self {
            Self::DestinationUnreachable { code } => (icmp::DESTINATION_UNREACHABLE, code),
            Self::PortUnreachable => (icmp::DESTINATION_UNREACHABLE, icmp::PORT_UNREACHABLE),
            Self::HostUnreachable => (icmp::DESTINATION_UNREACHABLE, icmp::HOST_UNREACHABLE),
            Self::FragmentationNeeded { .. } => (icmp::DESTINATION_UNREACHABLE, icmp::FRAGMENTATION_NEEDED),
            Self::TimeExceeded => (icmp::TIME_EXCEEDED, 0),
            Self::ParameterProblem { .. } => (icmp::PARAMETER_PROBLEM, 0),
        };
        let ([high, low], pointer) = match self {
            Self::FragmentationNeeded { mtu } => (mtu.to_be_bytes(), 0),
            Self::ParameterProblem { pointer } => ([0; 2], pointer),
            _ => ([0; 2], 0),
        };
        [kind, code, 0, 0, pointer, 0, high, low]
    }
}

/// Turns a TCP segment into the RST to its sender (RFC 9293 §3.10.7.1). Not made for a RST, for a
/// fragment, and for a segment whose checksum is wrong; the mere sum of the pseudo-header, as Linux
/// leaves it on virtual devices, passes.
pub fn tcp_reset<F: Frame>(frame: &mut F) -> bool {
    let Some(packet) = answerable(frame.bytes()) else { return false };
    if packet.protocol() != ipv4::TCP || packet.is_fragment() {
        return false;
    }
    let Some(segment) = Segment::parse(packet.payload()) else { return false };
    let Some(reset) = segment.reset() else { return false };
    if !is_acceptable(segment.checksum(), &packet, segment.bytes()) {
        return false;
    }
    let header = ipv4::Header {
        source: packet.destination(),
        destination: packet.source(),
        ..reset_header(packet.tos())
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

/// The RST to whom a segment is on its way, as from its sender, at the end `to` that the segment's destination stands
/// for; the MACs are the new frame's source and destination. Not made for a fragment, and for a segment whose checksum
/// is wrong, as with [`tcp_reset`].
pub fn reset_onward(frame: &[u8], to: SocketAddrV4, (from_mac, to_mac): (Mac, Mac)) -> Option<ResetFrame> {
    let packet =
        answerable(frame).filter(|packet| packet.protocol() == ipv4::TCP && !packet.is_fragment())?;
    let segment = Segment::parse(packet.payload())?;
    if !is_acceptable(segment.checksum(), &packet, segment.bytes()) {
        return None;
    }
    let reset = Reset { destination_port: to.port(), ..segment.reset_onward() };
    let header =
        ipv4::Header { source: packet.source(), destination: *to.ip(), ..reset_header(packet.tos()) };
    let mut bytes = [0; RESET_FRAME];
    let ether_type = ethernet::IPV4;
    ethernet::Header { destination: to_mac, source: from_mac, ether_type }.write(&mut bytes);
    header.write(&mut bytes[PACKET..]);
    write_reset(&reset, &header, &mut bytes[PAYLOAD..]);
    Some(bytes)
}

/// The header of a packet with a RST, but for the addresses, where the segment that it is about has this type of
/// service.
const fn reset_header(tos: u8) -> ipv4::Header {
    control_header(tos, ipv4::TCP, tcp::HEADER)
}

/// As [`reset_header`], of a packet of this protocol with so many bytes of payload.
const fn control_header(tos: u8, protocol: u8, payload: usize) -> ipv4::Header {
    ipv4::Header {
        tos: tos & !CONGESTION,
        total_length: (ipv4::HEADER + payload) as u16,
        id: 0,
        dont_fragment: true,
        protocol,
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::UNSPECIFIED,
    }
}

/// Writes a RST in a packet with this header.
fn write_reset(reset: &Reset, header: &ipv4::Header, segment: &mut [u8]) {
    reset.write(segment);
    let check = checksum::transport(header.source, header.destination, ipv4::TCP, segment);
    checksum::write(segment, tcp::field::CHECKSUM, check);
}

/// Turns an SCTP packet that is of no connection into the answer to its sender, ABORT as a rule
/// ([`Control::out_of_the_blue`]). Not made for a fragment, and for a packet whose checksum is wrong.
pub fn sctp_abort<F: Frame>(frame: &mut F) -> bool {
    let Some((packet, received)) = acceptable_sctp(frame.bytes()) else { return false };
    let Some(control) = Control::out_of_the_blue(&received) else { return false };
    let header = ipv4::Header {
        source: packet.destination(),
        destination: packet.source(),
        ..control_header(packet.tos(), sctp::PROTOCOL_NUMBER, sctp::CONTROL)
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
pub fn abort_onward(frame: &[u8], to: SocketAddrV4, (from_mac, to_mac): (Mac, Mac)) -> Option<AbortFrame> {
    let (packet, received) = acceptable_sctp(frame)?;
    let control = Control { destination_port: to.port(), ..Control::abort_onward(&received) };
    let header = ipv4::Header {
        source: packet.source(),
        destination: *to.ip(),
        ..control_header(packet.tos(), sctp::PROTOCOL_NUMBER, sctp::CONTROL)
    };
    let mut bytes = [0; ABORT_FRAME];
    let ether_type = ethernet::IPV4;
    ethernet::Header { destination: to_mac, source: from_mac, ether_type }.write(&mut bytes);
    header.write(&mut bytes[PACKET..]);
    control.write(&mut bytes[PAYLOAD..]);
    Some(bytes)
}

/// The SCTP packet in a frame, if it is whole and its checksum is right or left out.
fn acceptable_sctp(frame: &[u8]) -> Option<(Packet<'_>, sctp::Packet<'_>)> {
    let packet = answerable(frame)?;
    if packet.protocol() != sctp::PROTOCOL_NUMBER || packet.is_fragment() {
        return None;
    }
    let received = sctp::Packet::parse(packet.payload()).filter(sctp::Packet::has_acceptable_checksum)?;
    Some((packet, received))
}

/// Turns an ICMP echo request into its reply. Options of the IPv4 header are left out; a wrong
/// ICMP checksum stays wrong.
pub fn echo_reply<F: Frame>(frame: &mut F) -> bool {
    let is_fragment = Packet::in_frame(frame.bytes()).is_ok_and(|packet| packet.is_fragment());
    !is_fragment && echo_reply_fragment(frame)
}

/// Turns a fragment of a request, of which the caller has all fragments, into one of the reply, at its place in the
/// datagram.
pub fn echo_reply_fragment<F: Frame>(frame: &mut F) -> bool {
    let Some(packet) = answerable(frame.bytes()) else { return false };
    if packet.protocol() != ipv4::ICMP {
        return false;
    }
    let (offset, more) = (packet.fragment_offset(), packet.more_fragments());
    let (start, length) = (PACKET + packet.header_length(), packet.payload().len());
    // Not DF, so that it arrives whatever the path's MTU; the id, then needed, is the asker's.
    let header = ipv4::Header {
        tos: packet.tos(),
        total_length: (ipv4::HEADER + length) as u16,
        id: packet.id(),
        dont_fragment: false,
        protocol: ipv4::ICMP,
        source: packet.destination(),
        destination: packet.source(),
    };
    let bytes = frame.bytes_mut();
    if offset == 0 && !icmp::echo_reply_in_place(&mut bytes[start..start + length]) {
        return false;
    }
    bytes.copy_within(start..start + length, PAYLOAD);
    send_back(bytes, &header);
    ipv4::place_fragment(&mut bytes[PACKET..], offset, more);
    // It is no longer than before, so this cannot fail.
    frame.set_length(PAYLOAD + length)
}

/// Turns a packet into the ICMP error about itself, sent by `from`, an own address. It quotes the
/// packet as far as [`LARGEST_ERROR`] allows.
///
/// Not made where RFC 1122 §3.2.2 forbids it: about an ICMP error, a fragment other than the first, a broadcast or
/// multicast (of IPv4 or Ethernet; a link's own broadcast address is for the caller to know), or a source that is not
/// one host. That a port is unreachable is not said of a datagram or SCTP packet that its receiver would discard
/// silently: one whose checksum or length is wrong (RFC 1122 §4.1.3.4, RFC 9260 §6.8).
pub fn icmp_error<F: Frame>(frame: &mut F, kind: IcmpError, from: Ipv4Addr) -> bool {
    let Some(packet) = answerable(frame.bytes()) else { return false };
    if packet.fragment_offset() != 0 {
        return false;
    }
    if kind == IcmpError::PortUnreachable && !may_be_received(&packet) {
        return false;
    }
    if packet.protocol() == ipv4::ICMP {
        // Without a type there is no telling that it is no error.
        match packet.payload().first() {
            Some(kind) if icmp::may_cause_error(*kind) => {}
            _ => return false,
        }
    }
    let quoted = packet.bytes().len().min(LARGEST_ERROR - ipv4::HEADER - icmp::HEADER);
    // Not DF, as Linux: an error that is lost to a small MTU helps nobody.
    let header = ipv4::Header {
        tos: error_tos(packet.tos()),
        total_length: (ipv4::HEADER + icmp::HEADER + quoted) as u16,
        id: packet.id(),
        dont_fragment: false,
        protocol: ipv4::ICMP,
        source: from,
        destination: packet.source(),
    };
    if !frame.set_length(PAYLOAD + icmp::HEADER + quoted) {
        return false;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(PACKET..PACKET + quoted, PAYLOAD + icmp::HEADER);
    let message = &mut bytes[PAYLOAD..];
    put(message, 0, kind.header());
    let check = !checksum::sum(message);
    checksum::write(message, icmp::field::CHECKSUM, check);
    send_back(bytes, &header);
    true
}

/// The packet, if it is well-formed and from one host to one host.
fn answerable(frame: &[u8]) -> Option<Packet<'_>> {
    let header = ethernet::Header::parse(frame)?;
    let packet = Packet::in_frame(frame).ok()?;
    let one_host = |mac: Mac| !mac.is_group();
    let right = header.ether_type == ethernet::IPV4
        && one_host(header.destination)
        && one_host(header.source)
        && !ipv4::is_martian(packet.source())
        && !packet.destination().is_multicast()
        && !packet.destination().is_broadcast();
    right.then_some(packet)
}

/// Whether a packet is not a UDP datagram or SCTP packet that a host discards silently. Of a fragment there is no
/// telling.
fn may_be_received(packet: &Packet<'_>) -> bool {
    if packet.is_fragment() {
        return true;
    }
    if packet.protocol() == sctp::PROTOCOL_NUMBER {
        return sctp::Packet::parse(packet.payload()).is_some_and(|packet| packet.has_acceptable_checksum());
    }
    if packet.protocol() != ipv4::UDP {
        return true;
    }
    Datagram::parse(packet.payload()).is_some_and(|datagram| {
        datagram.checksum() == 0 || is_acceptable(datagram.checksum(), packet, datagram.bytes())
    })
}

/// Whether `check` is the right checksum of a TCP segment or UDP datagram, or the mere sum of its pseudo-header.
fn is_acceptable(check: u16, packet: &Packet<'_>, transport: &[u8]) -> bool {
    let (source, destination, protocol) = (packet.source(), packet.destination(), packet.protocol());
    checksum::transport(source, destination, protocol, transport) == 0
        || checksum::is_pseudo_header_only(check, source, destination, protocol, transport.len() as u16)
}

fn send_back(frame: &mut [u8], header: &ipv4::Header) {
    swap_addresses(frame);
    header.write(&mut frame[PACKET..]);
}

#[cfg(test)]
mod tests;
