//! A change of the model: model + command → new model, or a refusal. Pure.

mod address;
mod refusal;
mod restore;

pub use refusal::Refused;
pub use restore::{configured, restore, save};

use crate::api::protocol::{Command, Listen};
use crate::model::{Links, MAX_SERVICES, Model, Real, Service};
use crate::text::algorithms;
use crate::text::ipvsadm_lines::LARGEST_WEIGHT;
use dataplane::connection::Timeouts;
use dataplane::names::ids::{MAX_REALS, ServiceKey};
use dataplane::schedule::Algorithm;
use std::net::SocketAddrV4;
use std::sync::Arc;

/// What a command does to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it asks, or everything is as it wants.
    None,
    /// The new model differs and is to be published.
    Changed,
}

/// Carries a command out on a copy. A refused one changes nothing.
///
/// # Errors
/// The refusal, in the words that the operator reads.
pub fn apply(model: &Model, links: &Links, command: &Command) -> Result<(Model, Effect), Refused> {
    let mut next = model.clone();
    let effect = match command {
        Command::AddService { service, scheduler, persistence } => {
            refuse_persistence(*persistence)?;
            let algorithm = scheduler.as_deref().map_or(Ok(algorithms::DEFAULT), algorithms::by_name)?;
            add_service(&mut next, links, service.0, algorithm)?;
            Effect::Changed
        }
        Command::EditService { service, scheduler, persistence } => {
            edit_service(&mut next, service, scheduler.as_deref(), *persistence)?
        }
        Command::DelService { service } => {
            next.services.remove(&service.0).ok_or(Refused::NoSuchService)?;
            Effect::Changed
        }
        Command::AddReal { service, real, weight, upper_threshold, lower_threshold } => {
            refuse_thresholds([*upper_threshold, *lower_threshold])?;
            let real = Real { endpoint: *real, weight: weight.unwrap_or(1) };
            add_real(&mut next, links, service.0, real)?;
            Effect::Changed
        }
        Command::EditReal { service, real, weight, upper_threshold, lower_threshold } => {
            // Even an edit that changes nothing restarts wrr, as in the kernel.
            edit_real(&mut next, service, *real, |real| {
                refuse_thresholds([*upper_threshold, *lower_threshold])?;
                real.weight = weight.unwrap_or(real.weight);
                check_weight(real.weight)
            })?;
            Effect::Changed
        }
        Command::Drain { service, real } => drain(&mut next, service, *real)?,
        Command::DelReal { service, real } => {
            let service = edited(&mut next, &service.0)?;
            let place = service.reals.iter().position(|other| other.endpoint == *real);
            service.reals.remove(place.ok_or(Refused::NoSuchReal)?);
            service.note_change();
            Effect::Changed
        }
        Command::Timeouts { set: Some(set) } => {
            set_timeouts(&mut next, *set)?;
            if next.timeouts == model.timeouts { Effect::None } else { Effect::Changed }
        }
        Command::Clear {} => {
            next.services.clear();
            if model.services.is_empty() { Effect::None } else { Effect::Changed }
        }
        Command::Restore { lines, dry_run } => {
            next = restore(model, links, lines.iter())?;
            if *dry_run { Effect::None } else { Effect::Changed }
        }
        Command::Timeouts { set: None }
        | Command::List { .. }
        | Command::Stats { .. }
        | Command::Rate { .. }
        | Command::Connections { .. }
        | Command::Zero {}
        | Command::Save {}
        | Command::Status {} => Effect::None,
    };
    Ok((next, effect))
}

fn add_service(
    model: &mut Model,
    links: &Links,
    key: ServiceKey,
    algorithm: Algorithm,
) -> Result<(), Refused> {
    if model.services.contains_key(&key) {
        return Err(Refused::ServiceExists);
    }
    address::check_vip(links, key.listen)?;
    let vip = *key.listen.ip();
    address::check_no_real(vip, model.reals().any(|real| *real.endpoint.ip() == vip))?;
    if model.services.len() >= MAX_SERVICES {
        return Err(Refused::TooMany { what: "services", most: MAX_SERVICES });
    }
    let generation = model.next_generation();
    model.services.insert(key, Arc::new(Service::new(key, algorithm, generation)));
    Ok(())
}

fn add_real(model: &mut Model, links: &Links, key: ServiceKey, real: Real) -> Result<(), Refused> {
    let service = model.services.get(&key).ok_or(Refused::NoSuchService)?;
    if service.real(real.endpoint).is_some() {
        return Err(Refused::RealExists);
    }
    check_real(links, &real)?;
    let host = *real.endpoint.ip();
    address::check_no_vip(host, model.services.keys().any(|key| *key.listen.ip() == host))?;
    if model.real_count() >= MAX_REALS {
        return Err(Refused::TooMany { what: "reals", most: MAX_REALS });
    }
    let service = edited(model, &key)?;
    service.reals.insert(0, real);
    service.note_change();
    Ok(())
}

fn check_real(links: &Links, real: &Real) -> Result<(), Refused> {
    check_weight(real.weight)?;
    address::check_real(links, real.endpoint)
}

fn edit_service(
    model: &mut Model,
    service: &Listen,
    scheduler: Option<&str>,
    persistence: Option<u32>,
) -> Result<Effect, Refused> {
    let present = model.services.get(&service.0).ok_or(Refused::NoSuchService)?.algorithm;
    refuse_persistence(persistence)?;
    let algorithm = scheduler.map_or(Ok(present), algorithms::by_name)?;
    if algorithm == present {
        // As in the kernel, a scheduler that stays keeps its position.
        return Ok(Effect::None);
    }
    let generation = model.next_generation();
    edited(model, &service.0)?.reschedule(algorithm, generation);
    Ok(Effect::Changed)
}

fn drain(model: &mut Model, service: &Listen, endpoint: SocketAddrV4) -> Result<Effect, Refused> {
    let present = model.services.get(&service.0).ok_or(Refused::NoSuchService)?;
    // Asking again how many connections live must not restart wrr every time.
    if present.real(endpoint).ok_or(Refused::NoSuchReal)?.weight == 0 {
        return Ok(Effect::None);
    }
    edit_real(model, service, endpoint, |real| {
        real.weight = 0;
        Ok(())
    })?;
    Ok(Effect::Changed)
}

fn edit_real(
    model: &mut Model,
    service: &Listen,
    endpoint: SocketAddrV4,
    edit: impl FnOnce(&mut Real) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let service = edited(model, &service.0)?;
    let real = service.reals.iter_mut().find(|real| real.endpoint == endpoint);
    edit(real.ok_or(Refused::NoSuchReal)?)?;
    service.note_change();
    Ok(())
}

/// The service, its own copy, ready to take this command's steps.
fn edited<'a>(model: &'a mut Model, key: &ServiceKey) -> Result<&'a mut Service, Refused> {
    let service = Arc::make_mut(model.services.get_mut(key).ok_or(Refused::NoSuchService)?);
    service.begin_command();
    Ok(service)
}

fn set_timeouts(model: &mut Model, set: [u32; 3]) -> Result<(), Refused> {
    if let Some(&seconds) = set.iter().find(|seconds| **seconds > Timeouts::LONGEST_SECONDS) {
        return Err(Refused::BadTimeout(seconds));
    }
    for (timeout, seconds) in model.timeouts.iter_mut().zip(set) {
        if seconds != 0 {
            *timeout = seconds;
        }
    }
    Ok(())
}

fn check_weight(weight: u32) -> Result<(), Refused> {
    if weight > LARGEST_WEIGHT { Err(Refused::BadWeight(weight)) } else { Ok(()) }
}

fn refuse_persistence(persistence: Option<u32>) -> Result<(), Refused> {
    match persistence {
        None | Some(0) => Ok(()),
        Some(_) => Err(Refused::NotSupported("persistence (-p)".into())),
    }
}

fn refuse_thresholds(thresholds: [Option<u32>; 2]) -> Result<(), Refused> {
    if thresholds.iter().any(|threshold| threshold.unwrap_or(0) != 0) {
        return Err(Refused::NotSupported("connection thresholds (-x, -y)".into()));
    }
    Ok(())
}
