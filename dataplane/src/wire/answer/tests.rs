use super::super::examples::*;
use super::*;
use crate::wire::udp::HEADER as UDP_HEADER;
use proptest::prelude::*;
use std::net::SocketAddrV4;

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 10, 6), 38_790);
const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 10, 100), 81);

fn is_on_its_way_back(bytes: &[u8]) {
    let header = ethernet::Header::parse(bytes).unwrap();
    assert_eq!((header.destination, header.source), (CLIENT_MAC, OUR_MAC));
    let packet = Packet::in_frame(bytes).unwrap();
    assert_eq!(bytes.len(), PACKET + packet.bytes().len());
    assert_eq!((packet.ttl(), packet.header_length(), packet.destination()), (64, 20, *CLIENT.ip()));
    assert!(checksums_are_right(bytes));
}

#[test]
fn a_syn_becomes_the_rst_that_linux_sends() {
    let mut frame = frame(&tcp(CLIENT, VIP, 4_155_196_732, true, &[]));
    assert!(tcp_reset(&mut frame));
    is_on_its_way_back(frame.bytes());
    let packet = Packet::in_frame(frame.bytes()).unwrap();
    // IP (tos 0x0, ttl 64, id 0, flags [DF], length 40) .81 > .38790: [R.], cksum 0x4555, seq 0, ack 4155196733, win 0
    assert_eq!((packet.tos(), packet.id(), packet.dont_fragment(), packet.total_length()), (0, 0, true, 40));
    assert_eq!(packet.source(), *VIP.ip());
    let segment = Segment::parse(packet.payload()).unwrap();
    assert_eq!((segment.source_port(), segment.destination_port()), (81, 38_790));
    assert_eq!((segment.sequence(), segment.acknowledgement()), (0, 4_155_196_733));
    assert_eq!(segment.flags(), tcp::RST | tcp::ACK);
    assert_eq!(segment.checksum(), u16::from_ne_bytes([0x45, 0x55]));
    let rst = frame.bytes().to_vec();
    assert!(!tcp_reset(&mut frame), "a RST is not answered");
    assert_eq!(frame.bytes(), rst);
}

#[test]
fn data_with_options_becomes_a_rst_with_the_acknowledged_number() {
    let mut bytes = tcp(CLIENT, VIP, 7, false, b"data");
    // Padding, as of a short frame.
    bytes.resize(80, 0);
    let mut frame = frame(&bytes);
    assert!(tcp_reset(&mut frame));
    is_on_its_way_back(frame.bytes());
    let packet = Packet::in_frame(frame.bytes()).unwrap();
    let segment = Segment::parse(packet.payload()).unwrap();
    assert_eq!((segment.sequence(), segment.acknowledgement(), segment.flags()), (4711, 0, tcp::RST));
}

#[test]
fn no_rst_for_what_is_wrong() {
    let good = tcp(CLIENT, VIP, 7, true, b"data");
    let refused = |bytes: &[u8]| {
        let mut frame = frame(bytes);
        !tcp_reset(&mut frame) && frame.bytes() == bytes
    };
    assert!(!refused(&good));
    let mut bad = good.clone();
    bad[PAYLOAD + 22] ^= 1;
    assert!(refused(&bad), "wrong checksum");
    let partial = checksum::pseudo_header(*CLIENT.ip(), *VIP.ip(), 6, 24);
    checksum::write(&mut bad, PAYLOAD + tcp::field::CHECKSUM, partial);
    assert!(!refused(&bad), "left to a device");
    assert!(refused(&udp(CLIENT, VIP, b"data and more than twenty bytes")));
    assert!(refused(&with_header(good.clone(), |header| header.more_fragments = true)));
    assert!(refused(&with_header(good.clone(), |header| header.source = [127, 0, 0, 1])));
    let mut group = good;
    group[0] |= 1;
    assert!(refused(&group));
}

#[test]
fn ping() {
    let mut message = vec![8, 0, 0, 0, 0x09, 0xe4, 0, 1];
    message.extend(0..56);
    let check = !checksum::sum(&message);
    checksum::write(&mut message, icmp::field::CHECKSUM, check);
    let request = raw(CLIENT.ip().octets(), VIP.ip().octets(), ipv4::ICMP, &message);
    let request = with_header(request, |header| {
        header.identification = 3312;
        header.dont_fragment = true;
        header.time_to_live = 3;
    });
    let mut frame = frame(&request);
    assert!(echo_reply(&mut frame));
    is_on_its_way_back(frame.bytes());
    let packet = Packet::in_frame(frame.bytes()).unwrap();
    assert_eq!((packet.total_length(), packet.tos(), packet.dont_fragment()), (84, 0, false));
    assert_eq!((packet.source(), packet.payload()[0]), (*VIP.ip(), icmp::ECHO_REPLY));
    assert_eq!(packet.payload()[4..], message[4..]);
    assert!(!echo_reply(&mut frame), "a reply is not answered");
}

#[test]
fn ping_with_options() {
    let mut message = vec![8, 0, 0, 0, 1, 2, 3, 4, 5];
    let check = !checksum::sum(&message);
    checksum::write(&mut message, icmp::field::CHECKSUM, check);
    let mut payload = vec![1, 1, 1, 0];
    payload.extend(&message);
    let mut bytes = raw(CLIENT.ip().octets(), VIP.ip().octets(), ipv4::ICMP, &payload);
    bytes[PACKET] = 0x46;
    let mut frame = frame(&bytes);
    assert!(echo_reply(&mut frame));
    is_on_its_way_back(frame.bytes());
    assert_eq!(frame.bytes()[PAYLOAD + 4..], [1, 2, 3, 4, 5]);
}

#[test]
fn an_icmp_error_quotes_the_packet() {
    let kinds = [
        (IcmpError::DestinationUnreachable { code: 13 }, [3, 13], [0; 4]),
        (IcmpError::PortUnreachable, [3, 3], [0; 4]),
        (IcmpError::HostUnreachable, [3, 1], [0; 4]),
        (IcmpError::FragmentationNeeded { mtu: 1400 }, [3, 4], [0, 0, 0x05, 0x78]),
        (IcmpError::TimeExceeded, [11, 0], [0; 4]),
        (IcmpError::ParameterProblem { pointer: 20 }, [12, 0], [20, 0, 0, 0]),
    ];
    for (kind, first, rest) in kinds {
        for data in [0, 1, 9, 519, 520, 521, 1450] {
            let offending = udp(CLIENT, VIP, &vec![0x5a; data]);
            let mut frame = frame(&offending);
            assert!(icmp_error(&mut frame, kind, Ipv4Addr::new(10, 0, 0, 8)));
            is_on_its_way_back(frame.bytes());
            let packet = Packet::in_frame(frame.bytes()).unwrap();
            assert_eq!(usize::from(packet.total_length()), (28 + 28 + data).min(576));
            assert_eq!((packet.tos(), packet.source()), (0xc0, Ipv4Addr::new(10, 0, 0, 8)));
            let message = packet.payload();
            assert_eq!((&message[..2], &message[4..8]), (&first[..], &rest[..]));
            assert_eq!(message[8..], offending[PACKET..][..message.len() - 8]);
        }
    }
}

#[test]
fn padding_is_not_quoted() {
    let mut bytes = udp(CLIENT, VIP, &[]);
    bytes.resize(60, 0xee);
    let mut frame = frame(&bytes);
    assert!(icmp_error(&mut frame, IcmpError::PortUnreachable, *VIP.ip()));
    assert_eq!(frame.length(), PACKET + 56);
}

#[test]
fn no_icmp_error_where_it_is_forbidden() {
    let made = |bytes: &[u8]| {
        let mut frame = frame(bytes);
        let made = icmp_error(&mut frame, IcmpError::PortUnreachable, *VIP.ip());
        assert!(made || frame.bytes() == bytes, "nothing is changed");
        made
    };
    let good = udp(CLIENT, VIP, b"some data");
    assert!(made(&good));
    let fragment = |offset: u16, more| {
        with_header(good.clone(), |header| {
            header.fragment_offset = offset.try_into().unwrap();
            header.more_fragments = more;
        })
    };
    assert!(made(&fragment(0, true)), "the first fragment");
    assert!(!made(&fragment(1, false)));
    for source in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [240, 0, 0, 1]] {
        assert!(!made(&with_header(good.clone(), |header| header.source = source)), "from {source:?}");
    }
    for destination in [[224, 0, 0, 1], [239, 1, 2, 3], [255; 4]] {
        assert!(!made(&with_header(good.clone(), |header| header.destination = destination)));
    }
    let wrong = |at: usize, bits: u8| {
        let mut bytes = good.clone();
        bytes[PAYLOAD + at] ^= bits;
        bytes
    };
    assert!(!made(&wrong(UDP_HEADER, 1)), "a datagram with a wrong checksum");
    assert!(!made(&wrong(5, 0x40)), "a datagram longer than its packet");
    let mut not_filled_in = good.clone();
    let length = (good.len() - PAYLOAD) as u16;
    let sum = checksum::pseudo_header(*CLIENT.ip(), *VIP.ip(), ipv4::UDP, length);
    checksum::write(&mut not_filled_in, PAYLOAD + 6, sum);
    assert!(made(&not_filled_in), "left to a device");
    let mut broadcast = good.clone();
    broadcast[..6].fill(0xff);
    assert!(!made(&broadcast));
    let icmp = |kind| raw(CLIENT.ip().octets(), VIP.ip().octets(), ipv4::ICMP, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    assert!(made(&icmp(icmp::ECHO_REQUEST)));
    for kind in [3, 4, 5, 11, 12, 200] {
        assert!(!made(&icmp(kind)), "about type {kind}");
    }
    assert!(!made(&raw(CLIENT.ip().octets(), VIP.ip().octets(), ipv4::ICMP, &[])));
}

/// One `IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto UDP (17), length 30)`.
fn headed<'a>(line: &'a str, field: &str) -> &'a str {
    let value = line.split_once(&format!("{field} ")).unwrap().1;
    value.split([',', ' ', ')']).next().unwrap()
}

/// `192.168.10.6.43100 > 192.168.10.100.9999: ...`, ports or not.
fn ends(line: &str) -> [Ipv4Addr; 2] {
    let (from, rest) = line.trim().split_once(" > ").unwrap();
    [from, rest.split_once(':').unwrap().0].map(|end| {
        let address: Vec<_> = end.split('.').take(4).collect();
        address.join(".").parse().unwrap()
    })
}

/// Makes each ICMP error of a packet trace out of the packet that it quotes; how many.
fn replay(trace: &str) -> usize {
    let lines: Vec<_> = trace.lines().collect();
    let mut compared = 0;
    for window in lines.windows(4) {
        let &[outer, ends_of_outer, inner, ends_of_inner] = window else { unreachable!() };
        let is_error = outer.contains("proto ICMP") && inner.starts_with("\tIP (");
        // With a time to live of 63 it came from a host behind and was forwarded.
        if !is_error || headed(outer, "ttl") != "64" {
            continue;
        }
        let kind = match ends_of_outer {
            text if text.contains("time exceeded") => IcmpError::TimeExceeded,
            text if text.contains("need to frag (mtu 1400)") => IcmpError::FragmentationNeeded { mtu: 1400 },
            text if text.contains(" port ") => IcmpError::PortUnreachable,
            text if text.contains("ICMP host ") => IcmpError::HostUnreachable,
            text => panic!("{text}"),
        };
        let [source, destination] = ends(ends_of_inner);
        let length: usize = headed(inner, "length").parse().unwrap();
        let mut bytes = if inner.contains("proto TCP") {
            raw(source.octets(), destination.octets(), ipv4::TCP, &vec![0; length - 20])
        } else {
            let ends = [source, destination].map(|address| SocketAddrV4::new(address, 9));
            udp(ends[0], ends[1], &vec![0; length - 28])
        };
        bytes[PACKET + 8] = headed(inner, "ttl").parse().unwrap();
        let mut frame = frame(&bytes);
        let [from, to] = ends(ends_of_outer);
        assert!(icmp_error(&mut frame, kind, from));
        let packet = Packet::in_frame(frame.bytes()).unwrap();
        assert_eq!(packet.total_length().to_string(), headed(outer, "length"), "{outer}");
        assert_eq!(format!("{:#x}", packet.tos()), headed(outer, "tos"));
        assert_eq!(packet.ttl().to_string(), headed(outer, "ttl"));
        assert_eq!((packet.source(), packet.destination()), (from, to));
        assert_eq!(packet.payload().len().to_string(), ends_of_outer.rsplit(' ').next().unwrap());
        compared += 1;
    }
    compared
}

#[test]
fn errors_are_as_large_as_those_of_linux() {
    assert_eq!(replay(include_str!("../../../testdata/wire/icmp-and-unserved.txt")), 9);
    assert_eq!(replay(include_str!("../../../testdata/wire/ttl-and-pmtu.txt")), 5);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
        protocol in prop_oneof![Just(1u8), Just(6), Just(17), any::<u8>()],
        likely in 0u8..4,
    ) {
        if likely > 0 && bytes.len() >= 34 {
            bytes[0] &= 0xfe;
            bytes[6] &= 0xfe;
            bytes[12..14].copy_from_slice(&[8, 0]);
            bytes[14] = 0x40 | (bytes[14] & 7);
            bytes[16] = 0;
            bytes[17] &= 0x7f;
            bytes[20..22].fill(0);
            bytes[23] = protocol;
            bytes[26] = 10;
            bytes[30] = 10;
            let icmp = 14 + usize::from(bytes[14] & 15) * 4;
            if likely == 2 && bytes.len() > icmp {
                bytes[icmp] = icmp::ECHO_REQUEST;
            }
        }
        let answers: [fn(&mut crate::frame::plain::PlainFrame) -> bool; 3] = [
            tcp_reset,
            echo_reply,
            |frame| icmp_error(frame, IcmpError::TimeExceeded, Ipv4Addr::new(10, 0, 0, 8)),
        ];
        for answer in answers {
            let mut frame = frame(&bytes);
            if answer(&mut frame) {
                let packet = Packet::in_frame(frame.bytes()).unwrap();
                prop_assert!(packet.has_right_checksum());
                prop_assert_eq!(packet.bytes().len() + PACKET, frame.length());
            } else {
                prop_assert_eq!(frame.bytes(), &bytes[..]);
            }
        }
    }

    #[test]
    fn every_segment_but_a_rst_can_be_reset(
        sequence: u32, syn: bool, data in proptest::collection::vec(any::<u8>(), 0..1400),
    ) {
        let mut frame = frame(&tcp(CLIENT, VIP, sequence, syn, &data));
        prop_assert!(tcp_reset(&mut frame));
        is_on_its_way_back(frame.bytes());
        let packet = Packet::in_frame(frame.bytes()).unwrap();
        let reset = Segment::parse(packet.payload()).unwrap();
        let expected = if syn {
            (0, sequence.wrapping_add(data.len() as u32 + 1), tcp::RST | tcp::ACK)
        } else {
            (4711, 0, tcp::RST)
        };
        prop_assert_eq!((reset.sequence(), reset.acknowledgement(), reset.flags()), expected);
    }

    #[test]
    fn every_udp_datagram_can_be_answered(data in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let mut frame = frame(&udp(CLIENT, VIP, &data));
        prop_assert!(icmp_error(&mut frame, IcmpError::PortUnreachable, *VIP.ip()));
        prop_assert!(checksums_are_right(frame.bytes()));
        let quoted = Packet::in_frame(frame.bytes()).unwrap().payload();
        let ports = &quoted[icmp::HEADER + ipv4::HEADER..][..UDP_HEADER];
        prop_assert_eq!(&ports[..4], &[0x97, 0x86, 0, 81]);
    }
}

/// The frame of an SCTP packet with one chunk.
fn sctp_frame(tag: u32, chunk_type: u8, value: &[u8]) -> Vec<u8> {
    let mut packet = sctp_packet([CLIENT.port(), VIP.port()], value);
    packet[4..8].copy_from_slice(&tag.to_be_bytes());
    packet[sctp::HEADER] = chunk_type;
    sctp::set_checksum(&mut packet);
    raw(CLIENT.ip().octets(), VIP.ip().octets(), sctp::PROTOCOL_NUMBER, &packet)
}

#[test]
fn an_sctp_packet_out_of_the_blue_becomes_an_abort() {
    let init =
        sctp_frame(0, sctp::chunk_type::INIT, &[0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    let data = sctp_frame(77, sctp::chunk_type::DATA, b"some data");
    for (bytes, tag, flags) in [(&init, 0xdead_beef, 0), (&data, 77, 1)] {
        let mut frame = frame(bytes);
        assert!(sctp_abort(&mut frame));
        let header = ethernet::Header::parse(frame.bytes()).unwrap();
        assert_eq!((header.destination, header.source), (CLIENT_MAC, OUR_MAC));
        let packet = Packet::in_frame(frame.bytes()).unwrap();
        assert!(packet.has_right_checksum());
        assert_eq!((packet.protocol(), packet.source()), (sctp::PROTOCOL_NUMBER, *VIP.ip()));
        assert_eq!((packet.destination(), frame.length()), (*CLIENT.ip(), PACKET + packet.bytes().len()));
        let received = sctp::Packet::parse(packet.payload()).unwrap();
        assert!(received.has_right_checksum());
        assert_eq!((received.source_port(), received.destination_port()), (VIP.port(), CLIENT.port()));
        let chunks: Vec<_> = received.chunks().map(|chunk| (chunk.chunk_type(), chunk.flags())).collect();
        assert_eq!((received.verification_tag(), chunks), (tag, vec![(sctp::chunk_type::ABORT, flags)]));
    }
}

#[test]
fn no_abort_and_no_error_for_an_sctp_packet_that_is_discarded_silently() {
    let good = sctp_frame(77, sctp::chunk_type::DATA, b"some data");
    let refused = |bytes: &[u8]| {
        let mut frame = frame(bytes);
        !sctp_abort(&mut frame) && frame.bytes() == bytes
    };
    assert!(!refused(&good));
    let mut wrong = good.clone();
    wrong[PAYLOAD + sctp::field::CHECKSUM] ^= 1;
    assert!(refused(&wrong));
    assert!(!icmp_error(&mut frame(&wrong), IcmpError::PortUnreachable, *VIP.ip()));
    assert!(icmp_error(&mut frame(&good), IcmpError::PortUnreachable, *VIP.ip()));
    assert!(refused(&sctp_frame(77, sctp::chunk_type::ABORT, b"")));
    assert!(refused(&with_header(good.clone(), |header| header.more_fragments = true)));
    assert!(refused(&tcp(CLIENT, VIP, 7, true, b"data")));
    // Where a device was to fill it in.
    let mut none = good;
    none[PAYLOAD + sctp::field::CHECKSUM..][..4].fill(0);
    assert!(!refused(&none));
}

#[test]
fn an_abort_onward_is_for_the_servers_end() {
    let server = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), 9001);
    let bytes = sctp_frame(77, sctp::chunk_type::DATA, b"some data");
    let abort = abort_onward(&bytes, server, (OUR_MAC, CLIENT_MAC)).unwrap();
    let packet = Packet::in_frame(&abort).unwrap();
    assert_eq!((packet.source(), packet.destination()), (*CLIENT.ip(), *server.ip()));
    assert!(packet.has_right_checksum());
    let received = sctp::Packet::parse(packet.payload()).unwrap();
    assert!(received.has_right_checksum());
    assert_eq!((received.source_port(), received.destination_port()), (CLIENT.port(), 9001));
    assert_eq!((received.verification_tag(), received.event()), (77, sctp::Event::Abort));
    assert!(abort_onward(&tcp(CLIENT, VIP, 7, true, b"data"), server, (OUR_MAC, CLIENT_MAC)).is_none());
}
