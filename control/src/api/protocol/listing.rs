//! Under `ok` of `list`, `stats`, `rate` and `connections`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Under `ok` of `list`, `stats` and `rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// In `ipvsadm`'s sort order.
    pub services: Vec<ServiceView>,
}

/// A service in a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// `"TCP"`, `"UDP"` or `"SCTP"`.
    pub protocol: String,
    /// VIP.
    pub address: String,
    /// The first of its ports; 0: any port.
    pub port: u16,
    /// The last of its ports.
    #[serde(default)]
    pub last_port: u16,
    /// By name.
    pub scheduler: String,
    /// Of the scheduler, by name.
    pub flags: Vec<String>,
    /// 0: not persistent.
    pub persistence_s: u32,
    /// As `255.255.255.0`, of a persistent service.
    #[serde(default)]
    pub persistence_mask: Option<String>,
    /// Whether every datagram is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// By state, in seconds: those that differ from those of all services.
    #[serde(default)]
    pub timeouts: BTreeMap<String, u32>,
    /// `drop`, `reset` or `reschedule`; empty, as from an `lbd` that says nothing of it: `drop`.
    #[serde(default)]
    pub on_removal: String,
    /// 0: none.
    #[serde(default)]
    pub slow_start_s: u32,
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
    /// Its port; 0: the one that the client asks for.
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
    /// Clients, or groups of them, that stay with it.
    #[serde(default)]
    pub persistent_conns: u64,
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
    /// `"TCP"`, `"UDP"` or `"SCTP"`.
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
