use super::*;
use etherparse::icmpv6::{Icmpv6PayloadSlice, NdpOptionSlice};
use etherparse::{Icmpv6Slice, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 8]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OUR_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 8);
const THEIR_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0xabcd, 0x1234, 0x5678);

fn parsed(frame: &[u8]) -> Option<Message> {
    Message::parse(&Packet::in_frame(frame).unwrap())
}

fn solicited(frame: &[u8]) -> Solicitation {
    match parsed(frame) {
        Some(Message::Solicitation(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// The frame after `change` of its packet, with its lengths and the ICMPv6 checksum made right.
fn changed(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = frame[PACKET..].to_vec();
    change(&mut packet);
    let length = (packet.len() - ipv6::HEADER) as u16;
    put(&mut packet, ipv6::field::PAYLOAD_LENGTH, length.to_be_bytes());
    let source = address_at(&packet, ipv6::field::SOURCE);
    let destination = address_at(&packet, ipv6::field::DESTINATION);
    icmp6::set_checksum(source, destination, &mut packet[ipv6::HEADER..]);
    [&frame[..PACKET], &packet[..]].concat()
}

#[test]
fn groups_and_their_macs() {
    assert_eq!(solicited_node(THEIR_ADDRESS), "ff02::1:ff34:5678".parse::<Ipv6Addr>().unwrap());
    assert_eq!(multicast_mac(solicited_node(THEIR_ADDRESS)), Mac([0x33, 0x33, 0xff, 0x34, 0x56, 0x78]));
    assert_eq!(multicast_mac(ALL_NODES), Mac([0x33, 0x33, 0, 0, 0, 1]));
}

#[test]
fn a_macs_link_local_address() {
    let of = |mac| link_local(Mac(mac)).to_string();
    assert_eq!(
        of([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]),
        "fe80::3656:78ff:fe9a:bcde",
        "the example of RFC 2464 §4"
    );
    assert_eq!(of([2, 0, 0, 0, 0x10, 0x64]), "fe80::ff:fe00:1064");
    assert!(is_solicited_node(solicited_node(link_local(OURS))) && !is_solicited_node(ALL_NODES));
}

#[test]
fn a_solicitation_byte_by_byte() {
    let expected = [
        0x33, 0x33, 0xff, 0x34, 0x56, 0x78, 2, 0, 0, 0, 0, 8, 0x86, 0xdd, // Ethernet
        0x60, 0, 0, 0, 0, 32, 58, 255, // IPv6
        0xfd, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, // source
        0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x34, 0x56, 0x78, // destination
        135, 0, 0x12, 0x27, 0, 0, 0, 0, // ICMPv6
        0xfd, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0x12, 0x34, 0x56, 0x78, // target
        1, 1, 2, 0, 0, 0, 0, 8, // our MAC
    ];
    assert_eq!(solicitation(OURS, OUR_ADDRESS, THEIR_ADDRESS, None), expected);
    let still_there = solicitation(OURS, OUR_ADDRESS, THEIR_ADDRESS, Some(THEIRS));
    assert_eq!(still_there[..6], THEIRS.0);
    assert_eq!(Packet::in_frame(&still_there).unwrap().destination(), THEIR_ADDRESS);
    assert_eq!(solicited(&still_there).target, THEIR_ADDRESS);
}

/// What another implementation reads: IPv6 addresses, type, target, and the MAC in an option.
#[derive(Debug, PartialEq)]
struct Read {
    addresses: [Ipv6Addr; 2],
    kind: Icmpv6Type,
    target: Ipv6Addr,
    source_mac: Option<Mac>,
    target_mac: Option<Mac>,
}

fn read_message(addresses: [Ipv6Addr; 2], message: &Icmpv6Slice<'_>) -> Option<Read> {
    let (target, options) = match message.payload_slice().ok()? {
        Icmpv6PayloadSlice::NeighborSolicitation(payload) => {
            (payload.target_address(), payload.options_iterator())
        }
        Icmpv6PayloadSlice::NeighborAdvertisement(payload) => {
            (payload.target_address(), payload.options_iterator())
        }
        _ => return None,
    };
    let kind = message.icmp_type();
    let mut read = Read { addresses, kind, target, source_mac: None, target_mac: None };
    for option in options {
        match option.ok()? {
            NdpOptionSlice::SourceLinkLayerAddress(option) => {
                let mac = Mac(option.link_layer_address().try_into().ok()?);
                read.source_mac = read.source_mac.or(Some(mac));
            }
            NdpOptionSlice::TargetLinkLayerAddress(option) => {
                let mac = Mac(option.link_layer_address().try_into().ok()?);
                read.target_mac = read.target_mac.or(Some(mac));
            }
            _ => (),
        }
    }
    let [source, destination] = addresses.map(|address| address.octets());
    message.is_checksum_valid(source, destination).then_some(read)
}

fn read(frame: &[u8]) -> Read {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("not IPv6") };
    let Some(TransportSlice::Icmpv6(message)) = sliced.transport else { panic!("not ICMPv6") };
    assert_eq!(ip.header().hop_limit(), 255);
    let addresses = [ip.header().source_addr(), ip.header().destination_addr()];
    read_message(addresses, &message).expect("well-formed")
}

fn advertised(router: bool, solicited: bool, r#override: bool) -> Icmpv6Type {
    let header = etherparse::icmpv6::NeighborAdvertisementHeader { router, solicited, r#override };
    Icmpv6Type::NeighborAdvertisement(header)
}

#[test]
fn an_answer_goes_to_the_sender() {
    let asked = solicited(&solicitation(THEIRS, THEIR_ADDRESS, OUR_ADDRESS, None));
    assert_eq!(asked.source_mac, Some(THEIRS));
    for (asked, from) in [(asked, OURS), (Solicitation { source_mac: None, ..asked }, THEIRS)] {
        let frame = answer(&asked, from, OURS, true);
        assert_eq!(frame[..12], [THEIRS.0, OURS.0].concat());
        let expected = Read {
            addresses: [OUR_ADDRESS, THEIR_ADDRESS],
            kind: advertised(true, true, true),
            target: OUR_ADDRESS,
            source_mac: None,
            target_mac: Some(OURS),
        };
        assert_eq!(read(&frame), expected);
    }
}

#[test]
fn a_probe_asks_without_an_address_and_is_answered_to_all() {
    let asked = probe(THEIRS, OUR_ADDRESS);
    assert_eq!(asked[..6], multicast_mac(solicited_node(OUR_ADDRESS)).0);
    let expected = Read {
        addresses: [Ipv6Addr::UNSPECIFIED, solicited_node(OUR_ADDRESS)],
        kind: Icmpv6Type::NeighborSolicitation,
        target: OUR_ADDRESS,
        source_mac: None,
        target_mac: None,
    };
    assert_eq!(read(&asked), expected);
    let asked = solicited(&asked);
    assert!(asked.source.is_unspecified() && asked.source_mac.is_none());
    let frame = answer(&asked, THEIRS, OURS, false);
    assert_eq!(frame, announcement(OURS, OUR_ADDRESS, false));
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let expected = Read {
        addresses: [OUR_ADDRESS, ALL_NODES],
        kind: advertised(false, false, true),
        target: OUR_ADDRESS,
        source_mac: None,
        target_mac: Some(OURS),
    };
    assert_eq!(read(&frame), expected);
}

#[test]
fn what_is_not_valid_is_refused() {
    let asked = solicitation(THEIRS, THEIR_ADDRESS, OUR_ADDRESS, None);
    let told = announcement(THEIRS, THEIR_ADDRESS, false);
    let asked_without = probe(THEIRS, OUR_ADDRESS);
    let kind_at = ipv6::HEADER;
    for frame in [&asked[..], &told, &asked_without] {
        assert!(parsed(&changed(frame, |_| ())).is_some());
        assert!(parsed(&changed(frame, |packet| packet[7] = 254)).is_none(), "hop limit");
        assert!(parsed(&changed(frame, |packet| packet[6] = 17)).is_none(), "protocol");
        assert!(parsed(&changed(frame, |packet| packet[kind_at + 1] = 1)).is_none(), "code");
        assert!(parsed(&changed(frame, |packet| packet[kind_at] = 134)).is_none(), "type");
        assert!(parsed(&changed(frame, |packet| packet[kind_at + 8] = 0xff)).is_none(), "target");
        assert!(parsed(&changed(frame, |packet| packet.truncate(kind_at + 23))).is_none(), "length");
        let mut wrong = frame.to_vec();
        wrong[MESSAGE + 2] ^= 1;
        assert!(parsed(&wrong).is_none(), "checksum");
        let other_options = [14, 1, 0, 0, 0, 0, 0, 0, 200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(parsed(&changed(frame, |packet| packet.extend(other_options))).is_some());
        for bad in [&[14, 0, 0, 0, 0, 0, 0, 0][..], &[14, 2, 0, 0, 0, 0, 0, 0], &[14]] {
            assert!(parsed(&changed(frame, |packet| packet.extend(bad))).is_none(), "{bad:?}");
        }
    }
    let option = kind_at + field::OPTIONS;
    for frame in [&asked[..], &told] {
        assert!(parsed(&changed(frame, |packet| packet[option + 2] = 1)).is_none(), "a group's MAC");
        assert!(parsed(&changed(frame, |packet| packet[option + 2..].fill(0))).is_none(), "no MAC");
        let longer = changed(frame, |packet| {
            packet[option + 1] = 2;
            packet.extend([0; 8]);
        });
        assert!(parsed(&longer).is_none(), "not of Ethernet");
    }
    assert!(parsed(&changed(&asked, |packet| packet[8..24].fill(0))).is_none(), "a MAC without an address");
    let elsewhere = changed(&asked_without, |packet| put(packet, 24, ALL_NODES.octets()));
    assert!(parsed(&elsewhere).is_none(), "a probe to all");
    let solicited = changed(&told, |packet| packet[kind_at + field::FLAGS] |= SOLICITED);
    assert!(parsed(&solicited).is_none(), "solicited by all");
}

#[test]
fn no_fragment_and_other_headers_as_the_walk_finds_them() {
    let asked = solicitation(THEIRS, THEIR_ADDRESS, OUR_ADDRESS, None);
    // The ICMPv6 checksum does not cover extension headers.
    let with_header = |number, header: [u8; 8]| {
        let mut frame = asked.to_vec();
        frame.splice(MESSAGE..MESSAGE, header);
        frame[PACKET + 5] += 8;
        frame[PACKET + 6] = number;
        frame
    };
    let options = with_header(ipv6_extensions::DESTINATION_OPTIONS, [58, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(parsed(&options), parsed(&asked));
    let atomic = with_header(ipv6_extensions::FRAGMENT, [58, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(parsed(&atomic), None);
}

#[test]
fn only_the_first_mac_counts() {
    let told = announcement(THEIRS, THEIR_ADDRESS, true);
    let twice = changed(&told, |packet| packet.extend([2, 1, 2, 9, 9, 9, 9, 9]));
    assert_eq!(parsed(&twice), parsed(&told));
    let other = changed(&told, |packet| packet[ipv6::HEADER + field::OPTIONS] = SOURCE_MAC);
    let Some(Message::Advertisement(message)) = parsed(&other) else { panic!("{other:?}") };
    assert_eq!(message.target_mac, None);
    assert!(message.is_router && message.overrides && !message.is_solicited);
}

/// An option with a MAC, of any length, or one that no neighbour discovery defines.
fn option(mac_kind: u8) -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![2 => Just(mac_kind), 1 => Just(14u8), 1 => Just(200u8)];
    let units = prop_oneof![1 => Just(0u8), 6 => Just(1u8), 1 => Just(2u8)];
    (kind, units, any::<[u8; 13]>()).prop_map(|(kind, units, bytes)| {
        let mut option = vec![kind, units, 2];
        option.extend(&bytes[..usize::from(units.max(1)) * 8 - 3]);
        option
    })
}

fn message_with_options() -> impl Strategy<Value = (u8, Vec<Vec<u8>>)> {
    prop_oneof![Just((NEIGHBOUR_SOLICITATION, SOURCE_MAC)), Just((NEIGHBOUR_ADVERTISEMENT, TARGET_MAC))]
        .prop_flat_map(|(kind, mac)| (Just(kind), proptest::collection::vec(option(mac), 0..4)))
}

proptest! {
    #[test]
    fn messages_are_read_as_by_another_parser(
        source in 1u128.., target: u128, flags: u8, (kind, options) in message_with_options(),
        cut in prop_oneof![4 => Just(0usize), 1 => 1usize..3],
    ) {
        let (source, target) = (Ipv6Addr::from(source), Ipv6Addr::from(target));
        let bare: [u8; PROBE_FRAME] =
            frame((THEIRS, source), (OURS, OUR_ADDRESS), kind, flags, target, None);
        let bytes = changed(&bare, |packet| {
            packet.extend(options.concat());
            packet.truncate(packet.len() - cut);
        });
        let ours = parsed(&bytes);
        let message = Icmpv6Slice::from_slice(&bytes[MESSAGE..]).unwrap();
        let theirs = read_message([source, OUR_ADDRESS], &message).filter(|_| !target.is_multicast());
        let Some(theirs) = theirs else {
            prop_assert_eq!(ours, None);
            return Ok(());
        };
        match ours {
            Some(Message::Solicitation(ours)) => {
                prop_assert_eq!(theirs.kind, Icmpv6Type::NeighborSolicitation);
                prop_assert_eq!((ours.source, ours.target), (source, theirs.target));
                prop_assert_eq!(ours.source_mac, theirs.source_mac);
            }
            Some(Message::Advertisement(ours)) => {
                prop_assert_eq!(theirs.kind, advertised(ours.is_router, ours.is_solicited, ours.overrides));
                prop_assert_eq!((ours.source, ours.target), (source, theirs.target));
                prop_assert_eq!((ours.destination, ours.target_mac), (OUR_ADDRESS, theirs.target_mac));
            }
            None => prop_assert!(false, "refused without need: {theirs:?}"),
        }
    }

    #[test]
    fn any_bytes_are_survived(
        mut bytes in proptest::collection::vec(any::<u8>(), 40..140), right: bool, kind in 133u8..138,
    ) {
        bytes[0] = 0x60;
        let length = bytes.len() as u8 - 40;
        bytes[4..8].copy_from_slice(&[0, length, ipv6::ICMP, HOP_LIMIT]);
        if right && bytes.len() >= 48 {
            bytes[40..42].copy_from_slice(&[kind, 0]);
            let (source, destination) = (address_at(&bytes, 8), address_at(&bytes, 24));
            icmp6::set_checksum(source, destination, &mut bytes[40..]);
        }
        if let Some(Message::Solicitation(message)) = Message::parse(&Packet::parse(&bytes).unwrap()) {
            prop_assert!(right && kind == NEIGHBOUR_SOLICITATION && !message.target.is_multicast());
        }
    }
}
