//! The bursts in a worker's hands, by address family.
//!
//! What a device receives may be of both families. Where there is a table for IPv6 its frames are taken out of the
//! burst, so that each family has the loops compiled for it, and neither leaves the fast path for the other. Where that
//! leaves two parts of a full burst, more is received into them. Packets of one connection are of one family, and stay
//! in order. Everything that is not IPv6 goes the way of IPv4.

use super::fast::staged::Staged;
use super::io::linked::Linked;
use super::turn::Turn;
use crate::connection::family::Family;
use crate::frame::{BURST, Frame, FrameIo, Stage, asked_for};
use crate::names::family::{IpVersion, V4, V6};
use crate::names::ids::EthPortId;
use crate::wire::ethernet;
use arrayvec::ArrayVec;

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
    memory::part(&mut from.frames, 0, &mut to.frames, |frame| ether_type(frame) == IPV6);
}

/// What has been received besides.
#[derive(Clone, Copy, Default)]
pub(super) struct More {
    pub(super) frames: usize,
    pub(super) bursts: u64,
}

/// Receives more frames where a full burst has been parted in two, until the parts are nearly full bursts or the device
/// has no more: each burst costs some hundred instructions besides those of its frames. With the first ones these are
/// 2 * `BURST` - `RECEIVE_STEP` frames at most.
fn fill_up<Io: FrameIo>(
    io: &mut Linked<Io>,
    port: EthPortId,
    v4: &mut Staged<Io::Frame>,
    v6: &mut Staged<Io::Frame, V6>,
) -> More {
    let mut more = More::default();
    while v4.is_part_of_full {
        // Into the fuller part, so that the other has room for all that are its.
        let (asked, came) = if v4.frames.len() >= v6.frames.len() {
            receive_parted(io, port, &mut v4.frames, &mut v6.frames, |frame| ether_type(frame) == IPV6)
        } else {
            receive_parted(io, port, &mut v6.frames, &mut v4.frames, |frame| ether_type(frame) != IPV6)
        };
        if asked == 0 {
            break;
        }
        more.frames += came;
        more.bursts += u64::from(came != 0);
        let is_full = came >= asked;
        (v4.is_part_of_full, v6.is_part_of_full) = (is_full, is_full);
    }
    more
}

/// Receives into `fuller`, and moves those of the other family from there. Returns how many frames the device was asked
/// for, and how many have come.
#[inline(always)]
fn receive_parted<Io: FrameIo>(
    io: &mut Linked<Io>,
    port: EthPortId,
    fuller: &mut ArrayVec<Io::Frame, BURST>,
    other: &mut ArrayVec<Io::Frame, BURST>,
    is_of_other: impl Fn(&Io::Frame) -> bool,
) -> (usize, usize) {
    let (before, asked) = (fuller.len(), asked_for(fuller));
    if asked == 0 {
        return (0, 0);
    }
    io.receive(port, fuller);
    let came = fuller.len() - before;
    memory::part(fuller, before, other, is_of_other);
    (asked, came)
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
    /// Returns what it has received besides. Out of line, for where there is no IPv6 the loops are to be as they would
    /// be without.
    #[inline(never)]
    pub(super) fn receive_ipv6(
        &mut self,
        burst: &mut Staged<Io::Frame>,
        v6: &mut Pair<Io::Frame, V6>,
    ) -> More {
        part(burst, &mut v6.spare);
        let port = burst.arrival.eth_port();
        let more = fill_up(&mut self.egress.io, port, burst, &mut v6.spare);
        let is_by_device = self.snapshot.eth_ports[port.index()].steering.is_by_device(IpVersion::Six);
        if !is_by_device && !self.egress.io.peers.is_alone() {
            self.egress.steer(&mut v6.spare, self.snapshot);
        }
        self.handle_ipv6(v6);
        more
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::WorkerCounters;
    use crate::frame::RECEIVE_STEP;
    use crate::frame::plain::{PlainFrame, PlainIo};
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;

    const PORT: EthPortId = EthPortId(0);

    /// A device as drivers are that handle several frames at once.
    struct Stepping {
        waiting: VecDeque<PlainFrame>,
        rooms: Vec<usize>,
        /// Whether it has given less than it was asked for, the last time.
        has_ended: bool,
    }

    impl FrameIo for Stepping {
        type Frame = PlainFrame;
        fn receive(&mut self, _: EthPortId, into: &mut ArrayVec<PlainFrame, BURST>) {
            self.rooms.push(into.remaining_capacity());
            let given = asked_for(into).min(self.waiting.len());
            self.has_ended = given < asked_for(into);
            into.extend(self.waiting.drain(..given));
        }
        fn transmit(&mut self, _: EthPortId, _: &mut ArrayVec<PlainFrame, BURST>) {}
        fn allocate(&mut self, _: EthPortId) -> Option<PlainFrame> {
            None
        }
    }

    fn is_ipv6(number: u16, families: u64) -> bool {
        families >> (number % 64) & 1 != 0
    }

    /// Numbers of frames, by the family that they say.
    fn numbers(frames: &[PlainFrame]) -> Vec<(bool, u16)> {
        frames
            .iter()
            .map(|frame| {
                (ether_type(frame) == IPV6, u16::from_be_bytes(*frame.bytes().last_chunk().unwrap()))
            })
            .collect()
    }

    fn frame(io: &mut PlainIo, number: u16, is_ipv6: bool) -> PlainFrame {
        let ether_type = if is_ipv6 { ethernet::IPV6 } else { ethernet::IPV4 };
        let mut frame = io.allocate(PORT).unwrap();
        assert!(frame.set_length(16));
        let bytes = frame.bytes_mut();
        bytes[ethernet::field::ETHER_TYPE..][..2].copy_from_slice(&ether_type.to_be_bytes());
        bytes[14..].copy_from_slice(&number.to_be_bytes());
        frame
    }

    /// Receives a burst of what waits, and what fills it up. The bits of `families` are set for frames of IPv6.
    fn fill(count: u16, families: u64) {
        let mut frames = PlainIo::new(1);
        let waiting =
            (0..count).map(|number| frame(&mut frames, number, is_ipv6(number, families))).collect();
        let device = Stepping { waiting, rooms: Vec::new(), has_ended: false };
        let mut io = Linked::new(device, Arc::new(WorkerCounters::new()));
        let (mut v4, mut v6) = (Box::<Staged<_>>::default(), Box::<Staged<_, V6>>::default());
        io.receive(PORT, &mut v4.frames);
        let first = v4.frames.len();
        part(&mut v4, &mut v6);
        let is_parted = first == BURST && !v4.frames.is_empty() && !v6.frames.is_empty();
        let more = fill_up(&mut io, PORT, &mut v4, &mut v6);

        let came = first + more.frames;
        for (of_ipv6, part) in [(false, &v4.frames), (true, &v6.frames)] {
            let all = (0..came as u16).filter(|number| is_ipv6(*number, families) == of_ipv6);
            assert_eq!(numbers(part), all.map(|number| (of_ipv6, number)).collect::<Vec<_>>());
        }
        assert_eq!(came + io.io.waiting.len(), usize::from(count), "each is in a part, or waits");
        assert_eq!(frames.live_frames(), usize::from(count));
        let rooms = &io.io.rooms;
        assert!(rooms.iter().all(|room| *room >= RECEIVE_STEP), "asked with rooms of {rooms:?}");
        assert!(came <= 2 * BURST - RECEIVE_STEP, "{came} came");
        // As long as the device has more, and there is room.
        let fuller = v4.frames.len().max(v6.frames.len());
        assert!(
            !is_parted || io.io.has_ended || fuller > BURST - RECEIVE_STEP,
            "{fuller} in the fuller part"
        );
        let is_part_of_full = is_parted && !io.io.has_ended;
        assert_eq!((v4.is_part_of_full, v6.is_part_of_full), (is_part_of_full, is_part_of_full));
    }

    /// Of any share of IPv6, and in runs.
    fn families() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            any::<[u64; 3]>().prop_map(|[a, b, c]| a & b & c),
            any::<[u64; 3]>().prop_map(|[a, b, c]| a | b | c),
            (0..64u32).prop_map(|from| u64::MAX << from),
        ]
    }

    proptest! {
        #[test]
        fn parts_are_filled_up_and_each_frame_is_in_one(count in 0..100u16, families in families()) {
            fill(count, families);
        }
    }

    #[test]
    fn what_has_room_for_less_than_a_step_is_not_filled_up() {
        for of_ipv6 in 1..BURST {
            fill(100, (1 << of_ipv6) - 1);
        }
    }
}
