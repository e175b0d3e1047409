//! From the model to what the workers run on.

use crate::model::{Links, Model, Service};
use crate::publish::ids::{Ids, NoRoom};
use dataplane::connection::Timeouts;
use dataplane::names::ids::{NeighbourKey, NextHopId, RealId, RealKey, ServiceKey};
use dataplane::names::mac::Mac;
use dataplane::schedule::{Candidate, Schedule};
use dataplane::snapshot::{self, Description, Snapshot, Steering};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Makes snapshots, and remembers what they share.
#[derive(Debug)]
pub struct Compiler {
    links: Links,
    ids: Ids,
    version: u64,
    has_others: bool,
    /// Own addresses that came, went or changed their ports, with the ports that answer now; not taken yet.
    addresses: BTreeMap<IpAddr, u16>,
    /// The last snapshot.
    current: Arc<Snapshot>,
    schedules: HashMap<ServiceKey, (Arc<Service>, Arc<Schedule>)>,
}

impl Compiler {
    /// Nothing is compiled yet.
    pub fn new(links: Links) -> Self {
        Self {
            links,
            ids: Ids::default(),
            version: 0,
            has_others: true,
            addresses: BTreeMap::new(),
            current: Arc::new(Snapshot::empty()),
            schedules: HashMap::new(),
        }
    }

    /// Ports and routes.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// From the next snapshot on software steers this port.
    pub fn steer_by_software(&mut self, port: usize) {
        self.links.eth_ports[port].steering = Steering::Software;
    }

    /// From the next snapshot on a port has this MAC, and this MTU in bytes.
    pub fn set_link(&mut self, port: usize, mac: Mac, mtu: u16) {
        let interface = &mut self.links.interfaces[port];
        (interface.mac, interface.mtu) = (mac, mtu);
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

    /// The next snapshot. `next_hop` gives the id of a host that a real's packets are sent to.
    pub fn compile(
        &mut self,
        model: &Model,
        mut next_hop: impl FnMut(NeighbourKey) -> NextHopId,
    ) -> Arc<Snapshot> {
        self.version += 1;
        self.has_others = self.ids.follow(model, self.version).has_others;
        let configured = self.ids.configured().map(|(key, id)| (key, id, false));
        let removed = self.ids.removed().map(|(key, id)| (key, id, true));
        let reals = configured.chain(removed).map(|(key, id, removed)| {
            let way = self.links.way_to_real(key.endpoint.ip());
            snapshot::Real { id, key, next_hop: way.map_or(NextHopId::UNKNOWN, &mut next_hop), removed }
        });
        let reals = reals.collect();
        let snapshot = Arc::new(Snapshot::compile(Description {
            version: self.version,
            eth_ports: self.links.eth_ports.clone(),
            interfaces: self.links.interfaces.clone(),
            services: self.services(model),
            reals,
            routes: self.links.routes.clone(),
            timeouts: Timeouts::new(model.timeouts),
            unmatched: self.links.unmatched,
            ip_options: self.links.ip_options,
        }));
        let before = std::mem::replace(&mut self.current, Arc::clone(&snapshot));
        let addresses = before.local_addresses().chain(snapshot.local_addresses());
        for address in addresses.map(|(address, _)| address) {
            self.follow_address(address, &before, &snapshot);
        }
        snapshot
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

    fn services(&mut self, model: &Model) -> Vec<Option<snapshot::Service>> {
        self.schedules.retain(|key, _| model.services().contains_key(key));
        let mut services = Vec::new();
        for (key, service) in model.services() {
            let schedule = self.schedule(service);
            let Some(id) = self.ids.service(key) else { continue };
            let index = id.0 as usize;
            if services.len() <= index {
                services.resize(index + 1, None);
            }
            services[index] = Some(snapshot::Service { key: *key, schedule });
        }
        services
    }

    /// The schedule of a service, the same one as long as the service does not change.
    fn schedule(&mut self, service: &Arc<Service>) -> Arc<Schedule> {
        if let Some((known, schedule)) = self.schedules.get(&service.key)
            && Arc::ptr_eq(known, service)
        {
            return Arc::clone(schedule);
        }
        let reals = service.reals.iter().zip(service.real_keys());
        let candidates = reals
            .filter_map(|(real, key)| Some(Candidate { real: self.ids.real(&key)?, weight: real.weight }));
        let schedule = Arc::new(Schedule::new(
            service.algorithm,
            service.generation,
            candidates.collect(),
            service.first_change,
            service.changes.clone(),
        ));
        self.schedules.insert(service.key, (Arc::clone(service), Arc::clone(&schedule)));
        schedule
    }
}
