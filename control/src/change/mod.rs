//! A change of the model: model + command → new model, or a refusal. Pure.

mod restore;
mod steps;

pub use restore::{restore, save};
pub use steps::steps;

use crate::api::protocol::Command;
use crate::api::refusal::Refused;
use crate::model::rules::{self, Unfit};
use crate::model::{Model, Network, Real, Service, TooLong, with_timeouts};
use crate::text::services::Listen;
use crate::text::{algorithms, later};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::ServiceKey;
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
pub fn apply(model: &Model, network: &Network, command: &Command) -> Result<(Model, Effect), Refused> {
    let mut next = model.clone();
    let effect = match command {
        Command::AddService { service, scheduler, persistence } => {
            refuse_persistence(*persistence)?;
            let algorithm = algorithms::by_name_or_default(scheduler.as_deref())?;
            add_service(&mut next, network, service.0, algorithm)?;
            Effect::Changed
        }
        Command::EditService { service, scheduler, persistence } => {
            edit_service(&mut next, service, scheduler.as_deref(), *persistence)?
        }
        Command::DelService { service } => {
            next.remove(&service.0).ok_or(Unfit::NoSuchService)?;
            Effect::Changed
        }
        Command::AddReal { service, real, weight, upper_threshold, lower_threshold } => {
            refuse_thresholds([*upper_threshold, *lower_threshold])?;
            let real = Real { endpoint: *real, weight: weight.unwrap_or(1) };
            add_real(&mut next, network, service.0, real)?;
            Effect::Changed
        }
        Command::EditReal { service, real, weight, upper_threshold, lower_threshold } => {
            let present = present(model, &service.0, *real)?;
            refuse_thresholds([*upper_threshold, *lower_threshold])?;
            let weight = weight.unwrap_or(present.weight);
            rules::check_weight(weight)?;
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
            next = restore(model, network, lines.iter())?;
            if *dry_run { Effect::None } else { Effect::Changed }
        }
        other => {
            debug_assert!(!other.is_change(), "{other:?}");
            Effect::None
        }
    };
    Ok((next, effect))
}

fn add_service(
    model: &mut Model,
    network: &Network,
    key: ServiceKey,
    algorithm: Algorithm,
) -> Result<(), Refused> {
    rules::check_service(network, &*model, &key)?;
    let generation = model.next_generation();
    model.insert(Service::new(key, algorithm, generation));
    Ok(())
}

fn add_real(model: &mut Model, network: &Network, key: ServiceKey, real: Real) -> Result<(), Refused> {
    rules::check_real(network, &*model, &key, &real)?;
    model.add_real(&key, real);
    Ok(())
}

fn edit_service(
    model: &mut Model,
    service: &Listen,
    scheduler: Option<&str>,
    persistence: Option<u32>,
) -> Result<Effect, Refused> {
    let present = model.services().get(&service.0).ok_or(Unfit::NoSuchService)?.algorithm;
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
fn present(model: &Model, service: &ServiceKey, endpoint: SocketAddr) -> Result<Real, Unfit> {
    let service = model.services().get(service).ok_or(Unfit::NoSuchService)?;
    service.real(endpoint).copied().ok_or(Unfit::NoSuchReal)
}

fn set_timeouts(model: &mut Model, set: TimeoutSeconds) -> Result<(), Refused> {
    let wanted = with_timeouts(model.timeouts, set);
    model.timeouts = wanted.map_err(|TooLong(seconds)| Refused::BadTimeout(seconds))?;
    Ok(())
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
