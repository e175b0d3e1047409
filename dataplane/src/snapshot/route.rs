//! The routing table: longest prefix first.

use super::Port;
use super::word_hash::BuildWordHasher;
use crate::ids::{NeighbourKey, PortIndex};
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

/// The routes, one hash map for each prefix length: a look-up costs at most 33 probes whatever
/// their number.
#[derive(Debug, Default)]
pub struct Routes {
    /// By netmask, the longest first; in each by network.
    by_length: Vec<(u32, HashMap<u32, Route, BuildWordHasher>)>,
}

impl Routes {
    /// The ports' own prefixes, and `routes`.
    pub fn new(ports: &[Port], routes: &[Route]) -> Self {
        let on_link = (0..).zip(ports).flat_map(|(index, port)| {
            let prefixes = port.addresses.iter();
            prefixes.map(move |prefix| Route { prefix: *prefix, port: index, via: None })
        });
        let mut by_length: Vec<(u32, HashMap<u32, Route, BuildWordHasher>)> = Vec::new();
        for route in on_link.chain(routes.iter().copied()) {
            let mask = route.prefix.netmask().to_bits();
            let place = by_length.binary_search_by(|(other, _)| mask.cmp(other));
            let place = place.unwrap_or_else(|place| {
                by_length.insert(place, (mask, HashMap::default()));
                place
            });
            by_length[place].1.entry(route.prefix.network().to_bits()).or_insert(route);
        }
        Self { by_length }
    }

    /// The route to `destination`.
    pub fn find(&self, destination: Ipv4Addr) -> Option<&Route> {
        self.by_length.iter().find_map(|(mask, routes)| routes.get(&(destination.to_bits() & mask)))
    }

    /// The host that a packet to `destination` is sent to next.
    pub fn next(&self, destination: Ipv4Addr) -> Option<NeighbourKey> {
        let route = self.find(destination)?;
        Some(NeighbourKey { port: route.port, address: route.via.unwrap_or(destination) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(prefix: &str, port: PortIndex, via: Option<&str>) -> Route {
        Route { prefix: prefix.parse().unwrap(), port, via: via.map(|via| via.parse().unwrap()) }
    }

    #[test]
    fn the_longest_prefix_wins_and_the_default_comes_last() {
        let routes = Routes::new(
            &[],
            &[
                route("0.0.0.0/0", 0, Some("192.0.2.1")),
                route("10.0.0.0/8", 1, Some("192.0.2.2")),
                route("10.1.0.0/16", 2, None),
                route("10.1.2.3/32", 3, None),
                route("10.0.0.0/8", 9, None),
            ],
        );
        let port = |address: &str| routes.find(address.parse().unwrap()).unwrap().port;
        assert_eq!(port("10.1.2.3"), 3);
        assert_eq!(port("10.1.2.4"), 2);
        assert_eq!(port("10.2.0.1"), 1, "the first of equal prefixes counts");
        assert_eq!(port("198.51.100.1"), 0);
        let next = routes.next("10.2.0.1".parse().unwrap()).unwrap();
        assert_eq!(next.address, Ipv4Addr::new(192, 0, 2, 2));
    }
}
