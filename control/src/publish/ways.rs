//! The hosts that packets to reals are sent to next, and how much depends on each.

use crate::model::{Model, Network, Service};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::NeighbourKey;
use hashbrown::HashMap;
use std::sync::Arc;

/// Which hosts a model's reals are reached by.
#[derive(Debug)]
pub struct Ways {
    /// The model that was followed last.
    followed: Model,
    behind: HashMap<NeighbourKey, Behind>,
}

/// The reals behind a host.
#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    reals: u32,
    /// Those that take new connections.
    in_use: u32,
}

impl Default for Ways {
    fn default() -> Self {
        Self { followed: Model::new(TimeoutSeconds::default()), behind: HashMap::new() }
    }
}

impl Ways {
    /// Follows a model where ways are others than before. Returns all that are or were.
    pub fn follow_anew(&mut self, model: &Model, network: &Network) -> HashMap<NeighbourKey, Option<u32>> {
        let Self { behind, .. } = std::mem::take(self);
        let mut changed = self.follow(model, network);
        for way in behind.into_keys() {
            changed.entry(way).or_insert(None);
        }
        changed
    }

    /// Follows a model. Returns the hosts for which something has changed, each with the number of reals behind it that
    /// take new connections; `None`: there is no real behind it any more. Takes time in proportion to what has changed
    /// in the model.
    pub fn follow(&mut self, model: &Model, network: &Network) -> HashMap<NeighbourKey, Option<u32>> {
        let mut changed = HashMap::new();
        for change in model.differences(&self.followed) {
            for (service, is_now) in [(change.now, true), (change.before, false)] {
                for (way, is_in_use) in ways(service, network) {
                    let behind = self.behind.entry(way).or_default();
                    let count = |number: &mut u32, by: bool| {
                        *number = if is_now { *number + u32::from(by) } else { *number - u32::from(by) };
                    };
                    count(&mut behind.reals, true);
                    count(&mut behind.in_use, is_in_use);
                    changed.insert(way, None);
                }
            }
        }
        self.followed = model.clone();
        for (way, in_use) in &mut changed {
            *in_use = self.behind.get(way).filter(|behind| behind.reals > 0).map(|behind| behind.in_use);
            if in_use.is_none() {
                self.behind.remove(way);
            }
        }
        changed
    }
}

/// The ways to a service's reals, each with whether the real takes new connections.
fn ways<'a>(
    service: Option<&'a Arc<Service>>,
    network: &'a Network,
) -> impl Iterator<Item = (NeighbourKey, bool)> + 'a {
    let reals = service.into_iter().flat_map(|service| &service.reals);
    reals.filter_map(|real| Some((network.way_to_real(real.endpoint.ip())?, real.weight > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change;
    use crate::config;
    use dataplane::names::ids::InterfaceId;
    use dataplane::names::mac::Mac;
    use dataplane::snapshot::Steering;

    const FILE: &str = "[[port]]\nname = \"vip0\"\nside = \"vip\"\ndevice = \"a\"\naddresses = [\"192.0.2.100/24\"]\n\
                        [[port]]\nname = \"dip0\"\nside = \"dip\"\ndevice = \"b\"\naddresses = [\"10.0.0.8/24\"]\n\
                        gateway = \"10.0.0.1\"\n";

    #[test]
    fn reals_count_for_their_next_hop_and_only_what_has_changed_is_told() {
        let network =
            config::parse(FILE).unwrap().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software));
        let model = |reals: &[(&str, u32)]| {
            let service = "-A -t 192.0.2.1:80".to_owned();
            let reals =
                reals.iter().map(|(real, weight)| format!("-a -t 192.0.2.1:80 -r {real} -m -w {weight}"));
            let lines: Vec<String> = std::iter::once(service).chain(reals).collect();
            change::restore(&Model::new([1; 3].into()), &network, lines.iter().map(String::as_str)).unwrap()
        };
        let key = |last| NeighbourKey { interface: InterfaceId(1), address: [10, 0, 0, last].into() };
        let mut ways = Ways::default();
        let mut follow = |reals: &[(&str, u32)]| {
            let mut changed: Vec<_> = ways.follow(&model(reals), &network).into_iter().collect();
            changed.sort();
            changed
        };
        let both = [("10.0.0.7:80", 1), ("198.51.100.1:80", 2), ("198.51.100.2:80", 0)];
        assert_eq!(follow(&both), [(key(1), Some(1)), (key(7), Some(1))]);
        assert_eq!(follow(&both[1..]), [(key(1), Some(1)), (key(7), None)]);
        assert_eq!(follow(&both[2..]), [(key(1), Some(0))]);
        assert_eq!(follow(&[]), [(key(1), None)]);
        assert_eq!(follow(&[]), []);
        assert!(ways.behind.is_empty());
    }

    #[test]
    fn other_routes_are_other_ways() {
        let network = |gateway: &str| {
            let file = FILE.replace("10.0.0.1\"", gateway);
            config::parse(&file).unwrap().network(|_| (Mac([2, 0, 0, 0, 0, 1]), 1500, Steering::Software))
        };
        let (before, after) = (network("10.0.0.1\""), network("10.0.0.2\""));
        let lines = [
            "-A -t 192.0.2.1:80",
            "-a -t 192.0.2.1:80 -r 198.51.100.1:80 -m",
            "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -m",
        ];
        let model = change::restore(&Model::new([1; 3].into()), &before, lines).unwrap();
        let key = |last| NeighbourKey { interface: InterfaceId(1), address: [10, 0, 0, last].into() };
        let mut ways = Ways::default();
        let sorted = |changed: HashMap<_, _>| {
            let mut changed: Vec<_> = changed.into_iter().collect();
            changed.sort();
            changed
        };
        assert_eq!(sorted(ways.follow(&model, &before)), [(key(1), Some(1)), (key(7), Some(1))]);
        let all = [(key(1), None), (key(2), Some(1)), (key(7), Some(1))];
        assert_eq!(sorted(ways.follow_anew(&model, &after)), all);
        assert_eq!(sorted(ways.follow(&model, &after)), []);
    }
}
