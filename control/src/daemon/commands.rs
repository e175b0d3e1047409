//! From a request to its answer.

use super::ControlThread;
use super::preparation::{self, Tried};
use super::publication::Asked;
use super::targets::Report;
use crate::api::origin::{Origin, Way};
use crate::api::protocol::Tried as TriedView;
use crate::api::protocol::{
    Changed, Cleared, Command, Drained, EditView, Edited, Saved, Status, TimeoutsView,
};
use crate::api::refusal::Refused;
use crate::api::server::PeerId;
use crate::change::{self, Edit};
use crate::model::rules::Unfit;
use crate::observe::answers::Framing;
use crate::observe::connections::Form;
use crate::observe::listings::Listing;
use crate::observe::metrics;
use crate::observe::notes::vip_note;
use crate::observe::services::Columns;
use crate::observe::status;
use dataplane::connection::TimeoutSeconds;
use dataplane::names::ids::{RealKey, ServiceKey};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;

/// Characters of a command that are logged.
const LOGGED: usize = 200;
/// Lines of what one command has changed that are logged.
const EDITS_LOGGED: usize = 50;

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
        if let Some((columns, only)) = listing(&command) {
            match self.filter(only.as_ref()) {
                Ok(()) => self.list(peer, Framing::Answer, columns, only),
                Err(refused) => self.refuse(peer, &command, refused),
            }
            return;
        }
        if let Command::Metrics {} = command {
            return self.scrape(peer, Framing::Answer, metrics::Form::Prometheus, None);
        }
        if let Command::HandOver { conversation, step } = command {
            return self.succeed(peer, conversation, step);
        }
        if let Command::Clear { connections: true } = command {
            return self.clear_connections(peer);
        }
        if let Command::Restore { dry_run: true, .. }
        | Command::Apply { dry_run: true, .. }
        | Command::Reload { dry_run: true } = command
        {
            return self.take_trial(peer, command);
        }
        if let Command::History { count } = command {
            return self.take_reader(peer, count);
        }
        if let Command::Confirm {} = command {
            return self.confirm(peer, &command);
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
            Command::Status {} => Ok(json(self.status())),
            Command::Save {} => Ok(json(Saved { lines: change::save(&self.model) })),
            Command::Zero { service } => {
                let zeroed = self.zero(service.as_ref().map(|listen| &listen.0));
                zeroed.inspect(|_| log::info!("counters reset: {}", logged(command)))
            }
            Command::Timeouts { set: None } => Ok(self.timeouts()),
            Command::Program {} => Ok(json(&self.program)),
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
        let origin = self.peers.origin(peer);
        self.refuse_by(peer, command, &origin, refused);
    }

    /// Likewise of what was asked a while ago.
    pub(super) fn refuse_asked(&mut self, asked: &Asked, refused: Refused) {
        if matches!(*asked.command, Command::Rollback { .. }) && asked.origin.by == Way::Lbd {
            match refused {
                // Nor would it be later.
                Refused::NoWayBack(_) => self.end_confirming(),
                _ => self.confirm_again(),
            }
        }
        self.refuse_by(asked.peer, &asked.command, &asked.origin, refused);
    }

    fn refuse_by(&mut self, peer: PeerId, command: &Command, origin: &Origin, refused: Refused) {
        let ours = matches!(refused, Refused::StateWrite(_) | Refused::WorkerStuck { .. });
        // Nobody else hears of it.
        let is_unheard = matches!(origin.by, Way::Signal | Way::Lbd);
        let level = if ours || is_unheard { log::Level::Error } else { log::Level::Info };
        log::log!(level, "refused: {}: {refused}{origin}", logged(command));
        if let (Refused::File { path, faults }, true) = (&refused, is_unheard) {
            let path = path.display();
            faults.named.iter().skip(1).for_each(|fault| match fault.line {
                0 => log::error!("{path}: {}", fault.message),
                line => log::error!("{path}:{line}: {}", fault.message),
            });
        }
        self.reply(peer, Err(refused));
    }

    /// Answers a request.
    pub(super) fn reply(&mut self, peer: PeerId, result: Result<Value, Refused>) {
        self.peers.reply(peer, result, Instant::now());
    }

    pub(super) fn log_change(&self, asked: &Asked, report: Option<&Report>) {
        let change = report.and_then(|report| report.number);
        let number = change.map_or_else(String::new, |number| format!(", change {number}"));
        let (config_version, Asked { command, origin, .. }) = (self.snapshot.version, asked);
        let (user, program) = (origin.user.as_deref(), origin.program.as_deref());
        log::info!(
            config_version, change, user, uid = origin.uid, process = origin.process, program;
            "version {config_version}{number}: {}{origin}", logged(command)
        );
        let Some(report) = report else { return };
        let lines = report.edits.iter().map(|edit| &edit.line).chain(&report.others);
        lines.take(EDITS_LOGGED).for_each(|line| log::info!("  {line}"));
        let more = (report.edits.len() + report.others.len()).saturating_sub(EDITS_LOGGED);
        if more > 0 {
            log::info!("  and {more} more");
        }
    }

    /// What a report says, while the reals that it is about are there.
    pub(super) fn edited(&self, report: &Report) -> Edited {
        let active = |real: &RealKey| self.statistics.id(real).map(|id| self.workers.connections(id).active);
        let view = |edit: &Edit| EditView {
            line: edit.line.clone(),
            active: (!edit.reals.is_empty()).then(|| edit.reals.iter().filter_map(active).sum()),
        };
        Edited {
            config_version: self.snapshot.version,
            edits: report.edits.iter().map(view).collect(),
            others: report.others.clone(),
            needs_restart: report.needs_restart.clone(),
            notes: report.notes.clone(),
            change: report.number,
            confirm_s: report.confirm,
        }
    }

    /// Does what a report wants besides services and routes.
    pub(super) fn follow_report(&mut self, asked: &Asked, report: Option<Box<Report>>) {
        // What is the change that waits already, or leads to the same, has not taken it back.
        let has_changed = report.as_ref().is_some_and(|report| report.number.is_some());
        if matches!(*asked.command, Command::Rollback { .. }) && (has_changed || asked.origin.by == Way::Lbd)
        {
            self.end_confirming();
        }
        let Some(report) = report else { return };
        if let (Some(number), Some(seconds)) = (report.number, report.confirm) {
            self.wait_for_confirmation(number, seconds);
        }
        if let Some(config) = report.config {
            let periods = config.eth_ports.iter().map(|port| port.interface.announce_every).collect();
            self.announcer.set_periods(periods, self.moment(Instant::now()));
            self.shown = config.control.metrics.clone();
            self.hand_over.follow_file(&config);
        }
    }

    /// What has changed is in force.
    pub(super) fn answer_edited(&mut self, asked: &Asked, mut edited: Edited) {
        edited.config_version = self.snapshot.version;
        if !edited.needs_restart.is_empty() {
            log::warn!("needs a restart of lbd: {}", edited.needs_restart.join("; "));
        }
        if edited.change.is_none() && asked.origin.by == Way::Signal {
            log::info!("services and routes are as the configuration file has them{}", asked.origin);
        }
        self.reply(asked.peer, Ok(json(edited)));
    }

    /// All connections have been forgotten.
    pub(super) fn answer_cleared(&mut self, peer: PeerId, connections: u64) {
        log::info!("{connections} connections cleared{}", self.peers.origin(peer));
        let cleared = Cleared { connections, config_version: self.snapshot.version };
        self.reply(peer, Ok(json(cleared)));
    }

    /// What a `restore` would lead to.
    pub(super) fn answer_tried(
        &mut self,
        peer: PeerId,
        command: &Command,
        result: Result<Box<Tried>, Refused>,
    ) {
        match result.map(|tried| *tried) {
            Ok(preparation::Tried { report: Some(report), .. }) => {
                let edited = self.edited(&report);
                self.reply(peer, Ok(json(edited)));
            }
            Ok(preparation::Tried { model, report: None }) => {
                let (services, reals) = (model.services().len(), model.real_count());
                let tried = json(TriedView { services, reals, config_version: self.snapshot.version });
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

    /// Writes a listing to a peer, from the next turn on.
    pub(super) fn list(
        &mut self,
        peer: PeerId,
        framing: Framing,
        columns: Columns,
        only: Option<ServiceKey>,
    ) {
        self.answers.begin(peer, Listing::new(framing, columns, &self.model, only));
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
        match framing {
            Framing::Answer => self.answers.begin(peer, metrics::Quoted::new(scrape)),
            Framing::Document => self.answers.begin(peer, scrape),
        }
    }

    /// Whether all workers run on what is configured, or are about to.
    pub(super) fn is_ready(&self) -> bool {
        !self.publications.is_late()
    }

    fn changed(&self) -> Value {
        json(Changed { config_version: self.snapshot.version, note: None })
    }
}

/// What a command lists, of all services or of one; `None`: it lists none.
fn listing(command: &Command) -> Option<(Columns, Option<ServiceKey>)> {
    let (columns, service) = match command {
        Command::List { service } => (Columns::Plain, service),
        Command::Stats { service } => (Columns::Totals, service),
        Command::Rate { service } => (Columns::Rates, service),
        _ => return None,
    };
    Some((columns, service.as_ref().map(|listen| listen.0)))
}

/// A command for the log and the history.
pub(super) fn logged(command: &Command) -> String {
    let (name, lines, rest) = match command {
        Command::Restore { lines, .. } => ("restore", lines.len(), String::new()),
        Command::Apply { lines, confirm, .. } => (
            "apply",
            lines.len(),
            confirm.map_or_else(String::new, |seconds| format!(r#","confirm":{seconds}"#)),
        ),
        _ => ("", 0, String::new()),
    };
    if !name.is_empty() {
        return format!(r#"{{"command":"{name}"{rest}}} with {lines} lines"#);
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
