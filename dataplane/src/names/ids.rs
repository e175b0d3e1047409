//! Small identifiers that stand for things of the configuration.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The transport protocol of a service or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// The number in the IPv4 header's protocol field.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol with this number in the IPv4 header, if it is balanced.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What identifies a virtual service: protocol, VIP and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// VIP and port.
    pub listen: SocketAddrV4,
}

/// What identifies a real for ever: its service and its own address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealKey {
    /// The service that it serves.
    pub service: ServiceKey,
    /// Address and port of the server.
    pub endpoint: SocketAddrV4,
}

/// Index of an `EthPort` in the order of the configuration file.
pub type PortIndex = u8;

/// The most `EthPort`s a configuration may have.
pub const MAX_PORTS: usize = 16;

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

    /// Ids from 1 to below this are hosts'. The last ones stand for ports: see [`behind`](Self::behind).
    pub const HOSTS: usize = Self::CAPACITY - MAX_PORTS;

    /// Not known yet: whoever meets it looks the way up.
    pub const UNKNOWN: Self = Self(0);

    /// Not known yet either, but it is behind this port. As long as a connection has it, the way back to its client is
    /// looked up among the routes of the port that its packets came by.
    pub const fn behind(port: PortIndex) -> Self {
        Self((Self::HOSTS + port as usize % MAX_PORTS) as u32)
    }

    /// Whether it is one host's.
    pub const fn is_known(self) -> bool {
        self.0 != Self::UNKNOWN.0 && (self.0 as usize) < Self::HOSTS
    }

    /// The port of [`behind`](Self::behind).
    pub(crate) const fn only_port(self) -> Option<PortIndex> {
        if (self.0 as usize) < Self::HOSTS {
            None
        } else {
            Some((self.0 as usize - Self::HOSTS) as PortIndex)
        }
    }
}

/// A host on a link: the `EthPort` it is reached through and its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NeighbourKey {
    /// Where it is attached.
    pub port: PortIndex,
    /// Its address on that link.
    pub address: Ipv4Addr,
}
