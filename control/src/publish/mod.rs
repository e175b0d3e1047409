//! From a model to what every worker runs on.
//!
//! ```text
//! ids      numbers for services and reals
//! compile  a model → a snapshot
//! ways     the next hops of reals, and how much depends on each
//! workers  the workers' rings and counters
//! ```

pub mod compile;
pub mod ids;
pub mod ways;
pub mod workers;
