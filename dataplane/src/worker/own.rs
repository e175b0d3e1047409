//! TCP connections that reals themselves open from a port that they serve on. They are routed as they are, unlike
//! those of clients that have been forgotten, whose servers are reset.

use crate::names::time::Now;
use hashbrown::HashMap;
use std::net::SocketAddr;

/// How many are remembered; they are rare. Of more the one that has been silent for longest is forgotten.
const CAPACITY: usize = 1024;
/// How long without a packet from the real: two hours and four minutes (RFC 5382, REQ-5).
const LIFE_NANOSECONDS: u64 = 124 * 60 * 1_000_000_000;

/// The real's end, and the other.
type Ends = (SocketAddr, SocketAddr);

/// See the module's text.
pub(super) struct OwnConnections {
    /// When the real last sent. As many as there is room for from the start.
    last: HashMap<Ends, u64>,
}

impl OwnConnections {
    pub(super) fn new() -> Self {
        Self { last: HashMap::with_capacity(CAPACITY) }
    }

    /// A real has sent a SYN.
    pub(super) fn open(&mut self, real: SocketAddr, other: SocketAddr, now: Now) {
        if self.last.len() >= CAPACITY && !self.last.contains_key(&(real, other)) {
            let silent = self.last.iter().min_by_key(|(_, last)| **last).map(|(ends, _)| *ends);
            silent.and_then(|ends| self.last.remove(&ends));
        }
        self.last.insert((real, other), now.nanoseconds);
    }

    /// Whether a segment of a real is of one of these; then it lives on.
    pub(super) fn has(&mut self, real: SocketAddr, other: SocketAddr, now: Now) -> bool {
        let Some(last) = self.last.get_mut(&(real, other)) else { return false };
        let lives = now.nanoseconds.saturating_sub(*last) < LIFE_NANOSECONDS;
        if lives {
            *last = now.nanoseconds;
        }
        lives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(port: u16) -> SocketAddr {
        SocketAddr::new([10, 0, 0, 7].into(), port)
    }

    #[test]
    fn the_longest_silent_makes_room_and_none_lives_for_ever() {
        let mut own = OwnConnections::new();
        let at = |nanoseconds| Now { nanoseconds };
        for port in 0..CAPACITY as u16 {
            own.open(end(80), end(port), at(u64::from(port)));
        }
        assert!(own.has(end(80), end(0), at(5000)));
        let room = own.last.capacity();
        for port in 0..500 {
            own.open(end(80), end(2000 + port), at(6000));
        }
        assert_eq!(own.last.len(), CAPACITY);
        assert!(own.last.capacity() <= room, "nothing is allocated; what was removed may still take places");
        assert!(own.has(end(80), end(0), at(7000)) && !own.has(end(80), end(1), at(7000)));
        assert!(!own.has(end(81), end(0), at(7000)));
        assert!(own.has(end(80), end(0), at(7000 + LIFE_NANOSECONDS - 1)));
        assert!(!own.has(end(80), end(0), at(7000 + 3 * LIFE_NANOSECONDS)));
    }
}
