//! Why a command is refused.

use crate::api::protocol::{FaultyLines, LONGEST_CONFIRM, Refusal};
use crate::model::rules::{Unfit, UnfitSetting};
use crate::text::ipvsadm_lines::CutOff;
use crate::text::service_options::SettingFault;
use dataplane::connection::Timeouts;
use dataplane::names::ids::REAL_IDS;
use dataplane::schedule::UnknownAlgorithm;
use std::path::PathBuf;
use thiserror::Error;

/// Why a command is refused; the text is what the operator reads.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// A service or a real that cannot be, or is not there.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Something that cannot be set of a service.
    #[error(transparent)]
    Setting(#[from] SettingFault),
    /// Not built yet; which part of LVS it is.
    #[error("not supported yet: {0}")]
    NotSupported(&'static str),
    /// Above the longest.
    #[error("timeout {0} is above {max} seconds (31 days)", max = Timeouts::LONGEST_SECONDS)]
    BadTimeout(u32),
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
    /// Changes are taken one after the other, and no more of them may wait.
    #[error("nothing changed: {0} changes wait for their turn; try again")]
    TooManyWaiting(usize),
    /// The daemon stops before this change's turn has come.
    #[error("nothing changed: lbd stops")]
    Stopping,
    /// The daemon stops while workers adopt the change.
    #[error(
        "lbd stops before every worker has taken version {0} of the configuration; the state file has it, if there is one"
    )]
    StoppingKept(u64),
    /// Another `lbd` is about to take this one's place, and has read what is configured.
    #[error("nothing changed: process {0} is about to take the place of this lbd; try again")]
    Succeeding(u32),
    /// Changes wait until the last one is confirmed, or taken back.
    #[error(
        "nothing changed: change {number} waits for {seconds} s to be confirmed (lbctl confirm, or lbctl rollback --last)"
    )]
    Confirming {
        /// Its number.
        number: u64,
        /// How long it still waits.
        seconds: u64,
    },
    /// No change waits to be confirmed.
    #[error("no change waits to be confirmed; one that did in vain was taken back")]
    NothingToConfirm,
    /// Longer than a change may wait.
    #[error("nothing changed: a change may wait from 1 to {max} seconds to be confirmed", max = LONGEST_CONFIRM)]
    BadConfirm,
    /// The history cannot be written.
    #[error(
        "the history cannot be written, so that a restart would not know what waits to be confirmed: {0}"
    )]
    HistoryWrite(String),
    /// A change cannot be taken back.
    #[error("nothing changed: {0}")]
    NoWayBack(String),
    /// The daemon knows no configuration file.
    #[error("nothing changed: this lbd was started without a configuration file that it could read again")]
    NoFile,
    /// The configuration file is faulty.
    #[error("nothing changed: {}: {faults}", path.display())]
    File {
        /// Of the file.
        path: PathBuf,
        /// What is wrong with it; line 0: with all of it.
        faults: FaultyLines,
    },
    /// The services of the configuration file cannot be before a restart.
    #[error("nothing changed: the services of {} need a restart, as its ports do: {faults}", path.display())]
    ServicesNeedRestart {
        /// Of the file.
        path: PathBuf,
        /// What is wrong with the services as `save` would write them.
        faults: String,
    },
    /// No other `lbd` can take this one's place now.
    #[error("{0}")]
    NoHandOver(String),
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
            Self::Unfit(unfit) => match unfit {
                Unfit::ServiceExists => "service_exists",
                Unfit::NoSuchService => "no_such_service",
                Unfit::RealExists => "real_exists",
                Unfit::NoSuchReal => "no_such_real",
                Unfit::Address { .. } => "bad_address",
                Unfit::Overlapping { .. } => "bad_ports",
                Unfit::Weight(_) => "bad_weight",
                Unfit::Threshold { .. } | Unfit::Thresholds(_) => "bad_threshold",
                Unfit::NoRoute(_) => "no_route",
                Unfit::Family => "bad_address",
                Unfit::TooMany { .. } => "too_many",
            },
            Self::Setting(SettingFault::Scheduler(unknown)) => match unknown.reason {
                UnknownAlgorithm::Unknown => "unknown_scheduler",
                UnknownAlgorithm::NotSupportedYet => "not_supported",
            },
            Self::Setting(SettingFault::Flag(_)) => "bad_flag",
            Self::Setting(SettingFault::Mask(_) | SettingFault::MaskAlone) => "bad_persistence",
            Self::Setting(SettingFault::Timeout(_)) => "bad_timeout",
            Self::Setting(SettingFault::OnRemoval(_)) => "bad_on_removal",
            Self::Setting(SettingFault::Unfit(setting)) => code_of(setting),
            Self::NotSupported(_) => "not_supported",
            Self::BadTimeout(_) => "bad_timeout",
            Self::IdsUsedUp { .. } => "too_many",
            Self::Lines(_) | Self::CutOff(_) | Self::NoLines => "bad_line",
            Self::StateWrite(_) => "state_write_failed",
            Self::WorkerStuck { .. } | Self::WorkerBehind { .. } => "worker_stuck",
            Self::TooManyWaiting(_) | Self::Succeeding(_) | Self::Confirming { .. } => "busy",
            Self::NothingToConfirm => "nothing_to_confirm",
            Self::BadConfirm => "bad_confirm",
            Self::HistoryWrite(_) => "history_write_failed",
            Self::NoWayBack(_) => "no_way_back",
            Self::NoFile | Self::File { .. } => "bad_file",
            Self::ServicesNeedRestart { .. } => "needs_restart",
            Self::NoHandOver(_) => "no_hand_over",
            Self::Stopping | Self::StoppingKept(_) => "stopping",
        }
    }
}

const fn code_of(setting: &UnfitSetting) -> &'static str {
    match setting {
        UnfitSetting::OnePacket => "bad_one_packet",
        UnfitSetting::Persistence(_) | UnfitSetting::Mask(_) => "bad_persistence",
        UnfitSetting::Timeout(_) => "bad_timeout",
        UnfitSetting::SlowStart(_) => "bad_slow_start",
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let refusal = Self::new(refused.code(), refused.to_string());
        match refused {
            Refused::Lines(FaultyLines { named, more }) => Self { lines: named, more, ..refusal },
            Refused::File { path, faults: FaultyLines { named, more } } => {
                let file = Some(path.display().to_string());
                Self { file, lines: named, more, ..refusal }
            }
            _ => refusal,
        }
    }
}
