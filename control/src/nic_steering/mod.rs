//! Which way each `EthPort`'s packets find their worker. Pure: from what the devices say.
//!
//! All ports follow one owner map, so what suits one must suit all: the table has the size that every
//! NIC in use can hold, and ports count only if all of these hash them. Whatever is chosen, software
//! can stand in for a NIC with the same map.

use dataplane::names::side::Side;
use dataplane::snapshot::Steering;
use dataplane::steering::{Family, Hashed, LARGEST_TABLE, SMALLEST_TABLE};
use std::fmt;

/// `[steering] mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The NIC where it can, best with a zero-window key; else software.
    #[default]
    Auto,
    /// The NIC where it can hash the client's fields alone; else software.
    SourceOnly,
    /// Software on every port.
    Software,
}

/// The family that a NIC steers where it can steer one alone, since a zero-window key is for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preferred {
    /// IPv4 by the NIC, IPv6 by software.
    #[default]
    Ipv4,
    /// IPv6 by the NIC, IPv4 by software.
    Ipv6,
}

impl Preferred {
    /// The family.
    pub const fn family(self) -> Family {
        match self {
            Self::Ipv4 => Family::V4,
            Self::Ipv6 => Family::V6,
        }
    }
}

/// How a device can be made to hash the source's, or the destination's, fields alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrowing {
    /// Not.
    None,
    /// When the port is configured.
    Port,
    /// By flow rules.
    Rules,
}

/// What a device says of its receive-side scaling (RSS), and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// DPDK's name of the driver.
    pub driver: String,
    /// Where the port leads.
    pub side: Side,
    /// Entries of its redirection table; 0: none.
    pub table_size: usize,
    /// Bytes of its hash key; 0: it can't be set.
    pub key_length: usize,
    /// Whether addresses of all packets of the [`Preferred`] family can be hashed.
    pub hashes_addresses: bool,
    /// Whether addresses and ports of TCP and UDP over that can be hashed.
    pub hashes_ports: bool,
    /// Whether those of the other family can, too.
    pub hashes_other_ports: bool,
    /// Whether the hash can be narrowed to one end.
    pub narrowing: Narrowing,
}

/// Which end of a port's packets is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The source of all packets.
    Source,
    /// The destination of all packets.
    Destination,
    /// One-arm: of those to an own address the source, of all others the destination. The device has a flow rule
    /// for each own address.
    Either,
}

/// How packets of a port find their worker. Its text is what `status` shows of a port with addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// There is one.
    OneWorker,
    /// The NIC hashes all fields, under a key by which only the client's count.
    ZeroWindow {
        /// What of the client counts.
        hashed: Hashed,
        /// Where the client is.
        client: Client,
    },
    /// The NIC hashes the client's fields alone.
    ClientAlone {
        /// Where the client is.
        client: Client,
        /// Whether flow rules are needed for it.
        rules: bool,
        /// Whether it does so for both families.
        both: bool,
    },
    /// Whichever worker receives a packet hands it to its owner.
    Software {
        /// Why no NIC does it.
        because: String,
    },
}

impl Way {
    /// What steers packets of which family, if a NIC that can steer one alone does so for this one.
    pub const fn steering(&self, preferred: Preferred) -> Steering {
        match (self, preferred) {
            (Self::OneWorker | Self::Software { .. }, _) => Steering::Software,
            (Self::ClientAlone { both: true, .. }, _) => Steering::Device,
            (Self::ZeroWindow { .. } | Self::ClientAlone { .. }, Preferred::Ipv4) => Steering::DeviceForIpv4,
            (Self::ZeroWindow { .. } | Self::ClientAlone { .. }, Preferred::Ipv6) => Steering::DeviceForIpv6,
        }
    }

    /// Its text, on a port that has addresses of IPv4, of IPv6 or of both: what becomes of each.
    pub fn of_families(&self, preferred: Preferred, [ipv4, ipv6]: [bool; 2]) -> String {
        let steering = self.steering(preferred);
        let because = match (self, preferred) {
            (Self::ZeroWindow { .. }, Preferred::Ipv4) => {
                "one RSS key can't serve both, and IPv4 is preferred"
            }
            (Self::ZeroWindow { .. }, Preferred::Ipv6) => {
                "one RSS key can't serve both, and IPv6 is preferred"
            }
            _ => "its RSS can't hash the client of that alone",
        };
        match (ipv4 && ipv6, steering) {
            (_, Steering::Software) => self.to_string(),
            (true, Steering::Device) => format!("IPv4 and IPv6 {self}"),
            (true, Steering::DeviceForIpv4) => format!("IPv4 {self}; IPv6 by software: {because}"),
            (true, Steering::DeviceForIpv6) => format!("IPv6 {self}; IPv4 by software: {because}"),
            (false, Steering::DeviceForIpv4) if ipv6 => format!("by software: {because}"),
            (false, Steering::DeviceForIpv6) if ipv4 => format!("by software: {because}"),
            (false, _) => self.to_string(),
        }
    }

    /// Whether the device needs a flow rule for each own address.
    pub fn has_rules_for_addresses(&self) -> bool {
        matches!(self, Self::ZeroWindow { client, .. } | Self::ClientAlone { client, .. } if *client == Client::Either)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneWorker => f.write_str("one worker: all packets are its own"),
            Self::ZeroWindow { hashed, client } => {
                f.write_str("by the NIC: RSS by client address")?;
                f.write_str(match hashed {
                    Hashed::AddressesAndPorts => " and port",
                    Hashed::Addresses => "; ports can't be hashed",
                })?;
                f.write_str(if *client == Client::Either { "; a rule for each VIP" } else { "" })
            }
            Self::ClientAlone { client, rules, .. } => {
                f.write_str(match client {
                    Client::Source => "by the NIC: source-only RSS",
                    Client::Destination => "by the NIC: destination-only RSS",
                    Client::Either => {
                        "by the NIC: source-only RSS by a rule for each VIP, else destination-only"
                    }
                })?;
                f.write_str(if *rules { " (flow rules)" } else { "" })
            }
            Self::Software { because } => write!(f, "by software: {because}"),
        }
    }
}

/// What was chosen for all ports together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each port.
    pub ways: Vec<Way>,
    /// Entries of the owner map's table.
    pub entries: usize,
    /// The fields that distinguish clients, if the map's key must have a zero window; `None`: it is free.
    pub zero_window: Option<Hashed>,
}

/// Devices that list RSS types or tables, or may in a later release, and do not hash by key and table.
const WITHOUT_RSS: [&str; 10] = [
    "net_null",
    "net_tap",
    "net_af_packet",
    "net_af_xdp",
    "net_memif",
    "net_pcap",
    "net_ring",
    "net_vhost",
    "net_virtio_user",
    "net_tun",
];

/// Bytes of a key that are used if addresses and ports of both ends are hashed: the fields, and 32 bits.
const fn key_of_all_fields(family: Family) -> usize {
    2 * (family.address_bits() / 8 + 2) + 4
}

/// Bytes of a key that are used if the client's fields are hashed alone: these, and 32 bits.
const fn key_of_client(family: Family) -> usize {
    family.address_bits() / 8 + 2 + 4
}

/// The smallest table for zero-window keys, if the NIC has so small a one: the smaller the table, the more
/// of such a key is secret.
const ENOUGH_ENTRIES: usize = 128;

/// Chooses for `workers` workers.
pub fn plan(ports: &[Abilities], workers: usize, mode: Mode, preferred: Preferred) -> Plan {
    if workers <= 1 {
        let ways = vec![Way::OneWorker; ports.len()];
        return Plan { ways, entries: SMALLEST_TABLE, zero_window: None };
    }
    let mut ways: Vec<_> = ports.iter().map(|port| way(port, workers, mode, preferred)).collect();
    let in_use = |way: &Way| !matches!(way, Way::Software { .. });
    let tables = ports.iter().zip(&ways).filter(|(_, way)| in_use(way)).map(|(port, _)| port.table_size);
    let room = tables.fold(LARGEST_TABLE, usize::min);

    // Ports count if all that use such keys hash them.
    let hashed = ways.iter().filter_map(|way| match way {
        Way::ZeroWindow { hashed, .. } => Some(*hashed),
        _ => None,
    });
    let zero_window = hashed.reduce(|all, one| if one == Hashed::Addresses { one } else { all });
    if let Some(common) = zero_window {
        for way in &mut ways {
            match way {
                Way::ZeroWindow { hashed, .. } => *hashed = common,
                // The map is then made of that key's patterns, which are for one family.
                Way::ClientAlone { both, .. } => *both = false,
                Way::OneWorker | Way::Software { .. } => {}
            }
        }
    }
    let entries = if zero_window.is_some() { even_enough(workers).min(room) } else { room };
    Plan { ways, entries, zero_window }
}

/// The smallest table from [`ENOUGH_ENTRIES`] on in which no worker has 5 % more than its even share.
fn even_enough(workers: usize) -> usize {
    let even = |entries: &usize| 20 * entries.div_ceil(workers) * workers <= 21 * entries;
    let mut sizes = std::iter::successors(Some(ENOUGH_ENTRIES), |size| Some(size * 2));
    sizes.find(|size| *size >= LARGEST_TABLE || even(size)).unwrap_or(LARGEST_TABLE)
}

fn way(port: &Abilities, workers: usize, mode: Mode, preferred: Preferred) -> Way {
    let family = preferred.family();
    let name = if family == Family::V4 { "IPv4" } else { "IPv6" };
    let software = |because: String| Way::Software { because };
    if mode == Mode::Software {
        return software("[steering] mode says so".into());
    }
    if WITHOUT_RSS.contains(&port.driver.as_str()) || port.table_size == 0 {
        return software(format!("{} has no RSS with a table to set", port.driver));
    }
    let size = port.table_size;
    let least = SMALLEST_TABLE.max(workers.next_power_of_two());
    if !size.is_power_of_two() || size < least {
        return software(format!(
            "its RSS table has {size} entries; a power of two from {least} on is needed"
        ));
    }
    if port.key_length == 0 {
        return software("its RSS key can't be set".into());
    }
    if !port.hashes_ports && !port.hashes_addresses {
        return software(format!("its RSS does not hash TCP and UDP over {name}"));
    }
    let hashed = if port.hashes_ports { Hashed::AddressesAndPorts } else { Hashed::Addresses };
    let client = match port.side {
        Side::Vip => Client::Source,
        Side::Dip => Client::Destination,
        Side::Both => Client::Either,
    };
    let rules = port.narrowing == Narrowing::Rules;
    let has_rules = rules || client == Client::Either;
    let key_of_all_fields = key_of_all_fields(family);
    let alone =
        port.narrowing != Narrowing::None && port.hashes_ports && port.key_length >= key_of_client(family);
    if has_rules && family == Family::V6 && (client == Client::Either || mode == Mode::SourceOnly) {
        return software("its rules are for IPv4 alone".into());
    }
    if alone
        && !(rules && family == Family::V6)
        && (mode == Mode::SourceOnly || port.key_length < key_of_all_fields)
    {
        if rules && client == Client::Either {
            return software("one-arm, and its RSS is narrowed by rules that take no address".into());
        }
        let both = !has_rules && port.hashes_other_ports && port.key_length >= key_of_client(Family::V6);
        return Way::ClientAlone { client, rules, both };
    }
    if mode == Mode::SourceOnly {
        return software("its RSS can't hash the source or the destination alone".into());
    }
    if port.key_length < key_of_all_fields {
        return software(format!(
            "its RSS key has {} bytes; {key_of_all_fields} are needed",
            port.key_length
        ));
    }
    Way::ZeroWindow { hashed, client }
}

#[cfg(test)]
mod tests;
