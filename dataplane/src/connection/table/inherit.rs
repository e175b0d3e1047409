//! Entries for connections of an earlier process: made as they were, and not counted as new.

use super::gauges::count_inherited;
use super::{New, Slot, Standing, Table};
use crate::connection::family::Family;
use crate::connection::{Clock, NotImported};
use crate::counters::WorkerCounters;
use crate::names::ids::{Protocol, RealId};
use crate::names::time::Tick;

impl<F: Family> Table<F> {
    /// Makes an entry for a connection of an earlier process whose last packet came at `since`. `collides` says of the
    /// client endpoint's other connections, by real and port asked for, whether their replies could be its own. If it
    /// `displaces` others it finds room also in a full table, where anything gives way but what is established.
    ///
    /// # Errors
    /// Why it was not made; then nothing is done, but that what has timed out may be gone.
    #[inline]
    pub fn inherit(
        &mut self,
        new: New<F>,
        since: Tick,
        displaces: bool,
        collides: impl Fn(RealId, u16) -> bool,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<(), NotImported> {
        // As nearly always: its client endpoint has no other connection, and there is room at home.
        if new.state.protocol() != Protocol::Sctp
            && let Some(vacancy) = self.vacancy(self.home_of(new.key), new.key)
        {
            self.fill_inherited(vacancy.0, false, new, since, counters);
            return Ok(());
        }
        self.inherit_elsewhere(new, since, displaces, collides, clock, counters)
    }

    #[cold]
    #[inline(never)]
    fn inherit_elsewhere(
        &mut self,
        new: New<F>,
        since: Tick,
        displaces: bool,
        collides: impl Fn(RealId, u16) -> bool,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<(), NotImported> {
        let hash = self.hash(new.key);
        while let Some((slot, entry)) =
            self.find_by_slot(hash, new.key, |slot, entry| collides(entry.real(), self.port(slot)))
        {
            if !entry.is_dead(clock) {
                return Err(NotImported::Duplicate);
            }
            self.expire(slot, counters);
        }
        if self.len() >= self.capacity() && !displaces {
            return Err(NotImported::NoRoom);
        }
        let (slot, away) =
            self.place(|_| Standing::ALIKE, hash, new, clock, counters).map_err(|_| NotImported::NoRoom)?;
        self.fill_inherited(slot, away, new, since, counters);
        Ok(())
    }

    #[inline(always)]
    fn fill_inherited(
        &mut self,
        slot: Slot,
        away: bool,
        new: New<F>,
        since: Tick,
        counters: &WorkerCounters,
    ) {
        self.write_new(slot, away, new, since);
        self.live += 1;
        count_inherited(counters, new.real, new.state);
    }
}
