//! What is counted and shown: functions over what they are given.
//!
//! ```text
//! status       ports, workers, drops, and what an operator should know of
//! notes        … next hops that are silent, addresses that are not right, frames that are lost uncounted
//! watch        … and what is seen over time
//! watchdog     whether all workers turn, for whoever restarts the daemon
//! load         how busy a worker is
//! checksums    whether what comes has whole checksums
//! pressure     what connection tables are short of
//! services     services and reals in a listing
//! answers      long answers, written slice by slice
//! listings     … all services and reals, or one service
//! search       … some of them, for a page
//! connections  the connections, slice by slice
//! metrics      … everything that is counted, for Prometheus
//! statistics   traffic of services and reals
//! rates        … a second
//! periodic     reports at a fixed interval
//! period       … what passed in one, as text
//! recent       … what passed in each of the last seconds
//! ```

pub mod answers;
mod checksums;
pub mod connections;
pub mod listings;
mod load;
pub mod metrics;
pub mod notes;
pub mod period;
pub mod periodic;
mod pressure;
pub mod rates;
pub mod recent;
pub mod search;
pub mod services;
pub mod statistics;
pub mod status;
#[cfg(test)]
mod testing;
pub mod watch;
pub mod watchdog;
