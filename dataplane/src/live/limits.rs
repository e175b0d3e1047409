//! How many connections a real has on all workers together, where that is limited, and whether it takes more.
//!
//! The kernel's rule, in one word for each real, so that no two workers can both take the last place:
//!
//! ```text
//! a connection opens   total + 1; at the upper threshold or above it the real is closed
//! a connection ends    total - 1; below the lower threshold it is open again, or, where that is 0, below three
//!                      quarters of the upper one
//! an edit              raises the upper threshold, or sets it to 0: it is open
//! ```
//!
//! What schedulers look at is the flag [`overloaded`](super::reals::Flags::overloaded), which follows the word.

use super::reals::Reals;
use crate::names::ids::{REAL_IDS, RealId};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reals whose words are allocated together (64 KiB).
const CHUNK: usize = 4096;

/// The words of all reals. Memory is taken by the chunk when one of its reals is first limited.
#[derive(Debug, Default)]
pub(super) struct Limits {
    chunks: [OnceLock<Box<[Limit]>>; REAL_IDS / CHUNK],
    /// The version of the configuration whose thresholds these are.
    version: AtomicU64,
}

/// One real's.
#[derive(Debug, Default)]
struct Limit {
    /// The upper threshold, and the lower one in the upper half; 0: it is not limited.
    rule: AtomicU64,
    /// Connections, and whether it is [closed](CLOSED).
    held: AtomicU64,
}

/// Bit of [`Limit::held`] above the number of connections.
const CLOSED: u64 = 1 << 32;

/// A [rule](Limit::rule).
#[derive(Clone, Copy)]
struct Rule {
    upper: u64,
    lower: u64,
}

impl Rule {
    const fn of(bits: u64) -> Self {
        Self { upper: bits & u32::MAX as u64, lower: bits >> 32 }
    }

    const fn bits(self) -> u64 {
        self.upper | self.lower << 32
    }

    /// Whether a real with so many connections, of which one has just been opened, is closed now.
    const fn closes(self, total: u64) -> bool {
        self.upper != 0 && total >= self.upper
    }

    /// Whether a real with so many connections, after one has ended, is open.
    const fn opens(self, total: u64) -> bool {
        match self {
            Self { lower: 1.., .. } => total < self.lower,
            Self { upper: 1.., .. } => 4 * total < 3 * self.upper,
            _ => true,
        }
    }
}

impl Limit {
    fn rule(&self) -> Rule {
        Rule::of(self.rule.load(Ordering::SeqCst))
    }

    fn is_closed(&self) -> bool {
        self.held.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// One step from what is held to what is held then; `None`: nothing is done.
    fn step(&self, next: impl Fn(u64, bool) -> Option<(u64, bool)>) -> bool {
        let next = |held: u64| {
            let (total, is_closed) = next(held & (CLOSED - 1), held & CLOSED != 0)?;
            Some(total & (CLOSED - 1) | if is_closed { CLOSED } else { 0 })
        };
        self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok()
    }
}

impl Limits {
    fn get(&self, id: RealId) -> Option<&Limit> {
        let index = id.0 as usize & (REAL_IDS - 1);
        self.chunks[index / CHUNK].get()?.get(index % CHUNK)
    }

    fn get_or_take(&self, id: RealId) -> &Limit {
        let index = id.0 as usize & (REAL_IDS - 1);
        let chunk = &self.chunks[index / CHUNK];
        &chunk.get_or_init(|| (0..CHUNK).map(|_| Limit::default()).collect())[index % CHUNK]
    }
}

impl Reals {
    /// Whether the caller is the first that comes to this version of the configuration, and so is to set the limits
    /// that differ from those before.
    pub fn begins(&self, version: u64) -> bool {
        self.limits.version.fetch_max(version, Ordering::SeqCst) < version
    }

    /// From now on a real's connections are limited by these thresholds; an upper one of 0: they are not.
    pub fn set_limit(&self, id: RealId, upper: u32, lower: u32) {
        let rule = Rule { upper: upper.into(), lower: lower.into() };
        if rule.upper == 0 && self.limits.get(id).is_none() {
            return;
        }
        let limit = self.limits.get_or_take(id);
        let before = Rule::of(limit.rule.swap(rule.bits(), Ordering::SeqCst));
        if rule.upper == 0 || rule.upper > before.upper {
            limit.step(|total, _| Some((total, false)));
        }
        self.set_limited(id, rule.upper != 0);
        self.follow(id, limit);
    }

    /// Takes a place for a connection that is to be opened; false: the real takes no more.
    pub fn admit(&self, id: RealId) -> bool {
        let Some(limit) = self.limits.get(id) else { return true };
        let rule = limit.rule();
        let admitted =
            limit.step(|total, is_closed| (!is_closed).then_some((total + 1, rule.closes(total + 1))));
        self.follow(id, limit);
        admitted
    }

    /// Connections have been opened without asking whether they may be.
    pub fn add_connections(&self, id: RealId, count: u32) {
        let Some(limit) = self.limits.get(id) else { return };
        let rule = limit.rule();
        limit.step(|total, is_closed| {
            let total = total + u64::from(count);
            Some((total, is_closed || rule.closes(total)))
        });
        self.follow(id, limit);
    }

    /// Connections count from now on that have been there before; whether the real is closed stays as it is.
    pub fn join_connections(&self, id: RealId, count: u32) {
        let Some(limit) = self.limits.get(id) else { return };
        limit.step(|total, is_closed| Some((total + u64::from(count), is_closed)));
    }

    /// Connections have ended.
    pub fn take_connections(&self, id: RealId, count: u32) {
        let Some(limit) = self.limits.get(id) else { return };
        let rule = limit.rule();
        limit.step(|total, is_closed| {
            let total = total.saturating_sub(count.into());
            Some((total, is_closed && !rule.opens(total)))
        });
        self.follow(id, limit);
    }

    /// Connections of a real on all workers, as far as it is limited; 0: it is not.
    pub fn limited_connections(&self, id: RealId) -> u32 {
        self.limits.get(id).map_or(0, |limit| (limit.held.load(Ordering::SeqCst) & (CLOSED - 1)) as u32)
    }

    /// Has the flag follow the word. Whoever changes the word comes here after that, and the last of them leaves the
    /// flag as the word is.
    fn follow(&self, id: RealId, limit: &Limit) {
        loop {
            let is_closed = limit.is_closed();
            if self.flags(id).overloaded != is_closed {
                self.set_overloaded(id, is_closed);
            }
            if limit.is_closed() == is_closed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REAL: RealId = RealId(REAL_IDS as u32 - 1);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Open,
        Force,
        End,
        Limit(u32, u32),
    }

    /// The kernel's `ip_vs_bind_dest`, `ip_vs_unbind_dest` and `__ip_vs_update_dest`, from their description.
    #[derive(Default)]
    struct Kernel {
        total: u32,
        upper: u32,
        lower: u32,
        overloaded: bool,
    }

    impl Kernel {
        fn opened(&mut self) {
            self.total += 1;
            self.overloaded |= self.upper != 0 && self.total >= self.upper;
        }

        fn ended(&mut self) {
            self.total -= 1;
            let reopens = if self.lower != 0 {
                self.total < self.lower
            } else {
                self.upper == 0 || self.total * 4 < self.upper * 3
            };
            self.overloaded &= !reopens;
        }

        fn edited(&mut self, upper: u32, lower: u32) {
            self.overloaded &= upper != 0 && upper <= self.upper;
            (self.upper, self.lower) = (upper, lower);
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let limit = (0..7u32, 0..7u32).prop_map(|(upper, lower)| Step::Limit(upper, lower.min(upper)));
        let step =
            prop_oneof![4 => Just(Step::Open), 1 => Just(Step::Force), 4 => Just(Step::End), 1 => limit];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn a_real_is_closed_and_opened_by_the_kernels_rule(first in (1..7u32, 0..3u32), steps in steps()) {
            let (reals, mut kernel) = (Box::<Reals>::default(), Kernel::default());
            let (upper, lower) = (first.0, first.1.min(first.0));
            reals.set_limit(REAL, upper, lower);
            kernel.edited(upper, lower);
            for step in steps {
                match step {
                    Step::Open => {
                        prop_assert_eq!(reals.admit(REAL), !kernel.overloaded);
                        if !kernel.overloaded {
                            kernel.opened();
                        }
                    }
                    Step::Force => {
                        reals.add_connections(REAL, 1);
                        kernel.opened();
                    }
                    Step::End if kernel.total > 0 => {
                        reals.take_connections(REAL, 1);
                        kernel.ended();
                    }
                    Step::End => {}
                    Step::Limit(upper, lower) => {
                        reals.set_limit(REAL, upper, lower);
                        kernel.edited(upper, lower);
                    }
                }
                prop_assert_eq!(reals.limited_connections(REAL), kernel.total);
                prop_assert_eq!(reals.flags(REAL).overloaded, kernel.overloaded);
                prop_assert_eq!(reals.is_plain(REAL), kernel.upper == 0 && !kernel.overloaded);
                prop_assert!(!reals.flags(RealId(0)).overloaded);
            }
        }
    }

    #[test]
    fn of_many_threads_no_two_take_the_last_place_and_the_flag_ends_true() {
        const UPPER: u32 = 5;
        let reals = Box::<Reals>::default();
        reals.set_limit(REAL, UPPER, 0);
        let held = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut own = 0;
                    for round in 0..20_000u32 {
                        if reals.admit(REAL) {
                            own += 1;
                            assert!(held.fetch_add(1, Ordering::SeqCst) < UPPER);
                        }
                        if own > 0 && round % 3 != 0 {
                            own -= 1;
                            held.fetch_sub(1, Ordering::SeqCst);
                            reals.take_connections(REAL, 1);
                        }
                    }
                    held.fetch_sub(own, Ordering::SeqCst);
                    reals.take_connections(REAL, own);
                });
            }
        });
        assert_eq!((reals.limited_connections(REAL), reals.flags(REAL).overloaded), (0, false));
        assert_eq!((0..9).filter(|_| reals.admit(REAL)).count() as u32, UPPER);
    }

    #[test]
    fn only_the_first_that_comes_to_a_version_sets_its_limits() {
        let reals = Box::<Reals>::default();
        assert!(reals.begins(1) && !reals.begins(1) && reals.begins(3) && !reals.begins(2));
    }
}
