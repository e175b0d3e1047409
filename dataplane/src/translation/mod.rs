//! The precomputed translation of a real: the record, and its application to a packet's fields. Each address family has
//! records of its own.
//!
//! ```text
//! v4  those of IPv4
//! v6  those of IPv6
//! ```

mod v4;
mod v6;

pub use crate::names::family::endpoint_bits;
pub(crate) use v4::at;
pub use v4::{Fields, Rewrite};
pub use v6::{Fields as FieldsV6, Rewrite as RewriteV6};

use crate::names::direction::Direction;
use crate::names::family::{V4, V6};
use crate::names::ids::{NextHopId, RealKey};
use std::fmt::Debug;

/// An address family whose packets are translated.
pub trait Translate: Copy + Debug + Default + Eq + 'static {
    /// How packets of a real's connections are told and translated.
    type Record: Record;
}

impl Translate for V4 {
    type Record = Rewrite;
}

impl Translate for V6 {
    type Record = RewriteV6;
}

/// The fields of a family's packets.
pub type FieldsOf<F> = <<F as Translate>::Record as Record>::Fields;
/// A remote endpoint of a family.
pub type RemoteOf<F> = <<F as Translate>::Record as Record>::Remote;

/// How packets of a real's connections are told and translated.
pub trait Record: Clone + Debug + 'static {
    /// What a translation looks at or changes of a packet, but for the transport checksum.
    type Fields: Copy + Debug;
    /// Address and port of the side that is translated, as they lie on the wire.
    type Remote: Copy + Debug + Eq;

    /// Matches no packet from a client, and from a real only one that none sends.
    const VACANT: &'static Self;

    /// The translation of a real behind this next hop; [`VACANT`](Self::VACANT) unless VIP and real are of the family.
    /// A removed one matches no packet from a client: the slow path says why.
    fn of(key: &RealKey, next_hop: NextHopId, removed: bool) -> Self;

    /// Whether a record of a real that has the port which is asked for translates packets of all ports.
    const KEEPS_PORTS: bool;

    /// For a real whose service is on several ports, so that what its packets match depends on the connection: it knows
    /// the next hop, and matches as [`VACANT`](Self::VACANT) does. If the real has the port that is asked for, it
    /// translates packets all the same where records [keep ports](Self::KEEPS_PORTS).
    fn of_several_ports(key: &RealKey, next_hop: NextHopId) -> Self;

    /// The next hop to the real.
    fn next_hop(&self) -> NextHopId;

    /// The offset of the checksum in the transport header of its packets, in bytes; 0 for SCTP, which the fast path
    /// leaves alone.
    fn checksum_offset(&self) -> usize;

    /// What to add to the TCP or UDP checksum for the new address and port.
    fn transport_delta(&self, direction: Direction) -> u16;

    /// Whether a packet whose translated side is `remote` is of this real.
    fn matches(&self, direction: Direction, remote: Self::Remote) -> bool;

    /// Whether a packet with these fields is.
    fn has(&self, direction: Direction, fields: Self::Fields) -> bool;

    /// The fields of a packet that [is of this real](Self::has) and whose TTL is not 0 once it has been translated.
    fn translate(&self, direction: Direction, fields: Self::Fields) -> Self::Fields;
}
