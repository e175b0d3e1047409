//! How much there can be, and how large it can be.

pub use dataplane::names::ids::MAX_REALS;

/// The most services. A worker that goes over to a configuration made anew looks at each of them between two bursts, so
/// there must not be too many; announcing as many VIPs once takes 8 s.
pub const MAX_SERVICES: usize = 16_384;

/// The largest weight of a real.
pub const LARGEST_WEIGHT: u32 = 65_535;

/// The largest threshold of a real, as in `ipvsadm`.
pub const LARGEST_THRESHOLD: u32 = i32::MAX as u32;

/// The longest that a real can take to come to its full share, in seconds: a day.
pub const LONGEST_SLOW_START: u32 = 86_400;
