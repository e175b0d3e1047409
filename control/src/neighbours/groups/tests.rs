use super::*;
use dataplane::names::mac::Mac;
use dataplane::wire::ipv6::Packet;
use dataplane::wire::ndp::{link_local, multicast_mac};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 8]);
const HERE: InterfaceId = InterfaceId(0);
const OWN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 8);
/// Of the same group.
const TWIN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 8);
const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 1, 0x100);

/// Kinds of records, and the type of a report of MLDv1 in their place.
const LISTENED: u8 = 2;
const LEFT: u8 = 3;
const JOINED: u8 = 4;
const V1: u8 = 131;

fn interfaces() -> Vec<Interface> {
    let interface = |id, addresses: &[&str]| Interface {
        id,
        mac: MAC,
        addresses: addresses.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        vips: Vec::new(),
    };
    let own = format!("{}/64", link_local(MAC));
    vec![interface(HERE, &["fd00:20::8/64", &own]), interface(InterfaceId(1), &[])]
}

fn seconds(count: u64) -> Moment {
    Moment::from_secs(count)
}

fn query(group: Option<Ipv6Addr>, delay: u32, is_v1: bool) -> Query {
    Query { group, delay, is_v1 }
}

/// With a link, and these addresses.
fn groups(addresses: &[Ipv6Addr]) -> Groups {
    let mut groups = Groups::default();
    groups.set_link(HERE, true);
    for address in addresses {
        groups.set_address(HERE, *address, true, seconds(0));
    }
    groups
}

/// What a frame says of which group.
fn said(frame: &SmallFrame) -> (u8, Ipv6Addr) {
    let bytes = &frame.bytes[..frame.length.into()];
    let packet = Packet::in_frame(bytes).unwrap();
    assert_eq!((packet.source(), packet.hop_limit()), (link_local(MAC), 1));
    assert_eq!(bytes[..6], multicast_mac(packet.destination()).0);
    let message = &packet.payload()[8..];
    let at = |offset: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&message[offset..offset + 16]).unwrap());
    match message[0] {
        V1 => (V1, at(8)),
        143 => {
            assert_eq!(message[6..8], [0, 1], "one record");
            (message[8], at(12))
        }
        kind => panic!("type {kind}"),
    }
}

/// Turns each 2 ms; what was said, and in which second.
fn run(groups: &mut Groups, from: Moment, until: Moment) -> Vec<(u64, u8, Ipv6Addr)> {
    let (mut now, mut found) = (from, Vec::new());
    while now < until {
        let frames = groups.turn(&interfaces(), now);
        assert!(frames.len() <= AT_ONCE as usize);
        found.extend(frames.iter().map(said).map(|(kind, group)| (now.as_secs(), kind, group)));
        now += Duration::from_millis(2);
    }
    found
}

#[test]
fn a_group_is_reported_when_it_comes_and_when_it_goes() {
    let (group, other) = (solicited_node(OWN), solicited_node(VIP));
    let mut groups = groups(&[OWN]);
    let joined = [0, 1, 5, 30].map(|second| (second, JOINED, group));
    assert_eq!(run(&mut groups, seconds(0), seconds(100)), joined);
    groups.set_address(HERE, TWIN, true, seconds(100));
    groups.set_address(HERE, VIP, true, seconds(100));
    groups.set_address(HERE, OWN, false, seconds(102));
    let joined = [100, 101, 105, 130].map(|second| (second, JOINED, other));
    assert_eq!(run(&mut groups, seconds(100), seconds(200)), joined, "another address is of the first group");
    groups.set_address(HERE, TWIN, false, seconds(200));
    let left = [200, 201].map(|second| (second, LEFT, group));
    assert_eq!(run(&mut groups, seconds(200), seconds(300)), left);
    assert!(groups.plans.is_empty() && groups.queue.is_empty());
}

#[test]
fn a_group_that_comes_back_while_it_is_left_is_joined() {
    let group = solicited_node(OWN);
    let mut groups = groups(&[OWN]);
    run(&mut groups, seconds(0), seconds(60));
    groups.set_address(HERE, OWN, false, seconds(60));
    assert_eq!(run(&mut groups, seconds(60), seconds(61)), [(60, LEFT, group)]);
    groups.set_address(HERE, OWN, true, seconds(61));
    let kinds = run(&mut groups, seconds(61), seconds(200));
    assert!(kinds.len() == 4 && kinds.iter().all(|(_, kind, _)| *kind == JOINED), "{kinds:?}");
}

#[test]
fn nothing_is_said_where_there_is_no_link_and_all_when_it_is_back() {
    let mut groups = groups(&[OWN, VIP]);
    groups.set_address(InterfaceId(1), OWN, true, seconds(0));
    groups.set_link(HERE, false);
    groups.set_address(HERE, TWIN, true, seconds(1));
    assert_eq!(run(&mut groups, seconds(0), seconds(40)), []);
    groups.set_link(HERE, true);
    groups.tell_all(HERE, seconds(40));
    assert_eq!(run(&mut groups, seconds(40), seconds(41)).len(), 2);
}

#[test]
fn a_query_is_answered_for_what_is_listened_to_within_its_time() {
    let all = [solicited_node(OWN), solicited_node(VIP)];
    let mut groups = groups(&[OWN, VIP]);
    run(&mut groups, seconds(0), seconds(60));
    let here = &interfaces()[0];
    groups.asked(here, query(None, 10_000, false), seconds(60));
    let answers = run(&mut groups, seconds(60), seconds(100));
    assert_eq!(answers.iter().map(|(_, kind, group)| (*kind, *group)).collect::<BTreeSet<_>>().len(), 2);
    assert!(
        answers.iter().all(|(second, kind, group)| *second < 70 && *kind == LISTENED && all.contains(group))
    );
    assert!(answers.iter().any(|(second, ..)| *second > 60), "not all at once: {answers:?}");
    groups.asked(here, query(Some(all[1]), 0, false), seconds(100));
    assert_eq!(run(&mut groups, seconds(100), seconds(200)), [(100, LISTENED, all[1])]);
    groups.asked(here, query(Some(solicited_node(Ipv6Addr::LOCALHOST)), 0, false), seconds(200));
    groups.asked(&interfaces()[1], query(None, 0, false), seconds(200));
    assert_eq!(run(&mut groups, seconds(200), seconds(201)), [], "nobody listens to these here");
}

#[test]
fn many_queries_have_one_answer_at_the_soonest_time() {
    let mut groups = groups(&[OWN]);
    run(&mut groups, seconds(0), seconds(60));
    for delay in [100_000, 0, 50_000] {
        groups.asked(&interfaces()[0], query(None, delay, false), seconds(60));
    }
    assert_eq!(run(&mut groups, seconds(60), seconds(200)), [(60, LISTENED, solicited_node(OWN))]);
}

#[test]
fn where_a_querier_speaks_mldv1_reports_are_of_that_version() {
    let (group, other) = (solicited_node(OWN), solicited_node(VIP));
    let mut groups = groups(&[OWN]);
    run(&mut groups, seconds(0), seconds(60));
    groups.asked(&interfaces()[0], query(None, 0, true), seconds(60));
    assert_eq!(run(&mut groups, seconds(60), seconds(61)), [(60, V1, group)]);
    groups.set_address(HERE, VIP, true, seconds(70));
    assert_eq!(run(&mut groups, seconds(70), seconds(71)), [(70, V1, other)]);
    run(&mut groups, seconds(71), seconds(110));
    groups.set_address(HERE, OWN, false, seconds(110));
    assert_eq!(run(&mut groups, seconds(110), seconds(115)), [], "it finds out by itself");
    let later = seconds(60) + OLDER_QUERIER;
    groups.asked(&interfaces()[0], query(None, 0, false), later);
    assert_eq!(run(&mut groups, later, later + seconds(1)), [(later.as_secs(), LISTENED, other)]);
}

#[test]
fn thousands_are_paced() {
    let mut groups = Groups::default();
    groups.set_link(HERE, true);
    for number in 0..4096u128 {
        groups.set_address(HERE, Ipv6Addr::from_bits(OWN.to_bits() + number), true, seconds(0));
    }
    let first = run(&mut groups, seconds(0), seconds(1)).len();
    assert!((2000..=2000 + 2 * AT_ONCE as usize).contains(&first), "{first}");
    let all = first + run(&mut groups, seconds(1), seconds(60)).len();
    assert_eq!(all, 4 * 4096);
}
