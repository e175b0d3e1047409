//! Services and reals that are written down one after the other, in a file or in lines, and replace all others at once.

use super::rules::{self, Configured, Unfit};
use super::{Model, Network, Real, Service};
use dataplane::names::ids::{RealKey, ServiceKey};
use dataplane::schedule::Algorithm;
use hashbrown::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// What has been written so far. With sets next to the lists, since a look-up must not cost a walk over all reals.
#[derive(Debug, Default)]
pub struct Draft {
    services: HashMap<ServiceKey, Written>,
    /// Services that are meant to be there but for a mistake: their reals are not to blame for that.
    faulty: HashSet<ServiceKey>,
    vips: HashSet<IpAddr>,
    hosts: HashSet<IpAddr>,
    real_count: usize,
}

#[derive(Debug)]
struct Written {
    algorithm: Algorithm,
    /// Oldest first.
    reals: Vec<Real>,
    endpoints: HashSet<SocketAddr>,
}

impl Draft {
    /// Adds a service without reals.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn add_service(
        &mut self,
        network: &Network,
        key: ServiceKey,
        algorithm: Algorithm,
    ) -> Result<(), Unfit> {
        if let Err(unfit) = rules::check_service(network, self, &key) {
            self.note_faulty(key);
            return Err(unfit);
        }
        self.vips.insert(key.listen.ip());
        self.services.insert(key, Written { algorithm, reals: Vec::new(), endpoints: HashSet::new() });
        Ok(())
    }

    /// Notes that a service is meant to be there, though what adds it is faulty.
    pub fn note_faulty(&mut self, key: ServiceKey) {
        if !self.services.contains_key(&key) {
            self.faulty.insert(key);
        }
    }

    /// Adds the newest real of a service. One of a faulty service is only looked at.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn add_real(&mut self, network: &Network, service: ServiceKey, real: Real) -> Result<(), Unfit> {
        if self.faulty.contains(&service) && !self.services.contains_key(&service) {
            return rules::check_real_alone(network, &real);
        }
        rules::check_real(network, self, &service, &real)?;
        let written = self.services.get_mut(&service).ok_or(Unfit::NoSuchService)?;
        written.endpoints.insert(real.endpoint);
        written.reals.push(real);
        self.hosts.insert(real.endpoint.ip());
        self.real_count += 1;
        Ok(())
    }

    /// Whether no service has been written, not even a faulty one.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.faulty.is_empty()
    }

    /// Adds all of it to a model that has no services.
    pub fn finish(self, model: &mut Model) {
        for (key, Written { algorithm, reals, .. }) in self.services {
            let generation = model.next_generation();
            model.insert(Service::with_added(key, algorithm, generation, reals));
        }
    }
}

impl Configured for Draft {
    fn has_service(&self, key: &ServiceKey) -> bool {
        self.services.contains_key(key)
    }

    fn service_count(&self) -> usize {
        self.services.len()
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        self.vips.contains(&address)
    }

    fn has_real(&self, key: &RealKey) -> bool {
        self.services.get(&key.service).is_some_and(|service| service.endpoints.contains(&key.endpoint))
    }

    fn real_count(&self) -> usize {
        self.real_count
    }

    fn is_host(&self, address: IpAddr) -> bool {
        self.hosts.contains(&address)
    }
}
