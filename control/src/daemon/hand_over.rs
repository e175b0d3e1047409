//! A successor takes this daemon's place: how far that is, and what it means for everything else.
//!
//! ```text
//!            prepare        no change is           pause        nothing is            all workers
//!   (alone) ────────► Asked ──on its way──► Prepared ──► Settling ─on its way─► Finishing ──have──► Resting ─┐
//!      ▲                │                      │            │                      │       finished    │     │ they
//!      └────────────────┴──────────────────────┴────────────┴──────────────────────┴───────────────────┤     │ rest
//!           the successor's connection ends, or a step takes too long: the workers go on               │     ▼
//!                                                                                    Taken ◄──taken── Paused
//! ```
//!
//! From *Asked* on no change is taken: the successor reads what is configured when it is *Prepared*. From *Settling* on
//! nobody is accepted on the sockets: who connects waits for whoever goes on. From *Finishing* on nothing is published,
//! for workers adopt nothing while they rest.

use super::{ControlThread, StartError};
use crate::api::http;
use crate::api::protocol::Command;
use crate::api::protocol::hand_over::{CONVERSATION, KnownNeighbour, Prepared, Step};
use crate::api::refusal::Refused;
use crate::api::server::{MOST_PASSED, Outlet, PeerId};
use crate::change;
use crate::config::Config;
use crate::handed::{Handed, Kind, Label};
use crate::model::Model;
use dataplane::exchange::orders::NeighbourEvent;
use dataplane::exchange::pace::{Finished, Phase};
use dataplane::names::ids::{InterfaceId, NeighbourKey};
use dataplane::names::mac::Mac;
use serde_json::json;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How long a successor may take to start.
pub const START_TIME: Duration = Duration::from_secs(120);
/// How long what is on its way, and the workers, may take to come to rest. They do so between two bursts.
pub const FINISH_TIME: Duration = Duration::from_secs(5);
/// How long a successor may take to take over, while nobody handles packets.
pub const PAUSE_TIME: Duration = Duration::from_secs(5);
/// How long this daemon stays, once its place is taken, for clients of HTTP that are without their answers: whoever
/// says nothing for so long is sent away.
const ANSWER_TIME: Duration = http::PATIENCE;
/// Between two looks at whether the workers do what they were asked.
const LOOK: Duration = Duration::from_micros(100);
/// A worker has finished when it found nothing to do in this number of turns, in which no other did either.
const QUIET_TURNS: u64 = 2;

/// What a successor is told, and gets, that the control thread does not know by itself.
#[derive(Debug, Default)]
pub struct Facts {
    /// natlb's version.
    pub version: String,
    /// Of DPDK's runtime files.
    pub file_prefix: String,
    /// The indexes of the kernel's interfaces that the devices stand on.
    pub interfaces: Vec<u32>,
    /// The folder in which connections are kept.
    pub kept: Option<PathBuf>,
    /// What nobody else may have, besides the sockets and the state file.
    pub locks: Handed,
    /// Why no successor can take this daemon's place; `None`: one can.
    pub refusal: Option<String>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct HandOver {
    facts: Facts,
    /// The names of the ports, which are the interfaces' too.
    ports: Vec<String>,
    /// The configuration's services, where there is no file for what commands make of them.
    initial: Option<Model>,
    stage: Option<Stage>,
    /// Sockets of the daemon before that this one does not use.
    abandoned: Vec<PathBuf>,
    /// This process is a successor itself, and has not yet begun.
    is_prepared: bool,
}

#[derive(Debug)]
struct Stage {
    peer: PeerId,
    /// The successor's.
    process: u32,
    step: At,
    /// Of the step.
    since: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Asked,
    Prepared,
    Settling,
    /// How far the workers were when something was last left to do.
    Finishing(Option<Vec<Finished>>),
    Resting,
    Paused,
    Taken,
}

impl HandOver {
    /// Of a daemon that has left this of what was handed over to it.
    pub(super) fn new(config: &Config, left: &Handed) -> Self {
        let sockets = left.iter().filter(|(label, _)| label.kind == Kind::Socket);
        Self {
            abandoned: sockets.map(|(label, _)| PathBuf::from(&label.name)).collect(),
            ports: config.eth_ports.iter().map(|port| port.name.clone()).collect(),
            initial: config.control.state.is_none().then(|| config.model.clone()),
            ..Self::default()
        }
    }

    /// Whether the first snapshot waits until the daemon before has given way.
    pub(super) fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    pub(super) fn set_prepared(&mut self, is_prepared: bool) {
        self.is_prepared = is_prepared;
    }

    /// The configuration file was read again.
    pub(super) fn follow_file(&mut self, config: &Config) {
        if let Some(initial) = &mut self.initial
            && !config.model.services().is_empty()
        {
            *initial = config.model.clone();
        }
    }

    fn step(&self) -> Option<&At> {
        self.stage.as_ref().map(|stage| &stage.step)
    }

    /// Why no change is taken.
    pub(super) fn refuses_changes(&self) -> Result<(), Refused> {
        self.stage.as_ref().map_or(Ok(()), |stage| Err(Refused::Succeeding(stage.process)))
    }

    /// Whether nothing may be published.
    pub(super) fn holds_publications(&self) -> bool {
        matches!(self.step(), Some(At::Finishing(_) | At::Resting | At::Paused | At::Taken))
    }

    /// Whether a successor waits for the workers, so that they are to be looked at often.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(self.step(), Some(At::Asked | At::Settling | At::Finishing(_) | At::Resting))
    }

    /// The process that has taken this daemon's place.
    pub(super) fn successor(&self) -> Option<u32> {
        self.stage.as_ref().filter(|stage| stage.step == At::Taken).map(|stage| stage.process)
    }
}

impl ControlThread {
    /// A successor may take this daemon's place, and is told and given this.
    pub fn set_facts(&mut self, facts: Facts) {
        self.hand_over.facts = facts;
    }

    /// Release and commit of this `lbd`; empty if nobody has said.
    pub(super) fn build(&self) -> &str {
        &self.hand_over.facts.version
    }

    /// The process that has taken this daemon's place: then [`run`](Self::run) has returned, the sockets and files are
    /// that process's, and nothing that outlives this one may be touched.
    pub fn successor(&self) -> Option<u32> {
        self.hand_over.successor()
    }

    /// What the neighbours of the daemon before are: they are believed, and asked like any other.
    pub fn know_neighbours(&mut self, known: &[KnownNeighbour]) {
        let now = self.moment(Instant::now());
        for KnownNeighbour { port, address, mac } in known {
            let Some(index) = self.hand_over.ports.iter().position(|name| name == port) else { continue };
            let Some(interface) = InterfaceId::all().nth(index) else { continue };
            let key = NeighbourKey { interface, address: *address };
            self.neighbours.event(NeighbourEvent::Wanted(key), now);
            let heard = NeighbourEvent::Heard { key, mac: Mac(*mac), reply: false, replaces: true };
            self.neighbours.event(heard, now);
        }
    }

    /// Has the workers drop what arrives, and waits until they do: the daemon before handles it.
    ///
    /// # Errors
    /// A worker does not, within the patience that it has.
    pub fn drop_what_arrives(&mut self) -> Result<(), StartError> {
        self.workers.pace(Phase::Discard);
        let began = Instant::now();
        // What they are told of neighbours is read, too: the first packets go to these.
        while !self.workers.follow(Phase::Discard)
            || !(0..self.workers.len()).all(|worker| self.workers.is_flushed(worker))
        {
            if began.elapsed() > self.patience {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a worker does not start").into());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Has the workers handle what arrives from now on: the daemon before does so no more.
    pub fn take_what_arrives(&mut self) {
        self.workers.pace(Phase::Run);
    }

    /// The place of the daemon before is this one's: its sockets are served.
    pub fn own(&mut self) {
        self.peers.own();
        for path in mem::take(&mut self.hand_over.abandoned) {
            if let Err(error) = fs::remove_file(&path) {
                log::warn!("{}: not removed: {error}", path.display());
            }
        }
    }

    /// Takes a successor's request.
    pub(super) fn succeed(&mut self, peer: PeerId, conversation: u32, step: Step) {
        let now = Instant::now();
        let refused = match self.may_succeed(peer, conversation, step) {
            Ok(process) => match step {
                Step::Prepare => {
                    self.hand_over.stage = Some(Stage { peer, process, step: At::Asked, since: now });
                    return self.peers.set_kept(peer, true);
                }
                Step::Pause => {
                    self.peers.set_deaf(true);
                    return self.enter(At::Settling, now);
                }
                Step::Taken => {
                    log::info!("process {process} has taken the place of this lbd");
                    self.enter(At::Taken, now);
                    self.peers.disown();
                    // Before the successor counts its own attempt.
                    self.inheriting.give_way();
                    return self.reply(peer, Ok(json!({})));
                }
            },
            Err(refused) => refused,
        };
        let command = Command::HandOver { conversation, step };
        self.refuse(peer, &command, refused);
    }

    /// The successor's process, if it may go this step.
    fn may_succeed(&self, peer: PeerId, conversation: u32, step: Step) -> Result<u32, Refused> {
        let no = |why: String| Err(Refused::NoHandOver(why));
        if conversation != CONVERSATION {
            return no(format!(
                "it speaks number {CONVERSATION} of the conversation of a hand-over, the successor {conversation}: restart \
                 lbd instead"
            ));
        }
        if self.peers.is_root(peer) != Some(true) {
            return no("only root, or lbd's own user, may take its place".into());
        }
        let process = self.peers.process(peer).unwrap_or(0);
        match (&self.hand_over.stage, step) {
            (None, Step::Prepare) if self.confirming_alone().is_some() => {
                no(self.confirming_alone().unwrap_or_default())
            }
            (None, Step::Prepare) => {
                self.hand_over.facts.refusal.as_ref().map_or(Ok(process), |why| no(why.clone()))
            }
            (Some(stage), Step::Prepare) => {
                no(format!("process {} is about to take its place already", stage.process))
            }
            (Some(stage), Step::Pause) if stage.peer == peer && stage.step == At::Prepared => Ok(process),
            (Some(stage), Step::Taken) if stage.peer == peer && stage.step == At::Paused => Ok(process),
            _ => no("this step does not follow: it goes on by itself".into()),
        }
    }

    fn enter(&mut self, step: At, now: Instant) {
        if let Some(stage) = &mut self.hand_over.stage {
            (stage.step, stage.since) = (step, now);
        }
    }

    fn prepare_successor(&mut self, peer: PeerId, process: u32, now: Instant) {
        let (labels, descriptors): (Vec<_>, Vec<_>) = match self.share() {
            Ok(shared) => shared.into_iter().unzip(),
            Err(why) => return self.give_successor_up(&why.clone(), Some(Refused::NoHandOver(why))),
        };
        let Facts { version, file_prefix, interfaces, kept, .. } = &self.hand_over.facts;
        let prepared = Prepared {
            version: version.clone(),
            process: std::process::id(),
            file_prefix: file_prefix.clone(),
            interfaces: interfaces.clone(),
            kept: kept.clone(),
            descriptors: labels,
            services: self.unkept_services(),
            neighbours: self.known_neighbours().collect(),
        };
        log::info!("process {process} starts, to take the place of this lbd: no change is taken meanwhile");
        self.enter(At::Prepared, now);
        self.peers.pass(peer, descriptors);
        self.reply(peer, Ok(serde_json::to_value(prepared).unwrap_or_default()));
    }

    /// Services that commands have set, where there is no file for them.
    fn unkept_services(&self) -> Option<Vec<String>> {
        let initial = self.hand_over.initial.as_ref()?;
        (!change::steps(initial, &self.model).is_empty()).then(|| change::save(&self.model))
    }

    /// Descriptors of all that a successor gets.
    fn share(&self) -> Result<Vec<(Label, OwnedFd)>, String> {
        let shared = || {
            let mut all = self.peers.share()?;
            for (label, descriptor) in self.lent.iter().chain(self.hand_over.facts.locks.iter()) {
                all.push((label.clone(), descriptor.try_clone()?));
            }
            Ok::<_, io::Error>(all)
        };
        let all = shared().map_err(|error| format!("its descriptors cannot be passed on: {error}"))?;
        match all.len() {
            0..=MOST_PASSED => Ok(all),
            count => Err(format!("it has {count} descriptors to pass on, and {MOST_PASSED} can be")),
        }
    }

    fn known_neighbours(&self) -> impl Iterator<Item = KnownNeighbour> + '_ {
        self.neighbours.known().filter_map(|(key, mac)| {
            let port = self.hand_over.ports.get(key.interface.index())?.clone();
            Some(KnownNeighbour { port, address: key.address, mac: mac.0 })
        })
    }

    /// Goes on with it as far as everything else has come.
    pub(super) fn go_on_handing_over(&mut self, now: Instant) {
        let Some(stage) = &self.hand_over.stage else { return };
        let (peer, process) = (stage.peer, stage.process);
        let (step, took) = (stage.step.clone(), now.duration_since(stage.since));
        if step == At::Taken {
            return;
        }
        if self.peers.is_root(peer).is_none() {
            return self.give_successor_up("it is gone", None);
        }
        match step {
            At::Prepared if took > START_TIME => self.give_successor_up("its start takes too long", None),
            At::Paused if took > PAUSE_TIME => self.give_successor_up("it does not go on", None),
            At::Asked | At::Settling | At::Finishing(_) | At::Resting if took > FINISH_TIME => {
                let why = "what is on its way here does not come to its end";
                self.give_successor_up(why, Some(Refused::NoHandOver(why.into())));
            }
            At::Asked if self.is_idle() => self.prepare_successor(peer, process, now),
            At::Settling if self.is_idle() => {
                self.workers.pace(Phase::Finish);
                self.enter(At::Finishing(None), now);
            }
            At::Finishing(before) => self.finish_workers(before, now),
            At::Resting if self.workers.follow(Phase::Rest) => {
                self.enter(At::Paused, now);
                self.reply(peer, Ok(json!({})));
            }
            _ => {}
        }
    }

    /// Whether no change is on its way, nor anything else that workers are to do in several turns.
    fn is_idle(&self) -> bool {
        self.publications.is_idle() && self.clearing.is_idle()
    }

    /// The workers have nothing left if, between two looks at all of them, each has made turns and none had anything
    /// to do in them: what one hands over to another is there before the first look ends.
    fn finish_workers(&mut self, before: Option<Vec<Finished>>, now: Instant) {
        let Some(finished) = self.workers.finished() else { return };
        let Some(before) = before else { return self.note_finished(finished) };
        let pairs = || before.iter().zip(&finished);
        if pairs().any(|(before, now)| now.busy != before.busy) {
            self.note_finished(finished);
        } else if pairs().all(|(before, now)| now.turns >= before.turns + QUIET_TURNS) {
            self.workers.pace(Phase::Rest);
            self.enter(At::Resting, now);
        }
    }

    fn note_finished(&mut self, finished: Vec<Finished>) {
        if let Some(stage) = &mut self.hand_over.stage {
            stage.step = At::Finishing(Some(finished));
        }
    }

    /// Everything goes on as before; what the successor waits for is refused.
    fn give_successor_up(&mut self, why: &str, refused: Option<Refused>) {
        let Some(Stage { peer, process, .. }) = self.hand_over.stage.take() else { return };
        self.workers.pace(Phase::Run);
        self.peers.set_deaf(false);
        self.peers.set_kept(peer, false);
        log::warn!("process {process} does not take the place of this lbd: {why}; it goes on");
        match refused {
            Some(refused) => self.reply(peer, Err(refused)),
            None => self.peers.close(peer),
        }
    }

    /// Whether the loop is at its end: the successor knows that it has taken over, and whoever was at scraping this
    /// daemon has what was asked for.
    pub(super) fn is_succeeded(&self) -> bool {
        let stage = self.hand_over.stage.as_ref().filter(|stage| stage.step == At::Taken);
        stage.is_some_and(|stage| {
            let has_answered = || !self.peers.has_pages_under_way() || stage.since.elapsed() > ANSWER_TIME;
            self.peers.has_taken_all(stage.peer) && has_answered()
        })
    }
}
