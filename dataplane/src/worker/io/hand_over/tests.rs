//! Whose packets of IPv6 are, with extension headers, in fragments and quoted by errors.

use super::*;
use crate::connection::Timeouts;
use crate::frame::plain::{PlainFrame, PlainIo};
use crate::names::ids::EthPortId;
use crate::names::mac::Mac;
use crate::snapshot::{Description, EthPort, Interface, IpOptions, Steering, Unmatched};
use etherparse::PacketBuilder;
use std::net::SocketAddrV6;

const PORT: InterfaceId = InterfaceId(0);
const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn vip() -> SocketAddrV6 {
    "[fd00:10::100]:53".parse().unwrap()
}

fn client() -> SocketAddrV6 {
    "[2001:db8::9]:40000".parse().unwrap()
}

fn real() -> SocketAddrV6 {
    "[fd00:20::7]:5353".parse().unwrap()
}

fn snapshot(addresses: &[&str]) -> Snapshot {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Snapshot::compile(Description {
        version: 1,
        eth_ports: vec![EthPort { steering: Steering::Software }],
        interfaces: vec![Interface { side: Side::Both, mac: OURS, mtu: 1500, addresses }],
        services: Vec::new(),
        reals: Vec::new(),
        routes: Vec::new(),
        timeouts: Timeouts::default(),
        unmatched: Unmatched::Drop,
        ip_options: IpOptions::Filter,
        sloppy_tcp: false,
        sloppy_sctp: false,
        keep_quiescent_templates: false,
    })
}

fn frame(bytes: &[u8]) -> PlainFrame {
    let mut io = PlainIo::new(1);
    io.arrive(PORT, bytes);
    let mut frames = ArrayVec::new();
    io.receive(EthPortId(0), &mut frames);
    frames.pop().unwrap()
}

fn claim_of(bytes: &[u8]) -> Option<Claim> {
    claim(&frame(bytes), PORT, &snapshot(&["192.0.2.1/24", "fd00:10::100/64"]))
}

fn datagram(from: SocketAddrV6, to: SocketAddrV6) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], OURS.0)
        .ipv6(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port())
        .write(&mut bytes, b"twenty bytes of text")
        .unwrap();
    bytes
}

/// A packet with headers of eight bytes before its transport header, each of the number given: the rest of it is as
/// given too.
fn with_headers(mut packet: Vec<u8>, headers: &[(u8, [u8; 7])]) -> Vec<u8> {
    let (number, start) = (14 + 6, 14 + 40);
    for (kind, rest) in headers.iter().rev() {
        let next = std::mem::replace(&mut packet[number], *kind);
        packet.splice(start..start, [&[next][..], rest].concat());
    }
    let length = (packet.len() - start) as u16;
    packet[18..20].copy_from_slice(&length.to_be_bytes());
    packet
}

const DESTINATION_OPTIONS: (u8, [u8; 7]) = (60, [0, 1, 4, 0, 0, 0, 0]);

/// A fragment header: the offset in units of eight bytes, and whether more follow.
fn fragment(offset: u16, more: bool) -> (u8, [u8; 7]) {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    (44, [0, high, low, 0, 0, 0, 7])
}

#[test]
fn both_directions_are_the_clients() {
    let forward = claim_of(&datagram(client(), vip())).unwrap();
    let expected =
        Claim { client: client().into(), direction: Direction::Forward, far: None, by_ports: true };
    assert_eq!(forward, expected);
    let reverse = claim_of(&datagram(real(), client())).unwrap();
    let far = Some((Protocol::Udp, real().into()));
    assert_eq!(
        reverse,
        Claim { client: client().into(), direction: Direction::Reverse, far, by_ports: true }
    );
}

#[test]
fn behind_extension_headers_are_the_same_ports_but_no_nic_finds_them() {
    let packet = with_headers(datagram(client(), vip()), &[DESTINATION_OPTIONS]);
    let claim = claim_of(&packet).unwrap();
    assert_eq!((claim.client, claim.by_ports), (client().into(), false));
}

#[test]
fn all_fragments_are_claimed_by_the_address_alone() {
    let address = SocketAddr::new((*client().ip()).into(), 0);
    let headers = [
        &[fragment(0, true)][..],
        &[fragment(3, true)],
        &[fragment(9, false)],
        // The last one names an extension header, behind which the first has its ports.
        &[fragment(0, true), DESTINATION_OPTIONS],
        &[fragment(9, false), DESTINATION_OPTIONS],
    ];
    for headers in headers {
        let claim = claim_of(&with_headers(datagram(client(), vip()), headers)).unwrap();
        assert_eq!((claim.client, claim.far, claim.by_ports), (address, None, false), "{headers:?}");
        let claim = claim_of(&with_headers(datagram(real(), client()), headers)).unwrap();
        assert_eq!((claim.client, claim.far, claim.by_ports), (address, None, false), "{headers:?}");
    }
    // One that is whole in spite of the header has its ports (RFC 6946).
    let atomic = claim_of(&with_headers(datagram(client(), vip()), &[fragment(0, false)])).unwrap();
    assert_eq!((atomic.client, atomic.by_ports), (client().into(), false));
}

#[test]
fn an_error_is_claimed_by_what_it_quotes() {
    let error = |from: &str, to: SocketAddrV6, quoted: [SocketAddrV6; 2]| {
        let quoted = datagram(quoted[0], quoted[1]).split_off(14);
        let from: std::net::Ipv6Addr = from.parse().unwrap();
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], OURS.0)
            .ipv6(from.octets(), to.ip().octets(), 64)
            .icmpv6_raw(1, 4, [0; 4])
            .write(&mut bytes, &quoted)
            .unwrap();
        claim_of(&bytes)
    };
    // Of a router towards the client, about an answer; and of one towards the real, about a question.
    let claim = error("2001:db8:1::1", vip(), [vip(), client()]).unwrap();
    assert_eq!((claim.client, claim.far), (client().into(), None));
    let claim = error("fd00:20::7", client(), [client(), real()]).unwrap();
    assert_eq!((claim.client, claim.far), (client().into(), Some((Protocol::Udp, real().into()))));
    assert!(!claim.by_ports);
}

#[test]
fn what_is_of_no_connection_is_nobodys() {
    let mut ping = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], OURS.0)
        .ipv6(client().ip().octets(), vip().ip().octets(), 64)
        .icmpv6_echo_request(1, 2)
        .write(&mut ping, b"ping")
        .unwrap();
    assert_eq!(claim_of(&ping), None);
    let mut other = datagram(client(), vip());
    other[20] = 59; // no next header
    assert_eq!(claim_of(&other), None);
    let mut cut_short = datagram(client(), vip());
    cut_short.truncate(50);
    assert_eq!(claim_of(&cut_short), None);
    // Where no address is of IPv6, its packets are not looked at.
    let four = snapshot(&["192.0.2.1/24"]);
    assert_eq!(claim(&frame(&datagram(client(), vip())), PORT, &four), None);
}
