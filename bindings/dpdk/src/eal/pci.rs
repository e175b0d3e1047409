//! Why the EAL has no port for a PCI device, as far as the kernel's files tell.

use super::hugepages::MemoryMode;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the kernel has its devices.
const DEVICES: &str = "/sys/bus/pci/devices";

/// A process that uses a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it.
    pub name: String,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// A process other than this that has the file open, as far as this one may see.
pub fn user_of(path: &Path) -> Option<User> {
    let wanted = fs::metadata(path).ok()?;
    let is_wanted = |file: PathBuf| {
        fs::metadata(file).is_ok_and(|found| {
            (found.dev(), found.ino(), found.rdev()) == (wanted.dev(), wanted.ino(), wanted.rdev())
        })
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .find(|pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files.map(|file| file.path()).any(is_wanted)
        })
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            User { pid, name: name.trim().to_owned() }
        })
}

/// The file by which programs use the device: `/dev/uio0`, or `/dev/vfio/12` for all of its IOMMU group. `None`: its
/// driver has none.
pub fn device_file(address: &str) -> Option<PathBuf> {
    device_file_in(&Path::new(DEVICES).join(address))
}

fn device_file_in(device: &Path) -> Option<PathBuf> {
    let name = |link: &str| Some(fs::read_link(device.join(link)).ok()?.file_name()?.to_str()?.to_owned());
    match name("driver")?.as_str() {
        "vfio-pci" => Some(Path::new("/dev/vfio").join(name("iommu_group")?)),
        _ => {
            let uio = fs::read_dir(device.join("uio")).ok()?.flatten().next()?;
            Some(Path::new("/dev").join(uio.file_name()))
        }
    }
}

/// What to look at where the EAL has no port for the device.
pub(super) fn remedy(address: &str, memory: &MemoryMode) -> String {
    remedy_in(&Path::new(DEVICES).join(address), address, memory, user_of)
}

fn remedy_in(
    device: &Path,
    address: &str,
    memory: &MemoryMode,
    user_of: impl Fn(&Path) -> Option<User>,
) -> String {
    let bind = format!("dpdk-devbind.py --bind=vfio-pci {address}");
    if !device.exists() {
        return "there is no such PCI device; lspci -D lists those that are".into();
    }
    let driver = fs::read_link(device.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let Some(driver) = driver else { return format!("no driver of the kernel has it: {bind}") };
    let is_uio = device.join("uio").exists();
    if is_uio && *memory != MemoryMode::Huge {
        return format!(
            "a device on uio ({driver}) needs huge pages, and DPDK runs on {memory}; on vfio-pci it does without: {bind}"
        );
    }
    if let Some(user) = device_file_in(device).and_then(|file| Some((user_of(&file)?, file))) {
        return format!("it is in use: {} has {}", user.0, user.1.display());
    }
    if driver == "vfio-pci" && !device.join("iommu_group").exists() {
        return "it is on vfio-pci, but in no IOMMU group: is the IOMMU on (intel_iommu=on, and in the firmware)?".into();
    }
    if is_uio || driver == "vfio-pci" {
        return format!(
            "it is on {driver}: is DPDK's driver for it installed (librte-net-*)? The EAL's own messages above may say more"
        );
    }
    format!(
        "the kernel's driver {driver} has it: {bind}, unless DPDK's driver works beside that one (mlx4, mlx5); is that installed \
         (librte-net-*)?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const ADDRESS: &str = "0000:3b:00.0";

    /// What is said of a device with these links and folders.
    fn said(driver: &str, group: &str, uio: &str, memory: &MemoryMode, user: Option<User>) -> String {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join(ADDRESS);
        fs::create_dir(&device).unwrap();
        for (name, to) in [("driver", driver), ("iommu_group", group)] {
            if !to.is_empty() {
                fs::create_dir(root.path().join(to)).unwrap();
                symlink(root.path().join(to), device.join(name)).unwrap();
            }
        }
        if !uio.is_empty() {
            fs::create_dir_all(device.join("uio").join(uio)).unwrap();
        }
        remedy_in(&device, ADDRESS, memory, |file| {
            let is_its = file == Path::new("/dev/vfio/18") || file == Path::new("/dev/uio0");
            user.clone().filter(|_| is_its)
        })
    }

    #[test]
    fn the_reason_is_said() {
        let ordinary = MemoryMode::Ordinary("384 MiB of huge pages are free, 1000 MiB are needed".into());
        let huge = MemoryMode::Huge;
        let user = Some(User { pid: 77, name: "testpmd".into() });
        let starts = |text: String, begin: &str| assert!(text.starts_with(begin), "{text}");
        starts(
            said("uio_pci_generic", "", "uio0", &ordinary, user.clone()),
            "a device on uio (uio_pci_generic) needs huge pages, and DPDK runs on ordinary pages (384 MiB of",
        );
        starts(
            said("uio_pci_generic", "18", "uio0", &huge, user.clone()),
            "it is in use: process 77 (testpmd) has /dev/uio0",
        );
        starts(
            said("vfio-pci", "18", "", &ordinary, user),
            "it is in use: process 77 (testpmd) has /dev/vfio/18",
        );
        starts(said("vfio-pci", "", "", &ordinary, None), "it is on vfio-pci, but in no IOMMU group");
        starts(said("vfio-pci", "18", "", &huge, None), "it is on vfio-pci: is DPDK's driver");
        starts(said("igb", "18", "", &huge, None), "the kernel's driver igb has it: dpdk-devbind.py");
        starts(said("", "18", "", &huge, None), "no driver of the kernel has it: dpdk-devbind.py");
        starts(remedy("ffff:ff:1f.7", &huge), "there is no such PCI device");
    }

    #[test]
    fn who_has_a_file_open_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(user_of(file.path()), None, "this process does not count");
        let input = fs::File::open(file.path()).unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
        let user = user_of(file.path());
        other.kill().unwrap();
        other.wait().unwrap();
        let user = user.unwrap();
        assert_eq!(user.pid, other.id());
        assert!(user.to_string().starts_with("process "), "{user}");
        assert_eq!(device_file("ffff:ff:1f.7"), None);
    }
}
