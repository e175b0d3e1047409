//! What `lbd` answers: done or refused, and what stands under `ok` of commands that change something.

use super::FaultyLine;
use serde::{Deserialize, Serialize};

/// An answer line: `{"v":1,"ok":{…}}` or `{"v":1,"error":{…}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`](super::VERSION).
    pub v: u32,
    /// Done, or refused.
    #[serde(flatten)]
    pub result: Outcome,
}

/// Done, or refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What the command gives.
    Ok(serde_json::Value),
    /// Why it was refused; nothing has changed. Only a change that a worker does not take in time
    /// (`worker_stuck`) may be kept all the same, as its message says: it comes into force when that worker
    /// goes on.
    Error(Refusal),
}

/// Why a request was refused: `{"code":"no_such_service","message":"no such service"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs: `service_exists`, `no_such_service`, `real_exists`, `no_such_real`,
    /// `unknown_scheduler`, `not_supported`, `bad_line`, `bad_request`, …
    pub code: String,
    /// For people; what `lbctl` prints after its name.
    pub message: String,
    /// Of `reload`: the file that the lines are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Of `restore`, `apply` and `reload`: every faulty line, up to
    /// [`FaultyLines::MOST_NAMED`](super::FaultyLines::MOST_NAMED).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<FaultyLine>,
    /// Faulty lines beyond these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

impl Refusal {
    /// One that is not about lines.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), file: None, lines: Vec::new(), more: 0 }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Under `ok` of `timeouts`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutsView {
    /// TCP, established.
    pub tcp: u32,
    /// TCP, after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
    /// The version in force.
    pub config_version: u64,
}

/// Under `ok` of `save`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// `ipvsadm-save -n` lines.
    pub lines: Vec<String>,
}

/// Under `ok` of `metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// In Prometheus' text format 0.0.4.
    pub text: String,
}

/// Under `ok` of a `restore` that is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Services that there would be.
    pub services: usize,
    /// Reals that there would be.
    pub reals: usize,
    /// The version in force: still the same.
    pub config_version: u64,
}

/// Under `ok` of `drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Connections that live: TIME_WAIT and CLOSE don't count.
    pub live: u64,
    /// The version in force.
    pub config_version: u64,
}

/// Under `ok` of `clear` of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Connections that there were.
    pub connections: u64,
    /// The version in force: still the same.
    pub config_version: u64,
}

/// Under `ok` of the commands that only change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The version in force, on every worker.
    pub config_version: u64,
    /// What is done all the same, but may be a mistake; of `add-service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
