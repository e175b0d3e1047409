//! Names of schedulers, as `ipvsadm -s` knows them.

use crate::api::protocol::Refusal;
use dataplane::schedule::Algorithm;

/// What a service has when none is named.
pub const DEFAULT: Algorithm = Algorithm::WeightedRoundRobin;

const SUPPORTED: [(&str, Algorithm); 2] =
    [("rr", Algorithm::RoundRobin), ("wrr", Algorithm::WeightedRoundRobin)];

/// Schedulers of IPVS that are for later.
const LATER: [&str; 12] = ["lc", "wlc", "sed", "nq", "sh", "dh", "mh", "fo", "ovf", "lblc", "lblcr", "twos"];

/// The scheduler with this name.
///
/// # Errors
/// `not_supported` for one of IPVS that is for later, else `unknown_scheduler`.
pub fn by_name(name: &str) -> Result<Algorithm, Refusal> {
    if let Some((_, algorithm)) = SUPPORTED.iter().find(|(known, _)| *known == name) {
        return Ok(*algorithm);
    }
    if LATER.contains(&name) {
        let message = format!("not supported yet: scheduler {name:?} (supported: rr, wrr)");
        return Err(Refusal::new("not_supported", message));
    }
    Err(Refusal::new("unknown_scheduler", format!("unknown scheduler {name:?} (known: rr, wrr)")))
}

/// The name of a scheduler.
pub fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "rr",
        Algorithm::WeightedRoundRobin => "wrr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_schedulers_and_back() {
        for (text, algorithm) in SUPPORTED {
            assert_eq!(by_name(text), Ok(algorithm));
            assert_eq!(name(algorithm), text);
        }
    }

    #[test]
    fn later_and_unknown_ones_are_told_apart() {
        assert_eq!(by_name("wlc").unwrap_err().code, "not_supported");
        assert_eq!(by_name("nosuch").unwrap_err().message, "unknown scheduler \"nosuch\" (known: rr, wrr)");
    }
}
