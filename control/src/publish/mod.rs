//! From a model to what every worker runs on.
//!
//! ```text
//! ids      numbers for services and reals
//! compile  a model → a snapshot
//! workers  the workers' rings and counters
//! ```

pub mod compile;
pub mod ids;
pub mod workers;
