//! Names of schedulers, as `ipvsadm -s` knows them.

use dataplane::schedule::{Algorithm, UnknownAlgorithm};
use std::fmt;

/// What a service has when none is named.
pub const DEFAULT: Algorithm = Algorithm::WeightedRoundRobin;

/// A name that stands for no scheduler that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScheduler {
    /// As written.
    pub name: String,
    /// Whether IPVS knows it.
    pub reason: UnknownAlgorithm,
}

impl fmt::Display for UnknownScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason } = self;
        let known = Algorithm::KNOWN;
        match reason {
            UnknownAlgorithm::NotSupportedYet => {
                write!(f, "not supported yet: scheduler {name:?} (supported: {known})")
            }
            UnknownAlgorithm::Unknown => write!(f, "unknown scheduler {name:?} (known: {known})"),
        }
    }
}

impl std::error::Error for UnknownScheduler {}

/// The scheduler with this name.
///
/// # Errors
/// One of IPVS that is for later, or none at all.
pub fn by_name(name: &str) -> Result<Algorithm, UnknownScheduler> {
    name.parse().map_err(|reason| UnknownScheduler { name: name.to_owned(), reason })
}

/// The scheduler with this name, or the default where none is named.
///
/// # Errors
/// As [`by_name`].
pub fn by_name_or_default(name: Option<&str>) -> Result<Algorithm, UnknownScheduler> {
    name.map_or(Ok(DEFAULT), by_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_unknown_ones_are_told_apart() {
        let text = |name| by_name(name).unwrap_err().to_string();
        assert_eq!(
            text("lblc"),
            "not supported yet: scheduler \"lblc\" (supported: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)"
        );
        assert_eq!(
            text("nosuch"),
            "unknown scheduler \"nosuch\" (known: rr, wrr, lc, wlc, sed, nq, fo, ovf, sh, mh, dh, twos, swrr)"
        );
        assert_eq!(by_name_or_default(None), Ok(DEFAULT));
    }
}
