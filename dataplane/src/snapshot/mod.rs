//! The configuration that a worker runs on: versioned, made by the control thread, and unchanged while a worker has it.
//!
//! The control thread describes what is configured ([`Description`]); [`Snapshot::compile`] derives
//! everything the packet path looks up. An older snapshot that no worker has any more is brought up to date by
//! [`Snapshot::apply`], which costs what the [`Edit`] changes. A worker keeps a snapshot until the next one arrives.
//!
//! ```text
//! description  what is configured: all of it, or what one change makes different
//! policy       what applies to a service's connections
//! compile      from a description, or an edit, to what is looked up
//! family       what is looked up for each address family by itself
//! addresses    own addresses, those that stand for a link, and the groups that are listened to
//! many_ports   services on several ports
//! origin       which interface a source address belongs on
//! route        the routing table
//! word_map     services by address, port and protocol
//! word_hash    the hash of the routing table's maps
//! counts       a set whose members are put in by several
//! ```

mod addresses;
mod compile;
mod counts;
mod description;
mod family;
mod many_ports;
mod origin;
mod policy;
mod route;
mod word_hash;
mod word_map;

pub use addresses::Local;
pub use description::{Description, Edit, EthPort, Interface, IpOptions, Real, Service, Steering, Unmatched};
pub use family::{Compiled, Families, Part};
pub use policy::{OnRemoval, Persistence, Policy, Thresholds};
pub use route::{NextOnWay, Route, Routes};
pub use word_map::Key;

use crate::connection::{Clock, OwnTimeouts, Timeouts};
use crate::names::direction::Direction;
use crate::names::ids::{InterfaceId, MAX_INTERFACES, Protocol, RealId, RealKey, ServiceId, ServiceKey};
use crate::names::time::Tick;
use crate::translation::{Record, RemoteOf};
use crate::wire::addresses::is_link_local;
use addresses::Addresses;
use counts::Counts;
use hashbrown::HashMap;
use ipnet::IpNet;
use many_ports::ManyPorts;
use origin::Origins;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// See the module's text.
#[derive(Clone, Debug)]
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
    /// Connection timeouts, where a service has none of its own.
    pub timeouts: Timeouts,
    own_timeouts: OwnTimeouts,
    /// What to do with packets of no connection.
    pub unmatched: Unmatched,
    /// What to do with packets that have IPv4 options.
    pub ip_options: IpOptions,
    /// Whether a TCP segment other than a SYN may open a connection.
    pub sloppy_tcp: bool,
    /// Whether an SCTP packet other than INIT may open a connection.
    pub sloppy_sctp: bool,
    /// Whether clients of a persistent service stay with a real whose weight is 0.
    pub keep_quiescent_templates: bool,
    /// The smallest MTU of all interfaces: what is no larger fits wherever it goes.
    pub smallest_mtu: u16,
    /// By [`InterfaceId`]; as [`Mac::bits`].
    macs: [u64; MAX_INTERFACES],
    families: Families,
    many_ports: ManyPorts,
    /// By [`RealId`].
    keys: Vec<Option<RealKey>>,
    /// By [`RealId`].
    standings: Vec<Standing>,
    /// By [`RealId`]: whether it has weight 0.
    quiesced: Vec<bool>,
    /// Those that have an upper threshold.
    limited: HashMap<RealId, Thresholds>,
    /// The reals that differ from those of the version before, in their thresholds among others; `None`: any may.
    edited_reals: Option<Vec<RealId>>,
    endpoints: Counts<(Protocol, SocketAddr)>,
    /// Addresses of reals that reply from the port that the client asked for, whichever it was.
    on_port_asked: Counts<(Protocol, IpAddr)>,
    servers: Counts<IpAddr>,
    addresses: Addresses,
    /// The interfaces that have an IPv6 address, as a set of bits.
    speaking_ipv6: u16,
    origins: Origins,
    /// The services that differ from those of the version before; `None`: any may.
    edited: Option<Vec<ServiceId>>,
}

/// How a real stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none of this id.
    Vacant,
    /// It is of this service.
    InService(ServiceId),
    /// It is of this service, and its connections are to end.
    Emptied(ServiceId),
    /// It or its service has been removed.
    Removed(OnRemoval),
}

impl Snapshot {
    /// Brings close what packets need first. Another core has just written it, and each line would be waited for by
    /// itself.
    pub(crate) fn prefetch(&self) {
        self.interfaces.iter().take(MAX_INTERFACES).for_each(memory::prefetch);
        self.families.prefetch();
    }

    /// Tells at this tick which connections are alive.
    #[inline(always)]
    pub const fn clock(&self, tick: Tick) -> Clock<'_> {
        Clock::with_own(tick, &self.timeouts, &self.own_timeouts)
    }

    /// The rewrite record of a real; one that matches nothing if there is no such real of the family.
    #[inline(always)]
    pub fn rewrite<F: Compiled>(&self, id: RealId) -> &F::Record {
        self.rewrites::<F>().get(id.0 as usize).unwrap_or(F::Record::VACANT)
    }

    /// All of a family, by the id as an index.
    #[inline(always)]
    pub(crate) fn rewrites<F: Compiled>(&self) -> &[F::Record] {
        F::part(&self.families).rewrites()
    }

    /// The MAC of an interface, as [`Mac::bits`](crate::names::mac::Mac::bits); zero if there is none.
    #[inline(always)]
    pub const fn mac_bits(&self, interface: InterfaceId) -> u64 {
        self.macs[interface.index() % MAX_INTERFACES]
    }

    /// The real with this id, if any.
    pub fn real_key(&self, id: RealId) -> Option<RealKey> {
        self.keys.get(id.0 as usize).copied().flatten()
    }

    /// The service of a real; `None` if it or its service has been removed, or there is no such real.
    pub fn service_of(&self, id: RealId) -> Option<ServiceId> {
        match self.standings.get(id.0 as usize) {
            Some(Standing::InService(service) | Standing::Emptied(service)) => Some(*service),
            _ => None,
        }
    }

    /// What becomes of the connections of a real that has been removed, or is [emptied](Real::is_emptied); `None`: they
    /// go on.
    pub fn on_removal(&self, id: RealId) -> Option<OnRemoval> {
        match self.standings.get(id.0 as usize) {
            Some(Standing::Removed(on_removal)) => Some(*on_removal),
            Some(Standing::Emptied(_)) => Some(OnRemoval::Reset),
            _ => None,
        }
    }

    /// How many connections a real may have; the default: as many as come.
    pub fn thresholds(&self, id: RealId) -> Thresholds {
        self.limited.get(&id).copied().unwrap_or_default()
    }

    /// The reals whose thresholds may differ from those of this older snapshot, in time proportional to an edit if this
    /// is the next version, and otherwise to the number of reals that have any.
    pub fn limited_since<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = RealId> + 'a {
        let edited = self.edited_reals.as_deref().filter(|_| old.version + 1 == self.version);
        let all = edited.is_none().then(|| old.limited.keys().chain(self.limited.keys()));
        edited.unwrap_or_default().iter().chain(all.into_iter().flatten()).copied()
    }

    /// Whether a real has weight 0: it gets no new connection, and a SYN of one that it has goes to another real.
    #[inline(always)]
    pub fn is_quiesced(&self, id: RealId) -> bool {
        self.quiesced.get(id.0 as usize).is_some_and(|is_quiesced| *is_quiesced)
    }

    /// Real ids are below this number.
    pub fn real_ids(&self) -> u32 {
        self.standings.len() as u32
    }

    /// Whether an interface has an address of IPv6, and so takes part in it.
    pub const fn speaks_ipv6(&self, interface: InterfaceId) -> bool {
        self.speaking_ipv6 & interface.bit() != 0
    }

    /// The service with this key.
    pub fn service(&self, key: &ServiceKey) -> Option<(ServiceId, &Service)> {
        let id = self.service_id(key)?;
        Some((id, self.services[id.0 as usize].as_ref()?))
    }

    fn service_id(&self, key: &ServiceKey) -> Option<ServiceId> {
        if key.is_exact() { self.families.service(key) } else { self.many_ports.with_key(key) }
    }

    /// The service that a packet to this destination is for: one on this port, else one on a range of ports that has
    /// it, else one on any port.
    pub fn service_for(&self, protocol: Protocol, destination: SocketAddr) -> Option<(ServiceId, &Service)> {
        let exact = ServiceKey::new(protocol, destination);
        let exact = exact.is_exact().then(|| self.families.service(&exact)).flatten();
        let id = exact.or_else(|| self.many_ports.service_for(protocol, destination))?;
        Some((id, self.services[id.0 as usize].as_ref()?))
    }

    /// The ends of a connection of this real whose client asked for this port; see [`RealKey::at_port`].
    pub fn connection_key(&self, id: RealId, port: u16) -> Option<RealKey> {
        self.real_key(id).map(|key| key.at_port(port))
    }

    /// Whether a packet with this far end is of a connection of this real whose client asked for `port`, which counts
    /// only if the service is on several. From a client it is not if the real has been removed.
    pub(crate) fn is_of_connection<F: Compiled>(
        &self,
        (id, port): (RealId, impl FnOnce() -> u16),
        direction: Direction,
        remote: RemoteOf<F>,
    ) -> bool {
        if self.rewrite::<F>(id).matches(direction, remote) {
            return true;
        }
        let Some(key) = self.on_several_ports(id) else { return false };
        let RealKey { service, endpoint } = key.at_port(port());
        match direction {
            Direction::Forward => {
                F::remote_of(service.listen) == Some(remote) && self.on_removal(id).is_none()
            }
            Direction::Reverse => F::remote_of(endpoint) == Some(remote),
        }
    }

    /// The record of a connection of this real whose client asked for this port.
    pub(crate) fn rewrite_at<F: Compiled>(&self, id: RealId, port: u16) -> Cow<'_, F::Record> {
        match self.on_several_ports(id) {
            Some(key) => self.rewrite_of_port::<F>(id, key, port),
            None => Cow::Borrowed(self.rewrite::<F>(id)),
        }
    }

    /// What translates the packets of such a connection, which it need not match.
    #[inline(always)]
    pub(crate) fn translation_at<F: Compiled>(
        &self,
        id: RealId,
        port: impl FnOnce() -> u16,
    ) -> Cow<'_, F::Record> {
        match self.on_several_ports(id) {
            Some(key) if !F::Record::KEEPS_PORTS || key.endpoint.port() != 0 => {
                self.rewrite_of_port::<F>(id, key, port())
            }
            _ => Cow::Borrowed(self.rewrite::<F>(id)),
        }
    }

    #[inline(never)]
    fn rewrite_of_port<F: Compiled>(&self, id: RealId, key: &RealKey, port: u16) -> Cow<'_, F::Record> {
        Cow::Owned(F::Record::of(&key.at_port(port), self.rewrite::<F>(id).next_hop(), false))
    }

    /// The real with this id, if its service is on several ports.
    #[inline(always)]
    fn on_several_ports(&self, id: RealId) -> Option<&RealKey> {
        self.keys.get(id.0 as usize)?.as_ref().filter(|key| !key.service.is_exact())
    }

    /// The service that listens there: an endpoint of the family as it lies on the wire, and a protocol number. If its
    /// clients stay with their reals, or its datagrams make no connections, the id is one that no service has, and a
    /// connection is not opened by it.
    #[inline(always)]
    pub fn service_at<F: Compiled>(&self, remote: RemoteOf<F>, protocol_number: u8) -> Option<ServiceId> {
        F::part(&self.families).service_at(F::listener(remote, protocol_number))
    }

    /// Whether clients stay with their reals there.
    #[inline(always)]
    pub fn is_persistent(&self, id: ServiceId) -> bool {
        let service = self.services.get(id.0 as usize).and_then(Option::as_ref);
        service.is_some_and(|service| service.policy.persistence.is_some())
    }

    /// Whether every datagram is scheduled by itself there.
    #[inline(always)]
    pub fn is_one_packet(&self, id: ServiceId) -> bool {
        let service = self.services.get(id.0 as usize).and_then(Option::as_ref);
        service.is_some_and(|service| service.policy.one_packet)
    }

    /// The one-packet service that [`service_at`](Self::service_at) has found, if its clients do not stay with reals.
    pub(crate) fn plain_one_packet(&self, found: ServiceId) -> Option<ServiceId> {
        let id = Families::id_of(found);
        (self.is_one_packet(id) && !self.is_persistent(id)).then_some(id)
    }

    /// Whether the address is our own, or one that [stands for a whole link](Self::is_link_broadcast): no client's.
    #[inline(always)]
    pub fn is_own_or_broadcast<A: Into<IpAddr> + Copy>(&self, address: A) -> bool {
        self.addresses.may_have(address.into()) && self.look_up_own_or_broadcast(address)
    }

    /// Out of line: what it needs would crowd out the rest. An address of one family is handed over in a register.
    #[cold]
    #[inline(never)]
    fn look_up_own_or_broadcast<A: Into<IpAddr> + Copy>(&self, address: A) -> bool {
        let address = address.into();
        self.local(address).is_some() || self.is_link_broadcast(address)
    }

    /// Whether a source address belongs on another interface than the one that its packet came by: on the link of
    /// another, or as a real behind another.
    #[inline(always)]
    pub fn belongs_elsewhere<A: Into<IpAddr> + Copy>(&self, source: A, interface: InterfaceId) -> bool {
        // The prefixes alone nearly always decide.
        self.origins.may_be_elsewhere(source.into(), interface) && self.look_up_origin(source, interface)
    }

    /// Out of line: what it needs would crowd out the rest.
    #[cold]
    #[inline(never)]
    fn look_up_origin<A: Into<IpAddr> + Copy>(&self, source: A, interface: InterfaceId) -> bool {
        let source = source.into();
        self.routes.is_on_another_link(source, interface) || self.is_real_elsewhere(source, interface)
    }

    /// Whether some real belongs elsewhere than on this interface, which leads towards reals: then its packets' sources
    /// have to be [looked at](Self::belongs_elsewhere) even where they look like replies.
    #[inline(always)]
    pub(crate) const fn has_reals_elsewhere(&self, interface: InterfaceId) -> bool {
        self.origins.has_reals_elsewhere(interface)
    }

    /// Whether this is the address of a real that is not where `interface` leads: behind an interface towards reals,
    /// and this is one towards clients alone.
    pub fn is_real_elsewhere(&self, address: IpAddr, interface: InterfaceId) -> bool {
        self.is_server(address) && origin::is_inside_from(address, interface, &self.interfaces, &self.routes)
    }

    /// Whether a reply may come from this address and port, which some real has, or whose address some real has that
    /// replies from the port that the client asked for.
    pub fn may_reply(&self, protocol: Protocol, endpoint: SocketAddr) -> bool {
        self.is_endpoint(protocol, endpoint) || self.on_port_asked.has(&(protocol, endpoint.ip()))
    }

    /// Whether some real, removed ones with connections included, has this address and port.
    pub fn is_endpoint(&self, protocol: Protocol, endpoint: SocketAddr) -> bool {
        self.endpoints.has(&(protocol, endpoint))
    }

    /// Whether some real, removed ones with connections included, has this address.
    pub fn is_server(&self, address: IpAddr) -> bool {
        self.servers.has(&address)
    }

    /// Whether the address is our own, and where.
    pub fn local(&self, address: IpAddr) -> Option<&Local> {
        self.addresses.local(address)
    }

    /// All own addresses, in no order.
    pub fn local_addresses(&self) -> impl Iterator<Item = (IpAddr, Local)> + '_ {
        self.addresses.all()
    }

    /// Whether the address is the broadcast address of one of our links, or its obsolete form, the link's network
    /// address (RFC 1812 §4.2.3.1).
    pub fn is_link_broadcast(&self, address: IpAddr) -> bool {
        self.addresses.is_link_broadcast(address)
    }

    /// Whether an interface listens to this multicast group of IPv6: as those that hold an own address of it do, or, if
    /// it has an address of IPv6 at all, all nodes (RFC 4291 §2.8).
    pub fn listens(&self, interface: InterfaceId, group: Ipv6Addr) -> bool {
        self.addresses.listens(interface, group)
    }

    /// The address that speaks for us on an interface to this host: its first of the host's family. In IPv6, of the
    /// host's scope if there is one (RFC 6724 §5, rule 2); to a host beyond the link it may be another interface's,
    /// since a link-local one would mean nothing there.
    pub fn own_address(&self, interface: InterfaceId, to: IpAddr) -> Option<IpAddr> {
        let of = |interface: &Interface, of_link: bool| {
            let addresses = interface.addresses.iter().map(IpNet::addr);
            let mut fitting = addresses.filter(|own| own.is_ipv4() == to.is_ipv4());
            fitting.find(|own| is_link_local(*own) == of_link)
        };
        let here = self.interfaces.get(interface.index())?;
        if is_link_local(to) {
            return of(here, true).or_else(|| of(here, false));
        }
        let elsewhere = || self.interfaces.iter().find_map(|interface| of(interface, false));
        of(here, false).or_else(|| elsewhere().filter(|_| to.is_ipv6())).or_else(|| of(here, true))
    }

    /// The services that may differ from those of the snapshot with the version `old`, in time proportional to an edit
    /// if this is the next version.
    pub fn edited_since(&self, old: u64) -> impl Iterator<Item = ServiceId> + '_ {
        let edited = self.edited.as_ref().filter(|_| old + 1 == self.version);
        let all = if edited.is_none() { self.services.len() } else { 0 };
        let edited = edited.map_or(&[][..], Vec::as_slice).iter().copied();
        (0..all as u32).map(ServiceId).chain(edited)
    }
}
