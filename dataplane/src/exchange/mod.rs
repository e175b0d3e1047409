//! What crosses between threads: between a worker and the control thread, and between two workers.
//!
//! ```text
//! orders  orders of the control thread, and what a worker gives back
//! peers   frames on their way from one worker to another
//! ```

pub mod orders;
pub mod peers;
