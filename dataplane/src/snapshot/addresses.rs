//! Our own addresses, those that stand for a whole link, and the multicast groups that we listen to.

use super::Interface;
use super::counts::Counts;
use crate::names::family::V6;
use crate::names::ids::InterfaceId;
use crate::names::side::Side;
use crate::wire::ndp::{ALL_NODES, solicited_node};
use hashbrown::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

/// What an own address is.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Bit set of the interfaces that answer ARP, or neighbour solicitations, for it.
    pub interfaces: u16,
}

/// Who has a VIP.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// A service.
    Service,
    /// A real, which may be left of a removed service.
    Real,
}

/// Own addresses and link broadcasts.
///
/// An interface's addresses answer on it. A VIP that is named by a service alone answers on the interfaces towards
/// clients whose prefixes contain it, or on all of them where none does; one of IPv6 on those that speak it. A VIP of
/// removed services is ours as long as they have connections, but no interface answers for it any more.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    own: HashMap<IpAddr, Own>,
    broadcast: HashSet<IpAddr>,
    /// The groups of IPv6 that each interface listens to: those of its own addresses, and that of all nodes.
    groups: Counts<(InterfaceId, Ipv6Addr)>,
    /// The [marks](mark) of all these addresses, as a set of bits.
    marks: [u64; 4],
    /// By mark, how many addresses have it.
    marked: Box<[u32; 256]>,
}

#[derive(Clone, Copy, Debug)]
struct Own {
    local: Local,
    services: u32,
    reals: u32,
}

impl Addresses {
    /// Those of the interfaces.
    pub(super) fn new(interfaces: &[Interface]) -> Self {
        let broadcast = link_broadcasts(interfaces);
        let mut addresses = Self {
            own: HashMap::new(),
            broadcast,
            groups: Counts::default(),
            marks: [0; 4],
            marked: Box::new([0; 256]),
        };
        for address in addresses.broadcast.clone() {
            addresses.mark(address);
        }
        for address in interfaces.iter().flat_map(|interface| &interface.addresses) {
            addresses.update(address.addr(), interfaces, |_| {});
        }
        addresses
    }

    /// One more, or one fewer, has this VIP.
    pub(super) fn claim(&mut self, vip: IpAddr, of: Claim, is_more: bool, interfaces: &[Interface]) {
        self.update(vip, interfaces, |own| {
            let count = match of {
                Claim::Service => &mut own.services,
                Claim::Real => &mut own.reals,
            };
            *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
        });
    }

    fn update(&mut self, address: IpAddr, interfaces: &[Interface], change: impl FnOnce(&mut Own)) {
        let known = self.own.get(&address).copied();
        let mut own = known.unwrap_or(Own { local: Local { interfaces: 0 }, services: 0, reals: 0 });
        change(&mut own);
        let listed = interfaces_where(interfaces, |interface| {
            interface.addresses.iter().any(|prefix| prefix.addr() == address)
        });
        own.local.interfaces = match own.services {
            _ if listed != 0 => listed,
            0 => 0,
            _ => answering(interfaces, address),
        };
        if let IpAddr::V6(address) = address {
            let before = known.map_or(0, |known| known.local.interfaces);
            self.follow_groups(address, before, own.local.interfaces);
        }
        match (known.is_some(), listed != 0 || own.services > 0 || own.reals > 0) {
            (false, true) => self.mark(address),
            (true, false) => self.unmark(address),
            (true, true) | (false, false) => {}
        }
        if listed != 0 || own.services > 0 || own.reals > 0 {
            self.own.insert(address, own);
        } else {
            self.own.remove(&address);
        }
    }

    /// The interfaces of these bit sets answered for an address, and do so now.
    fn follow_groups(&mut self, address: Ipv6Addr, before: u16, now: u16) {
        for interface in InterfaceId::all() {
            for group in [ALL_NODES, solicited_node(address)] {
                if now & !before & interface.bit() != 0 {
                    self.groups.add((interface, group));
                } else if before & !now & interface.bit() != 0 {
                    self.groups.take(&(interface, group));
                }
            }
        }
    }

    fn mark(&mut self, address: IpAddr) {
        let mark = mark(address);
        self.marked[mark] += 1;
        self.marks[mark / 64] |= 1 << (mark % 64);
    }

    fn unmark(&mut self, address: IpAddr) {
        let mark = mark(address);
        self.marked[mark] -= 1;
        if self.marked[mark] == 0 {
            self.marks[mark / 64] &= !(1 << (mark % 64));
        }
    }

    /// Whether the address may be one of them. Nearly always this tells that it is none.
    #[inline(always)]
    pub(super) fn may_have(&self, address: IpAddr) -> bool {
        let mark = mark(address);
        self.marks[mark / 64] >> (mark % 64) & 1 != 0
    }

    pub(super) fn local(&self, address: IpAddr) -> Option<&Local> {
        Some(&self.own.get(&address)?.local)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (IpAddr, Local)> + '_ {
        self.own.iter().map(|(address, own)| (*address, own.local))
    }

    pub(super) fn listens(&self, interface: InterfaceId, group: Ipv6Addr) -> bool {
        self.groups.has(&(interface, group))
    }

    pub(super) fn is_link_broadcast(&self, address: IpAddr) -> bool {
        self.broadcast.contains(&address)
    }
}

/// The interfaces that answer for a VIP that is none of their addresses. Of IPv6 only those that speak it do.
fn answering(interfaces: &[Interface], vip: IpAddr) -> u16 {
    let towards_clients =
        |interface: &Interface| interface.side != Side::Dip && (vip.is_ipv4() || interface.speaks_ipv6());
    let is_on_link = |interface: &Interface| interface.addresses.iter().any(|prefix| prefix.contains(&vip));
    match interfaces_where(interfaces, |interface| towards_clients(interface) && is_on_link(interface)) {
        0 => interfaces_where(interfaces, towards_clients),
        on_link => on_link,
    }
}

/// As a set of bits.
fn interfaces_where(interfaces: &[Interface], wanted: impl Fn(&Interface) -> bool) -> u16 {
    let bits = interfaces.iter().enumerate().filter(|(_, interface)| wanted(interface));
    bits.fold(0, |set, (index, _)| set | 1 << index)
}

/// A link of one or two addresses has no broadcast address, and its lowest address is a host's (RFC 3021). IPv6 has
/// none at all.
fn link_broadcasts(interfaces: &[Interface]) -> HashSet<IpAddr> {
    let prefixes = interfaces.iter().flat_map(|interface| &interface.addresses);
    let links = prefixes.filter(|prefix| prefix.addr().is_ipv4() && prefix.prefix_len() < 31);
    links.flat_map(|prefix| [prefix.broadcast(), prefix.network()]).collect()
}

/// A number below 256 that few addresses share, and none by a pattern of theirs: the highest byte of a product with
/// 2^32 over the golden ratio (Knuth, TAOCP 3, 6.4).
#[inline(always)]
fn mark(address: IpAddr) -> usize {
    let bits = match address {
        IpAddr::V4(address) => u32::from_ne_bytes(address.octets()),
        IpAddr::V6(address) => V6::folded(u128::from_le_bytes(address.octets())),
    };
    (bits.wrapping_mul(0x9e37_79b1) >> 24) as usize
}
