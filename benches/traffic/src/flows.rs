//! Flows by number: every second one is TCP, each has a client endpoint of its own. All are of two services on one
//! address, TCP and UDP, and their clients are behind one router.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The virtual address of both services.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
/// The first real; the others follow it.
pub const REAL: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);
/// The clients' router.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
/// Port of the TCP service.
pub const TCP_PORT: u16 = 80;
/// Port of the UDP service.
pub const UDP_PORT: u16 = 53;

/// Whether the flow is TCP.
pub const fn is_tcp(flow: u32) -> bool {
    flow % 2 == 1
}

/// The client's address and port.
#[inline(always)]
pub fn client(flow: u32) -> SocketAddrV4 {
    let address = 0x1000_0000 + flow / 2 / 50_000;
    SocketAddrV4::new(Ipv4Addr::from(address), 1024 + (flow / 2 % 50_000) as u16)
}

/// The port of the flow's service.
pub const fn service_port(flow: u32) -> u16 {
    if is_tcp(flow) { TCP_PORT } else { UDP_PORT }
}
