//! Packets to send, written out field by field; and packets that came, taken apart and verified by
//! another implementation.

use dataplane::names::mac::Mac;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::net::{Ipv4Addr, SocketAddrV4};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// A packet to be built; checksums come by themselves.
#[derive(Clone, Debug)]
pub struct Packet {
    pub from_mac: Mac,
    pub to_mac: Mac,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub protocol: u8,
    pub flags: u8,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub fragment: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub udp_checksum: bool,
}

impl Packet {
    fn new(protocol: u8, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            from_mac: Mac([2, 0, 0, 0, 0, 1]),
            to_mac: Mac([2, 0, 0, 0, 0, 2]),
            source,
            destination,
            protocol,
            flags: 0,
            ttl: 64,
            id: 0x1234,
            dont_fragment: true,
            fragment: 0,
            options: Vec::new(),
            payload: Vec::new(),
            sequence: 0x1000_0001,
            acknowledgement: 0x2000_0002,
            udp_checksum: true,
        }
    }

    pub fn tcp(source: SocketAddrV4, destination: SocketAddrV4, flags: u8) -> Self {
        Self { flags, ..Self::new(6, source, destination) }
    }

    pub fn udp(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..Self::new(17, source, destination) }
    }

    /// An ICMP message: type, code, rest of the header, data.
    pub fn icmp(source: Ipv4Addr, destination: Ipv4Addr, head: [u8; 2], rest: [u8; 4], data: &[u8]) -> Self {
        let mut payload = vec![head[0], head[1], 0, 0];
        payload.extend(rest);
        payload.extend(data);
        let check = internet_checksum(&payload, 0);
        payload[2..4].copy_from_slice(&check.to_be_bytes());
        let at = |address| SocketAddrV4::new(address, 0);
        Self { payload, ..Self::new(1, at(source), at(destination)) }
    }

    pub fn macs(mut self, from: Mac, to: Mac) -> Self {
        (self.from_mac, self.to_mac) = (from, to);
        self
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// From the IPv4 header on.
    pub fn datagram(&self) -> Vec<u8> {
        let transport = match self.protocol {
            6 => self.tcp_segment(),
            17 => self.udp_datagram(),
            _ => self.payload.clone(),
        };
        let header = 20 + self.options.len();
        let mut bytes = vec![0x40 | (header / 4) as u8, 0];
        bytes.extend(((header + transport.len()) as u16).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend((self.fragment | u16::from(self.dont_fragment) << 14).to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.ip().octets());
        bytes.extend(self.destination.ip().octets());
        bytes.extend(&self.options);
        let check = internet_checksum(&bytes, 0);
        bytes[10..12].copy_from_slice(&check.to_be_bytes());
        bytes.extend(transport);
        bytes
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = self.to_mac.0.to_vec();
        bytes.extend(self.from_mac.0);
        bytes.extend([8, 0]);
        bytes.extend(self.datagram());
        bytes
    }

    /// The frames of its fragments, each IPv4 packet at most `mtu` bytes long. Options go into all.
    pub fn fragments(&self, mtu: usize) -> Vec<Vec<u8>> {
        let whole = self.frame();
        let header = 20 + self.options.len();
        let (headers, payload) = whole.split_at(14 + header);
        let step = (mtu - header) & !7;
        let count = payload.len().div_ceil(step);
        let piece = |(index, part): (usize, &[u8])| {
            let mut frame = headers.to_vec();
            frame.extend(part);
            let word = (index * step / 8) as u16 | if index + 1 < count { 0x2000 } else { 0 };
            frame[16..18].copy_from_slice(&((header + part.len()) as u16).to_be_bytes());
            frame[20..22].copy_from_slice(&word.to_be_bytes());
            seal(&mut frame);
            frame
        };
        payload.chunks(step).enumerate().map(piece).collect()
    }

    fn pseudo_header(&self, length: usize) -> u32 {
        let [a, b, c, d] = self.source.ip().octets();
        let [e, f, g, h] = self.destination.ip().octets();
        [[a, b], [c, d], [e, f], [g, h], [0, self.protocol], (length as u16).to_be_bytes()]
            .map(|word| u32::from(u16::from_be_bytes(word)))
            .iter()
            .sum()
    }

    fn tcp_segment(&self) -> Vec<u8> {
        let mut bytes = self.source.port().to_be_bytes().to_vec();
        bytes.extend(self.destination.port().to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend([0x50, self.flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        bytes.extend(&self.payload);
        let check = internet_checksum(&bytes, self.pseudo_header(bytes.len()));
        bytes[16..18].copy_from_slice(&check.to_be_bytes());
        bytes
    }

    fn udp_datagram(&self) -> Vec<u8> {
        let mut bytes = self.source.port().to_be_bytes().to_vec();
        bytes.extend(self.destination.port().to_be_bytes());
        bytes.extend((8 + self.payload.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        if self.udp_checksum {
            let check = internet_checksum(&bytes, self.pseudo_header(bytes.len()));
            let check = if check == 0 { 0xffff } else { check };
            bytes[6..8].copy_from_slice(&check.to_be_bytes());
        }
        bytes
    }
}

/// Makes the IPv4 header's checksum right.
pub fn seal(frame: &mut [u8]) {
    let header = usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let check = internet_checksum(&frame[14..14 + header], 0);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

/// The frame of the datagram that these frames are all the fragments of, in any order.
///
/// # Panics
/// If they are not, or a header checksum is wrong.
pub fn reassemble(frames: &[Vec<u8>]) -> Vec<u8> {
    let word = |frame: &[u8]| u16::from_be_bytes([frame[20], frame[21]]);
    let mut pieces: Vec<_> = frames.to_vec();
    pieces.sort_by_key(|frame| word(frame) & 0x1fff);
    let mut whole = pieces[0].clone();
    let header = 14 + usize::from(whole[14] & 15) * 4;
    whole.truncate(header);
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(internet_checksum(&piece[14..header], 0), 0, "IPv4 header checksum");
        assert_eq!(piece[..14], whole[..14], "MACs");
        assert_eq!((&piece[18..20], &piece[22..24]), (&whole[18..20], &whole[22..24]), "id, TTL, protocol");
        assert_eq!(piece[26..34], whole[26..34], "addresses");
        assert_eq!(usize::from(word(piece) & 0x1fff) * 8, whole.len() - header, "no gap and no overlap");
        assert_eq!(word(piece) & 0x2000 != 0, index + 1 < pieces.len(), "more fragments");
        let end = 14 + usize::from(u16::from_be_bytes([piece[16], piece[17]]));
        whole.extend(&piece[header..end]);
    }
    let length = (whole.len() - 14) as u16;
    whole[16..18].copy_from_slice(&length.to_be_bytes());
    whole[20..22].fill(0);
    seal(&mut whole);
    whole
}

/// Plain and slow, not the implementation under test.
pub fn internet_checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u64 = words.map(u64::from).sum::<u64>() + u64::from(start);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What another implementation reads in a frame. Every checksum in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub from_mac: Mac,
    pub to_mac: Mac,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub protocol: u8,
    pub ttl: u8,
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// Of ICMP: the whole message.
    pub payload: Vec<u8>,
}

/// Takes a frame apart.
///
/// # Panics
/// If it is not a correct IPv4 packet of TCP, UDP or ICMP, or a checksum in it is wrong.
pub fn read(frame: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a readable frame");
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4: {frame:?}") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
    let [source, destination] = [header.source, header.destination];
    let mut seen = Seen {
        from_mac: Mac(frame[6..12].try_into().unwrap()),
        to_mac: Mac(frame[..6].try_into().unwrap()),
        source: SocketAddrV4::new(source.into(), 0),
        destination: SocketAddrV4::new(destination.into(), 0),
        protocol: header.protocol.0,
        ttl: header.time_to_live,
        flags: 0,
        sequence: 0,
        acknowledgement: 0,
        payload: Vec::new(),
    };
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let expected = tcp.calc_checksum_ipv4(source, destination).unwrap();
            assert_eq!(tcp.checksum(), expected, "TCP checksum");
            seen.source.set_port(tcp.source_port());
            seen.destination.set_port(tcp.destination_port());
            seen.flags = tcp.slice()[13];
            seen.sequence = tcp.sequence_number();
            seen.acknowledgement = tcp.acknowledgment_number();
            seen.payload = tcp.payload().to_vec();
        }
        Some(TransportSlice::Udp(udp)) => {
            seen.source.set_port(udp.source_port());
            seen.destination.set_port(udp.destination_port());
            seen.payload = udp.payload().to_vec();
            if udp.checksum() != 0 {
                let header = udp.to_header();
                let expected = header.calc_checksum_ipv4_raw(source, destination, udp.payload()).unwrap();
                assert_eq!(udp.checksum(), expected, "UDP checksum");
            }
        }
        _ => {
            let payload = ip.payload().payload;
            if header.protocol.0 == 1 {
                assert_eq!(internet_checksum(payload, 0), 0, "ICMP checksum");
            }
            seen.payload = payload.to_vec();
        }
    }
    seen
}
