//! Simulated NICs, whose hash is DPDK's `rte_softrss`: their keys and rules lead every packet to its owner's queue.

use super::*;
use dataplane::names::family::IpVersion;
use dataplane::translation::endpoint_bits;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

/// For each kind and number of queues; fewer where the build is not optimised.
const CONNECTIONS: usize = if cfg!(debug_assertions) { 2_000 } else { 100_000 };

#[derive(Default)]
struct State {
    driver: &'static str,
    told: RssCapabilities,
    configured: Option<RssConfig>,
    /// The key that it has once it has started anew, as mlx5.
    waiting: Option<RssConfig>,
    table: Vec<u16>,
    /// By number. `None` for the destination: any.
    rules: HashMap<usize, (Option<IpAddr>, RssConfig, Vec<u16>)>,
    made: usize,
    /// Rules that find room.
    room: usize,
    /// It has one key, that of the last rule.
    has_one_key: bool,
}

#[derive(Clone)]
struct Simulated(Rc<RefCell<State>>);

struct Rule {
    nic: Simulated,
    number: usize,
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.nic.0.borrow_mut().rules.remove(&self.number).expect("it goes once");
    }
}

impl Simulated {
    /// With what its driver in DPDK 22.11 says of itself, by its source.
    fn new(driver: &'static str) -> Self {
        use HashType::*;
        let whole = [
            [Ipv4, Ipv4Fragment, Ipv4Tcp, Ipv4Udp, Ipv4Other],
            [Ipv6, Ipv6Fragment, Ipv6Tcp, Ipv6Udp, Ipv6Other],
        ]
        .concat();
        let ends = [SourceAddressOnly, DestinationAddressOnly, SourcePortOnly, DestinationPortOnly];
        let (table_size, key_length, narrowing, room) = match driver {
            "mlx5_pci" => (512, 40, &ends[..], usize::MAX),
            "net_ice" => (512, 52, &[][..], 0),
            "net_ixgbe" => (128, 40, &[][..], 0),
            _ => unreachable!("{driver}"),
        };
        let types = whole.into_iter().chain(narrowing.iter().copied()).collect();
        let told = RssCapabilities { table_size, key_length, types };
        Self(Rc::new(RefCell::new(State { driver, told, room, ..State::default() })))
    }

    fn rules(&self) -> usize {
        self.0.borrow().rules.len()
    }

    fn rule(&self, to: Option<IpAddr>, rss: &RssConfig, table: &[u16]) -> Rule {
        let mut state = self.0.borrow_mut();
        state.made += 1;
        let number = state.made;
        state.rules.insert(number, (to, rss.clone(), table.to_vec()));
        Rule { nic: self.clone(), number }
    }

    /// A rule for the destination comes before one for all, and this before what is configured.
    fn queue(&self, source: SocketAddrV4, destination: SocketAddrV4) -> usize {
        let state = self.0.borrow();
        let mut matching: Vec<_> =
            state.rules.values().filter(|(to, ..)| to.is_none_or(|to| to == *destination.ip())).collect();
        matching.sort_by_key(|(to, ..)| to.is_none());
        assert!(matching.len() < 2 || matching[0].0 != matching[1].0, "two rules for {destination}");
        let (rss, table) = match matching.first() {
            Some((_, rss, table)) => (rss, table),
            None => (state.configured.as_ref().unwrap(), &state.table),
        };
        let [from, to] = [source.ip().octets(), destination.ip().octets()];
        let [from_port, to_port] = [source.port().to_be_bytes(), destination.port().to_be_bytes()];
        let input = if rss.types.contains(HashType::SourceAddressOnly) {
            [&from[..], &from_port, &[0; 2]].concat() // zeros add nothing: it takes whole words
        } else if rss.types.contains(HashType::DestinationAddressOnly) {
            [&to[..], &to_port, &[0; 2]].concat()
        } else {
            [&from[..], &to, &from_port, &to_port].concat()
        };
        usize::from(table[dpdk::softrss(&rss.key, &input) as usize % table.len()])
    }
}

impl Nic for Simulated {
    type Rule = Rule;

    fn driver(&self) -> String {
        self.0.borrow().driver.into()
    }

    fn rss_capabilities(&self) -> RssCapabilities {
        self.0.borrow().told
    }

    fn set_redirection(&self, table: &[u16]) -> Result<(), Errno> {
        let mut state = self.0.borrow_mut();
        state.table = table.to_vec();
        if let Some(rss) = state.waiting.take() {
            state.configured = Some(rss);
        }
        Ok(())
    }

    fn redirection(&self) -> Result<Vec<u16>, Errno> {
        Ok(self.0.borrow().table.clone())
    }

    fn rss(&self) -> Result<RssConfig, Errno> {
        Ok(self.0.borrow().configured.clone().unwrap())
    }

    fn set_rss(&self, rss: &RssConfig) -> Result<(), Errno> {
        self.0.borrow_mut().waiting = Some(rss.clone());
        Ok(())
    }

    fn add_rss_rules(&self, rss: &RssConfig) -> Result<[Rule; 2], RuleRefused> {
        assert_eq!(self.driver(), "net_ice");
        let table = self.0.borrow().table.clone();
        // One rule would do for TCP and UDP: the second matches no packet.
        Ok([self.rule(None, rss, &table), self.rule(Some(Ipv4Addr::UNSPECIFIED.into()), rss, &table)])
    }

    fn add_rss_rule_to(&self, address: IpAddr, rss: &RssConfig, table: &[u16]) -> Result<Rule, RuleRefused> {
        let mut state = self.0.borrow_mut();
        if state.rules.len() >= state.room {
            return Err(RuleRefused { errno: Errno(28), why: "no room".into() });
        }
        if state.has_one_key {
            state.configured = Some(rss.clone());
        }
        drop(state);
        Ok(self.rule(Some(address), rss, table))
    }
}

/// Xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn endpoint(&mut self) -> SocketAddrV4 {
        let bits = self.next();
        SocketAddrV4::new(Ipv4Addr::from_bits(bits as u32), (bits >> 40) as u16)
    }

    fn one_of(&mut self, addresses: &[IpAddr]) -> SocketAddrV4 {
        let bits = self.next() >> 8;
        at(addresses[bits as usize % addresses.len()], (bits >> 40) as u16)
    }
}

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 8));

/// An IPv4 address and port.
fn at(address: IpAddr, port: u16) -> SocketAddrV4 {
    match address {
        IpAddr::V4(address) => SocketAddrV4::new(address, port),
        IpAddr::V6(_) => unreachable!("{address}"),
    }
}

fn vip(number: u8) -> IpAddr {
    [192, 168, 10, number].into()
}

/// Does with the NICs what `lbd` does with ports.
fn set_up(sides: &[Side], nics: &[Simulated], workers: usize, mode: Mode) -> Steering<Simulated> {
    let Ok(mut steering) = Steering::choose(sides, nics, workers, (mode, Preferred::Ipv4)) else {
        panic!("no map")
    };
    for (index, nic) in nics.iter().enumerate() {
        let rss = steering.rss(index, nic);
        nic.0.borrow_mut().configured.clone_from(&rss);
        if let Some(rss) = rss.filter(|_| !steering.is_software(index)) {
            steering.complete(index, nic, &rss, &HashSet::from([OWN]));
        }
    }
    assert!(steering.settle().is_ok());
    steering
}

/// Packets of random connections, both directions, that came to another worker than their owner's.
fn wrong(
    map: &OwnerMap,
    [vip, dip]: [&Simulated; 2],
    vips: &[IpAddr],
    random: &mut Random,
    count: usize,
) -> usize {
    let mut wrong = 0;
    for _ in 0..count {
        let (client, service, real) = (random.endpoint(), random.one_of(vips), random.endpoint());
        let owner = map.owner(endpoint_bits(client));
        wrong += usize::from(vip.queue(client, service) != owner);
        wrong += usize::from(dip.queue(real, client) != owner);
    }
    wrong
}

#[test]
fn one_arm_finds_every_owner_while_vips_come_and_go() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for (mode, line) in [
        (Mode::Auto, "by the NIC: RSS by client address and port; a rule for each VIP"),
        (Mode::SourceOnly, "by the NIC: source-only RSS by a rule for each VIP, else destination-only"),
    ] {
        for workers in 2..=16 {
            let nics = [Simulated::new("mlx5_pci")];
            let nic = &nics[0];
            let mut steering = set_up(&[Side::Both], &nics, workers, mode);
            assert_eq!((steering.ways[0].to_string().as_str(), nic.rules()), (line, 1));
            let map = steering.owner_map().clone();
            let mut vips: Vec<IpAddr> = vec![OWN];
            for step in 0..20 {
                let before = vips.clone();
                match (random.next() >> 20) % 3 {
                    0 if vips.len() > 2 => drop(vips.remove(1)),
                    _ => vips.push(vip(step)),
                }
                let both = before.iter().chain(&vips).copied();
                assert!(steering.follow(&nics, &mut both.clone()).is_empty());
                // Until all workers run on the new snapshot some run on the old one.
                let all: Vec<_> = both.collect();
                assert_eq!(wrong(&map, [nic, nic], &all, &mut random, CONNECTIONS / 20), 0);
                assert!(steering.follow(&nics, &mut vips.iter().copied()).is_empty());
                assert_eq!(wrong(&map, [nic, nic], &vips, &mut random, CONNECTIONS / 20), 0);
                assert_eq!(nic.rules(), vips.len());
            }
            drop(steering);
            assert_eq!(nic.rules(), 0, "they go with it");
        }
    }
}

#[test]
fn a_vip_without_its_rule_is_noticed() {
    let nics = [Simulated::new("mlx5_pci")];
    let steering = set_up(&[Side::Both], &nics, 4, Mode::Auto);
    let counted = wrong(steering.owner_map(), [&nics[0]; 2], &[vip(1)], &mut Random(1), CONNECTIONS);
    let expected = CONNECTIONS * 3 / 4;
    assert!(counted.abs_diff(expected) < CONNECTIONS / 10, "{counted}, not about {expected}");
}

#[test]
fn two_sides_find_every_owner_without_such_rules() {
    let mut random = Random(7);
    for (driver, mode, rules) in [
        ("mlx5_pci", Mode::Auto, 0),
        ("mlx5_pci", Mode::SourceOnly, 0),
        ("net_ixgbe", Mode::Auto, 0),
        ("net_ice", Mode::Auto, 0),
        ("net_ice", Mode::SourceOnly, 2),
    ] {
        let nics = [Simulated::new(driver), Simulated::new(driver)];
        let mut steering = set_up(&[Side::Vip, Side::Dip], &nics, 5, mode);
        let mut own = std::iter::from_fn(|| -> Option<IpAddr> { unreachable!("nobody asks") });
        assert!(steering.follow(&nics, &mut own).is_empty());
        assert!(nics.iter().all(|nic| nic.rules() == rules), "{driver}, {mode:?}");
        let [vip_side, dip_side] = &nics;
        let map = steering.owner_map();
        let counted = wrong(map, [vip_side, dip_side], &[vip(1), vip(2)], &mut random, CONNECTIONS);
        assert_eq!(counted, 0, "{driver}, {mode:?}");
    }
}

/// Steering of a one-arm port that the first worker's rules, or the rule of a VIP, were refused for.
#[test]
fn a_device_that_refuses_a_rule_is_left_to_software() {
    let refused = |address| {
        format!(
            "by software: one-arm, and mlx5_pci refuses an RSS rule for {address}: No space left on device: no room"
        )
    };
    let nics = [Simulated::new("mlx5_pci")];
    nics[0].0.borrow_mut().room = 0;
    let steering = set_up(&[Side::Both], &nics, 4, Mode::Auto);
    assert_eq!(steering.ways[0].to_string(), refused(OWN));
    assert!(matches!(steering.key, Key::None), "no NIC asks for a map with fewer secrets");
    assert_eq!(steering.owner_map().indirection().entries(), LARGEST_TABLE);
    // What comes for a VIP is spread nevertheless.
    let (mut random, mut received) = (Random(3), [0; 4]);
    (0..1000).for_each(|_| received[nics[0].queue(random.endpoint(), at(vip(1), 80))] += 1);
    assert!(received.iter().all(|count| (150..350).contains(count)), "{received:?}");

    let nics = [Simulated::new("mlx5_pci"), Simulated::new("mlx5_pci")];
    nics[1].0.borrow_mut().room = 3;
    let mut steering = set_up(&[Side::Both; 2], &nics, 4, Mode::Auto);
    assert!(steering.follow(&nics, &mut [OWN, vip(1), vip(2)].into_iter()).is_empty());
    assert_eq!(steering.follow(&nics, &mut [OWN, vip(1), vip(2), vip(3)].into_iter()), [1]);
    assert_eq!(steering.ways[1].to_string(), refused(vip(3)));
    assert!(steering.ways[0].has_rules_for_addresses(), "the other port goes on");
    // What it has it keeps: most packets come right without a hand-over.
    assert!(steering.follow(&nics, &mut [OWN].into_iter()).is_empty());
    assert_eq!((nics[0].rules(), nics[1].rules()), (1, 3));
}

#[test]
fn a_device_with_one_key_for_all_rules_is_left_to_software() {
    let nics = [Simulated::new("mlx5_pci")];
    nics[0].0.borrow_mut().has_one_key = true;
    let steering = set_up(&[Side::Both], &nics, 2, Mode::Auto);
    assert_eq!(steering.ways[0].to_string(), "by software: mlx5_pci has another RSS key than it was given");
    assert_eq!(nics[0].rules(), 0);
}

#[test]
fn a_device_that_no_key_fits_is_left_to_software() {
    let nics = [Simulated::new("net_ixgbe")];
    let Ok(mut steering) = Steering::choose(&[Side::Vip], &nics, 2, (Mode::Auto, Preferred::Ipv4)) else {
        panic!("no map")
    };
    nics[0].0.borrow_mut().told.key_length = 12; // it was longer when it was asked first
    assert!(steering.rss(0, &nics[0]).unwrap().key.is_empty());
    assert_eq!(steering.ways[0].to_string(), "by software: a hash key of 12 bytes is too short");
}

#[test]
fn a_nic_that_software_steers_spreads_by_a_key_of_its_own() {
    let nics = [Simulated::new("net_ixgbe")];
    let mut steering = set_up(&[Side::Vip], &nics, 2, Mode::Software);
    let rss = steering.rss(0, &nics[0]).unwrap();
    assert!(rss.key.is_empty() && rss.types.contains(HashType::Ipv4Tcp), "{rss:?}");
    assert!(!rss.types.contains(HashType::SourceAddressOnly));
    // Some tell nothing of their key and table.
    let told = nics[0].rss_capabilities();
    nics[0].0.borrow_mut().told = RssCapabilities { table_size: 0, key_length: 0, ..told };
    assert!(steering.rss(0, &nics[0]).is_some());
    nics[0].0.borrow_mut().told = RssCapabilities { types: HashTypes::default(), ..told };
    assert!(steering.rss(0, &nics[0]).is_none());
    assert!(set_up(&[Side::Vip], &nics, 1, Mode::Software).rss(0, &nics[0]).is_none());
}

/// The queue of an IPv6 packet from this client or to it, on a port without rules.
fn queue_v6(nic: &Simulated, [from, to]: [(u128, u16); 2]) -> usize {
    let state = nic.0.borrow();
    let rss = state.configured.as_ref().unwrap();
    let [source, destination] = [from.0.to_le_bytes(), to.0.to_le_bytes()];
    let [from_port, to_port] = [from.1.to_le_bytes(), to.1.to_le_bytes()];
    let input = if rss.types.contains(HashType::SourceAddressOnly) {
        [&source[..], &from_port, &[0; 2]].concat()
    } else if rss.types.contains(HashType::DestinationAddressOnly) {
        [&destination[..], &to_port, &[0; 2]].concat()
    } else {
        [&source[..], &destination, &from_port, &to_port].concat()
    };
    assert!(rss.types.contains(HashType::Ipv6Tcp) && rss.types.contains(HashType::Ipv6Udp));
    usize::from(state.table[dpdk::softrss(&rss.key, &input) as usize % state.table.len()])
}

/// Packets of random IPv6 connections, both directions, that came to another worker than their owner's; and by queue,
/// how many came.
fn wrong_v6(map: &OwnerMap, [vip, dip]: [&Simulated; 2], random: &mut Random) -> (usize, Vec<usize>) {
    let (mut wrong, mut came) = (0, vec![0; map.workers()]);
    let prefix = u128::from_le_bytes([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..CONNECTIONS {
        // Many clients, one VIP and a few reals.
        let host = |bits: u64| prefix | u128::from(bits) << 64;
        let client = (host(random.next()), (random.next() >> 8) as u16);
        let (service, real) = ((host(1 << 56), 80), (host((random.next() % 4 + 7) << 56), 80));
        let owner = map.owner_v6(client.0, client.1);
        for queue in [queue_v6(vip, [client, service]), queue_v6(dip, [real, client])] {
            wrong += usize::from(queue != owner);
            came[queue] += 1;
        }
    }
    (wrong, came)
}

/// By the NIC or by software: where the NIC steers a family, each of its packets comes to its owner. Where it does not,
/// they come to all queues alike, whichever hands them over.
#[test]
fn each_family_goes_its_way() {
    let mut random = Random(11);
    for (driver, mode, preferred, [four, six]) in [
        ("mlx5_pci", Mode::Auto, Preferred::Ipv4, [true, false]),
        ("mlx5_pci", Mode::Auto, Preferred::Ipv6, [false, true]),
        ("mlx5_pci", Mode::SourceOnly, Preferred::Ipv4, [true, true]),
        ("mlx5_pci", Mode::SourceOnly, Preferred::Ipv6, [true, true]),
        ("net_ixgbe", Mode::Auto, Preferred::Ipv4, [true, false]),
        ("net_ice", Mode::Auto, Preferred::Ipv6, [false, true]),
    ] {
        let nics = [Simulated::new(driver), Simulated::new(driver)];
        let sides = [Side::Vip, Side::Dip];
        let Ok(mut steering) = Steering::choose(&sides, &nics, 5, (mode, preferred)) else {
            panic!("no map")
        };
        for (index, nic) in nics.iter().enumerate() {
            let rss = steering.rss(index, nic).unwrap();
            nic.0.borrow_mut().configured = Some(rss.clone());
            steering.complete(index, nic, &rss, &HashSet::from([OWN, "2001:db8::8".parse().unwrap()]));
            let by = steering.steered_by(index);
            assert_eq!((by.is_by_device(IpVersion::Four), by.is_by_device(IpVersion::Six)), (four, six));
        }
        let both = [&nics[0], &nics[1]];
        let counted = wrong(steering.owner_map(), both, &[vip(1)], &mut random, CONNECTIONS);
        assert_eq!(counted == 0, four, "{driver}, {mode:?}, {preferred:?}: {counted} of IPv4");
        let (counted, came) = wrong_v6(steering.owner_map(), both, &mut random);
        assert_eq!(counted == 0, six, "{driver}, {mode:?}, {preferred:?}: {counted} of IPv6");
        let most = came.iter().max().unwrap();
        assert!(*most < 2 * CONNECTIONS * 3 / 5, "{driver}, {mode:?}, {preferred:?}: {came:?}");
    }
}

/// Own addresses of IPv6 have no rules, and are no reason to leave the port to software.
#[test]
fn own_addresses_of_ipv6_are_none_of_the_rules() {
    let nics = [Simulated::new("mlx5_pci")];
    let mut steering = set_up(&[Side::Both], &nics, 4, Mode::Auto);
    let six: IpAddr = "2001:db8::8".parse().unwrap();
    assert!(steering.follow(&nics, &mut [OWN, vip(1), six].into_iter()).is_empty());
    assert_eq!(nics[0].rules(), 2);
    assert_eq!(steering.steered_by(0), snapshot::Steering::DeviceForIpv4);
    let line = steering.line(0, [true; 2]);
    assert!(
        line.ends_with("; IPv6 by software: one RSS key can't serve both, and IPv4 is preferred"),
        "{line}"
    );
}
