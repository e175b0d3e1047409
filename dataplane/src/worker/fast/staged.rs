//! A burst between its two stages.

use crate::connection::family::Family;
use crate::connection::table::{ClientKey, Home, Probed};
use crate::frame::BURST;
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::ids::InterfaceId;
use arrayvec::ArrayVec;

/// A set of a burst's frames: bit `i` for the frame at `i`.
pub(in crate::worker) type FrameSet = u32;

/// What is known of one frame, if it is plain.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Decoded<V: Family = V4> {
    pub(in crate::worker) key: ClientKey<V>,
    pub(in crate::worker) home: Home,
    pub(in crate::worker) probed: Probed,
    /// That of its packet, header included, in bytes.
    pub(in crate::worker) length: u16,
    pub(in crate::worker) direction: Direction,
}

/// A burst of frames of one address family, with per-frame results as parallel arrays, so that a loop needs a single
/// index. In whole cache lines, for it is written with every burst.
#[repr(align(128))]
pub(in crate::worker) struct Staged<F, V: Family = V4> {
    pub(in crate::worker) arrival: InterfaceId,
    pub(in crate::worker) frames: ArrayVec<F, BURST>,
    /// Those that may not take the fast path.
    pub(in crate::worker) others: FrameSet,
    pub(in crate::worker) keys: [ClientKey<V>; BURST],
    pub(in crate::worker) homes: [Home; BURST],
    pub(in crate::worker) probed: [Probed; BURST],
    /// Those of the packets, headers included, in bytes.
    pub(in crate::worker) lengths: [u16; BURST],
    /// The frames' own, in bytes.
    pub(in crate::worker) frame_lengths: [u16; BURST],
    /// Only where they differ from frame to frame.
    pub(in crate::worker) directions: [Direction; BURST],
    /// Where those leave that took the fast path, or opened a connection.
    pub(in crate::worker) outs: [InterfaceId; BURST],
    /// Whether at least half of the frames opened connections, the last time that there were any: then the next ones
    /// probably do.
    pub(in crate::worker) opened: bool,
    /// Whether it has been a part of a full burst, whose other frames are of another family.
    pub(in crate::worker) is_part_of_full: bool,
    /// Whether it has come in this turn, of IPv6.
    pub(in crate::worker) is_fresh: bool,
}

impl<F, V: Family> Default for Staged<F, V> {
    fn default() -> Self {
        Self {
            arrival: InterfaceId(0),
            frames: ArrayVec::new(),
            others: 0,
            keys: [ClientKey::default(); BURST],
            homes: [Home::default(); BURST],
            probed: [Probed::default(); BURST],
            lengths: [0; BURST],
            frame_lengths: [0; BURST],
            directions: [Direction::default(); BURST],
            outs: [InterfaceId(0); BURST],
            opened: false,
            is_part_of_full: false,
            is_fresh: false,
        }
    }
}

impl<F, V: Family> Staged<F, V> {
    /// What is known of one of the frames.
    #[inline(always)]
    pub(in crate::worker) fn decoded(&self, index: usize, direction: Direction) -> Decoded<V> {
        Decoded {
            key: self.keys[index],
            home: self.homes[index],
            probed: self.probed[index],
            length: self.lengths[index],
            direction,
        }
    }

    /// Whether it came as a full burst, or in one: a busy device has more.
    #[inline(always)]
    pub(in crate::worker) const fn is_of_full(&self) -> bool {
        self.frames.is_full() || self.is_part_of_full
    }

    /// Where the frames' keys are at home.
    #[inline(always)]
    pub(in crate::worker) fn homes(&self) -> &[Home] {
        &self.homes[..self.frames.len()]
    }

    /// The interface that all frames leave by, if it is one.
    #[inline(always)]
    pub(in crate::worker) fn only_out(&self) -> Option<InterfaceId> {
        let first = self.outs[0];
        let is_only = if self.frames.is_full() {
            // All of a known number, without a branch: a few instructions for 16 at once.
            self.outs.iter().fold(0, |differs, out| differs | (out.0 ^ first.0)) == 0
        } else {
            self.outs[..self.frames.len()].iter().all(|out| *out == first)
        };
        is_only.then_some(first)
    }
}
