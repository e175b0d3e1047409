//! The lines that lead from one model to another.

use crate::model::{Difference, Model, Real, Service};
use crate::text::ipvsadm_lines;
use hashbrown::HashMap;
use std::net::SocketAddr;

/// Appended to the lines that have made `before`, these make `now`: the same services with the same reals in the same
/// order, and the same timeouts. Takes time in proportion to what has changed.
pub fn steps(before: &Model, now: &Model) -> Vec<String> {
    // First what goes: its address may be another's now.
    let (mut removals, mut others) = (Vec::new(), Vec::new());
    if before.timeouts != now.timeouts {
        others.push(ipvsadm_lines::timeouts_line(now.timeouts));
    }
    for Difference { key, before, now } in now.differences(before) {
        match (before, now) {
            (_, None) => removals.push(ipvsadm_lines::del_service_line(&key)),
            (None, Some(now)) => add(now, &mut others),
            (Some(before), Some(now)) => edit(before, now, &mut removals, &mut others),
        }
    }
    removals.append(&mut others);
    removals
}

/// All of a service, its reals oldest first, so that the same ones are picked again.
pub(super) fn add(service: &Service, lines: &mut Vec<String>) {
    let Service { key, settings, .. } = service;
    lines.push(ipvsadm_lines::service_line(key, settings));
    let oldest_first = service.reals.iter().rev();
    lines.extend(oldest_first.flat_map(|real| ipvsadm_lines::real_lines(key, settings, real)));
}

fn edit(before: &Service, now: &Service, removals: &mut Vec<String>, lines: &mut Vec<String>) {
    let Service { key, settings, .. } = now;
    let by_endpoint = |service: &Service| -> HashMap<SocketAddr, Real> {
        service.reals.iter().map(|real| (real.endpoint, *real)).collect()
    };
    let (old, new) = (by_endpoint(before), by_endpoint(now));
    let settings_before = &before.settings;
    // Those that are new are the newest, and the others stand as they stood: unless all reals were replaced.
    let added = now.reals.iter().take_while(|real| !old.contains_key(&real.endpoint)).count();
    let (added, stayed) = now.reals.split_at(added);
    let kept = before.reals.iter().filter(|real| new.contains_key(&real.endpoint)).map(|real| real.endpoint);
    if !stayed.iter().map(|real| real.endpoint).eq(kept) {
        removals.push(ipvsadm_lines::del_service_line(key));
        return add(now, lines);
    }
    if settings_before != settings {
        lines.push(ipvsadm_lines::edit_service_line(key, settings));
    }
    let gone = before.reals.iter().filter(|real| !new.contains_key(&real.endpoint));
    removals.extend(gone.map(|real| ipvsadm_lines::del_real_line(key, real.endpoint)));
    for real in stayed {
        if let Some(before) = old.get(&real.endpoint) {
            lines.extend(ipvsadm_lines::edit_real_lines(key, (settings_before, before), (settings, real)));
        }
    }
    lines.extend(added.iter().rev().flat_map(|real| ipvsadm_lines::real_lines(key, settings, real)));
}
