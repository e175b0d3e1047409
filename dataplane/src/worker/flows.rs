//! A worker's connections: no I/O, and no frames.

use super::forget::Forgetting;
use super::inherit::Inheriting;
use super::limited::Limited;
use super::one_packet::OnePacket;
use super::own::OwnConnections;
use super::persistent::Persistent;
use super::reach::Course;
use super::shares::Shares;
use super::sweep::SweptUntil;
use super::tables::{Tabled, Tables};
use crate::connection::family::Family;
use crate::connection::kept::Home as Kept;
use crate::connection::table::{
    ClientKey, Entry, Hash, HashKey, Home, New, NoRoom, Slot, Vacancy, recount_state,
};
use crate::connection::{Copied, NotImported, State, Transport};
use crate::counters::WorkerCounters;
use crate::exchange::orders::Slice;
use crate::fragments::Ports;
use crate::live::elsewhere::Elsewhere;
use crate::live::reals::Reals;
use crate::names::direction::Direction;
use crate::names::drop_reason::DropReason;
use crate::names::family::{IpVersion, V4, V6};
use crate::names::ids::{NextHopId, Protocol, RealId, ServiceId};
use crate::names::time::{Now, Tick};
use crate::schedule::{Asked, Known, Position, Positions};
use crate::snapshot::Snapshot;
use std::net::SocketAddr;
use std::sync::Arc;

/// The port that an FTP server's data connections come from; IPVS never schedules it.
pub(super) const FTP_DATA: u16 = 20;
/// Reals that may refuse a connection, because another worker has just taken their last places, before it gets none.
const MOST_REFUSED: usize = 64;
/// Buckets of the table looked at for one slice of a dump.
const EXPORT_BUCKETS: usize = 1024;
/// Positions of a dump are of several parts, one after the other: each has more than the largest table.
const EXPORTED_PART: usize = 1 << 48;
/// The part of a dump that has connections of IPv4.
const V4_PART: usize = 0;
/// Likewise, of IPv6.
const V6_PART: usize = 1;
/// The part of a dump that has templates.
const TEMPLATES_PART: usize = 2;

/// The connections of a worker, and what it needs to open one.
pub(super) struct Flows {
    pub(super) tables: Tables,
    /// Files that the tables are in, if they are to outlive the process.
    pub(super) home: Option<Kept>,
    /// Where this worker stands in each service's list of reals.
    pub(super) positions: Positions,
    /// Which reals take new connections.
    pub(super) reals: Arc<Reals>,
    /// Connections on the other workers.
    pub(super) elsewhere: Arc<Elsewhere>,
    shares: Shares,
    pub(super) limited: Limited,
    pub(super) own: OwnConnections,
    /// Once a service has been persistent.
    pub(super) persistent: Option<Box<Persistent>>,
    /// Once there has been a one-packet service.
    pub(super) one_packet: Option<Box<OnePacket>>,
    /// As long as there are connections of an earlier process that may be this worker's.
    pub(super) inheriting: Option<Inheriting>,
    /// As long as all are being forgotten.
    pub(super) forgetting: Option<Forgetting>,
    /// Whether there is any of these.
    pub(super) has_more: bool,
    pub(super) hash_key: HashKey,
    pub(super) swept_until: SweptUntil,
    pub(super) counters: Arc<WorkerCounters>,
}

/// What decides which connection a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub(super) protocol: Protocol,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// What a real is picked for: a service, and a client's connection to it.
#[derive(Clone, Copy)]
pub(super) struct Wanted<V: Family> {
    pub(super) service: ServiceId,
    pub(super) key: ClientKey<V>,
}

/// A connection that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Whose table it is in.
    pub(super) version: IpVersion,
    pub(super) slot: Slot,
    pub(super) real: RealId,
    pub(super) state: State,
    /// The next hop to the client, as far as it is known.
    pub(super) back: NextHopId,
    /// The port that the client asked for, if the service is on several.
    pub(super) port: u16,
    pub(super) direction: Direction,
}

impl Found {
    /// What is known of a connection by its entry.
    pub(super) fn new<V: Tabled>((slot, entry): (Slot, Entry<V>), port: u16, direction: Direction) -> Self {
        let (real, state, back) = (entry.real(), entry.state(), entry.next_hop());
        Self { version: V::VERSION, slot, real, state, back, port, direction }
    }

    /// Between whom its packets go.
    pub(super) const fn course(self) -> Course {
        let Self { real, back, port, direction, .. } = self;
        Course { real, port, direction, back }
    }
}

impl Flows {
    /// In tables without connections.
    pub(super) fn new(
        tables: Tables,
        hash_key: HashKey,
        (reals, elsewhere): (Arc<Reals>, Arc<Elsewhere>),
        counters: Arc<WorkerCounters>,
    ) -> Self {
        Self {
            tables,
            home: None,
            positions: Positions::default(),
            reals,
            elsewhere,
            shares: Shares::default(),
            limited: Limited::default(),
            own: OwnConnections::new(),
            persistent: None,
            one_packet: None,
            inheriting: None,
            forgetting: None,
            has_more: false,
            hash_key,
            swept_until: SweptUntil::default(),
            counters,
        }
    }

    /// Changes over from one configuration to another. `worker` is this worker's number: positions that begin at the
    /// head of a list are staggered by it.
    pub(super) fn adopt(&mut self, old: &Snapshot, new: &Snapshot, worker: usize, now: Now) {
        self.prepare_persistence(new, old.version);
        self.prepare_one_packet(new, old.version);
        self.note_more();
        let Self { positions, reals, elsewhere, counters, shares, limited, .. } = self;
        positions.resize(new.services.len().max(old.services.len()));
        shares.adopt(new);
        limited.adopt(old, new, reals, counters);
        let known = Known { live: reals, own: counters, elsewhere, now };
        for id in new.edited_since(old.version) {
            let schedule = |snapshot: &'_ Snapshot| {
                let service = snapshot.services.get(id.0 as usize)?.as_ref()?;
                Some(Arc::clone(&service.schedule))
            };
            let (before, now) = (schedule(old), schedule(new));
            let stays = matches!((&before, &now), (Some(before), Some(now)) if Arc::ptr_eq(before, now));
            if !stays {
                positions.adopt(id, (before.as_deref(), now.as_deref()), &known, worker);
            }
        }
    }

    /// Notes whether there is anything to be done in a turn besides.
    pub(super) fn note_more(&mut self) {
        let Self { persistent, one_packet, inheriting, forgetting, .. } = self;
        self.has_more =
            persistent.is_some() || one_packet.is_some() || inheriting.is_some() || forgetting.is_some();
    }

    /// The live connection of a packet that goes in this direction, even of a removed real.
    pub(super) fn find(
        &self,
        ends: &Ends,
        direction: Direction,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Option<Found> {
        match ends.version() {
            IpVersion::Four => self.find_of::<V4>(ends, direction, snapshot, tick),
            IpVersion::Six => self.find_of::<V6>(ends, direction, snapshot, tick),
        }
    }

    fn find_of<V: Tabled>(
        &self,
        ends: &Ends,
        direction: Direction,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Option<Found> {
        let (client, far) = match direction {
            Direction::Forward => (ends.source, ends.destination),
            Direction::Reverse => (ends.destination, ends.source),
        };
        let key = V::key(client, ends.protocol)?;
        let table = V::of(&self.tables);
        let belongs = |slot: Slot, entry: Entry<V>| {
            let real = snapshot.connection_key(entry.real(), table.port(slot));
            let matches = real.is_some_and(|real| match direction {
                Direction::Forward => real.service.listen == far,
                Direction::Reverse => real.endpoint == far,
            });
            matches && !entry.is_dead(snapshot.clock(tick))
        };
        let (slot, entry) = table.find_by_slot(table.hash(key), key, belongs)?;
        Some(Found::new((slot, entry), table.port(slot), direction))
    }

    /// Whether the receiver of a packet has any live connection.
    pub(super) fn is_client(&self, ends: &Ends, snapshot: &Snapshot, tick: Tick) -> bool {
        match ends.version() {
            IpVersion::Four => self.is_client_of::<V4>(ends, snapshot, tick),
            IpVersion::Six => self.is_client_of::<V6>(ends, snapshot, tick),
        }
    }

    fn is_client_of<V: Tabled>(&self, ends: &Ends, snapshot: &Snapshot, tick: Tick) -> bool {
        let Some(key) = V::key(ends.destination, ends.protocol) else { return false };
        let lives = |entry: Entry<V>| !entry.is_dead(snapshot.clock(tick));
        let table = V::of(&self.tables);
        table.find(table.hash(key), key, lives).is_some()
    }

    /// The real for a new connection, which is counted on it if it has a threshold: it is to be opened now.
    #[inline(always)]
    pub(super) fn pick<V: Family>(
        &mut self,
        wanted: Wanted<V>,
        snapshot: &Snapshot,
        now: Now,
    ) -> Option<RealId> {
        // On the fast path the id of a persistent service is none that has a position: there the slow path asks which
        // real its client stays with.
        match self.positions.usual_turn(wanted.service, &self.reals) {
            Some(real) => Some(real),
            None => self.pick_without_turn(wanted, snapshot, now),
        }
    }

    /// Out of line, so that turns are taken without what other schedules need.
    #[inline(never)]
    fn pick_without_turn<V: Family>(
        &mut self,
        wanted: Wanted<V>,
        snapshot: &Snapshot,
        now: Now,
    ) -> Option<RealId> {
        if self.limited.has_any() {
            return self.pick_limited(wanted, snapshot, now);
        }
        match self.positions.get(wanted.service) {
            Some(Position::Few(_)) => self.best_of_few(wanted.service, now),
            Some(Position::Table(hashed)) => {
                let of = || snapshot.services.get(wanted.service.0 as usize)?.as_ref();
                hashed.pick(wanted.key.client(), || Some(of()?.key.listen), &self.reals)
            }
            _ => self.choose(wanted, snapshot, now),
        }
    }

    /// Out of line, so that a table is looked up without what a comparison needs.
    #[inline(never)]
    fn best_of_few(&mut self, service: ServiceId, now: Now) -> Option<RealId> {
        let Self { positions, reals, elsewhere, counters, .. } = self;
        match positions.best_of_few(service, Known { live: reals, own: counters, elsewhere, now }) {
            Some(real) => Some(real),
            None => self.best_of_many(service, now),
        }
    }

    /// Out of line, so that the usual case is without what this needs.
    #[inline(never)]
    fn best_of_many(&mut self, service: ServiceId, now: Now) -> Option<RealId> {
        let Self { positions, reals, elsewhere, counters, .. } = self;
        positions.best(service, &Known { live: reals, own: counters, elsewhere, now })
    }

    /// Has all workers know of connections that have begun and ended on reals with a threshold.
    #[inline(always)]
    pub(super) fn settle_limited(&mut self) {
        if self.limited.has_any() {
            self.limited.settle_all(&self.reals, &self.counters);
        }
    }

    /// As [`pick`](Self::pick), where some reals have thresholds: the next real takes the connection if another worker
    /// has taken the last place of this one meanwhile.
    #[cold]
    #[inline(never)]
    fn pick_limited<V: Family>(
        &mut self,
        wanted: Wanted<V>,
        snapshot: &Snapshot,
        now: Now,
    ) -> Option<RealId> {
        self.settle_limited();
        for _ in 0..MOST_REFUSED {
            let real = self.choose(wanted, snapshot, now)?;
            if self.limited.admit(real, &self.reals) {
                return Some(real);
            }
        }
        None
    }

    /// The real for a datagram that makes no connection: it takes no place of a real that has a threshold, but gets
    /// none that is closed.
    pub(super) fn pick_for_datagram<V: Family>(
        &mut self,
        wanted: Wanted<V>,
        snapshot: &Snapshot,
        now: Now,
    ) -> Option<RealId> {
        self.settle_limited();
        match self.positions.usual_turn(wanted.service, &self.reals) {
            Some(real) => Some(real),
            None => self.choose(wanted, snapshot, now),
        }
    }

    /// The real that the schedule says.
    #[inline(never)]
    fn choose<V: Family>(&mut self, wanted: Wanted<V>, snapshot: &Snapshot, now: Now) -> Option<RealId> {
        let of = snapshot.services.get(wanted.service.0 as usize)?.as_ref()?;
        let Self { positions, reals, elsewhere, counters, .. } = self;
        let known = Known { live: reals, own: counters, elsewhere, now };
        let asked = Asked { client: wanted.key.client(), destination: of.key.listen, known };
        positions.choice(wanted.service, &of.schedule, &asked)
    }

    /// Opens a connection in its home bucket, where room for it has been found.
    #[inline(always)]
    pub(super) fn open_at_home<V: Tabled>(&mut self, vacancy: Vacancy, new: New<V>, tick: Tick) {
        V::of_mut(&mut self.tables).insert_at_home(vacancy, new, tick, &self.counters);
    }

    /// Opens a connection wherever there is room, or may be made.
    pub(super) fn open<V: Tabled>(
        &mut self,
        hash: Hash,
        new: New<V>,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Result<Slot, DropReason> {
        let Self { tables, shares, limited, reals, counters, .. } = self;
        let standing = shares.beside(new.real, snapshot);
        let opened = V::of_mut(tables).insert_beside(standing, hash, new, snapshot.clock(tick), counters);
        if opened.is_err() {
            limited.settle(new.real, reals, counters);
        }
        opened.map_err(|no_room| match no_room {
            NoRoom::Places => {
                counters.full_endpoint.note(new.key.client());
                DropReason::ClientEndpointFull
            }
            NoRoom::Capacity => DropReason::TableFull,
        })
    }

    /// Forgets a connection.
    pub(super) fn close<V: Tabled>(&mut self, slot: Slot) {
        V::of_mut(&mut self.tables).remove(slot, &self.counters);
    }

    /// Forgets a connection that was found.
    pub(super) fn close_found(&mut self, found: Found) {
        match found.version {
            IpVersion::Four => self.close::<V4>(found.slot),
            IpVersion::Six => self.close::<V6>(found.slot),
        }
    }

    /// Notes the next hop to the client of a connection that was found.
    pub(super) fn set_next_hop(&mut self, found: Found, id: NextHopId) {
        match found.version {
            IpVersion::Four => self.tables.v4.set_next_hop(found.slot, id),
            IpVersion::Six => self.tables.v6.set_next_hop(found.slot, id),
        }
    }

    /// Forgets a connection that has timed out.
    pub(super) fn expire<V: Tabled>(&mut self, slot: Slot) {
        V::of_mut(&mut self.tables).expire(slot, &self.counters);
    }

    /// Forgets what has timed out in a bucket.
    pub(super) fn expire_at_home<V: Tabled>(&mut self, home: Home, snapshot: &Snapshot, tick: Tick) {
        V::of_mut(&mut self.tables).expire_at_home(home, snapshot.clock(tick), &self.counters);
    }

    /// What a packet that the slow path translates leaves behind: the entry's tick and state, and the counters.
    pub(super) fn note(&mut self, found: Found, transport: Transport, length: u16, tick: Tick) {
        match found.version {
            IpVersion::Four => self.note_of::<V4>(found, transport, length, tick),
            IpVersion::Six => self.note_of::<V6>(found, transport, length, tick),
        }
    }

    fn note_of<V: Tabled>(&mut self, found: Found, transport: Transport, length: u16, tick: Tick) {
        let Found { slot, direction, .. } = found;
        let table = V::of_mut(&mut self.tables);
        let entry = table.taken(slot);
        let (before, real) = (entry.state(), entry.real());
        let after = before.after_packet(direction, transport);
        table.touch(slot, tick);
        if before != after {
            table.set_state(slot, after);
            recount_state(self.counters.reals(), real, before, after);
        }
        self.counters.real(real).count(direction, length);
    }

    /// Once a turn: adds up connections of services while the table is nearly full.
    #[inline(always)]
    pub(super) fn count_shares(&mut self, snapshot: &Snapshot) {
        if self.tables.are_nearly_full() {
            self.shares.count_some(snapshot, &self.counters);
        }
    }

    /// Copies connections out, and then templates, from the slice's position on, and sets it to where to go on.
    pub(super) fn export(&self, slice: &mut Slice, snapshot: &Snapshot, now: Now) {
        let Slice { position, rows, templates } = slice;
        rows.clear();
        templates.clear();
        let clock = snapshot.clock(now.tick());
        let from = position.unwrap_or(0);
        let (part, from) = (from / EXPORTED_PART, from % EXPORTED_PART);
        let next = match part {
            V4_PART => self.tables.v4.export(from, EXPORT_BUCKETS, clock, rows),
            V6_PART => self.tables.v6.export(from, EXPORT_BUCKETS, clock, rows),
            _ => self.persistent.as_ref().and_then(|of| of.templates.export(from, now, templates)),
        };
        let has = |part: &usize| match *part {
            V6_PART => self.tables.serve_both(),
            _ => self.persistent.is_some(),
        };
        let following = || (part + 1..=TEMPLATES_PART).find(has).map(|part| part * EXPORTED_PART);
        *position = next.map(|next| part * EXPORTED_PART + next).or_else(following);
    }

    /// Puts in a connection that was copied out elsewhere. `is_own` says of a client's endpoint whether its connections
    /// are this worker's.
    pub(super) fn import(
        &mut self,
        copied: &Copied,
        is_own: impl Fn(SocketAddr) -> bool,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Result<(), NotImported> {
        let real = snapshot.real_key(copied.real).ok_or(NotImported::NoReal)?;
        if real.service.protocol != copied.protocol || !real.is_for_port(copied.port) {
            return Err(NotImported::Malformed);
        }
        if !is_own(copied.client) {
            return Err(NotImported::OtherWorker);
        }
        // Of a service on one port it says nothing, and a table that keeps none is not to begin.
        let port = if real.service.is_exact() { 0 } else { copied.port };
        let copied = &Copied { port, ..*copied };
        // A reply carries no VIP: it must not match two connections of this client endpoint.
        let endpoint = real.at_port(copied.port).endpoint;
        let collides = |other: RealId, port: u16| {
            snapshot.connection_key(other, port).is_some_and(|other| other.endpoint == endpoint)
        };
        let Self { tables, counters, .. } = self;
        let clock = snapshot.clock(tick);
        let imported = match copied.client {
            SocketAddr::V4(_) => tables.v4.import(copied, collides, clock, counters),
            SocketAddr::V6(_) => tables.v6.import(copied, collides, clock, counters),
        };
        imported.map(|_| ())
    }
}

impl Ends {
    /// The family that both are of.
    pub(super) const fn version(&self) -> IpVersion {
        match self.source {
            SocketAddr::V4(_) => IpVersion::Four,
            SocketAddr::V6(_) => IpVersion::Six,
        }
    }

    /// The ports alone.
    pub(super) const fn ports(&self) -> Ports {
        Ports { source: self.source.port(), destination: self.destination.port() }
    }
}
