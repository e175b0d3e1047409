//! The routing table: longest prefix first.

use super::Port;
use super::word_hash::BuildWordHasher;
use crate::ids::{NeighbourKey, PortIndex};
use arrayvec::ArrayVec;
use hashbrown::HashMap;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destinations that it is for.
    pub prefix: Ipv4Net,
    /// The port they leave on.
    pub port: PortIndex,
    /// The gateway; `None`: the destination itself is on the link.
    pub via: Option<Ipv4Addr>,
}

/// Routes that are looked at one by one rather than hashed, at most.
const FEW: usize = 8;

/// The routes: few of them are looked at one by one, more by a hash map for each prefix length. A look-up
/// costs at most 33 probes whatever their number.
#[derive(Debug)]
pub struct Routes {
    /// By netmask, the longest first; in each by network.
    by_length: Vec<(u32, HashMap<u32, Way, BuildWordHasher>)>,
    /// All of them, the longest first; empty if they are too many.
    few: ArrayVec<(u32, u32, Way), FEW>,
    /// By a destination's first byte, which of the few it takes whatever the other bytes are; [`FEW`]: these
    /// decide, or there is none.
    by_first_byte: [u8; 256],
    /// Every gateway once.
    gateways: Vec<NeighbourKey>,
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

impl Routes {
    /// The ports' own prefixes, and `routes`.
    pub fn new(ports: &[Port], routes: &[Route]) -> Self {
        let on_link = (0..).zip(ports).flat_map(|(index, port)| {
            let prefixes = port.addresses.iter();
            prefixes.map(move |prefix| Route { prefix: *prefix, port: index, via: None })
        });
        let mut by_length: Vec<(u32, HashMap<u32, Way, BuildWordHasher>)> = Vec::new();
        let (mut gateways, mut numbers) = (Vec::new(), HashMap::<NeighbourKey, u32>::new());
        for route in on_link.chain(routes.iter().copied()) {
            let mask = route.prefix.netmask().to_bits();
            let place = by_length.binary_search_by(|(other, _)| mask.cmp(other));
            let place = place.unwrap_or_else(|place| {
                by_length.insert(place, (mask, HashMap::default()));
                place
            });
            let gateway = route.via.map(|address| {
                let key = NeighbourKey { port: route.port, address };
                *numbers.entry(key).or_insert_with(|| {
                    gateways.push(key);
                    gateways.len() as u32 - 1
                })
            });
            by_length[place].1.entry(route.prefix.network().to_bits()).or_insert(Way { route, gateway });
        }
        let all = by_length.iter().flat_map(|(mask, ways)| ways.iter().map(|(net, way)| (*mask, *net, *way)));
        let is_few = by_length.iter().map(|(_, ways)| ways.len()).sum::<usize>() <= FEW;
        let few = if is_few { all.collect() } else { ArrayVec::new() };
        let by_first_byte = std::array::from_fn(|byte| decided_by_first_byte(&few, byte as u32) as u8);
        Self { few, by_first_byte, by_length, gateways }
    }

    /// The route to `destination`.
    pub fn find(&self, destination: Ipv4Addr) -> Option<&Route> {
        self.way(destination).map(|way| &way.route)
    }

    /// The host that a packet to `destination` is sent to next.
    pub fn next(&self, destination: Ipv4Addr) -> Option<NeighbourKey> {
        self.next_on_way(destination).map(|next| next.key)
    }

    /// The same, with the number of the gateway.
    #[inline(always)]
    pub fn next_on_way(&self, destination: Ipv4Addr) -> Option<NextOnWay> {
        let Way { route, gateway } = self.way(destination)?;
        let key = NeighbourKey { port: route.port, address: route.via.unwrap_or(destination) };
        Some(NextOnWay { key, gateway: gateway.map(|number| number as usize) })
    }

    #[inline(always)]
    fn way(&self, destination: Ipv4Addr) -> Option<&Way> {
        let decided = self.by_first_byte[usize::from(destination.octets()[0])];
        match self.few.get(usize::from(decided)) {
            Some((.., way)) => Some(way),
            None => self.search(destination.to_bits()),
        }
    }

    #[inline(never)]
    fn search(&self, bits: u32) -> Option<&Way> {
        if self.few.is_empty() {
            return self.by_length.iter().find_map(|(mask, ways)| ways.get(&(bits & mask)));
        }
        self.few.iter().find(|(mask, network, _)| bits & mask == *network).map(|(.., way)| way)
    }

    /// The gateways of all routes, each once.
    pub fn gateways(&self) -> &[NeighbourKey] {
        &self.gateways
    }
}

/// Which of `routes`, the longest first, is for every destination whose first byte is `byte`; [`FEW`] if it is not
/// the same one for all.
fn decided_by_first_byte(routes: &[(u32, u32, Way)], byte: u32) -> usize {
    const FIRST_BYTE: u32 = 0xff << 24;
    let meets = |(mask, network, _): &(u32, u32, Way)| (byte << 24 ^ network) & mask & FIRST_BYTE == 0;
    let first = routes.iter().position(meets).filter(|place| routes[*place].0 & !FIRST_BYTE == 0);
    first.unwrap_or(FEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(prefix: &str, port: PortIndex, via: Option<&str>) -> Route {
        Route { prefix: prefix.parse().unwrap(), port, via: via.map(|via| via.parse().unwrap()) }
    }

    fn routes() -> Vec<Route> {
        vec![
            route("0.0.0.0/0", 0, Some("192.0.2.1")),
            route("10.0.0.0/8", 1, Some("192.0.2.2")),
            route("10.1.0.0/16", 2, None),
            route("10.1.2.3/32", 3, None),
            route("10.0.0.0/8", 9, None),
            route("10.9.0.0/16", 1, Some("192.0.2.2")),
        ]
    }

    fn check(routes: &Routes) {
        let next = |address: &str| routes.next_on_way(address.parse().unwrap()).unwrap();
        let port = |address: &str| next(address).key.port;
        assert_eq!(port("10.1.2.3"), 3);
        assert_eq!(port("10.1.2.4"), 2);
        assert_eq!(port("10.2.0.1"), 1, "the first of equal prefixes counts");
        assert_eq!(port("198.51.100.1"), 0);
        assert_eq!(next("10.2.0.1").key.address, Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(next("10.1.2.4").key.address, Ipv4Addr::new(10, 1, 2, 4));
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
        assert!(few.few.len() == 5);
        check(&few);
    }

    #[test]
    fn many_routes_are_found_as_few_are() {
        let mut many = routes();
        many.extend((0..100).map(|net| route(&format!("172.16.{net}.0/24"), 4, None)));
        let many = Routes::new(&[], &many);
        assert!(many.few.is_empty());
        check(&many);
        assert_eq!(many.next(Ipv4Addr::new(172, 16, 99, 1)).unwrap().port, 4);
    }
}
