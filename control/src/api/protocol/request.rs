//! What `lbctl` asks.

use super::{Lines, hand_over, timeouts};
use crate::text::addresses;
use crate::text::service_options::ServiceOptions;
use crate::text::services::Listen;
use dataplane::connection::TimeoutSeconds;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The longest time, in seconds, that a change may wait to be confirmed.
pub const LONGEST_CONFIRM: u32 = 3600;

/// A request line: `{"v":1,"command":"add-real",…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`](super::VERSION).
    pub v: u32,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// The commands, with the long names of the options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Create a service.
    AddService(ServiceOptions),
    /// Change a service; what is absent stays.
    EditService(ServiceOptions),
    /// Remove a service with its reals.
    DelService {
        /// Which.
        service: Listen,
    },
    /// Add a real.
    AddReal {
        /// To which service.
        service: Listen,
        /// Address and port; 0: the port that the client asks for. The client fills in the service's port where none
        /// was given.
        #[serde(deserialize_with = "addresses::deserialize_endpoint")]
        real: SocketAddr,
        /// 0 to 65535; absent: 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u32>,
        /// Connections at which no more are given; 0: no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upper_threshold: Option<u32>,
        /// Connections below which more are given again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lower_threshold: Option<u32>,
    },
    /// Change a real; what is absent stays.
    EditReal {
        /// Of which service.
        service: Listen,
        /// Which.
        #[serde(deserialize_with = "addresses::deserialize_endpoint")]
        real: SocketAddr,
        /// 0 to 65535.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u32>,
        /// See [`Command::AddReal`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upper_threshold: Option<u32>,
        /// See [`Command::AddReal`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lower_threshold: Option<u32>,
    },
    /// Remove a real.
    DelReal {
        /// Of which service.
        service: Listen,
        /// Which.
        #[serde(deserialize_with = "addresses::deserialize_endpoint")]
        real: SocketAddr,
    },
    /// Weight 0; the answer says how many connections live. (`--wait` is the client's: it asks again.)
    Drain {
        /// Of which service.
        service: Listen,
        /// Which.
        #[serde(deserialize_with = "addresses::deserialize_endpoint")]
        real: SocketAddr,
        /// What lives is reset.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reset: bool,
    },
    /// Services and reals with weights and connections.
    List {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// With counters.
    Stats {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// With rates.
    Rate {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// Every connection.
    Connections {
        /// Only of this service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// Show or change the timeouts.
    Timeouts {
        /// 0 leaves one as it is.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "timeouts")]
        set: Option<TimeoutSeconds>,
    },
    /// Reset the counters.
    Zero {
        /// Only of this one and its reals.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Listen>,
    },
    /// Remove all services.
    Clear {
        /// Instead of that, end all connections, and forget all clients of persistent services.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        connections: bool,
    },
    /// What would bring this state back.
    // Braces: serde lets unknown keys of a unit variant pass.
    Save {},
    /// Replace all services by these lines in one change.
    Restore {
        /// `save`'s lines.
        lines: Lines,
        /// Only say what is wrong with them; change nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// The services, reals and timeouts of these lines come into force, as if what differs had been typed: as one
    /// change.
    Apply {
        /// As `save` writes them.
        lines: Lines,
        /// Only say what would change.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
        /// Take it back after so many seconds, 1 to [`LONGEST_CONFIRM`], unless it is confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u32>,
    },
    /// The change that waits to be confirmed stays.
    Confirm {},
    /// `lbd` reads its configuration file again.
    Reload {
        /// Only say what would change.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// The changes that were made.
    History {
        /// The last so many; absent: all that are known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    /// Changes are taken back.
    Rollback {
        /// All after this one; absent: the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
    },
    /// Which program runs.
    Program {},
    /// How `lbd` does.
    Status {},
    /// All that is counted, for Prometheus.
    Metrics {},
    /// What another `lbd` says that takes the place of this one.
    HandOver {
        /// Which conversation it speaks: [`hand_over::CONVERSATION`].
        conversation: u32,
        /// How far it is.
        step: hand_over::Step,
    },
}

impl Command {
    /// Bytes of its lines, if it has any.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Restore { lines, .. } | Self::Apply { lines, .. } => lines.bytes(),
            _ => 0,
        }
    }

    /// Whether it is there to change services, reals or timeouts. The others show something, or reset counters. This
    /// is the only list of all commands.
    pub const fn is_change(&self) -> bool {
        match self {
            Self::AddService(_)
            | Self::EditService(_)
            | Self::DelService { .. }
            | Self::AddReal { .. }
            | Self::EditReal { .. }
            | Self::DelReal { .. }
            | Self::Drain { .. }
            | Self::Timeouts { set: Some(_) }
            | Self::Clear { connections: false }
            | Self::Restore { dry_run: false, .. }
            | Self::Apply { dry_run: false, .. }
            | Self::Reload { dry_run: false }
            | Self::Rollback { .. } => true,
            Self::List { .. }
            | Self::Stats { .. }
            | Self::Rate { .. }
            | Self::Connections { .. }
            | Self::Timeouts { set: None }
            | Self::Zero { .. }
            | Self::Clear { connections: true }
            | Self::Save {}
            | Self::Restore { dry_run: true, .. }
            | Self::Apply { dry_run: true, .. }
            | Self::Reload { dry_run: true }
            | Self::Confirm {}
            | Self::History { .. }
            | Self::Program {}
            | Self::Status {}
            | Self::Metrics {}
            | Self::HandOver { .. } => false,
        }
    }
}
