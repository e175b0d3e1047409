//! The packet path of natlb.
//!
//! The rooms, the top one first, which is also a packet's walk; a room uses only rooms below it:
//!
//! ```text
//! worker       one turn of the polling loop: receive, stages, transmit, a slice of the sweep
//! exchange     what crosses between threads: orders, and frames handed to another worker
//! snapshot     the configuration that a worker runs on, immutable
//! steering     which worker owns a connection, and how NICs are made to agree
//! fragments    which datagram a fragment is of, and those that come before its first
//! one_packet   datagrams that are scheduled by themselves: what is remembered of them
//! persistence  which real a client stays with: templates, and the connections that they were asked for
//! connection   the table: one entry for each connection, found from both directions
//! schedule     which real a new connection gets
//! live         what changes while a snapshot is in force: next hops, which reals are usable, their connections
//! translation  the precomputed rewrite of a real
//! counters     what is counted
//! wire         formats of the headers, checksums, and the answers made in place
//! frame        where frames come from and go to: a NIC's queues, or plain memory in tests
//! names        the vocabulary: ids, directions, MACs, time, drop reasons
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
pub mod one_packet;
pub mod persistence;
pub mod schedule;
pub mod snapshot;
pub mod steering;
pub mod translation;
pub mod wire;
pub mod worker;
