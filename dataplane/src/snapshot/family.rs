//! What a snapshot has for each address family by itself: the rewrite records of its reals, and where its services
//! listen that are on one port.

use super::Real;
use super::word_map::{Key, WordMap};
use crate::names::family::{V4, V6};
use crate::names::ids::{RealId, ServiceId, ServiceKey};
use crate::translation::{Record, RemoteOf, Translate};
use std::net::SocketAddr;

/// Bytes of rewrite records prefetched on adoption. With more reals than that is enough for, most are cold anyway.
const PREFETCHED: usize = 16 << 10;

/// An address family that services are compiled for.
pub trait Compiled: Translate {
    /// What a service is looked up by: its endpoint and protocol.
    type Listener: Key;

    /// That of packets to `remote`, as it lies on the wire.
    fn listener(remote: RemoteOf<Self>, protocol_number: u8) -> Self::Listener;

    /// An address and port as they lie on the wire; `None` if they are of another family.
    fn remote_of(endpoint: SocketAddr) -> Option<RemoteOf<Self>>;

    /// The part of a snapshot that is the family's.
    fn part(families: &Families) -> &Part<Self>;
}

impl Compiled for V4 {
    type Listener = u64;

    #[inline(always)]
    fn listener(remote: u64, protocol_number: u8) -> u64 {
        remote | u64::from(protocol_number) << 48
    }

    fn remote_of(endpoint: SocketAddr) -> Option<u64> {
        Self::endpoint_bits(endpoint)
    }

    #[inline(always)]
    fn part(families: &Families) -> &Part<Self> {
        &families.v4
    }
}

impl Compiled for V6 {
    type Listener = ListenerV6;

    #[inline(always)]
    fn listener((address, port): (u128, u16), protocol_number: u8) -> ListenerV6 {
        ListenerV6 { address, port, protocol_number }
    }

    fn remote_of(endpoint: SocketAddr) -> Option<(u128, u16)> {
        let SocketAddr::V6(endpoint) = endpoint else { return None };
        let port = u16::from_le_bytes(endpoint.port().to_be_bytes());
        Some((u128::from_le_bytes(endpoint.ip().octets()), port))
    }

    #[inline(always)]
    fn part(families: &Families) -> &Part<Self> {
        &families.v6
    }
}

/// What an IPv6 service is looked up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerV6 {
    address: u128,
    port: u16,
    protocol_number: u8,
}

impl Key for ListenerV6 {
    #[inline(always)]
    fn word(self) -> u64 {
        // The port and the protocol where hardly any address differs from another of its network.
        let ends = u64::from(self.port) << 32 | u64::from(self.protocol_number) << 48;
        self.address as u64 ^ (self.address >> 64) as u64 ^ ends
    }
}

/// Set in the id of a service whose openings take more than a pick: as an index it is beyond all services, and so
/// needs no look of its own on the fast path.
const NOT_PLAIN: u32 = 1 << 31;

/// The parts of all families.
#[derive(Clone, Debug)]
pub struct Families {
    v4: Part<V4>,
    v6: Part<V6>,
}

impl Families {
    /// Nothing yet, and room for this many services.
    pub(super) fn with_room(services: usize) -> Self {
        Self { v4: Part::with_room(services), v6: Part::with_room(services) }
    }

    /// Nobody has the real ids up to this number that are new.
    pub(super) fn make_room(&mut self, slots: usize) {
        self.v4.make_room(slots);
        self.v6.make_room(slots);
    }

    /// From now on the id is this real's.
    pub(super) fn put_real(&mut self, id: RealId, real: Option<&Real>) {
        self.v4.put_real(id, real);
        self.v6.put_real(id, real);
    }

    /// A service listens there. The fast path finds none if it is not `plain`.
    pub(super) fn listen(&mut self, key: &ServiceKey, id: ServiceId, plain: bool) {
        let id = ServiceId(if plain { id.0 } else { id.0 | NOT_PLAIN });
        self.v4.listen(key, id);
        self.v6.listen(key, id);
    }

    /// No service listens there any more.
    pub(super) fn ignore(&mut self, key: &ServiceKey) {
        self.v4.ignore(key);
        self.v6.ignore(key);
    }

    /// The service that listens there.
    pub(super) fn service(&self, key: &ServiceKey) -> Option<ServiceId> {
        self.v4.service(key).or_else(|| self.v6.service(key)).map(Self::id_of)
    }

    /// The id of a service that was found, plain or not.
    pub(super) const fn id_of(found: ServiceId) -> ServiceId {
        ServiceId(found.0 & !NOT_PLAIN)
    }

    /// Brings close what packets need first.
    pub(super) fn prefetch(&self) {
        self.v4.prefetch();
    }
}

/// The part of one family.
#[derive(Clone, Debug)]
pub struct Part<F: Compiled> {
    /// By [`RealId`].
    rewrites: Vec<F::Record>,
    listening: WordMap<F::Listener>,
}

impl<F: Compiled> Part<F> {
    /// An empty one, with room for this many services.
    fn with_room(services: usize) -> Self {
        Self { rewrites: Vec::new(), listening: WordMap::with_room(services) }
    }

    /// Nobody has the real ids up to this number that are new.
    fn make_room(&mut self, slots: usize) {
        if slots > self.rewrites.len() {
            self.rewrites.resize(slots, F::Record::VACANT.clone());
        }
    }

    /// From now on the id is this real's; it matches nothing if that is of another family.
    fn put_real(&mut self, id: RealId, real: Option<&Real>) {
        self.rewrites[id.0 as usize] = match real {
            Some(real) if !real.key.service.is_exact() => {
                F::Record::of_several_ports(&real.key, real.next_hop)
            }
            Some(real) => {
                let is_over = real.removed.is_some() || real.is_emptied;
                F::Record::of(&real.key.at_port(0), real.next_hop, is_over)
            }
            None => F::Record::VACANT.clone(),
        };
    }

    /// A service listens there, if that is of this family.
    fn listen(&mut self, key: &ServiceKey, id: ServiceId) {
        if let Some(listener) = Self::listener(key) {
            self.listening.insert(listener, id.0);
        }
    }

    /// None listens there any more.
    fn ignore(&mut self, key: &ServiceKey) {
        if let Some(listener) = Self::listener(key) {
            self.listening.remove(listener);
        }
    }

    /// The service that listens there.
    fn service(&self, key: &ServiceKey) -> Option<ServiceId> {
        self.service_at(Self::listener(key)?)
    }

    #[inline(always)]
    pub(super) fn service_at(&self, listener: F::Listener) -> Option<ServiceId> {
        self.listening.get(listener).map(ServiceId)
    }

    #[inline(always)]
    pub(super) fn rewrites(&self) -> &[F::Record] {
        &self.rewrites
    }

    fn prefetch(&self) {
        let most = PREFETCHED / size_of::<F::Record>();
        memory::prefetch_all(&self.rewrites[..most.min(self.rewrites.len())]);
    }

    fn listener(key: &ServiceKey) -> Option<F::Listener> {
        Some(F::listener(F::remote_of(key.listen)?, key.protocol.number()))
    }
}
