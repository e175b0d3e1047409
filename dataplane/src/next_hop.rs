//! MACs of the hosts that frames are sent to next, outside the snapshot: one word each, so that an
//! ARP change is one store by the control thread and a forwarded packet one load.

use crate::counters::fixed;
use crate::ids::{MAX_PORTS, NextHopId, PortIndex};
use std::sync::atomic::{AtomicU64, Ordering};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The six bytes as the low 48 bits of a word, the first lowest.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// All ones.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set, as for broadcast and multicast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One next hop as the packet path reads it.
///
/// ```text
/// bit 63        55..48   47..0
///     resolved  port     MAC, first byte lowest
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop(u64);

/// As [`NextHops`] keeps them.
pub(crate) type Words = [AtomicU64; NextHops::CAPACITY];

impl NextHop {
    /// What is known of `id` now.
    #[inline(always)]
    pub(crate) fn load(words: &Words, id: NextHopId) -> Self {
        // Relaxed: the word is complete in itself and orders nothing else.
        Self(words[id.0 as usize & (NextHops::CAPACITY - 1)].load(Ordering::Relaxed))
    }

    const RESOLVED: u64 = 1 << 63;

    /// Known: frames leave on `port` to `mac`.
    pub const fn resolved(port: PortIndex, mac: Mac) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self(Self::RESOLVED | u64::from_le_bytes([a, b, c, d, e, f, port, 0]))
    }

    /// Not known (any more).
    pub const UNRESOLVED: Self = Self(0);

    /// Whether frames can be sent there.
    #[inline(always)]
    pub const fn is_resolved(self) -> bool {
        self.0 & Self::RESOLVED != 0
    }

    /// The `EthPort` it is behind.
    #[inline(always)]
    pub const fn port(self) -> PortIndex {
        ((self.0 >> 48) as usize % MAX_PORTS) as u8
    }

    /// The first twelve bytes of a frame to it, if it is resolved, as words in memory order: its MAC, and
    /// that of the port.
    #[inline(always)]
    pub const fn addresses(self, sources: &SourceMacs) -> (u64, u32) {
        let port = (self.0 >> 48) as usize % MAX_PORTS;
        (self.0 ^ sources.first_words[port], sources.second_words[port])
    }

    /// Its MAC.
    pub const fn mac(self) -> Mac {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        Mac([a, b, c, d, e, f])
    }
}

/// The MACs of the `EthPort`s, prepared for [`NextHop::addresses`]: in two arrays whose elements a processor addresses
/// by the port as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceMacs {
    /// The first two bytes as the upper 16 bits, and there what takes off what a resolved [`NextHop`]
    /// on this port has beside its MAC.
    first_words: [u64; MAX_PORTS],
    /// The other four bytes.
    second_words: [u32; MAX_PORTS],
}

impl SourceMacs {
    /// Of the ports with the indices 0, 1, …; at most [`MAX_PORTS`].
    pub fn new(macs: impl Iterator<Item = Mac>) -> Self {
        let mut all = Self::default();
        for (port, mac) in macs.enumerate().take(MAX_PORTS) {
            let hop = NextHop::resolved(port as PortIndex, Mac([0; 6])).0;
            all.first_words[port] = mac.bits() << 48 ^ hop;
            all.second_words[port] = (mac.bits() >> 16) as u32;
        }
        all
    }
}

/// All next hops. Written by the control thread alone, read by every worker.
#[derive(Debug)]
pub struct NextHops {
    words: Box<Words>,
}

impl NextHops {
    /// Next hops that can be known at once: twice a /16 of neighbours. Fits the entry's 20 bits.
    pub const CAPACITY: usize = 1 << 17;

    /// All unresolved.
    pub fn new() -> Self {
        Self { words: fixed((0..Self::CAPACITY).map(|_| AtomicU64::new(0)).collect()) }
    }

    /// What is known of `id` now.
    #[inline(always)]
    pub fn get(&self, id: NextHopId) -> NextHop {
        NextHop::load(&self.words, id)
    }

    /// All words, for a caller that looks up many.
    #[inline(always)]
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// Publishes what is known of `id`; the next packet uses it. `id` must not be
    /// [`NextHopId::UNKNOWN`], which stays unresolved.
    pub fn set(&self, id: NextHopId, next_hop: NextHop) {
        assert_ne!(id, NextHopId::UNKNOWN, "the unknown next hop cannot be resolved");
        self.words[id.0 as usize].store(next_hop.0, Ordering::Relaxed);
    }
}

impl Default for NextHops {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_keeps_port_and_mac() {
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        let hops = NextHops::new();
        hops.set(NextHopId(3), NextHop::resolved(5, mac));
        let hop = hops.get(NextHopId(3));
        assert!(hop.is_resolved());
        assert_eq!((hop.port(), hop.mac()), (5, mac));
        assert!(!hops.get(NextHopId::UNKNOWN).is_resolved());
    }
}
