//! Which real the fragments of a datagram go to: that of its first.

use super::places::{self, Key, Places};
use crate::connection::table::HashKey;
use crate::names::ids::RealId;
use crate::names::time::Now;
use std::net::SocketAddr;

/// Datagrams in fragments that are remembered, as many as there are under way.
const DATAGRAMS: usize = 4096;
/// How long the next fragment may take, in nanoseconds.
const SILENCE_NANOSECONDS: u64 = 5_000_000_000;

/// What all fragments of one datagram have in common: the client, the service, and the identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram(Key);

impl Datagram {
    /// By both ends, the identification, and a secret of the worker.
    pub fn new(client: SocketAddr, service: SocketAddr, id: u32, secret: HashKey) -> Self {
        Self(places::key([client, service], id, secret))
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct Datagrams(Places);

impl Datagrams {
    /// None yet.
    pub fn new(hash_key: HashKey) -> Self {
        Self(Places::new(DATAGRAMS, hash_key))
    }

    /// The first fragment goes to this real.
    pub fn begin(&mut self, datagram: Datagram, real: RealId, now: Now) {
        self.0.put(datagram.0, |_| [u64::from(real.0), now.nanoseconds], |[_, last]| last);
    }

    /// The real that another fragment goes to.
    pub fn follow(&mut self, datagram: Datagram, now: Now) -> Option<RealId> {
        let [real, last] = self.0.get(datagram.0)?;
        if now.nanoseconds.saturating_sub(last) >= SILENCE_NANOSECONDS {
            return None;
        }
        self.0.change(datagram.0, |[_, last]| *last = now.nanoseconds);
        Some(RealId(real as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn fragments_follow_their_first_for_as_long_as_they_come() {
        let secret = HashKey { mask: 7, multiplier: 9 };
        for address in [IpAddr::from([192, 168, 10, 6]), IpAddr::from([0xfd00, 0x10, 0, 0, 0, 0, 0, 6])] {
            let end = |port| SocketAddr::new(address, port);
            follow(Datagrams::new(secret), |id| Datagram::new(end(5000), end(53), id, secret));
        }
    }

    fn follow(mut datagrams: Datagrams, of: impl Fn(u32) -> Datagram) {
        let at = |nanoseconds| Now { nanoseconds };
        datagrams.begin(of(1), RealId(3), at(0));
        datagrams.begin(of(2), RealId(4), at(0));
        assert_eq!(datagrams.follow(of(1), at(SILENCE_NANOSECONDS - 1)), Some(RealId(3)));
        assert_eq!(datagrams.follow(of(2), at(SILENCE_NANOSECONDS)), None);
        assert_eq!(datagrams.follow(of(3), at(1)), None);
        assert_eq!(datagrams.follow(of(1), at(2 * SILENCE_NANOSECONDS - 2)), Some(RealId(3)));
        datagrams.begin(of(1), RealId(5), at(2 * SILENCE_NANOSECONDS));
        assert_eq!(datagrams.follow(of(1), at(2 * SILENCE_NANOSECONDS)), Some(RealId(5)), "the id again");
    }
}
