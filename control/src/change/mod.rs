//! A change of the model: model + command → new model, or a refusal. Pure.
//!
//! ```text
//! mod         one command
//! restore     all services replaced by lines, and the lines that bring them back
//! steps       the lines that lead from one model to another, for programs
//! difference  … and for people: what an operator would type
//! ```

mod difference;
mod restore;
mod steps;

pub use difference::{Edit, edits, fingerprint, fingerprint_after, merged};
pub use restore::{restore, save};
pub use steps::steps;

use crate::api::protocol::{Command, ServiceOptions};
use crate::api::refusal::Refused;
use crate::model::rules::{self, Unfit};
use crate::model::{Model, Network, Real, Service, TooLong, with_timeouts};
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::ServiceKey;
use dataplane::snapshot::Thresholds;
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
        Command::AddService(options) => {
            add_service(&mut next, network, options)?;
            Effect::Changed
        }
        Command::EditService(options) => edit_service(&mut next, options)?,
        Command::DelService { service } => {
            next.remove(&service.0).ok_or(Unfit::NoSuchService)?;
            Effect::Changed
        }
        Command::AddReal { service, real, weight, upper_threshold, lower_threshold } => {
            let real = Real::new(*real, weight.unwrap_or(1));
            let real = Real { thresholds: limited(&real, *upper_threshold, *lower_threshold), ..real };
            add_real(&mut next, network, service.0, real)?;
            Effect::Changed
        }
        Command::EditReal { service, real, weight, upper_threshold, lower_threshold } => {
            rules::check_family(&service.0, *real)?;
            let mut edited = present(model, &service.0, *real)?;
            edited.thresholds = limited(&edited, *upper_threshold, *lower_threshold);
            edited.set_weight(weight.unwrap_or(edited.weight));
            rules::check_numbers(&edited)?;
            // Even an edit that changes nothing restarts wrr, as in the kernel.
            next.edit_real(&service.0, &edited);
            Effect::Changed
        }
        Command::Drain { service, real, reset } => {
            let mut drained = present(model, &service.0, *real)?;
            // Asking again how many connections live must not restart wrr every time.
            if drained.weight == 0 && (drained.is_emptied || !reset) {
                Effect::None
            } else {
                drained.set_weight(0);
                drained.is_emptied |= reset;
                next.edit_real(&service.0, &drained);
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
        Command::Clear { connections: false } => {
            next.clear();
            if model.services().is_empty() { Effect::None } else { Effect::Changed }
        }
        Command::Restore { lines, dry_run } => {
            next = restore(model, network, lines.iter())?;
            if *dry_run { Effect::None } else { Effect::Changed }
        }
        Command::Apply { lines, dry_run, .. } => {
            let target = restore(model, network, lines.iter())?;
            next = merged(model, &target);
            if *dry_run || edits(model, &target).is_empty() { Effect::None } else { Effect::Changed }
        }
        other => {
            debug_assert!(!other.is_change(), "{other:?}");
            Effect::None
        }
    };
    Ok((next, effect))
}

fn add_service(model: &mut Model, network: &Network, options: &ServiceOptions) -> Result<(), Refused> {
    let (key, settings) = (options.service.0, options.settings(None)?);
    rules::check_service(network, &*model, &key)?;
    let generation = model.next_generation();
    model.insert(Service::new(key, settings, generation));
    Ok(())
}

fn add_real(model: &mut Model, network: &Network, key: ServiceKey, real: Real) -> Result<(), Refused> {
    rules::check_real(network, &*model, &key, &real)?;
    model.add_real(&key, real);
    Ok(())
}

fn edit_service(model: &mut Model, options: &ServiceOptions) -> Result<Effect, Refused> {
    let key = &options.service.0;
    let present = model.services().get(key).ok_or(Unfit::NoSuchService)?.settings;
    let settings = options.settings(Some(&present))?;
    if settings == present {
        return Ok(Effect::None);
    }
    model.edit_service(key, settings);
    Ok(Effect::Changed)
}

/// A real's thresholds, with these in place of what they were.
fn limited(real: &Real, upper: Option<u32>, lower: Option<u32>) -> Thresholds {
    let present = real.thresholds;
    Thresholds { upper: upper.unwrap_or(present.upper), lower: lower.unwrap_or(present.lower) }
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

#[cfg(test)]
mod tests;
