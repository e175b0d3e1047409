//! The side of the balancer that a link is on.

/// Where an `EthPort` leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards clients.
    Vip,
    /// Towards reals.
    Dip,
    /// One-arm: towards both.
    Both,
}
