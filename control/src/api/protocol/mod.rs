//! What `lbctl` and `lbd` say to each other: one JSON object a line, over a Unix stream socket.

mod lines;
mod timeouts;

pub use lines::{FaultyLine, FaultyLines, Lines};

use crate::text::addresses::Listen;
use dataplane::connection::TimeoutSeconds;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};

/// The version of the protocol, in every line.
pub const VERSION: u32 = 1;

/// The longest request line that `lbd` reads, in bytes: a `restore` of 65,536 reals and 4,096 services fits three
/// times.
pub const LONGEST_LINE: usize = 16 << 20;

/// The longest one that is no `restore`.
pub const LONGEST_OTHER_LINE: usize = 64 << 10;

/// A request line: `{"v":1,"command":"add-real",…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// The commands, with the long names of the options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Create a service.
    AddService {
        /// Which.
        service: Listen,
        /// By name; absent: `wrr`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduler: Option<String>,
        /// Persistence in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        persistence: Option<u32>,
    },
    /// Change a service; what is absent stays.
    EditService {
        /// Which.
        service: Listen,
        /// By name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduler: Option<String>,
        /// Persistence in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        persistence: Option<u32>,
    },
    /// Remove a service with its reals.
    DelService {
        /// Which.
        service: Listen,
    },
    /// Add a real.
    AddReal {
        /// To which service.
        service: Listen,
        /// Address and port; the client fills in the service's port where none was given.
        #[serde(deserialize_with = "ipv4_endpoint")]
        real: SocketAddr,
        /// 0 to 65535; absent: 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u32>,
        /// Connections at which no more are given; 0: no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upper_threshold: Option<u32>,
        /// Connections below which more are given again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lower_threshold: Option<u32>,
    },
    /// Change a real; what is absent stays.
    EditReal {
        /// Of which service.
        service: Listen,
        /// Which.
        #[serde(deserialize_with = "ipv4_endpoint")]
        real: SocketAddr,
        /// 0 to 65535.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u32>,
        /// See [`Command::AddReal`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upper_threshold: Option<u32>,
        /// See [`Command::AddReal`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lower_threshold: Option<u32>,
    },
    /// Remove a real.
    DelReal {
        /// Of which service.
        service: Listen,
        /// Which.
        #[serde(deserialize_with = "ipv4_endpoint")]
        real: SocketAddr,
    },
    /// Weight 0; the answer says how many connections live. (`--wait` is the client's: it asks again.)
    Drain {
        /// Of which service.
        service: Listen,
        /// Which.
        #[serde(deserialize_with = "ipv4_endpoint")]
        real: SocketAddr,
    },
    /// Services and reals with weights and connections.
    List {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// With counters.
    Stats {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// With rates.
    Rate {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// Every connection.
    Connections {
        /// Only of this service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// Show or change the timeouts.
    Timeouts {
        /// 0 leaves one as it is.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "timeouts")]
        set: Option<TimeoutSeconds>,
    },
    /// Reset the counters.
    // Braces: serde lets unknown keys of a unit variant pass.
    Zero {},
    /// Remove all services.
    Clear {},
    /// What would bring this state back.
    Save {},
    /// Replace all services by these lines in one change.
    Restore {
        /// `save`'s lines.
        lines: Lines,
        /// Only say what is wrong with them; change nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// How `lbd` does.
    Status {},
}

/// An answer line: `{"v":1,"ok":{…}}` or `{"v":1,"error":{…}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u32,
    /// Done, or refused.
    #[serde(flatten)]
    pub result: Outcome,
}

/// Done, or refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What the command gives.
    Ok(serde_json::Value),
    /// Why it was refused; nothing has changed. Only a change that a worker does not take in time
    /// (`worker_stuck`) may be kept all the same, as its message says: it comes into force when that worker
    /// goes on.
    Error(Refusal),
}

/// Why a request was refused: `{"code":"no_such_service","message":"no such service"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs: `service_exists`, `no_such_service`, `real_exists`, `no_such_real`,
    /// `unknown_scheduler`, `not_supported`, `bad_line`, `bad_request`, …
    pub code: String,
    /// For people; what `lbctl` prints after its name.
    pub message: String,
    /// Of `restore`: every faulty line, up to [`FaultyLines::MOST_NAMED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<FaultyLine>,
    /// Faulty lines beyond these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

impl Refusal {
    /// One that is not about lines.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), lines: Vec::new(), more: 0 }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Under `ok` of `list`, `stats` and `rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// In `ipvsadm`'s sort order.
    pub services: Vec<ServiceView>,
}

/// A service in a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// `"TCP"` or `"UDP"`.
    pub protocol: String,
    /// VIP.
    pub address: String,
    /// Port.
    pub port: u16,
    /// By name.
    pub scheduler: String,
    /// None yet.
    pub flags: Vec<String>,
    /// 0: not persistent.
    pub persistence_s: u32,
    /// With `stats` (totals) and `rate` (a second).
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// Sorted by address and port.
    pub reals: Vec<RealView>,
}

/// A real in a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealView {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// `"Masq"`.
    pub forward: String,
    /// 0 to 65535.
    pub weight: u32,
    /// 0: none.
    pub upper_threshold: u32,
    /// 0: none.
    pub lower_threshold: u32,
    /// Connections in active states.
    pub active: u64,
    /// Connections in other states.
    pub inactive: u64,
    /// With `stats` (totals) and `rate` (a second).
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

/// Traffic of a service or real: totals, or the rate a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections made.
    pub conns: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// IPv4 bytes from clients.
    pub in_bytes: u64,
    /// IPv4 bytes to clients.
    pub out_bytes: u64,
}

/// Under `ok` of `connections`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// In no order.
    pub connections: Vec<ConnectionView>,
}

/// A connection in the dump; addresses as `"a.b.c.d:port"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// `"TCP"` or `"UDP"`.
    pub protocol: String,
    /// `"ESTABLISHED"` and so on.
    pub state: String,
    /// Seconds until it times out.
    pub expires_s: u32,
    /// The client.
    pub client: String,
    /// The VIP.
    #[serde(rename = "virtual")]
    pub virtual_: String,
    /// The real.
    pub real: String,
    /// The worker that has it.
    pub worker: usize,
}

/// Under `ok` of `timeouts`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutsView {
    /// TCP, established.
    pub tcp: u32,
    /// TCP, after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
    /// The version in force.
    pub config_version: u64,
}

/// Under `ok` of `save`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// `ipvsadm-save -n` lines.
    pub lines: Vec<String>,
}

/// Under `ok` of a `restore` that is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Services that there would be.
    pub services: usize,
    /// Reals that there would be.
    pub reals: usize,
    /// The version in force: still the same.
    pub config_version: u64,
}

/// Under `ok` of `drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Connections that live: TIME_WAIT and CLOSE don't count.
    pub live: u64,
    /// The version in force.
    pub config_version: u64,
}

/// Under `ok` of the commands that only change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The version in force, on every worker.
    pub config_version: u64,
    /// What is done all the same, but may be a mistake; of `add-service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Under `ok` of `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of natlb.
    pub version: String,
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
    /// Packets that the device put into the wrong worker's queue.
    #[serde(default)]
    pub misdirected: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Frames that came while no buffer was free; 0 where that is not known.
    pub rx_missed: u64,
    /// Whether its driver counts them.
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
}

/// What the kernel has counted on an interface since the start of `lbd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Frames received, whoever got them.
    pub rx_packets: u64,
    /// Frames that the kernel had no use or no memory for.
    pub rx_dropped: u64,
    /// Frames that the interface's own device lost.
    pub rx_missed: u64,
}

/// An `lbd` that does not say counts.
fn yes() -> bool {
    true
}

/// A worker in `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// From 0.
    pub id: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Frames received and handed to another worker, which owns them.
    pub handed_over: u64,
    /// Frames of its own that other workers have received.
    #[serde(default)]
    pub taken_over: u64,
    /// Share of time in turns that had packets, 0 to 1, over the last seconds.
    pub busy_share: f64,
    /// TSC cycles a packet, received or taken over, in those turns.
    pub cycles_per_packet: f64,
    /// Packets handled at once, on average.
    #[serde(default)]
    pub packets_per_burst: f64,
    /// Connections in its table.
    pub connections: u64,
    /// Connections that its table holds.
    pub capacity: u64,
    /// Connections made.
    #[serde(default)]
    pub created: u64,
    /// Connections that timed out.
    #[serde(default)]
    pub expired: u64,
    /// Connections that gave way to new ones because the table was full.
    #[serde(default)]
    pub evicted: u64,
    /// The most entries that the sweep examined in one turn.
    #[serde(default)]
    pub most_swept: u64,
    /// The most connections that timed out in one turn.
    #[serde(default)]
    pub most_expired: u64,
    /// The most connections that were made in one turn.
    #[serde(default)]
    pub most_created: u64,
    /// The most entries that were moved in one turn because the table came to use more or less of its memory.
    #[serde(default)]
    pub most_moved: u64,
}

/// An IPv4 address and port; IPv6 is not supported yet.
fn ipv4_endpoint<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    SocketAddrV4::deserialize(deserializer).map(SocketAddr::V4)
}
