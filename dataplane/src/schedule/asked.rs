//! What a scheduler is told of the connection that it picks a real for.

use crate::counters::WorkerCounters;
use crate::live::elsewhere::{Elsewhere, Load};
use crate::live::reals::Reals;
use crate::names::ids::RealId;
use std::net::SocketAddr;

/// What a pick may depend on, besides the schedule and the worker's position in it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Address and port of the client.
    pub client: SocketAddr,
    /// Which reals take new connections.
    pub live: &'a Reals,
    /// What the worker that picks counts.
    pub own: &'a WorkerCounters,
    /// What the other workers have.
    pub elsewhere: &'a Elsewhere,
}

impl Asked<'_> {
    /// Connections of a real: this worker's now, and the others' when they were last added up. These are known only for
    /// services that [need them](crate::snapshot::Service::needs_sums).
    #[inline(always)]
    pub fn connections(&self, real: RealId) -> Load {
        Load::of(self.own.real(real)) + self.elsewhere.get(real)
    }
}
