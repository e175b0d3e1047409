//! Whether connections are alive: the time, and how long each lives without a packet.

use super::Timeouts;
use crate::names::ids::RealId;
use crate::names::time::Tick;
use std::sync::Arc;

/// What it takes to say whether a connection is alive.
#[derive(Clone, Copy, Debug)]
pub struct Clock<'a> {
    /// The current tick.
    pub tick: Tick,
    timeouts: &'a Timeouts,
    own: &'a OwnTimeouts,
}

impl<'a> Clock<'a> {
    /// Where all reals' connections have the same timeouts.
    pub const fn new(tick: Tick, timeouts: &'a Timeouts) -> Self {
        static NONE: OwnTimeouts = OwnTimeouts::none();
        Self { tick, timeouts, own: &NONE }
    }

    /// Where those of some reals have timeouts of their own.
    #[inline(always)]
    pub const fn with_own(tick: Tick, timeouts: &'a Timeouts, own: &'a OwnTimeouts) -> Self {
        Self { tick, timeouts, own }
    }

    /// Whether no real has timeouts of its own.
    #[inline(always)]
    pub const fn is_one_for_all(self) -> bool {
        self.own.by_real.is_empty()
    }

    /// The timeouts of most reals.
    #[inline(always)]
    pub(super) const fn usual(self) -> &'a Timeouts {
        self.timeouts
    }

    /// The timeouts of a real's connections.
    #[inline(always)]
    pub fn timeouts(self, real: RealId) -> &'a Timeouts {
        self.own.get(real).unwrap_or(self.timeouts)
    }
}

/// The timeouts of those reals whose connections do not have those of all.
#[derive(Clone, Debug, Default)]
pub struct OwnTimeouts {
    /// By real; empty if there are none. So a look-up where there are none is one comparison.
    by_real: Vec<Option<Arc<Timeouts>>>,
    count: usize,
}

impl OwnTimeouts {
    /// All have the same.
    pub const fn none() -> Self {
        Self { by_real: Vec::new(), count: 0 }
    }

    /// Those of a real, if it has any.
    #[inline(always)]
    pub fn get(&self, real: RealId) -> Option<&Timeouts> {
        self.by_real.get(real.0 as usize)?.as_deref()
    }

    /// As [`get`](Self::get), to be shared.
    pub fn get_shared(&self, real: RealId) -> Option<&Arc<Timeouts>> {
        self.by_real.get(real.0 as usize)?.as_ref()
    }

    /// From now on a real's connections have these; `None`: those of all.
    pub fn set(&mut self, real: RealId, timeouts: Option<&Arc<Timeouts>>) {
        let index = real.0 as usize;
        let had = self.get(real).is_some();
        match timeouts {
            None if !had => return,
            None => {
                self.by_real[index] = None;
                self.count -= 1;
            }
            Some(timeouts) => {
                if index >= self.by_real.len() {
                    self.by_real.resize(index + 1, None);
                }
                self.by_real[index] = Some(Arc::clone(timeouts));
                self.count += usize::from(!had);
            }
        }
        if self.count == 0 {
            self.by_real = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::State;

    #[test]
    fn each_real_has_its_own_or_those_of_all() {
        let (all, mut own) = (Timeouts::default(), OwnTimeouts::none());
        let short = Arc::new(all.with(State::Udp, 5));
        let seconds = |own: &OwnTimeouts, real| {
            Clock::with_own(Tick::new(0), &all, own).timeouts(RealId(real)).seconds(State::Udp)
        };
        own.set(RealId(7), None);
        assert!(Clock::with_own(Tick::new(0), &all, &own).is_one_for_all());
        own.set(RealId(7), Some(&short));
        own.set(RealId(7), Some(&short));
        own.set(RealId(3), Some(&short));
        assert_eq!([2, 3, 6, 7, 8].map(|real| seconds(&own, real)), [300, 5, 300, 5, 300]);
        own.set(RealId(7), None);
        own.set(RealId(7), None);
        assert_eq!([3, 7].map(|real| seconds(&own, real)), [5, 300]);
        assert!(!Clock::with_own(Tick::new(0), &all, &own).is_one_for_all());
        own.set(RealId(3), None);
        assert!(Clock::with_own(Tick::new(0), &all, &own).is_one_for_all(), "as if there had never been any");
    }
}
