//! Next hops: asking for MACs by ARP or neighbour discovery, ageing, following a changed MAC.
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
//! not become a storm of broadcasts. What one that is back says of itself is believed at once.
//!
//! Requests are paced ([`LOOKS`]): thousands of reals that are configured at once must not become a burst
//! that the ring to the worker, the link's switch or the worker's own limit on replies cuts short.
//!
//! The files:
//!
//! ```text
//! mod        all neighbours: which there are, and when each is due
//! asking     what an event or the passing of time leads to
//! entry      what is known of one neighbour
//! hop_ids    the ids of neighbours
//! pace       how often neighbours are asked, and how many there can be
//! interface  who asks, and says, something on a link
//! arp  ndp   the messages to send, of either family
//! announce   links learn which addresses are ours
//! groups     … and to which multicast groups we listen
//! conflicts  own addresses that others say are theirs
//! action     what is wanted of the control thread
//! ```

mod action;
mod announce;
mod arp;
mod asking;
mod conflicts;
mod entry;
mod groups;
mod hop_ids;
mod interface;
mod ndp;
mod pace;

pub use action::{Action, Notice, SmallFrame};
pub use announce::{Announcer, FRAMES_AT_ONCE};
pub use conflicts::{Conflict, Conflicts};
pub use hop_ids::HopIds;
pub use interface::Interface;
pub use pace::{
    FORGET, KEPT, LONGEST_PAUSE, LOOKS, MAX_ENTRIES, MAX_UNANSWERED, NEW_A_SECOND, REACHABLE, RETRY,
    REVIVALS, REVIVE, SPREAD, TRIES, WANTED,
};

use dataplane::exchange::orders::NeighbourEvent;
use dataplane::names::ids::{InterfaceId, MAX_INTERFACES, NeighbourKey};
use dataplane::names::mac::Mac;
use entry::{Entry, Kind, State};
use hashbrown::HashMap;
use ipnet::IpNet;
use pace::{ASecond, FAILED};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// How hosts with addresses like this one are asked for their MACs.
pub const fn protocol(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ARP",
        IpAddr::V6(_) => "neighbour discovery",
    }
}

/// A moment: since an arbitrary start.
pub type Moment = Duration;

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
    ids: HopIds,
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
            ids: HopIds::default(),
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
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// As [`interfaces`](Self::interfaces), to be changed.
    pub fn interfaces_mut(&mut self) -> &mut [Interface] {
        &mut self.interfaces
    }

    /// The ids of hosts, which other threads may ask for, too.
    pub fn ids(&self) -> &HopIds {
        &self.ids
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

    /// From now on the MACs of these hosts, and of no others, are configured. One whose MAC was, and is not any more,
    /// is asked; packets go to that MAC meanwhile.
    pub fn set_fixed(&mut self, fixed: impl IntoIterator<Item = (NeighbourKey, Mac)>, now: Moment) {
        let fixed: HashMap<NeighbourKey, Mac> = fixed.into_iter().collect();
        let released = |(key, entry): (&NeighbourKey, &Entry)| match entry.kind {
            Kind::Static { mac } if !fixed.contains_key(key) => Some((*key, mac)),
            _ => None,
        };
        let released: Vec<_> = self.entries.iter().filter_map(released).collect();
        for (key, mac) in released {
            let state = State::Reachable { mac, until: now };
            self.alter(key, |entry| *entry = Entry { state, ..Entry::new(Kind::Dynamic, now) });
        }
        for (key, mac) in fixed {
            let known = self.entries.remove(&key).inspect(|entry| self.unnote(key, entry));
            self.insert(key, Entry::new(Kind::Static { mac }, now));
            if known.and_then(|entry| entry.state.mac()) != Some(mac) {
                self.publish(key, mac);
            }
        }
    }

    /// Nothing depends on this host any more, and what was sent to it is to find its way anew.
    pub fn let_go(&mut self, key: NeighbourKey) {
        if self.entries.get(&key).is_some_and(|entry| entry.kind == Kind::Dynamic) {
            self.forget(key);
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
            NeighbourEvent::Heard { key, mac, reply, replaces } => {
                self.heard(key, mac, (reply, replaces), now);
            }
            NeighbourEvent::Conflict { key, mac } => self.claimed(key, mac, now),
            // The announcer's business.
            NeighbourEvent::GroupsAsked { .. } => {}
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

    /// The interface has another MAC: first, nothing is sent to its neighbours any more. See
    /// [`set_source`](dataplane::live::next_hops::NextHops::set_source) for what has to happen before
    /// [`restore`](Self::restore).
    pub fn withdraw(&mut self, interface: InterfaceId) {
        self.withdrawn |= interface.bit();
        for (key, _) in self.known_behind(interface) {
            self.unpublish(key);
        }
    }

    /// Then the interface's frames, requests included, come from this one, and its addresses are these.
    pub fn restore(&mut self, interface: InterfaceId, mac: Mac, addresses: &[IpNet]) {
        self.withdrawn &= !interface.bit();
        if let Some(interface) = self.interfaces.get_mut(interface.index()) {
            interface.mac = mac;
            interface.addresses = addresses.to_vec();
        }
        for (key, mac) in self.known_behind(interface) {
            self.publish(key, mac);
        }
    }

    fn is_withdrawn(&self, key: NeighbourKey) -> bool {
        self.withdrawn & key.interface.bit() != 0
    }

    /// Those whose MACs are known by what they said.
    pub fn known(&self) -> impl Iterator<Item = (NeighbourKey, Mac)> + '_ {
        let is_fixed = |entry: &Entry| matches!(entry.kind, Kind::Static { .. });
        let asked = self.entries.iter().filter(move |(_, entry)| !is_fixed(entry));
        asked.filter_map(|(key, entry)| Some((*key, entry.state.mac()?)))
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

    /// How many there are in each state, by its name.
    pub fn by_state(&self) -> [(&'static str, u64); 5] {
        let mut counts = ["fixed", "asked", "reachable", "checked", "failed"].map(|name| (name, 0));
        for entry in self.entries.values() {
            let place = match entry.state {
                State::Static { .. } => 0,
                State::Asking { .. } => 1,
                State::Reachable { .. } => 2,
                State::Checking { .. } => 3,
                State::Failed { .. } => 4,
            };
            counts[place].1 += 1;
        }
        counts
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
        self.refused + self.ids.refused()
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
