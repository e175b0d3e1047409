//! Parts of LVS that are not built yet, as they are named after "not supported yet: ".

/// IPv6 addresses.
pub const IPV6: &str = "IPv6";
/// SCTP services.
pub const SCTP: &str = "SCTP";
/// A service on every port.
pub const ANY_PORT: &str = "port 0 (any port)";
/// A service on several ports.
pub const PORT_RANGE: &str = "a range of ports";
/// A service named by a firewall mark.
pub const FIREWALL_MARK: &str = "-f (firewall mark)";

/// Persistence, in a request.
pub const PERSISTENCE: &str = "persistence (-p)";
/// Persistence, in a line of `ipvsadm`.
pub const PERSISTENCE_OPTION: &str = "-p (persistence)";
/// Which bits of a client's address persistence looks at.
pub const NETMASK: &str = "-M (persistence netmask)";
/// Persistence by what a packet's payload says.
pub const PERSISTENCE_ENGINE: &str = "--pe (persistence engine)";
/// Every datagram scheduled by itself.
pub const ONE_PACKET: &str = "-o (one-packet scheduling)";
/// What `-b` is of a service.
pub const SCHEDULER_FLAGS: &str = "-b (scheduler flags)";

/// Limits on a real's connections.
pub const THRESHOLDS: &str = "connection thresholds (-x, -y)";
/// Replies that do not come back through here.
pub const DIRECT_ROUTING: &str = "-g (direct routing)";
/// Packets to the real in packets.
pub const TUNNELLING: &str = "-i (tunnelling)";
/// The options of tunnels.
pub const TUNNEL_OPTIONS: &str = "tunnelling";
/// What `-b` is of a real, in DPVS.
pub const FULL_NAT: &str = "-b (full NAT)";

/// What an option of `ipvsadm` is for, if it is for later. Of `-b`, which means one thing for a service and another
/// for a real, the caller says what it is.
pub fn option(name: &str) -> Option<&'static str> {
    Some(match name {
        "-p" | "--persistent" => PERSISTENCE_OPTION,
        "-M" | "--netmask" => NETMASK,
        "--pe" => PERSISTENCE_ENGINE,
        "-o" | "--ops" => ONE_PACKET,
        "-f" | "--fwmark-service" => FIREWALL_MARK,
        "-6" | "--ipv6" => IPV6,
        "--sctp-service" => SCTP,
        "-g" | "--gatewaying" => DIRECT_ROUTING,
        "-i" | "--ipip" => TUNNELLING,
        "--tun-type" | "--tun-port" | "--tun-nocsum" | "--tun-csum" | "--tun-remcsum" => TUNNEL_OPTIONS,
        _ => return None,
    })
}
