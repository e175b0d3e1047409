//! What outlives the process: the state file.
//!
//! ```text
//! state_file  services, reals and timeouts in a file, which a change replaces
//! journal     changes appended to a large one
//! ```

mod journal;
pub mod state_file;
