//! How a device is named: a PCI address, or a virtual device with its arguments.

use super::hugepages::MemoryMode;
use super::pci;

/// A device of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A PCI device: its whole address (`0000:3b:00.0`), and that with the driver's arguments.
    Pci {
        /// Domain, bus, device and function.
        address: String,
        /// What the EAL's `-a` takes.
        allow: String,
    },
    /// A virtual device: its name (`net_af_packet0`), and that with its arguments.
    Virtual {
        /// The name that its port gets.
        name: String,
        /// What the EAL's `--vdev` takes.
        vdev: String,
    },
}

impl Device {
    /// Tells which it is. Anything that is no PCI address is a virtual device.
    pub fn parse(text: &str) -> Self {
        let (head, arguments) = match text.split_once(',') {
            Some((head, arguments)) => (head.trim(), Some(arguments)),
            None => (text.trim(), None),
        };
        match pci_address(head) {
            Some(address) => {
                let allow = arguments.map_or(address.clone(), |a| format!("{address},{a}"));
                Self::Pci { address, allow }
            }
            None => Self::Virtual { name: head.to_owned(), vdev: with_ring_sizes(text.trim()) },
        }
    }

    /// The name that DPDK gives the device's port.
    pub fn port_name(&self) -> &str {
        match self {
            Self::Pci { address, .. } => address,
            Self::Virtual { name, .. } => name,
        }
    }

    /// The interfaces of the kernel that a virtual device works through (`iface=`, and the like of net_pcap).
    pub fn interfaces(&self) -> Vec<&str> {
        let Self::Virtual { vdev, .. } = self else { return Vec::new() };
        let arguments = vdev.split(',').filter_map(|argument| argument.trim().split_once('='));
        let mut names: Vec<&str> = Vec::new();
        for (_, name) in arguments.filter(|(key, _)| *key == "iface" || key.contains("x_iface")) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The value of one of a virtual device's arguments, as `iface`.
    pub fn argument(&self, key: &str) -> Option<&str> {
        let arguments = match self {
            Self::Pci { allow, .. } => allow,
            Self::Virtual { vdev, .. } => vdev,
        };
        let pairs = arguments.split(',').skip(1).filter_map(|argument| argument.split_once('='));
        pairs
            .map(|(name, value)| (name.trim(), value.trim()))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// What to look at when the EAL has no port for the device.
    pub(crate) fn remedy_when_missing(&self, memory: &MemoryMode) -> String {
        match self {
            Self::Pci { address, .. } => pci::remedy(address, memory),
            Self::Virtual { name, .. } => {
                let interface = self.argument("iface");
                let driver = name.trim_end_matches(|c: char| c.is_ascii_digit());
                match interface {
                    Some(interface) => format!(
                        "does the interface exist here (ip link show {interface}), and is the driver installed \
                         (librte-{})?",
                        driver.replace('_', "-")
                    ),
                    None => format!(
                        "is the driver installed (librte-{}), and are its arguments right?",
                        driver.replace('_', "-")
                    ),
                }
            }
        }
    }
}

/// The name that DPDK gives the port of `device`, a PCI address or virtual device string.
pub fn port_name(device: &str) -> String {
    Device::parse(device).port_name().to_owned()
}

/// `[domain:]bus:device.function` with its domain, in lower case; `None` for anything else.
fn pci_address(text: &str) -> Option<String> {
    let hexadecimal =
        |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    let (rest, function) = text.rsplit_once('.')?;
    let parts: Vec<&str> = rest.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [bus, device] => ("0000", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    let valid = (4..=8).contains(&domain.len())
        && domain.bytes().all(|b| b.is_ascii_hexdigit())
        && hexadecimal(bus, 2)
        && hexadecimal(device, 2)
        && function.len() == 1
        && function.bytes().all(|b| (b'0'..=b'7').contains(&b));
    valid.then(|| format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase())
}

/// Gives an af_packet device rings that hold a burst of TCP, unless it names any size itself: its
/// own default, 512 frames, overflows. Other devices are returned as they are.
pub fn with_ring_sizes(vdev: &str) -> String {
    const SIZES: [&str; 3] = ["framesz=", "blocksz=", "framecnt="];
    let mut parts = vdev.split(',').map(str::trim);
    let is_af_packet = parts.next().is_some_and(|name| {
        name.strip_prefix("net_af_packet").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    });
    let names_sizes = parts.any(|part| SIZES.iter().any(|size| part.starts_with(size)));
    if is_af_packet && !names_sizes {
        // A multiple of the page size for a block, whole frames in it, 8 MiB in all.
        format!("{vdev},framesz=2048,blocksz=1048576,framecnt=4096")
    } else {
        vdev.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_recognised_and_completed() {
        for (text, address) in [
            ("0000:3b:00.0", "0000:3b:00.0"),
            ("3B:00.1", "0000:3b:00.1"),
            ("10000:01:1f.7", "10000:01:1f.7"),
        ] {
            let device = Device::parse(text);
            assert_eq!(device, Device::Pci { address: address.into(), allow: address.into() }, "{text}");
            assert_eq!(device.port_name(), address);
        }
        let with_arguments = Device::parse("3b:00.0,dv_flow_en=1");
        assert_eq!(
            with_arguments,
            Device::Pci { address: "0000:3b:00.0".into(), allow: "0000:3b:00.0,dv_flow_en=1".into() }
        );
        for other in ["3b:00", "3b:00.8", "net_null0", "0:3b:00.0", "zz:00.0", "", "a.b"] {
            assert!(matches!(Device::parse(other), Device::Virtual { .. }), "{other}");
        }
    }

    #[test]
    fn virtual_devices_are_named_by_what_precedes_the_comma() {
        assert_eq!(port_name("net_null0"), "net_null0");
        assert_eq!(port_name("net_pcap3,rx_pcap=a,tx_pcap=b"), "net_pcap3");
    }

    #[test]
    fn interfaces_are_found_whatever_the_driver_calls_them() {
        for (device, interfaces) in [
            ("net_af_packet0,iface=eth1,qpairs=2", &["eth1"][..]),
            ("net_af_xdp0, iface=eth1", &["eth1"]),
            ("net_pcap0,rx_iface=eth1,tx_iface=eth2", &["eth1", "eth2"]),
            ("net_pcap0,rx_iface_in=eth1,tx_iface=eth1", &["eth1"]),
            ("net_null0", &[]),
            ("3b:00.0,iface=eth1", &[]),
        ] {
            assert_eq!(Device::parse(device).interfaces(), interfaces, "{device}");
        }
    }

    #[test]
    fn only_af_packet_without_sizes_gets_ring_sizes() {
        assert_eq!(
            with_ring_sizes("net_af_packet0,iface=eth1"),
            "net_af_packet0,iface=eth1,framesz=2048,blocksz=1048576,framecnt=4096"
        );
        for unchanged in [
            "net_af_packet0,iface=eth1,framecnt=512",
            "net_af_packet0,blocksz=65536,iface=eth1",
            "net_af_xdp0,iface=eth1",
            "net_af_packetx,iface=eth1",
            "net_null0",
        ] {
            assert_eq!(with_ring_sizes(unchanged), unchanged);
        }
    }

    #[test]
    fn arguments_are_found_by_name() {
        let device = Device::parse("net_tap0,iface=dtap0, remote=eth1");
        assert_eq!((device.argument("iface"), device.argument("remote")), (Some("dtap0"), Some("eth1")));
        assert_eq!((device.argument("face"), device.argument("mac")), (None, None));
        assert_eq!(Device::parse("iface=eth0").argument("iface"), None, "that is the name");
    }

    #[test]
    fn the_remedy_names_the_interface_and_the_package() {
        let remedy = Device::parse("net_af_packet0,iface=eth9").remedy_when_missing(&MemoryMode::Huge);
        assert!(remedy.contains("ip link show eth9") && remedy.contains("librte-net-af-packet"), "{remedy}");
    }
}
