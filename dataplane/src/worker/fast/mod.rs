//! Plain packets of established connections, and of those that open one: a burst at a time.
//!
//! ```text
//! burst    the walk of a burst
//! staged   a burst between its two stages
//! decode   which frames are plain, and of which client endpoint
//! lookup   an established connection's packet, from its entry to its last byte
//! rewrite  addresses, ports, TTL, checksums and MACs
//! open     the usual opening of a connection
//! ```

pub(super) mod burst;
pub(super) mod decode;
pub(super) mod lookup;
pub(super) mod open;
pub(super) mod rewrite;
pub(super) mod staged;
