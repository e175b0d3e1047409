//! Ids of services and reals: keyed by identity, and kept while a connection may carry them.
//!
//! ```text
//! configured ──removed in version V──► removed ──no connection left, V in force──► released ──next version──► free
//!      ▲─────────added again────────────────┘                 (drops out of the snapshot)
//! ```

use crate::model::{Model, Service};
use dataplane::names::ids::{REAL_IDS, RealId, RealKey, ServiceId, ServiceKey};
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::sync::Arc;

/// Which id each service and real has.
#[derive(Debug, Default)]
pub struct Ids {
    /// The services that the ids were last given for.
    followed: BTreeMap<ServiceKey, Arc<Service>>,
    services: HashMap<ServiceKey, ServiceId>,
    free_services: BTreeSet<u32>,
    reals: HashMap<RealKey, RealId>,
    /// Removed reals, with the version that they were removed in.
    removed: BTreeMap<RealKey, (RealId, u64)>,
    /// Out of the snapshot being compiled, but still in the one before.
    released: Vec<RealId>,
    free_reals: BTreeSet<u32>,
    /// Ids from here on were never given.
    unused_reals: u32,
}

/// There are not as many ids as a model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Reals of the model.
    pub wanted: usize,
    /// Reals that the model lacks: until it is in force connections are made to them.
    pub replaced: usize,
    /// Removed reals that are kept for their connections.
    pub removed: usize,
}

impl Ids {
    /// Whether every real of the model can have an id, if of the removed reals only those are kept that `holds` says
    /// have connections.
    ///
    /// # Errors
    /// What else has ids.
    pub fn room_for(&self, model: &Model, holds: impl Fn(RealId) -> bool) -> Result<(), NoRoom> {
        let replaced = self.leaving(model).len();
        let wanted = differing(&model.services, &self.followed).flat_map(|(service, _)| service.real_keys());
        let is_kept = |key: &RealKey| self.removed.get(key).is_some_and(|(id, _)| holds(*id));
        let back = wanted.filter(is_kept).count();
        let ids = self.removed.values().map(|(id, _)| id).chain(&self.released);
        let removed = ids.filter(|id| holds(**id)).count() - back;
        let wanted = model.real_count();
        let room = wanted + replaced + removed <= REAL_IDS;
        if room { Ok(()) } else { Err(NoRoom { wanted, replaced, removed }) }
    }

    /// Gives ids to the services and reals of the model, and notes what it has no more as removed in
    /// `version`. There must be [room](Self::room_for). Returns whether it has others than the model before, or others
    /// that take new connections.
    pub fn follow(&mut self, model: &Model, version: u64) -> bool {
        let has_others = !self.followed.keys().eq(model.services.keys())
            || differing(&model.services, &self.followed)
                .any(|(now, before)| before.is_none_or(|before| !in_use(now).eq(in_use(before))));
        for key in self.leaving(model) {
            self.removed.extend(self.reals.remove(&key).map(|id| (key, (id, version))));
        }
        let arriving =
            differing(&model.services, &self.followed).flat_map(|(service, _)| service.real_keys());
        for key in arriving {
            if !self.reals.contains_key(&key) {
                let removed = self.removed.remove(&key).map(|(id, _)| id);
                let id = removed.unwrap_or_else(|| unused_real(&mut self.free_reals, &mut self.unused_reals));
                self.reals.insert(key, id);
            }
        }
        // No connection carries a service's id, so it is free at once; another generation tells workers
        // that it is another service.
        let gone = self.services.extract_if(|key, _| !model.services.contains_key(key));
        self.free_services.extend(gone.map(|(_, id)| id.0));
        for key in model.services.keys() {
            if !self.services.contains_key(key) {
                let fresh = (self.services.len() + self.free_services.len()) as u32;
                let id = self.free_services.pop_first().unwrap_or(fresh);
                self.services.insert(*key, ServiceId(id));
            }
        }
        // Only now: the snapshot that is compiled from this is the first without them.
        self.free_reals.extend(self.released.drain(..).map(|id| id.0));
        self.followed.clone_from(&model.services);
        has_others
    }

    /// Reals that have ids and are not in the model.
    fn leaving(&self, model: &Model) -> Vec<RealKey> {
        let changed = differing(&self.followed, &model.services);
        changed
            .flat_map(|(before, now)| {
                let stay: HashSet<SocketAddrV4> =
                    now.iter().flat_map(|now| &now.reals).map(|real| real.endpoint).collect();
                before.real_keys().filter(move |key| !stay.contains(&key.endpoint))
            })
            .collect()
    }

    /// Lets go of removed reals that `live` says have no connection left. `in_force` is the version
    /// that every worker runs on: in a later one connections may still be made on them. They are out of
    /// the next snapshot, and their ids free for the one after. Returns who was released.
    pub fn release(&mut self, in_force: u64, live: impl Fn(RealId) -> bool) -> Vec<RealKey> {
        let over = self.removed.iter().filter(|(_, (id, version))| *version <= in_force && !live(*id));
        let over: Vec<RealKey> = over.map(|(key, _)| *key).collect();
        for key in &over {
            self.released.extend(self.removed.remove(key).map(|(id, _)| id));
        }
        over
    }

    /// The id of a service of the model.
    pub fn service(&self, key: &ServiceKey) -> Option<ServiceId> {
        self.services.get(key).copied()
    }

    /// The id of a real of the model.
    pub fn real(&self, key: &RealKey) -> Option<RealId> {
        self.reals.get(key).copied()
    }

    /// Every real of the model, in no order.
    pub fn configured(&self) -> impl Iterator<Item = (RealKey, RealId)> + '_ {
        self.reals.iter().map(|(key, id)| (*key, *id))
    }

    /// Every removed real that is kept for its connections.
    pub fn removed(&self) -> impl Iterator<Item = (RealKey, RealId)> + '_ {
        self.removed.iter().map(|(key, (id, _))| (*key, *id))
    }
}

/// Services of `these` that `others` lacks or has otherwise, with what stands there.
fn differing<'a>(
    these: &'a BTreeMap<ServiceKey, Arc<Service>>,
    others: &'a BTreeMap<ServiceKey, Arc<Service>>,
) -> impl Iterator<Item = (&'a Service, Option<&'a Service>)> {
    these.iter().filter_map(|(key, this)| match others.get(key) {
        Some(other) if Arc::ptr_eq(this, other) => None,
        other => Some((&**this, other.map(|other| &**other))),
    })
}

/// The reals of a service, each with whether it takes new connections.
fn in_use(service: &Service) -> impl Iterator<Item = (SocketAddrV4, bool)> {
    service.reals.iter().map(|real| (real.endpoint, real.weight > 0))
}

fn unused_real(free: &mut BTreeSet<u32>, unused: &mut u32) -> RealId {
    if let Some(id) = free.pop_first() {
        return RealId(id);
    }
    let id = RealId(*unused);
    assert!((id.0 as usize) < REAL_IDS, "room was made sure of");
    *unused += 1;
    id
}
