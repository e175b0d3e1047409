//! Which reals' connection counts have changed, for a scheduler that compares them.
//!
//! A worker follows the reals of some services. Whatever changes the count of one of these puts it on a list, once,
//! until the list is taken. The list is made of the reals' own words, in the cache line that is being written anyway;
//! for a real that nobody follows it costs one load and a branch that never changes.

use super::worker::Records;
use super::{Counter, RealCounters, WorkerCounters};
use crate::names::ids::{REAL_IDS, RealId, ServiceId};

/// A real's part of the list, in one word; one writer, the worker.
///
/// ```text
/// bit 0       changes of its counts put it on the list
///     1       it is on the list
///     2       it is followed: the two numbers below are true
///     3       it has a connection threshold: see [`limited`](super::limited)
/// 4..21       the next on the list: its number, and [`SOME`]; 0: it is the last
/// 22..39      its place among the service's reals
/// 40..63      number of its service
/// ```
///
/// What is asked of each packet that changes a count is in the low bits: they are tested without being loaded.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(super) struct Mark(Counter);

const COUNTS: u64 = 1 << 0;
const NOTED: u64 = 1 << 1;
const FOLLOWED: u64 = 1 << 2;
const LIMITED: u64 = 1 << 3;
const NEXT_SHIFT: u32 = 4;
const PLACE_SHIFT: u32 = 22;
const SERVICE_SHIFT: u32 = 40;
const NEXT: u64 = (1 << 18) - 1;
const PLACE: u64 = (1 << 18) - 1;
const SERVICE: u64 = (1 << 24) - 1;

/// Says that there is a next one, above its number.
const SOME: u64 = REAL_IDS as u64;

const _: () = assert!(REAL_IDS.is_power_of_two() && SOME < NEXT);

/// The record behind those of all reals: where the list begins.
const HEAD: usize = REAL_IDS;

/// A real that is followed, by its place in its service's list of reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its service.
    pub service: ServiceId,
    /// Its place, from 0.
    pub place: usize,
}

/// Puts a real on the list if changes of its counts do that. `of_real` are its counters.
#[inline(always)]
pub(crate) fn note_count(records: &Records, of_real: &RealCounters, real: RealId) {
    let bits = of_real.mark.0.get();
    // Mostly nobody compares its counts: one test then.
    if bits & COUNTS != 0 && bits & NOTED == 0 {
        put_on(records, of_real, real, bits);
    }
}

/// As [`note_count`], where a connection has begun.
#[inline(always)]
pub(super) fn note_begun(counters: &WorkerCounters, of_real: &RealCounters, real: RealId) {
    let bits = of_real.mark.0.get();
    // Mostly neither, and so one branch.
    if bits & (COUNTS | LIMITED) != 0 {
        if bits & (COUNTS | LIMITED | NOTED) == COUNTS {
            put_on(counters.reals(), of_real, real, bits);
        } else if bits & LIMITED != 0 {
            counters.limited.note(real);
            note_count(counters.reals(), of_real, real);
        }
    }
}

/// As [`note_count`], where a connection has ended.
#[inline(always)]
pub(super) fn note_ended(counters: &WorkerCounters, of_real: &RealCounters, real: RealId) {
    if of_real.mark.0.get() & (COUNTS | LIMITED) != 0 {
        note_ended_there(counters, real);
    }
}

/// Out of line, so that the sweep keeps what it needs in registers.
#[inline(never)]
fn note_ended_there(counters: &WorkerCounters, real: RealId) {
    note_begun(counters, counters.real(real), real);
}

#[inline(always)]
fn put_on(records: &Records, of_real: &RealCounters, real: RealId, bits: u64) {
    let head = &records[HEAD].mark.0;
    of_real.mark.0.set(bits | NOTED | head.get() << NEXT_SHIFT);
    head.set(u64::from(real.0) & (SOME - 1) | SOME);
}

/// The only real on the list, to take it off.
pub(crate) struct OnlyNoted<'a> {
    pub(crate) of_real: &'a RealCounters,
    pub(crate) followed: Followed,
    head: &'a Counter,
    bits: u64,
}

/// What a mark says of a real that is followed.
#[inline(always)]
const fn followed(bits: u64) -> Followed {
    let service = ServiceId((bits >> SERVICE_SHIFT & SERVICE) as u32);
    Followed { service, place: (bits >> PLACE_SHIFT & PLACE) as usize }
}

impl WorkerCounters {
    /// Follows a real from now on. `counts`: it is noted when its connection counts change, and not only by
    /// [`note`](Self::note). Only the worker may call it.
    ///
    /// # Panics
    /// If the numbers are larger than those of services and reals can be.
    pub fn follow(&self, real: RealId, followed: Followed, counts: bool) {
        let (service, place) = (u64::from(followed.service.0), followed.place as u64);
        assert!(service <= SERVICE && place <= PLACE, "{followed:?} is beyond all services and reals");
        let mark = &self.real(real).mark.0;
        let listed = mark.get() & (NOTED | NEXT << NEXT_SHIFT | LIMITED);
        let counts = if counts { COUNTS } else { 0 };
        mark.set(listed | counts | FOLLOWED | service << SERVICE_SHIFT | place << PLACE_SHIFT);
    }

    /// Follows it no more. Only the worker may call it.
    pub fn unfollow(&self, real: RealId) {
        let mark = &self.real(real).mark.0;
        mark.set(mark.get() & (NOTED | NEXT << NEXT_SHIFT | LIMITED));
    }

    /// Sets whether beginnings and endings of a real's connections are [told of](Self::take_limited). Only the worker
    /// may call it.
    pub(crate) fn set_limited(&self, real: RealId, is: bool) {
        let mark = &self.real(real).mark.0;
        mark.set(mark.get() & !LIMITED | if is { LIMITED } else { 0 });
        self.limited.set_limited(real, is);
    }

    /// Puts a real on the list if it is followed. Only the worker may call it.
    #[inline(always)]
    pub fn note(&self, real: RealId) {
        let of_real = self.real(real);
        let bits = of_real.mark.0.get();
        if bits & (FOLLOWED | NOTED) == FOLLOWED {
            put_on(self.reals(), of_real, real, bits);
        }
    }

    /// Whether the list has anything on it.
    #[inline(always)]
    pub fn has_noted(&self) -> bool {
        self.reals()[HEAD].mark.0.get() != 0
    }

    /// What is on the list, if that is nothing or one real that is followed; `None`: there is more to it.
    #[inline(always)]
    pub(crate) fn only_noted(&self) -> Option<Option<OnlyNoted<'_>>> {
        let records = self.reals();
        let head = &records[HEAD].mark.0;
        let first = head.get();
        if first == 0 {
            return Some(None);
        }
        let of_real = &records[(first & (SOME - 1)) as usize];
        let bits = of_real.mark.0.get();
        let is_only = bits & (FOLLOWED | NEXT << NEXT_SHIFT) == FOLLOWED;
        is_only.then(|| Some(OnlyNoted { of_real, followed: followed(bits), head, bits }))
    }

    /// Takes the [only real](Self::only_noted) off the list.
    #[inline(always)]
    pub(crate) fn take_only_noted(&self, OnlyNoted { of_real, head, bits, .. }: &OnlyNoted<'_>) {
        of_real.mark.0.set(bits ^ NOTED);
        head.set(0);
    }

    /// Takes a followed real off the list. Only the worker may call it.
    #[inline(always)]
    pub fn take_noted(&self) -> Option<Followed> {
        let records = self.reals();
        let head = &records[HEAD].mark.0;
        loop {
            let first = head.get();
            if first == 0 {
                return None;
            }
            let mark = &records[(first & (SOME - 1)) as usize].mark.0;
            let bits = mark.get();
            head.set(bits >> NEXT_SHIFT & NEXT);
            mark.set(bits & !(NOTED | NEXT << NEXT_SHIFT));
            if bits & FOLLOWED != 0 {
                return Some(followed(bits));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(counters: &WorkerCounters) -> Vec<Followed> {
        let mut taken: Vec<_> = std::iter::from_fn(|| counters.take_noted()).collect();
        taken.sort_by_key(|followed| (followed.service, followed.place));
        taken
    }

    #[test]
    fn what_is_followed_is_listed_once_for_all_that_happens_to_it() {
        let counters = WorkerCounters::new();
        let note = |real| note_count(counters.reals(), counters.real(real), real);
        let followed = |service, place| Followed { service: ServiceId(service), place };
        let (first, last) = (RealId(0), RealId(REAL_IDS as u32 - 1));
        note(first);
        assert!(!counters.has_noted(), "nobody follows it");
        counters.follow(first, followed(0, 0), true);
        counters.follow(last, followed((1 << 24) - 1, 1 << 16), true);
        assert!(!counters.has_noted());
        for _ in 0..3 {
            note(last);
            note(first);
        }
        assert!(counters.has_noted());
        assert_eq!(taken(&counters).len(), 2);
        counters.unfollow(last);
        note(last);
        note(first);
        assert_eq!(taken(&counters), [followed(0, 0)]);
    }

    #[test]
    fn one_that_is_on_the_list_can_be_followed_elsewhere_or_no_more() {
        let counters = WorkerCounters::new();
        let note = |real| note_count(counters.reals(), counters.real(real), real);
        let followed = |place| Followed { service: ServiceId(3), place };
        for id in 0..5 {
            counters.follow(RealId(id), followed(id as usize), id % 4 == 0);
            counters.note(RealId(id));
        }
        counters.unfollow(RealId(2));
        counters.follow(RealId(4), followed(9), false);
        assert_eq!(taken(&counters), [followed(0), followed(1), followed(3), followed(9)]);
        for id in 0..5 {
            note(RealId(id));
        }
        assert_eq!(taken(&counters), [followed(0)], "the others' counts are not followed");
        for id in 0..5 {
            counters.note(RealId(id));
        }
        assert_eq!(taken(&counters), [followed(0), followed(1), followed(3), followed(9)]);
    }
}
