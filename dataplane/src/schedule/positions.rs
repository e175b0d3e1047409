//! What one worker keeps for all services, and how it follows what happens to their reals.
//!
//! Tournaments and lots are true as long as every real that has come to stand otherwise is looked at again. There are
//! three of whom that is known: reals whose connections this worker has counted ([`WorkerCounters::take_noted`]), those
//! whose flags have changed, and those that the other workers have come to have other connections on
//! ([`Changes`](crate::live::changes::Changes)). All of these are caught up with before a pick, whichever service it is
//! for: so the work is in proportion to what has happened, and none is done for services that nothing happens to.

use super::asked::{Asked, Known};
use super::{Position, Rounds, Schedule};
use crate::counters::{Followed, WorkerCounters};
use crate::live::reals::Reals;
use crate::names::ids::{RealId, ServiceId};
use crate::names::time::Now;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Positions {
    /// By [`ServiceId`].
    list: Vec<Kept>,
    /// Changes of flags, and of connections elsewhere, that have been caught up with.
    flags_read: u64,
    elsewhere_read: u64,
    /// Goes up when more has changed than is known one by one: then every service's reals are looked at again, each at
    /// its next pick.
    epoch: u64,
}

#[derive(Debug, Default)]
struct Kept {
    position: Position,
    /// The epoch in which it was last made from all reals.
    epoch: u64,
}

impl Positions {
    /// Makes room for services with ids below this number.
    pub fn resize(&mut self, services: usize) {
        self.list.resize_with(services, Kept::default);
    }

    /// Goes over from one schedule of a service to another; `None`: there is no service. See [`Position::adopt`].
    pub fn adopt(
        &mut self,
        service: ServiceId,
        (old, new): (Option<&Schedule>, Option<&Schedule>),
        known: &Known<'_>,
        worker: usize,
    ) {
        if let Some(old) = old.filter(|old| old.is_followed()) {
            old.candidates().iter().for_each(|candidate| known.own.unfollow(candidate.real));
        }
        let Some(kept) = self.list.get_mut(service.0 as usize) else { return };
        let Some(new) = new else {
            *kept = Kept::default();
            return;
        };
        kept.position.adopt(old, new, known, worker);
        kept.epoch = self.epoch;
        if new.is_followed() {
            for (place, candidate) in new.candidates().iter().enumerate() {
                known.own.follow(candidate.real, Followed { service, place }, new.compares_connections());
            }
        }
    }

    /// What is kept for a service.
    #[inline(always)]
    pub fn get(&self, service: ServiceId) -> Option<&Position> {
        Some(&self.list.get(service.0 as usize)?.position)
    }

    /// The real whose turn it is, of a service with `rr` or `wrr`, in the usual case: it takes connections that nobody
    /// counts, and there is nothing else to it. `None`, and nothing done: [`choice`](Self::choice) knows.
    #[inline(always)]
    pub fn usual_turn(&mut self, service: ServiceId, live: &Reals) -> Option<RealId> {
        match &mut self.list.get_mut(service.0 as usize)?.position {
            Position::Place(place) => place.pick_usual(live),
            _ => None,
        }
    }

    /// The real whose turn it is, of a service with `rr` or `wrr`: as [`choice`](Self::choice), in few steps.
    #[inline(always)]
    pub fn turn(&mut self, service: ServiceId, rounds: &Rounds, live: &Reals, now: Now) -> Option<RealId> {
        match &mut self.list.get_mut(service.0 as usize)?.position {
            Position::Place(place) => rounds.turn(place, live, now),
            _ => None,
        }
    }

    /// The real for a new connection: see [`Schedule::choice`].
    #[inline(always)]
    pub fn choice(&mut self, service: ServiceId, schedule: &Schedule, asked: &Asked<'_>) -> Option<RealId> {
        match schedule {
            Schedule::Rounds(rounds) => self.turn(service, rounds, asked.known.live, asked.known.now),
            Schedule::Hashed(hashed) => {
                hashed.pick(asked.client, || Some(asked.destination), asked.known.live)
            }
            Schedule::Least(_) => self.best(service, &asked.known),
            _ => schedule.choice(self.caught_up(service, &asked.known)?, asked),
        }
    }

    /// The best real in the usual case, in few steps: of a service with a [`Least`](super::Least) schedule and few
    /// reals, if nothing has happened but to one real of such a service. `None`: [`best`](Self::best) knows.
    #[inline(always)]
    pub fn best_of_few(&mut self, service: ServiceId, known: Known<'_>) -> Option<RealId> {
        let Self { list, flags_read, elsewhere_read, epoch } = self;
        if known.live.changes().count() != *flags_read || known.elsewhere.changes().count() != *elsewhere_read
        {
            return None;
        }
        if let Some(noted) = known.own.only_noted()? {
            let Followed { service: its, place } = noted.followed;
            let Kept { position: Position::Few(few), epoch: made } = list.get_mut(its.0 as usize)? else {
                return None;
            };
            known.own.take_only_noted(&noted);
            few.recount(place, noted.of_real);
            // Mostly, and then it has been found.
            if its == service && made == epoch {
                return few.best();
            }
        }
        match list.get(service.0 as usize)? {
            Kept { position: Position::Few(few), epoch: made } if made == epoch => few.best(),
            _ => None,
        }
    }

    /// The best real, of a service with a [`Least`](super::Least) schedule.
    #[inline(always)]
    pub fn best(&mut self, service: ServiceId, known: &Known<'_>) -> Option<RealId> {
        match self.caught_up(service, known)? {
            Position::Few(few) => few.pick(known),
            Position::Tournament(tournament) => tournament.pick(known),
            _ => None,
        }
    }

    /// The reals that a new connection may get: see [`Schedule::choices`].
    pub fn choices<'a>(
        &mut self,
        service: ServiceId,
        schedule: &'a Schedule,
        asked: &Asked<'a>,
    ) -> impl Iterator<Item = RealId> + use<'a> {
        let position = self.caught_up(service, &asked.known);
        position.map(|position| schedule.choices(position, asked)).into_iter().flatten()
    }

    /// The position of a service, with all that has happened.
    #[inline(always)]
    fn caught_up(&mut self, service: ServiceId, known: &Known<'_>) -> Option<&mut Position> {
        if known.live.changes().count() != self.flags_read
            || known.elsewhere.changes().count() != self.elsewhere_read
        {
            self.read_changes(known);
        }
        while let Some(Followed { service, place }) = known.own.take_noted() {
            match self.list.get_mut(service.0 as usize).map(|kept| &mut kept.position) {
                // Most are of these kinds: without a call.
                Some(Position::Few(few)) => few.refresh(place, known),
                Some(Position::Tournament(tournament)) => tournament.refresh(place, known),
                Some(position) => position.refresh(place, known),
                None => {}
            }
        }
        let kept = self.list.get_mut(service.0 as usize)?;
        if kept.epoch != self.epoch {
            kept.epoch = self.epoch;
            kept.position.rebuild(known);
        }
        Some(&mut kept.position)
    }

    #[cold]
    #[inline(never)]
    fn read_changes(&mut self, known: &Known<'_>) {
        let note = |own: &WorkerCounters, real| own.note(real);
        let flags = known.live.changes().follow(&mut self.flags_read, |real| note(known.own, real));
        let changes = known.elsewhere.changes();
        let elsewhere = changes.follow(&mut self.elsewhere_read, |real| note(known.own, real));
        if !flags || !elsewhere {
            self.epoch += 1;
        }
    }

    /// The addresses of all of them.
    #[cfg(feature = "testing")]
    pub(crate) fn footprint(&self) -> std::ops::Range<usize> {
        memory::addresses_of(&self.list[..])
    }
}
