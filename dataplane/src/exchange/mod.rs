//! What crosses between threads: between a worker and the control thread, and between two workers.
//!
//! ```text
//! orders  orders of the control thread, and what a worker gives back
//! pace    whether a worker works, and how far it has come to rest
//! peers   frames on their way from one worker to another
//! ```

pub mod orders;
pub mod pace;
pub mod peers;
