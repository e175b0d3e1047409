//! Packets of TCP, UDP and SCTP, of both families, built and read by another implementation.

use super::*;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::IpAddr;

/// What a packet says besides its ends: TCP's flags, or the first chunk of SCTP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Flags(u8),
    Data,
    Chunk(u8),
}

pub(crate) const INIT: u8 = 1;
pub(crate) const INIT_ACK: u8 = 2;
pub(crate) const HEARTBEAT: u8 = 4;
pub(crate) const COOKIE_ECHO: u8 = 10;
pub(crate) const COOKIE_ACK: u8 = 11;

fn sctp(ports: [u16; 2], chunk: u8) -> Vec<u8> {
    let mut bytes = ports.map(u16::to_be_bytes).concat();
    bytes.extend([0; 8]);
    // An INIT comes without a tag, and has a body of 16 bytes.
    let body = if matches!(chunk, INIT | INIT_ACK) { 16 } else { 4 };
    bytes[4..8].copy_from_slice(&u32::from(chunk != INIT).to_be_bytes());
    bytes.extend([chunk, 0, 0, 4 + body]);
    bytes.resize(bytes.len() + usize::from(body), 1);
    let check = crc32c::crc32c(&bytes);
    bytes[8..12].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// A frame between two ends of one family.
pub(crate) fn frame([from_mac, to_mac]: [Mac; 2], [from, to]: [SocketAddr; 2], says: Says) -> Vec<u8> {
    let mut bytes = Vec::new();
    let link = PacketBuilder::ethernet2(from_mac.0, to_mac.0);
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} to {to}"),
    };
    match says {
        Says::Flags(flags) => {
            let mut tcp = ip.tcp(from.port(), to.port(), 1, 1000);
            if flags & FIN != 0 {
                tcp = tcp.fin();
            }
            if flags & SYN != 0 {
                tcp = tcp.syn();
            }
            if flags & RST != 0 {
                tcp = tcp.rst();
            }
            if flags & ACK != 0 {
                tcp = tcp.ack(1);
            }
            tcp.write(&mut bytes, &[]).unwrap();
        }
        Says::Data => ip.udp(from.port(), to.port()).write(&mut bytes, b"data").unwrap(),
        Says::Chunk(chunk) => {
            let packet = sctp([from.port(), to.port()], chunk);
            ip.write(&mut bytes, etherparse::IpNumber(132), &packet).unwrap();
        }
    }
    bytes
}

/// The ends of a frame's packet, with port 0 for ICMP. Its checksums have been verified.
pub(crate) fn ends(frame: &[u8]) -> [SocketAddr; 2] {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a readable frame");
    let (addresses, payload): ([IpAddr; 2], &[u8]) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
            ([header.source.into(), header.destination.into()], ip.payload().payload)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().to_header();
            ([header.source.into(), header.destination.into()], ip.payload().payload)
        }
        other => panic!("{other:?}"),
    };
    let (ports, wrong) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let expected = match addresses {
                [IpAddr::V4(from), IpAddr::V4(to)] => {
                    tcp.calc_checksum_ipv4(from.octets(), to.octets()).unwrap()
                }
                [IpAddr::V6(from), IpAddr::V6(to)] => {
                    tcp.calc_checksum_ipv6(from.octets(), to.octets()).unwrap()
                }
                _ => unreachable!(),
            };
            ([tcp.source_port(), tcp.destination_port()], tcp.checksum() != expected)
        }
        Some(TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let expected = match addresses {
                [IpAddr::V4(from), IpAddr::V4(to)] => {
                    header.calc_checksum_ipv4_raw(from.octets(), to.octets(), udp.payload()).unwrap()
                }
                [IpAddr::V6(from), IpAddr::V6(to)] => {
                    header.calc_checksum_ipv6_raw(from.octets(), to.octets(), udp.payload()).unwrap()
                }
                _ => unreachable!(),
            };
            ([udp.source_port(), udp.destination_port()], udp.checksum() != expected)
        }
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => ([0; 2], false),
        _ => {
            let mut zeroed = payload.to_vec();
            zeroed[8..12].fill(0);
            let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
            let check = u32::from_le_bytes(payload[8..12].try_into().unwrap());
            ([port(0), port(2)], check != crc32c::crc32c(&zeroed))
        }
    };
    assert!(!wrong, "a wrong checksum: {frame:?}");
    [0, 1].map(|end| SocketAddr::new(addresses[end], ports[end]))
}
