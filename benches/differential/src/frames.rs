//! Random frames of every kind, many of which belong together.

use crate::world::{Pair, World, mac_of};
use fastrand::Rng;
use std::net::{Ipv4Addr, SocketAddrV4};
use traffic::checksum::{internet_checksum, seal};
use traffic::packet::{ACK, FIN, Packet, RST, SYN};

/// A frame, and where it arrives.
#[derive(Clone, Debug)]
pub struct Arriving {
    pub port: u8,
    pub bytes: Vec<u8>,
    /// What the device says of it.
    pub flags: u64,
}

const FLAGS: [u8; 12] = [SYN, SYN, SYN, ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, SYN | ACK, 0, FIN];
/// Good, doubtful and malformed IPv4 options.
const OPTIONS: [&[u8]; 8] = [
    &[1, 1, 1, 1],
    &[7, 7, 4, 0, 0, 0, 0, 0],
    &[148, 4, 0, 0],
    &[131, 7, 4, 10, 0, 0, 1, 0],
    &[68, 8, 5, 0, 0, 0, 0, 0],
    &[136, 4, 0, 1],
    &[148, 1, 0, 0],
    &[1, 0, 9, 9],
];

/// The next frames to arrive: one, or those of one datagram.
pub fn frames(rng: &mut Rng, world: &World) -> Vec<Arriving> {
    let (port, packet) = match rng.u8(..33) {
        0..=12 => from_client(rng, world),
        13..=21 => reply(rng, world),
        22 | 23 => stray(rng, world),
        24 | 25 => ping(rng, world),
        26 | 27 => icmp_error(rng, world),
        28 | 32 => return vec![arp(rng, world)],
        29 => from_real_itself(rng, world),
        30 => return vec![strange(rng, world)],
        _ => large(rng, world),
    };
    let packet = varied(rng, packet);
    let whole = |bytes| Arriving { port, bytes, flags: 0 };
    let long_enough = packet.payload.len() > 40 && packet.fragment == 0;
    let mut frames = match rng.u8(..10) {
        0 | 1 if long_enough => {
            let mut pieces = packet.fragments(*rng.choice(&[44, 68, 100, 576]).expect("some"));
            if rng.u8(..3) == 0 {
                rng.shuffle(&mut pieces);
            }
            pieces.into_iter().map(whole).collect()
        }
        _ => vec![whole(packet.frame())],
    };
    for frame in &mut frames {
        spoil(rng, frame);
    }
    frames
}

fn from_client(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let (port, client) = world.client(rng);
    let service = world.service(rng);
    let packet =
        if service.tcp { tcp(rng, client, service.listen) } else { udp(rng, client, service.listen) };
    (port, packet)
}

/// The first packet of one client among very many.
pub fn from_new_client(rng: &mut Rng, world: &World) -> Arriving {
    let service = world.service(rng);
    let client = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, rng.u8(1..)), rng.u16(1024..));
    let packet = if service.tcp {
        Packet::tcp(client, service.listen, SYN)
    } else {
        Packet::udp(client, service.listen, &[])
    };
    let bytes = packet.macs([2, 0, 0, 0, 0x10, 1], mac_of(0)).frame();
    Arriving { port: 0, bytes, flags: 0 }
}

fn reply(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let Some(pair) = world.pair(rng) else { return from_client(rng, world) };
    let packet = if pair.tcp { tcp(rng, pair.real, pair.client) } else { udp(rng, pair.real, pair.client) };
    (world.real_port(), packet)
}

fn tcp(rng: &mut Rng, from: SocketAddrV4, to: SocketAddrV4) -> Packet {
    let flags = if rng.u8(..40) == 0 { rng.u8(..) } else { *rng.choice(&FLAGS).expect("some") };
    let payload = payload(rng);
    Packet { payload, sequence: rng.u32(..), acknowledgement: rng.u32(..), ..Packet::tcp(from, to, flags) }
}

fn udp(rng: &mut Rng, from: SocketAddrV4, to: SocketAddrV4) -> Packet {
    Packet { udp_checksum: rng.u8(..4) != 0, ..Packet::udp(from, to, &payload(rng)) }
}

fn payload(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.u8(..8) {
        0..=3 => 0,
        4 | 5 => rng.usize(..30),
        6 => rng.usize(..200),
        _ => rng.usize(..1400),
    };
    (0..length).map(|_| rng.u8(..)).collect()
}

/// Between hosts of no service: routed, or not.
fn stray(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let (port, client) = world.client(rng);
    let other = SocketAddrV4::new(world.any_address(rng), rng.u16(1..100));
    if rng.bool() { (port, tcp(rng, client, other)) } else { (world.any_port(rng), udp(rng, other, client)) }
}

/// A connection or a datagram that a real begins, or one of a service's endpoint that belongs to nothing.
fn from_real_itself(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let real = SocketAddrV4::new(world.real_address(rng), *rng.choice(&[80, 5353, 33000]).expect("some"));
    let (_, client) = world.client(rng);
    (world.real_port(), if rng.bool() { tcp(rng, real, client) } else { udp(rng, real, client) })
}

fn ping(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let (port, client) = world.client(rng);
    let target = if rng.u8(..3) == 0 { world.any_address(rng) } else { world.own_address(rng) };
    let kind = *rng.choice(&[8, 8, 8, 8, 0, 13, 17, 200]).expect("some");
    (port, Packet::icmp(*client.ip(), target, [kind, 0], rng.u32(..).to_be_bytes(), &payload(rng)))
}

/// About a packet that the balancer sent, or says it sent.
fn icmp_error(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let head = *rng
        .choice(&[[3, 0], [3, 1], [3, 3], [3, 4], [11, 0], [11, 1], [12, 0], [4, 0], [5, 1], [3, 13]])
        .expect("some");
    let rest = if head == [3, 4] { [0, 0, 2, rng.u8(..)] } else { rng.u32(..).to_be_bytes() };
    let pair = world.pair(rng).unwrap_or(Pair {
        tcp: true,
        client: world.client(rng).1,
        real: SocketAddrV4::new(world.real_address(rng), 80),
    });
    let about = |rng: &mut Rng, from, to| if pair.tcp { tcp(rng, from, to) } else { udp(rng, from, to) };
    let to_real = rng.bool();
    let quoted = if to_real {
        about(rng, pair.client, pair.real)
    } else {
        let service = world.service(rng);
        about(rng, service.listen, pair.client)
    };
    let mut quoted = varied(rng, quoted).datagram();
    if rng.u8(..3) != 0 {
        quoted.truncate(*rng.choice(&[20, 24, 28, 28, 28, 48, 128]).expect("some"));
    }
    if to_real {
        let from = if rng.bool() { *pair.real.ip() } else { world.any_address(rng) };
        (world.real_port(), Packet::icmp(from, *pair.client.ip(), head, rest, &quoted))
    } else {
        let (port, _) = world.client(rng);
        let from = if rng.bool() { *pair.client.ip() } else { world.any_address(rng) };
        (port, Packet::icmp(from, world.own_address(rng), head, rest, &quoted))
    }
}

/// Longer than what some ports let through.
fn large(rng: &mut Rng, world: &World) -> (u8, Packet) {
    let (port, packet) = if rng.bool() { from_client(rng, world) } else { reply(rng, world) };
    let payload = vec![rng.u8(..); rng.usize(300..1440)];
    (port, Packet { payload, dont_fragment: rng.bool(), ..packet })
}

/// With MACs, mostly right, and now and then options, a low TTL or another address.
fn varied(rng: &mut Rng, mut packet: Packet) -> Packet {
    packet.id = rng.u16(..64);
    packet.dont_fragment &= rng.u8(..4) != 0;
    packet.ttl = *rng.choice(&[64, 64, 64, 64, 64, 255, 128, 3, 2, 1, 0]).expect("some");
    if rng.u8(..12) == 0 {
        packet.options = rng.choice(&OPTIONS).expect("some").to_vec();
    }
    match rng.u16(..200) {
        0 => packet.source.set_ip(Ipv4Addr::new(127, 0, 0, 1)),
        1 => packet.source.set_ip(Ipv4Addr::BROADCAST),
        2 => packet.source.set_ip(Ipv4Addr::UNSPECIFIED),
        3 => packet.source.set_ip(*packet.destination.ip()),
        4 => packet.destination.set_ip(Ipv4Addr::new(224, 0, 0, 5)),
        5 => packet.destination.set_ip(Ipv4Addr::new(192, 168, 10, 255)),
        6 => packet.destination.set_ip(Ipv4Addr::UNSPECIFIED),
        7 => packet.protocol = rng.u8(..),
        8 => packet.fragment = rng.u16(..0x2000),
        9 => packet.source.set_port(20),
        10 => packet.source.set_port(0),
        _ => {}
    }
    packet
}

/// MACs; and what happens to a frame on its way or in a device.
fn spoil(rng: &mut Rng, frame: &mut Arriving) {
    let bytes = &mut frame.bytes;
    bytes.copy_within(26..30, 8);
    bytes[6..8].copy_from_slice(&[2, 0]);
    bytes[..6].copy_from_slice(&mac_of(frame.port));
    match rng.u8(..90) {
        0 => bytes[..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]),
        1 => bytes[..6].fill(0xff),
        2 => bytes[24] ^= 1 << rng.u8(..8),
        3 => {
            let at = rng.usize(34..bytes.len().max(35)).min(bytes.len() - 1);
            bytes[at] ^= 1 << rng.u8(..8);
        }
        4..=7 => bytes.resize(bytes.len().max(60), 0),
        8 => bytes.extend([7; 5]),
        9 | 10 => bytes.splice(12..12, [0x81, 0, 0xa0, 0]).for_each(drop),
        11 => bytes.splice(12..12, [0x81, 0, 0, 7]).for_each(drop),
        12 => bytes.truncate(rng.usize(14..=bytes.len())),
        13 => mutate(rng, bytes),
        14 => bytes[14] = rng.u8(..),
        15 => {
            bytes[16..18].copy_from_slice(&rng.u16(..1600).to_be_bytes());
            seal_if_whole(bytes);
        }
        16 => partial_checksum(bytes),
        _ => {}
    }
    frame.flags = match rng.u8(..60) {
        0 => 1 << 4,
        1..=10 => 1 << 7,
        11 => 1 << 4 | 1 << 7,
        _ => 0,
    };
}

fn mutate(rng: &mut Rng, bytes: &mut [u8]) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len());
        bytes[at] = rng.u8(..);
    }
}

fn seal_if_whole(bytes: &mut [u8]) {
    if bytes.len() >= 14 + usize::from(bytes[14] & 15) * 4 && bytes[14] & 15 >= 5 {
        seal(bytes);
    }
}

/// What a virtual device hands on from a sender that leaves the checksum to it: the sum of the pseudo-header alone.
fn partial_checksum(bytes: &mut [u8]) {
    let header = usize::from(bytes[14] & 15) * 4;
    let at = 14 + header + if bytes[23] == 6 { 16 } else { 6 };
    if bytes.len() < at + 2 || bytes[14] & 15 < 5 {
        return;
    }
    let mut pseudo = bytes[26..34].to_vec();
    pseudo.extend([0, bytes[23]]);
    pseudo.extend(((bytes.len() - 14 - header) as u16).to_be_bytes());
    let sum = !internet_checksum(&pseudo, 0);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn arp(rng: &mut Rng, world: &World) -> Arriving {
    let port = world.any_port(rng);
    let operation = *rng.choice(&[1, 1, 1, 2, 2, 3]).expect("some");
    let sender = match rng.u8(..6) {
        0 => world.own_address(rng),
        1 => Ipv4Addr::UNSPECIFIED,
        _ => world.any_address(rng),
    };
    let target = match rng.u8(..4) {
        0 => sender,
        1 => world.any_address(rng),
        _ => world.own_address(rng),
    };
    let sender_mac = [2, 0, rng.u8(..2), 0, 0, sender.octets()[3]];
    let mut bytes = if rng.bool() { vec![0xff; 6] } else { mac_of(port).to_vec() };
    bytes.extend(sender_mac);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    bytes.extend(sender_mac);
    bytes.extend(sender.octets());
    bytes.extend(if operation == 2 { mac_of(port) } else { [0; 6] });
    bytes.extend(target.octets());
    match rng.u8(..12) {
        0 => mutate(rng, &mut bytes),
        1 => bytes.truncate(rng.usize(14..42)),
        2..=6 => bytes.resize(60, 0),
        _ => {}
    }
    Arriving { port, bytes, flags: 0 }
}

/// No IPv4 packet, or none at all.
fn strange(rng: &mut Rng, world: &World) -> Arriving {
    let port = world.any_port(rng);
    let mut bytes: Vec<u8> = (0..rng.usize(..120)).map(|_| rng.u8(..)).collect();
    if bytes.len() > 14 {
        if rng.bool() {
            bytes[..6].copy_from_slice(&mac_of(port));
        }
        let types = [[0x86, 0xdd], [0x88, 0xcc], [8, 0], [8, 6], [0x81, 0], [0, 40]];
        bytes[12..14].copy_from_slice(rng.choice(&types).expect("some"));
    }
    Arriving { port, bytes, flags: 0 }
}
