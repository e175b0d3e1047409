//! What a station on an Ethernet must do with ARP: RFC 826, RFC 1122 §2.3, RFC 5227. The table of clauses is
//! docs/standards.md; what the control thread does with what is heard is tested in control/src/neighbours.

mod support;

use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use dataplane::wire::arp::{Message, Operation};
use std::net::Ipv4Addr;
use support::packet::Packet;
use support::*;

const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 77);
const NEW_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 0x99]);

/// A message in a frame of the shortest length, from `from` to `to`.
fn frame(from: Mac, to: Mac, message: Message) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&from.0);
    frame[12..14].copy_from_slice(&[8, 6]);
    message.write(&mut frame[14..]);
    frame
}

fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Message {
    Message { operation: Operation::Request, sender_mac, sender, target_mac: Mac([0; 6]), target }
}

fn events(lab: &mut Lab) -> Vec<NeighbourEvent> {
    std::iter::from_fn(|| lab.control.neighbour_events.pop().ok()).collect()
}

#[test]
fn the_reply_is_the_request_with_its_ends_exchanged() {
    let mut lab = Lab::serving();
    for to in [Mac::BROADCAST, VIP_MAC] {
        let [reply] = &lab.arrive(VIP0, &frame(CLIENT_MAC, to, request(CLIENT_MAC, CLIENT, VIP)))[..] else {
            panic!("one reply")
        };
        let expected = Message {
            operation: Operation::Reply,
            sender_mac: VIP_MAC,
            sender: VIP,
            target_mac: CLIENT_MAC,
            target: CLIENT,
        };
        assert_eq!(Message::parse(&reply.bytes[14..]), Some(expected));
        assert_eq!((reply.port, reply.bytes.len()), (VIP0, 60));
        assert_eq!(reply.bytes[..14], [&CLIENT_MAC.0[..], &VIP_MAC.0, &[8, 6]].concat());
    }
}

/// RFC 826 has it sent to the hardware address in the message, whoever sent the frame.
#[test]
fn the_reply_goes_to_the_hardware_address_in_the_message() {
    let mut lab = Lab::serving();
    let bridge = Mac([2, 0, 0, 0, 0x10, 0xbb]);
    let sent = lab.arrive(VIP0, &frame(bridge, Mac::BROADCAST, request(CLIENT_MAC, CLIENT, VIP)));
    assert_eq!(sent[0].bytes[..6], CLIENT_MAC.0);
}

#[test]
fn a_probe_is_answered_and_tells_of_no_neighbour() {
    let mut lab = Lab::serving();
    let probe = request(NEW_MAC, Ipv4Addr::UNSPECIFIED, VIP);
    let sent = lab.arrive(VIP0, &frame(NEW_MAC, Mac::BROADCAST, probe));
    let reply = Message::parse(&sent[0].bytes[14..]).unwrap();
    assert_eq!((reply.operation, reply.sender, reply.sender_mac), (Operation::Reply, VIP, VIP_MAC));
    assert_eq!((reply.target, reply.target_mac), (Ipv4Addr::UNSPECIFIED, NEW_MAC));
    let of_another = request(NEW_MAC, Ipv4Addr::UNSPECIFIED, CLIENT);
    assert_eq!(lab.arrive(VIP0, &frame(NEW_MAC, Mac::BROADCAST, of_another)), []);
    assert_eq!(events(&mut lab), []);
}

#[test]
fn nothing_is_answered_for_others_or_on_another_link() {
    let mut lab = Lab::serving();
    for (port, mac, sender, targets) in [
        (VIP0, CLIENT_MAC, CLIENT, [STRANGER, ROUTER, DIP, RS1, Ipv4Addr::BROADCAST]),
        (DIP0, RS1_MAC, RS1, [RS2, VIP, CLIENT, Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::UNSPECIFIED]),
    ] {
        for target in targets {
            let asked = frame(mac, Mac::BROADCAST, request(mac, sender, target));
            assert_eq!(lab.arrive(port, &asked), [], "{target} on {port}");
        }
    }
    let elsewhere = frame(CLIENT_MAC, NEW_MAC, request(CLIENT_MAC, CLIENT, VIP));
    assert_eq!(lab.arrive(VIP0, &elsewhere), [], "not to our MAC");
    assert_eq!(lab.dropped(DropReason::OtherHost), 1);
}

#[test]
fn what_is_not_ipv4_over_ethernet_is_discarded() {
    let mut lab = Lab::serving();
    let good = frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, CLIENT, VIP));
    let mut discarded = 0;
    for (what, at, bytes) in [
        ("hardware type", 14, [0, 6]),
        ("protocol type", 16, [0x86, 0xdd]),
        ("lengths of addresses", 18, [8, 4]),
        ("lengths of addresses", 18, [6, 16]),
        ("lengths of addresses", 18, [0, 0]),
        ("operation", 20, [0, 0]),
        ("operation: reverse request", 20, [0, 3]),
        ("operation: inverse reply", 20, [0, 9]),
        ("a group as the sender's MAC", 22, [3, 0]),
    ] {
        let mut frame = good.clone();
        frame[at..at + 2].copy_from_slice(&bytes);
        assert_eq!(lab.arrive(VIP0, &frame), [], "{what}");
        discarded += 1;
    }
    let mut no_mac = good.clone();
    no_mac[22..28].fill(0);
    for frame in [&no_mac[..], &good[..41], &good[..14]] {
        assert_eq!(lab.arrive(VIP0, frame), []);
        discarded += 1;
    }
    assert_eq!(lab.dropped(DropReason::Arp), discarded);
    assert_eq!(events(&mut lab), []);
}

/// The merge flag of RFC 826: what a known neighbour says of itself counts, whatever it says it in.
#[test]
fn a_known_neighbours_new_mac_is_taken_from_any_message() {
    let reply = |target, target_mac| Message {
        operation: Operation::Reply,
        target_mac,
        ..request(NEW_MAC, CLIENT, target)
    };
    for (what, message, is_answer) in [
        ("a request for us", request(NEW_MAC, CLIENT, VIP), false),
        ("a request for another", request(NEW_MAC, CLIENT, STRANGER), false),
        ("an announcement that is a request", request(NEW_MAC, CLIENT, CLIENT), false),
        ("an announcement that is a reply", reply(CLIENT, Mac::BROADCAST), false),
        ("a reply to another", reply(STRANGER, CLIENT_MAC), false),
        ("a reply to us", reply(VIP, VIP_MAC), true),
    ] {
        let mut lab = Lab::serving();
        lab.arrive(VIP0, &frame(NEW_MAC, Mac::BROADCAST, message));
        let key = NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(CLIENT) };
        let heard = NeighbourEvent::Heard { key, mac: NEW_MAC, reply: is_answer, replaces: true };
        assert_eq!(events(&mut lab), [heard], "{what}");
    }
}

#[test]
fn what_a_stranger_says_of_itself_is_not_told_unless_it_is_awaited() {
    let mut lab = Lab::serving();
    let asks = frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, STRANGER, VIP));
    assert_eq!(lab.arrive(VIP0, &asks).len(), 1, "it is answered all the same");
    let announces = frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, STRANGER, STRANGER));
    assert_eq!(lab.arrive(VIP0, &announces), []);
    assert_eq!(events(&mut lab), []);

    let waits = Packet::udp(at(RS1, 4000), at(STRANGER, 9), b"?").macs(RS1_MAC, DIP_MAC).frame();
    assert_eq!(lab.arrive(DIP0, &waits), []);
    let key = NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(STRANGER) };
    assert_eq!(events(&mut lab), [NeighbourEvent::Wanted(key)]);
    lab.arrive(VIP0, &announces);
    assert_eq!(events(&mut lab), [NeighbourEvent::Heard { key, mac: NEW_MAC, reply: false, replaces: true }]);
}

#[test]
fn a_neighbour_is_of_the_port_that_it_is_heard_on() {
    let mut lab = Lab::serving();
    let elsewhere = frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, CLIENT, DIP));
    assert_eq!(lab.arrive(DIP0, &elsewhere).len(), 1);
    assert_eq!(events(&mut lab), [], "a client's address on the reals' link moves nobody");
}

#[test]
fn replies_are_limited_on_each_port() {
    let mut lab = Lab::serving();
    let asks = frame(CLIENT_MAC, Mac::BROADCAST, request(CLIENT_MAC, CLIENT, VIP));
    let answered = (0..3000).filter(|_| !lab.arrive(VIP0, &asks).is_empty()).count();
    assert!((1000..1200).contains(&answered), "a burst of 1000, then 10,000 a second: {answered}");
    let on_the_other = frame(RS1_MAC, Mac::BROADCAST, request(RS1_MAC, RS1, DIP));
    assert_eq!(lab.arrive(DIP0, &on_the_other).len(), 1);
}

#[test]
fn another_stations_claim_to_an_own_address_is_told_and_not_answered() {
    let key = NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(VIP) };
    let claims = [
        ("an announcement", request(NEW_MAC, VIP, VIP)),
        ("a question for another", request(NEW_MAC, VIP, CLIENT)),
        (
            "an announcement that is a reply",
            Message { operation: Operation::Reply, ..request(NEW_MAC, VIP, VIP) },
        ),
        ("an answer to another", Message { operation: Operation::Reply, ..request(NEW_MAC, VIP, CLIENT) }),
    ];
    for (what, message) in claims {
        let mut lab = Lab::serving();
        assert_eq!(lab.arrive(VIP0, &frame(NEW_MAC, Mac::BROADCAST, message)), [], "{what}");
        assert_eq!(events(&mut lab), [NeighbourEvent::Conflict { key, mac: NEW_MAC }], "{what}");
    }
}

#[test]
fn own_messages_that_come_back_are_no_claim() {
    let mut lab = Lab::serving();
    for mac in [VIP_MAC, DIP_MAC] {
        for target in [VIP, CLIENT] {
            assert_eq!(lab.arrive(VIP0, &frame(mac, Mac::BROADCAST, request(mac, VIP, target))), []);
        }
    }
    // An address of another port's link is none of this one's.
    assert_eq!(lab.arrive(VIP0, &frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, DIP, CLIENT))), []);
    assert_eq!(events(&mut lab), []);
}

#[test]
fn a_flood_of_claims_takes_nothing_from_neighbours() {
    let mut lab = Lab::serving();
    let claim = frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, VIP, VIP));
    for _ in 0..1000 {
        lab.arrive(VIP0, &claim);
    }
    let waits = Packet::udp(at(RS1, 4000), at(STRANGER, 9), b"?").macs(RS1_MAC, DIP_MAC).frame();
    lab.arrive(DIP0, &waits);
    lab.arrive(VIP0, &frame(NEW_MAC, Mac::BROADCAST, request(NEW_MAC, CLIENT, CLIENT)));
    let events = events(&mut lab);
    assert!((2..40).contains(&events.len()), "{}", events.len());
    let key = |address| NeighbourKey { interface: VIP0, address };
    let heard = NeighbourEvent::Heard {
        key: key(std::net::IpAddr::V4(CLIENT)),
        mac: NEW_MAC,
        reply: false,
        replaces: true,
    };
    assert_eq!(
        events[events.len() - 2..],
        [NeighbourEvent::Wanted(key(std::net::IpAddr::V4(STRANGER))), heard]
    );
}
