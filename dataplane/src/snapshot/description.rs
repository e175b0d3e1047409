//! What is configured, as the control thread describes it: everything at once, or what one change makes different.

use super::{OnRemoval, Policy, Route, Thresholds};
use crate::connection::Timeouts;
use crate::names::family::IpVersion;
use crate::names::ids::{NextHopId, RealId, RealKey, ServiceId, ServiceKey};
use crate::names::mac::Mac;
use crate::names::side::Side;
use crate::schedule::Schedule;
use ipnet::IpNet;
use std::sync::Arc;

/// What decides which worker a packet of an `EthPort` belongs to, where there are several workers: the device puts it
/// into its worker's queue, and what it puts wrong is handed over; or the worker that receives it finds its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The device, whichever family a packet is of.
    Device,
    /// The device for IPv4, the workers for IPv6.
    DeviceForIpv4,
    /// The device for IPv6, the workers for IPv4.
    DeviceForIpv6,
    /// The workers.
    Software,
}

impl Steering {
    /// Whether the device steers packets of a family.
    #[inline(always)]
    pub const fn is_by_device(self, version: IpVersion) -> bool {
        match version {
            IpVersion::Four => matches!(self, Self::Device | Self::DeviceForIpv4),
            IpVersion::Six => matches!(self, Self::Device | Self::DeviceForIpv6),
        }
    }
}

/// A device with queues.
#[derive(Clone, Copy, Debug)]
pub struct EthPort {
    /// How its packets find their worker.
    pub steering: Steering,
}

/// What has addresses on a link. It is on the `EthPort` that
/// [`InterfaceId::eth_port`](crate::names::ids::InterfaceId::eth_port) names.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Where it leads.
    pub side: Side,
    /// Its own MAC.
    pub mac: Mac,
    /// Largest IPv4 packet that may leave on it, in bytes.
    pub mtu: u16,
    /// Its addresses, with the prefixes that are on its link.
    pub addresses: Vec<IpNet>,
}

impl Interface {
    /// Whether packets of IPv6 are taken from its link and sent there: that is what an IPv6 address of its own says.
    /// Those of IPv4 always are.
    pub fn speaks_ipv6(&self) -> bool {
        self.addresses.iter().any(|prefix| prefix.addr().is_ipv6())
    }
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// VIP, protocol and port.
    pub key: ServiceKey,
    /// What applies to its connections.
    pub policy: Policy,
    /// How long its connections live; `None`: as those of all.
    pub timeouts: Option<Arc<Timeouts>>,
    /// Its reals, and how one is picked; shared between snapshots while it does not change.
    pub schedule: Arc<Schedule>,
}

/// A real, or a removed one that still has connections.
#[derive(Clone, Debug)]
pub struct Real {
    /// Its id.
    pub id: RealId,
    /// Its identity.
    pub key: RealKey,
    /// The way to it, if the control thread has given that an id yet.
    pub next_hop: NextHopId,
    /// How many connections it may have.
    pub thresholds: Thresholds,
    /// `Some`: it or its service has been removed, and this is what becomes of its connections.
    pub removed: Option<OnRemoval>,
    /// Its connections are to end, though it is still its service's: those that speak are reset, as with
    /// [`OnRemoval::Reset`], and those that are silent for a second are forgotten.
    pub is_emptied: bool,
}

/// What happens to packets that belong to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// They are routed, as with `ip_forward=1`.
    Route,
    /// They are dropped.
    Drop,
}

/// What happens to packets with IPv4 options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpOptions {
    /// Those that RFC 7126 advises to drop are dropped, as are malformed ones; others are passed on unchanged.
    Filter,
    /// All are passed on unchanged, as if they were not there.
    Pass,
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Description {
    /// Goes up with every change.
    pub version: u64,
    /// By [`EthPortId`](crate::names::ids::EthPortId); at most [`MAX_ETH_PORTS`](crate::names::ids::MAX_ETH_PORTS).
    pub eth_ports: Vec<EthPort>,
    /// By [`InterfaceId`](crate::names::ids::InterfaceId); at most
    /// [`MAX_INTERFACES`](crate::names::ids::MAX_INTERFACES).
    pub interfaces: Vec<Interface>,
    /// By [`ServiceId`], with holes.
    pub services: Vec<Option<Service>>,
    /// In any order; ids are below [`REAL_IDS`](crate::names::ids::REAL_IDS) and unique.
    pub reals: Vec<Real>,
    /// Routes beside those that follow from the interfaces' addresses. The first of equal prefixes counts.
    pub routes: Vec<Route>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// What to do with packets of no connection.
    pub unmatched: Unmatched,
    /// What to do with packets that have IPv4 options.
    pub ip_options: IpOptions,
    /// Whether a TCP segment other than a SYN may open a connection.
    pub sloppy_tcp: bool,
    /// Whether an SCTP packet other than INIT may open a connection.
    pub sloppy_sctp: bool,
    /// Whether clients of a persistent service stay with a real whose weight is 0, as in the kernel, rather than get
    /// another one with their next connection.
    pub keep_quiescent_templates: bool,
}

/// What one change makes different from the version before.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The version that it leads to: the one before and one more.
    pub version: u64,
    /// Services that are new or have changed; `None`: there is none of this id any more. Each id once.
    pub services: Vec<(ServiceId, Option<Service>)>,
    /// Reals likewise; `None`: nothing of it is left. Each id once.
    pub reals: Vec<(RealId, Option<Real>)>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
}
