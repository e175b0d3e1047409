//! Traffic of services and reals: the workers' counters, counted only while a real is in service.
//!
//! A service has a total of its own, so that reals that were removed still count in it.

use crate::api::protocol::Traffic;
use crate::model::Model;
use crate::observe::rates::Rates;
use crate::publish::workers::Workers;
use dataplane::names::ids::{RealId, RealKey, ServiceKey};
use hashbrown::HashMap;
use std::ops::AddAssign;
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
    services: HashMap<ServiceKey, Account>,
    reals: HashMap<RealKey, RealAccount>,
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
    /// Before a new model is published: opens the accounts of what is new in it, and goes on with those
    /// of what was removed and is back.
    pub fn open(&mut self, model: &Model, id: impl Fn(&RealKey) -> Option<RealId>, reader: &impl Reader) {
        for key in model.services.keys() {
            if !self.services.contains_key(key) {
                self.services.insert(*key, Account::default());
                // As in the kernel, a service made anew begins at 0 with all its reals.
                self.reals.retain(|real, account| real.service != *key || account.in_service);
            }
        }
        for key in model.reals() {
            let Some(id) = id(&key) else { continue };
            let read = || reader.read(id);
            let fresh = || RealAccount { id, account: Account::default(), read: read(), in_service: true };
            let known = self.reals.entry(key).or_insert_with(fresh);
            if !known.in_service {
                *known = RealAccount { id, read: read(), in_service: true, ..*known };
            }
        }
    }

    /// After the new model is in force: closes the accounts of what it has no more.
    pub fn close(&mut self, model: &Model, is_real: impl Fn(&RealKey) -> bool, reader: &impl Reader) {
        self.collect(reader);
        for (key, account) in &mut self.reals {
            account.in_service = is_real(key);
        }
        self.services.retain(|key, _| model.services.contains_key(key));
    }

    /// Forgets a removed real: nothing of it is left.
    pub fn forget(&mut self, key: &RealKey) {
        self.reals.remove(key);
    }

    /// Adds what was counted since the last time.
    pub fn collect(&mut self, reader: &impl Reader) {
        for (key, real) in self.reals.iter_mut().filter(|(_, real)| real.in_service) {
            let now = reader.read(real.id);
            let passed = between(real.read, now);
            real.read = now;
            real.account.total += passed;
            if let Some(service) = self.services.get_mut(&key.service) {
                service.total += passed;
            }
        }
    }

    /// Renews the rates; [`collect`](Self::collect) comes first.
    pub fn estimate(&mut self, elapsed: Duration) {
        let reals = self.reals.values_mut().map(|real| &mut real.account);
        for account in reals.chain(self.services.values_mut()) {
            account.rates.renew(account.total, elapsed);
        }
    }

    /// Everything begins at 0.
    pub fn zero(&mut self, reader: &impl Reader) {
        self.collect(reader);
        let reals = self.reals.values_mut().map(|real| &mut real.account);
        for account in reals.chain(self.services.values_mut()) {
            *account = Account::default();
        }
    }

    /// A service's totals and rates.
    pub fn service(&self, key: &ServiceKey) -> (Traffic, Traffic) {
        self.services.get(key).map_or_else(Default::default, Account::view)
    }

    /// A real's totals and rates.
    pub fn real(&self, key: &RealKey) -> (Traffic, Traffic) {
        self.reals.get(key).map_or_else(Default::default, |real| real.account.view())
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
