//! Why a command is refused.

use crate::api::protocol::{FaultyLines, Refusal};
use crate::model::LARGEST_WEIGHT;
use crate::text::algorithms::UnknownScheduler;
use crate::text::ipvsadm_lines::CutOff;
use dataplane::connection::Timeouts;
use dataplane::names::ids::REAL_IDS;
use dataplane::schedule::UnknownAlgorithm;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// Why a command is refused; the text is what the operator reads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is one with this key.
    #[error("service exists")]
    ServiceExists,
    /// There is none with this key.
    #[error("no such service")]
    NoSuchService,
    /// The service has one with this address and port.
    #[error("real exists")]
    RealExists,
    /// The service has none with this address and port.
    #[error("no such real")]
    NoSuchReal,
    /// Not a scheduler, or one that is not built yet.
    #[error(transparent)]
    Scheduler(#[from] UnknownScheduler),
    /// Not built yet; which part of LVS it is.
    #[error("not supported yet: {0}")]
    NotSupported(&'static str),
    /// Not an address that a VIP or real can have.
    #[error("{address} cannot be {role}: {why}")]
    BadAddress {
        /// The address.
        address: IpAddr,
        /// `a VIP` or `a real`.
        role: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Ports are from 1.
    #[error("{0}: the port must not be 0")]
    ZeroPort(SocketAddr),
    /// Above the largest.
    #[error("weight {0} is above {LARGEST_WEIGHT}")]
    BadWeight(u32),
    /// Above the longest.
    #[error("timeout {0} is above {max} seconds (31 days)", max = Timeouts::LONGEST_SECONDS)]
    BadTimeout(u32),
    /// Nothing leads there.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// No more fit.
    #[error("too many {what}: {most} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// Connections of removed reals still hold the ids that are needed.
    #[error(
        "too many reals at once: {wanted} wanted, {replaced} that they replace and {removed} removed before that still have \
         connections, {REAL_IDS} at most; try again when these have ended"
    )]
    IdsUsedUp {
        /// Reals of the configuration that is refused.
        wanted: usize,
        /// Reals that it lacks and that are configured now.
        replaced: usize,
        /// Removed reals that are kept for their connections.
        removed: usize,
    },
    /// Lines of `restore` or of the state file: `line N: …`.
    #[error("{0}")]
    Lines(FaultyLines),
    /// Some lines are missing.
    #[error(transparent)]
    CutOff(#[from] CutOff),
    /// There is no line at all. More likely a producer has failed than that somebody wishes this; what `save` gives has
    /// a `--set` line at least.
    #[error("no line to restore (to remove all services: lbctl clear)")]
    NoLines,
    /// The state file could not be written.
    #[error("nothing changed: the state file cannot be written: {0}")]
    StateWrite(String),
    /// A worker does not take the change's snapshot: the change is kept all the same.
    #[error(
        "worker {worker} has not taken version {version} of the configuration within {seconds} s; \
         the change is kept and comes into force when the worker goes on"
    )]
    WorkerStuck {
        /// Which.
        worker: usize,
        /// Of the snapshot.
        version: u64,
        /// How long was waited.
        seconds: u64,
    },
    /// A worker has not taken an earlier change's snapshot yet: no other can follow.
    #[error("nothing changed: worker {worker} has not taken version {version} of the configuration yet")]
    WorkerBehind {
        /// Which.
        worker: usize,
        /// Of the snapshot.
        version: u64,
    },
}

impl Refused {
    /// The code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ServiceExists => "service_exists",
            Self::NoSuchService => "no_such_service",
            Self::RealExists => "real_exists",
            Self::NoSuchReal => "no_such_real",
            Self::Scheduler(UnknownScheduler { reason: UnknownAlgorithm::Unknown, .. }) => {
                "unknown_scheduler"
            }
            Self::Scheduler(UnknownScheduler { reason: UnknownAlgorithm::NotSupportedYet, .. }) => {
                "not_supported"
            }
            Self::NotSupported(_) => "not_supported",
            Self::BadAddress { .. } | Self::ZeroPort(_) => "bad_address",
            Self::BadWeight(_) => "bad_weight",
            Self::BadTimeout(_) => "bad_timeout",
            Self::NoRoute(_) => "no_route",
            Self::TooMany { .. } | Self::IdsUsedUp { .. } => "too_many",
            Self::Lines(_) | Self::CutOff(_) | Self::NoLines => "bad_line",
            Self::StateWrite(_) => "state_write_failed",
            Self::WorkerStuck { .. } | Self::WorkerBehind { .. } => "worker_stuck",
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let refusal = Self::new(refused.code(), refused.to_string());
        match refused {
            Refused::Lines(FaultyLines { named, more }) => Self { lines: named, more, ..refusal },
            _ => refusal,
        }
    }
}
