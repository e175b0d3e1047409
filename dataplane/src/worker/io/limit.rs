//! Token buckets: how often a worker answers by itself.

use crate::names::drop_reason::DropReason;
use crate::names::ids::{InterfaceId, MAX_INTERFACES};
use crate::names::time::Now;

/// Lets `rate` events a second pass, and `burst` at once.
#[derive(Debug)]
pub(in crate::worker) struct TokenBucket {
    nanoseconds_per_token: u64,
    burst: u64,
    /// The moment at which the bucket would have been empty, going forward with each token taken.
    empty_at: u64,
}

impl TokenBucket {
    pub(in crate::worker) const fn new(rate: u64, burst: u64) -> Self {
        Self { nanoseconds_per_token: 1_000_000_000 / rate, burst, empty_at: 0 }
    }

    /// Takes a token; false if there is none.
    pub(in crate::worker) fn take(&mut self, now: Now) -> bool {
        let full = now.nanoseconds.saturating_sub(self.burst * self.nanoseconds_per_token);
        let empty_at = self.empty_at.max(full) + self.nanoseconds_per_token;
        let granted = empty_at <= now.nanoseconds;
        if granted {
            self.empty_at = empty_at;
        }
        granted
    }

    /// Puts back the token that was taken last, for an answer that was not made.
    pub(in crate::worker) const fn give_back(&mut self) {
        self.empty_at = self.empty_at.saturating_sub(self.nanoseconds_per_token);
    }
}

/// The limits of one worker. A flood of one kind silences no other: each kind of answer has a bucket of its own on each
/// interface, and RST and ICMP errors one for each cause.
///
/// ICMP "fragmentation needed" has none, nor has ICMPv6 "packet too big": a connection whose sender does not hear it
/// hangs (Linux limits all ICMP errors but these, too). It is bounded by what causes it: one for each packet longer
/// than the MTU, which is at least 576 bytes, of IPv6 1,280, and never longer than that, so that a sender who makes
/// natlb send some has sent more.
#[derive(Debug)]
pub(in crate::worker) struct Limits {
    answers: Box<[Answers; MAX_INTERFACES]>,
    /// Reports to the control thread of others' claims to own addresses.
    pub(in crate::worker) claimed: TokenBucket,
    /// Requests to the control thread to resolve a neighbour.
    pub(in crate::worker) wanted: TokenBucket,
}

/// The limits of what is answered, and reported to the control thread, on one interface.
#[derive(Debug)]
pub(in crate::worker) struct Answers {
    pub(in crate::worker) arp: TokenBucket,
    /// Neighbour advertisements that are asked for.
    pub(in crate::worker) advertisements: TokenBucket,
    pub(in crate::worker) echo: TokenBucket,
    /// Reports of what next hops, and hosts that packets wait for, say by ARP or neighbour discovery.
    pub(in crate::worker) heard: TokenBucket,
    /// Reports of what others answer.
    pub(in crate::worker) heard_of_others: TokenBucket,
    /// Reports that somebody asks which groups are listened to.
    pub(in crate::worker) groups_asked: TokenBucket,
    resets: [TokenBucket; DropReason::ALL.len()],
    icmp_errors: [TokenBucket; DropReason::ALL.len()],
}

impl Answers {
    fn new() -> Self {
        Self {
            arp: TokenBucket::new(10_000, 1_000),
            advertisements: TokenBucket::new(10_000, 1_000),
            echo: TokenBucket::new(10_000, 1_000),
            heard: TokenBucket::new(10_000, 128),
            heard_of_others: TokenBucket::new(5_000, 64),
            groups_asked: TokenBucket::new(10, 10),
            resets: std::array::from_fn(|_| TokenBucket::new(10_000, 1_000)),
            icmp_errors: std::array::from_fn(|_| TokenBucket::new(1_000, 100)),
        }
    }

    /// Of RSTs to segments that are dropped for `reason`.
    pub(in crate::worker) const fn reset(&mut self, reason: DropReason) -> &mut TokenBucket {
        &mut self.resets[reason as usize]
    }

    /// Of ICMP errors about packets that are dropped for `reason`.
    pub(in crate::worker) const fn icmp_error(&mut self, reason: DropReason) -> &mut TokenBucket {
        &mut self.icmp_errors[reason as usize]
    }
}

impl Limits {
    pub(in crate::worker) fn new() -> Self {
        Self {
            answers: Box::new(std::array::from_fn(|_| Answers::new())),
            claimed: TokenBucket::new(100, 16),
            wanted: TokenBucket::new(10_000, 128),
        }
    }

    /// Those of what is answered to packets that came in on `arrival`.
    pub(in crate::worker) fn on(&mut self, arrival: InterfaceId) -> &mut Answers {
        &mut self.answers[arrival.index() % MAX_INTERFACES]
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
