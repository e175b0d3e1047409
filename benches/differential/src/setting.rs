//! What both builds are set up with, in words that belong to neither.

use std::net::{Ipv4Addr, SocketAddrV4};

/// How bursts are handled, whatever the size of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bursts {
    /// As the size of the table has it.
    AsIs,
    /// Kept until the next has been decoded.
    Kept,
    /// Kept, and prefetched for as with the largest tables.
    Vast,
    /// Kept, with the code for older processors.
    Older,
}

/// What stays for a whole run.
#[derive(Debug)]
pub struct Setup {
    pub workers: usize,
    pub capacity: usize,
    pub bursts: Bursts,
    /// Frames that a worker may hold; 0: as many as it likes.
    pub hold: usize,
    /// The worker, the port on which it cannot send, and who sends instead.
    pub senders: Vec<(usize, u8, usize)>,
    pub macs: Vec<[u8; 6]>,
}

/// Where a port leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    Clients,
    Reals,
    Both,
}

#[derive(Clone, Debug)]
pub struct Port {
    pub leads: Leads,
    pub mac: [u8; 6],
    pub mtu: u16,
    /// With prefix length.
    pub addresses: Vec<&'static str>,
    /// Whether the device steers.
    pub by_device: bool,
}

/// Protocol and endpoint of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub tcp: bool,
    pub listen: SocketAddrV4,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub key: Key,
    pub weighted: bool,
    /// Another one whenever the service is made anew or its scheduler is replaced.
    pub generation: u64,
    /// Id and weight, the newest first.
    pub reals: Vec<(u32, u32)>,
    /// The weights after each change since the service was made.
    pub history: Vec<Vec<u32>>,
}

#[derive(Clone, Debug)]
pub struct Real {
    pub id: u32,
    pub service: Key,
    pub endpoint: SocketAddrV4,
    pub next_hop: u32,
    pub removed: bool,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub prefix: &'static str,
    pub port: u8,
    pub via: Option<Ipv4Addr>,
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub version: u64,
    pub ports: Vec<Port>,
    pub services: Vec<Option<Service>>,
    pub reals: Vec<Real>,
    pub routes: Vec<Route>,
    /// Of TCP, of TCP after a FIN, of UDP, in seconds.
    pub timeouts: [u32; 3],
    pub route_unmatched: bool,
    pub filter_options: bool,
}
