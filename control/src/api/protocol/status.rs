//! Under `ok` of `status`.

use super::Counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Under `ok` of `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of natlb.
    pub version: String,
    /// With the commit that was built; empty: not known, as of an `lbd` that does not say.
    #[serde(default)]
    pub build: String,
    /// Release of DPDK.
    pub dpdk: String,
    /// Since `ready`.
    pub uptime_s: u64,
    /// The version in force.
    pub config_version: u64,
    /// In the order of the file.
    pub ports: Vec<PortView>,
    /// In the order of the file.
    pub workers: Vec<WorkerView>,
    /// Connections that outlive the process; `None`: an `lbd` that does not say.
    #[serde(default)]
    pub kept: Option<KeptView>,
    /// By reason; those above 0.
    pub drops: BTreeMap<String, u64>,
    /// What an operator should know of: lacks of a device, partial checksums, merged segments …
    pub notes: Vec<String>,
}

/// An `EthPort` in `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortView {
    /// From the file.
    pub name: String,
    /// `vip`, `dip` or `both`.
    pub side: String,
    /// DPDK's name of the driver.
    pub driver: String,
    /// Its MAC.
    pub mac: String,
    /// Its MTU: the largest IPv4 packet that leaves on it, in bytes; 0: an `lbd` that does not say.
    #[serde(default)]
    pub mtu: u16,
    /// Whether there is a link.
    pub link_up: bool,
    /// How packets find their worker.
    pub steering: String,
    /// Whether its driver counts what came while no buffer was free (`rx_missed`).
    #[serde(default = "yes")]
    pub rx_missed_known: bool,
    /// The host's interface that it stands on.
    #[serde(default)]
    pub interface: Option<InterfaceView>,
    /// Buffers of its pools that are in use, by the device or the packet path.
    #[serde(default)]
    pub buffers_in_use: u64,
    /// Buffers of its pools.
    #[serde(default)]
    pub buffers: u64,
    /// [`PortCounters`](dataplane::counters::PortCounters), 0 where one is not known, and what the workers count of the
    /// port, all of them together.
    #[serde(flatten)]
    pub counted: Counted,
}

/// What the kernel has counted on an interface since the start of `lbd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Frames received, by the kernel's stack or by `lbd`.
    pub rx_packets: u64,
    /// Frames that the kernel had no use or no memory for.
    pub rx_dropped: u64,
    /// Frames that the interface's own device lost.
    pub rx_missed: u64,
}

/// The default: an `lbd` that does not say so counts them.
fn yes() -> bool {
    true
}

/// Connections that outlive the process, in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptView {
    /// The folder of the connection tables; `None`: this process's connections end with it.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// The memory that the tables are in, in words.
    pub backing: String,
    /// The number of this process's files.
    pub generation: Option<u64>,
    /// What earlier processes have left; `None`: nothing.
    pub inherited: Option<InheritedView>,
}

/// What was taken over of earlier processes, in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InheritedView {
    /// Connections.
    pub connections: u64,
    /// Clients that stay with a real.
    pub templates: u64,
    /// Connections that were not taken over, by reason.
    pub given_up: BTreeMap<String, u64>,
    /// Clients that were forgotten.
    pub templates_given_up: u64,
    /// For how long the connection was silent, at the time it was taken over, that was so for longest, in seconds.
    pub oldest_s: u64,
    /// From the last turn of the process before until all workers forwarded, in milliseconds; `None`: they do not yet,
    /// or the process before did not come so far.
    pub gap_ms: Option<u64>,
    /// What taking over took, in milliseconds, or has taken so far.
    pub import_ms: u64,
    /// Workers are at it.
    pub in_progress: bool,
}

impl InheritedView {
    /// The reasons of `given_up` that there can be: its real is not known any more, it had expired meanwhile, there was
    /// no room for it, or what was left of it is damaged.
    pub const REASONS: [&str; 4] = ["unknown_real", "expired", "no_room", "damaged"];
}

/// A worker in `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// From 0.
    pub id: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Share of time in turns that had packets, 0 to 1, over the last seconds.
    pub busy_share: f64,
    /// TSC cycles a packet, received or taken over, in those turns.
    pub cycles_per_packet: f64,
    /// Packets handled at once, on average.
    #[serde(default)]
    pub packets_per_burst: f64,
    /// Connections of IPv4 that its table holds.
    pub capacity: u64,
    /// Likewise of IPv6; 0: no port has an IPv6 address.
    #[serde(default)]
    pub capacity_ipv6: u64,
    /// [`WorkerCounters`](dataplane::counters::WorkerCounters).
    #[serde(flatten)]
    pub counted: Counted,
}
