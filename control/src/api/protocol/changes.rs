//! What changes or would, and what was changed.

use crate::api::origin::Origin;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Under `ok` of `reload`, `apply` and `rollback`: what has changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The version in force; of what is only tried: still the same.
    pub config_version: u64,
    /// Of services, reals and timeouts: what goes comes first.
    pub edits: Vec<EditView>,
    /// Of routes, neighbours and settings; only of `reload`.
    #[serde(default)]
    pub others: Vec<String>,
    /// What the configuration file has otherwise, and has no effect before a restart; only of `reload`.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// What an operator should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The number of the change in the history; absent: nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<u64>,
    /// It is taken back after so many seconds unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_s: Option<u32>,
}

impl Edited {
    /// Whether nothing is otherwise.
    pub fn is_same(&self) -> bool {
        self.edits.is_empty() && self.others.is_empty() && self.needs_restart.is_empty()
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditView {
    /// As `ipvsadm` would have it.
    pub line: String,
    /// Connections, as `ActiveConn`, of the reals that are removed or changed; absent: it is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<u64>,
}

/// Under `ok` of `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The oldest first.
    pub changes: Vec<EntryView>,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// Counted from 1, over restarts.
    pub change: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The version of the configuration that it led to.
    pub config_version: u64,
    /// Who.
    #[serde(flatten)]
    pub origin: Origin,
    /// What was asked for.
    pub command: String,
    /// The lines that take it back; `None`: nothing does.
    pub lines_back: Option<usize>,
    /// When it is taken back unless it is confirmed; milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_until_ms: Option<u64>,
}

/// Under `ok` of `confirm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The number of the change that stays.
    pub change: u64,
    /// The version in force.
    pub config_version: u64,
}

/// Under `ok` of `program`: which program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// natlb's version.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// The file that it was started from: its file system and its number there, when it was started. A package that is
    /// installed over it gives the path another file.
    pub file: Option<(u64, u64)>,
    /// Its configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PathBuf>,
}
