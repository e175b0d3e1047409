//! Ids of services and reals: keyed by identity, and kept while a connection may carry them.
//!
//! ```text
//! configured ──removed in version V──► removed ──no connection left, V in force──► released ──next version──► free
//!      ▲─────────added again────────────────┘                 (drops out of the snapshot)
//! ```

use crate::model::Model;
use dataplane::ids::{MAX_REALS, RealId, RealKey, ServiceId, ServiceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Which id each service and real has.
#[derive(Debug, Default)]
pub struct Ids {
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

impl Ids {
    /// Whether every real of the model can have an id.
    ///
    /// # Errors
    /// The number of removed reals that hold ids for their connections.
    pub fn room_for(&self, model: &Model) -> Result<(), usize> {
        let wanted: HashSet<RealKey> = model.reals().collect();
        let known = self.reals.keys().chain(self.removed.keys());
        let held = known.filter(|key| !wanted.contains(key)).count() + self.released.len();
        if wanted.len() + held > MAX_REALS { Err(held) } else { Ok(()) }
    }

    /// Gives ids to the services and reals of the model, and notes what it has no more as removed in
    /// `version`. There must be [room](Self::room_for).
    pub fn follow(&mut self, model: &Model, version: u64) {
        let wanted: HashSet<RealKey> = model.reals().collect();
        let leaving = self.reals.extract_if(|key, _| !wanted.contains(key));
        self.removed.extend(leaving.map(|(key, id)| (key, (id, version))));
        for key in model.reals() {
            if !self.reals.contains_key(&key) {
                let id = self.removed.remove(&key).map_or_else(|| self.unused_real(), |(id, _)| id);
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

    fn unused_real(&mut self) -> RealId {
        if let Some(id) = self.free_reals.pop_first() {
            return RealId(id);
        }
        let id = RealId(self.unused_reals);
        assert!((id.0 as usize) < MAX_REALS, "room was made sure of");
        self.unused_reals += 1;
        id
    }
}
