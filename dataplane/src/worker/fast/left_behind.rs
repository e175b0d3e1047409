//! What the loop over a burst leaves: each frame opens a connection, or takes the slow path, and all leave in order of
//! arrival.

use super::dispatch::DirectionOf;
use super::family::Plain;
use super::staged::{Decoded, FrameSet, Staged};
use crate::frame::{BURST, Frame, FrameIo};
use crate::worker::fate::{Fate, Judged};
use crate::worker::turn::Turn;

impl<Io: FrameIo> Turn<'_, Io> {
    /// The frames of a burst from `done` on, of which the first has just failed to take the fast path, or some
    /// may not; then sends all.
    #[inline(never)]
    pub(super) fn resolve_rest<V: Plain, Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        done: usize,
    ) {
        let failed = (burst.others == 0).then_some(done);
        let mut behind = LeftBehind::default();
        let tick = self.now.tick();
        for index in done..burst.frames.len() {
            let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
            let Decoded { key, probed, length, direction, .. } = decoded;
            let frame = &mut burst.frames[index];
            if burst.others >> index & 1 != 0 {
                behind.add_other(index, &decoded, frame);
            } else if !probed.is_nowhere()
                && failed != Some(index)
                && !behind.includes(&decoded)
                && let Some(out) = self
                    .fast()
                    .path::<V>(tick)
                    .forward(frame, key, probed, &length, direction)
                    .or_else(|| self.fast().forward_elsewhere(frame, &decoded))
            {
                burst.outs[index] = out;
            } else {
                behind.add(index, &decoded);
            }
        }
        self.send_in_parts::<V, Way>(burst, behind.frames);
    }

    /// Opens connections for the frames of a burst that are `behind`, and sends all of it. From the first that opens
    /// none, what is left goes one by one.
    #[inline(never)]
    pub(super) fn send_in_parts<V: Plain, Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        behind: FrameSet,
    ) {
        burst.opened = behind.count_ones() as usize >= BURST / 2;
        if self.flows.is_inheriting() {
            self.inherit_of_burst(burst, behind);
        }
        let (behind, stopped) = self.open_on_level::<V, Way>(burst, behind);
        if behind == 0
            && let Some(out) = burst.only_out()
        {
            return self.egress.push_burst(out, &mut burst.frames);
        }
        self.send_one_by_one::<V, Way>(burst, behind, stopped);
    }

    /// Opens connections for the frames of a burst that are `behind`, until one comes that opens none. Returns which
    /// are left, and what has become of the first of these.
    #[inline(always)]
    pub(super) fn open_all<V: Plain, Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        mut behind: FrameSet,
    ) -> (FrameSet, Judged) {
        let tick = self.now.tick();
        let mut fast = self.fast();
        while behind != 0 {
            let index = behind.trailing_zeros() as usize % BURST;
            if burst.others >> index & 1 != 0 {
                break; // nothing in it to open a connection by
            }
            let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
            match fast.open(&mut burst.frames[index], &decoded, burst.arrival, tick) {
                Ok(Fate::Sent(out)) => burst.outs[index] = out,
                judged => return (behind, judged),
            }
            behind &= behind - 1;
        }
        (behind, Ok(Fate::Slow))
    }

    /// Sends a burst in order of arrival, of which the frames that are `behind` have not been resolved; `first` has
    /// become of the first of these.
    fn send_one_by_one<V: Plain, Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        behind: FrameSet,
        first: Judged,
    ) {
        let tried = behind.trailing_zeros() as usize;
        for (index, mut frame) in std::mem::take(&mut burst.frames).into_iter().enumerate() {
            let plain = burst.others >> index & 1 == 0;
            let judged = if behind >> index & 1 == 0 {
                Ok(Fate::Sent(burst.outs[index]))
            } else if index == tried {
                first
            } else if plain {
                let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
                let tick = self.now.tick();
                self.fast().open_one(&mut frame, &decoded, burst.arrival, tick)
            } else {
                Ok(Fate::Slow)
            };
            let judged = match judged {
                Ok(Fate::Slow) if plain && self.flows.one_packet.is_some() => {
                    let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
                    self.fast().one_packet(&mut frame, &decoded, burst.arrival)
                }
                judged => judged,
            };
            match judged {
                Ok(Fate::Slow) => self.walk_slow(frame, burst.arrival),
                Ok(Fate::SlowTo(real)) => self.walk_slow_to(frame, burst.arrival, Some(real)),
                judged => self.egress.dispose(frame, judged),
            }
        }
    }
}

/// The frames of a burst that have left the fast path, and their connections as a set of bits of their
/// home buckets: what follows on them leaves it too, so that nothing is overtaken. A false hit costs
/// that packet some time.
#[derive(Default)]
struct LeftBehind {
    frames: FrameSet,
    homes: u64,
}

impl LeftBehind {
    #[inline(always)]
    fn includes<V: Plain>(&self, decoded: &Decoded<V>) -> bool {
        self.homes >> decoded.home.low_bits() & 1 != 0
    }

    #[inline(always)]
    fn add<V: Plain>(&mut self, index: usize, decoded: &Decoded<V>) {
        self.frames |= 1 << index;
        self.homes |= 1 << decoded.home.low_bits();
    }

    /// A frame that is not plain.
    #[cold]
    #[inline(never)]
    fn add_other<V: Plain>(&mut self, index: usize, decoded: &Decoded<V>, frame: &impl Frame) {
        self.frames |= 1 << index;
        self.homes |= V::homes_of_other(frame.head(), decoded.home);
    }
}
