//! How much there can be, and how large it can be.

pub use dataplane::names::ids::MAX_REALS;

/// The most services: far above what an operator has, and small enough that announcing each VIP stays cheap.
pub const MAX_SERVICES: usize = 4096;

/// The largest weight of a real.
pub const LARGEST_WEIGHT: u32 = 65_535;
