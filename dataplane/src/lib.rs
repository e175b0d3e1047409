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
//! connection the table: one entry per connection, found from both directions
//! fragments  which datagram a fragment is of, and those that come before its first
//! schedule   which real a new connection gets
//! steering   which worker owns a connection, and how NICs are made to agree
//! snapshot   the configuration a worker runs on, immutable
//! live       what changes while a snapshot is in force: next hops
//! exchange   what crosses between threads: orders, and frames handed to another worker
//! translation  the precomputed rewrite of a real
//! wire       formats of the headers, checksums, and the answers made in place
//! counters   what is counted
//! names      the vocabulary: ids, directions, MACs, time, verdicts
//! ```
//!
//! Nothing here knows DPDK, reads a clock or does I/O.
#![forbid(unsafe_code)]

pub mod connection;
pub mod counters;
pub mod exchange;
pub mod fragments;
pub mod frame;
pub mod live;
pub mod names;
pub mod schedule;
pub mod snapshot;
pub mod steering;
pub mod translation;
pub mod wire;
pub mod worker;
