//! Which real a new connection gets.

use crate::ids::RealId;

/// A scheduling algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `wrr`.
    WeightedRoundRobin,
    /// `rr`.
    RoundRobin,
}

/// A real that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub real: RealId,
    /// 0: gets no new connection.
    pub weight: u32,
}

/// What one change to a service's reals does to `wrr`: `mw` and `di` after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Greatest common divisor of the weights above 0; 1 if there are none.
    pub divisor: u32,
    /// Largest weight less (`divisor` - 1).
    pub top: u32,
}

/// The immutable part of scheduling, in the snapshot.
#[derive(Debug)]
pub struct Schedule;

/// The worker's own part: where it stands in a service's list.
#[derive(Debug, Default)]
pub struct Position;
