//! Traffic of services and reals: the workers' counters, counted only while a real is in service.
//!
//! A service has a total of its own, so that reals that were removed still count in it.

use crate::api::protocol::Traffic;
use crate::observe::rates::Rates;
use crate::publish::ids::{Arrived, Left};
use crate::publish::workers::Workers;
use dataplane::names::ids::{RealId, RealKey, ServiceKey};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Add, AddAssign, Bound};
use std::time::Duration;

/// What the workers have counted for an id, since they run.
pub trait Reader {
    /// The sum over all workers.
    fn read(&self, id: RealId) -> Traffic;
}

impl Reader for Workers {
    fn read(&self, id: RealId) -> Traffic {
        self.counters().map(|counters| counters.real(id)).fold(Traffic::default(), |mut sum, real| {
            sum += Traffic {
                conns: real.connections.get(),
                in_packets: real.in_packets.get(),
                out_packets: real.out_packets.get(),
                in_bytes: real.in_bytes.get(),
                out_bytes: real.out_bytes.get(),
            };
            sum
        })
    }
}

/// The accounts of all services and reals.
#[derive(Debug, Default)]
pub struct Statistics {
    services: BTreeMap<ServiceKey, ServiceAccount>,
    /// What was counted of all services, those that are removed included.
    all: Traffic,
    /// The renewal that is under way.
    renewal: Option<Renewal>,
}

/// Renewing all rates, which is done in slices.
#[derive(Clone, Copy, Debug)]
struct Renewal {
    /// Since the one before.
    elapsed: Duration,
    /// The last service that it has come to, with the last of its reals; `None`: all of the service is renewed.
    after: Option<(ServiceKey, Option<SocketAddr>)>,
}

/// The accounts of a service and its reals, or of the removed reals of a removed service.
#[derive(Debug, Default)]
struct ServiceAccount {
    /// `None`: the service is removed.
    own: Option<Account>,
    /// In an order, so that they can be gone through in slices, and grown without being moved all at once: there may be
    /// as many as there are reals.
    reals: BTreeMap<SocketAddr, RealAccount>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    total: Traffic,
    rates: Rates,
}

#[derive(Clone, Copy, Debug)]
struct RealAccount {
    id: RealId,
    account: Account,
    /// What the workers had counted when last read.
    read: Traffic,
    in_service: bool,
}

impl Statistics {
    /// Before a new model is published: opens the accounts of what is new in it, and goes on with those of what was
    /// removed and is back. Takes `most` of them out of `arrived`.
    pub fn open(&mut self, arrived: &mut Arrived, most: usize, reader: &impl Reader) {
        let services = last(&mut arrived.services, most);
        let most = most - services.len();
        for key in services {
            // As in the kernel, a service made anew begins at 0 with all its reals.
            let account = ServiceAccount { own: Some(Account::default()), reals: BTreeMap::new() };
            self.services.insert(key, account);
        }
        for (key, id) in last(&mut arrived.reals, most) {
            self.services.entry(key.service).or_default().open(key.endpoint, id, reader);
        }
    }

    /// After the new model is in force: closes the accounts of what it has no more. Takes `most` of them out of `left`.
    pub fn close(&mut self, left: &mut Left, most: usize, reader: &impl Reader) {
        let reals = last(&mut left.reals, most);
        let most = most - reals.len();
        for key in reals {
            if let Some(service) = self.services.get_mut(&key.service) {
                self.all += service.close(key.endpoint, reader);
            }
        }
        for key in last(&mut left.services, most) {
            if let Some(service) = self.services.get_mut(&key) {
                service.own = None;
                if service.reals.is_empty() {
                    self.services.remove(&key);
                }
            }
        }
    }

    /// The id by which the workers count a real that is in service.
    pub fn id(&self, key: &RealKey) -> Option<RealId> {
        let real = self.services.get(&key.service)?.reals.get(&key.endpoint)?;
        real.in_service.then_some(real.id)
    }

    /// Forgets a removed real: nothing of it is left.
    pub fn forget(&mut self, key: &RealKey) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        service.reals.remove(&key.endpoint);
        if service.own.is_none() && service.reals.is_empty() {
            self.services.remove(&key.service);
        }
    }

    /// Adds what was counted since the last time, of all services or only this one.
    pub fn collect(&mut self, only: Option<&ServiceKey>, reader: &impl Reader) {
        let Self { services, all, .. } = self;
        match only {
            Some(key) => {
                services.get_mut(key).into_iter().for_each(|service| *all += service.collect(reader))
            }
            None => services.values_mut().for_each(|service| *all += service.collect(reader)),
        }
    }

    /// Likewise, of one real alone: its service's total goes on with it.
    pub fn collect_real(&mut self, key: &RealKey, reader: &impl Reader) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        self.all += service.collect_real(key.endpoint, reader);
    }

    /// Begins to renew the rates. This long ago that was begun the last time.
    pub fn begin_renewal(&mut self, elapsed: Duration) {
        self.renewal = Some(Renewal { elapsed, after: None });
    }

    /// Whether rates are still to be renewed.
    pub fn is_renewing(&self) -> bool {
        self.renewal.is_some()
    }

    /// Goes on with renewing: `most` reals, and services as if they were reals.
    pub fn renew(&mut self, most: usize, reader: &impl Reader) {
        let Some(Renewal { elapsed, after }) = self.renewal else { return };
        let from = match after {
            None => Bound::Unbounded,
            Some((key, Some(_))) => Bound::Included(key),
            Some((key, None)) => Bound::Excluded(key),
        };
        let mut left = most;
        for (key, service) in self.services.range_mut((from, Bound::Unbounded)) {
            let real = after.and_then(|(of, real)| real.filter(|_| of == *key));
            let (passed, last) = service.renew(real, &mut left, elapsed, reader);
            self.all += passed;
            if left == 0 {
                self.renewal = Some(Renewal { elapsed, after: Some((*key, last)) });
                return;
            }
        }
        self.renewal = None;
    }

    /// Everything begins at 0.
    pub fn zero(&mut self, only: Option<&ServiceKey>, reader: &impl Reader) {
        self.collect(only, reader);
        let services = self.services.iter_mut().filter(|(key, _)| only.is_none_or(|only| *key == only));
        let accounts = services.flat_map(|(_, service)| service.accounts());
        accounts.for_each(|account| *account = Account::default());
        if only.is_none() {
            self.all = Traffic::default();
        }
    }

    /// The totals of all services, those that are removed included, when they were last collected.
    pub fn all(&self) -> Traffic {
        self.all
    }

    /// Whether a service is there to be counted.
    pub fn counts(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|service| service.own.is_some())
    }

    /// A service's totals and rates.
    pub fn service(&self, key: &ServiceKey) -> (Traffic, Traffic) {
        let own = self.services.get(key).and_then(|service| service.own.as_ref());
        own.map_or_else(Default::default, Account::view)
    }

    /// A real's totals and rates.
    pub fn real(&self, key: &RealKey) -> (Traffic, Traffic) {
        let real = self.services.get(&key.service).and_then(|service| service.reals.get(&key.endpoint));
        real.map_or_else(Default::default, |real| real.account.view())
    }
}

impl ServiceAccount {
    /// Its own, and its reals'.
    fn accounts(&mut self) -> impl Iterator<Item = &mut Account> {
        self.own.iter_mut().chain(self.reals.values_mut().map(|real| &mut real.account))
    }

    /// Adds what was counted since the last time. Returns it.
    fn collect(&mut self, reader: &impl Reader) -> Traffic {
        let in_service = self.reals.values_mut().filter(|real| real.in_service);
        let passed = in_service.fold(Traffic::default(), |sum, real| sum + real.collect(reader));
        self.own.iter_mut().for_each(|own| own.total += passed);
        passed
    }

    /// Likewise, and renews the rates: of as many of the reals behind `after` as are `left`, and then its own. Returns
    /// also the last of these reals; `None`: all is done.
    fn renew(
        &mut self,
        after: Option<SocketAddr>,
        left: &mut usize,
        elapsed: Duration,
        reader: &impl Reader,
    ) -> (Traffic, Option<SocketAddr>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut reals = self.reals.range_mut((from, Bound::Unbounded));
        let (mut passed, mut last) = (Traffic::default(), after);
        while *left > 0 {
            let Some((endpoint, real)) = reals.next() else {
                *left -= 1;
                last = None;
                break;
            };
            if real.in_service {
                passed += real.collect(reader);
            }
            real.account.rates.renew(real.account.total, elapsed);
            *left -= 1;
            last = Some(*endpoint);
        }
        if let Some(own) = &mut self.own {
            own.total += passed;
            if last.is_none() {
                own.rates.renew(own.total, elapsed);
            }
        }
        (passed, last)
    }

    /// Likewise, of one real that is in service.
    fn collect_real(&mut self, endpoint: SocketAddr, reader: &impl Reader) -> Traffic {
        let real = self.reals.get_mut(&endpoint).filter(|real| real.in_service);
        let passed = real.map_or_else(Traffic::default, |real| real.collect(reader));
        self.own.iter_mut().for_each(|own| own.total += passed);
        passed
    }

    fn open(&mut self, endpoint: SocketAddr, id: RealId, reader: &impl Reader) {
        let read = || reader.read(id);
        let fresh = || RealAccount { id, account: Account::default(), read: read(), in_service: true };
        let known = self.reals.entry(endpoint).or_insert_with(fresh);
        if !known.in_service {
            *known = RealAccount { id, read: read(), in_service: true, ..*known };
        }
    }

    /// Counts it no more. Returns what was counted since the last time.
    fn close(&mut self, endpoint: SocketAddr, reader: &impl Reader) -> Traffic {
        let passed = self.collect_real(endpoint, reader);
        if let Some(real) = self.reals.get_mut(&endpoint) {
            real.in_service = false;
        }
        passed
    }
}

impl RealAccount {
    /// Adds what was counted since the last time. Returns it.
    fn collect(&mut self, reader: &impl Reader) -> Traffic {
        let now = reader.read(self.id);
        let passed = between(self.read, now);
        self.read = now;
        self.account.total += passed;
        passed
    }
}

impl Account {
    fn view(&self) -> (Traffic, Traffic) {
        (self.total, self.rates.a_second())
    }
}

/// Takes `most` off the end.
fn last<T>(of: &mut Vec<T>, most: usize) -> std::vec::Drain<'_, T> {
    of.drain(of.len().saturating_sub(most)..)
}

/// What was counted between two readings.
fn between(before: Traffic, now: Traffic) -> Traffic {
    Traffic {
        conns: now.conns.wrapping_sub(before.conns),
        in_packets: now.in_packets.wrapping_sub(before.in_packets),
        out_packets: now.out_packets.wrapping_sub(before.out_packets),
        in_bytes: now.in_bytes.wrapping_sub(before.in_bytes),
        out_bytes: now.out_bytes.wrapping_sub(before.out_bytes),
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.conns += other.conns;
        self.in_packets += other.in_packets;
        self.out_packets += other.out_packets;
        self.in_bytes += other.in_bytes;
        self.out_bytes += other.out_bytes;
    }
}

#[cfg(test)]
mod tests;
