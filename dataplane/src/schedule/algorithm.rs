//! The algorithms and their names.

use std::fmt;
use std::str::FromStr;

/// A scheduling algorithm. Those of IPVS pick as Linux 6.1 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `wrr`.
    WeightedRoundRobin,
    /// `rr`.
    RoundRobin,
    /// `lc`.
    LeastConnection,
    /// `wlc`.
    WeightedLeastConnection,
    /// `sed`.
    ShortestExpectedDelay,
    /// `nq`.
    NeverQueue,
    /// `fo`.
    WeightedFailover,
    /// `ovf`.
    WeightedOverflow,
    /// `sh`.
    SourceHashing,
    /// `mh`.
    MaglevHashing,
    /// `dh`.
    DestinationHashing,
    /// `twos`.
    PowerOfTwo,
    /// `swrr`; not of IPVS.
    SmoothWeightedRoundRobin,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnection,
        Self::WeightedLeastConnection,
        Self::ShortestExpectedDelay,
        Self::NeverQueue,
        Self::WeightedFailover,
        Self::WeightedOverflow,
        Self::SourceHashing,
        Self::MaglevHashing,
        Self::DestinationHashing,
        Self::PowerOfTwo,
        Self::SmoothWeightedRoundRobin,
    ];

    /// Their names, for messages.
    pub const KNOWN: &str = "rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr";

    /// Names of LVS schedulers that are not there yet.
    pub const NOT_SUPPORTED_YET: [&str; 2] = ["lblc", "lblcr"];

    /// The name in commands, files and listings, as in `ipvsadm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WeightedRoundRobin => "wrr",
            Self::RoundRobin => "rr",
            Self::LeastConnection => "lc",
            Self::WeightedLeastConnection => "wlc",
            Self::ShortestExpectedDelay => "sed",
            Self::NeverQueue => "nq",
            Self::WeightedFailover => "fo",
            Self::WeightedOverflow => "ovf",
            Self::SourceHashing => "sh",
            Self::MaglevHashing => "mh",
            Self::DestinationHashing => "dh",
            Self::PowerOfTwo => "twos",
            Self::SmoothWeightedRoundRobin => "swrr",
        }
    }

    /// Whether a real that appears can get its share by and by: not where each client has its real, nor where the order
    /// of the weights alone decides.
    pub const fn has_slow_start(self) -> bool {
        match self {
            Self::RoundRobin
            | Self::WeightedRoundRobin
            | Self::LeastConnection
            | Self::WeightedLeastConnection
            | Self::ShortestExpectedDelay
            | Self::NeverQueue
            | Self::PowerOfTwo
            | Self::SmoothWeightedRoundRobin => true,
            Self::WeightedFailover
            | Self::WeightedOverflow
            | Self::SourceHashing
            | Self::MaglevHashing
            | Self::DestinationHashing => false,
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
        assert_eq!("lblc".parse::<Algorithm>(), Err(UnknownAlgorithm::NotSupportedYet));
        assert_eq!("WRR".parse::<Algorithm>(), Err(UnknownAlgorithm::Unknown));
    }
}
