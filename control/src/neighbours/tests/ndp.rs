//! Neighbours of IPv6: what is said of them in another way than by ARP.

use super::*;
use dataplane::wire::ipv6::Packet;
use dataplane::wire::ndp::{Message, Solicitation, link_local, multicast_mac, solicited_node};
use std::net::Ipv6Addr;

const HERE: InterfaceId = InterfaceId(0);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 8);
const RS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 7);

fn key6(address: Ipv6Addr) -> NeighbourKey {
    NeighbourKey { interface: HERE, address: address.into() }
}

/// An interface with addresses of both families.
fn both() -> Interface {
    let mut interface = interfaces().remove(0);
    interface.addresses.push("fd00:20::8/64".parse().unwrap());
    interface.addresses.push(format!("{}/64", link_local(OWN)).parse().unwrap());
    interface
}

fn neighbours6() -> Neighbours {
    Neighbours::new(vec![both()], [], seconds(0))
}

/// One that is permanent, and has just answered.
fn resolved() -> Neighbours {
    let mut neighbours = neighbours6();
    neighbours.set_permanent(&permanent([key6(RS6)]), seconds(0));
    turns(&mut neighbours, seconds(0));
    neighbours.event(heard(key6(RS6), RS1, true), seconds(0));
    neighbours.take_actions();
    neighbours
}

fn said(mac: Mac, reply: bool, replaces: bool) -> NeighbourEvent {
    NeighbourEvent::Heard { key: key6(RS6), mac, reply, replaces }
}

/// The solicitations among what is to be done: the MAC and the address that each goes to, and what it says.
fn solicitations(actions: &[Action]) -> Vec<(Mac, Ipv6Addr, Solicitation)> {
    let of = |action: &Action| {
        let Action::Send(frame) = action else { return None };
        let bytes = &frame.bytes[..frame.length.into()];
        let packet = Packet::in_frame(bytes).unwrap();
        let Some(Message::Solicitation(asked)) = Message::parse(&packet) else { panic!("{frame:?}") };
        Some((Mac(bytes[..6].try_into().unwrap()), packet.destination(), asked))
    };
    actions.iter().filter_map(of).collect()
}

#[test]
fn a_host_is_asked_for_through_its_group_and_checked_alone() {
    let mut neighbours = neighbours6();
    neighbours.event(NeighbourEvent::Wanted(key6(RS6)), seconds(0));
    let asked = Solicitation { source: OWN6, target: RS6, source_mac: Some(OWN) };
    let group = solicited_node(RS6);
    let to_group = (multicast_mac(group), group, asked);
    assert_eq!(solicitations(&neighbours.take_actions()), [to_group]);
    neighbours.event(heard(key6(RS6), RS1, true), seconds(0));
    neighbours.take_actions();
    let due = trusted(key6(RS6));
    assert!(due <= REACHABLE && due >= REACHABLE - SPREAD);
    let done = run(&mut neighbours, due - seconds(1), due + seconds(5));
    let actions: Vec<_> = done.iter().map(|(_, action)| *action).collect();
    let alone = (RS1, RS6, asked);
    assert_eq!(solicitations(&actions), [alone, alone, alone, to_group, to_group, to_group]);
    assert_eq!(done[0].0, due);
}

/// RFC 4861 §7.2.2 leaves the source open; hosts listen best to one of their own network.
#[test]
fn the_address_that_asks_is_of_the_targets_network_else_link_local_else_a_vip() {
    let vip: Ipv6Addr = "fd00:30::100".parse().unwrap();
    let link = link_local(OWN);
    let far: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
    let mut without = both();
    without.addresses.clear();
    without.vips = vec![Ipv4Addr::new(10, 0, 0, 100).into(), vip.into()];
    let mut only_global = both();
    only_global.addresses.pop();
    for (interface, target, source) in [
        (both(), RS6, OWN6),
        (both(), gateway, link),
        (both(), far, link),
        (only_global, far, OWN6),
        (without, RS6, vip),
    ] {
        let frame = interface.request(key6(target), None).unwrap();
        assert_eq!(solicitations(&[Action::Send(frame)])[0].2.source, source, "{target}");
    }
    assert!(interfaces()[0].request(key6(RS6), None).is_none(), "no address of the family");
    let v4 = both().request(key(7), None).unwrap();
    assert_eq!(v4.bytes[12..14], [8, 6]);
}

#[test]
fn a_mac_that_replaces_is_followed_at_once() {
    let mut neighbours = resolved();
    neighbours.event(said(OTHER, false, true), seconds(5));
    let id = neighbours.ids().id(key6(RS6));
    assert_eq!(neighbours.take_actions()[0], Action::Set(id, NextHop::resolved(HERE, OTHER)));
    // It is trusted no longer than the answer before.
    let due = trusted(key6(RS6));
    let done = run(&mut neighbours, due - seconds(10), due);
    assert_eq!(solicitations(&[done[0].1])[0].0, OTHER);
    assert_eq!(done[0].0, due);
}

/// RFC 4861 §7.2.5: the known MAC stays, and is no longer trusted.
#[test]
fn a_mac_that_does_not_replace_has_the_known_one_checked() {
    for reply in [false, true] {
        let mut neighbours = resolved();
        neighbours.event(said(OTHER, reply, false), seconds(5));
        assert_eq!(neighbours.take_actions(), [], "nothing is published");
        neighbours.turn(seconds(5));
        let actions = neighbours.take_actions();
        assert_eq!(solicitations(&actions)[0].0, RS1);
        // The one that is there confirms it.
        neighbours.event(said(RS1, true, false), seconds(5));
        assert_eq!(neighbours.take_actions(), []);
        assert!(run(&mut neighbours, seconds(6), seconds(20)).is_empty());
    }
}

/// Whoever says such things again and again has the host asked once a second at most.
#[test]
fn doubts_do_not_become_a_storm() {
    let mut neighbours = resolved();
    let mut asked = 0;
    for step in 0..1000 {
        let now = seconds(5) + Duration::from_millis(10 * step);
        neighbours.event(said(OTHER, false, false), now);
        turns(&mut neighbours, now);
        if !solicitations(&neighbours.take_actions()).is_empty() {
            asked += 1;
            neighbours.event(said(RS1, true, true), now);
        }
    }
    assert!((9..=11).contains(&asked), "{asked}");
}

#[test]
fn a_claimed_own_address_is_defended_by_an_advertisement() {
    let mut neighbours = neighbours6();
    let own = key6(OWN6);
    neighbours.event(NeighbourEvent::Conflict { key: own, mac: OTHER }, seconds(0));
    let [Action::Send(frame)] = neighbours.take_actions()[..] else { panic!("one frame") };
    assert_eq!(frame.bytes[..86], dataplane::wire::ndp::announcement(OWN, OWN6, true));
    let noted: Vec<_> = neighbours.conflicts().noted(seconds(1)).collect();
    assert!(matches!(noted[..], [(of, Conflict { mac: OTHER, claims: 1, .. })] if of == own));
}

#[test]
fn what_is_no_host_is_not_asked_for_in_ipv6_either() {
    let mut neighbours = neighbours6();
    for address in ["fd00:20::8", "ff02::1", "::", "::1", "::ffff:10.0.0.7"] {
        let key = key6(address.parse().unwrap());
        neighbours.event(NeighbourEvent::Wanted(key), seconds(0));
        assert_eq!(neighbours.take_actions(), [Action::Tell(Notice::Unreachable(key))], "{address}");
    }
    assert!(neighbours.is_empty());
}

/// An interface that has another MAC asks from the link-local address of that.
#[test]
fn with_another_mac_another_link_local_address_asks() {
    let mut neighbours = neighbours6();
    let prefix = format!("{}/64", link_local(OTHER)).parse().unwrap();
    neighbours.withdraw(HERE);
    neighbours.restore(HERE, OTHER, &[prefix]);
    neighbours.event(NeighbourEvent::Wanted(key6("fe80::1".parse().unwrap())), seconds(0));
    let asked = solicitations(&neighbours.take_actions());
    assert_eq!((asked[0].2.source, asked[0].2.source_mac), (link_local(OTHER), Some(OTHER)));
}
