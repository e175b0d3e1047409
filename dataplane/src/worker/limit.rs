//! Token buckets: how often a worker answers by itself.

use crate::time::Now;

/// Lets `rate` events a second pass, and `burst` at once.
#[derive(Debug)]
pub(super) struct TokenBucket {
    nanoseconds_per_token: u64,
    burst: u64,
    /// The moment at which the bucket would have been empty, going forward with each token taken.
    empty_at: u64,
}

impl TokenBucket {
    pub(super) const fn new(rate: u64, burst: u64) -> Self {
        Self { nanoseconds_per_token: 1_000_000_000 / rate, burst, empty_at: 0 }
    }

    /// Takes a token; false if there is none.
    pub(super) fn take(&mut self, now: Now) -> bool {
        let full = now.nanoseconds.saturating_sub(self.burst * self.nanoseconds_per_token);
        let empty_at = self.empty_at.max(full) + self.nanoseconds_per_token;
        let granted = empty_at <= now.nanoseconds;
        if granted {
            self.empty_at = empty_at;
        }
        granted
    }

    /// Puts back the token that was taken last, for an answer that was not made.
    pub(super) const fn give_back(&mut self) {
        self.empty_at = self.empty_at.saturating_sub(self.nanoseconds_per_token);
    }
}

/// The limits of one worker. Each kind has a bucket of its own, so that a flood of one does not
/// silence another.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) arp: TokenBucket,
    pub(super) echo: TokenBucket,
    pub(super) reset: TokenBucket,
    pub(super) icmp_error: TokenBucket,
    /// What neighbours say by ARP, told to the control thread.
    pub(super) heard: TokenBucket,
    /// Requests to the control thread to resolve a neighbour.
    pub(super) wanted: TokenBucket,
}

impl Limits {
    pub(super) const fn new() -> Self {
        Self {
            arp: TokenBucket::new(10_000, 1_000),
            echo: TokenBucket::new(10_000, 1_000),
            reset: TokenBucket::new(10_000, 1_000),
            icmp_error: TokenBucket::new(1_000, 100),
            heard: TokenBucket::new(10_000, 128),
            wanted: TokenBucket::new(10_000, 128),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(10, 3);
        let at = |milliseconds: u64| Now { nanoseconds: 1_000_000_000 + milliseconds * 1_000_000 };
        let passed = (0..10).filter(|_| bucket.take(at(0))).count();
        assert_eq!(passed, 3);
        assert!(!bucket.take(at(99)));
        assert!(bucket.take(at(100)));
        assert!(!bucket.take(at(150)));
        let later = (0..100).filter(|_| bucket.take(at(10_000))).count();
        assert_eq!(later, 3, "no more than a burst is saved up");
    }
}
