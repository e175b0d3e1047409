//! Frames to and from devices and other workers.
//!
//! ```text
//! egress          where frames leave: the only place that sends or drops one
//! outgoing        a buffer for each device, which takes frames in bursts
//! cut             packets that are longer than the MTU on the way out
//! identification  those of the IPv6 packets that are cut
//! hand_over       whose a packet is, and passing it on
//! linked          the worker's own queues, and another worker's where it has none
//! limit           how often a worker answers by itself
//! ```

pub(super) mod cut;
pub(super) mod egress;
pub(super) mod hand_over;
pub(super) mod identification;
pub(super) mod limit;
pub(super) mod linked;
pub(super) mod outgoing;
