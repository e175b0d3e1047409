//! What the slow path knows of a packet, and reading it.

use crate::connection::{TcpEvent, Transport};
use crate::fragments::{Ports, least_header};
use crate::names::drop_reason::DropReason;
use crate::names::family::IpVersion;
use crate::names::ids::Protocol;
use crate::wire::ipv6_extensions::{self, FRAGMENT_HEADER, Flaw, UpperLayer};
use crate::wire::plain::at;
use crate::wire::{ethernet, ipv4, ipv6, sctp, tcp};
use crate::worker::flows::Ends;
use std::net::{IpAddr, SocketAddr};

/// A packet of either family.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Ip {
    pub(in crate::worker) source: IpAddr,
    pub(in crate::worker) destination: IpAddr,
    /// Number of the protocol in the payload.
    pub(in crate::worker) protocol: u8,
    /// TTL, or hop limit.
    pub(in crate::worker) ttl: u8,
    /// That of the packet, header included, in bytes.
    pub(in crate::worker) length: u16,
    /// Whether no router may cut it: in IPv6, none may.
    pub(in crate::worker) dont_fragment: bool,
    /// `None`: it is whole.
    pub(in crate::worker) fragment: Option<Fragment>,
    /// What IPv6's extension headers lead to, or what is wrong with them: then the payload begins with the first, and
    /// its protocol is not known.
    pub(in crate::worker) upper: Option<Result<UpperLayer, Flaw>>,
    /// Offset of the payload in the frame.
    pub(in crate::worker) payload: usize,
}

/// Which part of a datagram a fragment is.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Fragment {
    /// Of 16 bits in IPv4.
    pub(in crate::worker) id: u32,
    /// Where in the datagram's payload its own begins, in bytes.
    pub(in crate::worker) offset: u16,
    /// Whether it is not the last.
    pub(in crate::worker) more: bool,
    /// Offset of that payload's part in the frame: before what the packet's payload is counted from, if the first
    /// fragment has extension headers.
    pub(in crate::worker) at: usize,
}

impl Ip {
    /// Which family it is of.
    pub(in crate::worker) const fn version(&self) -> IpVersion {
        IpVersion::of(self.source)
    }

    /// Whether its header has options of IPv4.
    pub(in crate::worker) const fn has_options(&self) -> bool {
        self.source.is_ipv4() && self.payload > at::IPV4 + ipv4::HEADER
    }

    /// What IPv6's extension headers lead to, if nothing is wrong with them.
    pub(in crate::worker) fn upper_layer(&self) -> Option<UpperLayer> {
        self.upper?.ok()
    }

    /// Whether the transport header is in another fragment.
    pub(in crate::worker) const fn is_later_fragment(&self) -> bool {
        matches!(self.fragment, Some(Fragment { offset: 1.., .. }))
    }

    /// Offset of the packet's end in the frame.
    pub(in crate::worker) const fn end(&self) -> usize {
        at::IPV4 + self.length as usize
    }
}

/// A packet of TCP, UDP or SCTP.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Segment {
    pub(in crate::worker) ends: Ends,
    /// What its header says; a later fragment has none.
    pub(in crate::worker) transport: Option<Transport>,
    /// Bytes of its header and what follows, in all fragments; `None`: this is one, and of others nothing is known.
    pub(in crate::worker) whole: Option<usize>,
}

impl Segment {
    /// A fragment other than the first, with the ports of the first.
    pub(in crate::worker) const fn later(ip: &Ip, protocol: Protocol, ports: Ports) -> Self {
        let source = SocketAddr::new(ip.source, ports.source);
        let destination = SocketAddr::new(ip.destination, ports.destination);
        Self { ends: Ends { protocol, source, destination }, transport: None, whole: None }
    }

    /// Whether it begins a connection, as SYN and INIT do.
    pub(in crate::worker) fn begins(&self) -> bool {
        self.transport.is_some_and(Transport::begins)
    }
}

/// Reads and checks the header of a frame's packet.
pub(in crate::worker) fn read_ip(bytes: &[u8]) -> Result<Ip, DropReason> {
    match ethernet::Header::parse(bytes) {
        Some(ethernet::Header { ether_type: ethernet::IPV6, .. }) => read_ipv6(bytes),
        _ => read_ipv4(bytes),
    }
}

fn read_ipv4(bytes: &[u8]) -> Result<Ip, DropReason> {
    let packet = ipv4::Packet::in_frame(bytes).map_err(|flaw| match flaw {
        ipv4::Flaw::Truncated => DropReason::Truncated,
        ipv4::Flaw::Malformed => DropReason::Malformed,
    })?;
    if !packet.has_right_checksum() {
        return Err(DropReason::HeaderChecksum);
    }
    let payload = at::IPV4 + packet.header_length();
    let (id, offset, more) = (packet.id().into(), packet.fragment_offset(), packet.more_fragments());
    let fragment = Fragment { id, offset, more, at: payload };
    Ok(Ip {
        source: packet.source().into(),
        destination: packet.destination().into(),
        protocol: packet.protocol(),
        ttl: packet.ttl(),
        length: packet.total_length(),
        dont_fragment: packet.dont_fragment(),
        fragment: (fragment.offset != 0 || fragment.more).then_some(fragment),
        upper: None,
        payload,
    })
}

fn read_ipv6(bytes: &[u8]) -> Result<Ip, DropReason> {
    let packet = ipv6::Packet::in_frame(bytes).map_err(|flaw| match flaw {
        ipv6::Flaw::Truncated => DropReason::Truncated,
        ipv6::Flaw::Malformed => DropReason::Malformed,
    })?;
    let upper = ipv6_extensions::upper_layer(&packet);
    let (protocol, payload, fragment) = match &upper {
        Ok(upper) => (upper.protocol, upper.offset, upper.fragment.filter(|fragment| !fragment.is_atomic())),
        Err(_) => (packet.next_header(), ipv6::HEADER, None),
    };
    let fragment = fragment.map(|of| {
        let at = at::IPV4 + of.header + FRAGMENT_HEADER;
        Fragment { id: of.id, offset: of.offset, more: of.more, at }
    });
    Ok(Ip {
        source: packet.source().into(),
        destination: packet.destination().into(),
        protocol,
        ttl: packet.hop_limit(),
        length: packet.bytes().len().try_into().map_err(|_| DropReason::Malformed)?,
        dont_fragment: true,
        fragment,
        upper: Some(upper),
        payload: at::IPV4 + payload,
    })
}

/// Reads the transport header as far as it is needed. A header that is cut short is malformed.
pub(in crate::worker) fn read_segment(
    bytes: &[u8],
    ip: &Ip,
    protocol: Protocol,
) -> Result<Segment, DropReason> {
    let header = &bytes[ip.payload..ip.end()];
    if header.len() < least_header(protocol) {
        return Err(DropReason::Malformed);
    }
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let source = SocketAddr::new(ip.source, port(0));
    let destination = SocketAddr::new(ip.destination, port(2));
    let transport = match protocol {
        Protocol::Tcp => Transport::Tcp(TcpEvent::of(header[tcp::field::FLAGS])),
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp(sctp::Packet::parse(header).ok_or(DropReason::Malformed)?.event()),
    };
    let ends = Ends { protocol, source, destination };
    let whole = ip.fragment.is_none().then_some(header.len());
    Ok(Segment { ends, transport: Some(transport), whole })
}
