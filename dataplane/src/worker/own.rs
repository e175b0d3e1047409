//! TCP and SCTP connections that reals themselves open from a port that they serve on. They are routed as they are,
//! unlike those of clients that have been forgotten, whose servers are reset.

use super::flows::Ends;
use crate::names::time::Now;
use hashbrown::HashMap;

/// How many are remembered; they are rare. Of more the one that has been silent for longest is forgotten.
const CAPACITY: usize = 1024;
/// How long without a packet from the real: two hours and four minutes (RFC 5382, REQ-5).
const LIFE_NANOSECONDS: u64 = 124 * 60 * 1_000_000_000;

/// See the module's text.
pub(super) struct OwnConnections {
    /// When the real, the source of these ends, last sent. As many as there is room for from the start.
    last: HashMap<Ends, u64>,
}

impl OwnConnections {
    pub(super) fn new() -> Self {
        Self { last: HashMap::with_capacity(CAPACITY) }
    }

    /// A real, the source, has sent a SYN or INIT.
    pub(super) fn open(&mut self, ends: Ends, now: Now) {
        if self.last.len() >= CAPACITY && !self.last.contains_key(&ends) {
            let silent = self.last.iter().min_by_key(|(_, last)| **last).map(|(ends, _)| *ends);
            silent.and_then(|ends| self.last.remove(&ends));
        }
        self.last.insert(ends, now.nanoseconds);
    }

    /// Whether a segment of a real is of one of these; then it lives on.
    pub(super) fn has(&mut self, ends: Ends, now: Now) -> bool {
        let Some(last) = self.last.get_mut(&ends) else { return false };
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
    use crate::names::ids::Protocol;
    use std::net::SocketAddr;

    fn ends(real: u16, other: u16) -> Ends {
        let [source, destination] = [real, other].map(|port| SocketAddr::new([10, 0, 0, 7].into(), port));
        Ends { protocol: Protocol::Tcp, source, destination }
    }

    #[test]
    fn the_longest_silent_makes_room_and_none_lives_for_ever() {
        let mut own = OwnConnections::new();
        let at = |nanoseconds| Now { nanoseconds };
        for port in 0..CAPACITY as u16 {
            own.open(ends(80, port), at(u64::from(port)));
        }
        assert!(own.has(ends(80, 0), at(5000)));
        assert!(!own.has(Ends { protocol: Protocol::Sctp, ..ends(80, 0) }, at(5000)));
        let room = own.last.capacity();
        for port in 0..500 {
            own.open(ends(80, 2000 + port), at(6000));
        }
        assert_eq!(own.last.len(), CAPACITY);
        assert!(own.last.capacity() <= room, "nothing is allocated; what was removed may still take places");
        assert!(own.has(ends(80, 0), at(7000)) && !own.has(ends(80, 1), at(7000)));
        assert!(!own.has(ends(81, 0), at(7000)));
        assert!(own.has(ends(80, 0), at(7000 + LIFE_NANOSECONDS - 1)));
        assert!(!own.has(ends(80, 0), at(7000 + 3 * LIFE_NANOSECONDS)));
    }
}
