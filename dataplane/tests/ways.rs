//! Which way packets leave: all of a connection's take one way, whatever they are like; a routed packet never goes
//! back.

mod support;

use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::drop_reason::DropReason;
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::{Interface, Route};
use std::net::{Ipv4Addr, SocketAddrV4};
use support::packet::{ACK, Packet, SYN, read, reassemble};
use support::*;

const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0x10, 1]);
/// The second uplink's router.
const ROUTER1: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const ROUTER1_MAC: Mac = Mac([2, 0, 0, 0, 0x20, 1]);
/// The reals' router, and a real behind it.
const INNER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const INNER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const FAR_REAL: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 5);
/// A client that only defaults lead to.
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn default_via(port: InterfaceId, via: Ipv4Addr) -> Route {
    Route { prefix: "0.0.0.0/0".parse().unwrap(), interface: port, via: Some(std::net::IpAddr::V4(via)) }
}

/// A gateway on every port: two uplinks, and the router of a real that is not on the link.
fn two_uplinks() -> Lab {
    let mut lab = Lab::new();
    lab.description.interfaces.push(Interface {
        side: Side::Vip,
        mac: VIP1_MAC,
        mtu: 1500,
        addresses: vec!["198.18.0.100/24".parse().unwrap()],
    });
    lab.description.routes =
        vec![default_via(VIP0, ROUTER), default_via(VIP1, ROUTER1), default_via(DIP0, INNER)];
    lab.apply();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(FAR_REAL, 8080), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(FAR_REAL, 5353), 1)] },
    ]);
    for (port, address, mac) in
        [(VIP0, ROUTER, ROUTER_MAC), (VIP1, ROUTER1, ROUTER1_MAC), (DIP0, INNER, INNER_MAC)]
    {
        lab.reachable(NeighbourKey { interface: port, address: std::net::IpAddr::V4(address) }, mac);
    }
    lab
}

/// A link as seen from here: the port, its MAC, and its router's.
#[derive(Clone, Copy)]
struct Link {
    port: InterfaceId,
    ours: Mac,
    router: Mac,
}

const UPLINK0: Link = Link { port: VIP0, ours: VIP_MAC, router: ROUTER_MAC };
const UPLINK1: Link = Link { port: VIP1, ours: VIP1_MAC, router: ROUTER1_MAC };
const INSIDE: Link = Link { port: DIP0, ours: DIP_MAC, router: INNER_MAC };

impl Link {
    fn bring(self, lab: &mut Lab, packet: &Packet) -> Vec<Sent> {
        lab.arrive(self.port, &packet.clone().macs(self.router, self.ours).frame())
    }

    fn bring_fragments(self, lab: &mut Lab, packet: &Packet) -> Vec<Sent> {
        let packet = Packet { dont_fragment: false, ..packet.clone().macs(self.router, self.ours) };
        packet.fragments(1000).iter().flat_map(|frame| lab.arrive(self.port, frame)).collect()
    }

    /// All of `sent` left here.
    fn has(self, sent: &[Sent], what: &str) {
        assert!(!sent.is_empty(), "{what}");
        for Sent { port, bytes } in sent {
            let macs = (Mac(bytes[..6].try_into().unwrap()), Mac(bytes[6..12].try_into().unwrap()));
            assert_eq!((*port, macs), (self.port, (self.router, self.ours)), "{what}");
        }
    }
}

/// What is not plain, of one connection: with options, in fragments, and longer than the smallest MTU.
fn every_kind(lab: &mut Lab, from: Link, to: Link, packet: &Packet, what: &str) {
    to.has(&from.bring(lab, packet), what);
    let with_options = Packet { options: vec![1, 1, 1, 0], ..packet.clone() };
    to.has(&from.bring(lab, &with_options), &format!("{what}, with options"));
    if !support::family::is_ipv6() {
        let long = Packet { payload: vec![7; 1452], dont_fragment: false, ..packet.clone() };
        to.has(&from.bring(lab, &long), &format!("{what}, longer than some port's MTU"));
    }
    let fragmented = Packet { payload: vec![7; 2000], id: packet.id + 1, ..packet.clone() };
    to.has(&from.bring_fragments(lab, &fragmented), &format!("{what}, in fragments"));
}

/// An error of the first router in either direction about a packet as it was there.
fn error_about(packet: &[u8], from: Ipv4Addr, to: Ipv4Addr, mtu: u16) -> Packet {
    let [high, low] = mtu.to_be_bytes();
    Packet::icmp(from, to, [3, 4], [0, 0, high, low], &packet[14..])
}

#[test]
fn all_of_a_connections_packets_and_the_errors_about_them_leave_the_same_way() {
    for (uplink, client) in [(UPLINK0, at(STRANGER, 40000)), (UPLINK1, at(STRANGER, 40001))] {
        for is_tcp in [true, false] {
            let mut lab = two_uplinks();
            lab.description.interfaces.push(Interface {
                side: Side::Dip,
                mac: Mac([2, 0, 0, 0, 0x30, 8]),
                mtu: 1000, // no way of theirs, but it keeps what is longer off the fast path
                addresses: vec!["10.9.0.8/24".parse().unwrap()],
            });
            *lab.worker.io() = dataplane::frame::plain::PlainIo::new(4);
            lab.apply();
            let (request, reply) = if is_tcp {
                let open = Packet::tcp(client, at(VIP, 80), SYN);
                INSIDE.has(&uplink.bring(&mut lab, &open), "SYN");
                (Packet::tcp(client, at(VIP, 80), ACK), Packet::tcp(at(FAR_REAL, 8080), client, ACK))
            } else {
                (Packet::udp(client, at(VIP, 53), b"?"), Packet::udp(at(FAR_REAL, 5353), client, b"!"))
            };
            every_kind(&mut lab, uplink, INSIDE, &request, "from the client");
            every_kind(&mut lab, INSIDE, uplink, &reply, "from the real");

            let at_client = uplink_of(&mut lab, INSIDE, &reply);
            let error = error_about(&at_client, Ipv4Addr::new(192, 0, 2, 77), VIP, 1400);
            let sent = uplink.bring(&mut lab, &error);
            INSIDE.has(&sent, "an error about a reply");
            assert_eq!(*read(&sent[0].bytes).destination.ip(), FAR_REAL);

            let at_real = uplink_of(&mut lab, uplink, &request);
            let error = error_about(&at_real, INNER, *client.ip(), 1400);
            let sent = INSIDE.bring(&mut lab, &error);
            uplink.has(&sent, "an error about a request");
            assert_eq!(*read(&sent[0].bytes).source.ip(), VIP);
            assert_eq!(lab.connections().len(), 1);
        }
    }
}

/// What `packet` leaves as.
fn uplink_of(lab: &mut Lab, from: Link, packet: &Packet) -> Vec<u8> {
    from.bring(lab, packet).remove(0).bytes
}

/// The MTU that counts is that of the port it leaves on, and the answer goes back where the packet came from.
#[test]
fn the_mtu_is_that_of_the_way_and_the_answer_goes_to_who_sent_it() {
    for (small, uplink) in [(DIP0, UPLINK0), (DIP0, UPLINK1), (VIP0, UPLINK0), (VIP1, UPLINK1)] {
        let mut lab = two_uplinks();
        lab.description.interfaces[small.index()].mtu = 1400;
        lab.apply();
        let client = at(STRANGER, 5000);
        let request = Packet::udp(client, at(VIP, 53), b"?");
        INSIDE.has(&uplink.bring(&mut lab, &request), "a query");
        let (from, to, packet, speaker) = if small == DIP0 {
            (uplink, INSIDE, request, VIP)
        } else {
            (INSIDE, uplink, Packet::udp(at(FAR_REAL, 5353), client, b"!"), DIP)
        };
        let big = Packet { payload: vec![7; 1472], ..packet };
        let sent = from.bring(&mut lab, &big);
        from.has(&sent, "too big");
        let seen = read(&sent[0].bytes);
        assert_eq!((*seen.source.ip(), &seen.payload[..2]), (speaker, &[3, 4][..]));
        assert_eq!(seen.payload[6..8], 1400u16.to_be_bytes());
        if !support::family::is_ipv6() {
            let sent = from.bring(&mut lab, &Packet { dont_fragment: false, ..big.clone() });
            to.has(&sent, "cut");
            let frames: Vec<_> = sent.into_iter().map(|sent| sent.bytes).collect();
            assert_eq!((frames.len(), read(&reassemble(&frames)).payload.len()), (2, 1472));
        }
        let sent = from.bring(&mut lab, &big.clone().ttl(1));
        from.has(&sent, "TTL");
    }
}

/// Where the other uplink's MTU is smaller, that one does not count.
#[test]
fn a_smaller_mtu_elsewhere_is_nobodys() {
    let mut lab = two_uplinks();
    lab.description.interfaces[VIP0.index()].mtu = 600;
    lab.apply();
    let client = at(STRANGER, 5000);
    UPLINK1.bring(&mut lab, &Packet::udp(client, at(VIP, 53), b"?"));
    let big = Packet { payload: vec![7; 1472], ..Packet::udp(at(FAR_REAL, 5353), client, b"!") };
    UPLINK1.has(&INSIDE.bring(&mut lab, &big), "a long reply");
    let big = Packet { payload: vec![7; 1472], ..Packet::udp(client, at(VIP, 53), b"?") };
    INSIDE.has(&UPLINK1.bring(&mut lab, &big), "a long request");
}

/// Before a gateway has answered nothing is known of it but the port: replies wait for that one, and no other.
#[test]
fn replies_wait_for_the_gateway_of_the_port_of_arrival() {
    let mut lab = two_uplinks();
    let key = NeighbourKey { interface: VIP1, address: std::net::IpAddr::V4(ROUTER1) };
    let client = at(STRANGER, 40000);
    for forgotten in [true, false] {
        lab.unreachable(key);
        let id = lab.next_hop_id(key);
        lab.next_hops.set(id, dataplane::live::next_hops::NextHop::UNRESOLVED);
        if forgotten {
            // As after the start.
            lab = two_uplinks_without(key);
        }
        INSIDE.has(&UPLINK1.bring(&mut lab, &Packet::tcp(client, at(VIP, 80), SYN)), "SYN");
        let reply = Packet::tcp(at(FAR_REAL, 8080), client, SYN | ACK);
        while lab.control.neighbour_events.pop().is_ok() {}
        assert_eq!(INSIDE.bring(&mut lab, &reply), []);
        let wanted = NeighbourEvent::Wanted(support::family::neighbour(key));
        assert_eq!(lab.control.neighbour_events.pop(), Ok(wanted));
        UPLINK1.has(&lab.reachable(key, ROUTER1_MAC), "SYN+ACK");
        UPLINK1.has(&INSIDE.bring(&mut lab, &reply), "and the next");
        assert_eq!(lab.worker.frames_held(), 0);
    }
}

fn two_uplinks_without(silent: NeighbourKey) -> Lab {
    let full = two_uplinks();
    let mut lab = Lab::new();
    lab.description = full.description.clone();
    lab.description.version = 1;
    lab.description.services.clear();
    lab.description.reals.clear();
    lab.apply();
    lab.configure(&[
        Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(FAR_REAL, 8080), 1)] },
        Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(FAR_REAL, 5353), 1)] },
    ]);
    for (port, address, mac) in [(VIP0, ROUTER, ROUTER_MAC), (DIP0, INNER, INNER_MAC)] {
        lab.reachable(NeighbourKey { interface: port, address: std::net::IpAddr::V4(address) }, mac);
    }
    assert!(lab.neighbours.iter().all(|(key, _)| *key != silent));
    lab
}

/// The answer leaves by the port that the packet came by.
#[test]
fn a_silent_gateway_is_told_to_who_sent_the_packet() {
    let mut lab = two_uplinks();
    let key = NeighbourKey { interface: DIP0, address: std::net::IpAddr::V4(INNER) };
    let id = lab.next_hop_id(key);
    lab.next_hops.set(id, dataplane::live::next_hops::NextHop::UNRESOLVED);
    let open = Packet::tcp(at(STRANGER, 40000), at(VIP, 80), SYN);
    assert_eq!(UPLINK1.bring(&mut lab, &open), []);
    lab.unreachable(key);
    let sent = lab.turn();
    UPLINK1.has(&sent, "host unreachable");
    assert_eq!(read(&sent[0].bytes).payload[..2], [3, 1]);
}

/// A real that only the reals' default leads to is reached that way also by what belongs to no connection.
#[test]
fn what_is_routed_to_a_real_leaves_on_the_reals_side() {
    let mut lab = two_uplinks();
    let answer = Packet::tcp(at(STRANGER, 443), at(FAR_REAL, 33000), SYN | ACK);
    INSIDE.has(&UPLINK0.bring(&mut lab, &answer), "to a real's own connection");
    let echo = Packet::icmp(STRANGER, FAR_REAL, [0, 0], [0, 1, 0, 1], b"pong");
    INSIDE.has(&UPLINK1.bring(&mut lab, &echo), "to a real's ping");
}

/// Refusals and resets go to the neighbour that they answer, by whichever port.
#[test]
fn answers_go_back_where_they_are_asked_for() {
    let mut lab = two_uplinks();
    for uplink in [UPLINK0, UPLINK1] {
        let client: SocketAddrV4 = at(STRANGER, 1000 + u16::from(uplink.port.0));
        for (what, packet) in [
            ("RST to a SYN", Packet::tcp(client, at(VIP, 9), SYN)),
            ("RST to an ACK", Packet::tcp(client, at(VIP, 80), ACK)),
            ("port unreachable", Packet::udp(client, at(VIP, 9), b"?")),
            ("a ping", Packet::icmp(STRANGER, VIP, [8, 0], [0, 1, 0, 1], b"ping")),
        ] {
            uplink.has(&uplink.bring(&mut lab, &packet), what);
        }
    }
    assert_eq!(lab.dropped(DropReason::NoService), 4);
}

/// From the clients' side: a source on the reals' link, the real's own, one behind the reals' router, and one of the
/// other uplink's. None is believed, whatever it sends and however it is handled.
#[test]
fn a_source_that_belongs_elsewhere_is_a_martian() {
    let inside = Ipv4Addr::new(10, 0, 0, 99);
    let beside = Ipv4Addr::new(198, 18, 0, 6);
    for source in [inside, RS1, FAR_REAL, beside] {
        let mut lab = two_uplinks();
        let client = at(STRANGER, 40000);
        UPLINK0.bring(&mut lab, &Packet::tcp(client, at(VIP, 80), SYN));
        UPLINK0.bring(&mut lab, &Packet::udp(client, at(VIP, 53), b"?"));
        let spoofed = [
            ("opens TCP", Packet::tcp(at(source, 40000), at(VIP, 80), SYN)),
            ("opens UDP", Packet::udp(at(source, 40000), at(VIP, 53), b"?")),
            ("is routed", Packet::udp(at(source, 40000), at(RS1, 161), b"?")),
            ("is refused", Packet::udp(at(source, 40000), at(VIP, 9), b"?")),
            ("pings", Packet::icmp(source, VIP, [8, 0], [0, 1, 0, 1], b"ping")),
            ("replies to TCP", Packet::tcp(at(source, 8080), client, ACK)),
            ("resets", Packet::tcp(at(source, 8080), client, support::packet::RST)),
            ("replies to UDP", Packet::udp(at(source, 5353), client, b"!")),
        ];
        let mut dropped = 0;
        let states: Vec<_> = lab.connections().iter().map(|row| row.state).collect();
        for (what, packet) in spoofed {
            let fragmented = Packet { payload: vec![7; 1600], dont_fragment: false, ..packet.clone() };
            let mut frames = vec![packet.clone().macs(ROUTER_MAC, VIP_MAC).frame()];
            frames.push(Packet { options: vec![1, 1, 1, 0], ..packet }.macs(ROUTER_MAC, VIP_MAC).frame());
            frames.extend(fragmented.macs(ROUTER_MAC, VIP_MAC).fragments(1000));
            for frame in frames {
                dropped += 1;
                assert_eq!(lab.arrive(VIP0, &frame), [], "{source} {what}");
                assert_eq!(lab.dropped(DropReason::Martian), dropped, "{source} {what}");
            }
        }
        let after: Vec<_> = lab.connections().iter().map(|row| row.state).collect();
        assert_eq!((after, lab.worker.frames_held()), (states, 0), "{source}: nothing has changed");
    }
}

/// Where it belongs it is heard as ever.
#[test]
fn a_source_is_believed_where_it_belongs() {
    let mut lab = two_uplinks();
    let ping = |source, target| Packet::icmp(source, target, [8, 0], [0, 1, 0, 1], b"ping");
    let inside = Ipv4Addr::new(10, 0, 0, 99);
    let beside = Ipv4Addr::new(198, 18, 0, 6);
    for (link, source) in [
        (INSIDE, inside),
        (INSIDE, RS1),
        (INSIDE, FAR_REAL),
        (INSIDE, STRANGER),
        (UPLINK1, beside),
        (UPLINK1, STRANGER),
        (UPLINK0, STRANGER),
        (UPLINK0, CLIENT),
    ] {
        assert_eq!(link.bring(&mut lab, &ping(source, VIP)).len(), 1, "{source} by {}", link.port);
    }
    assert_eq!(lab.dropped(DropReason::Martian), 0);
}

/// Two ports on one network: a host of it may come by either. Of prefixes in each other the longest tells.
#[test]
fn a_shared_prefix_is_on_both_links() {
    let mut lab = two_uplinks();
    let ping = |source, target| Packet::icmp(source, target, [8, 0], [0, 1, 0, 1], b"ping");
    lab.description.interfaces[VIP1.index()].addresses.push("192.168.10.101/24".parse().unwrap());
    lab.description.interfaces[DIP0.index()].addresses.push("198.18.0.129/25".parse().unwrap());
    lab.apply();
    for link in [UPLINK0, UPLINK1] {
        assert_eq!(link.bring(&mut lab, &ping(CLIENT, VIP)).len(), 1);
    }
    for (last, by_uplink, by_inside) in [(6, 1, 0), (200, 0, 1)] {
        let source = Ipv4Addr::new(198, 18, 0, last);
        assert_eq!(UPLINK1.bring(&mut lab, &ping(source, VIP)).len(), by_uplink, "{source}");
        assert_eq!(INSIDE.bring(&mut lab, &ping(source, VIP)).len(), by_inside, "{source}");
    }
}

/// One arm: all is on one link, and nobody is elsewhere.
#[test]
fn with_one_arm_every_source_is_heard() {
    let mut lab = Lab::new();
    let arm = &mut lab.description.interfaces[VIP0.index()];
    arm.side = Side::Both;
    arm.addresses.push("10.0.0.8/24".parse().unwrap());
    lab.description.interfaces.truncate(1);
    lab.description.routes = vec![default_via(VIP0, ROUTER)];
    lab.apply();
    let ping = |source| Packet::icmp(source, VIP, [8, 0], [0, 1, 0, 1], b"ping");
    for source in [CLIENT, RS1, FAR_REAL, STRANGER] {
        let frame = ping(source).macs(ROUTER_MAC, VIP_MAC).frame();
        assert_eq!(lab.arrive(VIP0, &frame).len(), 1, "{source}");
    }
}

/// An error about a packet to a real can only come from the side that the real is on.
#[test]
fn an_error_about_a_request_is_heard_from_the_reals_side_alone() {
    let mut lab = two_uplinks();
    let client = at(STRANGER, 40000);
    let at_real = uplink_of(&mut lab, UPLINK0, &Packet::tcp(client, at(VIP, 80), SYN));
    let error = error_about(&at_real, Ipv4Addr::new(192, 0, 2, 77), *client.ip(), 600);
    assert_eq!(UPLINK0.bring(&mut lab, &error), []);
    assert_eq!(UPLINK1.bring(&mut lab, &error), []);
    assert_eq!(lab.dropped(DropReason::Martian), 2);
    UPLINK0.has(&INSIDE.bring(&mut lab, &error), "from the reals' side");
}

/// On a port towards reals too, a reply is one only where its real is; plain ones take the fast path, others do not.
#[test]
fn a_reply_is_translated_where_its_real_is() {
    for (side, is_one_of_two) in
        [(Side::Dip, true), (Side::Both, true), (Side::Vip, true), (Side::Dip, false)]
    {
        let mut lab = two_uplinks();
        // The second uplink leads towards reals, of which one is on its link.
        lab.description.interfaces[VIP1.index()].side = side;
        lab.description.routes.remove(1);
        lab.apply();
        let (real, mac) = if is_one_of_two {
            (Ipv4Addr::new(10, 0, 0, 7), RS1_MAC)
        } else {
            (Ipv4Addr::new(198, 18, 0, 7), Mac([2, 0, 0, 0, 0x20, 7]))
        };
        lab.configure(&[Configured { key: udp_service(at(VIP, 53)), reals: vec![(at(real, 5353), 1)] }]);
        let port = if is_one_of_two { DIP0 } else { VIP1 };
        lab.reachable(NeighbourKey { interface: port, address: std::net::IpAddr::V4(real) }, mac);
        let client = at(STRANGER, 40000);
        assert_eq!(UPLINK0.bring(&mut lab, &Packet::udp(client, at(VIP, 53), b"?"))[0].port, port);
        let reply = Packet::udp(at(real, 5353), client, b"!");
        let with_options = Packet { options: vec![1, 1, 1, 0], ..reply.clone() };
        for packet in [reply, with_options] {
            for link in [INSIDE, UPLINK1, UPLINK0] {
                let out = link.bring(&mut lab, &packet);
                assert_eq!(out.len(), usize::from(link.port == port), "{side:?}, by {}", link.port);
            }
        }
        assert_eq!(lab.dropped(DropReason::Martian), 4);
    }
}

/// An address of a routed prefix that nobody has: packets to it end here, whether they come from one router's MAC or
/// from another's.
#[test]
fn what_no_service_has_is_not_sent_back_to_its_router() {
    let unused = Ipv4Addr::new(192, 88, 99, 9);
    let other_mac = Mac([2, 0, 0, 0, 0x10, 2]);
    for uplink in [UPLINK0, UPLINK1] {
        let mut lab = two_uplinks();
        let mut dropped = 0;
        for (what, packet) in [
            ("UDP", Packet::udp(at(STRANGER, 4000), at(unused, 9), b"?")),
            ("a SYN", Packet::tcp(at(STRANGER, 4000), at(unused, 80), SYN)),
            ("a ping", Packet::icmp(STRANGER, unused, [8, 0], [0, 1, 0, 1], b"ping")),
            ("GRE", Packet { protocol: 47, ..Packet::icmp(STRANGER, unused, [0, 0], [0; 4], b"") }),
            ("TTL 1", Packet::udp(at(STRANGER, 4000), at(unused, 9), b"?").ttl(1)),
            ("too big", Packet::udp(at(STRANGER, 4000), at(unused, 9), &[7; 1800])),
        ] {
            for mac in [uplink.router, other_mac] {
                dropped += 1;
                let frame = packet.clone().macs(mac, uplink.ours).frame();
                assert_eq!(lab.arrive(uplink.port, &frame), [], "{what}");
                assert_eq!(lab.dropped(DropReason::SentBack), dropped, "{what}");
            }
        }
        let fragments = Packet {
            payload: vec![7; 1800],
            dont_fragment: false,
            ..Packet::udp(at(STRANGER, 4000), at(unused, 9), b"")
        };
        for frame in fragments.macs(uplink.router, uplink.ours).fragments(1000) {
            assert_eq!(lab.arrive(uplink.port, &frame), []);
        }
        assert_eq!((lab.worker.frames_held(), lab.counters().routed.get()), (0, 0));
    }
}

/// A VIP of a routed prefix, from the moment on that its last service and the connections of it are gone.
#[test]
fn a_removed_vip_is_not_sent_back_to_its_router() {
    let vip = Ipv4Addr::new(192, 88, 99, 10);
    let mut lab = two_uplinks();
    let service = Configured { key: tcp_service(at(vip, 80)), reals: vec![(at(FAR_REAL, 8080), 1)] };
    lab.configure(&[service]);
    let open = |port| Packet::tcp(at(STRANGER, port), at(vip, 80), SYN);
    INSIDE.has(&UPLINK0.bring(&mut lab, &open(4000)), "a SYN");
    lab.description.services.clear();
    lab.description.reals.clear();
    lab.apply();
    for port in [4000, 4001] {
        assert_eq!(UPLINK0.bring(&mut lab, &open(port)), []);
    }
    assert_eq!(lab.dropped(DropReason::SentBack), 2);
}

/// Before the gateway's MAC is known there is no telling by it.
#[test]
fn what_waits_for_its_gateway_is_not_sent_back_either() {
    let mut lab = two_uplinks();
    let unused = Ipv4Addr::new(192, 88, 99, 9);
    // A host on the link that has the router's MAC, so that only that tells.
    let on_link = Ipv4Addr::new(192, 168, 10, 6);
    let id = lab.next_hop_id(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(ROUTER) });
    lab.next_hops.set(id, dataplane::live::next_hops::NextHop::UNRESOLVED);
    assert_eq!(UPLINK0.bring(&mut lab, &Packet::udp(at(on_link, 4000), at(unused, 9), b"?")), []);
    assert_eq!(lab.worker.frames_held(), 1);
    assert_eq!(
        lab.reachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(ROUTER) }, ROUTER_MAC),
        []
    );
    assert_eq!((lab.dropped(DropReason::SentBack), lab.worker.frames_held()), (1, 0));
}

/// What comes from a host of the link, or from another router that a route names, goes on as with any router; and so
/// does what goes from one side to the other.
#[test]
fn what_is_not_sent_back_is_routed() {
    let unused = Ipv4Addr::new(192, 88, 99, 9);
    let mut lab = two_uplinks();
    let host = Packet::udp(at(CLIENT, 4000), at(unused, 9), b"?").macs(CLIENT_MAC, VIP_MAC);
    UPLINK0.has(&lab.arrive(VIP0, &host.frame()), "a host on the link");
    let own = Packet::udp(at(FAR_REAL, 4000), at(unused, 9), b"?");
    UPLINK0.has(&INSIDE.bring(&mut lab, &own), "a real's own");
    let behind = Packet::udp(at(unused, 4000), at(STRANGER, 9), b"?");
    UPLINK0.has(&INSIDE.bring(&mut lab, &behind), "from behind the reals' router");
    // Another router of the same link, to which a route leads.
    let (second, second_mac) = (Ipv4Addr::new(192, 168, 10, 2), Mac([2, 0, 0, 0, 0x10, 2]));
    let prefix = "198.51.100.0/24".parse().unwrap();
    lab.description
        .routes
        .insert(0, Route { prefix, interface: VIP0, via: Some(std::net::IpAddr::V4(second)) });
    lab.apply();
    lab.reachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(second) }, second_mac);
    let out = Packet::udp(at(FAR_CLIENT, 4000), at(unused, 9), b"?").macs(second_mac, VIP_MAC);
    UPLINK0.has(&lab.arrive(VIP0, &out.frame()), "from one router to the other");
    let back = Packet::udp(at(unused, 9), at(FAR_CLIENT, 4000), b"!");
    assert_eq!(UPLINK0.bring(&mut lab, &back)[0].bytes[..6], second_mac.0);
    assert_eq!(lab.dropped(DropReason::SentBack), 0);
}

/// One arm: hosts of one link reach each other through us, connections leave to the router that they came from, but
/// what is routed never does.
#[test]
fn with_one_arm_connections_may_leave_to_the_router_they_came_from() {
    let mut lab = Lab::new();
    let arm = &mut lab.description.interfaces[VIP0.index()];
    arm.side = Side::Both;
    arm.addresses.push("10.0.0.8/24".parse().unwrap());
    lab.description.interfaces.truncate(1);
    lab.description.routes = vec![default_via(VIP0, ROUTER)];
    lab.apply();
    lab.configure(&[Configured { key: tcp_service(at(VIP, 80)), reals: vec![(at(FAR_REAL, 8080), 1)] }]);
    for (address, mac) in [(ROUTER, ROUTER_MAC), (RS1, RS1_MAC), (CLIENT, CLIENT_MAC)] {
        lab.reachable(NeighbourKey { interface: VIP0, address: std::net::IpAddr::V4(address) }, mac);
    }
    let client = at(STRANGER, 40000);
    UPLINK0.has(&UPLINK0.bring(&mut lab, &Packet::tcp(client, at(VIP, 80), SYN)), "a SYN");
    let with_options = Packet { options: vec![1, 1, 1, 0], ..Packet::tcp(client, at(VIP, 80), ACK) };
    UPLINK0.has(&UPLINK0.bring(&mut lab, &with_options), "an ACK with options");
    UPLINK0.has(&UPLINK0.bring(&mut lab, &Packet::tcp(at(FAR_REAL, 8080), client, ACK)), "a reply");
    let between = Packet::udp(at(RS1, 7), at(CLIENT, 7), b"?").macs(RS1_MAC, VIP_MAC).frame();
    assert_eq!(lab.arrive(VIP0, &between)[0].bytes[..6], CLIENT_MAC.0);
    let out = Packet::udp(at(RS1, 7), at(STRANGER, 7), b"?").macs(RS1_MAC, VIP_MAC).frame();
    UPLINK0.has(&lab.arrive(VIP0, &out), "a real's own");
    assert_eq!(
        UPLINK0.bring(&mut lab, &Packet::udp(at(STRANGER, 7), at(Ipv4Addr::new(192, 88, 99, 9), 7), b"?")),
        []
    );
    let to_itself = Packet::udp(at(RS1, 7), at(RS1, 8), b"?").macs(RS1_MAC, VIP_MAC).frame();
    assert_eq!(lab.arrive(VIP0, &to_itself), []);
    assert_eq!(lab.dropped(DropReason::SentBack), 2);
}

over_ipv6! {
    all_of_a_connections_packets_and_the_errors_about_them_leave_the_same_way,
    the_mtu_is_that_of_the_way_and_the_answer_goes_to_who_sent_it,
    a_smaller_mtu_elsewhere_is_nobodys,
    replies_wait_for_the_gateway_of_the_port_of_arrival,
    a_silent_gateway_is_told_to_who_sent_the_packet,
    what_is_routed_to_a_real_leaves_on_the_reals_side,
    answers_go_back_where_they_are_asked_for,
    a_source_that_belongs_elsewhere_is_a_martian,
    a_source_is_believed_where_it_belongs,
    a_shared_prefix_is_on_both_links,
    with_one_arm_every_source_is_heard,
    an_error_about_a_request_is_heard_from_the_reals_side_alone,
    a_reply_is_translated_where_its_real_is,
    what_no_service_has_is_not_sent_back_to_its_router,
    a_removed_vip_is_not_sent_back_to_its_router,
    what_waits_for_its_gateway_is_not_sent_back_either,
    what_is_not_sent_back_is_routed,
    with_one_arm_connections_may_leave_to_the_router_they_came_from,
}
