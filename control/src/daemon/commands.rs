//! From a request to its answer.

use super::{ControlThread, views};
use crate::api::protocol::{Changed, Command, Drained, Outcome, Saved, TimeoutsView, Tried};
use crate::api::refusal::Refused;
use crate::api::server::PeerId;
use crate::change::{self, Effect};
use crate::model::rules::Unfit;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::RealKey;
use serde::Serialize;
use serde_json::Value;
use std::time::Instant;

/// Characters of a command that are logged.
const LOGGED: usize = 200;

impl ControlThread {
    pub(super) fn command(&mut self, peer: PeerId, command: Command) {
        if let Command::Connections { service } = command {
            match self.filter(service.as_ref().map(|listen| &listen.0)) {
                Ok(()) => self.dumps.begin(peer, service.map(|listen| listen.0)),
                Err(refused) => self.server.answer(peer, Outcome::Error(refused.into()), Instant::now()),
            }
            return;
        }
        let outcome = match self.answer(&command) {
            Ok(value) => Outcome::Ok(value),
            Err(refused) => {
                let ours = matches!(refused, Refused::StateWrite(_) | Refused::WorkerStuck { .. });
                let level = if ours { log::Level::Error } else { log::Level::Info };
                log::log!(level, "refused: {}: {refused}", logged(&command));
                Outcome::Error(refused.into())
            }
        };
        self.server.answer(peer, outcome, Instant::now());
    }

    fn answer(&mut self, command: &Command) -> Result<Value, Refused> {
        match command {
            Command::List { service } => self.listing(views::Columns::Plain, service.as_ref()),
            Command::Stats { service } => self.listing(views::Columns::Totals, service.as_ref()),
            Command::Rate { service } => self.listing(views::Columns::Rates, service.as_ref()),
            Command::Status {} => Ok(json(self.status())),
            Command::Save {} => Ok(json(Saved { lines: change::save(&self.model) })),
            Command::Zero {} => {
                self.statistics.zero(&self.workers);
                log::info!("counters reset");
                Ok(self.changed())
            }
            Command::Drain { service, real } => {
                self.carry_out(command)?;
                let key = RealKey { service: service.0, endpoint: *real };
                let id = self.compiler.ids().real(&key).ok_or(Unfit::NoSuchReal)?;
                let live = self.workers.connections(id).live();
                Ok(json(Drained { live, config_version: self.compiler.version() }))
            }
            Command::Restore { dry_run: true, .. } => {
                let (next, _) = change::apply(&self.model, self.compiler.links(), command)?;
                self.compiler.check(&next, |id| self.workers.connections(id).total > 0)?;
                let (services, reals) = (next.services().len(), next.real_count());
                Ok(json(Tried { services, reals, config_version: self.compiler.version() }))
            }
            Command::Timeouts { .. } => {
                self.carry_out(command)?;
                let TimeoutSeconds { tcp, fin: tcp_fin, udp } = self.model.timeouts;
                let config_version = self.compiler.version();
                Ok(json(TimeoutsView { tcp, tcp_fin, udp, config_version }))
            }
            Command::AddService { service, .. } => {
                self.carry_out(command)?;
                let note = self.vip_note(service.0.listen.ip());
                Ok(json(Changed { config_version: self.compiler.version(), note }))
            }
            Command::EditService { .. }
            | Command::DelService { .. }
            | Command::AddReal { .. }
            | Command::EditReal { .. }
            | Command::DelReal { .. }
            | Command::Clear {}
            | Command::Restore { .. }
            | Command::Connections { .. } => {
                self.carry_out(command)?;
                Ok(self.changed())
            }
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), Refused> {
        let (next, effect) = change::apply(&self.model, self.compiler.links(), command)?;
        if effect == Effect::Changed {
            self.change(next)?;
            log::info!("version {}: {}", self.compiler.version(), logged(command));
        }
        Ok(())
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
pub(super) fn json(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}
