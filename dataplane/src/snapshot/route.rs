//! The routing table: longest prefix first.

use super::Interface;
use super::word_hash::BuildWordHasher;
use crate::names::family::Bits;
use crate::names::ids::{InterfaceId, NeighbourKey};
use crate::names::side::Side;
use arrayvec::ArrayVec;
use hashbrown::HashMap;
use ipnet::IpNet;
use std::net::IpAddr;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destinations that it is for.
    pub prefix: IpNet,
    /// The interface they leave on.
    pub interface: InterfaceId,
    /// The gateway; `None`: the destination itself is on the link.
    pub via: Option<IpAddr>,
}

/// Routes that are looked at one by one rather than hashed, at most.
const FEW: usize = 8;

/// All routes, and which of them a packet takes: one decision for all packets of a connection, whatever way they are
/// handled.
#[derive(Clone, Debug)]
pub struct Routes {
    v4: OfFamily<u32>,
    v6: OfFamily<u128>,
    /// Every gateway once.
    gateways: Vec<NeighbourKey>,
    /// By interface.
    sides: Vec<Side>,
}

/// The routes of one address family.
#[derive(Clone, Debug)]
struct OfFamily<B> {
    all: Table<B>,
    /// By interface, those that leave on it.
    of_interface: Vec<Table<B>>,
    /// The default route towards reals.
    to_reals: Option<Way>,
}

/// Some of the routes: few of them are looked at one by one, more by a hash map for each prefix length. A look-up
/// costs as many probes as there are prefix lengths at most, whatever the routes' number.
#[derive(Clone, Debug)]
struct Table<B> {
    /// By netmask, the longest first; in each by network.
    by_length: Vec<(B, HashMap<B, Way, BuildWordHasher>)>,
    /// All of them, the longest first; empty if they are too many.
    few: ArrayVec<(B, B, Way), FEW>,
    /// By a destination's first byte, which of the few it takes whatever the other bytes are; [`FEW`]: these
    /// decide, or there is none.
    by_first_byte: [u8; 256],
}

/// A route, and its gateway's index in the list of them.
#[derive(Clone, Copy, Debug)]
struct Way {
    route: Route,
    gateway: Option<u32>,
}

/// The host that a packet is sent to next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextOnWay {
    /// Who.
    pub key: NeighbourKey,
    /// Its index in [`Routes::gateways`], if it is one.
    pub gateway: Option<usize>,
}

impl Way {
    fn is_default(&self) -> bool {
        self.route.prefix.prefix_len() == 0
    }

    #[inline(always)]
    fn next(&self, destination: IpAddr) -> NextOnWay {
        let Self { route, gateway } = self;
        let key = NeighbourKey { interface: route.interface, address: route.via.unwrap_or(destination) };
        NextOnWay { key, gateway: gateway.map(|number| number as usize) }
    }
}

impl Routes {
    /// The interfaces' own prefixes, and `routes`. Of equal prefixes the first counts.
    pub fn new(interfaces: &[Interface], routes: &[Route]) -> Self {
        let on_link = InterfaceId::all().zip(interfaces).flat_map(|(index, interface)| {
            let prefixes = interface.addresses.iter();
            prefixes.map(move |prefix| Route { prefix: *prefix, interface: index, via: None })
        });
        let (mut gateways, mut numbers) = (Vec::new(), HashMap::<NeighbourKey, u32>::new());
        let mut number = |route: &Route| {
            let key = NeighbourKey { interface: route.interface, address: route.via? };
            Some(*numbers.entry(key).or_insert_with(|| {
                gateways.push(key);
                gateways.len() as u32 - 1
            }))
        };
        let ways = on_link.chain(routes.iter().copied());
        let ways: Vec<Way> = ways.map(|route| Way { route, gateway: number(&route) }).collect();
        Self {
            v4: OfFamily::new(interfaces, &ways),
            v6: OfFamily::new(interfaces, &ways),
            gateways,
            sides: interfaces.iter().map(|interface| interface.side).collect(),
        }
    }

    /// The host that a packet of no connection is sent to next.
    pub fn next(&self, destination: IpAddr) -> Option<NeighbourKey> {
        self.way(destination).map(|way| way.next(destination).key)
    }

    /// The host that packets to a real are sent to next. Of the defaults it is that of an interface towards reals.
    pub fn to_real(&self, real: IpAddr) -> Option<NeighbourKey> {
        let way = self.way(real)?;
        let default = match real {
            IpAddr::V4(_) => &self.v4.to_reals,
            IpAddr::V6(_) => &self.v6.to_reals,
        };
        let way = if way.is_default() { default.as_ref().unwrap_or(way) } else { way };
        Some(way.next(real).key)
    }

    /// The route of a packet of no connection.
    fn way(&self, destination: IpAddr) -> Option<&Way> {
        match destination {
            IpAddr::V4(address) => self.v4.all.way(address.to_bits()),
            IpAddr::V6(address) => self.v6.all.way(address.to_bits()),
        }
    }

    /// The route of those that leave on an interface.
    fn way_on(&self, interface: InterfaceId, destination: IpAddr) -> Option<&Way> {
        match destination {
            IpAddr::V4(address) => self.v4.way_on(interface, address.to_bits()),
            IpAddr::V6(address) => self.v6.way_on(interface, address.to_bits()),
        }
    }

    /// The route back to a client whose packets come by `arrival`.
    #[inline(always)]
    fn way_back(&self, client: IpAddr, arrival: InterfaceId) -> Option<&Way> {
        match client {
            IpAddr::V4(address) => self.v4.way_back(address.to_bits(), arrival),
            IpAddr::V6(address) => self.v6.way_back(address.to_bits(), arrival),
        }
    }

    /// The host that packets to a client are sent to next whose own packets come by `arrival`: of the routes that leave
    /// there, if one leads to the client, else of all.
    #[inline(always)]
    pub fn to_client(&self, client: IpAddr, arrival: InterfaceId) -> Option<NextOnWay> {
        self.way_back(client, arrival).map(|way| way.next(client))
    }

    /// Whether a packet that came by `arrival` and belongs to no connection would go back to where it came from:
    /// nothing but a default is known of its source or its destination, and the destination's is on the same side.
    /// Behind several gateways of one side there is the same network, and one of them may send with more than one MAC
    /// (VRRP).
    pub fn turns_back(&self, source: IpAddr, destination: IpAddr, arrival: InterfaceId) -> bool {
        let by_default = |way: &Way| way.is_default() && way.gateway.is_some();
        let Some(there) = self.way(destination).filter(|way| by_default(way)) else { return false };
        let side =
            |interface: InterfaceId| self.sides.get(interface.index()).filter(|side| **side != Side::Both);
        let back = self.way_back(source, arrival);
        side(arrival).is_some()
            && side(arrival) == side(there.route.interface)
            && back.is_some_and(by_default)
    }

    /// Whether an address is of a link, but not of that of `interface`: its longest prefix is on the link of others
    /// alone.
    pub fn is_on_another_link(&self, address: IpAddr, interface: InterfaceId) -> bool {
        let is_other = |way: &Way| way.route.via.is_none() && way.route.interface != interface;
        let Some(way) = self.way(address).filter(|way| is_other(way)) else { return false };
        self.way_on(interface, address).is_none_or(|own| {
            own.route.via.is_some() || own.route.prefix.prefix_len() < way.route.prefix.prefix_len()
        })
    }

    /// The prefixes of the links of other interfaces than `interface`.
    pub(super) fn other_links(&self, interface: InterfaceId) -> impl Iterator<Item = IpNet> + '_ {
        let ways = self.v4.not_on(interface).chain(self.v6.not_on(interface));
        ways.filter(|way| way.route.via.is_none()).map(|way| way.route.prefix)
    }

    /// The gateways of all routes, each once.
    pub fn gateways(&self) -> &[NeighbourKey] {
        &self.gateways
    }
}

impl<B: Bits + Ord> OfFamily<B> {
    /// Those of the family among all routes.
    fn new(interfaces: &[Interface], ways: &[Way]) -> Self {
        let of_family: Vec<_> =
            ways.iter().filter(|way| B::of(way.route.prefix.addr()).is_some()).copied().collect();
        let of_interface =
            |interface: usize| of_family.iter().filter(move |way| way.route.interface.index() == interface);
        let nearness =
            |way: &&Way| match interfaces.get(way.route.interface.index()).map(|interface| interface.side) {
                Some(Side::Dip) => 0,
                Some(Side::Both) => 1,
                Some(Side::Vip) | None => 2,
            };
        Self {
            all: Table::new(&of_family),
            of_interface: (0..interfaces.len())
                .map(|interface| Table::new(of_interface(interface)))
                .collect(),
            to_reals: of_family.iter().filter(|way| way.is_default()).min_by_key(nearness).copied(),
        }
    }

    fn way_on(&self, interface: InterfaceId, bits: B) -> Option<&Way> {
        self.of_interface.get(interface.index()).and_then(|routes| routes.way(bits))
    }

    #[inline(always)]
    fn way_back(&self, bits: B, arrival: InterfaceId) -> Option<&Way> {
        let own = self.of_interface.get(arrival.index()).and_then(|routes| routes.way(bits));
        own.or_else(|| self.all.search(bits))
    }

    /// Those that leave on other interfaces.
    fn not_on(&self, interface: InterfaceId) -> impl Iterator<Item = &Way> {
        let others = self.of_interface.iter().enumerate();
        let others = others.filter(move |(other, _)| *other != interface.index());
        others.flat_map(|(_, routes)| routes.by_length.iter().flat_map(|(_, ways)| ways.values()))
    }
}

impl<B: Bits + Ord> Table<B> {
    fn new<'a>(ways: impl IntoIterator<Item = &'a Way>) -> Self {
        let mut by_length: Vec<(B, HashMap<B, Way, BuildWordHasher>)> = Vec::new();
        for way in ways {
            let prefix = way.route.prefix;
            let Some(mask) = B::of(prefix.netmask()) else { continue };
            let Some(network) = B::of(prefix.network()) else { continue };
            let place = by_length.binary_search_by(|(other, _)| mask.cmp(other));
            let place = place.unwrap_or_else(|place| {
                by_length.insert(place, (mask, HashMap::default()));
                place
            });
            by_length[place].1.entry(network).or_insert(*way);
        }
        let all = by_length.iter().flat_map(|(mask, ways)| ways.iter().map(|(net, way)| (*mask, *net, *way)));
        let is_few = by_length.iter().map(|(_, ways)| ways.len()).sum::<usize>() <= FEW;
        let few = if is_few { all.collect() } else { ArrayVec::new() };
        let by_first_byte = std::array::from_fn(|byte| decided_by_first_byte(&few, byte as u8) as u8);
        Self { few, by_first_byte, by_length }
    }

    #[inline(always)]
    fn way(&self, bits: B) -> Option<&Way> {
        let decided = self.by_first_byte[usize::from(bits.first_byte())];
        match self.few.get(usize::from(decided)) {
            Some((.., way)) => Some(way),
            None => self.search(bits),
        }
    }

    #[inline(never)]
    fn search(&self, bits: B) -> Option<&Way> {
        if self.few.is_empty() {
            return self.by_length.iter().find_map(|(mask, ways)| ways.get(&(bits & *mask)));
        }
        self.few.iter().find(|(mask, network, _)| bits & *mask == *network).map(|(.., way)| way)
    }
}

/// Which of `routes`, the longest first, is for every destination whose first byte is `byte`; [`FEW`] if it is not
/// the same one for all.
fn decided_by_first_byte<B: Bits>(routes: &[(B, B, Way)], byte: u8) -> usize {
    let first_byte = B::mask(8);
    let meets = |(mask, network, _): &(B, B, Way)| {
        let mask = *mask & first_byte;
        B::from_first_byte(byte) & mask == *network & mask
    };
    let first = routes.iter().position(meets).filter(|place| routes[*place].0 & !first_byte == B::ZERO);
    first.unwrap_or(FEW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// Addresses that have much in common, of both families.
    fn address() -> impl Strategy<Value = IpAddr> {
        let bits = prop::collection::vec(0..2u8, 4)
            .prop_map(|bytes| bytes.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)));
        (bits, any::<bool>()).prop_map(|(bits, is_v6)| match is_v6 {
            true => Ipv6Addr::from_bits(u128::from(bits) << 96 | u128::from(bits.reverse_bits())).into(),
            false => Ipv4Addr::from_bits(bits).into(),
        })
    }

    proptest! {
        #[test]
        fn the_longest_prefix_of_the_family_wins(
            routes in prop::collection::vec((address(), 0..=32u8, 0..4u8), 0..30),
            few in 0..30usize, destinations in prop::collection::vec(address(), 1..40),
        ) {
            let route = |(number, (address, length, interface)): (usize, &(IpAddr, u8, u8))| {
                let length = if address.is_ipv6() { 4 * length } else { *length };
                let prefix = IpNet::new(*address, length).unwrap().trunc();
                Route { prefix, interface: InterfaceId(*interface), via: (number % 3 == 0).then_some(*address) }
            };
            let all: Vec<Route> = routes.iter().take(few).enumerate().map(route).collect();
            let interfaces: Vec<_> = (0..4).map(|n| interface(Side::Vip, &format!("203.0.113.{n}/32"))).collect();
            let table = Routes::new(&interfaces, &all);
            for to in destinations {
                let longest = |mine: &dyn Fn(&Route) -> bool| {
                    let fitting = all.iter().filter(|route| mine(route) && route.prefix.contains(&to));
                    // Of equal ones the first.
                    fitting.rev().max_by_key(|route| route.prefix.prefix_len()).map(|route| NeighbourKey {
                        interface: route.interface,
                        address: route.via.unwrap_or(to),
                    })
                };
                prop_assert_eq!(table.next(to), longest(&|_| true));
                for arrival in (0..4).map(InterfaceId) {
                    let own = longest(&|route| route.interface == arrival).or_else(|| longest(&|_| true));
                    prop_assert_eq!(table.to_client(to, arrival).map(|next| next.key), own);
                }
            }
        }
    }

    fn route(prefix: &str, interface: InterfaceId, via: Option<&str>) -> Route {
        Route { prefix: prefix.parse().unwrap(), interface, via: via.map(|via| via.parse().unwrap()) }
    }

    fn routes() -> Vec<Route> {
        vec![
            route("0.0.0.0/0", InterfaceId(0), Some("192.0.2.1")),
            route("10.0.0.0/8", InterfaceId(1), Some("192.0.2.2")),
            route("10.1.0.0/16", InterfaceId(2), None),
            route("10.1.2.3/32", InterfaceId(3), None),
            route("10.0.0.0/8", InterfaceId(9), None),
            route("10.9.0.0/16", InterfaceId(1), Some("192.0.2.2")),
        ]
    }

    fn check(routes: &Routes) {
        let next = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            let next = routes.to_client(address, InterfaceId(15)).unwrap();
            assert_eq!(routes.next(address), Some(next.key), "no interface has this number");
            next
        };
        let interface = |address: &str| next(address).key.interface.0;
        assert_eq!(interface("10.1.2.3"), 3);
        assert_eq!(interface("10.1.2.4"), 2);
        assert_eq!(interface("10.2.0.1"), 1, "the first of equal prefixes counts");
        assert_eq!(interface("198.51.100.1"), 0);
        assert_eq!(next("10.2.0.1").key.address, IpAddr::from([192, 0, 2, 2]));
        assert_eq!(next("10.1.2.4").key.address, IpAddr::from([10, 1, 2, 4]));
        for address in ["10.2.0.1", "10.9.0.1", "198.51.100.1"] {
            let NextOnWay { key, gateway } = next(address);
            assert_eq!(gateway.map(|number| routes.gateways()[number]), Some(key));
        }
        assert_eq!(next("10.1.2.4").gateway, None);
        assert_eq!(next("10.2.0.1").gateway, next("10.9.0.1").gateway);
    }

    #[test]
    fn the_longest_prefix_wins_and_the_default_comes_last() {
        let few = Routes::new(&[], &routes());
        assert_eq!(few.gateways().len(), 2);
        assert!(few.v4.all.few.len() == 5);
        check(&few);
    }

    #[test]
    fn many_routes_are_found_as_few_are() {
        let mut many = routes();
        many.extend((0..100).map(|net| route(&format!("172.16.{net}.0/24"), InterfaceId(4), None)));
        let many = Routes::new(&[], &many);
        assert!(many.v4.all.few.is_empty());
        check(&many);
        assert_eq!(many.next(IpAddr::from([172, 16, 99, 1])).unwrap().interface, InterfaceId(4));
    }

    fn interface(side: Side, address: &str) -> Interface {
        let mac = crate::names::mac::Mac([2, 0, 0, 0, 0, 1]);
        Interface { side, mac, mtu: 1500, addresses: vec![address.parse().unwrap()] }
    }

    #[test]
    fn each_side_has_its_default_and_replies_leave_by_the_port_of_arrival() {
        let interfaces = [
            interface(Side::Vip, "192.0.2.100/24"),
            interface(Side::Vip, "198.18.0.100/24"),
            interface(Side::Dip, "10.0.0.8/24"),
            interface(Side::Dip, "10.1.0.8/24"),
        ];
        let routes = Routes::new(
            &interfaces,
            &[
                route("172.16.0.0/12", InterfaceId(3), Some("10.1.0.1")),
                route("203.0.113.0/24", InterfaceId(0), Some("192.0.2.9")),
                route("0.0.0.0/0", InterfaceId(0), Some("192.0.2.1")),
                route("0.0.0.0/0", InterfaceId(1), Some("198.18.0.1")),
                route("0.0.0.0/0", InterfaceId(2), Some("10.0.0.1")),
            ],
        );
        let far = IpAddr::from([192, 88, 99, 1]);
        let hop = |interface, address: [u8; 4]| Some(NeighbourKey { interface, address: address.into() });
        assert_eq!(routes.next(far), hop(InterfaceId(0), [192, 0, 2, 1]));
        assert_eq!(routes.to_real(far), hop(InterfaceId(2), [10, 0, 0, 1]));
        assert_eq!(routes.to_real(IpAddr::from([172, 20, 0, 5])), hop(InterfaceId(3), [10, 1, 0, 1]));
        assert_eq!(routes.to_real(IpAddr::from([10, 1, 0, 7])), hop(InterfaceId(3), [10, 1, 0, 7]));
        let back = |client: IpAddr, arrival| routes.to_client(client, arrival).map(|next| next.key);
        for (arrival, expected) in [
            (0, hop(InterfaceId(0), [192, 0, 2, 1])),
            (1, hop(InterfaceId(1), [198, 18, 0, 1])),
            (2, hop(InterfaceId(2), [10, 0, 0, 1])),
            (3, hop(InterfaceId(0), [192, 0, 2, 1])), // it has no gateway
        ] {
            assert_eq!(back(far, InterfaceId(arrival)), expected, "by {arrival}");
        }
        let routed = IpAddr::from([203, 0, 113, 1]);
        assert_eq!(
            back(routed, InterfaceId(0)),
            hop(InterfaceId(0), [192, 0, 2, 9]),
            "the longest of the interface's own"
        );
        assert_eq!(
            back(routed, InterfaceId(1)),
            hop(InterfaceId(1), [198, 18, 0, 1]),
            "by the interface of arrival all the same"
        );
        let on_link = IpAddr::from([198, 18, 0, 6]);
        assert_eq!(back(on_link, InterfaceId(1)), hop(InterfaceId(1), [198, 18, 0, 6]));
        let gateways = routes.gateways();
        let number = routes.to_client(far, InterfaceId(1)).unwrap().gateway.unwrap();
        assert_eq!(Some(gateways[number]), back(far, InterfaceId(1)), "numbered alike in all");
    }

    /// One arm beside an interface towards clients: its gateway is the reals'.
    #[test]
    fn the_reals_default_is_not_that_of_a_port_towards_clients() {
        let interfaces = [interface(Side::Vip, "192.0.2.100/24"), interface(Side::Both, "10.0.0.8/24")];
        let defaults = [
            route("0.0.0.0/0", InterfaceId(0), Some("192.0.2.1")),
            route("0.0.0.0/0", InterfaceId(1), Some("10.0.0.1")),
        ];
        let to_real = |defaults: &[Route]| {
            Routes::new(&interfaces, defaults).to_real(IpAddr::from([172, 20, 0, 5])).map(|hop| hop.interface)
        };
        assert_eq!(
            (to_real(&defaults), to_real(&defaults[..1]), to_real(&[])),
            (Some(InterfaceId(1)), Some(InterfaceId(0)), None)
        );
    }
}
