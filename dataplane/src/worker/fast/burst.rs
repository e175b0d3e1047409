//! A burst's two stages: decoding all of it, and, a burst later or at once, resolving and rewriting it.

use crate::connection::table::{ClientKey, Home, Table, Words};
use crate::frame::{BURST, Frame, FrameIo, Stage};
use crate::names::direction::Direction;
use crate::names::ids::InterfaceId;
use crate::names::side::Side;
use crate::names::time::{Now, Tick};
use crate::names::verdict::Verdict;
use crate::snapshot::Snapshot;
use crate::wire::link;
use crate::worker::Handler;
use crate::worker::fast::decode::{
    self, Decoded, Expected, Faults, LEAST_TCP, decode, has_partial_checksum, has_wrong_header,
    have_plain_lengths, is_plain, length_of,
};
use crate::worker::fast::open::Opened;
use crate::worker::fast::staged::{FrameSet, Staged};
use crate::worker::slow::packet::Context;
use memory::Work;
use std::marker::PhantomData;
use std::net::IpAddr;

/// Buckets that are prefetched one right after the other, before each so many packets. A prefetch whose page's
/// translation is not at hand holds up all that comes after it until that has been found, which takes a while; searches
/// for several run at once.
pub const TOGETHER: usize = 4;
/// The same of a vast table, where it takes longer, for the page tables are not at hand either. With more than these
/// the lines wait for each other: a core has some 24 misses open.
pub const TOGETHER_IF_VAST: usize = 16;

impl<Io: FrameIo> Handler<Io> {
    /// First stage: decodes a burst.
    pub(in crate::worker) fn decode_burst(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        match snapshot.interfaces[burst.port.index()].side {
            Side::Vip => self.decode_on_level::<Forwards>(burst, snapshot),
            Side::Dip => self.decode_on_level::<Backwards>(burst, snapshot),
            Side::Both => self.decode_on_level::<EitherWay>(burst, snapshot),
        }
        if snapshot.has_reals_elsewhere(burst.port) {
            burst.others |= strangers(&burst.frames, burst.port, snapshot);
        }
    }

    /// As the processor can. For newer ones each direction has a function of its own: what another needs takes no
    /// registers.
    #[inline(always)]
    fn decode_on_level<Way: DirectionOf>(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        match self.v3 {
            Some(v3) => v3.run(Decoding { handler: self, burst, snapshot, way: PhantomData::<Way> }),
            None => self.decode_all::<Way>(burst, snapshot),
        }
    }

    /// Second stage: resolves and rewrites a decoded burst, and empties it.
    pub(in crate::worker) fn resolve_burst(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        self.resolve_ahead_of::<0>(&[], burst, snapshot, now);
    }

    /// The same, and prefetches meanwhile the buckets of the burst `next`, which has been decoded.
    pub(in crate::worker) fn resolve_and_prefetch(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        next: &Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        if self.table.buckets() > self.vast {
            self.resolve_ahead_of::<TOGETHER_IF_VAST>(next.homes(), burst, snapshot, now);
        } else {
            self.resolve_ahead_of::<TOGETHER>(next.homes(), burst, snapshot, now);
        }
    }

    /// So many of `next` are prefetched before each so many packets, none if it is 0. A copy for each, for it is in the
    /// loop over the burst.
    #[inline(never)]
    fn resolve_ahead_of<const GROUP: usize>(
        &mut self,
        next: &[Home],
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        if burst.frames.is_empty() {
            return prefetch_homes(self.table.words(), next);
        }
        match snapshot.interfaces[burst.port.index()].side {
            Side::Vip => self.resolve_on_level::<Forwards, GROUP>(next, burst, snapshot, now),
            Side::Dip => self.resolve_on_level::<Backwards, GROUP>(next, burst, snapshot, now),
            Side::Both => self.resolve_on_level::<EitherWay, GROUP>(next, burst, snapshot, now),
        }
        self.io.ended(Stage::Resolve);
    }

    /// As [`decode_on_level`](Self::decode_on_level).
    #[inline(always)]
    fn resolve_on_level<Way: DirectionOf, const GROUP: usize>(
        &mut self,
        next: &[Home],
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        match self.v3 {
            Some(v3) => {
                let way = PhantomData::<Way>;
                v3.run(Resolving::<'_, _, _, GROUP> { handler: self, next, burst, snapshot, now, way });
            }
            None => self.resolve_all::<Way, GROUP>(next, burst, snapshot, now),
        }
    }

    #[inline(always)]
    fn decode_all<Way: DirectionOf>(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot) {
        // Two loops, for the table is nearly always at rest.
        if self.table.is_between_sizes() {
            self.decode_each::<Way>(burst, snapshot, Table::home_of);
        } else {
            self.decode_each::<Way>(burst, snapshot, Table::home_at_rest);
        }
    }

    #[inline(always)]
    fn decode_each<Way: DirectionOf>(
        &self,
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        home_of: impl Fn(&Table, ClientKey) -> Home,
    ) {
        let expected = Expected::new(snapshot.mac_bits(burst.port), snapshot.smallest_mtu);
        let mut faults = Faults::none();
        let Staged { frames, keys, homes, lengths, frame_lengths, directions, .. } = &mut *burst;
        // Said to be no more than they are, so that no index below is compared with a length.
        let count = frames.len().min(BURST);
        let frames = &frames[..count];
        for index in 0..count {
            let frame = &frames[index];
            let (direction, length) = (Way::of_frame(snapshot, frame), length_of(frame));
            let decoded = decode(frame, direction, expected, &mut faults);
            keys[index] = decoded.key;
            homes[index] = home_of(&self.table, decoded.key);
            lengths[index] = decoded.length;
            frame_lengths[index] = length;
            if Way::DIFFERS {
                directions[index] = direction;
            }
        }
        let (frames, totals) = (&burst.frame_lengths[..count], &burst.lengths[..count]);
        let are_plain = faults.is_none() && have_plain_lengths(frames, totals, LEAST_TCP, expected);
        burst.others = 0;
        if !are_plain && self.decode_mended(burst, snapshot, expected) {
            return;
        }
        if count < BURST {
            self.examine(burst);
        }
    }

    /// For a burst with frames that are not plain: mends those that have tags or trailers, and decodes it again if
    /// there were such; else tells which are not plain, and returns false. Out of line, for most bursts have none.
    #[cold]
    #[inline(never)]
    fn decode_mended(&self, burst: &mut Staged<Io::Frame>, snapshot: &Snapshot, expected: Expected) -> bool {
        let mended = burst.frames.iter_mut().fold(false, |mended, frame| link::mend(frame) | mended);
        if mended {
            self.decode_burst(burst, snapshot); // nothing is left to mend
        } else {
            burst.others = others(&burst.frames, expected);
        }
        mended
    }

    /// Looks at what a worker has no time for under full load, the frames of a burst that is not full: a wrong
    /// header checksum, where the device does not look for it, and a transport checksum that was left to a device.
    #[inline(never)]
    fn examine(&self, burst: &mut Staged<Io::Frame>) {
        let counters = &self.counters;
        let port = burst.port.index();
        let (mut examined, mut partial) = (0, 0);
        for (index, frame) in burst.frames.iter().enumerate() {
            if burst.others >> index & 1 != 0 {
                continue;
            }
            if has_wrong_header(frame) {
                burst.others |= 1 << index;
                continue;
            }
            examined += 1;
            partial += u64::from(has_partial_checksum(frame.head(), burst.lengths[index]));
        }
        counters.checksums_examined[port].add(examined);
        counters.partial_checksums[port].add(partial);
    }

    /// What is not plain TCP or UDP of a known connection is resolved after the rest; all leave in order of
    /// arrival.
    #[inline(always)]
    fn resolve_all<Way: DirectionOf, const GROUP: usize>(
        &mut self,
        next: &[Home],
        burst: &mut Staged<Io::Frame>,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let tick = now.tick();
        let mut groups = next.chunks_exact(GROUP.max(1));
        if burst.opened {
            if self.probe_openings(burst) {
                prefetch_homes(self.table.words(), next);
                let all = FrameSet::MAX >> (BURST - burst.frames.len());
                return self.part_burst::<Way>(burst, all, snapshot, now);
            }
        } else {
            self.probe_all(burst);
        }
        let (mut done, count) = (0, burst.frames.len().min(BURST));
        while burst.others == 0 && done < count {
            let path = self.path(snapshot, tick);
            let Staged { frames, keys, probed, lengths, directions, outs, .. } = &mut *burst;
            let frames = &mut frames[..count];
            while done < count {
                if GROUP > 0
                    && done % GROUP == 0
                    && let Some(group) = groups.next()
                {
                    prefetch_homes(path.words(), group);
                }
                let direction = Way::of(&directions[done]);
                let out =
                    path.forward(&mut frames[done], keys[done], probed[done], &lengths[done], direction);
                let Some(out) = out else { break };
                outs[done] = out;
                done += 1;
            }
            if done < count {
                let Some(out) = self.forward_one_elsewhere::<Way>(burst, done, snapshot, tick) else { break };
                burst.outs[done] = out;
                done += 1;
            }
        }
        let rest = groups.remainder();
        groups.chain([rest]).for_each(|group| prefetch_homes(self.table.words(), group));
        if done == burst.frames.len()
            && let Some(port) = burst.only_port()
        {
            burst.opened = false;
            self.outgoing.push_burst(&mut self.io, port, &mut burst.frames, &self.counters);
        } else {
            self.resolve_rest::<Way>(burst, done, snapshot, now);
        }
    }

    /// [`forward_elsewhere`](Self::forward_elsewhere) for one of a burst's frames.
    #[cold]
    #[inline(never)]
    fn forward_one_elsewhere<Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        index: usize,
        snapshot: &Snapshot,
        tick: Tick,
    ) -> Option<InterfaceId> {
        let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
        self.forward_elsewhere(&mut burst.frames[index], &decoded, snapshot, tick)
    }

    #[inline(always)]
    fn probe_all(&self, burst: &mut Staged<Io::Frame>) {
        // Short, so that many of the lines which are still on their way are waited for at once.
        let homes = self.table.homes();
        for index in 0..burst.frames.len().min(BURST) {
            burst.probed[index] = homes.probe(burst.homes[index], &burst.keys[index]);
        }
    }

    /// The same where connections are likely to be opened. Whether there is none yet for any of the frames, and all
    /// are plain.
    #[inline(never)]
    fn probe_openings(&self, burst: &mut Staged<Io::Frame>) -> bool {
        let homes = self.table.homes();
        let mut all = burst.others == 0;
        for index in 0..burst.frames.len().min(BURST) {
            burst.probed[index] = homes.probe_new(burst.homes[index], &burst.keys[index]);
            all &= burst.probed[index].is_nowhere();
        }
        all
    }

    /// The frames of a burst from `done` on, of which the first has just failed to take the fast path, or some
    /// may not; then sends all.
    #[inline(never)]
    fn resolve_rest<Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        done: usize,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let failed = (burst.others == 0).then_some(done);
        let mut behind = Behind::default();
        let tick = now.tick();
        for index in done..burst.frames.len() {
            let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
            let Decoded { key, probed, length, direction, .. } = decoded;
            let frame = &mut burst.frames[index];
            if burst.others >> index & 1 != 0 {
                behind.add_other(index, &decoded, frame);
            } else if !decoded.probed.is_nowhere()
                && failed != Some(index)
                && !behind.includes(&decoded)
                && let Some(port) = self
                    .path(snapshot, tick)
                    .forward(frame, key, probed, &length, direction)
                    .or_else(|| self.forward_elsewhere(frame, &decoded, snapshot, tick))
            {
                burst.outs[index] = port;
            } else {
                behind.add(index, &decoded);
            }
        }
        self.part_burst::<Way>(burst, behind.frames, snapshot, now);
    }

    /// Opens connections for the frames of a burst that are `behind`, and sends all of it. From the first that opens
    /// none, what is left goes one by one.
    #[inline(never)]
    fn part_burst<Way: DirectionOf>(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        mut behind: FrameSet,
        snapshot: &Snapshot,
        now: Now,
    ) {
        let (context, tick) = (Context { snapshot, port: burst.port, now }, now.tick());
        // What opens a connection stays where it is, until one comes that does not.
        let mut refused = None;
        burst.opened = behind.count_ones() as usize >= BURST / 2;
        while behind != 0 {
            let index = behind.trailing_zeros() as usize % BURST;
            if burst.others >> index & 1 != 0 {
                break; // nothing in it to open a connection by
            }
            let decoded = burst.decoded(index, Way::of(&burst.directions[index]));
            match self.open(&mut burst.frames[index], &decoded, &context, tick) {
                Opened::Leaves(out) => burst.outs[index] = out,
                Opened::Exception => break,
                Opened::Refused(reason) => {
                    refused = Some(reason);
                    break;
                }
            }
            behind &= behind - 1;
        }
        if behind == 0
            && let Some(port) = burst.only_port()
        {
            return self.outgoing.push_burst(&mut self.io, port, &mut burst.frames, &self.counters);
        }
        // From there on one by one, in order of arrival.
        let first = behind.trailing_zeros() as usize;
        for (index, mut frame) in std::mem::take(&mut burst.frames).into_iter().enumerate() {
            let plain = burst.others >> index & 1 == 0;
            let opened = if behind >> index & 1 == 0 {
                Opened::Leaves(burst.outs[index])
            } else if index == first {
                refused.map_or(Opened::Exception, Opened::Refused) // it has been tried
            } else if plain {
                self.open_one(
                    &mut frame,
                    &burst.decoded(index, Way::of(&burst.directions[index])),
                    &context,
                    tick,
                )
            } else {
                Opened::Exception
            };
            match opened {
                Opened::Leaves(out) => self.outgoing.push(&mut self.io, out, frame, &self.counters),
                Opened::Exception => self.exception(burst.port, frame, snapshot, now),
                Opened::Refused(reason) => self.conclude(Verdict::Drop(reason), frame),
            }
        }
    }

    /// Out of line, where a packet more or less does not count.
    #[inline(never)]
    fn open_one(
        &mut self,
        frame: &mut Io::Frame,
        decoded: &Decoded,
        context: &Context<'_>,
        tick: Tick,
    ) -> Opened {
        self.open(frame, decoded, context, tick)
    }
}

/// [`Handler::decode_all`], for newer processors.
struct Decoding<'a, Io: FrameIo, Way: DirectionOf> {
    handler: &'a Handler<Io>,
    burst: &'a mut Staged<Io::Frame>,
    snapshot: &'a Snapshot,
    way: PhantomData<Way>,
}

impl<Io: FrameIo, Way: DirectionOf> Work for Decoding<'_, Io, Way> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.handler.decode_all::<Way>(self.burst, self.snapshot);
    }
}

/// [`Handler::resolve_all`], for newer processors.
struct Resolving<'a, Io: FrameIo, Way: DirectionOf, const GROUP: usize> {
    handler: &'a mut Handler<Io>,
    next: &'a [Home],
    burst: &'a mut Staged<Io::Frame>,
    snapshot: &'a Snapshot,
    now: Now,
    way: PhantomData<Way>,
}

impl<Io: FrameIo, Way: DirectionOf, const GROUP: usize> Work for Resolving<'_, Io, Way, GROUP> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { handler, next, burst, snapshot, now, .. } = self;
        handler.resolve_all::<Way, GROUP>(next, burst, snapshot, now);
    }
}

/// Brings buckets close.
#[inline(always)]
fn prefetch_homes(words: Words<'_>, homes: &[Home]) {
    for home in homes {
        words.prefetch(*home);
    }
}

/// Which frames are not plain. Out of line, for most bursts have none.
#[inline(never)]
fn others(frames: &[impl Frame], expected: Expected) -> FrameSet {
    let is_other = |frame| FrameSet::from(!is_plain(frame, expected));
    frames.iter().enumerate().fold(0, |set, (index, frame)| set | is_other(frame) << index)
}

/// Which frames come from an address that belongs on another port. Out of line, for it is asked only where reals are
/// behind several ports.
#[cold]
#[inline(never)]
fn strangers(frames: &[impl Frame], port: InterfaceId, snapshot: &Snapshot) -> FrameSet {
    let is_stranger = |frame| {
        let source = address_at(frame, decode::at::SOURCE);
        FrameSet::from(snapshot.belongs_elsewhere(source, port))
    };
    frames.iter().enumerate().fold(0, |set, (index, frame)| set | is_stranger(frame) << index)
}

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

    #[inline(always)]
    fn add(&mut self, index: usize, decoded: &Decoded) {
        self.frames |= 1 << index;
        self.homes |= 1 << decoded.home.low_bits();
    }

    /// A frame that is not plain.
    #[cold]
    #[inline(never)]
    fn add_other(&mut self, index: usize, decoded: &Decoded, frame: &impl Frame) {
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

#[inline(always)]
fn address_at(frame: &impl Frame, at: usize) -> IpAddr {
    let octets: &[u8; 4] = frame.head()[at..].first_chunk().expect("within the head");
    IpAddr::from(*octets)
}

/// How the direction of a port's frames is told. On a port of one side it is a constant, for which
/// the stages are compiled on their own.
trait DirectionOf {
    /// Whether it differs from frame to frame.
    const DIFFERS: bool = false;
    fn of_frame(snapshot: &Snapshot, frame: &impl Frame) -> Direction;
    /// Of a frame that has been decoded, and for which this was noted then.
    fn of(noted: &Direction) -> Direction;
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
    fn of(_: &Direction) -> Direction {
        Direction::Forward
    }
}

impl DirectionOf for Backwards {
    #[inline(always)]
    fn of_frame(_: &Snapshot, _: &impl Frame) -> Direction {
        Direction::Reverse
    }
    #[inline(always)]
    fn of(_: &Direction) -> Direction {
        Direction::Reverse
    }
}

impl DirectionOf for EitherWay {
    const DIFFERS: bool = true;
    fn of_frame(snapshot: &Snapshot, frame: &impl Frame) -> Direction {
        let local = snapshot.local(address_at(frame, decode::at::DESTINATION)).is_some();
        if local { Direction::Forward } else { Direction::Reverse }
    }
    fn of(noted: &Direction) -> Direction {
        *noted
    }
}
