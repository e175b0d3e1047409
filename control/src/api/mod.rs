//! What is said over the Unix socket, and the daemon's end of it.
//!
//! ```text
//! predecessor  the daemon whose place this process takes
//! server       the socket: who may speak, and how much
//! refusal      why a command is refused, and the code and text that say so
//! protocol     a request and its answer: one JSON object a line
//! ```

pub mod predecessor;
pub mod protocol;
pub mod refusal;
pub mod server;
