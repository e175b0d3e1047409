//! Which client stays with which real, and for how long: one worker's part of all templates.
//!
//! A template has one timer. It is set to the service's timeout when the template is made, and set anew by each new
//! connection that asks for it. Where it runs out while connections of the template are left, it is set to a minute
//! once more, and a minute is its timeout from then on. There are no timers that fire, though: what has run out is
//! found when the template is next looked at, and all are looked at in slices ([`Sweep`]).

use super::hash::{Hasher, room};
use super::kept::{self, Kept};
use super::sweep::Sweep;
use super::{CopiedTemplate, Happened, TemplateId};
use crate::connection::Timeouts;
use crate::connection::table::HashKey;
use crate::counters::WorkerCounters;
use crate::names::ids::{Protocol, RealId, ServiceKey};
use crate::names::time::{Now, Tick};
use hashbrown::HashTable;
use memory::Words;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const SECOND: u64 = 1_000_000_000;
/// How long a template lives on, again and again, while it has connections.
const WHILE_CONTROLLING: u64 = 60 * SECOND;
/// The longest time that a template of an earlier process is set to: 31 days, as the longest timeouts of connections.
const LONGEST: u64 = Timeouts::LONGEST_SECONDS as u64 * SECOND;
/// Templates looked at to make room for a new one, where one of them may give way.
const ROOM_SEARCH: usize = 32;
/// Templates looked at to make room for a new one, at most.
const ROOM_SEARCH_MOST: usize = 256;
/// Templates that a dump looks at for one slice.
const EXPORTED: usize = 4096;

/// Whom a template is for: all clients that are one under the mask, and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// The client's address under the mask.
    pub client: IpAddr,
    /// The service: on a range of ports, or on any, its connections to all of its ports go to one real.
    pub service: ServiceKey,
}

impl Who {
    fn hash(&self, key: HashKey) -> u64 {
        let Self { client, service } = self;
        let ports = u64::from(service.last_port) << 8 | u64::from(service.protocol.number());
        Hasher::new(key).address(*client).endpoint(service.listen).word(ports).finish()
    }

    /// What the worker that owns the template is found by, as the owner of a client endpoint is: 48 bits. Every worker
    /// and every run has the same.
    pub fn bits(&self) -> u64 {
        const FIXED: HashKey = HashKey { mask: 0x243f_6a88_85a3_08d3, multiplier: 0x9e37_79b9_7f4a_7c15 };
        self.hash(FIXED) >> 16
    }
}

#[derive(Clone, Copy, Debug)]
struct Template {
    who: Who,
    real: RealId,
    /// Where the real was last found among the service's candidates.
    place: u32,
    /// In nanoseconds.
    runs_out: u64,
    /// What the timer is set to by a new connection, in nanoseconds.
    timeout: u64,
    /// Connections of it that are left.
    controlled: u32,
    generation: u32,
    standing: Standing,
    assured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none here.
    Vacant,
    InForce,
    /// Its client has another real; it is kept until it runs out.
    Spent,
}

/// How soon a template gives way to a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Yielding {
    Assured,
    Unproven,
    Spent,
}

/// See the module's text.
#[derive(Debug)]
pub struct Templates {
    key: HashKey,
    /// The templates in force, by whom they are for.
    index: HashTable<u32>,
    slots: Vec<Template>,
    free: Vec<u32>,
    most: usize,
    sweep: Sweep,
    /// Where to look next for room.
    room_at: usize,
    /// Where they are kept for the next process, by slot; none where they are not.
    kept: Option<Words>,
}

/// Why a template of an earlier process was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInherited {
    /// Its client has one in force already.
    Duplicate,
    /// Its time is over, and it has no connections.
    Expired,
    /// There is no room.
    NoRoom,
}

/// A template that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: TemplateId,
    /// The real that the client stays with.
    pub real: RealId,
    /// Where it was last found among the candidates.
    pub place: usize,
}

/// What a place begins as.
const VACANT: Template = Template {
    who: Who {
        client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        service: ServiceKey::new(Protocol::Tcp, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)),
    },
    real: RealId(0),
    place: 0,
    runs_out: 0,
    timeout: 0,
    controlled: 0,
    generation: 0,
    standing: Standing::Vacant,
    assured: false,
};

/// What a new template has besides its client, real and time.
const NEW: Template = Template { standing: Standing::InForce, ..VACANT };

impl Templates {
    /// None yet, and room for `most`.
    pub fn new(most: usize, key: HashKey) -> Self {
        Self {
            key,
            index: HashTable::with_capacity(room(most)),
            slots: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
            most,
            sweep: Sweep::default(),
            room_at: 0,
            kept: None,
        }
    }

    /// Keeps them for the next process in these words, a record for each, as many as there is room for.
    pub fn keep_in(&mut self, kept: Words) {
        self.kept = Some(kept);
        (0..self.slots.len()).for_each(|slot| self.keep_new(slot as u32));
    }

    fn as_kept(&self, slot: u32) -> Kept {
        let Template { who, real, runs_out, timeout, controlled, standing, assured, .. } =
            self.slots[slot as usize];
        let (controls, spent) = (controlled > 0, standing == Standing::Spent);
        Kept { client: who.client, real: real.0, runs_out, timeout, controls, assured, spent }
    }

    /// One has come into this slot.
    fn keep_new(&self, slot: u32) {
        if let Some(kept) = &self.kept
            && self.slots[slot as usize].standing != Standing::Vacant
        {
            self.as_kept(slot).write(kept, slot as usize);
        }
    }

    /// The one in this slot has changed.
    fn keep(&self, slot: u32) {
        if let Some(kept) = &self.kept {
            self.as_kept(slot).change(kept, slot as usize);
        }
    }

    /// Those that there are, spent ones and some that have run out included.
    pub const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The template in force of a client.
    pub fn find(&mut self, who: &Who, now: Now, counters: &WorkerCounters) -> Option<Found> {
        let slots = &self.slots;
        let slot = *self.index.find(who.hash(self.key), |slot| slots[*slot as usize].who == *who)?;
        if self.has_run_out(slot, now) {
            self.remove(slot, counters);
            counters.templates_expired.add(1);
            return None;
        }
        let Template { real, place, generation, .. } = self.slots[slot as usize];
        Some(Found { id: TemplateId { slot, generation }, real, place: place as usize })
    }

    /// A new connection of its client has asked for it: its timer is set anew.
    pub fn renew(&mut self, found: Found, place: usize, now: Now) {
        let Template { timeout, runs_out, place: noted, .. } = &mut self.slots[found.id.slot as usize];
        *runs_out = now.nanoseconds + *timeout;
        *noted = place as u32;
        self.keep(found.id.slot);
    }

    /// Its real takes no more connections: its client gets another one, and another template. This one stays until it
    /// runs out, with its connections, and is listed.
    pub fn spend(&mut self, found: Found) {
        self.take_off_index(found.id.slot);
        self.slots[found.id.slot as usize].standing = Standing::Spent;
        self.keep(found.id.slot);
    }

    /// A template for a client that has none in force. `None`: there is no room, for all that was looked at has been
    /// proven and has connections.
    pub fn make(
        &mut self,
        who: Who,
        (real, place): (RealId, usize),
        seconds: u32,
        now: Now,
        counters: &WorkerCounters,
    ) -> Option<TemplateId> {
        let slot = self.free_slot(now, counters)?;
        let timeout = u64::from(seconds) * SECOND;
        let new =
            Template { who, real, place: place as u32, runs_out: now.nanoseconds + timeout, timeout, ..NEW };
        counters.templates_made.add(1);
        Some(self.fill(slot, new, counters))
    }

    /// Puts a template into a free slot.
    fn fill(&mut self, slot: u32, new: Template, counters: &WorkerCounters) -> TemplateId {
        let template = &mut self.slots[slot as usize];
        let generation = template.generation.wrapping_add(1);
        *template = Template { generation, ..new };
        if new.standing == Standing::InForce {
            let Self { index, slots, key, .. } = self;
            index.insert_unique(new.who.hash(*key), slot, |slot| slots[*slot as usize].who.hash(*key));
        }
        self.keep_new(slot);
        counters.templates.set(self.len() as u64);
        counters.count_template(new.real, true);
        TemplateId { slot, generation }
    }

    /// The template in force of a client that stays with this real, whether it has run out or not.
    pub fn of(&self, who: &Who, real: RealId) -> Option<TemplateId> {
        let slot = *self.index.find(who.hash(self.key), |slot| self.slots[*slot as usize].who == *who)?;
        let Template { generation, real: of, .. } = self.slots[slot as usize];
        (of == real).then_some(TemplateId { slot, generation })
    }

    /// Takes over a template of an earlier process, for a client and a real as they are known here. `passed` is how far
    /// this worker's clock is ahead of that of the worker that wrote it, in nanoseconds: negative where it is behind.
    ///
    /// # Errors
    /// Why it was not taken over; then nothing is done.
    pub(crate) fn inherit(
        &mut self,
        kept: &Kept,
        (who, real): (Who, RealId),
        ahead: i128,
        now: Now,
        counters: &WorkerCounters,
    ) -> Result<TemplateId, NotInherited> {
        let timeout = kept.timeout.min(LONGEST);
        let ends = i128::from(kept.runs_out) + ahead;
        let latest = now.nanoseconds + timeout.max(WHILE_CONTROLLING);
        let runs_out = u64::try_from(ends.max(0)).unwrap_or(u64::MAX).min(latest);
        let (runs_out, timeout) = match (runs_out > now.nanoseconds, kept.controls) {
            (true, false) => (runs_out, timeout),
            // Its connections have yet to find it, and do so long before that.
            (true, true) => (runs_out.max(now.nanoseconds + WHILE_CONTROLLING), timeout),
            // As if its timer had been set anew just now, as often as was due.
            (false, true) => (now.nanoseconds + WHILE_CONTROLLING, WHILE_CONTROLLING),
            (false, false) => return Err(NotInherited::Expired),
        };
        if !kept.spent
            && self.index.find(who.hash(self.key), |slot| self.slots[*slot as usize].who == who).is_some()
        {
            return Err(NotInherited::Duplicate);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.most => {
                self.slots.push(VACANT);
                self.slots.len() as u32 - 1
            }
            None => return Err(NotInherited::NoRoom),
        };
        let standing = if kept.spent { Standing::Spent } else { Standing::InForce };
        let new = Template { who, real, runs_out, timeout, standing, assured: kept.assured, ..NEW };
        counters.templates_inherited.add(1);
        Ok(self.fill(slot, new, counters))
    }

    /// Forgets all in some slots, from this one on, `most` at once. Returns where to go on, or `None` at the end.
    pub fn clear(&mut self, from: usize, most: usize, counters: &WorkerCounters) -> Option<usize> {
        let end = self.slots.len().min(from + most);
        for slot in from..end {
            if self.slots[slot].standing != Standing::Vacant {
                self.remove(slot as u32, counters);
            }
        }
        (end < self.slots.len()).then_some(end)
    }

    fn free_slot(&mut self, now: Now, counters: &WorkerCounters) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.slots.len() < self.most {
            self.slots.push(VACANT);
            return Some(self.slots.len() as u32 - 1);
        }
        self.make_room(now, counters);
        self.free.pop()
    }

    /// Looks in a bounded stretch for a template that has run out, else is spent, else unproven, else was not asked for
    /// longest and has no connections.
    #[cold]
    fn make_room(&mut self, now: Now, counters: &WorkerCounters) {
        let mut first: Option<((Yielding, u64), u32)> = None;
        for looked_at in 0..ROOM_SEARCH_MOST.min(self.slots.len()) {
            if looked_at >= ROOM_SEARCH && first.is_some() {
                break;
            }
            let slot = self.room_at as u32;
            self.room_at = (self.room_at + 1) % self.slots.len();
            if self.has_run_out(slot, now) {
                counters.templates_expired.add(1);
                return self.remove(slot, counters);
            }
            let Template { standing, assured, controlled, runs_out, .. } = self.slots[slot as usize];
            let how = match standing {
                Standing::Vacant => continue,
                Standing::Spent => Yielding::Spent,
                Standing::InForce if !assured => Yielding::Unproven,
                Standing::InForce if controlled == 0 => Yielding::Assured,
                Standing::InForce => continue,
            };
            let rank = (how, u64::MAX - runs_out);
            if first.is_none_or(|(best, _)| rank > best) {
                first = Some((rank, slot));
            }
        }
        if let Some((_, slot)) = first {
            counters.templates_evicted.add(1);
            self.remove(slot, counters);
        }
    }

    /// Whether nothing keeps a template any more. One that its connections keep has its timer set once more.
    fn has_run_out(&mut self, slot: u32, now: Now) -> bool {
        let Template { runs_out, timeout, controlled, standing, .. } = &mut self.slots[slot as usize];
        if *standing == Standing::Vacant || now.nanoseconds < *runs_out {
            return false;
        }
        if *controlled > 0 {
            let times = (now.nanoseconds - *runs_out) / WHILE_CONTROLLING + 1;
            *runs_out += times * WHILE_CONTROLLING;
            *timeout = WHILE_CONTROLLING;
            self.keep(slot);
            return false;
        }
        true
    }

    fn take_off_index(&mut self, slot: u32) {
        let Template { who, standing, .. } = self.slots[slot as usize];
        if standing == Standing::InForce
            && let Ok(entry) = self.index.find_entry(who.hash(self.key), |other| *other == slot)
        {
            entry.remove();
        }
    }

    fn remove(&mut self, slot: u32, counters: &WorkerCounters) {
        self.take_off_index(slot);
        if let Some(kept) = &self.kept {
            kept::forget(kept, slot as usize);
        }
        let template = &mut self.slots[slot as usize];
        template.standing = Standing::Vacant;
        counters.count_template(template.real, false);
        self.free.push(slot);
        counters.templates.set(self.len() as u64);
    }

    /// Takes note of what has happened to a connection. One of a template that is no more is of no interest.
    pub fn note(&mut self, TemplateId { slot, generation }: TemplateId, what: Happened) {
        let Some(template) = self.slots.get_mut(slot as usize) else { return };
        if template.generation != generation || template.standing == Standing::Vacant {
            return;
        }
        let before = (template.controlled > 0, template.assured);
        match what {
            Happened::Made => template.controlled += 1,
            Happened::Proven => template.assured = true,
            Happened::Over => template.controlled = template.controlled.saturating_sub(1),
        }
        if before != (template.controlled > 0, template.assured) {
            self.keep(slot);
        }
    }

    /// Takes out what has run out: as much as is due by now, within a bound that is higher in an idle turn.
    pub fn sweep(&mut self, now: Now, idle: bool, counters: &WorkerCounters) {
        for _ in 0..self.sweep.due(self.slots.len(), now, idle) {
            let slot = self.sweep.next(self.slots.len()) as u32;
            if self.has_run_out(slot, now) {
                self.remove(slot, counters);
                counters.templates_expired.add(1);
            }
        }
    }

    /// Copies templates out, from the one with this number on, up to the capacity of `rows`. Returns where to go on, or
    /// `None` at the end.
    pub fn export(&self, position: usize, now: Now, rows: &mut Vec<CopiedTemplate>) -> Option<usize> {
        const TICK: u64 = SECOND / Tick::PER_SECOND as u64;
        let end = self.slots.len().min(position + EXPORTED);
        for (at, template) in self.slots.iter().enumerate().take(end).skip(position) {
            let Template { who, real, runs_out, controlled, assured, standing, .. } = *template;
            let is_over = runs_out <= now.nanoseconds && controlled == 0;
            if standing == Standing::Vacant || is_over {
                continue;
            }
            if rows.len() == rows.capacity() {
                return Some(at);
            }
            let left = runs_out.saturating_sub(now.nanoseconds) / TICK;
            rows.push(CopiedTemplate {
                protocol: who.service.protocol,
                client: who.client,
                real,
                ticks_left: u32::try_from(left).unwrap_or(u32::MAX),
                assured,
                spent: standing == Standing::Spent,
            });
        }
        (end < self.slots.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };
    const SECONDS: u32 = 10;

    fn who(client: u32) -> Who {
        let listen = "192.0.2.1:80".parse().unwrap();
        Who { client: Ipv4Addr::from(client).into(), service: ServiceKey::new(Protocol::Tcp, listen) }
    }

    fn at(seconds: u64) -> Now {
        Now { nanoseconds: (1000 + seconds) * SECOND }
    }

    /// Templates of one worker, and what is counted of them.
    struct Lab {
        templates: Templates,
        counters: WorkerCounters,
    }

    impl Lab {
        fn new(most: usize) -> Self {
            let counters = WorkerCounters::new();
            counters.prepare_templates();
            Self { templates: Templates::new(most, KEY), counters }
        }

        fn make(&mut self, client: u32, now: Now) -> Option<TemplateId> {
            assert_eq!(self.find(client, now), None);
            self.templates.make(who(client), (RealId(client % 3), 0), SECONDS, now, &self.counters)
        }

        fn find(&mut self, client: u32, now: Now) -> Option<Found> {
            self.templates.find(&who(client), now, &self.counters)
        }

        fn note(&mut self, template: TemplateId, what: Happened) {
            self.templates.note(template, what);
        }

        fn evicted(&self) -> u64 {
            self.counters.templates_evicted.get()
        }
    }

    #[test]
    fn connections_keep_a_template_by_the_minute() {
        let mut lab = Lab::new(4);
        let template = lab.make(1, at(0)).unwrap();
        lab.note(template, Happened::Made);
        lab.note(template, Happened::Made);
        assert!(lab.find(1, at(10)).is_some() && lab.find(1, at(69)).is_some());
        lab.note(template, Happened::Over);
        assert!(lab.find(1, at(250)).is_some(), "it was not looked at for long");
        // A minute at a time from 10 s on, and a new connection gets it a minute too.
        let found = lab.find(1, at(251)).unwrap();
        lab.templates.renew(found, 0, at(251));
        lab.note(template, Happened::Over);
        assert!(lab.find(1, at(310)).is_some() && lab.find(1, at(311)).is_none());
        assert_eq!((lab.templates.len(), lab.counters.templates_of(RealId(1))), (0, 0));
    }

    #[test]
    fn what_is_said_of_one_that_is_no_more_concerns_no_other() {
        let mut lab = Lab::new(1);
        let first = lab.make(1, at(0)).unwrap();
        assert!(lab.find(1, at(10)).is_none());
        let second = lab.make(2, at(10)).unwrap();
        assert_eq!(first.slot, second.slot);
        lab.note(first, Happened::Made);
        lab.note(first, Happened::Proven);
        assert!(lab.find(2, at(20)).is_none(), "nothing keeps it");
        lab.note(second, Happened::Made);
        lab.note(TemplateId { slot: 7, generation: 1 }, Happened::Made);
        assert!(lab.templates.is_empty());
    }

    #[test]
    fn room_is_made_by_what_has_proven_least() {
        let mut lab = Lab::new(4);
        let ids: Vec<_> = (0..4).map(|client| lab.make(client, at(u64::from(client))).unwrap()).collect();
        for (client, id) in ids.iter().enumerate().filter(|(client, _)| *client != 2) {
            lab.note(*id, Happened::Made);
            lab.note(*id, Happened::Proven);
            if client == 3 {
                lab.note(*id, Happened::Over);
            }
        }
        assert!(lab.make(4, at(5)).is_some() && lab.find(2, at(5)).is_none(), "unproven");
        let spent = lab.find(1, at(5)).unwrap();
        lab.templates.spend(spent);
        assert!(lab.find(1, at(5)).is_none() && lab.make(5, at(5)).is_some(), "of no use to anybody");
        for client in [4, 5] {
            let id = lab.find(client, at(5)).unwrap().id;
            lab.note(id, Happened::Made);
            lab.note(id, Happened::Proven);
        }
        assert!(lab.make(6, at(6)).is_some() && lab.find(3, at(6)).is_none(), "without connections");
        let id = lab.find(6, at(6)).unwrap().id;
        lab.note(id, Happened::Made);
        lab.note(id, Happened::Proven);
        assert_eq!(lab.evicted(), 3);
        assert_eq!(lab.make(7, at(7)), None, "all have connections");
        lab.note(id, Happened::Over);
        assert!(lab.make(8, at(16)).is_some(), "one has run out");
        assert_eq!((lab.evicted(), lab.templates.len()), (3, 4));
    }

    #[test]
    fn the_sweep_takes_out_what_has_run_out() {
        let mut lab = Lab::new(1000);
        let ids: Vec<_> = (0..1000).map(|client| lab.make(client, at(0)).unwrap()).collect();
        for id in ids.iter().step_by(2) {
            lab.note(*id, Happened::Made);
        }
        let sweep = |from: u64, lab: &mut Lab| {
            for turn in 0..100 {
                let now = Now { nanoseconds: at(from).nanoseconds + turn * 10_000_000 };
                lab.templates.sweep(now, false, &lab.counters);
            }
            lab.templates.len()
        };
        assert_eq!((sweep(9, &mut lab), sweep(10, &mut lab)), (1000, 500));
        for id in &ids {
            lab.note(*id, Happened::Over);
        }
        assert_eq!((sweep(69, &mut lab), sweep(71, &mut lab)), (500, 0));
        assert_eq!(lab.counters.templates_expired.get(), 1000);
        assert_eq!((0..3).map(|real| lab.counters.templates_of(RealId(real))).sum::<u64>(), 0);
    }

    #[test]
    fn a_dump_has_each_that_lives_once() {
        let mut lab = Lab::new(10_000);
        for client in 0..9000 {
            lab.make(client, at(u64::from(client) / 1000)).unwrap();
        }
        let spent = lab.find(8000, at(9)).unwrap();
        lab.templates.spend(spent);
        let (mut position, mut seen, mut slices) = (Some(0), Vec::new(), 0);
        while let Some(from) = position {
            let mut rows = Vec::with_capacity(512);
            position = lab.templates.export(from, at(12), &mut rows);
            assert!(rows.len() <= 512);
            slices += 1;
            seen.extend(rows);
        }
        assert_eq!((seen.len(), slices), (6000, 12), "what has run out is not listed");
        assert_eq!((seen[0].seconds_left(), seen[0].state_name()), (1, "NONE"));
        assert_eq!(seen.iter().filter(|row| row.spent).count(), 1);
    }

    /// Of a process that comes after this one, with another clock: a second has passed that both count.
    fn inherited(kept: &Words, most: usize, ahead: i128, now: Now) -> (Lab, Vec<Result<(), NotInherited>>) {
        let mut lab = Lab::new(most);
        let all = (0..kept.len() / kept::WORDS).filter_map(|place| Kept::read(kept, place));
        let results = all.collect::<Vec<_>>().into_iter().map(|kept| {
            let IpAddr::V4(client) = kept.client else { panic!("{kept:?}") };
            let whose = (who(client.to_bits()), RealId(kept.real + 10));
            lab.templates.inherit(&kept, whose, ahead, now, &lab.counters).map(|_| ())
        });
        let results = results.collect();
        (lab, results)
    }

    #[test]
    fn the_next_process_goes_on_with_them() {
        let file = tempfile();
        let area = memory::Area::create(&file, 4096, true).unwrap();
        let kept = area.words(0, 4 * kept::WORDS).unwrap();
        let mut lab = Lab::new(4);
        let first = lab.make(1, at(0)).unwrap();
        lab.templates.keep_in(kept.clone());
        let second = lab.make(2, at(4)).unwrap();
        lab.note(second, Happened::Made);
        lab.note(second, Happened::Proven);
        let spent = lab.find(1, at(4)).unwrap();
        assert_eq!(spent.id, first);
        lab.templates.spend(spent);
        lab.make(1, at(4)).unwrap();
        let found = lab.find(1, at(6)).unwrap();
        lab.templates.renew(found, 0, at(6));

        let ahead = 7000 * i128::from(SECOND);
        let here = |seconds| Now { nanoseconds: at(seconds).nanoseconds + 7000 * SECOND };
        let (mut next, results) = inherited(&kept, 4, ahead, here(7));
        assert_eq!(results, [Ok(()); 3]);
        let mut rows = Vec::with_capacity(4);
        next.templates.export(0, here(7), &mut rows);
        let seen: Vec<_> = rows.iter().map(|row| (row.seconds_left(), row.assured, row.spent)).collect();
        // The second has connections, which have yet to find it.
        assert_eq!(seen, [(3, false, true), (60, true, false), (9, false, false)]);
        assert!(rows.iter().all(|row| row.real.0 >= 10));
        let of = next.templates.of(&who(2), RealId(12)).expect("by its client and real");
        assert_eq!(
            (next.templates.of(&who(2), RealId(11)), next.templates.of(&who(3), RealId(12))),
            (None, None)
        );
        next.note(of, Happened::Made);
        assert!(next.find(2, here(200)).is_some(), "as long as it has connections");
        next.note(of, Happened::Over);
        assert!(next.find(2, here(300)).is_none());

        // What has run out meanwhile, what is there already, and what there is no room for.
        let (next, results) = inherited(&kept, 1, ahead, here(15));
        assert_eq!(results, [Err(NotInherited::Expired), Ok(()), Err(NotInherited::NoRoom)]);
        assert_eq!(next.counters.templates.get(), 1);
        let (mut next, _) = inherited(&kept, 4, ahead, here(5));
        let again = Kept::read(&kept, 1).unwrap();
        let again = next.templates.inherit(&again, (who(2), RealId(3)), ahead, here(5), &next.counters);
        assert_eq!(again, Err(NotInherited::Duplicate));
        assert_eq!(next.templates.clear(0, 2, &next.counters), Some(2));
        assert_eq!(next.templates.clear(2, 2, &next.counters), None);
        assert!(next.templates.is_empty() && next.find(2, here(5)).is_none());
        assert_eq!((0..3).map(|real| next.counters.templates_of(RealId(real + 10))).sum::<u64>(), 0);
        // What goes is not kept.
        lab.templates.sweep(at(1000), true, &lab.counters);
        lab.templates.sweep(at(1001), true, &lab.counters);
        let left: Vec<_> = (0..4).filter_map(|place| Kept::read(&kept, place)).collect();
        assert!(left.len() == 1 && left[0].controls && left[0].assured, "{left:?}");
    }

    fn tempfile() -> std::fs::File {
        let path = std::path::PathBuf::from(format!("/dev/shm/natlb-templates-{}", std::process::id()));
        let file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }
}
