//! Fragments of datagrams, followed without putting them together. (IPv6 calls a datagram a packet, too.)
//!
//! Only the first fragment of a datagram has its TCP or UDP ports. A [`Tracker`] remembers them, so
//! that each later fragment gets to the connection that the first one belongs to; and it holds, within
//! bounds, those that come before the first. It knows nothing of connections: it resolves a fragment to
//! its ports, and what is done with these is up to whoever asked. So is when a fragment counts as passed:
//! one that waits for something else walks the same way again.
//!
//! ```text
//! piece    which part of its datagram a fragment is, and which fragments nobody sends in good faith
//! seen     the parts of a datagram that have passed
//! held     fragments that wait for the first of their datagram
//! tracker  the datagrams, found by a keyed hash
//! gathered datagrams whose fragments are awaited: pings to ourselves, and SCTP packets
//! ```
//!
//! Unlike reassembly this needs no buffer for what comes in order, and none is copied; the receiver puts
//! the datagram together. What the receiver might be deceived by is not let through: fragments that
//! overlap (RFC 1858 §3, RFC 5722 for IPv4) or split the transport header (RFC 1858 §3.2, RFC 3128).

mod gathered;
mod held;
mod piece;
mod seen;
mod tracker;

pub use gathered::{
    ALL_PIECES, Address, GATHERED, GATHERED_NANOSECONDS, Gathering, Kept, Misfits, PIECES, Pieces,
};
pub use held::{HELD, HELD_BYTES, HELD_NANOSECONDS, PER_DATAGRAM};
pub(crate) use piece::{LONGEST_V4, LONGEST_V6, least_header};
pub use piece::{Piece, Ports};
pub use seen::RANGES;
pub use tracker::{DATAGRAMS, Fields, Key, Outcome, Released, SILENCE_NANOSECONDS, Tracker};
