//! What an event or the passing of time leads to: the state machine's edges.

use super::entry::{Entry, Kind, State, trusted};
use super::pace::{
    FAILED, FORGET, KEPT, LONGEST_PAUSE, MAX_ENTRIES, MAX_UNANSWERED, NEW_A_SECOND, RETRY, REVIVALS, REVIVE,
    TRIES, WANTED,
};
use super::{Action, Moment, Neighbours, Notice, protocol};
use dataplane::live::next_hops::NextHop;
use dataplane::names::ids::{NeighbourKey, NextHopId};
use dataplane::names::mac::Mac;
use std::time::Duration;

impl Neighbours {
    /// Another station says that an own address is its.
    pub(super) fn claimed(&mut self, key: NeighbourKey, mac: Mac, now: Moment) {
        let defence = self.conflicts.claim(key, mac, now);
        if defence.say {
            let (address, protocol) = (key.address, protocol(key.address));
            log::warn!("{address} is ours, but {mac} on the same link says by {protocol} that it is its");
        }
        if defence.announce
            && let Some(interface) = self.interfaces.get(key.interface.index())
        {
            self.actions.extend(interface.announcement(key.address).into_iter().map(Action::Send));
        }
    }

    pub(super) fn wanted(&mut self, key: NeighbourKey, now: Moment) {
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
            // The workers hear of it when the interface is restored.
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
                let id = self.ids.id(key);
                self.actions.push(Action::Tell(Notice::Reachable(key, id)));
            }
        }
    }

    /// A dynamic one that packets wait for the first time.
    pub(super) fn begin(&mut self, key: NeighbourKey, now: Moment) {
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

    /// A host has said where it is: in a `reply` to us or unasked, and in a way that `replaces` another MAC or leaves
    /// it to be checked.
    pub(super) fn heard(
        &mut self,
        key: NeighbourKey,
        mac: Mac,
        (reply, replaces): (bool, bool),
        now: Moment,
    ) {
        let Some(entry) = self.entries.get(&key) else { return };
        if matches!(entry.kind, Kind::Static { .. }) || mac.is_group() || mac == Mac([0; 6]) {
            return;
        }
        let known = entry.state.mac();
        if !replaces && known.is_some_and(|known| known != mac) {
            return self.doubt(key, now);
        }
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

    /// Something else than what is known has been said of a host, but not so that it replaces that: an answer counts no
    /// longer, unless the host has been asked just now (RFC 4861 §7.2.5, whose state STALE this is).
    fn doubt(&mut self, key: NeighbourKey, now: Moment) {
        self.alter(key, |entry| {
            if let State::Reachable { until, .. } = &mut entry.state {
                *until = (*until).min(now.max(entry.asked + RETRY));
            }
        });
    }

    /// An entry is due: ask again, or give it up.
    pub(super) fn look(&mut self, key: NeighbourKey, now: Moment) {
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

    pub(super) fn ask(&mut self, key: NeighbourKey, now: Moment) {
        self.ask_again(key, 0, now);
    }

    pub(super) fn ask_again(&mut self, key: NeighbourKey, tries: u32, now: Moment) {
        self.request(key, None);
        self.alter(key, |entry| {
            entry.state = State::Asking { tries: tries + 1, next: now + RETRY };
            entry.unanswered.get_or_insert(now);
        });
    }

    /// Asks once for one that was given up.
    pub(super) fn revive(&mut self, key: NeighbourKey, now: Moment) {
        self.request(key, None);
        self.pause(key, now);
    }

    /// Sets when a neighbour that does not answer is asked again.
    pub(super) fn pause(&mut self, key: NeighbourKey, now: Moment) {
        let in_turn = Duration::from_secs(1) * self.failed / REVIVALS;
        self.alter(key, |entry| {
            let of_its_own = (REVIVE * (1 << entry.failures.min(8))).min(LONGEST_PAUSE);
            entry.failures = entry.failures.saturating_add(1);
            let pause = if entry.kind == Kind::Permanent { of_its_own.max(in_turn) } else { FAILED };
            entry.state = State::Failed { asked: now, next: now + pause };
        });
    }

    /// Asks whether the host still has this MAC: first itself alone, then everybody.
    pub(super) fn check(&mut self, key: NeighbourKey, mac: Mac, tries: u32, now: Moment) {
        self.request(key, (tries < TRIES).then_some(mac));
        self.alter(key, |entry| {
            entry.state = State::Checking { mac, tries: tries + 1 };
            entry.asked = now;
            entry.unanswered.get_or_insert(now);
        });
    }

    /// Asks the host that had the MAC `known`, or everybody.
    pub(super) fn request(&mut self, key: NeighbourKey, known: Option<Mac>) {
        if let Some(interface) = self.interfaces.get(key.interface.index())
            && let Some(frame) = interface.request(key, known)
        {
            self.actions.push(Action::Send(frame));
        }
    }

    pub(super) fn fail(&mut self, key: NeighbourKey, now: Moment) {
        self.unpublish(key);
        self.pause(key, now);
        self.actions.push(Action::Tell(Notice::Unreachable(key)));
    }

    pub(super) fn publish(&mut self, key: NeighbourKey, mac: Mac) {
        if self.is_withdrawn(key) {
            return;
        }
        let id = self.ids.id(key);
        if id == NextHopId::UNKNOWN {
            self.forget(key);
            self.actions.push(Action::Tell(Notice::Unreachable(key)));
            return;
        }
        // The MAC before the news: a worker that gets the news must find it.
        self.actions.push(Action::Set(id, NextHop::resolved(key.interface, mac)));
        self.actions.push(Action::Tell(Notice::Reachable(key, id)));
    }

    pub(super) fn unpublish(&mut self, key: NeighbourKey) {
        if let Some(id) = self.ids.known(key) {
            self.actions.push(Action::Set(id, NextHop::UNRESOLVED));
        }
    }
}
