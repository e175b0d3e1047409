//! The vocabulary of the packet path: small values that every other room speaks of.
//!
//! ```text
//! ids        protocols, what identifies services and reals, and the numbers that stand for them
//! family     IPv4 and IPv6, and what of them is a number
//! direction  from the client to the real, or back
//! side       towards clients, towards reals, or both
//! mac        Ethernet addresses
//! time       ticks and the moment of a turn
//! drop_reason  why a packet is dropped
//! ```

pub mod direction;
pub mod drop_reason;
pub mod family;
pub mod ids;
pub mod mac;
pub mod side;
pub mod time;
