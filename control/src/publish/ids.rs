//! Ids of services and reals: keyed by identity, and kept while a connection may carry them.
//!
//! ```text
//! configured ──removed in version V──► removed ──no connection left, V in force──► released ──next version──► free
//!      ▲─────────added again────────────────┘                 (drops out of the snapshot)
//! ```

use crate::model::{Difference, Model, Real, Service};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{REAL_IDS, RealId, RealKey, ServiceId, ServiceKey};
use dataplane::snapshot::{OnRemoval, Thresholds};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Which id each service and real has.
#[derive(Debug)]
pub struct Ids {
    /// The model that the ids were last given for.
    followed: Model,
    services: HashMap<ServiceKey, ServiceId>,
    free_services: BTreeSet<u32>,
    reals: HashMap<RealKey, RealId>,
    /// Removed reals that may have connections.
    removed: BTreeMap<RealKey, Removed>,
    /// Out of the snapshot being compiled, but still in the one before.
    released: Vec<RealId>,
    free_reals: BTreeSet<u32>,
    /// Ids from here on were never given.
    unused_reals: u32,
}

/// A removed real.
#[derive(Clone, Copy, Debug)]
struct Removed {
    id: RealId,
    /// The version that it was removed in.
    version: u64,
    /// What its service said then that becomes of its connections.
    on_removal: OnRemoval,
    /// Those that it had.
    thresholds: Thresholds,
}

impl Removed {
    const fn standing(&self) -> Standing {
        Standing::Removed { on_removal: self.on_removal, thresholds: self.thresholds }
    }
}

/// What has become of ids since the model before.
#[derive(Debug, Default)]
pub struct Followed {
    /// Services that differ from those of the model before, or are gone, in no order.
    pub services: Vec<(ServiceKey, ServiceId)>,
    /// Reals that were added or removed, or are [altered](Difference::altered), or (without a key) were released, in no
    /// order.
    pub reals: Vec<(RealId, Option<(RealKey, Standing)>)>,
    /// What the model before had not.
    pub arrived: Arrived,
    /// What the model before had, and this one has not.
    pub left: Left,
    /// Whether the model has other services or reals than the one before, or others that take new connections.
    pub has_others: bool,
}

/// Services and reals that are new, in no order.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Services.
    pub services: Vec<ServiceKey>,
    /// Reals, also those of services that stay, with their ids.
    pub reals: Vec<(RealKey, RealId)>,
}

/// Services and reals that are gone, in no order.
#[derive(Debug, Default)]
pub struct Left {
    /// Services.
    pub services: Vec<ServiceKey>,
    /// Reals, also those of services that stay.
    pub reals: Vec<RealKey>,
}

impl Arrived {
    /// Whether there is nothing new.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.reals.is_empty()
    }
}

impl Left {
    /// Whether nothing is gone.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.reals.is_empty()
    }
}

/// How a real stands that has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The model has it.
    Configured {
        /// How many connections it may have.
        thresholds: Thresholds,
        /// Its connections are to end.
        is_emptied: bool,
    },
    /// It is kept for its connections.
    Removed {
        /// What becomes of them.
        on_removal: OnRemoval,
        /// How many it may have had: when it is added again, it is closed if it was.
        thresholds: Thresholds,
    },
}

impl Standing {
    /// Of a real of the model.
    pub const fn of(real: &Real) -> Self {
        Self::Configured { thresholds: real.thresholds, is_emptied: real.is_emptied }
    }
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

impl Default for Ids {
    fn default() -> Self {
        Self {
            followed: Model::new(TimeoutSeconds::default()),
            services: HashMap::new(),
            free_services: BTreeSet::new(),
            reals: HashMap::new(),
            removed: BTreeMap::new(),
            released: Vec::new(),
            free_reals: BTreeSet::new(),
            unused_reals: 0,
        }
    }
}

impl Ids {
    /// Whether every real of the model can have an id, if of the removed reals only those are kept that `holds` says
    /// have connections.
    ///
    /// # Errors
    /// What else has ids.
    pub fn room_for(&self, model: &Model, holds: impl Fn(RealId) -> bool) -> Result<(), NoRoom> {
        let replaced = model.differences(&self.followed).map(|change| change.leaving().count()).sum();
        let has_room = |removed: usize| model.real_count() + replaced + removed <= REAL_IDS;
        // Nearly always there is room for all of them.
        if has_room(self.removed.len() + self.released.len()) {
            return Ok(());
        }
        let wanted = model.differences(&self.followed).filter_map(|change| change.now);
        let is_kept = |key: &RealKey| self.removed.get(key).is_some_and(|removed| holds(removed.id));
        let back = wanted.flat_map(|service| service.real_keys()).filter(is_kept).count();
        let ids = self.removed.values().map(|removed| &removed.id).chain(&self.released);
        let removed = ids.filter(|id| holds(**id)).count() - back;
        let wanted = model.real_count();
        if has_room(removed) { Ok(()) } else { Err(NoRoom { wanted, replaced, removed }) }
    }

    /// Gives ids to the services and reals of the model, and notes what it has no more as removed in
    /// `version`. There must be [room](Self::room_for). Takes time in proportion to what has changed.
    pub fn follow(&mut self, model: &Model, version: u64) -> Followed {
        let mut followed = Followed::default();
        let before = std::mem::replace(&mut self.followed, model.clone());
        let changes = || model.differences(&before);
        followed.has_others = changes().any(|change| has_others(&change));
        for change in changes() {
            let on_removal = on_removal(&change);
            for key in change.leaving() {
                if let Some(id) = self.reals.remove(&key) {
                    let real = change.before.and_then(|before| before.real(key.endpoint));
                    let thresholds = real.map_or(Thresholds::default(), |real| real.thresholds);
                    let removed = Removed { id, version, on_removal, thresholds };
                    followed.left.reals.push(key);
                    followed.reals.push((id, Some((key, removed.standing()))));
                    self.removed.insert(key, removed);
                }
            }
            for (key, real) in change.altered() {
                let id = self.reals.get(&key);
                followed.reals.extend(id.map(|id| (*id, Some((key, Standing::of(real))))));
            }
        }
        let services = changes().filter_map(|change| change.now);
        for (key, real) in services.flat_map(|service| service.real_keys().zip(&service.reals)) {
            if !self.reals.contains_key(&key) {
                let removed = self.removed.remove(&key).map(|removed| removed.id);
                let id = removed.unwrap_or_else(|| unused_real(&mut self.free_reals, &mut self.unused_reals));
                self.reals.insert(key, id);
                followed.arrived.reals.push((key, id));
                followed.reals.push((id, Some((key, Standing::of(real)))));
            }
        }
        // No connection carries a service's id, so it is free at once; another generation tells workers
        // that it is another service.
        for key in changes().filter(|change| change.now.is_none()).map(|change| change.key) {
            if let Some(id) = self.services.remove(&key) {
                self.free_services.insert(id.0);
                followed.left.services.push(key);
                followed.services.push((key, id));
            }
        }
        for key in changes().filter(|change| change.now.is_some()).map(|change| change.key) {
            let id = self.services.get(&key).copied().unwrap_or_else(|| {
                let fresh = (self.services.len() + self.free_services.len()) as u32;
                let id = ServiceId(self.free_services.pop_first().unwrap_or(fresh));
                self.services.insert(key, id);
                followed.arrived.services.push(key);
                id
            });
            followed.services.push((key, id));
        }
        // Only now: the snapshot that is compiled from this is the first without them.
        for id in self.released.drain(..) {
            self.free_reals.insert(id.0);
            followed.reals.push((id, None));
        }
        followed
    }

    /// Lets go of removed reals that `live` says have no connection left. `in_force` is the version
    /// that every worker runs on: in a later one connections may still be made on them. They are out of
    /// the next snapshot, and their ids free for the one after. Returns who was released.
    pub fn release(&mut self, in_force: u64, live: impl Fn(RealId) -> bool) -> Vec<RealKey> {
        let is_over = |removed: &Removed| removed.version <= in_force && !live(removed.id);
        let over = self.removed.iter().filter(|(_, removed)| is_over(removed));
        let over: Vec<RealKey> = over.map(|(key, _)| *key).collect();
        for key in &over {
            self.released.extend(self.removed.remove(key).map(|removed| removed.id));
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

    /// Every removed real that is kept for its connections, each with how it stands.
    pub fn removed(&self) -> impl Iterator<Item = (RealKey, RealId, Standing)> + '_ {
        self.removed.iter().map(|(key, removed)| (*key, removed.id, removed.standing()))
    }
}

/// What becomes of the connections of reals that a change removes: as the service says after it; of a service that goes
/// with them, as it said last.
fn on_removal(change: &Difference<'_>) -> OnRemoval {
    change.now.or(change.before).map_or(OnRemoval::Drop, |service| service.settings.on_removal)
}

/// Whether a service came or went, or other reals of it take new connections.
fn has_others(change: &Difference<'_>) -> bool {
    match (change.before, change.now) {
        (Some(before), Some(now)) => !in_use(now).eq(in_use(before)),
        _ => true,
    }
}

/// The reals of a service, each with whether it takes new connections.
fn in_use(service: &Service) -> impl Iterator<Item = (SocketAddr, bool)> {
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
