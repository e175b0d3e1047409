//! The first stage: all frames of a burst are decoded, as if each were plain, and then it is seen whether they are.

use super::decode::{Expected, has_wrong_header, have_plain_lengths, is_plain, length_of};
use super::dispatch::DirectionOf;
use super::family::Plain;
use super::staged::{FrameSet, Staged};
use crate::connection::table::{ClientKey, Home, Table};
use crate::frame::{BURST, Frame, FrameIo};
use crate::wire::link;
use crate::worker::turn::Turn;

impl<Io: FrameIo> Turn<'_, Io> {
    #[inline(always)]
    pub(super) fn decode_all<V: Plain, Way: DirectionOf>(&self, burst: &mut Staged<Io::Frame, V>) {
        // Two loops, for the table is nearly always at rest.
        if V::of(&self.flows.tables).is_between_sizes() {
            self.decode_each::<V, Way>(burst, Table::home_of);
        } else {
            self.decode_each::<V, Way>(burst, Table::home_at_rest);
        }
    }

    #[inline(always)]
    fn decode_each<V: Plain, Way: DirectionOf>(
        &self,
        burst: &mut Staged<Io::Frame, V>,
        home_of: impl Fn(&Table<V>, ClientKey<V>) -> Home,
    ) {
        let () = V::FITS;
        let (snapshot, table) = (self.snapshot, V::of(&self.flows.tables));
        let expected = Expected::<V>::new(snapshot.mac_bits(burst.arrival), snapshot.smallest_mtu);
        let mut faults = V::no_faults();
        let Staged { frames, keys, homes, lengths, frame_lengths, directions, .. } = &mut *burst;
        // Said to be no more than they are, so that no index below is compared with a length.
        let count = frames.len().min(BURST);
        let frames = &frames[..count];
        for index in 0..count {
            let frame = &frames[index];
            let (direction, length) = (Way::of_frame::<V>(snapshot, frame), length_of(frame));
            let (key, total) = V::decode(frame, direction, expected, &mut faults);
            keys[index] = key;
            homes[index] = home_of(table, key);
            lengths[index] = total;
            frame_lengths[index] = length;
            if Way::DIFFERS {
                directions[index] = direction;
            }
        }
        let (frames, totals) = (&burst.frame_lengths, &burst.lengths);
        let are_plain =
            V::are_plain(&faults) && have_plain_lengths(frames, totals, count, V::LEAST_TCP, expected);
        burst.others = 0;
        if !are_plain && self.decode_mended(burst, expected) {
            return;
        }
        if count < BURST && !burst.is_part_of_full {
            self.examine(burst);
        }
    }

    /// For a burst with frames that are not plain: mends those that have tags or trailers, and decodes it again if
    /// there were such; else finds which are not plain, and returns false. Out of line, for most bursts have none.
    #[cold]
    #[inline(never)]
    fn decode_mended<V: Plain>(&self, burst: &mut Staged<Io::Frame, V>, expected: Expected<V>) -> bool {
        let mended = burst.frames.iter_mut().fold(false, |mended, frame| link::mend(frame) | mended);
        if mended {
            self.decode_burst(burst); // nothing is left to mend
        } else {
            burst.others = others(&burst.frames, expected);
        }
        mended
    }

    /// Looks at what a worker has no time for under full load, the frames of a burst that is not full: a wrong
    /// header checksum, where the device does not look for it, and a transport checksum that was left to a device.
    #[inline(never)]
    fn examine<V: Plain>(&self, burst: &mut Staged<Io::Frame, V>) {
        let port = burst.arrival.eth_port().index();
        let (mut examined, mut partial) = (0, 0);
        for (index, frame) in burst.frames.iter().enumerate() {
            if burst.others >> index & 1 != 0 {
                continue;
            }
            if has_wrong_header::<V>(frame) {
                burst.others |= 1 << index;
                continue;
            }
            examined += 1;
            partial += u64::from(V::has_partial_checksum(frame.head(), burst.lengths[index]));
        }
        self.counters.checksums_examined[port].add(examined);
        self.counters.partial_checksums[port].add(partial);
    }

    /// Takes frames off the fast path that come from an address which belongs on another interface. Out of line, for it
    /// is asked only where reals are behind several interfaces.
    #[cold]
    #[inline(never)]
    pub(super) fn find_strangers<V: Plain>(&self, burst: &mut Staged<Io::Frame, V>) {
        let is_stranger = |frame: &Io::Frame| {
            let source = V::source(frame.head());
            self.snapshot.belongs_elsewhere(source, burst.arrival)
        };
        burst.others |= set_of(&burst.frames, is_stranger);
    }
}

/// Which frames are not plain. Out of line, for most bursts have none.
#[inline(never)]
fn others<V: Plain>(frames: &[impl Frame], expected: Expected<V>) -> FrameSet {
    set_of(frames, |frame| !is_plain(frame, expected))
}

#[inline(always)]
fn set_of<F>(frames: &[F], is_in: impl Fn(&F) -> bool) -> FrameSet {
    frames.iter().enumerate().fold(0, |set, (index, frame)| set | FrameSet::from(is_in(frame)) << index)
}
