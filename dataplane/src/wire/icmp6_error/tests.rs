use super::super::examples::{CLIENT_MAC, OUR_MAC, frame, sctp_packet};
use super::super::{ipv4, sctp, udp};
use super::*;
use etherparse::{Icmpv6Type, IpFragOffset, Ipv6FragmentHeader, Ipv6RawExtHeader, PacketBuilder};
use proptest::prelude::*;

const CLIENT: SocketAddrV6 = endpoint([0xfd00, 0x10, 0, 0, 0, 0, 0, 6], 46_102);
const VIP: SocketAddrV6 = endpoint([0xfd00, 0x10, 0, 0, 0, 0, 0, 0x100], 5000);
const REAL: SocketAddrV6 = endpoint([0xfd00, 0x20, 0, 0, 0, 0, 0, 7], 8080);
/// A router on the way to the client, which also sends errors.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

const fn endpoint(address: [u16; 8], port: u16) -> SocketAddrV6 {
    let [a, b, c, d, e, f, g, h] = address;
    SocketAddrV6::new(Ipv6Addr::new(a, b, c, d, e, f, g, h), port, 0, 0)
}

/// A TCP segment or UDP datagram in a packet without Ethernet header, made by another implementation.
fn packet(protocol: Protocol, from: SocketAddrV6, to: SocketAddrV6, data: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 63);
    let mut bytes = Vec::new();
    match protocol {
        Protocol::Tcp => builder.tcp(from.port(), to.port(), 1, 1000).write(&mut bytes, data).unwrap(),
        Protocol::Udp => builder.udp(from.port(), to.port()).write(&mut bytes, data).unwrap(),
        Protocol::Sctp => {
            let packet = sctp_packet([from.port(), to.port()], data);
            builder.write(&mut bytes, sctp::PROTOCOL_NUMBER.into(), &packet).unwrap();
        }
    }
    bytes
}

/// A frame with an error that quotes `length` bytes of a packet, made by another implementation.
fn error(quoted: &[u8], length: usize, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC.0, OUR_MAC.0)
        .ipv6(from.octets(), to.octets(), 64)
        .icmpv6(Icmpv6Type::PacketTooBig { mtu: 1400 });
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &quoted[..quoted.len().min(length)]).unwrap();
    bytes
}

/// The packet with extension headers after its IPv6 header, the first of this number; each names the next.
fn with_headers(mut packet: Vec<u8>, number: u8, headers: &[u8]) -> Vec<u8> {
    packet.splice(ipv6::HEADER..ipv6::HEADER, headers.iter().copied());
    packet[ipv6::field::NEXT_HEADER] = number;
    let length = (packet.len() - ipv6::HEADER) as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

fn options(next: u8, length: usize) -> Vec<u8> {
    Ipv6RawExtHeader::new_raw(next.into(), &vec![0; length]).unwrap().to_bytes().to_vec()
}

fn part(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let offset = IpFragOffset::try_new(offset).unwrap();
    Ipv6FragmentHeader::new(next.into(), offset, more, 4711).to_bytes().to_vec()
}

fn quote_in(bytes: &[u8]) -> Option<Quoted> {
    quoted(&Packet::in_frame(bytes).unwrap())
}

fn about(protocol: Protocol, source: SocketAddrV6, destination: SocketAddrV6) -> Option<Quoted> {
    Some(Quoted { protocol, source: source.into(), destination: destination.into() })
}

#[test]
fn a_routers_error_about_a_reply_reaches_the_real() {
    // The router quotes the reply as it saw it; the real must see it as it sent it.
    let reply = |from| packet(Protocol::Udp, from, CLIENT, b"rs1 saw something");
    let bytes = error(&reply(VIP), 1232, ROUTER, *VIP.ip());
    assert_eq!(quote_in(&bytes), about(Protocol::Udp, VIP, CLIENT));
    let mut frame = frame(&bytes);
    assert!(translate(&mut frame, None, Some(*REAL.ip()), Some(REAL), None));
    assert_eq!(frame.bytes(), error(&reply(REAL), 1232, ROUTER, *REAL.ip()));
}

#[test]
fn a_reals_error_about_a_request_reaches_the_client() {
    // SCTP's checksum is quoted from the 12th byte of its header on.
    let lengths = [[48, 49, 58, 59, 60, 61, 80, 1232], [48, 52, 53, 58, 60, 61, 80, 1232]];
    for (protocol, lengths) in [Protocol::Tcp, Protocol::Sctp].into_iter().zip(lengths) {
        let request = |to| packet(protocol, CLIENT, to, &[7; 90]);
        for length in lengths {
            let bytes = error(&request(REAL), length, *REAL.ip(), *CLIENT.ip());
            assert_eq!(quote_in(&bytes), about(protocol, CLIENT, REAL), "{length} bytes");
            let mut frame = frame(&bytes);
            assert!(translate(&mut frame, Some(*VIP.ip()), None, None, Some(VIP)));
            let sent = error(&request(VIP), length, *VIP.ip(), *CLIENT.ip());
            assert_eq!(frame.bytes(), sent, "{length} bytes");
        }
    }
}

#[test]
fn extension_headers_of_both_packets_are_kept() {
    let reply = |from| {
        let headers = [options(44, 14), part(60, 0, true), options(17, 6)].concat();
        with_headers(packet(Protocol::Udp, from, CLIENT, b"the first part"), 60, &headers)
    };
    let outer = |from, to| {
        let bytes = error(&reply(from), 1232, ROUTER, to);
        let headers = [options(44, 6), part(58, 0, false)].concat();
        [&bytes[..ethernet::HEADER], &with_headers(bytes[ethernet::HEADER..].to_vec(), 0, &headers)].concat()
    };
    let bytes = outer(VIP, *VIP.ip());
    assert_eq!(quote_in(&bytes), about(Protocol::Udp, VIP, CLIENT));
    let mut frame = frame(&bytes);
    assert!(translate(&mut frame, None, Some(*REAL.ip()), Some(REAL), None));
    assert_eq!(frame.bytes(), outer(REAL, *REAL.ip()));
}

#[test]
fn wrong_checksums_stay_wrong() {
    let mut datagram = packet(Protocol::Udp, VIP, CLIENT, b"data");
    datagram[ipv6::HEADER + udp::field::CHECKSUM] ^= 0x10;
    let mut bytes = error(&datagram, 1232, *CLIENT.ip(), *VIP.ip());
    let message = ethernet::HEADER + ipv6::HEADER;
    bytes[message + icmp6::field::CHECKSUM] ^= 0x20;
    let mut frame = frame(&bytes);
    assert!(translate(&mut frame, None, Some(*REAL.ip()), Some(REAL), None));
    let bytes = frame.bytes();
    assert!(!icmp6::Message::parse(&bytes[message..]).unwrap().has_right_checksum(*CLIENT.ip(), *REAL.ip()));
    let right = packet(Protocol::Udp, REAL, CLIENT, b"data");
    let quoted = &bytes[message + icmp6::HEADER..];
    let place = ipv6::HEADER + udp::field::CHECKSUM;
    assert_eq!(quoted[..place], right[..place]);
    assert_ne!(quoted[place..], right[place..]);
}

#[test]
fn what_is_not_the_start_of_tcp_udp_or_sctp_is_left_alone() {
    let datagram = packet(Protocol::Udp, VIP, CLIENT, b"some data");
    let about_packet = |quoted: &[u8]| error(quoted, 1232, *CLIENT.ip(), *VIP.ip());
    let with = |number: u8, headers: &[u8]| about_packet(&with_headers(datagram.clone(), number, headers));
    let good = about_packet(&datagram);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let (message, header) =
        (ethernet::HEADER + ipv6::HEADER, ethernet::HEADER + ipv6::HEADER + icmp6::HEADER);
    for kind in [1, 2, 3, 4, 100, 127] {
        assert!(quote_in(&changed(message, kind)).is_some(), "type {kind}");
    }
    assert!(quote_in(&with(44, &part(17, 0, true))).is_some(), "the first fragment");
    let outer = |headers: &[u8], number| {
        let packet = with_headers(good[ethernet::HEADER..].to_vec(), number, headers);
        [&good[..ethernet::HEADER], &packet].concat()
    };
    assert!(quote_in(&outer(&part(58, 0, false), 44)).is_some(), "an atomic fragment");
    let bad = [
        changed(message, 128),
        changed(message, 129),
        changed(message, 136),
        changed(header, 0x45),
        changed(header + ipv6::field::NEXT_HEADER, ipv6::ICMP),
        changed(header + ipv6::field::NEXT_HEADER, 33),
        changed(ethernet::HEADER + ipv6::field::NEXT_HEADER, ipv4::ICMP),
        with(44, &part(17, 1, false)),
        with(43, &[17, 0, 0, 1, 0, 0, 0, 0]),
        with(60, &options(0, 6)),
        with(60, &[17, 200, 0, 0, 0, 0, 0, 0]),
        outer(&part(58, 0, true), 44),
        outer(&part(58, 1, false), 44),
        outer(&[58, 0, 0, 1, 0, 0, 0, 0], 43),
        error(&datagram, 47, *CLIENT.ip(), *VIP.ip()),
        error(&datagram, 39, *CLIENT.ip(), *VIP.ip()),
        error(&datagram, 0, *CLIENT.ip(), *VIP.ip()),
        [&good[..ethernet::HEADER], &datagram].concat(),
    ];
    for (index, bytes) in bad.iter().enumerate() {
        assert_eq!(quote_in(bytes), None, "case {index}");
        let mut frame = frame(bytes);
        assert!(!translate(&mut frame, Some(*VIP.ip()), None, None, Some(VIP)));
        assert_eq!(frame.bytes(), bytes, "case {index}");
    }
}

#[test]
fn where_a_later_fragment_was_going() {
    let datagram = packet(Protocol::Udp, VIP, CLIENT, b"some data");
    let destination = |offset| {
        let quoted = with_headers(datagram.clone(), 44, &part(17, offset, false));
        later_fragments_destination(&Packet::in_frame(&error(&quoted, 1232, ROUTER, *VIP.ip())).unwrap())
    };
    assert_eq!(destination(181), Some(IpAddr::V6(*CLIENT.ip())));
    assert_eq!(destination(0), None, "its ports are there");
}

fn any_endpoint() -> impl Strategy<Value = SocketAddrV6> {
    let address = prop_oneof![any::<u128>(), Just(0), Just(u128::MAX)];
    let port = prop_oneof![any::<u16>(), Just(0), Just(0xffff)];
    (address, port).prop_map(|(address, port)| SocketAddrV6::new(address.into(), port, 0, 0))
}

proptest! {
    /// Translating what is quoted of a packet is quoting the translated packet.
    #[test]
    fn translation_and_quotation_commute(
        from in any_endpoint(), to in any_endpoint(),
        new_from in proptest::option::of(any_endpoint()), new_to in proptest::option::of(any_endpoint()),
        outer_from in proptest::option::of(any::<u128>()), outer_to in proptest::option::of(any::<u128>()),
        data in proptest::collection::vec(any::<u8>(), 0..60), length in 48usize..140, is_tcp: bool,
        more_headers: bool,
    ) {
        let headers = if more_headers { options(if is_tcp { 6 } else { 17 }, 14) } else { Vec::new() };
        let length = length + headers.len();
        // Half of a checksum that is cut in two cannot be updated, and is of no use to anyone.
        prop_assume!(!(is_tcp && length == ipv6::HEADER + headers.len() + tcp::field::CHECKSUM + 1));
        let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
        let packet = |from, to| {
            let packet = packet(protocol, from, to, &data);
            if more_headers { with_headers(packet, 60, &headers) } else { packet }
        };
        let (outer_from, outer_to) = (outer_from.map(Ipv6Addr::from), outer_to.map(Ipv6Addr::from));
        let mut frame = frame(&error(&packet(from, to), length, *CLIENT.ip(), *VIP.ip()));
        prop_assert!(translate(&mut frame, outer_from, outer_to, new_from, new_to));
        let translated = packet(new_from.unwrap_or(from), new_to.unwrap_or(to));
        let sent =
            error(&translated, length, outer_from.unwrap_or(*CLIENT.ip()), outer_to.unwrap_or(*VIP.ip()));
        prop_assert_eq!(frame.bytes(), &sent[..]);
    }

    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 14..200), likely: bool, cut in 0u8..4,
    ) {
        let inner = ethernet::HEADER + ipv6::HEADER + icmp6::HEADER;
        if likely && bytes.len() > inner {
            let length = (bytes.len() - ethernet::HEADER - ipv6::HEADER) as u8 - cut;
            bytes[14] = 0x60;
            bytes[18..21].copy_from_slice(&[0, length, ipv6::ICMP]);
            bytes[54] &= 0x7f;
            bytes[inner] = 0x60;
            if let Some(number) = bytes.get_mut(inner + ipv6::field::NEXT_HEADER) {
                *number = [6, 17, 44, 60][usize::from(*number & 3)];
            }
        }
        let known = Packet::in_frame(&bytes).ok().and_then(|packet| quoted(&packet)).is_some();
        let mut frame = frame(&bytes);
        let done = translate(&mut frame, Some(*VIP.ip()), Some(*REAL.ip()), Some(VIP), Some(REAL));
        prop_assert_eq!(done, known);
        if !done {
            prop_assert_eq!(frame.bytes(), &bytes[..]);
        }
    }
}
