//! What the ports' NICs are told, so that packets reach their connection's owner.

use crate::Failure;
use control::config::{self, Config};
use control::steering::{Abilities, Narrowing, Plan, Way, plan};
use dataplane::snapshot::Side;
use dataplane::steering::{ClientBits, Family, Indirection, OwnerMap, Unsuitable, ZeroWindow, free_key};
use dpdk::{EthPort, HashType, HashTypes, RssConfig};
use std::hash::{BuildHasher, RandomState};

/// Drivers that narrow a hash to the source or the destination by flow rules alone.
const BY_RULES: [&str; 3] = ["net_ice", "net_i40e", "net_iavf"];

/// The secret behind the owner map.
enum Key {
    ZeroWindow(ZeroWindow),
    Free([u8; 52]),
}

/// The way of each port, and the one map that all of them follow.
pub(crate) struct Steering {
    pub(crate) ways: Vec<Way>,
    map: OwnerMap,
    key: Key,
}

impl Steering {
    /// Chooses, and draws the secrets.
    pub(crate) fn choose(config: &Config, ports: &[EthPort]) -> Result<Self, Failure> {
        let abilities: Vec<_> =
            config.ports.iter().zip(ports).map(|(configured, port)| abilities(configured, port)).collect();
        let workers = config.eal.workers.len();
        let Plan { ways, entries, zero_window } = plan(&abilities, workers, config.steering);
        // The standard library's hash keys come from the system's random source.
        let random = || RandomState::new().hash_one(workers);
        let chosen = Indirection::shuffled(entries, workers, random).and_then(|table| {
            let (key, map) = match zero_window {
                Some(hashed) => {
                    let pair = ZeroWindow::random(Family::V4, hashed, &table, random)?;
                    (Key::ZeroWindow(pair), pair.owner_map(table)?)
                }
                None => {
                    let key = free_key(&table, random)?;
                    (Key::Free(key), OwnerMap::from_key(&key, ClientBits::ALONE, table)?)
                }
            };
            Ok(Self { ways, map, key })
        });
        chosen.map_err(|why: Unsuitable| Failure::Other(format!("no map from clients to workers: {why}")))
    }

    /// Which worker owns a client's connections.
    pub(crate) fn owner_map(&self) -> &OwnerMap {
        &self.map
    }

    /// What the port is to be configured with; `None` if it is steered by software.
    pub(crate) fn rss(&self, index: usize, side: Side, port: &EthPort) -> Option<RssConfig> {
        let told = port.rss_capabilities();
        let length = told.key_length;
        let client = match (&self.ways[index], side) {
            (Way::ClientAlone { .. }, _) => ClientBits::ALONE,
            (Way::ZeroWindow { .. }, Side::Dip) => ClientBits::DESTINATION,
            (Way::ZeroWindow { .. }, _) => ClientBits::SOURCE,
            (Way::OneWorker | Way::Software { .. }, _) => return None,
        };
        let mut key = match &self.key {
            // The plan takes no port with a key that is too short.
            Key::ZeroWindow(pair) => pair.key(client, length).ok()?,
            Key::Free(key) => key.to_vec(),
        };
        key.resize(length, 0);
        let mut types: Vec<_> = [
            HashType::Ipv4,
            HashType::Ipv4Fragment,
            HashType::Ipv4Tcp,
            HashType::Ipv4Udp,
            HashType::Ipv4Other,
        ]
        .into_iter()
        .filter(|kind| told.types.contains(*kind))
        .collect();
        if let Way::ClientAlone { source, rules: false } = self.ways[index] {
            types.extend(narrowed(source));
        }
        Some(RssConfig { key, types: types.into_iter().collect() })
    }

    /// Completes what can be set on a started port alone, and reads it back. A port that does not take
    /// it is steered by software, by the same map.
    pub(crate) fn complete(&mut self, index: usize, port: &EthPort, rss: &RssConfig) {
        if let Err(because) = self.try_complete(index, port, rss) {
            self.fall_back(index, because);
        }
    }

    /// Leaves a port to software.
    pub(crate) fn fall_back(&mut self, index: usize, because: String) {
        self.ways[index] = Way::Software { because };
    }

    fn try_complete(&self, index: usize, port: &EthPort, rss: &RssConfig) -> Result<(), String> {
        let driver = port.driver();
        let table: Vec<_> = self.map.indirection().repeated(port.rss_capabilities().table_size).collect();
        port.set_redirection(&table).map_err(|errno| format!("{driver} refuses the RSS table: {errno}"))?;
        if let Way::ClientAlone { source, rules: true } = self.ways[index] {
            let types: HashTypes = narrowed(source).into_iter().collect();
            let rules = RssConfig { key: rss.key.clone(), types };
            port.add_rss_rules(&rules).map_err(|errno| format!("{driver} refuses the RSS rules: {errno}"))?;
        }
        // Not every driver tells; one that does must tell the same.
        if port.redirection().is_ok_and(|told| told != table) {
            return Err(format!("{driver} has another RSS table than it was given"));
        }
        if port.rss().is_ok_and(|told| told.key != rss.key) {
            return Err(format!("{driver} has another RSS key than it was given"));
        }
        Ok(())
    }
}

fn narrowed(source: bool) -> [HashType; 2] {
    if source {
        [HashType::SourceAddressOnly, HashType::SourcePortOnly]
    } else {
        [HashType::DestinationAddressOnly, HashType::DestinationPortOnly]
    }
}

fn abilities(configured: &config::Port, port: &EthPort) -> Abilities {
    let told = port.rss_capabilities();
    let has = |kind| told.types.contains(kind);
    let driver = port.driver();
    let narrowing = if narrowed(configured.side != Side::Dip).into_iter().all(has) {
        Narrowing::Port
    } else if BY_RULES.contains(&driver.as_str()) {
        Narrowing::Rules
    } else {
        Narrowing::None
    };
    Abilities {
        driver,
        side: configured.side,
        table_size: told.table_size,
        key_length: told.key_length,
        hashes_addresses: has(HashType::Ipv4),
        hashes_ports: has(HashType::Ipv4Tcp) && has(HashType::Ipv4Udp),
        narrowing,
    }
}
