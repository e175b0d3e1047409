//! One `lbd` for each device: a card on uio has no owner, and neither has an interface of the kernel, so that a
//! second one would take the packets of the first without a word.
//!
//! A PCI device is locked by its `config` file in sysfs, an interface by an abstract Unix socket, whose names each
//! network namespace has of its own, as those of interfaces. The kernel lets go of both when the process ends,
//! however it does.

use crate::Failure;
use control::config::Config;
use control::lock::Lock;
use dpdk::Device;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use std::fs::{self, File};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

/// What is held as long as this lives.
#[derive(Debug)]
pub(crate) struct DeviceLocks {
    _files: Vec<Lock>,
    _sockets: Vec<UnixListener>,
}

/// Takes all devices of the file.
///
/// # Errors
/// Another process has one.
pub(crate) fn take(config: &Config) -> Result<DeviceLocks, Failure> {
    let mut locks = DeviceLocks { _files: Vec::new(), _sockets: Vec::new() };
    for port in &config.eth_ports {
        let device = Device::parse(&port.device);
        let taken = |what: &str, holder: &str| {
            Failure::Other(format!(
                "port {}: {holder} has {what}: stop that, or name another device",
                port.name
            ))
        };
        if let Device::Pci { address, .. } = &device {
            let path = Path::new("/sys/bus/pci/devices").join(address).join("config");
            match lock_file(&path) {
                Ok(file) => locks._files.extend(file),
                Err(holder) => return Err(taken(address, &holder)),
            }
            // A program that is no lbd, and does not lock.
            let user = dpdk::device_file(address).and_then(|file| dpdk::user_of(&file));
            if let Some(user) = user {
                return Err(taken(address, &user.to_string()));
            }
        }
        for interface in device.interfaces() {
            match lock_interface(interface) {
                Ok(socket) => locks._sockets.extend(socket),
                Err(holder) => return Err(taken(&format!("interface {interface}"), &holder)),
            }
        }
    }
    Ok(locks)
}

/// Locks a file; `None` where there is no such, which others say better. The error names the holder.
fn lock_file(path: &Path) -> Result<Option<Lock>, String> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    match Lock::take(file) {
        Ok(locked) => Ok(Some(locked)),
        Err((file, error)) if error.kind() == io::ErrorKind::WouldBlock => Err(holder_of(&file)),
        Err((_, why)) => {
            log::debug!("{} can't be locked: {why}", path.display());
            Ok(None)
        }
    }
}

/// The process that has locked a file, by /proc/locks.
fn holder_of(file: &File) -> String {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = file.metadata().ok().and_then(|file| holder_in(&locks, file.dev(), file.ino()));
    pid.map_or_else(|| "another process".into(), named)
}

/// `1: FLOCK  ADVISORY  WRITE 708 00:13:13548 0 EOF`: the third word from the end is the device (hexadecimal) and
/// inode.
fn holder_in(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&&*wanted)).then(|| words[4].parse().ok())?
    };
    locks.lines().find_map(line).filter(|pid| *pid != 0)
}

fn named(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if pid == std::process::id() {
        return "another port of this file".into();
    }
    format!("process {pid} ({})", name.trim())
}

/// Locks an interface of this network namespace. The error names the holder.
fn lock_interface(interface: &str) -> Result<Option<UnixListener>, String> {
    let Ok(name) = SocketAddr::from_abstract_name(format!("natlb interface {interface}")) else {
        return Ok(None);
    };
    match UnixListener::bind_addr(&name) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(listener_of(&name)),
        Err(why) => {
            log::debug!("interface {interface} can't be locked: {why}");
            Ok(None)
        }
    }
}

/// The process that listens on a socket.
fn listener_of(name: &SocketAddr) -> String {
    let credentials =
        UnixStream::connect_addr(name).ok().and_then(|peer| getsockopt(&peer, PeerCredentials).ok());
    let pid = credentials.and_then(|peer| u32::try_from(peer.pid()).ok()).filter(|pid| *pid != 0);
    pid.map_or_else(|| "another process".into(), named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_file_names_its_holder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = lock_file(file.path()).unwrap();
        assert!(first.is_some());
        // Of this process, as if two ports named the same device.
        assert_eq!(lock_file(file.path()).unwrap_err(), "another port of this file");
        drop(first);
        assert!(lock_file(file.path()).unwrap().is_some());
        assert!(lock_file(Path::new("/nowhere/config")).unwrap().is_none());
    }

    #[test]
    fn the_holder_is_found_among_the_kernels_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 700 00:13:40 0 EOF\n2: FLOCK  ADVISORY  WRITE 708 00:13:41 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 709 00:13:42 0 EOF\n3: FLOCK  ADVISORY  WRITE 0 fe:0a:43 0 EOF\n";
        assert_eq!(holder_in(locks, libc::makedev(0, 0x13), 41), Some(708));
        assert_eq!(holder_in(locks, libc::makedev(0, 0x13), 40), None, "another kind of lock");
        assert_eq!(holder_in(locks, libc::makedev(0, 0x13), 42), None, "who waits for it has it not");
        assert_eq!(holder_in(locks, libc::makedev(0xfe, 0xa), 43), None, "of another PID namespace");
    }

    #[test]
    fn a_locked_interface_names_its_holder() {
        let name = format!("test{}", std::process::id());
        let first = lock_interface(&name).unwrap();
        assert_eq!(lock_interface(&name).unwrap_err(), "another port of this file");
        assert!(lock_interface(&format!("{name}b")).unwrap().is_some());
        drop(first);
        assert!(lock_interface(&name).unwrap().is_some());
    }
}
