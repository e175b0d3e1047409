//! Where packets of a source may come from: nobody outside may speak for a host of another link (RFC 3704 §2.2, of
//! the prefixes that are known).

use super::{Interface, Routes};
use crate::names::family::V4;
use crate::names::ids::{InterfaceId, MAX_INTERFACES};
use crate::names::side::Side;
use ipnet::IpNet;
use std::net::IpAddr;

/// For each interface, which sources may belong on another one. They do if their longest prefix is that of another
/// interface's link, or if they are a real that the routes lead to by an interface towards reals, and this is one
/// towards clients alone. A source in no prefix may come from anywhere: no interface is known for it.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    elsewhere: Vec<Cover>,
    /// As a set of bits: the interfaces towards reals on which some real belongs elsewhere, so that what looks like a
    /// reply may be none.
    reals_elsewhere: u16,
    /// By interface: how many reals' addresses belong elsewhere.
    counts: [u32; MAX_INTERFACES],
}

impl Origins {
    /// Of no reals.
    pub(super) fn new(interfaces: &[Interface], routes: &Routes) -> Self {
        let cover = |interface| routes.other_links(interface).fold(Cover::default(), Cover::with);
        let elsewhere = InterfaceId::all().take(interfaces.len()).map(cover).collect();
        Self { elsewhere, reals_elsewhere: 0, counts: [0; MAX_INTERFACES] }
    }

    /// Some real has this address now.
    pub(super) fn add(&mut self, real: IpAddr, interfaces: &[Interface], routes: &Routes) {
        // There may be very many reals, and hardly ever are there more than a few networks of them.
        for (interface, cover) in InterfaceId::all().zip(&mut self.elsewhere) {
            let is_covered = cover.has(real);
            let is_towards_reals = interfaces[interface.index()].side != Side::Vip;
            if is_towards_reals && is_covered && routes.is_on_another_link(real, interface) {
                self.counts[interface.index()] += 1;
                self.reals_elsewhere |= interface.bit();
            } else if !is_towards_reals && !is_covered && is_inside_from(real, interface, interfaces, routes)
            {
                *cover = std::mem::take(cover).with(real.into());
            }
        }
    }

    /// No real has this address any more. Interfaces' covers keep it, so that packets from it take the longer look
    /// until the next snapshot is compiled anew.
    pub(super) fn take(&mut self, real: IpAddr, interfaces: &[Interface], routes: &Routes) {
        for (interface, cover) in InterfaceId::all().zip(&self.elsewhere) {
            let is_towards_reals = interfaces[interface.index()].side != Side::Vip;
            if is_towards_reals && cover.has(real) && routes.is_on_another_link(real, interface) {
                let count = &mut self.counts[interface.index()];
                *count -= 1;
                if *count == 0 {
                    self.reals_elsewhere &= !interface.bit();
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn may_be_elsewhere(&self, source: IpAddr, interface: InterfaceId) -> bool {
        self.elsewhere.get(interface.index()).is_some_and(|cover| cover.has(source))
    }

    #[inline(always)]
    pub(super) const fn has_reals_elsewhere(&self, interface: InterfaceId) -> bool {
        // Nearly always of no interface.
        self.reals_elsewhere != 0 && self.reals_elsewhere >> (interface.index() % MAX_INTERFACES) & 1 != 0
    }
}

/// Whether a real is behind an interface towards reals, and `interface` is one towards clients alone.
pub(super) fn is_inside_from(
    real: IpAddr,
    interface: InterfaceId,
    interfaces: &[Interface],
    routes: &Routes,
) -> bool {
    let side = |interface: InterfaceId| interfaces.get(interface.index()).map(|interface| interface.side);
    side(interface) == Some(Side::Vip)
        && routes.to_real(real).is_some_and(|hop| side(hop.interface).is_some_and(|side| side != Side::Vip))
}

/// Prefixes that a cover has at most: as many are compared at once.
const PREFIXES: usize = 4;

/// A few prefixes that cover all that were put in, and more if those were many.
#[derive(Clone, Debug)]
struct Cover {
    masks: [u32; PREFIXES],
    networks: [u32; PREFIXES],
}

impl Default for Cover {
    /// None: no address is 1 under a mask of zero.
    fn default() -> Self {
        Self { masks: [0; PREFIXES], networks: [1; PREFIXES] }
    }
}

impl Cover {
    #[inline(always)]
    fn has(&self, address: IpAddr) -> bool {
        let Some(bits) = V4::bits(address) else { return false };
        let pairs = self.masks.iter().zip(&self.networks);
        pairs.fold(false, |has, (mask, network)| has | (bits & mask == *network))
    }

    /// With this prefix too. If there is no place for it, the two become one that have the longest prefix in common.
    fn with(self, prefix: IpNet) -> Self {
        let bits = |address| V4::bits(address);
        let Some(added) = bits(prefix.netmask()).zip(bits(prefix.network())) else { return self };
        let pairs = self.masks.iter().zip(&self.networks);
        let kept = pairs.filter(|(mask, network)| **network & !**mask == 0);
        let mut all: Vec<(u32, u32)> = kept.map(|(mask, network)| (*mask, *network)).collect();
        all.push(added);
        while all.len() > PREFIXES {
            let pairs = (0..all.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
            let in_common = |(first, second): &(usize, usize)| common(all[*first], all[*second]);
            let Some((first, second)) = pairs.max_by_key(|pair| in_common(pair).0) else { break };
            all[first] = common(all[first], all[second]);
            all.remove(second);
        }
        let mut cover = Self::default();
        for (index, (mask, network)) in all.into_iter().enumerate() {
            (cover.masks[index], cover.networks[index]) = (mask, network);
        }
        cover
    }
}

/// The longest prefix that both are in.
fn common((mask, network): (u32, u32), (other_mask, other): (u32, u32)) -> (u32, u32) {
    let equal = (network ^ other).leading_zeros();
    let mask = mask & other_mask & !u32::MAX.checked_shr(equal).unwrap_or(0);
    (mask, network & mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn bits(address: IpAddr) -> u32 {
        V4::bits(address).unwrap()
    }

    fn prefix() -> impl Strategy<Value = IpNet> {
        let near = prop_oneof![any::<u32>(), (0..1u32 << 16).prop_map(|low| 0x0a00_0000 | low)];
        (near, 0..=32u8).prop_map(|(bits, length)| IpNet::new(Ipv4Addr::from(bits).into(), length).unwrap())
    }

    proptest! {
        #[test]
        fn all_that_was_put_in_is_covered_and_no_more_while_there_is_room(
            prefixes in prop::collection::vec(prefix(), 0..9),
            random: u32,
        ) {
            let cover = prefixes.iter().copied().fold(Cover::default(), Cover::with);
            for prefix in &prefixes {
                let host = bits(prefix.network()) | random & bits(prefix.hostmask());
                prop_assert!(cover.has(Ipv4Addr::from(host).into()));
            }
            if prefixes.len() <= PREFIXES {
                let is_in = prefixes.iter().any(|prefix| prefix.contains(&IpAddr::V4(random.into())));
                prop_assert_eq!(cover.has(Ipv4Addr::from(random).into()), is_in);
            }
        }
    }

    #[test]
    fn the_nearest_become_one() {
        let prefixes = ["10.0.0.0/24", "10.0.1.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"];
        let cover =
            prefixes.iter().fold(Cover::default(), |cover, prefix| cover.with(prefix.parse().unwrap()));
        for (address, is_in) in
            [("10.0.0.1", true), ("10.0.1.1", true), ("10.0.2.1", false), ("203.0.112.1", false)]
        {
            assert_eq!(cover.has(address.parse().unwrap()), is_in, "{address}");
        }
    }
}
