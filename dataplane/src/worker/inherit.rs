//! Taking over the connections and templates that earlier processes have left.
//!
//! ```text
//! order ─► the next snapshot ─► templates ─► connections ─► the order is given back, with what has become of it
//! ```
//!
//! Every worker looks at all that is left, some places in each turn, and takes what it owns now, whoever owned it then.
//! So it does not matter how many workers there were, with what secret and capacity. A packet without a connection does
//! not wait for its turn: what its client has left is looked for at once, and taken over, and the packet goes on as if
//! the connection had always been there.
//!
//! Where there may not be room for all, those that both sides have taken part in come first, in a pass of their own.
//! What has been taken over is cleared where it was, and not before: should this process end in between, it is there
//! twice, and the next one takes it once.

use super::fast::family::Plain;
use super::fast::staged::{FrameSet, Staged};
use super::flows::{Ends, Flows, Found};
use super::persistent::who_stays;
use super::slow::Slow;
use super::tables::{Tabled, Tables};
use super::turn::Turn;
use crate::connection::kept::{Mark, OldRow};
use crate::connection::table::New;
use crate::connection::{Clock, Copied, Imported, NotImported, State};
use crate::exchange::orders::{Inheritance, Inherited, InheritedCounts, LeftArea};
use crate::exchange::peers::Peers;
use crate::frame::{Frame, FrameIo};
use crate::names::direction::Direction;
use crate::names::family::{V4, V6};
use crate::names::ids::{NextHopId, Protocol, RealId};
use crate::names::time::{Now, Tick};
use crate::persistence::Made;
use crate::persistence::kept::{self, Kept};
use crate::snapshot::Snapshot;
use arrayvec::ArrayVec;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

/// Buckets of old tables looked at in a turn that has packets, at most, or as many templates.
pub const INHERIT_BUSY: usize = 128;
/// As many in a turn without packets.
pub const INHERIT_IDLE: usize = 512;
/// Buckets of what is read at once.
const AT_ONCE: usize = 16;
/// Connections whose places in the table are brought close before the first of them is put in.
const GROUP: usize = 16;
/// A packet may have come after the last turn that its worker has told of. What seems to be older than this, in ticks,
/// came so.
const OLDEST: u32 = (1 << Tick::BITS) - (1 << 20);
const NANOSECONDS_OF_TICK: u64 = 1_000_000_000 / Tick::PER_SECOND as u64;

/// An inheritance that is under way.
pub(super) struct Inheriting {
    inheritance: Box<Inheritance>,
    /// When the order for it came, in nanoseconds.
    ordered: u64,
    /// When it began, in nanoseconds.
    began: u64,
    stage: Stage,
    /// Whether all are likely to find room.
    fits: bool,
    /// What is looked at next: the generation, its area, and the place in that.
    at: (usize, usize, usize),
}

/// What is being taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing: there is no snapshot yet.
    Waiting,
    Templates,
    Connections(Which),
    /// All that could be is.
    Through,
}

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    All,
    /// Those that both sides have taken part in.
    Established,
    /// All but these.
    Others,
}

impl Which {
    fn has(self, state: State) -> bool {
        match self {
            Self::All => true,
            Self::Established => is_established(state),
            Self::Others => !is_established(state),
        }
    }
}

/// Whether both sides have taken part in a connection, and it is not over.
const fn is_established(state: State) -> bool {
    !(state.is_closing() || state.is_half_open() || state.is_one_sided())
}

impl Inheriting {
    const fn takes(&self) -> bool {
        matches!(self.stage, Stage::Templates | Stage::Connections(_))
    }

    /// The area that is looked at, and the place in it; `None`: all have been.
    fn area(&mut self, places: impl Fn(&LeftArea) -> usize) -> Option<(usize, usize, usize)> {
        loop {
            let (generation, area, place) = self.at;
            let areas = &self.inheritance.generations.get(generation)?.areas;
            match areas.get(area) {
                None => self.at = (generation + 1, 0, 0),
                Some(left) if place >= places(left) => self.at = (generation, area + 1, 0),
                Some(_) => return Some(self.at),
            }
        }
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.at) = (stage, (0, 0, 0));
    }
}

/// What tells what a row of an area is here.
struct Reading<'a> {
    from: &'a Inherited,
    snapshot: &'a Snapshot,
    clock: Clock<'a>,
    /// Its last turn.
    last: Tick,
    /// Ticks since then.
    passed: u32,
}

impl<'a> Reading<'a> {
    fn new(from: &'a Inherited, left: &LeftArea, ordered: u64, (snapshot, now): (&'a Snapshot, Now)) -> Self {
        let since = now.nanoseconds.saturating_sub(ordered) / NANOSECONDS_OF_TICK;
        let passed = u64::from(left.elapsed).saturating_add(since);
        Self {
            from,
            snapshot,
            clock: snapshot.clock(now.tick()),
            last: Now { nanoseconds: left.old.header().nanoseconds }.tick(),
            passed: u32::try_from(passed).unwrap_or(u32::MAX),
        }
    }

    /// The connection of a row as this process knows it. Whatever is in the row, what comes of it is sound.
    fn copied(&self, row: &OldRow) -> Result<Copied, NotImported> {
        let &OldRow { protocol, state, client, port, .. } = row;
        let real = self.from.reals.get(row.real as usize).copied().flatten();
        let real = real.ok_or(NotImported::NoReal)?;
        let key = self.snapshot.real_key(real).ok_or(NotImported::NoReal)?;
        let is_sound = state.protocol() == protocol
            && key.service.protocol == protocol
            && key.is_for_port(port)
            && client.is_ipv4() == key.endpoint.is_ipv4();
        if !is_sound {
            return Err(NotImported::Malformed);
        }
        let age = Some(self.last.since(row.tick)).filter(|age| *age < OLDEST).unwrap_or(0);
        let timeout = self.clock.timeouts(real).ticks(state);
        let ticks_left = timeout.saturating_sub(age.saturating_add(self.passed));
        if ticks_left == 0 {
            return Err(NotImported::Expired);
        }
        let interface = self.from.interfaces.get(row.hop as usize).copied().flatten();
        let next_hop = interface.map_or(NextHopId::UNKNOWN, NextHopId::behind);
        // Of a service on one port it says nothing.
        let port = if key.service.is_exact() { 0 } else { port };
        Ok(Copied { protocol, state, ticks_left, client, real, port, next_hop })
    }
}

/// What has to be known of the other workers.
struct Whose<'a, F> {
    peers: &'a Peers<F>,
    snapshot: &'a Snapshot,
}

impl<F> Whose<'_, F> {
    fn is_own(&self, client: SocketAddr) -> bool {
        self.peers.is_alone() || self.peers.owner_of(client) == self.peers.own()
    }

    /// The worker with the template of a connection's client, if its service is persistent, and what it is asked by.
    fn follow(&self, copied: &Copied) -> Option<(Made, usize)> {
        let &Copied { protocol, client, real, port, .. } = copied;
        let who = who_stays(client.ip(), real, self.snapshot)?;
        let port = self.snapshot.connection_key(real, port)?.service.listen.port();
        Some((Made { protocol, client, real, port }, self.peers.template_owner(&who)))
    }
}

impl Flows {
    /// Whether anything of earlier processes is still to be taken over.
    #[inline(always)]
    pub(super) fn is_inheriting(&self) -> bool {
        self.inheriting.as_ref().is_some_and(|inheriting| inheriting.takes())
    }

    /// Whether all templates of this worker are there: none of an earlier process may still come.
    pub(super) fn has_all_templates(&self) -> bool {
        self.inheriting.as_ref().is_none_or(|inheriting| inheriting.stage > Stage::Templates)
    }

    /// Takes over what earlier processes have left, from the next snapshot on, or from now on if there is one already.
    /// Gives it back if another inheritance is under way.
    pub(super) fn inherit(
        &mut self,
        inheritance: Box<Inheritance>,
        snapshot: &Snapshot,
        workers: usize,
        now: Now,
    ) -> Option<Box<Inheritance>> {
        if self.inheriting.is_some() {
            return Some(inheritance);
        }
        let (ordered, began) = (now.nanoseconds, now.nanoseconds);
        let (stage, fits, at) = (Stage::Waiting, false, (0, 0, 0));
        self.inheriting = Some(Inheriting { inheritance, ordered, began, stage, fits, at });
        self.begin_inheriting(snapshot, workers, now);
        None
    }

    /// There is a snapshot, or another one, and this worker is one of so many.
    pub(super) fn begin_inheriting(&mut self, snapshot: &Snapshot, workers: usize, now: Now) {
        if let Some(mut inheriting) = self.inheriting.take() {
            if inheriting.stage == Stage::Waiting && !snapshot.interfaces.is_empty() {
                inheriting.began = now.nanoseconds;
                // Before the first packet is, so that there is no connection yet that would have to be moved.
                inheriting.fits = self.expect(&inheriting, workers);
                inheriting.enter(Stage::Templates);
            }
            self.inheriting = Some(inheriting);
        }
        self.note_more();
    }

    /// What this worker is through with.
    pub(super) fn take_inheritance(&mut self) -> Option<Box<Inheritance>> {
        let through = self.inheriting.take_if(|inheriting| inheriting.stage == Stage::Through)?;
        Some(through.inheritance)
    }

    /// Nothing more is to be taken over.
    pub(super) fn give_up_inheritance(&mut self) {
        if let Some(inheriting) = &mut self.inheriting {
            inheriting.enter(Stage::Through);
            self.tables.v4.expect_no_more();
            self.tables.v6.expect_no_more();
        }
    }

    /// Takes over what is due in a turn.
    #[cold]
    #[inline(never)]
    fn inherit_some<F>(&mut self, peers: &Peers<F>, snapshot: &Snapshot, now: Now, idle: bool) {
        let Some(mut inheriting) = self.inheriting.take() else { return };
        let whose = Whose { peers, snapshot };
        let mut places = if idle { INHERIT_IDLE } else { INHERIT_BUSY };
        while places > 0 && inheriting.takes() {
            let done = match inheriting.stage {
                Stage::Templates => self.inherit_templates(&mut inheriting, &whose, &mut places, now),
                Stage::Connections(which) => {
                    self.inherit_connections(&mut inheriting, which, &whose, &mut places, now)
                }
                Stage::Waiting | Stage::Through => break,
            };
            if done.is_continue() {
                continue;
            }
            let next = match inheriting.stage {
                Stage::Templates if inheriting.fits => Stage::Connections(Which::All),
                Stage::Templates => Stage::Connections(Which::Established),
                Stage::Connections(Which::Established) => Stage::Connections(Which::Others),
                _ => Stage::Through,
            };
            inheriting.enter(next);
            if next == Stage::Through {
                inheriting.inheritance.counts.nanoseconds = now.nanoseconds.saturating_sub(inheriting.began);
                self.tables.v4.expect_no_more();
                self.tables.v6.expect_no_more();
            }
        }
        self.inheriting = Some(inheriting);
    }

    /// Whether this worker's share of all connections that are left is likely to find room. The tables get ready for
    /// them.
    fn expect(&mut self, inheriting: &Inheriting, workers: usize) -> bool {
        let areas = || inheriting.inheritance.generations.iter().flat_map(|generation| &generation.areas);
        let left = areas().map(|area| area.old.header().connections).fold(0, u64::saturating_add);
        let share = left / workers.max(1) as u64;
        // Shares of several workers differ by chance.
        let spare = if workers > 1 { share / 8 } else { 0 };
        let share = usize::try_from(share.saturating_add(spare)).unwrap_or(usize::MAX);
        let Tables { v4, v6 } = &mut self.tables;
        v4.expect(share);
        let of_both = v6.capacity() != 0 && areas().any(|area| area.old.header().shape.v6 != 0);
        if of_both {
            v6.expect(share);
        }
        share <= v4.capacity() && (!of_both || share <= v6.capacity())
    }

    /// Looks at some places of the area that is in turn. Breaks where there is none left.
    fn inherit_connections<F>(
        &mut self,
        inheriting: &mut Inheriting,
        which: Which,
        whose: &Whose<'_, F>,
        places: &mut usize,
        now: Now,
    ) -> ControlFlow<()> {
        let Some((generation, area, first)) = inheriting.area(|left| left.old.positions()) else {
            return ControlFlow::Break(());
        };
        let Inheriting { inheritance, ordered, at, .. } = inheriting;
        let Inheritance { generations, counts } = &mut **inheritance;
        let from = &generations[generation];
        let left = &from.areas[area];
        let reading = Reading::new(from, left, *ordered, (whose.snapshot, now));
        let end = left.old.positions().min(first + (*places).div_ceil(AT_ONCE));
        let InheritedCounts { connections, silent, .. } = counts;
        let mut taking = Taking { flows: self, counts: connections, silent, which, left, reading, whose };
        let mut group = Group::new();
        for place in first..end {
            left.old.read(place, |row, mark| taking.take(&row, mark, &mut group));
        }
        taking.put(&mut group);
        *places = places.saturating_sub((end - first) * AT_ONCE);
        at.2 = end;
        ControlFlow::Continue(())
    }

    /// As [`inherit_connections`](Self::inherit_connections), of templates.
    fn inherit_templates<F>(
        &mut self,
        inheriting: &mut Inheriting,
        whose: &Whose<'_, F>,
        places: &mut usize,
        now: Now,
    ) -> ControlFlow<()> {
        let Some(persistent) = &mut self.persistent else { return ControlFlow::Break(()) };
        let places_of = |left: &LeftArea| templates_of(left).len() / kept::WORDS;
        let Some((generation, area, first)) = inheriting.area(places_of) else {
            return ControlFlow::Break(());
        };
        let Inheriting { inheritance, ordered, at, .. } = inheriting;
        let Inheritance { generations, counts } = &mut **inheritance;
        let from = &generations[generation];
        let left = &from.areas[area];
        let (LeftArea { old, elapsed }, words) = (left, templates_of(left));
        // What their clock says at the moment at which ours says `now`.
        let since = now.nanoseconds.saturating_sub(*ordered);
        let theirs = i128::from(old.header().nanoseconds)
            + i128::from(*elapsed) * i128::from(NANOSECONDS_OF_TICK)
            + i128::from(since);
        let ahead = i128::from(now.nanoseconds) - theirs;
        let end = places_of(left).min(first + *places);
        for place in first..end {
            let Some(template) = Kept::read(words, place) else { continue };
            let real = from.reals.get(template.real as usize).copied().flatten();
            let who = real.and_then(|real| who_stays(template.client, real, whose.snapshot));
            let (Some(real), Some(who)) = (real, who) else {
                counts.templates_given_up += u32::from(whose.peers.own() == 0); // nobody's: counted once
                continue;
            };
            if whose.peers.template_owner(&who) != whose.peers.own() {
                continue;
            }
            match persistent.templates.inherit(&template, (who, real), ahead, now, &self.counters) {
                Ok(_) => {
                    counts.templates += 1;
                    kept::forget(words, place);
                }
                Err(_) => counts.templates_given_up += 1,
            }
        }
        *places -= end - first;
        at.2 = end;
        ControlFlow::Continue(())
    }

    /// Takes over all that a client whose packet has no connection has left.
    #[cold]
    #[inline(never)]
    pub(super) fn inherit_of<F>(
        &mut self,
        (client, protocol): (SocketAddr, Protocol),
        peers: &Peers<F>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let Some(mut inheriting) = self.inheriting.take() else { return };
        let whose = Whose { peers, snapshot };
        if inheriting.takes() && whose.is_own(client) {
            let Inheritance { generations, counts } = &mut *inheriting.inheritance;
            // What is refused is counted when its place comes.
            let (mut of_client, mut silent) = (Imported::default(), counts.silent);
            for from in generations.iter() {
                for left in &from.areas {
                    let reading = Reading::new(from, left, inheriting.ordered, (snapshot, now));
                    let (which, counts) = (Which::All, &mut of_client);
                    let silent = &mut silent;
                    let mut taking =
                        Taking { flows: self, counts, silent, which, left, reading, whose: &whose };
                    let mut group = Group::new();
                    left.old.find(client, protocol, |row, mark| taking.take(&row, mark, &mut group));
                    taking.put(&mut group);
                }
            }
            counts.connections.made += of_client.made;
            counts.silent = silent;
        }
        self.inheriting = Some(inheriting);
    }

    /// Brings close what clients have left.
    fn prefetch_left(&self, clients: impl Iterator<Item = (SocketAddr, Protocol)>) {
        let Some(inheriting) = &self.inheriting else { return };
        for (client, protocol) in clients {
            for left in inheriting.inheritance.generations.iter().flat_map(|from| &from.areas) {
                left.old.prefetch(client, protocol);
            }
        }
    }

    /// Puts a connection into its table. An established one finds room also in a full one, where anything else gives
    /// way.
    fn put<V: Tabled>(
        &mut self,
        copied: &Copied,
        snapshot: &Snapshot,
        clock: Clock<'_>,
    ) -> Result<(), NotImported> {
        let Some(key) = V::key(copied.client, copied.protocol) else { return Err(NotImported::Malformed) };
        let &Copied { real, port, next_hop, state, .. } = copied;
        let Self { tables, counters, .. } = self;
        let table = V::of_mut(tables);
        let since = clock.tick.before(silence(copied, clock));
        let new = New { key, real, port, next_hop, state };
        // A reply carries no VIP: it must not match two connections of this client endpoint.
        let endpoint = snapshot.connection_key(real, port).map(|key| key.endpoint);
        let collides = |other: RealId, port: u16| {
            snapshot.connection_key(other, port).map(|other| other.endpoint) == endpoint
        };
        table.inherit(new, since, is_established(state), collides, clock, counters)
    }
}

/// For how many ticks it has been silent.
fn silence(copied: &Copied, clock: Clock<'_>) -> u32 {
    clock.timeouts(copied.real).ticks(copied.state).saturating_sub(copied.ticks_left)
}

fn templates_of(left: &LeftArea) -> &[AtomicU64] {
    left.old.templates().map_or(&[], |words| words)
}

/// What is to be put in next.
type Group = ArrayVec<(Copied, Mark), GROUP>;

/// Taking over what is in an area.
struct Taking<'a, F> {
    flows: &'a mut Flows,
    counts: &'a mut Imported,
    /// See [`InheritedCounts::silent`].
    silent: &'a mut u32,
    which: Which,
    left: &'a LeftArea,
    reading: Reading<'a>,
    whose: &'a Whose<'a, F>,
}

impl<F> Taking<'_, F> {
    /// Takes a row, if it is this worker's; what it is put with later is brought close.
    fn take(&mut self, row: &OldRow, mark: Mark, group: &mut Group) {
        if !self.which.has(row.state) || !self.whose.is_own(row.client) {
            return;
        }
        match self.reading.copied(row) {
            Ok(copied) => {
                match copied.client {
                    SocketAddr::V4(_) => prefetch::<V4>(&self.flows.tables, &copied),
                    SocketAddr::V6(_) => prefetch::<V6>(&self.flows.tables, &copied),
                }
                group.push((copied, mark));
            }
            Err(why) => self.counts.count(Err(why)),
        }
        if group.is_full() {
            self.put(group);
        }
    }

    fn put(&mut self, group: &mut Group) {
        let (snapshot, clock) = (self.whose.snapshot, self.reading.clock);
        for (copied, mark) in group.drain(..) {
            let put = match copied.client {
                SocketAddr::V4(_) => self.flows.put::<V4>(&copied, snapshot, clock),
                SocketAddr::V6(_) => self.flows.put::<V6>(&copied, snapshot, clock),
            };
            self.counts.count(put);
            if put.is_err() {
                continue;
            }
            *self.silent = (*self.silent).max(silence(&copied, clock));
            self.left.old.forget(mark);
            if let Some(persistent) = &mut self.flows.persistent
                && let Some((made, owner)) = self.whose.follow(&copied)
            {
                persistent.controlled.inherit(made, owner);
            }
        }
    }
}

fn prefetch<V: Tabled>(tables: &Tables, copied: &Copied) {
    if let Some(key) = V::key(copied.client, copied.protocol) {
        let table = V::of(tables);
        table.prefetch(table.home_of(key));
    }
}

impl<F: Frame> Slow<'_, F> {
    /// As [`find`](Self::find), where that has found nothing, but what the client has left may not have been taken over
    /// yet.
    #[cold]
    #[inline(never)]
    pub(super) fn find_left(&mut self, ends: &Ends, direction: Direction) -> Option<Found> {
        let client = match direction {
            Direction::Forward => ends.source,
            Direction::Reverse => ends.destination,
        };
        self.flows.inherit_of((client, ends.protocol), self.peers, self.snapshot, self.now);
        self.flows.find(ends, direction, self.snapshot, self.now.tick())
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Once a turn, as long as there is something to be inherited.
    pub(super) fn tend_inheritance(&mut self, idle: bool) {
        let Self { snapshot, now, flows, egress, .. } = self;
        flows.inherit_some(&egress.io.peers, snapshot, *now, idle);
    }

    /// Takes over what the clients of those frames of a burst have left that have no connection.
    #[cold]
    #[inline(never)]
    pub(super) fn inherit_of_burst<V: Plain>(&mut self, burst: &Staged<Io::Frame, V>, behind: FrameSet) {
        let Self { snapshot, now, flows, egress, .. } = self;
        let plain = behind & !burst.others;
        let clients = || {
            (0..burst.frames.len()).filter(|index| plain >> index & 1 != 0).filter_map(|index| {
                let key = burst.keys[index];
                Some((V::client(key), Protocol::from_number(key.protocol_number())?))
            })
        };
        flows.prefetch_left(clients());
        for client in clients() {
            flows.inherit_of(client, &egress.io.peers, snapshot, *now);
        }
    }
}
