//! Which worker a connection belongs to, and how a NIC is made to agree.
//!
//! Both directions of a NATed connection share one thing alone: the client's address and port. So its
//! owner is a function of these, the [`OwnerMap`], and no worker needs to know of another's
//! connections. Software can always compute it; a NIC's receive-side scaling (RSS) can save the
//! hand-over where it is given the same function.
//!
//! ```text
//! owner       client endpoint → worker
//! indirection the table from a hash's low bits to a worker (RETA)
//! rebalance     how its entries are spread over hashes that an attacker finds without the key
//! zero_window hash keys under which a NIC that hashes all fields computes the same
//! free_key    one for a NIC that hashes the client's fields alone
//! spreading   what a key must do to be used
//! ```

mod free_key;
mod indirection;
mod owner;
mod rebalance;
mod spreading;
mod zero_window;

pub use free_key::free_key;
pub use indirection::{Indirection, LARGEST_TABLE, MOST_WORKERS, SMALLEST_TABLE};
pub use owner::{ClientBits, OwnerMap};
pub use zero_window::{Family, Hashed, ZeroWindow};

/// Why there is no such map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    /// Entries of an indirection table: a power of two from [`SMALLEST_TABLE`] to [`LARGEST_TABLE`].
    Table(usize),
    /// Workers: from one to [`MOST_WORKERS`], and no more than the table has entries.
    Workers(usize),
    /// Bytes of a hash key: too few for the fields that are hashed.
    KeyLength(usize),
    /// No key of those drawn spreads clients.
    Random,
}

impl std::fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(entries) => write!(
                f,
                "an indirection table has a power of two from {SMALLEST_TABLE} to {LARGEST_TABLE} entries, \
                 not {entries}"
            ),
            Self::Workers(workers) => {
                write!(f, "an indirection table serves 1 to {MOST_WORKERS} workers, not {workers}")
            }
            Self::KeyLength(bytes) => write!(f, "a hash key of {bytes} bytes is too short"),
            Self::Random => f.write_str("the source of randomness gives no hash key that spreads clients"),
        }
    }
}

impl std::error::Error for Unsuitable {}
