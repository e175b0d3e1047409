//! Next hops: asking for MACs by ARP, ageing, following a changed MAC.
//!
//! A pure state machine: events and the time go in, [`Action`]s come out.
//!
//! ```text
//!            wanted            reply
//!  (nothing) ──────► Asking ───────────► Reachable ─20–30 s─► Checking (asked directly, then all)
//!                      │  ▲                  ▲                  │    │
//!         no answer to 3  │wanted            └──────reply───────┘    │ no answer to 6
//!                      ▼  │                                          │
//!                    Failed (a permanent one is asked now and then) ◄┘
//! ```
//!
//! While Checking, packets still go to the MAC that is known. *Permanent* ones (the ways to reals,
//! gateways) are asked for from the start and for ever; *static* ones come from the file and never
//! change; *dynamic* ones (clients on the link) are made when packets wait for them, and kept as long as
//! they answer. Whether packets still go to them is not seen from here. So when there are very many, those that no
//! packet has waited for in minutes are forgotten; if one is still in use, its next packet asks for it anew.
//!
//! A neighbour that does not answer is asked less and less often ([`REVIVE`] to [`LONGEST_PAUSE`]), and all of them
//! together at a limited rate ([`REVIVALS`], and where packets wait, [`WANTED`]): thousands of reals that are down must
//! not become a storm of broadcasts. An ARP message of one that is back is believed at once.
//!
//! Requests are paced ([`LOOKS`]): thousands of reals that are configured at once must not become a burst
//! that the ring to the worker, the link's switch or the worker's own limit on replies cuts short.

mod announce;
mod arp;
mod conflicts;
mod entry;

pub use announce::{Announcer, FRAMES_AT_ONCE};
pub use arp::Interface;
pub use conflicts::{Conflict, Conflicts};

use dataplane::exchange::orders::{NeighbourEvent, Order, SMALL_FRAME};
use dataplane::live::next_hops::{NextHop, NextHops};
use dataplane::names::ids::{InterfaceId, MAX_INTERFACES, NeighbourKey, NextHopId};
use dataplane::names::mac::Mac;
use entry::{Entry, Kind, State, trusted};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest that an answer is trusted.
pub const REACHABLE: Duration = Duration::from_secs(30);
/// An answer is trusted for up to this much less, depending on the address, so that neighbours that answered together
/// are not checked together.
pub const SPREAD: Duration = Duration::from_secs(10);
/// Entries examined, and so requests sent, in one turn at most: 8,000 a second with a turn each 2 ms.
pub const LOOKS: usize = 16;
/// The time between two requests (RFC 1122, 2.3.2.1: at most one a second for each destination).
pub const RETRY: Duration = Duration::from_secs(1);
/// Requests that must stay unanswered before a neighbour counts as unreachable.
pub const TRIES: u32 = 3;
/// A permanent neighbour that does not answer is asked again after this time; each further pause is twice as long.
pub const REVIVE: Duration = Duration::from_secs(5);
/// The longest such pause, unless there are so many that [`REVIVALS`] makes it longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Requests a second, about, to all permanent neighbours that do not answer.
pub const REVIVALS: u32 = 256;
/// Requests a second to permanent neighbours that did not answer and that packets wait for.
pub const WANTED: u32 = 32;
/// Up to this number dynamic neighbours are kept as long as they answer: 8192 are some 330 requests a second.
pub const KEPT: usize = 8192;
/// With more than [`KEPT`], dynamic neighbours are forgotten when no packet has waited for them for this long.
pub const FORGET: Duration = Duration::from_secs(300);
/// How long a dynamic neighbour that did not answer is remembered.
const FAILED: Duration = Duration::from_secs(10);
/// Neighbours known at once.
pub const MAX_ENTRIES: usize = 1 << 16;
/// Dynamic neighbours that have not answered: a flood of made-up sources can occupy no more.
pub const MAX_UNANSWERED: usize = 1024;

/// New dynamic neighbours asked for in a second: a flood must not become one of broadcasts.
pub const NEW_A_SECOND: u32 = 2048;

/// A moment: since an arbitrary start.
pub type Moment = Duration;

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish what is known of the next hop.
    Set(NextHopId, NextHop),
    /// Tell every worker.
    Tell(Notice),
    /// Send this frame.
    Send(ArpFrame),
}

/// What every worker is to know of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has this id: send what waits for it.
    Reachable(NeighbourKey, NextHopId),
    /// It does not answer: drop what waits for it.
    Unreachable(NeighbourKey),
}

impl Notice {
    /// The order to a worker.
    pub fn order(self) -> Order {
        match self {
            Self::Reachable(key, id) => Order::Reachable(key, id),
            Self::Unreachable(key) => Order::Unreachable(key),
        }
    }
}

/// An ARP message in a complete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpFrame {
    /// Out of this interface.
    pub interface: InterfaceId,
    /// Bytes in use of `bytes`.
    pub length: u8,
    /// From the Ethernet header on, padded to Ethernet's minimum.
    pub bytes: [u8; SMALL_FRAME],
}

impl ArpFrame {
    /// The order to the worker that sends it.
    pub fn order(self) -> Order {
        let Self { interface, length, bytes } = self;
        Order::Send { interface, length, bytes }
    }
}

/// Counts up to a limit in each second.
#[derive(Clone, Copy, Debug, Default)]
struct ASecond {
    second: u64,
    count: u32,
}

impl ASecond {
    /// Whether there is room for one more.
    fn takes(&mut self, limit: u32, now: Moment) -> bool {
        if now.as_secs() != self.second {
            *self = Self { second: now.as_secs(), count: 0 };
        }
        self.count += 1;
        self.count <= limit
    }
}

/// All neighbours.
#[derive(Debug)]
pub struct Neighbours {
    interfaces: Vec<Interface>,
    entries: HashMap<NeighbourKey, Entry>,
    /// When to look at which entry next: at those that something depends on, and at the others.
    due: [BTreeSet<(Moment, NeighbourKey)>; 2],
    /// Permanent ones that were given up.
    failed: u32,
    /// Dynamic ones that have not answered, oldest first.
    unanswered: BTreeSet<(Moment, NeighbourKey)>,
    /// Bound for as long as the process lives: connections carry them.
    ids: HashMap<NeighbourKey, NextHopId>,
    refused: u64,
    /// New dynamic ones asked for.
    begun: ASecond,
    /// Permanent ones asked for again because packets wait.
    again: ASecond,
    link_up: [bool; MAX_INTERFACES],
    /// By interface: when it last had its link back.
    linked: [Option<Moment>; MAX_INTERFACES],
    conflicts: Conflicts,
    /// Interfaces between [`withdraw`](Self::withdraw) and [`restore`](Self::restore): nothing is published of what is
    /// behind them. As [`InterfaceId::bit`].
    withdrawn: u16,
    actions: Vec<Action>,
}

impl Neighbours {
    /// Knows the static ones.
    pub fn new(
        interfaces: Vec<Interface>,
        fixed: impl IntoIterator<Item = (NeighbourKey, Mac)>,
        now: Moment,
    ) -> Self {
        let mut neighbours = Self {
            interfaces,
            entries: HashMap::new(),
            due: [BTreeSet::new(), BTreeSet::new()],
            failed: 0,
            unanswered: BTreeSet::new(),
            ids: HashMap::new(),
            refused: 0,
            begun: ASecond::default(),
            again: ASecond::default(),
            link_up: [false; MAX_INTERFACES],
            linked: [None; MAX_INTERFACES],
            conflicts: Conflicts::default(),
            withdrawn: 0,
            actions: Vec::new(),
        };
        for (key, mac) in fixed {
            neighbours.entries.insert(key, Entry::new(Kind::Static { mac }, now));
            neighbours.publish(key, mac);
        }
        neighbours
    }

    /// The addresses that requests are sent from.
    pub fn interfaces_mut(&mut self) -> &mut [Interface] {
        &mut self.interfaces
    }

    /// The id of a host; [`NextHopId::UNKNOWN`] if there are no more.
    pub fn id(&mut self, key: NeighbourKey) -> NextHopId {
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        // 0 is `UNKNOWN`.
        let next = self.ids.len() + 1;
        if next >= NextHops::IDS {
            self.refused += 1;
            return NextHopId::UNKNOWN;
        }
        let id = NextHopId(next as u32);
        self.ids.insert(key, id);
        id
    }

    /// From now on a neighbour is permanent, and this much depends on it; or (`None`) it is permanent no more.
    pub fn depend(&mut self, key: NeighbourKey, importance: Option<u32>, now: Moment) {
        let before = self.entries.get(&key).map(|entry| (entry.kind, entry.importance));
        match (before, importance) {
            (Some((Kind::Static { .. }, _)), _) => {}
            (Some((Kind::Permanent, _)), None) => self.alter(key, |entry| {
                entry.kind = Kind::Dynamic;
                entry.importance = 0;
                entry.wanted = now;
                if let State::Failed { next, .. } = &mut entry.state {
                    *next = now + FAILED;
                }
            }),
            (_, None) => {}
            (Some((Kind::Permanent, before)), Some(importance)) if before == importance => {}
            (Some((kind, _)), Some(importance)) => self.alter(key, |entry| {
                entry.importance = importance;
                entry.kind = Kind::Permanent;
                if let (Kind::Dynamic, State::Failed { asked, next }) = (kind, &mut entry.state) {
                    *next = now.max(*asked + RETRY);
                }
            }),
            // The next turns ask for it.
            (None, Some(importance)) => {
                self.insert(key, Entry { importance, ..Entry::new(Kind::Permanent, now) });
            }
        }
    }

    /// An interface has a link, or has lost it. When it is back, silent neighbours behind it are asked at once,
    /// unless the link comes and goes.
    pub fn set_link(&mut self, interface: InterfaceId, up: bool, now: Moment) {
        let before = std::mem::replace(&mut self.link_up[interface.index()], up);
        if !up || before {
            return;
        }
        let last = self.linked[interface.index()].replace(now);
        if last.is_some_and(|last| now < last + LONGEST_PAUSE) {
            return;
        }
        let silent = |(key, entry): (&NeighbourKey, &Entry)| {
            let is_silent = entry.kind == Kind::Permanent && matches!(entry.state, State::Failed { .. });
            (is_silent && key.interface == interface).then_some(*key)
        };
        let silent: Vec<_> = self.entries.iter().filter_map(silent).collect();
        for key in silent {
            self.alter(key, |entry| {
                entry.failures = 0;
                if let State::Failed { asked, next } = &mut entry.state {
                    *next = now.max(*asked + RETRY);
                }
            });
        }
    }

    /// Takes what a worker saw.
    pub fn event(&mut self, event: NeighbourEvent, now: Moment) {
        match event {
            NeighbourEvent::Wanted(key) => self.wanted(key, now),
            NeighbourEvent::Heard { key, mac, reply } => self.heard(key, mac, reply, now),
            NeighbourEvent::Conflict { key, mac } => self.claimed(key, mac, now),
        }
    }

    /// Does what has become due, the longest due first and [`LOOKS`] at most: the rest is for the next turns. Three of
    /// four looks are for those that something depends on, if there are as many.
    pub fn turn(&mut self, now: Moment) {
        for look in 0..LOOKS {
            let order = if look % 4 == 3 { [1, 0] } else { [0, 1] };
            let due = |of: usize| self.due[of].first().copied().filter(|(due, _)| *due <= now);
            match order.into_iter().find_map(due) {
                Some((_, key)) => self.look(key, now),
                None => break,
            }
        }
    }

    /// The interface has another MAC: first, nothing is sent to its neighbours any more. See [`NextHops::set_source`]
    /// for what has to happen before [`restore`](Self::restore).
    pub fn withdraw(&mut self, interface: InterfaceId) {
        self.withdrawn |= interface.bit();
        for (key, _) in self.known_behind(interface) {
            self.unpublish(key);
        }
    }

    /// Then the interface's frames, requests included, come from this one.
    pub fn restore(&mut self, interface: InterfaceId, mac: Mac) {
        self.withdrawn &= !interface.bit();
        if let Some(interface) = self.interfaces.get_mut(interface.index()) {
            interface.mac = mac;
        }
        for (key, mac) in self.known_behind(interface) {
            self.publish(key, mac);
        }
    }

    fn is_withdrawn(&self, key: NeighbourKey) -> bool {
        self.withdrawn & key.interface.bit() != 0
    }

    fn known_behind(&self, interface: InterfaceId) -> Vec<(NeighbourKey, Mac)> {
        let of_interface = self.entries.iter().filter(|(key, _)| key.interface == interface);
        of_interface.filter_map(|(key, entry)| Some((*key, entry.state.mac()?))).collect()
    }

    /// What is to be done since the last call.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Own addresses that others say are theirs.
    pub fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }

    /// The permanent ones that do not answer, and how much depends on each.
    pub fn silent(&self, now: Moment) -> impl Iterator<Item = (u32, NeighbourKey)> + '_ {
        let silent = self.entries.iter().filter(move |(_, entry)| entry.is_silent(now));
        silent.map(|(key, entry)| (entry.importance, *key))
    }

    /// Neighbours known now.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Neighbours that were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Another station says that an own address is its.
    fn claimed(&mut self, key: NeighbourKey, mac: Mac, now: Moment) {
        let defence = self.conflicts.claim(key, mac, now);
        if defence.say {
            log::warn!("{} is ours, but {mac} on the same link says by ARP that it is its", key.address);
        }
        if defence.announce
            && let Some(interface) = self.interfaces.get(key.interface.index())
        {
            self.actions.extend(interface.announcement(key.address).into_iter().flatten().map(Action::Send));
        }
    }

    fn wanted(&mut self, key: NeighbourKey, now: Moment) {
        if !self.interfaces.get(key.interface.index()).is_some_and(|interface| interface.may_ask(key.address))
        {
            self.actions.push(Action::Tell(Notice::Unreachable(key)));
            return;
        }
        let Some(entry) = self.entries.get_mut(&key) else {
            return self.begin(key, now);
        };
        entry.wanted = now;
        match entry.state {
            State::Asking { .. } => {}
            // It is told when the interface is restored.
            _ if self.withdrawn & key.interface.bit() != 0 => {}
            State::Failed { asked, .. } if now < asked + RETRY => {
                self.actions.push(Action::Tell(Notice::Unreachable(key)));
            }
            State::Failed { .. } if entry.kind == Kind::Permanent && !self.again.takes(WANTED, now) => {
                self.actions.push(Action::Tell(Notice::Unreachable(key)));
            }
            State::Failed { .. } => self.ask(key, now),
            State::Static { .. } | State::Reachable { .. } | State::Checking { .. } => {
                // The event crossed with the answer.
                let id = self.id(key);
                self.actions.push(Action::Tell(Notice::Reachable(key, id)));
            }
        }
    }

    /// A dynamic one that packets wait for the first time.
    fn begin(&mut self, key: NeighbourKey, now: Moment) {
        if !self.begun.takes(NEW_A_SECOND, now) {
            self.actions.push(Action::Tell(Notice::Unreachable(key)));
            return;
        }
        if self.unanswered.len() >= MAX_UNANSWERED
            && let Some((_, oldest)) = self.unanswered.first().copied()
        {
            self.forget(oldest);
            self.actions.push(Action::Tell(Notice::Unreachable(oldest)));
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.refused += 1;
            self.actions.push(Action::Tell(Notice::Unreachable(key)));
            return;
        }
        self.insert(key, Entry::new(Kind::Dynamic, now));
        self.ask(key, now);
    }

    fn heard(&mut self, key: NeighbourKey, mac: Mac, reply: bool, now: Moment) {
        let Some(entry) = self.entries.get(&key) else { return };
        if matches!(entry.kind, Kind::Static { .. }) || mac.is_group() || mac == Mac([0; 6]) {
            return;
        }
        let known = entry.state.mac();
        let state = match entry.state {
            // Only an answer proves that it hears us; an unasked message still shows its MAC.
            _ if reply => State::Reachable { mac, until: now + trusted(key) },
            State::Reachable { until, .. } => State::Reachable { mac, until },
            State::Checking { tries, .. } => State::Checking { mac, tries },
            _ => State::Reachable { mac, until: now + RETRY },
        };
        // While it is asked, only an answer ends the wait for one.
        let is_waited_for = matches!(entry.state, State::Checking { .. }) && !reply;
        self.alter(key, |entry| {
            entry.state = state;
            entry.unanswered = entry.unanswered.filter(|_| is_waited_for);
            entry.failures = 0;
            if !reply {
                // It asks for one of our addresses, so it is about to send.
                entry.wanted = now;
            }
        });
        if known != Some(mac) {
            self.publish(key, mac);
        }
    }

    /// An entry is due: ask again, or give it up.
    fn look(&mut self, key: NeighbourKey, now: Moment) {
        let Some(entry) = self.entries.get(&key).copied() else {
            self.due.iter_mut().for_each(|due| due.retain(|(_, other)| *other != key));
            return;
        };
        let crowded = self.entries.len() > KEPT;
        let over = crowded && entry.kind == Kind::Dynamic && now >= entry.wanted + FORGET;
        match entry.state {
            State::Static { .. } => self.alter(key, |_| {}),
            State::Asking { tries, .. } if tries < TRIES => self.ask_again(key, tries, now),
            State::Asking { .. } => self.fail(key, now),
            State::Reachable { .. } | State::Checking { .. } if over => self.forget(key),
            State::Reachable { mac, .. } => self.check(key, mac, 0, now),
            State::Checking { mac, tries } if tries < 2 * TRIES => self.check(key, mac, tries, now),
            State::Checking { .. } => self.fail(key, now),
            State::Failed { .. } if entry.kind == Kind::Permanent => self.revive(key, now),
            State::Failed { .. } => self.forget(key),
        }
    }

    fn ask(&mut self, key: NeighbourKey, now: Moment) {
        self.ask_again(key, 0, now);
    }

    fn ask_again(&mut self, key: NeighbourKey, tries: u32, now: Moment) {
        self.request(key, Mac::BROADCAST);
        self.alter(key, |entry| {
            entry.state = State::Asking { tries: tries + 1, next: now + RETRY };
            entry.unanswered.get_or_insert(now);
        });
    }

    /// Asks once for one that was given up.
    fn revive(&mut self, key: NeighbourKey, now: Moment) {
        self.request(key, Mac::BROADCAST);
        self.pause(key, now);
    }

    /// Sets when a neighbour that does not answer is asked again.
    fn pause(&mut self, key: NeighbourKey, now: Moment) {
        let in_turn = Duration::from_secs(1) * self.failed / REVIVALS;
        self.alter(key, |entry| {
            let of_its_own = (REVIVE * (1 << entry.failures.min(8))).min(LONGEST_PAUSE);
            entry.failures = entry.failures.saturating_add(1);
            let pause = if entry.kind == Kind::Permanent { of_its_own.max(in_turn) } else { FAILED };
            entry.state = State::Failed { asked: now, next: now + pause };
        });
    }

    /// Asks whether the host still has this MAC: first itself alone, then everybody.
    fn check(&mut self, key: NeighbourKey, mac: Mac, tries: u32, now: Moment) {
        self.request(key, if tries < TRIES { mac } else { Mac::BROADCAST });
        self.alter(key, |entry| {
            entry.state = State::Checking { mac, tries: tries + 1 };
            entry.asked = now;
            entry.unanswered.get_or_insert(now);
        });
    }

    fn request(&mut self, key: NeighbourKey, to: Mac) {
        if let Some(interface) = self.interfaces.get(key.interface.index())
            && let Some(frame) = interface.request(key, to)
        {
            self.actions.push(Action::Send(frame));
        }
    }

    fn fail(&mut self, key: NeighbourKey, now: Moment) {
        self.unpublish(key);
        self.pause(key, now);
        self.actions.push(Action::Tell(Notice::Unreachable(key)));
    }

    fn publish(&mut self, key: NeighbourKey, mac: Mac) {
        if self.is_withdrawn(key) {
            return;
        }
        let id = self.id(key);
        if id == NextHopId::UNKNOWN {
            self.forget(key);
            self.actions.push(Action::Tell(Notice::Unreachable(key)));
            return;
        }
        // The MAC before the news: a worker that gets the news must find it.
        self.actions.push(Action::Set(id, NextHop::resolved(key.interface, mac)));
        self.actions.push(Action::Tell(Notice::Reachable(key, id)));
    }

    fn unpublish(&mut self, key: NeighbourKey) {
        if let Some(id) = self.ids.get(&key) {
            self.actions.push(Action::Set(*id, NextHop::UNRESOLVED));
        }
    }

    fn insert(&mut self, key: NeighbourKey, entry: Entry) {
        self.note(key, &entry);
        self.entries.insert(key, entry);
    }

    /// Changes an entry, and the order of what is due with it.
    fn alter(&mut self, key: NeighbourKey, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.entries.remove(&key) {
            self.unnote(key, &entry);
            change(&mut entry);
            self.insert(key, entry);
        }
    }

    fn forget(&mut self, key: NeighbourKey) {
        if let Some(entry) = self.entries.remove(&key) {
            self.unnote(key, &entry);
            if entry.state.mac().is_some() {
                self.unpublish(key);
            }
        }
    }

    fn note(&mut self, key: NeighbourKey, entry: &Entry) {
        self.due[entry.class()].extend(entry.due().map(|due| (due, key)));
        self.failed += u32::from(entry.is_given_up());
        if entry.counts_as_unanswered() {
            self.unanswered.insert((entry.since, key));
        }
    }

    fn unnote(&mut self, key: NeighbourKey, entry: &Entry) {
        if let Some(due) = entry.due() {
            self.due[entry.class()].remove(&(due, key));
        }
        self.failed -= u32::from(entry.is_given_up());
        self.unanswered.remove(&(entry.since, key));
    }
}

#[cfg(test)]
mod tests;
