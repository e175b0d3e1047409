//! What outlives the process: the state file.

pub mod state_file;
