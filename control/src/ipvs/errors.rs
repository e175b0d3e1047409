//! A refusal as LVS's tools read it: an error number, for which they have words, and natlb's own words.

use super::attributes::Malformed;
use crate::api::refusal::Refused;
use crate::model::rules::{Role, Unfit, UnfitSetting, Unsuitable};
use crate::text::service_options::SettingFault;
use dataplane::schedule::UnknownAlgorithm;
use nix::errno::Errno;
use std::net::IpAddr;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the kernel would answer, or comes closest. `keepalived` reads only some numbers as what they are, and
    /// takes all others for `EPERM`; these are among those that it knows.
    pub errno: Errno,
    /// What the number does not say. `None` where the kernel would refuse the same, since the tools have their words
    /// for that.
    pub words: Option<String>,
}

impl Refusal {
    /// A refusal that the number says nearly nothing of.
    pub fn new(errno: Errno, words: impl Into<String>) -> Self {
        Self { errno, words: Some(words.into()) }
    }

    /// A refusal that is the kernel's too.
    pub const fn plain(errno: Errno) -> Self {
        Self { errno, words: None }
    }
}

impl From<Malformed> for Refusal {
    fn from(Malformed: Malformed) -> Self {
        Self::new(Errno::EINVAL, "malformed message")
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::from(&refused)
    }
}

impl From<&Refused> for Refusal {
    fn from(refused: &Refused) -> Self {
        let errno = errno(refused);
        if is_the_kernels(refused) { Self::plain(errno) } else { Self::new(errno, refused.to_string()) }
    }
}

const fn errno(refused: &Refused) -> Errno {
    match refused {
        Refused::Unfit(unfit) => of_unfit(unfit),
        Refused::Setting(fault) => of_setting(fault),
        Refused::NotSupported(_) => Errno::EPROTONOSUPPORT,
        Refused::BadTimeout(_) => Errno::ERANGE,
        Refused::IdsUsedUp { .. } => Errno::ENOMEM,
        Refused::Lines(_) | Refused::CutOff(_) | Refused::NoLines => Errno::EINVAL,
        Refused::StateWrite(_)
        | Refused::WorkerStuck { .. }
        | Refused::WorkerBehind { .. }
        | Refused::TooManyWaiting(_)
        | Refused::Succeeding(_)
        | Refused::Confirming { .. }
        | Refused::HistoryWrite(_)
        | Refused::NoHandOver(_) => Errno::EBUSY,
        // What its tools cannot ask for.
        Refused::NothingToConfirm
        | Refused::BadConfirm
        | Refused::NoWayBack(_)
        | Refused::NoFile
        | Refused::File { .. }
        | Refused::ServicesNeedRestart { .. } => Errno::EINVAL,
        Refused::Stopping | Refused::StoppingKept(_) => Errno::ENODEV,
    }
}

const fn of_unfit(unfit: &Unfit) -> Errno {
    match unfit {
        Unfit::ServiceExists | Unfit::RealExists => Errno::EEXIST,
        Unfit::NoSuchService => Errno::ESRCH,
        Unfit::NoSuchReal => Errno::ENOENT,
        // As in a kernel without IPv6.
        Unfit::Address { why: Unsuitable::NotSpoken, .. } => Errno::EAFNOSUPPORT,
        Unfit::Address { .. } | Unfit::Overlapping { .. } | Unfit::NoRoute(_) | Unfit::Family => {
            Errno::EINVAL
        }
        Unfit::Weight(_) | Unfit::Threshold { .. } | Unfit::Thresholds(_) => Errno::ERANGE,
        Unfit::TooMany { .. } => Errno::ENOMEM,
    }
}

const fn of_setting(fault: &SettingFault) -> Errno {
    match fault {
        SettingFault::Scheduler(_) => Errno::ENOENT,
        SettingFault::Flag(_)
        | SettingFault::Mask(_)
        | SettingFault::MaskAlone
        | SettingFault::Timeout(_)
        | SettingFault::OnRemoval(_) => Errno::EINVAL,
        SettingFault::Unfit(unfit) => match unfit {
            UnfitSetting::OnePacket | UnfitSetting::Mask(_) => Errno::EINVAL,
            UnfitSetting::Persistence(_) | UnfitSetting::Timeout(_) | UnfitSetting::SlowStart(_) => {
                Errno::ERANGE
            }
        },
    }
}

/// Whether the kernel refuses this with the same number, so that there is nothing to add.
const fn is_the_kernels(refused: &Refused) -> bool {
    match refused {
        Refused::Unfit(unfit) => match unfit {
            Unfit::ServiceExists
            | Unfit::NoSuchService
            | Unfit::RealExists
            | Unfit::NoSuchReal
            | Unfit::Thresholds(_) => true,
            Unfit::Address { address, role: Role::Real, why: Unsuitable::NoHost(_) } => is_for_many(*address),
            _ => false,
        },
        Refused::Setting(SettingFault::Scheduler(unknown)) => match unknown.reason {
            UnknownAlgorithm::Unknown => true,
            UnknownAlgorithm::NotSupportedYet => false,
        },
        _ => false,
    }
}

/// Whether what is sent to this address is for several hosts.
const fn is_for_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}
