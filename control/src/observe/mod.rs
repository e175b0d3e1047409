//! What is counted, and at which rates.

pub mod period;
pub mod rates;
pub mod statistics;
