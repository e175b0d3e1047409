//! What is known of one neighbour.

use super::{Moment, REACHABLE, RETRY, SPREAD, TRIES};
use dataplane::names::family::V6;
use dataplane::names::ids::NeighbourKey;
use dataplane::names::mac::Mac;
use std::net::IpAddr;
use std::time::Duration;

/// Why it is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// From the file: never asked for.
    Static { mac: Mac },
    /// The way to a real, or a gateway: asked for as long as it is configured.
    Permanent,
    /// Packets waited for it.
    Dynamic,
}

/// How long an answer of this host is trusted.
pub(super) fn trusted(key: NeighbourKey) -> Duration {
    REACHABLE - SPREAD * scattered(key.address) / (1 << 16)
}

/// A number below 2^16 for an address, such that addresses that follow each other have very different ones: from a
/// product with 2^32 over the golden ratio (Knuth, TAOCP 3, 6.4).
pub(super) fn scattered(address: IpAddr) -> u32 {
    let bits = match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => V6::folded(address.to_bits()),
    };
    bits.wrapping_mul(0x9e37_79b1) >> 16
}

/// See the picture of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Static {
        mac: Mac,
    },
    /// `tries` requests are out; the next is due at `next`.
    Asking {
        tries: u32,
        next: Moment,
    },
    Reachable {
        mac: Mac,
        until: Moment,
    },
    Checking {
        mac: Mac,
        tries: u32,
    },
    /// It was last asked at `asked`; what becomes of it is decided at `next`.
    Failed {
        asked: Moment,
        next: Moment,
    },
}

impl State {
    /// Where packets go now.
    pub(super) fn mac(&self) -> Option<Mac> {
        match self {
            Self::Static { mac } | Self::Reachable { mac, .. } | Self::Checking { mac, .. } => Some(*mac),
            Self::Asking { .. } | Self::Failed { .. } => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Made.
    pub(super) since: Moment,
    /// Packets last waited for it, or it was last permanent.
    pub(super) wanted: Moment,
    /// Last checked.
    pub(super) asked: Moment,
    /// The first request that has had no answer.
    pub(super) unanswered: Option<Moment>,
    /// How often in a row it was given up, or asked for again in vain.
    pub(super) failures: u32,
    /// How much does not work without it; 0 if nothing does not.
    pub(super) importance: u32,
}

impl Entry {
    pub(super) fn new(kind: Kind, now: Moment) -> Self {
        let state = match kind {
            Kind::Static { mac } => State::Static { mac },
            Kind::Permanent | Kind::Dynamic => State::Asking { tries: 0, next: now },
        };
        Self {
            kind,
            state,
            since: now,
            wanted: now,
            asked: now,
            unanswered: None,
            failures: 0,
            importance: 0,
        }
    }

    /// Whether it is configured and has left requests unanswered for as long as it takes to give it up. When
    /// there are very many, the requests themselves come much later than that.
    pub(super) fn is_silent(&self, now: Moment) -> bool {
        let patience = match self.state {
            State::Static { .. } => return false,
            State::Reachable { .. } | State::Checking { .. } => 2 * TRIES * RETRY,
            State::Asking { .. } | State::Failed { .. } => TRIES * RETRY,
        };
        self.kind == Kind::Permanent && self.unanswered.is_some_and(|since| now >= since + patience)
    }

    /// When to look at it next.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.state {
            State::Static { .. } => None,
            State::Asking { next, .. } => Some(next),
            State::Reachable { until, .. } => Some(until),
            State::Checking { .. } => Some(self.asked + RETRY),
            State::Failed { next, .. } => Some(next),
        }
    }

    /// Which of the two orders of what is due it is in.
    pub(super) fn class(&self) -> usize {
        usize::from(self.importance == 0)
    }

    /// Whether it is configured, and only asked for now and then.
    pub(super) fn is_given_up(&self) -> bool {
        self.kind == Kind::Permanent && matches!(self.state, State::Failed { .. })
    }

    /// Whether it takes one of the places that a flood can occupy.
    pub(super) fn counts_as_unanswered(&self) -> bool {
        self.kind == Kind::Dynamic && self.state.mac().is_none()
    }
}
