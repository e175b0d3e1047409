//! What a scheduler is told of the connection that it picks a real for, and what it may know of reals.

use crate::counters::{RealCounters, WorkerCounters};
use crate::live::elsewhere::{Elsewhere, Load};
use crate::live::reals::Reals;
use crate::names::ids::RealId;
use crate::names::time::Now;
use std::net::SocketAddr;

/// What a pick may depend on, besides the schedule and the worker's position in it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Address and port of the client.
    pub client: SocketAddr,
    /// Where it wants to go: the VIP, and the service's port.
    pub destination: SocketAddr,
    /// What is known of reals.
    pub known: Known<'a>,
}

/// What a worker knows of reals at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Which of them take new connections.
    pub live: &'a Reals,
    /// What the worker that picks counts.
    pub own: &'a WorkerCounters,
    /// What the other workers have.
    pub elsewhere: &'a Elsewhere,
    /// What time it is on the worker's clock.
    pub now: Now,
}

impl Known<'_> {
    /// Connections of a real: this worker's now, and the others' when they were last added up. These are known only for
    /// services that [need them](super::Schedule::needs_sums).
    #[inline(always)]
    pub fn connections(&self, real: RealId) -> Load {
        Load::of(self.own.real(real)) + self.elsewhere.get(real)
    }

    /// As [`connections`](Self::connections), in wider numbers: those in an active state, and all.
    #[inline(always)]
    pub(super) fn counts(&self, real: RealId) -> (u64, u64) {
        counts(self.own.real(real), self.elsewhere.get(real))
    }
}

/// Connections of a real on this worker and elsewhere: those in an active state, and all.
#[inline(always)]
pub(super) fn counts(own: &RealCounters, elsewhere: Load) -> (u64, u64) {
    let (active, inactive) = (u64::from(elsewhere.active), u64::from(elsewhere.inactive));
    (own.states.active() + active, own.total.get() + active + inactive)
}
