//! Which compiled copy of the two stages runs: one for each direction, processor, and number of prefetches at once.

use super::family::Plain;
use super::probe::prefetch_homes;
use super::staged::{FrameSet, Staged};
use crate::connection::table::Home;
use crate::frame::{Frame, FrameIo, Stage};
use crate::names::direction::Direction;
use crate::names::side::Side;
use crate::snapshot::Snapshot;
use crate::worker::fate::Judged;
use crate::worker::turn::Turn;
use memory::{V3, Work};
use std::marker::PhantomData;

/// Buckets to prefetch back to back, before each group of as many packets: a prefetch that misses the TLB stalls what
/// follows it, but several page walks overlap.
pub(in crate::worker) const PREFETCH_GROUP: usize = 4;
/// As [`PREFETCH_GROUP`], for tables whose page tables miss the cache as well. A core sustains about 24 outstanding
/// misses.
pub(in crate::worker) const PREFETCH_GROUP_IF_HUGE: usize = 16;
/// Buckets of 256 MiB. A host may map them by pages of 4 KiB, whatever pages its guest uses; then the page tables of
/// more buckets do not fit into a core's own cache.
pub const MISSES_PAGE_TABLES: usize = 1 << 22;

/// What the choice of a copy depends on besides the direction.
#[derive(Clone, Copy)]
pub(in crate::worker) struct Level {
    /// Tables of more buckets are huge: see [`MISSES_PAGE_TABLES`].
    pub(in crate::worker) huge: usize,
    /// Whether the code for newer processors runs.
    pub(in crate::worker) v3: Option<V3>,
}

impl Level {
    /// As the processor can.
    pub(in crate::worker) fn detect() -> Self {
        Self { huge: MISSES_PAGE_TABLES, v3: V3::detect() }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// First stage: decodes a burst.
    pub(in crate::worker) fn decode_burst<V: Plain>(&self, burst: &mut Staged<Io::Frame, V>) {
        match self.snapshot.interfaces[burst.arrival.index()].side {
            Side::Vip => self.decode_on_level::<V, Forwards>(burst),
            Side::Dip => self.decode_on_level::<V, Backwards>(burst),
            Side::Both => self.decode_on_level::<V, EitherWay>(burst),
        }
        if self.snapshot.has_reals_elsewhere(burst.arrival) {
            self.find_strangers(burst);
        }
    }

    /// Runs the copy compiled for this processor. The one for newer processors is a function for each direction, which
    /// saves registers.
    #[inline(always)]
    fn decode_on_level<V: Plain, Way: DirectionOf>(&self, burst: &mut Staged<Io::Frame, V>) {
        match self.level.v3 {
            Some(v3) => v3.run(Decoding { turn: self, burst, way: PhantomData::<Way> }),
            None => self.decode_all::<V, Way>(burst),
        }
    }

    /// Second stage: resolves and rewrites a decoded burst, and empties it.
    pub(in crate::worker) fn resolve_burst<V: Plain>(&mut self, burst: &mut Staged<Io::Frame, V>) {
        self.resolve_ahead_of::<V, 0>(&[], burst);
    }

    /// As [`resolve_burst`](Self::resolve_burst), and prefetches in between the buckets of the burst `next`, which
    /// has been decoded.
    pub(in crate::worker) fn resolve_and_prefetch<V: Plain>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        next: &Staged<Io::Frame, V>,
    ) {
        if V::of(&self.flows.tables).buckets() > self.level.huge {
            self.resolve_ahead_of::<V, PREFETCH_GROUP_IF_HUGE>(next.homes(), burst);
        } else {
            self.resolve_ahead_of::<V, PREFETCH_GROUP>(next.homes(), burst);
        }
    }

    /// Prefetches `GROUP` buckets of `next` before every `GROUP` packets; 0: none. `GROUP` is constant because it is
    /// tested inside the loop.
    #[inline(never)]
    fn resolve_ahead_of<V: Plain, const GROUP: usize>(
        &mut self,
        next: &[Home],
        burst: &mut Staged<Io::Frame, V>,
    ) {
        if burst.frames.is_empty() {
            return prefetch_homes(V::of_mut(&mut self.flows.tables).words(), next);
        }
        match self.snapshot.interfaces[burst.arrival.index()].side {
            Side::Vip => self.resolve_on_level::<V, Forwards, GROUP>(next, burst),
            Side::Dip => self.resolve_on_level::<V, Backwards, GROUP>(next, burst),
            Side::Both => self.resolve_on_level::<V, EitherWay, GROUP>(next, burst),
        }
        self.egress.io.ended(Stage::Resolve);
    }

    /// As [`decode_on_level`](Self::decode_on_level).
    #[inline(always)]
    fn resolve_on_level<V: Plain, Way: DirectionOf, const GROUP: usize>(
        &mut self,
        next: &[Home],
        burst: &mut Staged<Io::Frame, V>,
    ) {
        match self.level.v3 {
            Some(v3) => {
                v3.run(Resolving::<'_, '_, _, _, _, GROUP> {
                    turn: self,
                    next,
                    burst,
                    way: PhantomData::<Way>,
                });
            }
            None => self.resolve_all::<V, Way, GROUP>(next, burst),
        }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// As [`decode_on_level`](Self::decode_on_level), for what the second stage leaves.
    #[inline(always)]
    pub(super) fn open_on_level<V: Plain, Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame, V>,
        behind: FrameSet,
    ) -> (FrameSet, Judged) {
        match self.level.v3 {
            Some(v3) => v3.run(Opening { turn: self, burst, behind, way: PhantomData::<Way> }),
            None => self.open_all::<V, Way>(burst, behind),
        }
    }
}

/// [`Turn::decode_all`], for newer processors.
struct Decoding<'a, 'b, Io: FrameIo, V: Plain, Way: DirectionOf> {
    turn: &'a Turn<'b, Io>,
    burst: &'a mut Staged<Io::Frame, V>,
    way: PhantomData<Way>,
}

impl<Io: FrameIo, V: Plain, Way: DirectionOf> Work for Decoding<'_, '_, Io, V, Way> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.turn.decode_all::<V, Way>(self.burst);
    }
}

/// [`Turn::resolve_all`], for newer processors.
struct Resolving<'a, 'b, Io: FrameIo, V: Plain, Way: DirectionOf, const GROUP: usize> {
    turn: &'a mut Turn<'b, Io>,
    next: &'a [Home],
    burst: &'a mut Staged<Io::Frame, V>,
    way: PhantomData<Way>,
}

impl<Io: FrameIo, V: Plain, Way: DirectionOf, const GROUP: usize> Work
    for Resolving<'_, '_, Io, V, Way, GROUP>
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { turn, next, burst, .. } = self;
        turn.resolve_all::<V, Way, GROUP>(next, burst);
    }
}

/// [`Turn::open_all`], for newer processors.
struct Opening<'a, 'b, Io: FrameIo, V: Plain, Way: DirectionOf> {
    turn: &'a mut Turn<'b, Io>,
    burst: &'a mut Staged<Io::Frame, V>,
    behind: FrameSet,
    way: PhantomData<Way>,
}

impl<Io: FrameIo, V: Plain, Way: DirectionOf> Work for Opening<'_, '_, Io, V, Way> {
    type Output = (FrameSet, Judged);

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { turn, burst, behind, .. } = self;
        turn.open_all::<V, Way>(burst, behind)
    }
}

/// Which direction an interface's frames go in. On an interface of one side it is a constant, for which the stages are
/// compiled on their own.
pub(in crate::worker) trait DirectionOf {
    /// Whether it differs from frame to frame.
    const DIFFERS: bool = false;
    /// Of a frame that is being decoded.
    fn of_frame<V: Plain>(snapshot: &Snapshot, frame: &impl Frame) -> Direction;
    /// Of a frame that has been decoded, for which this was noted then.
    fn of(noted: &Direction) -> Direction;
}

/// An interface towards clients.
struct Forwards;
/// An interface towards reals.
struct Backwards;
/// One-arm: what is addressed to us comes from a client, all else from a real.
struct EitherWay;

impl DirectionOf for Forwards {
    #[inline(always)]
    fn of_frame<V: Plain>(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Forward
    }
    #[inline(always)]
    fn of(_: &Direction) -> Direction {
        Direction::Forward
    }
}

impl DirectionOf for Backwards {
    #[inline(always)]
    fn of_frame<V: Plain>(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Reverse
    }
    #[inline(always)]
    fn of(_: &Direction) -> Direction {
        Direction::Reverse
    }
}

impl DirectionOf for EitherWay {
    const DIFFERS: bool = true;
    fn of_frame<V: Plain>(snapshot: &Snapshot, frame: &impl Frame) -> Direction {
        let local = snapshot.local(V::destination(frame.head()).into()).is_some();
        if local { Direction::Forward } else { Direction::Reverse }
    }
    fn of(noted: &Direction) -> Direction {
        *noted
    }
}
