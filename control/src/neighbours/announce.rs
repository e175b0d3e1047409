//! Telling the links which addresses are ours when they appear, when a link is back and when an interface's MAC is
//! another, so that hosts and switches that knew another place for them forget it.
//!
//! In IPv4 each announcement is two frames of ARP, a request and a reply (RFC 5944 §4.6 has both): some devices heed
//! only one of them. In IPv6 it is an unsolicited neighbour advertisement (RFC 4861 §7.2.6), and before the first one a
//! probe asks whether another has the address (RFC 4862 §5.4). It is used meanwhile: a VIP that moves here from another
//! balancer is to be in force at once. Who answers the probe is reported as any other claim to an own address.
//!
//! An announcement is repeated, since one that comes while a switch's interface is not forwarding yet is lost.

use super::action::SmallFrame;
use super::groups::Groups;
use super::{Interface, Moment};
use dataplane::names::ids::{InterfaceId, MAX_INTERFACES};
use dataplane::wire::mld::Query;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// When an address is announced again, after the first time: soon, for a frame that was lost (RFC 5227 §1.1 has two
/// announcements), and after what a switch with spanning tree takes until an interface forwards (IEEE 802.1D: twice
/// 15 s).
pub(super) const REPEATS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// The average time between two addresses: 2,000 a second, so that thousands of VIPs flood neither links nor the
/// worker's ring.
pub(super) const PACE: Duration = Duration::from_micros(500);
/// Addresses that may be announced in a row before the pace counts.
pub(super) const AT_ONCE: u32 = 16;
/// Frames that one turn sends at most: two for each address, and one for each group that is reported.
pub const FRAMES_AT_ONCE: usize = 3 * AT_ONCE as usize;

/// An own address on an interface.
type Place = (InterfaceId, IpAddr);

/// Which addresses are to be announced where, and when.
#[derive(Debug, Default)]
pub struct Announcer {
    /// By interface: how often all of its addresses are announced, if that was asked for.
    periods: Vec<Option<Duration>>,
    known: BTreeSet<Place>,
    link_up: [bool; MAX_INTERFACES],
    plans: BTreeMap<Place, Plan>,
    /// The places of `plans` in the order of their turns: those never announced yet before repeats, then by time.
    queue: BTreeSet<(bool, Moment, Place)>,
    /// The next address may be announced [`AT_ONCE`] paces before this.
    paced: Moment,
    groups: Groups,
}

/// When an address is announced next.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The first time.
    since: Moment,
    /// How often it was announced since then.
    done: usize,
    due: Moment,
}

impl Announcer {
    /// Announces all addresses of an interface again and again where `periods` has an interval for it.
    pub fn new(periods: Vec<Option<Duration>>) -> Self {
        Self { periods, ..Self::default() }
    }

    /// From now on this is how often all addresses of each interface are announced. Where it is otherwise than before
    /// they are announced now.
    pub fn set_periods(&mut self, periods: Vec<Option<Duration>>, now: Moment) {
        let before = std::mem::replace(&mut self.periods, periods);
        for (interface, before) in InterfaceId::all().zip(before) {
            if self.periods.get(interface.index()).is_some_and(|period| *period != before) {
                self.announce_interface(interface, now);
            }
        }
    }

    /// An address is answered for by the interfaces of this bit set from now on; by none, if it is ours no more. It is
    /// announced on those that are new and have a link.
    pub fn set_address(&mut self, address: IpAddr, interfaces: u16, now: Moment) {
        for interface in InterfaceId::all() {
            let place = (interface, address);
            let is_wanted = interfaces & interface.bit() != 0;
            if is_wanted && self.known.insert(place) {
                self.announce(place, now);
            } else if !is_wanted && self.known.remove(&place) {
                self.drop_plan(place);
            } else {
                continue;
            }
            if let IpAddr::V6(address) = address {
                self.groups.set_address(interface, address, is_wanted, now);
            }
        }
    }

    /// An interface has a link, or lost it. When one appears, all its addresses are announced.
    pub fn set_link(&mut self, interface: InterfaceId, up: bool, now: Moment) {
        let before = std::mem::replace(&mut self.link_up[interface.index()], up);
        self.groups.set_link(interface, up);
        if up && !before {
            self.announce_interface(interface, now);
        }
        if before && !up {
            for place in self.of_interface(interface) {
                self.drop_plan(place);
            }
        }
    }

    /// All addresses of an interface are announced anew, if it has a link.
    pub fn announce_interface(&mut self, interface: InterfaceId, now: Moment) {
        self.groups.tell_all(interface, now);
        for place in self.of_interface(interface) {
            self.announce(place, now);
        }
    }

    /// Somebody asks which multicast groups we listen to on this interface's link.
    pub fn groups_asked(&mut self, interface: &Interface, query: Query, now: Moment) {
        self.groups.asked(interface, query, now);
    }

    fn of_interface(&self, interface: InterfaceId) -> Vec<Place> {
        let first = IpAddr::from([0; 4]);
        self.known.range((interface, first)..).take_while(|(of, _)| *of == interface).copied().collect()
    }

    /// What is to be sent now: [`FRAMES_AT_ONCE`] at most. Groups come first: a probe's answer may go to one
    /// (RFC 4862 §5.4.2).
    pub fn turn(&mut self, interfaces: &[Interface], now: Moment) -> Vec<SmallFrame> {
        let mut frames = self.groups.turn(interfaces, now);
        self.paced = self.paced.max(now);
        while self.paced < now + PACE * AT_ONCE
            && let Some((is_repeat, due, place)) = self.queue.first().copied()
            && due <= now
        {
            self.paced += PACE;
            self.plan_next(place, now);
            let (interface, address) = place;
            if let Some(interface) = interfaces.get(interface.index()) {
                frames.extend(interface.probe(address).filter(|_| !is_repeat));
                frames.extend(interface.announcement(address));
            }
        }
        frames
    }

    fn announce(&mut self, place: Place, now: Moment) {
        if self.link_up[place.0.index()] {
            self.set_plan(place, Plan { since: now, done: 0, due: now });
        }
    }

    /// It has been announced now.
    fn plan_next(&mut self, place: Place, now: Moment) {
        let Some(plan) = self.plans.get(&place).copied() else { return };
        let period = self.periods.get(place.0.index()).copied().flatten();
        let repeat = REPEATS.get(plan.done).map(|after| now.max(plan.since + *after));
        let again = period.map(|period| now + period);
        match repeat.into_iter().chain(again).min() {
            Some(due) => {
                // A period that is shorter than the repeats goes on between them.
                let done = plan.done + usize::from(repeat == Some(due));
                self.set_plan(place, Plan { done, due, ..plan });
            }
            None => self.drop_plan(place),
        }
    }

    fn set_plan(&mut self, place: Place, plan: Plan) {
        self.drop_plan(place);
        self.queue.insert((plan.due > plan.since, plan.due, place));
        self.plans.insert(place, plan);
    }

    fn drop_plan(&mut self, place: Place) {
        if let Some(plan) = self.plans.remove(&place) {
            self.queue.remove(&(plan.due > plan.since, plan.due, place));
        }
    }
}

#[cfg(test)]
mod tests;
