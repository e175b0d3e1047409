//! The bursts in a worker's hands, by address family.
//!
//! What a device receives may be of both families. Where there is a table for IPv6 its frames are taken out of the
//! burst, so that each family has the loops compiled for it, and neither leaves the fast path for the other. Packets of
//! one connection are of one family, and stay in order. Everything that is not IPv6 goes the way of IPv4.

use super::fast::staged::Staged;
use super::turn::Turn;
use crate::connection::family::Family;
use crate::frame::{BURST, Frame, FrameIo, Stage};
use crate::names::family::{IpVersion, V4, V6};
use crate::wire::ethernet;

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
    to.arrival = from.arrival;
    (from.is_part_of_full, to.is_part_of_full) = (false, false);
    let Some(first) = from.frames.first().map(ether_type) else { return };
    // Nearly all bursts are of one family. All frames are looked at without a branch for each, and a full burst, whose
    // length the compiler knows, without a loop: four instructions a frame.
    let differs =
        |frames: &[F]| frames.iter().fold(0, |differs, frame| differs | (ether_type(frame) ^ first)) != 0;
    let is_mixed = match from.frames.first_chunk::<BURST>() {
        Some(all) => differs(all),
        None => differs(&from.frames),
    };
    if is_mixed {
        part_mixed(from, to);
    } else if first == IPV6 {
        std::mem::swap(&mut from.frames, &mut to.frames);
    }
}

#[inline(never)]
fn part_mixed<F: Frame>(from: &mut Staged<F>, to: &mut Staged<F, V6>) {
    let is_full = from.frames.is_full();
    (from.is_part_of_full, to.is_part_of_full) = (is_full, is_full);
    memory::part(&mut from.frames, &mut to.frames, |frame| ether_type(frame) == IPV6);
}

/// IPv6, as [`ether_type`] gives it.
const IPV6: u16 = ethernet::IPV6.to_be();

/// What a frame says that it carries, as it lies in memory.
#[inline(always)]
fn ether_type(frame: &impl Frame) -> u16 {
    let at = ethernet::field::ETHER_TYPE;
    u16::from_ne_bytes([frame.head()[at], frame.head()[at + 1]])
}

impl<Io: FrameIo> Turn<'_, Io> {
    /// Takes the frames of IPv6 out of a burst that a device has received, and handles those that are this worker's.
    /// Out of line, for where there is no IPv6 the loops are to be as they would be without.
    #[inline(never)]
    pub(super) fn receive_ipv6(&mut self, burst: &mut Staged<Io::Frame>, v6: &mut Pair<Io::Frame, V6>) {
        part(burst, &mut v6.spare);
        let port = burst.arrival.eth_port().index();
        let is_by_device = self.snapshot.eth_ports[port].steering.is_by_device(IpVersion::Six);
        if !is_by_device && !self.egress.io.peers.is_alone() {
            self.egress.steer(&mut v6.spare, self.snapshot);
        }
        self.handle_ipv6(v6);
    }

    /// Takes the frames of IPv6 out of a burst that another worker has handed over, and handles them.
    #[inline(never)]
    pub(super) fn take_ipv6_over(&mut self, burst: &mut Staged<Io::Frame>, v6: &mut Pair<Io::Frame, V6>) {
        part(burst, &mut v6.spare);
        self.handle_ipv6(v6);
    }

    fn handle_ipv6(&mut self, Pair { decoded, spare }: &mut Pair<Io::Frame, V6>) {
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
