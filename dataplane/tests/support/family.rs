//! Tests that are written for IPv4, over IPv6.
//!
//! A lab made within [`over_ipv6`] has IPv6 addresses. What the test sends becomes IPv6 on its way in, and what leaves
//! becomes IPv4 again, so that the test sees no difference. The change in both directions is exact:
//!
//! ```text
//! IPv4                      IPv6
//! a.b.c.d                   fd00::2ff:0:a.b.c.d, whose sum is that of a.b.c.d: checksums of TCP and UDP stay right
//! type of service, TTL      traffic class, hop limit
//! id, DF                    flow label
//! id, offset, MF            fragment header, only of fragments
//! an MTU                    28 more: the headers' difference
//! options                   destination options
//! ICMP type and code        as in `KINDS`; the checksum is as right or wrong
//! ```
//!
//! ICMP messages in fragments have no such counterpart: their checksum covers a length that one fragment does not tell.

use super::packet::{internet_checksum, seal};
use dataplane::connection::Copied;
use dataplane::names::ids::{NeighbourKey, RealKey, ServiceKey};
use dataplane::snapshot::Description;
use ipnet::{IpNet, Ipv6Net};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

thread_local! {
    static IS_IPV6: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test over IPv6.
pub fn over_ipv6(test: fn()) {
    struct Restored;
    impl Drop for Restored {
        fn drop(&mut self) {
            IS_IPV6.set(false);
        }
    }
    let _restored = Restored;
    IS_IPV6.set(true);
    test();
}

/// Makes tests of these tests over IPv6.
#[macro_export]
macro_rules! over_ipv6 {
    ($($name:ident),* $(,)?) => {
        mod over_ipv6 {
            $(
                #[test]
                fn $name() {
                    $crate::support::family::over_ipv6(super::$name);
                }
            )*
        }
    };
}

/// Whether labs are of IPv6 now.
pub fn is_ipv6() -> bool {
    IS_IPV6.get()
}

/// What a packet's header is longer by.
pub fn more_of_header() -> u64 {
    if is_ipv6() { 20 } else { 0 }
}

/// Likewise, of a fragment.
pub fn more_of_fragment() -> u64 {
    if is_ipv6() { MORE_MTU.into() } else { 0 }
}

const MORE_MTU: u16 = 28;
const PREFIX: [u8; 12] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0x02, 0xff, 0, 0];

/// Type and code in IPv4 and in IPv6.
const KINDS: [([u8; 2], [u8; 2]); 9] = [
    ([8, 0], [128, 0]),
    ([0, 0], [129, 0]),
    ([3, 0], [1, 0]),
    ([3, 1], [1, 3]),
    ([3, 2], [4, 1]),
    ([3, 3], [1, 4]),
    ([3, 4], [2, 0]),
    ([3, 13], [1, 1]),
    ([12, 0], [4, 0]),
];

fn kind_of_ipv6([kind, code]: [u8; 2]) -> [u8; 2] {
    let known = KINDS.iter().find(|(four, _)| *four == [kind, code]).map(|(_, six)| *six);
    known.unwrap_or_else(|| match kind {
        3 => [1, code + 16],
        11 => [3, code],
        12 => [4, code + 16],
        _ => [160 + kind % 64, code],
    })
}

fn kind_of_ipv4([kind, code]: [u8; 2]) -> [u8; 2] {
    let known = KINDS.iter().find(|(_, six)| *six == [kind, code]).map(|(four, _)| *four);
    known.unwrap_or_else(|| match kind {
        1 if code >= 16 => [3, code - 16],
        3 => [11, code],
        4 if code >= 16 => [12, code - 16],
        160.. => [kind - 160, code],
        _ => panic!("ICMPv6 type {kind}, code {code} stands for no message of ICMP"),
    })
}

fn six(address: Ipv4Addr) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(&PREFIX);
    bytes[12..].copy_from_slice(&address.octets());
    bytes.into()
}

fn four(address: Ipv6Addr) -> Ipv4Addr {
    let octets = address.octets();
    assert_eq!(octets[..12], PREFIX, "{address} stands for no address of IPv4");
    Ipv4Addr::from(*octets.last_chunk::<4>().unwrap())
}

pub fn address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if is_ipv6() => six(address).into(),
        other => other,
    }
}

pub fn end(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(address(end.ip()), end.port())
}

fn end_back(end: SocketAddr) -> SocketAddr {
    match end {
        SocketAddr::V6(end) if is_ipv6() => SocketAddrV4::new(four(*end.ip()), end.port()).into(),
        end => end,
    }
}

fn prefix(prefix: IpNet) -> IpNet {
    match prefix {
        IpNet::V4(prefix) if is_ipv6() && prefix.prefix_len() == 0 => Ipv6Net::default().into(),
        IpNet::V4(prefix) if is_ipv6() => {
            Ipv6Net::new(six(prefix.addr()), prefix.prefix_len() + 96).unwrap().into()
        }
        other => other,
    }
}

pub fn neighbour(key: NeighbourKey) -> NeighbourKey {
    NeighbourKey { address: address(key.address), ..key }
}

fn service(key: ServiceKey) -> ServiceKey {
    ServiceKey { listen: end(key.listen), ..key }
}

pub fn real(key: RealKey) -> RealKey {
    RealKey { service: service(key.service), endpoint: end(key.endpoint) }
}

pub fn row_back(row: Copied) -> Copied {
    if is_ipv6() { Copied { client: end_back(row.client), ..row } } else { row }
}

/// The description that a worker gets.
pub fn description(description: &Description) -> Description {
    let mut made = description.clone();
    if !is_ipv6() {
        return made;
    }
    for interface in &mut made.interfaces {
        interface.addresses.iter_mut().for_each(|own| *own = prefix(*own));
        interface.mtu += MORE_MTU;
    }
    made.routes.iter_mut().for_each(|route| {
        route.prefix = prefix(route.prefix);
        route.via = route.via.map(address);
    });
    made.services.iter_mut().flatten().for_each(|of| of.key = service(of.key));
    made.reals.iter_mut().for_each(|of| of.key = real(of.key));
    made
}

/// The frame that arrives in place of one of IPv4.
pub fn frame_in(frame: &[u8]) -> Vec<u8> {
    if !is_ipv6() || frame.len() < 34 || frame[12..14] != [8, 0] {
        return frame.to_vec();
    }
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let Some((packet, behind)) = frame[14..].split_at_checked(length) else { return frame.to_vec() };
    let Some(packet) = packet_of_ipv6(packet, true) else { return frame.to_vec() };
    [&frame[..12], &[0x86, 0xdd], &packet, behind].concat()
}

/// The frame of IPv4 in place of one that has left.
pub fn frame_out(frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < 54 || frame[12..14] != [0x86, 0xdd] || !is_ipv6() {
        return frame;
    }
    let length = 40 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let packet = packet_of_ipv4(&frame[14..][..length], true);
    let mut made = [&frame[..12], &[8, 0], &packet, &frame[14 + length..]].concat();
    seal(&mut made);
    made
}

/// `is_whole`: it is as long as it says. Else it is quoted.
fn packet_of_ipv6(packet: &[u8], is_whole: bool) -> Option<Vec<u8>> {
    let header = usize::from(packet.first()? & 15) * 4;
    if packet[0] >> 4 != 4 || header < 20 || packet.len() < header {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let [source, destination] =
        [12, 16].map(|at| six(Ipv4Addr::from(*packet[at..].first_chunk::<4>().unwrap())));
    let protocol = if packet[9] == 1 { 58 } else { packet[9] };
    let fragment = word(6) & 0x3fff;
    let options = destination_options(&packet[20..header]);
    let mut next = [(60, options.len()), (44, usize::from(fragment != 0)), (protocol, 1)]
        .into_iter()
        .filter_map(|(number, length)| (length != 0).then_some(number));
    let payload_length = word(2).checked_sub(header as u16)? + options.len() as u16;
    let payload_length = payload_length + if fragment == 0 { 0 } else { 8 };
    let label = u32::from(word(4)) << 1 | u32::from(word(6) >> 14 & 1);
    let mut made = (6 << 28 | u32::from(packet[1]) << 20 | label).to_be_bytes().to_vec();
    made.extend(payload_length.to_be_bytes());
    made.extend([next.next()?, packet[8]]);
    made.extend(source.octets());
    made.extend(destination.octets());
    if !options.is_empty() {
        made.push(next.next()?);
        made.extend(&options[1..]);
    }
    if fragment != 0 {
        made.extend([next.next()?, 0]);
        made.extend(((fragment & 0x1fff) << 3 | fragment >> 13).to_be_bytes());
        made.extend(u32::from(word(4)).to_be_bytes());
    }
    let message = made.len();
    made.extend(&packet[header..]);
    if protocol == 58 && fragment & 0x1fff == 0 && made.len() >= message + 8 {
        let is_right = internet_checksum(&packet[header..], 0) == 0;
        let kind = kind_of_ipv6([made[message], made[message + 1]]);
        made[message..message + 2].copy_from_slice(&kind);
        if kind == [2, 0] {
            let mtu = u16::from_be_bytes([made[message + 6], made[message + 7]]) + MORE_MTU;
            made[message + 6..message + 8].copy_from_slice(&mtu.to_be_bytes());
        }
        if kind[0] < 128
            && let Some(quoted) = packet_of_ipv6(&packet[header + 8..], false)
        {
            made.truncate(message + 8);
            made.extend(quoted);
            let length = made.len() as u16 - 40;
            made[4..6].copy_from_slice(&length.to_be_bytes());
        }
        if is_whole {
            made[message + 2..message + 4].fill(0);
            let check = check_of_icmpv6(&made, message) ^ u16::from(!is_right);
            made[message + 2..message + 4].copy_from_slice(&check.to_be_bytes());
        }
    }
    Some(made)
}

/// A header of destination options that stands for these options of IPv4: one that receivers skip, and padding.
fn destination_options(options: &[u8]) -> Vec<u8> {
    if options.is_empty() {
        return Vec::new();
    }
    let mut made = vec![0, 0, SKIPPED, options.len() as u8];
    made.extend(options);
    made.resize(made.len().next_multiple_of(8), 0);
    made[1] = (made.len() / 8 - 1) as u8;
    made
}

/// An option's number for experiments, whose upper bits have it skipped where it is not known (RFC 4727, RFC 8200
/// §4.2).
const SKIPPED: u8 = 0x1e;

/// The checksum of the message there, or 0 if that has the right one.
fn check_of_icmpv6(packet: &[u8], message: usize) -> u16 {
    let addresses = packet[8..40].chunks_exact(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    internet_checksum(&packet[message..], addresses.sum::<u32>() + (packet.len() - message) as u32 + 58)
}

fn packet_of_ipv4(packet: &[u8], is_whole: bool) -> Vec<u8> {
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let start = u32::from_be_bytes(*packet.first_chunk::<4>().unwrap());
    let [source, destination] =
        [8, 24].map(|at| four(Ipv6Addr::from(*packet[at..].first_chunk::<16>().unwrap())));
    let (mut protocol, mut message, mut options) = (packet[6], 40, &[][..]);
    if protocol == 60 {
        let header = &packet[message..];
        assert_eq!(header[2], SKIPPED);
        options = &header[4..][..usize::from(header[3])];
        (protocol, message) = (header[0], message + 8 + usize::from(header[1]) * 8);
    }
    let mut fragment = (start & 1) as u16 * 0x4000;
    if protocol == 44 {
        fragment = word(message + 2) >> 3 | (word(message + 2) & 1) << 13;
        (protocol, message) = (packet[message], message + 8);
    }
    let header = 20 + options.len();
    let length = header as u16 + word(4) - (message as u16 - 40);
    let mut made = vec![0x40 | (header / 4) as u8, (start >> 20) as u8];
    made.extend(length.to_be_bytes());
    made.extend(((start >> 1) as u16).to_be_bytes());
    made.extend(fragment.to_be_bytes());
    made.extend([packet[7], if protocol == 58 { 1 } else { protocol }, 0, 0]);
    made.extend(source.octets());
    made.extend(destination.octets());
    made.extend(options);
    let check = internet_checksum(&made, 0);
    made[10..12].copy_from_slice(&check.to_be_bytes());
    made.extend(&packet[message..]);
    if protocol == 58 && fragment & 0x1fff == 0 && made.len() >= header + 8 {
        let is_right = is_whole && check_of_icmpv6(packet, message) == 0;
        let kind = kind_of_ipv4([made[header], made[header + 1]]);
        made[header..header + 2].copy_from_slice(&kind);
        if kind == [3, 2] {
            made[header + 4..header + 8].fill(0); // the pointer
        }
        if kind == [3, 4] {
            let mtu = u16::from_be_bytes([made[header + 6], made[header + 7]]).saturating_sub(MORE_MTU);
            made[header + 6..header + 8].copy_from_slice(&mtu.to_be_bytes());
        }
        if packet[message] < 128 {
            made.truncate(header + 8);
            made.extend(packet_of_ipv4(&packet[message + 8..], false));
            let length = made.len() as u16;
            made[2..4].copy_from_slice(&length.to_be_bytes());
        }
        if is_whole {
            made[header + 2..header + 4].fill(0);
            let check = internet_checksum(&made[header..], 0) ^ u16::from(!is_right);
            made[header + 2..header + 4].copy_from_slice(&check.to_be_bytes());
        }
    }
    made
}
