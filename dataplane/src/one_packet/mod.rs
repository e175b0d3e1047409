//! One-packet services: every datagram is scheduled by itself and makes no connection. What a worker remembers instead.
//!
//! ```text
//! pairs      which clients have sent datagrams to which reals: so replies are translated
//! datagrams  which real the fragments of a datagram go to
//! places     the memory of both: of fixed size, what was silent for longest gives way
//! ```
//!
//! Nothing here is a connection: none is listed, counted as active or inactive, or limited by a threshold.

mod datagrams;
mod pairs;
mod places;

pub use datagrams::{Datagram, Datagrams};
pub use pairs::{Kept, Pair, Pairs};
