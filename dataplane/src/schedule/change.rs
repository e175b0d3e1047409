//! What a change to a service's reals does to `wrr`.

/// What one change to a service's reals does to `wrr`: `mw` and `di` after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Greatest common divisor of the weights above 0; 1 if there are none.
    pub divisor: u32,
    /// Largest weight less (`divisor` - 1): the level that a round begins at. 0 if no weight is above 0.
    pub top: u32,
}

impl Change {
    /// After which a service has no real that could be picked.
    pub const NONE: Self = Self { divisor: 1, top: 0 };

    /// After which a service's reals have these weights.
    pub fn of(weights: impl IntoIterator<Item = u32>) -> Self {
        weights.into_iter().fold(Self::NONE, Self::with_added)
    }

    /// After which a service has one more real, with this weight: for many additions in a row.
    #[must_use]
    pub const fn with_added(self, weight: u32) -> Self {
        if weight == 0 {
            return self;
        }
        if self.top == 0 {
            return Self { divisor: weight, top: 1 };
        }
        let largest = self.top + (self.divisor - 1);
        let divisor = greatest_common_divisor(self.divisor, weight);
        let largest = if weight > largest { weight } else { largest };
        Self { divisor, top: largest - (divisor - 1) }
    }
}

pub(super) const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_knows_divisor_and_top() {
        assert_eq!(Change::of([]), Change { divisor: 1, top: 0 });
        assert_eq!(Change::of([0, 0]), Change { divisor: 1, top: 0 });
        assert_eq!(Change::of([4]), Change { divisor: 4, top: 1 });
        assert_eq!(Change::of([4, 0, 6]), Change { divisor: 2, top: 5 });
        assert_eq!(Change::of([u32::MAX, u32::MAX]), Change { divisor: u32::MAX, top: 1 });
        assert_eq!(Change::of([1, u32::MAX]), Change { divisor: 1, top: u32::MAX });
    }
}
