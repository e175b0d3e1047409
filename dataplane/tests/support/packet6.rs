//! IPv6 packets with extension headers and in fragments, and reading what leaves with another implementation.

use super::over_ipv6::{Side, ours, sender};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub const HOP_BY_HOP: u8 = 0;
pub const UDP: u8 = 17;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const ICMP: u8 = 58;
pub const NO_NEXT_HEADER: u8 = 59;
pub const DESTINATION_OPTIONS: u8 = 60;

/// A packet to be built: extension headers, each with its number, then the upper layer's bytes.
#[derive(Clone, Debug)]
pub struct Packet6 {
    pub from_mac: [u8; 6],
    pub to_mac: [u8; 6],
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub traffic_class: u8,
    pub hop_limit: u8,
    /// Before a fragment header, if there is one.
    pub headers: Vec<(u8, Vec<u8>)>,
    /// Behind it.
    pub later_headers: Vec<(u8, Vec<u8>)>,
    pub protocol: u8,
    pub upper: Vec<u8>,
}

/// Options of eight bytes times so many, at least one, that mean nothing.
pub fn options(units: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(units) * 8];
    // One option of padding that takes all of the rest.
    (bytes[1], bytes[2], bytes[3]) = (units - 1, 1, units * 8 - 4);
    bytes
}

/// A routing header with room for one address.
pub fn routing(kind: u8, segments_left: u8) -> Vec<u8> {
    let mut bytes = options(3);
    bytes[2..].fill(0);
    (bytes[2], bytes[3]) = (kind, segments_left);
    bytes
}

pub fn fragment_header(offset: u16, more: bool, id: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend((offset | u16::from(more)).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes
}

fn ip(end: SocketAddr) -> Ipv6Addr {
    match end.ip() {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => panic!("{end} is IPv4"),
    }
}

impl Packet6 {
    pub fn new(side: Side, [source, destination]: [Ipv6Addr; 2], protocol: u8, upper: &[u8]) -> Self {
        Self {
            from_mac: sender(side, source),
            to_mac: ours(side),
            source,
            destination,
            traffic_class: 0,
            hop_limit: 64,
            headers: Vec::new(),
            later_headers: Vec::new(),
            protocol,
            upper: upper.to_vec(),
        }
    }

    pub fn udp(side: Side, ends: [SocketAddr; 2], data: &[u8]) -> Self {
        let [source, destination] = ends.map(ip);
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv6(source.octets(), destination.octets(), 64);
        builder.udp(ends[0].port(), ends[1].port()).write(&mut bytes, data).unwrap();
        Self::new(side, [source, destination], UDP, &bytes[40..])
    }

    /// A message of this type and code.
    pub fn icmp(side: Side, ends: [Ipv6Addr; 2], head: [u8; 2], rest: [u8; 4], data: &[u8]) -> Self {
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ipv6(ends[0].octets(), ends[1].octets(), 64);
        builder.icmpv6_raw(head[0], head[1], rest).write(&mut bytes, data).unwrap();
        Self::new(side, ends, ICMP, &bytes[40..])
    }

    /// A ping.
    pub fn ping(side: Side, ends: [Ipv6Addr; 2], data: &[u8]) -> Self {
        Self::icmp(side, ends, [128, 0], [0x12, 0x34, 0, 1], data)
    }

    #[must_use]
    pub fn with(mut self, header: u8, bytes: Vec<u8>) -> Self {
        self.headers.push((header, bytes));
        self
    }

    #[must_use]
    pub fn with_later(mut self, header: u8, bytes: Vec<u8>) -> Self {
        self.later_headers.push((header, bytes));
        self
    }

    /// From the IPv6 header on.
    pub fn packet(&self) -> Vec<u8> {
        let headers = [&self.headers[..], &self.later_headers].concat();
        let mut numbers = headers.iter().map(|(number, _)| *number).chain([self.protocol]);
        let length = headers.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + self.upper.len();
        let mut bytes = (6 << 28 | u32::from(self.traffic_class) << 20 | 0x1_2345).to_be_bytes().to_vec();
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend([numbers.next().unwrap(), self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        for (_, header) in &headers {
            bytes.push(numbers.next().unwrap());
            bytes.extend(&header[1..]);
        }
        bytes.extend(&self.upper);
        bytes
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        [&self.to_mac[..], &self.from_mac, &[0x86, 0xdd], &self.packet()].concat()
    }

    /// The frames of its fragments, with so many bytes in each but the last.
    pub fn fragments(&self, id: u32, step: usize) -> Vec<Vec<u8>> {
        let whole = Self { headers: Vec::new(), later_headers: self.later_headers.clone(), ..self.clone() };
        let part = &whole.packet()[40..];
        let protocol = self.later_headers.first().map_or(self.protocol, |(number, _)| *number);
        let count = part.len().div_ceil(step);
        let piece = |(index, bytes): (usize, &[u8])| {
            let header = fragment_header((index * step) as u16, index + 1 < count, id);
            let piece = Self { protocol, upper: bytes.to_vec(), later_headers: Vec::new(), ..self.clone() };
            piece.with(FRAGMENT, header).frame()
        };
        part.chunks(step).enumerate().map(piece).collect()
    }
}

/// What another implementation reads in a frame; all checksums in it are right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen6 {
    pub from_mac: [u8; 6],
    pub to_mac: [u8; 6],
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub protocol: u8,
    pub hop_limit: u8,
    /// Offset, whether others follow, and id.
    pub fragment: Option<(u16, bool, u32)>,
    /// Of a fragment: all behind the fragment header. Of ICMPv6: the whole message. Else what is behind the transport
    /// header.
    pub payload: Vec<u8>,
}

/// Takes a frame apart.
///
/// # Panics
/// If it is no correct IPv6 packet, or a checksum in it is wrong.
pub fn read6(frame: &[u8]) -> Seen6 {
    let frame = &without_headers_of_later_fragment(frame)[..];
    let sliced = SlicedPacket::from_ethernet(frame).expect("a readable frame");
    let Some(NetSlice::Ipv6(ip)) = &sliced.net else { panic!("not IPv6: {frame:?}") };
    let header = ip.header();
    let length = 54 + usize::from(header.payload_length());
    assert_eq!(frame.len(), length.max(60), "as long as its packet");
    let (source, destination) = (header.source_addr(), header.destination_addr());
    let mut fragment = None;
    for extension in ip.extensions().clone() {
        if let etherparse::Ipv6ExtensionSlice::Fragment(of) = extension {
            fragment = Some((of.fragment_offset().byte_offset(), of.more_fragments(), of.identification()));
        }
    }
    let is_fragment = fragment.is_some_and(|(offset, more, _)| offset != 0 || more);
    let mut seen = Seen6 {
        from_mac: frame[6..12].try_into().unwrap(),
        to_mac: frame[..6].try_into().unwrap(),
        source: SocketAddr::new(source.into(), 0),
        destination: SocketAddr::new(destination.into(), 0),
        protocol: ip.payload().ip_number.0,
        hop_limit: header.hop_limit(),
        fragment: fragment.filter(|_| is_fragment),
        payload: ip.payload().payload.to_vec(),
    };
    if is_fragment {
        seen.payload = frame[fragment_header_at(frame).unwrap() + 8..length].to_vec();
        return seen;
    }
    let ends = (source.octets(), destination.octets());
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(ends.0, ends.1).unwrap(), "TCP checksum");
            seen.source.set_port(tcp.source_port());
            seen.destination.set_port(tcp.destination_port());
            seen.payload = tcp.payload().to_vec();
        }
        Some(TransportSlice::Udp(udp)) => {
            let right = udp.to_header().calc_checksum_ipv6_raw(ends.0, ends.1, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), right, "UDP checksum");
            seen.source.set_port(udp.source_port());
            seen.destination.set_port(udp.destination_port());
            seen.payload = udp.payload().to_vec();
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            assert!(icmp.is_checksum_valid(ends.0, ends.1), "ICMPv6 checksum");
        }
        _ => {}
    }
    seen
}

/// The other implementation would look for the extension header that a later fragment names, which is in the first
/// alone: it names none here.
fn without_headers_of_later_fragment(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(at) = fragment_header_at(&frame)
        && u16::from_be_bytes([frame[at + 2], frame[at + 3]]) & 0xfff8 != 0
    {
        frame[at] = NO_NEXT_HEADER;
    }
    frame
}

fn fragment_header_at(frame: &[u8]) -> Option<usize> {
    let (mut number, mut at) = (frame[20], 54);
    while matches!(number, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
        (number, at) = (*frame.get(at)?, at + 8 + usize::from(*frame.get(at + 1)?) * 8);
    }
    (number == FRAGMENT && at + 8 <= frame.len()).then_some(at)
}

/// What these fragments are put together: the bytes behind the fragment headers.
///
/// # Panics
/// If they are not all of one packet, in any order.
pub fn reassemble6(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut pieces: Vec<_> = frames.iter().map(|frame| read6(frame)).collect();
    let place = |seen: &Seen6| seen.fragment.expect("a fragment");
    pieces.sort_by_key(|seen| place(seen).0);
    let mut whole = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let (offset, more, id) = place(piece);
        assert_eq!((usize::from(offset), id), (whole.len(), place(&pieces[0]).2), "no gap, no overlap");
        assert_eq!(more, index + 1 < pieces.len());
        assert_eq!((piece.source, piece.destination), (pieces[0].source, pieces[0].destination));
        whole.extend(&piece.payload);
    }
    whole
}
