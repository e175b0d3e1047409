//! The bursts in a worker's hands, by address family.
//!
//! What a device receives may be of both families. Where there is a table for IPv6 its frames are taken out of the
//! burst, so that each family has the loops compiled for it, and neither leaves the fast path for the other. Packets of
//! one connection are of one family, and stay in order. Everything that is not IPv6 goes the way of IPv4.

use super::fast::staged::Staged;
use super::turn::Turn;
use crate::connection::family::Family;
use crate::frame::{Frame, FrameIo, Stage};
use crate::names::family::{V4, V6};
use crate::wire::plain6::Head;

/// The bursts in a worker's hands.
pub(super) struct Bursts<F> {
    pub(super) v4: Pair<F, V4>,
    pub(super) v6: Pair<F, V6>,
}

/// Those of one family.
pub(super) struct Pair<F, V: Family> {
    /// The one that has been decoded and waits to be resolved.
    pub(super) decoded: Box<Staged<F, V>>,
    /// An empty one, for the next.
    pub(super) spare: Box<Staged<F, V>>,
}

impl<F> Default for Bursts<F> {
    fn default() -> Self {
        Self { v4: Pair::default(), v6: Pair::default() }
    }
}

impl<F, V: Family> Default for Pair<F, V> {
    fn default() -> Self {
        Self { decoded: Box::default(), spare: Box::default() }
    }
}

impl<F> Bursts<F> {
    /// Frames that are kept until the next turn.
    #[cfg(feature = "testing")]
    pub(super) fn kept(&self) -> usize {
        self.v4.decoded.frames.len() + self.v6.decoded.frames.len()
    }
}

/// Moves the frames of IPv6 from a burst that has come to that of IPv6, which is empty.
fn part<F: Frame>(from: &mut Staged<F>, to: &mut Staged<F, V6>) {
    let is_ipv6 = |frame: &F| Head(frame.head()).is_ipv6();
    let count = from.frames.iter().filter(|frame| is_ipv6(frame)).count();
    to.arrival = from.arrival;
    if count == 0 || count == from.frames.len() {
        (from.is_part_of_full, to.is_part_of_full) = (false, false);
        if count > 0 {
            std::mem::swap(&mut from.frames, &mut to.frames);
        }
        return;
    }
    let is_full = from.frames.is_full();
    (from.is_part_of_full, to.is_part_of_full) = (is_full, is_full);
    for frame in std::mem::take(&mut from.frames) {
        if is_ipv6(&frame) {
            to.frames.push(frame);
        } else {
            from.frames.push(frame);
        }
    }
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Takes the frames of IPv6 out of a burst that has come, and handles them. Out of line, for where there is no IPv6
    /// the loops are to be as they would be without.
    #[inline(never)]
    pub(super) fn take_ipv6_out(&mut self, burst: &mut Staged<Io::Frame>, v6: &mut Pair<Io::Frame, V6>) {
        let Pair { decoded, spare } = v6;
        part(burst, spare);
        if spare.frames.is_empty() {
            return;
        }
        self.decode_burst(spare);
        self.egress.io.ended(Stage::Decode);
        if self.flows.tables.v6.buckets() <= self.fits_core_cache {
            self.resolve_burst(decoded);
            self.resolve_burst(spare);
        } else {
            self.resolve_and_prefetch(decoded, spare);
            std::mem::swap(decoded, spare);
            decoded.is_fresh = true;
        }
    }

    /// At the end of a turn: resolves what is kept of IPv6, unless it has come in this turn from a busy device, which
    /// has more.
    #[inline(never)]
    pub(super) fn finish_ipv6(&mut self, Pair { decoded, .. }: &mut Pair<Io::Frame, V6>) {
        let is_fresh = std::mem::take(&mut decoded.is_fresh);
        if !is_fresh || !decoded.is_of_full() {
            self.resolve_burst(decoded);
        }
    }

    /// Resolves all that is kept.
    pub(super) fn resolve_kept(&mut self, v4: &mut Staged<Io::Frame>, v6: &mut Pair<Io::Frame, V6>) {
        self.resolve_burst(v4);
        self.resolve_burst(&mut v6.decoded);
    }
}
