//! Traffic of services and reals: the workers' counters, counted only while a real is in service.
//!
//! A service has a total of its own, so that reals that were removed still count in it.

use crate::api::protocol::Traffic;
use crate::model::Model;
use crate::observe::rates::Rates;
use crate::publish::workers::Workers;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{RealId, RealKey, ServiceKey};
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::ops::{Add, AddAssign};
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
#[derive(Debug)]
pub struct Statistics {
    /// The model whose accounts are open.
    followed: Model,
    services: HashMap<ServiceKey, ServiceAccount>,
}

/// The accounts of a service and its reals, or of the removed reals of a removed service.
#[derive(Debug, Default)]
struct ServiceAccount {
    /// `None`: the service is removed.
    own: Option<Account>,
    reals: HashMap<SocketAddr, RealAccount>,
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

impl Default for Statistics {
    fn default() -> Self {
        Self { followed: Model::new(TimeoutSeconds::default()), services: HashMap::new() }
    }
}

impl Statistics {
    /// Before a new model is published: opens the accounts of what is new in it, and goes on with those
    /// of what was removed and is back.
    pub fn open(&mut self, model: &Model, id: impl Fn(&RealKey) -> Option<RealId>, reader: &impl Reader) {
        for now in model.differences(&self.followed).filter_map(|change| change.now) {
            let service = self.services.entry(now.key).or_default();
            if service.own.is_none() {
                // As in the kernel, a service made anew begins at 0 with all its reals.
                *service = ServiceAccount { own: Some(Account::default()), reals: HashMap::new() };
            }
            for key in now.real_keys() {
                if let Some(id) = id(&key) {
                    service.open(key.endpoint, id, reader);
                }
            }
        }
    }

    /// After the new model is in force: closes the accounts of what it has no more.
    pub fn close(&mut self, model: &Model, reader: &impl Reader) {
        for change in model.differences(&self.followed) {
            let Some(service) = self.services.get_mut(&change.key) else { continue };
            for key in change.leaving() {
                service.close(key.endpoint, reader);
            }
            if change.now.is_none() {
                service.own = None;
                if service.reals.is_empty() {
                    self.services.remove(&change.key);
                }
            }
        }
        self.followed = model.clone();
    }

    /// Forgets a removed real: nothing of it is left.
    pub fn forget(&mut self, key: &RealKey) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        service.reals.remove(&key.endpoint);
        if service.own.is_none() && service.reals.is_empty() {
            self.services.remove(&key.service);
        }
    }

    /// Adds what was counted since the last time.
    pub fn collect(&mut self, reader: &impl Reader) {
        for service in self.services.values_mut() {
            let in_service = service.reals.values_mut().filter(|real| real.in_service);
            let passed = in_service.fold(Traffic::default(), |sum, real| sum + real.collect(reader));
            service.own.iter_mut().for_each(|own| own.total += passed);
        }
    }

    /// Renews the rates; [`collect`](Self::collect) comes first.
    pub fn estimate(&mut self, elapsed: Duration) {
        for account in self.accounts() {
            account.rates.renew(account.total, elapsed);
        }
    }

    /// Everything begins at 0.
    pub fn zero(&mut self, reader: &impl Reader) {
        self.collect(reader);
        self.accounts().for_each(|account| *account = Account::default());
    }

    fn accounts(&mut self) -> impl Iterator<Item = &mut Account> {
        self.services.values_mut().flat_map(|ServiceAccount { own, reals }| {
            own.iter_mut().chain(reals.values_mut().map(|real| &mut real.account))
        })
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
    fn open(&mut self, endpoint: SocketAddr, id: RealId, reader: &impl Reader) {
        let read = || reader.read(id);
        let fresh = || RealAccount { id, account: Account::default(), read: read(), in_service: true };
        let known = self.reals.entry(endpoint).or_insert_with(fresh);
        if !known.in_service {
            *known = RealAccount { id, read: read(), in_service: true, ..*known };
        }
    }

    fn close(&mut self, endpoint: SocketAddr, reader: &impl Reader) {
        let Some(real) = self.reals.get_mut(&endpoint).filter(|real| real.in_service) else { return };
        let passed = real.collect(reader);
        real.in_service = false;
        self.own.iter_mut().for_each(|own| own.total += passed);
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
