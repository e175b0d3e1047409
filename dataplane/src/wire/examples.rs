//! Frames for tests, built and judged by another implementation.

use crate::names::ids::EthPortId;

use super::ethernet;
use super::ipv4::Packet;
use super::sctp;
use crate::frame::plain::{PlainFrame, PlainIo, ROOM};
use crate::frame::{Frame, FrameIo};
use crate::names::mac::Mac;
use etherparse::{Ipv4Header, PacketBuilder, SlicedPacket, TransportSlice};
use std::net::SocketAddrV4;

pub(super) const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 6]);
pub(super) const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 0x64]);

/// A frame with these bytes in a buffer with room to grow.
pub(super) fn frame(bytes: &[u8]) -> PlainFrame {
    let mut frame = PlainIo::new(1).allocate(EthPortId(0)).unwrap();
    assert!(bytes.len() <= ROOM && frame.set_length(bytes.len()));
    frame.bytes_mut().copy_from_slice(bytes);
    frame
}

pub(super) fn tcp(from: SocketAddrV4, to: SocketAddrV4, sequence: u32, syn: bool, data: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC.0, OUR_MAC.0)
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .tcp(from.port(), to.port(), sequence, 1000);
    let builder = if syn { builder.syn() } else { builder.ack(4711) };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, data).unwrap();
    bytes
}

pub(super) fn udp(from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC.0, OUR_MAC.0)
        .ipv4(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port());
    let mut bytes = Vec::new();
    builder.write(&mut bytes, data).unwrap();
    bytes
}

/// An SCTP packet with one DATA chunk, without the headers before it.
pub(super) fn sctp_packet(ports: [u16; 2], data: &[u8]) -> Vec<u8> {
    let [[a, b], [c, d]] = ports.map(u16::to_be_bytes);
    let [high, low] = (4 + data.len() as u16).to_be_bytes();
    let mut bytes = vec![a, b, c, d, 1, 2, 3, 4, 0, 0, 0, 0, sctp::chunk_type::DATA, 3, high, low];
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    sctp::set_checksum(&mut bytes);
    bytes
}

/// An IPv4 packet with a protocol's bytes as they are.
pub(super) fn raw(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC.0, OUR_MAC.0).ipv4(from, to, 64);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, protocol.into(), payload).unwrap();
    bytes
}

/// Rewrites the IPv4 header of a frame without options as `change` says; its checksum is made right.
pub(super) fn with_header(mut bytes: Vec<u8>, change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(&bytes[ethernet::HEADER..]).unwrap();
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    bytes[ethernet::HEADER..ethernet::HEADER + 20].copy_from_slice(&header.to_bytes());
    bytes
}

/// Whether the checksums of the IPv4 header and the transport header in a whole frame are right.
pub(super) fn checksums_are_right(bytes: &[u8]) -> bool {
    Packet::in_frame(bytes).unwrap().has_right_checksum() && transport_checksum_is_right(bytes)
}

pub(super) fn transport_checksum_is_right(bytes: &[u8]) -> bool {
    let sliced = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("not IPv4") };
    let header = ip.header().to_header();
    match sliced.transport.unwrap() {
        TransportSlice::Icmpv4(icmp) => {
            let expected = icmp.icmp_type().calc_checksum(icmp.payload());
            expected == u16::from_be_bytes([icmp.slice()[2], icmp.slice()[3]])
        }
        TransportSlice::Tcp(tcp) => {
            tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap() == tcp.checksum()
        }
        TransportSlice::Udp(udp) => {
            udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap() == udp.checksum()
        }
        other => panic!("{other:?}"),
    }
}
