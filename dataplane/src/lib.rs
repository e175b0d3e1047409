//! The packet path of natlb.
//!
//! A packet's walk, in the order of the modules to read:
//!
//! ```text
//! frame      where frames come from and go to: a NIC's queues, or plain memory in tests
//! worker     one turn of the polling loop: receive, stages, transmit, a slice of the sweep
//!   burst      the stages over a whole burst, and which of its frames leave the fast path
//!   staged     a burst between its stages: what was told of each frame
//!   decode     which frames are plain TCP or UDP, and of which client endpoint
//!   resolve    an established connection's packet, from its entry to its last byte
//!   rewrite    addresses, ports, checksums, MACs
//!   open       the usual first packet of a connection
//!   exception  everything else, one packet at a time: other openings, ICMP, ARP, routing
//!   hand_over  whose a packet is, where there are several workers
//! hand_over  frames on their way from one worker to another
//! connection the table: one entry per connection, found from both directions
//! fragment   which datagram a fragment is of, and those that come before its first
//! schedule   which real a new connection gets
//! steering   which worker owns a connection, and how NICs are made to agree
//! snapshot   the configuration a worker runs on, immutable
//! wire       formats of the headers, checksums, and the answers made in place
//! ```
//!
//! `message` is what crosses between a worker and the control thread, `next_hop` the MACs,
//! `counters` and `verdict` what is counted. Nothing here knows DPDK, reads a clock or does I/O.
#![forbid(unsafe_code)]

pub mod connection;
pub mod counters;
pub mod fragment;
pub mod frame;
pub mod hand_over;
pub mod ids;
pub mod message;
pub mod next_hop;
pub mod schedule;
pub mod snapshot;
pub mod steering;
pub mod time;
pub mod verdict;
pub mod wire;
pub mod worker;
