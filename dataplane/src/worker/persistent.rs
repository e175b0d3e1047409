//! Which real the clients of persistent services stay with: found out here, or asked of the worker that knows.
//!
//! A client's template lies with [one worker](crate::exchange::peers::Peers::template_owner). Where that is not the
//! owner of the new connection, the packet that opens it goes there and comes back with the answer: two hand-overs. All
//! other packets of the connection stay where they are. Whatever overtakes the packet meanwhile (it was sent again, or
//! another datagram follows) is handled the same way, and the first that comes back opens the connection.

use super::fate::Judged;
use super::flows::{Ends, Flows, Wanted};
use super::slow::Slow;
use super::slow::packet::{read_ip, read_segment};
use super::tables::{Tabled, Tables};
use super::turn::Turn;
use crate::connection::State;
use crate::connection::table::{Entry, HashKey};
use crate::frame::{Frame, FrameIo};
use crate::names::drop_reason::DropReason;
use crate::names::family::{IpVersion, V4, V6};
use crate::names::ids::{InterfaceId, Protocol, RealId, ServiceId};
use crate::names::time::Now;
use crate::persistence::{Answer, Controlled, Found, Heard, Lives, Made, Note, Templates, Who};
use crate::snapshot::{Service, Snapshot};
use std::net::{IpAddr, SocketAddr};

/// Templates of a worker: as many as connections, but at least this many, ...
const LEAST_TEMPLATES: usize = 1024;
/// ... and at most this many: 110 MB once all are there.
const MOST_TEMPLATES: usize = 1 << 20;
/// Notes taken from each other worker in a turn, at most.
const NOTES_OF_A_PEER: usize = 256;

/// A worker's templates, and its connections that templates were asked for. It shares its cache lines with nothing
/// else.
#[repr(align(128))]
pub(super) struct Persistent {
    pub(super) templates: Templates,
    pub(super) controlled: Controlled,
}

/// An answer, and the worker that has the template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stays {
    pub(super) answer: Answer,
    pub(super) owner: usize,
}

/// Templates that a worker has room for, if all its tables have room for so many connections.
pub const fn templates_for(capacity: usize) -> usize {
    if capacity < LEAST_TEMPLATES {
        LEAST_TEMPLATES
    } else if capacity > MOST_TEMPLATES {
        MOST_TEMPLATES
    } else {
        capacity
    }
}

impl Persistent {
    fn new(capacity: usize, key: HashKey) -> Self {
        // Those that are over need a place until their templates have been told.
        let connections = capacity + capacity / 8 + 64;
        let templates = Templates::new(templates_for(capacity), key);
        Self { templates, controlled: Controlled::new(connections, key) }
    }
}

impl Flows {
    /// Takes the memory for persistence, if this snapshot, which follows on the version `old`, is the first that needs
    /// it.
    pub(super) fn prepare_persistence(&mut self, new: &Snapshot, old: u64) {
        if self.persistent.is_none() && new.edited_since(old).any(|id| new.is_persistent(id)) {
            self.counters.prepare_templates();
            let mut persistent = Box::new(Persistent::new(self.tables.capacity(), self.hash_key));
            if let Some(home) = &self.home
                && home.take_templates()
            {
                persistent.templates.keep_in(home.templates().clone());
            }
            self.persistent = Some(persistent);
        }
    }

    /// The real that the client of a new connection stays with, by the template that this worker has or makes now.
    fn stay(
        &mut self,
        ends: &Ends,
        (id, service): (ServiceId, &Service),
        snapshot: &Snapshot,
        now: Now,
    ) -> Result<Answer, DropReason> {
        let persistence = service.policy.persistence.ok_or(DropReason::PersistenceChanged)?;
        let who = Who { client: persistence.masked(ends.source.ip()), service: service.key };
        let has_all = self.has_all_templates();
        let persistent = self.persistent.as_mut().ok_or(DropReason::PersistenceChanged)?;
        if let Some(found) = persistent.templates.find(&who, now, &self.counters) {
            let is_of = snapshot.service_of(found.real) == Some(id);
            let takes_more = is_of && !self.reals.flags(found.real).unavailable;
            if let Some(place) = place_of(service, &found, snapshot).filter(|_| takes_more) {
                persistent.templates.renew(found, place, now);
                return Ok(Answer { real: found.real, template: Some(found.id) });
            }
            persistent.templates.spend(found);
        } else if !has_all {
            return Err(DropReason::Inheriting);
        }
        let real = match ends.version() {
            IpVersion::Four => self.pick_for::<V4>(ends, id, snapshot, now),
            IpVersion::Six => self.pick_for::<V6>(ends, id, snapshot, now),
        };
        let real = real.ok_or(DropReason::NoReal)?;
        if service.policy.one_packet {
            // No connection is made, so the place that was taken for one is given back.
            self.limited.settle(real, &self.reals, &self.counters);
        }
        let counters = &self.counters;
        let template = self.persistent.as_mut().and_then(|persistent| {
            persistent.templates.make(who, (real, 0), persistence.seconds, now, counters)
        });
        if template.is_none() {
            counters.templates_refused.add(1);
        }
        Ok(Answer { real, template })
    }

    fn pick_for<V: Tabled>(
        &mut self,
        ends: &Ends,
        service: ServiceId,
        snapshot: &Snapshot,
        now: Now,
    ) -> Option<RealId> {
        let key = V::key(ends.source, ends.protocol)?;
        self.pick(Wanted { service, key }, snapshot, now)
    }

    /// Notes that a connection has been made as its client's template says.
    pub(super) fn follow(&mut self, made: Made, Stays { answer, owner }: Stays) {
        let Some(template) = answer.template else { return };
        if let Some(persistent) = &mut self.persistent {
            persistent.controlled.insert(made, template, owner);
        }
    }

    /// Whether a new SYN on a connection that is over goes to the same real, as in the kernel: a template was asked for
    /// it, and its real takes more connections.
    pub(super) fn stays_with(&self, ends: &Ends, real: RealId, snapshot: &Snapshot) -> bool {
        let Some(persistent) = &self.persistent else { return false };
        let Ends { protocol, source: client, destination } = *ends;
        if !persistent.controlled.has(&Made { protocol, client, real, port: destination.port() }) {
            return false;
        }
        let Some(id) = snapshot.service_of(real) else { return false };
        let Some(service) = snapshot.services.get(id.0 as usize).and_then(Option::as_ref) else {
            return false;
        };
        let candidates = service.schedule.candidates();
        let weight =
            candidates.iter().find(|candidate| candidate.real == real).map_or(0, |found| found.weight);
        weight > 0 || snapshot.keep_quiescent_templates
    }
}

/// Where the real of a template is among the candidates of its service, if that takes more connections: without them it
/// would be searched for each time.
fn place_of(service: &Service, found: &Found, snapshot: &Snapshot) -> Option<usize> {
    let candidates = service.schedule.candidates();
    let is_there = |place: &usize| candidates.get(*place).is_some_and(|one| one.real == found.real);
    let place = Some(found.place)
        .filter(is_there)
        .or_else(|| candidates.iter().position(|candidate| candidate.real == found.real))?;
    (candidates[place].weight > 0 || snapshot.keep_quiescent_templates).then_some(place)
}

impl<F: Frame> Slow<'_, F> {
    /// What the client of a new connection stays with; or the worker that is to be asked.
    pub(super) fn ask(
        &mut self,
        ends: &Ends,
        (id, service): (ServiceId, &Service),
    ) -> Result<Result<Stays, usize>, DropReason> {
        let own = self.peers.own();
        if !self.peers.is_alone()
            && let Some(persistence) = service.policy.persistence
        {
            let who = Who { client: persistence.masked(ends.source.ip()), service: service.key };
            let owner = self.peers.template_owner(&who);
            if owner != own {
                return Ok(Err(owner));
            }
        }
        let answer = self.flows.stay(ends, (id, service), self.snapshot, self.now)?;
        Ok(Ok(Stays { answer, owner: own }))
    }

    /// The answer for another worker to a frame that opens a connection. The other one has found it sound.
    fn answer_for(&mut self, frame: &mut F) -> Result<Answer, Judged> {
        let ip = read_ip(frame.bytes()).map_err(Err)?;
        let protocol = Protocol::from_number(ip.protocol).ok_or(Err(DropReason::Protocol))?;
        let ends = read_segment(frame.bytes(), &ip, protocol).map_err(Err)?.ends;
        // The other worker is on another version.
        let service = self
            .snapshot
            .service_for(protocol, ends.destination)
            .ok_or(Err(DropReason::PersistenceChanged))?;
        let answer = self.flows.stay(&ends, service, self.snapshot, self.now);
        answer.map_err(|refusal| self.refuse(frame, &ends, refusal))
    }

    /// A frame that was given back with an answer.
    fn open_as_answered(&mut self, frame: &mut F, stays: Stays) -> Judged {
        let ip = read_ip(frame.bytes())?;
        let protocol = Protocol::from_number(ip.protocol).ok_or(DropReason::Protocol)?;
        let segment = read_segment(frame.bytes(), &ip, protocol)?;
        self.client_side(frame, ip, segment, Some(stays))
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// A worker asks which real the client stays with whose connection this frame opens.
    pub(super) fn give_back(&mut self, mut frame: Io::Frame, arrival: InterfaceId, worker: usize) {
        match self.slow(arrival).answer_for(&mut frame) {
            Ok(answer) => {
                let port = arrival.eth_port();
                self.egress.io.peers.give_back(worker, port, frame, answer, self.counters);
            }
            Err(judged) => self.settle(frame, judged, arrival),
        }
    }

    /// Opens the connection of a frame that `owner` has given back, unless it is there by now.
    pub(super) fn open_answered(&mut self, mut frame: Io::Frame, arrival: InterfaceId, owner: usize) {
        let Some(answer) = self.egress.io.peers.answer_from(owner) else {
            debug_assert!(false, "there are as many answers as frames");
            return self.egress.dispose(frame, Err(DropReason::PersistenceChanged));
        };
        let judged = self.slow(arrival).open_as_answered(&mut frame, Stays { answer, owner });
        self.settle(frame, judged, arrival);
    }

    /// Once a turn: hears what has become of other workers' connections, tells them of this one's, and forgets
    /// templates that have run out.
    #[inline(never)]
    pub(super) fn tend_persistence(&mut self, idle: bool) {
        let Self { snapshot, now, flows, egress, counters, .. } = self;
        let are_all_there = flows.has_all_templates();
        let Flows { persistent: Some(persistent), tables, .. } = &mut **flows else { return };
        let Persistent { templates, controlled } = &mut **persistent;
        let peers = &mut egress.io.peers;
        let own = peers.own();
        for worker in (0..peers.workers()).filter(|worker| *worker != own) {
            for _ in 0..NOTES_OF_A_PEER {
                match peers.note_from(worker) {
                    Some(Note::Found(of, template)) => controlled.attach(of, template),
                    Some(note) => {
                        if let Heard::Found(template) = hear(templates, note, snapshot, are_all_there)
                            && let Note::Whose(of) = note
                        {
                            // If there is no room, it is asked again.
                            peers.tell(worker, Note::Found(of, template));
                        }
                    }
                    None => break,
                }
            }
        }
        let lives = InTables { tables, snapshot, now: *now };
        controlled.tend(&lives, *now, idle, |worker, note| {
            if worker == own {
                hear(templates, note, snapshot, are_all_there)
            } else if peers.tell(worker, note) {
                Heard::Taken
            } else {
                Heard::Full
            }
        });
        templates.sweep(*now, idle, counters);
    }
}

/// Whom the template is for of a client that stays with this real; `None`: its service is not persistent.
pub(super) fn who_stays(client: IpAddr, real: RealId, snapshot: &Snapshot) -> Option<Who> {
    let service = snapshot.services.get(snapshot.service_of(real)?.0 as usize)?.as_ref()?;
    Some(Who { client: service.policy.persistence?.masked(client), service: service.key })
}

/// Takes note of what an owner of connections says to the owner of their templates, or answers it. As long as
/// templates come from an earlier process, what is not there may still come, and is not answered yet.
fn hear(templates: &mut Templates, note: Note, snapshot: &Snapshot, are_all_there: bool) -> Heard {
    match note {
        Note::Happened { template, what } => templates.note(template, what),
        Note::Whose(of) => {
            let who = who_stays(of.client.ip(), of.real, snapshot);
            let found = who.and_then(|who| templates.of(&who, of.real));
            if found.is_some() || are_all_there {
                return Heard::Found(found);
            }
        }
        Note::Found(..) => {}
    }
    Heard::Taken
}

/// The connections of the tables.
struct InTables<'a> {
    tables: &'a Tables,
    snapshot: &'a Snapshot,
    now: Now,
}

impl InTables<'_> {
    fn prefetch_of<V: Tabled>(&self, made: &Made) {
        let table = V::of(self.tables);
        if let Some(key) = V::key(made.client, made.protocol) {
            table.prefetch(table.home_of(key));
        }
    }

    fn state_of<V: Tabled>(&self, made: &Made) -> Option<State> {
        let clock = self.snapshot.clock(self.now.tick());
        let table = V::of(self.tables);
        let belongs = |slot, entry: Entry<V>| {
            let key = self.snapshot.connection_key(made.real, table.port(slot));
            entry.real() == made.real
                && key.is_some_and(|key| key.service.listen.port() == made.port)
                && !entry.is_dead(clock)
        };
        let key = V::key(made.client, made.protocol)?;
        let found = table.find_by_slot(table.hash(key), key, belongs);
        found.map(|(_, entry)| entry.state())
    }
}

impl Lives for InTables<'_> {
    fn prefetch(&self, made: &Made) {
        match made.client {
            SocketAddr::V4(_) => self.prefetch_of::<V4>(made),
            SocketAddr::V6(_) => self.prefetch_of::<V6>(made),
        }
    }

    fn state(&self, made: &Made) -> Option<State> {
        match made.client {
            SocketAddr::V4(_) => self.state_of::<V4>(made),
            SocketAddr::V6(_) => self.state_of::<V6>(made),
        }
    }
}
