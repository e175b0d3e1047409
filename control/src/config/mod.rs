//! The configuration file of `lbd`, read and judged: all that is wrong with it at once.
//!
//! ```text
//! section    one table: its keys, each of the right kind, no others
//! settings   [eal] [buffers] [control] [connections] [steering] [forward] [timeouts]
//! network    [[port]] [[route]] [[neighbour]], and what they must agree on
//! services   [[service]] [[service.real]], judged by the model's rules
//! metrics    [control] metrics, metrics_names, metrics_reals
//! keep       [connections] keep, and what kind of file system a folder is on
//! layout     ports and routes as the model has them
//! problem    what is wrong with the file, and where
//! reload     the file is read again while lbd runs: what of it can change, and what needs a restart
//! ```

pub mod keep;
mod layout;
pub mod metrics;
mod network;
mod problem;
pub mod reload;
mod section;
mod services;
mod settings;

pub use problem::Problem;

use crate::model::{Forward, Model, Network, Routing};
use crate::nic_steering;
use dataplane::connection::table::Table;
use dataplane::names::family::{V4, V6};
use dataplane::names::ids::InterfaceId;
use dataplane::names::mac::Mac;
use dataplane::names::side::Side;
use dataplane::snapshot::Steering;
use ipnet::IpNet;
use nix::fcntl::OFlag;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keep::Keep;
use metrics::Metrics;
use network::Topology;
use problem::Problems;
use section::Section;
use std::io::Read;
use toml::de::DeTable;

/// Where the socket is unless the file or `$LBCTL_SOCKET` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/natlb/lbd.sock";

/// The largest file that is read, in bytes: more than 65,536 reals need.
const LARGEST_FILE: u64 = 16 << 20;

/// Reads and judges a file.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines; a file that can't be read, or is no
/// TOML: just that.
pub fn read(path: &Path) -> Result<Config, Vec<Problem>> {
    judge(std::fs::File::open(path).map_err(|error| whole(error.to_string()))?)
}

/// Likewise while `lbd` runs, and without ever waiting: a FIFO, which nobody may write to, is refused.
///
/// # Errors
/// As [`read`].
pub fn read_again(path: &Path) -> Result<Config, Vec<Problem>> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = opened.map_err(|error| whole(error.to_string()))?;
    let kind = file.metadata().map_err(|error| whole(error.to_string()))?;
    if !kind.is_file() {
        return Err(whole("expected a regular file".into()));
    }
    judge(file)
}

fn whole(message: String) -> Vec<Problem> {
    vec![Problem { line: None, message }]
}

fn judge(file: std::fs::File) -> Result<Config, Vec<Problem>> {
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| whole(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(whole(format!("larger than {LARGEST_FILE} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        vec![Problem { line: Some(line), message: "expected UTF-8, found other bytes".into() }]
    })?;
    parse(&text)
}

/// Reads and judges a text; an absent key has the value of the example in the interface.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::of(text);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            // The parser gives no place for an error at the end of the text.
            let at = error.span().map_or(text.len(), |span| span.start);
            problems.add(at, error.message());
            return Err(problems.sorted());
        }
    };
    let mut file = Section::new("the file", 0, document.get_ref());
    let config = sections(&mut file, &mut problems);
    file.finish(&mut problems);
    let problems = problems.sorted();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// What stands in all sections; where something is wrong, a default in its place.
fn sections(file: &mut Section<'_>, problems: &mut Problems) -> Config {
    let eal = settings::eal(file.table("eal", "[eal]", problems), problems);
    let buffers = settings::buffers(file.table("buffers", "[buffers]", problems), problems);
    let control = settings::control(file.table("control", "[control]", problems), problems);
    let ports = file.tables("port", "[[port]]", problems);
    let routes = file.tables("route", "[[route]]", problems);
    let neighbours = file.tables("neighbour", "[[neighbour]]", problems);
    let topology = Topology::read(ports, routes, neighbours, buffers.size, problems);
    let speaks_ipv6 = topology.speaks_ipv6();
    let connections = file.table("connections", "[connections]", problems);
    let (capacity, keep) = settings::connections(connections, speaks_ipv6, problems);
    let steering = settings::steering(file.table("steering", "[steering]", problems), problems);
    let forward = settings::forward(file.table("forward", "[forward]", problems), problems);
    let timeouts = file.table("timeouts", "[timeouts]", problems);
    let has_timeouts = timeouts.is_some();
    let timeouts = settings::timeouts(timeouts, problems);
    let Topology { eth_ports, routes, neighbours, .. } = &topology;
    // What the devices are makes no difference to where services and reals can be.
    let network = Network::new(layout::layout(eth_ports, routes, neighbours, forward, unknown_device));
    let services = file.tables("service", "[[service]]", problems);
    let mut model = Model::new(timeouts);
    services::read(services, (&topology, &network), problems).finish(&mut model);
    let Topology { eth_ports, routes, neighbours, .. } = topology;
    Config {
        eal,
        buffers,
        control,
        eth_ports,
        routes,
        neighbours,
        capacity,
        keep,
        steering,
        forward,
        has_timeouts,
        model,
    }
}

fn unknown_device(_: usize) -> (Mac, u16, Steering) {
    (Mac([0; 6]), u16::MAX, Steering::Software)
}

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
    pub eth_ports: Vec<EthPort>,
    /// `[[route]]`, in order.
    pub routes: Vec<StaticRoute>,
    /// `[[neighbour]]`, in order.
    pub neighbours: Vec<StaticNeighbour>,
    /// `[connections] capacity` and `capacity_ipv6`.
    pub capacity: Capacity,
    /// `[connections] keep`.
    pub keep: Keep,
    /// `[steering] mode` and `prefer`.
    pub steering: (nic_steering::Mode, nic_steering::Preferred),
    /// `[forward]`.
    pub forward: Forward,
    /// Whether there is a `[timeouts]`.
    pub has_timeouts: bool,
    /// `[timeouts]` and `[[service]]`.
    pub model: Model,
}

impl Config {
    /// The routes and neighbours, which do not depend on what the devices are.
    pub fn routing(&self) -> Routing {
        let layout =
            layout::layout(&self.eth_ports, &self.routes, &self.neighbours, self.forward, unknown_device);
        Routing { routes: layout.routes, fixed: layout.fixed, forward: layout.forward }
    }

    /// The ports and routes, with each device's MAC, MTU (its largest IPv4 packet in bytes) and way of steering by
    /// index.
    pub fn network(&self, device: impl Fn(usize) -> (Mac, u16, Steering)) -> Network {
        Network::new(layout::layout(&self.eth_ports, &self.routes, &self.neighbours, self.forward, device))
    }
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

/// Connections that each worker has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of IPv4.
    pub ipv4: usize,
    /// Of IPv6; 0: no port has an IPv6 address.
    pub ipv6: usize,
}

impl Capacity {
    /// Bytes of memory that a worker's connection tables take, IPv4's and IPv6's, but for the rounding to pages.
    pub fn table_bytes(self) -> [usize; 2] {
        let ipv6 = if self.ipv6 == 0 { 0 } else { Table::<V6>::bytes_for(self.ipv6) };
        [Table::<V4>::bytes_for(self.ipv4), ipv6]
    }
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
    /// The one for the tools of LVS.
    pub ipvs_socket: IpvsSocket,
    /// Group whose members may use it; root always may.
    pub group: Option<String>,
    /// Where services and reals are kept.
    pub state: Option<PathBuf>,
    /// What is shown as metrics, and where.
    pub metrics: Metrics,
}

/// Where the history of changes is that belongs to a state file.
pub fn history_of(state: &Path) -> PathBuf {
    let mut path = state.as_os_str().to_owned();
    path.push(".history");
    path.into()
}

/// The socket for the tools of LVS in the folder of the control socket.
const BESIDE: &str = "ipvs.sock";

impl Control {
    /// Path of the socket for the tools of LVS; `None`: there is none.
    pub fn ipvs_path(&self) -> Option<PathBuf> {
        match &self.ipvs_socket {
            IpvsSocket::None => None,
            IpvsSocket::Beside => Some(self.socket.with_file_name(BESIDE)),
            IpvsSocket::At(path) => Some(path.clone()),
        }
    }

    /// A word that tells this `lbd` from others of the machine. It does not change with a restart, so what one leaves
    /// behind is found by its successor. FNV-1a of the socket's path.
    pub fn instance(&self) -> String {
        let bytes = self.socket.as_os_str().as_encoded_bytes();
        let hash = bytes
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        format!("natlb-{hash:08x}")
    }
}

/// Where the tools of LVS speak to the daemon, in the kernel's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpvsSocket {
    /// Nowhere.
    None,
    /// The file does not say: at `ipvs.sock` in the folder of [`Control::socket`], unless another daemon has that.
    Beside,
    /// At this path.
    At(PathBuf),
}

/// A device, as a `[[port]]` of the file names it, with the interface on it.
#[derive(Clone, Debug, PartialEq)]
pub struct EthPort {
    /// Unique.
    pub name: String,
    /// A PCI address or a vdev string.
    pub device: String,
    /// What is on its link.
    pub interface: Interface,
}

/// What has addresses on a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// Where it leads.
    pub side: Side,
    /// With prefixes.
    pub addresses: Vec<IpNet>,
    /// Default next hops of this side: at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Largest IPv4 packet, in bytes; `None`: what the device has.
    pub mtu: Option<u16>,
    /// How often all own addresses are announced by gratuitous ARP; `None`: only when something has changed.
    pub announce_every: Option<Duration>,
}

/// A route to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Destinations.
    pub to: IpNet,
    /// Gateway.
    pub via: IpAddr,
    /// The interface whose link the gateway is on.
    pub interface: InterfaceId,
}

/// A neighbour that is never resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticNeighbour {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
    /// The interface whose link it is on.
    pub interface: InterfaceId,
}

#[cfg(test)]
mod tests;
