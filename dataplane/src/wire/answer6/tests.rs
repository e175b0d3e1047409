use super::super::examples::{CLIENT_MAC, OUR_MAC, frame, sctp_packet};
use super::*;
use etherparse::{Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const CLIENT: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 6), 38_790, 0, 0);
const VIP: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x100), 81, 0, 0);
const REAL: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 7), 8080, 0, 0);

fn builder() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let addresses = (CLIENT.ip().octets(), VIP.ip().octets());
    PacketBuilder::ethernet2(CLIENT_MAC.0, OUR_MAC.0).ipv6(addresses.0, addresses.1, 3)
}

fn tcp(sequence: u32, syn: bool, data: &[u8]) -> Vec<u8> {
    let builder = builder().tcp(CLIENT.port(), VIP.port(), sequence, 1000);
    let builder = if syn { builder.syn() } else { builder.ack(4711) };
    let mut bytes = Vec::new();
    builder.write(&mut bytes, data).unwrap();
    bytes
}

fn udp(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder().udp(CLIENT.port(), VIP.port()).write(&mut bytes, data).unwrap();
    bytes
}

fn icmp(kind: Icmpv6Type, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder().icmpv6(kind).write(&mut bytes, data).unwrap();
    bytes
}

fn ping(data: &[u8]) -> Vec<u8> {
    icmp(Icmpv6Type::EchoRequest(etherparse::IcmpEchoHeader { id: 0x9e4, seq: 1 }), data)
}

/// The frame with an extension header of eight bytes, which names what came first before.
fn with_header(mut bytes: Vec<u8>, number: u8, rest: [u8; 7]) -> Vec<u8> {
    let next = bytes[PACKET + ipv6::field::NEXT_HEADER];
    bytes.splice(PAYLOAD..PAYLOAD, [next].into_iter().chain(rest));
    bytes[PACKET + ipv6::field::NEXT_HEADER] = number;
    let length = (bytes.len() - PAYLOAD) as u16;
    bytes[PACKET + 4..PACKET + 6].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn options(bytes: Vec<u8>) -> Vec<u8> {
    with_header(bytes, 60, [0, 1, 4, 0, 0, 0, 0])
}

fn first_fragment(bytes: Vec<u8>) -> Vec<u8> {
    with_header(bytes, 44, [0, 0, 1, 0, 0, 0, 9])
}

fn later_fragment(bytes: Vec<u8>) -> Vec<u8> {
    with_header(bytes, 44, [0, 0, 8, 0, 0, 0, 9])
}

fn atomic_fragment(bytes: Vec<u8>) -> Vec<u8> {
    with_header(bytes, 44, [0, 0, 0, 0, 0, 0, 9])
}

fn routed_on(bytes: Vec<u8>) -> Vec<u8> {
    with_header(bytes, 43, [0, 0, 1, 0, 0, 0, 0])
}

/// Checks by another implementation that the frame is a right one from `source` to the client.
fn is_on_its_way_back(bytes: &[u8], source: Ipv6Addr) {
    assert_eq!(bytes[..12], [CLIENT_MAC.0, OUR_MAC.0].concat());
    let sliced = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("not IPv6") };
    assert!(ip.extensions().is_empty());
    let header = ip.header();
    assert_eq!((header.hop_limit(), header.flow_label().value()), (64, 0));
    assert_eq!((header.source_addr(), header.destination_addr()), (source, *CLIENT.ip()));
    assert_eq!(bytes.len(), PAYLOAD + usize::from(header.payload_length()));
    match sliced.transport.unwrap() {
        TransportSlice::Icmpv6(message) => {
            assert!(message.is_checksum_valid(source.octets(), CLIENT.ip().octets()));
        }
        TransportSlice::Tcp(segment) => {
            let right = segment.to_header().calc_checksum_ipv6(&header.to_header(), segment.payload());
            assert_eq!(segment.checksum(), right.unwrap());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_syn_becomes_a_rst() {
    for bytes in [tcp(41, true, &[]), options(tcp(41, true, &[])), atomic_fragment(tcp(41, true, &[]))] {
        let mut frame = frame(&bytes);
        frame.bytes_mut()[PACKET..PACKET + 2].copy_from_slice(&[0x6b, 0xb0]);
        assert!(tcp_reset(&mut frame));
        is_on_its_way_back(frame.bytes(), *VIP.ip());
        let packet = Packet::in_frame(frame.bytes()).unwrap();
        assert_eq!(packet.traffic_class(), 0xb8, "without congestion");
        let segment = Segment::parse(packet.payload()).unwrap();
        assert_eq!((segment.source_port(), segment.destination_port()), (81, 38_790));
        assert_eq!((segment.sequence(), segment.acknowledgement()), (0, 42));
        assert_eq!(segment.flags(), tcp::RST | tcp::ACK);
        assert!(!tcp_reset(&mut frame), "a RST is not answered");
    }
}

#[test]
fn no_rst_for_what_is_wrong() {
    let good = tcp(7, true, b"data");
    let refused = |bytes: &[u8]| {
        let mut frame = frame(bytes);
        !tcp_reset(&mut frame)
            && frame.bytes() == bytes
            && reset_onward(bytes, REAL, (OUR_MAC, CLIENT_MAC)).is_none()
    };
    assert!(!refused(&good));
    let mut bad = good.clone();
    bad[PAYLOAD + 22] ^= 1;
    assert!(refused(&bad), "wrong checksum");
    let partial = checksum::pseudo_header_v6(*CLIENT.ip(), *VIP.ip(), 6, 24);
    checksum::write(&mut bad, PAYLOAD + tcp::field::CHECKSUM, partial);
    assert!(!refused(&bad), "left to a device");
    assert!(refused(&udp(b"data and more than twenty bytes")));
    assert!(refused(&first_fragment(good.clone())));
    assert!(refused(&later_fragment(good.clone())));
    assert!(refused(&routed_on(good.clone())));
    let changed = |at: usize, values: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + values.len()].copy_from_slice(values);
        bytes
    };
    assert!(refused(&changed(0, &[3])), "a group's MAC");
    assert!(refused(&changed(12, &[8, 0])), "EtherType");
    assert!(refused(&changed(PACKET + ipv6::field::SOURCE, &Ipv6Addr::LOCALHOST.octets())), "martian");
    assert!(refused(&changed(PACKET + ipv6::field::DESTINATION, &[0xff])), "multicast");
}

#[test]
fn a_segment_on_its_way_becomes_a_rst_onward() {
    let bytes = reset_onward(&options(tcp(7, false, b"data")), REAL, (OUR_MAC, CLIENT_MAC)).unwrap();
    assert_eq!(bytes[..14], [&CLIENT_MAC.0[..], &OUR_MAC.0, &[0x86, 0xdd]].concat());
    let packet = Packet::in_frame(&bytes).unwrap();
    assert_eq!((packet.source(), packet.destination()), (*CLIENT.ip(), *REAL.ip()));
    let segment = Segment::parse(packet.payload()).unwrap();
    assert_eq!((segment.source_port(), segment.destination_port()), (38_790, 8080));
    assert_eq!((segment.sequence(), segment.acknowledgement()), (7, 4711));
    assert_eq!(segment.flags(), tcp::RST | tcp::ACK);
    assert_eq!(checksum::transport_v6(*CLIENT.ip(), *REAL.ip(), 6, segment.bytes()), 0);
}

#[test]
fn a_ping_is_answered_without_extension_headers() {
    for data in [0, 1, 56, 1400] {
        let data = vec![0x5a; data];
        for bytes in [ping(&data), options(ping(&data)), options(atomic_fragment(ping(&data)))] {
            let mut bytes_and_padding = bytes.clone();
            bytes_and_padding.resize(bytes.len().max(60) + 2, 0xee);
            let mut frame = frame(&bytes_and_padding);
            assert!(echo_reply(&mut frame));
            is_on_its_way_back(frame.bytes(), *VIP.ip());
            let message = icmp6::Message::parse(&frame.bytes()[PAYLOAD..]).unwrap();
            assert_eq!((message.kind(), message.identifier(), message.sequence()), (129, 0x9e4, 1));
            assert_eq!(message.data(), data);
            assert!(!echo_reply(&mut frame), "a reply is not answered");
        }
    }
    for bad in [first_fragment(ping(&[])), later_fragment(ping(&[])), routed_on(ping(&[])), udp(&[8; 9])] {
        let mut frame = frame(&bad);
        assert!(!echo_reply(&mut frame));
        assert_eq!(frame.bytes(), bad);
    }
}

#[test]
fn an_error_quotes_the_packet() {
    let kinds = [
        (Icmp6Error::NoRoute, [1, 0], [0; 4]),
        (Icmp6Error::Prohibited, [1, 1], [0; 4]),
        (Icmp6Error::AddressUnreachable, [1, 3], [0; 4]),
        (Icmp6Error::PortUnreachable, [1, 4], [0; 4]),
        (Icmp6Error::PacketTooBig { mtu: 1400 }, [2, 0], [0, 0, 0x05, 0x78]),
        (Icmp6Error::HopLimitExceeded, [3, 0], [0; 4]),
        (Icmp6Error::ParameterProblem { code: 1, pointer: 0x0102_0304 }, [4, 1], [1, 2, 3, 4]),
    ];
    for (kind, first, rest) in kinds {
        for data in [0, 1, 9, 1183, 1184, 1185, 1450] {
            let offending = options(udp(&vec![0x5a; data]));
            let mut frame = frame(&offending);
            assert!(icmp_error(&mut frame, kind, *REAL.ip()));
            is_on_its_way_back(frame.bytes(), *REAL.ip());
            assert_eq!(frame.length() - PACKET, (48 + 56 + data).min(1280));
            let message = &frame.bytes()[PAYLOAD..];
            assert_eq!((&message[..2], &message[4..8]), (&first[..], &rest[..]));
            assert_eq!(message[8..], offending[PACKET..][..message.len() - 8]);
            let error = frame.bytes().to_vec();
            assert!(!icmp_error(&mut frame, kind, *REAL.ip()), "about an error");
            assert_eq!(frame.bytes(), error);
        }
    }
}

#[test]
fn which_packets_cause_which_errors() {
    let about = |bytes: &[u8], kind| {
        let mut frame = frame(bytes);
        let made = icmp_error(&mut frame, kind, *VIP.ip());
        assert!(made || frame.bytes() == bytes);
        made
    };
    let (unreachable, exceeded) = (Icmp6Error::PortUnreachable, Icmp6Error::HopLimitExceeded);
    let problem = Icmp6Error::ParameterProblem { code: 1, pointer: 40 };
    let (datagram, request) = (udp(b"data"), ping(b"data"));
    for good in [&datagram, &request, &tcp(1, true, &[]), &first_fragment(datagram.clone())] {
        assert!(about(good, unreachable) && about(good, exceeded) && about(good, problem));
    }
    assert!(about(&later_fragment(datagram.clone()), exceeded), "RFC 4443 does not forbid it");
    assert!(!about(&later_fragment(datagram.clone()), unreachable), "it has no port");
    assert!(!about(&later_fragment(request.clone()), exceeded), "of what, is not known");
    assert!(!about(&icmp(Icmpv6Type::Redirect, &[0; 32]), exceeded), "a redirect");
    let misplaced = options(with_header(datagram.clone(), 0, [0, 1, 4, 0, 0, 0, 0]));
    assert!(about(&misplaced, problem) && !about(&misplaced, exceeded));

    let place = PAYLOAD + super::super::udp::field::CHECKSUM;
    let checked = |check: [u8; 2]| {
        let mut bytes = datagram.clone();
        bytes[place..place + 2].copy_from_slice(&check);
        bytes
    };
    let wrong = [datagram[place], datagram[place + 1] ^ 1];
    for bad in [checked([0; 2]), checked(wrong), routed_on(datagram.clone())] {
        assert!(about(&bad, exceeded) && !about(&bad, unreachable));
    }
    let changed = |at: usize, values: &[u8]| {
        let mut bytes = datagram.clone();
        bytes[at..at + values.len()].copy_from_slice(values);
        bytes
    };
    for bad in [
        changed(0, &[3]),
        changed(PACKET + ipv6::field::SOURCE, &[0; 16]),
        changed(PACKET + ipv6::field::SOURCE, &[0xff]),
        changed(PACKET + ipv6::field::DESTINATION, &[0xff]),
        datagram[..60].to_vec(),
    ] {
        assert!(!about(&bad, exceeded));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200), likely: bool, which in 0u8..3,
    ) {
        if likely && bytes.len() > PAYLOAD {
            bytes[0] &= 0xfe;
            bytes[6] &= 0xfe;
            bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            bytes[18] = 0;
            bytes[19] = (bytes.len() - PAYLOAD) as u8;
            bytes[20] = [6, 17, 58, 0, 43, 44, 60, 200][usize::from(bytes[20] & 7)];
            bytes[PACKET + ipv6::field::SOURCE] &= 0x7f;
            bytes[PACKET + ipv6::field::DESTINATION] &= 0x7f;
        }
        let mut frame = frame(&bytes);
        let made = match which {
            0 => tcp_reset(&mut frame),
            1 => echo_reply(&mut frame),
            _ => icmp_error(&mut frame, Icmp6Error::HopLimitExceeded, *VIP.ip()),
        };
        if made {
            let packet = Packet::in_frame(frame.bytes()).unwrap();
            prop_assert_eq!(PACKET + packet.bytes().len(), frame.length());
            prop_assert_eq!(&frame.bytes()[..6], &bytes[6..12]);
        } else {
            prop_assert_eq!(frame.bytes(), &bytes[..]);
        }
    }
}

/// The frame of an SCTP packet with one chunk.
fn sctp_frame(tag: u32, chunk_type: u8, value: &[u8]) -> Vec<u8> {
    let mut packet = sctp_packet([CLIENT.port(), VIP.port()], value);
    packet[4..8].copy_from_slice(&tag.to_be_bytes());
    packet[sctp::HEADER] = chunk_type;
    sctp::set_checksum(&mut packet);
    let mut bytes = Vec::new();
    builder().write(&mut bytes, sctp::PROTOCOL_NUMBER.into(), &packet).unwrap();
    bytes
}

#[test]
fn an_sctp_packet_out_of_the_blue_becomes_an_abort() {
    let data = sctp_frame(77, sctp::chunk_type::DATA, b"some data");
    for bytes in [data.clone(), options(data.clone())] {
        let mut frame = frame(&bytes);
        assert!(sctp_abort(&mut frame));
        let packet = Packet::in_frame(frame.bytes()).unwrap();
        assert_eq!((packet.source(), packet.destination()), (*VIP.ip(), *CLIENT.ip()));
        let received = sctp::Packet::parse(&packet.bytes()[ipv6::HEADER..]).unwrap();
        assert_eq!(received.bytes().len(), sctp::CONTROL);
        assert!(received.has_right_checksum());
        assert_eq!((received.source_port(), received.destination_port()), (VIP.port(), CLIENT.port()));
        assert_eq!((received.verification_tag(), received.event()), (77, sctp::Event::Abort));
        assert!(!sctp_abort(&mut frame), "an ABORT is not answered");
    }
    let refused = |bytes: &[u8]| {
        let mut frame = frame(bytes);
        !sctp_abort(&mut frame) && frame.bytes() == bytes
    };
    assert!(refused(&first_fragment(data.clone())));
    assert!(refused(&tcp(7, true, b"data")));
    let mut wrong = data.clone();
    wrong[PAYLOAD + sctp::field::CHECKSUM] ^= 1;
    assert!(refused(&wrong));
    assert!(!icmp_error(&mut frame(&wrong), Icmp6Error::PortUnreachable, *VIP.ip()));
    assert!(icmp_error(&mut frame(&data), Icmp6Error::PortUnreachable, *VIP.ip()));
}

#[test]
fn an_abort_onward_is_for_the_servers_end() {
    let bytes = sctp_frame(77, sctp::chunk_type::DATA, b"some data");
    let abort = abort_onward(&bytes, REAL, (OUR_MAC, CLIENT_MAC)).unwrap();
    let packet = Packet::in_frame(&abort).unwrap();
    assert_eq!((packet.source(), packet.destination()), (*CLIENT.ip(), *REAL.ip()));
    let received = sctp::Packet::parse(&packet.bytes()[ipv6::HEADER..]).unwrap();
    assert!(received.has_right_checksum());
    assert_eq!((received.source_port(), received.destination_port()), (CLIENT.port(), REAL.port()));
    assert_eq!((received.verification_tag(), received.event()), (77, sctp::Event::Abort));
    assert!(abort_onward(&tcp(7, true, b"data"), REAL, (OUR_MAC, CLIENT_MAC)).is_none());
}
