//! IPv4 packets to send, written out field by field.

use crate::checksum::{internet_checksum, seal};
use std::net::{Ipv4Addr, SocketAddrV4};

/// TCP flag: the sender has no more data.
pub const FIN: u8 = 1;
/// TCP flag: sequence numbers are synchronised.
pub const SYN: u8 = 2;
/// TCP flag: the connection is reset.
pub const RST: u8 = 4;
/// TCP flag: the acknowledgement number counts.
pub const ACK: u8 = 16;

/// A packet to be built; checksums come by themselves.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Ethernet source address.
    pub from_mac: [u8; 6],
    /// Ethernet destination address.
    pub to_mac: [u8; 6],
    /// Source address, and port if the protocol has ports.
    pub source: SocketAddrV4,
    /// Destination address, and port if the protocol has ports.
    pub destination: SocketAddrV4,
    /// Number in the IPv4 header.
    pub protocol: u8,
    /// Flags of the TCP header.
    pub flags: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification of the datagram.
    pub id: u16,
    /// Whether DF is set.
    pub dont_fragment: bool,
    /// MF, and the offset in units of 8 bytes.
    pub fragment: u16,
    /// IPv4 options, a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// What follows the TCP or UDP header; of other protocols, what follows the IPv4 header.
    pub payload: Vec<u8>,
    /// TCP sequence number.
    pub sequence: u32,
    /// TCP acknowledgement number.
    pub acknowledgement: u32,
    /// Whether the UDP checksum is there; else it is zero.
    pub udp_checksum: bool,
}

impl Packet {
    fn new(protocol: u8, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            from_mac: [2, 0, 0, 0, 0, 1],
            to_mac: [2, 0, 0, 0, 0, 2],
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

    /// A TCP segment without data.
    pub fn tcp(source: SocketAddrV4, destination: SocketAddrV4, flags: u8) -> Self {
        Self { flags, ..Self::new(6, source, destination) }
    }

    /// A UDP datagram.
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

    /// With these Ethernet addresses.
    #[must_use]
    pub fn macs(mut self, from: impl Into<[u8; 6]>, to: impl Into<[u8; 6]>) -> Self {
        (self.from_mac, self.to_mac) = (from.into(), to.into());
        self
    }

    /// With this time to live.
    #[must_use]
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
        let mut bytes = self.to_mac.to_vec();
        bytes.extend(self.from_mac);
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
