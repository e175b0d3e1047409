//! What a change leads to whose target is written down elsewhere: in the configuration file, in lines, or in the
//! history. Only what differs from what runs is touched.

use crate::api::protocol::{Command, FaultyLine, FaultyLines, LONGEST_CONFIRM, Lines};
use crate::api::refusal::Refused;
use crate::change::{self, Edit};
use crate::config::reload::{Reloaded, reloaded};
use crate::config::{self, Config, Problem};
use crate::model::{Model, Network};
use crate::persist::history::History;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration file, and what runs of it.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) path: PathBuf,
    pub(super) running: Config,
}

/// What a change leads to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) model: Model,
    /// With other routes or neighbours; `None`: they stay.
    pub(super) network: Option<Arc<Network>>,
    pub(super) report: Report,
}

/// What there is to say of a change, and to do besides services and routes.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) edits: Vec<Edit>,
    /// Of the configuration file: what changes besides services and timeouts.
    pub(super) others: Vec<String>,
    /// Of the configuration file: what does not.
    pub(super) needs_restart: Vec<String>,
    pub(super) notes: Vec<String>,
    /// In the history.
    pub(super) number: Option<u64>,
    /// Seconds in which it is to be confirmed.
    pub(super) confirm: Option<u32>,
    /// What runs of the configuration file from now on.
    pub(super) config: Option<Box<Config>>,
}

/// Where `command` leads; `None`: it has no target of its own.
pub(super) fn target(
    model: &Model,
    network: &Arc<Network>,
    command: &Command,
    configured: Option<&Configured>,
    (history, fingerprint): (&History, u64),
) -> Option<Result<Target, Refused>> {
    match command {
        Command::Apply { lines, confirm, .. } => Some(lines_of(model, network, lines, *confirm)),
        Command::Reload { .. } => Some(match configured {
            Some(configured) => file(model, network, configured),
            None => Err(Refused::NoFile),
        }),
        Command::Rollback { to } => Some(back(model, network, (history, fingerprint), *to)),
        _ => None,
    }
}

fn lines_of(
    model: &Model,
    network: &Network,
    lines: &Lines,
    confirm: Option<u32>,
) -> Result<Target, Refused> {
    if confirm.is_some_and(|seconds| !(1..=LONGEST_CONFIRM).contains(&seconds)) {
        return Err(Refused::BadConfirm);
    }
    let target = change::restore(model, network, lines.iter())?;
    let mut target = towards(model, &target);
    target.report.confirm = confirm.filter(|_| !target.report.edits.is_empty());
    Ok(target)
}

fn towards(model: &Model, target: &Model) -> Target {
    let report = Report { edits: change::edits(model, target), ..Report::default() };
    Target { model: change::merged(model, target), network: None, report }
}

fn file(model: &Model, network: &Arc<Network>, configured: &Configured) -> Result<Target, Refused> {
    let Configured { path, running } = configured;
    let file = config::read_again(path).map_err(|problems| faulty(path, &problems))?;
    let Reloaded { config, changes, needs_restart } = reloaded(running, file);
    let routing = config.routing();
    let other = (routing != network.routing()).then(|| {
        let mut other = Network::clone(network);
        other.set_routing(routing);
        Arc::new(other)
    });
    let mut wanted = model.clone();
    let mut notes = Vec::new();
    if config.model.services().is_empty() {
        if !model.services().is_empty() {
            notes.push("the file has no [[service]]: services stay as they are".to_owned());
        }
        check_reals(model, other.as_ref().unwrap_or(network), path)?;
    } else {
        let of_file = &config.model;
        if !needs_restart.is_empty() || other.is_some() {
            // The file's services were judged by the file's ports.
            check(of_file, other.as_ref().unwrap_or(network), path)?;
        }
        wanted = of_file.clone();
        wanted.timeouts = model.timeouts;
    }
    if config.has_timeouts {
        wanted.timeouts = config.model.timeouts;
    } else if model.timeouts != config.model.timeouts {
        notes.push("the file has no [timeouts]: they stay as they are".to_owned());
    }
    let target = towards(model, &wanted);
    let report =
        Report { others: changes, needs_restart, notes, config: Some(Box::new(config)), ..target.report };
    Ok(Target { network: other, report, ..target })
}

/// Whether the services of a model can be in a network.
fn check(model: &Model, network: &Network, path: &Path) -> Result<(), Refused> {
    let lines = change::save(model);
    let checked = change::restore(model, network, lines.iter().map(String::as_str));
    let unfit = |refused| Refused::ServicesNeedRestart {
        path: path.to_path_buf(),
        faults: in_words(&lines, refused),
    };
    checked.map(drop).map_err(unfit)
}

/// Likewise of services that are there already: there are still ways to all reals.
fn check_reals(model: &Model, network: &Network, path: &Path) -> Result<(), Refused> {
    if model.services().is_empty() { Ok(()) } else { check(model, network, path) }
}

/// The first line that is faulty, and what is wrong with it.
fn in_words(lines: &[String], refused: Refused) -> String {
    let first = |faults: FaultyLines| {
        let FaultyLine { line, message } = faults.named.into_iter().next()?;
        Some(format!("{}: {message}", lines.get(line.checked_sub(1)?)?))
    };
    match refused {
        Refused::Lines(faults) => first(faults).unwrap_or_default(),
        other => other.to_string(),
    }
}

fn faulty(path: &Path, problems: &[Problem]) -> Refused {
    let mut faults = FaultyLines::default();
    for Problem { line, message } in problems {
        faults.add(line.unwrap_or(0), message.clone());
    }
    Refused::File { path: path.to_path_buf(), faults }
}

fn back(
    model: &Model,
    network: &Network,
    (history, fingerprint): (&History, u64),
    to: Option<u64>,
) -> Result<Target, Refused> {
    let (to, back) = history.way_back(fingerprint, to).map_err(|why| Refused::NoWayBack(why.to_string()))?;
    let lines = change::save(model);
    let all: Vec<&str> = lines.iter().map(String::as_str).chain(back).collect();
    let wanted = change::restore(model, network, all.iter().copied()).map_err(|refused| {
        let owned: Vec<String> = all.iter().map(ToString::to_string).collect();
        Refused::NoWayBack(format!("what was after change {to} cannot be now: {}", in_words(&owned, refused)))
    })?;
    let mut target = towards(model, &wanted);
    target.report.notes.push(format!("services and timeouts are as they were after change {to}"));
    Ok(target)
}
