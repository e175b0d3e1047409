//! Connections: their states, and the table that holds one entry for each.

mod state;
pub mod table;

pub use state::{Clock, State, TcpEvent, TimeoutSeconds, Timeouts, Transport};

use crate::names::ids::{Protocol, RealId};
use std::net::SocketAddr;

/// A connection as the dump shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its state.
    pub state: State,
    /// Whole seconds until it times out if no packet comes.
    pub expires_seconds: u32,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The real; its key gives the virtual and the server's address.
    pub real: RealId,
}
