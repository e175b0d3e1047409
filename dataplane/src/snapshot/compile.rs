//! From what is configured to what the packet path looks up.

use super::addresses::{Addresses, Claim};
use super::counts::Counts;
use super::many_ports::ManyPorts;
use super::origin::Origins;
use super::{Description, Edit, Families, IpOptions, Real, Routes, Service, Snapshot, Standing, Unmatched};
use crate::connection::{OwnTimeouts, Timeouts};
use crate::names::ids::{InterfaceId, MAX_ETH_PORTS, MAX_INTERFACES, RealId, RealKey, ServiceId};
use crate::schedule::Candidate;
use hashbrown::HashMap;
use std::sync::Arc;

/// How long connections of a real that is [emptied](Real::is_emptied) live without a packet.
const SILENT_SECONDS: u32 = 1;

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
            sloppy_tcp,
            sloppy_sctp,
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
            speaking_ipv6: InterfaceId::all()
                .zip(&interfaces)
                .filter(|(_, interface)| interface.speaks_ipv6())
                .fold(0, |set, (id, _)| set | id.bit()),
            families: Families::with_room(services.len()),
            many_ports: ManyPorts::default(),
            routes,
            eth_ports,
            interfaces,
            services: Vec::new(),
            timeouts,
            own_timeouts: OwnTimeouts::none(),
            unmatched,
            ip_options,
            sloppy_tcp,
            sloppy_sctp,
            keep_quiescent_templates,
            keys: Vec::new(),
            standings: Vec::new(),
            quiesced: Vec::new(),
            limited: HashMap::new(),
            edited_reals: None,
            servers: Counts::default(),
            endpoints: Counts::default(),
            on_port_asked: Counts::default(),
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

    /// As [`compile`](Self::compile), where removed reals keep what they have in the snapshot before: how long their
    /// connections live.
    ///
    /// # Panics
    /// As `compile`.
    pub fn compile_after(description: Description, before: &Self) -> Self {
        let mut snapshot = Self::compile(description);
        for id in (0..snapshot.real_ids()).map(RealId) {
            if snapshot.on_removal(id).is_some() && snapshot.real_key(id) == before.real_key(id) {
                snapshot.own_timeouts.set(id, before.own_timeouts.get_shared(id));
            }
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
            sloppy_tcp: false,
            sloppy_sctp: false,
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
        self.edited_reals = Some(reals.iter().map(|(id, _)| *id).collect());
    }

    /// Nobody has the real ids up to this number that are new.
    fn make_room(&mut self, slots: usize) {
        self.families.make_room(slots);
        if slots > self.keys.len() {
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
            if key.is_exact() {
                self.families.ignore(&key);
            } else {
                self.many_ports.take(&key);
            }
            self.addresses.claim(key.listen.ip(), Claim::Service, false, &self.interfaces);
        }
        if let Some(Service { key, policy, .. }) = &service {
            if key.is_exact() {
                self.families.listen(key, id, policy.persistence.is_none() && !policy.one_packet);
            } else {
                self.many_ports.add(key, id);
            }
            self.addresses.claim(key.listen.ip(), Claim::Service, true, &self.interfaces);
        }
        if let Some(service) = &service {
            self.note_reals(service);
        }
        self.services[index] = service;
    }

    /// Which of a service's reals have weight 0 from now on, and how long their connections live.
    fn note_reals(&mut self, service: &Service) {
        for Candidate { real, weight } in service.schedule.candidates() {
            let index = real.0 as usize;
            if index >= self.quiesced.len() {
                self.quiesced.resize(index + 1, false);
            }
            self.quiesced[index] = *weight == 0;
            if !matches!(self.standings.get(index), Some(Standing::Emptied(_))) {
                self.own_timeouts.set(*real, service.timeouts.as_ref());
            }
        }
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
        self.families.put_real(id, real);
        self.standings[index] = real.map_or(Standing::Vacant, |real| self.standing(real));
        self.follow_timeouts(id);
        match real.map(|real| real.thresholds).filter(|thresholds| thresholds.upper != 0) {
            Some(thresholds) => drop(self.limited.insert(id, thresholds)),
            None => drop(self.limited.remove(&id)),
        }
    }

    /// How long a real's connections live, as it stands now. Those of a removed one live as long as before.
    fn follow_timeouts(&mut self, id: RealId) {
        let of_service = |service: ServiceId| {
            self.services.get(service.0 as usize)?.as_ref().and_then(|service| service.timeouts.clone())
        };
        let own = match self.standings[id.0 as usize] {
            Standing::Removed(_) => return,
            Standing::Vacant => None,
            Standing::InService(service) => of_service(service),
            Standing::Emptied(service) => {
                let timeouts = of_service(service).map_or(self.timeouts, |timeouts| *timeouts);
                Some(Arc::new(timeouts.at_most(SILENT_SECONDS)))
            }
        };
        self.own_timeouts.set(id, own.as_ref());
    }

    fn standing(&self, real: &Real) -> Standing {
        if let Some(on_removal) = real.removed {
            return Standing::Removed(on_removal);
        }
        match self.service_id(&real.key.service) {
            None => Standing::Vacant,
            Some(service) if real.is_emptied => Standing::Emptied(service),
            Some(service) => Standing::InService(service),
        }
    }

    fn count(&mut self, key: &RealKey) {
        let (host, protocol) = (key.endpoint.ip(), key.service.protocol);
        match key.fixed_endpoint() {
            Some(endpoint) => self.endpoints.add((protocol, endpoint)),
            None => self.on_port_asked.add((protocol, host)),
        };
        self.addresses.claim(key.service.listen.ip(), Claim::Real, true, &self.interfaces);
        if self.servers.add(host) {
            self.origins.add(host, &self.interfaces, &self.routes);
        }
    }

    fn forget(&mut self, key: &RealKey) {
        let (host, protocol) = (key.endpoint.ip(), key.service.protocol);
        match key.fixed_endpoint() {
            Some(endpoint) => self.endpoints.take(&(protocol, endpoint)),
            None => self.on_port_asked.take(&(protocol, host)),
        };
        self.addresses.claim(key.service.listen.ip(), Claim::Real, false, &self.interfaces);
        if self.servers.take(&host) {
            self.origins.take(host, &self.interfaces, &self.routes);
        }
    }
}
