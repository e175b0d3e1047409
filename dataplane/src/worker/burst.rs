//! A burst's two stages: decoding all of it, and, a burst later, resolving and rewriting it.

use super::Handler;
use super::decode::{self, Decoded, Expected, decode};
use super::exception::Context;
use crate::connection::Direction;
use crate::frame::{BURST, Frame, FrameIo, Stage};
use crate::ids::PortIndex;
use crate::snapshot::{Side, Snapshot};
use crate::time::Now;
use crate::verdict::Verdict;
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;

/// A burst between its two stages: in whole cache lines, for it is written with every burst.
#[repr(align(128))]
pub(super) struct Staged<F> {
    pub(super) port: PortIndex,
    pub(super) frames: ArrayVec<F, BURST>,
    /// Those that may take the fast path.
    plain: FrameSet,
    decoded: [Decoded; BURST],
    /// Where those leave that took it.
    outs: [PortIndex; BURST],
}

impl<F> Default for Staged<F> {
    fn default() -> Self {
        Self {
            port: 0,
            frames: ArrayVec::new(),
            plain: 0,
            decoded: [Decoded::default(); BURST],
            outs: [0; BURST],
        }
    }
}

impl<Io: FrameIo> Handler<Io> {
    /// First stage: decodes a burst and prefetches its buckets.
    pub(super) fn decode_burst(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        match snapshot.ports[usize::from(burst.port)].side {
            Side::Vip => self.decode_all::<Forwards>(burst, snapshot),
            Side::Dip => self.decode_all::<Backwards>(burst, snapshot),
            Side::Both => self.decode_all::<EitherWay>(burst, snapshot),
        }
    }

    /// Second stage: resolves and rewrites a decoded burst, and empties it.
    pub(super) fn resolve_burst(&mut self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot, now: Now) {
        if burst.frames.is_empty() {
            return;
        }
        match snapshot.ports[usize::from(burst.port)].side {
            Side::Vip => self.resolve_all::<Forwards>(burst, snapshot, now),
            Side::Dip => self.resolve_all::<Backwards>(burst, snapshot, now),
            Side::Both => self.resolve_all::<EitherWay>(burst, snapshot, now),
        }
        self.io.ended(Stage::Resolve);
    }

    #[inline(always)]
    fn decode_all<Way: DirectionOf>(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        let expected = Expected::new(snapshot.mac_bits(burst.port), snapshot.smallest_mtu);
        let mut plain = 0;
        for (index, (frame, place)) in burst.frames.iter().zip(&mut burst.decoded).enumerate() {
            let (mut decoded, is_plain) = decode(frame, Way::of_frame(snapshot, frame), expected);
            decoded.home = self.table.prefetch_home(decoded.key);
            *place = decoded;
            plain |= FrameSet::from(is_plain) << index;
        }
        burst.plain = plain;
    }

    /// What is not plain TCP or UDP of a known connection is handled after the rest, in order of
    /// arrival.
    #[inline(always)]
    fn resolve_all<Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let tick = now.tick();
        // Short, so that many of the lines which are still on their way are waited for at once.
        for decoded in &mut burst.decoded[..burst.frames.len()] {
            decoded.probed = self.table.probe(decoded.home, decoded.key);
        }
        let mut behind = Behind::default();
        let mut ports: u16 = 0;
        let mut path = self.path(snapshot, tick);
        let stages = burst.frames.iter_mut().zip(&burst.decoded).zip(&mut burst.outs);
        for (index, ((frame, decoded), out)) in stages.enumerate() {
            let direction = Way::of_decoded(decoded);
            if burst.plain >> index & 1 != 0
                && !behind.includes(decoded)
                && let Some(port) = path.forward(frame, decoded, direction)
            {
                *out = port;
                ports |= 1 << port;
            } else {
                behind.add(index, decoded, frame);
            }
        }
        if behind.frames == 0 && ports.is_power_of_two() {
            let port = ports.trailing_zeros() as PortIndex;
            self.outgoing.push_burst(&mut self.io, port, &mut burst.frames, &self.counters);
        } else {
            self.part_burst(burst, behind.frames, snapshot, now);
        }
    }

    /// Sends the frames of a burst, but for those of `others`, which are handled one by one.
    #[inline(never)]
    fn part_burst(&mut self, burst: &mut Staged<Io::Frame>, others: FrameSet, snapshot: &Snapshot, now: Now) {
        let mut exceptions: ArrayVec<(Io::Frame, Decoded), BURST> = ArrayVec::new();
        let decoded = burst.decoded.iter().zip(&burst.outs);
        for (index, (frame, (decoded, out))) in burst.frames.drain(..).zip(decoded).enumerate() {
            if others >> index & 1 == 0 {
                self.outgoing.push(&mut self.io, *out, frame, &self.counters);
            } else {
                // A frame that is not plain has nothing to be opened by.
                let plain = burst.plain >> index & 1 != 0;
                exceptions.push((frame, if plain { *decoded } else { Decoded::default() }));
            }
        }
        for (mut frame, decoded) in exceptions {
            match self.open(&mut frame, decoded, Context { snapshot, port: burst.port, now }) {
                Ok(Some(out)) => self.outgoing.push(&mut self.io, out, frame, &self.counters),
                Ok(None) => self.exception(burst.port, frame, snapshot, now),
                Err(reason) => self.conclude(Verdict::Drop(reason), frame),
            }
        }
    }
}

/// A set of a burst's frames: bit `i` for the frame at `i`.
type FrameSet = u32;

/// The frames of a burst that have left the fast path, and their connections as a set of bits of their
/// home buckets: what follows on them leaves it too, so that nothing is overtaken. A false hit costs
/// that packet some time.
#[derive(Default)]
struct Behind {
    frames: FrameSet,
    homes: u64,
}

impl Behind {
    #[inline(always)]
    fn includes(&self, decoded: &Decoded) -> bool {
        self.homes >> decoded.home.low_bits() & 1 != 0
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, index: usize, decoded: &Decoded, frame: &impl Frame) {
        self.frames |= 1 << index;
        let head = frame.head();
        if head[decode::at::ETHER_TYPE..decode::at::IPV4] != [8, 0] {
            return;
        }
        // With options the ports were read in the wrong place: then all that follow go the same way.
        let has_options = head[decode::at::IPV4] != 0x45;
        self.homes |= if has_options { u64::MAX } else { 1 << decoded.home.low_bits() };
    }
}

/// How the direction of a port's frames is told. On a port of one side it is a constant, for which
/// the stages are compiled on their own.
trait DirectionOf {
    fn of_frame(snapshot: &Snapshot, frame: &impl Frame) -> Direction;
    fn of_decoded(decoded: &Decoded) -> Direction;
}

/// A port towards clients.
struct Forwards;
/// A port towards reals.
struct Backwards;
/// One-arm: what is addressed to us comes from a client, all else from a real.
struct EitherWay;

impl DirectionOf for Forwards {
    #[inline(always)]
    fn of_frame(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Forward
    }
    #[inline(always)]
    fn of_decoded(_: &Decoded) -> Direction {
        Direction::Forward
    }
}

impl DirectionOf for Backwards {
    #[inline(always)]
    fn of_frame(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Reverse
    }
    #[inline(always)]
    fn of_decoded(_: &Decoded) -> Direction {
        Direction::Reverse
    }
}

impl DirectionOf for EitherWay {
    fn of_frame(snapshot: &Snapshot, frame: &impl Frame) -> Direction {
        let at = decode::at::DESTINATION;
        let octets: &[u8; 4] = frame.head()[at..].first_chunk().expect("within the head");
        let local = snapshot.local(Ipv4Addr::from(*octets)).is_some();
        if local { Direction::Forward } else { Direction::Reverse }
    }
    fn of_decoded(decoded: &Decoded) -> Direction {
        decoded.direction
    }
}
