//! What each kind of device needs of the kernel.

use control::config::Config;
use dpdk::Device;
use rustix::thread::CapabilitySet;
use std::fs;
use std::path::{Path, PathBuf};

/// A capability (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capability {
    pub(super) name: &'static str,
    set: CapabilitySet,
    /// What it is for.
    why: &'static str,
    /// Whether the device does not start without it.
    is_must: bool,
}

/// What one device needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) capabilities: Vec<Capability>,
    /// To be read and written; as far as they are there.
    pub(super) files: Vec<PathBuf>,
    /// Bytes of memory that it locks.
    pub(super) locked: u64,
    /// Bytes that are locked once, however many such devices there are: DPDK's memory, which they read and write.
    pub(super) locked_by_all: u64,
    /// Kinds of files in /dev, as systemd names them.
    pub(super) device_files: Vec<&'static str>,
    /// The rule by which udev gives them to the group natlb.
    pub(super) rule: Option<&'static str>,
    /// Whether it uses sockets of AF_XDP.
    pub(super) has_xdp_sockets: bool,
    /// What an operator should know.
    pub(super) advice: Option<&'static str>,
}

/// Where the kernel's files are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) pci: PathBuf,
    pub(super) dev: PathBuf,
}

impl Place {
    pub(super) fn here() -> Self {
        Self { pci: "/sys/bus/pci/devices".into(), dev: "/dev".into() }
    }
}

const fn must(name: &'static str, set: CapabilitySet, why: &'static str) -> Capability {
    Capability { name, set, why, is_must: true }
}

const fn wanted(name: &'static str, set: CapabilitySet, why: &'static str) -> Capability {
    Capability { name, set, why, is_must: false }
}

const PACKET_SOCKETS: Capability =
    must("CAP_NET_RAW", CapabilitySet::NET_RAW, "it sends and receives whole frames by sockets");
const SET_INTERFACE: Capability =
    must("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "its driver sets the MAC and the flags of the interface");

impl Needs {
    /// Of all ports, in the order of the file.
    pub(super) fn of_ports(config: &Config, place: &Place) -> Vec<Self> {
        let memory = (config.eal.memory_mb as u64) << 20;
        let devices = config.eth_ports.iter().map(|port| Device::parse(&port.device));
        devices.map(|device| Self::of(&device, memory, place)).collect()
    }

    /// Without which it does not start: name, capability, and what for.
    pub(super) fn musts(&self) -> impl Iterator<Item = (&'static str, CapabilitySet, &'static str)> + '_ {
        let musts = self.capabilities.iter().filter(|capability| capability.is_must);
        musts.map(|capability| (capability.name, capability.set, capability.why))
    }

    fn of(device: &Device, memory: u64, place: &Place) -> Self {
        match device {
            Device::Pci { address, .. } => Self::of_card(address, memory, place),
            Device::Virtual { name, .. } => Self::of_virtual(device, driver(name), memory, place),
        }
    }

    fn of_virtual(device: &Device, driver: &str, memory: u64, place: &Place) -> Self {
        match driver.trim_start_matches("net_").trim_start_matches("eth_") {
            "af_packet" => Self {
                capabilities: vec![PACKET_SOCKETS, SET_INTERFACE],
                locked: rings_of_af_packet(device),
                ..Self::default()
            },
            "af_xdp" => Self {
                capabilities: vec![
                    PACKET_SOCKETS,
                    must("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "it puts a program on the interface"),
                    wanted("CAP_BPF", CapabilitySet::BPF, "it loads that program into the kernel"),
                ],
                locked_by_all: memory,
                has_xdp_sockets: true,
                ..Self::default()
            },
            "tap" | "tun" => Self {
                capabilities: vec![must("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "it makes an interface")],
                files: vec![place.dev.join("net/tun")],
                device_files: vec!["/dev/net/tun"],
                ..Self::default()
            },
            "pcap" if !device.interfaces().is_empty() => Self {
                capabilities: vec![
                    PACKET_SOCKETS,
                    wanted("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "it sets the flags of the interface"),
                ],
                ..Self::default()
            },
            "virtio_user" if device.argument("path").is_some_and(|path| path.starts_with("/dev/")) => Self {
                capabilities: vec![must("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN, "it makes an interface")],
                files: vec![place.dev.join("vhost-net"), place.dev.join("net/tun")],
                device_files: vec!["/dev/net/tun", "/dev/vhost-net"],
                rule: Some("KERNEL==\"vhost-net\", GROUP=\"natlb\", MODE=\"0660\""),
                ..Self::default()
            },
            "null" | "ring" | "memif" | "vhost" | "pcap" | "virtio_user" => Self::default(),
            _ => Self {
                advice: Some("what this driver needs is not known here: its documentation says it"),
                ..Self::default()
            },
        }
    }

    fn of_card(address: &str, memory: u64, place: &Place) -> Self {
        let card = place.pci.join(address);
        let name_of =
            |link: &str| Some(fs::read_link(card.join(link)).ok()?.file_name()?.to_str()?.to_owned());
        match name_of("driver").as_deref() {
            Some("mlx4_core" | "mlx5_core") => Self {
                capabilities: vec![
                    must("CAP_NET_RAW", CapabilitySet::NET_RAW, "its queues take whole frames"),
                    wanted(
                        "CAP_NET_ADMIN",
                        CapabilitySet::NET_ADMIN,
                        "it sets MTU and flags of the interface",
                    ),
                ],
                files: names_in(&card.join("infiniband_verbs"))
                    .map(|name| place.dev.join("infiniband").join(name))
                    .collect(),
                locked_by_all: memory,
                device_files: vec!["char-infiniband_verbs"],
                rule: Some("SUBSYSTEM==\"infiniband_verbs\", GROUP=\"natlb\", MODE=\"0660\""),
                ..Self::default()
            },
            Some(_) if card.join("uio").exists() => Self {
                capabilities: vec![
                    must("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN, "on uio it is told physical addresses"),
                    must(
                        "CAP_DAC_READ_SEARCH",
                        CapabilitySet::DAC_READ_SEARCH,
                        "on uio it is told physical addresses",
                    ),
                    must(
                        "CAP_SYS_RAWIO",
                        CapabilitySet::SYS_RAWIO,
                        "on uio it is reached by ports of the processor",
                    ),
                ],
                advice: Some(
                    "bind it to vfio-pci (host-setup), which needs none of this: on uio, whoever has lbd has the machine",
                ),
                ..Self::default()
            },
            _ => Self {
                files: name_of("iommu_group")
                    .into_iter()
                    .flat_map(|group| ["vfio".to_owned(), group])
                    .map(|name| place.dev.join("vfio").join(name))
                    .filter(|file| file.exists())
                    .collect(),
                locked_by_all: memory,
                device_files: vec!["char-vfio", "/dev/vfio/vfio"],
                rule: Some("SUBSYSTEM==\"vfio\", GROUP=\"natlb\", MODE=\"0660\""),
                ..Self::default()
            },
        }
    }
}

/// The driver's name: a virtual device's is that with a number, or with anything else after it.
fn driver(name: &str) -> &str {
    const WITH_MORE: [&str; 3] = ["net_af_packet", "net_af_xdp", "net_virtio_user"];
    let known = WITH_MORE.into_iter().find(|driver| name.starts_with(driver));
    known.unwrap_or_else(|| name.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// Bytes of the rings that it shares with the kernel, one to receive and one to transmit for each queue, which it
/// locks. What is not named has the driver's own default.
fn rings_of_af_packet(device: &Device) -> u64 {
    let number = |key, default| device.argument(key).and_then(|text| text.parse().ok()).unwrap_or(default);
    [number("framesz", 2048), number("framecnt", 512), number("qpairs", 1)]
        .into_iter()
        .fold(2, u64::saturating_mul)
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("uverbs"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(needs: &Needs) -> Vec<&'static str> {
        needs.capabilities.iter().map(|capability| capability.name).collect()
    }

    fn of(device: &str) -> Needs {
        Needs::of(&Device::parse(device), 256 << 20, &Place::here())
    }

    #[test]
    fn virtual_devices_need_what_their_drivers_do() {
        for (device, expected) in [
            ("net_null0", &[][..]),
            ("net_ring1", &[]),
            ("net_memif0,socket=/tmp/a", &[]),
            ("net_pcap0,rx_pcap=a,tx_pcap=b", &[]),
            ("net_pcap0,iface=eth1", &["CAP_NET_RAW", "CAP_NET_ADMIN"]),
            ("net_af_packet0,iface=eth1", &["CAP_NET_RAW", "CAP_NET_ADMIN"]),
            ("net_af_xdp0,iface=eth1", &["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"]),
            ("net_tap3", &["CAP_NET_ADMIN"]),
            ("net_virtio_user0,path=/run/a.sock", &[]),
            ("net_virtio_user0,path=/dev/vhost-net", &["CAP_NET_ADMIN"]),
        ] {
            assert_eq!(names(&of(device)), expected, "{device}");
            assert_eq!(of(device).advice, None, "{device}");
        }
        assert!(of("net_bonding0").advice.is_some());
    }

    #[test]
    fn the_rings_of_af_packet_are_locked() {
        // natlb's own sizes: 4096 frames of 2 KiB.
        assert_eq!(of("net_af_packet0,iface=eth1").locked, 16 << 20);
        assert_eq!(of("net_af_packet0,iface=eth1,framecnt=512,qpairs=2").locked, 4 << 20);
        assert_eq!(of("net_af_packet0,iface=eth1,framesz=x,framecnt=1024").locked, 4 << 20);
    }

    /// What a card needs whose driver has this name, with these folders and links (their last part) beside it.
    fn of_card(driver: &str, folders: &[&str], files: &[&str]) -> (tempfile::TempDir, Needs) {
        let root = tempfile::tempdir().unwrap();
        let place = Place { pci: root.path().join("pci"), dev: root.path().join("dev") };
        let card = place.pci.join("0000:3b:00.0");
        fs::create_dir_all(&card).unwrap();
        symlink(format!("/sys/bus/pci/drivers/{driver}"), card.join("driver")).unwrap();
        symlink("/sys/kernel/iommu_groups/12", card.join("iommu_group")).unwrap();
        folders.iter().for_each(|folder| fs::create_dir_all(card.join(folder)).unwrap());
        for file in files {
            fs::create_dir_all(place.dev.join(file).parent().unwrap()).unwrap();
            fs::write(place.dev.join(file), "").unwrap();
        }
        let needs = Needs::of(&Device::parse("3b:00.0"), 256 << 20, &place);
        (root, needs)
    }

    #[test]
    fn cards_need_what_their_kernel_drivers_ask_for() {
        let (root, needs) = of_card("vfio-pci", &[], &["vfio/vfio", "vfio/12"]);
        assert_eq!(names(&needs), [""; 0]);
        assert_eq!(needs.files, ["vfio", "12"].map(|name| root.path().join("dev/vfio").join(name)));
        assert_eq!(needs.locked_by_all, 256 << 20);
        let (root, needs) = of_card("mlx5_core", &["infiniband_verbs/uverbs1"], &[]);
        assert_eq!(names(&needs), ["CAP_NET_RAW", "CAP_NET_ADMIN"]);
        assert_eq!(needs.musts().count(), 1);
        assert_eq!(needs.files, [root.path().join("dev/infiniband/uverbs1")]);
        let (_root, needs) = of_card("igb_uio", &["uio/uio0"], &[]);
        assert_eq!(names(&needs), ["CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_RAWIO"]);
        assert!(needs.advice.is_some_and(|advice| advice.contains("vfio-pci")));
        // One that is to be bound yet.
        let (_root, needs) = of_card("ice", &[], &[]);
        assert_eq!((names(&needs).len(), needs.device_files.len(), needs.files.len()), (0, 2, 0));
    }
}
