//! The flags of `ipvsadm -b`.

/// How a scheduler is varied: three bits, whose meaning is the scheduler's. Those that mean nothing to it are kept all
/// the same, as in IPVS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// `flag-1`: of `sh` and `mh`, to go on to another real where the one that a hash leads to takes no connection.
    pub const FALLBACK: Self = Self(1);
    /// `flag-2`: of `sh` and `mh`, to hash the client's port too.
    pub const PORT: Self = Self(2);
    /// `flag-3`, which means nothing to any scheduler.
    pub const THIRD: Self = Self(4);
    /// Each by itself, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::FALLBACK, Self::PORT, Self::THIRD];

    /// Whether none is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
