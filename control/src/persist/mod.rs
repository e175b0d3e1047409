//! What outlives the process: the state file, and the locks that make a file one daemon's.

pub(crate) mod lock;
pub mod state_file;
