//! Neighbours of IPv6, own addresses and groups, from the workers' events to the frames that the control thread has
//! them send.

mod control_lab;

use control::config;
use control_lab::{FILE, Lab, until};
use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::family::V6;
use dataplane::names::ids::{InterfaceId, NeighbourKey, RealId};
use dataplane::names::mac::Mac;
use dataplane::translation::Record;
use dataplane::wire::icmp6;
use dataplane::wire::ipv6::Packet;
use dataplane::wire::mld::Query;
use dataplane::wire::ndp::{Advertisement, Message, Solicitation, link_local, solicited_node};
use std::net::Ipv6Addr;

const DIP0: InterfaceId = InterfaceId(1);
/// The MAC of the made-up device.
const MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
const DIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 8);
const REAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 7);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OTHER: Mac = Mac([2, 0, 0, 0, 9, 9]);

/// ICMPv6 type of a report of groups, and what it says of one when somebody has asked.
const REPORT: u8 = 143;
const LISTENED: u8 = 2;

/// Both ports carry both families.
fn lab() -> (tempfile::TempDir, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let file = FILE
        .replace("\"192.168.10.100/24\"", "\"192.168.10.100/24\", \"fd00:10::100/64\"")
        .replace("\"10.0.0.8/24\"", "\"10.0.0.8/24\", \"fd00:20::8/64\"");
    let mut config = config::parse(&file).unwrap();
    config.control.socket = directory.path().join("run/lbd.sock");
    let lab = Lab::start(config, 1, 0).unwrap();
    (directory, lab)
}

fn add_service(lab: &Lab) {
    const WEB: &str = r#""service":"tcp://[fd00:10::100]:80""#;
    lab.ok(&format!(r#""command":"add-service",{WEB}"#));
    lab.ok(&format!(r#""command":"add-real",{WEB},"real":"[{REAL}]:80""#));
}

/// Whether a frame of IPv6 on the dip side has been sent that satisfies this.
fn sent(lab: &Lab, is_wanted: impl Fn(&[u8], &Packet<'_>) -> bool) -> bool {
    let told = lab.workers[0].told.lock().unwrap();
    let mut frames =
        told.frames.iter().filter(|(port, frame)| *port == DIP0 && frame[12..14] == [0x86, 0xdd]);
    frames.any(|(_, frame)| is_wanted(frame, &Packet::in_frame(frame).unwrap()))
}

fn asked(lab: &Lab, wanted: Solicitation) -> bool {
    sent(lab, |_, packet| Message::parse(packet) == Some(Message::Solicitation(wanted)))
}

fn announced(lab: &Lab, address: Ipv6Addr, mac: Mac) -> bool {
    let is_wanted = |told: &Advertisement| {
        (told.target, told.source, told.target_mac) == (address, address, Some(mac))
            && told.is_router
            && told.overrides
    };
    sent(lab, |frame, packet| {
        frame[6..12] == mac.0
            && matches!(Message::parse(packet), Some(Message::Advertisement(told)) if is_wanted(&told))
    })
}

fn says(lab: &Lab, event: NeighbourEvent) {
    lab.workers[0].says.lock().unwrap().push(event);
}

#[test]
fn a_real_of_ipv6_is_asked_for_resolved_and_told() {
    let (_directory, lab) = lab();
    add_service(&lab);
    let solicitation = Solicitation { source: DIP, target: REAL, source_mac: Some(MAC) };
    until("the real is asked for", || asked(&lab, solicitation));
    let key = NeighbourKey { interface: DIP0, address: REAL.into() };
    says(&lab, NeighbourEvent::Heard { key, mac: THEIRS, reply: true, replaces: true });
    until("it is told", || lab.workers[0].told.lock().unwrap().reachable.contains(&key.address));
    let snapshot = lab.workers[0].told.lock().unwrap().snapshot.clone().unwrap();
    let hop = lab.next_hops.get(snapshot.rewrite::<V6>(RealId(0)).next_hop());
    assert!(hop.is_resolved());
    assert_eq!((hop.interface(), hop.mac()), (DIP0, THEIRS));
}

#[test]
fn own_addresses_are_probed_and_announced_and_the_link_local_one_follows_the_mac() {
    let (_directory, lab) = lab();
    for address in [DIP, link_local(MAC)] {
        let probe = Solicitation { source: Ipv6Addr::UNSPECIFIED, target: address, source_mac: None };
        until("it is asked whether another has it", || asked(&lab, probe));
        until("it is announced", || announced(&lab, address, MAC));
    }
    lab.state.lock().unwrap().mac = Some(OTHER);
    for address in [DIP, link_local(OTHER)] {
        until("it is announced with the other MAC", || announced(&lab, address, OTHER));
    }
    let snapshot = lab.workers[0].told.lock().unwrap().snapshot.clone().unwrap();
    let is_own = |address: Ipv6Addr| snapshot.local(address.into()).is_some();
    assert!(is_own(link_local(OTHER)) && !is_own(link_local(MAC)));
    assert!(snapshot.listens(DIP0, solicited_node(link_local(OTHER))));
    // Next hops are asked for from there now.
    let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
    says(&lab, NeighbourEvent::Wanted(NeighbourKey { interface: DIP0, address: gateway.into() }));
    let from_there = Solicitation { source: link_local(OTHER), target: gateway, source_mac: Some(OTHER) };
    until("a gateway of the link is asked for", || asked(&lab, from_there));
}

#[test]
fn whoever_asks_is_told_the_groups() {
    let (_directory, lab) = lab();
    let query = Query { group: None, delay: 0, is_v1: false };
    says(&lab, NeighbourEvent::GroupsAsked { interface: DIP0, query });
    for address in [DIP, link_local(MAC)] {
        let group = solicited_node(address).octets();
        // The record is behind the headers of the packet, of options for every hop, and of the message.
        let is_answer = |frame: &[u8], packet: &Packet<'_>| {
            icmp6::kind(packet) == Some(REPORT) && frame[70] == LISTENED && frame[74..90] == group
        };
        until("it is said that its group is listened to", || sent(&lab, is_answer));
    }
}

#[test]
fn a_claim_to_an_own_address_is_defended_and_noted() {
    let (_directory, lab) = lab();
    let key = NeighbourKey { interface: DIP0, address: DIP.into() };
    says(&lab, NeighbourEvent::Conflict { key, mac: OTHER });
    let noted = || lab.ok(r#""command":"status""#)["notes"].to_string();
    let expected = format!("port dip0: {OTHER} says by neighbour discovery that {DIP} is its, too (1 times");
    until("it is noted", || noted().contains(&expected));
}
