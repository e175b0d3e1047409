use super::super::{examples::*, udp};
use super::*;
use proptest::prelude::*;

const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 10, 6), 46_102);
const VIP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 10, 100), 5000);
const REAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), 8080);
const TRANSPORT: usize = ethernet::HEADER + 20 + icmp::HEADER + 20;

/// An error from `outer_source` to `outer_destination` that quotes `length` bytes of a packet.
fn error(quoted: &[u8], length: usize, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    let packet = &quoted[ethernet::HEADER..];
    message.extend(&packet[..packet.len().min(length)]);
    let check = !checksum::sum(&message);
    checksum::write(&mut message, icmp::field::CHECKSUM, check);
    raw(from.octets(), to.octets(), ipv4::ICMP, &message)
}

fn quoted(bytes: &[u8]) -> Option<Quoted> {
    Quoted::parse(&Packet::in_frame(bytes).unwrap())
}

#[test]
fn a_clients_error_about_a_reply_reaches_the_real() {
    // The client quotes the reply as it saw it; the real must see it as it sent it.
    let bytes = error(&udp(VIP, CLIENT, b"rs1 saw something"), 576, *CLIENT.ip(), *VIP.ip());
    let expected = Quoted {
        protocol: Protocol::Udp,
        source: std::net::SocketAddr::V4(VIP),
        destination: std::net::SocketAddr::V4(CLIENT),
    };
    assert_eq!(quoted(&bytes), Some(expected));
    let mut frame = frame(&bytes);
    assert!(translate(&mut frame, None, Some(*REAL.ip()), Some(REAL), None));
    let sent = error(&udp(REAL, CLIENT, b"rs1 saw something"), 576, *CLIENT.ip(), *REAL.ip());
    assert_eq!(frame.bytes(), sent);
}

#[test]
fn a_reals_error_about_a_request_reaches_the_client() {
    for length in [28, 29, 38, 39, 40, 41, 60, 576] {
        let bytes = error(&tcp(CLIENT, REAL, 1, false, &[7; 90]), length, *REAL.ip(), *CLIENT.ip());
        let expected = Quoted {
            protocol: Protocol::Tcp,
            source: std::net::SocketAddr::V4(CLIENT),
            destination: std::net::SocketAddr::V4(REAL),
        };
        assert_eq!(quoted(&bytes), Some(expected), "{length} bytes");
        let mut frame = frame(&bytes);
        assert!(translate(&mut frame, Some(*VIP.ip()), None, None, Some(VIP)));
        let sent = error(&tcp(CLIENT, VIP, 1, false, &[7; 90]), length, *VIP.ip(), *CLIENT.ip());
        assert_eq!(frame.bytes(), sent, "{length} bytes");
    }
}

/// As far as it is quoted: of the checksum too, from the 12th byte of the header on.
#[test]
fn a_quoted_sctp_packet_gets_the_checksum_that_its_receiver_sent() {
    let packet = |from: SocketAddrV4, to: SocketAddrV4| {
        let bytes = sctp_packet([from.port(), to.port()], &[7; 90]);
        raw(from.ip().octets(), to.ip().octets(), sctp::PROTOCOL_NUMBER, &bytes)
    };
    for length in [28, 32, 35, 60, 576] {
        let bytes = error(&packet(CLIENT, REAL), length, *REAL.ip(), *CLIENT.ip());
        assert_eq!(quoted(&bytes).map(|quoted| quoted.protocol), Some(Protocol::Sctp), "{length} bytes");
        let mut frame = frame(&bytes);
        assert!(translate(&mut frame, Some(*VIP.ip()), None, None, Some(VIP)));
        let sent = error(&packet(CLIENT, VIP), length, *VIP.ip(), *CLIENT.ip());
        assert_eq!(frame.bytes(), sent, "{length} bytes");
    }
    let first = with_header(packet(CLIENT, REAL), |header| header.more_fragments = true);
    let mut frame = frame(&error(&first, 60, *REAL.ip(), *CLIENT.ip()));
    assert!(translate(&mut frame, Some(*VIP.ip()), None, None, Some(VIP)));
    assert!(checksums_are_right(frame.bytes()));
    let header = &frame.bytes()[TRANSPORT..][..sctp::HEADER];
    assert_eq!(header[2..4], VIP.port().to_be_bytes());
    assert_eq!(header[8..], first[ethernet::HEADER + 20 + 8..][..4], "how long the packet was is not known");
}

#[test]
fn no_udp_checksum_stays_none() {
    let mut datagram = udp(VIP, CLIENT, b"data");
    datagram[ethernet::HEADER + 20 + udp::field::CHECKSUM..][..2].fill(0);
    let mut frame = frame(&error(&datagram, 576, *CLIENT.ip(), *VIP.ip()));
    assert!(translate(&mut frame, None, Some(*REAL.ip()), Some(REAL), None));
    assert_eq!(frame.bytes()[TRANSPORT + udp::field::CHECKSUM..][..2], [0, 0]);
    assert!(checksums_are_right(frame.bytes()));
}

#[test]
fn wrong_checksums_stay_wrong() {
    let mut datagram = udp(VIP, CLIENT, b"data");
    datagram[ethernet::HEADER + 20 + udp::field::CHECKSUM] ^= 0x10;
    let mut bytes = error(&datagram, 576, *CLIENT.ip(), *VIP.ip());
    bytes[ethernet::HEADER + 20 + icmp::field::CHECKSUM] ^= 0x20;
    bytes[ethernet::HEADER + ipv4::field::CHECKSUM] ^= 0x40;
    let mut frame = frame(&bytes);
    assert!(translate(&mut frame, None, Some(*REAL.ip()), Some(REAL), None));
    let packet = Packet::in_frame(frame.bytes()).unwrap();
    assert!(!packet.has_right_checksum());
    assert!(!icmp::Message::parse(packet.payload()).unwrap().has_right_checksum());
    let inner = &packet.payload()[icmp::HEADER..];
    assert_eq!(checksum::sum(&inner[..20]), 0xffff, "this one was right");
    assert_ne!(checksum::transport(*REAL.ip(), *CLIENT.ip(), ipv4::UDP, &inner[20..]), 0);
}

#[test]
fn what_is_not_the_start_of_tcp_udp_or_sctp_is_left_alone() {
    let good = udp(VIP, CLIENT, b"data");
    let changed = |change: fn(&mut etherparse::Ipv4Header)| {
        error(&with_header(good.clone(), change), 576, *CLIENT.ip(), *VIP.ip())
    };
    let of_kind = |kind| {
        let mut bytes = changed(|_| ());
        bytes[ethernet::HEADER + 20] = kind;
        bytes
    };
    for kind in [3, 11, 12] {
        assert!(quoted(&of_kind(kind)).is_some(), "type {kind}");
    }
    assert!(quoted(&changed(|header| header.more_fragments = true)).is_some(), "the first fragment");
    let mut version = changed(|_| ());
    version[TRANSPORT - 20] = 0x65;
    let bad = [
        of_kind(4),
        of_kind(5),
        of_kind(8),
        of_kind(0),
        changed(|header| header.fragment_offset = 1u16.try_into().unwrap()),
        changed(|header| header.protocol = 1.into()),
        changed(|header| header.protocol = 33.into()),
        error(&good, 27, *CLIENT.ip(), *VIP.ip()),
        error(&good, 19, *CLIENT.ip(), *VIP.ip()),
        error(&good, 0, *CLIENT.ip(), *VIP.ip()),
        with_header(changed(|_| ()), |header| header.more_fragments = true),
        version,
        good.clone(),
    ];
    for (index, bytes) in bad.iter().enumerate() {
        assert_eq!(quoted(bytes), None, "case {index}");
        let mut frame = frame(bytes);
        assert!(!translate(&mut frame, Some(*VIP.ip()), None, None, Some(VIP)));
        assert_eq!(frame.bytes(), bytes, "case {index}");
    }
}

fn endpoint() -> impl Strategy<Value = SocketAddrV4> {
    let address = prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)];
    let port = prop_oneof![any::<u16>(), Just(0), Just(0xffff)];
    (address, port).prop_map(|(address, port)| SocketAddrV4::new(Ipv4Addr::from_bits(address), port))
}

proptest! {
    /// Translating what is quoted of a packet is quoting the translated packet.
    #[test]
    fn translation_and_quotation_commute(
        from in endpoint(), to in endpoint(),
        new_from in proptest::option::of(endpoint()), new_to in proptest::option::of(endpoint()),
        outer_from in proptest::option::of(any::<u32>()), outer_to in proptest::option::of(any::<u32>()),
        data in proptest::collection::vec(any::<u8>(), 0..60),
        length in 28usize..120, is_tcp: bool,
    ) {
        // Half of a checksum that is cut in two cannot be updated, and is of no use to anyone.
        prop_assume!(!(is_tcp && length == 20 + tcp::field::CHECKSUM + 1));
        let packet = |from, to| if is_tcp { tcp(from, to, 1, false, &data) } else { udp(from, to, &data) };
        let (outer_from, outer_to) = (outer_from.map(Ipv4Addr::from_bits), outer_to.map(Ipv4Addr::from_bits));
        let mut frame = frame(&error(&packet(from, to), length, *CLIENT.ip(), *VIP.ip()));
        prop_assert!(translate(&mut frame, outer_from, outer_to, new_from, new_to));
        let translated = packet(new_from.unwrap_or(from), new_to.unwrap_or(to));
        let sent =
            error(&translated, length, outer_from.unwrap_or(*CLIENT.ip()), outer_to.unwrap_or(*VIP.ip()));
        prop_assert_eq!(frame.bytes(), &sent[..]);
    }

    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..140), likely: bool, cut in 0u8..4,
    ) {
        if likely && bytes.len() > 44 {
            let inner = 14 + 20 + 8;
            bytes[14] = 0x45;
            bytes[16] = 0;
            bytes[17] = bytes.len() as u8 - 14 - cut;
            bytes[20..22].fill(0);
            bytes[23] = ipv4::ICMP;
            bytes[34] = 3;
            bytes[inner] = 0x40 | (bytes[inner] & 7);
            if bytes.len() > inner + 9 {
                bytes[inner + 6..inner + 8].fill(0);
                bytes[inner + 9] = if bytes[inner + 9] & 1 == 0 { ipv4::TCP } else { ipv4::UDP };
            }
        }
        let known = Packet::in_frame(&bytes).ok().and_then(|packet| Quoted::parse(&packet)).is_some();
        let mut frame = frame(&bytes);
        let done = translate(&mut frame, Some(*VIP.ip()), Some(*REAL.ip()), Some(VIP), Some(REAL));
        prop_assert_eq!(done, known);
        if !done {
            prop_assert_eq!(frame.bytes(), &bytes[..]);
        }
    }
}
