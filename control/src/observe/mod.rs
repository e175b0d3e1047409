//! What is counted, and at which rates.

pub mod rates;
pub mod statistics;
