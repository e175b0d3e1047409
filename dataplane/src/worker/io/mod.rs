//! Frames to and from devices and other workers.
//!
//! ```text
//! linked         the worker's own queues, and another worker's where it has none
//! outgoing       frames on their way out, a buffer for each device
//! fragmentation  packets that are longer than the MTU on the way out
//! hand_over      whose a packet is, and passing it on
//! limit          how often a worker answers by itself
//! ```

pub(super) mod fragmentation;
pub(super) mod hand_over;
pub(super) mod limit;
pub(super) mod linked;
pub(super) mod outgoing;
