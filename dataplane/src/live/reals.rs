//! Which reals can take new connections now, outside the snapshot: what is measured is no configuration, and must not
//! restart a scheduler as an edit of a weight does.
//!
//! Every worker reads a real's flags when it has picked it. Workers themselves set those that follow from
//! [thresholds](super::limits); health checks are what will set the other one, which until then only tests do.

use super::changes::Changes;
use super::limits::Limits;
use crate::names::ids::{REAL_IDS, RealId};
use std::sync::atomic::{AtomicU8, Ordering};

/// Why a real takes no new connection now, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It does not answer.
    pub unavailable: bool,
    /// It has as many connections as it may have.
    pub overloaded: bool,
}

impl Flags {
    const UNAVAILABLE: u8 = 1;
    const OVERLOADED: u8 = 2;
    /// No reason by itself: its connections are counted over all workers.
    const LIMITED: u8 = 4;
    /// Any reason.
    const ANY: u8 = Self::UNAVAILABLE | Self::OVERLOADED;

    const fn of(bits: u8) -> Self {
        Self { unavailable: bits & Self::UNAVAILABLE != 0, overloaded: bits & Self::OVERLOADED != 0 }
    }
}

/// The flags of all reals.
#[derive(Debug)]
pub struct Reals {
    flags: [AtomicU8; REAL_IDS],
    changes: Changes,
    pub(super) limits: Limits,
}

const _: () = assert!(REAL_IDS.is_power_of_two());

impl Default for Reals {
    /// All usable.
    fn default() -> Self {
        Self {
            flags: [const { AtomicU8::new(0) }; REAL_IDS],
            changes: Changes::default(),
            limits: Limits::default(),
        }
    }
}

impl Reals {
    /// Whether a real takes new connections.
    #[inline(always)]
    pub fn is_usable(&self, id: RealId) -> bool {
        self.flags[id.0 as usize & (REAL_IDS - 1)].load(Ordering::Relaxed) & Flags::ANY == 0
    }

    /// Whether a real takes new connections, and they are not [limited](Self::set_limit).
    #[inline(always)]
    pub fn is_plain(&self, id: RealId) -> bool {
        self.flags[id.0 as usize & (REAL_IDS - 1)].load(Ordering::Relaxed) == 0
    }

    /// The flags of a real.
    pub fn flags(&self, id: RealId) -> Flags {
        Flags::of(self.flags[id.0 as usize & (REAL_IDS - 1)].load(Ordering::Relaxed))
    }

    /// The reals whose flags have changed lately.
    #[inline(always)]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Sets or clears [`Flags::unavailable`]; the next pick heeds it. To be cleared before the id is another real's.
    pub fn set_unavailable(&self, id: RealId, is: bool) {
        self.set(id, Flags::UNAVAILABLE, is);
    }

    /// Sets or clears [`Flags::overloaded`]; the next pick heeds it. To be cleared before the id is another real's.
    pub fn set_overloaded(&self, id: RealId, is: bool) {
        self.set(id, Flags::OVERLOADED, is);
    }

    /// Sets whether its connections are limited.
    pub(super) fn set_limited(&self, id: RealId, is: bool) {
        self.set(id, Flags::LIMITED, is);
    }

    /// One step, so that none undoes what another thread does to the other flag.
    fn set(&self, id: RealId, flag: u8, is: bool) {
        let flags = &self.flags[id.0 as usize & (REAL_IDS - 1)];
        let before = if is {
            flags.fetch_or(flag, Ordering::Relaxed)
        } else {
            flags.fetch_and(!flag, Ordering::Relaxed)
        };
        if (before & flag != 0) != is {
            self.changes.note(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_kept_by_real() {
        let reals = Reals::default();
        let last = RealId(REAL_IDS as u32 - 1);
        for flags in [(false, true), (true, false), (true, true)] {
            reals.set_unavailable(last, flags.0);
            reals.set_overloaded(last, flags.1);
            let flags = Flags { unavailable: flags.0, overloaded: flags.1 };
            assert_eq!((reals.flags(last), reals.is_usable(last)), (flags, false));
            assert!(reals.is_usable(RealId(0)));
        }
        reals.set_unavailable(last, false);
        assert!(!reals.is_usable(last), "the other flag is left alone");
        reals.set_overloaded(last, false);
        assert!(reals.is_usable(last));
    }
}
