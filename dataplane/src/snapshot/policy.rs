//! What applies to a service's connections, besides the choice of a real.

use std::net::IpAddr;

/// What applies to a service's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the connections of a real that is removed.
    pub on_removal: OnRemoval,
    /// Whether, and for how long, a client stays with its real.
    pub persistence: Option<Persistence>,
    /// Every datagram is scheduled by itself, and makes no connection.
    pub one_packet: bool,
}

/// What becomes of the connections of a real that is removed, or whose service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRemoval {
    /// Clients' packets are dropped and counted, replies are still translated: as in the kernel.
    #[default]
    Drop,
    /// Both sides of a TCP connection get a RST, and it is forgotten.
    Reset,
    /// The next datagram, or SYN, is scheduled anew.
    Reschedule,
}

/// A client's connections go to one real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// Seconds without a new connection after which another real may be picked.
    pub seconds: u32,
    /// Clients whose addresses are equal under it are one client. Of the VIP's family.
    pub mask: IpAddr,
}

impl Persistence {
    /// What stands for all clients that are one with this address.
    pub fn masked(&self, client: IpAddr) -> IpAddr {
        match (client, self.mask) {
            (IpAddr::V4(client), IpAddr::V4(mask)) => IpAddr::V4(client & mask),
            (IpAddr::V6(client), IpAddr::V6(mask)) => IpAddr::V6(client & mask),
            _ => client,
        }
    }
}

/// How many connections a real may have, as IPVS counts them: in any state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// At this many it gets no new ones; 0: no limit.
    pub upper: u32,
    /// Below this many it gets new ones again; 0: below three quarters of the upper one.
    pub lower: u32,
}
