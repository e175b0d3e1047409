//! From a request to its answer.

use super::ControlThread;
use crate::api::protocol::{Changed, Command, Drained, Outcome, Saved, Status, TimeoutsView, Tried};
use crate::api::refusal::Refused;
use crate::api::server::PeerId;
use crate::change;
use crate::model::rules::Unfit;
use crate::observe::notes::vip_note;
use crate::observe::services::{self, Columns};
use crate::observe::status;
use crate::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{RealKey, ServiceKey};
use serde::Serialize;
use serde_json::Value;
use std::time::Instant;

/// Characters of a command that are logged.
const LOGGED: usize = 200;

impl ControlThread {
    /// Takes a request: it is answered at once or, if it changes what is configured, when that is in force.
    pub(super) fn command(&mut self, peer: PeerId, command: Command) {
        if let Command::Connections { service } = command {
            match self.filter(service.as_ref().map(|listen| &listen.0)) {
                Ok(()) => self.dumps.begin(peer, service.map(|listen| listen.0)),
                Err(refused) => self.server.answer(peer, Outcome::Error(refused.into()), Instant::now()),
            }
            return;
        }
        match self.view(&command) {
            Some(Ok(value)) => self.server.answer(peer, Outcome::Ok(value), Instant::now()),
            Some(Err(refused)) => self.refuse(peer, &command, refused),
            None => self.take_change(peer, command),
        }
    }

    /// What a command shows; `None`: it changes what is configured.
    fn view(&mut self, command: &Command) -> Option<Result<Value, Refused>> {
        Some(match command {
            Command::List { service } => self.listing(Columns::Plain, service.as_ref()),
            Command::Stats { service } => self.listing(Columns::Totals, service.as_ref()),
            Command::Rate { service } => self.listing(Columns::Rates, service.as_ref()),
            Command::Status {} => Ok(json(self.status())),
            Command::Save {} => Ok(json(Saved { lines: change::save(&self.model) })),
            Command::Zero {} => {
                self.statistics.zero(&self.workers);
                log::info!("counters reset");
                Ok(self.changed())
            }
            Command::Restore { dry_run: true, .. } => self.tried(command),
            Command::Timeouts { set: None } => Ok(self.timeouts()),
            other => {
                debug_assert!(other.is_change(), "{other:?}");
                return None;
            }
        })
    }

    /// A change is in force, or there was nothing to change.
    pub(super) fn answer_done(&mut self, peer: PeerId, command: &Command) {
        match self.done(command) {
            Ok(value) => self.server.answer(peer, Outcome::Ok(value), Instant::now()),
            Err(refused) => self.refuse(peer, command, refused),
        }
    }

    fn done(&self, command: &Command) -> Result<Value, Refused> {
        let config_version = self.compiler.version();
        Ok(match command {
            Command::Drain { service, real } => {
                let key = RealKey { service: service.0, endpoint: *real };
                let id = self.compiler.ids().real(&key).ok_or(Unfit::NoSuchReal)?;
                json(Drained { live: self.workers.connections(id).live(), config_version })
            }
            Command::Timeouts { .. } => self.timeouts(),
            Command::AddService(options) => json(Changed {
                config_version,
                note: vip_note(&self.watch, self.compiler.network(), options.service.0.listen.ip()),
            }),
            _ => self.changed(),
        })
    }

    pub(super) fn refuse(&mut self, peer: PeerId, command: &Command, refused: Refused) {
        let ours = matches!(refused, Refused::StateWrite(_) | Refused::WorkerStuck { .. });
        let level = if ours { log::Level::Error } else { log::Level::Info };
        log::log!(level, "refused: {}: {refused}", logged(command));
        self.server.answer(peer, Outcome::Error(refused.into()), Instant::now());
    }

    pub(super) fn log_change(&self, command: &Command) {
        log::info!("version {}: {}", self.compiler.version(), logged(command));
    }

    /// What a `restore` would lead to.
    fn tried(&self, command: &Command) -> Result<Value, Refused> {
        let (next, _) = change::apply(&self.model, self.compiler.network(), command)?;
        self.compiler.check(&next, |id| self.workers.connections(id).hold_real())?;
        let (services, reals) = (next.services().len(), next.real_count());
        Ok(json(Tried { services, reals, config_version: self.compiler.version() }))
    }

    fn timeouts(&self) -> Value {
        let TimeoutSeconds { tcp, fin: tcp_fin, udp } = self.model.timeouts;
        json(TimeoutsView { tcp, tcp_fin, udp, config_version: self.compiler.version() })
    }

    /// Whether a listing can be restricted to this service.
    fn filter(&self, only: Option<&ServiceKey>) -> Result<(), Refused> {
        match only {
            Some(key) if !self.model.services().contains_key(key) => Err(Unfit::NoSuchService.into()),
            _ => Ok(()),
        }
    }

    fn listing(&mut self, columns: Columns, only: Option<&Listen>) -> Result<Value, Refused> {
        let only = only.map(|listen| &listen.0);
        self.filter(only)?;
        if columns == Columns::Totals {
            self.statistics.collect(&self.workers);
        }
        let Self { model, compiler, statistics, workers, .. } = self;
        let inputs = services::Inputs { model, ids: compiler.ids(), statistics, workers };
        Ok(json(services::services(inputs, columns, only)))
    }

    fn status(&self) -> Status {
        let inputs = status::Inputs {
            devices: &*self.devices,
            network: self.compiler.network(),
            model: &self.model,
            config_version: self.compiler.version(),
            watch: &self.watch,
            workers: &self.workers,
            neighbours: &self.neighbours,
            now: self.moment(Instant::now()),
        };
        status::status(&inputs, self.notes_of_transmitting())
    }

    fn changed(&self) -> Value {
        json(Changed { config_version: self.compiler.version(), note: None })
    }
}

fn logged(command: &Command) -> String {
    if let Command::Restore { lines, .. } = command {
        return format!(r#"{{"command":"restore"}} with {} lines"#, lines.len());
    }
    let text = serde_json::to_string(command).unwrap_or_default();
    match text.char_indices().nth(LOGGED) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

/// The answers are plain structs with text keys, which always have a JSON form.
fn json(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}
