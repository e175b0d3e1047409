//! What outlives the process: the state file, and connections.
//!
//! ```text
//! state_file  services, reals and timeouts in a file, which a change replaces
//! journal     changes appended to a large one
//! kept        folders and files that connection tables lie in, and those of earlier processes
//! ```

mod journal;
pub mod kept;
pub mod state_file;
