//! The kernel's files about IPVS, as text: `/proc/net/ip_vs`, `ip_vs_stats` and `ip_vs_conn`. Numbers of addresses and
//! ports are hexadecimal.

use super::real::RealFacts;
use super::replies::VERSION;
use super::service::ServiceFacts;
use crate::api::protocol::Traffic;
use dataplane::names::ids::Protocol;
use std::fmt::{self, Display, Formatter, Write};
use std::net::{IpAddr, SocketAddr};

/// The first line of `ip_vs_conn`.
pub const CONNECTIONS_HEAD: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";

/// The kernel counts how long a client stays with its real in ticks of its clock, of which it has so many a second, and
/// writes them so. A Debian kernel's number.
const TICKS_A_SECOND: u32 = 250;

/// A connection, or a client that stays with its real, as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts<'a> {
    /// Its protocol.
    pub protocol: Protocol,
    /// The client; port 0: one that stays with its real.
    pub client: SocketAddr,
    /// The VIP.
    pub virtual_: SocketAddr,
    /// The real.
    pub real: SocketAddr,
    /// `ESTABLISHED` and so on.
    pub state: &'a str,
    /// Until it times out.
    pub seconds: u32,
}

/// Appends a line of `ip_vs_conn`.
pub fn connection(facts: &ConnectionFacts<'_>, out: &mut String) {
    let ConnectionFacts { protocol, client, virtual_, real, state, seconds } = facts;
    let _ = write!(out, "{protocol:<3}");
    for side in [client, virtual_, real] {
        let _ = write!(out, " {} {:04X}", Hexadecimal(side.ip()), side.port());
    }
    let _ = writeln!(out, " {state:<11} {seconds:7}");
}

/// Appends the first lines of `ip_vs`.
pub fn services_head(table_size: u32, out: &mut String) {
    let [_, major, minor, patch] = VERSION.to_be_bytes();
    let _ = writeln!(out, "IP Virtual Server version {major}.{minor}.{patch} (size={table_size})");
    out.push_str("Prot LocalAddress:Port Scheduler Flags\n");
    out.push_str("  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n");
}

/// Appends a service's line of `ip_vs`; its reals follow.
pub fn service(facts: &ServiceFacts<'_>, out: &mut String) {
    let (protocol, algorithm) = (facts.key.protocol, facts.algorithm());
    let _ = write!(out, "{protocol}  {} {algorithm} ", Endpoint(facts.key.listen));
    // The kernel leaves this out of IPv6.
    if facts.key.listen.is_ipv4() {
        out.push_str(if facts.settings.one_packet { "ops  " } else { " " });
    }
    if facts.settings.persistence.is_some() {
        let (seconds, mask) = facts.persistence();
        let ticks = u64::from(seconds) * u64::from(TICKS_A_SECOND);
        let _ = write!(out, "persistent {ticks} {:08X}", u32::from_be_bytes(mask));
    }
    out.push('\n');
}

/// Appends a real's line of `ip_vs`.
pub fn real(facts: &RealFacts, out: &mut String) {
    let RealFacts { endpoint, weight, active, inactive, .. } = facts;
    let _ =
        writeln!(out, "  -> {}      Masq    {weight:<6} {active:<10} {inactive:<10}", Endpoint(*endpoint));
}

/// Appends `ip_vs_stats`: what was counted of all services, and what is counted a second.
pub fn statistics(totals: Traffic, rates: Traffic, out: &mut String) {
    out.push_str("   Total Incoming Outgoing         Incoming         Outgoing\n");
    out.push_str("   Conns  Packets  Packets            Bytes            Bytes\n");
    numbers(totals, out);
    out.push_str("\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n");
    numbers(rates, out);
}

fn numbers(traffic: Traffic, out: &mut String) {
    let Traffic { conns, in_packets, out_packets, in_bytes, out_bytes } = traffic;
    let _ = writeln!(out, "{conns:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}");
}

/// `C0A80A64`, or all eight groups of IPv6.
struct Hexadecimal(IpAddr);

impl Display for Hexadecimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{:08X}", address.to_bits()),
            IpAddr::V6(address) => {
                let [first, rest @ ..] = address.segments();
                write!(f, "{first:04x}")?;
                rest.iter().try_for_each(|group| write!(f, ":{group:04x}"))
            }
        }
    }
}

/// `C0A80A64:0050`; of IPv6 with the address in brackets.
struct Endpoint(SocketAddr);

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (address, port) = (Hexadecimal(self.0.ip()), self.0.port());
        if self.0.is_ipv4() { write!(f, "{address}:{port:04X}") } else { write!(f, "[{address}]:{port:04X}") }
    }
}
