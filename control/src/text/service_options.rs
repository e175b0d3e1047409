//! What is set of a service, as a command, the file, or a line names it: with the names of [`ServiceOptions`]'s fields
//! in the file and in requests, with `ipvsadm`'s letters in lines.

use super::algorithms::{self, UnknownScheduler};
use super::scheduler_flags::{self, UnfitFlag};
use super::services::Listen;
use super::{masks, state_timeouts};
use crate::model::Settings;
use crate::model::rules::{UnfitSetting, check_settings};
use dataplane::connection::State;
use dataplane::schedule::Flags;
use dataplane::snapshot::{OnRemoval, Persistence};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::net::IpAddr;
use thiserror::Error;

/// How long a client stays with its real where no time is said, in seconds.
pub const DEFAULT_PERSISTENCE: u32 = 360;

/// Words for what becomes of the connections of a real that is removed.
pub const ON_REMOVAL: [(&str, OnRemoval); 3] =
    [("drop", OnRemoval::Drop), ("reset", OnRemoval::Reset), ("reschedule", OnRemoval::Reschedule)];

/// A service and what is said of its settings; `None`: nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceOptions {
    /// Which.
    pub service: Listen,
    /// By name; of a new service `wrr` if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// All flags that the scheduler is to have, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// Seconds; 0: not persistent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<u32>,
    /// As `255.255.255.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_mask: Option<String>,
    /// Whether every datagram is scheduled by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_packet: Option<bool>,
    /// By state, in seconds; 0: as of all services. States that are not named stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<BTreeMap<String, u32>>,
    /// `drop`, `reset` or `reschedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_removal: Option<String>,
    /// Seconds; 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<u32>,
}

/// Why something cannot be set of a service.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingFault {
    /// No scheduler, or one that is not built yet.
    #[error(transparent)]
    Scheduler(#[from] UnknownScheduler),
    /// No flag, or another scheduler's.
    #[error(transparent)]
    Flag(#[from] UnfitFlag),
    /// It is no mask; the text says so.
    #[error("{0}")]
    Mask(String),
    /// A mask of a service that is not persistent.
    #[error("a persistence mask (-M) is only for persistent services (-p)")]
    MaskAlone,
    /// No state has this name, or two names are of one; the text says which.
    #[error("{0}")]
    Timeout(String),
    /// No word for what becomes of connections.
    #[error("on_removal: expected drop, reset or reschedule, found {0:?}")]
    OnRemoval(String),
    /// The model's rules are against it.
    #[error(transparent)]
    Unfit(#[from] UnfitSetting),
}

impl SettingFault {
    /// The key of the file, and of a request, that is at fault.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Scheduler(_) => "scheduler",
            Self::Flag(_) => "flags",
            Self::Mask(_) | Self::MaskAlone => "persistence_mask",
            Self::Timeout(_) => "timeouts",
            Self::OnRemoval(_) => "on_removal",
            Self::Unfit(unfit) => unfit.key(),
        }
    }
}

impl ServiceOptions {
    /// A service of whose settings nothing is said.
    pub const fn new(service: Listen) -> Self {
        Self {
            service,
            scheduler: None,
            flags: None,
            persistence: None,
            persistence_mask: None,
            one_packet: None,
            timeouts: None,
            on_removal: None,
            slow_start: None,
        }
    }

    /// The settings that the service is to have: what is not said is as in `present`, or as of a new service. Flags
    /// belong to a scheduler, so another one begins without.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn settings(&self, present: Option<&Settings>) -> Result<Settings, SettingFault> {
        let mut settings = match (&self.scheduler, present) {
            (None, Some(present)) => *present,
            (scheduler, present) => {
                let algorithm = algorithms::by_name_or_default(scheduler.as_deref())?;
                let before = present.copied().unwrap_or(Settings::new(algorithm));
                let flags = if before.algorithm == algorithm { before.flags } else { Flags::NONE };
                Settings { algorithm, flags, ..before }
            }
        };
        if let Some(names) = &self.flags {
            let names = names.iter().map(String::as_str);
            settings.flags = scheduler_flags::by_names(Some(settings.algorithm.name()), names)?;
        }
        settings.persistence = self.persistence_after(settings.persistence)?;
        settings.one_packet = self.one_packet.unwrap_or(settings.one_packet);
        for (state, seconds) in self.state_timeouts()? {
            settings.timeouts.set(state, seconds);
        }
        if let Some(word) = &self.on_removal {
            settings.on_removal = on_removal(word)?;
        }
        settings.slow_start = self.slow_start.unwrap_or(settings.slow_start);
        check_settings(&self.service.0, &settings)?;
        Ok(settings)
    }

    /// Whether the words can be right, as far as that can be said without knowing the service as it is, nor whether a
    /// scheduler of this name is there.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check_words(&self) -> Result<(), SettingFault> {
        let names = self.flags.iter().flatten().map(String::as_str);
        scheduler_flags::by_names(self.scheduler.as_deref(), names)?;
        let mask = masks::whole(self.vip());
        let present = Settings {
            persistence: Some(Persistence { seconds: DEFAULT_PERSISTENCE, mask }),
            ..Settings::new(algorithms::DEFAULT)
        };
        Self { scheduler: None, flags: None, ..self.clone() }.settings(Some(&present)).map(|_| ())
    }

    fn vip(&self) -> IpAddr {
        self.service.0.listen.ip()
    }

    fn persistence_after(&self, present: Option<Persistence>) -> Result<Option<Persistence>, SettingFault> {
        let seconds =
            self.persistence.or(present.map(|present| present.seconds)).filter(|seconds| *seconds > 0);
        let mask = self.persistence_mask.as_deref().map(|text| masks::by_text(self.vip(), text));
        let mask = mask.transpose().map_err(SettingFault::Mask)?;
        match seconds {
            Some(seconds) => {
                let mask = mask.or(present.map(|present| present.mask)).unwrap_or(masks::whole(self.vip()));
                Ok(Some(Persistence { seconds, mask }))
            }
            None if mask.is_some() => Err(SettingFault::MaskAlone),
            None => Ok(None),
        }
    }

    fn state_timeouts(&self) -> Result<Vec<(State, u32)>, SettingFault> {
        let mut named = HashSet::new();
        let each = self.timeouts.iter().flatten().map(|(name, seconds)| {
            let state = state_timeouts::state(name).map_err(SettingFault::Timeout)?;
            let is_new = named.insert(state);
            if is_new {
                Ok((state, *seconds))
            } else {
                Err(SettingFault::Timeout(format!("{name}: given twice")))
            }
        });
        each.collect()
    }
}

/// What this word says that becomes of the connections of a real that is removed.
///
/// # Errors
/// It is another word.
pub fn on_removal(word: &str) -> Result<OnRemoval, SettingFault> {
    let known = ON_REMOVAL.iter().find(|(known, _)| *known == word);
    known.map(|(_, on_removal)| *on_removal).ok_or_else(|| SettingFault::OnRemoval(word.to_owned()))
}

/// The word for it.
pub fn on_removal_word(on_removal: OnRemoval) -> &'static str {
    ON_REMOVAL.iter().find(|(_, known)| *known == on_removal).map_or("", |(word, _)| *word)
}

/// The options that say all of it, in `ipvsadm`'s order, and then natlb's own: ` -s sh -p 50 -M 255.255.255.0`.
pub fn text(settings: &Settings) -> String {
    let Settings { algorithm, flags, persistence, one_packet, timeouts, on_removal, slow_start } = settings;
    let mut text = format!(" -s {algorithm}");
    if let Some(Persistence { seconds, mask }) = persistence {
        let _ = write!(text, " -p {seconds}");
        if *mask != masks::whole(*mask) {
            let _ = write!(text, " -M {}", masks::text(*mask));
        }
    }
    if *one_packet {
        text.push_str(" -o");
    }
    if !flags.is_empty() {
        let names: Vec<_> = scheduler_flags::names(algorithm.name(), *flags).collect();
        let _ = write!(text, " -b {}", names.join(","));
    }
    if !timeouts.is_empty() {
        let _ = write!(text, " --timeouts {}", state_timeouts::text(timeouts));
    }
    if *on_removal != OnRemoval::Drop {
        let _ = write!(text, " --on-removal {}", on_removal_word(*on_removal));
    }
    if *slow_start != 0 {
        let _ = write!(text, " --slow-start {slow_start}");
    }
    text
}

#[cfg(test)]
mod tests;
