//! Services and reals that are written down one after the other, in a file or in lines, and replace all others at once.

use super::ranges::Ranges;
use super::rules::{self, Configured, Unfit};
use super::{Model, Network, Real, Service, Settings};
use dataplane::names::ids::{RealKey, ServiceKey};
use dataplane::snapshot::Thresholds;
use hashbrown::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// What has been written so far. With sets next to the lists, since a look-up must not cost a walk over all reals.
#[derive(Debug, Default)]
pub struct Draft {
    services: HashMap<ServiceKey, Written>,
    /// Services that are meant to be there but for a mistake: their reals are not to blame for that.
    faulty: HashSet<ServiceKey>,
    ranges: Ranges,
    /// Each with how many services have it.
    vips: HashMap<IpAddr, usize>,
    /// Each with how many reals have it.
    hosts: HashMap<IpAddr, usize>,
    real_count: usize,
}

#[derive(Debug)]
struct Written {
    settings: Settings,
    /// Oldest first; `None`: removed.
    reals: Vec<Option<Real>>,
    /// Where each stands in `reals`.
    places: HashMap<SocketAddr, usize>,
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
        settings: Settings,
    ) -> Result<(), Unfit> {
        if let Err(unfit) = rules::check_service(network, self, &key) {
            self.note_faulty(key);
            return Err(unfit);
        }
        *self.vips.entry(key.listen.ip()).or_default() += 1;
        self.ranges.add(&key);
        self.services.insert(key, Written { settings, reals: Vec::new(), places: HashMap::new() });
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
        written.places.insert(real.endpoint, written.reals.len());
        written.reals.push(Some(real));
        *self.hosts.entry(real.endpoint.ip()).or_default() += 1;
        self.real_count += 1;
        Ok(())
    }

    /// Gives a service other settings, all of them.
    ///
    /// # Errors
    /// It has not been written.
    pub fn edit_service(&mut self, key: &ServiceKey, settings: Settings) -> Result<(), Unfit> {
        let service = self.services.get_mut(key).ok_or(Unfit::NoSuchService)?;
        service.settings = settings;
        Ok(())
    }

    /// Takes a service with its reals back.
    ///
    /// # Errors
    /// It has not been written.
    pub fn remove_service(&mut self, key: &ServiceKey) -> Result<(), Unfit> {
        let service = self.services.remove(key).ok_or(Unfit::NoSuchService)?;
        take(&mut self.vips, key.listen.ip());
        self.ranges.take(key);
        service.reals.iter().flatten().for_each(|real| self.forget(real));
        Ok(())
    }

    /// Gives a real another weight and other thresholds.
    ///
    /// # Errors
    /// It has not been written, or cannot have them.
    pub fn edit_real(&mut self, key: &RealKey, weight: u32, thresholds: Thresholds) -> Result<(), Unfit> {
        rules::check_family(&key.service, key.endpoint)?;
        let (service, place) = self.place(key)?;
        if let Some(real) = &mut service.reals[place] {
            let mut edited = Real { thresholds, ..*real };
            edited.set_weight(weight);
            rules::check_numbers(&edited)?;
            *real = edited;
        }
        Ok(())
    }

    /// Takes a real back.
    ///
    /// # Errors
    /// It has not been written.
    pub fn remove_real(&mut self, key: &RealKey) -> Result<(), Unfit> {
        let (service, place) = self.place(key)?;
        service.places.remove(&key.endpoint);
        let real = service.reals[place].take();
        real.iter().for_each(|real| self.forget(real));
        Ok(())
    }

    /// The service of a real, and where the real stands in it.
    fn place(&mut self, key: &RealKey) -> Result<(&mut Written, usize), Unfit> {
        let service = self.services.get_mut(&key.service).ok_or(Unfit::NoSuchService)?;
        let place = *service.places.get(&key.endpoint).ok_or(Unfit::NoSuchReal)?;
        Ok((service, place))
    }

    fn forget(&mut self, real: &Real) {
        self.real_count -= 1;
        take(&mut self.hosts, real.endpoint.ip());
    }

    /// Whether no service has been written, not even a faulty one.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.faulty.is_empty()
    }

    /// Adds all of it to a model that has no services.
    pub fn finish(self, model: &mut Model) {
        for (key, Written { settings, reals, .. }) in self.services {
            let generation = model.next_generation();
            let reals = reals.into_iter().flatten().collect();
            model.insert(Service::with_added(key, settings, generation, reals));
        }
    }
}

/// One fewer has this address.
fn take(counts: &mut HashMap<IpAddr, usize>, address: IpAddr) {
    if let Some(count) = counts.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&address);
        }
    }
}

impl Configured for Draft {
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
        self.vips.contains_key(&address)
    }

    fn has_real(&self, key: &RealKey) -> bool {
        self.services.get(&key.service).is_some_and(|service| service.places.contains_key(&key.endpoint))
    }

    fn real_count(&self) -> usize {
        self.real_count
    }

    fn is_host(&self, address: IpAddr) -> bool {
        self.hosts.contains_key(&address)
    }
}
