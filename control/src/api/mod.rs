//! The Unix socket's two ends of a conversation.
//!
//! ```text
//! protocol  a request and its answer: one JSON object a line
//! server    the socket: who may speak, and how much
//! ```

pub mod protocol;
pub mod server;
