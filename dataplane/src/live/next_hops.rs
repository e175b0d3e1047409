//! MACs of the hosts that frames are sent to next, outside the snapshot, so that an
//! ARP change is two stores by the control thread and a forwarded packet two loads side by side.

use crate::counters::fixed;
use crate::names::ids::{InterfaceId, MAX_INTERFACES, NextHopId};
use crate::names::mac::Mac;
use std::sync::atomic::{AtomicU64, Ordering};

/// One next hop as the packet path reads it: what a frame to it begins with, and the interface it leaves on.
///
/// ```text
/// first word           its MAC and the first two bytes of the interface's, in memory order
/// second   bit 63      resolved
///              62      the interface is known: it is or has once been resolved
///          39..32      interface
///          31..0       the other four bytes of the interface's MAC
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    first: u64,
    second: u64,
}

/// As [`NextHops`] keeps them.
pub(crate) type Records = [[AtomicU64; 2]; NextHops::CAPACITY];

impl NextHop {
    const RESOLVED: u64 = 1 << 63;
    const INTERFACE_KNOWN: u64 = 1 << 62;

    /// What is known of `id` now.
    #[inline(always)]
    pub(crate) fn load(records: &Records, id: NextHopId) -> Self {
        let [first, second] = &records[id.0 as usize & (NextHops::CAPACITY - 1)];
        // In this order: if it is resolved by the second, the first is there, too.
        let second = second.load(Ordering::Acquire);
        Self { first: first.load(Ordering::Relaxed), second }
    }

    /// Known: frames leave on `interface` to `mac`. The interface's own MAC is [`NextHops`]' to know.
    pub const fn resolved(interface: InterfaceId, mac: Mac) -> Self {
        Self {
            first: mac.bits(),
            second: Self::RESOLVED | Self::INTERFACE_KNOWN | (interface.0 as u64) << 32,
        }
    }

    /// Not known (any more).
    pub const UNRESOLVED: Self = Self { first: 0, second: 0 };

    /// Whether frames can be sent there.
    #[inline(always)]
    pub const fn is_resolved(self) -> bool {
        self.second & Self::RESOLVED != 0
    }

    /// The interface it is behind, if it is resolved.
    #[inline(always)]
    pub const fn interface(self) -> InterfaceId {
        InterfaceId((self.second >> 32) as u8)
    }

    /// The interface that it is behind, or was before it ceased to be resolved.
    pub const fn last_interface(self) -> Option<InterfaceId> {
        if self.second & Self::INTERFACE_KNOWN == 0 { None } else { Some(self.interface()) }
    }

    /// The first twelve bytes of a frame to it, if it is resolved, as words in memory order: its MAC, and
    /// that of the interface.
    #[inline(always)]
    pub const fn addresses(self) -> (u64, u32) {
        (self.first, self.second as u32)
    }

    /// Its MAC.
    pub const fn mac(self) -> Mac {
        let [a, b, c, d, e, f, _, _] = self.first.to_le_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// With the MAC of its interface, as [`Mac::bits`].
    const fn from(self, source: u64) -> Self {
        Self { first: self.first | source << 48, second: self.second | source >> 16 }
    }
}

/// All next hops. Written by the control thread alone, read by every worker.
#[derive(Debug)]
pub struct NextHops {
    records: Box<Records>,
    /// By interface; as [`Mac::bits`]. Read and written by the control thread alone.
    sources: [AtomicU64; MAX_INTERFACES],
}

impl NextHops {
    /// Next hops that can be known at once.
    pub const CAPACITY: usize = NextHopId::CAPACITY;

    /// Ids from 1 to below this are hosts'. The records of the others stay unresolved.
    pub const IDS: usize = NextHopId::HOSTS;

    /// All unresolved, behind interfaces with these MACs, by index; another's counts as zero.
    pub fn new(sources: impl IntoIterator<Item = Mac>) -> Self {
        let unresolved = (0..Self::CAPACITY).map(|_| [const { AtomicU64::new(0) }; 2]);
        let hops = Self { records: fixed(unresolved.collect()), sources: Default::default() };
        for (interface, mac) in InterfaceId::all().zip(sources) {
            hops.set_source(interface, mac);
        }
        hops
    }

    /// From now on [`set`](Self::set) publishes next hops behind `interface` with this MAC of the interface.
    ///
    /// A record is read in two halves. So that no frame gets a half of each MAC, every next hop behind the interface is
    /// to be unresolved before, every worker to have finished a turn since, and they are set anew after.
    pub fn set_source(&self, interface: InterfaceId, mac: Mac) {
        if let Some(source) = self.sources.get(interface.index()) {
            source.store(mac.bits(), Ordering::Relaxed);
        }
    }

    /// What is known of `id` now.
    #[inline(always)]
    pub fn get(&self, id: NextHopId) -> NextHop {
        NextHop::load(&self.records, id)
    }

    /// All records, for a caller that looks up many.
    #[inline(always)]
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// Publishes what is known of `id`; the next packet uses it. An `id` is always behind the same interface.
    ///
    /// # Panics
    /// If `id` [is not known](NextHopId::is_known), or the interface is beyond [`MAX_INTERFACES`].
    pub fn set(&self, id: NextHopId, next_hop: NextHop) {
        assert!(id.is_known(), "the unknown next hop cannot be resolved");
        assert!(
            next_hop.interface().index() < MAX_INTERFACES,
            "there is no interface {}",
            next_hop.interface().0
        );
        let [first, second] = &self.records[id.0 as usize];
        if !next_hop.is_resolved() {
            return second.store(second.load(Ordering::Relaxed) & !NextHop::RESOLVED, Ordering::Release);
        }
        let source = self.sources[next_hop.interface().index()].load(Ordering::Relaxed);
        let next_hop = next_hop.from(source);
        // An id is one neighbour's for ever, behind one interface. So the second word does not change when it is
        // resolved again (but see `set_source`), and no reader puts two words that do not belong together into one
        // frame.
        first.store(next_hop.first, Ordering::Release);
        second.store(next_hop.second, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_keeps_port_and_mac() {
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        let hops = NextHops::new([0, 1, 2, 3, 4, 0xf5].map(|last| Mac([6, 1, 2, 3, 4, last])));
        hops.set(NextHopId(3), NextHop::resolved(InterfaceId(5), mac));
        let hop = hops.get(NextHopId(3));
        assert!(hop.is_resolved());
        let (first, second) = hop.addresses();
        assert_eq!(first.to_le_bytes(), [2, 0, 0, 0, 0, 7, 6, 1]);
        assert_eq!(second.to_le_bytes(), [2, 3, 4, 0xf5]);
        assert_eq!((hop.interface(), hop.mac()), (InterfaceId(5), mac));
        hops.set_source(InterfaceId(5), Mac([8, 9, 2, 3, 4, 5]));
        hops.set(NextHopId(3), NextHop::UNRESOLVED);
        hops.set(NextHopId(3), NextHop::resolved(InterfaceId(5), mac));
        let (first, second) = hops.get(NextHopId(3)).addresses();
        assert_eq!(first.to_le_bytes(), [2, 0, 0, 0, 0, 7, 8, 9]);
        assert_eq!(second.to_le_bytes(), [2, 3, 4, 5]);
        assert!(!hops.get(NextHopId::UNKNOWN).is_resolved());
    }

    #[test]
    fn the_interface_of_one_that_does_not_answer_any_more_is_known() {
        let hops = NextHops::new([Mac([0; 6])]);
        assert_eq!(hops.get(NextHopId(3)).last_interface(), None);
        hops.set(NextHopId(3), NextHop::resolved(InterfaceId(0), Mac([2, 0, 0, 0, 0, 7])));
        hops.set(NextHopId(3), NextHop::UNRESOLVED);
        assert_eq!(
            (hops.get(NextHopId(3)).is_resolved(), hops.get(NextHopId(3)).last_interface()),
            (false, Some(InterfaceId(0)))
        );
    }

    #[test]
    fn what_only_the_interface_is_known_of_is_never_resolved() {
        let hops = NextHops::new([]);
        for interface in InterfaceId::all() {
            let id = NextHopId::behind(interface);
            assert_eq!((id.only_interface(), id.is_known()), (Some(interface), false));
            assert!(!hops.get(id).is_resolved());
        }
        let last = NextHopId(NextHops::IDS as u32 - 1);
        assert_eq!((last.only_interface(), last.is_known()), (None, true));
    }
}
