//! A change of the model: model + command → new model, or a refusal. Pure.

mod address;
mod restore;

pub use restore::{configured, restore, save};

use crate::api::protocol::Command;
use crate::api::refusal::Refused;
use crate::model::{LARGEST_WEIGHT, Links, MAX_SERVICES, Model, Real, Service, TooLong, with_timeouts};
use crate::text::addresses::Listen;
use crate::text::{algorithms, later};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{MAX_REALS, ServiceKey};
use dataplane::schedule::Algorithm;
use std::net::SocketAddr;

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
            let algorithm = algorithms::by_name_or_default(scheduler.as_deref())?;
            add_service(&mut next, links, service.0, algorithm)?;
            Effect::Changed
        }
        Command::EditService { service, scheduler, persistence } => {
            edit_service(&mut next, service, scheduler.as_deref(), *persistence)?
        }
        Command::DelService { service } => {
            next.remove(&service.0).ok_or(Refused::NoSuchService)?;
            Effect::Changed
        }
        Command::AddReal { service, real, weight, upper_threshold, lower_threshold } => {
            refuse_thresholds([*upper_threshold, *lower_threshold])?;
            let real = Real { endpoint: *real, weight: weight.unwrap_or(1) };
            add_real(&mut next, links, service.0, real)?;
            Effect::Changed
        }
        Command::EditReal { service, real, weight, upper_threshold, lower_threshold } => {
            let present = present(model, &service.0, *real)?;
            refuse_thresholds([*upper_threshold, *lower_threshold])?;
            let weight = weight.unwrap_or(present.weight);
            check_weight(weight)?;
            // Even an edit that changes nothing restarts wrr, as in the kernel.
            next.set_weight(&service.0, *real, weight);
            Effect::Changed
        }
        Command::Drain { service, real } => {
            // Asking again how many connections live must not restart wrr every time.
            if present(model, &service.0, *real)?.weight == 0 {
                Effect::None
            } else {
                next.set_weight(&service.0, *real, 0);
                Effect::Changed
            }
        }
        Command::DelReal { service, real } => {
            present(model, &service.0, *real)?;
            next.remove_real(&service.0, *real);
            Effect::Changed
        }
        Command::Timeouts { set: Some(set) } => {
            set_timeouts(&mut next, *set)?;
            if next.timeouts == model.timeouts { Effect::None } else { Effect::Changed }
        }
        Command::Clear {} => {
            next.clear();
            if model.services().is_empty() { Effect::None } else { Effect::Changed }
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
    if model.services().contains_key(&key) {
        return Err(Refused::ServiceExists);
    }
    address::check_vip(links, key.listen)?;
    let vip = key.listen.ip();
    address::check_no_real(vip, model.is_host(vip))?;
    if model.services().len() >= MAX_SERVICES {
        return Err(Refused::TooMany { what: "services", most: MAX_SERVICES });
    }
    let generation = model.next_generation();
    model.insert(Service::new(key, algorithm, generation));
    Ok(())
}

fn add_real(model: &mut Model, links: &Links, key: ServiceKey, real: Real) -> Result<(), Refused> {
    let service = model.services().get(&key).ok_or(Refused::NoSuchService)?;
    if service.real(real.endpoint).is_some() {
        return Err(Refused::RealExists);
    }
    check_real(links, &real)?;
    let host = real.endpoint.ip();
    address::check_no_vip(host, model.is_vip(host))?;
    if model.real_count() >= MAX_REALS {
        return Err(Refused::TooMany { what: "reals", most: MAX_REALS });
    }
    model.add_real(&key, real);
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
    let present = model.services().get(&service.0).ok_or(Refused::NoSuchService)?.algorithm;
    refuse_persistence(persistence)?;
    let algorithm = scheduler.map_or(Ok(present), algorithms::by_name)?;
    if algorithm == present {
        // As in the kernel, a scheduler that stays keeps its position.
        return Ok(Effect::None);
    }
    model.reschedule(&service.0, algorithm);
    Ok(Effect::Changed)
}

/// A real that a command names.
fn present(model: &Model, service: &ServiceKey, endpoint: SocketAddr) -> Result<Real, Refused> {
    let service = model.services().get(service).ok_or(Refused::NoSuchService)?;
    service.real(endpoint).copied().ok_or(Refused::NoSuchReal)
}

fn set_timeouts(model: &mut Model, set: TimeoutSeconds) -> Result<(), Refused> {
    let wanted = with_timeouts(model.timeouts, set);
    model.timeouts = wanted.map_err(|TooLong(seconds)| Refused::BadTimeout(seconds))?;
    Ok(())
}

fn check_weight(weight: u32) -> Result<(), Refused> {
    if weight > LARGEST_WEIGHT { Err(Refused::BadWeight(weight)) } else { Ok(()) }
}

fn refuse_persistence(persistence: Option<u32>) -> Result<(), Refused> {
    match persistence {
        None | Some(0) => Ok(()),
        Some(_) => Err(Refused::NotSupported(later::PERSISTENCE)),
    }
}

fn refuse_thresholds(thresholds: [Option<u32>; 2]) -> Result<(), Refused> {
    if thresholds.iter().any(|threshold| threshold.unwrap_or(0) != 0) {
        return Err(Refused::NotSupported(later::THRESHOLDS));
    }
    Ok(())
}
