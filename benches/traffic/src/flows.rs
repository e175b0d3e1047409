//! Flows by number: every second one is TCP, each has a client endpoint of its own. All are of two services on one
//! address, TCP and UDP, and their clients are behind one router. Flows from [`OF_IPV6`] on are as those from 0 on, but
//! of IPv6.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// The virtual address of both services.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
/// The first real; the others follow it.
pub const REAL: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);
/// The clients' router.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
/// Flows from this number on are of IPv6.
pub const OF_IPV6: u32 = 1 << 31;
/// [`VIP`] of IPv6.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
/// [`REAL`] of IPv6.
pub const REAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfe, 0, 0, 0, 0, 1);
/// [`GATEWAY`] of IPv6.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 2);
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

/// The client's address of a flow of IPv6; its port is that of [`client`].
#[inline(always)]
pub fn client_v6(flow: u32) -> Ipv6Addr {
    let [a, b, c, d] = client(flow % OF_IPV6).ip().octets().map(u16::from);
    Ipv6Addr::new(0x2001, 0xdb8, a << 8 | b, c << 8 | d, a << 8 | d, 0, b, c << 8 | d)
}

/// The port of the flow's service.
pub const fn service_port(flow: u32) -> u16 {
    if is_tcp(flow) { TCP_PORT } else { UDP_PORT }
}
