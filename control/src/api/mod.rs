//! What is said over the sockets, and the daemon's end of them.
//!
//! ```text
//! predecessor  the daemon whose place this process takes
//! http         HTTP, for Prometheus, probes and browsers: read only
//! server       the socket: who may speak, and how much
//! refusal      why a command is refused, and the code and text that say so
//! origin       who asks: for the log, and for the history of changes
//! protocol     a request and its answer: one JSON object a line
//! ```

pub mod http;
pub mod origin;
pub mod predecessor;
pub mod protocol;
pub mod refusal;
pub mod server;
