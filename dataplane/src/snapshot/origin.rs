//! Where packets of a source may come from: nobody outside may speak for a host of another link (RFC 3704 §2.2, of
//! the prefixes that are known).

use super::{Interface, Routes};
use crate::names::family::Bits;
use crate::names::ids::{InterfaceId, MAX_INTERFACES};
use crate::names::side::Side;
use ipnet::IpNet;
use std::net::IpAddr;

/// For each interface, which sources may belong on another one. They do if their longest prefix is that of another
/// interface's link, or if they are a real that the routes lead to by an interface towards reals, and this is one
/// towards clients alone. A source in no prefix may come from anywhere: no interface is known for it.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    elsewhere: Vec<Covers>,
    /// As a set of bits: the interfaces towards reals on which some real belongs elsewhere, so that what looks like a
    /// reply may be none.
    reals_elsewhere: u16,
    /// By interface: how many reals' addresses belong elsewhere.
    counts: [u32; MAX_INTERFACES],
}

impl Origins {
    /// Of no reals.
    pub(super) fn new(interfaces: &[Interface], routes: &Routes) -> Self {
        let cover = |interface| routes.other_links(interface).fold(Covers::default(), Covers::with);
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

/// One for each address family.
#[derive(Clone, Debug)]
struct Covers {
    v4: Cover<u32>,
    v6: Cover<u128>,
}

impl Default for Covers {
    fn default() -> Self {
        Self { v4: Cover::new(), v6: Cover::new() }
    }
}

impl Covers {
    #[inline(always)]
    fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.has(address.to_bits()),
            IpAddr::V6(address) => self.v6.has(address.to_bits()),
        }
    }

    /// With this prefix too.
    fn with(self, prefix: IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self { v4: self.v4.with(prefix), ..self },
            IpNet::V6(_) => Self { v6: self.v6.with(prefix), ..self },
        }
    }
}

/// Prefixes that a cover has at most: as many are compared at once.
const PREFIXES: usize = 4;

/// A few prefixes that cover all that were put in, and more if those were many.
#[derive(Clone, Debug)]
struct Cover<B> {
    masks: [B; PREFIXES],
    networks: [B; PREFIXES],
}

impl<B: Bits> Cover<B> {
    /// No prefix: under a mask of zero no address is all ones.
    fn new() -> Self {
        Self { masks: [B::ZERO; PREFIXES], networks: [!B::ZERO; PREFIXES] }
    }

    #[inline(always)]
    fn has(&self, bits: B) -> bool {
        let pairs = self.masks.iter().zip(&self.networks);
        pairs.fold(false, |has, (mask, network)| has | (bits & *mask == *network))
    }

    /// With this prefix too. If there is no place for it, the two become one that have the longest prefix in common.
    fn with(self, prefix: IpNet) -> Self {
        let Some(added) = B::of(prefix.netmask()).zip(B::of(prefix.network())) else { return self };
        let pairs = self.masks.iter().zip(&self.networks);
        let kept = pairs.filter(|(mask, network)| **network & !**mask == B::ZERO);
        let mut all: Vec<(B, B)> = kept.map(|(mask, network)| (*mask, *network)).collect();
        all.push(added);
        while all.len() > PREFIXES {
            let pairs = (0..all.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
            let in_common = |(first, second): &(usize, usize)| common_length(all[*first], all[*second]);
            let Some((first, second)) = pairs.max_by_key(in_common) else { break };
            all[first] = common(all[first], all[second]);
            all.remove(second);
        }
        let mut cover = Self::new();
        for (index, (mask, network)) in all.into_iter().enumerate() {
            (cover.masks[index], cover.networks[index]) = (mask, network);
        }
        cover
    }
}

/// The longest prefix that both are in.
fn common<B: Bits>(first: (B, B), second: (B, B)) -> (B, B) {
    let mask = B::mask(common_length(first, second));
    (mask, first.1 & mask)
}

/// Its length.
fn common_length<B: Bits>((mask, network): (B, B), (other_mask, other): (B, B)) -> u32 {
    let length = |mask: B| mask.equal_bits(!B::ZERO);
    network.equal_bits(other).min(length(mask)).min(length(other_mask))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn prefix() -> impl Strategy<Value = IpNet> {
        let near = prop_oneof![any::<u32>(), (0..1u32 << 16).prop_map(|low| 0x0a00_0000 | low)];
        (near, 0..=32u8, any::<bool>()).prop_map(|(bits, length, is_v6)| {
            let v6 = Ipv6Addr::from_bits(u128::from(bits) << 96 | u128::from(bits));
            let address = if is_v6 { v6.into() } else { Ipv4Addr::from(bits).into() };
            IpNet::new(address, if is_v6 { 4 * length } else { length }).unwrap()
        })
    }

    /// Some host of a prefix.
    fn host(prefix: &IpNet, random: u128) -> IpAddr {
        match prefix {
            IpNet::V4(prefix) => {
                let host = random as u32 & prefix.hostmask().to_bits();
                Ipv4Addr::from(prefix.network().to_bits() | host).into()
            }
            IpNet::V6(prefix) => {
                let host = random & prefix.hostmask().to_bits();
                Ipv6Addr::from(prefix.network().to_bits() | host).into()
            }
        }
    }

    proptest! {
        #[test]
        fn all_that_was_put_in_is_covered_and_no_more_while_there_is_room(
            prefixes in prop::collection::vec(prefix(), 0..9), random: u128,
        ) {
            let cover = prefixes.iter().copied().fold(Covers::default(), Covers::with);
            for prefix in &prefixes {
                prop_assert!(cover.has(host(prefix, random)));
            }
            for address in [IpAddr::V4((random as u32).into()), IpAddr::V6(random.into())] {
                let of_family = prefixes.iter().filter(|prefix| prefix.addr().is_ipv4() == address.is_ipv4());
                if of_family.count() <= PREFIXES {
                    let is_in = prefixes.iter().any(|prefix| prefix.contains(&address));
                    prop_assert_eq!(cover.has(address), is_in);
                }
            }
        }
    }

    #[test]
    fn the_nearest_become_one() {
        let prefixes = ["10.0.0.0/24", "10.0.1.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"];
        let cover =
            prefixes.iter().fold(Covers::default(), |cover, prefix| cover.with(prefix.parse().unwrap()));
        for (address, is_in) in
            [("10.0.0.1", true), ("10.0.1.1", true), ("10.0.2.1", false), ("203.0.112.1", false)]
        {
            assert_eq!(cover.has(address.parse().unwrap()), is_in, "{address}");
        }
    }
}
