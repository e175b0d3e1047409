//! The control side of natlb.
//!
//! A command's walk, in the order of the modules to read:
//!
//! ```text
//! protocol   a request and its answer: one JSON object a line
//! server     the Unix socket: who may speak, and how much
//! change     model + request → new model, or a refusal (pure)
//! model      services and reals, as configured
//! compile    model → what the workers run on, and the ids of reals and next hops
//! workers    publishing it, and collecting counters and dumps
//! neighbours next hops: asking by ARP, ageing
//! ```
//!
//! `config` reads the file of `lbd`, `state_file` keeps the model over a restart, `listing` writes
//! the tables that `lbctl` prints. Nothing here knows DPDK.
#![forbid(unsafe_code)]

pub mod config;
pub mod protocol;
