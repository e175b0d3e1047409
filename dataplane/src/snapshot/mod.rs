//! The configuration that a worker runs on: immutable, versioned, made by the control thread.
//!
//! The control thread describes what is configured ([`Description`]); [`Snapshot::compile`] derives
//! everything the packet path looks up. A worker keeps a snapshot until the next one arrives.

mod origin;
mod route;
mod word_hash;
mod word_map;

use origin::Origins;
pub use route::{NextOnWay, Route, Routes};
use word_map::WordMap;

use crate::connection::{Clock, Timeouts};
use crate::names::family::V4;
use crate::names::ids::{
    InterfaceId, MAX_ETH_PORTS, MAX_INTERFACES, NextHopId, Protocol, RealId, RealKey, ServiceId, ServiceKey,
};
use crate::names::mac::Mac;
use crate::names::side::Side;
use crate::names::time::Tick;
use crate::schedule::Schedule;
use crate::translation::Rewrite;
use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What decides which worker a packet of an `EthPort` belongs to, where there are several workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The device puts them into their workers' queues; what it puts wrong is handed over.
    Device,
    /// The worker that receives a packet finds its owner.
    Software,
}

/// A device with queues.
#[derive(Clone, Copy, Debug)]
pub struct EthPort {
    /// How its packets find their worker.
    pub steering: Steering,
}

/// What has addresses on a link. It is on the `EthPort` that [`InterfaceId::eth_port`] names.
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

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// VIP, protocol and port.
    pub key: ServiceKey,
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
    /// Removed (or its service is): clients' packets are dropped and counted, replies still translated.
    pub removed: bool,
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
    /// By [`EthPortId`](crate::names::ids::EthPortId); at most [`MAX_ETH_PORTS`].
    pub eth_ports: Vec<EthPort>,
    /// By [`InterfaceId`]; at most [`MAX_INTERFACES`].
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
}

/// Records of reals that are brought close when a snapshot is adopted: 16 KiB. Who has more has most of them where they
/// are seldom needed.
const PREFETCHED_REALS: usize = 256;

/// What an own address is.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Bit set of the interfaces that answer ARP for it.
    pub interfaces: u16,
}

/// See the module's text.
#[derive(Debug)]
pub struct Snapshot {
    /// Goes up with every change.
    pub version: u64,
    /// By [`EthPortId`](crate::names::ids::EthPortId).
    pub eth_ports: Vec<EthPort>,
    /// By [`InterfaceId`].
    pub interfaces: Vec<Interface>,
    /// By [`ServiceId`], with holes.
    pub services: Vec<Option<Service>>,
    /// Longest prefix first.
    pub routes: Routes,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// What to do with packets of no connection.
    pub unmatched: Unmatched,
    /// What to do with packets that have IPv4 options.
    pub ip_options: IpOptions,
    /// The smallest MTU of all interfaces: what is no larger fits wherever it goes.
    pub smallest_mtu: u16,
    /// By [`InterfaceId`]; as [`Mac::bits`].
    macs: [u64; MAX_INTERFACES],
    rewrites: Vec<Rewrite>,
    keys: Vec<Option<RealKey>>,
    /// By [`RealId`]: its service; `None` if it or its service has been removed.
    services_of: Vec<Option<ServiceId>>,
    listening: WordMap,
    endpoints: HashSet<(Protocol, SocketAddr)>,
    servers: HashSet<IpAddr>,
    local: HashMap<IpAddr, Local>,
    broadcast: HashSet<IpAddr>,
    origins: Origins,
    /// The [marks](mark) of the addresses in `local` and `broadcast`, as a set of bits.
    marks: [u64; 4],
}

impl Snapshot {
    /// Derives what the packet path looks up.
    ///
    /// # Panics
    /// If there are more than [`MAX_ETH_PORTS`] `EthPort`s, or more than [`MAX_INTERFACES`] interfaces.
    pub fn compile(description: Description) -> Self {
        let Description {
            version,
            eth_ports,
            interfaces,
            services,
            reals,
            routes,
            timeouts,
            unmatched,
            ip_options,
        } = description;
        assert!(eth_ports.len() <= MAX_ETH_PORTS, "{} EthPorts, {MAX_ETH_PORTS} at most", eth_ports.len());
        assert!(
            interfaces.len() <= MAX_INTERFACES,
            "{} interfaces, {MAX_INTERFACES} at most",
            interfaces.len()
        );
        let slots = reals.iter().map(|real| real.id.0 as usize + 1).max().unwrap_or(0);
        let mut rewrites = vec![Rewrite::VACANT; slots];
        let mut keys = vec![None; slots];
        for real in &reals {
            rewrites[real.id.0 as usize] = Rewrite::of(&real.key, real.next_hop, real.removed);
            keys[real.id.0 as usize] = Some(real.key);
        }
        let listeners =
            ServiceId::numbered(&services).filter_map(|(id, service)| Some((listener(&service.key)?, id.0)));
        let listening = WordMap::new(&listeners.collect::<Vec<_>>());
        let mut services_of = vec![None; slots];
        for real in reals.iter().filter(|real| !real.removed) {
            let id = listener(&real.key.service).and_then(|listener| listening.get(listener));
            services_of[real.id.0 as usize] = id.map(ServiceId);
        }
        let endpoints = reals.iter().map(|real| (real.key.service.protocol, real.key.endpoint)).collect();
        let local = local_addresses(&interfaces, &services, &reals);
        let broadcast = link_broadcasts(&interfaces);
        let mut marks = [0; 4];
        for address in local.keys().chain(&broadcast) {
            let mark = mark(*address);
            marks[mark / 64] |= 1 << (mark % 64);
        }
        let routes = Routes::new(&interfaces, &routes);
        Self {
            version,
            origins: Origins::new(&interfaces, &routes, reals.iter().map(|real| real.key.endpoint.ip())),
            macs: std::array::from_fn(|interface| {
                interfaces.get(interface).map_or(0, |interface| interface.mac.bits())
            }),
            local,
            broadcast,
            marks,
            smallest_mtu: interfaces.iter().map(|interface| interface.mtu).min().unwrap_or(u16::MAX),
            routes,
            eth_ports,
            interfaces,
            services,
            timeouts,
            unmatched,
            ip_options,
            rewrites,
            keys,
            services_of,
            listening,
            servers: reals.iter().map(|real| real.key.endpoint.ip()).collect(),
            endpoints,
        }
    }

    /// A snapshot in which nothing is configured.
    pub fn empty() -> Self {
        Self::compile(Description {
            version: 0,
            eth_ports: Vec::new(),
            interfaces: Vec::new(),
            services: Vec::new(),
            reals: Vec::new(),
            routes: Vec::new(),
            timeouts: Timeouts::default(),
            unmatched: Unmatched::Drop,
            ip_options: IpOptions::Filter,
        })
    }

    /// Brings close what packets need first. Another core has just written it, and each line would be waited for by
    /// itself.
    pub(crate) fn prefetch(&self) {
        let (few, most) =
            (self.interfaces.iter().take(MAX_INTERFACES), self.rewrites.iter().take(PREFETCHED_REALS));
        few.for_each(memory::prefetch);
        most.for_each(memory::prefetch);
    }

    /// Tells at this tick which connections are alive.
    #[inline(always)]
    pub const fn clock(&self, tick: Tick) -> Clock<'_> {
        Clock { tick, timeouts: &self.timeouts }
    }

    /// The rewrite record of a real; one that matches nothing if there is no such real.
    #[inline(always)]
    pub fn rewrite(&self, id: RealId) -> &Rewrite {
        self.rewrites.get(id.0 as usize).unwrap_or(&Rewrite::VACANT)
    }

    /// All of them, by the id as an index.
    #[inline(always)]
    pub(crate) fn rewrites(&self) -> &[Rewrite] {
        &self.rewrites
    }

    /// The MAC of an interface, as [`Mac::bits`]; zero if there is none.
    #[inline(always)]
    pub const fn mac_bits(&self, interface: InterfaceId) -> u64 {
        self.macs[interface.index() % MAX_INTERFACES]
    }

    /// Who has this id.
    pub fn real_key(&self, id: RealId) -> Option<RealKey> {
        self.keys.get(id.0 as usize).copied().flatten()
    }

    /// The service of a real; `None` if it or its service has been removed, or there is no such real.
    pub fn service_of(&self, id: RealId) -> Option<ServiceId> {
        self.services_of.get(id.0 as usize).copied().flatten()
    }

    /// Real ids are below this number.
    pub fn real_ids(&self) -> u32 {
        self.services_of.len() as u32
    }

    /// The service that listens there.
    pub fn service(&self, key: &ServiceKey) -> Option<(ServiceId, &Service)> {
        let id = self.service_at(listener(key)?)?;
        Some((id, self.services[id.0 as usize].as_ref()?))
    }

    /// The service that listens there: its endpoint as 48 bits in the order of the wire
    /// ([`endpoint_bits`](crate::names::family::endpoint_bits)), then the protocol number.
    #[inline(always)]
    pub fn service_at(&self, listener: u64) -> Option<ServiceId> {
        self.listening.get(listener).map(ServiceId)
    }

    /// Whether the address is our own, or one that [stands for a whole link](Self::is_link_broadcast): no client's.
    #[inline(always)]
    pub fn is_own_or_broadcast(&self, address: IpAddr) -> bool {
        // Nearly always told by the mark alone.
        let mark = mark(address);
        self.marks[mark / 64] >> (mark % 64) & 1 != 0 && self.look_up_own_or_broadcast(address)
    }

    /// Out of line: what it needs would crowd out the rest.
    #[cold]
    #[inline(never)]
    fn look_up_own_or_broadcast(&self, address: IpAddr) -> bool {
        self.local(address).is_some() || self.is_link_broadcast(address)
    }

    /// Whether a source address belongs on another interface than the one that its packet came by: on the link of another,
    /// or as a real behind another.
    #[inline(always)]
    pub fn belongs_elsewhere(&self, source: IpAddr, interface: InterfaceId) -> bool {
        // Nearly always told by the prefixes alone.
        self.origins.may_be_elsewhere(source, interface) && self.look_up_origin(source, interface)
    }

    /// Out of line: what it needs would crowd out the rest.
    #[cold]
    #[inline(never)]
    fn look_up_origin(&self, source: IpAddr, interface: InterfaceId) -> bool {
        self.routes.is_on_another_link(source, interface) || self.is_real_elsewhere(source, interface)
    }

    /// Whether some real belongs elsewhere than on this interface, which leads towards reals: then its packets' sources are
    /// to be [looked at](Self::belongs_elsewhere), also where they look like replies.
    #[inline(always)]
    pub(crate) const fn has_reals_elsewhere(&self, interface: InterfaceId) -> bool {
        self.origins.has_reals_elsewhere(interface)
    }

    /// Whether this is the address of a real that is not where `interface` leads: behind an interface towards reals, and this is
    /// one towards clients alone.
    pub fn is_real_elsewhere(&self, address: IpAddr, interface: InterfaceId) -> bool {
        self.is_server(address) && origin::is_inside_from(address, interface, &self.interfaces, &self.routes)
    }

    /// Whether some real, removed ones with connections included, has this address and port.
    pub fn is_endpoint(&self, protocol: Protocol, endpoint: SocketAddr) -> bool {
        self.endpoints.contains(&(protocol, endpoint))
    }

    /// Whether some real, removed ones with connections included, has this address.
    pub fn is_server(&self, address: IpAddr) -> bool {
        self.servers.contains(&address)
    }

    /// Whether the address is our own, and where.
    pub fn local(&self, address: IpAddr) -> Option<&Local> {
        self.local.get(&address)
    }

    /// All own addresses, in no order.
    pub fn local_addresses(&self) -> impl Iterator<Item = (IpAddr, Local)> + '_ {
        self.local.iter().map(|(address, local)| (*address, *local))
    }

    /// Whether the address is the broadcast address of one of our links, or its obsolete form, the link's network
    /// address (RFC 1812 §4.2.3.1).
    pub fn is_link_broadcast(&self, address: IpAddr) -> bool {
        self.broadcast.contains(&address)
    }

    /// The address that speaks for us on an interface: its first.
    pub fn own_address(&self, interface: InterfaceId) -> Option<IpAddr> {
        self.interfaces.get(interface.index())?.addresses.first().map(IpNet::addr)
    }
}

impl ServiceId {
    fn numbered(services: &[Option<Service>]) -> impl Iterator<Item = (Self, &Service)> {
        (0..).map(Self).zip(services).filter_map(|(id, service)| Some((id, service.as_ref()?)))
    }
}

/// A number below 256 that few addresses share, and none by a pattern of theirs: the highest byte of a product with
/// 2^32 over the golden ratio (Knuth, TAOCP 3, 6.4).
#[inline(always)]
fn mark(address: IpAddr) -> usize {
    let bits = match address {
        IpAddr::V4(address) => u32::from_ne_bytes(address.octets()),
        IpAddr::V6(_) => 0,
    };
    (bits.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

/// What an IPv4 service is looked up by: its endpoint and protocol in one word.
fn listener(key: &ServiceKey) -> Option<u64> {
    Some(V4::endpoint_bits(key.listen)? | u64::from(key.protocol.number()) << 48)
}

/// A link of one or two addresses has no broadcast address, and its lowest address is a host's (RFC 3021).
fn link_broadcasts(interfaces: &[Interface]) -> HashSet<IpAddr> {
    let prefixes = interfaces.iter().flat_map(|interface| &interface.addresses);
    let links = prefixes.filter(|prefix| prefix.prefix_len() < 31);
    links.flat_map(|prefix| [prefix.broadcast(), prefix.network()]).collect()
}

/// An interface's addresses answer on it. A VIP that is named by a service alone answers on the
/// vip-side interfaces whose prefixes contain it, or on all of them where none does. A VIP of removed
/// services is ours as long as they have connections, but nobody is told so any more.
fn local_addresses(
    interfaces: &[Interface],
    services: &[Option<Service>],
    reals: &[Real],
) -> HashMap<IpAddr, Local> {
    let mut local = HashMap::new();
    for (index, interface) in interfaces.iter().enumerate() {
        for address in &interface.addresses {
            local.entry(address.addr()).or_insert(Local { interfaces: 0 }).interfaces |= 1 << index;
        }
    }
    let listed = local.clone();
    let set_of = |wanted: &dyn Fn(&Interface) -> bool| {
        let bits = interfaces
            .iter()
            .enumerate()
            .filter(|(_, interface)| interface.side != Side::Dip && wanted(interface));
        bits.fold(0u16, |set, (index, _)| set | 1 << index)
    };
    for (_, service) in ServiceId::numbered(services) {
        let vip = service.key.listen.ip();
        if listed.contains_key(&vip) {
            continue;
        }
        let on_link = set_of(&|interface| interface.addresses.iter().any(|prefix| prefix.contains(&vip)));
        let answering = if on_link != 0 { on_link } else { set_of(&|_| true) };
        local.insert(vip, Local { interfaces: answering });
    }
    for real in reals {
        local.entry(real.key.service.listen.ip()).or_insert(Local { interfaces: 0 });
    }
    local
}
