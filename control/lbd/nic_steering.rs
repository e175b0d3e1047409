//! Sets the ports' NICs up (hash keys, redirection tables, flow rules), so that packets reach their connection's owner.

use crate::Failure;
use control::nic_steering::{Abilities, Client, Mode, Narrowing, Plan, Preferred, Way, plan};
use dataplane::names::side::Side;
use dataplane::snapshot;
use dataplane::steering::{Family, Indirection, LARGEST_TABLE, OwnerMap, Unsuitable, ZeroWindow, free_key};
use dpdk::{Errno, EthPort, HashType, HashTypes, RssCapabilities, RssConfig, RssRule, RuleRefused};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// Bytes of a key that IPv4 packets are hashed by: 12 bytes of addresses and ports, and 32 bits.
const KEY_OF_IPV4: usize = 16;

/// Bytes of the longest key of a NIC: ice's and i40e's.
const LONGEST_KEY: usize = 52;

/// Drivers that narrow a hash to the source or the destination by flow rules alone.
const BY_RULES: [&str; 3] = ["net_ice", "net_i40e", "net_iavf"];

/// What is asked of a device: an `EthPort`, simulated in tests.
pub(crate) trait Nic {
    /// A flow rule, which goes when it is dropped.
    type Rule;
    fn driver(&self) -> String;
    fn rss_capabilities(&self) -> RssCapabilities;
    fn set_redirection(&self, table: &[u16]) -> Result<(), Errno>;
    fn redirection(&self) -> Result<Vec<u16>, Errno>;
    fn rss(&self) -> Result<RssConfig, Errno>;
    fn set_rss(&self, rss: &RssConfig) -> Result<(), Errno>;
    fn add_rss_rules(&self, rss: &RssConfig) -> Result<[Self::Rule; 2], RuleRefused>;
    fn add_rss_rule_to(
        &self,
        address: IpAddr,
        rss: &RssConfig,
        table: &[u16],
    ) -> Result<Self::Rule, RuleRefused>;
}

impl Nic for EthPort {
    type Rule = RssRule;

    fn driver(&self) -> String {
        self.driver()
    }

    fn rss_capabilities(&self) -> RssCapabilities {
        self.rss_capabilities()
    }

    fn set_redirection(&self, table: &[u16]) -> Result<(), Errno> {
        self.set_redirection(table)
    }

    fn redirection(&self) -> Result<Vec<u16>, Errno> {
        self.redirection()
    }

    fn rss(&self) -> Result<RssConfig, Errno> {
        self.rss()
    }

    fn set_rss(&self, rss: &RssConfig) -> Result<(), Errno> {
        self.set_rss(rss)
    }

    fn add_rss_rules(&self, rss: &RssConfig) -> Result<[RssRule; 2], RuleRefused> {
        self.add_rss_rules(rss)
    }

    fn add_rss_rule_to(
        &self,
        address: IpAddr,
        rss: &RssConfig,
        table: &[u16],
    ) -> Result<RssRule, RuleRefused> {
        match address {
            IpAddr::V4(address) => self.add_rss_rule_to(address, rss, table),
            IpAddr::V6(_) => Err(RuleRefused { errno: Errno::NOT_SUPPORTED, why: "IPv6".to_owned() }),
        }
    }
}

/// The standard library's hash keys come from the system's random source.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// The secret behind the owner map.
enum Key {
    ZeroWindow(ZeroWindow),
    Free([u8; 52]),
    /// No NIC has one.
    None,
}

/// The flow rules of a port.
struct Rules<R> {
    /// Those that narrow the hash of all packets.
    narrowing: Vec<R>,
    /// Those for own addresses.
    to: HashMap<IpAddr, R>,
}

/// The way of each port, and the one map that all of them follow.
pub(crate) struct Steering<N: Nic> {
    pub(crate) ways: Vec<Way>,
    preferred: Preferred,
    map: OwnerMap,
    key: Key,
    /// What a key has behind the bytes that count for IPv4.
    behind_ipv4: Vec<u8>,
    /// By port.
    rules: Vec<Rules<N::Rule>>,
}

impl<N: Nic> Steering<N> {
    /// Chooses for ports with these sides, and draws the secrets.
    pub(crate) fn choose(
        sides: &[Side],
        nics: &[N],
        workers: usize,
        (mode, preferred): (Mode, Preferred),
    ) -> Result<Self, Failure> {
        let abilities = sides.iter().zip(nics).map(|(side, nic)| abilities(*side, nic, preferred));
        let Plan { ways, entries, zero_window } =
            plan(&abilities.collect::<Vec<_>>(), workers, mode, preferred);
        let rules = ways.iter().map(|_| Rules { narrowing: Vec::new(), to: HashMap::new() }).collect();
        let chosen = Indirection::shuffled(entries, workers, random).and_then(|table| {
            let alone = ways.iter().any(|way| matches!(way, Way::ClientAlone { .. }));
            let software = OwnerMap::random(table.clone(), random)?;
            let family = preferred.family();
            let (key, map) = match zero_window {
                Some(hashed) => {
                    let pair = ZeroWindow::random(family, hashed, &table, random)?;
                    (Key::ZeroWindow(pair), pair.owner_map(software)?)
                }
                None if !alone => (Key::None, software),
                None => {
                    let key = free_key(&table, random)?;
                    // A family that no NIC steers keeps the map of software, of which more is secret.
                    let both = ways.iter().any(|way| matches!(way, Way::ClientAlone { both: true, .. }));
                    let mut families =
                        [Family::V4, Family::V6].into_iter().filter(|of| both || *of == family);
                    let map = families.try_fold(software, |map, of| map.with_key(of, &key, of.alone()))?;
                    (Key::Free(key), map)
                }
            };
            let random_bytes = std::iter::repeat_with(|| random().to_le_bytes()).flatten();
            let behind_ipv4 = random_bytes.take(LONGEST_KEY).collect();
            Ok(Self { ways, preferred, map, key, behind_ipv4, rules })
        });
        chosen.map_err(no_map)
    }

    /// What steers packets of which family on a port.
    pub(crate) fn steered_by(&self, index: usize) -> snapshot::Steering {
        self.ways[index].steering(self.preferred)
    }

    /// How packets of a port find their worker, in a line. See [`Way::of_families`].
    pub(crate) fn line(&self, index: usize, families: [bool; 2]) -> String {
        self.ways[index].of_families(self.preferred, families)
    }

    /// Which worker owns a client's connections.
    pub(crate) fn owner_map(&self) -> &OwnerMap {
        &self.map
    }

    /// What the port is to be configured with. One that software steers, as one that no key fits, spreads packets over
    /// its queues by a key of its own; `None`: it hashes nothing, or there is one worker.
    pub(crate) fn rss(&mut self, index: usize, nic: &N) -> Option<RssConfig> {
        let source = match self.ways[index] {
            Way::ZeroWindow { client, .. } | Way::ClientAlone { client, .. } => client == Client::Source,
            Way::OneWorker => return None,
            Way::Software { .. } => return spread(nic),
        };
        match self.config(index, nic, source) {
            Ok(rss) => Some(rss),
            Err(why) => {
                self.fall_back(index, why.to_string());
                spread(nic)
            }
        }
    }

    /// How packets are hashed of which the client is the source, or else the destination.
    fn config(&self, index: usize, nic: &N, source: bool) -> Result<RssConfig, Unsuitable> {
        let told = nic.rss_capabilities();
        let family = self.preferred.family();
        let client = if source { family.source() } else { family.destination() };
        let mut key = match &self.key {
            Key::ZeroWindow(pair) if matches!(self.ways[index], Way::ClientAlone { .. }) => {
                pair.key(family.alone(), told.key_length)?
            }
            Key::ZeroWindow(pair) => pair.key(client, told.key_length)?,
            Key::Free(key) => key.to_vec(),
            // Only where software steers every port.
            Key::None => return Err(Unsuitable::KeyLength(0)),
        };
        key.resize(told.key_length, 0);
        if family == Family::V4 && matches!(self.key, Key::ZeroWindow(_)) {
            // No field of IPv4 reaches these bytes, and most of those of IPv6 do: it is spread over the queues.
            let behind = key.iter_mut().zip(&self.behind_ipv4).skip(KEY_OF_IPV4);
            behind.for_each(|(byte, random)| *byte = *random);
        }
        let mut types: Vec<_> = whole(&told).collect();
        if let Way::ClientAlone { rules: false, .. } = self.ways[index] {
            types.extend(narrowed(source));
        }
        Ok(RssConfig { key, types: types.into_iter().collect() })
    }

    /// Sets what can only be set on a started port, with rules for its `own` addresses if it needs them, and reads it
    /// back. A port that does not take it is steered by software, by this map, and has no rules.
    pub(crate) fn complete(&mut self, index: usize, nic: &N, rss: &RssConfig, own: &HashSet<IpAddr>) {
        let own = own.iter().copied().filter(IpAddr::is_ipv4).collect();
        if let Err(because) = self.try_complete(index, nic, rss, &own) {
            self.rules[index] = Rules { narrowing: Vec::new(), to: HashMap::new() };
            if self.ways[index].has_rules_for_addresses() {
                // By the key for packets from reals one queue would get all that comes for a VIP.
                let told = nic.rss_capabilities();
                let key = std::iter::repeat_with(|| random().to_le_bytes()).flatten().take(told.key_length);
                let (key, types) = (key.collect(), whole(&told).collect());
                if let Err(errno) = nic.set_rss(&RssConfig { key, types }) {
                    log::warn!(
                        "{} takes no other RSS key, so that one worker receives most: {errno}",
                        nic.driver()
                    );
                } else if let Err(errno) = nic.set_redirection(&self.table(nic)) {
                    // mlx5 has a key in force from its next start, which setting the table is.
                    log::warn!("{} refuses the RSS table: {errno}", nic.driver());
                }
            }
            self.fall_back(index, because);
        }
    }

    /// The map's table in the size of the device's.
    fn table(&self, nic: &N) -> Vec<u16> {
        self.map.indirection().repeated(nic.rss_capabilities().table_size).collect()
    }

    /// Once all ports are started: if software steers all of them after all, the map need not be one that a NIC can
    /// follow, of which less is secret.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        if !matches!(self.key, Key::None) && (0..self.ways.len()).all(|index| self.is_software(index)) {
            let table = Indirection::shuffled(LARGEST_TABLE, self.map.workers(), random).map_err(no_map)?;
            self.map = OwnerMap::random(table, random).map_err(no_map)?;
            self.key = Key::None;
        }
        Ok(())
    }

    /// Whether a port is left to software.
    pub(crate) fn is_software(&self, index: usize) -> bool {
        matches!(self.ways[index], Way::Software { .. })
    }

    /// Leaves a port to software.
    pub(crate) fn fall_back(&mut self, index: usize, because: String) {
        self.ways[index] = Way::Software { because };
    }

    fn try_complete(
        &mut self,
        index: usize,
        nic: &N,
        rss: &RssConfig,
        own: &HashSet<IpAddr>,
    ) -> Result<(), String> {
        let driver = nic.driver();
        let table = self.table(nic);
        nic.set_redirection(&table).map_err(|errno| format!("{driver} refuses the RSS table: {errno}"))?;
        if let Way::ClientAlone { client, rules: true, .. } = self.ways[index] {
            let types: HashTypes = narrowed(client == Client::Source).into_iter().collect();
            let rules = nic.add_rss_rules(&RssConfig { key: rss.key.clone(), types });
            let rules = rules.map_err(|why| format!("{driver} refuses the RSS rules: {why}"))?;
            self.rules[index].narrowing.extend(rules);
        }
        if self.ways[index].has_rules_for_addresses() {
            self.follow_on(index, nic, own)?;
        }
        // Not every driver can be asked; if it can, the table must be ours. A rule's key may have replaced the port's.
        if nic.redirection().is_ok_and(|told| told != table) {
            return Err(format!("{driver} has another RSS table than it was given"));
        }
        if nic.rss().is_ok_and(|told| told.key != rss.key) {
            return Err(format!("{driver} has another RSS key than it was given"));
        }
        Ok(())
    }

    /// Has every port that needs rules have one for each `own` address of IPv4, and no other. Returns the ports that
    /// refuse one: these are steered by software from now on, and keep the rules that they have.
    pub(crate) fn follow(&mut self, nics: &[N], own: &mut dyn Iterator<Item = IpAddr>) -> Vec<usize> {
        let mut refusing = Vec::new();
        if !self.ways.iter().any(Way::has_rules_for_addresses) {
            return refusing;
        }
        let own: HashSet<_> = own.filter(IpAddr::is_ipv4).collect();
        for (index, nic) in nics.iter().enumerate() {
            if self.ways[index].has_rules_for_addresses()
                && let Err(because) = self.follow_on(index, nic, &own)
            {
                self.fall_back(index, because);
                refusing.push(index);
            }
        }
        refusing
    }

    fn follow_on(&mut self, index: usize, nic: &N, own: &HashSet<IpAddr>) -> Result<(), String> {
        self.rules[index].to.retain(|address, _| own.contains(address));
        let missing: Vec<_> =
            own.iter().filter(|address| !self.rules[index].to.contains_key(address)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rss = self.config(index, nic, true).map_err(|why| why.to_string())?;
        let table: Vec<_> = self.map.indirection().repeated(self.map.indirection().entries()).collect();
        for address in missing {
            let rule = nic.add_rss_rule_to(*address, &rss, &table).map_err(|why| {
                format!("one-arm, and {} refuses an RSS rule for {address}: {why}", nic.driver())
            })?;
            self.rules[index].to.insert(*address, rule);
        }
        Ok(())
    }
}

fn no_map(why: Unsuitable) -> Failure {
    Failure::Other(format!("no map from clients to workers: {why}"))
}

/// What it can hash of packets, whichever family they are of: those that it steers must reach their worker's queue, the
/// others should not all come to one.
fn whole(told: &RssCapabilities) -> impl Iterator<Item = HashType> {
    use HashType::{Ipv4, Ipv4Fragment, Ipv4Other, Ipv4Tcp, Ipv4Udp};
    use HashType::{Ipv6, Ipv6Fragment, Ipv6Other, Ipv6Tcp, Ipv6Udp};
    let all = [
        [Ipv4, Ipv4Fragment, Ipv4Tcp, Ipv4Udp, Ipv4Other],
        [Ipv6, Ipv6Fragment, Ipv6Tcp, Ipv6Udp, Ipv6Other],
    ];
    all.into_iter().flatten().filter(|kind| told.types.contains(*kind))
}

/// What lets a NIC that software steers spread packets: without it all of them come to the first queue of most NICs.
/// Not every NIC that hashes says so of its key and table: vmxnet3 does not.
fn spread(nic: &impl Nic) -> Option<RssConfig> {
    let types: Vec<_> = whole(&nic.rss_capabilities()).collect();
    (!types.is_empty()).then(|| RssConfig { key: Vec::new(), types: types.into_iter().collect() })
}

fn narrowed(source: bool) -> [HashType; 2] {
    if source {
        [HashType::SourceAddressOnly, HashType::SourcePortOnly]
    } else {
        [HashType::DestinationAddressOnly, HashType::DestinationPortOnly]
    }
}

fn abilities(side: Side, nic: &impl Nic, preferred: Preferred) -> Abilities {
    let told = nic.rss_capabilities();
    let has = |kind| told.types.contains(kind);
    let driver = nic.driver();
    let narrows = |source: bool| narrowed(source).into_iter().all(has);
    let narrowing = if (side == Side::Dip || narrows(true)) && (side == Side::Vip || narrows(false)) {
        Narrowing::Port
    } else if BY_RULES.contains(&driver.as_str()) {
        Narrowing::Rules
    } else {
        Narrowing::None
    };
    let hashes = [
        (has(HashType::Ipv4), has(HashType::Ipv4Tcp) && has(HashType::Ipv4Udp)),
        (has(HashType::Ipv6), has(HashType::Ipv6Tcp) && has(HashType::Ipv6Udp)),
    ];
    let (this, other) = match preferred {
        Preferred::Ipv4 => (hashes[0], hashes[1]),
        Preferred::Ipv6 => (hashes[1], hashes[0]),
    };
    Abilities {
        driver,
        side,
        table_size: told.table_size,
        key_length: told.key_length,
        hashes_addresses: this.0,
        hashes_ports: this.1,
        hashes_other_ports: other.1,
        narrowing,
    }
}

#[cfg(test)]
mod tests;
