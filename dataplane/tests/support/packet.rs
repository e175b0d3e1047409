//! Packets that came, taken apart and verified by another implementation; those to send are of the crate `traffic`.

pub use traffic::checksum::{internet_checksum, seal};
pub use traffic::packet::*;

use dataplane::names::mac::Mac;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::net::SocketAddrV4;

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
