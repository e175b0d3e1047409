//! Coarse time of the packet path.

/// A moment on the worker's clock: ticks of a quarter second since an arbitrary start, cut to 24
/// bits (48 days), so that the longest timeout (31 days, as in `ipvsadm --set`) can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(u32);

impl Tick {
    /// Ticks in a second.
    pub const PER_SECOND: u32 = 4;
    /// Bits that a tick is kept in.
    pub const BITS: u32 = 24;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// Takes the low 24 bits of a count of quarter seconds.
    #[inline(always)]
    pub const fn new(quarter_seconds: u64) -> Self {
        Self(quarter_seconds as u32 & Self::MASK)
    }

    /// Ticks that have passed from `earlier` to `self`, across a wrap too.
    #[inline(always)]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0) & Self::MASK
    }

    /// The 24 bits.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }
}

/// What a turn of the worker knows of the time; read once, by whoever calls the turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Nanoseconds since an arbitrary start; never goes back.
    pub nanoseconds: u64,
}

impl Now {
    /// The coarse tick of this moment.
    #[inline(always)]
    pub const fn tick(self) -> Tick {
        Tick::new(self.nanoseconds / (1_000_000_000 / Tick::PER_SECOND as u64))
    }
}
