use super::*;
use dataplane::names::mac::Mac;
use dataplane::wire::icmp6;
use dataplane::wire::ipv6::Packet;
use dataplane::wire::ndp::solicited_node;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 8);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 8]);

fn interfaces() -> Vec<Interface> {
    let interface =
        |id| Interface { id, mac: MAC, addresses: vec!["10.0.0.8/8".parse().unwrap()], vips: Vec::new() };
    vec![interface(InterfaceId(0)), interface(InterfaceId(1))]
}

fn seconds(count: u64) -> Moment {
    Moment::from_secs(count)
}

impl Announcer {
    /// These are the own addresses now, each with the bit set of the ports that answer for it.
    fn set_addresses(&mut self, addresses: impl Iterator<Item = (Ipv4Addr, u16)>, now: Moment) {
        let mut all: BTreeMap<IpAddr, u16> = self.known.iter().map(|(_, address)| (*address, 0)).collect();
        all.extend(addresses.map(|(address, ports)| (address.into(), ports)));
        for (address, ports) in all {
            self.set_address(address, ports, now);
        }
    }
}

/// With a link on port 0, and these addresses there.
fn announcer(addresses: &[Ipv4Addr], periods: Vec<Option<Duration>>) -> Announcer {
    let mut announcer = Announcer::new(periods);
    announcer.set_link(InterfaceId(0), true, seconds(0));
    announcer.set_addresses(addresses.iter().map(|address| (*address, 1)), seconds(0));
    announcer
}

/// The addresses that frames announce; each has to come as request and as reply.
fn announced(frames: &[SmallFrame]) -> Vec<Ipv4Addr> {
    let pairs = frames.chunks(2).map(|pair| {
        let [request, reply] = pair else { panic!("one form alone: {pair:?}") };
        for (frame, operation, target) in [(request, 1, [0; 6]), (reply, 2, MAC.0)] {
            let bytes = &frame.bytes;
            assert_eq!((bytes[..6].to_vec(), frame.length), (Mac::BROADCAST.0.to_vec(), 60));
            assert_eq!((&bytes[6..12], &bytes[22..28]), (&MAC.0[..], &MAC.0[..]), "from us");
            assert_eq!((bytes[21], &bytes[32..38]), (operation, &target[..]));
            assert_eq!(bytes[28..32], bytes[38..42], "sender and target are the same");
        }
        assert_eq!(request.bytes[28..32], reply.bytes[28..32]);
        Ipv4Addr::from(<[u8; 4]>::try_from(&request.bytes[28..32]).unwrap())
    });
    pairs.collect()
}

/// Turns each 2 ms; what was announced, and when.
fn run(announcer: &mut Announcer, from: Moment, until: Moment) -> Vec<(Moment, Ipv4Addr)> {
    let (mut now, mut found) = (from, Vec::new());
    while now < until {
        let frames = announcer.turn(&interfaces(), now);
        assert!(frames.len() <= FRAMES_AT_ONCE);
        found.extend(announced(&frames).into_iter().map(|address| (now, address)));
        now += Duration::from_millis(2);
    }
    found
}

fn times(found: &[(Moment, Ipv4Addr)]) -> Vec<u64> {
    found.iter().map(|(when, _)| when.as_secs()).collect()
}

#[test]
fn an_address_is_announced_in_both_forms_and_repeated() {
    let mut announcer = announcer(&[OWN], Vec::new());
    assert_eq!(times(&run(&mut announcer, seconds(0), seconds(100))), [0, 1, 5, 30]);
    announcer.set_addresses([(OWN, 1), (VIP, 1)].into_iter(), seconds(100));
    let found = run(&mut announcer, seconds(100), seconds(200));
    assert_eq!(times(&found), [100, 101, 105, 130]);
    assert!(found.iter().all(|(_, address)| *address == VIP), "the other was announced before");
}

#[test]
fn nothing_is_announced_where_there_is_no_link() {
    let mut announcer = Announcer::new(vec![Some(seconds(1)); 2]);
    announcer.set_addresses([(OWN, 1)].into_iter(), seconds(0));
    assert_eq!(run(&mut announcer, seconds(0), seconds(40)), []);
    announcer.set_link(InterfaceId(1), true, seconds(40));
    assert_eq!(run(&mut announcer, seconds(40), seconds(50)), [], "another port's link");
}

#[test]
fn all_of_a_port_is_announced_anew_when_its_link_is_back_or_its_mac_is_another() {
    let mut announcer = announcer(&[OWN, VIP], Vec::new());
    run(&mut announcer, seconds(0), seconds(3));
    announcer.set_link(InterfaceId(0), false, seconds(3));
    assert_eq!(run(&mut announcer, seconds(3), seconds(60)), [], "the repeats wait for the link");
    announcer.set_link(InterfaceId(0), true, seconds(60));
    assert_eq!(times(&run(&mut announcer, seconds(60), seconds(65))), [60, 60, 61, 61]);
    announcer.announce_interface(InterfaceId(0), seconds(65));
    assert_eq!(times(&run(&mut announcer, seconds(65), seconds(200))), [65, 65, 66, 66, 70, 70, 95, 95]);
}

#[test]
fn an_address_that_is_gone_is_not_announced_any_more_and_anew_when_it_is_back() {
    let mut announcer = announcer(&[OWN, VIP], Vec::new());
    announcer.set_addresses([(OWN, 1)].into_iter(), seconds(0));
    let found = run(&mut announcer, seconds(0), seconds(9));
    assert!(found.iter().all(|(_, address)| *address == OWN), "{found:?}");
    announcer.set_addresses([(OWN, 1), (VIP, 1)].into_iter(), seconds(9));
    assert_eq!(run(&mut announcer, seconds(9), seconds(10)), [(seconds(9), VIP)]);
}

#[test]
fn on_request_it_is_announced_periodically() {
    let mut announcer = announcer(&[OWN], vec![Some(seconds(20))]);
    assert_eq!(times(&run(&mut announcer, seconds(0), seconds(95))), [0, 1, 5, 25, 30, 50, 70, 90]);
}

#[test]
fn thousands_are_paced_and_new_ones_come_before_repeats() {
    let many: Vec<Ipv4Addr> = (0..4096).map(|number| Ipv4Addr::from_bits(0x0a01_0000 + number)).collect();
    let mut announcer = announcer(&many, Vec::new());
    let found = run(&mut announcer, seconds(0), seconds(1));
    assert!((2000..=2000 + 2 * AT_ONCE as usize).contains(&found.len()), "{}", found.len());
    let found = run(&mut announcer, seconds(1), seconds(3));
    assert!(found.len() <= 4000 + AT_ONCE as usize);
    let with_vip = many.iter().chain([&VIP]).map(|address| (*address, 1));
    announcer.set_addresses(with_vip, seconds(3));
    let found = run(&mut announcer, seconds(3), seconds(4));
    assert_eq!(found.first().map(|(_, address)| *address), Some(VIP), "while the repeats are under way");
    let found = run(&mut announcer, seconds(4), seconds(120));
    assert!(found.len() > 2 * 4096, "and all are repeated");
    assert!(announcer.plans.is_empty() && announcer.queue.is_empty());
}

/// The frames of one turn: the ICMPv6 type, source and destination.
fn messages(frames: &[SmallFrame]) -> Vec<(u8, Ipv6Addr, Ipv6Addr)> {
    let of = |frame: &SmallFrame| {
        let packet = Packet::in_frame(&frame.bytes[..frame.length.into()]).unwrap();
        (icmp6::kind(&packet).unwrap(), packet.source(), packet.destination())
    };
    frames.iter().map(of).collect()
}

/// In IPv6 the group of an address is reported first, then it is asked whether another has it, once; and it is
/// announced as often as one of IPv4.
#[test]
fn an_address_of_ipv6_is_joined_probed_and_announced() {
    let own: Ipv6Addr = "fd00:20::8".parse().unwrap();
    let mut interfaces = interfaces();
    let link_local: Ipv6Addr = "fe80::ff:fe00:8".parse().unwrap();
    interfaces[0].addresses.push(format!("{link_local}/64").parse().unwrap());
    let mut announcer = announcer(&[], Vec::new());
    announcer.set_address(own.into(), 1, seconds(0));
    let group = solicited_node(own);
    let (routers, all) = ("ff02::16".parse().unwrap(), "ff02::1".parse().unwrap());
    let report = (143, link_local, routers);
    let announcement = (136, own, all);
    let probe = (135, Ipv6Addr::UNSPECIFIED, group);
    assert_eq!(messages(&announcer.turn(&interfaces, seconds(0))), [report, probe, announcement]);
    for second in [1, 5, 30] {
        assert_eq!(messages(&announcer.turn(&interfaces, seconds(second))), [report, announcement]);
    }
    assert_eq!(announcer.turn(&interfaces, seconds(60)), []);
    // A link that is back may be another one.
    announcer.set_link(InterfaceId(0), false, seconds(60));
    announcer.set_link(InterfaceId(0), true, seconds(61));
    assert_eq!(messages(&announcer.turn(&interfaces, seconds(61))), [report, probe, announcement]);
}

proptest! {
    /// Whatever happens, the queue holds what is planned, and nothing that is not ours or has no link.
    #[test]
    fn plans_are_of_known_addresses_with_a_link(events in proptest::collection::vec((0u8..4, any::<bool>(), 0u8..8), 1..60)) {
        let mut announcer = Announcer::new(vec![None, Some(seconds(2))]);
        let (mut now, mut addresses) = (seconds(0), BTreeMap::new());
        for (kind, yes, number) in events {
            let address = Ipv4Addr::new(10, 0, 0, number);
            match kind {
                0 => announcer.set_link(InterfaceId(number & 1), yes, now),
                1 if yes => drop(addresses.insert(address, 1 + u16::from(number) % 3)),
                1 => drop(addresses.remove(&address)),
                2 => announcer.announce_interface(InterfaceId(number & 1), now),
                _ => now += Duration::from_millis(700),
            }
            announcer.set_addresses(addresses.iter().map(|(address, ports)| (*address, *ports)), now);
            announced(&announcer.turn(&interfaces(), now));
            prop_assert_eq!(announcer.queue.len(), announcer.plans.len());
            for (port, address) in announcer.plans.keys() {
                prop_assert!(announcer.known.contains(&(*port, *address)) && announcer.link_up[port.index()]);
            }
        }
    }
}
