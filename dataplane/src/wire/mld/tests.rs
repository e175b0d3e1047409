use super::super::ndp::solicited_node;
use super::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 8]);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 8);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff34, 0x5678);

/// A frame with this query from a router, of which the bytes after the ICMPv6 checksum are given.
fn query(after_checksum: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; MESSAGE];
    frame.extend([0; 4]);
    frame.extend(after_checksum);
    complete(&mut frame, OURS, LINK_LOCAL, super::super::ndp::ALL_NODES, QUERY);
    frame
}

fn about(delay: u16, group: Ipv6Addr, rest: &[u8]) -> Vec<u8> {
    query(&[&delay.to_be_bytes()[..], &[0; 2], &group.octets(), rest].concat())
}

fn parsed(frame: &[u8]) -> Option<Query> {
    Query::parse(&Packet::in_frame(frame).unwrap())
}

/// Checks the frame by another implementation; the bytes after the ICMPv6 checksum.
fn checked(frame: &[u8], source: Ipv6Addr, destination: Ipv6Addr, kind: u8) -> Vec<u8> {
    assert_eq!(frame[..12], [multicast_mac(destination).0, OURS.0].concat());
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("not IPv6") };
    let Some(TransportSlice::Icmpv6(message)) = sliced.transport else { panic!("not ICMPv6") };
    assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), (source, destination));
    assert_eq!((ip.header().hop_limit(), ip.header().next_header().0), (1, 0));
    assert_eq!(ip.extensions().slice(), [58, 0, 5, 2, 0, 0, 1, 0]);
    assert_eq!(usize::from(ip.header().payload_length()), frame.len() - 54);
    assert!(message.is_checksum_valid(source.octets(), destination.octets()));
    assert_eq!((message.type_u8(), message.code_u8()), (kind, 0));
    message.slice()[4..].to_vec()
}

#[test]
fn a_report_of_groups() {
    let groups = [GROUP, solicited_node("fd00:10::100".parse().unwrap())];
    for (record, kind) in [(Record::Listened, 2), (Record::Left, 3), (Record::Joined, 4)] {
        let bytes = checked(&report(OURS, LINK_LOCAL, record, &groups), LINK_LOCAL, ALL_MLD2_ROUTERS, 143);
        let expected = [
            0, 0, 0, 2, // two records
            kind, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x34, 0x56, 0x78, //
            kind, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 1, 0,
        ];
        assert_eq!(bytes, expected);
    }
    let most = report(OURS, Ipv6Addr::UNSPECIFIED, Record::Joined, &[GROUP; MOST_GROUPS]);
    checked(&most, Ipv6Addr::UNSPECIFIED, ALL_MLD2_ROUTERS, 143);
    assert!(most.len() - PACKET <= 1280 && most.len() - PACKET + RECORD > 1280);
    let none = report(OURS, LINK_LOCAL, Record::Joined, &[]);
    assert_eq!(checked(&none, LINK_LOCAL, ALL_MLD2_ROUTERS, 143), [0; 4]);
}

#[test]
#[should_panic(expected = "groups in a report")]
fn more_groups_than_fit() {
    report(OURS, LINK_LOCAL, Record::Joined, &[GROUP; MOST_GROUPS + 1]);
}

#[test]
fn a_report_of_the_first_version() {
    let bytes = checked(&report_v1(OURS, LINK_LOCAL, GROUP), LINK_LOCAL, GROUP, 131);
    assert_eq!(bytes, [&[0; 4][..], &GROUP.octets()].concat());
}

#[test]
fn queries_of_both_versions() {
    let all = Ipv6Addr::UNSPECIFIED;
    let expected = Query { group: None, delay: 10_000, is_v1: true };
    assert_eq!(parsed(&about(10_000, all, &[])), Some(expected));
    let expected = Query { group: Some(GROUP), delay: 1000, is_v1: false };
    assert_eq!(parsed(&about(1000, GROUP, &[2, 125, 0, 0])), Some(expected));
    // One source; what lies behind is left alone.
    assert_eq!(parsed(&about(1000, GROUP, &[2, 125, 0, 1, 0, 0, 0, 0])), Some(expected));
    for (code, milliseconds) in [(0x7fff, 32_767), (0x8000, 32_768), (0x8001, 32_776), (0xffff, 8_387_584)] {
        assert_eq!(parsed(&about(code, all, &[0; 4])).unwrap().delay, milliseconds);
    }
    assert_eq!(parsed(&about(0xffff, all, &[])).unwrap().delay, 65_535, "no exponent in version 1");
}

#[test]
fn what_is_not_valid_is_refused() {
    let good = about(1000, GROUP, &[2, 125, 0, 0]);
    assert!(parsed(&good).is_some());
    let changed = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        let packet = &frame[PACKET..];
        let addresses =
            (address_at(packet, ipv6::field::SOURCE), address_at(packet, ipv6::field::DESTINATION));
        icmp6::set_checksum(addresses.0, addresses.1, &mut frame[MESSAGE..]);
        parsed(&frame)
    };
    assert!(changed(MESSAGE + 1, 7).is_some(), "the code means nothing");
    assert!(changed(AFTER_HEADER + 5, 1).is_some(), "nor does the alert's value");
    assert_eq!(changed(PACKET + ipv6::field::HOP_LIMIT, 2), None);
    assert_eq!(changed(PACKET + ipv6::field::SOURCE, 0x20), None, "not of the link");
    assert_eq!(changed(PACKET + ipv6::field::NEXT_HEADER, 60), None, "options for the destination");
    assert_eq!(changed(AFTER_HEADER + 2, 1), None, "no router alert");
    assert_eq!(changed(AFTER_HEADER + 3, 3), None, "of another length");
    assert_eq!(changed(MESSAGE, 131), None, "a report");
    assert_eq!(changed(MESSAGE + field::GROUP, 0x20), None, "no group");
    for rest in 1..4 {
        assert_eq!(parsed(&about(1000, GROUP, &[0; 3][..rest])), None, "between the versions");
    }
    assert_eq!(parsed(&query(&[0; 19])), None, "too short");
    let mut wrong = good.clone();
    wrong[MESSAGE + 2] ^= 1;
    assert_eq!(parsed(&wrong), None, "checksum");
}

#[test]
fn router_alert_among_other_options() {
    for options in [[0, 5, 2, 0, 0, 0], [5, 2, 0, 0, 1, 0], [0, 0, 5, 2, 0, 0]] {
        let mut frame = about(1000, GROUP, &[]);
        frame[AFTER_HEADER + 2..MESSAGE].copy_from_slice(&options);
        assert!(parsed(&frame).is_some(), "{options:?}");
    }
    for options in [[0, 0, 0, 5, 2, 0], [1, 4, 5, 2, 0, 0], [1, 200, 5, 2, 0, 0], [0, 0, 0, 0, 0, 5]] {
        let mut frame = about(1000, GROUP, &[]);
        frame[AFTER_HEADER + 2..MESSAGE].copy_from_slice(&options);
        assert_eq!(parsed(&frame), None, "{options:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        options: [u8; 6], units in 0u8..3, rest in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut frame = query(&rest);
        frame[AFTER_HEADER + 1] = units;
        frame[AFTER_HEADER + 2..MESSAGE].copy_from_slice(&options.map(|byte| byte & 7));
        if let Some(query) = parsed(&frame) {
            prop_assert!(query.group.is_none_or(|group| group.is_multicast()));
            prop_assert!(frame.len() - MESSAGE >= V1_LENGTH);
        }
    }
}
