//! Identifications of the IPv6 packets that are cut here (RFC 8200 §4.5). Nobody can tell the next one from those that
//! were seen, and so harm a packet with fragments of its own (RFC 7739): each is a keyed hash of how many there were.

use crate::connection::digest;
use crate::connection::table::HashKey;

/// A worker's. Two that are alike meet, with a thousand under way at once, in one of 8,000 cases: what RFC 7739 §5.2
/// says of identifications at random.
pub(in crate::worker) struct Identifications {
    secret: HashKey,
    given: u64,
}

impl Identifications {
    /// Under a secret that no other worker has.
    pub(in crate::worker) const fn new(secret: HashKey) -> Self {
        Self { secret, given: 0 }
    }

    /// One that is not to be guessed.
    pub(in crate::worker) fn next(&mut self) -> u32 {
        self.given += 1;
        digest::of(self.secret, &self.given.to_be_bytes()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn first(secret: HashKey, count: usize) -> Vec<u32> {
        let mut identifications = Identifications::new(secret);
        (0..count).map(|_| identifications.next()).collect()
    }

    #[test]
    fn they_differ_follow_no_step_and_depend_on_the_secret() {
        let secret = HashKey { mask: 7, multiplier: 9 };
        let given = first(secret, 1000);
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 1000);
        let steps: HashSet<_> = given.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert_eq!(steps.len(), 999);
        for other in [HashKey { mask: 8, ..secret }, HashKey { multiplier: 11, ..secret }] {
            let seen: HashSet<_> = given.iter().copied().collect();
            assert!(first(other, 1000).iter().all(|id| !seen.contains(id)));
        }
    }
}
