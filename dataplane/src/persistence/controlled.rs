//! The connections of one worker that templates were asked for, each with its template, wherever that lies.
//!
//! The connection table knows nothing of this, and its packets cost nothing for it: whether a connection lives, and has
//! been proven, is looked up in the table. Those that have not been proven are looked at in each turn, some at a time,
//! all others in slices ([`Sweep`]). What the owner of the template could not be told is told the next time. Likewise
//! is asked, until it is answered, which template a connection from an earlier process has.

use super::hash::{Hasher, room};
use super::sweep::Sweep;
use super::{Happened, Note, TemplateId, Unattached};
use crate::connection::State;
use crate::connection::table::HashKey;
use crate::names::ids::{Protocol, RealId};
use crate::names::time::Now;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Connections that have not been proven looked at in a turn, at most.
const UNPROVEN_IN_A_TURN: usize = 32;
/// Connections whose entries are brought close before they are looked at.
const GROUP: usize = 16;

/// What tells a connection from all others of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The client's address and port.
    pub client: SocketAddr,
    /// Its real.
    pub real: RealId,
    /// The port of the VIP that the client asked for.
    pub port: u16,
}

impl Made {
    fn hash(&self, key: HashKey) -> u64 {
        let rest = u64::from(self.real.0) << 16 | u64::from(self.port);
        let of_client = u64::from(self.client.port()) << 8 | u64::from(self.protocol.number());
        let hasher = match self.client.ip() {
            IpAddr::V4(address) => Hasher::new(key).word(u64::from(address.to_bits()) << 32 | of_client),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                Hasher::new(key).word(bits as u64).word((bits >> 64) as u64).word(of_client)
            }
        };
        hasher.word(rest).finish()
    }
}

/// Whoever knows which connections there are.
pub trait Lives {
    /// Brings close what [`state`](Self::state) will look at.
    fn prefetch(&self, made: &Made);
    /// The state of a connection; `None` if it is no more.
    fn state(&self, made: &Made) -> Option<State>;
}

/// What has become of a note for another worker, or for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// There is no room for it now.
    Full,
    /// It is on its way, or has been taken note of.
    Taken,
    /// It was for this worker, and asked for this template.
    Found(Option<TemplateId>),
}

#[derive(Clone, Copy, Debug)]
struct Record {
    made: Made,
    /// Says nothing as long as it is [`Unattached`](Told::Unattached).
    template: TemplateId,
    /// The worker that has the template.
    owner: u8,
    told: Told,
    standing: Standing,
    /// Whether it is among those that have not been proven. A place that is vacant may still be.
    listed: bool,
}

/// What the owner of the template knows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// Which template it is has yet to be found.
    Unattached,
    Nothing,
    Made,
    Proven,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Vacant,
    InTable,
    /// Another connection has come into its place before it was looked at.
    Replaced,
}

/// See the module's text.
#[derive(Debug)]
pub struct Controlled {
    key: HashKey,
    index: HashTable<u32>,
    records: Vec<Record>,
    free: Vec<u32>,
    unproven: VecDeque<u32>,
    most: usize,
    sweep: Sweep,
}

impl Controlled {
    /// None yet, and room for `most`.
    pub fn new(most: usize, key: HashKey) -> Self {
        Self {
            key,
            index: HashTable::with_capacity(room(most)),
            records: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
            unproven: VecDeque::with_capacity(most),
            most,
            sweep: Sweep::default(),
        }
    }

    /// Connections in it, those included that are over and whose templates have not been told.
    pub const fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, made: &Made) -> Option<u32> {
        let records = &self.records;
        self.index.find(made.hash(self.key), |at| records[*at as usize].made == *made).copied()
    }

    /// Whether a template was asked for this connection.
    pub fn has(&self, made: &Made) -> bool {
        self.find(made).is_some()
    }

    /// A connection has been made, for which `owner` gave this template. False: there is no room, and the template is
    /// told nothing of it.
    pub fn insert(&mut self, made: Made, template: TemplateId, owner: usize) -> bool {
        let Some(at) = self.place(made, template, owner, Told::Nothing) else { return false };
        self.list(at);
        true
    }

    /// A connection has come from an earlier process, whose client's template, if there is one, is this worker's.
    /// False: there is no room.
    pub fn inherit(&mut self, made: Made, owner: usize) -> bool {
        self.place(made, TemplateId::default(), owner, Told::Unattached).is_some()
    }

    /// The template of a connection from an earlier process has been found, or there is none.
    pub fn attach(&mut self, of: Unattached, template: Option<TemplateId>) {
        let Some(record) = self.records.get_mut(of.at as usize) else { return };
        let is_it = (record.made.client, record.made.real) == (of.client, of.real);
        if !is_it || record.standing != Standing::InTable || record.told != Told::Unattached {
            return; // it is over, or has been told before
        }
        match template {
            Some(template) => {
                (record.template, record.told) = (template, Told::Nothing);
                self.list(of.at);
            }
            None => self.free(of.at),
        }
    }

    fn place(&mut self, made: Made, template: TemplateId, owner: usize, told: Told) -> Option<u32> {
        if let Some(before) = self.find(&made) {
            self.take_off_index(before);
            self.records[before as usize].standing = Standing::Replaced;
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.records.len() < self.most => self.records.len() as u32,
            None => return None,
        };
        let listed = self.records.get(at as usize).is_some_and(|record| record.listed);
        let standing = Standing::InTable;
        let record = Record { made, template, owner: owner as u8, told, standing, listed };
        match self.records.get_mut(at as usize) {
            Some(place) => *place = record,
            None => self.records.push(record),
        }
        let Self { index, records, key, .. } = self;
        index.insert_unique(made.hash(*key), at, |at| records[*at as usize].made.hash(*key));
        Some(at)
    }

    /// Has it be among those that have not been proven.
    fn list(&mut self, at: u32) {
        let record = &mut self.records[at as usize];
        if !std::mem::replace(&mut record.listed, true) {
            self.unproven.push_back(at);
        }
    }

    /// Nothing is left to be told of it.
    fn free(&mut self, at: u32) {
        self.take_off_index(at);
        self.records[at as usize].standing = Standing::Vacant;
        self.free.push(at);
    }

    fn take_off_index(&mut self, at: u32) {
        let Record { made, standing, .. } = self.records[at as usize];
        if standing == Standing::InTable
            && let Ok(entry) = self.index.find_entry(made.hash(self.key), |other| *other == at)
        {
            entry.remove();
        }
    }

    /// Looks at some connections, and tells what has become of them. `tell` says what a worker has heard of it.
    pub fn tend(
        &mut self,
        lives: &impl Lives,
        now: Now,
        idle: bool,
        mut tell: impl FnMut(usize, Note) -> Heard,
    ) {
        for _ in 0..self.unproven.len().min(UNPROVEN_IN_A_TURN) {
            let Some(at) = self.unproven.pop_front() else { break };
            self.look_at(at, lives, &mut tell);
            let Record { told, standing, .. } = self.records[at as usize];
            let stays = standing != Standing::Vacant && told < Told::Proven;
            self.records[at as usize].listed = stays;
            if stays {
                self.unproven.push_back(at);
            }
        }
        let mut left = self.sweep.due(self.records.len(), now, idle);
        while left > 0 {
            let group = left.min(GROUP);
            left -= group;
            let mut places = [0; GROUP];
            for place in &mut places[..group] {
                *place = self.sweep.next(self.records.len()) as u32;
                lives.prefetch(&self.records[*place as usize].made);
            }
            places[..group].iter().for_each(|at| self.look_at(*at, lives, &mut tell));
        }
    }

    /// Tells what the owner of the template does not know, in order.
    fn look_at(&mut self, at: u32, lives: &impl Lives, tell: &mut impl FnMut(usize, Note) -> Heard) {
        let Record { made, template, owner, told, standing, .. } = self.records[at as usize];
        let state = match standing {
            Standing::Vacant => return,
            Standing::InTable => lives.state(&made),
            Standing::Replaced => None,
        };
        let mut tell = |note| tell(usize::from(owner), note);
        if told == Told::Unattached {
            let of = Unattached { client: made.client, real: made.real, at };
            if state.is_none() {
                self.free(at);
            } else if let Heard::Found(template) = tell(Note::Whose(of)) {
                self.attach(of, template);
            }
            return;
        }
        let mut tell = |what| tell(Note::Happened { template, what }) != Heard::Full;
        if told == Told::Nothing {
            if !tell(Happened::Made) {
                return;
            }
            self.records[at as usize].told = Told::Made;
        }
        if told < Told::Proven && state.is_some_and(State::is_proven) {
            if !tell(Happened::Proven) {
                return;
            }
            self.records[at as usize].told = Told::Proven;
        }
        if state.is_none() && tell(Happened::Over) {
            self.free(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::family::V4;
    use std::cell::RefCell;
    use std::collections::HashMap;

    const KEY: HashKey = HashKey { mask: 0x1234_5678_9abc_def0, multiplier: 0x9e37_79b9_7f4a_7c15 };

    #[derive(Default)]
    struct Table(RefCell<HashMap<u64, State>>);

    impl Lives for Table {
        fn prefetch(&self, _: &Made) {}
        fn state(&self, made: &Made) -> Option<State> {
            self.0.borrow().get(&V4::endpoint_bits(made.client).unwrap()).copied()
        }
    }

    fn made(client: u64) -> Made {
        Made { protocol: Protocol::Tcp, client: V4::endpoint(client), real: RealId(3), port: 80 }
    }

    const fn template(slot: u32) -> TemplateId {
        TemplateId { slot, generation: 1 }
    }

    /// What is told in two seconds, where `fails` of the first messages find no room.
    fn told(controlled: &mut Controlled, table: &Table, from: u64, mut fails: usize) -> Vec<(u32, Happened)> {
        let mut told = Vec::new();
        for turn in 0..200 {
            let now = Now { nanoseconds: from * 1_000_000_000 + turn * 10_000_000 };
            controlled.tend(table, now, true, |owner, note| {
                assert_eq!(owner, 2);
                let fits = fails == 0;
                fails = fails.saturating_sub(1);
                let Note::Happened { template, what } = note else { panic!("{note:?}") };
                if fits {
                    told.push((template.slot, what));
                }
                if fits { Heard::Taken } else { Heard::Full }
            });
        }
        told
    }

    #[test]
    fn each_is_told_once_in_order_and_what_does_not_fit_later() {
        for fails in [0, 1, 2, 6] {
            let (mut controlled, table) = (Controlled::new(4, KEY), Table::default());
            table.0.borrow_mut().insert(1, State::SynRecv);
            assert!(controlled.insert(made(1), template(7), 2));
            assert!(controlled.has(&made(1)) && !controlled.has(&made(2)));
            assert_eq!(told(&mut controlled, &table, 1, fails), [(7, Happened::Made)]);
            table.0.borrow_mut().insert(1, State::Established);
            assert_eq!(told(&mut controlled, &table, 3, fails), [(7, Happened::Proven)]);
            assert_eq!(told(&mut controlled, &table, 5, fails), []);
            table.0.borrow_mut().clear();
            assert_eq!(told(&mut controlled, &table, 7, fails), [(7, Happened::Over)]);
            assert!(controlled.is_empty() && !controlled.has(&made(1)));
            assert_eq!(told(&mut controlled, &table, 9, fails), []);
        }
    }

    #[test]
    fn what_is_over_before_it_was_looked_at_is_told_all_the_same() {
        let (mut controlled, table) = (Controlled::new(4, KEY), Table::default());
        assert!(controlled.insert(made(1), template(7), 2));
        assert_eq!(told(&mut controlled, &table, 1, 0), [(7, Happened::Made), (7, Happened::Over)]);
        // Another connection comes into its place at once.
        table.0.borrow_mut().insert(1, State::Established);
        assert!(controlled.insert(made(1), template(8), 2));
        assert!(controlled.insert(made(1), template(9), 2));
        let mut told = told(&mut controlled, &table, 3, 0);
        told.sort_by_key(|(slot, _)| *slot);
        let expected = [(8, Happened::Made), (8, Happened::Over), (9, Happened::Made), (9, Happened::Proven)];
        assert_eq!(told, expected);
        assert_eq!(controlled.len(), 1);
    }

    #[test]
    fn there_is_room_for_so_many_and_places_are_used_again() {
        let (mut controlled, table) = (Controlled::new(100, KEY), Table::default());
        for round in 0..50 {
            for client in 1..=100 {
                table.0.borrow_mut().insert(client, State::SynRecv);
                assert!(controlled.insert(made(client), template(client as u32), 2));
            }
            assert!(!controlled.insert(made(101), template(101), 2));
            assert_eq!(controlled.len(), 100);
            table.0.borrow_mut().clear();
            let told = told(&mut controlled, &table, 1 + 2 * round, 0);
            assert_eq!((told.len(), controlled.len()), (200, 0));
            assert!(controlled.unproven.len() <= 100);
        }
    }

    /// What is asked and told in three seconds from this one on, where questions are answered so.
    fn asked(controlled: &mut Controlled, table: &Table, from: u64, answer: Heard) -> Vec<Note> {
        let mut notes = Vec::new();
        for turn in 0..30 {
            let now = Now { nanoseconds: from * 1_000_000_000 + turn * 100_000_000 };
            controlled.tend(table, now, true, |_, note| {
                notes.push(note);
                if matches!(note, Note::Whose(_)) { answer } else { Heard::Taken }
            });
        }
        notes
    }

    #[test]
    fn a_connection_from_an_earlier_process_asks_for_its_template_until_it_is_answered() {
        for is_own in [true, false] {
            let (mut controlled, table) = (Controlled::new(4, KEY), Table::default());
            table.0.borrow_mut().insert(1, State::Established);
            assert!(controlled.inherit(made(1), 2));
            assert!(controlled.has(&made(1)), "a SYN that opens it anew goes to its real");
            let of = Unattached { client: made(1).client, real: made(1).real, at: 0 };
            for (heard, from) in [(Heard::Full, 3), (Heard::Taken, 6)] {
                let notes = asked(&mut controlled, &table, from, heard);
                assert!(notes.len() > 2 && notes.iter().all(|note| *note == Note::Whose(of)), "{notes:?}");
            }
            let found = Some(template(7));
            let happened = |what| Note::Happened { template: template(7), what };
            let notes = if is_own {
                let mut notes = asked(&mut controlled, &table, 9, Heard::Found(found));
                assert_eq!(notes.remove(0), Note::Whose(of));
                notes
            } else {
                controlled.attach(Unattached { client: made(2).client, ..of }, None);
                controlled.attach(Unattached { at: 3, ..of }, None);
                controlled.attach(of, found);
                controlled.attach(of, Some(template(8)));
                asked(&mut controlled, &table, 9, Heard::Taken)
            };
            assert_eq!(notes, [happened(Happened::Made), happened(Happened::Proven)]);
            table.0.borrow_mut().clear();
            assert_eq!(asked(&mut controlled, &table, 12, Heard::Taken), [happened(Happened::Over)]);
            assert!(controlled.is_empty());
        }
    }

    #[test]
    fn one_that_is_over_or_has_no_template_takes_no_place() {
        let (mut controlled, table) = (Controlled::new(2, KEY), Table::default());
        table.0.borrow_mut().insert(2, State::Established);
        assert!(controlled.inherit(made(1), 2) && controlled.inherit(made(2), 2));
        assert!(!controlled.inherit(made(3), 2), "no room");
        let notes = asked(&mut controlled, &table, 3, Heard::Found(None));
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(controlled.is_empty() && !controlled.has(&made(1)) && !controlled.has(&made(2)));
    }
}
