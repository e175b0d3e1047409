//! Small identifiers that stand for things of the configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The transport protocol of a service or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl Protocol {
    /// Every protocol that is balanced.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number in the IPv4 header's protocol field, and in IPv6's of the next header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this number, if it is balanced.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// What identifies a virtual service: protocol, VIP and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Its protocol.
    pub protocol: Protocol,
    /// The VIP and the first of the ports; port 0: any port.
    pub listen: SocketAddr,
    /// The last of the ports: of a service on one port, that port.
    pub last_port: u16,
}

impl ServiceKey {
    /// A service on one port, or on any (0).
    pub const fn new(protocol: Protocol, listen: SocketAddr) -> Self {
        Self { protocol, listen, last_port: listen.port() }
    }

    /// Whether it is on one port alone.
    pub const fn is_exact(&self) -> bool {
        self.listen.port() != 0 && self.listen.port() == self.last_port
    }

    /// Whether it is on any port of its VIP.
    pub const fn is_any_port(&self) -> bool {
        self.listen.port() == 0
    }

    /// Whether it is on this port.
    pub const fn has_port(&self, port: u16) -> bool {
        self.is_any_port() || (self.listen.port() <= port && port <= self.last_port)
    }
}

/// What identifies a real for ever: its service and its own address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealKey {
    /// The service that it serves.
    pub service: ServiceKey,
    /// Address and port of the server; port 0: the port that the client asked for.
    pub endpoint: SocketAddr,
}

impl RealKey {
    /// The ends of a connection of it whose client asked for this port: a service on this port alone, and the server's
    /// address and port. Of a service on one port, that is the port asked for.
    pub const fn at_port(self, asked: u16) -> Self {
        let Self { mut service, mut endpoint } = self;
        if !service.is_exact() {
            service.listen.set_port(asked);
            service.last_port = asked;
        }
        if endpoint.port() == 0 {
            endpoint.set_port(service.last_port);
        }
        Self { service, endpoint }
    }

    /// Whether its service may have a connection whose client asked for this port, which says nothing of a service on
    /// one port.
    pub const fn is_for_port(self, asked: u16) -> bool {
        self.service.is_exact() || asked != 0 && self.service.has_port(asked)
    }

    /// The server's address and port, if it is the same for all connections.
    pub const fn fixed_endpoint(self) -> Option<SocketAddr> {
        if self.endpoint.port() == 0 && !self.service.is_exact() {
            return None;
        }
        Some(self.at_port(0).endpoint)
    }
}

/// Index of an `EthPort`: a device with queues, in the order of the configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct EthPortId(pub u8);

/// The most `EthPort`s a configuration may have.
pub const MAX_ETH_PORTS: usize = 16;

/// Index of an interface: what has addresses on a link, and is on an `EthPort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct InterfaceId(pub u8);

/// The most interfaces a configuration may have.
pub const MAX_INTERFACES: usize = 16;

impl EthPortId {
    /// Every id, for arrays that have an element for each.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_ETH_PORTS as u8).map(Self)
    }

    /// As an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// As a set of bits with this one alone.
    #[inline(always)]
    pub const fn bit(self) -> u16 {
        1 << (self.0 % MAX_ETH_PORTS as u8)
    }

    /// The interface of frames that arrive without a VLAN tag. An `EthPort` has one interface, of the same number.
    #[inline(always)]
    pub const fn interface(self) -> InterfaceId {
        InterfaceId(self.0)
    }
}

impl InterfaceId {
    /// Every id, for arrays that have an element for each.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_INTERFACES as u8).map(Self)
    }

    /// As an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// As a set of bits with this one alone.
    #[inline(always)]
    pub const fn bit(self) -> u16 {
        1 << (self.0 % MAX_INTERFACES as u8)
    }

    /// The `EthPort` that it is on. An `EthPort` has one interface, of the same number.
    #[inline(always)]
    pub const fn eth_port(self) -> EthPortId {
        EthPortId(self.0)
    }
}

impl fmt::Display for EthPortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<InterfaceId> for EthPortId {
    fn from(interface: InterfaceId) -> Self {
        interface.eth_port()
    }
}

/// Index of a service in [`Snapshot::services`](crate::snapshot::Snapshot::services).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// Index of a real: of its rewrite record and its counters. Keyed by [`RealKey`]; released by the
/// control thread only when no worker has a connection left on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealId(pub u32);

/// The most reals that are configured at once.
pub const MAX_REALS: usize = 1 << 16;

/// How many ids of reals there are: one change can replace all that are configured, and those before it are known as
/// long as they have connections.
pub const REAL_IDS: usize = 2 * MAX_REALS;

/// Index of a next hop in [`NextHops`](crate::live::next_hops::NextHops).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHopId(pub u32);

impl NextHopId {
    /// The number of ids: twice a /16 of neighbours. Fits the 20 bits of a table's entry.
    pub const CAPACITY: usize = 1 << 17;

    /// Ids from 1 to below this are hosts'. The last ones stand for interfaces: see [`behind`](Self::behind).
    pub const HOSTS: usize = Self::CAPACITY - MAX_INTERFACES;

    /// Not known yet: whoever meets it looks the way up.
    pub const UNKNOWN: Self = Self(0);

    /// Not known yet either, but it is behind this interface. As long as a connection has it, the way back to its
    /// client is looked up among the routes of the interface that its packets came by.
    pub const fn behind(interface: InterfaceId) -> Self {
        Self((Self::HOSTS + interface.index() % MAX_INTERFACES) as u32)
    }

    /// Whether it is one host's.
    pub const fn is_known(self) -> bool {
        self.0 != Self::UNKNOWN.0 && (self.0 as usize) < Self::HOSTS
    }

    /// The interface of [`behind`](Self::behind).
    pub(crate) const fn only_interface(self) -> Option<InterfaceId> {
        if (self.0 as usize) < Self::HOSTS {
            None
        } else {
            Some(InterfaceId((self.0 as usize - Self::HOSTS) as u8))
        }
    }
}

/// A host on a link: the interface it is reached through and its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeighbourKey {
    /// Where it is attached.
    pub interface: InterfaceId,
    /// Its address on that link.
    pub address: IpAddr,
}
