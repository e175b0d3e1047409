//! The configuration file of `lbd`, read and judged.

use dataplane::ids::ServiceKey;
use dataplane::next_hop::Mac;
use dataplane::schedule::Algorithm;
use dataplane::snapshot::{Side, Unmatched};
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// A configuration without contradictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[eal]`.
    pub eal: Eal,
    /// `[buffers]`.
    pub buffers: Buffers,
    /// `[control]`.
    pub control: Control,
    /// `[[port]]`, in order.
    pub ports: Vec<Port>,
    /// `[[route]]`, in order.
    pub routes: Vec<StaticRoute>,
    /// `[[neighbour]]`, in order.
    pub neighbours: Vec<StaticNeighbour>,
    /// `[connections] capacity`: connections per worker.
    pub capacity: usize,
    /// `[forward] unmatched`.
    pub unmatched: Unmatched,
    /// `[timeouts]`: TCP, TCP after FIN, UDP in seconds.
    pub timeouts: [u32; 3],
    /// `[[service]]`, in order.
    pub services: Vec<Service>,
}

/// How DPDK is started.
#[derive(Clone, Debug, PartialEq)]
pub struct Eal {
    /// The control thread's core.
    pub main_lcore: usize,
    /// The workers' cores.
    pub workers: Vec<usize>,
    /// Whether huge pages are used.
    pub hugepages: Hugepages,
    /// What DPDK may take, in MiB.
    pub memory_mb: usize,
    /// What a worker does when nothing arrives.
    pub idle: Idle,
    /// For `rte_eal_init`, unchanged.
    pub args: Vec<String>,
}

/// `[eal] hugepages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hugepages {
    /// If there are any.
    Auto,
    /// Fail without.
    Require,
    /// Do without.
    Never,
}

/// `[eal] idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Yield where others need the core, else spin.
    Auto,
    /// Poll without rest.
    Spin,
    /// Give the core away after some empty polls.
    Yield,
}

/// Mempools, one for each port and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Frames in each.
    pub count: usize,
    /// Frames in each lcore's cache.
    pub cache: usize,
    /// Bytes of each frame.
    pub size: usize,
}

/// The socket and what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// Group that may speak to it, beside root.
    pub group: Option<String>,
    /// Where services and reals are kept.
    pub state: Option<PathBuf>,
}

/// An `EthPort`.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Unique.
    pub name: String,
    /// Where it leads.
    pub side: Side,
    /// A PCI address or a vdev string.
    pub device: String,
    /// With prefixes.
    pub addresses: Vec<Ipv4Net>,
    /// Default next hop of this side.
    pub gateway: Option<Ipv4Addr>,
    /// Largest IPv4 packet.
    pub mtu: u16,
}

/// A route to a gateway, which is on the link of `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Destinations.
    pub to: Ipv4Net,
    /// Gateway.
    pub via: Ipv4Addr,
    /// Index of the port whose prefix contains the gateway.
    pub port: usize,
}

/// A neighbour that is never resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticNeighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its MAC.
    pub mac: Mac,
    /// Index of the port whose prefix contains it.
    pub port: usize,
}

/// A service that is present from the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Where it listens.
    pub key: ServiceKey,
    /// How a real is picked.
    pub algorithm: Algorithm,
    /// In the order written.
    pub reals: Vec<Real>,
}

/// A real that is present from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    /// Its address and port.
    pub endpoint: SocketAddrV4,
    /// 0 to 65535.
    pub weight: u32,
}
