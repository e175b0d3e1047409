//! What a scheduler is told of the connection that it picks a real for.

use crate::live::reals::Reals;
use std::net::SocketAddr;

/// What a pick may depend on, besides the schedule and the worker's position in it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Address and port of the client.
    pub client: SocketAddr,
    /// Which reals take new connections.
    pub live: &'a Reals,
}
