//! Coarse time of the packet path.

/// A moment on the worker's clock: ticks of a quarter second since an arbitrary start, cut to 24
/// bits (48 days), so that the longest timeout (31 days, as in `ipvsadm --set`) can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(u32);

impl Tick {
    /// Ticks in a second.
    pub const PER_SECOND: u32 = 4;
    /// Bits that a tick is kept in.
    pub const BITS: u32 = 24;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// Takes the low 24 bits of a count of quarter seconds.
    #[inline(always)]
    pub const fn new(quarter_seconds: u64) -> Self {
        Self(quarter_seconds as u32 & Self::MASK)
    }

    /// Ticks that have passed from `earlier` to `self`, across a wrap too.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0) & Self::MASK
    }

    /// The tick that came so many before this one.
    #[inline(always)]
    pub const fn before(self, ticks: u32) -> Self {
        Self::new(self.0.wrapping_sub(ticks) as u64)
    }

    /// The 24 bits.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// What a turn of the worker knows of the time; read once, by whoever calls the turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Nanoseconds since an arbitrary start.
    pub nanoseconds: u64,
}

impl Now {
    /// The coarse tick of this moment.
    #[inline(always)]
    pub const fn tick(self) -> Tick {
        Tick::new(self.nanoseconds / (1_000_000_000 / Tick::PER_SECOND as u64))
    }
}

/// Makes a clock that never goes back of one that may: a time stamp counter does when a virtual machine moves to
/// another host, or where the processors' counters differ. By one step back of a quarter second all connections would
/// be 48 days old, and dead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Onward {
    /// What the other clock said last.
    last: u64,
    /// How far it has gone back in all. That is made up for, rather than waited for: a counter that begins anew would
    /// stop all time, timeouts and rate limits included, for as long as it had run.
    behind: u64,
}

impl Onward {
    /// What time it is when the other clock says `now`.
    #[inline(always)]
    pub fn at(&mut self, now: Now) -> Now {
        if now.nanoseconds < self.last {
            self.make_up_for(self.last - now.nanoseconds);
        }
        self.last = now.nanoseconds;
        Now { nanoseconds: now.nanoseconds.saturating_add(self.behind) }
    }

    #[cold]
    fn make_up_for(&mut self, step_back: u64) {
        self.behind = self.behind.saturating_add(step_back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the other clock says: it stands still at each step back, and else goes as that does.
        #[test]
        fn time_goes_on_from_each_step_back(steps: Vec<i32>, start in 0..u64::from(u32::MAX)) {
            let mut clock = Onward::default();
            let mut other = start;
            let mut before = clock.at(Now { nanoseconds: other }).nanoseconds;
            prop_assert_eq!(before, start);
            for step in steps {
                let next = other.saturating_add_signed(i64::from(step));
                let now = clock.at(Now { nanoseconds: next }).nanoseconds;
                prop_assert_eq!(now - before, next.saturating_sub(other));
                (other, before) = (next, now);
            }
        }
    }
}
