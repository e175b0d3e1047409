//! Single stages of the packet path as functions of their own, for benches: the worker compiles
//! them into its loop.

use super::decode::{Expected, Faults, at, check_at, decode, far, is_plain};
use super::rewrite::{address_frame, translate};
use crate::connection::Direction;
use crate::connection::table::ClientKey;
use crate::frame::{Frame, HEAD};
use crate::next_hop::Mac;
use crate::snapshot::Rewrite;

/// The first stage of one frame: the client endpoint's key and, as 48 bits in the order of the wire,
/// the endpoint that gets translated. `None` if it is not plain TCP or UDP to `mac` of at most `mtu` bytes.
#[inline(always)]
pub fn decode_one(frame: &impl Frame, direction: Direction, mac: Mac, mtu: u16) -> Option<(ClientKey, u64)> {
    let expected = Expected::new(mac.bits(), mtu);
    let mut faults = Faults::none();
    let decoded = decode(frame, direction, expected, &mut faults);
    let is_plain = faults.is_none() || is_plain(frame, expected);
    is_plain.then_some((decoded.key, far(frame.head(), direction)))
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
    let check_at = check_at(head);
    translate(head, at::TRANSPORT, check_at, direction, rewrite);
    address_frame(head, destination.bits(), source.bits());
}
