//! Which real a new connection gets.
//!
//! ```text
//! algorithm    the algorithms and their names
//! flags        how sh and mh are varied
//! asked        what a scheduler is told of a new connection, and what it may know of reals
//! listed       a service's reals in the kernel's order
//! rounds       rr and wrr: the reals and what changed, immutable, in the snapshot
//!   change       what one change to a service's reals does to wrr
//!   place        where one worker stands
//!   weight_tree  finding the next real whose weight reaches a level
//! least        lc, wlc, sed, nq, fo and ovf: a tournament of all reals
//!   few        lc, wlc, sed and nq without matches, for up to four reals
//! hashed       sh, mh and dh: tables in the snapshot
//!   maglev       the table of mh
//!   sip_hash     its hash
//! two          twos: two reals drawn by weight
//! smooth       swrr: credits that grow with the weights
//! slow_start   reals that appear get their share by and by
//! position     what one worker keeps for a service
//! positions    ... for all services, and how it follows what happens to their reals
//! ```
//!
//! An algorithm of another kind is a file that makes its choices, a variant of [`Schedule`] and of [`Position`], and
//! its names in [`Algorithm`].

mod algorithm;
mod asked;
mod change;
mod few;
mod flags;
mod hashed;
mod least;
mod listed;
mod maglev;
mod place;
mod position;
mod positions;
mod rounds;
mod sip_hash;
mod slow_start;
mod smooth;
mod two;
mod weight_tree;

#[cfg(test)]
mod kernel_model;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod models;
#[cfg(test)]
mod transcript;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use asked::{Asked, Known};
pub use change::Change;
pub use flags::Flags;
pub use hashed::Hashed;
pub use least::Least;
pub use position::Position;
pub use positions::Positions;
pub use rounds::Rounds;
pub use smooth::Smooth;
pub use two::Two;

use crate::names::ids::RealId;
use least::Tournament;
use listed::Listed;
use std::net::SocketAddr;
use std::sync::Arc;

/// A real that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub real: RealId,
    /// 0: gets no new connection.
    pub weight: u32,
}

/// What `mh` hashes of a real, and how many slots of its table that gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its own address and port; port 0 if it has the port that the client asked for.
    pub endpoint: SocketAddr,
    /// Its last weight that was not 0; 0: it never had one.
    pub last_weight: u32,
}

/// How a service's reals are scheduled, besides by which algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Those of the algorithm.
    pub flags: Flags,
    /// Seconds in which a real that appears comes to its share; 0: at once. Without effect for an algorithm that does
    /// not [have it](Algorithm::has_slow_start).
    pub slow_start: u32,
    /// Of the reals, in the order of the candidates: for `mh`; the other algorithms do without.
    pub identities: Vec<Identity>,
}

/// The immutable part of scheduling one service, in the snapshot. What kind of algorithm it is matters once for each
/// new connection: so that is told by a byte of its own, and need not be worked out.
#[derive(Debug)]
#[repr(u8)]
pub enum Schedule {
    /// `rr` and `wrr`.
    Rounds(Rounds),
    /// `lc`, `wlc`, `sed`, `nq`, `fo` and `ovf`.
    Least(Least),
    /// `sh`, `mh` and `dh`.
    Hashed(Arc<Hashed>),
    /// `twos`.
    Two(Two),
    /// `swrr`.
    Smooth(Smooth),
}

impl Schedule {
    /// As [`with_options`](Self::with_options) and none.
    ///
    /// # Panics
    /// For `mh` if there are reals.
    pub fn new(
        algorithm: Algorithm,
        generation: u64,
        candidates_newest_first: Vec<Candidate>,
        first_sequence: u64,
        changes: Vec<Change>,
    ) -> Self {
        let options = Options::default();
        Self::with_options(
            algorithm,
            &options,
            generation,
            candidates_newest_first,
            (first_sequence, changes),
        )
    }

    /// `generation` is another one whenever the service is made anew or its algorithm replaced: then
    /// workers start afresh. `changes`, which `wrr` alone looks at, are the effects of single additions, edits and
    /// deletions in their order, numbered from `first_sequence` on without gaps; each is replayed once by every
    /// worker, so it must be there until all workers have adopted a schedule that contains it.
    ///
    /// Takes time in proportion to the reals and changes; with `mh` some 250,000 instructions more, for its table.
    ///
    /// # Panics
    /// For `mh` if there are not as many identities as candidates.
    pub fn with_options(
        algorithm: Algorithm,
        options: &Options,
        generation: u64,
        candidates_newest_first: Vec<Candidate>,
        (first_sequence, changes): (u64, Vec<Change>),
    ) -> Self {
        let listed = Listed::new(algorithm, options, generation, candidates_newest_first);
        match algorithm {
            Algorithm::RoundRobin | Algorithm::WeightedRoundRobin => {
                Self::Rounds(Rounds::new(listed, first_sequence, changes))
            }
            Algorithm::LeastConnection
            | Algorithm::WeightedLeastConnection
            | Algorithm::ShortestExpectedDelay
            | Algorithm::NeverQueue
            | Algorithm::WeightedFailover
            | Algorithm::WeightedOverflow => Self::Least(Least { listed }),
            Algorithm::SourceHashing | Algorithm::MaglevHashing | Algorithm::DestinationHashing => {
                Self::Hashed(Arc::new(Hashed::new(listed, options)))
            }
            Algorithm::PowerOfTwo => Self::Two(Two { listed }),
            Algorithm::SmoothWeightedRoundRobin => Self::Smooth(Smooth { listed }),
        }
    }

    #[inline(always)]
    fn listed(&self) -> &Listed {
        match self {
            Self::Rounds(rounds) => &rounds.listed,
            Self::Least(least) => &least.listed,
            Self::Hashed(hashed) => &hashed.listed,
            Self::Two(two) => &two.listed,
            Self::Smooth(smooth) => &smooth.listed,
        }
    }

    /// The rule.
    pub fn algorithm(&self) -> Algorithm {
        self.listed().algorithm
    }

    /// Whether its picks compare reals by their [connections](Known::connections), so that these are to be added up
    /// over the workers.
    pub const fn needs_sums(&self) -> bool {
        self.compares_connections() || matches!(self, Self::Two(_))
    }

    /// Whether a worker is to look at a real again whenever its connection counts change.
    const fn compares_connections(&self) -> bool {
        matches!(self, Self::Least(least) if Tournament::compares_connections(least.listed.algorithm))
    }

    /// Whether a worker keeps something that has to follow what happens to reals.
    #[inline(always)]
    const fn is_followed(&self) -> bool {
        !matches!(self, Self::Rounds(_) | Self::Hashed(_))
    }

    /// The reals, the newest first.
    #[inline(always)]
    pub fn candidates(&self) -> &[Candidate] {
        &self.listed().candidates
    }

    /// Number of the change that comes next; 0 where none are replayed.
    pub fn next_sequence(&self) -> u64 {
        match self {
            Self::Rounds(rounds) => rounds.next_sequence(),
            _ => 0,
        }
    }

    /// The real for a new connection: the first of its [`choices`](Self::choices). `None` if none is usable, as far as
    /// was looked, or the one that it would have to be is not.
    ///
    /// Of a service whose reals' connections count, [`Positions`] are to follow these.
    #[inline(always)]
    pub fn choice(&self, position: &mut Position, asked: &Asked<'_>) -> Option<RealId> {
        match (self, position) {
            (Self::Rounds(rounds), Position::Place(place)) => {
                rounds.turn(place, asked.known.live, asked.known.now)
            }
            (Self::Hashed(hashed), _) => {
                hashed.pick(asked.client, || Some(asked.destination), asked.known.live)
            }
            (Self::Least(_), Position::Few(few)) => few.pick(&asked.known),
            (Self::Least(_), Position::Tournament(tournament)) => tournament.pick(&asked.known),
            (Self::Two(_), Position::Lots(lots)) => lots.pick(&asked.known),
            (Self::Smooth(_), Position::Race(race)) => race.pick(&asked.known),
            // Not adopted.
            _ => None,
        }
    }

    /// The reals that a new connection may get, in the order in which they are to be tried: the first is the choice,
    /// and where it can't be used, the next one. The worker's position moves on by one choice, whatever is used.
    pub fn choices<'a>(
        &'a self,
        position: &mut Position,
        asked: &Asked<'a>,
    ) -> impl Iterator<Item = RealId> + use<'a> {
        let first = self.choice(position, asked);
        let live = asked.known.live;
        // Where there is no first choice all others are of no use either, or have not been looked at.
        let others = if first.is_some() { self.candidates() } else { &[] };
        let others = others.iter().filter(|candidate| candidate.weight > 0).map(|candidate| candidate.real);
        first.into_iter().chain(others.filter(move |real| live.is_usable(*real)))
    }
}

#[cfg(test)]
mod tests;
