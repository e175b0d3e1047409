//! Parts of LVS that are not built yet, as they are named after "not supported yet: ".

/// The family of a firewall mark's addresses.
pub const FIREWALL_MARK_OF_IPV6: &str = "-6 (firewall mark of IPv6)";
/// A service named by a firewall mark.
pub const FIREWALL_MARK: &str = "-f (firewall mark)";

/// Persistence by what a packet's payload says.
pub const PERSISTENCE_ENGINE: &str = "--pe (persistence engine)";
/// Replies that do not come back through here.
pub const DIRECT_ROUTING: &str = "-g (direct routing)";
/// Packets to the real in packets.
pub const TUNNELLING: &str = "-i (tunnelling)";
/// A real that is this host itself.
pub const LOCAL: &str = "forwarding to the host itself";
/// Packets that go on to where they are for.
pub const BYPASS: &str = "forwarding past the reals";
/// Another balancer is told of connections.
pub const SYNCHRONIZATION: &str = "--start-daemon (synchronization of connections)";
/// The options of tunnels.
pub const TUNNEL_OPTIONS: &str = "tunnelling";
/// What `-b` is of a real, in DPVS.
pub const FULL_NAT: &str = "-b (full NAT)";

/// What an option of `ipvsadm` is for, if it is for later. `-b`, which is for later of a real alone, is not among them.
pub fn option(name: &str) -> Option<&'static str> {
    Some(match name {
        "--pe" => PERSISTENCE_ENGINE,
        "-f" | "--fwmark-service" => FIREWALL_MARK,
        "-6" | "--ipv6" => FIREWALL_MARK_OF_IPV6,
        "-g" | "--gatewaying" => DIRECT_ROUTING,
        "-i" | "--ipip" => TUNNELLING,
        "--tun-type" | "--tun-port" | "--tun-nocsum" | "--tun-csum" | "--tun-remcsum" => TUNNEL_OPTIONS,
        _ => return None,
    })
}
