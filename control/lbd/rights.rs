//! What the devices of a configuration need of the kernel that not every process may have, and whether this one has it.
//! Drivers say less: that something is not permitted, but not which capability permits it.
//!
//! ```text
//! needs    what each device needs, by its kind
//! drop_in  what all of them need, as lines for systemd and udev
//! ```

mod drop_in;
mod needs;

pub(crate) use drop_in::DropIn;

use crate::Failure;
use control::config::Config;
use control::config::metrics::Address;
use needs::{Needs, Place};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::net::SocketAddr;

/// What ports of TCP below [`FIRST_OPEN_PORT`] need.
const LOW_PORTS: &str = "CAP_NET_BIND_SERVICE";
/// Below this one, a port needs a capability, unless the kernel was told otherwise.
const FIRST_OPEN_PORT: u16 = 1024;

/// Refuses to go on where a device of the configuration would not start, because this process lacks a right.
///
/// # Errors
/// Which one it lacks for which port, and how it gets that.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    let lacks = lacking(config, &Needs::of_ports(config, &Place::here()), Own::find());
    if lacks.is_empty() { Ok(()) } else { Err(Failure::Other(lacks.join("\nlbd: "))) }
}

/// From now on neither this thread nor those that it starts get more rights by starting a program.
pub(crate) fn get_no_more() {
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        log::debug!("this process may get more rights: {error}");
    }
}

/// Where metrics are served, if the port is below this one.
fn low_port(config: &Config, first_open: u16) -> Option<SocketAddr> {
    match &config.control.metrics.address {
        Some(Address::Tcp(address)) if (1..first_open).contains(&address.port()) => Some(*address),
        _ => None,
    }
}

/// What this process has.
#[derive(Clone, Copy, Debug)]
struct Own {
    capabilities: CapabilitySet,
    /// Bytes of memory that it may lock.
    lockable: u64,
    /// The lowest port of TCP that needs no capability.
    first_open_port: u16,
    /// Whether it may open a file to read and write.
    may_use: fn(&std::path::Path) -> bool,
}

impl Own {
    fn find() -> Self {
        let limit = getrlimit(Resource::Memlock);
        // Any process may have as much as its hard limit says.
        let raised = Rlimit { current: limit.maximum, ..limit };
        let limit = setrlimit(Resource::Memlock, raised).map_or(limit, |()| raised);
        Self {
            // A kernel that does not say is no reason to refuse: drivers find out.
            capabilities: rustix::thread::capabilities(None)
                .map_or(CapabilitySet::all(), |sets| sets.effective),
            lockable: limit.current.unwrap_or(u64::MAX),
            first_open_port: std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(FIRST_OPEN_PORT),
            may_use: |path| {
                let error = accessat(CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS).err();
                error != Some(rustix::io::Errno::ACCESS)
            },
        }
    }
}

/// What is missing, by port.
fn lacking(config: &Config, needs: &[Needs], own: Own) -> Vec<String> {
    let mut lacks = Vec::new();
    for (port, needs) in config.eth_ports.iter().zip(needs) {
        let mut lack = |what: &str, remedy: &str| {
            lacks.push(format!("port {}: {} needs {what}; {remedy}", port.name, port.device));
        };
        for (name, capability, why) in needs.musts() {
            if !own.capabilities.contains(capability) {
                lack(
                    &format!("{name}: {why}"),
                    &format!("give it to lbd (systemd: AmbientCapabilities={name}), or run lbd as root"),
                );
            }
        }
        for file in needs.files.iter().filter(|file| !(own.may_use)(file)) {
            let path = file.display();
            lack(
                &format!("to read and write {path}"),
                "give it to lbd's user; lbd --rights prints a rule of udev for that",
            );
        }
    }
    if let Some(address) = low_port(config, own.first_open_port)
        && !own.capabilities.contains(CapabilitySet::NET_BIND_SERVICE)
    {
        lacks.push(format!(
            "[control] metrics: {address} needs {LOW_PORTS}: its port is below {}; take another, give it to lbd \
             (systemd: AmbientCapabilities={LOW_PORTS}), or run lbd as root",
            own.first_open_port
        ));
    }
    let by_all = needs.iter().map(|needs| needs.locked_by_all).max().unwrap_or(0);
    let locked = needs.iter().map(|needs| needs.locked).sum::<u64>() + by_all;
    if locked > own.lockable && !own.capabilities.contains(CapabilitySet::IPC_LOCK) {
        let (need, may) = (locked.div_ceil(1 << 20), own.lockable >> 20);
        lacks.push(format!(
            "the devices need {need} MiB of locked memory, and {may} MiB are allowed; raise that (systemd: \
             LimitMEMLOCK={need}M; ulimit -l), or give CAP_IPC_LOCK to lbd"
        ));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOR: Own = Own {
        capabilities: CapabilitySet::empty(),
        lockable: 8 << 20,
        first_open_port: FIRST_OPEN_PORT,
        may_use: |_| false,
    };

    fn lacks(device: &str, own: Own) -> Vec<String> {
        lacks_with("", device, own)
    }

    fn lacks_with(control: &str, device: &str, own: Own) -> Vec<String> {
        let text = format!(
            "[control]\n{control}\n[[port]]\nname = \"vip0\"\nside = \"both\"\ndevice = \"{device}\"\naddresses = [\"10.0.0.8/24\"]\n"
        );
        let config = control::config::parse(&text).unwrap();
        let needs = Needs::of_ports(&config, &Place::here());
        lacking(&config, &needs, own)
    }

    #[test]
    fn each_missing_right_is_named_with_what_it_is_for_and_where_it_comes_from() {
        assert_eq!(
            lacks("net_af_packet0,iface=eth1", POOR),
            [
                "port vip0: net_af_packet0,iface=eth1 needs CAP_NET_RAW: it sends and receives whole frames by sockets; \
                 give it to lbd (systemd: AmbientCapabilities=CAP_NET_RAW), or run lbd as root",
                "port vip0: net_af_packet0,iface=eth1 needs CAP_NET_ADMIN: its driver sets the MAC and the flags of the \
                 interface; give it to lbd (systemd: AmbientCapabilities=CAP_NET_ADMIN), or run lbd as root",
                "the devices need 16 MiB of locked memory, and 8 MiB are allowed; raise that (systemd: \
                 LimitMEMLOCK=16M; ulimit -l), or give CAP_IPC_LOCK to lbd",
            ]
        );
        let [capability, file] = &lacks("net_tap0", POOR)[..] else { panic!() };
        assert!(capability.contains("net_tap0 needs CAP_NET_ADMIN: "), "{capability}");
        assert!(
            file.contains("net_tap0 needs to read and write /dev/net/tun; give it to lbd's user"),
            "{file}"
        );
    }

    #[test]
    fn a_low_port_of_metrics_needs_a_capability() {
        let lacks = |metrics: &str, own| lacks_with(&format!("metrics = {metrics:?}"), "net_null0", own);
        assert_eq!(
            lacks("127.0.0.1:80", POOR),
            [
                "[control] metrics: 127.0.0.1:80 needs CAP_NET_BIND_SERVICE: its port is below 1024; take another, \
              give it to lbd (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or run lbd as root"
            ]
        );
        assert!(lacks("[::1]:1024", POOR).is_empty());
        assert!(lacks("unix:/run/natlb/metrics.sock", POOR).is_empty());
        assert!(lacks("127.0.0.1:80", Own { first_open_port: 0, ..POOR }).is_empty());
        let own = Own { capabilities: CapabilitySet::NET_BIND_SERVICE, ..POOR };
        assert!(lacks("127.0.0.1:80", own).is_empty());
    }

    #[test]
    fn nothing_is_missing_where_nothing_is_needed_or_all_is_there() {
        assert!(lacks("net_null0", POOR).is_empty());
        let own = Own { capabilities: CapabilitySet::NET_RAW | CapabilitySet::NET_ADMIN, ..POOR };
        assert!(lacks("net_af_packet0,iface=eth1,framecnt=512", own).is_empty());
        assert_eq!(lacks("net_af_packet0,iface=eth1", own).len(), 1);
        let own = Own { capabilities: CapabilitySet::all(), may_use: |_| true, ..POOR };
        assert!(lacks("net_af_packet0,iface=eth1", own).is_empty(), "CAP_IPC_LOCK");
        assert!(lacks("net_tap0", own).is_empty());
    }
}
