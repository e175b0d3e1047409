//! What the benches of the packet path's stages share; their frames and flows are of the crate `traffic`.
//!
//! ```text
//! keys      what flows are looked up by
//! path      a worker whose connections are established
//! lookup    the same look-ups in natlb's table, hashbrown and rte_hash
//! churn     connections that are made and time out in balance
//! ```
#![forbid(unsafe_code)]

pub mod churn;
pub mod keys;
pub mod lookup;
pub mod path;
