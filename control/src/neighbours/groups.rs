//! The multicast groups that own addresses of IPv6 have us listen to: routers, and switches that pass a group's frames
//! on to those alone who listen to it, are told of them (MLD, RFC 3810). Solicitations for an address go to its group,
//! so without this such a switch would keep them from us.
//!
//! A group is reported when it comes to be listened to and when it is no longer, both repeatedly, since reports are not
//! confirmed; and when somebody asks. Each report is of one group, in a frame of its own, and paced as announcements
//! are.

use super::action::SmallFrame;
use super::announce::{AT_ONCE, PACE, REPEATS};
use super::entry::scattered;
use super::{Interface, Moment};
use dataplane::names::ids::{InterfaceId, MAX_INTERFACES};
use dataplane::wire::mld::{self, Query, Record};
use dataplane::wire::ndp::solicited_node;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

/// How often it is said that a group is not listened to any more (RFC 3810 §9.1, the robustness variable).
const TIMES_LEFT: usize = 2;
/// How long after the last query of MLDv1 reports are of that version (RFC 3810 §9.12 with its defaults).
const OLDER_QUERIER: Duration = Duration::from_secs(2 * 125 + 10);

/// A group on an interface.
type Place = (InterfaceId, Ipv6Addr);

/// Why a report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// It has come to be listened to, or is no longer.
    Change,
    /// Somebody asked.
    Query,
}

/// When a report is sent next.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The first time.
    since: Moment,
    /// How often it was sent since then.
    done: usize,
    due: Moment,
}

/// Which groups are listened to, and what is to be said of them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// With each, how many own addresses it is of.
    listened: BTreeMap<Place, u32>,
    link_up: [bool; MAX_INTERFACES],
    plans: BTreeMap<(Place, Reason), Plan>,
    /// The keys of `plans` in the order of their turns.
    queue: BTreeSet<(Moment, (Place, Reason))>,
    /// By interface: until when its routers count as speaking MLDv1 alone.
    older_until: [Moment; MAX_INTERFACES],
    /// The next report may be sent [`AT_ONCE`] paces before this.
    paced: Moment,
}

impl Groups {
    /// An address is ours on an interface from now on, or (`is_ours` false) no longer. Each change is told once.
    pub(super) fn set_address(
        &mut self,
        interface: InterfaceId,
        address: Ipv6Addr,
        is_ours: bool,
        now: Moment,
    ) {
        let place = (interface, solicited_node(address));
        let count = self.listened.entry(place).or_default();
        let before = *count;
        *count = if is_ours { before + 1 } else { before.saturating_sub(1) };
        let now_listened = *count > 0;
        if !now_listened {
            self.listened.remove(&place);
        }
        if now_listened != (before > 0) {
            self.tell_change(place, now);
        }
    }

    /// An interface has a link, or lost it.
    pub(super) fn set_link(&mut self, interface: InterfaceId, up: bool) {
        self.link_up[interface.index()] = up;
        if !up {
            self.plans.retain(|((of, _), _), _| *of != interface);
            self.queue.retain(|(_, ((of, _), _))| *of != interface);
        }
    }

    /// All groups of an interface are reported anew.
    pub(super) fn tell_all(&mut self, interface: InterfaceId, now: Moment) {
        for place in self.of_interface(interface) {
            self.tell_change(place, now);
        }
    }

    /// Somebody asks what is listened to on an interface: the answers come at moments until the time that the query
    /// gives, which differ from host to host and group to group (RFC 3810 §6.2).
    pub(super) fn asked(&mut self, interface: &Interface, query: Query, now: Moment) {
        if query.is_v1 {
            self.older_until[interface.id.index()] = now + OLDER_QUERIER;
        }
        let places = match query.group {
            None => self.of_interface(interface.id),
            Some(group) => Vec::from_iter(Some((interface.id, group))),
        };
        for place in places {
            if !self.listened.contains_key(&place) {
                continue;
            }
            let part = scattered(place.1.into()) ^ scattered(interface.link_local().into());
            let due = now + Duration::from_millis(query.delay.into()) * part / (1 << 16);
            let key = (place, Reason::Query);
            // An answer that is due sooner is one to this query, too.
            if self.plans.get(&key).is_none_or(|plan| due < plan.due) {
                self.set_plan(key, Plan { since: due, done: 0, due });
            }
        }
    }

    /// What is to be sent now: [`AT_ONCE`] frames at most.
    pub(super) fn turn(&mut self, interfaces: &[Interface], now: Moment) -> Vec<SmallFrame> {
        let mut frames = Vec::new();
        self.paced = self.paced.max(now);
        while self.paced < now + PACE * AT_ONCE
            && let Some((due, key)) = self.queue.first().copied()
            && due <= now
        {
            self.paced += PACE;
            self.plan_next(key, now);
            frames.extend(
                interfaces.get(key.0.0.index()).and_then(|interface| self.report(key, interface, now)),
            );
        }
        frames
    }

    /// What is said of a group by its state now. A querier of MLDv1 that is not told that a group is left finds out by
    /// asking.
    fn report(
        &self,
        (place, reason): (Place, Reason),
        interface: &Interface,
        now: Moment,
    ) -> Option<SmallFrame> {
        let (group, source) = (place.1, interface.link_local());
        let record = match (self.listened.contains_key(&place), reason) {
            (true, Reason::Change) => Record::Joined,
            (true, Reason::Query) => Record::Listened,
            (false, Reason::Change) => Record::Left,
            (false, Reason::Query) => return None,
        };
        if now >= self.older_until[interface.id.index()] {
            let report = mld::report(interface.mac, source, record, &[group]);
            return Some(SmallFrame::new(interface.id, &report));
        }
        let is_listened = record != Record::Left;
        is_listened.then(|| SmallFrame::new(interface.id, &mld::report_v1(interface.mac, source, group)))
    }

    fn of_interface(&self, interface: InterfaceId) -> Vec<Place> {
        let places = self.listened.range((interface, Ipv6Addr::UNSPECIFIED)..).map(|(place, _)| *place);
        places.take_while(|(of, _)| *of == interface).collect()
    }

    fn tell_change(&mut self, place: Place, now: Moment) {
        if self.link_up[place.0.index()] {
            self.set_plan((place, Reason::Change), Plan { since: now, done: 0, due: now });
        }
    }

    /// It has been said now.
    fn plan_next(&mut self, key: (Place, Reason), now: Moment) {
        let Some(plan) = self.plans.get(&key).copied() else { return };
        self.drop_plan(key);
        let most = match (key.1, self.listened.contains_key(&key.0)) {
            (Reason::Query, _) => 1,
            (Reason::Change, true) => 1 + REPEATS.len(),
            (Reason::Change, false) => TIMES_LEFT,
        };
        let done = plan.done + 1;
        if done < most
            && let Some(after) = REPEATS.get(plan.done)
        {
            self.set_plan(key, Plan { done, due: now.max(plan.since + *after), ..plan });
        }
    }

    fn set_plan(&mut self, key: (Place, Reason), plan: Plan) {
        self.drop_plan(key);
        self.queue.insert((plan.due, key));
        self.plans.insert(key, plan);
    }

    fn drop_plan(&mut self, key: (Place, Reason)) {
        if let Some(plan) = self.plans.remove(&key) {
            self.queue.remove(&(plan.due, key));
        }
    }
}

#[cfg(test)]
mod tests;
