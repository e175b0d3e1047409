//! What outlives the process: the state file, the history of changes, and connections.
//!
//! ```text
//! state_file  services, reals and timeouts in a file, which a change replaces
//! journal     changes appended to a large one
//! history     changes, with who made them and what takes them back
//! kept        folders and files that connection tables lie in, and those of earlier processes
//! ```

pub mod history;
mod journal;
pub mod kept;
pub mod state_file;
