//! What the benches of the packet path's stages share.
//!
//! ```text
//! world     the configuration: two ports, a TCP and a UDP service, all next hops known
//! flows     which client a flow comes from, its keys, random orders
//! frames    frames written beforehand, and the ports that a worker takes them from
//! path      a worker whose connections are established
//! lookup    the same look-ups in natlb's table, hashbrown and rte_hash
//! churn     connections that are made and time out in balance
//! ```
#![forbid(unsafe_code)]

pub mod churn;
pub mod flows;
pub mod frames;
pub mod lookup;
pub mod path;
pub mod world;
