//! From what is configured to what the packet path looks up.

use super::addresses::{Addresses, Claim};
use super::counts::Counts;
use super::origin::Origins;
use super::word_map::WordMap;
use super::{Description, Edit, IpOptions, Real, Routes, Service, Snapshot, Standing, Unmatched, listener};
use crate::connection::Timeouts;
use crate::names::ids::{MAX_ETH_PORTS, MAX_INTERFACES, RealId, RealKey, ServiceId};
use crate::translation::Rewrite;

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
            keep_quiescent_templates,
        } = description;
        assert!(eth_ports.len() <= MAX_ETH_PORTS, "{} EthPorts, {MAX_ETH_PORTS} at most", eth_ports.len());
        assert!(interfaces.len() <= MAX_INTERFACES, "more than {MAX_INTERFACES} interfaces");
        let routes = Routes::new(&interfaces, &routes);
        let mut snapshot = Self {
            version,
            origins: Origins::new(&interfaces, &routes),
            macs: std::array::from_fn(|index| {
                interfaces.get(index).map_or(0, |interface| interface.mac.bits())
            }),
            smallest_mtu: interfaces.iter().map(|interface| interface.mtu).min().unwrap_or(u16::MAX),
            addresses: Addresses::new(&interfaces),
            listening: WordMap::with_room(services.len()),
            routes,
            eth_ports,
            interfaces,
            services: Vec::new(),
            timeouts,
            unmatched,
            ip_options,
            keep_quiescent_templates,
            rewrites: Vec::new(),
            keys: Vec::new(),
            standings: Vec::new(),
            servers: Counts::default(),
            endpoints: Counts::default(),
            edited: None,
        };
        for (id, service) in (0..).map(ServiceId).zip(services) {
            snapshot.put_service(id, service);
        }
        let slots = reals.iter().map(|real| real.id.0 as usize + 1).max().unwrap_or(0);
        snapshot.make_room(slots);
        for real in &reals {
            snapshot.put_real(real.id, Some(real));
        }
        snapshot
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
            keep_quiescent_templates: false,
        })
    }

    /// Goes on to the next version. Takes time in proportion to the edit.
    pub fn apply(&mut self, edit: &Edit) {
        let Edit { version, services, reals, timeouts } = edit;
        debug_assert_eq!(*version, self.version + 1);
        // What listens no more first: a VIP and port may go over to another id.
        for (id, _) in services {
            self.put_service(*id, None);
        }
        for (id, service) in services {
            self.put_service(*id, service.clone());
        }
        let slots = reals.iter().map(|(id, _)| id.0 as usize + 1).max().unwrap_or(0);
        self.make_room(slots);
        for (id, real) in reals {
            self.put_real(*id, real.as_ref());
        }
        self.timeouts = *timeouts;
        self.version = *version;
        self.edited = Some(services.iter().map(|(id, _)| *id).collect());
    }

    /// Nobody has the real ids up to this number that are new.
    fn make_room(&mut self, slots: usize) {
        if slots > self.rewrites.len() {
            self.rewrites.resize(slots, Rewrite::VACANT);
            self.keys.resize(slots, None);
            self.standings.resize(slots, Standing::Vacant);
        }
    }

    /// From now on the id is this service's.
    fn put_service(&mut self, id: ServiceId, service: Option<Service>) {
        let index = id.0 as usize;
        if index >= self.services.len() {
            self.services.resize(index + 1, None);
        }
        if let Some(Service { key, .. }) = self.services[index].take() {
            if let Some(listener) = listener(&key) {
                self.listening.remove(listener);
            }
            self.addresses.claim(key.listen.ip(), Claim::Service, false, &self.interfaces);
        }
        if let Some(Service { key, .. }) = &service {
            if let Some(listener) = listener(key) {
                self.listening.insert(listener, id.0);
            }
            self.addresses.claim(key.listen.ip(), Claim::Service, true, &self.interfaces);
        }
        self.services[index] = service;
    }

    /// From now on the id is this real's. Its service is there already, if there is one.
    fn put_real(&mut self, id: RealId, real: Option<&Real>) {
        let index = id.0 as usize;
        let (before, now) = (self.keys[index], real.map(|real| real.key));
        if before != now {
            if let Some(key) = before {
                self.forget(&key);
            }
            if let Some(key) = now {
                self.count(&key);
            }
        }
        self.keys[index] = now;
        self.rewrites[index] = real.map_or(Rewrite::VACANT, |Real { key, next_hop, removed, .. }| {
            Rewrite::of(key, *next_hop, removed.is_some())
        });
        self.standings[index] = real.map_or(Standing::Vacant, |real| self.standing(real));
    }

    fn standing(&self, real: &Real) -> Standing {
        let id = || self.listening.get(listener(&real.key.service)?);
        match real.removed {
            Some(on_removal) => Standing::Removed(on_removal),
            None => id().map_or(Standing::Vacant, |id| Standing::InService(ServiceId(id))),
        }
    }

    fn count(&mut self, key: &RealKey) {
        let host = key.endpoint.ip();
        self.endpoints.add((key.service.protocol, key.endpoint));
        self.addresses.claim(key.service.listen.ip(), Claim::Real, true, &self.interfaces);
        if self.servers.add(host) {
            self.origins.add(host, &self.interfaces, &self.routes);
        }
    }

    fn forget(&mut self, key: &RealKey) {
        let host = key.endpoint.ip();
        self.endpoints.take(&(key.service.protocol, key.endpoint));
        self.addresses.claim(key.service.listen.ip(), Claim::Real, false, &self.interfaces);
        if self.servers.take(&host) {
            self.origins.take(host, &self.interfaces, &self.routes);
        }
    }
}
