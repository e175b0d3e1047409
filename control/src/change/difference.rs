//! What leads from one model to another, seen as an operator sees it: as lines that he could have typed, each about one
//! service or real. The order of reals does not count, so a real that stands first in a file and is new is the newest
//! all the same, and those that stay are not touched.

use crate::model::{Difference, Model, Real, Service};
use crate::text::ipvsadm_lines;
use crate::text::sort_order::{Place, sorted};
use dataplane::names::ids::{RealKey, ServiceKey};
use dataplane::snapshot::Thresholds;
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// One step of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// As `ipvsadm` would have it.
    pub line: String,
    /// The reals that are there now whose connections this is about: removed, or otherwise from now on.
    pub reals: Vec<RealKey>,
}

impl Edit {
    fn of(line: String, reals: impl IntoIterator<Item = RealKey>) -> Self {
        Self { line, reals: reals.into_iter().collect() }
    }

    fn about_nobody(line: String) -> Self {
        Self::of(line, [])
    }
}

/// What would be typed so that `before` has the services, reals and timeouts of `target`: what goes first.
pub fn edits(before: &Model, target: &Model) -> Vec<Edit> {
    let (mut gone, mut others) = (Vec::new(), Vec::new());
    if before.timeouts != target.timeouts {
        others.push(Edit::about_nobody(ipvsadm_lines::timeouts_line(target.timeouts)));
    }
    let place = |difference: &Difference<'_>| Some(Place::of_service(&difference.key));
    for Difference { key, before, now } in sorted(target.differences(before), place) {
        match (before, now) {
            (Some(before), None) => {
                gone.push(Edit::of(ipvsadm_lines::del_service_line(&key), before.real_keys()));
            }
            (None, Some(now)) => {
                let mut lines = Vec::new();
                super::steps::add(now, &mut lines);
                others.extend(lines.into_iter().map(Edit::about_nobody));
            }
            (Some(before), Some(now)) => edits_of(before, now, &mut gone, &mut others),
            (None, None) => {}
        }
    }
    gone.append(&mut others);
    gone
}

fn edits_of(before: &Service, now: &Service, gone: &mut Vec<Edit>, others: &mut Vec<Edit>) {
    let Service { key, settings, .. } = now;
    let settings_before = &before.settings;
    if settings_before != settings {
        others.push(Edit::about_nobody(ipvsadm_lines::edit_service_line(key, settings)));
    }
    let (old, new) = (by_endpoint(before), by_endpoint(now));
    let real = |endpoint| RealKey { service: *key, endpoint };
    for Real { endpoint, .. } in before.reals.iter().rev().filter(|real| !new.contains_key(&real.endpoint)) {
        gone.push(Edit::of(ipvsadm_lines::del_real_line(key, *endpoint), [real(*endpoint)]));
    }
    for now in now.reals.iter().rev() {
        match old.get(&now.endpoint) {
            Some(before) if shown(before) == shown(now) => {}
            Some(before) => {
                let edited = edited(before, now);
                let (before, now) = ((settings_before, before), (settings, &edited));
                let lines = ipvsadm_lines::edit_real_lines(key, before, now);
                let line = |line| Edit::of(line, [real(edited.endpoint)]);
                others.extend(lines.into_iter().map(line));
            }
            None => {
                let lines = ipvsadm_lines::real_lines(key, settings, now);
                others.extend(lines.into_iter().map(Edit::about_nobody));
            }
        }
    }
}

/// `before`, made to have what `target` has. What does not differ is untouched: schedulers go on where they are.
pub fn merged(before: &Model, target: &Model) -> Model {
    let mut next = before.clone();
    next.timeouts = target.timeouts;
    let differences: Vec<_> = target.differences(before).collect();
    // What goes first: another service may take its ports.
    for Difference { key, .. } in differences.iter().filter(|difference| difference.now.is_none()) {
        next.remove(key);
    }
    for Difference { key, before, now } in &differences {
        match (before, now) {
            (Some(before), Some(now)) => rework(&mut next, key, before, now),
            (None, Some(now)) => {
                let generation = next.next_generation();
                let oldest_first = now.reals.iter().rev().copied().collect();
                next.insert(Service::with_added(*key, now.settings, generation, oldest_first));
            }
            (_, None) => {}
        }
    }
    next
}

fn rework(next: &mut Model, key: &ServiceKey, before: &Arc<Service>, now: &Arc<Service>) {
    let (old, new) = (by_endpoint(before), by_endpoint(now));
    let added = now.reals.iter().filter(|real| !old.contains_key(&real.endpoint)).copied();
    let stayed = before.reals.iter().filter_map(|before| {
        let now = new.get(&before.endpoint)?;
        Some(if shown(before) == shown(now) { *before } else { edited(before, now) })
    });
    let reals: Vec<Real> = added.chain(stayed).collect();
    if before.settings != now.settings || before.reals != reals {
        next.rework(key, now.settings, reals);
    }
}

/// A real that stays, with the weight and the limits that it is to have.
fn edited(before: &Real, now: &Real) -> Real {
    let mut edited = Real { thresholds: now.thresholds, ..*before };
    edited.set_weight(now.weight);
    edited
}

/// What of a real is set.
const fn shown(real: &Real) -> (u32, Thresholds) {
    (real.weight, real.thresholds)
}

fn by_endpoint(service: &Service) -> HashMap<SocketAddr, Real> {
    service.reals.iter().map(|real| (real.endpoint, *real)).collect()
}

/// A number for what a model has, whatever the order of its reals: two that are equal have the same, and two that are
/// not hardly ever. FNV-1a of each line, added up, so that a change costs what it changes.
pub fn fingerprint(model: &Model) -> u64 {
    let services = model.services().values().map(|service| of_service(service));
    services.fold(of_line(&ipvsadm_lines::timeouts_line(model.timeouts)), u64::wrapping_add)
}

/// The fingerprint of `now`, where that of `before` is this one.
pub fn fingerprint_after(of_before: u64, before: &Model, now: &Model) -> u64 {
    let timeouts = |model: &Model| of_line(&ipvsadm_lines::timeouts_line(model.timeouts));
    let of_now = of_before.wrapping_sub(timeouts(before)).wrapping_add(timeouts(now));
    now.differences(before).fold(of_now, |sum, Difference { before, now, .. }| {
        let of = |service: Option<&Arc<Service>>| service.map_or(0, |service| of_service(service));
        sum.wrapping_sub(of(before)).wrapping_add(of(now))
    })
}

fn of_service(service: &Service) -> u64 {
    let Service { key, settings, .. } = service;
    let own = of_line(&ipvsadm_lines::service_line(key, settings));
    let reals = service.reals.iter().flat_map(|real| {
        // Without what the weight was before it was 0.
        let real = Real { last_weight: real.weight, ..*real };
        ipvsadm_lines::real_lines(key, settings, &real)
    });
    reals.map(|line| of_line(&line)).fold(own, u64::wrapping_add)
}

fn of_line(line: &str) -> u64 {
    let bytes = line.bytes();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
