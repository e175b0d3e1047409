//! Services and reals as configured: a value that a change turns into another one.

mod links;

pub use links::Links;

use dataplane::names::ids::{RealKey, ServiceKey};
use dataplane::schedule::{Algorithm, Change};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

/// The most services: far above what an operator has, and small enough that announcing each VIP
/// stays cheap.
pub const MAX_SERVICES: usize = 4096;

/// Everything that commands can change.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// In `ipvsadm`'s sort order. What does not change is shared between models.
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// TCP, TCP after FIN, UDP in seconds.
    pub timeouts: [u32; 3],
    /// The last generation that was given to a service.
    pub generations: u64,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// VIP, protocol and port.
    pub key: ServiceKey,
    /// How a real is picked.
    pub algorithm: Algorithm,
    /// Differs whenever scheduling starts anew: the service was created, or its scheduler replaced.
    pub generation: u64,
    /// Newest first, as the kernel keeps them; the schedulers' order depends on it.
    pub reals: Vec<Real>,
    /// The number of the first of `changes` in this generation, from 0.
    pub first_change: u64,
    /// What the last command did, step by step, for `wrr` to replay. Earlier steps are not needed: every
    /// worker has taken them with the model before.
    pub changes: Vec<Change>,
}

/// A real of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    /// Its address and port.
    pub endpoint: SocketAddrV4,
    /// 0: gets no new connection.
    pub weight: u32,
}

impl Model {
    /// No services.
    pub fn new(timeouts: [u32; 3]) -> Self {
        Self { services: BTreeMap::new(), timeouts, generations: 0 }
    }

    /// The keys of all reals.
    pub fn reals(&self) -> impl Iterator<Item = RealKey> + '_ {
        self.services.values().flat_map(|service| service.real_keys())
    }

    /// The number of reals.
    pub fn real_count(&self) -> usize {
        self.services.values().map(|service| service.reals.len()).sum()
    }

    /// A real of a service that has it.
    pub fn real(&self, key: &RealKey) -> Option<&Real> {
        self.services.get(&key.service)?.real(key.endpoint)
    }

    /// A generation that no service has had.
    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }
}

impl Service {
    /// A service without reals.
    pub fn new(key: ServiceKey, algorithm: Algorithm, generation: u64) -> Self {
        let mut service =
            Self { key, algorithm, generation, reals: Vec::new(), first_change: 0, changes: Vec::new() };
        service.note_change();
        service
    }

    /// A service whose reals were added one by one, in this order.
    pub fn with_added(key: ServiceKey, algorithm: Algorithm, generation: u64, added: Vec<Real>) -> Self {
        let mut service = Self::new(key, algorithm, generation);
        let mut change = Change::NONE;
        for real in &added {
            change = change.with_added(real.weight);
            service.changes.push(change);
        }
        service.reals = added;
        service.reals.reverse();
        service
    }

    /// The keys of its reals, newest first.
    pub fn real_keys(&self) -> impl Iterator<Item = RealKey> + '_ {
        self.reals.iter().map(|real| RealKey { service: self.key, endpoint: real.endpoint })
    }

    /// The real with this address and port.
    pub fn real(&self, endpoint: SocketAddrV4) -> Option<&Real> {
        self.reals.iter().find(|real| real.endpoint == endpoint)
    }

    /// Forgets the steps of the command before: they are in force.
    pub(crate) fn begin_command(&mut self) {
        self.first_change += self.changes.len() as u64;
        self.changes.clear();
    }

    /// Records that the reals are now these.
    pub(crate) fn note_change(&mut self) {
        self.changes.push(Change::of(self.reals.iter().map(|real| real.weight)));
    }

    /// Replaces the scheduler: it starts anew.
    pub(crate) fn reschedule(&mut self, algorithm: Algorithm, generation: u64) {
        self.algorithm = algorithm;
        self.generation = generation;
        self.first_change = 0;
        self.changes.clear();
        self.note_change();
    }
}
