//! Single stages of the packet path as functions of their own, for benches: the worker compiles
//! them into its loop.

use super::fast::decode::{Expected, have_plain_lengths, is_plain, length_of};
use super::fast::dispatch;
use super::fast::family::Plain;
use super::fast::rewrite::{address_frame, translate_plain};
use crate::connection::table::ClientKey;
use crate::frame::{BURST, Frame, HEAD};
use crate::names::direction::Direction;
use crate::names::family::V4;
use crate::names::mac::Mac;
use crate::translation::Rewrite;

/// Buckets that are prefetched back to back.
pub const PREFETCH_GROUP: usize = dispatch::PREFETCH_GROUP;
/// Buckets that are prefetched back to back where the table's page tables miss the cache.
pub const PREFETCH_GROUP_IF_HUGE: usize = dispatch::PREFETCH_GROUP_IF_HUGE;

/// The first stage of a burst of at most [`BURST`] frames: the client endpoint's key of each frame, and, as 48 bits in
/// the order of the wire, the endpoint that gets translated. Whether all are plain TCP or UDP to `mac` of at most
/// `mtu` bytes.
#[inline(always)]
pub fn decode_burst(
    frames: &[impl Frame],
    direction: Direction,
    mac: Mac,
    mtu: u16,
    into: &mut [(ClientKey, u64); BURST],
) -> bool {
    let (expected, mut faults) = (Expected::<V4>::new(mac.bits(), mtu), V4::no_faults());
    let (mut lengths, mut totals) = ([0; BURST], [0; BURST]);
    let count = frames.len().min(BURST);
    for index in 0..count {
        let frame = &frames[index];
        let (key, total) = V4::decode(frame, direction, expected, &mut faults);
        (lengths[index], totals[index]) = (length_of(frame), total);
        into[index] = (key, V4::remote(frame.head(), direction));
    }
    let plain_lengths = have_plain_lengths(&lengths, &totals, count, V4::LEAST_TCP, expected);
    (V4::are_plain(&faults) && plain_lengths) || frames.iter().all(|frame| is_plain(frame, expected))
}

/// The last stage of one frame that is plain (its TTL above 1): translates it as `rewrite` says, and
/// writes both MACs.
#[inline(always)]
pub fn rewrite_one(
    head: &mut [u8; HEAD],
    direction: Direction,
    rewrite: &Rewrite,
    destination: Mac,
    source: Mac,
) {
    translate_plain::<V4>(head, V4::fields(head, direction), direction, rewrite);
    address_frame(head, destination.bits(), source.bits());
}
