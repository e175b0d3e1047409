//! From a model to what every worker runs on.
//!
//! ```text
//! ids         numbers for services and reals
//! compile     a model → a snapshot
//! pair        two snapshots that take turns, so that a change costs what it changes
//! ways        the next hops of reals, and how much depends on each
//! workers     the workers' rings and counters
//! sums        connections added up over the workers, for the services that need it
//! transition  a snapshot on its way into force, as a value
//! ```

pub mod compile;
pub mod ids;
mod pair;
pub mod sums;
pub mod transition;
pub mod ways;
pub mod workers;
