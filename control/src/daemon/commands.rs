//! From a request to its answer.

use super::ControlThread;
use crate::api::protocol::{Changed, Cleared, Command, Drained, Saved, Status, TimeoutsView, Tried};
use crate::api::refusal::Refused;
use crate::api::server::PeerId;
use crate::change;
use crate::model::Model;
use crate::model::rules::Unfit;
use crate::observe::connections::Form;
use crate::observe::metrics::{self, Framing};
use crate::observe::notes::vip_note;
use crate::observe::services::{self, Columns};
use crate::observe::status;
use crate::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{RealKey, ServiceKey};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;

/// Characters of a command that are logged.
const LOGGED: usize = 200;

impl ControlThread {
    /// Takes a request: it is answered at once or, if it changes what is configured, when that is in force, or if it is
    /// only tried, when that is done.
    pub(super) fn command(&mut self, peer: PeerId, command: Command) {
        if let Command::Connections { service } = command {
            match self.filter(service.as_ref().map(|listen| &listen.0)) {
                Ok(()) => self.dumps.begin(peer, Form::Json, service.map(|listen| listen.0)),
                Err(refused) => self.reply(peer, Err(refused)),
            }
            return;
        }
        if let Command::Metrics {} = command {
            return self.scrape(peer, Framing::JsonLine, metrics::Form::Prometheus, None);
        }
        if let Command::HandOver { conversation, step } = command {
            return self.succeed(peer, conversation, step);
        }
        if let Command::Clear { connections: true } = command {
            return self.clear_connections(peer);
        }
        if let Command::Restore { dry_run: true, .. } = command {
            return self.take_trial(peer, command);
        }
        match self.view(&command) {
            Some(Ok(value)) => self.reply(peer, Ok(value)),
            Some(Err(refused)) => self.refuse(peer, &command, refused),
            None => self.take_change(peer, command),
        }
    }

    /// What a command shows; `None`: it changes what is configured.
    pub(super) fn view(&mut self, command: &Command) -> Option<Result<Value, Refused>> {
        Some(match command {
            Command::List { service } => self.listing(Columns::Plain, service.as_ref()),
            Command::Stats { service } => self.listing(Columns::Totals, service.as_ref()),
            Command::Rate { service } => self.listing(Columns::Rates, service.as_ref()),
            Command::Status {} => Ok(json(self.status())),
            Command::Save {} => Ok(json(Saved { lines: change::save(&self.model) })),
            Command::Zero { service } => {
                let zeroed = self.zero(service.as_ref().map(|listen| &listen.0));
                zeroed.inspect(|_| log::info!("counters reset: {}", logged(command)))
            }
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
            Ok(value) => self.reply(peer, Ok(value)),
            Err(refused) => self.refuse(peer, command, refused),
        }
    }

    fn done(&self, command: &Command) -> Result<Value, Refused> {
        let config_version = self.snapshot.version;
        Ok(match command {
            Command::Drain { service, real, .. } => {
                let key = RealKey { service: service.0, endpoint: *real };
                let id = self.statistics.id(&key).ok_or(Unfit::NoSuchReal)?;
                json(Drained { live: self.workers.connections(id).live(), config_version })
            }
            Command::Timeouts { .. } => self.timeouts(),
            Command::AddService(options) => json(Changed {
                config_version,
                note: vip_note(&self.watch, &self.network, options.service.0.listen.ip()),
            }),
            _ => self.changed(),
        })
    }

    pub(super) fn refuse(&mut self, peer: PeerId, command: &Command, refused: Refused) {
        let ours = matches!(refused, Refused::StateWrite(_) | Refused::WorkerStuck { .. });
        let level = if ours { log::Level::Error } else { log::Level::Info };
        log::log!(level, "refused: {}: {refused}{}", logged(command), self.peers.by(peer));
        self.reply(peer, Err(refused));
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, peer: PeerId, result: Result<Value, Refused>) {
        self.peers.reply(peer, result, Instant::now());
    }

    pub(super) fn log_change(&self, peer: PeerId, command: &Command) {
        let config_version = self.snapshot.version;
        log::info!(config_version; "version {config_version}: {}{}", logged(command), self.peers.by(peer));
    }

    /// All connections have been forgotten.
    pub(super) fn answer_cleared(&mut self, peer: PeerId, connections: u64) {
        log::info!("{connections} connections cleared{}", self.peers.by(peer));
        let cleared = Cleared { connections, config_version: self.snapshot.version };
        self.reply(peer, Ok(json(cleared)));
    }

    /// What a `restore` would lead to.
    pub(super) fn answer_tried(&mut self, peer: PeerId, command: &Command, result: Result<Model, Refused>) {
        match result {
            Ok(next) => {
                let (services, reals) = (next.services().len(), next.real_count());
                let tried = json(Tried { services, reals, config_version: self.snapshot.version });
                self.reply(peer, Ok(tried));
            }
            Err(refused) => self.refuse(peer, command, refused),
        }
    }

    fn timeouts(&self) -> Value {
        let TimeoutSeconds { tcp, fin: tcp_fin, udp } = self.model.timeouts;
        json(TimeoutsView { tcp, tcp_fin, udp, config_version: self.snapshot.version })
    }

    /// Whether a listing can be restricted to this service.
    fn filter(&self, only: Option<&ServiceKey>) -> Result<(), Refused> {
        match only {
            Some(key) if !self.model.services().contains_key(key) => Err(Unfit::NoSuchService.into()),
            _ => Ok(()),
        }
    }

    fn zero(&mut self, only: Option<&ServiceKey>) -> Result<Value, Refused> {
        self.filter(only)?;
        self.statistics.zero(only, &self.workers);
        Ok(self.changed())
    }

    fn listing(&mut self, columns: Columns, only: Option<&Listen>) -> Result<Value, Refused> {
        let only = only.map(|listen| &listen.0);
        self.filter(only)?;
        if columns == Columns::Totals {
            self.statistics.collect(only, &self.workers);
        }
        let Self { model, statistics, workers, .. } = self;
        let inputs = services::Inputs { model, statistics, workers };
        Ok(json(services::services(inputs, columns, only)))
    }

    fn status(&self) -> Status {
        let status =
            status::status(&self.status_inputs(), self.inheriting.view(), self.notes_of_transmitting());
        Status { build: self.build().to_owned(), ..status }
    }

    fn status_inputs(&self) -> status::Inputs<'_> {
        status::Inputs {
            devices: &*self.devices,
            network: &self.network,
            model: &self.model,
            config_version: self.snapshot.version,
            watch: &self.watch,
            workers: &self.workers,
            neighbours: &self.neighbours,
            now: self.moment(Instant::now()),
        }
    }

    /// Writes all metrics, or those of some services only, to a peer, from the next turn on.
    pub(super) fn scrape(
        &mut self,
        peer: PeerId,
        framing: Framing,
        form: metrics::Form,
        only: Option<BTreeSet<ServiceKey>>,
    ) {
        let scrape = match only {
            Some(only) => metrics::Scrape::of_services(form, &self.shown, &self.model, &only),
            None => {
                let facts = metrics::Facts {
                    status: self.status_inputs(),
                    notes: self.status().notes.len(),
                    kept: &self.inheriting.view(),
                    started: self.began,
                    is_ready: self.is_ready(),
                };
                metrics::Scrape::new(form, &self.shown, &facts)
            }
        };
        self.scrapes.begin(&mut self.peers, peer, framing, scrape);
    }

    /// Whether all workers run on what is configured, or are about to.
    pub(super) fn is_ready(&self) -> bool {
        !self.publications.is_late()
    }

    fn changed(&self) -> Value {
        json(Changed { config_version: self.snapshot.version, note: None })
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
