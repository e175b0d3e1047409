//! The algorithms and their names.

use std::fmt;
use std::str::FromStr;

/// A scheduling algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `wrr`.
    WeightedRoundRobin,
    /// `rr`.
    RoundRobin,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::RoundRobin, Self::WeightedRoundRobin];

    /// Their names, for messages.
    pub const KNOWN: &str = "rr, wrr";

    /// Names of LVS schedulers that are not there yet.
    pub const NOT_SUPPORTED_YET: [&str; 12] =
        ["dh", "fo", "lblc", "lblcr", "lc", "mh", "nq", "ovf", "sed", "sh", "twos", "wlc"];

    /// The name in commands, files and listings, as in `ipvsadm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WeightedRoundRobin => "wrr",
            Self::RoundRobin => "rr",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a name is not that of an [`Algorithm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAlgorithm {
    /// An LVS scheduler of [`Algorithm::NOT_SUPPORTED_YET`].
    NotSupportedYet,
    /// No scheduler at all.
    Unknown,
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        known.ok_or(if Self::NOT_SUPPORTED_YET.contains(&name) {
            UnknownAlgorithm::NotSupportedYet
        } else {
            UnknownAlgorithm::Unknown
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert!(!Algorithm::NOT_SUPPORTED_YET.contains(&algorithm.name()));
        }
        assert_eq!(Algorithm::KNOWN, Algorithm::ALL.map(Algorithm::name).join(", "));
        assert_eq!("wlc".parse::<Algorithm>(), Err(UnknownAlgorithm::NotSupportedYet));
        assert_eq!("WRR".parse::<Algorithm>(), Err(UnknownAlgorithm::Unknown));
    }
}
