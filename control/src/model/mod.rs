//! Services and reals as configured: a value that a change turns into another one.
//!
//! ```text
//! mod       the model: all services
//! settings  what is configured of a service besides its address and its reals
//! real      a real of a service
//! ranges    which services are on ranges of ports
//! draft     services and reals that are written one after the other, and replace all others
//! rules     what can be a VIP, what a real, and what can be set of them
//! network   ports, links and routes, which commands refer to but cannot change
//! timeouts  how long connections live
//! limits    how much there can be
//! ```

mod draft;
mod limits;
mod network;
mod ranges;
mod real;
pub mod rules;
mod settings;
mod timeouts;

pub use draft::Draft;
pub use limits::{LARGEST_THRESHOLD, LARGEST_WEIGHT, LONGEST_SLOW_START, MAX_REALS, MAX_SERVICES};
pub use network::{Forward, Layout, Network, Routing};
pub use real::Real;
pub use settings::{Settings, StateTimeouts};
pub use timeouts::{TooLong, with_timeouts};

use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{Protocol, RealKey, ServiceKey};
use dataplane::schedule::Change;
use dataplane::snapshot::{Policy, Thresholds};
use hashbrown::{HashMap, HashSet};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use ranges::Ranges;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Everything that commands can change. A copy shares what does not change, so it costs next to nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    services: OrdMap<ServiceKey, Arc<Service>>,
    ranges: Ranges,
    /// The addresses of all reals, each with how many reals have it.
    hosts: OrdMap<IpAddr, u32>,
    real_count: usize,
    /// How long connections live.
    pub timeouts: TimeoutSeconds,
    /// The last generation that was given to a service.
    pub generations: u64,
}

/// A service in which two models differ.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// Which.
    pub key: ServiceKey,
    /// As it was; `None`: there was none.
    pub before: Option<&'a Arc<Service>>,
    /// As it is; `None`: there is none any more.
    pub now: Option<&'a Arc<Service>>,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// VIP, protocol and ports.
    pub key: ServiceKey,
    /// What is set of it.
    pub settings: Settings,
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

impl<'a> Difference<'a> {
    /// The reals that are gone.
    pub fn leaving(&self) -> impl Iterator<Item = RealKey> + use<'a> {
        only_in(self.before, self.now)
    }

    /// The reals that are new.
    pub fn arriving(&self) -> impl Iterator<Item = RealKey> + use<'a> {
        only_in(self.now, self.before)
    }

    /// The reals that both have, with other thresholds, or of which only one is being emptied; each as it is now.
    pub fn altered(&self) -> impl Iterator<Item = (RealKey, &'a Real)> + use<'a> {
        let (before, now) = (reals(self.before), reals(self.now));
        let usual = (Thresholds::default(), false);
        let has_any = |reals: &[Real]| reals.iter().any(|real| handling(real) != usual);
        let mut old = HashMap::new();
        // Nearly always no real has any.
        if has_any(before) || has_any(now) {
            old.extend(before.iter().map(|real| (real.endpoint, handling(real))));
        }
        let now = self.now.into_iter().flat_map(|now| now.real_keys().zip(&now.reals));
        now.filter(move |(key, real)| old.get(&key.endpoint).is_some_and(|old| *old != handling(real)))
    }
}

/// What of a real concerns its connections, besides its weight.
const fn handling(real: &Real) -> (Thresholds, bool) {
    (real.thresholds, real.is_emptied)
}

fn reals(service: Option<&Arc<Service>>) -> &[Real] {
    service.map_or(&[], |service| &service.reals)
}

/// The reals of one that the other lacks.
fn only_in<'a>(
    one: Option<&'a Arc<Service>>,
    other: Option<&'a Arc<Service>>,
) -> impl Iterator<Item = RealKey> + use<'a> {
    let other: HashSet<SocketAddr> =
        other.into_iter().flat_map(|other| &other.reals).map(|real| real.endpoint).collect();
    let one = one.into_iter().flat_map(|one| one.real_keys());
    one.filter(move |key| !other.contains(&key.endpoint))
}

impl Model {
    /// No services.
    pub fn new(timeouts: TimeoutSeconds) -> Self {
        Self {
            services: OrdMap::new(),
            ranges: Ranges::default(),
            hosts: OrdMap::new(),
            real_count: 0,
            timeouts,
            generations: 0,
        }
    }

    /// All services, by protocol, VIP and ports. What does not change is shared between models.
    pub const fn services(&self) -> &OrdMap<ServiceKey, Arc<Service>> {
        &self.services
    }

    /// The keys of all reals.
    pub fn reals(&self) -> impl Iterator<Item = RealKey> + '_ {
        self.services.values().flat_map(|service| service.real_keys())
    }

    /// The number of reals.
    pub const fn real_count(&self) -> usize {
        self.real_count
    }

    /// A real of a service that has it.
    pub fn real(&self, key: &RealKey) -> Option<&Real> {
        self.services.get(&key.service)?.real(key.endpoint)
    }

    /// The services in which `before` and this model differ. Takes time in proportion to what was changed on the way
    /// from one to the other.
    pub fn differences<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Difference<'a>> {
        before.services.diff(&self.services).map(|item| match item {
            DiffItem::Add(key, now) => Difference { key: *key, before: None, now: Some(now) },
            DiffItem::Update { old: (key, before), new: (_, now) } => {
                Difference { key: *key, before: Some(before), now: Some(now) }
            }
            DiffItem::Remove(key, before) => Difference { key: *key, before: Some(before), now: None },
        })
    }

    /// Adds a service, or puts it in another's place.
    pub fn insert(&mut self, service: Service) {
        for real in &service.reals {
            self.count_host(real.endpoint.ip());
        }
        self.ranges.add(&service.key);
        if let Some(before) = self.services.insert(service.key, Arc::new(service)) {
            self.forget_hosts(&before);
        }
    }

    /// Removes a service with its reals.
    pub fn remove(&mut self, key: &ServiceKey) -> Option<Arc<Service>> {
        let service = self.services.remove(key)?;
        self.ranges.take(key);
        self.forget_hosts(&service);
        Some(service)
    }

    /// Removes all services.
    pub fn clear(&mut self) {
        *self = Self { generations: self.generations, ..Self::new(self.timeouts) };
    }

    /// The newest real of a service that exists.
    pub(crate) fn add_real(&mut self, service: &ServiceKey, real: Real) {
        if let Some(service) = self.edited(service) {
            service.reals.insert(0, real);
            service.note_change();
            self.count_host(real.endpoint.ip());
        }
    }

    /// Removes a real of a service. Returns whether there was one.
    pub(crate) fn remove_real(&mut self, service: &ServiceKey, endpoint: SocketAddr) -> bool {
        let Some(service) = self.edited(service) else { return false };
        let Some(place) = service.reals.iter().position(|real| real.endpoint == endpoint) else {
            return false;
        };
        service.reals.remove(place);
        service.note_change();
        self.forget_host(endpoint.ip());
        true
    }

    /// Puts a real in the place of the one with the same endpoint, which the service has.
    pub(crate) fn edit_real(&mut self, service: &ServiceKey, edited: &Real) {
        if let Some(service) = self.edited(service) {
            let real = service.reals.iter_mut().find(|real| real.endpoint == edited.endpoint);
            real.into_iter().for_each(|real| *real = *edited);
            service.note_change();
        }
    }

    /// Gives a service other settings. As in the kernel, scheduling starts anew only with another algorithm: one that
    /// stays keeps its position, whatever its flags are now.
    pub(crate) fn edit_service(&mut self, service: &ServiceKey, settings: Settings) {
        let is_other = |present: &Arc<Service>| present.settings.algorithm != settings.algorithm;
        let starts_anew = self.services.get(service).is_some_and(is_other);
        let generation = starts_anew.then(|| self.next_generation());
        if let Some(service) = self.edited(service) {
            service.settings = settings;
            generation.into_iter().for_each(|generation| service.start_anew(generation));
        }
    }

    /// Gives a service, which there is, these settings and these reals, newest first, in one step. Scheduling starts
    /// anew as in [`edit_service`](Self::edit_service).
    pub(crate) fn rework(&mut self, service: &ServiceKey, settings: Settings, reals: Vec<Real>) {
        let Some(before) = self.services.get(service).map(Arc::clone) else { return };
        let starts_anew = before.settings.algorithm != settings.algorithm;
        let generation = starts_anew.then(|| self.next_generation());
        for real in &reals {
            self.count_host(real.endpoint.ip());
        }
        self.forget_hosts(&before);
        if let Some(service) = self.edited(service) {
            service.settings = settings;
            let has_others = service.reals != reals;
            service.reals = reals;
            match generation {
                Some(generation) => service.start_anew(generation),
                None if has_others => service.note_change(),
                None => {}
            }
        }
    }

    /// A generation that no service has had.
    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    /// A service as this model's own copy, ready to take a command's steps.
    fn edited(&mut self, key: &ServiceKey) -> Option<&mut Service> {
        let service = Arc::make_mut(self.services.get_mut(key)?);
        service.begin_command();
        Some(service)
    }

    fn count_host(&mut self, host: IpAddr) {
        *self.hosts.entry(host).or_insert(0) += 1;
        self.real_count += 1;
    }

    fn forget_hosts(&mut self, service: &Service) {
        for real in &service.reals {
            self.forget_host(real.endpoint.ip());
        }
    }

    fn forget_host(&mut self, host: IpAddr) {
        self.real_count -= 1;
        match self.hosts.get_mut(&host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.hosts.remove(&host)),
        }
    }
}

impl rules::Configured for Model {
    fn has_service(&self, key: &ServiceKey) -> bool {
        self.services.contains_key(key)
    }

    fn overlapping(&self, key: &ServiceKey) -> Option<ServiceKey> {
        self.ranges.overlapping(key)
    }

    fn service_count(&self) -> usize {
        self.services.len()
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        Protocol::ALL.into_iter().any(|protocol| {
            let least = ServiceKey::new(protocol, SocketAddr::new(address, 0));
            let most = ServiceKey::new(protocol, SocketAddr::new(address, u16::MAX));
            self.services.range(least..=most).next().is_some()
        })
    }

    fn has_real(&self, key: &RealKey) -> bool {
        self.real(key).is_some()
    }

    fn real_count(&self) -> usize {
        self.real_count
    }

    fn is_host(&self, address: IpAddr) -> bool {
        self.hosts.contains_key(&address)
    }
}

impl Service {
    /// A service without reals.
    pub fn new(key: ServiceKey, settings: Settings, generation: u64) -> Self {
        let mut service =
            Self { key, settings, generation, reals: Vec::new(), first_change: 0, changes: Vec::new() };
        service.note_change();
        service
    }

    /// A service whose reals were added one by one, in this order.
    pub fn with_added(key: ServiceKey, settings: Settings, generation: u64, added: Vec<Real>) -> Self {
        let mut service = Self::new(key, settings, generation);
        let mut change = Change::NONE;
        for real in &added {
            change = change.with_added(real.weight);
            service.changes.push(change);
        }
        service.reals = added;
        service.reals.reverse();
        service
    }

    /// What the workers are told of it, besides the schedule and the timeouts.
    pub fn policy(&self) -> Policy {
        let Settings { on_removal, persistence, one_packet, .. } = self.settings;
        Policy { on_removal, persistence, one_packet }
    }

    /// The keys of its reals, newest first.
    pub fn real_keys(&self) -> impl Iterator<Item = RealKey> + '_ {
        self.reals.iter().map(|real| RealKey { service: self.key, endpoint: real.endpoint })
    }

    /// The real with this address and port.
    pub fn real(&self, endpoint: SocketAddr) -> Option<&Real> {
        self.reals.iter().find(|real| real.endpoint == endpoint)
    }

    /// Forgets the steps of the command before: they are in force.
    fn begin_command(&mut self) {
        self.first_change += self.changes.len() as u64;
        self.changes.clear();
    }

    /// Records that the reals are now these.
    fn note_change(&mut self) {
        self.changes.push(Change::of(self.reals.iter().map(|real| real.weight)));
    }

    /// Scheduling starts anew.
    fn start_anew(&mut self, generation: u64) {
        self.generation = generation;
        self.first_change = 0;
        self.changes.clear();
        self.note_change();
    }
}

#[cfg(test)]
mod tests;
