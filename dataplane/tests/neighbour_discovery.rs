//! What a node on an Ethernet must do with messages of neighbour discovery (RFC 4861, RFC 4862 §5.4) and of listener
//! discovery (RFC 3810). What the control thread does with what is heard is tested in control/src/neighbours.

mod support;

use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::wire::icmp6::set_checksum;
use dataplane::wire::ipv6::Packet;
use dataplane::wire::mld::{self, Query};
use dataplane::wire::ndp::{
    self, ALL_NODES, Advertisement, Message, link_local, multicast_mac, solicited_node,
};
use std::net::Ipv6Addr;
use support::*;

const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x100);
const DIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 8);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 6);
const STRANGER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x77);
const RS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 7);
const NEW_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 0x99]);
const NONE: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// Flags of an advertisement.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const PACKET: usize = 14;
const MESSAGE: usize = PACKET + 40;
const OPTIONS: usize = MESSAGE + 24;

/// The lab's ports have an address of IPv6 each, and link-local ones; the client is a known neighbour.
fn lab() -> Lab {
    let mut lab = Lab::new();
    for (interface, address) in lab.description.interfaces.iter_mut().zip([VIP6, DIP6]) {
        interface.addresses.push(format!("{address}/64").parse().unwrap());
        interface.addresses.push(format!("{}/64", link_local(interface.mac)).parse().unwrap());
    }
    lab.apply();
    lab.reachable(key(VIP0, CLIENT6), CLIENT_MAC);
    lab
}

fn key(interface: InterfaceId, address: Ipv6Addr) -> NeighbourKey {
    NeighbourKey { interface, address: address.into() }
}

fn events(lab: &mut Lab) -> Vec<NeighbourEvent> {
    std::iter::from_fn(|| lab.control.neighbour_events.pop().ok()).collect()
}

/// A frame after a change of it, with its lengths and the ICMPv6 checksum made right.
fn changed(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    let length = (frame.len() - MESSAGE) as u16;
    frame[PACKET + 4..PACKET + 6].copy_from_slice(&length.to_be_bytes());
    let packet = Packet::in_frame(&frame).unwrap();
    let (source, destination) = (packet.source(), packet.destination());
    set_checksum(source, destination, &mut frame[MESSAGE..]);
    frame
}

/// A solicitation for `target` to its group.
fn asks(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    ndp::solicitation(mac, source, target, None).to_vec()
}

/// An advertisement that `target` is at `mac`, from there, with these flags.
fn tells(mac: Mac, target: Ipv6Addr, (to_mac, to): (Mac, Ipv6Addr), flags: u8) -> Vec<u8> {
    changed(&ndp::announcement(mac, target, false), |frame| {
        frame[..6].copy_from_slice(&to_mac.0);
        frame[PACKET + 24..PACKET + 40].copy_from_slice(&to.octets());
        frame[MESSAGE + 4] = flags;
    })
}

fn to_all() -> (Mac, Ipv6Addr) {
    (multicast_mac(ALL_NODES), ALL_NODES)
}

fn told(frame: &[u8]) -> Advertisement {
    match Message::parse(&Packet::in_frame(frame).unwrap()) {
        Some(Message::Advertisement(told)) => told,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_solicitation_for_an_own_address_is_answered_to_its_sender() {
    let mut lab = lab();
    for (port, own_mac, target) in
        [(VIP0, VIP_MAC, VIP6), (VIP0, VIP_MAC, link_local(VIP_MAC)), (DIP0, DIP_MAC, DIP6)]
    {
        for known in [None, Some(own_mac)] {
            let asked = ndp::solicitation(CLIENT_MAC, CLIENT6, target, known);
            let [answer] = &lab.arrive(port, &asked)[..] else { panic!("one answer") };
            assert_eq!((answer.port, answer.bytes.len()), (port, 86));
            assert_eq!(answer.bytes[..14], [&CLIENT_MAC.0[..], &own_mac.0, &[0x86, 0xdd]].concat());
            let expected = Advertisement {
                source: target,
                destination: CLIENT6,
                target,
                is_router: true,
                is_solicited: true,
                overrides: true,
                target_mac: Some(own_mac),
            };
            assert_eq!(told(&answer.bytes), expected);
        }
    }
    assert_eq!(lab.counters().answers.get(), 6);
}

/// The source's MAC is the one in the option, whoever sent the frame; without the option, the frame's (RFC 4861
/// §7.2.4).
#[test]
fn an_answer_goes_to_the_mac_in_the_option() {
    let mut lab = lab();
    let bridge = Mac([2, 0, 0, 0, 0x10, 0xbb]);
    let with = changed(&asks(CLIENT_MAC, CLIENT6, VIP6), |frame| frame[6..12].copy_from_slice(&bridge.0));
    assert_eq!(lab.arrive(VIP0, &with)[0].bytes[..6], CLIENT_MAC.0);
    let without = changed(&asks(NEW_MAC, CLIENT6, VIP6), |frame| frame.truncate(OPTIONS));
    let sent = lab.arrive(VIP0, &without);
    assert_eq!((&sent[0].bytes[..6], sent[0].bytes.len()), (&NEW_MAC.0[..], 86));
    assert_eq!(events(&mut lab), [], "what tells no MAC tells of no neighbour");
}

#[test]
fn a_probe_of_an_own_address_is_answered_to_all_and_told_as_a_conflict() {
    let mut lab = lab();
    let sent = lab.arrive(VIP0, &ndp::probe(NEW_MAC, VIP6));
    let answer = told(&sent[0].bytes);
    assert_eq!((answer.destination, answer.is_solicited, answer.overrides), (ALL_NODES, false, true));
    assert_eq!(sent[0].bytes[..6], multicast_mac(ALL_NODES).0);
    let conflict = NeighbourEvent::Conflict { key: key(VIP0, VIP6), mac: NEW_MAC };
    assert_eq!(events(&mut lab), [conflict]);
    // Of another host's address it is neither our business nor a neighbour's word.
    assert_eq!(lab.arrive(VIP0, &ndp::probe(CLIENT_MAC, CLIENT6)), []);
    assert_eq!(events(&mut lab), []);
}

#[test]
fn nothing_is_answered_for_others_or_on_another_link() {
    let mut lab = lab();
    for (port, mac, source, targets) in [
        (VIP0, CLIENT_MAC, CLIENT6, [STRANGER6, DIP6, RS6, link_local(DIP_MAC)]),
        (DIP0, RS1_MAC, RS6, [RS6, VIP6, CLIENT6, link_local(VIP_MAC)]),
    ] {
        for target in targets {
            assert_eq!(lab.arrive(port, &asks(mac, source, target)), [], "{target} on {port}");
        }
    }
    let elsewhere = ndp::solicitation(CLIENT_MAC, CLIENT6, VIP6, Some(NEW_MAC));
    assert_eq!(lab.arrive(VIP0, &elsewhere), [], "not to our MAC");
    assert_eq!(lab.dropped(DropReason::OtherHost), 1);
}

/// RFC 4861 §7.1.1, §7.1.2: a hop limit of 255, a right checksum, code 0, 24 bytes or more, no group as the target, no
/// option of length 0; a probe goes to a group and tells no MAC; what goes to a group is no answer.
#[test]
fn what_is_not_valid_is_discarded_and_counted() {
    let mut lab = lab();
    let asked = asks(NEW_MAC, CLIENT6, VIP6);
    let told = tells(NEW_MAC, CLIENT6, (VIP_MAC, VIP6), SOLICITED | OVERRIDE);
    let probe = ndp::probe(NEW_MAC, VIP6).to_vec();
    type Change = fn(&mut Vec<u8>);
    let of_either: [(&str, Change); 7] = [
        ("passed on by a router", |frame| frame[PACKET + 7] = 254),
        ("a code", |frame| frame[MESSAGE + 1] = 1),
        ("cut short", |frame| frame.truncate(OPTIONS - 1)),
        ("an option of length 0", |frame| frame[OPTIONS + 1] = 0),
        ("an option that is cut short", |frame| frame[OPTIONS + 1] = 2),
        ("a group as the target", |frame| frame[MESSAGE + 8] = 0xff),
        ("a group as the MAC", |frame| frame[OPTIONS + 2] = 3),
    ];
    let mut discarded = 0;
    let mut expect_nothing = |frame: &[u8], what: &str| {
        assert_eq!(lab.arrive(VIP0, frame), [], "{what}");
        assert_eq!(events(&mut lab), [], "{what}");
        discarded += 1;
        assert_eq!(lab.dropped(DropReason::Ndp), discarded, "{what}");
    };
    for (what, change) in of_either {
        expect_nothing(&changed(&asked, change), what);
        expect_nothing(&changed(&told, change), what);
    }
    for frame in [&asked, &told] {
        let mut wrong = frame.clone();
        wrong[MESSAGE + 2] ^= 1;
        expect_nothing(&wrong, "a wrong checksum");
        expect_nothing(&changed(frame, |frame| frame[6] |= 1), "from a group of stations");
        expect_nothing(&changed(frame, |frame| frame[PACKET + 8] = 0xff), "from a multicast address");
        let from_us = changed(frame, |frame| frame[PACKET + 8..PACKET + 24].fill(0));
        expect_nothing(&from_us, "from no address, with a MAC");
    }
    let with_mac = changed(&probe, |frame| frame.extend([&[1, 1], &NEW_MAC.0[..]].concat()));
    expect_nothing(&with_mac, "a probe with a MAC");
    let to_us = changed(&probe, |frame| frame[PACKET + 24..PACKET + 40].copy_from_slice(&VIP6.octets()));
    expect_nothing(&to_us, "a probe to no group");
    expect_nothing(&tells(NEW_MAC, CLIENT6, to_all(), SOLICITED), "an answer to a group");
}

#[test]
fn what_routers_say_is_ignored_and_counted() {
    let mut lab = lab();
    for (number, kind) in (1..).zip([133, 134, 137]) {
        let frame = changed(&tells(CLIENT_MAC, CLIENT6, to_all(), 0), |frame| frame[MESSAGE] = kind);
        assert_eq!(lab.arrive(VIP0, &frame), []);
        assert_eq!(lab.dropped(DropReason::RouterDiscovery), number);
    }
    assert_eq!(events(&mut lab), []);
}

/// RFC 4861 §7.2.3, §7.2.5: a solicitation tells where its sender is; of an advertisement the flags say whether it is
/// an answer, and whether it replaces what is known.
#[test]
fn a_known_neighbours_new_mac_is_told_with_what_it_is_worth() {
    let to_us = (VIP_MAC, VIP6);
    for (what, frame, reply, replaces) in [
        ("a question for us", asks(NEW_MAC, CLIENT6, VIP6), false, true),
        ("an answer", tells(NEW_MAC, CLIENT6, to_us, SOLICITED | OVERRIDE), true, true),
        ("a router's", tells(NEW_MAC, CLIENT6, to_us, ROUTER | SOLICITED | OVERRIDE), true, true),
        ("one that does not replace", tells(NEW_MAC, CLIENT6, to_us, SOLICITED), true, false),
        ("an announcement", tells(NEW_MAC, CLIENT6, to_all(), OVERRIDE), false, true),
        ("one that does not replace", tells(NEW_MAC, CLIENT6, to_all(), 0), false, false),
    ] {
        let mut lab = lab();
        lab.arrive(VIP0, &frame);
        let heard = NeighbourEvent::Heard { key: key(VIP0, CLIENT6), mac: NEW_MAC, reply, replaces };
        assert_eq!(events(&mut lab), [heard], "{what}");
    }
}

#[test]
fn an_answer_without_a_mac_confirms_the_known_one() {
    let mut lab = lab();
    let without = |target, flags| {
        changed(&tells(NEW_MAC, target, (VIP_MAC, VIP6), flags), |frame| frame.truncate(OPTIONS))
    };
    lab.arrive(VIP0, &without(CLIENT6, SOLICITED));
    let heard =
        NeighbourEvent::Heard { key: key(VIP0, CLIENT6), mac: CLIENT_MAC, reply: true, replaces: true };
    assert_eq!(events(&mut lab), [heard]);
    lab.arrive(VIP0, &without(CLIENT6, OVERRIDE));
    lab.arrive(VIP0, &without(STRANGER6, SOLICITED));
    assert_eq!(events(&mut lab), [], "no answer, and none whose MAC is known");
}

#[test]
fn what_a_stranger_says_of_itself_is_not_told() {
    let mut lab = lab();
    assert_eq!(lab.arrive(VIP0, &asks(NEW_MAC, STRANGER6, VIP6)).len(), 1, "it is answered all the same");
    assert_eq!(lab.arrive(VIP0, &tells(NEW_MAC, STRANGER6, to_all(), OVERRIDE)), []);
    // A neighbour is one of the link that it is heard on.
    assert_eq!(lab.arrive(DIP0, &tells(NEW_MAC, CLIENT6, to_all(), OVERRIDE)), []);
    assert_eq!(events(&mut lab), []);
}

#[test]
fn another_stations_claim_to_an_own_address_is_told_and_not_answered() {
    let conflict = NeighbourEvent::Conflict { key: key(VIP0, VIP6), mac: NEW_MAC };
    for (what, frame) in [
        ("an announcement", tells(NEW_MAC, VIP6, to_all(), OVERRIDE)),
        ("the answer to a probe", tells(NEW_MAC, VIP6, to_all(), 0)),
        ("a question for us", asks(NEW_MAC, VIP6, VIP6)),
    ] {
        let mut lab = lab();
        assert_eq!(lab.arrive(VIP0, &frame), [], "{what}");
        assert_eq!(events(&mut lab), [conflict], "{what}");
    }
}

#[test]
fn own_messages_that_come_back_are_no_claim() {
    let mut lab = lab();
    for mac in [VIP_MAC, DIP_MAC] {
        for frame in [
            ndp::probe(mac, VIP6).to_vec(),
            ndp::announcement(mac, VIP6, true).to_vec(),
            asks(mac, VIP6, CLIENT6),
        ] {
            assert_eq!(lab.arrive(VIP0, &frame), []);
        }
    }
    assert_eq!(lab.arrive(VIP0, &tells(NEW_MAC, DIP6, to_all(), OVERRIDE)), [], "none of this link");
    assert_eq!(events(&mut lab), []);
}

#[test]
fn a_flood_of_claims_and_made_up_hosts_takes_nothing_from_neighbours() {
    let mut lab = lab();
    let claim = tells(NEW_MAC, VIP6, to_all(), OVERRIDE);
    for number in 0..2000 {
        let host = Ipv6Addr::from_bits(STRANGER6.to_bits() + 0x1_0000 + number);
        lab.arrive(VIP0, &claim);
        lab.arrive(VIP0, &tells(NEW_MAC, host, (VIP_MAC, VIP6), SOLICITED | OVERRIDE));
        lab.arrive(VIP0, &asks(NEW_MAC, host, VIP6));
    }
    lab.arrive(VIP0, &tells(NEW_MAC, CLIENT6, (VIP_MAC, VIP6), SOLICITED | OVERRIDE));
    let heard = NeighbourEvent::Heard { key: key(VIP0, CLIENT6), mac: NEW_MAC, reply: true, replaces: true };
    assert_eq!(events(&mut lab).last(), Some(&heard));
}

#[test]
fn answers_are_limited_on_each_port() {
    let mut lab = lab();
    let asked = asks(CLIENT_MAC, CLIENT6, VIP6);
    let answered = (0..3000).filter(|_| !lab.arrive(VIP0, &asked).is_empty()).count();
    assert!((1000..1200).contains(&answered), "a burst of 1000, then 10,000 a second: {answered}");
    assert_eq!(lab.arrive(DIP0, &asks(RS1_MAC, RS6, DIP6)).len(), 1);
}

/// A query, by a router's link-local address, for all groups or one.
fn query(group: Ipv6Addr) -> Vec<u8> {
    let destination = if group == NONE { ALL_NODES } else { group };
    let report = mld::report_v1(CLIENT_MAC, link_local(CLIENT_MAC), ALL_NODES);
    let mut frame = report.to_vec();
    let message = MESSAGE + 8;
    frame.extend([2, 125, 0, 0]);
    frame[..6].copy_from_slice(&multicast_mac(destination).0);
    frame[PACKET + 5] += 4;
    frame[PACKET + 24..PACKET + 40].copy_from_slice(&destination.octets());
    frame[message] = 130;
    frame[message + 4..message + 6].copy_from_slice(&1000u16.to_be_bytes());
    frame[message + 8..message + 24].copy_from_slice(&group.octets());
    set_checksum(link_local(CLIENT_MAC), destination, &mut frame[message..]);
    frame
}

#[test]
fn whoever_asks_for_groups_is_told_of_if_they_are_listened_to() {
    let mut lab = lab();
    let asked = |group| NeighbourEvent::GroupsAsked {
        interface: VIP0,
        query: Query { group, delay: 1000, is_v1: false },
    };
    let group = solicited_node(VIP6);
    lab.arrive(VIP0, &query(NONE));
    lab.arrive(VIP0, &query(group));
    assert_eq!(events(&mut lab), [asked(None), asked(Some(group))]);
    let routed = {
        let mut frame = query(NONE);
        frame[PACKET + 7] = 2;
        frame
    };
    for frame in [query(solicited_node(STRANGER6)), query(solicited_node(DIP6)), routed] {
        assert_eq!(lab.arrive(VIP0, &frame), []);
    }
    assert_eq!(events(&mut lab), []);
    for _ in 0..1000 {
        lab.arrive(VIP0, &query(NONE));
    }
    assert!((1..20).contains(&events(&mut lab).len()), "a flood of them is one of few events");
}

#[test]
fn groups_are_those_of_own_addresses_and_of_all_nodes() {
    let mut lab = lab();
    let snapshot = |lab: &Lab| dataplane::snapshot::Snapshot::compile(lab.description.clone());
    let before = snapshot(&lab);
    for group in [ALL_NODES, solicited_node(VIP6), solicited_node(link_local(VIP_MAC))] {
        assert!(before.listens(VIP0, group), "{group}");
    }
    for group in [solicited_node(DIP6), solicited_node(CLIENT6), "ff02::2".parse().unwrap()] {
        assert!(!before.listens(VIP0, group), "{group}");
    }
    assert!(!before.listens(InterfaceId(9), ALL_NODES));
    // Without addresses of IPv6 none is listened to.
    lab.description.interfaces[0].addresses.truncate(1);
    let after = snapshot(&lab);
    assert!(!after.listens(VIP0, ALL_NODES) && !after.listens(VIP0, solicited_node(VIP6)));
    assert!(after.listens(DIP0, solicited_node(DIP6)));
}

#[test]
fn an_interface_without_ipv6_says_nothing() {
    let mut lab = Lab::serving();
    let asked = asks(CLIENT_MAC, CLIENT6, VIP6);
    assert_eq!(lab.arrive(VIP0, &asked), []);
    assert_eq!(lab.arrive(VIP0, &query(NONE)), []);
    assert_eq!((events(&mut lab).len(), lab.dropped(DropReason::Ipv6)), (0, 2));
}
