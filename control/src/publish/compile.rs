//! From the model to what the workers run on.

use crate::model::{Model, Network, Service, Settings};
use crate::publish::ids::{Arrived, Followed, Ids, Left, NoRoom, Standing};
use crate::publish::pair::Pair;
use dataplane::connection::{TimeoutSeconds, Timeouts};
use dataplane::names::ids::{NeighbourKey, NextHopId, RealId, RealKey, ServiceId, ServiceKey};
use dataplane::schedule::{Candidate, Identity, Options, Schedule};
use dataplane::snapshot::{self, Description, Edit, Snapshot};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Services and reals in a change from which on a snapshot is compiled anew: with fewer, bringing one up to date costs
/// less.
const MANY: usize = 512;

/// Makes snapshots, and remembers what they share.
#[derive(Debug)]
pub struct Compiler {
    network: Arc<Network>,
    /// The last snapshot has not this network.
    has_other_network: bool,
    ids: Ids,
    version: u64,
    /// Those of the last snapshot.
    timeouts: TimeoutSeconds,
    has_others: bool,
    is_anew: bool,
    arrived: Arrived,
    left: Left,
    /// Own addresses that came, went or changed their ports, with the ports that answer now; not taken yet.
    addresses: BTreeMap<IpAddr, u16>,
    pair: Pair,
    schedules: HashMap<ServiceKey, Arc<Schedule>>,
}

impl Compiler {
    /// Nothing is compiled yet.
    pub fn new(network: impl Into<Arc<Network>>) -> Self {
        Self {
            network: network.into(),
            has_other_network: true,
            ids: Ids::default(),
            version: 0,
            timeouts: TimeoutSeconds::default(),
            has_others: true,
            is_anew: true,
            arrived: Arrived::default(),
            left: Left::default(),
            addresses: BTreeMap::new(),
            pair: Pair::default(),
            schedules: HashMap::new(),
        }
    }

    /// Ports and routes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The ports and routes of the next snapshot. It is compiled anew, unless they are the very ones of the last.
    pub fn follow_network(&mut self, network: &Arc<Network>) {
        if !Arc::ptr_eq(&self.network, network) {
            self.network = Arc::clone(network);
            self.has_other_network = true;
        }
    }

    /// The ids in use.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The version of the last snapshot; 0: there is none yet.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the last snapshot has other services or reals than the one before, or others that take new connections.
    pub fn has_others(&self) -> bool {
        self.has_others
    }

    /// Whether the last snapshot was compiled anew, so that much memory is freed when the one before is.
    pub fn is_anew(&self) -> bool {
        self.is_anew
    }

    /// The services and reals that the last snapshot has and the one before had not, and those of which it is the other
    /// way round; only once.
    pub fn take_changes(&mut self) -> (Arrived, Left) {
        (std::mem::take(&mut self.arrived), std::mem::take(&mut self.left))
    }

    /// Whether own addresses are others than when they were last [taken](Self::take_addresses).
    pub fn has_other_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// The own addresses that came, went or changed since the last call, each with the bit set of the ports that answer
    /// for it now; of one that is ours no more it is empty.
    pub fn take_addresses(&mut self) -> BTreeMap<IpAddr, u16> {
        std::mem::take(&mut self.addresses)
    }

    /// Whether [`compile`](Self::compile) can be called for this model, if of the removed reals only those are kept
    /// that `holds` says have connections.
    ///
    /// # Errors
    /// Others hold the ids that it needs.
    pub fn check(&self, model: &Model, holds: impl Fn(RealId) -> bool) -> Result<(), NoRoom> {
        self.ids.room_for(model, holds)
    }

    /// The next snapshot. `next_hop` gives the id of a host that a real's packets are sent to. Takes time in proportion
    /// to what has changed, unless that is very much or the links are others.
    pub fn compile(
        &mut self,
        model: &Model,
        mut next_hop: impl FnMut(NeighbourKey) -> NextHopId,
    ) -> Arc<Snapshot> {
        self.version += 1;
        let mut followed = self.ids.follow(model, self.version);
        self.has_others = followed.has_others;
        (self.arrived, self.left) =
            (std::mem::take(&mut followed.arrived), std::mem::take(&mut followed.left));
        self.follow_schedules(model, &followed);
        self.is_anew = std::mem::take(&mut self.has_other_network)
            || followed.services.len() + followed.reals.len() > MANY;
        let before = Arc::clone(self.pair.current());
        let vips = if self.is_anew {
            let snapshot = self.anew(model, &mut next_hop);
            let addresses = before.local_addresses().chain(snapshot.local_addresses());
            let vips = addresses.map(|(address, _)| address).collect();
            self.pair.replace(snapshot);
            vips
        } else {
            let vips = vips(&followed, &before);
            let edit = self.edit(model, followed, &mut next_hop);
            self.pair.edit(edit);
            vips
        };
        self.timeouts = model.timeouts;
        let now = Arc::clone(self.pair.current());
        for vip in vips {
            self.follow_address(vip, &before, &now);
        }
        now
    }

    /// All of the model.
    fn anew(&self, model: &Model, next_hop: &mut impl FnMut(NeighbourKey) -> NextHopId) -> Snapshot {
        let mut services = Vec::new();
        for (key, service) in model.services() {
            let Some(id) = self.ids.service(key) else { continue };
            let index = id.0 as usize;
            if services.len() <= index {
                services.resize(index + 1, None);
            }
            services[index] = self.service(service, self.timeouts_of_all(model));
        }
        let all = model.services().values().flat_map(|service| service.real_keys().zip(&service.reals));
        let configured = all.filter_map(|(key, real)| Some((key, self.ids.real(&key)?, Standing::of(real))));
        let reals = configured.chain(self.ids.removed());
        let description = Description {
            version: self.version,
            eth_ports: self.network.eth_ports.clone(),
            interfaces: self.network.interfaces.clone(),
            services,
            reals: reals.map(|real| self.real(real, next_hop)).collect(),
            routes: self.network.routes.clone(),
            timeouts: self.timeouts_of_all(model),
            unmatched: self.network.forward.unmatched,
            ip_options: self.network.forward.ip_options,
            sloppy_tcp: self.network.forward.sloppy_tcp,
            sloppy_sctp: self.network.forward.sloppy_sctp,
            keep_quiescent_templates: self.network.forward.keep_quiescent_templates,
        };
        Snapshot::compile_after(description, self.pair.current())
    }

    /// What the model has otherwise than the one before.
    fn edit(
        &self,
        model: &Model,
        followed: Followed,
        next_hop: &mut impl FnMut(NeighbourKey) -> NextHopId,
    ) -> Edit {
        // An id that was one service's and is another's now stands there twice.
        let of_all = self.timeouts_of_all(model);
        let compiled = |key: &ServiceKey| self.service(model.services().get(key)?, of_all);
        let mut services: BTreeMap<ServiceId, Option<snapshot::Service>> =
            followed.services.iter().map(|(key, id)| (*id, compiled(key))).collect();
        if model.timeouts != self.timeouts {
            // Those of a service are made of those of all.
            let with_own = model.services().values().filter(|service| !service.settings.timeouts.is_empty());
            for key in with_own.map(|service| &service.key) {
                services.extend(self.ids.service(key).map(|id| (id, compiled(key))));
            }
        }
        let reals = followed
            .reals
            .into_iter()
            .map(|(id, real)| (id, real.map(|(key, standing)| self.real((key, id, standing), next_hop))));
        Edit {
            version: self.version,
            services: services.into_iter().collect(),
            reals: reals.collect(),
            timeouts: of_all,
        }
    }

    fn timeouts_of_all(&self, model: &Model) -> Timeouts {
        self.secured(Timeouts::new(model.timeouts))
    }

    fn secured(&self, timeouts: Timeouts) -> Timeouts {
        if self.network.forward.secure_tcp { timeouts.secured() } else { timeouts }
    }

    fn service(&self, service: &Service, of_all: Timeouts) -> Option<snapshot::Service> {
        let Service { key, settings, .. } = service;
        let schedule = Arc::clone(self.schedules.get(key)?);
        let own =
            (!settings.timeouts.is_empty()).then(|| Arc::new(self.secured(settings.timeouts.over(of_all))));
        Some(snapshot::Service { key: *key, policy: service.policy(), timeouts: own, schedule })
    }

    fn real(
        &self,
        (key, id, standing): (RealKey, RealId, Standing),
        next_hop: &mut impl FnMut(NeighbourKey) -> NextHopId,
    ) -> snapshot::Real {
        let way = self.network.way_to_real(key.endpoint.ip());
        let next_hop = way.map_or(NextHopId::UNKNOWN, next_hop);
        let (thresholds, removed, is_emptied) = match standing {
            Standing::Configured { thresholds, is_emptied } => (thresholds, None, is_emptied),
            Standing::Removed { on_removal, thresholds } => (thresholds, Some(on_removal), false),
        };
        snapshot::Real { id, key, next_hop, thresholds, removed, is_emptied }
    }

    fn follow_address(&mut self, address: IpAddr, before: &Snapshot, now: &Snapshot) {
        let interfaces = |snapshot: &Snapshot| snapshot.local(address).map(|local| local.interfaces);
        if interfaces(before) != interfaces(now) {
            self.addresses.insert(address, interfaces(now).unwrap_or(0));
        }
    }

    /// See [`Ids::release`].
    pub fn release(&mut self, in_force: u64, live: impl Fn(RealId) -> bool) -> Vec<RealKey> {
        self.ids.release(in_force, live)
    }

    /// Makes the schedules of the services that have changed.
    fn follow_schedules(&mut self, model: &Model, followed: &Followed) {
        for (key, _) in &followed.services {
            match model.services().get(key) {
                Some(service) => drop(self.schedules.insert(*key, Arc::new(self.schedule(service)))),
                None => drop(self.schedules.remove(key)),
            }
        }
    }

    fn schedule(&self, service: &Service) -> Schedule {
        let reals = service.reals.iter().zip(service.real_keys());
        let candidates = reals
            .filter_map(|(real, key)| Some(Candidate { real: self.ids.real(&key)?, weight: real.weight }));
        let identities = service
            .reals
            .iter()
            .map(|real| Identity { endpoint: real.endpoint, last_weight: real.last_weight });
        let Settings { algorithm, flags, slow_start, .. } = service.settings;
        let options = Options { flags, slow_start, identities: identities.collect() };
        let changes = (service.first_change, service.changes.clone());
        Schedule::with_options(algorithm, &options, service.generation, candidates.collect(), changes)
    }
}

/// The VIPs of what has changed.
fn vips(followed: &Followed, before: &Snapshot) -> Vec<IpAddr> {
    let services = followed.services.iter().map(|(key, _)| *key);
    let reals = followed.reals.iter().filter_map(|(id, real)| match real {
        Some((key, _)) => Some(key.service),
        None => Some(before.real_key(*id)?.service),
    });
    services.chain(reals).map(|service| service.listen.ip()).collect()
}

#[cfg(test)]
mod tests;
