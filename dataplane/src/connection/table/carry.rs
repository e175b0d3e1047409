//! Copying live entries out, and putting copies in.

use super::entry::WAYS;
use super::{Entry, New, REGION, Slot, Standing, Table};
use crate::connection::family::Family;
use crate::connection::{Clock, Copied, NotImported};
use crate::counters::WorkerCounters;
use crate::names::ids::RealId;

impl<F: Family> Table<F> {
    /// Copies live entries out, from `position` on, until there may not be room for more in the capacity of `rows`, or
    /// `buckets` have been examined. Returns where to go on, or `None` at the end. Entries that live all the while are
    /// copied once, even if the table changes its size in between.
    pub fn export(
        &self,
        mut position: usize,
        buckets: usize,
        clock: Clock<'_>,
        rows: &mut Vec<Copied>,
    ) -> Option<usize> {
        for _ in 0..buckets.div_ceil(REGION) {
            if position >= self.extent.most() {
                return None;
            }
            if rows.len() + REGION * WAYS > rows.capacity() {
                break;
            }
            let (region, end) = self.extent.region_at(position);
            for bucket in region..region + REGION {
                // In a region that has become smaller since, some have been copied.
                let is_new = |entry: Entry<F>| self.position(entry, bucket) >= position;
                let ports = self.ports.of(bucket);
                let entries = (0..WAYS).filter_map(|way| {
                    let entry = self.entry(Slot { bucket: bucket as u32, way: way as u8 })?;
                    copied(entry, ports[way], clock).filter(|_| is_new(entry))
                });
                rows.extend(entries);
            }
            position = end;
        }
        (position < self.extent.most()).then_some(position)
    }

    /// Where in an export an entry in this bucket comes, whatever the size of the table.
    fn position(&self, entry: Entry<F>, bucket: usize) -> usize {
        let (_, hash) = self.hash_placed_by(self.hash(entry.client_key()), bucket);
        self.extent.position(hash)
    }

    /// Brings the home of a copy close, some copies before it is [put in](Self::import).
    #[inline]
    pub fn prefetch_for(&self, copied: &Copied) {
        if let Some(key) = F::key(copied.client, copied.protocol) {
            self.prefetch(self.home_of(key));
        }
    }

    /// Makes an entry of a copy, with the time that it has left, at most the timeout of its state here. `collides` says
    /// of the client endpoint's other connections, by real and port asked for, whether their replies could be its own.
    ///
    /// # Errors
    /// Why it was not made; then nothing is done, but that what has timed out may be gone.
    pub fn import(
        &mut self,
        copied: &Copied,
        collides: impl Fn(RealId, u16) -> bool,
        clock: Clock<'_>,
        counters: &WorkerCounters,
    ) -> Result<Slot, NotImported> {
        let &Copied { protocol, state, ticks_left, client, real, port, next_hop } = copied;
        let key = F::key(client, protocol).filter(|_| state.protocol() == protocol);
        let key = key.ok_or(NotImported::Malformed)?;
        let timeout = clock.timeouts(real).ticks(state);
        let ticks_left = ticks_left.min(timeout);
        if ticks_left == 0 {
            return Err(NotImported::Expired);
        }
        let hash = self.hash(key);
        while let Some((slot, entry)) =
            self.find_by_slot(hash, key, |slot, entry| collides(entry.real(), self.port(slot)))
        {
            if !entry.is_dead(clock) {
                return Err(NotImported::Duplicate);
            }
            self.expire(slot, counters);
        }
        if self.len() >= self.capacity() {
            return Err(NotImported::NoRoom);
        }
        let (tick, alike) = (clock.tick.before(timeout - ticks_left), |_| Standing::ALIKE);
        let new = New { key, real, port, next_hop, state };
        let place = self.place(alike, hash, new, clock, counters);
        let (slot, away) = place.map_err(|_| NotImported::NoRoom)?;
        self.fill(slot, away, new, tick, counters);
        Ok(slot)
    }
}

/// A copy of an entry, if it is alive.
fn copied<F: Family>(entry: Entry<F>, port: u16, clock: Clock<'_>) -> Option<Copied> {
    let ticks_left = entry.ticks_left(clock);
    (ticks_left > 0).then_some(Copied {
        protocol: entry.client_key().protocol()?,
        state: entry.state(),
        ticks_left,
        client: entry.client_key().client(),
        real: entry.real(),
        port,
        next_hop: entry.next_hop(),
    })
}

#[cfg(test)]
mod tests;
