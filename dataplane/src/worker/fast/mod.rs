//! Plain packets of established connections, and of those that open one: a burst at a time.
//!
//! ```text
//! dispatch      which compiled copy of the two stages runs
//! input         the first stage: all frames of a burst are decoded
//! family        what the fast path has to know of an address family
//! v4            that of IPv4
//! decode        one frame: whether it is plain, and of which client endpoint
//! staged        a burst between the two stages
//! resolve       the second stage: the loop over a burst, and the prefetches in it
//! probe         looks for the burst's keys in their home buckets
//! lookup        an established connection's packet, from its entry to its last byte
//! rewrite       addresses, ports, TTL, checksums and MACs
//! left_behind   what the loop leaves: it opens connections, or takes the slow path, in order of arrival
//! open          one packet that opens a connection
//! one_packet    one datagram that makes no connection
//! v6            plain IPv6 packets
//! ```
//!
//! # Why nearly everything here is forced inline
//!
//! A loop over a burst keeps what it needs in registers. One call in it, even on a path that is never taken, makes the
//! compiler keep all of that in memory. So what is in a loop is `inline(always)`. What is rare is `inline(never)` and
//! cold, and takes by value what the loop needs in registers: something of which a reference was once handed out lies
//! in memory from then on.
//!
//! To check what an attribute brings, take it away and run `scripts/bench --instructions`. It counts the instructions
//! for a packet, which repeat from run to run, and compares them with those recorded in
//! `benches/stages/instructions.json`.

pub(super) mod decode;
pub(super) mod dispatch;
pub(super) mod family;
pub(super) mod input;
pub(super) mod left_behind;
pub(super) mod lookup;
mod one_packet;
pub(super) mod open;
pub(super) mod probe;
pub(super) mod resolve;
pub(super) mod rewrite;
pub(super) mod staged;
#[cfg(test)]
mod tests;
mod v4;
mod v6;

use super::flows::Flows;
use super::reach::Reach;
use crate::exchange::peers::Peers;
use crate::names::time::Now;
use crate::snapshot::Snapshot;

/// What plain packets need: no I/O, and nothing that is held.
pub(super) struct Fast<'a, F> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Now,
    pub(super) flows: &'a mut Flows,
    pub(super) reach: &'a mut Reach,
    pub(super) peers: &'a Peers<F>,
}
